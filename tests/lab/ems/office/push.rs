//! Open push streams, and what is put into them.

use super::{Denial, Office};
use crate::ems::stamp::Stamp;
use crate::ems::store::EndpointRow;
use posture::ems::protocol::{DocumentSet, EndpointId, Have, PushMessage};
use posture::ems::signed::{Document, Signed};
use std::collections::HashSet;
use std::net::IpAddr;
use tokio::sync::mpsc;

/// Names one open stream.
pub type StreamId = u64;

/// How many messages wait for a slow reader before its stream is closed.
const MOST_WAITING: usize = 64;
/// How many commands are kept for an endpoint that is away.
const MOST_KEPT: usize = 32;

/// One message with the id by which a stream is resumed after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The id.
    pub id: u64,
    /// The message.
    pub message: PushMessage,
}

pub(super) struct Stream {
    pub(super) endpoint: EndpointId,
    have: Have,
    sender: mpsc::Sender<Pushed>,
}

impl Office {
    /// Opens a stream: what the endpoint missed is in it already.
    pub fn subscribe(
        &mut self,
        certificate: &[u8],
        have: Have,
        last_id: Option<u64>,
        from: IpAddr,
        now: Stamp,
    ) -> Result<(StreamId, mpsc::Receiver<Pushed>), Denial> {
        let endpoint = self.identify(certificate, from, now)?;
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        let stream = self.next_number();
        let hello = PushMessage::Hello { heartbeat_milliseconds: self.conduct.heartbeat_milliseconds };
        // The channel is new and holds more than these.
        let _ = sender.try_send(Pushed { id: stream, message: hello });
        if let Some(last) = last_id {
            let kept = self.backlog.get(&endpoint.id).into_iter().flatten();
            for pushed in kept.filter(|pushed| pushed.id > last) {
                let _ = sender.try_send(pushed.clone());
            }
        }
        self.streams.insert(stream, Stream { endpoint: endpoint.id.clone(), have, sender });
        self.refresh_connected(now)?;
        let documents = self.documents_for(&endpoint, have, now)?;
        self.send_documents(stream, documents);
        Ok((stream, receiver))
    }

    /// Closes a stream.
    pub fn unsubscribe(&mut self, stream: StreamId, now: Stamp) -> Result<(), Denial> {
        self.watchers.remove(&stream);
        if let Some(stream) = self.streams.remove(&stream) {
            self.heard_boot.insert(stream.endpoint, now.boot_seconds());
        }
        self.refresh_connected(now)
    }

    /// Sends a command to an endpoint, now or when it comes back.
    pub(super) fn command(&mut self, endpoint: &EndpointId, message: PushMessage) {
        let pushed = Pushed { id: self.next_number(), message };
        let kept = self.backlog.entry(endpoint.clone()).or_default();
        if kept.len() >= MOST_KEPT {
            kept.pop_front();
        }
        kept.push_back(pushed.clone());
        self.streams.retain(|_, stream| stream.endpoint != *endpoint || stream.sender.try_send(pushed.clone()).is_ok());
    }

    /// Tells every open stream what is new for it.
    pub(super) fn push_news(&mut self, now: Stamp) -> Result<(), Denial> {
        for endpoint in self.store.endpoints()? {
            let open: Vec<(StreamId, Have)> = self
                .streams
                .iter()
                .filter(|(_, stream)| stream.endpoint == endpoint.id)
                .map(|(id, stream)| (*id, stream.have))
                .collect();
            for (stream, have) in open {
                let documents = self.documents_for(&endpoint, have, now)?;
                self.send_documents(stream, documents);
            }
        }
        Ok(())
    }

    fn send_documents(&mut self, id: StreamId, documents: DocumentSet) {
        if documents.is_empty() {
            return;
        }
        let pushed =
            Pushed { id: self.next_number(), message: PushMessage::Documents { documents: documents.clone() } };
        let newest = self.newest_key();
        let Some(stream) = self.streams.get_mut(&id) else { return };
        note(&mut stream.have, &documents, newest);
        if stream.sender.try_send(pushed).is_err() {
            self.streams.remove(&id);
        }
    }

    /// Notes documents that reached an endpoint on another way.
    pub(super) fn note_sent(&mut self, endpoint: &EndpointId, documents: &DocumentSet) {
        let newest = self.newest_key();
        for stream in self.streams.values_mut().filter(|stream| stream.endpoint == *endpoint) {
            note(&mut stream.have, documents, newest);
        }
    }

    fn newest_key(&self) -> u64 {
        u64::try_from(self.authority.announcements().len()).unwrap_or(u64::MAX)
    }

    /// Finds out who came and who went; tags that follow from that are pushed and shared.
    pub(super) fn refresh_connected(&mut self, now: Stamp) -> Result<(), Denial> {
        self.streams.retain(|_, stream| !stream.sender.is_closed());
        let known = self.store.endpoints()?;
        let those = |is: &dyn Fn(&EndpointRow) -> bool| -> HashSet<EndpointId> {
            known.iter().filter(|endpoint| is(endpoint)).map(|endpoint| endpoint.id.clone()).collect()
        };
        let connected = those(&|endpoint| self.is_connected(&endpoint.id, now));
        let lapsed = those(&|endpoint| self.is_lapsed(endpoint, now));
        if connected != self.connected || lapsed != self.lapsed {
            (self.connected, self.lapsed) = (connected, lapsed);
            self.push_news(now)?;
            self.refresh_fabric(now)?;
        }
        Ok(())
    }

    /// Looks at what only time changes. To be called about once a second.
    pub fn tick(&mut self, now: Stamp) -> Result<(), Denial> {
        self.refresh_connected(now)
    }
}

/// Notes what an endpoint has now. Every set of documents goes with the announcements up to the newest key.
fn note(have: &mut Have, documents: &DocumentSet, newest_key: u64) {
    let counter = |signed: &Option<Signed>| {
        let document = signed
            .as_ref()
            .and_then(|signed| serde_json::from_slice::<Document<serde::de::IgnoredAny>>(&signed.body).ok());
        document.map(|document| document.binding.counter)
    };
    have.profile = counter(&documents.profile).unwrap_or(have.profile);
    have.rules = counter(&documents.rules).unwrap_or(have.rules);
    have.tags = counter(&documents.tags).unwrap_or(have.tags);
    have.key = newest_key;
}
