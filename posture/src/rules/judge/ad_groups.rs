//! `ad-groups`: a logged-on user is in a group of the directory.
//!
//! The directory's word through EMS counts first: that is where such rules are judged by default, and the
//! endpoint may be out of the domain controller's reach. What the endpoint itself knows counts without it.

use super::Judgement;
use crate::facts::{Facts, LoggedOnUser};
use crate::rules::{Text, Truth};

const AREA: &str = "users";

pub(super) fn judge(facts: &Facts, groups: &[Text]) -> Judgement {
    let is_wanted = |name: &str| groups.iter().any(|group| plain(group) == plain(name));
    if let Some(supplied) = facts.supplied.value().and_then(|supplied| supplied.directory_groups.as_ref()) {
        return match supplied.iter().find(|name| is_wanted(name)) {
            Some(name) => Judgement::new(Truth::True, AREA, format!("in group {name}, says EMS"), ""),
            None => {
                Judgement::new(Truth::False, AREA, "in none of the groups, says EMS", "ask to be put into the group")
            }
        };
    }
    let Some(list) = facts.users.value() else {
        return Judgement::without(AREA, &facts.users, "let Postern see who is logged on");
    };
    let mut unsure = None;
    for user in &list.users {
        match &user.groups {
            crate::facts::Observation::Known(names) => {
                if let Some(name) = names.iter().find(|name| is_wanted(name)) {
                    return Judgement::new(Truth::True, AREA, format!("{} is in group {name}", shown(user)), "");
                }
            }
            other if user.domain.is_some() => {
                unsure = other.reason().map(|reason| format!("the groups of {}: {reason}", shown(user)));
            }
            // A user of this endpoint alone is in no group of a directory.
            _ => {}
        }
    }
    match unsure {
        Some(why) => Judgement::new(Truth::Unknown, AREA, why, "reach the directory"),
        None => Judgement::new(Truth::False, AREA, "no logged-on user is in the group", "ask to be put into the group"),
    }
}

/// Returns a group's name without its domain, in lower case.
fn plain(name: &str) -> String {
    let name = name.rsplit('\\').next().unwrap_or(name);
    name.split('@').next().unwrap_or(name).trim().to_lowercase()
}

fn shown(user: &LoggedOnUser) -> String {
    match &user.domain {
        Some(domain) => format!("{}@{domain}", user.name),
        None => user.name.clone(),
    }
}
