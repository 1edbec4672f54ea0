//! What can be seen on macOS: what `sysinfo` tells, and what the system's own tools print.

pub(super) use super::unsupported::{
    FirewallListener, bus_changes, file_changes, host_name, kernel, network_changes, operating_system,
    package_database, packages, pings, process_changes, registry, telling_files, windows_security,
};

use super::command::{self, ask};
use super::macos_answer as answer;
use super::{Context, Look, pem};
use crate::facts::{
    AccessControl, Antivirus, AntivirusProduct, CertificateFact, DiskEncryption, Firewall, LoggedOnUser, Observation,
    Package, ProcessList, Surroundings, SystemSecurity, Updates, UserList, Volume,
};
use std::time::UNIX_EPOCH;

const XPROTECT: &str = "/Library/Apple/System/Library/CoreServices/XProtect.bundle";
const UPDATES: &str = "/Library/Preferences/com.apple.SoftwareUpdate.plist";

/// Asks a tool, and returns what it printed.
fn told(context: &Context, program: &str, arguments: &[&str]) -> Observation<String> {
    match ask(program, arguments, context.settings.limit / 2) {
        Observation::Known(answer) => answer.text(program),
        Observation::Unknown(reason) => Observation::Unknown(reason),
        Observation::Denied(reason) => Observation::Denied(reason),
    }
}

fn then<T, U>(observed: Observation<T>, read: impl FnOnce(T) -> Observation<U>) -> Observation<U> {
    match observed {
        Observation::Known(value) => read(value),
        Observation::Unknown(reason) => Observation::Unknown(reason),
        Observation::Denied(reason) => Observation::Denied(reason),
    }
}

pub(super) fn applications(context: &Context) -> Look<Vec<Package>> {
    const TOOL: &str = "/usr/sbin/system_profiler";
    let json = told(context, TOOL, &["-json", "SPApplicationsDataType"]);
    Look::new(then(json, |json| answer::applications(&json)), TOOL)
}

pub(super) fn updates(context: &Context) -> Look<Updates> {
    const TOOL: &str = "/usr/bin/plutil";
    let value = |key: &str| told(context, TOOL, &["-extract", key, "raw", "-o", "-", UPDATES]);
    let last = then(value("LastFullSuccessfulDate"), |date| match date.trim().parse::<jiff::Timestamp>() {
        Ok(time) => Observation::Known(u64::try_from(time.as_second()).unwrap_or(0)),
        Err(error) => Observation::Unknown(format!("the date of the last update cannot be read: {error}")),
    });
    let pending = then(value("LastRecommendedUpdatesAvailable"), |number| match number.trim().parse() {
        Ok(number) => Observation::Known(number),
        Err(_) => Observation::Unknown("the number of updates cannot be read".to_owned()),
    });
    Look::known(Updates { last_unix: last, pending }, UPDATES)
}

