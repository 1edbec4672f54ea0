//! `security-status`: protections that any system can have.

use super::Judgement;
use super::anti_virus;
use crate::facts::{Facts, SystemSecurity};
use crate::rules::{Protection, Truth};

const AREA: &str = "security";

pub(super) fn judge(facts: &Facts, required: &[Protection], now_unix: u64) -> Judgement {
    Judgement::all(AREA, required.iter().map(|protection| one(facts, *protection, now_unix)))
}

fn one(facts: &Facts, protection: Protection, now_unix: u64) -> Judgement {
    match protection {
        Protection::Antivirus => anti_virus::judge(facts, true, None, now_unix),
        Protection::Firewall => firewall(facts),
        Protection::DiskEncryption => disk_encryption(facts),
        Protection::SecureBoot => {
            of_system(facts, |security| Judgement::switch(AREA, "secure boot", &security.secure_boot))
        }
        Protection::AccessControl => of_system(facts, access_control),
        Protection::ScreenLock => of_system(facts, screen_lock),
        Protection::NoPendingUpdates => no_pending_updates(facts),
    }
}

fn of_system(facts: &Facts, judge: impl FnOnce(&SystemSecurity) -> Judgement) -> Judgement {
    match facts.security.value() {
        Some(security) => judge(security),
        None => Judgement::without(AREA, &facts.security, "let Postern see the state of the system"),
    }
}

fn firewall(facts: &Facts) -> Judgement {
    match facts.firewall.value() {
        None => Judgement::without("firewall", &facts.firewall, "let Postern see the packet filter"),
        Some(firewall) if firewall.active => {
            Judgement::new(Truth::True, "firewall", format!("filtered by {}", firewall.provider), "stop the firewall")
        }
        Some(_) => Judgement::new(Truth::False, "firewall", "incoming packets are not filtered", "start a firewall"),
    }
}

/// Judges whether every volume that counts is encrypted, naming the first that is not.
pub(super) fn disk_encryption(facts: &Facts) -> Judgement {
    const DISK: &str = "disk";
    let Some(disk) = facts.disk_encryption.value() else {
        return Judgement::without(DISK, &facts.disk_encryption, "let Postern see the volumes");
    };
    match disk.complete() {
        Some(true) => Judgement::new(Truth::True, DISK, "every volume is encrypted", ""),
        Some(false) => {
            let plain =
                disk.volumes.iter().find(|volume| volume.encryption.known().is_some_and(|how| !how.is_encrypted()));
            let name = plain.map_or("a volume", |volume| volume.mount.as_str());
            Judgement::new(Truth::False, DISK, format!("{name} is not encrypted"), format!("encrypt {name}"))
        }
        None => {
            let unsure = disk.volumes.iter().find_map(|volume| Some((volume, volume.encryption.reason()?)));
            let seen = match unsure {
                Some((volume, reason)) => format!("{}: {reason}", volume.mount),
                None => "no volume is known".to_owned(),
            };
            Judgement::new(Truth::Unknown, DISK, seen, "let Postern see the volumes")
        }
    }
}

fn access_control(security: &SystemSecurity) -> Judgement {
    match &security.access_control {
        crate::facts::Observation::Known(control) if control.name.is_empty() => {
            Judgement::new(Truth::False, AREA, "no mandatory access control", "switch SELinux or AppArmor on")
        }
        crate::facts::Observation::Known(control) => {
            let state = if control.enforcing { "enforces" } else { "only writes down" };
            let seen = format!("{} {state}", control.name);
            Judgement::new(control.enforcing.into(), AREA, seen, format!("let {} enforce", control.name))
        }
        other => Judgement::unseen(AREA, "mandatory access control", other),
    }
}

fn screen_lock(security: &SystemSecurity) -> Judgement {
    match &security.screen_lock {
        crate::facts::Observation::Known(lock) => {
            let seen = match (lock.automatic, lock.after_seconds) {
                (true, Some(seconds)) => format!("the screen locks after {seconds} s"),
                (true, None) => "the screen locks by itself".to_owned(),
                (false, _) => "the screen does not lock by itself".to_owned(),
            };
            Judgement::new(lock.automatic.into(), AREA, seen, "let the screen lock by itself")
        }
        other => Judgement::unseen(AREA, "screen lock", other),
    }
}

fn no_pending_updates(facts: &Facts) -> Judgement {
    const UPDATES: &str = "updates";
    let Some(updates) = facts.updates.value() else {
        return Judgement::without(UPDATES, &facts.updates, "let Postern see which updates wait");
    };
    match &updates.pending {
        crate::facts::Observation::Known(0) => Judgement::new(Truth::True, UPDATES, "no update waits", ""),
        crate::facts::Observation::Known(number) => {
            Judgement::new(Truth::False, UPDATES, format!("{number} updates wait"), "install the updates")
        }
        other => Judgement::unseen(UPDATES, "pending updates", other),
    }
}
