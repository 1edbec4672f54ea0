//! Secure boot, mandatory access control, the lock of the screen.

use super::{sessions, text};
use crate::collect::{Context, Look};
use crate::facts::{AccessControl, Observation, ScreenLock, SystemSecurity};
use std::path::Path;

/// Where the kernel shows the variables of the firmware (UEFI specification, "Globally Defined Variables").
const FIRMWARE: &str = "/sys/firmware/efi";
const VARIABLES: &str = "/sys/firmware/efi/efivars";
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

pub(in crate::collect) fn security(context: &Context) -> Look<SystemSecurity> {
    const SOURCE: &str = "/sys/firmware/efi, /sys/fs/selinux, /sys/module/apparmor, settings of desktops";
    Look::known(
        SystemSecurity {
            secure_boot: secure_boot(context),
            access_control: access_control(context),
            screen_lock: screen_lock(context),
        },
        SOURCE,
    )
}

/// A firmware in setup mode starts anything, whatever the other variable says.
fn secure_boot(context: &Context) -> Observation<bool> {
    if !context.path(FIRMWARE).exists() {
        // A masked /sys/firmware, as in a container, is empty; a machine without UEFI shows other tables.
        let shows_others =
            std::fs::read_dir(context.path("/sys/firmware")).is_ok_and(|mut entries| entries.next().is_some());
        return if shows_others {
            Observation::Known(false)
        } else {
            Observation::Unknown("the firmware is not shown".to_owned())
        };
    }
    match (variable(context, "SecureBoot"), variable(context, "SetupMode")) {
        (Observation::Known(Some(enabled)), setup) => {
            let in_setup = matches!(setup, Observation::Known(Some(1)));
            Observation::Known(enabled == 1 && !in_setup)
        }
        (Observation::Known(None), _) => Observation::Known(false),
        (Observation::Unknown(reason), _) => Observation::Unknown(reason),
        (Observation::Denied(reason), _) => Observation::Denied(reason),
    }
}

/// Reads a variable of one byte, which follows four bytes of attributes; none where the firmware has none.
fn variable(context: &Context, name: &str) -> Observation<Option<u8>> {
    let folder = context.path(VARIABLES);
    let path = folder.join(format!("{name}-{GLOBAL}"));
    match std::fs::read(&path) {
        Ok(bytes) if bytes.len() == 5 => Observation::Known(bytes.last().copied()),
        Ok(_) => Observation::Unknown(format!("the variable {name} has an odd length")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mounted = std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
            if mounted { Observation::Known(None) } else { Observation::Unknown("efivarfs is not mounted".to_owned()) }
        }
        Err(error) => Observation::from_error(&path.display().to_string(), &error),
    }
}

fn access_control(context: &Context) -> Observation<AccessControl> {
    let control = |name: &str, enforcing| Observation::Known(AccessControl { name: name.to_owned(), enforcing });
    match text(context, "/sys/fs/selinux/enforce") {
        Ok(Some(state)) => return control("SELinux", state.trim() == "1"),
        Ok(None) => {}
        Err(error) => return Observation::from_error("/sys/fs/selinux/enforce", &error),
    }
    match text(context, "/sys/module/apparmor/parameters/enabled") {
        Ok(Some(state)) if state.trim() == "Y" => {
            const PROFILES: &str = "/sys/kernel/security/apparmor/profiles";
            match text(context, PROFILES) {
                Ok(Some(profiles)) => control("AppArmor", profiles.lines().any(|line| line.ends_with("(enforce)"))),
                Ok(None) => Observation::Unknown("AppArmor's profiles are not shown".to_owned()),
                Err(error) => Observation::from_error(PROFILES, &error),
            }
        }
        Ok(_) if context.path("/sys/module").exists() => control("", false),
        Ok(_) => Observation::Unknown("/sys/module is not there".to_owned()),
        Err(error) => Observation::from_error("/sys/module/apparmor", &error),
    }
}

