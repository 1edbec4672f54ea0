//! Plans, as the text a person would read, and what must hold in all of them.

use super::*;
use crate::network::step::{Device, Family, Mtu, RoutingTable, RulePriority};
use ipnet::IpNet;
use proptest::prelude::*;
use std::net::IpAddr;

fn granted(networks: &[&str]) -> Granted {
    Granted {
        device: Device { name: "postern0".into(), index: 7 },
        mtu: Mtu(1380),
        gateway: "192.0.2.1:4500".parse().unwrap(),
        other_gateways: vec!["192.0.2.2".parse().unwrap()],
        addresses: vec!["10.97.0.5".parse().unwrap()],
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        dns: vec!["10.98.0.1".parse().unwrap()],
        domains: vec!["corp.example".into()],
    }
}

fn able() -> Capabilities {
    Capabilities { change_network: true, firewall: true, strict_reverse_path: false, reasons: vec![] }
}

fn made(granted: &Granted, settings: &TunnelNetworkSettings) -> Plan {
    plan(granted, settings, &Places::default(), &able()).unwrap()
}

fn lines(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|planned| format!("{:?}: {}", planned.purpose, planned.step)).collect()
}

#[test]
fn a_split_tunnel_carries_its_networks_and_leaves_the_rest_alone() {
    let plan = made(&granted(&["10.98.0.0/24"]), &TunnelNetworkSettings::default());
    assert_eq!(
        lines(&plan),
        [
            "Guard: rule 20585: from 10.97.0.5/32 prohibit",
            "Guard: nftables table inet postern_guard",
            "Block: route 10.98.0.0/24 prohibit table 20592",
            "Block: route 10.98.0.1/32 prohibit table 20592",
            "Block: rule 20592: not fwmark 0x506f lookup 20592",
            "Tunnel: address 10.97.0.5 dev postern0",
            "Tunnel: link postern0 up mtu 1380",
            "Tunnel: route 10.98.0.0/24 dev postern0 src 10.97.0.5 table 20591",
            "Tunnel: route 10.98.0.1/32 dev postern0 src 10.97.0.5 table 20591",
            "Tunnel: rule 20584: from 10.97.0.5/32 lookup 20591",
            "Tunnel: rule 20591: not fwmark 0x506f lookup 20591",
            "Tunnel: resolver: postern0 asks 10.98.0.1 for corp.example",
        ]
    );
    assert!(plan.warnings.is_empty());
}

#[test]
fn a_full_tunnel_without_ipv6_makes_ipv6_unreachable() {
    let plan = made(&granted(&["0.0.0.0/0"]), &TunnelNetworkSettings::default());
    assert_eq!(
        lines(&plan),
        [
            "Guard: rule 20585: from 10.97.0.5/32 prohibit",
            "Guard: nftables table inet postern_guard",
            "Block: route 0.0.0.0/0 prohibit table 20592",
            "Block: route 10.98.0.1/32 prohibit table 20592",
            "Block: route ::/0 prohibit table 20592",
            "Block: rule 20592: not fwmark 0x506f lookup 20592",
            "Block: rule -6 20587: not fwmark 0x506f lookup 20592 suppress_prefixlength 0",
            "Block: rule -6 20592: not fwmark 0x506f lookup 20592",
            "Block: rule -6 20589: to fe80::/10 lookup 254 suppress_prefixlength 0",
            "Tunnel: address 10.97.0.5 dev postern0",
            "Tunnel: link postern0 up mtu 1380",
            "Tunnel: route 0.0.0.0/0 dev postern0 src 10.97.0.5 table 20591",
            "Tunnel: route 10.98.0.1/32 dev postern0 src 10.97.0.5 table 20591",
            "Tunnel: route ::/0 unreachable table 20591",
            "Tunnel: rule 20584: from 10.97.0.5/32 lookup 20591",
            "Tunnel: rule 20591: not fwmark 0x506f lookup 20591",
            "Tunnel: rule -6 20586: not fwmark 0x506f lookup 20591 suppress_prefixlength 0",
            "Tunnel: rule -6 20591: not fwmark 0x506f lookup 20591",
            "Tunnel: resolver: postern0 asks 10.98.0.1 for everything",
        ]
    );
    assert_eq!(plan.warnings, [Warning::NoAddress(Family::V6)]);
}

#[test]
fn an_open_block_leaves_only_the_guard_after_the_tunnel() {
    let settings = TunnelNetworkSettings { block: Block::Open, ..TunnelNetworkSettings::default() };
    let plan = made(&granted(&["10.98.0.0/24"]), &settings);
    assert!(!plan.blocks());
    let after = plan.keeping(&[Purpose::Guard, Purpose::Block]);
    assert_eq!(
        lines(&after),
        ["Guard: rule 20585: from 10.97.0.5/32 prohibit", "Guard: nftables table inet postern_guard"]
    );
}

