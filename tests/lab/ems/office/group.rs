//! Who gets which policy: an endpoint is in a group or in none, a group has a profile and rule sets.
//! Where a group names none, and for endpoints in no group, those for everybody hold.

use super::decision::{SETTING_RULES, restored};
use super::{Denial, Office};
use crate::ems::store::{EndpointRow, GroupRow};
use posture::ems::protocol::{Profile, RuleDocument};
use posture::rules::TaggingRuleSet;
use serde_json::{Value, json};

/// The longest name of a group, a profile or a rule set, in bytes.
const LONGEST_NAME: usize = 128;
/// How many tunnels or rule sets one document may hold.
const MOST_ENTRIES: usize = 1_000;

impl Office {
    fn group_of(&self, endpoint: &EndpointRow) -> Result<Option<GroupRow>, Denial> {
        let Some(name) = &endpoint.group else { return Ok(None) };
        Ok(self.store.group(name)?)
    }

    /// Returns the profile of an endpoint.
    pub(super) fn profile_of(&self, endpoint: &EndpointRow) -> Result<Profile, Denial> {
        let named = self.group_of(endpoint)?.and_then(|group| group.profile);
        match named.map(|name| self.store.named_profile(&name)).transpose()?.flatten() {
            Some(text) => restored("profile", &text),
            None => self.profile(),
        }
    }

    /// Returns the rule sets of an endpoint.
    pub(super) fn rules_of(&self, endpoint: &EndpointRow) -> Result<RuleDocument, Denial> {
        let mut rules = self.rules()?;
        if let Some(chosen) = self.group_of(endpoint)?.and_then(|group| group.rule_sets) {
            rules.rule_sets.retain(|set| chosen.contains(&set.name));
        }
        Ok(rules)
    }

    /// Writes the profile that endpoints of some group get.
    pub(super) fn put_profile(&mut self, profile: &Profile) -> Result<Value, Denial> {
        check_profile(profile)?;
        let text = serde_json::to_string(profile).map_err(Denial::invalid)?;
        let name = profile.name.clone();
        self.change_policy(|store| Ok(store.set_named_profile(&name, &text)?))
    }

    pub(super) fn list_profiles(&self) -> Result<Value, Denial> {
        let named = self.store.named_profiles()?;
        let profiles =
            named.iter().map(|(name, text)| restored::<Profile>(name, text)).collect::<Result<Vec<_>, _>>()?;
        Ok(json!({"profiles": profiles}))
    }

    pub(super) fn remove_profile(&mut self, name: &str) -> Result<Value, Denial> {
        if self.store.groups()?.iter().any(|group| group.profile.as_deref() == Some(name)) {
            return Err(Denial::invalid("a group has this profile"));
        }
        self.change_policy(|store| match store.remove_named_profile(name)? {
            true => Ok(()),
            false => Err(Denial::missing(format!("there is no profile \"{name}\""))),
        })
    }

    /// Writes one rule set among the others.
    pub(super) fn put_rule_set(&mut self, set: TaggingRuleSet) -> Result<Value, Denial> {
        let mut rules = self.rules()?.rule_sets;
        match rules.iter_mut().find(|known| known.name == set.name) {
            Some(known) => *known = set,
            None => rules.push(set),
        }
        self.set_rule_sets(rules)
    }

    pub(super) fn remove_rule_set(&mut self, name: &str) -> Result<Value, Denial> {
        let mut rules = self.rules()?.rule_sets;
        let before = rules.len();
        rules.retain(|known| known.name != name);
        if rules.len() == before {
            return Err(Denial::missing(format!("there is no rule set \"{name}\"")));
        }
        self.set_rule_sets(rules)
    }

    /// Replaces every rule set.
    pub(super) fn set_rule_sets(&mut self, rule_sets: Vec<TaggingRuleSet>) -> Result<Value, Denial> {
        if rule_sets.len() > MOST_ENTRIES {
            return Err(Denial::invalid("too many rule sets"));
        }
        for (index, set) in rule_sets.iter().enumerate() {
            check_name(&set.name)?;
            set.validate().map_err(Denial::invalid)?;
            if rule_sets.iter().skip(index + 1).any(|other| other.name == set.name) {
                return Err(Denial::invalid(format!("two rule sets are called \"{}\"", set.name)));
            }
        }
        self.set_policy(SETTING_RULES, &RuleDocument { rule_sets })
    }

    /// Writes a group.
    pub(super) fn put_group(&mut self, group: &GroupRow) -> Result<Value, Denial> {
        check_name(&group.name)?;
        if let Some(profile) = &group.profile
            && self.store.named_profile(profile)?.is_none()
        {
            return Err(Denial::invalid(format!("there is no profile \"{profile}\"")));
        }
        let known = self.rules()?.rule_sets;
        let unknown = group.rule_sets.iter().flatten().find(|name| !known.iter().any(|set| set.name == **name));
        if let Some(unknown) = unknown {
            return Err(Denial::invalid(format!("there is no rule set \"{unknown}\"")));
        }
        self.change_policy(|store| Ok(store.set_group(group)?))
    }

    pub(super) fn remove_group(&mut self, name: &str) -> Result<Value, Denial> {
        self.change_policy(|store| match store.remove_group(name)? {
            true => Ok(()),
            false => Err(Denial::missing(format!("there is no group \"{name}\""))),
        })
    }

    /// Puts an endpoint into a group, or out of every group.
    pub(super) fn assign_group(&mut self, endpoint: &str, group: Option<&str>) -> Result<Value, Denial> {
        let endpoint = self.named(endpoint)?;
        self.check_group(group)?;
        self.change_policy(|store| Ok(store.assign_group(&endpoint.id, group)?))
    }

    pub(super) fn check_group(&self, group: Option<&str>) -> Result<(), Denial> {
        match group {
            Some(name) if self.store.group(name)?.is_none() => {
                Err(Denial::invalid(format!("there is no group \"{name}\"")))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses a profile whose bounds no endpoint would take.
pub(super) fn check_profile(profile: &Profile) -> Result<(), Denial> {
    if profile.tunnels.len() > MOST_ENTRIES {
        return Err(Denial::invalid("too many tunnels"));
    }
    check_name(&profile.name)
}

fn check_name(name: &str) -> Result<(), Denial> {
    if name.trim().is_empty() || name.len() > LONGEST_NAME {
        return Err(Denial::invalid(format!("a name has 1 to {LONGEST_NAME} bytes and is not blank")));
    }
    Ok(())
}
