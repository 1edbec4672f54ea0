//! The push stream: server-sent events as a pure parser, and the reader with its heartbeat.

use super::client::EmsClient;
use super::error::EmsError;
use super::protocol::PushMessage;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::time::Duration;
use tokio::time::Instant;

/// The longest event, in bytes.
pub const MAXIMUM_EVENT: usize = 16 << 20;
/// The heartbeat until EMS names its own.
pub const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(5);
/// What two heartbeats may be late.
const SLACK: Duration = Duration::from_millis(250);

/// Two heartbeats missed are one silence.
pub(super) fn patience(heartbeat: Duration) -> Duration {
    heartbeat * 2 + SLACK
}

/// One server-sent event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSentEvent {
    /// The id by which the stream is resumed after it; none when the event names none.
    pub id: Option<String>,
    /// The data.
    pub data: String,
}

/// Reads server-sent events from bytes as they come. `event` and `retry` fields and comments are
/// passed over: the protocol does not use them.
#[derive(Debug, Default)]
pub struct EventParser {
    line: Vec<u8>,
    data: String,
    has_data: bool,
    id: Option<String>,
    after_return: bool,
}

/// An event has no end, or is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// Longer than [`MAXIMUM_EVENT`].
    #[error("an event has no end")]
    TooLarge,
    /// Not text.
    #[error("an event is not UTF-8")]
    NotText,
}

impl EventParser {
    /// Takes bytes and returns the events that they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<ServerSentEvent>, StreamError> {
        let mut events = Vec::new();
        for &byte in bytes {
            let follows_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if follows_return => {}
                b'\n' | b'\r' => events.extend(self.end_line()?),
                other => {
                    self.line.push(other);
                    if self.line.len() + self.data.len() > MAXIMUM_EVENT {
                        return Err(StreamError::TooLarge);
                    }
                }
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Result<Option<ServerSentEvent>, StreamError> {
        let line = String::from_utf8(std::mem::take(&mut self.line)).map_err(|_| StreamError::NotText)?;
        if line.is_empty() {
            let (data, id) = (std::mem::take(&mut self.data), self.id.take());
            return Ok(std::mem::take(&mut self.has_data).then_some(ServerSentEvent { id, data }));
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "id" if value.len() <= 64 && !value.contains('\0') => self.id = Some(value.to_owned()),
            _ => {}
        }
        Ok(None)
    }
}

/// The open stream. Two heartbeats that are missed end it.
pub struct PushStream {
    bytes: BoxStream<'static, Result<Bytes, reqwest::Error>>,
    parser: EventParser,
    ready: std::collections::VecDeque<ServerSentEvent>,
    heartbeat: Duration,
    last_heard: Instant,
    last_id: Option<String>,
    /// Keeps the connection's way open.
    _client: EmsClient,
}

impl PushStream {
    pub(super) fn new(client: EmsClient, response: reqwest::Response) -> Self {
        Self {
            bytes: response.bytes_stream().boxed(),
            parser: EventParser::default(),
            ready: Default::default(),
            heartbeat: DEFAULT_HEARTBEAT,
            last_heard: Instant::now(),
            last_id: None,
            _client: client,
        }
    }

    /// Returns how long EMS may be silent before it counts as gone: two heartbeats, as it named them.
    pub fn patience(&self) -> Duration {
        patience(self.heartbeat)
    }

    /// Returns the id after which the stream is to be resumed.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Waits for the next message; an error ends the stream. Nothing is lost when the future is
    /// dropped.
    pub async fn next(&mut self) -> Result<PushMessage, EmsError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                let message = serde_json::from_str(&event.data)
                    .map_err(|error| EmsError::Nonsense(format!("push message: {error}")))?;
                if let PushMessage::Hello { heartbeat_milliseconds } = message {
                    let heartbeat = Duration::from_millis(heartbeat_milliseconds);
                    self.heartbeat = heartbeat.clamp(Duration::from_millis(50), Duration::from_secs(60));
                }
                if event.id.is_some() {
                    self.last_id = event.id;
                }
                return Ok(message);
            }
            let deadline = self.last_heard + self.patience();
            let chunk = match tokio::time::timeout_at(deadline, self.bytes.next()).await {
                Err(_) => return Err(EmsError::TimedOut),
                Ok(None) => return Err(EmsError::Unreachable("EMS closed the push stream".into())),
                Ok(Some(Err(error))) => return Err(EmsError::of_http(&error, "enrolment")),
                Ok(Some(Ok(chunk))) => chunk,
            };
            let events = self.parser.feed(&chunk).map_err(|error| match error {
                StreamError::TooLarge => EmsError::TooLarge { limit: MAXIMUM_EVENT },
                StreamError::NotText => EmsError::Nonsense(error.to_string()),
            })?;
            // Only whole events count: a server that drips bytes is as good as silent.
            if !events.is_empty() {
                self.last_heard = Instant::now();
            }
            self.ready.extend(events);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(id: Option<&str>, data: &str) -> ServerSentEvent {
        ServerSentEvent { id: id.map(str::to_owned), data: data.to_owned() }
    }

    #[test]
    fn events_are_read_whatever_ends_their_lines() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!(": hello{end}id: 7{end}event: x{end}data: a{end}data:b{end}{end}data: c{end}{end}");
            let events = EventParser::default().feed(text.as_bytes()).unwrap();
            assert_eq!(events, [event(Some("7"), "a\nb"), event(None, "c")], "{end:?}");
        }
    }

    #[test]
    fn an_event_without_data_is_none() {
        assert_eq!(EventParser::default().feed(b"id: 7\n\n: comment\n\n").unwrap(), []);
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut parser = EventParser::default();
        let chunk = vec![b'x'; 1 << 20];
        let outcome = (0..32).try_for_each(|_| parser.feed(&chunk).map(|_| ()));
        assert_eq!(outcome, Err(StreamError::TooLarge));
        let mut parser = EventParser::default();
        let line = [b"data: ".as_slice(), &chunk, b"\n"].concat();
        let outcome = (0..32).try_for_each(|_| parser.feed(&line).map(|_| ()));
        assert_eq!(outcome, Err(StreamError::TooLarge));
    }

    #[test]
    fn what_is_not_text_is_refused() {
        assert_eq!(EventParser::default().feed(b"data: \xff\n\n"), Err(StreamError::NotText));
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_cut_does_not_matter(
            text in "(data: [a-z]{0,5}|id: [0-9]|:x|)(\r\n|\n|\r){1,2}(data: [a-z]{0,5}|)(\r\n|\n|\r){1,3}",
            cut in 0usize..40,
        ) {
            let whole = EventParser::default().feed(text.as_bytes()).unwrap();
            let (head, tail) = text.as_bytes().split_at(cut.min(text.len()));
            let mut parser = EventParser::default();
            let mut parts = parser.feed(head).unwrap();
            parts.extend(parser.feed(tail).unwrap());
            prop_assert_eq!(whole, parts);
        }
    }
}
