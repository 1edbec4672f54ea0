//! The systems: how each is started on a pair of hosts, both ends alike.

use super::pair::{CLIENT, GATEWAY, INSIDE, Pair};
use crate::client::program;
use crate::net::{Host, Running, until};
use crate::strongswan::{self, Settings};
use anyhow::{Context, Result};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a system may take to come up.
const LIMIT: Duration = Duration::from_secs(20);
/// What an inner packet may have, for every system that lets itself be told.
const MTU: &str = "1400";
/// WireGuard's port on both hosts.
const WIREGUARD: &str = "51820";

/// The limit that the others are held against.
pub const BARE: &str = "bare forwarder, AES-256-GCM";
/// strongSwan.
pub const STRONGSWAN: &str = "strongSwan, userspace";
/// boringtun's own program, in one thread.
pub const BORINGTUN: &str = "boringtun-cli -t 1, userspace";

/// A way from the client to the gateway.
#[derive(Clone, Copy, Debug)]
pub struct System {
    /// Its name in tables and on the command line.
    pub name: &'static str,
    /// Whether it is ours.
    pub is_ours: bool,
    way: Way,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    /// No tunnel at all.
    Wire,
    /// A program with a fixed key at both ends, and what follows the usual arguments.
    Forwarder(&'static str, &'static str, &'static [&'static str]),
    StrongSwan,
    /// A WireGuard program with its arguments before the device's name.
    WireGuard(&'static str, &'static [&'static str]),
}

/// All of them, in the order in which they are visited.
pub const ALL: &[System] = &[
    other("plain veth", Way::Wire),
    other(BARE, Way::Forwarder("lab-bare", "aes256gcm16", &[])),
    ours("Postern ESP/UDP, AES-256-GCM", Way::Forwarder("lab-forward", "aes256gcm16-noesn", &["udp"])),
    other("bare forwarder, ChaCha20-Poly1305", Way::Forwarder("lab-bare", "chacha20poly1305", &[])),
    ours("Postern ESP/UDP, ChaCha20-Poly1305", Way::Forwarder("lab-forward", "chacha20poly1305-noesn", &["udp"])),
    ours("Postern ESP/TCP, AES-256-GCM", Way::Forwarder("lab-forward", "aes256gcm16-noesn", &["tcp"])),
    ours("Postern WireGuard", Way::Forwarder("lab-wireguard", "wireguard", &[])),
    other(STRONGSWAN, Way::StrongSwan),
    other("wireguard-go, userspace", Way::WireGuard("wireguard-go", &["-f"])),
    other(BORINGTUN, Way::WireGuard("boringtun-cli", &["-f", "--disable-drop-privileges", "-t", "1"])),
];

const fn ours(name: &'static str, way: Way) -> System {
    System { name, is_ours: true, way }
}

const fn other(name: &'static str, way: Way) -> System {
    System { name, is_ours: false, way }
}

/// Returns whom a system is compared with: each with the bare forwarder, ours with the rivals too.
pub fn rivals(name: &str) -> Vec<&'static str> {
    let is_ours = ALL.iter().any(|system| system.is_ours && system.name == name);
    let all: &[&str] = if is_ours { &[BARE, STRONGSWAN, BORINGTUN] } else { &[BARE] };
    all.iter().copied().filter(|rival| *rival != name).collect()
}

/// A system that is up.
#[derive(Debug)]
pub struct Up {
    /// What answers at the far end of it.
    pub target: IpAddr,
    /// The process at the client's end; the wire has none.
    pub client: Option<u32>,
    _running: Vec<Running>,
    _daemons: Vec<strongswan::Gateway>,
}

impl System {
    /// Returns whether it can be measured on this machine: boringtun's program is not in Debian.
    pub fn is_installed(&self) -> bool {
        match self.way {
            Way::WireGuard(name, _) => installed(name).is_some(),
            _ => true,
        }
    }

    /// Starts both ends and waits until the far one answers.
    ///
    /// # Errors
    /// When an end does not come up.
    pub fn start(&self, pair: &Pair) -> Result<Up> {
        let up = match self.way {
            Way::Wire => Up { target: GATEWAY.parse()?, client: None, _running: Vec::new(), _daemons: Vec::new() },
            Way::Forwarder(name, suite, more) => forwarder(pair, name, suite, more)?,
            Way::StrongSwan => strong_swan(pair)?,
            Way::WireGuard(name, arguments) => wire_guard(pair, name, arguments)?,
        };
        until(&format!("an answer through {}", self.name), LIMIT, || {
            Ok(crate::ping::once(&pair.client, up.target, Duration::from_millis(200)).is_ok().then_some(()))
        })?;
        Ok(up)
    }
}

