//! What endpoints ask for. Each request begins with the certificate that TLS verified.

use super::audit::{Note, Subject};
use super::{Actor, Denial, Office, Reported};
use crate::ems::stamp::Stamp;
use crate::ems::store::EndpointRow;
use posture::ems::protocol::{
    DocumentSet, EventReceipt, EventUpload, FactsObject, Have, RefusalCode, ReleaseRequest, Report, ReportBody,
    ReportReply, merge, read_facts,
};
use posture::ems::signed::Fingerprint;
use std::net::IpAddr;
use std::sync::Arc;

/// How many events one upload may hold.
const MOST_EVENTS: usize = 1_000;
/// The longest text of an event.
const LONGEST_TEXT: usize = 4_096;

impl Office {
    /// Finds out who asks.
    pub(super) fn identify(&mut self, certificate: &[u8], from: IpAddr, now: Stamp) -> Result<EndpointRow, Denial> {
        let shown = Fingerprint::of(certificate);
        let found = self.store.endpoint_of(shown, now.unix_seconds())?;
        let mut endpoint = found.ok_or_else(Denial::stranger)?;
        if endpoint.fingerprint != shown {
            self.adopt(&endpoint, shown, now)?;
            endpoint.fingerprint = shown;
        }
        let address = from.to_string();
        self.heard_boot.insert(endpoint.id.clone(), now.boot_seconds());
        self.store.saw_endpoint(&endpoint.id, &address, now.unix_seconds())?;
        Ok(EndpointRow { address, last_seen_unix: now.unix_seconds(), ..endpoint })
    }

    /// Takes a report and answers with what follows from it.
    pub fn report(
        &mut self,
        certificate: &[u8],
        report: Report,
        from: IpAddr,
        now: Stamp,
    ) -> Result<ReportReply, Denial> {
        let endpoint = self.identify(certificate, from, now)?;
        let object = self.combined(&endpoint, report.body)?;
        let facts = read_facts(&object).map_err(|error| Denial::invalid(format!("facts: {error}")))?;
        let text = serde_json::to_string(&object).map_err(Denial::invalid)?;
        self.store.set_facts(&endpoint.id, report.sequence, &text)?;
        self.reported
            .insert(endpoint.id.clone(), Reported { sequence: report.sequence, object, facts: Arc::new(facts) });
        let endpoint = EndpointRow { report_sequence: report.sequence, ..endpoint };
        let documents = self.documents_for(&endpoint, report.have, now)?;
        // The reply carries the documents; the stream is not to say them again.
        self.note_sent(&endpoint.id, &documents);
        self.refresh_connected(now)?;
        self.refresh_fabric(now)?;
        Ok(ReportReply { keep_alive_seconds: self.conduct.keep_alive_seconds, documents })
    }

    fn combined(&mut self, endpoint: &EndpointRow, body: ReportBody) -> Result<FactsObject, Denial> {
        let needed = || Denial::new(RefusalCode::FullReportNeeded, "send the facts in full");
        let (base, changes) = match body {
            ReportBody::Full { facts } => return Ok(facts),
            ReportBody::Changes { base, facts } => (base, facts),
            ReportBody::Unchanged { base } => (base, FactsObject::new()),
        };
        let held = self.reported(endpoint)?.ok_or_else(needed)?;
        if held.sequence != base {
            return Err(needed());
        }
        let mut object = held.object.clone();
        merge(&mut object, &changes);
        Ok(object)
    }

    /// Returns the facts of an endpoint, from the store where this process has not seen them yet.
    pub(super) fn reported(&mut self, endpoint: &EndpointRow) -> Result<Option<&Reported>, Denial> {
        if !self.reported.contains_key(&endpoint.id) {
            let Some(text) = self.store.facts(&endpoint.id)? else { return Ok(None) };
            let damaged = |error| Denial::new(RefusalCode::ServerFailed, format!("stored facts: {error}"));
            let object: FactsObject = serde_json::from_str(&text).map_err(damaged)?;
            let facts = Arc::new(read_facts(&object).map_err(damaged)?);
            let reported = Reported { sequence: endpoint.report_sequence, object, facts };
            self.reported.insert(endpoint.id.clone(), reported);
        }
        Ok(self.reported.get(&endpoint.id))
    }

