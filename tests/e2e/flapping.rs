//! The compliance loop under stress: never does an endpoint that violates its policy pass packets for
//! longer than the bound.
//!
//! The proof has two halves. [`Truth`] is what was done and when: each change of a tag with EMS's own
//! stamp, each change of a file with the moment after it. [`Tap`] is what was on the wire. Both use
//! CLOCK_BOOTTIME, and a packet of the tunnel is legal while the policy is kept and for a second after.

use crate::management::Ems;
use crate::{PSK, TUNNEL, gateway};
use anyhow::{Context, Result, bail, ensure};
use lab::client::Endpoint;
use lab::net::until;
use lab::ping::once;
use lab::roadwarrior::{CORPORATE, LIMIT, Network, wait_for};
use lab::wire::{Kind, Packet, Tap, boottime_ns};
use postern_api::ConnectionState;
use serde_json::json;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Design §2: within a second of the change, while EMS is heard or the endpoint sees the change itself.
const BOUND: u64 = 1_000_000_000;
/// How long a violation is kept up, so that packets after the bound would be seen.
const HELD: Duration = Duration::from_millis(1_400);
/// Seed of the times between changes.
const SEED: u64 = 0x51a9_7e02_11c3_4d5f;

/// Sends through the tunnel all the time, whether anybody answers or not: what passes is on the wire.
struct Sampler {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Sampler {
    fn start(network: &Network) -> Result<Self> {
        let socket = network.client.inside(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    // Refused by a block, or without a route: nothing leaves then.
                    let _ = socket.send_to(b"does this pass?", (CORPORATE, 9));
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// When the policy was violated, on the clock of the tap.
#[derive(Default)]
struct Truth {
    /// Beginning and end of each violation; the last one may go on.
    spans: Vec<(u64, u64)>,
}

impl Truth {
    fn violated(&mut self, since: u64) {
        self.spans.push((since, u64::MAX));
    }

    fn kept(&mut self, since: u64) {
        if let Some(last) = self.spans.last_mut() {
            last.1 = since;
        }
    }

    /// Returns the packet that was longest on the wire after a violation began, and for how long.
    fn worst<'a>(&self, packets: impl Iterator<Item = &'a Packet>) -> Option<(u64, &'a Packet)> {
        let lateness = |packet: &&'a Packet| {
            let at = packet.boottime_ns;
            let span = self.spans.iter().find(|(begin, end)| (*begin..*end).contains(&at))?;
            Some(at - span.0)
        };
        packets.filter_map(|packet| Some((lateness(&packet)?, packet))).max_by_key(|(late, _)| *late)
    }
}

struct Stage {
    ems: Ems,
    endpoint: Endpoint,
    marker: PathBuf,
    tap: Tap,
    truth: Truth,
    seed: u64,
    /// The endpoint's identifier at EMS.
    name: String,
}

impl Stage {
    fn tag(&mut self, violates: bool) -> Result<()> {
        let verb = if violates { "set-tag" } else { "unset-tag" };
        let at = self.ems.change(&json!({"do": verb, "endpoint": self.name, "tag": "Flapping"}))?;
        if violates {
            self.truth.violated(at)
        } else {
            self.truth.kept(at)
        }
        Ok(())
    }

    fn mark(&mut self, violates: bool) -> Result<()> {
        if violates {
            std::fs::write(&self.marker, "bad\n")?;
            self.truth.violated(boottime_ns());
        } else {
            // Before it is kept again, so that no packet is taken for late that was not.
            self.truth.kept(boottime_ns());
            std::fs::remove_file(&self.marker)?;
        }
        Ok(())
    }

    /// Waits until packets pass: a violation is worth nothing while none does anyway.
    fn flows(&self) -> Result<()> {
        let second = Duration::from_secs(1);
        // Refused by a block, or without a route, until the tunnel is back.
        until("an answer through the tunnel", LIMIT, || Ok(once(self.ems.host(), CORPORATE.parse()?, second).ok()))
            .with_context(|| self.endpoint.log())?;
        Ok(())
    }

