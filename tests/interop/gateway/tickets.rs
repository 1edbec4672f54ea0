//! Tickets (RFC 5723): what they save, and what destroys them.

use crate::postern::{SECRETS, TUNNEL};
use crate::settings;
use anyhow::{Context, Result, ensure};
use lab::gateway::continuity::ContinuitySettings;
use lab::gateway::{RunningGateway, Settings};
use lab::net::until;
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, known_by, lose_compliance, nothing_is_left, wait_for};
use lab::wire::{Kind, Packet, Tap, boottime_ns};
use postern_api::ConnectionState;
use std::time::Duration;

/// Exchange types (RFC 7296 §3.1, RFC 5723 §4.3).
const IKE_SA_INIT: u8 = 34;
const IKE_SESSION_RESUME: u8 = 38;

/// A gateway that gives tickets.
fn giving_tickets() -> Result<(Network, RunningGateway)> {
    let network = Network::new()?;
    let continuity = ContinuitySettings { tickets: true, ..ContinuitySettings::default() };
    let settings = Settings { continuity, ..settings() };
    let gateway = RunningGateway::start(&network.gateway, &network.folder.join("gateway"), settings)?;
    Ok((network, gateway))
}

/// A client that has moved comes back by its ticket (RFC 5723), each time by another one: what it would
/// have to prove itself by anew is not there any more.
pub fn comes_back_by_them() -> Result<()> {
    let (network, gateway) = giving_tickets()?;
    let endpoint = network.endpoint(TUNNEL, SECRETS)?;
    connect(&endpoint).with_context(|| endpoint.log())?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    for (name, _) in SECRETS {
        std::fs::remove_file(endpoint.path("config").join(name))?;
    }
    for (old, new) in [("10.99.0.1", "10.99.0.7"), ("10.99.0.7", "10.99.0.8")] {
        network.client.shell(&format!("ip address del {old}/24 dev wan0; ip address add {new}/24 dev wan0"))?;
        until("a ping after the move", LIMIT, || {
            Ok(lab::ping::once(&network.client, CORPORATE.parse()?, Duration::from_secs(1)).ok())
        })
        .with_context(|| format!("{}\n{}", gateway.output(), endpoint.log()))?;
        until("the SA before to go", LIMIT, || Ok((gateway.established()? == 1).then_some(())))?;
        wait_for(&endpoint, ConnectionState::Connected)?;
    }
    // Who asks proves himself: on request no ticket will do.
    endpoint.expect(0, &["disconnect", "work"])?;
    let (code, ..) = endpoint.postern(&["connect", "work"])?;
    ensure!(code != 0, "a ticket was kept beyond the end on purpose");
    ensure!(gateway.established()? == 0);
    nothing_is_left(&network)
}

/// How often the client began with that exchange.
fn begun_with(packets: &[Packet], exchange: u8) -> usize {
    packets.iter().filter(|packet| packet.outgoing && packet.exchange == Some(exchange)).count()
}

/// A tunnel that is kept running comes back by its ticket as long as posture allows it. Once posture was against it
/// the ticket is gone: nothing begins before the pre-check has passed again, and then everything is proven anew.
pub fn destroyed_with_compliance() -> Result<()> {
    let (network, gateway) = giving_tickets()?;
    let marker = network.folder.join("marker");
    std::fs::write(&marker, "this device is known\n")?;
    let known = format!("keep_running = true\nafter_loss = \"restore\"\n{TUNNEL}{}", known_by(&marker));
    let endpoint = network.endpoint(&known, SECRETS)?;
    let tap = Tap::open(&network.client, "wan0")?;
    connect(&endpoint).with_context(|| endpoint.log())?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    // The measure of what follows: here a ticket is used, and it brings the next one.
    network.client.shell("ip address del 10.99.0.1/24 dev wan0; ip address add 10.99.0.7/24 dev wan0")?;
    until("a tunnel by the ticket", LIMIT, || Ok((begun_with(&tap.packets(), IKE_SESSION_RESUME) > 0).then_some(())))
        .with_context(|| endpoint.log())?;
    until("a ping after the move", LIMIT, || {
        Ok(lab::ping::once(&network.client, CORPORATE.parse()?, Duration::from_secs(1)).ok())
    })
    .with_context(|| endpoint.log())?;
    ensure!(begun_with(&tap.packets(), IKE_SA_INIT) == 1, "the first time alone was negotiated from the start");
    until("the SA before to go", LIMIT, || Ok((gateway.established()? == 1).then_some(())))?;

    lose_compliance(&endpoint, &marker)?;
    until("the gateway's SA to go", LIMIT, || Ok((gateway.established()? == 0).then_some(())))?;
    let mark = tap.count();
    // Nobody asks for the tunnel meanwhile, which would destroy the ticket as well.
    let restored = boottime_ns();
    std::fs::write(&marker, "this device is known again\n")?;
    wait_for(&endpoint, ConnectionState::Connected).with_context(|| endpoint.log())?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    let (before, after): (Vec<Packet>, Vec<Packet>) =
        tap.since(mark).into_iter().partition(|packet| packet.boottime_ns < restored);
    let early = before.iter().find(|packet| matches!(packet.kind, Kind::Ike | Kind::EspInUdp));
    ensure!(early.is_none(), "something began while posture was against it: {early:?}");
    ensure!(begun_with(&after, IKE_SESSION_RESUME) == 0, "a ticket outlived the loss of compliance");
    ensure!(begun_with(&after, IKE_SA_INIT) > 0, "{after:?}");
    endpoint.expect(0, &["disconnect", "work"])?;
    nothing_is_left(&network)
}
