//! What PowerShell and `reg` print on Windows, read. Nothing here runs a tool, so that it is tested on
//! every system.

use crate::facts::{
    AntivirusProduct, DhcpLease, Gateway, LoggedOnUser, Medium, NetworkInterface, Observation, Package, PackageManager,
    RegistryKeyFact, RegistryValue, Surroundings, WindowsSecurity,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Reads JSON as `ConvertTo-Json` writes it: of a list with one entry it may leave the list out, and of an
/// empty one everything.
pub(in crate::collect) fn list<T: DeserializeOwned>(json: &str) -> Observation<Vec<T>> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        Many(Vec<T>),
        One(T),
    }
    let text = json.trim().trim_start_matches('\u{feff}');
    if text.is_empty() {
        return Observation::Known(Vec::new());
    }
    match serde_json::from_str::<OneOrMany<T>>(text) {
        Ok(OneOrMany::Many(all)) => Observation::Known(all),
        Ok(OneOrMany::One(one)) => Observation::Known(vec![one]),
        Err(error) => Observation::Unknown(format!("the answer cannot be read: {error}")),
    }
}

/// One `AntiVirusProduct` of `root/SecurityCenter2`.
#[derive(Debug, Deserialize)]
pub(in crate::collect) struct CenterProduct {
    #[serde(rename = "displayName")]
    name: String,
    #[serde(rename = "productState")]
    state: u32,
}

impl CenterProduct {
    /// Bits 12 to 15 of the state say whether it runs; bits 4 to 7 whether its signatures are out of date, but
    /// not since when.
    pub(in crate::collect) fn product(self, now_unix: u64) -> AntivirusProduct {
        let is_current = (self.state >> 4) & 0xf == 0;
        AntivirusProduct {
            name: self.name,
            running: (self.state >> 12) & 0xf == 1,
            signatures_unix: if is_current {
                // The product vouches for them now.
                Observation::Known(now_unix)
            } else {
                Observation::Known(0)
            },
        }
    }
}

/// What `Get-MpComputerStatus` says where there is no Security Center, as on Windows Server.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::collect) struct Defender {
    real_time_protection_enabled: bool,
    #[serde(default)]
    antivirus_signature_age: Option<u64>,
}

impl Defender {
    pub(in crate::collect) fn is_on(&self) -> bool {
        self.real_time_protection_enabled
    }

    pub(in crate::collect) fn product(&self, now_unix: u64) -> AntivirusProduct {
        AntivirusProduct {
            name: "Microsoft Defender".to_owned(),
            running: self.real_time_protection_enabled,
            signatures_unix: match self.antivirus_signature_age {
                Some(days) => Observation::Known(now_unix.saturating_sub(days.saturating_mul(86_400))),
                None => Observation::Unknown("Defender does not tell the age of its signatures".to_owned()),
            },
        }
    }
}

/// Everything that a rule of type `windows-security` can name, as one script gathers it; what the script
/// could not ask is absent.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::collect) struct Protections {
    defender: Option<bool>,
    bitlocker: Option<bool>,
    network_protection: Option<u32>,
    folder_access: Option<u32>,
    application_guard: Option<String>,
    firewall: Option<Vec<bool>>,
}

impl Protections {
    pub(in crate::collect) fn security(self) -> WindowsSecurity {
        let told = |value: Option<bool>, what: &str| match value {
            Some(on) => Observation::Known(on),
            None => Observation::Denied(format!("Windows does not tell of {what} without administrator's rights")),
        };
        let guard = match (self.network_protection, self.folder_access) {
            (None, None) => None,
            // 1 blocks; 2 only writes down.
            (network, folder) => Some(network == Some(1) || folder == Some(1)),
        };
        WindowsSecurity {
            defender: told(self.defender, "Defender"),
            bitlocker: told(self.bitlocker, "BitLocker"),
            exploit_guard: told(guard, "Exploit Guard"),
            application_guard: told(self.application_guard.map(|state| state == "Enabled"), "Application Guard"),
            firewall: told(self.firewall.map(|all| !all.is_empty() && all.iter().all(|on| *on)), "Windows Firewall"),
        }
    }
}

