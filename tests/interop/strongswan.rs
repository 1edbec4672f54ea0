//! `posternd` against strongSwan as a road warrior's gateway: real packets between namespaces.

use anyhow::{Context, Result, ensure};
use lab::net::until;
use lab::ping::Series;
use lab::roadwarrior::{
    CORPORATE, ESP_PROPOSALS, IKE_PROPOSALS, LIMIT, Network, POOLS, connect, nothing_is_left, transfer, wait_for, work,
};
use lab::scenario::{self, Scenario};
use lab::strongswan::Settings;
use lab::wire::{Kind, Tap};
use nix::sys::signal::Signal;
use postern_api::{ConnectionState, FaultName};
use std::process::ExitCode;
use std::time::Duration;

const SCENARIOS: &[Scenario] = &[
    ("strongswan psk: addresses, routes, resolver, 50 MB each way", psk_carries_data),
    ("strongswan psk: no ping is lost through rekeys by the gateway", psk_rekeyed_by_gateway),
    ("strongswan psk: no ping is lost through rekeys by the client", psk_rekeyed_by_client),
    ("strongswan psk: the client deletes", psk_deleted_by_client),
    ("strongswan psk: the gateway deletes", psk_deleted_by_gateway),
    ("strongswan psk: a gateway that stops dead is noticed", psk_gateway_dead),
    ("strongswan psk: an IPv6 address inside", psk_ipv6_inside),
    ("strongswan psk: every cipher suite carries data", psk_suites),
    ("strongswan psk and eap-mschapv2, the FortiGate habit", fortigate_habit),
    ("strongswan psk: a wrong key is AuthenticationFailed", wrong_psk),
    ("strongswan psk: no common suite is ProposalMismatch", no_common_suite),
    ("strongswan psk: another identity is GatewayNotTrusted", wrong_identity),
    ("strongswan habit: a refused user is AuthenticationFailed", refused_user),
    ("nobody: a silent gateway is GatewayUnreachable", silent_gateway),
];

fn main() -> ExitCode {
    scenario::main(SCENARIOS)
}

const PSK: &str = "correct horse battery staple";

/// A connection of the gateway; `rest` holds its `local` and `remote` sections.
fn connection(name: &str, pools: &str, rest: &str) -> String {
    format!(
        "{name} {{\n version = 2\n pools = {pools}\n proposals = {IKE_PROPOSALS}\n dpd_delay = 30s\n unique = never\n \
         encap = yes\n rekey_time = 4h\n children {{ net {{\n local_ts = 10.98.0.0/24, fd98::/64\n \
         esp_proposals = {ESP_PROPOSALS}\n mode = tunnel\n rekey_time = 1h\n }} }}\n{rest}\n}}\n"
    )
}

fn psk_gateway() -> Settings {
    let sides = "local { auth = psk\n id = vpn.example.test }\nremote { auth = psk\n id = psk@example.test }";
    Settings {
        connections: connection("psk", "p4, p6", sides),
        pools: POOLS.into(),
        secrets: format!("ike-psk {{ id-1 = psk@example.test\n id-2 = vpn.example.test\n secret = \"{PSK}\" }}"),
        ..Settings::default()
    }
}

const PSK_TUNNEL: &str = r#"
gateway = "vpn.example.test"
[auth]
kind = "psk"
identity = "psk@example.test"
psk_file = "@/psk"
"#;

fn psk_carries_data() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&psk_gateway())?;
    let endpoint = network.endpoint(PSK_TUNNEL, &[("psk", PSK)])?;
    let tap = Tap::open(&network.client, "wan0")?;
    let given = connect(&endpoint)?;
    ensure!(given.addresses == ["10.97.0.1".parse::<std::net::IpAddr>()?], "{given:?}");
    ensure!(given.networks.contains(&"10.98.0.0/24".to_owned()), "{given:?}");
    ensure!(given.dns == ["10.98.0.53".parse::<std::net::IpAddr>()?], "{given:?}");
    let resolver = network.client.shell("cat /etc/resolv.conf")?;
    ensure!(resolver.contains("10.98.0.53"), "{resolver}");
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    transfer(&network, CORPORATE.parse()?, 50)?;
    // Nothing of the tunnel's inside was on the wire, and nothing but IKE and ESP.
    let strange: Vec<_> = tap
        .packets()
        .into_iter()
        .filter(|packet| !matches!(packet.kind, Kind::Ike | Kind::EspInUdp | Kind::NatKeepalive | Kind::Neighbour))
        .take(3)
        .collect();
    ensure!(strange.is_empty(), "{strange:?}");
    endpoint.expect(0, &["connect", "work"]).context("already up is 0")?;
    endpoint.expect(0, &["disconnect", "work"])?;
    nothing_is_left(&network)
}

