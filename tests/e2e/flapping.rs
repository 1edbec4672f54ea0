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
use lab::roadwarrior::{CORPORATE, LIMIT, Network, wait_for, work};
use lab::wire::{Kind, Packet, Tap, boottime_ns};
use postern_api::ConnectionState;
use serde_json::json;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Design §2: within a second of the change, while EMS is heard or the endpoint sees the change itself.
pub const BOUND: Duration = Duration::from_secs(1);
/// How long a violation is kept up, so that packets after the bound would be seen.
pub const HELD: Duration = Duration::from_millis(1_400);
/// Seed of the times between changes.
const SEED: u64 = 0x51a9_7e02_11c3_4d5f;

/// Sends through the tunnel all the time, whether anybody answers or not: what passes is on the wire.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Sampler {
    pub fn start(network: &Network) -> Result<Self> {
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
    /// Beginning and end of each violation, and for how long packets may pass; the last one may go on.
    spans: Vec<(u64, u64, Duration)>,
}

impl Truth {
    /// What is violated already is not violated anew: its time runs on.
    fn violated(&mut self, since: u64, bound: Duration) {
        if self.spans.last().is_none_or(|(_, end, _)| *end != u64::MAX) {
            self.spans.push((since, u64::MAX, bound));
        }
    }

    fn kept(&mut self, since: u64) {
        if let Some(last) = self.spans.last_mut().filter(|(_, end, _)| *end == u64::MAX) {
            last.1 = since;
        }
    }

    /// Returns the packet that came closest to the bound after a violation began, or went furthest beyond
    /// it: how late it was, and how late it might have been.
    fn worst<'a>(&self, packets: impl Iterator<Item = &'a Packet>) -> Option<(Duration, Duration, &'a Packet)> {
        let lateness = |packet: &'a Packet| {
            let at = packet.boottime_ns;
            let (begin, _, bound) = self.spans.iter().find(|(begin, end, _)| (*begin..*end).contains(&at))?;
            Some((Duration::from_nanos(at - begin), *bound, packet))
        };
        let left = |(late, bound, _): &(Duration, Duration, &Packet)| {
            (bound.saturating_sub(*late), std::cmp::Reverse(late.saturating_sub(*bound)))
        };
        packets.filter_map(lateness).min_by_key(left)
    }
}

pub struct Stage {
    pub ems: Ems,
    pub endpoint: Endpoint,
    marker: PathBuf,
    tap: Tap,
    truth: Truth,
    seed: u64,
    /// The endpoint's identifier at EMS.
    name: String,
}

impl Stage {
    /// An enrolled endpoint whose tunnel asks EMS's tags, connected; `settings` is its `postern.toml`.
    pub fn set(network: &Network, ems: Ems, settings: &str) -> Result<Self> {
        let endpoint = Endpoint::new(&network.client, &network.folder.join("endpoint"))?;
        endpoint.configure("postern.toml", settings)?;
        Self::with(network, ems, endpoint, "")
    }

    /// Does the same with an endpoint that was prepared; `tunnel` is more of its tunnel.
    pub fn with(network: &Network, ems: Ems, mut endpoint: Endpoint, tunnel: &str) -> Result<Self> {
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
        Network::start(&mut endpoint, &format!("{FLAPPING}{tunnel}{TUNNEL}{tags}"), &[("psk", PSK)])?;
        let name = ems.enrol(&endpoint)?;
        until("telemetry", LIMIT, || Ok(endpoint.status()?.posture.telemetry_connected.then_some(())))
            .with_context(|| endpoint.log())?;
        endpoint.expect(0, &["connect", "work"])?;
        let tap = Tap::open(&network.client, "wan0")?;
        Ok(Self { ems, endpoint, marker, tap, truth: Truth::default(), seed: SEED, name })
    }

    /// Sets or takes EMS's tag.
    pub fn tag(&mut self, violates: bool) -> Result<()> {
        self.tag_within(violates, BOUND)
    }

    /// Sets or takes EMS's tag; packets may pass for so long after it was set.
    pub fn tag_within(&mut self, violates: bool, bound: Duration) -> Result<()> {
        let verb = if violates { "set-tag" } else { "unset-tag" };
        let at = self.ems.change(&json!({"do": verb, "endpoint": self.name, "tag": "Flapping"}))?;
        if violates {
            self.truth.violated(at, bound)
        } else {
            self.truth.kept(at)
        }
        Ok(())
    }

    /// Makes a fact of the endpoint that violates the policy, or takes it away.
    pub fn mark(&mut self, violates: bool) -> Result<()> {
        if violates {
            std::fs::write(&self.marker, "bad\n")?;
            self.truth.violated(boottime_ns(), BOUND);
        } else {
            // Before it is kept again, so that no packet is taken for late that was not.
            self.truth.kept(boottime_ns());
            std::fs::remove_file(&self.marker)?;
        }
        Ok(())
    }

