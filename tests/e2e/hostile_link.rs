//! What the next hop of a hostile link says: router advertisements that claim the tunnel's networks, and
//! redirects to them. The kernel of the endpoint believes both.

use anyhow::{Result, ensure};
use lab::net::{Host, until};
use lab::roadwarrior::LIMIT;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// For how long it is to hold, in seconds.
const LIFETIME: [u8; 4] = 1_800_u32.to_be_bytes();

/// The router that lies, on its interface `wan0`.
pub struct Router<'a> {
    pub host: &'a Host,
    /// The endpoint's host, and the addresses of its open interface.
    pub client: &'a Host,
    pub addresses: (Ipv4Addr, Ipv6Addr),
}

impl Router<'_> {
    /// Says that a network of the tunnel is on this link, and behind this router; is who the endpoint takes for
    /// a neighbour in it. Returns when the endpoint's kernel has taken it.
    pub fn claims(&self, prefix: Ipv6Addr, neighbour: Ipv6Addr) -> Result<()> {
        self.client.shell(
            "cd /proc/sys/net/ipv6/conf/wan0; echo 2 > accept_ra
             ! [ -e accept_ra_rt_info_max_plen ] || echo 64 > accept_ra_rt_info_max_plen",
        )?;
        let own = self.host.shell("cat /sys/class/net/wan0/address")?;
        self.client.shell(&format!("ip -6 neigh replace {neighbour} lladdr {} dev wan0 nud permanent", own.trim()))?;
        self.say(&advertisement(prefix), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1))?;
        until("the advertisement to be believed", LIMIT, || {
            let routes = self.client.shell("ip -6 route show dev wan0")?;
            Ok((routes.contains(&format!("{prefix}/64")) && routes.contains("default via fe80:")).then_some(()))
        })
    }

    /// Says that somebody is better reached at once, and through another router.
    pub fn redirects(&self, to: (Ipv4Addr, Ipv6Addr), router: Ipv4Addr) -> Result<()> {
        // Type 137: what is redirected to is itself, so it is a neighbour (RFC 4861 §4.5).
        let six = [&[137, 0, 0, 0, 0, 0, 0, 0][..], &to.1.octets(), &to.1.octets()].concat();
        self.say(&six, self.addresses.1)?;
        // Type 5, code 1: for this host, by that router (RFC 792), about a datagram that it would have sent.
        let mut about = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
        about.extend(self.addresses.0.octets());
        about.extend(to.0.octets());
        about.extend([0x9c, 0x40, 0, 9, 0, 8, 0, 0]);
        let mut four = vec![5, 1, 0, 0];
        four.extend(router.octets());
        four.extend(about);
        let sum = checksum(&four).to_be_bytes();
        four[2..4].copy_from_slice(&sum);
        self.host.inside(|| {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
            let sent = socket.send_to(&four, &SocketAddr::new(IpAddr::V4(self.addresses.0), 0).into())?;
            ensure!(sent == four.len());
            Ok(())
        })
    }

    /// Sends a message of neighbour discovery, from the address on the link.
    fn say(&self, message: &[u8], to: Ipv6Addr) -> Result<()> {
        let own = until("an address on the link", LIMIT, || {
            let told = self.host.shell("ip -6 -o address show dev wan0 scope link -tentative")?;
            Ok(told.split_whitespace().find_map(|word| word.strip_suffix("/64")?.parse::<Ipv6Addr>().ok()))
        })?;
        self.host.inside(|| {
            let index = nix::net::if_::if_nametoindex("wan0")?;
            let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
            let at = |address| SockAddr::from(SocketAddrV6::new(address, 0, 0, index));
            socket.bind(&at(own))?;
            // What has crossed a router is not believed (RFC 4861 §6.1.2, §8.1).
            socket.set_unicast_hops_v6(255)?;
            socket.set_multicast_hops_v6(255)?;
            socket.set_multicast_if_v6(index)?;
            ensure!(socket.send_to(message, &at(to))? == message.len());
            Ok(())
        })
    }
}

/// Type 134, of high preference, with the prefix on the link (RFC 4861 §4.6.2) and a route to it
/// (RFC 4191 §2.3).
fn advertisement(prefix: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![134, 0, 0, 0, 64, 0x08, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    message.extend([3, 4, 64, 0xc0]);
    message.extend([LIFETIME, LIFETIME, [0; 4]].concat());
    message.extend(prefix.octets());
    message.extend([24, 2, 64, 0x08]);
    message.extend(LIFETIME);
    message.extend(&prefix.octets()[..8]);
    message
}

/// The internet checksum (RFC 1071).
fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}
