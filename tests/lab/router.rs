//! A router between two networks: it translates addresses, and can forget its translations as one
//! does that was switched off and on again.

use crate::net::{Host, wire};
use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::Read;
use std::time::Duration;

/// A router; its inner interface is `lan0`, its outer one `wan0`.
#[derive(Debug)]
pub struct Router {
    host: Host,
}

impl Router {
    /// Makes the host and both wires. `inside` and `outside` are each another host's end,
    /// `(host, interface, addresses)`, and this router's addresses on that wire.
    ///
    /// # Errors
    /// When the system refuses a namespace or a wire.
    pub fn new(name: &str, inside: ((&Host, &str, &str), &str), outside: ((&Host, &str, &str), &str)) -> Result<Self> {
        let host = Host::new(name)?;
        wire(inside.0, (&host, "lan0", inside.1))?;
        wire(outside.0, (&host, "wan0", outside.1))?;
        host.shell("echo 1 > /proc/sys/net/ipv4/ip_forward")?;
        Ok(Self { host })
    }

    /// Returns the router as a host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Translates what leaves by the outer interface to `source`, in nftables' words: `10.99.0.9`, or
    /// `10.99.0.9:20000-29999` for other ports too. Streams that are known keep what they have until
    /// [`Self::forget`].
    ///
    /// # Errors
    /// When nftables refuses it.
    pub fn translate(&self, source: &str) -> Result<()> {
        // In one step, and the chain stays: no packet passes in between untranslated.
        self.host
            .shell(&format!(
                "nft 'add table ip nat; add chain ip nat out {{ type nat hook postrouting priority srcnat; }}; \
                 flush chain ip nat out; add rule ip nat out oifname wan0 meta l4proto udp snat to {source}'"
            ))
            .map(drop)
    }

    /// Translates nothing any more.
    ///
    /// # Errors
    /// When nftables refuses it.
    pub fn pass(&self) -> Result<()> {
        self.host.shell("nft flush ruleset").map(drop)
    }

    /// Forgets every translation: the next packet of a stream gets a new one.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn forget(&self) -> Result<()> {
        self.host.inside(|| {
            let protocol = Protocol::from(libc::NETLINK_NETFILTER);
            let mut socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(protocol))
                .context("opening a netlink socket")?;
            socket.set_read_timeout(Some(Duration::from_secs(5))).context("setting a read timeout")?;
            // IPCTNL_MSG_CT_DELETE without attributes: all of them. Acknowledged.
            let kind = u16::try_from(libc::NFNL_SUBSYS_CTNETLINK << 8 | 2)?;
            let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_ACK)?;
            let mut message = 20u32.to_ne_bytes().to_vec();
            message.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
            message.extend([1u32.to_ne_bytes(), [0; 4], [0; 4]].concat());
            socket.send(&message).context("asking to forget")?;
            let mut answer = [0; 256];
            let length = socket.read(&mut answer).context("hearing whether it was forgotten")?;
            ensure!(length >= 20 && answer[16..20] == [0; 4], "not forgotten: {:?}", &answer[..length]);
            Ok(())
        })
    }
}