    /// Notes that packets may pass for so long from now on.
    pub fn violated(&mut self, bound: Duration) {
        self.truth.violated(boottime_ns(), bound);
    }

    /// Notes that packets may pass again.
    pub fn kept(&mut self) {
        self.truth.kept(boottime_ns());
    }

    /// Returns for how many seconds the tunnel has been up.
    pub fn up_for(&self) -> Result<u64> {
        let tunnel = lab::roadwarrior::work(&self.endpoint)?;
        Ok(tunnel
            .established
            .with_context(|| format!("torn down: {:?}\n{}", tunnel.last_fault, self.endpoint.log()))?
            .seconds)
    }

    /// Waits until packets pass: a violation is worth nothing while none does anyway.
    pub fn flows(&self) -> Result<()> {
        let second = Duration::from_secs(1);
        // Refused by a block, or without a route, until the tunnel is back.
        until("an answer through the tunnel", LIMIT, || Ok(once(self.ems.host(), CORPORATE.parse()?, second).ok()))
            .with_context(|| self.endpoint.log())?;
        Ok(())
    }

    /// Waits until the tunnel is up again and packets pass.
    pub fn comes_back(&self) -> Result<()> {
        wait_for(&self.endpoint, ConnectionState::Connected)?;
        self.flows()
    }

    /// Holds still for a while, after which the tunnel must not be up.
    pub fn stays_down(&self, held: Duration, why: &str) -> Result<()> {
        std::thread::sleep(held);
        let state = work(&self.endpoint)?.state;
        ensure!(state != ConnectionState::Connected, "connected, {why}\n{}", self.endpoint.log());
        Ok(())
    }

    /// Waits until EMS pushes, after it was away.
    pub fn pushes_again(&self) -> Result<()> {
        until("push again", LIMIT, || {
            let log = self.endpoint.log();
            let last = log.lines().rfind(|line| line.contains("state=")).unwrap_or_default().to_owned();
            Ok(last.contains("push: true").then_some(()))
        })
    }

    /// Holds every packet of the tunnel against what was done.
    pub fn judge(&self) -> Result<()> {
        let packets = self.tap.packets();
        let of_tunnel = || packets.iter().filter(|packet| packet.outgoing && packet.kind == Kind::EspInUdp);
        let during = of_tunnel().count();
        ensure!(during > 500, "only {during} packets of the tunnel were seen: nothing was proved");
        let violations = self.truth.spans.len();
        let Some((late, bound, packet)) = self.truth.worst(of_tunnel()) else {
            bail!("no packet was on the wire when a violation began: nothing was proved");
        };
        println!("{violations} violations, {during} packets, the worst {late:.0?} after one began, of {bound:?}");
        ensure!(late < bound, "a packet left {late:?} after a violation began: {packet:?}\n{}", self.endpoint.log());
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
    let mut stage = Stage::set(&network, Ems::start(&network)?, "")?;
    let sampler = Sampler::start(&network)?;
    stage.flows()?;
    flap(&mut stage)?;
    dwell(&mut stage)?;
    without_ems(&mut stage)?;
    restarts(&mut stage)?;
    drop(sampler);
    stage.judge()
}

/// A fact that comes and goes a hundred times a second and more, then EMS's own tag as fast as EMS
/// writes it down; each stays at last.
fn flap(stage: &mut Stage) -> Result<()> {
    let rate = changes_a_second(stage, Stage::mark)?;
    ensure!(rate > 100.0, "only {rate:.0} changes a second: this machine is too slow to prove anything");
    std::thread::sleep(HELD);
    stage.mark(false)?;
    stage.comes_back()?;
    let tags = changes_a_second(stage, Stage::tag)?;
    println!("a fact changed {rate:.0} times a second, a tag {tags:.0} times");
    std::thread::sleep(HELD);
    ensure!(
        !matches!(lab::roadwarrior::work(&stage.endpoint)?.state, ConnectionState::Connected),
        "connected in spite of the tag"
    );
    stage.tag(false)?;
    stage.comes_back()
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
        stage.comes_back()?;
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
    stage.comes_back()
}

/// EMS restarts: no loss, and the tunnel that wants `Telemetry connected` stays up. What EMS decides right
/// after counts at once.
fn restarts(stage: &mut Stage) -> Result<()> {
    for _ in 0..2 {
        let before = stage.up_for()?;
        stage.ems.kill();
        std::thread::sleep(Duration::from_millis(500));
        stage.ems.run()?;
        stage.flows()?;
        stage.pushes_again()?;
        ensure!(stage.up_for()? >= before, "the tunnel was made anew\n{}", stage.endpoint.log());
    }
    stage.tag(true)?;
    std::thread::sleep(HELD);
    stage.tag(false)?;
    stage.comes_back()
}
