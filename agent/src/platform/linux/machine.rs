//! The clock, the boot, kernel settings and files of Linux.

use crate::network::system::SystemError;
use crate::platform::{DefaultRoute, MachineRoom};
use ike_client::Timestamp;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockProtocol, SockType, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// This machine.
pub(in crate::platform) struct Machine;

impl MachineRoom for Machine {
    fn may_change_network() -> Result<(), String> {
        match caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_NET_ADMIN) {
            Ok(true) => Ok(()),
            Ok(false) => Err("the capability CAP_NET_ADMIN is missing".to_owned()),
            Err(error) => Err(format!("the capabilities cannot be read: {error}")),
        }
    }

    /// Each interface uses the larger of its own value and that of `all`.
    fn strict_reverse_path() -> bool {
        let Ok(interfaces) = fs::read_dir("/proc/sys/net/ipv4/conf") else { return false };
        interfaces
            .flatten()
            .filter_map(|interface| fs::read_to_string(interface.path().join("rp_filter")).ok())
            .any(|value| value.trim() == "1")
    }

    fn now() -> io::Result<Timestamp> {
        let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)?;
        Ok(Timestamp::from_start(Duration::from(time)))
    }

    fn boot() -> io::Result<String> {
        Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
    }

    fn read_setting(name: &str) -> Result<String, SystemError> {
        let path = setting(name);
        match fs::read_to_string(&path) {
            Ok(value) => Ok(value.trim().to_owned()),
            Err(error) => Err(failed("reading", &path, &error)),
        }
    }

    fn write_setting(name: &str, value: &str) -> Result<(), SystemError> {
        let path = setting(name);
        fs::write(&path, value).map_err(|error| failed("writing", &path, &error))
    }

    fn open_private(path: &Path) -> io::Result<File> {
        // A link in its place would have another file written.
        let no_links = nix::fcntl::OFlag::O_NOFOLLOW.bits();
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(no_links)
            .open(path)
    }

    fn sync_directory(directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn addresses_besides(device: &str) -> io::Result<Vec<IpAddr>> {
        let kind = |name: &str| name.trim_end_matches(|last: char| last.is_ascii_digit()).to_owned();
        let ours = kind(device);
        let others = nix::ifaddrs::getifaddrs()?.filter(|entry| kind(&entry.interface_name) != ours);
        let addresses = others.filter_map(|entry| entry.address).filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        });
        Ok(addresses.collect())
    }

    /// Of every protocol and interface; the link's own header is left out.
    fn every_packet() -> io::Result<File> {
        let (family, kind) = (AddressFamily::Packet, SockType::Datagram);
        let socket = socket::socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
        socket::setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(100))?;
        // What the system lets us have is welcome, and no more is needed.
        let _ = socket::setsockopt(&socket, sockopt::RcvBuf, &(8 << 20));
        Ok(File::from(socket))
    }

    fn default_route() -> Option<DefaultRoute> {
        let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
        let neighbours = fs::read_to_string("/proc/net/arp").unwrap_or_default();
        let ipv4 = default_ipv4(&routes).map(|(interface, gateway)| DefaultRoute {
            way: format!("{interface} {gateway}"),
            neighbour: hardware_address(&neighbours, gateway).map(str::to_owned),
        });
        let ipv6 = || default_ipv6(&fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default());
        ipv4.or_else(|| ipv6().map(|way| DefaultRoute { way, neighbour: None }))
    }
}

/// Finds the default route in `/proc/net/route`: interface and gateway.
fn default_ipv4(routes: &str) -> Option<(&str, Ipv4Addr)> {
    routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (interface, destination, gateway) = (fields.next()?, fields.next()?, fields.next()?);
        let mask = fields.nth(4)?;
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        // The kernel prints the address as a number of its own byte order.
        (destination == "00000000" && mask == "00000000").then(|| (interface, Ipv4Addr::from(gateway.to_ne_bytes())))
    })
}

/// Finds a neighbour's hardware address in `/proc/net/arp`.
fn hardware_address(neighbours: &str, address: Ipv4Addr) -> Option<&str> {
    let address = address.to_string();
    let line = neighbours.lines().find(|line| line.split_whitespace().next() == Some(&address))?;
    // A neighbour that was asked for and has not answered yet has an address of zeros.
    line.split_whitespace().nth(3).filter(|hardware| *hardware != "00:00:00:00:00:00")
}

/// Finds the default route in `/proc/net/ipv6_route`: interface and gateway.
fn default_ipv6(routes: &str) -> Option<String> {
    routes.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [destination, length, _, _, gateway, .., interface] = fields.as_slice() else { return None };
        let is_default = destination.bytes().all(|digit| digit == b'0') && *length == "00" && *interface != "lo";
        is_default.then(|| format!("{interface} {gateway}"))
    })
}

fn setting(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> SystemError {
    let operation = format!("{verb} {}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            SystemError::NotPermitted { operation, detail: error.to_string() }
        }
        _ => SystemError::Failed { operation, detail: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_is_found_with_its_neighbour() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                      eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                      eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        let gateway = if cfg!(target_endian = "little") { "10.0.2.1" } else { "1.2.0.10" };
        assert_eq!(default_ipv4(routes), Some(("eth0", gateway.parse().unwrap())));
        assert_eq!(default_ipv4("Iface\n"), None);
        let neighbours = "IP address  HW type  Flags  HW address  Mask  Device\n\
                          10.0.2.1    0x1      0x2    52:54:00:12:35:02  *  eth0\n";
        assert_eq!(hardware_address(neighbours, "10.0.2.1".parse().unwrap()), Some("52:54:00:12:35:02"));
        assert_eq!(hardware_address(neighbours, "10.0.2.2".parse().unwrap()), None);
        let zeros = "0".repeat(32);
        let ipv6 = format!("{zeros} 00 {zeros} 00 fe800000000000000000000000000001 00000400 1 0 3 wlan0\n");
        assert_eq!(default_ipv6(&ipv6).unwrap(), "wlan0 fe800000000000000000000000000001");
        assert_eq!(default_ipv6(&ipv6.replace("wlan0", "lo")), None);
    }

    #[test]
    fn the_machine_s_own_addresses_are_told_but_not_those_of_the_tunnel_s_devices() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(Machine::addresses_besides("postern0").unwrap().contains(&loopback));
        assert!(!Machine::addresses_besides("lo").unwrap().contains(&loopback));
        assert!(!Machine::addresses_besides("lo7").unwrap().contains(&loopback));
    }

    #[test]
    fn the_clock_moves_and_the_boot_has_a_name() {
        let earlier = Machine::now().unwrap();
        assert!(Machine::now().unwrap() >= earlier);
        assert_eq!(Machine::boot().unwrap().len(), 36);
    }

    #[test]
    fn a_private_file_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let file = Machine::open_private(&directory.path().join("journal")).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        Machine::sync_directory(directory.path()).unwrap();
    }
}
