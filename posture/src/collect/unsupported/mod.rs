//! What can be seen on any system: what `sysinfo` tells. Everything else is unknown.
#![allow(dead_code, reason = "each system takes from here what it does not have itself")]

use super::look::Seen;
use super::watch::{Notices, Noticing, by_looking};
use super::{Context, Look};
use crate::facts::{
    Antivirus, CertificateFact, DiskEncryption, Firewall, Kernel, Observation, OperatingSystem, Package, ProcessList,
    RegistryKeyFact, Surroundings, SystemSecurity, Updates, UserList, WindowsSecurity,
};
use crate::rules::Asked;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use sysinfo::System;
use tokio::sync::mpsc;

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

pub(super) fn applications(_: &Context) -> Look<Vec<Package>> {
    not_yet()
}

pub(super) fn updates(_: &Context) -> Look<Updates> {
    not_yet()
}

pub(super) fn security(_: &Context) -> Look<SystemSecurity> {
    not_yet()
}

pub(super) fn certificates(_: &Context) -> Look<Vec<CertificateFact>> {
    not_yet()
}

pub(super) fn users(_: &Context) -> Look<UserList> {
    not_yet()
}

pub(super) fn surroundings(_: &Context) -> Look<Surroundings> {
    not_yet()
}

pub(super) fn pings(_: &Context, _: BTreeSet<IpAddr>) -> Look<Seen<IpAddr, bool>> {
    not_yet()
}

pub(super) fn windows_security(_: &Context) -> Look<WindowsSecurity> {
    only_windows("these protections")
}

pub(super) fn registry(_: &Context, _: BTreeMap<String, BTreeSet<String>>) -> Look<Seen<String, RegistryKeyFact>> {
    only_windows("a registry")
}

pub(in crate::collect) async fn network_changes(_: mpsc::Sender<()>) -> Result<(), std::io::Error> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Nobody tells of the packet filter here.
#[derive(Debug)]
pub struct FirewallListener;

impl FirewallListener {
    pub(in crate::collect) fn open() -> Result<Self, std::io::Error> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    pub(in crate::collect) async fn changes(self, _: mpsc::Sender<()>) -> Result<(), std::io::Error> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// There is no system bus here.
pub(in crate::collect) async fn bus_changes(_: mpsc::Sender<()>, _: Notices) {}

pub(in crate::collect) async fn file_changes(
    wanted: mpsc::UnboundedReceiver<Vec<PathBuf>>,
    changed: mpsc::Sender<()>,
    notices: Notices,
) {
    let how = Err("this system is looked at".to_owned());
    let _ = notices.send(Noticing { about: "files", how });
    by_looking(wanted, changed).await;
}

/// Programs that start or end are found at the next tick.
pub(in crate::collect) async fn process_changes(
    mut wanted: mpsc::UnboundedReceiver<BTreeSet<String>>,
    _: mpsc::Sender<()>,
    notices: Notices,
) {
    let how = Err("this system is looked at at each tick".to_owned());
    let _ = notices.send(Noticing { about: "processes", how });
    while wanted.recv().await.is_some() {}
}

/// Files that tell of what is asked beside the files themselves.
pub(super) fn telling_files(_: &Asked) -> Vec<PathBuf> {
    Vec::new()
}

fn only_windows<T>(what: &str) -> Look<T> {
    Look::unknown(format!("only Windows has {what}"), "")
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
