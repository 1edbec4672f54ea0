//! What endpoints call. Who calls is read from the TLS connection and from nowhere else.

use super::Door;
use super::reply::{read, write};
use crate::ems::office::{Denial, Office, Pushed, StreamId};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Extension, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum_server::tls::TlsInfo;
use futures_util::stream;
use posture::ems::protocol::{
    Have, PATH_DOCUMENTS, PATH_ENROL, PATH_EVENTS, PATH_PUSH, PATH_RELEASE, PATH_RENEW, PATH_REPORT, PATH_UNENROL,
    PushMessage,
};
use serde_json::json;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Interval;

pub(super) fn routes(door: Door) -> Router {
    Router::new()
        .route(PATH_ENROL, post(enrol))
        .route(PATH_REPORT, post(report))
        .route(PATH_DOCUMENTS, get(documents))
        .route(PATH_PUSH, get(push))
        .route(PATH_EVENTS, post(events))
        .route(PATH_RENEW, post(renew))
        .route(PATH_RELEASE, post(release))
        .route(PATH_UNENROL, post(unenrol))
        .with_state(door)
}

type From = ConnectInfo<SocketAddr>;
type Tls = Extension<Arc<TlsInfo>>;

fn source(from: &From) -> IpAddr {
    from.0.ip().to_canonical()
}

/// The certificate that TLS verified: the first that was shown.
fn certificate(tls: &Tls) -> Result<Vec<u8>, Denial> {
    tls.peer_certificates.first().cloned().ok_or_else(Denial::stranger)
}

async fn enrol(State(door): State<Door>, from: From, body: Bytes) -> Response {
    let source = source(&from);
    write(match read(&body) {
        Ok(request) => door.enter(move |office, now| office.enrol(&request, source, now)).await,
        Err(denial) => Err(denial),
    })
}

async fn report(State(door): State<Door>, from: From, tls: Tls, body: Bytes) -> Response {
    write(call(&door, &from, &tls, move |office, who, from, now| office.report(who, read(&body)?, from, now)).await)
}

async fn documents(State(door): State<Door>, from: From, tls: Tls, Query(have): Query<Have>) -> Response {
    write(call(&door, &from, &tls, move |office, who, from, now| office.documents(who, have, from, now)).await)
}

async fn events(State(door): State<Door>, from: From, tls: Tls, body: Bytes) -> Response {
    write(call(&door, &from, &tls, move |office, who, from, now| office.upload(who, &read(&body)?, from, now)).await)
}

async fn renew(State(door): State<Door>, from: From, tls: Tls, body: Bytes) -> Response {
    write(call(&door, &from, &tls, move |office, who, from, now| office.renew(who, &read(&body)?, from, now)).await)
}

async fn release(State(door): State<Door>, from: From, tls: Tls, body: Bytes) -> Response {
    let outcome =
        call(&door, &from, &tls, move |office, who, from, now| office.release(who, &read(&body)?, from, now)).await;
    write(outcome.map(|()| json!({})))
}

async fn unenrol(State(door): State<Door>, from: From, tls: Tls) -> Response {
    let outcome = call(&door, &from, &tls, |office, who, from, now| office.unenrol(who, from, now)).await;
    write(outcome.map(|()| json!({})))
}

async fn call<T: Send + 'static>(
    door: &Door,
    from: &From,
    tls: &Tls,
    call: impl FnOnce(&mut Office, &[u8], IpAddr, crate::ems::stamp::Stamp) -> Result<T, Denial> + Send + 'static,
) -> Result<T, Denial> {
    let (who, from) = (certificate(tls)?, source(from));
    door.enter(move |office, now| call(office, &who, from, now)).await
}

async fn push(
    State(door): State<Door>,
    from: From,
    tls: Tls,
    Query(have): Query<Have>,
    headers: HeaderMap,
) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let opened = call(&door, &from, &tls, move |office, who, from, now| {
        let heartbeat = Duration::from_millis(office.conduct().heartbeat_milliseconds.max(1));
        Ok((office.subscribe(who, have, last, from, now)?, heartbeat))
    })
    .await;
    match opened {
        Ok(((id, messages), heartbeat)) => {
            let mut interval = tokio::time::interval(heartbeat);
            interval.reset();
            let open = Open { messages, interval, _closing: Closing { door, id } };
            Sse::new(stream::unfold(open, next)).into_response()
        }
        Err(denial) => denial.into_response(),
    }
}

struct Open {
    messages: mpsc::Receiver<Pushed>,
    interval: Interval,
    _closing: Closing,
}

/// Tells the office when the stream is gone, however it went.
struct Closing {
    door: Door,
    id: StreamId,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.door.close(self.id);
    }
}

async fn next(mut open: Open) -> Option<(Result<Event, Infallible>, Open)> {
    let event = tokio::select! {
        biased;
        pushed = open.messages.recv() => {
            let pushed = pushed?;
            event(&pushed.message).id(pushed.id.to_string())
        }
        _ = open.interval.tick() => event(&PushMessage::Heartbeat),
    };
    Some((Ok(event), open))
}

fn event(message: &PushMessage) -> Event {
    // JSON of these types has no maps with keys that are not text: it always serialises.
    Event::default().data(serde_json::to_string(message).unwrap_or_default())
}
