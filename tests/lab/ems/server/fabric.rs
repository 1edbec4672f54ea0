//! What gateways call, each with its name and token (HTTP Basic, so that a FortiOS external address
//! feed can do it too).
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/fabric/tags` | [`FabricView`](crate::ems::office::FabricView) |
//! | `GET /v1/fabric/watch` | the same as server-sent events: now, on each change, and as heartbeat |
//! | `POST /v1/fabric/session` [`SessionNotice`] | a tunnel came up or went down |
//! | `POST /v1/fabric/restart` | every tunnel of this device is gone |
//! | `GET /v1/fabric/feed/TAG` | the addresses of a tag, one a line |

use super::Door;
use super::reply::{read, write};
use crate::ems::office::{Denial, FabricView, StreamId};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
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

pub(super) fn routes(door: Door) -> Router {
    Router::new()
        .route("/v1/fabric/tags", get(tags))
        .route("/v1/fabric/watch", get(watch))
        .route("/v1/fabric/session", post(session))
        .route("/v1/fabric/restart", post(restart))
        .route("/v1/fabric/feed/{tag}", get(feed))
        .with_state(door)
}

/// Reads name and token; nothing is checked here.
fn credentials(headers: &HeaderMap) -> Result<(String, String), Denial> {
    let read = || {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let decoded = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        text.split_once(':').map(|(name, token)| (name.to_owned(), token.to_owned()))
    };
    read().ok_or_else(Denial::stranger)
}

async fn view(door: &Door, headers: &HeaderMap) -> Result<FabricView, Denial> {
    let (name, token) = credentials(headers)?;
    door.enter(move |office, now| office.fabric_view(&name, &token, now)).await
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
        let (name, token) = credentials(&headers)?;
        let notice: SessionNotice = read(&body)?;
        door.enter(move |office, now| office.fabric_session(&name, &token, notice.address, notice.up, now)).await
    };
    write(call.await.map(|()| json!({})))
}

async fn restart(State(door): State<Door>, headers: HeaderMap) -> Response {
    let call = async {
        let (name, token) = credentials(&headers)?;
        door.enter(move |office, now| office.fabric_restart(&name, &token, now)).await
    };
    write(call.await.map(|()| json!({})))
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
    let (name, token) = match credentials(&headers) {
        Ok(credentials) => credentials,
        Err(denial) => return denial.into_response(),
    };
    match door.enter(move |office, now| office.fabric_watch(&name, &token, now)).await {
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