/// One entry of the list of installed programs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::collect) struct Program {
    display_name: Option<String>,
    display_version: Option<String>,
}

/// The installed programs, each once.
pub(in crate::collect) fn programs(all: Vec<Program>) -> Vec<Package> {
    let named = all
        .into_iter()
        .filter_map(|program| Some((program.display_name?, program.display_version.unwrap_or_default())));
    let unique: BTreeSet<(String, String)> = named.filter(|(name, _)| !name.trim().is_empty()).collect();
    let package = |(name, version): (String, String)| Package {
        source_name: name.clone(),
        source_version: version.clone(),
        name,
        version,
        architecture: String::new(),
        manager: PackageManager::Windows,
        module: None,
    };
    unique.into_iter().map(package).collect()
}

/// `reg query KEY`: the key's own name, then `    NAME    TYPE    VALUE` for each value.
pub(in crate::collect) fn registry_key(text: &str, wanted: &BTreeSet<String>) -> RegistryKeyFact {
    let value = |line: &str| {
        let line = line.strip_prefix("    ")?;
        let (name, rest) = line.split_once("    REG_")?;
        let (kind, value) = rest.split_once("    ").unwrap_or((rest, ""));
        let read = match kind.trim() {
            "DWORD" | "QWORD" => {
                let digits = value.trim().strip_prefix("0x")?;
                RegistryValue::Number(u64::from_str_radix(digits, 16).ok()?)
            }
            "SZ" | "EXPAND_SZ" => RegistryValue::Text(value.trim_end().to_owned()),
            _ => RegistryValue::Other,
        };
        Some((name.trim().to_lowercase(), read))
    };
    let all: BTreeMap<String, RegistryValue> = text.lines().filter_map(value).collect();
    RegistryKeyFact { present: true, values: all.into_iter().filter(|(name, _)| wanted.contains(name)).collect() }
}

/// A user with a desktop, and the groups that the directory names.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::collect) struct DesktopUser {
    user: String,
    domain: String,
    #[serde(default)]
    groups: Option<Vec<String>>,
}

impl DesktopUser {
    /// A user of the machine itself has the machine's name in the place of a domain.
    pub(in crate::collect) fn user(self, host: &str, dns_domain: Option<&str>) -> LoggedOnUser {
        let is_local = self.domain.eq_ignore_ascii_case(host);
        let common = |name: String| {
            // A distinguished name begins with the name itself: `CN=VPN Users,OU=...`.
            let first = name.split(',').next().unwrap_or_default();
            first.strip_prefix("CN=").unwrap_or(first).to_owned()
        };
        LoggedOnUser {
            name: self.user,
            domain: (!is_local).then(|| dns_domain.map_or(self.domain, str::to_owned).to_lowercase()),
            groups: match self.groups {
                Some(groups) => Observation::Known(groups.into_iter().map(common).collect()),
                None if is_local => Observation::Known(Vec::new()),
                None => Observation::Unknown("the directory does not answer".to_owned()),
            },
        }
    }
}

