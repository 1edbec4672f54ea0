//! Certificates of endpoints: issued, renewed under the one that holds, revoked; and the key that signs
//! documents, which another follows.

use super::administrator::Consequence;
use super::audit::{Note, Subject};
use super::{Actor, Denial, Office};
use crate::ems::authority::Issued;
use crate::ems::stamp::Stamp;
use crate::ems::store::{CertificateRow, EndpointRow};
use posture::ems::protocol::{EndpointId, RefusalCode, RenewReply, RenewRequest};
use posture::ems::signed::{Fingerprint, MOST_ANNOUNCEMENTS};
use serde_json::{Value, json};
use std::net::IpAddr;

const SETTING_SIGNING_KEY: &str = "signing_key";
/// The longest overlap of two signing keys, in seconds: a year.
const LONGEST_OVERLAP: u64 = 365 * 86_400;

impl Office {
    /// Issues a certificate that holds for as long as EMS lets certificates hold.
    pub(super) fn issue(&self, request: &[u8], endpoint: &EndpointId, now: Stamp) -> Result<Issued, Denial> {
        self.authority
            .issue(request, endpoint, now.unix_seconds(), self.conduct.certificate_seconds)
            .map_err(|error| Denial::invalid(format!("{error:#}")))
    }

    /// Returns when a certificate that is issued now is to be renewed: after two thirds of its time.
    pub(super) const fn renew_after(&self, now: Stamp) -> u64 {
        now.unix_seconds().saturating_add(self.conduct.certificate_seconds / 3 * 2)
    }

    /// Issues the next certificate of an endpoint. Both hold until the new one is shown for the first
    /// time, so that a reply that is lost locks nobody out; of several the last holds.
    pub fn renew(
        &mut self,
        certificate: &[u8],
        request: &RenewRequest,
        from: IpAddr,
        now: Stamp,
    ) -> Result<RenewReply, Denial> {
        let endpoint = self.identify(certificate, from, now)?;
        let issued = self.issue(&request.certificate_request, &endpoint.id, now)?;
        let row = certificate_row(&issued, &endpoint.id, now);
        self.store.transaction(|store| {
            for pending in store.certificates_of(&endpoint.id)? {
                if pending.ended_unix.is_none() && pending.fingerprint != endpoint.fingerprint {
                    store.end_certificate(pending.fingerprint, "replaced", now.unix_seconds())?;
                }
            }
            Ok::<_, Denial>(store.add_certificate(&row)?)
        })?;
        tracing::info!(endpoint = %endpoint.id, serial = row.serial, "certificate renewed");
        Ok(RenewReply { certificate: issued.certificate.to_vec(), renew_after_unix: self.renew_after(now) })
    }

    /// Takes a certificate that is shown for the first time as the one of its endpoint from now on.
    pub(super) fn adopt(&mut self, endpoint: &EndpointRow, shown: Fingerprint, now: Stamp) -> Result<(), Denial> {
        self.store.transaction(|store| store.adopt_certificate(&endpoint.id, shown, now.unix_seconds()))?;
        // What was opened under the old one ends with it.
        self.streams.retain(|_, stream| stream.endpoint != endpoint.id);
        Ok(())
    }

    /// Revokes a certificate: it is refused from the next request on, also on a connection that stands.
    pub(super) fn revoke_certificate(&mut self, serial: &str, now: Stamp) -> Result<Value, Denial> {
        let found = self.store.certificate_of_serial(serial)?;
        let row = found.ok_or_else(|| Denial::missing(format!("there is no certificate {serial}")))?;
        self.store.end_certificate(row.fingerprint, "revoked", now.unix_seconds())?;
        let current = self.store.endpoints_named(&row.endpoint.0)?;
        if current.iter().any(|endpoint| endpoint.fingerprint == row.fingerprint) {
            self.consequences.push(Consequence::Removed(row.endpoint.clone()));
        }
        Ok(json!({"serial": serial, "endpoint": row.endpoint}))
    }

    pub(super) fn list_certificates(&self, endpoint: &str) -> Result<Value, Denial> {
        let endpoint = self.named(endpoint)?;
        Ok(json!({"certificates": self.store.certificates_of(&endpoint.id)?}))
    }

    /// Signs with a new key from now on. Endpoints are told the key and everything that is signed with
    /// it at once; what they hold under the old key holds for the overlap.
    pub(super) fn rotate_signing_key(&mut self, overlap_seconds: u64, now: Stamp) -> Result<Value, Denial> {
        if overlap_seconds > LONGEST_OVERLAP {
            return Err(Denial::invalid(format!("the overlap is at most {LONGEST_OVERLAP} s")));
        }
        if self.authority.announcements().len() >= MOST_ANNOUNCEMENTS {
            return Err(Denial::invalid("this EMS has had every key that endpoints follow"));
        }
        let until = now.unix_seconds().saturating_add(overlap_seconds);
        let number = self.authority.rotate_signing_key(until).map_err(|error| {
            tracing::error!(%error, "the signing key cannot be changed");
            Denial::new(RefusalCode::ServerFailed, "the signing key could not be changed")
        })?;
        self.sign_with_the_newest_key()?;
        Ok(json!({"key": number, "overlap_until_unix": until}))
    }

    /// Forgets what an older key signed.
    fn sign_with_the_newest_key(&mut self) -> Result<(), Denial> {
        let newest = self.authority.announcements().len().to_string();
        Ok(self.store.transaction(|store| {
            store.forget_documents()?;
            store.set_setting(SETTING_SIGNING_KEY, &newest)
        })?)
    }

    /// Finishes a rotation that a crash has cut short once the new key was announced.
    pub(super) fn finish_rotation(&mut self) -> Result<(), Denial> {
        let newest = self.authority.announcements().len().to_string();
        let last = self.store.setting(SETTING_SIGNING_KEY)?.unwrap_or_else(|| "0".into());
        if newest == last {
            return Ok(());
        }
        let note = Note::new("rotate-signing-key", Subject::SigningKey).with("finished after a restart");
        self.account(note, &Actor::Ems, Stamp::now(), |office, _| office.sign_with_the_newest_key())
    }
}

/// Makes the row of a certificate that was just issued.
pub(super) fn certificate_row(issued: &Issued, endpoint: &EndpointId, now: Stamp) -> CertificateRow {
    CertificateRow {
        fingerprint: Fingerprint::of(&issued.certificate),
        endpoint: endpoint.clone(),
        serial: issued.serial.clone(),
        issued_unix: now.unix_seconds(),
        expires_unix: issued.expires_unix,
        ended_unix: None,
        ended_because: None,
    }
}
