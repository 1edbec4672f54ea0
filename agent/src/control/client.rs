//! The caller's end of the control socket.

use super::line::{LineReader, to_line};
use super::transport;
use postern_api::event::Event;
use postern_api::fault::{Fault, FaultName};
use postern_api::method::{Hello, Method, Welcome};
use postern_api::rpc::{MAXIMUM_LINE, PROTOCOL, PROTOCOL_VERSION, Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

/// How long the service may take to answer hello: one that hangs is no service.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// Answers that are awaited, by number of the request. None once the connection has ended.
type Awaited = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Result<Value, Fault>>>>>>;

/// A connection to the service, past its hello.
pub struct Client {
    requests: mpsc::Sender<Vec<u8>>,
    awaited: Awaited,
    next_id: AtomicU64,
    events: Option<mpsc::Receiver<Event>>,
    welcome: Welcome,
}

impl Client {
    /// Opens the control socket and says hello as `client`.
    ///
    /// # Errors
    /// `ServiceUnavailable` when nobody answers, `NotPermitted` when the socket is closed to this
    /// user, or what the service answered.
    pub async fn open(socket: &Path, client: &str) -> Result<Self, Fault> {
        let stream = transport::dial(socket).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => Fault::new(
                FaultName::NotPermitted,
                socket.display().to_string(),
                "is closed to this user",
                "join the group postern, or run it as root",
            ),
            _ => unavailable(&format!("the service does not answer at {} ({error})", socket.display())),
        })?;
        let (read, mut write) = tokio::io::split(stream);
        let (requests, mut queue) = mpsc::channel::<Vec<u8>>(16);
        tokio::spawn(async move {
            while let Some(line) = queue.recv().await {
                if write.write_all(&line).await.is_err() {
                    break;
                }
            }
            // The service hears that this client is gone, and ends what it asked for.
            let _ = write.shutdown().await;
        });
        let awaited: Awaited = Arc::new(Mutex::new(Some(HashMap::new())));
        let (events_in, events) = mpsc::channel(256);
        tokio::spawn(read_all(LineReader::new(read, MAXIMUM_LINE), Arc::clone(&awaited), events_in));
        let welcome = Welcome {
            protocol: PROTOCOL.into(),
            version: PROTOCOL_VERSION,
            service: String::new(),
            role: postern_api::method::Role::Observer,
        };
        let mut opened = Self { requests, awaited, next_id: AtomicU64::new(1), events: Some(events), welcome };
        let hello = Hello { protocol: PROTOCOL.into(), version: PROTOCOL_VERSION, client: client.into() };
        let greeted = tokio::time::timeout(HELLO_LIMIT, opened.call(Method::Hello, &hello)).await;
        opened.welcome = greeted.unwrap_or_else(|_| Err(unavailable("the service does not answer in time")))?;
        Ok(opened)
    }

    /// Returns what the service said of itself and of what this user may do.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Calls a method and waits for its answer.
    ///
    /// # Errors
    /// The fault that the service answered, or `ServiceUnavailable` when it went away.
    pub async fn call<T: DeserializeOwned>(&self, method: Method, parameters: &impl Serialize) -> Result<T, Fault> {
        let answer = self.call_raw(method, parameters).await?;
        serde_json::from_value(answer)
            .map_err(|error| internal(&format!("the answer to {} cannot be understood ({error})", method.name())))
    }

    /// Calls a method without parameters.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn ask<T: DeserializeOwned>(&self, method: Method) -> Result<T, Fault> {
        self.call(method, &Value::Null).await
    }

    /// Calls a method and returns its answer as JSON.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn call_raw(&self, method: Method, parameters: &impl Serialize) -> Result<Value, Fault> {
        let parameters = serde_json::to_value(parameters).map_err(|error| internal(&error.to_string()))?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let line =
            to_line(&Request::call(id, method.name(), parameters)).map_err(|error| internal(&error.to_string()))?;
        let (answer_in, answer) = oneshot::channel();
        {
            let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(awaited) = awaited.as_mut() else { return Err(gone()) };
            awaited.insert(id, answer_in);
        }
        self.requests.send(line).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Takes the stream of events out; there is one.
    pub fn take_events(&mut self) -> Option<mpsc::Receiver<Event>> {
        self.events.take()
    }
}

async fn read_all<R: tokio::io::AsyncRead + Unpin>(
    mut lines: LineReader<R>,
    awaited: Awaited,
    events: mpsc::Sender<Event>,
) {
    while let Ok(Some(line)) = lines.next().await {
        // An event may hold keys.
        let line = Zeroizing::new(line);
        if let Ok(response) = serde_json::from_slice::<Response>(&line)
            && (response.id.is_some() || response.error.is_some())
        {
            let Some(id) = response.id else {
                // What is answered to nobody is meant for this connection as a whole.
                let all = awaited.lock().unwrap_or_else(PoisonError::into_inner).take();
                for waiting in all.into_iter().flatten().map(|(_, waiting)| waiting) {
                    let _ = waiting.send(outcome(response.clone()));
                }
                return;
            };
            let waiting = {
                let mut awaited = awaited.lock().unwrap_or_else(PoisonError::into_inner);
                awaited.as_mut().and_then(|awaited| awaited.remove(&id))
            };
            if let Some(waiting) = waiting {
                let _ = waiting.send(outcome(response));
            }
            continue;
        }
        let Ok(request) = serde_json::from_slice::<Request>(&line) else { continue };
        if request.method == "event" {
            // An event that this client is too old to know is not an error.
            if let Ok(event) = serde_json::from_value(request.params) {
                let _ = events.try_send(event);
            }
        }
    }
    // Dropping the senders wakes everybody who waits.
    awaited.lock().unwrap_or_else(PoisonError::into_inner).take();
}

fn outcome(response: Response) -> Result<Value, Fault> {
    match response.error {
        Some(error) => Err(error.data.unwrap_or_else(|| internal(&error.message))),
        None => Ok(response.result.unwrap_or_default()),
    }
}

fn gone() -> Fault {
    unavailable("the service went away")
}

fn unavailable(detail: &str) -> Fault {
    Fault::new(FaultName::ServiceUnavailable, "", detail, "start it: systemctl start posternd")
}

fn internal(detail: &str) -> Fault {
    Fault::new(FaultName::Internal, "", detail, "")
}
