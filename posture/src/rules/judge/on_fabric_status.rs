//! `on-fabric-status`: the network around the endpoint is the administrator's own.

use super::Judgement;
use crate::facts::{DhcpLease, Facts, Gateway, Observation, Surroundings};
use crate::rules::Truth;
use crate::rules::on_fabric::{DhcpServerSought, GatewaySought, OnFabricDetection, SubnetSought};

const AREA: &str = "surroundings";
const SETTLE: &str = "let Postern see the network around the endpoint";
const JOIN: &str = "join the administrator's network";

/// What every kind must come to: all that are named, each by one of its entries.
pub(super) fn judge(facts: &Facts, sought: &OnFabricDetection) -> Judgement {
    if sought.kinds().is_empty() {
        return Judgement::new(
            Truth::Unknown,
            AREA,
            "the rule does not say how the network is known",
            "correct the rule",
        );
    }
    let mut parts = Vec::new();
    if let Some(wanted) = sought.ems_connected {
        parts.push(telemetry(facts, wanted));
    }
    if !sought.ping_servers.is_empty() {
        parts.push(Judgement::any(AREA, sought.ping_servers.iter().map(|host| ping(facts, *host))));
    }
    if !sought.public_addresses.is_empty() {
        parts.push(public_address(facts, sought));
    }
    if !sought.subnets.is_empty() {
        parts.push(Judgement::any(AREA, sought.subnets.iter().map(|subnet| in_subnet(facts, subnet))));
    }
    let of_network = sought.tunnel_up.is_some()
        || !(sought.dhcp_servers.is_empty()
            && sought.dns_servers.is_empty()
            && sought.gateways.is_empty()
            && sought.media.is_empty());
    if of_network {
        parts.push(match facts.surroundings.value() {
            Some(network) => by_network(network, sought),
            None => Judgement::without(AREA, &facts.surroundings, SETTLE),
        });
    }
    Judgement::all(AREA, parts)
}

fn by_network(network: &Surroundings, sought: &OnFabricDetection) -> Judgement {
    let mut parts = Vec::new();
    if !sought.dhcp_servers.is_empty() {
        parts.push(Judgement::any(AREA, sought.dhcp_servers.iter().map(|server| dhcp(network, server))));
    }
    if !sought.dns_servers.is_empty() {
        parts.push(dns(network, sought));
    }
    if !sought.gateways.is_empty() {
        parts.push(Judgement::any(AREA, sought.gateways.iter().map(|gateway| at_gateway(network, gateway))));
    }
    for medium in &sought.media {
        let mut links = network.interfaces.iter().filter(|interface| interface.medium == medium.medium);
        let connected = links.any(|interface| interface.connected);
        let state = if connected { "connected" } else { "not connected" };
        let seen = format!("{} is {state}", name_of(medium.medium));
        parts.push(Judgement::new((connected == medium.connected).into(), AREA, seen, JOIN));
    }
    if let Some(wanted) = sought.tunnel_up {
        let seen = if network.tunnel_up { "a tunnel is up" } else { "no tunnel is up" };
        parts.push(Judgement::new((network.tunnel_up == wanted).into(), AREA, seen, JOIN));
    }
    Judgement::all(AREA, parts)
}

fn name_of(medium: crate::facts::Medium) -> &'static str {
    match medium {
        crate::facts::Medium::Ethernet => "Ethernet",
        crate::facts::Medium::Wifi => "Wi-Fi",
        crate::facts::Medium::Other => "another medium",
    }
}

fn telemetry(facts: &Facts, wanted: bool) -> Judgement {
    match facts.ems.value() {
        Some(ems) => {
            let connected = ems.enrolled && ems.telemetry_connected;
            let seen = if connected { "telemetry connected" } else { "telemetry is not connected" };
            Judgement::new((connected == wanted).into(), "ems", seen, JOIN)
        }
        None => Judgement::without("ems", &facts.ems, "wait until the state of telemetry is known"),
    }
}

fn ping(facts: &Facts, host: std::net::IpAddr) -> Judgement {
    match facts.pings.get(&host) {
        Some(fact) => match fact.value() {
            Some(true) => Judgement::new(Truth::True, AREA, format!("{host} answers"), JOIN),
            Some(false) => Judgement::new(Truth::False, AREA, format!("{host} does not answer"), JOIN),
            None => Judgement::without(AREA, fact, "let Postern send echo requests"),
        },
        None => Judgement::new(Truth::Unknown, AREA, format!("nobody pinged {host} yet"), "wait for the next look"),
    }
}

fn public_address(facts: &Facts, sought: &OnFabricDetection) -> Judgement {
    match Judgement::supplied(AREA, facts, |supplied| supplied.public_address.as_ref()) {
        Ok(address) => {
            let inside = sought.public_addresses.iter().any(|range| range.contains(*address));
            Judgement::new(inside.into(), AREA, format!("EMS sees {address}"), JOIN)
        }
        Err(judgement) => judgement,
    }
}

