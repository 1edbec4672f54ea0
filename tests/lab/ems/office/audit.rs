//! The account of every change: who made it, when, to what, and digests of that before and after.
//!
//! It is written in the transaction of the change itself, so that there is no change without its entry
//! and no entry without its change, also after `kill -9`. A digest is the SHA-256 of what EMS keeps of the
//! subject, as JSON: the `after` of one entry is the `before` of the next of the same subject, unless
//! something else has changed it. Requests that only read are in no entry, nor are those that are refused to
//! an administrator. Whoever comes without the administrator's token is, a few times a minute; what more
//! there was is counted, and told with the next.

use super::decision::{SETTING_PROFILE, SETTING_RULES};
use super::{AdministratorRequest as Request, Denial, Office};
use crate::ems::stamp::Stamp;
use crate::ems::store::AuditEntry;
use posture::ems::protocol::EndpointId;
use posture::ems::signed::Fingerprint;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Who changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A user of EMS's own machine, at the administrator's socket: as the kernel says.
    User(u32),
    /// Whoever showed the administrator's token with this digest.
    Token(Fingerprint),
    /// An endpoint, in what is its own to do.
    Endpoint(EndpointId),
    /// Whoever came to the administrator's interface without the token.
    Stranger,
    /// EMS itself, which finishes what a crash had cut short.
    Ems,
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(formatter, "user {uid}"),
            // The first digits tell one token from another, and nothing about it.
            Self::Token(digest) => {
                formatter.write_str("token ")?;
                digest.0.iter().take(4).try_for_each(|octet| write!(formatter, "{octet:02x}"))
            }
            Self::Endpoint(endpoint) => write!(formatter, "endpoint {endpoint}"),
            Self::Stranger => formatter.write_str("stranger"),
            Self::Ems => formatter.write_str("EMS"),
        }
    }
}

/// What is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// An invitation that is being made: its name comes with it.
    NewInvitation,
    Invitation(String),
    /// The profile for everybody.
    Profile,
    NamedProfile(String),
    RuleSets,
    RuleSet(String),
    Group(String),
    /// The tags that people give by hand.
    Tags,
    Endpoint(EndpointId),
    Certificate(String),
    SigningKey,
    Device(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewInvitation => formatter.write_str("invitation"),
            Self::Invitation(id) => write!(formatter, "invitation {id}"),
            Self::Profile => formatter.write_str("profile"),
            Self::NamedProfile(name) => write!(formatter, "profile {name}"),
            Self::RuleSets => formatter.write_str("rule sets"),
            Self::RuleSet(name) => write!(formatter, "rule set {name}"),
            Self::Group(name) => write!(formatter, "group {name}"),
            Self::Tags => formatter.write_str("tags"),
            Self::Endpoint(endpoint) => write!(formatter, "endpoint {endpoint}"),
            Self::Certificate(serial) => write!(formatter, "certificate {serial}"),
            Self::SigningKey => formatter.write_str("signing key"),
            Self::Device(name) => write!(formatter, "device {name}"),
        }
    }
}

/// How many refusals of strangers are noted in a minute.
const REFUSALS_A_MINUTE: usize = 5;
/// How much of what a stranger wanted is noted, in characters.
const WANTED: usize = 120;

/// Strangers who were refused lately.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    noted_unix: VecDeque<u64>,
    unnoted: u64,
}

/// What is to be noted of a change.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) action: &'static str,
    pub(super) subject: Subject,
    pub(super) endpoint: Option<EndpointId>,
    pub(super) detail: String,
}

impl Note {
    pub(super) fn new(action: &'static str, subject: Subject) -> Self {
        let endpoint = match &subject {
            Subject::Endpoint(endpoint) => Some(endpoint.clone()),
            _ => None,
        };
        Self { action, subject, endpoint, detail: String::new() }
    }

