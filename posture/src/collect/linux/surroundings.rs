//! The network around the endpoint, as the kernel and DHCP clients tell it, without what our own tunnels
//! bring: their routes lie in a table of their own, which `/proc/net/route` does not show, and resolver
//! files that a tunnel may have changed do not count while one is up.

use super::text;
use crate::collect::{Context, Look};
use crate::facts::{DhcpLease, Gateway, Medium, NetworkInterface, Observation, Surroundings};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where the servers of the network itself are listed, even while a tunnel is up.
const OWN_RESOLVERS: [&str; 2] = ["/run/NetworkManager/no-stub-resolv.conf", "/run/NetworkManager/resolv.conf"];
/// Where the servers in use are listed.
const RESOLVERS: [&str; 2] = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];

/// The leases of systemd-networkd, NetworkManager and dhclient.
const NETWORKD_LEASES: &str = "/run/systemd/netif/leases";
const MANAGER_LEASES: &str = "/var/lib/NetworkManager";
const CLIENT_LEASES: [&str; 2] = ["/var/lib/dhcp", "/var/lib/dhclient"];

pub(in crate::collect) fn surroundings(context: &Context) -> Look<Surroundings> {
    const SOURCE: &str = "/sys/class/net, /proc/net, resolver files, leases of DHCP";
    let interfaces = match interfaces(context) {
        Ok(interfaces) => interfaces,
        Err(error) => return Look::new(Observation::from_error("/sys/class/net", &error), SOURCE),
    };
    let tunnel_up =
        context.settings.ignored_interfaces.iter().any(|name| context.path("/sys/class/net").join(name).exists());
    let neighbours = neighbours(context);
    let network = Surroundings {
        interfaces,
        gateways: gateways(context, &neighbours),
        dns_servers: dns_servers(context, tunnel_up),
        dhcp: leases(context, &neighbours),
        tunnel_up,
    };
    Look::known(network, SOURCE)
}

fn interfaces(context: &Context) -> Result<Vec<NetworkInterface>, std::io::Error> {
    let mut interfaces = Vec::new();
    for entry in std::fs::read_dir(context.path("/sys/class/net"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name == "lo" || context.settings.ignored_interfaces.contains(&name) {
            continue;
        }
        let folder = context.path("/sys/class/net").join(&name);
        let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        let medium = if folder.join("wireless").exists() || folder.join("phy80211").exists() {
            Medium::Wifi
        } else if read("type").trim() == "1" && folder.join("device").exists() {
            Medium::Ethernet
        } else {
            Medium::Other
        };
        // The file cannot be read while the interface is down.
        interfaces.push(NetworkInterface { connected: read("carrier").trim() == "1", name, medium });
    }
    interfaces.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(interfaces)
}

/// The default routes of the main table (proc(5), `/proc/net/route`; numbers in host order).
fn gateways(context: &Context, neighbours: &BTreeMap<IpAddr, String>) -> Observation<Vec<Gateway>> {
    let routes = match text(context, "/proc/net/route") {
        Ok(Some(routes)) => routes,
        Ok(None) => return Observation::Unknown("/proc/net/route is not there".to_owned()),
        Err(error) => return Observation::from_error("/proc/net/route", &error),
    };
    let six = text(context, "/proc/net/ipv6_route").ok().flatten().unwrap_or_default();
    let found = routes.lines().skip(1).filter_map(route_v4).chain(six.lines().filter_map(route_v6));
    let mut gateways: Vec<Gateway> = found
        .filter(|(interface, _)| !context.settings.ignored_interfaces.contains(interface))
        .map(|(interface, address)| Gateway { interface, address, hardware_address: neighbours.get(&address).cloned() })
        .collect();
    gateways.dedup();
    Observation::Known(gateways)
}

fn route_v4(line: &str) -> Option<(String, IpAddr)> {
    let mut fields = line.split_whitespace();
    let interface = fields.next()?;
    let destination = u32::from_str_radix(fields.next()?, 16).ok()?;
    let gateway = u32::from_str_radix(fields.next()?, 16).ok()?;
    let mask = u32::from_str_radix(fields.nth(4)?, 16).ok()?;
    let address = Ipv4Addr::from(gateway.to_ne_bytes());
    (destination == 0 && mask == 0 && gateway != 0).then(|| (interface.to_owned(), address.into()))
}

fn route_v6(line: &str) -> Option<(String, IpAddr)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [destination, length, _, _, gateway, .., interface] = fields.as_slice() else { return None };
    let gateway = u128::from_str_radix(gateway, 16).ok()?;
    let is_default = u128::from_str_radix(destination, 16) == Ok(0) && *length == "00";
    (is_default && gateway != 0).then(|| ((*interface).to_owned(), Ipv6Addr::from(gateway).into()))
}