/// Finds a program that may be installed by Debian or by cargo.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cargo = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo/bin"));
    // Where tests/bench puts what it builds for itself: beside the folder of this program.
    let own = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.parent()?.join("bench-rivals/bin")));
    std::env::split_paths(&path).chain(own).chain(cargo).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn forwarder(pair: &Pair, name: &str, suite: &str, more: &[&str]) -> Result<Up> {
    let (client, gateway) = (format!("{CLIENT}:4500"), format!("{GATEWAY}:4500"));
    let ends = [(&pair.gateway, &gateway, &client, "b", INSIDE), (&pair.client, &client, &gateway, "a", "10.98.0.2")];
    let mut running = Vec::new();
    for (host, local, peer, side, inner) in ends {
        let mut command = host.command(program(name)?);
        command.args([local, peer, "tun0", MTU, suite, side]).args(more);
        running.push(Running::start(name, &mut command)?);
        address(host, "tun0", inner)?;
    }
    let client = running.last().map(Running::id);
    Ok(Up { target: INSIDE.parse()?, client, _running: running, _daemons: Vec::new() })
}

/// Waits for a device to be up and gives it its address.
fn address(host: &Host, device: &str, address: &str) -> Result<()> {
    until(&format!("device {device}"), LIMIT, || {
        Ok(host.shell(&format!("ip -o link show {device}")).is_ok_and(|state| state.contains(",UP")).then_some(()))
    })?;
    host.shell(&format!("ip address add {address}/24 dev {device}")).map(drop)
}

fn strong_swan(pair: &Pair) -> Result<Up> {
    pair.gateway.shell(&format!("ip address add {INSIDE}/32 dev lo"))?;
    let secrets = "ike-psk { id-1 = psk@example.test\n id-2 = vpn.example.test\n secret = \"correct horse battery\" }";
    let end = |local: &str, remote: &str, local_id: &str, remote_id: &str, more: &str, child: &str| Settings {
        connections: format!(
            "net {{\n version = 2\n local_addrs = {local}\n {remote}\n {more}\n encap = yes\n\
             proposals = chacha20poly1305-prfsha256-x25519\n\
             local {{ auth = psk\n id = {local_id} }}\n remote {{ auth = psk\n id = {remote_id} }}\n\
             children {{ net {{ {child}\n esp_proposals = aes256gcm16-noesn\n mode = tunnel }} }}\n}}"
        ),
        pools: "p4 { addrs = 10.97.0.0/24 }".into(),
        secrets: secrets.into(),
        ..Settings::default()
    };
    let (ours, theirs) = ("psk@example.test", "vpn.example.test");
    let gateway = end(GATEWAY, "", theirs, ours, "pools = p4", "local_ts = 10.98.0.0/24");
    let client =
        end(CLIENT, &format!("remote_addrs = {GATEWAY}"), ours, theirs, "vips = 0.0.0.0", "remote_ts = 10.98.0.0/24");
    let gateway = strongswan::Gateway::start(&pair.gateway, &pair.folder.join("gateway"), &gateway)?;
    let mut client = strongswan::Gateway::start(&pair.client, &pair.folder.join("client"), &client)?;
    client.swanctl(&["--initiate", "--child", "net", "--timeout", "10"])?;
    let id = client.daemon().id();
    Ok(Up { target: INSIDE.parse()?, client: Some(id), _running: Vec::new(), _daemons: vec![client, gateway] })
}

fn wire_guard(pair: &Pair, name: &str, arguments: &[&str]) -> Result<Up> {
    let program = installed(name).with_context(|| format!("{name} is not installed"))?;
    std::fs::create_dir_all("/run/wireguard")?;
    let key = |end: &str| -> Result<String> {
        let path = pair.folder.join(end);
        let line = format!("umask 077; wg genkey > {0}; wg pubkey < {0}", path.display());
        Ok(crate::net::shell(&line)?.trim().to_owned())
    };
    let (client, gateway) = (key("client.key")?, key("gateway.key")?);
    // The control sockets lie in one folder for both hosts: the devices need names of their own.
    let ends = [
        (&pair.gateway, "wgg", "gateway.key", &client, CLIENT, INSIDE),
        (&pair.client, "wgc", "client.key", &gateway, GATEWAY, "10.98.0.2"),
    ];
    let mut running = Vec::new();
    for (host, device, own, peer, endpoint, inner) in ends {
        let socket = PathBuf::from(format!("/run/wireguard/{device}.sock"));
        let _ = std::fs::remove_file(&socket);
        let mut command: Command = host.command(&program);
        command.args(arguments).arg(device).env("WG_PROCESS_FOREGROUND", "1");
        running.push(Running::start(name, command.stdout(Stdio::null()).stderr(Stdio::null()))?);
        until(&format!("{name}'s control socket"), LIMIT, || Ok(socket.exists().then_some(())))?;
        let key = pair.folder.join(own);
        host.shell(&format!(
            "wg set {device} private-key {} listen-port {WIREGUARD} peer {peer} allowed-ips 10.98.0.0/24 endpoint {endpoint}:{WIREGUARD}
             ip link set {device} mtu {MTU} up",
            key.display()
        ))?;
        address(host, device, inner)?;
    }
    let client = running.last().map(Running::id);
    Ok(Up { target: INSIDE.parse()?, client, _running: running, _daemons: Vec::new() })
}
