//! Hosts that answer an echo request, asked past every tunnel of ours: from the interface of a default
//! gateway, to which the socket is bound.

use super::surroundings;
use crate::collect::look::Seen;
use crate::collect::{Context, Look};
use crate::facts::Observation;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long all answers together are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many hosts are asked.
const LIMIT: usize = 32;

const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

pub(in crate::collect) fn pings(context: &Context, hosts: BTreeSet<IpAddr>) -> Look<Seen<IpAddr, bool>> {
    const SOURCE: &str = "echo requests";
    if !context.is_running_system() {
        return Look::not_below_another_root();
    }
    let network = surroundings::surroundings(context).observation;
    let gateways = network.known().and_then(|network| network.gateways.known().cloned()).unwrap_or_default();
    let mut interfaces: Vec<String> = gateways.into_iter().map(|gateway| gateway.interface).collect();
    interfaces.dedup();
    if interfaces.is_empty() {
        return Look::unknown("there is no default gateway, so no interface to ask from", SOURCE);
    }
    let limit = PATIENCE.min(context.settings.limit / 2);
    let asked = hosts.iter().take(LIMIT).map(|host| (*host, ask(*host, &interfaces)));
    let sockets: Vec<_> = asked.collect();
    let end = Instant::now() + limit;
    let mut seen: Seen<IpAddr, bool> =
        sockets.into_iter().map(|(host, socket)| (host, answered(host, socket, end))).collect();
    for host in hosts.into_iter().skip(LIMIT) {
        seen.insert(host, Observation::Unknown(format!("only {LIMIT} hosts are asked")));
    }
    Look::known(seen, SOURCE)
}

/// Sends one request from each interface.
fn ask(host: IpAddr, interfaces: &[String]) -> std::io::Result<Vec<UdpSocket>> {
    let (domain, protocol, kind) = match host {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, ECHO_REQUEST_V4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, ECHO_REQUEST_V6),
    };
    // The kernel puts the identifier and the checksum in.
    let request = [kind, 0, 0, 0, 0, 0, 0, 1, b'p', b'o', b's', b't', b'e', b'r', b'n', 0];
    let send = |interface: &String| {
        let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.send_to(&request, &SocketAddr::new(host, 0).into())?;
        // For receiving it is a datagram socket like any other.
        Ok(socket.into())
    };
    interfaces.iter().map(send).collect()
}

/// A host that does not answer in time does not answer; one that could not be asked is unknown.
fn answered(host: IpAddr, sockets: std::io::Result<Vec<UdpSocket>>, end: Instant) -> Observation<bool> {
    let wanted = if host.is_ipv4() { ECHO_REPLY_V4 } else { ECHO_REPLY_V6 };
    let sockets = match sockets {
        Ok(sockets) => sockets,
        Err(error) => return Observation::from_error(&format!("echo request to {host}"), &error),
    };
    for socket in sockets {
        loop {
            // Less than nothing is left for later hosts when the earlier ones were silent: a moment each.
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            if let Err(error) = socket.set_read_timeout(Some(left)) {
                return Observation::from_error("echo request", &error);
            }
            let mut buffer = [0_u8; 256];
            match socket.recv_from(&mut buffer) {
                Ok((length, from)) => {
                    let kind = buffer.first().filter(|_| length > 0);
                    if kind == Some(&wanted) && from.ip() == host {
                        return Observation::Known(true);
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) if matches!(error.kind(), ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => {
                    break;
                }
                Err(error) => return Observation::from_error(&format!("echo reply of {host}"), &error),
            }
        }
    }
    Observation::Known(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSIDE: &str = "POSTERN_TEST_PING_INSIDE";

    /// Runs this very test once more in a network of its own, in which echo sockets are allowed: the
    /// kernel answers echo requests to its own addresses.
    #[test]
    fn a_host_that_answers_is_told_from_one_that_does_not() {
        if std::env::var_os(INSIDE).is_none() {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            let script =
                r#"ip link set lo up && echo '0 0' > /proc/sys/net/ipv4/ping_group_range && exec "$0" --exact "$1""#;
            let program = std::env::current_exe().unwrap();
            let output = std::process::Command::new("unshare")
                .args(["--user", "--map-root-user", "--net", "--", "sh", "-c", script])
                .arg(program)
                .arg(name)
                .env(INSIDE, "1")
                .output()
                .expect("unshare must be installed: this test makes a network of its own");
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && told.contains("1 passed"),
                "{told}{}",
                String::from_utf8_lossy(&output.stderr)
            );
            return;
        }
        let end = || Instant::now() + PATIENCE;
        let loopback = vec!["lo".to_owned()];
        for host in ["127.0.0.1", "::1"] {
            let host: IpAddr = host.parse().unwrap();
            assert_eq!(answered(host, ask(host, &loopback), end()), Observation::Known(true), "{host}");
        }
        let silent: IpAddr = "192.0.2.1".parse().unwrap();
        assert_ne!(answered(silent, ask(silent, &loopback), end()), Observation::Known(true));
        let nowhere = answered(silent, ask(silent, &["no-such-device".to_owned()]), end());
        assert!(nowhere.reason().is_some(), "{nowhere:?}");
    }
}
