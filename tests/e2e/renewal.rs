//! What is renewed while an endpoint works: its certificate, and the key that signs what EMS says. Whoever
//! is killed at whatever step of it, the endpoint still has an identity that EMS takes, and believes EMS.

use crate::management::Ems;
use crate::{PSK, TUNNEL, gateway};
use anyhow::{Context, Result, bail, ensure};
use lab::client::Endpoint;
use lab::ems::Administrator;
use lab::net::{Host, until};
use lab::ping::Series;
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, work};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const TAGS: &str = "[tags]\nsource = \"ems\"\nprohibited = [\"Forbidden\"]\nallowed = [\"Telemetry connected\"]\n";

/// An endpoint with a tunnel that wants telemetry, and its EMS.
struct Place {
    network: Network,
    _gateway: lab::strongswan::Gateway,
    ems: Ems,
    endpoint: Endpoint,
    name: String,
}

impl Place {
    fn build() -> Result<Self> {
        let network = Network::new()?;
        let gateway = network.strongswan(&gateway())?;
        let ems = Ems::start(&network)?;
        let rules = json!([{"name": "t", "tag": "Telemetry connected",
             "systems": {"linux": {"rules": [{"id": 1, "type": "ems-management"}]}}}]);
        ems.ask(&json!({"do": "set-rules", "rule_sets": rules}))?;
        ems.ask(&json!({"do": "set-profile", "profile": {"name": "p", "secure_remote_access": true, "tunnels": []}}))?;
        ems.ask(&json!({"do": "define-tag", "tag": "Forbidden"}))?;
        let endpoint = network.endpoint(&format!("{TUNNEL}{TAGS}"), &[("psk", PSK)])?;
        let name = ems.enrol(&endpoint)?;
        let place = Self { network, _gateway: gateway, ems, endpoint, name };
        place.telemetry()?;
        Ok(place)
    }

    fn telemetry(&self) -> Result<()> {
        until("telemetry", LIMIT, || Ok(self.endpoint.status()?.posture.telemetry_connected.then_some(())))
            .with_context(|| self.endpoint.log())
    }

    /// Waits until the endpoint believes EMS a tag that it has never heard of before.
    fn hears(&self, tag: &str) -> Result<()> {
        self.ems.ask(&json!({"do": "set-tag", "endpoint": self.name, "tag": tag}))?;
        until(&format!("the tag {tag}"), LIMIT, || Ok(self.knows(tag)?.then_some(())))
            .with_context(|| self.endpoint.log())
    }

    fn knows(&self, tag: &str) -> Result<bool> {
        let told: Value = serde_json::from_str(&self.endpoint.expect(0, &["posture", "tags", "--json"])?)?;
        let tags = told["tags"].as_array().context("no list of tags")?;
        Ok(tags.iter().any(|known| known["name"] == tag && known["presence"] == "present"))
    }

    /// Returns the fingerprints of the endpoint's certificates that hold, and how many were issued.
    fn certificates(&self) -> Result<(Vec<Value>, usize)> {
        let listed = self.ems.ask(&json!({"do": "list-certificates", "endpoint": self.name}))?;
        let listed = listed["certificates"].as_array().context("no list of certificates")?;
        let holding = listed.iter().filter(|row| row["ended_unix"].is_null()).map(|row| row["serial"].clone());
        Ok((holding.collect(), listed.len()))
    }

    fn identity(&self) -> Result<Value> {
        let text = std::fs::read(self.endpoint.path("state/ems/identity.json")).context("the identity is gone")?;
        serde_json::from_slice(&text).context("the identity is damaged")
    }

    /// Stops the service and has its certificate fall due after some seconds of its next life.
    fn due_after(&mut self, seconds: u64) -> Result<()> {
        self.endpoint.kill();
        let mut identity = self.identity()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        identity["renew_after_unix"] = (now + seconds).into();
        std::fs::write(self.endpoint.path("state/ems/identity.json"), identity.to_string())?;
        self.endpoint.start()
    }

    /// Whatever happened: the endpoint has one certificate in the end, and EMS hears it and is heard.
    fn is_well(&self, tag: &str) -> Result<()> {
        self.telemetry()?;
        until("one certificate that holds", LIMIT, || Ok((self.certificates()?.0.len() == 1).then_some(())))?;
        self.hears(tag)?;
        ensure!(!self.endpoint.status()?.posture.decrees.deregistered, "EMS no longer knew the endpoint");
        Ok(())
    }
}

/// A certificate is renewed, and a signing key followed by the next, under a tunnel that loses no packet.
pub fn renewed_under_a_tunnel() -> Result<()> {
    let mut place = Place::build()?;
    let before = place.identity()?;
    place.due_after(4)?;
    place.telemetry()?;
    connect(&place.endpoint)?;
    let pings = Series::start(&place.network.client, CORPORATE.parse()?, Duration::from_millis(5))?;
    until("the next certificate in use", LIMIT, || {
        let (holding, issued) = place.certificates()?;
        Ok((holding.len() == 1 && issued == 2).then_some(()))
    })
    .with_context(|| place.endpoint.log())?;
    let after = place.identity()?;
    ensure!(
        before["certificate"] != after["certificate"] && before["key_pkcs8"] != after["key_pkcs8"],
        "an old key or certificate"
    );
    place.hears("After the certificate")?;

    place.ems.ask(&json!({"do": "rotate-signing-key", "overlap_seconds": 3_600}))?;
    place.hears("After the key")?;
    ensure!(place.endpoint.path("state/ems/keys.json").exists(), "the next key is not kept");
    place.ems.ask(&json!({"do": "rotate-signing-key", "overlap_seconds": 0}))?;
    place.hears("After another key")?;
    work(&place.endpoint)?.established.context("the tunnel is gone")?;
    let tally = pings.finish()?;
    ensure!(tally.sent == tally.answered && tally.sent > 100, "{tally:?}\n{}", place.endpoint.log());
    // What was signed by the newest key is believed without EMS, too, after a restart.
    place.ems.kill();
    place.endpoint.kill();
    place.endpoint.start()?;
    until("the tag from the cache", LIMIT, || Ok(place.knows("After another key")?.then_some(())))
        .with_context(|| place.endpoint.expect(0, &["posture", "tags"]).unwrap_or_default())?;
    // And the endpoint goes on where it was, once EMS is back.
    place.ems.run()?;
    place.is_well("After all")
}