/// The lock is a setting of each desktop. What the administrator has set for all counts first; then KDE's
/// of each user with a graphical session. GNOME's lie in a database of its own that is not read.
fn screen_lock(context: &Context) -> Observation<ScreenLock> {
    if let Some(lock) = locked_setting(context) {
        return Observation::Known(lock);
    }
    let sessions = match sessions::graphical(context) {
        Observation::Known(sessions) => sessions,
        Observation::Unknown(reason) => return Observation::Unknown(reason),
        Observation::Denied(reason) => return Observation::Denied(reason),
    };
    if sessions.is_empty() {
        return Observation::Unknown("nobody has a graphical session".to_owned());
    }
    let mut weakest: Option<ScreenLock> = None;
    for user in sessions {
        let Some(home) = sessions::home(context, &user) else {
            return Observation::Unknown(format!("the home of {user} is not known"));
        };
        match text(context, &format!("{home}/.config/kscreenlockerrc")) {
            Ok(Some(settings)) => {
                let lock = kde_lock(&settings);
                if weakest.as_ref().is_none_or(|known| known.automatic && !lock.automatic) {
                    weakest = Some(lock);
                }
            }
            Ok(None) => {
                return Observation::Unknown(format!("the desktop of {user} does not keep it in a file that is read"));
            }
            Err(error) => return Observation::from_error(&format!("{home}/.config"), &error),
        }
    }
    weakest.map_or_else(|| Observation::Unknown("no desktop tells".to_owned()), Observation::Known)
}

/// A setting of GNOME that the administrator has locked for every user (dconf(7)).
fn locked_setting(context: &Context) -> Option<ScreenLock> {
    const DATABASE: &str = "/etc/dconf/db/local.d";
    const KEY: &str = "/org/gnome/desktop/screensaver/lock-enabled";
    let read_all = |folder: &Path| -> Vec<String> {
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().filter(|path| path.is_file()).filter_map(|path| std::fs::read_to_string(path).ok()).collect()
    };
    let folder = context.path(DATABASE);
    let locks = read_all(&folder.join("locks"));
    if !locks.iter().flat_map(|file| file.lines()).any(|line| line.trim() == KEY) {
        return None;
    }
    let values = read_all(&folder);
    let value = |section: &str, key: &str| values.iter().rev().find_map(|file| ini(file, section, key));
    let automatic = value("org/gnome/desktop/screensaver", "lock-enabled")? == "true";
    let idle = value("org/gnome/desktop/session", "idle-delay");
    let seconds = idle.and_then(|idle| idle.rsplit(' ').next().and_then(|number| number.parse().ok()));
    Some(ScreenLock { automatic: automatic && seconds != Some(0), after_seconds: seconds.filter(|_| automatic) })
}

/// KDE locks after five minutes where its settings say nothing else.
fn kde_lock(settings: &str) -> ScreenLock {
    let automatic = ini(settings, "Daemon", "Autolock").is_none_or(|value| value != "false");
    let minutes = ini(settings, "Daemon", "Timeout").map_or(Some(5), |minutes| minutes.parse::<u64>().ok());
    ScreenLock {
        automatic: automatic && minutes != Some(0),
        after_seconds: minutes.filter(|_| automatic).map(|minutes| minutes.saturating_mul(60)),
    }
}

