//! The road warrior's network: an endpoint, a strongSwan gateway, a host behind it.
//!
//! ```text
//! client 10.99.0.1 fd99::1 ──────── 10.99.0.2 fd99::2 gateway 10.98.0.254 ──── 10.98.0.1 corporate
//!                     vpn.example.test                                  web server on port 80
//! ```
//! Names are looked up in the client's own `/etc/hosts`; the gateway gives addresses of
//! 10.97.0.0/24 and fd97::/64 and the resolver 10.98.0.53.

use crate::client::Endpoint;
use crate::http::CorporateServer;
use crate::net::{Host, until, wire};
use crate::strongswan::{Gateway, Settings};
use anyhow::{Context, Result, bail, ensure};
use postern_api::state::{Established, TunnelStatus};
use postern_api::{ConnectionState, FaultName};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a step may take before the test counts as hung.
pub const LIMIT: Duration = Duration::from_secs(30);
/// The gateway's outer address.
pub const GATEWAY: &str = "10.99.0.2";
/// The corporate host.
pub const CORPORATE: &str = "10.98.0.1";
/// The pools of addresses for endpoints, in swanctl.conf's language.
pub const POOLS: &str = "p4 { addrs = 10.97.0.0/24\n dns = 10.98.0.53 }\np6 { addrs = fd97::/64 }";
/// Every suite the gateway takes for the IKE SA.
pub const IKE_PROPOSALS: &str = "aes256gcm16-prfsha384-ecp384,chacha20poly1305-prfsha256-x25519,\
     aes128gcm16-prfsha256-ecp256,aes256-sha256-prfsha256-modp2048,aes256-sha256-ecp384";
/// Every suite the gateway takes for CHILD SAs; kernel-libipsec has no extended sequence numbers.
pub const ESP_PROPOSALS: &str = "aes256gcm16-ecp384-noesn,aes256gcm16-noesn,chacha20poly1305-x25519-noesn,\
     chacha20poly1305-noesn,aes256-sha256-ecp384-noesn,aes256-sha256-modp2048-noesn,aes256-sha256-noesn";

/// The three hosts and what runs on them.
#[derive(Debug)]
pub struct Network {
    /// The endpoint's host.
    pub client: Host,
    /// The gateway's host.
    pub gateway: Host,
    /// The host behind the gateway.
    pub corporate: Host,
    /// A folder of this scenario's own.
    pub folder: PathBuf,
    _server: CorporateServer,
}

impl Network {
    /// Makes hosts and wires and starts the corporate host's web server.
    ///
    /// # Errors
    /// When the system refuses a namespace, a wire or a socket.
    pub fn new() -> Result<Self> {
        Self::new_numbered(0)
    }

    /// As [`Self::new`], for a scenario that makes several networks one after the other.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn new_numbered(number: usize) -> Result<Self> {
        let [client, gateway, corporate] =
            ["client", "gateway", "corporate"].map(|name| Host::new(&format!("{name}{number}")));
        let (client, gateway, corporate) = (client?, gateway?, corporate?);
        wire((&client, "wan0", "10.99.0.1/24 fd99::1/64"), (&gateway, "wan0", "10.99.0.2/24 fd99::2/64"))?;
        wire((&gateway, "lan0", "10.98.0.254/24 fd98::fe/64"), (&corporate, "lan0", "10.98.0.1/24 fd98::1/64"))?;
        gateway.shell("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")?;
        corporate.shell("ip route add default via 10.98.0.254; ip -6 route add default via fd98::fe")?;
        let hosts = "127.0.0.1 localhost\n10.99.0.2 vpn.example.test\n10.99.0.9 silent.example.test\n";
        client.etc("hosts", hosts)?;
        client.etc("resolv.conf", "# the client's own resolver\nnameserver 10.99.0.2\n")?;
        let addresses = ["10.98.0.1:80".parse()?, "[fd98::1]:80".parse()?];
        let server = CorporateServer::start(&corporate, &addresses)?;
        let folder = PathBuf::from(format!("/run/lab{number}"));
        std::fs::create_dir_all(&folder)?;
        Ok(Self { client, gateway, corporate, folder, _server: server })
    }

    /// Starts strongSwan on the gateway with these connections and secrets.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn strongswan(&self, settings: &Settings) -> Result<Gateway> {
        Gateway::start(&self.gateway, &self.folder.join("strongswan"), settings)
    }

    /// Makes the endpoint with one tunnel, `work`, and starts its service. Each of `secrets` is a
    /// file `(name, content)` in the configuration folder; `"@/` in the tunnel stands for that folder.
    ///
    /// # Errors
    /// When the service does not come up.
    pub fn endpoint(&self, tunnel: &str, secrets: &[(&str, &str)]) -> Result<Endpoint> {
        let mut endpoint = Endpoint::new(&self.client, &self.folder.join("endpoint"))?;
        Self::start(&mut endpoint, tunnel, secrets)?;
        Ok(endpoint)
    }

    /// Does the same with an endpoint that was prepared.
    ///
    /// # Errors
    /// As [`Self::endpoint`].
    pub fn start(endpoint: &mut Endpoint, tunnel: &str, secrets: &[(&str, &str)]) -> Result<()> {
        for (name, content) in secrets {
            endpoint.configure(name, content)?;
        }
        let folder = endpoint.path("config");
        endpoint.configure("tunnels.d/work.toml", &tunnel.replace("\"@/", &format!("\"{}/", folder.display())))?;
        endpoint.start()
    }
}

