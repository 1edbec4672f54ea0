//! End to end: the article's story, what a crash or a stopped process must not do, and what the
//! network process cannot do at all.

mod asleep;
mod clocks;
mod decree;
mod disturbed;
mod flapping;
mod guard;
mod hostile_link;
mod hung;
mod left_over;
mod local;
mod management;
mod renewal;
mod repair;
mod support;
mod twins;
mod unattended;
mod way;

use anyhow::{Context, Result, ensure};
use lab::net::until;
use lab::ping::Series;
use lab::roadwarrior::{
    CORPORATE, ESP_PROPOSALS, IKE_PROPOSALS, LIMIT, Network, POOLS, connect, known_by, nothing_is_left, work,
};
use lab::scenario::{self, Scenario};
use lab::strongswan::Settings;
use lab::wire::{Kind, Tap};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postern_api::FaultName;
use std::process::ExitCode;
use std::time::Duration;

const SCENARIOS: &[Scenario] = &[
    ("story: every act of the demo holds", || lab::demo::play(&mut lab::demo::timeline::Timeline::new(false))),
    ("story: kill -9 of the service and a restart take back exactly what was ours", killed_and_restarted),
    ("repair: without a service, what one left is taken back, and a block stays", repair::without_a_service),
    ("story: posture lost while both processes are stopped lets nothing out when they go on", stopped_and_continued),
    (
        "decree: break-glass, quarantine with a release code, and deregistration reach the wire and people",
        decree::decreed,
    ),
    (
        "enrolment: without a person by a file and by a credential, once; the report is what is shown; leaving",
        unattended::enrolled_and_left,
    ),
    (
        "local: the README's tunnel without an EMS is refused, connects and is torn down by its own rules",
        local::by_its_own_rules,
    ),
    (
        "renewal: a certificate and the signing key of EMS are replaced under a tunnel that loses no packet",
        renewal::renewed_under_a_tunnel,
    ),
    ("renewal: kill -9 of the service at each step leaves an identity that EMS takes", renewal::killed_while_renewing),
    (
        "local: a tunnel to a managed gateway, by another name, an address or a redirect, sends it no packet",
        twins::never_dialled,
    ),
    ("renewal: kill -9 of EMS while it changes its key leaves an EMS that is believed", renewal::killed_while_rotating),
    (
        "story: a fact and a tag that flap, and an EMS that dies, let no packet out a second after a violation began",
        flapping::violations_are_short,
    ),
    (
        "story: pushes that are late, doubled, out of order, cut off or of an old EMS let no packet out beyond the bound",
        disturbed::old_late_and_lost,
    ),
    (
        "story: clocks that jump or are wrong, at both ends, and a day of sleep let no packet out beyond the bound",
        clocks::jumped_and_slept,
    ),
    (
        "story: a stopped network process is replaced, and `disconnect` does not wait for it",
        disconnected_though_stopped,
    ),
    (
        "guard: the process that parses datagrams reads no file, while a tunnel comes, sets DNS and goes",
        guard::confined,
    ),
    ("guard: packets stop before the machine sleeps, and none leaves on stale posture after", asleep::sleeps_and_wakes),
    ("guard: a mount and a bus that never answer cost their own facts only", hung::costs_its_own_fact_only),
    ("support: the log is shown and followed, and a bundle holds what helps and no secret", support::logs_and_a_bundle),
    ("guard: after `restore` no left-over socket sends from the tunnel's addresses", left_over::restored),
    (
        "guard: a block holds for every socket, over kill -9, restart, reboot and lies of the router, until it is dismissed",
        left_over::blocked,
    ),
];

fn main() -> ExitCode {
    scenario::main(SCENARIOS)
}

fn disconnected_though_stopped() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&gateway())?;
    let mut endpoint = network.endpoint(TUNNEL, &[("psk", PSK)])?;
    connect(&endpoint)?;
    let stopped = endpoint.network_process()?;
    kill(Pid::from_raw(i32::try_from(stopped)?), Signal::SIGSTOP)?;
    // The limit is far from the time that this takes, and far from waiting for each change in turn.
    let began = std::time::Instant::now();
    endpoint.expect(0, &["disconnect", "work"])?;
    ensure!(began.elapsed() < Duration::from_secs(25), "disconnecting took {} s", began.elapsed().as_secs());
    until("everything of ours to be taken back", LIMIT, || Ok(nothing_is_left(&network).is_ok().then_some(())))
        .with_context(|| endpoint.log())?;
    ensure!(!endpoint.processes()?.contains(&stopped), "the stopped process is still there");
    connect(&endpoint)?;
    Ok(())
}

