//! Tickets (RFC 5723): what they save.

use crate::postern::{SECRETS, TUNNEL};
use crate::settings;
use anyhow::{Context, Result, ensure};
use lab::gateway::continuity::ContinuitySettings;
use lab::gateway::{RunningGateway, Settings};
use lab::net::until;
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, nothing_is_left, wait_for};
use postern_api::ConnectionState;
use std::time::Duration;

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
