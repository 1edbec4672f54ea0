//! Data, rekeys, deletion and liveness.

use crate::gateways::{HABIT_TUNNEL, PSK, PSK_TUNNEL, habit_gateway, psk_gateway};
use anyhow::{Context, Result, ensure};
use lab::net::until;
use lab::ping::Series;
use lab::roadwarrior::{CORPORATE, ESP_PROPOSALS, LIMIT, Network, connect, nothing_is_left, transfer, wait_for, work};
use lab::strongswan::Gateway;
use lab::wire::{Kind, Tap};
use nix::sys::signal::Signal;
use postern_api::{ConnectionState, FaultName};
use std::time::Duration;

pub fn psk_carries_data() -> Result<()> {
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
pub fn no_ping_lost(network: &Network, disturb: impl FnOnce() -> Result<()>) -> Result<()> {
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    let series = Series::start(&network.client, CORPORATE.parse()?, Duration::from_millis(5))?;
    disturb()?;
    let mark = series.answered();
    until("pings after the disturbance", LIMIT, || Ok((series.answered() > mark + 50).then_some(())))?;
    let tally = series.finish()?;
    ensure!(tally.sent == tally.answered, "pings were lost: {tally:?}");
    Ok(())
}

pub fn psk_rekeyed_by_gateway() -> Result<()> {
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

pub fn psk_rekeyed_by_client() -> Result<()> {
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

/// Data, for as long as `tests/soak data` says, while both sides renew the keys all the time.
pub fn data_flows_on() -> Result<()> {
    let network = Network::new()?;
    let gateway = network.strongswan(&psk_gateway())?;
    let tunnel = format!("{PSK_TUNNEL}\n[proposals]\nike_lifetime = \"9s\"\nesp_lifetime = \"4s\"\n");
    let endpoint = network.endpoint(&tunnel, &[("psk", PSK)])?;
    connect(&endpoint)?;
    transfer(&network, CORPORATE.parse()?, 10)?;
    let net = endpoint.network_process()?;
    let memory = lab::hostile::MemoryWatch::start(net)?;
    let end = std::time::Instant::now() + lab::scenario::soak();
    let mut moved = 0;
    loop {
        transfer(&network, CORPORATE.parse()?, 10).with_context(|| endpoint.log())?;
        moved += 20;
        renewed_by(&gateway)?;
        if std::time::Instant::now() >= end {
            break;
        }
    }
    ensure!(work(&endpoint)?.state == ConnectionState::Connected, "{}", endpoint.log());
    let gained = memory.gained()?;
    let log = endpoint.log();
    let renewals = ["sa=Child", "sa=Ike"].map(|kind| log.matches(kind).count());
    eprintln!("{moved} MB, CHILD and IKE SAs renewed {renewals:?} times, {gained} kB gained");
    ensure!(gained < 8 * 1024, "the network process gained {gained} kB");
    endpoint.expect(0, &["disconnect", "work"])?;
    nothing_is_left(&network)
}

/// Lets the gateway renew its CHILD SA. For a moment, while the IKE SA is replaced, it has none to renew.
fn renewed_by(gateway: &Gateway) -> Result<()> {
    until("an SA that the gateway renews", LIMIT, || match gateway.swanctl(&["--rekey", "--child", "net"]) {
        Ok(_) => Ok(Some(())),
        Err(error) if format!("{error:#}").contains("no matching SAs") => Ok(None),
        Err(error) => Err(error),
    })
}

pub fn psk_deleted_by_client() -> Result<()> {
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

pub fn psk_deleted_by_gateway() -> Result<()> {
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

pub fn psk_gateway_dead() -> Result<()> {
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

pub fn psk_ipv6_inside() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&psk_gateway())?;
    let endpoint = network.endpoint(&format!("{PSK_TUNNEL}\n[network]\nipv6 = true\n"), &[("psk", PSK)])?;
    let given = connect(&endpoint)?;
    ensure!(given.addresses.iter().any(|address| address.is_ipv6()), "{given:?}");
    lab::ping::once(&network.client, "fd98::1".parse()?, LIMIT)?;
    transfer(&network, "fd98::1".parse()?, 20)?;
    transfer(&network, CORPORATE.parse()?, 5)
}

pub fn psk_suites() -> Result<()> {
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

pub fn fortigate_habit() -> Result<()> {
    let network = Network::new()?;
    let gateway = network.strongswan(&habit_gateway())?;
    let endpoint = network.endpoint(HABIT_TUNNEL, &[("psk", PSK), ("password", "Passw0rd\n")])?;
    let given = connect(&endpoint)?;
    ensure!(!given.warnings.is_empty(), "a gateway that proves itself by a shared key is a standing warning");
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    // The first IKE_AUTH carries neither AUTH nor IDr, as such gateways want it.
    let first =
        gateway.log().lines().find(|line| line.contains("parsed IKE_AUTH request 1 ")).unwrap_or_default().to_owned();
    ensure!(first.contains("IDi") && !first.contains(" AUTH ") && !first.contains("IDr"), "{first}");
    transfer(&network, CORPORATE.parse()?, 50)
}

pub fn kernel_esp() -> Result<()> {
    let network = Network::new()?;
    let mut settings = psk_gateway();
    // No `encap` on the gateway's side: it is the client's wish that brings UDP encapsulation about.
    settings.connections = settings
        .connections
        .replace(" encap = yes\n", " encap = no\n")
        .replace(ESP_PROPOSALS, "aes256gcm16-ecp384-esn,aes256-sha256-ecp384-esn")
        .replace("local_ts = 10.98.0.0/24, fd98::/64", "local_ts = 10.98.0.0/24")
        .replace("pools = p4, p6", "pools = p4");
    let gateway = lab::uml::Gateway::start(&network.gateway, &network.folder.join("uml"), &settings)?;
    for esp in ["aes256gcm16-ecp384-esn", "aes256-sha256-ecp384-esn"] {
        let tunnel = format!("{PSK_TUNNEL}\n[proposals]\nesp = [\"{esp}\"]\n");
        let mut endpoint = network.endpoint(&tunnel, &[("psk", PSK)])?;
        let given = connect(&endpoint).with_context(|| gateway.console())?;
        ensure!(given.esp_suite.contains("esn") && !given.esp_suite.contains("noesn"), "{given:?}");
        lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
        transfer(&network, CORPORATE.parse()?, 5)?;
        let states = gateway.shell("ip -d xfrm state")?;
        ensure!(states.contains("esn") && states.contains("encap type espinudp"), "{states}");
        endpoint.expect(0, &["disconnect", "work"])?;
        endpoint.kill();
    }
    Ok(())
}
