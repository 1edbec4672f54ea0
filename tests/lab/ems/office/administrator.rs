//! What the administrator can do: one request, one change, one answer with the moment of the change.

use super::decision::{SETTING_PROFILE, SETTING_RULES};
use super::enrolment::{hash, random_code};
use super::{Denial, Office, Sharing};
use crate::ems::stamp::Stamp;
use crate::ems::store::EndpointRow;
use posture::ems::protocol::{EndpointId, Profile, PushMessage, RefusalCode, RuleDocument};
use posture::rules::{TagName, TaggingRuleSet};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One request. Endpoints are named by identifier or by a host name that only one of them has.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum AdministratorRequest {
    /// Makes an invitation that can be used once.
    MakeInvitation {
        /// For whom it is, for people.
        label: String,
        /// For how long it holds.
        valid_seconds: u64,
    },
    /// Replaces the profile.
    SetProfile {
        /// The new one.
        profile: Box<Profile>,
    },
    /// Shows the profile.
    ShowProfile,
    /// Replaces the tagging rules.
    SetRules {
        /// The new ones.
        rule_sets: Vec<TaggingRuleSet>,
    },
    /// Shows the tagging rules.
    ShowRules,
    /// Makes a tag known that people give by hand.
    DefineTag {
        /// The tag.
        tag: TagName,
    },
    /// Gives a tag to an endpoint.
    SetTag {
        /// The endpoint.
        endpoint: String,
        /// The tag; made known when it is not.
        tag: TagName,
    },
    /// Takes a tag away from an endpoint.
    UnsetTag {
        /// The endpoint.
        endpoint: String,
        /// The tag.
        tag: TagName,
    },
    /// Lists endpoints, with their tags.
    ListEndpoints,
    /// Shows the facts of an endpoint as it reported them.
    ShowFacts {
        /// The endpoint.
        endpoint: String,
    },
    /// Lists events.
    ListEvents {
        /// The number of the last event that is not wanted any more.
        after: u64,
    },
    /// Removes an endpoint: its certificate is worth nothing from now on.
    RemoveEndpoint {
        /// The endpoint.
        endpoint: String,
    },
    /// Puts an endpoint into quarantine or out of it.
    Quarantine {
        /// The endpoint.
        endpoint: String,
        /// Into it. The answer then holds the code that ends it at the endpoint.
        on: bool,
        /// What its users are told.
        #[serde(default)]
        message: Option<String>,
    },
    /// Makes a code that overrides the host check of an endpoint for a time.
    MakeBreakGlass {
        /// The endpoint.
        endpoint: String,
        /// For how long it can be used, in seconds.
        use_within_seconds: u32,
        /// For how long it then lasts, in seconds.
        lasts_seconds: u32,
        /// Why it is made: for the audit.
        reason: String,
    },
    /// Lists what administrators did.
    ListAudit {
        /// The number of the last entry that is not wanted any more.
        after: u64,
    },
    /// Makes an endpoint scan for vulnerabilities.
    Scan {
        /// The endpoint.
        endpoint: String,
    },
    /// Adds a gateway, or gives it a new token.
    AddDevice {
        /// Its name.
        device: String,
    },
    /// Sets which endpoints a gateway is told of.
    SetSharing {
        /// The gateway.
        device: String,
        /// Which.
        sharing: Sharing,
    },
    /// Shows what a gateway is told.
    ShowAddresses {
        /// The gateway.
        device: String,
    },
    /// Shows EMS's identifier, pin and certificate authority.
    ShowAuthority,
}

impl Office {
    /// Does what the administrator wants. The answer is an object with the moment at which the change
    /// was stored; what follows from it is already in the channels of the open streams.
    pub fn administer(&mut self, request: AdministratorRequest, now: Stamp) -> Result<Value, Denial> {
        let mut answer = self.change(request, now)?;
        let changed = Stamp::now();
        self.push_news(now)?;
        self.refresh_fabric(now)?;
        if let Value::Object(members) = &mut answer {
            members.insert("unix_milliseconds".into(), changed.unix_milliseconds.into());
            members.insert("boottime_nanoseconds".into(), changed.boottime_nanoseconds.into());
        }
        Ok(answer)
    }