    /// xorshift: the same times on every run.
    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % below
    }
}

/// A tunnel of the local administrator that asks EMS's tags, and comes back by itself.
const FLAPPING: &str = "keep_running = true\nafter_loss = \"restore\"\n";

pub fn violations_are_short() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&gateway())?;
    let ems = Ems::start(&network)?;
    let marker = network.folder.join("marker");
    let rules = json!([
        {"name": "m", "tag": "Marked",
         "systems": {"linux": {"rules": [{"id": 1, "type": "file", "path": marker}]}}},
        {"name": "t", "tag": "Telemetry connected",
         "systems": {"linux": {"rules": [{"id": 1, "type": "ems-management"}]}}},
    ]);
    ems.ask(&json!({"do": "set-rules", "rule_sets": rules}))?;
    ems.ask(&json!({"do": "set-profile", "profile": {"name": "p", "secure_remote_access": true, "tunnels": []}}))?;
    ems.ask(&json!({"do": "define-tag", "tag": "Flapping"}))?;
    let tags =
        "[tags]\nsource = \"ems\"\nprohibited = [\"Flapping\", \"Marked\"]\nallowed = [\"Telemetry connected\"]\n";
    let endpoint = network.endpoint(&format!("{FLAPPING}{TUNNEL}{tags}"), &[("psk", PSK)])?;
    let name = ems.enrol(&endpoint)?;
    until("telemetry", LIMIT, || Ok(endpoint.status()?.posture.telemetry_connected.then_some(())))
        .with_context(|| endpoint.log())?;
    endpoint.expect(0, &["connect", "work"])?;
    let sampler = Sampler::start(&network)?;
    let tap = Tap::open(&network.client, "wan0")?;
    let mut stage = Stage { ems, endpoint, marker, tap, truth: Truth::default(), seed: SEED, name };
    stage.flows()?;
    flap(&mut stage)?;
    dwell(&mut stage)?;
    without_ems(&mut stage)?;
    restarts(&mut stage)?;
    drop(sampler);

    let packets = stage.tap.packets();
    let of_tunnel = || packets.iter().filter(|packet| packet.outgoing && packet.kind == Kind::EspInUdp);
    let during = of_tunnel().count();
    ensure!(during > 500, "only {during} packets of the tunnel were seen: nothing was proved");
    let violations = stage.truth.spans.len();
    let Some((late, packet)) = stage.truth.worst(of_tunnel()) else {
        bail!("no packet was on the wire when a violation began: nothing was proved");
    };
    println!("{violations} violations, {during} packets, the last {} ms after one began", late / 1_000_000);
    ensure!(
        late < BOUND,
        "a packet left {} ms after a violation began: {packet:?}\n{}",
        late / 1_000_000,
        stage.endpoint.log()
    );
    Ok(())
}

/// A fact that comes and goes a hundred times a second and more, then EMS's own tag as fast as EMS
/// writes it down; each stays at last.
fn flap(stage: &mut Stage) -> Result<()> {
    let rate = changes_a_second(stage, Stage::mark)?;
    ensure!(rate > 100.0, "only {rate:.0} changes a second: this machine is too slow to prove anything");
    std::thread::sleep(HELD);
    stage.mark(false)?;
    wait_for(&stage.endpoint, ConnectionState::Connected)?;
    stage.flows()?;
    let tags = changes_a_second(stage, Stage::tag)?;
    println!("a fact changed {rate:.0} times a second, a tag {tags:.0} times");
    std::thread::sleep(HELD);
    ensure!(
        !matches!(lab::roadwarrior::work(&stage.endpoint)?.state, ConnectionState::Connected),
        "connected in spite of the tag"
    );
    stage.tag(false)?;
    wait_for(&stage.endpoint, ConnectionState::Connected)?;
    stage.flows()
}

/// Changes to and fro for two seconds, ends with the violation, and returns how often it was.
fn changes_a_second(stage: &mut Stage, change: fn(&mut Stage, bool) -> Result<()>) -> Result<f64> {
    let began = Instant::now();
    let mut changes = 0;
    while began.elapsed() < Duration::from_secs(2) || changes % 2 == 0 {
        change(stage, changes % 2 == 0)?;
        changes += 1;
        let next = Duration::from_millis(8) * changes;
        std::thread::sleep(next.saturating_sub(began.elapsed()));
    }
    Ok(f64::from(changes) / began.elapsed().as_secs_f64())
}

/// Violations of all lengths, by EMS's word and by a fact of the endpoint.
fn dwell(stage: &mut Stage) -> Result<()> {
    for round in 0..6 {
        let by_tag = round % 2 == 0;
        let held = Duration::from_millis(100 + stage.random(1_300));
        let change = |stage: &mut Stage, violates| if by_tag { stage.tag(violates) } else { stage.mark(violates) };
        change(stage, true)?;
        std::thread::sleep(held);
        change(stage, false)?;
        wait_for(&stage.endpoint, ConnectionState::Connected)?;
        stage.flows()?;
    }
    Ok(())
}

/// EMS is gone, and the endpoint's own facts go on to be judged by its rules.
fn without_ems(stage: &mut Stage) -> Result<()> {
    stage.ems.kill();
    stage.mark(true)?;
    std::thread::sleep(HELD);
    stage.mark(false)?;
    stage.ems.run()?;
    wait_for(&stage.endpoint, ConnectionState::Connected)?;
    stage.flows()
}

/// EMS restarts: no loss, and the tunnel that wants `Telemetry connected` stays up. What EMS decides right
/// after counts at once.
fn restarts(stage: &mut Stage) -> Result<()> {
    let up_for = |stage: &Stage| -> Result<u64> {
        let tunnel = lab::roadwarrior::work(&stage.endpoint)?;
        Ok(tunnel
            .established
            .with_context(|| format!("torn down: {:?}\n{}", tunnel.last_fault, stage.endpoint.log()))?
            .seconds)
    };
    for _ in 0..2 {
        let before = up_for(stage)?;
        stage.ems.kill();
        std::thread::sleep(Duration::from_millis(500));
        stage.ems.run()?;
        stage.flows()?;
        until("push again", LIMIT, || {
            let log = stage.endpoint.log();
            let last = log.lines().rfind(|line| line.contains("state=")).unwrap_or_default().to_owned();
            Ok(last.contains("push: true").then_some(()))
        })?;
        ensure!(up_for(stage)? >= before, "the tunnel was made anew\n{}", stage.endpoint.log());
    }
    stage.tag(true)?;
    std::thread::sleep(HELD);
    stage.tag(false)?;
    wait_for(&stage.endpoint, ConnectionState::Connected)?;
    stage.flows()
}
