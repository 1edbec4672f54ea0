//! What macOS's own tools print, read. Nothing here runs a tool, so that it is tested on every system.

use crate::facts::{
    DhcpLease, Gateway, Medium, NetworkInterface, Observation, Package, PackageManager, ScreenLock, VolumeEncryption,
};
use serde::Deserialize;
use std::net::IpAddr;

/// `fdesetup status`.
pub(in crate::collect) fn filevault(text: &str) -> Observation<VolumeEncryption> {
    let first = text.lines().next().unwrap_or_default();
    match first.trim() {
        "FileVault is On." => Observation::Known(VolumeEncryption::Encrypted("FileVault".to_owned())),
        // While it is under way, a part of the volume still lies in the clear.
        "FileVault is Off." => Observation::Known(VolumeEncryption::None),
        other => Observation::Unknown(format!("fdesetup says \"{other}\"")),
    }
}

/// `socketfilterfw --getglobalstate`: state 1 filters by application, 2 refuses everything.
pub(in crate::collect) fn firewall(text: &str) -> Observation<bool> {
    let state = text.split("State = ").nth(1).and_then(|rest| rest.split(')').next());
    match state {
        Some("0") => Observation::Known(false),
        Some("1" | "2") => Observation::Known(true),
        _ => Observation::Unknown(format!("socketfilterfw says \"{}\"", text.trim())),
    }
}

/// `csrutil status`: whether System Integrity Protection stands, in full.
pub(in crate::collect) fn integrity_protection(text: &str) -> Observation<bool> {
    let first = text.lines().next().unwrap_or_default().trim();
    match first.strip_prefix("System Integrity Protection status: ").map(|state| state.trim_end_matches('.')) {
        Some("enabled") => Observation::Known(true),
        Some("disabled") => Observation::Known(false),
        _ => Observation::Unknown(format!("csrutil says \"{first}\"")),
    }
}

/// `sysadminctl -screenLock status`, which answers on the error stream.
pub(in crate::collect) fn screen_lock(text: &str) -> Observation<ScreenLock> {
    let Some((_, state)) = text.split_once("screenLock ") else {
        return Observation::Unknown(format!("sysadminctl says \"{}\"", text.trim()));
    };
    let state = state.lines().next().unwrap_or_default().trim();
    let known = |automatic, after_seconds| Observation::Known(ScreenLock { automatic, after_seconds });
    if state == "is off" {
        return known(false, None);
    }
    match state.strip_prefix("delay is ") {
        Some("immediate") => known(true, Some(0)),
        Some(delay) => match delay.split(' ').next().and_then(|number| number.parse().ok()) {
            Some(seconds) => known(true, Some(seconds)),
            None => Observation::Unknown(format!("sysadminctl says \"{state}\"")),
        },
        None => Observation::Unknown(format!("sysadminctl says \"{state}\"")),
    }
}

/// `nvram 94b73556-2197-4702-82a8-3e1337dafbfb:AppleSecureBootPolicy` of a Mac with a T2: 2 is full security,
/// 1 medium, 0 none.
pub(in crate::collect) fn secure_boot(text: &str) -> Observation<bool> {
    match text.split_whitespace().last() {
        Some("%02" | "%01") => Observation::Known(true),
        Some("%00") => Observation::Known(false),
        _ => Observation::Unknown("this Mac does not tell its boot policy to programs".to_owned()),
    }
}

#[derive(Deserialize)]
struct Profile {
    #[serde(rename = "SPApplicationsDataType", default)]
    applications: Vec<Application>,
}

#[derive(Deserialize)]
struct Application {
    #[serde(rename = "_name")]
    name: String,
    version: Option<String>,
    #[serde(default)]
    arch_kind: Option<String>,
}

/// `system_profiler -json SPApplicationsDataType`.
pub(in crate::collect) fn applications(json: &str) -> Observation<Vec<Package>> {
    let profile: Profile = match serde_json::from_str(json) {
        Ok(profile) => profile,
        Err(error) => return Observation::Unknown(format!("system_profiler's answer cannot be read: {error}")),
    };
    let package = |application: Application| {
        let version = application.version.unwrap_or_default();
        Package {
            source_name: application.name.clone(),
            source_version: version.clone(),
            name: application.name,
            version,
            architecture: application.arch_kind.unwrap_or_default(),
            manager: PackageManager::Macos,
            module: None,
        }
    };
    let mut all: Vec<Package> = profile.applications.into_iter().map(package).collect();
    all.sort();
    all.dedup();
    Observation::Known(all)
}