/// `kill -9` of the service at each step of a renewal.
pub fn killed_while_renewing() -> Result<()> {
    let mut place = Place::build()?;
    for (round, step) in [Step::Asked, Step::Issued, Step::Writing, Step::Written, Step::Shown].into_iter().enumerate()
    {
        let issued = place.certificates()?.1;
        let held = place.identity()?["certificate"].clone();
        place.due_after(if matches!(step, Step::Asked) { 3 } else { 2 })?;
        if matches!(step, Step::Asked) {
            place.telemetry()?;
            place.ems.signal(Signal::SIGSTOP)?;
        }
        let seen = || step.is_reached(&place, issued, &held);
        let deadline = Instant::now() + LIMIT;
        // Without a pause: some steps are over in a millisecond.
        while !seen()? {
            ensure!(Instant::now() < deadline, "{step:?} was not seen\n{}", place.endpoint.log());
        }
        place.endpoint.kill();
        if matches!(step, Step::Asked) {
            place.ems.signal(Signal::SIGCONT)?;
        }
        place.identity().with_context(|| format!("{step:?}"))?;
        place.endpoint.start()?;
        place.is_well(&format!("Round {round}")).with_context(|| format!("{step:?}"))?;
    }
    // Nothing but what is kept lies there: no half of an identity with a key in it.
    let left: Vec<String> = std::fs::read_dir(place.endpoint.path("state/ems"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.ends_with(".json"))
        .collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// How far a renewal has come.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// EMS, which is stopped, has the request.
    Asked,
    /// EMS has issued the next certificate.
    Issued,
    /// The next identity is being written, or is.
    Writing,
    /// It lies in its place.
    Written,
    /// EMS has seen it, and the older certificate is over.
    Shown,
}

impl Step {
    fn is_reached(self, place: &Place, issued: usize, held: &Value) -> Result<bool> {
        let written = || Ok::<_, anyhow::Error>(place.identity()?["certificate"] != *held);
        Ok(match self {
            Self::Asked => waits_for_ems(place.ems.host())?,
            Self::Issued => place.certificates()?.1 > issued,
            Self::Writing => written()? || has_unfinished(&place.endpoint.path("state/ems"))?,
            Self::Written => written()?,
            Self::Shown => written()? && place.certificates()?.0.len() == 1,
        })
    }
}

/// Tells whether something was sent to EMS that it has not read.
fn waits_for_ems(host: &Host) -> Result<bool> {
    let sockets = host.shell("ss -Htn state established '( sport = :8443 )'")?;
    Ok(sockets.lines().any(|line| line.split_whitespace().next().is_some_and(|unread| unread != "0")))
}

fn has_unfinished(folder: &Path) -> Result<bool> {
    let entries = std::fs::read_dir(folder)?.filter_map(Result::ok);
    Ok(entries.into_iter().any(|entry| !entry.file_name().to_string_lossy().ends_with(".json")))
}

/// `kill -9` of EMS while it changes its signing key as fast as it can.
pub fn killed_while_rotating() -> Result<()> {
    let mut place = Place::build()?;
    for round in 0..2 {
        let done = rotated_until_killed(&mut place.ems, 1 + 3 * round)?;
        place.ems.run()?;
        place.is_well(&format!("Round {round}"))?;
        let number = |answer: Value| answer["key"].as_u64().context("no number");
        let next = number(place.ems.ask(&json!({"do": "rotate-signing-key", "overlap_seconds": 0}))?)?;
        ensure!(next > done, "key {done} was announced, and then {next}");
        place.hears(&format!("Under key {next}"))?;
    }
    Ok(())
}

/// Changes the key until EMS, killed in the middle of the change after `changes` of them, is gone; returns the
/// last key that it told of.
fn rotated_until_killed(ems: &mut Ems, changes: u64) -> Result<u64> {
    let (told, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (state, count) = (ems.state().to_owned(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let administrator = Administrator::of_state(&state)?;
            let request = serde_json::from_value(json!({"do": "rotate-signing-key", "overlap_seconds": 600}))?;
            while !stop.load(Ordering::Relaxed) {
                count.fetch_add(1, Ordering::Relaxed);
                // The last one is not answered.
                let Ok(answer) = runtime.block_on(administrator.ask(&request)) else { break };
                told.store(answer["key"].as_u64().unwrap_or_default(), Ordering::Relaxed);
            }
            Ok(())
        });
        let deadline = Instant::now() + LIMIT;
        while count.load(Ordering::Relaxed) <= changes && Instant::now() < deadline {
            std::thread::yield_now();
        }
        ems.kill();
        stop.store(true, Ordering::Relaxed);
        match storm.join() {
            Ok(outcome) => outcome,
            Err(_) => bail!("the storm panicked"),
        }
    })?;
    Ok(told.load(Ordering::Relaxed))
}
