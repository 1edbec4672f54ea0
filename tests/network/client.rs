//! The client's surroundings, and its network before and after.

use anyhow::{Context, Result};
use lab::net::{Host, shell};
use lab::wire::Tap;
use postern_agent::network::journal::Journal;
use postern_agent::network::plan::{Granted, Places, Plan, Routing, TunnelNetworkSettings, plan};
use postern_agent::network::step::{Device, Mtu};
use postern_agent::network::{Block, settle};
use postern_agent::platform::{self, SystemNetwork};
use std::path::{Path, PathBuf};

/// An address behind the tunnel, which the open host has as well and would answer from.
pub const PROTECTED: &str = "10.98.0.9";
/// The tunnel's address.
pub const VIRTUAL: &str = "10.97.0.5";
/// The tunnel's IPv6 address, where there is one.
pub const VIRTUAL_V6: &str = "fd97::5";
/// An IPv6 address outside, behind the open host.
pub const OUTSIDE_V6: &str = "2001:db8::9";

/// Where the client stands.
pub struct Client {
    /// What lies behind the client's ordinary interface.
    pub open: Host,
    /// Sees what leaves by that interface.
    pub wire: Tap,
    /// What lies behind the tunnel's device.
    pub inside: Host,
    resolver_file: PathBuf,
}

impl Client {
    pub fn new() -> Result<Self> {
        let (open, inside) = (Host::new("open")?, Host::new("inside")?);
        shell(&format!(
            "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
             ip link add eth0 type veth peer name o0 netns open
             ip address add 10.99.0.2/24 dev eth0
             ip address add fd99::2/64 dev eth0 nodad
             ip link set eth0 up
             ip -n open address add 10.99.0.1/24 dev o0
             ip -n open address add fd99::1/64 dev o0 nodad
             ip -n open link set o0 up
             for address in {PROTECTED} 198.51.100.9; do ip -n open address add $address/32 dev lo; done
             ip -n open address add {OUTSIDE_V6}/128 dev lo nodad
             ip route add default via 10.99.0.1
             ip -6 route add default via fd99::1"
        ))?;
        let wire = Tap::open(&open, "o0")?;
        std::fs::write("/etc/resolv.conf", "# by hand\nnameserver 192.0.2.53\nsearch home.example\n")?;
        let client = Self { open, wire, inside, resolver_file: PathBuf::from("/etc/resolv.conf") };
        client.make_device()?;
        Ok(client)
    }

    /// Makes the tunnel's device, as the engine does: up, without address or route.
    pub fn make_device(&self) -> Result<()> {
        shell(&format!(
            "ip link add postern0 type veth peer name i0 netns inside
             ip -n inside address replace {PROTECTED}/32 dev lo
             ip -n inside address replace {OUTSIDE_V6}/128 dev i0 nodad
             ip -n inside link set i0 up
             ip -n inside -6 route replace {VIRTUAL_V6}/128 dev i0
             ip netns exec inside sysctl -qw net.ipv4.conf.i0.proxy_arp=1
             ip -n inside route replace {VIRTUAL}/32 dev i0"
        ))?;
        Ok(())
    }

    /// Takes the tunnel's device away, as the end of the engine does.
    pub fn lose_device(&self) -> Result<()> {
        shell("ip link delete postern0")?;
        Ok(())
    }

    pub fn granted(&self) -> Result<Granted> {
        let index = std::fs::read_to_string("/sys/class/net/postern0/ifindex");
        let index = match index {
            Ok(index) => index.trim().parse()?,
            // /sys shows the namespace it was mounted in.
            Err(_) => shell("ip -o link show dev postern0")?.split(':').next().context("an index")?.parse()?,
        };
        Ok(Granted {
            other_gateways: Vec::new(),
            device: Device { name: "postern0".into(), index },
            mtu: Mtu(1380),
            gateway: "10.99.0.1:4500".parse()?,
            addresses: vec![VIRTUAL.parse()?],
            networks: vec!["0.0.0.0/0".parse()?],
            dns: vec!["10.98.0.1".parse()?],
            domains: vec!["corp.example".into()],
        })
    }

    pub async fn plan(&self, settings: &TunnelNetworkSettings) -> Result<Plan> {
        Ok(plan(&self.granted()?, settings, &Places::default(), &platform::capabilities().await)?)
    }

    pub fn system(&self) -> Result<SystemNetwork> {
        Ok(SystemNetwork::open()?.with_resolver_file(self.resolver_file.clone()))
    }

    /// Carries a plan out with a journal of its own.
    pub async fn settle(&self, plan: &Plan) -> Result<()> {
        let mut journal = journal(Path::new("/run"))?;
        let settled = settle(plan, &mut journal, &mut self.system()?).await?;
        anyhow::ensure!(settled.failed.is_empty(), "could not be taken back: {:?}", settled.failed);
        Ok(())
    }
}

pub fn journal(directory: &Path) -> Result<Journal> {
    Ok(Journal::open(directory, &platform::boot()?)?)
}

/// A full tunnel that blocks by routes.
pub fn full() -> TunnelNetworkSettings {
    TunnelNetworkSettings::default()
}

/// A tunnel for the protected network alone.
pub fn split(block: Block) -> Result<TunnelNetworkSettings> {
    Ok(TunnelNetworkSettings {
        routing: Routing::Split(vec!["10.98.0.0/24".parse()?]),
        block,
        ..TunnelNetworkSettings::default()
    })
}

/// Everything that a plan may change, as text.
pub fn picture() -> Result<String> {
    shell(
        "ip -d -4 rule; ip -d -6 rule; ip -d -4 route show table all; ip -d -6 route show table all proto 80
         ip -o address show dev postern0 2>/dev/null | sed 's/ *valid_lft.*//' || true
         nft list ruleset; cat /etc/resolv.conf; cat /proc/sys/net/ipv4/conf/all/src_valid_mark",
    )
}

/// Runs a scenario's asynchronous part.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
