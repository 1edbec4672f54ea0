//! Tunnels that users have of their own, where the administrator and EMS let them.
//!
//! The service reads files as root, so such a tunnel may name none: a path in it would be a user's way
//! to have root open something. It is its owner's alone to connect, to show and to take away.

use super::Hub;
use crate::control::Caller;
use crate::profile::Entry;
use postern_api::fault::{Fault, FaultName};
use postern_api::method::Role;
use toml::Value;

/// How many tunnels of his own a user may have.
const MOST: usize = 16;

impl Hub {
    /// Tells whether users may have tunnels of their own; who locks it, where not.
    pub(in crate::service) fn own_tunnels(&self) -> Result<(), Fault> {
        let refuse = |detail: &str, next: &str| Err(Fault::new(FaultName::NotPermitted, "", detail, next));
        if self.policy_problem().is_some() {
            return refuse("EMS's profile is not known, which may forbid it", "bring EMS within reach");
        }
        let profile = self.view.ems.as_ref().and_then(|ems| ems.knowledge.profile.as_ref());
        if profile.is_some_and(|profile| !profile.content().own_tunnels_allowed) {
            return refuse(
                "EMS locks this: its profile allows no tunnels of users' own",
                "ask the administrator of EMS",
            );
        }
        if !self.settings.users.own_tunnels {
            let detail = "the local administrator locks this: users.own_tunnels is off";
            return refuse(detail, "run it as root, or set own_tunnels = true in [users] of postern.toml");
        }
        Ok(())
    }

    /// Lets users' own tunnels count, or not any more. To be called when the settings or EMS's profile came.
    pub(in crate::service) fn settle_own_tunnels(&mut self) {
        let allowed = self.own_tunnels().is_ok();
        self.catalogue.allow_own(allowed);
    }

    /// Checks that a caller may add a tunnel of his own under a name.
    pub(in crate::service) fn check_own(
        &self,
        uid: u32,
        name: &str,
        there: Option<&Entry>,
        toml: &str,
    ) -> Result<(), Fault> {
        self.own_tunnels()?;
        let refuse = |detail: &str, next: &str| Err(Fault::new(FaultName::NotPermitted, name, detail, next));
        match there.map(|entry| entry.owner) {
            Some(None) => return refuse("is the administrator's", "choose another name"),
            Some(Some(owner)) if owner != uid => return refuse("is another user's", "choose another name"),
            None if self.catalogue.owned_by(uid) >= MOST => {
                return refuse("would be one tunnel too many", "remove one of yours");
            }
            _ => {}
        }
        let table = toml.parse::<toml::Table>().unwrap_or_default();
        match file_named(&Value::Table(table), "") {
            Some(element) => {
                let detail = format!("{element}: a user's own tunnel names no files of the machine");
                Err(Fault::new(FaultName::ProfileInvalid, name, detail, "let the administrator add it"))
            }
            None => Ok(()),
        }
    }
}

/// Refuses whoever is neither the owner nor an administrator.
pub(in crate::service) fn check_owner(caller: &Caller, name: &str, entry: &Entry) -> Result<(), Fault> {
    match entry.owner {
        Some(owner) if caller.role != Role::Administrator && caller.uid != Some(owner) => {
            Err(Fault::new(FaultName::NotPermitted, name, "is another user's own", "postern tunnel list"))
        }
        _ => Ok(()),
    }
}

/// Finds an element that leads to a file or a device: by its name, or by a value that looks like a path.
fn file_named(value: &Value, element: &str) -> Option<String> {
    match value {
        Value::Table(table) => table.iter().find_map(|(key, value)| {
            let element = if element.is_empty() { key.clone() } else { format!("{element}.{key}") };
            let by_name = ["_file", "_files", "_uri", "_module"].iter().any(|end| key.ends_with(end));
            if by_name { Some(element) } else { file_named(value, &element) }
        }),
        Value::Array(values) => values.iter().find_map(|value| file_named(value, element)),
        Value::String(text) => {
            let path = text.starts_with(['/', '\\', '~']) || text.contains("pkcs11:") || text.starts_with("file:");
            path.then(|| element.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(toml: &str) -> Option<String> {
        file_named(&Value::Table(toml.parse().unwrap()), "")
    }

    #[test]
    fn whatever_leads_to_a_file_is_found() {
        for (toml, element) in [
            ("gateway_ca_files = [\"ca.pem\"]", "gateway_ca_files"),
            ("[auth]\npsk_file = \"x\"", "auth.psk_file"),
            ("[auth.tls]\nca_files = []", "auth.tls.ca_files"),
            ("[auth]\ncertificate = \"pkcs11:token=x\"", "auth.certificate"),
            (
                "[[tags.rules]]\n[[tags.rules.systems.linux.rules]]\npath = \"/root/x\"",
                "tags.rules.systems.linux.rules.path",
            ),
        ] {
            assert_eq!(named(toml).as_deref(), Some(element), "{toml}");
        }
        assert_eq!(named("gateway = \"g\"\ngateway_pins = [\"sha256//AAAA\"]\n[auth]\nuser = \"a\""), None);
    }
}