/// The neighbours whose hardware address is known (proc(5), `/proc/net/arp`): flag 2 is a complete entry.
fn neighbours(context: &Context) -> BTreeMap<IpAddr, String> {
    let table = text(context, "/proc/net/arp").ok().flatten().unwrap_or_default();
    let entry = |line: &str| {
        let mut fields = line.split_whitespace();
        let address = fields.next()?.parse().ok()?;
        let flags = u32::from_str_radix(fields.nth(1)?.trim_start_matches("0x"), 16).ok()?;
        let hardware = fields.next()?.to_owned();
        let interface = fields.nth(1)?;
        let own = context.settings.ignored_interfaces.iter().any(|name| name == interface);
        (flags & 2 != 0 && !own).then_some((address, hardware))
    };
    table.lines().skip(1).filter_map(entry).collect()
}

fn dns_servers(context: &Context, tunnel_up: bool) -> Observation<Vec<IpAddr>> {
    let listed = |path: &str| {
        let file = text(context, path).ok().flatten()?;
        let server = |line: &str| {
            let server = line.trim().strip_prefix("nameserver")?.trim();
            server.split('%').next()?.parse::<IpAddr>().ok()
        };
        let servers: Vec<IpAddr> = file.lines().filter_map(server).collect();
        // A stub on this machine is no server of the network.
        (!servers.is_empty() && !servers.iter().all(IpAddr::is_loopback)).then_some(servers)
    };
    if let Some(servers) = OWN_RESOLVERS.into_iter().find_map(listed) {
        return Observation::Known(servers);
    }
    if tunnel_up {
        return Observation::Unknown("a tunnel is up, which may have changed the resolver's servers".to_owned());
    }
    match RESOLVERS.into_iter().find_map(listed) {
        Some(servers) => Observation::Known(servers),
        None => Observation::Unknown("no resolver file names a server of the network".to_owned()),
    }
}

fn leases(context: &Context, neighbours: &BTreeMap<IpAddr, String>) -> Observation<Vec<DhcpLease>> {
    let mut leases = Vec::new();
    let mut seen = false;
    for (folder, read) in [
        (NETWORKD_LEASES, networkd_lease as fn(&Context, &str, &str) -> Vec<DhcpLease>),
        (MANAGER_LEASES, manager_lease),
        (CLIENT_LEASES[0], client_leases),
        (CLIENT_LEASES[1], client_leases),
    ] {
        let entries = match std::fs::read_dir(context.path(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Observation::from_error(folder, &error),
        };
        seen = true;
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        for name in names {
            if let Ok(Some(file)) = text(context, &format!("{folder}/{name}")) {
                leases.extend(read(context, &name, &file));
            }
        }
    }
    if !seen {
        return Observation::Unknown("no DHCP client that is known keeps leases here".to_owned());
    }
    leases.retain(|lease| {
        lease.interface.as_ref().is_none_or(|name| !context.settings.ignored_interfaces.contains(name))
    });
    for lease in &mut leases {
        lease.hardware_address = lease.server.and_then(|server| neighbours.get(&server).cloned());
    }
    Observation::Known(leases)
}

fn assigned<'a>(file: &'a str, key: &str) -> Option<&'a str> {
    file.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::trim)
}

/// A file of systemd-networkd, named for the interface's number: `SERVER_ADDRESS=`, `OPTION_224=` in hexadecimal.
fn networkd_lease(context: &Context, name: &str, file: &str) -> Vec<DhcpLease> {
    let code = assigned(file, "OPTION_224").and_then(|digits| hex::decode(digits).ok());
    vec![DhcpLease {
        interface: interface_of(context, name),
        server: assigned(file, "SERVER_ADDRESS").and_then(|server| server.parse().ok()),
        hardware_address: None,
        code: code.map(|bytes| String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()),
    }]
}

