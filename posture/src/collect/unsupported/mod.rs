//! What can be seen on any system: what `sysinfo` tells. Everything else is unknown.

use super::{Context, Look};
use crate::facts::{Antivirus, DiskEncryption, Firewall, Kernel, Observation, OperatingSystem, Package, ProcessList};
use std::path::PathBuf;
use sysinfo::System;

pub(super) fn operating_system(_: &Context) -> Look<OperatingSystem> {
    let version = System::os_version().ok();
    match System::long_os_version().or_else(|_| System::name()) {
        Ok(name) => Look::known(
            OperatingSystem { id: std::env::consts::OS.to_owned(), version, codename: None, name },
            "system",
        ),
        Err(error) => Look::unknown(format!("the system does not tell its version: {error}"), "system"),
    }
}

pub(super) fn kernel(_: &Context) -> Look<Kernel> {
    match System::kernel_version() {
        Ok(release) => Look::known(Kernel { release }, "system"),
        Err(error) => Look::unknown(format!("the system does not tell its kernel: {error}"), "system"),
    }
}

pub(super) fn host_name(_: &Context) -> Look<String> {
    match System::host_name() {
        Ok(name) => Look::known(name, "system"),
        Err(error) => Look::unknown(format!("the system does not tell its name: {error}"), "system"),
    }
}

pub(super) fn package_database(context: &Context) -> Option<PathBuf> {
    context.settings.dpkg_status.clone()
}

pub(super) fn packages(_: &Context) -> Look<Vec<Package>> {
    not_yet()
}

pub(super) fn antivirus(_: &Context, _: &Observation<ProcessList>) -> Look<Antivirus> {
    not_yet()
}

pub(super) fn firewall(_: &Context, _: &Observation<ProcessList>) -> Look<Firewall> {
    not_yet()
}

pub(super) fn disk_encryption(_: &Context) -> Look<DiskEncryption> {
    not_yet()
}

fn not_yet<T>() -> Look<T> {
    Look::unknown(format!("not looked at on {} yet", std::env::consts::OS), "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::Settings;

    #[test]
    fn what_no_system_tells_is_unknown_and_not_absent() {
        let context = Context { root: "/".into(), settings: Settings::default() };
        let none = Observation::Unknown("none".to_owned());
        assert!(packages(&context).observation.reason().is_some());
        assert!(antivirus(&context, &none).observation.reason().is_some());
        assert!(firewall(&context, &none).observation.reason().is_some());
        assert!(disk_encryption(&context).observation.reason().is_some());
        assert_eq!(package_database(&context), None);
    }

    #[test]
    fn what_every_system_tells_is_known() {
        let context = Context { root: "/".into(), settings: Settings::default() };
        assert!(operating_system(&context).observation.known().is_some());
        assert!(kernel(&context).observation.known().is_some());
        assert!(host_name(&context).observation.known().is_some());
    }
}
