//! A hostile gateway and a hostile network, played by `tests/rogue/rogue.py` with an IKEv2 of its
//! own. The first scenario shows that its IKEv2 is a good one: what is refused after that is refused
//! for what it does.

use crate::gateways::{EAP_SIDES, EAP_TUNNEL, HABIT_TUNNEL, PSK, PSK_TUNNEL, certificate_gateway, psk_gateway};
use anyhow::{Context, Result, ensure};
use lab::client::Endpoint;
use lab::hostile::{MemoryWatch, Rogue};
use lab::pki::{KeyKind, Pki};
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, nothing_is_left, work};
use lab::strongswan::{Gateway, Settings};
use postern_api::{ConnectionState, FaultName};

/// Memory that the network process may gain under any flood, in kB.
const MOST_GAINED: u64 = 16 * 1024;

fn rogue(network: &Network, behaviour: &str, arguments: &[&str]) -> Result<Rogue> {
    Rogue::start(&network.gateway, &network.folder, behaviour, arguments)
}

/// Makes the endpoint for a tunnel that gives up after ten seconds.
fn endpoint(network: &Network, tunnel: &str, secrets: &[(&str, &str)]) -> Result<Endpoint> {
    network.endpoint(&tunnel.replace("[auth]", "connect_timeout = \"10s\"\n[auth]"), secrets)
}

/// A rogue that asks for EAP: the client must refuse, and must have told an identity at most.
fn hears_an_identity_at_most(behaviour: &str, arguments: &[&str], pki: Option<&Pki>) -> Result<()> {
    let fresh;
    let pki = match pki {
        Some(pki) => pki,
        None => {
            fresh = Pki::new(KeyKind::EcdsaP256)?;
            &fresh
        }
    };
    let profiles = [
        (EAP_TUNNEL, [("ca.pem", &*pki.authority.certificate().pem), ("password", "Passw0rd")]),
        (HABIT_TUNNEL, [("psk", PSK), ("password", "Passw0rd")]),
    ];
    for (number, (tunnel, secrets)) in profiles.iter().enumerate() {
        // Whoever has the key is the gateway where a key is what the profile wants.
        if *tunnel == HABIT_TUNNEL && arguments.contains(&PSK) {
            continue;
        }
        let network = Network::new_numbered(number)?;
        let rogue = rogue(&network, behaviour, arguments)?;
        let mut endpoint = endpoint(&network, tunnel, secrets)?;
        let (code, stdout, stderr) = endpoint.postern(&["connect", "work"])?;
        ensure!(!rogue.heard("asked").is_empty(), "the rogue was not asked: {stdout}{stderr}");
        ensure!(matches!(code, 1 | 14), "exit {code}: {stdout}{stderr}");
        ensure!(work(&endpoint)?.established.is_none());
        for answer in rogue.eap_answers()? {
            // Code 2 is a response, type 1 Identity (RFC 3748 §4.1, §5.1): a name and nothing else.
            ensure!(matches!(answer.as_slice(), [2, _, _, _, 1, ..]), "the rogue was told {answer:?}");
        }
        endpoint.kill();
    }
    Ok(())
}

pub fn asks_without_proof() -> Result<()> {
    hears_an_identity_at_most("asks-without-proof", &[], None)
}

pub fn early_challenge() -> Result<()> {
    hears_an_identity_at_most("early-challenge", &[], None)
}

pub fn early_success() -> Result<()> {
    hears_an_identity_at_most("early-success", &[], None)
}

pub fn early_five_octets() -> Result<()> {
    hears_an_identity_at_most("early-five-octet-success", &[], None)
}

pub fn proves_by_key() -> Result<()> {
    hears_an_identity_at_most("proves-by-key", &["--psk", PSK], None)
}

pub fn exponent_one() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("ca.pem"), &pki.authority.certificate().pem)?;
    std::fs::write(folder.path().join("ca.key"), pki.authority.key_pem())?;
    hears_an_identity_at_most("exponent-one", &["--folder", &folder.path().to_string_lossy()], Some(&pki))
}

pub fn oversized_certificates() -> Result<()> {
    let network = Network::new()?;
    let rogue = rogue(&network, "oversized-certificates", &[])?;
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let secrets = [("ca.pem", &*pki.authority.certificate().pem), ("password", "Passw0rd")];
    let mut endpoint = endpoint(&network, EAP_TUNNEL, &secrets)?;
    let memory = watch_network(&mut endpoint)?;
    let (code, stdout, stderr) = endpoint.postern(&["connect", "work"])?;
    ensure!(!rogue.heard("asked").is_empty() && code != 0, "exit {code}: {stdout}{stderr}");
    let gained = memory.gained()?;
    ensure!(gained < MOST_GAINED, "the network process gained {gained} kB");
    ensure!(rogue.eap_answers()?.is_empty(), "the rogue was answered");
    nothing_is_left(&network)
}

/// Watches the memory of the network process.
fn watch_network(endpoint: &mut Endpoint) -> Result<MemoryWatch> {
    MemoryWatch::start(endpoint.network_process()?)
}

