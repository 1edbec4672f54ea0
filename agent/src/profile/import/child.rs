//! `<ipsec_settings>`: networks, lifetimes and algorithms of the CHILD SA.

use super::connection::Draft;
use super::reader::Reader;
use super::suites;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use roxmltree::Node;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The least that a CHILD SA may carry under one key, in kilobytes; less would renew without end.
const LEAST_KILOBYTES: u64 = 1000;

/// Reads the settings into the draft.
pub(super) fn read<'d>(reader: &mut Reader<'d>, draft: &mut Draft, settings: Node<'d, 'd>) {
    networks(reader, draft, settings);
    lifetimes(reader, draft, settings);
    let with_group = match reader.flag(settings, "pfs") {
        Some((node, on)) => {
            reader.used(node, if on { "suites with a group" } else { "suites without a group" });
            on
        }
        None => reader.text(settings, "dhgroup").is_some(),
    };
    if !with_group && let Some((node, _)) = reader.text(settings, "dhgroup") {
        reader.idle(node, "belongs to pfs");
    }
    let suites = suites::esp(reader, settings, with_group);
    let parsed: Vec<_> = suites.iter().filter_map(|suite| suite.parse().ok()).collect();
    if !parsed.is_empty() {
        draft.tunnel.proposals.esp = parsed;
    }
    for which in ["dnsserver", "dnsserver_secondary"] {
        let Some((node, text)) = reader.text(settings, &format!("virtualip/{which}")) else { continue };
        match text.parse::<IpAddr>() {
            Ok(address) if address.is_unspecified() => reader.idle(node, "the gateway names the resolvers"),
            Ok(address) => {
                reader.used(node, "network.dns_servers");
                draft.tunnel.network.dns_servers.push(address);
            }
            Err(_) => reader.unsupported(node, "is no address"),
        }
    }
}

fn networks<'d>(reader: &mut Reader<'d>, draft: &mut Draft, settings: Node<'d, 'd>) {
    let mut everything = false;
    for network in reader.all(settings, "remote_networks/network") {
        let Some((node, address)) = reader.text(network, "addr") else { continue };
        let mask = reader.text(network, "mask");
        let read = net(&address, mask.as_ref().map(|(_, mask)| mask.as_str()));
        for node in std::iter::once(node).chain(mask.map(|(node, _)| node)) {
            match &read {
                Some(net) if net.prefix_len() == 0 => reader.used(node, "everything that the gateway gives"),
                Some(net) => reader.used(node, format!("network.routes: {net}")),
                None => reader.unsupported(node, "is no network"),
            }
        }
        let Some(net) = read else {
            draft.leave_out("one of its networks is not understood", "postern tunnel add makes a tunnel by hand");
            continue;
        };
        draft.tunnel.network.ipv6 |= net.addr().is_ipv6();
        everything |= net.prefix_len() == 0;
        if !draft.tunnel.network.routes.contains(&net) {
            draft.tunnel.network.routes.push(net);
        }
    }
    // What the gateway gives may be less than everything: its administrator knows.
    if everything {
        draft.tunnel.network.routes.clear();
    }
}

/// Reads an address with a mask: `255.0.0.0`, `8`, or both in one (`::/0`).
fn net(address: &str, mask: Option<&str>) -> Option<IpNet> {
    if let Ok(net) = address.parse::<IpNet>() {
        return Some(net.trunc());
    }
    let mask = mask.map(|mask| mask.rsplit('/').next().unwrap_or(mask));
    match (address.parse::<IpAddr>().ok()?, mask) {
        (IpAddr::V4(address), Some(mask)) => {
            let length = match mask.parse::<u8>() {
                Ok(length) => length,
                Err(_) => ipnet::ipv4_mask_to_prefix(mask.parse::<Ipv4Addr>().ok()?).ok()?,
            };
            Ipv4Net::new(address, length).ok().map(|net| IpNet::V4(net.trunc()))
        }
        (IpAddr::V6(address), Some(mask)) => {
            let length = match mask.parse::<u8>() {
                Ok(length) => length,
                Err(_) => ipnet::ipv6_mask_to_prefix(mask.parse().ok()?).ok()?,
            };
            Ipv6Net::new(address, length).ok().map(|net| IpNet::V6(net.trunc()))
        }
        (address, None) => Some(IpNet::from(address)),
    }
}

fn lifetimes<'d>(reader: &mut Reader<'d>, draft: &mut Draft, settings: Node<'d, 'd>) {
    let kind = reader.text(settings, "key_life_type");
    let by = kind.as_ref().map_or("both", |(_, text)| text.as_str()).to_ascii_lowercase();
    let (by_seconds, by_kilobytes) = match by.as_str() {
        "seconds" => (true, false),
        "kbytes" => (false, true),
        _ => (true, true),
    };
    if let Some((node, _)) = &kind {
        match by.as_str() {
            "seconds" | "kbytes" | "both" => reader.used(*node, "which of the two follows"),
            _ => reader.unsupported(*node, "is not understood; both lifetimes are used"),
        }
    }
    if let Some((node, seconds)) = reader.number::<u32>(settings, "key_life_seconds") {
        if !by_seconds {
            reader.idle(node, "belongs to key_life_type");
        } else if seconds >= 120 {
            reader.used(node, "proposals.esp_lifetime");
            draft.tunnel.proposals.esp_lifetime = Duration::from_secs(seconds.into());
        } else {
            reader.unsupported(node, "is too short: renewing would never end");
        }
    }
    if let Some((node, kilobytes)) = reader.number::<u64>(settings, "key_life_Kbytes") {
        let bytes = kilobytes.checked_mul(1024).filter(|_| kilobytes >= LEAST_KILOBYTES);
        match (by_kilobytes, bytes) {
            (false, _) => reader.idle(node, "belongs to key_life_type"),
            (true, Some(bytes)) => {
                reader.used(node, "proposals.esp_bytes");
                draft.tunnel.proposals.esp_bytes = Some(bytes);
            }
            (true, None) => reader.unsupported(node, "is out of range: renewing would never end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_in_every_spelling() {
        for (address, mask, net_text) in [
            ("0.0.0.0", Some("0.0.0.0"), "0.0.0.0/0"),
            ("10.1.2.3", Some("255.0.0.0"), "10.0.0.0/8"),
            ("10.1.0.0", Some("16"), "10.1.0.0/16"),
            ("::/0", Some("::/0"), "::/0"),
            ("2001:db8::", Some("32"), "2001:db8::/32"),
            ("192.0.2.7", None, "192.0.2.7/32"),
        ] {
            assert_eq!(net(address, mask).map(|net| net.to_string()).as_deref(), Some(net_text), "{address}");
        }
        for (address, mask) in [("x", Some("8")), ("10.0.0.0", Some("255.0.255.0")), ("10.0.0.0", Some("33"))] {
            assert_eq!(net(address, mask), None, "{address}");
        }
    }
}