#[test]
fn the_local_network_means_private_ranges_and_never_what_it_claims() {
    let settings = TunnelNetworkSettings { allow_local_network: true, ..TunnelNetworkSettings::default() };
    let plan = made(&granted(&["0.0.0.0/0", "10.98.0.0/24"]), &settings);
    let passed: Vec<String> = lines(&plan).into_iter().filter(|line| line.contains(" lookup 254")).collect();
    assert_eq!(
        passed,
        [
            "Block: rule -6 20589: to fe80::/10 lookup 254 suppress_prefixlength 0",
            "Block: rule 20589: to 10.0.0.0/8 lookup 254 suppress_prefixlength 0",
            "Block: rule 20589: to 172.16.0.0/12 lookup 254 suppress_prefixlength 0",
            "Block: rule 20589: to 192.168.0.0/16 lookup 254 suppress_prefixlength 0",
            "Block: rule 20589: to 169.254.0.0/16 lookup 254 suppress_prefixlength 0",
            "Block: rule -6 20589: to fc00::/7 lookup 254 suppress_prefixlength 0",
        ]
    );
}

#[test]
fn both_families_go_in_when_both_have_an_address() {
    let mut granted = granted(&["0.0.0.0/0", "::/0"]);
    granted.addresses.push("fd97::5".parse().unwrap());
    let plan = made(&granted, &TunnelNetworkSettings::default());
    assert!(lines(&plan).contains(&"Tunnel: route ::/0 dev postern0 src fd97::5 table 20591".to_owned()));
    assert!(plan.warnings.is_empty());
}

#[test]
fn a_split_by_the_profile_never_becomes_everything() {
    let named = TunnelNetworkSettings {
        routing: Routing::Split(vec!["10.98.7.9/24".parse().unwrap()]),
        dns: DnsMode::Off,
        ..TunnelNetworkSettings::default()
    };
    let plan = made(&granted(&["0.0.0.0/0"]), &named);
    assert!(lines(&plan).contains(&"Tunnel: route 10.98.7.0/24 dev postern0 src 10.97.0.5 table 20591".to_owned()));
    assert!(!lines(&plan).iter().any(|line| line.contains("0.0.0.0/0")));

    let unnamed = TunnelNetworkSettings { routing: Routing::Split(vec![]), ..TunnelNetworkSettings::default() };
    assert_eq!(
        super::plan(&granted(&["0.0.0.0/0"]), &unnamed, &Places::default(), &able()),
        Err(PlanError::NothingToRoute)
    );
}

#[test]
fn servers_are_asked_for_everything_when_no_domain_is_known_unless_only_domains_are_wanted() {
    let mut granted = granted(&["10.98.0.0/24"]);
    granted.domains.clear();
    let plan = made(&granted, &TunnelNetworkSettings::default());
    assert!(lines(&plan).contains(&"Tunnel: resolver: postern0 asks 10.98.0.1 for everything".to_owned()));
    let settings = TunnelNetworkSettings { dns: DnsMode::Domains, ..TunnelNetworkSettings::default() };
    let plan = made(&granted, &settings);
    assert!(!lines(&plan).iter().any(|line| line.contains("resolver")));
    assert_eq!(plan.warnings, [Warning::DnsWithoutDomains]);
}

#[test]
fn a_strict_kernel_is_told_which_answers_are_ours() {
    let strict = Capabilities { strict_reverse_path: true, ..able() };
    let answering = ["198.51.100.9", "fd99::9", "192.0.2.1"].map(|address| address.parse().unwrap()).to_vec();
    for (block, purpose) in [(Block::Open, "Tunnel"), (Block::ProhibitRoutes, "Block")] {
        let settings =
            TunnelNetworkSettings { block, answering: answering.clone(), ..TunnelNetworkSettings::default() };
        let plan = plan(&granted(&["0.0.0.0/0"]), &settings, &Places::default(), &strict).unwrap();
        let lines = lines(&plan);
        // EMS is to be heard as long as the block stands, too.
        assert!(lines.contains(&format!("{purpose}: nftables table inet postern_answers")), "{lines:?}");
        assert!(lines.contains(&format!("{purpose}: setting net/ipv4/conf/all/src_valid_mark = 1")), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("198.51.100.9")), "an address is let past: {lines:?}");
        let text = plan.steps.iter().find_map(|planned| match &planned.step {
            Step::Firewall { table, ruleset } if table == "postern_answers" => Some(ruleset.clone()),
            _ => None,
        });
        let text = text.unwrap();
        assert!(text.contains("ip saddr 198.51.100.9 ") && !text.contains("fd99"), "{text}");
        assert!(text.contains("ip saddr 192.0.2.2 "), "the gateway at its other address: {text}");
    }
}

#[test]
fn the_strict_mode_is_refused_without_nftables_and_the_others_warn() {
    let unable = Capabilities { firewall: false, reasons: vec!["no nft".into()], ..able() };
    let strict = TunnelNetworkSettings { block: Block::Firewall, ..TunnelNetworkSettings::default() };
    let granted = granted(&["10.98.0.0/24"]);
    assert_eq!(
        super::plan(&granted, &strict, &Places::default(), &unable),
        Err(PlanError::FirewallMissing("no nft".into()))
    );
    let plan = super::plan(&granted, &TunnelNetworkSettings::default(), &Places::default(), &unable).unwrap();
    assert_eq!(plan.warnings, [Warning::NoFirewall]);
    assert!(!lines(&plan).iter().any(|line| line.contains("nftables")));
}