/// The network as one script gathers it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::collect) struct Network {
    #[serde(default)]
    adapters: Vec<Adapter>,
    #[serde(default)]
    gateways: Vec<Route>,
    #[serde(default)]
    servers: Vec<Server>,
    #[serde(default)]
    leases: Vec<Lease>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Adapter {
    name: String,
    medium: Option<String>,
    status: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Route {
    interface: String,
    address: String,
    hardware: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Server {
    interface: String,
    address: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Lease {
    interface: String,
    server: String,
}

impl Network {
    /// Leaves out what belongs to our own interfaces; DNS servers belong to one here, so a tunnel does not hide them.
    pub(in crate::collect) fn surroundings(self, ignored: &[String]) -> Surroundings {
        let foreign = |name: &String| !ignored.contains(name);
        let tunnel_up = self.adapters.iter().any(|adapter| ignored.contains(&adapter.name) && adapter.status == "Up");
        let interface = |adapter: Adapter| NetworkInterface {
            medium: match adapter.medium.as_deref() {
                Some("802.3") => Medium::Ethernet,
                Some("Native 802.11" | "Wireless LAN") => Medium::Wifi,
                _ => Medium::Other,
            },
            connected: adapter.status == "Up",
            name: adapter.name,
        };
        let hardware = |text: String| (!text.is_empty()).then(|| text.replace('-', ":").to_lowercase());
        let gateway = |route: Route| {
            let address: IpAddr = route.address.parse().ok()?;
            Some(Gateway { interface: route.interface, address, hardware_address: route.hardware.and_then(hardware) })
        };
        let mut servers: Vec<IpAddr> = Vec::new();
        for server in self.servers.into_iter().filter(|server| foreign(&server.interface)) {
            if let Ok(address) = server.address.parse()
                && !servers.contains(&address)
            {
                servers.push(address);
            }
        }
        let lease = |lease: Lease| DhcpLease {
            interface: Some(lease.interface),
            server: lease.server.parse().ok(),
            hardware_address: None,
            code: None,
        };
        Surroundings {
            interfaces: self.adapters.into_iter().filter(|adapter| foreign(&adapter.name)).map(interface).collect(),
            gateways: Observation::Known(
                self.gateways.into_iter().filter(|route| foreign(&route.interface)).filter_map(gateway).collect(),
            ),
            dns_servers: Observation::Known(servers),
            dhcp: Observation::Known(
                self.leases.into_iter().filter(|lease| foreign(&lease.interface)).map(lease).collect(),
            ),
            tunnel_up,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_one_and_of_none_are_lists() {
        assert_eq!(list::<u8>("[1,2]"), Observation::Known(vec![1, 2]));
        assert_eq!(list::<u8>("\u{feff}7\r\n"), Observation::Known(vec![7]));
        assert_eq!(list::<u8>("  \r\n"), Observation::Known(vec![]));
        assert!(list::<u8>("{").reason().is_some());
    }

    #[test]
    fn the_security_center_tells_state_and_freshness_in_bits() {
        let json = r#"[{"displayName":"Windows Defender","productState":397568},{"displayName":"Other","productState":393216},
            {"displayName":"Old","productState":397584}]"#;
        let all = list::<CenterProduct>(json).known().map(|_| ()).and_then(|()| match list::<CenterProduct>(json) {
            Observation::Known(all) => Some(all),
            _ => None,
        });
        let shown: Vec<(bool, Observation<u64>)> = all
            .unwrap()
            .into_iter()
            .map(|product| product.product(9))
            .map(|product| (product.running, product.signatures_unix))
            .collect();
        let known = Observation::Known;
        assert_eq!(shown, [(true, known(9)), (false, known(9)), (true, known(0))]);
    }

    #[test]
    fn defender_tells_the_age_of_its_signatures_where_there_is_no_center() {
        let defender: Defender =
            serde_json::from_str(r#"{"RealTimeProtectionEnabled":true,"AntivirusSignatureAge":2}"#).unwrap();
        let product = defender.product(1_000_000);
        assert!(defender.is_on() && product.running);
        assert_eq!(product.signatures_unix, Observation::Known(1_000_000 - 2 * 86_400));
    }

    #[test]
    fn protections_that_windows_does_not_tell_of_are_denied() {
        let all = r#"{"Defender":true,"Bitlocker":false,"NetworkProtection":0,"FolderAccess":1,"ApplicationGuard":"Disabled","Firewall":[true,true,false]}"#;
        let security = serde_json::from_str::<Protections>(all).unwrap().security();
        assert_eq!((security.defender, security.bitlocker), (Observation::Known(true), Observation::Known(false)));
        assert_eq!((security.exploit_guard, security.firewall), (Observation::Known(true), Observation::Known(false)));
        assert_eq!(security.application_guard, Observation::Known(false));
        let none = serde_json::from_str::<Protections>("{}").unwrap().security();
        assert!(matches!(none.bitlocker, Observation::Denied(_)) && matches!(none.firewall, Observation::Denied(_)));
    }

    #[test]
    fn registry_values_have_types() {
        let text = "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Example\r\n    Level    REG_DWORD    0x10\r\n    Name With Space    REG_SZ    a b  c\r\n    Blob    REG_BINARY    00FF\r\n    Other    REG_SZ    x\r\n\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Example\\Sub\r\n";
        let wanted = ["level", "name with space", "blob"].map(str::to_owned).into();
        let key = registry_key(text, &wanted);
        assert_eq!(key.values["level"], RegistryValue::Number(16));
        assert_eq!(key.values["name with space"], RegistryValue::Text("a b  c".to_owned()));
        assert_eq!(key.values["blob"], RegistryValue::Other);
        assert!(key.present && key.values.len() == 3, "only what was asked for");
    }

    #[test]
    fn programs_and_users_are_read() {
        let json = r#"[{"DisplayName":"B","DisplayVersion":"2"},{"DisplayName":"B","DisplayVersion":"2"},{"DisplayName":null,"DisplayVersion":"1"},{"DisplayName":"A"}]"#;
        let Observation::Known(all) = list::<Program>(json) else { panic!("no list") };
        let names: Vec<String> =
            programs(all).into_iter().map(|package| package.name + " " + &package.version).collect();
        assert_eq!(names, ["A ", "B 2"]);
        let user = |json: &str| serde_json::from_str::<DesktopUser>(json).unwrap().user("PC7", Some("example.com"));
        let ann = user(r#"{"User":"ann","Domain":"EXAMPLE","Groups":["CN=VPN Users,OU=Groups,DC=example,DC=com"]}"#);
        assert_eq!(ann.domain.as_deref(), Some("example.com"));
        assert_eq!(ann.groups, Observation::Known(vec!["VPN Users".to_owned()]));
        let local = user(r#"{"User":"bob","Domain":"pc7","Groups":null}"#);
        assert_eq!((local.domain, local.groups), (None, Observation::Known(Vec::new())));
        assert!(user(r#"{"User":"eve","Domain":"EXAMPLE"}"#).groups.reason().is_some());
    }

    #[test]
    fn the_network_is_read_without_our_own_interface() {
        let json = r#"{"Adapters":[{"Name":"Ethernet","Medium":"802.3","Status":"Up"},{"Name":"Postern","Medium":null,"Status":"Up"},
            {"Name":"WLAN","Medium":"Native 802.11","Status":"Disconnected"}],
            "Gateways":[{"Interface":"Ethernet","Address":"192.168.1.1","Hardware":"AA-BB-CC-00-11-22"},{"Interface":"Postern","Address":"10.0.0.1","Hardware":null}],
            "Servers":[{"Interface":"Ethernet","Address":"192.168.1.1"},{"Interface":"Postern","Address":"10.0.0.2"}],
            "Leases":[{"Interface":"Ethernet","Server":"192.168.1.1"}]}"#;
        let network = serde_json::from_str::<Network>(json).unwrap().surroundings(&["Postern".to_owned()]);
        assert!(network.tunnel_up && network.interfaces.len() == 2);
        assert_eq!(network.interfaces[1].medium, Medium::Wifi);
        let gateways = network.gateways.known().unwrap();
        assert_eq!((gateways.len(), gateways[0].hardware_address.as_deref()), (1, Some("aa:bb:cc:00:11:22")));
        assert_eq!(network.dns_servers, Observation::Known(vec!["192.168.1.1".parse().unwrap()]));
        assert_eq!(network.dhcp.known().unwrap().len(), 1);
    }
}
