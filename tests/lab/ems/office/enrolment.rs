//! Invitations, used once, and enrolment.

use super::certificate::certificate_row;
use super::{Denial, Office};
use crate::ems::stamp::Stamp;
use crate::ems::store::{NewEndpoint, NewInvitation};
use posture::ems::Invitation;
use posture::ems::protocol::{EndpointId, EnrolReply, EnrolRequest, RefusalCode};
use posture::ems::signed::Fingerprint;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// The longest text that is taken about an endpoint.
const LONGEST_TEXT: usize = 255;
/// The characters of codes and tokens: none that look alike.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// Addresses of which attempts are remembered; beyond, everybody waits.
const MOST_ADDRESSES: usize = 4_096;

/// When which address tried to enrol.
#[derive(Default)]
pub(super) struct Attempts {
    of: HashMap<IpAddr, VecDeque<u64>>,
}

impl Attempts {
    /// Counts an attempt; `false` when there were too many in the last minute.
    pub(super) fn allow(&mut self, address: IpAddr, most: usize, now_unix: u64) -> bool {
        let recent = |times: &mut VecDeque<u64>| {
            times.retain(|time| now_unix.saturating_sub(*time) < 60);
            !times.is_empty()
        };
        self.of.retain(|_, times| recent(times));
        if self.of.len() >= MOST_ADDRESSES && !self.of.contains_key(&address) {
            return false;
        }
        let times = self.of.entry(address).or_default();
        if times.len() >= most {
            return false;
        }
        times.push_back(now_unix);
        true
    }
}

/// Makes a random code of 20 characters: 100 bits.
pub(super) fn random_code() -> Result<String, Denial> {
    let mut bytes = [0u8; 20];
    getrandom::fill(&mut bytes).map_err(|_| Denial::new(RefusalCode::ServerFailed, "no random numbers"))?;
    Ok(bytes
        .iter()
        .filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()))
        .map(|c| char::from(*c))
        .collect())
}

/// Makes a random token: as a code, and longer.
///
/// # Errors
/// Where there are no random numbers.
pub fn random_token() -> Result<String, Denial> {
    Ok(random_code()? + &random_code()?)
}

/// Puts a code into groups of four, as people read it out.
pub(super) fn grouped(code: &str) -> String {
    let groups: Vec<&str> = code.as_bytes().chunks(4).filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join("-")
}

/// Codes and tokens are stored as hashes: a stolen database enrols nobody.
pub(super) fn hash(code: &str) -> [u8; 32] {
    Fingerprint::of(code.as_bytes()).0
}

/// Returns by what an administrator names the invitation of a code: the first digits of its hash.
pub(super) fn invitation_name(code: &str) -> String {
    hash(code).iter().take(8).map(|octet| format!("{octet:02x}")).collect()
}

impl Office {
    /// Makes an invitation that can be used `uses` times (0: without a limit), into a group.
    pub fn invite(
        &mut self,
        label: &str,
        valid_seconds: u64,
        uses: u64,
        group: Option<&str>,
        now: Stamp,
    ) -> Result<Invitation, Denial> {
        if label.len() > LONGEST_TEXT {
            return Err(Denial::invalid("the label is too long"));
        }
        self.check_group(group)?;
        let (code, now_unix) = (random_code()?, now.unix_seconds());
        let expires_unix = now_unix.saturating_add(valid_seconds);
        let new = NewInvitation { code_hash: &hash(&code), label, uses, expires_unix, group };
        self.store.add_invitation(&new, now_unix)?;
        Ok(Invitation { address: self.conduct.address.clone(), code, pin: self.authority.pin() })
    }

    /// Enrols an endpoint. The invitation is used up only by an enrolment that succeeds.
    pub fn enrol(&mut self, request: &EnrolRequest, from: IpAddr, now: Stamp) -> Result<EnrolReply, Denial> {
        let now_unix = now.unix_seconds();
        if !self.attempts.allow(from, self.conduct.attempts_a_minute, now_unix) {
            return Err(Denial::new(RefusalCode::RateLimited, "too many attempts; try again in a minute"));
        }
        let texts = [&request.code, &request.host_name, &request.system, &request.agent_version];
        if texts.iter().any(|text| text.len() > LONGEST_TEXT) {
            return Err(Denial::invalid("a text is too long"));
        }
        let code = hash(&request.code);
        let invitation = self
            .store
            .invitation(&code)?
            .ok_or_else(|| Denial::new(RefusalCode::InvitationUnknown, "there is no such invitation"))?;
        if invitation.revoked {
            return Err(Denial::new(RefusalCode::InvitationExpired, "the invitation was taken back"));
        }
        if invitation.uses > 0 && invitation.used >= invitation.uses {
            return Err(Denial::new(RefusalCode::InvitationUsed, "the invitation was used before"));
        }
        if now_unix >= invitation.expires_unix {
            return Err(Denial::new(RefusalCode::InvitationExpired, "the invitation's time is over"));
        }
        let endpoint = EndpointId(random_code()?);
        let issued = self.issue(&request.certificate_request, &endpoint, now)?;
        let row = certificate_row(&issued, &endpoint, now);
        let new = NewEndpoint {
            id: &endpoint,
            fingerprint: row.fingerprint,
            host_name: &request.host_name,
            system: &request.system,
            agent_version: &request.agent_version,
            address: &from.to_string(),
        };
        self.store.transaction(|store| {
            if !store.use_invitation(&code, &endpoint.0, now_unix)? {
                return Err(Denial::new(RefusalCode::InvitationUsed, "the invitation was used before"));
            }
            store.add_endpoint(&new, now_unix)?;
            store.assign_group(&endpoint, invitation.group.as_deref())?;
            Ok(store.add_certificate(&row)?)
        })?;
        tracing::info!(%endpoint, host = request.host_name, %from, "enrolled");
        Ok(EnrolReply {
            ems: self.authority.ems(),
            ems_name: self.conduct.name.clone(),
            endpoint,
            certificate: issued.certificate.to_vec(),
            authority: self.authority.certificate().to_vec(),
            signing_key: self.authority.signing_key(),
            keys: self.authority.announcements().to_vec(),
            renew_after_unix: self.renew_after(now),
        })
    }
}
