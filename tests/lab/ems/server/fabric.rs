//! What gateways call, each with its token: as bearer, or with its name by HTTP Basic, so that a
//! FortiOS external address feed can do it too.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/fabric/tags` | [`FabricView`] |
//! | `GET /v1/fabric/watch` | the same as server-sent events: now, on each change, and as heartbeat |
//! | `POST /v1/fabric/session` [`SessionNotice`] | a tunnel came up or went down |
//! | `PUT /v1/fabric/sessions` [`SessionList`] | these are the tunnels now; answers as `tags` does |
//! | `GET /v1/fabric/feed/TAG` | the addresses of a tag, one a line |

use super::Door;
use super::reply::{read, write};
use crate::ems::office::{Denial, DeviceCredentials, FabricView, StreamId};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use posture::rules::TagName;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::watch;

/// How often a watch says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A tunnel that came up or went down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionNotice {
    /// The outer address of the client.
    pub address: IpAddr,
    /// Whether it came up.
    pub up: bool,
}

/// The tunnels that a gateway has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionList {
    /// The outer addresses of their clients.
    pub addresses: Vec<IpAddr>,
}

pub(super) fn routes(door: Door) -> Router {
    Router::new()
        .route("/v1/fabric/tags", get(tags))
        .route("/v1/fabric/watch", get(watch))
        .route("/v1/fabric/session", post(session))
        .route("/v1/fabric/sessions", put(sessions))
        .route("/v1/fabric/feed/{tag}", get(feed))
        .with_state(door)
}

/// Reads who a device says it is; nothing is checked here.
fn credentials(headers: &HeaderMap) -> Result<DeviceCredentials, Denial> {
    let read = || {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        if let Some(token) = value.strip_prefix("Bearer ") {
            return Some(DeviceCredentials { name: None, token: token.to_owned() });
        }
        let decoded = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (name, token) = text.split_once(':')?;
        Some(DeviceCredentials { name: Some(name.to_owned()), token: token.to_owned() })
    };
    read().ok_or_else(Denial::stranger)
}

async fn view(door: &Door, headers: &HeaderMap) -> Result<FabricView, Denial> {
    let shown = credentials(headers)?;
    door.enter(move |office, now| office.fabric_view(&shown, now)).await
}

async fn tags(State(door): State<Door>, headers: HeaderMap) -> Response {
    write(view(&door, &headers).await)
}

async fn feed(State(door): State<Door>, headers: HeaderMap, Path(tag): Path<String>) -> Response {
    let view = match view(&door, &headers).await {
        Ok(view) => view,
        Err(denial) => return denial.into_response(),
    };
    let tag = TagName::new(tag);
    if !view.tags.iter().any(|known| known.name == tag) {
        return (StatusCode::NOT_FOUND, "").into_response();
    }
    let lines: String = view.addresses(&tag).iter().map(|address| format!("{address}\n")).collect();
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], lines).into_response()
}

async fn session(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Response {
    let call = async {
        let (shown, notice) = (credentials(&headers)?, read::<SessionNotice>(&body)?);
        door.enter(move |office, now| office.fabric_session(&shown, notice.address, notice.up, now)).await
    };
    write(call.await.map(|()| json!({})))
}

async fn sessions(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Response {
    let call = async {
        let (shown, list) = (credentials(&headers)?, read::<SessionList>(&body)?);
        door.enter(move |office, now| office.fabric_sessions(&shown, &list.addresses, now)).await
    };
    write(call.await)
}

struct Open {
    view: watch::Receiver<FabricView>,
    first: bool,
    door: Door,
    id: StreamId,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.door.close(self.id);
    }
}

async fn watch(State(door): State<Door>, headers: HeaderMap) -> Response {
    let shown = match credentials(&headers) {
        Ok(shown) => shown,
        Err(denial) => return denial.into_response(),
    };
    match door.enter(move |office, now| office.fabric_watch(&shown, now)).await {
        Ok((id, view)) => Sse::new(stream::unfold(Open { view, first: true, door, id }, next)).into_response(),
        Err(denial) => denial.into_response(),
    }
}

/// A view that is repeated is the heartbeat.
async fn next(mut open: Open) -> Option<(Result<Event, Infallible>, Open)> {
    if !std::mem::take(&mut open.first)
        && let Ok(changed) = tokio::time::timeout(HEARTBEAT, open.view.changed()).await
    {
        changed.ok()?;
    }
    let text = serde_json::to_string(&*open.view.borrow_and_update()).unwrap_or_default();
    Some((Ok(Event::default().data(text)), open))
}
