//! A client that moves, and one that proves itself anew: the tunnel stays.

use crate::gateways::{PSK, PSK_TUNNEL, psk_gateway};
use crate::tcp;
use anyhow::{Context, Result, ensure};
use lab::net::until;
use lab::ping::Series;
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, nothing_is_left, work};
use postern_api::ConnectionState;
use std::time::{Duration, Instant};

/// Moves the client to another address of its network while pings run, and waits until they are
/// answered again.
fn move_while_pinging(network: &Network) -> Result<()> {
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    let series = Series::start(&network.client, CORPORATE.parse()?, Duration::from_millis(20))?;
    until("pings before the move", LIMIT, || Ok((series.answered() > 20).then_some(())))?;
    network.client.shell("ip address del 10.99.0.1/24 dev wan0; ip address add 10.99.0.7/24 dev wan0")?;
    let mark = series.answered();
    until("pings after the move", LIMIT, || Ok((series.answered() > mark + 50).then_some(())))
}

pub fn moves_by_mobike() -> Result<()> {
    let network = Network::new()?;
    let gateway = network.strongswan(&psk_gateway())?;
    let endpoint = network.endpoint(PSK_TUNNEL, &[("psk", PSK)])?;
    connect(&endpoint)?;
    move_while_pinging(&network).with_context(|| endpoint.log())?;
    let list = gateway.swanctl(&["--list-sas"])?;
    ensure!(list.contains("@ 10.99.0.7") && !list.contains("@ 10.99.0.1["), "{list}");
    ensure!(gateway.log().contains("N(UPD_SA_ADDR)"), "{}", gateway.log());
    ensure!(gateway.established()? == 1 && work(&endpoint)?.state == ConnectionState::Connected);
    endpoint.expect(0, &["disconnect", "work"])?;
    until("the gateway's SA to go", LIMIT, || Ok((gateway.established()? == 0).then_some(())))
}

/// The gateway's first address goes dead; what it told under the IKE SA (RFC 4555 §3.6) leads to the second.
pub fn follows_to_the_second_address() -> Result<()> {
    let network = Network::new()?;
    network.gateway.shell("ip address add 10.99.0.3/24 dev wan0")?;
    let gateway = network.strongswan(&psk_gateway())?;
    let tunnel = format!("{PSK_TUNNEL}\n[carrier]\nliveness = \"2s\"\n");
    let endpoint = network.endpoint(&tunnel, &[("psk", PSK)])?;
    connect(&endpoint)?;
    let logs = || format!("{}\n---\n{}", gateway.log(), endpoint.log());
    ensure!(gateway.log().contains("N(ADD_4_ADDR)"), "{}", gateway.log());
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    let series = Series::start(&network.client, CORPORATE.parse()?, Duration::from_millis(20))?;
    until("pings before", LIMIT, || Ok((series.answered() > 20).then_some(())))?;
    // Nothing reaches the first address any more, and nothing leaves it.
    network.gateway.shell(
        "nft 'add table inet dead; add chain inet dead in { type filter hook input priority -10; };
         add rule inet dead in ip daddr 10.99.0.2 drop;
         add chain inet dead out { type filter hook output priority -10; };
         add rule inet dead out ip saddr 10.99.0.2 drop'",
    )?;
    let mark = series.answered();
    until("pings by the second address", LIMIT, || Ok((series.answered() > mark + 50).then_some(())))
        .with_context(logs)?;
    let list = gateway.swanctl(&["--list-sas"])?;
    ensure!(list.contains("@ 10.99.0.3["), "{list}\n{}", logs());
    let shown = work(&endpoint)?.established.context("not up")?.gateway;
    ensure!(shown.contains("10.99.0.3"), "{shown}");
    ensure!(gateway.log().contains("N(UPD_SA_ADDR)"), "{}", gateway.log());
    ensure!(gateway.established()? == 1 && work(&endpoint)?.state == ConnectionState::Connected);
    endpoint.expect(0, &["disconnect", "work"])?;
    until("the gateway's SA to go", LIMIT, || Ok((gateway.established()? == 0).then_some(()))).with_context(logs)?;
    nothing_is_left(&network)
}