const PSK: &str = "correct horse battery staple";

fn gateway() -> Settings {
    Settings {
        connections: format!(
            "psk {{\n version = 2\n pools = p4\n proposals = {IKE_PROPOSALS}\n unique = never\n encap = yes\n\
             local {{ auth = psk\n id = vpn.example.test }}\n remote {{ auth = psk\n id = psk@example.test }}\n\
             children {{ net {{\n local_ts = 10.98.0.0/24\n esp_proposals = {ESP_PROPOSALS}\n mode = tunnel\n }} }}\n}}"
        ),
        pools: POOLS.into(),
        secrets: format!("ike-psk {{ id-1 = psk@example.test\n id-2 = vpn.example.test\n secret = \"{PSK}\" }}"),
        ..Settings::default()
    }
}

const TUNNEL: &str = r#"
gateway = "vpn.example.test"
[auth]
kind = "psk"
identity = "psk@example.test"
psk_file = "@/psk"
"#;

fn killed_and_restarted() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&gateway())?;
    let mut endpoint = network.endpoint(TUNNEL, &[("psk", PSK)])?;
    connect(&endpoint)?;
    network.client.shell("ip route add 192.0.2.0/24 via 10.99.0.2; echo '# of somebody else' >> /etc/resolv.conf")?;
    endpoint.kill();
    endpoint.start()?;
    until("everything of ours to be taken back", LIMIT, || Ok(nothing_is_left(&network).is_ok().then_some(())))
        .with_context(|| endpoint.log())?;
    let resolver = network.client.shell("ip route show 192.0.2.0/24; cat /etc/resolv.conf")?;
    ensure!(resolver.contains("192.0.2.0/24") && resolver.contains("# of somebody else"), "{resolver}");
    // And it can connect again, as if nothing had been.
    connect(&endpoint)?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    Ok(())
}

fn stopped_and_continued() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&gateway())?;
    let marker = network.folder.join("marker");
    std::fs::write(&marker, "this device is known\n")?;
    let mut endpoint = network.endpoint(&format!("{TUNNEL}{}", known_by(&marker)), &[("psk", PSK)])?;
    let inside = connect(&endpoint)?.addresses;
    let series = Series::start(&network.client, CORPORATE.parse()?, Duration::from_millis(5))?;
    until("pings through the tunnel", LIMIT, || Ok((series.answered() > 20).then_some(())))?;

    let processes = endpoint.processes()?;
    ensure!(processes.len() >= 2, "posternd has no second process: {processes:?}");
    let signal = |id: u32, signal: Signal| anyhow::Ok(kill(Pid::from_raw(i32::try_from(id)?), signal)?);
    for id in &processes {
        signal(*id, Signal::SIGSTOP)?;
    }
    let tap = Tap::open(&network.client, "wan0")?;
    std::fs::remove_file(&marker)?;
    // Longer than any lease: the clock that counts is the one that goes on in suspend. The pings
    // meanwhile queue up in front of the tunnel.
    std::thread::sleep(Duration::from_secs(8));
    for id in processes.iter().rev() {
        signal(*id, Signal::SIGCONT)?;
    }
    let lost = until("the loss of compliance", LIMIT, || {
        Ok(work(&endpoint)?.last_fault.filter(|fault| fault.name == FaultName::ComplianceLost))
    })
    .with_context(|| endpoint.log())?;
    ensure!(lost.to_string().contains("Known device"), "{lost}");
    let leaked = tap.packets().into_iter().find(|packet| {
        packet.outgoing
            && (matches!(packet.kind, Kind::Esp | Kind::EspInUdp)
                || packet.source.is_some_and(|at| inside.contains(&at)))
    });
    ensure!(leaked.is_none(), "a packet left on stale posture: {leaked:?}");
    Ok(())
}
