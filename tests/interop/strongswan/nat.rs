//! NAT between the client and a gateway whose kernel does the ESP.
//!
//! ```text
//! client 10.89.0.1 ── home ── 10.79.0.1 carrier 10.99.0.101, .102 ── 10.99.0.2 gateway
//! ```

use crate::conditions::{IKE_SA_INIT, Place, place};
use anyhow::{Result, ensure};
use lab::net::until;
use lab::ping::Series;
use lab::roadwarrior::{CORPORATE, LIMIT, transfer, work};
use lab::router::Router;
use lab::wire::{Kind, Tap};
use postern_api::ConnectionState;
use std::sync::OnceLock;
use std::time::Duration;

/// Two routers on the way to the gateway.
struct Way {
    home: Router,
    carrier: Router,
}

/// Returns the way; the first call makes it. The client takes it by a route of its own.
fn way(place: &Place) -> Result<&'static Way> {
    static WAY: OnceLock<Way> = OnceLock::new();
    if let Some(way) = WAY.get() {
        return Ok(way);
    }
    let (client, gateway) = (&place.network.client, &place.network.gateway);
    let middle = lab::net::Host::new("street")?;
    let home = Router::new(
        "home",
        ((client, "nat0", "10.89.0.1/24"), "10.89.0.254/24"),
        ((&middle, "to-home", ""), "10.79.0.2/24"),
    )?;
    let carrier = Router::new(
        "carrier",
        ((&middle, "to-carrier", ""), "10.79.0.1/24"),
        ((gateway, "to-carrier", ""), "10.99.0.101/24 10.99.0.102/24"),
    )?;
    middle.shell(
        "ip link add street type bridge; ip link set street up
         ip link set to-home master street; ip link set to-carrier master street",
    )?;
    gateway.shell("ip link set to-carrier master br-wan0")?;
    home.host().shell("ip route add default via 10.79.0.1")?;
    carrier.host().shell("ip route add 10.89.0.0/24 via 10.79.0.2")?;
    Ok(WAY.get_or_init(|| Way { home, carrier }))
}

/// As [`Place::connected`], by way of the two routers.
fn behind_nat(
    place: &Place,
    work: impl FnOnce(&lab::client::Endpoint, &postern_api::state::Established) -> Result<()>,
) -> Result<()> {
    place.network.client.shell("ip route add 10.99.0.2/32 via 10.89.0.254")?;
    let outcome = place.connected("", work);
    place.network.client.shell("ip route del 10.99.0.2/32")?;
    outcome
}

pub fn mapping_changes() -> Result<()> {
    let place = place()?;
    let way = way(place)?;
    way.home.pass()?;
    way.carrier.translate("10.99.0.101")?;
    behind_nat(place, |endpoint, _| {
        let tap = Tap::open(&place.network.client, "nat0")?;
        let series = Series::start(&place.network.client, CORPORATE.parse()?, Duration::from_millis(20))?;
        until("pings before the change", LIMIT, || Ok((series.answered() > 20).then_some(())))?;
        // First another port of the same address, then another address too.
        for source in ["10.99.0.101:20000-29999", "10.99.0.102:30000-39999"] {
            way.carrier.translate(source)?;
            way.carrier.forget()?;
            let mark = series.answered();
            until("pings after the change", LIMIT, || Ok((series.answered() > mark + 30).then_some(())))?;
            let (address, ports) = source.split_once(':').unwrap_or_default();
            // The kernel's ESP follows at once, charon is told by it.
            until("charon to follow", LIMIT, || {
                let list = place.gateway.swanctl("--list-sas")?;
                let remote = list.split(&format!("@ {address}[")).nth(1).and_then(|rest| rest.get(..5));
                Ok(remote.is_some_and(|port| port.starts_with(&ports[..1])).then_some(()))
            })?;
        }
        let tally = series.finish()?;
        // What was answered to a mapping that is gone is lost: one ping for each change, or two.
        ensure!(tally.sent <= tally.answered + 4, "pings were lost: {tally:?}");
        ensure!(place.established()? == 1 && work(endpoint)?.state == ConnectionState::Connected);
        let anew = tap.packets().iter().any(|packet| packet.exchange == Some(IKE_SA_INIT));
        ensure!(!anew, "the tunnel was made anew");
        transfer(&place.network, CORPORATE.parse()?, 2)
    })
}

pub fn twice() -> Result<()> {
    let place = place()?;
    let way = way(place)?;
    way.home.translate("10.79.0.2:40000-49999")?;
    way.carrier.translate("10.99.0.101:50000-59999")?;
    let tap = Tap::open(way.carrier.host(), "wan0")?;
    behind_nat(place, |_, _| {
        let list = place.gateway.swanctl("--list-sas")?;
        ensure!(list.contains("@ 10.99.0.101[5"), "{list}");
        transfer(&place.network, CORPORATE.parse()?, 2)?;
        let strange: Vec<_> =
            tap.packets().into_iter().filter(|packet| matches!(packet.kind, Kind::Esp | Kind::Other)).take(3).collect();
        ensure!(strange.is_empty(), "{strange:?}");
        Ok(())
    })
}