/// Returns a key's value of a section in the form of desktop settings.
fn ini(text: &str, section: &str, key: &str) -> Option<String> {
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name == section;
        } else if inside
            && let Some((found, value)) = line.split_once('=')
            && found.trim() == key
        {
            return Some(value.trim().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::tests::Tree;

    fn told(tree: &Tree) -> SystemSecurity {
        tree.collect().security.value().unwrap().clone()
    }

    fn with_variable(tree: Tree, name: &str, value: u8) -> Tree {
        tree.with_bytes(&format!("{VARIABLES}/{name}-{GLOBAL}"), &[6, 0, 0, 0, value])
    }

    #[test]
    fn secure_boot_is_on_when_the_firmware_says_so_and_is_not_in_setup() {
        let on = with_variable(with_variable(Tree::new(), "SecureBoot", 1), "SetupMode", 0);
        assert_eq!(told(&on).secure_boot, Observation::Known(true));
        let setup = with_variable(with_variable(Tree::new(), "SecureBoot", 1), "SetupMode", 1);
        assert_eq!(told(&setup).secure_boot, Observation::Known(false));
        let off = with_variable(Tree::new(), "SecureBoot", 0);
        assert_eq!(told(&off).secure_boot, Observation::Known(false));
        let none = with_variable(Tree::new(), "Other", 0);
        assert_eq!(told(&none).secure_boot, Observation::Known(false));
        let bios = Tree::new().with("/sys/firmware/acpi/tables/DSDT", "");
        assert_eq!(told(&bios).secure_boot, Observation::Known(false));
    }

    #[test]
    fn a_firmware_that_is_not_shown_is_unknown() {
        assert!(told(&Tree::new()).secure_boot.reason().is_some());
        let unmounted = Tree::new().with_folder(VARIABLES);
        assert_eq!(told(&unmounted).secure_boot, Observation::Unknown("efivarfs is not mounted".to_owned()));
        let odd = Tree::new().with_bytes(&format!("{VARIABLES}/SecureBoot-{GLOBAL}"), &[1]);
        assert!(told(&odd).secure_boot.reason().is_some());
    }

    #[test]
    fn access_control_enforces_or_only_writes_down() {
        let control =
            |tree: &Tree| told(tree).access_control.known().map(|control| (control.name.clone(), control.enforcing));
        let told = |name: &str, enforcing| Some((name.to_owned(), enforcing));
        assert_eq!(control(&Tree::new().with("/sys/fs/selinux/enforce", "1")), told("SELinux", true));
        assert_eq!(control(&Tree::new().with("/sys/fs/selinux/enforce", "0")), told("SELinux", false));
        let apparmor = || Tree::new().with("/sys/module/apparmor/parameters/enabled", "Y\n");
        let with = |profiles: &str| apparmor().with("/sys/kernel/security/apparmor/profiles", profiles);
        assert_eq!(control(&with("a (complain)\nb (enforce)\n")), told("AppArmor", true));
        assert_eq!(control(&with("a (complain)\n")), told("AppArmor", false));
        assert_eq!(control(&apparmor()), None, "its profiles are hidden");
        assert_eq!(control(&Tree::new().with_folder("/sys/module")), told("", false));
        assert_eq!(control(&Tree::new()), None);
    }

    #[test]
    fn the_screen_lock_is_the_one_of_the_administrator_or_of_kde() {
        let session = "USER=ann\nCLASS=user\nTYPE=wayland\nSTATE=active\n";
        let desktop = || {
            Tree::new()
                .with("/run/systemd/sessions/2", session)
                .with("/etc/passwd", "ann:x:1000:1000::/home/ann:/bin/sh\n")
        };
        let lock = |tree: &Tree| told(tree).screen_lock;
        let known = |automatic, after_seconds| Observation::Known(ScreenLock { automatic, after_seconds });
        let kde = |settings: &str| desktop().with("/home/ann/.config/kscreenlockerrc", settings);
        assert_eq!(lock(&kde("[Daemon]\nTimeout=10\n")), known(true, Some(600)));
        assert_eq!(lock(&kde("[Daemon]\nAutolock=false\n")), known(false, None));
        assert_eq!(lock(&kde("[Other]\nAutolock=false\n")), known(true, Some(300)));
        assert!(lock(&desktop()).reason().is_some(), "another desktop");
        assert!(lock(&Tree::new().with_folder("/run/systemd/sessions")).reason().is_some(), "nobody is there");
        let managed = desktop()
            .with("/etc/dconf/db/local.d/00", "[org/gnome/desktop/screensaver]\nlock-enabled=true\n[org/gnome/desktop/session]\nidle-delay=uint32 180\n")
            .with("/etc/dconf/db/local.d/locks/00", "/org/gnome/desktop/screensaver/lock-enabled\n");
        assert_eq!(lock(&managed), known(true, Some(180)));
    }
}
