//! Sleep, as logind tells of it.

use crate::{PSK, TUNNEL, gateway, known_by};
use anyhow::{Context, Result, ensure};
use lab::bus::{self, Logind};
use lab::net::until;
use lab::ping::Series;
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, work};
use lab::wire::{Kind, Tap};
use postern_api::FaultName;
use std::net::IpAddr;
use std::time::Duration;

/// Longer than the service takes to renew a lease, which it does once a second.
const RENEWALS: Duration = Duration::from_secs(3);

pub fn sleeps_and_wakes() -> Result<()> {
    let _bus = bus::system()?;
    let logind = Logind::start()?;
    let network = Network::new()?;
    let _gateway = network.strongswan(&gateway())?;
    let marker = network.folder.join("marker");
    std::fs::write(&marker, "this device is known\n")?;
    let endpoint = network.endpoint(&format!("{TUNNEL}{}", known_by(&marker)), &[("psk", PSK)])?;
    let lock = logind.lock(LIMIT)?;
    ensure!(lock.asked == ["sleep", "Postern", "delay"], "{:?}", lock.asked);
    let inside = connect(&endpoint)?.addresses;
    let series = Series::start(&network.client, CORPORATE.parse()?, Duration::from_millis(5))?;
    let flows = |what: &str, before: u64| {
        until(what, LIMIT, || Ok((series.answered() > before + 20).then_some(()))).with_context(|| endpoint.log())
    };
    flows("pings through the tunnel", 0)?;
    let tap = Tap::open(&network.client, "wan0")?;

    // Posture holds: everything stops, and goes on after it was judged again.
    logind.prepare_for_sleep(true)?;
    lock.wait_until_let_go()?;
    let mark = tap.count();
    std::thread::sleep(RENEWALS);
    silence(&tap, mark, &inside)?;
    let answered = series.answered();
    logind.prepare_for_sleep(false)?;
    let lock = logind.lock(LIMIT).context("after the first sleep")?;
    flows("pings after the first sleep", answered)?;

    // Posture is lost while the machine sleeps: nothing leaves ever after.
    logind.prepare_for_sleep(true)?;
    lock.wait_until_let_go()?;
    let mark = tap.count();
    std::fs::remove_file(&marker)?;
    logind.prepare_for_sleep(false)?;
    let lost = until("the loss of compliance", LIMIT, || {
        Ok(work(&endpoint)?.last_fault.filter(|fault| fault.name == FaultName::ComplianceLost))
    })
    .with_context(|| endpoint.log())?;
    ensure!(lost.to_string().contains("Known device"), "{lost}");
    silence(&tap, mark, &inside)
}

fn silence(tap: &Tap, mark: usize, inside: &[IpAddr]) -> Result<()> {
    let leaked = tap.since(mark).into_iter().find(|packet| {
        packet.outgoing
            && (matches!(packet.kind, Kind::Esp | Kind::EspInUdp)
                || packet.source.is_some_and(|at| inside.contains(&at)))
    });
    ensure!(leaked.is_none(), "a packet left while the machine was about to sleep: {leaked:?}");
    Ok(())
}