fn in_subnet(facts: &Facts, sought: &SubnetSought) -> Judgement {
    let Some(addresses) = facts.addresses.value() else {
        return Judgement::without("addresses", &facts.addresses, "let Postern see the interfaces");
    };
    let Some(inside) =
        addresses.iter().find(|entry| !entry.address.is_loopback() && sought.range.contains(entry.address))
    else {
        return Judgement::new(Truth::False, AREA, format!("no address in {}", sought.range), JOIN);
    };
    let here = Judgement::new(Truth::True, AREA, format!("{} on {}", inside.address, inside.interface), JOIN);
    let Some(hardware) = &sought.gateway_hardware_address else { return here };
    let Some(network) = facts.surroundings.value() else {
        return Judgement::without(AREA, &facts.surroundings, SETTLE);
    };
    let at = |gateway: &&Gateway| gateway.interface == inside.interface;
    here.and(gateways(network, at, Some(hardware)))
}

fn at_gateway(network: &Surroundings, sought: &GatewaySought) -> Judgement {
    gateways(network, |gateway| gateway.address == sought.address, sought.hardware_address.as_deref())
}

/// Judges whether one of the gateways that `fit` has the hardware address that is wanted.
fn gateways(network: &Surroundings, fit: impl Fn(&&Gateway) -> bool, hardware: Option<&str>) -> Judgement {
    let all = match &network.gateways {
        Observation::Known(all) => all,
        other => return Judgement::unseen(AREA, "default gateway", other),
    };
    let fitting: Vec<&Gateway> = all.iter().filter(fit).collect();
    let Some(first) = fitting.first() else {
        let shown: Vec<String> = all.iter().map(|gateway| gateway.address.to_string()).collect();
        let seen =
            if shown.is_empty() { "no default gateway".to_owned() } else { format!("gateway {}", shown.join(", ")) };
        return Judgement::new(Truth::False, AREA, seen, JOIN);
    };
    let Some(wanted) = hardware else {
        return Judgement::new(Truth::True, AREA, format!("gateway {}", first.address), JOIN);
    };
    match fitting.iter().find_map(|gateway| gateway.hardware_address.as_deref()) {
        Some(found) => {
            let same = same_hardware(found, wanted);
            Judgement::new(same.into(), AREA, format!("gateway {} at {found}", first.address), JOIN)
        }
        None => {
            let seen = format!("the hardware address of gateway {} is not known", first.address);
            Judgement::new(Truth::Unknown, AREA, seen, "wait until the gateway was spoken to")
        }
    }
}

fn dns(network: &Surroundings, sought: &OnFabricDetection) -> Judgement {
    match &network.dns_servers {
        Observation::Known(servers) => {
            match servers.iter().find(|server| sought.dns_servers.iter().any(|range| range.contains(**server))) {
                Some(server) => Judgement::new(Truth::True, AREA, format!("DNS server {server}"), JOIN),
                None => {
                    let shown: Vec<String> = servers.iter().map(ToString::to_string).collect();
                    let seen =
                        if shown.is_empty() { "no DNS server".to_owned() } else { format!("DNS {}", shown.join(", ")) };
                    Judgement::new(Truth::False, AREA, seen, JOIN)
                }
            }
        }
        other => Judgement::unseen(AREA, "DNS servers", other),
    }
}

/// A lease fits where each part that is sought fits it; a part that the lease does not tell is in doubt.
fn dhcp(network: &Surroundings, sought: &DhcpServerSought) -> Judgement {
    let leases = match &network.dhcp {
        Observation::Known(leases) => leases,
        other => return Judgement::unseen(AREA, "DHCP", other),
    };
    let part = |wanted: bool, found: Option<bool>| match (wanted, found) {
        (false, _) => Truth::True,
        (true, Some(fits)) => fits.into(),
        (true, None) => Truth::Unknown,
    };
    let fits = |lease: &DhcpLease| {
        let address = part(sought.address.is_some(), lease.server.map(|server| Some(server) == sought.address));
        let hardware = sought.hardware_address.as_deref().unwrap_or_default();
        let hardware = part(
            sought.hardware_address.is_some(),
            lease.hardware_address.as_deref().map(|found| same_hardware(found, hardware)),
        );
        // A lease without the option is known not to have it.
        let code = part(sought.code.is_some(), Some(lease.code.as_deref() == sought.code.as_deref()));
        address.and(hardware).and(code)
    };
    let judged = leases.iter().map(|lease| {
        let server = lease.server.map_or_else(|| "an unnamed server".to_owned(), |server| server.to_string());
        Judgement::new(fits(lease), AREA, format!("DHCP from {server}"), JOIN)
    });
    if leases.is_empty() {
        return Judgement::new(Truth::False, AREA, "no lease of DHCP", JOIN);
    }
    Judgement::any(AREA, judged)
}

/// Compares hardware addresses, however they are written.
fn same_hardware(left: &str, right: &str) -> bool {
    let digits = |text: &str| {
        text.chars().filter(char::is_ascii_hexdigit).map(|digit| digit.to_ascii_lowercase()).collect::<String>()
    };
    let left = digits(left);
    !left.is_empty() && left == digits(right)
}