pub fn moves_by_tcp() -> Result<()> {
    let (network, gateway, relay) = tcp::network()?;
    let endpoint = network.endpoint(&tcp::tunnel("tcp"), &[("psk", PSK)])?;
    connect(&endpoint)?;
    move_while_pinging(&network).with_context(|| endpoint.log())?;
    ensure!(relay.connections().len() == 2, "{:?}", relay.connections());
    ensure!(gateway.established()? == 1 && work(&endpoint)?.state == ConnectionState::Connected);
    Ok(())
}

pub fn proves_itself_anew() -> Result<()> {
    let network = Network::new()?;
    let mut settings = psk_gateway();
    settings.connections = settings.connections.replace("rekey_time = 4h", "rekey_time = 0s\n reauth_time = 30s");
    let gateway = network.strongswan(&settings)?;
    let endpoint = network.endpoint(PSK_TUNNEL, &[("psk", PSK)])?;
    let given = connect(&endpoint)?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    let series = Series::start(&network.client, CORPORATE.parse()?, Duration::from_millis(10))?;
    let proofs =
        || gateway.log().matches("authentication of 'psk@example.test' with pre-shared key successful").count();
    until("the second proof", Duration::from_secs(60), || Ok((proofs() >= 2).then_some(())))
        .with_context(|| format!("{}\n{}", gateway.log(), endpoint.log()))?;
    until("the first SA to go", LIMIT, || Ok((gateway.established()? == 1).then_some(())))?;
    let mark = series.answered();
    until("pings by the new SA", LIMIT, || Ok((series.answered() > mark + 50).then_some(())))?;
    let tally = series.finish()?;
    ensure!(tally.sent == tally.answered, "pings were lost: {tally:?}");
    let tunnel = work(&endpoint)?;
    ensure!(tunnel.state == ConnectionState::Connected, "{tunnel:?}\n{}", endpoint.log());
    ensure!(tunnel.established.context("not up")?.addresses == given.addresses);
    Ok(())
}

pub fn made_anew_without_mobike() -> Result<()> {
    let network = Network::new()?;
    let mut settings = psk_gateway();
    settings.connections = settings.connections.replace("unique = never", "unique = never\n mobike = no");
    let gateway = network.strongswan(&settings)?;
    let endpoint = network.endpoint(PSK_TUNNEL, &[("psk", PSK)])?;
    connect(&endpoint)?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    let moved = Instant::now();
    network.client.shell("ip address del 10.99.0.1/24 dev wan0; ip address add 10.99.0.7/24 dev wan0")?;
    let made = || gateway.log().matches("established between").count();
    until("another IKE SA", LIMIT, || Ok((made() == 2).then_some(())))
        .with_context(|| format!("{}\n{}", gateway.log(), endpoint.log()))?;
    until("the tunnel to stand again", LIMIT, || {
        Ok((work(&endpoint)?.state == ConnectionState::Connected).then_some(()))
    })?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    // Silence would have been noticed after half a minute at the earliest.
    ensure!(moved.elapsed() < Duration::from_secs(15), "after {:?}", moved.elapsed());
    ensure!(!gateway.log().contains("N(UPD_SA_ADDR)"), "{}", gateway.log());
    ensure!(gateway.swanctl(&["--list-sas"])?.contains("@ 10.99.0.7["), "{}", gateway.swanctl(&["--list-sas"])?);
    until("the first IKE SA to go", LIMIT, || Ok((gateway.established()? == 1).then_some(())))?;
    ensure!(work(&endpoint)?.state == ConnectionState::Connected, "{}", endpoint.log());
    endpoint.expect(0, &["disconnect", "work"])?;
    nothing_is_left(&network)
}