pub fn honest() -> Result<()> {
    let network = Network::new()?;
    let rogue = rogue(&network, "honest", &["--psk", PSK])?;
    let endpoint = endpoint(&network, PSK_TUNNEL, &[("psk", PSK)])?;
    let given = connect(&endpoint)?;
    ensure!(given.addresses == ["10.97.0.9".parse::<std::net::IpAddr>()?], "{given:?}");
    rogue.wait_for("authenticated")?;
    endpoint.expect(0, &["disconnect", "work"])?;
    nothing_is_left(&network)
}

/// A flood after an SA stands: it goes on standing, the client still answers what is asked under
/// the right keys, and its memory does not grow.
fn stands_a_flood(behaviour: &str) -> Result<()> {
    let network = Network::new()?;
    let rogue = rogue(&network, behaviour, &["--psk", PSK])?;
    let mut endpoint = endpoint(&network, PSK_TUNNEL, &[("psk", PSK)])?;
    let memory = watch_network(&mut endpoint)?;
    connect(&endpoint)?;
    rogue.wait_for("flooded")?;
    rogue.wait_for("response").with_context(|| endpoint.log())?;
    ensure!(work(&endpoint)?.state == ConnectionState::Connected, "{}", endpoint.log());
    let gained = memory.gained()?;
    ensure!(gained < MOST_GAINED, "the network process gained {gained} kB");
    endpoint.expect(0, &["disconnect", "work"])?;
    nothing_is_left(&network)
}

pub fn fragment_flood() -> Result<()> {
    stands_a_flood("fragment-flood")
}

pub fn unprotected_flood() -> Result<()> {
    stands_a_flood("unprotected-flood")
}

/// The rogue in front of a strongSwan gateway, which stands where the corporate host is.
fn in_front(network: &Network, behaviour: &str, settings: &Settings) -> Result<(Gateway, Rogue)> {
    let gateway = Gateway::start(&network.corporate, &network.folder.join("strongswan"), settings)?;
    let rogue = rogue(network, behaviour, &["--to", CORPORATE])?;
    Ok((gateway, rogue))
}

/// The client comes up in spite of what the network does, `times` times one after the other.
fn comes_up_all_the_same(behaviour: &str, done: &str, times: usize) -> Result<()> {
    let network = Network::new()?;
    let (gateway, rogue) = in_front(&network, behaviour, &psk_gateway())?;
    let endpoint = endpoint(&network, PSK_TUNNEL, &[("psk", PSK)])?;
    for _ in 0..times {
        connect(&endpoint).with_context(|| gateway.log())?;
        lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
        endpoint.expect(0, &["disconnect", "work"])?;
    }
    rogue.wait_for(done)?;
    nothing_is_left(&network)
}

pub fn refuses_first() -> Result<()> {
    comes_up_all_the_same("refuses-first", "refused", 1)
}

pub fn answers_first() -> Result<()> {
    comes_up_all_the_same("answers-first", "impersonated", 1)
}

pub fn asks_for_cookies() -> Result<()> {
    comes_up_all_the_same("asks-for-cookies", "asked", 1)
}

pub fn spoofs_refusals() -> Result<()> {
    comes_up_all_the_same("spoofs-refusals", "spoofed", 1)
}

pub fn unreachable() -> Result<()> {
    comes_up_all_the_same("unreachable", "unreachable", 1)
}

pub fn reflects() -> Result<()> {
    comes_up_all_the_same("reflects", "reflected", 1)
}

pub fn replays() -> Result<()> {
    comes_up_all_the_same("replays", "replayed", 2)
}

/// The network takes something out of IKE_SA_INIT, which AUTH covers: the gateway is not believed.
fn strips(behaviour: &str, code: i32, name: FaultName) -> Result<()> {
    let network = Network::new()?;
    let pki = Pki::new(KeyKind::Rsa2048)?;
    let settings = certificate_gateway(&pki, &pki.gateway, EAP_SIDES, false);
    let (gateway, rogue) = in_front(&network, behaviour, &settings)?;
    let secrets = [("ca.pem", &*pki.authority.certificate().pem), ("password", "Passw0rd")];
    let endpoint = endpoint(&network, EAP_TUNNEL, &secrets)?;
    let said = endpoint.expect(code, &["connect", "work"]).with_context(|| gateway.log())?;
    ensure!(said.contains(name.as_str()), "{said}");
    ensure!(!rogue.heard("stripped").is_empty(), "nothing was stripped");
    nothing_is_left(&network)
}

pub fn strips_nat_detection() -> Result<()> {
    // A gateway that seems to want ESP outside UDP is refused before its proof is asked for.
    strips("strips-nat-detection", 1, FaultName::PeerMisbehaved)
}

pub fn strips_fragmentation() -> Result<()> {
    strips("strips-fragmentation", 14, FaultName::GatewayNotTrusted)
}

pub fn strips_hashes() -> Result<()> {
    strips("strips-hashes", 14, FaultName::GatewayNotTrusted)
}