#[test]
fn the_strictest_block_is_the_firewall_or_routes_and_a_word() {
    let settings = TunnelNetworkSettings { block: Block::Strictest, ..TunnelNetworkSettings::default() };
    let granted = granted(&["10.98.0.0/24"]);
    assert!(lines(&made(&granted, &settings)).contains(&"Block: nftables table inet postern_block".to_owned()));
    let unable = Capabilities { firewall: false, ..able() };
    let plan = super::plan(&granted, &settings, &Places::default(), &unable).unwrap();
    assert_eq!(plan.warnings, [Warning::NoFirewall, Warning::BlockByRoutes]);
    let routes = made(&granted, &TunnelNetworkSettings { block: Block::ProhibitRoutes, ..settings });
    let of_block = |plan: &Plan| plan.keeping(&[Purpose::Block]).steps;
    assert!(plan.blocks() && of_block(&plan) == of_block(&routes));
}

#[test]
fn the_strict_block_says_what_passes_and_refuses_the_rest() {
    let settings = TunnelNetworkSettings { block: Block::Firewall, ..TunnelNetworkSettings::default() };
    let plan = made(&granted(&["0.0.0.0/0", "10.98.0.0/24"]), &settings);
    let rulesets: Vec<&str> = plan
        .steps
        .iter()
        .filter_map(|planned| match &planned.step {
            Step::Firewall { ruleset, .. } => Some(ruleset.as_str()),
            _ => None,
        })
        .collect();
    insta::assert_snapshot!(rulesets.join("\n"));
}

#[test]
fn a_gateway_cannot_write_lines_of_its_own_into_the_resolver() {
    let mut granted = granted(&["10.98.0.0/24"]);
    granted.domains = vec!["Corp.Example.".into(), "x\nnameserver 203.0.113.1".into(), "a b".into(), "..".into()];
    let plan = made(&granted, &TunnelNetworkSettings::default());
    assert!(lines(&plan).contains(&"Tunnel: resolver: postern0 asks 10.98.0.1 for corp.example".to_owned()));
    assert_eq!(plan.warnings, [Warning::NotDomains(3)]);
}

#[test]
fn a_device_name_that_tools_could_misread_is_refused() {
    for name in ["", "a\"b", "a b", "0123456789abcdef", "a;b"] {
        let mut granted = granted(&["10.98.0.0/24"]);
        granted.device.name = name.into();
        let made = super::plan(&granted, &TunnelNetworkSettings::default(), &Places::default(), &able());
        assert_eq!(made, Err(PlanError::DeviceName(name.into())));
    }
}

#[test]
fn steps_cross_a_pipe_unchanged() {
    let mut granted = granted(&["0.0.0.0/0", "::/0"]);
    granted.addresses.push("fd97::5".parse().unwrap());
    let settings = TunnelNetworkSettings { block: Block::Firewall, ..TunnelNetworkSettings::default() };
    let plan = made(&granted, &settings);
    let line = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&line).unwrap(), plan);
}

proptest! {
    /// The leak rule: whatever the tunnel carries is prohibited behind it, in both tables alike,
    /// and the block is asked after the tunnel and before the main table.
    #[test]
    fn what_the_tunnel_carries_is_blocked_behind_it(
        networks in proptest::collection::vec((any::<u32>(), 0_u8..=32), 1..6),
        allow_local_network in any::<bool>(),
        firewall in any::<bool>(),
    ) {
        let mut granted = granted(&[]);
        granted.networks = networks
            .into_iter()
            .map(|(address, prefix)| IpNet::new(IpAddr::from(address.to_be_bytes()), prefix).unwrap())
            .collect();
        let block = if firewall { Block::Firewall } else { Block::ProhibitRoutes };
        let settings = TunnelNetworkSettings { allow_local_network, block, ..TunnelNetworkSettings::default() };
        let plan = made(&granted, &settings);
        let places = Places::default();
        let destinations = |table: RoutingTable| -> Vec<IpNet> {
            plan.steps.iter().filter_map(|planned| match &planned.step {
                Step::Route { table: standing, destination, .. } if *standing == table => Some(*destination),
                _ => None,
            }).collect()
        };
        prop_assert_eq!(destinations(places.tunnel), destinations(places.block));
        let order: Vec<Purpose> = plan.steps.iter().map(|planned| planned.purpose).collect();
        let first_tunnel = order.iter().position(|purpose| *purpose == Purpose::Tunnel).unwrap();
        prop_assert!(order[first_tunnel..].iter().all(|purpose| *purpose == Purpose::Tunnel));
        for planned in &plan.steps {
            if let Step::Rule(rule) = &planned.step {
                prop_assert!(rule.priority < RulePriority(32766), "{}", rule);
                prop_assert!(rule.from.is_some() || rule.to.is_some() || rule.unless_mark.is_some());
            }
        }
    }
}
