//! What the administrator can do: one request, one change, one answer with the moment of the change.

use super::audit::{Note, Subject};
use super::decision::SETTING_PROFILE;
use super::enrolment::{hash, invitation_name, random_code};
use super::group::check_profile;
use super::{Actor, Denial, Office, Sharing};
use crate::ems::stamp::Stamp;
use crate::ems::store::{EndpointRow, GroupRow, Store};
use posture::ems::protocol::{EndpointId, Profile, PushMessage, RefusalCode};
use posture::rules::{TagName, TaggingRuleSet};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One request. Endpoints are named by identifier or by a host name that only one of them has.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum AdministratorRequest {
    /// Makes an invitation.
    MakeInvitation {
        /// For whom it is, for people.
        label: String,
        /// For how long it holds.
        valid_seconds: u64,
        /// How often it can be used; 0 is without a limit.
        #[serde(default = "once")]
        uses: u64,
        /// The group of the endpoints that it lets in.
        #[serde(default)]
        group: Option<String>,
    },
    /// Lists invitations, newest first.
    ListInvitations,
    /// Takes an invitation back.
    RevokeInvitation {
        /// Its name in the list.
        id: String,
    },
    /// Writes a profile for groups, under its own name.
    PutProfile {
        /// The profile.
        profile: Box<Profile>,
    },
    /// Lists the profiles for groups.
    ListProfiles,
    /// Removes a profile that no group has.
    RemoveProfile {
        /// Its name.
        name: String,
    },
    /// Writes one rule set among the others, under its own name.
    PutRuleSet {
        /// The rule set.
        rule_set: Box<TaggingRuleSet>,
    },
    /// Removes a rule set.
    RemoveRuleSet {
        /// Its name.
        name: String,
    },
    /// Writes a group.
    PutGroup {
        /// The group.
        group: GroupRow,
    },
    /// Lists the groups.
    ListGroups,
    /// Removes a group; its endpoints are in none then.
    RemoveGroup {
        /// Its name.
        name: String,
    },
    /// Puts an endpoint into a group, or out of every group.
    AssignGroup {
        /// The endpoint.
        endpoint: String,
        /// The group; none where absent.
        #[serde(default)]
        group: Option<String>,
    },
    /// Lists the certificates of an endpoint.
    ListCertificates {
        /// The endpoint.
        endpoint: String,
    },
    /// Revokes a certificate.
    RevokeCertificate {
        /// Its serial number.
        serial: String,
    },
    /// Signs with a new key from now on.
    RotateSigningKey {
        /// For how long the older key holds beside it.
        overlap_seconds: u64,
    },
    /// Replaces the profile for everybody.
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
        /// Of this endpoint alone.
        #[serde(default)]
        endpoint: Option<String>,
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

/// What an endpoint is told of a change once it lasts.
pub(super) enum Consequence {
    /// It is none of this EMS's any more.
    Removed(EndpointId),
    /// It is to scan.
    Scan(EndpointId),
}

impl Office {
    /// Does what the administrator wants. The answer is an object with the moment at which the change
    /// was stored; what follows from it is already in the channels of the open streams.
    pub fn administer(&mut self, request: AdministratorRequest, actor: &Actor, now: Stamp) -> Result<Value, Denial> {
        let mut answer = match self.note_of(&request)? {
            Some(note) => self.account(note, actor, now, |office, note| office.carry_out(request, Some(note), now))?,
            None => self.carry_out(request, None, now)?,
        };
        let changed = Stamp::now();
        self.follow(now)?;
        self.push_news(now)?;
        self.refresh_fabric(now)?;
        if let Value::Object(members) = &mut answer {
            members.insert("unix_milliseconds".into(), changed.unix_milliseconds.into());
            members.insert("boottime_nanoseconds".into(), changed.boottime_nanoseconds.into());
        }
        Ok(answer)
    }

    fn carry_out(
        &mut self,
        request: AdministratorRequest,
        note: Option<&mut Note>,
        now: Stamp,
    ) -> Result<Value, Denial> {
        use AdministratorRequest as Request;
        match request {
            Request::MakeInvitation { label, valid_seconds, uses, group } => {
                let invitation = self.invite(&label, valid_seconds, uses, group.as_deref(), now)?;
                let id = invitation_name(&invitation.code);
                if let Some(note) = note {
                    note.subject = Subject::Invitation(id.clone());
                }
                Ok(json!({"id": id, "invitation": invitation.to_string(), "valid_seconds": valid_seconds}))
            }
            Request::ListInvitations => Ok(json!({"invitations": self.store.invitations()?})),
            Request::RevokeInvitation { id } => {
                if !self.store.revoke_invitation(&id, now.unix_seconds())? {
                    return Err(Denial::missing(format!("there is no invitation {id}")));
                }
                Ok(json!({"id": id}))
            }
            Request::PutProfile { profile } => self.put_profile(&profile),
            Request::ListProfiles => self.list_profiles(),
            Request::RemoveProfile { name } => self.remove_profile(&name),
            Request::PutRuleSet { rule_set } => self.put_rule_set(*rule_set),
            Request::RemoveRuleSet { name } => self.remove_rule_set(&name),
            Request::PutGroup { group } => self.put_group(&group),
            Request::ListGroups => Ok(json!({"groups": self.store.groups()?})),
            Request::RemoveGroup { name } => self.remove_group(&name),
            Request::AssignGroup { endpoint, group } => self.assign_group(&endpoint, group.as_deref()),
            Request::ListCertificates { endpoint } => self.list_certificates(&endpoint),
            Request::RevokeCertificate { serial } => self.revoke_certificate(&serial, now),
            Request::RotateSigningKey { overlap_seconds } => self.rotate_signing_key(overlap_seconds, now),
            Request::SetProfile { profile } => {
                check_profile(&profile)?;
                self.set_policy(SETTING_PROFILE, &profile)
            }
            Request::ShowProfile => Ok(json!({"profile": self.profile()?})),
            Request::SetRules { rule_sets } => self.set_rule_sets(rule_sets),
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
            Request::ListEvents { after, endpoint } => {
                let of = endpoint.map(|endpoint| self.named(&endpoint)).transpose()?.map(|endpoint| endpoint.id);
                Ok(json!({"events": self.store.events_after(after, of.as_ref())?}))
            }
            Request::RemoveEndpoint { endpoint } => {
                let endpoint = self.named(&endpoint)?;
                self.remove(&endpoint.id, now)?;
                Ok(json!({"endpoint": endpoint.id}))
            }
            Request::Quarantine { endpoint, on: true, message } => self.quarantine(&endpoint, message, note),
            Request::Quarantine { endpoint, on: false, .. } => {
                let endpoint = self.named(&endpoint)?;
                self.store.set_quarantine(&endpoint.id, None)?;
                Ok(json!({"endpoint": endpoint.id, "quarantined": false}))
            }
            Request::MakeBreakGlass { endpoint, use_within_seconds, lasts_seconds, reason } => {
                self.make_break_glass(&endpoint, use_within_seconds, lasts_seconds, &reason, now)
            }
            Request::ListAudit { after } => Ok(json!({"audit": self.store.audit_after(after)?})),
            Request::Scan { endpoint } => {
                let endpoint = self.named(&endpoint)?;
                self.consequences.push(Consequence::Scan(endpoint.id.clone()));
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

    pub(super) fn set_policy<T: Serialize>(&mut self, setting: &str, policy: &T) -> Result<Value, Denial> {
        let text = serde_json::to_string(policy).map_err(Denial::invalid)?;
        self.change_policy(|store| Ok(store.set_setting(setting, &text)?))
    }

    /// Changes what endpoints are told, and the version of it, as one.
    pub(super) fn change_policy(
        &mut self,
        change: impl FnOnce(&mut (dyn Store + 'static)) -> Result<(), Denial>,
    ) -> Result<Value, Denial> {
        let version = self.store.transaction(|store| {
            change(store)?;
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
            0 => Err(Denial::missing(format!("there is no endpoint \"{name}\""))),
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

    /// Removes an endpoint; it is told once that lasts.
    pub(super) fn remove(&mut self, endpoint: &EndpointId, now: Stamp) -> Result<(), Denial> {
        self.store.remove_endpoint(endpoint, now.unix_seconds())?;
        self.consequences.push(Consequence::Removed(endpoint.clone()));
        Ok(())
    }

    /// Does what follows from changes that last now.
    pub(super) fn follow(&mut self, now: Stamp) -> Result<(), Denial> {
        for consequence in std::mem::take(&mut self.consequences) {
            match consequence {
                Consequence::Scan(endpoint) => self.command(&endpoint, PushMessage::Scan),
                Consequence::Removed(endpoint) => {
                    self.command(&endpoint, PushMessage::Removed);
                    self.streams.retain(|_, stream| stream.endpoint != endpoint);
                    self.backlog.remove(&endpoint);
                    self.reported.remove(&endpoint);
                    self.heard_boot.remove(&endpoint);
                }
            }
        }
        self.refresh_connected(now)
    }
}

fn once() -> u64 {
    1
}

/// The refusal for a method that does not exist is the one of a request that cannot be read.
impl From<serde_json::Error> for Denial {
    fn from(error: serde_json::Error) -> Self {
        Self::new(RefusalCode::RequestInvalid, error.to_string())
    }
}
