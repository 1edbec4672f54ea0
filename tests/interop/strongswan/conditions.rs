//! What a network does to a tunnel, against a gateway whose kernel does the ESP. The scenarios here
//! and in [`nat`](crate::nat) share one guest.

use crate::gateways::{PSK, PSK_TUNNEL, psk_gateway};
use anyhow::{Context, Result, ensure};
use lab::client::Endpoint;
use lab::net::until;
use lab::ping::Series;
use lab::roadwarrior::{CORPORATE, ESP_PROPOSALS, LIMIT, Network, connect, nothing_is_left, transfer, work};
use lab::uml::Gateway;
use lab::wire::{Packet, Tap};
use postern_api::ConnectionState;
use postern_api::state::Established;
use std::sync::OnceLock;
use std::time::Duration;

/// Exchange types (RFC 7296 §3.1).
pub const IKE_SA_INIT: u8 = 34;
const CREATE_CHILD_SA: u8 = 36;
const INFORMATIONAL: u8 = 37;

/// What the scenarios share.
#[derive(Debug)]
pub struct Place {
    pub network: Network,
    pub gateway: Gateway,
}

/// Returns the place; the first call makes it.
pub fn place() -> Result<&'static Place> {
    static PLACE: OnceLock<Place> = OnceLock::new();
    if let Some(place) = PLACE.get() {
        return Ok(place);
    }
    let network = Network::new()?;
    let mut settings = psk_gateway();
    // No `encap` on the gateway's side: ESP is put into UDP because the client wants it so.
    settings.connections = settings
        .connections
        .replace(" encap = yes\n", " encap = no\n")
        .replace(ESP_PROPOSALS, "aes256gcm16-ecp384-esn")
        .replace("dpd_delay = 30s", "dpd_delay = 1s");
    let gateway = Gateway::start(&network.gateway, &network.folder.join("uml"), &settings)?;
    Ok(PLACE.get_or_init(|| Place { network, gateway }))
}

impl Place {
    /// Connects a fresh endpoint, `work`s with it, disconnects it and looks for what is left.
    pub fn connected(&self, more: &str, work: impl FnOnce(&Endpoint, &Established) -> Result<()>) -> Result<()> {
        let folder = self.network.folder.join("endpoint");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        let tunnel = format!("{PSK_TUNNEL}\n[proposals]\nesp = [\"aes256gcm16-ecp384-esn\"]\n{more}");
        let mut endpoint = self.network.endpoint(&tunnel, &[("psk", PSK)])?;
        let logs = |endpoint: &Endpoint| format!("{}\n---\n{}", endpoint.log(), self.gateway.console());
        let given = connect(&endpoint).with_context(|| logs(&endpoint))?;
        work(&endpoint, &given).with_context(|| logs(&endpoint))?;
        endpoint.expect(0, &["disconnect", "work"])?;
        until("the gateway's SAs to go", LIMIT, || Ok((self.established()? == 0).then_some(())))
            .with_context(|| logs(&endpoint))?;
        nothing_is_left(&self.network)?;
        endpoint.kill();
        Ok(())
    }

    /// Returns what charon has said since its log had `mark` octets: the guest is shared, its words are not.
    pub fn log_since(&self, mark: usize) -> String {
        self.gateway.log().get(mark..).map(str::to_owned).unwrap_or_default()
    }

    /// Returns how many IKE SAs the gateway holds.
    pub fn established(&self) -> Result<usize> {
        Ok(self.gateway.swanctl("--list-sas")?.matches("ESTABLISHED").count())
    }
}

/// Fails when one of a hundred pings is lost.
fn no_ping_is_lost(network: &Network) -> Result<()> {
    let series = Series::start(&network.client, CORPORATE.parse()?, Duration::from_millis(5))?;
    until("a hundred pings", LIMIT, || Ok((series.answered() >= 100).then_some(())))?;
    let tally = series.finish()?;
    ensure!(tally.sent == tally.answered, "pings were lost: {tally:?}");
    Ok(())
}

/// Returns the messages of that exchange that `way` lets through.
fn messages(tap: &Tap, exchange: u8, way: impl Fn(&Packet) -> bool) -> usize {
    tap.packets().iter().filter(|packet| packet.exchange == Some(exchange) && way(packet)).count()
}

pub fn weather() -> Result<()> {
    let place = place()?;
    let bad = "loss 5% delay 5ms 5ms reorder 20% 50% duplicate 5%";
    lab::weather::begin(place.gateway.guest(), bad, bad)?;
    place.connected("", |_, _| {
        transfer(&place.network, CORPORATE.parse()?, 2)?;
        // What the network sent twice reached the gateway's kernel twice, and was taken once.
        let states = place.gateway.shell("ip -s xfrm state")?;
        let counts = states.split(" replay ").skip(1).filter_map(|rest| rest.split_whitespace().next());
        let replayed: u64 = counts.filter_map(|count| count.parse::<u64>().ok()).sum();
        ensure!(replayed > 0, "nothing came twice: {states}");
        let toll = lab::weather::end(place.gateway.guest())?;
        ensure!(toll.lost_in > 10 && toll.lost_out > 10, "there was no weather: {toll:?}");
        no_ping_is_lost(&place.network)
    })
}

