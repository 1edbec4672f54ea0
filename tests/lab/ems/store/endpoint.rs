//! Endpoints: who they are, what they reported, what was signed for them, what happened there.

use super::StoreError;
use posture::ems::protocol::{DocumentKind, EndpointEvent, EndpointId, Quarantine};
use posture::ems::signed::{Fingerprint, Signed};
use serde::Serialize;

/// An endpoint that enrols.
pub struct NewEndpoint<'a> {
    /// Its identifier.
    pub id: &'a EndpointId,
    /// The fingerprint of its certificate.
    pub fingerprint: Fingerprint,
    /// Its host name.
    pub host_name: &'a str,
    /// Its operating system.
    pub system: &'a str,
    /// Its agent's version.
    pub agent_version: &'a str,
    /// Where EMS saw it.
    pub address: &'a str,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointRow {
    /// Its identifier.
    pub id: EndpointId,
    /// The fingerprint of its certificate.
    pub fingerprint: Fingerprint,
    /// Its host name, as it said itself.
    pub host_name: String,
    /// When it enrolled.
    pub enrolled_unix: u64,
    /// Where EMS saw it last.
    pub address: String,
    /// When EMS saw it last.
    pub last_seen_unix: u64,
    /// The group in which it is.
    pub group: Option<String>,
    /// The quarantine in which it is.
    pub quarantine: Option<Quarantine>,
    /// The number of the report that holds.
    pub report_sequence: u64,
    /// The last counter that was given to a document for it.
    pub counter: u64,
    /// The number of the last break-glass code that was made for it.
    pub break_glass: u64,
}

/// A document that was signed for an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedDocument {
    /// Its counter.
    pub counter: u64,
    /// The policy it was made under.
    pub policy_version: u64,
    /// When it was made.
    pub issued_unix: u64,
    /// Until when it holds.
    pub expires_unix: u64,
    /// What it says, without the binding: to see whether anything changed.
    pub content: Vec<u8>,
    /// What was sent.
    pub signed: Signed,
}

/// One event of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredEvent {
    /// Grows by one with each event of this EMS.
    pub number: u64,
    /// Whose it is.
    pub endpoint: EndpointId,
    /// When EMS received it.
    pub received_unix_milliseconds: u64,
    /// What the endpoint said.
    #[serde(flatten)]
    pub event: EndpointEvent,
}

/// Endpoints, their documents and their events.
pub trait Endpoints {
    /// Adds an endpoint.
    fn add_endpoint(&mut self, new: &NewEndpoint<'_>, now_unix: u64) -> Result<(), StoreError>;

    /// Finds the endpoint of a certificate that holds at a moment.
    fn endpoint_of(&self, fingerprint: Fingerprint, now_unix: u64) -> Result<Option<EndpointRow>, StoreError>;

    /// Finds endpoints by identifier or host name, unless they were removed.
    fn endpoints_named(&self, name: &str) -> Result<Vec<EndpointRow>, StoreError>;

    /// Lists every endpoint that was not removed, in the order of enrolment.
    fn endpoints(&self) -> Result<Vec<EndpointRow>, StoreError>;

    /// Notes where and when an endpoint was seen.
    fn saw_endpoint(&mut self, id: &EndpointId, address: &str, now_unix: u64) -> Result<(), StoreError>;

    /// Reads an endpoint's facts as it reported them.
    fn facts(&self, id: &EndpointId) -> Result<Option<String>, StoreError>;

    /// Writes an endpoint's facts and the number of their report.
    fn set_facts(&mut self, id: &EndpointId, sequence: u64, facts: &str) -> Result<(), StoreError>;

    /// Puts an endpoint into quarantine or out of it.
    fn set_quarantine(&mut self, id: &EndpointId, quarantine: Option<&Quarantine>) -> Result<(), StoreError>;

    /// Takes the next number for a break-glass code.
    fn next_break_glass(&mut self, id: &EndpointId) -> Result<u64, StoreError>;

    /// Removes an endpoint: its certificate is worth nothing from now on. Its events stay.
    fn remove_endpoint(&mut self, id: &EndpointId, now_unix: u64) -> Result<(), StoreError>;

    /// Takes the next counter for a document.
    fn next_counter(&mut self, id: &EndpointId) -> Result<u64, StoreError>;

    /// Reads the newest document of a kind.
    fn document(&self, id: &EndpointId, kind: DocumentKind) -> Result<Option<IssuedDocument>, StoreError>;

    /// Writes a document over the last one of its kind.
    fn set_document(
        &mut self,
        id: &EndpointId,
        kind: DocumentKind,
        document: &IssuedDocument,
    ) -> Result<(), StoreError>;

    /// Stores an event once, however often it is uploaded.
    fn add_event(
        &mut self,
        id: &EndpointId,
        event: &EndpointEvent,
        received_unix_milliseconds: u64,
    ) -> Result<(), StoreError>;

    /// Forgets the oldest events of an endpoint beyond a number of them.
    fn bound_events(&mut self, id: &EndpointId, most: u64) -> Result<(), StoreError>;

    /// Lists events after a number, of one endpoint or of all, oldest first, at most a thousand.
    fn events_after(&self, number: u64, of: Option<&EndpointId>) -> Result<Vec<StoredEvent>, StoreError>;
}