    /// Answers a poll.
    pub fn documents(
        &mut self,
        certificate: &[u8],
        have: Have,
        from: IpAddr,
        now: Stamp,
    ) -> Result<DocumentSet, Denial> {
        let endpoint = self.identify(certificate, from, now)?;
        self.refresh_connected(now)?;
        self.documents_for(&endpoint, have, now)
    }

    /// Stores events.
    pub fn upload(
        &mut self,
        certificate: &[u8],
        upload: &EventUpload,
        from: IpAddr,
        now: Stamp,
    ) -> Result<EventReceipt, Denial> {
        let endpoint = self.identify(certificate, from, now)?;
        if upload.events.len() > MOST_EVENTS {
            return Err(Denial::invalid("too many events in one upload"));
        }
        let (mut stored, most) = (0, self.conduct.events_most);
        self.store.transaction(|store| {
            for event in &upload.events {
                let texts = [&event.id, &event.tunnel, &event.cause, &event.detail];
                if event.id.is_empty() || texts.iter().any(|text| text.len() > LONGEST_TEXT) {
                    return Err(Denial::invalid("an event has no id or a text that is too long"));
                }
                store.add_event(&endpoint.id, event, now.unix_milliseconds)?;
                stored += 1;
            }
            Ok(store.bound_events(&endpoint.id, most)?)
        })?;
        Ok(EventReceipt { stored })
    }

    /// Hears that a quarantine was ended at the endpoint, and believes it when the code is right. A
    /// quarantine that is over already needs no code.
    pub fn release(
        &mut self,
        certificate: &[u8],
        release: &ReleaseRequest,
        from: IpAddr,
        now: Stamp,
    ) -> Result<(), Denial> {
        let endpoint = self.identify(certificate, from, now)?;
        let Some(quarantine) = endpoint.quarantine.filter(|quarantine| quarantine.id == release.quarantine) else {
            return Ok(());
        };
        if !self.attempts.allow(from, self.conduct.attempts_a_minute, now.unix_seconds()) {
            return Err(Denial::new(RefusalCode::RateLimited, "too many attempts, ask again in a minute"));
        }
        if !quarantine.is_released_by(&release.code) {
            return Err(Denial::new(RefusalCode::NotAllowed, "the code does not release this quarantine"));
        }
        let actor = Actor::Endpoint(endpoint.id.clone());
        let note = Note::new("release-by-code", Subject::Endpoint(endpoint.id.clone())).with(quarantine.id);
        self.account(note, &actor, now, |office, _| Ok(office.store.set_quarantine(&endpoint.id, None)?))?;
        self.push_news(now)
    }

    /// Lets an endpoint leave, where the profile allows it and no quarantine holds it.
    pub fn unenrol(&mut self, certificate: &[u8], from: IpAddr, now: Stamp) -> Result<(), Denial> {
        let endpoint = self.identify(certificate, from, now)?;
        if !self.profile_of(&endpoint)?.unenrol_allowed {
            return Err(Denial::new(RefusalCode::NotAllowed, "the administrator does not allow leaving"));
        }
        if endpoint.quarantine.is_some() {
            return Err(Denial::new(RefusalCode::NotAllowed, "an endpoint in quarantine does not leave"));
        }
        let actor = Actor::Endpoint(endpoint.id.clone());
        let note = Note::new("unenrol", Subject::Endpoint(endpoint.id.clone())).with(endpoint.host_name);
        self.account(note, &actor, now, |office, _| office.remove(&endpoint.id, now))?;
        self.follow(now)
    }
}