/// Data through 1 % loss and reordering both ways while the client renews its CHILD SA every 20 s; for
/// as long as `tests/soak data` says, else once.
pub fn data_flows_on() -> Result<()> {
    let place = place()?;
    let bad = "loss 1% delay 2ms 1ms reorder 25% 50%";
    place.connected("esp_lifetime = \"20s\"\n", |endpoint, _| {
        lab::weather::begin(place.gateway.guest(), bad, bad)?;
        let renewals = || place.gateway.log().matches("inbound CHILD_SA net").count();
        let (start, soak) = (std::time::Instant::now(), lab::scenario::soak());
        let before = renewals();
        let memory = lab::hostile::MemoryWatch::start(endpoint.network_process()?)?;
        loop {
            // Both ways, and what arrives has the right checksum.
            transfer(&place.network, CORPORATE.parse()?, 2)?;
            if start.elapsed() >= soak {
                break;
            }
        }
        let gained = memory.gained()?;
        ensure!(gained < 8 * 1024, "the network process gained {gained} kB");
        let due = usize::try_from(start.elapsed().as_secs() / 40)?;
        ensure!(renewals() >= before + due, "{} renewals in {:?}", renewals() - before, start.elapsed());
        let toll = lab::weather::end(place.gateway.guest())?;
        ensure!(toll.lost_in > 0 && toll.lost_out > 0, "there was no weather: {toll:?}");
        ensure!(work(endpoint)?.state == ConnectionState::Connected);
        no_ping_is_lost(&place.network)
    })
}

/// Both sides begin to renew the same SA before either hears of the other's wish. `lifetime` makes
/// the client do it, `rekey` the gateway, and `crossed` is what the gateway then says.
fn crossing(lifetime: &str, rekey: &str, crossed: &str) -> Result<()> {
    let place = place()?;
    place.connected(&format!("{lifetime}\n"), |endpoint, _| {
        let tap = Tap::open(&place.network.client, "wan0")?;
        let start = place.gateway.log().len();
        // Each waits for its answers: several make enough packets for some of them to be lost soon.
        let series = || Series::start(&place.network.client, CORPORATE.parse()?, Duration::from_millis(20));
        let series = (0..8).map(|_| series()).collect::<Result<Vec<_>>>()?;
        // The client's request is so long on its way that the gateway begins in the meantime.
        let bad = "loss 3% duplicate 5%";
        lab::weather::begin(place.gateway.guest(), bad, &format!("{bad} delay 600ms 20ms"))?;
        let mut seen = 0;
        // Whether they do is chance, each time anew.
        until("renewals that cross", Duration::from_secs(240), || {
            let asked = messages(&tap, CREATE_CHILD_SA, |packet| packet.outgoing && !packet.response);
            if asked > seen {
                seen = asked;
                place.gateway.swanctl(rekey)?;
            }
            if !place.log_since(start).contains(crossed) {
                return Ok(None);
            }
            let toll = lab::weather::toll(place.gateway.guest())?;
            Ok((toll.lost_in + toll.lost_out > 0).then_some(()))
        })?;
        lab::weather::end(place.gateway.guest())?;
        let answered = || series.iter().map(Series::answered).sum::<u64>();
        let mark = answered();
        until("pings after the weather", LIMIT, || Ok((answered() > mark + 50).then_some(())))?;
        series.into_iter().try_for_each(|one| one.finish().map(drop))?;
        // What lost against the other's renewal is gone; one of each is left, and carries.
        until("one IKE SA and one CHILD SA", LIMIT, || {
            let list = place.gateway.swanctl("--list-sas")?;
            Ok((list.matches("ESTABLISHED").count() == 1 && list.matches("INSTALLED").count() == 1).then_some(()))
        })?;
        ensure!(work(endpoint)?.state == ConnectionState::Connected);
        transfer(&place.network, CORPORATE.parse()?, 2)
    })
}

pub fn crossing_child() -> Result<()> {
    crossing("esp_lifetime = \"12s\"", "--rekey --child net", "CHILD_REKEY collision")
}

pub fn crossing_ike() -> Result<()> {
    // A tenth of it is left once it is due, for a request that is lost and its repetition too.
    crossing("ike_lifetime = \"20s\"", "--rekey --ike psk", "IKE_REKEY collision")
}

/// Each side in its turn is the one that asks first, for whoever is asked hears that the other lives. The gateway asks
/// after a second.
pub fn liveness() -> Result<()> {
    for (ours, asking, answered) in [
        ("60s", "generating INFORMATIONAL request", "parsed INFORMATIONAL response"),
        ("1s", "parsed INFORMATIONAL request", "generating INFORMATIONAL response"),
    ] {
        let place = place()?;
        let start = place.gateway.log().len();
        place.connected(&format!("[carrier]\nliveness = \"{ours}\"\n"), |endpoint, _| {
            let tap = Tap::open(&place.network.client, "wan0")?;
            until("two liveness checks and their answers", LIMIT, || {
                let log = place.log_since(start);
                let told = |words: &str| log.matches(words).count() >= 2;
                let seen = [true, false]
                    .iter()
                    .all(|way| messages(&tap, INFORMATIONAL, |packet| packet.outgoing == *way) >= 2);
                Ok((told(asking) && told(answered) && seen).then_some(()))
            })?;
            ensure!(work(endpoint)?.state == ConnectionState::Connected);
            ensure!(place.established()? == 1);
            Ok(())
        })?;
    }
    Ok(())
}
