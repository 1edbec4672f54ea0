//! The service's end of the control socket.

use super::line::{LineReader, to_line};
use super::places::Places;
use super::transport::{self, Arrival, Listener, Peer, Stream};
use postern_api::event::Event;
use postern_api::fault::{Fault, FaultName};
use postern_api::method::{Hello, Method, Role, Welcome};
use postern_api::rpc::{
    CODE_FAULT, CODE_METHOD_UNKNOWN, CODE_REQUEST_INVALID, MAXIMUM_LINE, Notification, PROTOCOL, PROTOCOL_VERSION,
    Request, Response,
};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

/// The most callers at a time that are told why nobody attends to them.
const MAXIMUM_FAREWELLS: usize = 8;
/// The most requests of one connection that are under way at a time.
const MAXIMUM_UNDER_WAY: usize = 16;
/// How long a caller may take to say hello.
const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// Lines that wait for a slow reader before its requests wait too.
const QUEUE: usize = 64;
/// How long a caller may leave one line unread. Whoever does not read at all would hold a task, its place and
/// what is queued for it for ever.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// A line on its way out, wiped when it is written.
type Line = Zeroizing<Vec<u8>>;

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user, where users have numbers.
    pub uid: Option<u32>,
    /// What the caller may do.
    pub role: Role,
    /// Takes events meant for this caller alone, such as prompts.
    pub events: mpsc::Sender<Event>,
}

/// What the methods do.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request. The future is dropped when the caller hangs up.
    fn call(
        &self,
        caller: Caller,
        method: Method,
        parameters: Value,
    ) -> impl Future<Output = Result<Value, Fault>> + Send;

    /// Returns the events from now on, and the snapshot with which they begin.
    fn subscribe(&self) -> impl Future<Output = (Event, broadcast::Receiver<Event>)> + Send;
}