/// `dsconfigad -show`: the domain that the Mac has joined; nothing where it has joined none.
pub(in crate::collect) fn directory_domain(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Active Directory Domain"))?;
    let domain = line.trim_start().strip_prefix('=')?.trim();
    (!domain.is_empty()).then(|| domain.to_lowercase())
}

/// `netstat -rn`: the default gateways with their interfaces.
pub(in crate::collect) fn gateways(text: &str, ignored: &[String]) -> Vec<(String, IpAddr)> {
    let gateway = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [destination, gateway, _, interface, ..] = fields.as_slice() else { return None };
        let address: IpAddr = gateway.split('%').next()?.parse().ok()?;
        let own = ignored.iter().any(|name| name == interface);
        (*destination == "default" && !own).then(|| ((*interface).to_owned(), address))
    };
    text.lines().filter_map(gateway).collect()
}

/// `arp -an`: `? (192.168.1.1) at a:bb:c:0:11:22 on en0 ifscope [ethernet]`. It leaves leading zeros out.
pub(in crate::collect) fn with_neighbours(found: Vec<(String, IpAddr)>, arp: &str) -> Vec<Gateway> {
    let hardware = |wanted: &IpAddr| {
        let wanted = format!("({wanted}) at ");
        let line = arp.lines().find(|line| line.contains(&wanted))?;
        let address = line.split(&wanted).nth(1)?.split(' ').next()?;
        let octets: Option<Vec<String>> = address
            .split(':')
            .map(|octet| u8::from_str_radix(octet, 16).ok().map(|octet| format!("{octet:02x}")))
            .collect();
        octets.filter(|octets| octets.len() == 6).map(|octets| octets.join(":"))
    };
    found
        .into_iter()
        .map(|(interface, address)| Gateway { interface, hardware_address: hardware(&address), address })
        .collect()
}

/// `scutil --dns`: the servers of every resolver, each once.
pub(in crate::collect) fn dns_servers(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let (key, value) = line.split_once(" : ")?;
        key.trim().strip_prefix("nameserver[")?;
        value.trim().split('%').next()?.parse::<IpAddr>().ok()
    };
    let mut servers = Vec::new();
    for server in text.lines().filter_map(server) {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers
}

/// `ipconfig getpacket en0`: `server_identifier (ip): 10.0.0.1`, `option_224 (string): HQ`.
pub(in crate::collect) fn lease(interface: &str, text: &str) -> Option<DhcpLease> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let server = value("server_identifier").and_then(|server| server.parse().ok());
    server.map(|server| DhcpLease {
        interface: Some(interface.to_owned()),
        server: Some(server),
        hardware_address: None,
        code: value("option_224"),
    })
}