    fn change(&mut self, request: AdministratorRequest, now: Stamp) -> Result<Value, Denial> {
        use AdministratorRequest as Request;
        match request {
            Request::MakeInvitation { label, valid_seconds } => {
                let invitation = self.invite(&label, valid_seconds, now)?;
                Ok(json!({"invitation": invitation.to_string(), "valid_seconds": valid_seconds}))
            }
            Request::SetProfile { profile } => self.set_policy(SETTING_PROFILE, &profile),
            Request::ShowProfile => Ok(json!({"profile": self.profile()?})),
            Request::SetRules { rule_sets } => {
                for set in &rule_sets {
                    set.validate().map_err(Denial::invalid)?;
                }
                self.set_policy(SETTING_RULES, &RuleDocument { rule_sets })
            }
            Request::ShowRules => Ok(json!(self.rules()?)),
            Request::DefineTag { tag } => self.define(&tag),
            Request::SetTag { endpoint, tag } => {
                self.define(&tag)?;
                self.set_tag(&endpoint, &tag, true)
            }
            Request::UnsetTag { endpoint, tag } => self.set_tag(&endpoint, &tag, false),
            Request::ListEndpoints => self.list(now),
            Request::ShowFacts { endpoint } => {
                let endpoint = self.named(&endpoint)?;
                let facts = self.reported(&endpoint)?.map(|reported| reported.object.clone());
                Ok(json!({"report_sequence": endpoint.report_sequence, "facts": facts}))
            }
            Request::ListEvents { after } => Ok(json!({"events": self.store.events_after(after)?})),
            Request::RemoveEndpoint { endpoint } => {
                let endpoint = self.named(&endpoint)?;
                self.audit(now, "remove", Some(&endpoint.id), &endpoint.host_name)?;
                self.remove(&endpoint.id, now)?;
                Ok(json!({"endpoint": endpoint.id}))
            }
            Request::Quarantine { endpoint, on: true, message } => self.quarantine(&endpoint, message, now),
            Request::Quarantine { endpoint, on: false, .. } => {
                let endpoint = self.named(&endpoint)?;
                self.store.set_quarantine(&endpoint.id, None)?;
                self.audit(now, "release", Some(&endpoint.id), "")?;
                Ok(json!({"endpoint": endpoint.id, "quarantined": false}))
            }
            Request::MakeBreakGlass { endpoint, use_within_seconds, lasts_seconds, reason } => {
                self.make_break_glass(&endpoint, use_within_seconds, lasts_seconds, &reason, now)
            }
            Request::ListAudit { after } => Ok(json!({"audit": self.store.audit_after(after)?})),
            Request::Scan { endpoint } => {
                let endpoint = self.named(&endpoint)?;
                self.command(&endpoint.id, PushMessage::Scan);
                Ok(json!({"endpoint": endpoint.id}))
            }
            Request::AddDevice { device } => {
                if device.is_empty() || device.len() > 64 || device.contains(':') {
                    return Err(Denial::invalid("a device's name has 1 to 64 bytes and no colon"));
                }
                let token = random_code()?;
                self.store.set_device(&device, &hash(&token))?;
                Ok(json!({"device": device, "token": token}))
            }
            Request::SetSharing { device, sharing } => {
                if !self.store.set_sharing(&device, sharing == Sharing::All)? {
                    return Err(Denial::invalid(format!("there is no device \"{device}\"")));
                }
                Ok(json!({"device": device, "sharing": sharing}))
            }
            Request::ShowAddresses { device } => {
                let row = self.store.device(&device)?;
                let row = row.ok_or_else(|| Denial::invalid(format!("there is no device \"{device}\"")))?;
                Ok(json!(self.view(&row, now)?))
            }
            Request::ShowAuthority => Ok(json!({
                "ems": self.authority.ems(),
                "name": self.conduct.name,
                "pin": self.authority.pin().to_string(),
                "certificate": self.authority.certificate_pem(),
            })),
        }
    }

    fn set_policy<T: Serialize>(&mut self, setting: &str, policy: &T) -> Result<Value, Denial> {
        let text = serde_json::to_string(policy).map_err(Denial::invalid)?;
        let version = self.store.transaction(|store| {
            store.set_setting(setting, &text)?;
            store.raise_policy_version()?;
            Ok::<_, Denial>(store.policy_version()?)
        })?;
        Ok(json!({"policy_version": version}))
    }

    fn define(&mut self, tag: &TagName) -> Result<Value, Denial> {
        if tag.is_blank() || tag.as_str().len() > 128 {
            return Err(Denial::invalid("a tag's name has 1 to 128 bytes"));
        }
        self.store.add_manual_tag(tag)?;
        Ok(json!({"tag": tag}))
    }

    fn set_tag(&mut self, endpoint: &str, tag: &TagName, given: bool) -> Result<Value, Denial> {
        let endpoint = self.named(endpoint)?;
        self.store.set_tagged(&endpoint.id, tag, given)?;
        Ok(json!({"endpoint": endpoint.id, "tag": tag, "given": given}))
    }

    pub(super) fn named(&self, name: &str) -> Result<EndpointRow, Denial> {
        let mut found = self.store.endpoints_named(name)?;
        match found.len() {
            1 => found.pop().ok_or_else(Denial::stranger),
            0 => Err(Denial::invalid(format!("there is no endpoint \"{name}\""))),
            more => Err(Denial::invalid(format!("{more} endpoints are called \"{name}\": use the identifier"))),
        }
    }

    fn list(&mut self, now: Stamp) -> Result<Value, Denial> {
        let mut listed = Vec::new();
        for endpoint in self.store.endpoints()? {
            let (tags, connected) = (self.tags_of(&endpoint, now)?, self.is_connected(&endpoint.id, now));
            let push = self.streams.values().any(|stream| stream.endpoint == endpoint.id);
            let mut entry = json!(endpoint);
            entry["tags"] = json!(tags);
            entry["telemetry_connected"] = connected.into();
            entry["push"] = push.into();
            listed.push(entry);
        }
        Ok(json!({"endpoints": listed}))
    }

    /// Removes an endpoint and tells it so, where it listens.
    pub(super) fn remove(&mut self, endpoint: &EndpointId, now: Stamp) -> Result<(), Denial> {
        self.store.remove_endpoint(endpoint, now.unix_seconds())?;
        self.command(endpoint, PushMessage::Removed);
        self.streams.retain(|_, stream| stream.endpoint != *endpoint);
        self.backlog.remove(endpoint);
        self.reported.remove(endpoint);
        self.heard_unix.remove(endpoint);
        self.refresh_connected(now)
    }
}

/// The refusal for a method that does not exist is the one of a request that cannot be read.
impl From<serde_json::Error> for Denial {
    fn from(error: serde_json::Error) -> Self {
        Self::new(RefusalCode::RequestInvalid, error.to_string())
    }
}