    pub(super) fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

impl Office {
    /// Returns what is to be noted of a request; nothing of one that only reads.
    pub(super) fn note_of(&self, request: &Request) -> Result<Option<Note>, Denial> {
        let endpoint = |name: &str| Ok::<_, Denial>(Subject::Endpoint(self.named(name)?.id));
        let note = match request {
            Request::MakeInvitation { label, .. } => Note::new("make-invitation", Subject::NewInvitation).with(label),
            Request::RevokeInvitation { id } => Note::new("revoke-invitation", Subject::Invitation(id.clone())),
            Request::PutProfile { profile } => Note::new("put-profile", Subject::NamedProfile(profile.name.clone())),
            Request::RemoveProfile { name } => Note::new("remove-profile", Subject::NamedProfile(name.clone())),
            Request::PutRuleSet { rule_set } => Note::new("put-rule-set", Subject::RuleSet(rule_set.name.clone())),
            Request::RemoveRuleSet { name } => Note::new("remove-rule-set", Subject::RuleSet(name.clone())),
            Request::PutGroup { group } => Note::new("put-group", Subject::Group(group.name.clone())),
            Request::RemoveGroup { name } => Note::new("remove-group", Subject::Group(name.clone())),
            Request::AssignGroup { endpoint: name, group } => {
                Note::new("assign-group", endpoint(name)?).with(group.as_deref().unwrap_or_default())
            }
            Request::RevokeCertificate { serial } => {
                let whose = self.store.certificate_of_serial(serial)?.map(|row| row.endpoint);
                Note { endpoint: whose, ..Note::new("revoke-certificate", Subject::Certificate(serial.clone())) }
            }
            Request::RotateSigningKey { overlap_seconds } => {
                Note::new("rotate-signing-key", Subject::SigningKey).with(format!("overlap {overlap_seconds} s"))
            }
            Request::SetProfile { .. } => Note::new("set-profile", Subject::Profile),
            Request::SetRules { .. } => Note::new("set-rules", Subject::RuleSets),
            Request::DefineTag { tag } => Note::new("define-tag", Subject::Tags).with(tag.as_str()),
            Request::SetTag { endpoint: name, tag } => Note::new("set-tag", endpoint(name)?).with(tag.as_str()),
            Request::UnsetTag { endpoint: name, tag } => Note::new("unset-tag", endpoint(name)?).with(tag.as_str()),
            Request::RemoveEndpoint { endpoint: name } => {
                let row = self.named(name)?;
                Note::new("remove-endpoint", Subject::Endpoint(row.id)).with(row.host_name)
            }
            Request::Quarantine { endpoint: name, on: true, .. } => Note::new("quarantine", endpoint(name)?),
            Request::Quarantine { endpoint: name, on: false, .. } => Note::new("release", endpoint(name)?),
            Request::MakeBreakGlass { endpoint: name, lasts_seconds, reason, .. } => {
                Note::new("break-glass", endpoint(name)?).with(format!("lasts {lasts_seconds} s: {reason}"))
            }
            Request::Scan { endpoint: name } => Note::new("scan", endpoint(name)?),
            Request::AddDevice { device } => Note::new("add-device", Subject::Device(device.clone())),
            Request::SetSharing { device, .. } => Note::new("set-sharing", Subject::Device(device.clone())),
            Request::ListInvitations
            | Request::ListProfiles
            | Request::ListGroups
            | Request::ListCertificates { .. }
            | Request::ShowProfile
            | Request::ShowRules
            | Request::ListEndpoints
            | Request::ShowFacts { .. }
            | Request::ListEvents { .. }
            | Request::ListAudit { .. }
            | Request::ShowAddresses { .. }
            | Request::ShowAuthority => return Ok(None),
        };
        Ok(Some(note))
    }