pub(super) fn antivirus(context: &Context, processes: &Observation<ProcessList>) -> Look<Antivirus> {
    let mut antivirus = super::antivirus::products(context, processes, |_| {
        Observation::Unknown("the product does not tell".to_owned())
    });
    let signatures = match std::fs::metadata(context.path(XPROTECT)).and_then(|metadata| metadata.modified()) {
        Ok(changed) => Observation::Known(changed.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
        Err(error) => Observation::from_error(XPROTECT, &error),
    };
    if !matches!(&signatures, Observation::Unknown(_)) {
        // It is a part of the system and runs whenever something is opened.
        antivirus.products.push(AntivirusProduct {
            name: "XProtect".to_owned(),
            running: true,
            signatures_unix: signatures,
        });
    }
    Look::known(antivirus, "process table, XProtect")
}

pub(super) fn firewall(context: &Context, _: &Observation<ProcessList>) -> Look<Firewall> {
    const TOOL: &str = "/usr/libexec/ApplicationFirewall/socketfilterfw";
    let active = then(told(context, TOOL, &["--getglobalstate"]), |text| answer::firewall(&text));
    let provider = |active| if active { "the application firewall".to_owned() } else { String::new() };
    Look::new(active.map(|active| Firewall { active, provider: provider(active) }), TOOL)
}

pub(super) fn disk_encryption(context: &Context) -> Look<DiskEncryption> {
    const TOOL: &str = "/usr/bin/fdesetup";
    let encryption = then(told(context, TOOL, &["status"]), |text| answer::filevault(&text));
    Look::known(DiskEncryption { volumes: vec![Volume { mount: "/".to_owned(), encryption }] }, TOOL)
}

pub(super) fn security(context: &Context) -> Look<SystemSecurity> {
    const BOOT_POLICY: &str = "94b73556-2197-4702-82a8-3e1337dafbfb:AppleSecureBootPolicy";
    let integrity = then(told(context, "/usr/bin/csrutil", &["status"]), |text| answer::integrity_protection(&text));
    let lock = match ask("/usr/sbin/sysadminctl", &["-screenLock", "status"], context.settings.limit / 2) {
        Observation::Known(command::Answer { complaint, .. }) => answer::screen_lock(&complaint),
        Observation::Unknown(reason) => Observation::Unknown(reason),
        Observation::Denied(reason) => Observation::Denied(reason),
    };
    let security = SystemSecurity {
        secure_boot: then(told(context, "/usr/sbin/nvram", &[BOOT_POLICY]), |text| answer::secure_boot(&text)),
        access_control: integrity
            .map(|enforcing| AccessControl { name: "System Integrity Protection".to_owned(), enforcing }),
        screen_lock: lock,
    };
    Look::known(security, "csrutil, nvram, sysadminctl")
}

pub(super) fn certificates(context: &Context) -> Look<Vec<CertificateFact>> {
    const TOOL: &str = "/usr/bin/security";
    let system = told(context, TOOL, &["find-certificate", "-a", "-p", "/Library/Keychains/System.keychain"]);
    Look::new(system.map(|text| pem::certificates(text.as_bytes(), "local computer")), TOOL)
}

pub(super) fn users(context: &Context) -> Look<UserList> {
    const SOURCE: &str = "who, id, dsconfigad";
    let realm = told(context, "/usr/sbin/dsconfigad", &["-show"]).map(|text| answer::directory_domain(&text));
    let names = match told(context, "/usr/bin/who", &[]) {
        Observation::Known(text) => {
            let mut names: Vec<String> =
                text.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect();
            names.sort();
            names.dedup();
            names
        }
        Observation::Unknown(reason) => return Look::unknown(reason, SOURCE),
        Observation::Denied(reason) => return Look::new(Observation::Denied(reason), SOURCE),
    };
    // A user of the directory has no entry in the local node.
    let user = |name: String| {
        let local = told(context, "/usr/bin/dscl", &[".", "-read", &format!("/Users/{name}"), "UniqueID"]);
        let domain = if local.known().is_some() { None } else { realm.known().cloned().flatten() };
        let groups = match &domain {
            None => Observation::Known(Vec::new()),
            Some(_) => told(context, "/usr/bin/id", &["-Gn", &name]).map(|text| {
                let groups = text.split_whitespace();
                groups.map(|group| group.rsplit('\\').next().unwrap_or(group).to_owned()).collect()
            }),
        };
        LoggedOnUser { name, domain, groups }
    };
    let users = names.into_iter().map(user).collect();
    Look::known(UserList { users, realm: realm.clone() }, SOURCE)
}

pub(super) fn surroundings(context: &Context) -> Look<Surroundings> {
    const SOURCE: &str = "netstat, arp, scutil, ipconfig, networksetup";
    let ignored = &context.settings.ignored_interfaces;
    let arp = told(context, "/usr/sbin/arp", &["-an"]).known().cloned().unwrap_or_default();
    let routes = told(context, "/usr/sbin/netstat", &["-rn"]);
    let gateways = routes.map(|text| answer::with_neighbours(answer::gateways(&text, ignored), &arp));
    let active: Vec<String> = gateways.known().into_iter().flatten().map(|gateway| gateway.interface.clone()).collect();
    let ports = told(context, "/usr/sbin/networksetup", &["-listallhardwareports"]);
    let interfaces = ports.map(|text| answer::interfaces(&text, &active)).known().cloned().unwrap_or_default();
    let listed = told(context, "/sbin/ifconfig", &["-l"]).known().cloned().unwrap_or_default();
    let tunnel_up = listed.split_whitespace().any(|name| ignored.iter().any(|own| own == name));
    let dns_servers = if tunnel_up {
        Observation::Unknown("a tunnel is up, which may have changed the resolver's servers".to_owned())
    } else {
        told(context, "/usr/sbin/scutil", &["--dns"]).map(|text| answer::dns_servers(&text))
    };
    let leases = active.iter().filter_map(|name| {
        let packet = told(context, "/usr/sbin/ipconfig", &["getpacket", name]);
        answer::lease(name, packet.known()?)
    });
    let dhcp = Observation::Known(leases.collect());
    Look::known(Surroundings { interfaces, gateways, dns_servers, dhcp, tunnel_up }, SOURCE)
}
