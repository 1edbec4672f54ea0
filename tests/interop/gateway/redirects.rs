//! A gateway that sends its client to another one while it is being dialled (RFC 5685).

use crate::postern::{SECRETS, TUNNEL};
use crate::settings;
use anyhow::{Context, Result, ensure};
use lab::gateway::continuity::ContinuitySettings;
use lab::gateway::{RunningGateway, Settings};
use lab::net::{Host, until, wire};
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, nothing_is_left, work};
use lab::wire::{Kind, Tap};
use postern_api::FaultName;
use std::net::Ipv4Addr;

const FIRST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 2);

/// Both gateways redirect by these settings; each to the other, so that only a client that counts ends somewhere.
fn both(continuity: impl Fn(Ipv4Addr) -> ContinuitySettings) -> Result<(Network, [RunningGateway; 2])> {
    let network = Network::new()?;
    let host = Host::new("second0")?;
    wire((&network.client, "wan1", "10.99.1.1/24"), (&host, "wan0", "10.99.1.2/24"))?;
    // What stands behind the second gateway is on it.
    host.shell("ip address add 10.98.0.1/32 dev lo; echo 1 > /proc/sys/net/ipv4/ip_forward")?;
    let first = Settings { continuity: continuity(SECOND), ..settings() };
    let mut second = Settings {
        continuity: continuity(FIRST),
        pool_first: Ipv4Addr::new(10, 97, 1, 2),
        pool_last: Ipv4Addr::new(10, 97, 1, 9),
        ..settings()
    };
    second.daemon.listen = Some(SECOND);
    second.daemon.device_address = Some("10.97.1.1/24".parse()?);
    let first = RunningGateway::start(&network.gateway, &network.folder.join("first"), first)?;
    let second = RunningGateway::start(&host, &network.folder.join("second"), second)?;
    Ok((network, [first, second]))
}

/// The client ends at the second gateway, which redirects too, but not a client that says that it was redirected.
fn ends_at_the_second(continuity: impl Fn(Ipv4Addr) -> ContinuitySettings) -> Result<()> {
    let (network, [first, second]) = both(continuity)?;
    let endpoint = network.endpoint(TUNNEL, SECRETS)?;
    let logs = || format!("{}\n{}\n{}", first.output(), second.output(), endpoint.log());
    let given = connect(&endpoint).with_context(logs)?;
    ensure!(given.gateway.contains("10.99.1.2"), "{given:?}");
    ensure!(given.addresses == ["10.97.1.2".parse::<std::net::IpAddr>()?], "{given:?}");
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    until("nothing at the first gateway", LIMIT, || Ok((first.established()? == 0).then_some(())))
        .with_context(logs)?;
    ensure!(second.established()? == 1);
    endpoint.expect(0, &["disconnect", "work"])?;
    until("the second SA to be closed", LIMIT, || Ok((second.established()? == 0).then_some(())))?;
    network.client.shell("ip link del wan1")?;
    nothing_is_left(&network)
}

pub fn in_the_first_exchange() -> Result<()> {
    ends_at_the_second(|to| ContinuitySettings { redirect: Some(to), ..ContinuitySettings::default() })
}

pub fn in_the_authentication() -> Result<()> {
    ends_at_the_second(|to| ContinuitySettings { redirect_in_auth: Some(to), ..ContinuitySettings::default() })
}

/// Where it leads, the gateway must prove the identity that was configured: another key is not it.
pub fn to_a_stranger() -> Result<()> {
    let (network, [first, second]) =
        both(|to| ContinuitySettings { redirect: Some(to), ..ContinuitySettings::default() })?;
    drop(second);
    let host = Host::new("third0")?;
    network.client.shell("ip link del wan1")?;
    wire((&network.client, "wan1", "10.99.1.1/24"), (&host, "wan0", "10.99.1.2/24"))?;
    let mut stranger = Settings { psk: "another key than the one that is known".into(), ..settings() };
    stranger.daemon.listen = Some(SECOND);
    let stranger = RunningGateway::start(&host, &network.folder.join("stranger"), stranger)?;
    let endpoint = network.endpoint(TUNNEL, SECRETS)?;
    let tap = Tap::open(&network.client, "wan1")?;
    endpoint.expect(14, &["connect", "work"]).with_context(|| format!("{}\n{}", stranger.output(), endpoint.log()))?;
    let fault = work(&endpoint)?.last_fault.context("the status does not say why")?;
    ensure!(fault.name == FaultName::GatewayNotTrusted, "{fault}");
    ensure!(tap.packets().iter().any(|packet| packet.kind == Kind::Ike), "it was asked");
    ensure!(first.established()? == 0 && stranger.established()? == 0);
    network.client.shell("ip link del wan1")?;
    nothing_is_left(&network)
}
