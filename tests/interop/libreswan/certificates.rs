//! Certificates on both sides; messages too long for one datagram.

use crate::gateways::{CERTIFICATE_TUNNEL, certificate_gateway, certificate_secrets};
use crate::room::Play;
use anyhow::{Result, ensure};
use lab::pki::{KeyKind, Pki};
use lab::roadwarrior::{CORPORATE, transfer};
use lab::wire::Tap;

/// Both sides prove themselves by certificates of one kind; `authby` and `by` are libreswan's words
/// for the way in its configuration and in its log (how it proves itself, how the client did).
fn certificates(kind: KeyKind, authby: &str, by: &str) -> Result<()> {
    let pki = Pki::new(kind)?;
    let play = Play::new(&certificate_gateway(&pki, &pki.gateway, &[("authby", authby)]))?;
    play.connected(CERTIFICATE_TUNNEL, &certificate_secrets(&pki), |_, _| {
        let log = play.gateway.log();
        let line = log.lines().find(|line| line.contains("authenticated peer ")).unwrap_or_default();
        ensure!(line.contains(by), "pluto does not say {by:?}: {line:?}\n{log}");
        transfer(play.network, CORPORATE.parse()?, 10)
    })
}

pub fn rsa_method_1() -> Result<()> {
    certificates(KeyKind::Rsa2048, "rsa-sha1", "RSA with SHA1")
}

pub fn rsa_rfc_7427() -> Result<()> {
    certificates(KeyKind::Rsa2048, "rsasig", "RSA")
}

pub fn p256() -> Result<()> {
    certificates(KeyKind::EcdsaP256, "ecdsa", "ECDSA with SHA2")
}

pub fn p384() -> Result<()> {
    certificates(KeyKind::EcdsaP384, "ecdsa", "ECDSA with SHA2")
}

pub fn fragments() -> Result<()> {
    let pki = Pki::new(KeyKind::Rsa2048)?;
    let changes = [("authby", "rsasig"), ("fragmentation", "force")];
    let play = Play::new(&certificate_gateway(&pki, &pki.gateway, &changes))?;
    let tap = Tap::open(&play.network.client, "wan0")?;
    play.connected(CERTIFICATE_TUNNEL, &certificate_secrets(&pki), |_, _| {
        // Payload type 53 is the encrypted fragment (RFC 7383 §2.5).
        for outgoing in [true, false] {
            let count = tap
                .packets()
                .iter()
                .filter(|packet| packet.outgoing == outgoing && packet.first_payload == Some(53))
                .count();
            ensure!(count >= 2, "{count} fragments, outgoing {outgoing}: {:?}", tap.packets());
        }
        transfer(play.network, CORPORATE.parse()?, 5)
    })
}