    /// Notes that somebody without the token wanted this; not more often than the account can bear.
    ///
    /// # Errors
    /// When the account cannot be written.
    pub fn refuse_stranger(&mut self, wanted: &str, now: Stamp) -> Result<(), Denial> {
        let (now_unix, refusals) = (now.unix_seconds(), &mut self.refusals);
        refusals.noted_unix.retain(|noted| now_unix.abs_diff(*noted) < 60);
        if refusals.noted_unix.len() >= REFUSALS_A_MINUTE {
            refusals.unnoted = refusals.unnoted.saturating_add(1);
            return Ok(());
        }
        refusals.noted_unix.push_back(now_unix);
        let mut detail: String = wanted.chars().take(WANTED).collect();
        let unnoted = std::mem::take(&mut refusals.unnoted);
        if unnoted > 0 {
            detail += &format!("; {unnoted} more since the last entry of this kind");
        }
        self.store.add_audit(&AuditEntry {
            unix_milliseconds: now.unix_milliseconds,
            actor: Actor::Stranger.to_string(),
            action: "refused".to_owned(),
            subject: "administration".to_owned(),
            endpoint: None,
            detail,
            before: None,
            after: None,
        })?;
        Ok(())
    }

    /// Makes a change and writes its entry, as one.
    pub(super) fn account<T>(
        &mut self,
        mut note: Note,
        actor: &Actor,
        now: Stamp,
        change: impl FnOnce(&mut Self, &mut Note) -> Result<T, Denial>,
    ) -> Result<T, Denial> {
        self.as_one(|office| {
            let before = office.digest(&note.subject)?;
            let value = change(office, &mut note)?;
            let after = office.digest(&note.subject)?;
            office.store.add_audit(&AuditEntry {
                unix_milliseconds: now.unix_milliseconds,
                actor: actor.to_string(),
                action: note.action.to_owned(),
                subject: note.subject.to_string(),
                endpoint: note.endpoint,
                detail: note.detail,
                before,
                after,
            })?;
            Ok(value)
        })
    }

    /// Runs changes as one: all of them or none, however it ends. What is to be told follows only then.
    fn as_one<T>(&mut self, change: impl FnOnce(&mut Self) -> Result<T, Denial>) -> Result<T, Denial> {
        self.store.begin()?;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let value = change(self)?;
            self.store.commit()?;
            Ok(value)
        }));
        if !matches!(outcome, Ok(Ok(_))) {
            self.consequences.clear();
            if let Err(error) = self.store.roll_back() {
                tracing::error!(%error, "changes could not be taken back");
            }
        }
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn digest(&self, subject: &Subject) -> Result<Option<String>, Denial> {
        let kept = self.kept(subject)?;
        Ok(kept.map(|kept| hex::encode(Fingerprint::of(kept.to_string().as_bytes()).0)))
    }

    /// Returns what EMS keeps of a subject; nothing where there is none of that name.
    fn kept(&self, subject: &Subject) -> Result<Option<Value>, Denial> {
        Ok(match subject {
            Subject::NewInvitation => None,
            Subject::Invitation(id) => {
                self.store.invitations()?.into_iter().find(|row| row.id == *id).map(|row| json!(row))
            }
            Subject::Profile => self.store.setting(SETTING_PROFILE)?.map(Value::String),
            Subject::NamedProfile(name) => self.store.named_profile(name)?.map(Value::String),
            Subject::RuleSets => self.store.setting(SETTING_RULES)?.map(Value::String),
            Subject::RuleSet(name) => {
                self.rules()?.rule_sets.into_iter().find(|set| set.name == *name).map(|set| json!(set))
            }
            Subject::Group(name) => self.store.group(name)?.map(|group| json!(group)),
            Subject::Tags => Some(json!(self.store.manual_tags()?)),
            Subject::Endpoint(id) => {
                let mut tags = self.store.tags_of(id)?;
                tags.sort();
                let row = self.store.endpoints_named(&id.0)?.into_iter().find(|row| row.id == *id);
                row.map(|row| json!([row.group, row.quarantine, row.break_glass, tags]))
            }
            Subject::Certificate(serial) => self.store.certificate_of_serial(serial)?.map(|row| json!(row)),
            Subject::SigningKey => Some(json!(self.authority.public_key())),
            Subject::Device(name) => {
                self.store.device(name)?.map(|device| json!([device.share_all, device.token_hash]))
            }
        })
    }
}