/// Runs a ping through the tunnel while `disturb` works, and fails when one is lost.
fn no_ping_lost(network: &Network, disturb: impl FnOnce() -> Result<()>) -> Result<()> {
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    let series = Series::start(&network.client, CORPORATE.parse()?, Duration::from_millis(5))?;
    disturb()?;
    let mark = series.answered();
    until("pings after the disturbance", LIMIT, || Ok((series.answered() > mark + 50).then_some(())))?;
    let tally = series.finish()?;
    ensure!(tally.sent == tally.answered, "pings were lost: {tally:?}");
    Ok(())
}

fn psk_rekeyed_by_gateway() -> Result<()> {
    let network = Network::new()?;
    let gateway = network.strongswan(&psk_gateway())?;
    let endpoint = network.endpoint(PSK_TUNNEL, &[("psk", PSK)])?;
    connect(&endpoint)?;
    no_ping_lost(&network, || {
        for _ in 0..3 {
            gateway.swanctl(&["--rekey", "--child", "net"])?;
            gateway.swanctl(&["--rekey", "--ike", "psk"])?;
        }
        let rekeyed = || gateway.log().matches("rekeyed between").count();
        until("three rekeyed IKE SAs", LIMIT, || Ok((rekeyed() >= 3).then_some(()))).with_context(|| gateway.log())
    })
    .with_context(|| endpoint.log())?;
    ensure!(gateway.established()? == 1, "{}", gateway.swanctl(&["--list-sas"])?);
    ensure!(work(&endpoint)?.state == ConnectionState::Connected);
    Ok(())
}

fn psk_rekeyed_by_client() -> Result<()> {
    let network = Network::new()?;
    let gateway = network.strongswan(&psk_gateway())?;
    let tunnel = format!("{PSK_TUNNEL}\n[proposals]\nike_lifetime = \"9s\"\nesp_lifetime = \"4s\"\n");
    let endpoint = network.endpoint(&tunnel, &[("psk", PSK)])?;
    connect(&endpoint)?;
    no_ping_lost(&network, || {
        let log = || gateway.log();
        until("two rekeyed IKE SAs and four CHILD SAs", LIMIT, || {
            let ike = log().matches("rekeyed between").count() >= 2;
            let child =
                log().matches("outbound CHILD_SA net").count() >= 4 || log().matches("rekeyed CHILD_SA").count() >= 4;
            let child = child || log().matches("inbound CHILD_SA net").count() >= 4;
            Ok((ike && child).then_some(()))
        })
        .with_context(log)
    })
    .with_context(|| endpoint.log())?;
    ensure!(gateway.established()? == 1, "{}", gateway.swanctl(&["--list-sas"])?);
    Ok(())
}

fn psk_deleted_by_client() -> Result<()> {
    let network = Network::new()?;
    let gateway = network.strongswan(&psk_gateway())?;
    let endpoint = network.endpoint(PSK_TUNNEL, &[("psk", PSK)])?;
    connect(&endpoint)?;
    ensure!(gateway.established()? == 1);
    endpoint.expect(0, &["down", "work"])?;
    until("the gateway's SA to go", LIMIT, || Ok((gateway.established()? == 0).then_some(())))?;
    ensure!(gateway.log().contains("received DELETE for IKE_SA"), "{}", gateway.log());
    nothing_is_left(&network)
}

fn psk_deleted_by_gateway() -> Result<()> {
    let network = Network::new()?;
    let gateway = network.strongswan(&psk_gateway())?;
    let endpoint = network.endpoint(PSK_TUNNEL, &[("psk", PSK)])?;
    connect(&endpoint)?;
    gateway.swanctl(&["--terminate", "--ike", "psk"])?;
    let tunnel = wait_for(&endpoint, ConnectionState::Disconnected)?;
    let fault = tunnel.last_fault.context("no fault says why it ended")?;
    ensure!(fault.name == FaultName::ClosedByGateway, "{fault}");
    nothing_is_left(&network)
}

fn psk_gateway_dead() -> Result<()> {
    let network = Network::new()?;
    let mut gateway = network.strongswan(&psk_gateway())?;
    let tunnel = format!("{PSK_TUNNEL}\n[carrier]\nliveness = \"1s\"\n");
    let endpoint = network.endpoint(&tunnel, &[("psk", PSK)])?;
    connect(&endpoint)?;
    gateway.daemon().signal(Signal::SIGSTOP)?;
    let tunnel = wait_for(&endpoint, ConnectionState::Disconnected)?;
    let fault = tunnel.last_fault.context("no fault says why it ended")?;
    ensure!(fault.name == FaultName::GatewayLost, "{fault}");
    nothing_is_left(&network)
}

fn psk_ipv6_inside() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&psk_gateway())?;
    let endpoint = network.endpoint(&format!("{PSK_TUNNEL}\n[network]\nipv6 = true\n"), &[("psk", PSK)])?;
    let given = connect(&endpoint)?;
    ensure!(given.addresses.iter().any(|address| address.is_ipv6()), "{given:?}");
    lab::ping::once(&network.client, "fd98::1".parse()?, LIMIT)?;
    transfer(&network, "fd98::1".parse()?, 20)?;
    transfer(&network, CORPORATE.parse()?, 5)
}

