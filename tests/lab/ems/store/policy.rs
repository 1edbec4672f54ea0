//! Settings, the policy's version, profiles, groups, invitations.

use super::StoreError;
use posture::ems::protocol::EndpointId;
use serde::{Deserialize, Serialize};

/// One invitation. The code itself is not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvitationRow {
    /// By what an administrator names it.
    pub id: String,
    /// For whom it is, for people.
    pub label: String,
    /// When it was made, seconds since 1970.
    pub created_unix: u64,
    /// Until when it can be used, seconds since 1970.
    pub expires_unix: u64,
    /// How often it can be used; 0 is without a limit.
    pub uses: u64,
    /// How often it was.
    pub used: u64,
    /// Whether it was taken back.
    pub revoked: bool,
    /// The group of the endpoints that it lets in.
    pub group: Option<String>,
}

/// An invitation that is made.
pub struct NewInvitation<'a> {
    /// The digest of its code.
    pub code_hash: &'a [u8],
    /// For whom it is.
    pub label: &'a str,
    /// How often it can be used; 0 is without a limit.
    pub uses: u64,
    /// Until when, seconds since 1970.
    pub expires_unix: u64,
    /// The group of the endpoints that it lets in.
    pub group: Option<&'a str>,
}

/// A group: which profile and which rule sets its endpoints get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// Its name.
    pub name: String,
    /// Its profile; the one for everybody when absent.
    #[serde(default)]
    pub profile: Option<String>,
    /// Its rule sets; all when absent.
    #[serde(default)]
    pub rule_sets: Option<Vec<String>>,
}

/// Settings, profiles, groups and invitations.
pub trait Policies {
    /// Reads a setting.
    fn setting(&self, name: &str) -> Result<Option<String>, StoreError>;

    /// Writes a setting.
    fn set_setting(&mut self, name: &str, value: &str) -> Result<(), StoreError>;

    /// Reads the version of the policy: profile, rules and tag names.
    fn policy_version(&self) -> Result<u64, StoreError> {
        Ok(self.setting("policy_version")?.and_then(|text| text.parse().ok()).unwrap_or(1))
    }

    /// Raises the version of the policy.
    fn raise_policy_version(&mut self) -> Result<(), StoreError> {
        let next = self.policy_version()?.saturating_add(1);
        self.set_setting("policy_version", &next.to_string())
    }

    /// Adds an invitation.
    fn add_invitation(&mut self, new: &NewInvitation<'_>, created_unix: u64) -> Result<(), StoreError>;

    /// Finds an invitation.
    fn invitation(&self, code_hash: &[u8]) -> Result<Option<InvitationRow>, StoreError>;

    /// Lists invitations, newest first, at most a thousand.
    fn invitations(&self) -> Result<Vec<InvitationRow>, StoreError>;

    /// Takes an invitation back. Tells whether there is one of that name.
    fn revoke_invitation(&mut self, id: &str, now_unix: u64) -> Result<bool, StoreError>;

    /// Uses an invitation once more. Tells whether it could be: of many at once, no more than its limit
    /// get in.
    fn use_invitation(&mut self, code_hash: &[u8], by: &str, now_unix: u64) -> Result<bool, StoreError>;

    /// Reads a named profile.
    fn named_profile(&self, name: &str) -> Result<Option<String>, StoreError>;

    /// Lists the named profiles.
    fn named_profiles(&self) -> Result<Vec<(String, String)>, StoreError>;

    /// Writes a named profile.
    fn set_named_profile(&mut self, name: &str, profile: &str) -> Result<(), StoreError>;

    /// Removes a named profile. Tells whether there was one.
    fn remove_named_profile(&mut self, name: &str) -> Result<bool, StoreError>;

    /// Reads a group.
    fn group(&self, name: &str) -> Result<Option<GroupRow>, StoreError>;

    /// Lists the groups.
    fn groups(&self) -> Result<Vec<GroupRow>, StoreError>;

    /// Writes a group.
    fn set_group(&mut self, group: &GroupRow) -> Result<(), StoreError>;

    /// Removes a group; its endpoints are in none then. Tells whether there was one.
    fn remove_group(&mut self, name: &str) -> Result<bool, StoreError>;

    /// Puts an endpoint into a group, or out of every group.
    fn assign_group(&mut self, endpoint: &EndpointId, group: Option<&str>) -> Result<(), StoreError>;
}