/// Serves callers until the future is dropped.
pub async fn serve<H: Handler>(mut listener: Listener, handler: H) {
    let places = Places::default();
    let farewells = Arc::new(Semaphore::new(MAXIMUM_FAREWELLS));
    let doorman = transport::doorman(&listener);
    loop {
        match transport::accept(&mut listener).await {
            Ok((stream, arrival)) => {
                let Some(place) = places.take(&arrival) else {
                    turn_away(stream, &farewells);
                    continue;
                };
                let (handler, doorman) = (handler.clone(), doorman.clone());
                // Not here: the system's names may be slow to say whose member a user is.
                tokio::spawn(async move {
                    match doorman.settle(arrival, &stream).await {
                        Ok(peer) => {
                            if let Err(error) = attend(stream, peer, handler, WRITE_LIMIT).await {
                                tracing::debug!(%error, uid = ?peer.uid, "control connection ended");
                            }
                        }
                        Err(error) => deny(stream, arrival, &error).await,
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "control socket: accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Says why nobody attends to this caller, unless enough others are being told already.
fn turn_away(stream: Stream, farewells: &Arc<Semaphore>) {
    let Ok(turn) = Arc::clone(farewells).try_acquire_owned() else { return };
    tokio::spawn(async move {
        let detail = "the service has as many connections of this user as it serves";
        dismiss(stream, Fault::new(FaultName::ServiceUnavailable, "", detail, "end some of them")).await;
        drop(turn);
    });
}

/// Says to a caller of whom the system does not tell what it may do that it may do nothing.
async fn deny(stream: Stream, arrival: Arrival, error: &std::io::Error) {
    tracing::warn!(%error, uid = ?arrival.uid, "a caller is denied: the system does not say of which groups it is a member");
    let detail = "the system does not say whether this user is a member of the group of the service";
    let next = "look to what answers for users and groups here (getent group); root is not asked about";
    dismiss(stream, Fault::new(FaultName::ServiceUnavailable, "", detail, next)).await;
}

/// Says one thing to a caller that is served no further.
async fn dismiss(mut stream: Stream, fault: Fault) {
    let Ok(line) = to_line(&Response::failure(None, CODE_FAULT, fault)) else { return };
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(&line)).await;
}

/// Serves one caller until it hangs up, or leaves a line unread for `limit`.
async fn attend<H: Handler>(stream: Stream, peer: Peer, handler: H, limit: Duration) -> std::io::Result<()> {
    let (read, write) = tokio::io::split(stream);
    let mut lines = LineReader::new(read, MAXIMUM_LINE);
    let (lines_out, queue) = mpsc::channel::<Line>(QUEUE);
    let mut writer = tokio::spawn(write_out(write, queue, limit));
    let greeted = match tokio::time::timeout(HELLO_LIMIT, lines.next()).await {
        Ok(Ok(Some(line))) => greet(&line, peer.role),
        _ => return Ok(()),
    };
    let welcome = greeted.is_ok();
    let (Ok(response) | Err(response)) = greeted;
    send(&lines_out, &response).await;
    if welcome {
        tokio::select! {
            outcome = converse(&mut lines, peer, handler, lines_out) => outcome?,
            // With the conversation ends what the caller asked for.
            written = &mut writer => {
                let written = written.map_err(std::io::Error::other)?;
                if written.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut) {
                    tracing::warn!(uid = ?peer.uid, "a caller does not read what it is sent: its connection is ended");
                }
                return written;
            }
        }
    } else {
        drop(lines_out);
    }
    // What is queued for a caller that still reads goes out before the connection closes.
    let _ = tokio::time::timeout(Duration::from_secs(1), writer).await;
    Ok(())
}

/// Writes what is queued until nobody queues any more.
async fn write_out(
    mut write: WriteHalf<Stream>,
    mut queue: mpsc::Receiver<Line>,
    limit: Duration,
) -> std::io::Result<()> {
    while let Some(line) = queue.recv().await {
        tokio::time::timeout(limit, write.write_all(&line)).await??;
    }
    Ok(())
}

fn greet(line: &[u8], role: Role) -> Result<Response, Response> {
    let refuse = |id, code, text: &str, next: &str| {
        Response::failure(id, code, Fault::new(FaultName::UsageInvalid, "hello", text, next))
    };
    let request: Request = serde_json::from_slice(line)
        .map_err(|_| refuse(None, CODE_REQUEST_INVALID, "the first line is not a request", "send hello first"))?;
    let id = request.id;
    let hello: Hello = match Method::by_name(&request.method) {
        Some(Method::Hello) => serde_json::from_value(request.params)
            .map_err(|error| refuse(id, CODE_REQUEST_INVALID, &error.to_string(), "send protocol, version, client"))?,
        _ => return Err(refuse(id, CODE_REQUEST_INVALID, "the first request must be hello", "send hello first")),
    };
    if hello.protocol != PROTOCOL || hello.version != PROTOCOL_VERSION {
        let text = format!("this service speaks {PROTOCOL} version {PROTOCOL_VERSION} only");
        return Err(refuse(id, CODE_FAULT, &text, "use the client that came with the service"));
    }
    tracing::debug!(client = %postern_api::PlainText::new(hello.client).for_one_line(), ?role, "control connection");
    let service = env!("CARGO_PKG_VERSION").to_owned();
    let welcome = Welcome { protocol: PROTOCOL.into(), version: PROTOCOL_VERSION, service, role };
    Ok(Response::success(id.unwrap_or_default(), serde_json::to_value(welcome).unwrap_or_default()))
}

async fn converse<H: Handler>(
    lines: &mut LineReader<ReadHalf<Stream>>,
    peer: Peer,
    handler: H,
    out: mpsc::Sender<Line>,
) -> std::io::Result<()> {
    let (events, mut own_events) = mpsc::channel(QUEUE);
    let caller = Caller { uid: peer.uid, role: peer.role, events };
    let mut subscription: Option<broadcast::Receiver<Event>> = None;
    // Dropped with this function: what a caller asked for ends when the caller is gone.
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            line = lines.next(), if under_way.len() < MAXIMUM_UNDER_WAY => {
                let Some(line) = line? else { return Ok(()) };
                match admit(&line, peer.role) {
                    Err(response) => send(&out, &response).await,
                    Ok((id, Method::Subscribe, _)) => {
                        send(&out, &Response::success(id, Value::Null)).await;
                        let (snapshot, receiver) = handler.subscribe().await;
                        notify(&out, &snapshot).await;
                        subscription = Some(receiver);
                    }
                    Ok((id, method, parameters)) => {
                        let (handler, caller, out) = (handler.clone(), caller.clone(), out.clone());
                        under_way.spawn(async move {
                            let response = match handler.call(caller, method, parameters).await {
                                Ok(result) => Response::success(id, result),
                                Err(fault) => Response::failure(Some(id), CODE_FAULT, fault),
                            };
                            send(&out, &response).await;
                        });
                    }
                }
            }
            Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
            Some(event) = own_events.recv() => notify(&out, &event).await,
            event = next_of(&mut subscription) => match event {
                Ok(event) if !concerns(&event, &peer) => {}
                Ok(event) => notify(&out, &event).await,
                // A reader that fell behind begins again with a snapshot.
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    let (snapshot, receiver) = handler.subscribe().await;
                    notify(&out, &snapshot).await;
                    subscription = Some(receiver);
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
        }
    }
}

/// Tells whether a caller may hear of an event: what is meant for one user is not another's.
fn concerns(event: &Event, peer: &Peer) -> bool {
    peer.role == Role::Administrator || event.addressee().is_none_or(|uid| peer.uid == Some(uid))
}

async fn next_of(subscription: &mut Option<broadcast::Receiver<Event>>) -> Result<Event, broadcast::error::RecvError> {
    match subscription {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

/// Settles whether a line is a request that this role may make.
fn admit(line: &[u8], role: Role) -> Result<(u64, Method, Value), Response> {
    let request: Request = serde_json::from_slice(line).map_err(|error| {
        let fault = Fault::new(FaultName::UsageInvalid, "request", format!("is not JSON-RPC: {error}"), "");
        Response::failure(None, CODE_REQUEST_INVALID, fault)
    })?;
    let id = request.id.ok_or_else(|| {
        let fault = Fault::new(FaultName::UsageInvalid, request.method.as_str(), "came without an id", "");
        Response::failure(None, CODE_REQUEST_INVALID, fault)
    })?;
    let method = Method::by_name(&request.method).ok_or_else(|| {
        let fault = Fault::new(FaultName::UsageInvalid, request.method.as_str(), "is not a method of this service", "");
        Response::failure(Some(id), CODE_METHOD_UNKNOWN, fault)
    })?;
    if role < method.role() {
        let next = match method.role() {
            Role::Administrator => "run it as root",
            _ => "join the group postern, or run it as root",
        };
        let fault = Fault::new(FaultName::NotPermitted, method.name(), "is not permitted to this user", next);
        return Err(Response::failure(Some(id), CODE_FAULT, fault));
    }
    Ok((id, method, request.params))
}

async fn send(out: &mpsc::Sender<Line>, response: &Response) {
    if let Ok(line) = to_line(response) {
        let _ = out.send(Zeroizing::new(line)).await;
    }
}

/// Writes an event. It may hold keys: no copy but the line is made, and that is wiped.
async fn notify(out: &mpsc::Sender<Line>, event: &Event) {
    if let Ok(line) = to_line(&Notification::new("event", event)) {
        let _ = out.send(Zeroizing::new(line)).await;
    }
}

#[cfg(all(test, unix))]
#[path = "server_tests.rs"]
mod tests;
