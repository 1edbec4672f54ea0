//! The nftables text of a plan.
//!
//! Each table is replaced in one transaction: `add`, `delete`, and the new content, so that the
//! old and the new never stand side by side and never are both away. Names of devices come from
//! us, addresses and networks are typed: nothing in the text was free text of a peer.

use crate::network::step::{Family, FirewallMark};
use ipnet::IpNet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

/// What the strict block lets through and what not.
pub struct Blocked<'a> {
    /// What the names of our tables begin with.
    pub prefix: &'a str,
    /// The tunnel's device.
    pub device: &'a str,
    /// The mark on the tunnel's own sockets.
    pub mark: FirewallMark,
    /// What may only leave through the tunnel.
    pub protected: &'a [IpNet],
    /// Local ranges that pass unless a protected network other than "everything" holds them.
    pub local: &'a [IpNet],
}

/// The guard of the tunnel's addresses.
///
/// `arriving` drops packets for them that come in by another link (CVE-2019-14899: whoever
/// shares a link could probe for connections inside the tunnel). `leaving` drops packets from
/// them that would go out by another link, whatever socket, route or mark sends them there; it
/// stands before source translation, which would hide them.
pub fn guard(prefix: &str, device: &str, addresses: &[IpAddr]) -> String {
    let mut arriving = String::new();
    let mut leaving = String::new();
    for address in addresses {
        let family = keyword(Family::of(address));
        let _ = writeln!(arriving, "    iifname != {{ \"lo\", \"{device}\" }} {family} daddr {address} counter drop");
        let _ = writeln!(leaving, "    oifname != {{ \"lo\", \"{device}\" }} {family} saddr {address} counter drop");
    }
    table(
        &format!("{prefix}_guard"),
        &format!(
            "  chain arriving {{\n    type filter hook prerouting priority -300; policy accept;\n{arriving}  }}\n  \
             chain leaving {{\n    type filter hook postrouting priority -300; policy accept;\n{leaving}  }}\n"
        ),
    )
}

/// The strict block: what is protected leaves through the tunnel or not at all, also for sockets
/// that are bound to another device.
pub fn block(blocked: &Blocked<'_>) -> String {
    let mut rules = format!(
        "    oifname {{ \"lo\", \"{}\" }} accept\n    meta mark {:#x} accept\n    \
         udp sport 68 udp dport 67 accept\n    udp sport 546 udp dport 547 accept\n    \
         icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-report, mld2-listener-report }} accept\n",
        blocked.device, blocked.mark.0
    );
    let mut rule = |network: &IpNet, verdict: &str| {
        let _ = writeln!(rules, "    {} daddr {network} {verdict}", keyword(Family::of_network(network)));
    };
    let refuse = "counter reject with icmpx admin-prohibited";
    let (everything, specific): (Vec<&IpNet>, Vec<&IpNet>) =
        blocked.protected.iter().partition(|network| network.prefix_len() == 0);
    specific.into_iter().for_each(|network| rule(network, refuse));
    blocked.local.iter().for_each(|network| rule(network, "accept"));
    for network in everything {
        let family = if Family::of_network(network) == Family::V4 { "ipv4" } else { "ipv6" };
        let _ = writeln!(rules, "    meta nfproto {family} {refuse}");
    }
    table(
        &format!("{}_block", blocked.prefix),
        &format!(
            "  chain refuse {{\n{rules}  }}\n  \
             chain leaving {{\n    type filter hook output priority 0; policy accept;\n    jump refuse\n  }}\n  \
             chain passing {{\n    type filter hook forward priority 0; policy accept;\n    jump refuse\n  }}\n"
        ),
    )
}

/// Marks what gateway and EMS send, so that a strict reverse-path check looks the answer up as ours.
pub fn answers(prefix: &str, senders: &[Ipv4Addr], mark: FirewallMark) -> String {
    let mut rules = String::new();
    for sender in senders {
        let _ = writeln!(rules, "    ip saddr {sender} meta l4proto {{ tcp, udp }} meta mark set {:#x}", mark.0);
    }
    table(
        &format!("{prefix}_answers"),
        &format!("  chain arriving {{\n    type filter hook prerouting priority -150; policy accept;\n{rules}  }}\n"),
    )
}

/// The text that removes a table, whether it stands or not.
pub fn removal(name: &str) -> String {
    format!("add table inet {name}\ndelete table inet {name}\n")
}

/// Returns the same text for a place that is empty: where the table stands it fails, and nothing changes. What
/// replaces a table waits until no processor uses the old one any more, some ten milliseconds, even
/// where there was none.
pub fn into_empty_place(name: &str, ruleset: &str) -> Option<String> {
    ruleset.strip_prefix(&removal(name)).map(|content| format!("create table inet {name}\n{content}"))
}

fn table(name: &str, content: &str) -> String {
    format!("{}table inet {name} {{\n{content}}}\n", removal(name))
}

const fn keyword(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}