fn psk_suites() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&psk_gateway())?;
    for (ike, esp) in [
        ("aes256gcm16-prfsha384-ecp384", "aes256gcm16-ecp384"),
        ("chacha20poly1305-prfsha256-x25519", "chacha20poly1305-x25519"),
        ("aes128gcm16-prfsha256-ecp256", "aes256gcm16"),
        ("aes256-sha256-modp2048", "aes256-sha256-modp2048"),
    ] {
        let tunnel =
            format!("{PSK_TUNNEL}\n[proposals]\nike = [\"{ike}\"]\nesp = [\"{esp}\"]\nesp_lifetime = \"3s\"\n");
        let mut endpoint = network.endpoint(&tunnel, &[("psk", PSK)])?;
        connect(&endpoint).with_context(|| format!("{ike} {esp}"))?;
        // Long enough that the CHILD SA is rekeyed under way, with its own key exchange.
        transfer(&network, CORPORATE.parse()?, 10).with_context(|| format!("{ike} {esp}"))?;
        endpoint.expect(0, &["disconnect", "work"])?;
        endpoint.kill();
    }
    Ok(())
}

fn habit_gateway() -> Settings {
    let sides = "local { auth = psk\n id = vpn.example.test }\nremote { auth = eap-mschapv2\n id = forti@example.test\n eap_id = %any }";
    let mut settings = psk_gateway();
    settings.connections = connection("habit", "p4", sides);
    settings.secrets = format!(
        "ike-psk {{ id-1 = forti@example.test\n id-2 = vpn.example.test\n secret = \"{PSK}\" }}\neap-alice {{ id = alice\n secret = \"Passw0rd\" }}"
    );
    settings
}

const HABIT_TUNNEL: &str = r#"
gateway = "vpn.example.test"
gateway_auth = "psk"
[auth]
kind = "eap"
identity = "forti@example.test"
user = "alice"
password_file = "@/password"
psk_file = "@/psk"
"#;

fn fortigate_habit() -> Result<()> {
    let network = Network::new()?;
    let gateway = network.strongswan(&habit_gateway())?;
    let endpoint = network.endpoint(HABIT_TUNNEL, &[("psk", PSK), ("password", "Passw0rd\n")])?;
    let given = connect(&endpoint)?;
    ensure!(!given.warnings.is_empty(), "a gateway that proves itself by a shared key is a standing warning");
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    // The first IKE_AUTH carries neither AUTH nor IDr, as such gateways want it.
    let first =
        gateway.log().lines().find(|line| line.contains("parsed IKE_AUTH request 1 ")).unwrap_or_default().to_owned();
    ensure!(first.contains("IDi") && !first.contains("AUTH ") && !first.contains("IDr"), "{first}");
    transfer(&network, CORPORATE.parse()?, 50)
}

/// Connects and expects that exit code and that name; nothing may be left behind.
fn refused(network: &Network, tunnel: &str, secrets: &[(&str, &str)], code: i32, name: FaultName) -> Result<()> {
    let endpoint = network.endpoint(tunnel, secrets)?;
    let said = endpoint.expect(code, &["connect", "work"])?;
    ensure!(said.contains(name.as_str()) && said.contains("Next: "), "{said}");
    let fault = work(&endpoint)?.last_fault.context("the status does not say why")?;
    ensure!(fault.name == name, "{fault}");
    nothing_is_left(network)
}

fn wrong_psk() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&psk_gateway())?;
    refused(&network, PSK_TUNNEL, &[("psk", "another key than the gateway's")], 4, FaultName::AuthenticationFailed)
}

fn no_common_suite() -> Result<()> {
    let network = Network::new()?;
    let mut settings = psk_gateway();
    settings.connections = settings.connections.replace(IKE_PROPOSALS, "aes192-sha512-modp4096");
    let _gateway = network.strongswan(&settings)?;
    refused(&network, PSK_TUNNEL, &[("psk", PSK)], 15, FaultName::ProposalMismatch)
}

fn wrong_identity() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&psk_gateway())?;
    let tunnel = PSK_TUNNEL.replace("[auth]", "gateway_identity = \"other.example.test\"\n[auth]");
    refused(&network, &tunnel, &[("psk", PSK)], 14, FaultName::GatewayNotTrusted)
}

fn refused_user() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&habit_gateway())?;
    refused(&network, HABIT_TUNNEL, &[("psk", PSK), ("password", "wrong")], 4, FaultName::AuthenticationFailed)
}

fn silent_gateway() -> Result<()> {
    let network = Network::new()?;
    network
        .gateway
        .shell("nft 'add table inet t; add chain inet t c { type filter hook input priority 0; policy drop; }'")?;
    let tunnel = PSK_TUNNEL.replace("[auth]", "connect_timeout = \"20s\"\n[auth]");
    refused(&network, &tunnel, &[("psk", PSK)], 5, FaultName::GatewayUnreachable)
}