fn interface_of(context: &Context, number: &str) -> Option<String> {
    let entries = std::fs::read_dir(context.path("/sys/class/net")).ok()?;
    entries.flatten().find_map(|entry| {
        let index = std::fs::read_to_string(entry.path().join("ifindex")).ok()?;
        (index.trim() == number).then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

/// A file of NetworkManager's own client: `internal-UUID-INTERFACE.lease`. It keeps only known options.
fn manager_lease(_: &Context, name: &str, file: &str) -> Vec<DhcpLease> {
    let Some(stem) = name.strip_prefix("internal-").and_then(|rest| rest.strip_suffix(".lease")) else {
        return Vec::new();
    };
    let lease = DhcpLease {
        // The identifier before it is 36 characters long, and a dash follows.
        interface: stem.get(37..).map(str::to_owned),
        server: assigned(file, "SERVER_ADDRESS").and_then(|server| server.parse().ok()),
        hardware_address: None,
        code: None,
    };
    if lease.server.is_some() { vec![lease] } else { Vec::new() }
}

/// A file of dhclient (dhclient.leases(5)): of one interface's leases the last is the current one.
fn client_leases(_: &Context, name: &str, file: &str) -> Vec<DhcpLease> {
    if !name.contains("lease") {
        return Vec::new();
    }
    let mut latest: BTreeMap<Option<String>, DhcpLease> = BTreeMap::new();
    for block in file.split("lease {").skip(1) {
        let block = block.split('}').next().unwrap_or_default();
        let value = |key: &str| {
            let line = block.lines().find_map(|line| line.trim().strip_prefix(key))?;
            Some(line.trim().trim_end_matches(';').trim_matches('"').to_owned())
        };
        let interface = value("interface ");
        let lease = DhcpLease {
            interface: interface.clone(),
            server: value("option dhcp-server-identifier ").and_then(|server| server.parse().ok()),
            hardware_address: None,
            code: value("option unknown-224 "),
        };
        latest.insert(interface, lease);
    }
    latest.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::Settings;
    use crate::collect::tests::Tree;
    use crate::rules::Asked;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
        eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n\
        postern0\t00000000\t0100000A\t0003\t0\t0\t50\t00000000\t0\t0\t0\n";
    const NEIGHBOURS: &str = "IP address       HW type     Flags       HW address            Mask     Device\n\
        192.168.1.1      0x1         0x2         aa:bb:cc:00:11:22     *        eth0\n\
        192.168.1.9      0x1         0x0         00:00:00:00:00:00     *        eth0\n";

    fn told(tree: &Tree) -> Surroundings {
        let settings = Settings { ignored_interfaces: vec!["postern0".to_owned()], ..Settings::default() };
        let asked = Asked { surroundings: true, ..Asked::default() };
        let facts = crate::collect::Collector::new(tree.path("/"), settings).collect(&asked);
        facts.surroundings.value().unwrap().clone()
    }

    fn office() -> Tree {
        Tree::new()
            .with("/sys/class/net/lo/type", "772\n")
            .with("/sys/class/net/eth0/type", "1\n")
            .with("/sys/class/net/eth0/ifindex", "2\n")
            .with("/sys/class/net/eth0/carrier", "1\n")
            .with_folder("/sys/class/net/eth0/device")
            .with("/sys/class/net/wlan0/type", "1\n")
            .with_folder("/sys/class/net/wlan0/phy80211")
            .with("/sys/class/net/br0/type", "1\n")
            .with("/proc/net/route", ROUTES)
            .with("/proc/net/arp", NEIGHBOURS)
    }

    #[test]
    fn interfaces_have_a_medium_and_a_link() {
        let shown: Vec<(String, Medium, bool)> = told(&office())
            .interfaces
            .into_iter()
            .map(|interface| (interface.name, interface.medium, interface.connected))
            .collect();
        let expected =
            [("br0", Medium::Other, false), ("eth0", Medium::Ethernet, true), ("wlan0", Medium::Wifi, false)];
        assert_eq!(shown, expected.map(|(name, medium, connected)| (name.to_owned(), medium, connected)));
    }

    #[test]
    fn the_gateway_has_its_neighbours_address_and_our_tunnel_is_none() {
        let six = format!(
            "{} 00 {} 00 fe80{}0001 00000064 00000001 00000000 00000003 eth0\n",
            "0".repeat(32),
            "0".repeat(32),
            "0".repeat(24)
        );
        let network = told(&office().with("/proc/net/ipv6_route", &six));
        let gateways = network.gateways.known().unwrap();
        assert_eq!(gateways.len(), 2, "{gateways:?}");
        assert_eq!(gateways[0].address, "192.168.1.1".parse::<IpAddr>().unwrap());
        assert_eq!(gateways[0].hardware_address.as_deref(), Some("aa:bb:cc:00:11:22"));
        assert_eq!((gateways[1].address, gateways[1].hardware_address.as_ref()), ("fe80::1".parse().unwrap(), None));
        let nothing = told(&Tree::new().with_folder("/sys/class/net"));
        assert!(nothing.gateways.reason().is_some());
    }

    #[test]
    fn servers_of_a_resolver_file_do_not_count_while_a_tunnel_may_have_changed_it() {
        let with = |tree: Tree| told(&tree).dns_servers;
        let servers =
            |list: &[&str]| Observation::Known(list.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>());
        let plain =
            || office().with("/etc/resolv.conf", "# c\nsearch x\nnameserver 192.168.1.1\nnameserver fe80::1%eth0\n");
        assert_eq!(with(plain()), servers(&["192.168.1.1", "fe80::1"]));
        let up = || plain().with_folder("/sys/class/net/postern0");
        assert!(told(&up()).tunnel_up && with(up()).reason().is_some());
        assert_eq!(
            with(up().with("/run/NetworkManager/no-stub-resolv.conf", "nameserver 10.0.0.2\n")),
            servers(&["10.0.0.2"])
        );
        let stub = office()
            .with("/etc/resolv.conf", "nameserver 127.0.0.53\n")
            .with("/run/systemd/resolve/resolv.conf", "nameserver 10.0.0.3\n");
        assert_eq!(with(stub), servers(&["10.0.0.3"]));
        assert!(with(office().with("/etc/resolv.conf", "nameserver 127.0.0.53\n")).reason().is_some());
    }

    #[test]
    fn leases_of_three_clients_are_understood() {
        let leases = |tree: Tree| told(&tree).dhcp.known().cloned().unwrap();
        let networkd = leases(office().with(
            "/run/systemd/netif/leases/2",
            "# private\nADDRESS=192.168.1.7\nSERVER_ADDRESS=192.168.1.1\nOPTION_224=484f\n",
        ));
        assert_eq!((networkd[0].interface.as_deref(), networkd[0].code.as_deref()), (Some("eth0"), Some("HO")));
        assert_eq!(networkd[0].hardware_address.as_deref(), Some("aa:bb:cc:00:11:22"));
        let manager = leases(office().with(
            "/var/lib/NetworkManager/internal-01234567-89ab-cdef-0123-456789abcdef-wlan0.lease",
            "ADDRESS=10.0.0.7\nSERVER_ADDRESS=10.0.0.1\n",
        ));
        assert_eq!((manager[0].interface.as_deref(), manager[0].server), (Some("wlan0"), "10.0.0.1".parse().ok()));
        let lease = |server: &str, code: &str| {
            format!(
                "lease {{\n  interface \"eth0\";\n  option dhcp-server-identifier {server};\n  option unknown-224 \"{code}\";\n  expire 2 2026/01/01 00:00:00;\n}}\n"
            )
        };
        let file = lease("192.168.1.9", "old") + &lease("192.168.1.1", "HQ");
        let client = leases(office().with("/var/lib/dhcp/dhclient.eth0.leases", &file));
        assert_eq!(client.len(), 1);
        assert_eq!((client[0].server, client[0].code.as_deref()), ("192.168.1.1".parse().ok(), Some("HQ")));
        assert!(told(&office()).dhcp.reason().is_some(), "nobody keeps leases");
    }
}