/// `networksetup -listallhardwareports`: blocks of `Hardware Port: Wi-Fi` and `Device: en0`.
pub(in crate::collect) fn interfaces(text: &str, active: &[String]) -> Vec<NetworkInterface> {
    let mut found = Vec::new();
    let mut medium = Medium::Other;
    for line in text.lines() {
        if let Some(port) = line.strip_prefix("Hardware Port: ") {
            medium = match port {
                "Wi-Fi" | "AirPort" => Medium::Wifi,
                port if port.contains("Ethernet") || port.contains("LAN") => Medium::Ethernet,
                _ => Medium::Other,
            };
        } else if let Some(name) = line.strip_prefix("Device: ") {
            let connected = active.iter().any(|active| active == name);
            found.push(NetworkInterface { name: name.to_owned(), medium, connected });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filevault_is_on_off_or_something_else() {
        let encrypted = Observation::Known(VolumeEncryption::Encrypted("FileVault".to_owned()));
        assert_eq!(filevault("FileVault is On.\n"), encrypted);
        assert_eq!(filevault("FileVault is Off.\n"), Observation::Known(VolumeEncryption::None));
        let going = "FileVault is Off.\nEncryption in progress: Percent completed = 12\n";
        assert_eq!(filevault(going), Observation::Known(VolumeEncryption::None));
        assert!(filevault("Error: x").reason().is_some());
    }

    #[test]
    fn the_firewall_has_three_states() {
        assert_eq!(firewall("Firewall is disabled. (State = 0) \n"), Observation::Known(false));
        assert_eq!(firewall("Firewall is enabled. (State = 1) \n"), Observation::Known(true));
        let all = "Firewall is blocking all non-essential incoming connections. (State = 2)";
        assert_eq!(firewall(all), Observation::Known(true));
        assert!(firewall("").reason().is_some());
    }

    #[test]
    fn protections_of_the_system_are_read() {
        assert_eq!(integrity_protection("System Integrity Protection status: enabled.\n"), Observation::Known(true));
        let custom = "System Integrity Protection status: unknown (Custom Configuration).\n\nConfiguration:\n";
        assert!(integrity_protection(custom).reason().is_some());
        let lock = |text: &str| screen_lock(&format!("2026-01-01 10:00:00.000 sysadminctl[1:2] {text}\n"));
        let known = |automatic, after_seconds| Observation::Known(ScreenLock { automatic, after_seconds });
        assert_eq!(lock("screenLock is off"), known(false, None));
        assert_eq!(lock("screenLock delay is immediate"), known(true, Some(0)));
        assert_eq!(lock("screenLock delay is 300 seconds"), known(true, Some(300)));
        assert!(lock("something").reason().is_some());
        let policy = |value: &str| {
            secure_boot(&format!("94b73556-2197-4702-82a8-3e1337dafbfb:AppleSecureBootPolicy\t{value}\n"))
        };
        assert_eq!((policy("%02"), policy("%00")), (Observation::Known(true), Observation::Known(false)));
        assert!(secure_boot("nvram: Error getting variable").reason().is_some());
    }

    #[test]
    fn applications_come_with_their_versions() {
        let json = r#"{"SPApplicationsDataType":[{"_name":"Safari","version":"18.1","arch_kind":"arch_arm_i64","path":"/Applications/Safari.app"},
            {"_name":"Old","lastModified":"2020-01-01T00:00:00Z"}]}"#;
        let all = applications(json);
        let shown: Vec<(&str, &str)> =
            all.known().unwrap().iter().map(|package| (package.name.as_str(), package.version.as_str())).collect();
        assert_eq!(shown, [("Old", ""), ("Safari", "18.1")]);
        assert!(applications("nonsense").reason().is_some());
    }

    #[test]
    fn the_network_is_read_without_our_own_interface() {
        let routes = "Routing tables\n\nInternet:\nDestination        Gateway            Flags               Netif Expire\n\
            default            192.168.1.1        UGScg                 en0       \n\
            default            link#20            UCSIg               utun4       \n\
            default            10.0.0.1           UGScIg              utun9       \n\
            127                127.0.0.1          UCS                   lo0       \n";
        let found = gateways(routes, &["utun9".to_owned()]);
        let arp = "? (192.168.1.1) at a0:b:cc:0:11:2 on en0 ifscope [ethernet]\n? (192.168.1.9) at (incomplete) on en0 ifscope [ethernet]\n";
        let gateways = with_neighbours(found, arp);
        assert_eq!(gateways.len(), 1);
        assert_eq!(gateways[0].hardware_address.as_deref(), Some("a0:0b:cc:00:11:02"));
        let dns = "DNS configuration\n\nresolver #1\n  nameserver[0] : 192.168.1.1\n  nameserver[1] : fe80::1%en0\n  flags    : Request A records\n\nresolver #2\n  nameserver[0] : 192.168.1.1\n";
        assert_eq!(dns_servers(dns), ["192.168.1.1".parse::<IpAddr>().unwrap(), "fe80::1".parse().unwrap()]);
        let packet = "op = BOOTREPLY\nyiaddr = 192.168.1.7\noptions:\nserver_identifier (ip): 192.168.1.1\nlease_time (uint32): 0xe10\noption_224 (string): HQ\n";
        let lease = lease("en0", packet).unwrap();
        assert_eq!((lease.server, lease.code.as_deref()), ("192.168.1.1".parse().ok(), Some("HQ")));
        let ports = "\nHardware Port: Wi-Fi\nDevice: en0\nEthernet Address: 00:11\n\nHardware Port: USB 10/100 LAN\nDevice: en5\n\nHardware Port: Thunderbolt Bridge\nDevice: bridge0\n";
        let shown: Vec<(Medium, bool)> =
            interfaces(ports, &["en0".to_owned()]).iter().map(|port| (port.medium, port.connected)).collect();
        assert_eq!(shown, [(Medium::Wifi, true), (Medium::Ethernet, false), (Medium::Other, false)]);
    }

    #[test]
    fn a_mac_has_joined_a_domain_or_none() {
        let joined = "Active Directory Forest          = example.com\nActive Directory Domain          = EXAMPLE.com\n";
        assert_eq!(directory_domain(joined).as_deref(), Some("example.com"));
        assert_eq!(directory_domain(""), None);
    }
}