/// Returns the end of a tunnel's file by which the tunnel is for devices that have the file `marker`.
pub fn known_by(marker: &Path) -> String {
    format!(
        "[tags]\nsource = \"local\"\nallowed = [\"Known device\"]\n[[tags.rules]]\nname = \"known\"\ntag = \"Known device\"\n\
         [[tags.rules.systems.linux.rules]]\nid = 1\ntype = \"file\"\npath = {marker:?}\n"
    )
}

/// Takes the file away and waits until the loss of compliance has ended `work`.
///
/// # Errors
/// When it does not.
pub fn lose_compliance(endpoint: &Endpoint, marker: &Path) -> Result<()> {
    std::fs::remove_file(marker)?;
    until("the loss of compliance", LIMIT, || {
        let tunnel = work(endpoint)?;
        let lost = tunnel.last_fault.is_some_and(|fault| fault.name == FaultName::ComplianceLost);
        Ok((lost && matches!(tunnel.state, ConnectionState::Disconnected | ConnectionState::Blocked)).then_some(()))
    })
    .with_context(|| endpoint.log())
}

/// Connects `work` and returns what the tunnel was given.
///
/// # Errors
/// When it does not come up.
pub fn connect(endpoint: &Endpoint) -> Result<Established> {
    endpoint.expect(0, &["connect", "work"])?;
    let tunnel = work(endpoint)?;
    ensure!(tunnel.state == ConnectionState::Connected, "{tunnel:?}");
    tunnel.established.context("a connected tunnel without what it was given")
}

/// Returns the status of `work`.
///
/// # Errors
/// When the service does not answer or has no such tunnel.
pub fn work(endpoint: &Endpoint) -> Result<TunnelStatus> {
    let status = endpoint.status()?;
    let found = status.tunnels.into_iter().find(|tunnel| tunnel.name.as_received() == "work");
    found.context("the service has no tunnel `work`")
}

/// Waits until `work` is in that state.
///
/// # Errors
/// When it is not within [`LIMIT`].
pub fn wait_for(endpoint: &Endpoint, state: ConnectionState) -> Result<TunnelStatus> {
    until(&format!("state {state}"), LIMIT, || {
        let tunnel = work(endpoint)?;
        Ok((tunnel.state == state).then_some(tunnel))
    })
    .with_context(|| endpoint.log())
}

/// Moves `megabytes` each way over TCP from the client to an address of the corporate host and
/// compares checksums.
///
/// # Errors
/// When a transfer fails or a checksum differs.
pub fn transfer(network: &Network, address: IpAddr, megabytes: usize) -> Result<()> {
    let size = megabytes * 1_000_000;
    let url = match address {
        IpAddr::V4(address) => format!("http://{address}"),
        IpAddr::V6(address) => format!("http://[{address}]"),
    };
    let chunk = crate::http::fixed_bytes(65_536);
    let mut expected = chunk.repeat(size.div_ceil(chunk.len()));
    expected.truncate(size);
    let (digest, _) = crate::wire::digest_of(expected.as_slice())?;
    let fetched = network.client.shell(&format!("curl -sS --max-time 100 {url}/bytes/{size} | sha256sum"))?;
    ensure!(fetched.starts_with(&digest), "what came down has another checksum: {fetched}");
    let source = network.folder.join("upload");
    std::fs::write(&source, &expected)?;
    let sent = network.client.shell(&format!("curl -sS --max-time 100 -T {} {url}/sink", source.display()))?;
    ensure!(sent.trim() == format!("{size} {digest}"), "what went up has another checksum: {sent}");
    Ok(())
}

/// Fails when routes, rules, firewall or resolver entries of ours are left on the client.
///
/// # Errors
/// Names what is left.
pub fn nothing_is_left(network: &Network) -> Result<()> {
    let state = network.client.shell(
        "ip rule; ip -6 rule; ip route show table all | grep -v 'table local' || true; \
         ip -o link | grep -v 'lo\\|wan0' || true; nft list ruleset; cat /etc/resolv.conf",
    )?;
    for word in ["postern", "20591", "10.97.0.", "fd97:", "10.98.0.", "prohibit", "unreachable", "tun"] {
        if let Some(line) = state.lines().find(|line| line.contains(word)) {
            bail!("left behind: {line:?}\n{state}");
        }
    }
    ensure!(state.contains("nameserver 10.99.0.2"), "the client's own resolver is gone:\n{state}");
    Ok(())
}
