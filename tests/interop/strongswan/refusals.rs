//! What goes wrong has the name that the client can know, an exit code and a next step.

use crate::conditions::IKE_SA_INIT;
use crate::gateways::{
    EAP_SIDES, EAP_TUNNEL, HABIT_TUNNEL, PSK, PSK_TUNNEL, certificate_gateway, habit_gateway, psk_gateway,
};
use anyhow::{Context, Result, ensure};
use lab::pki::{Credential, KeyKind, Pki};
use lab::roadwarrior::{IKE_PROPOSALS, Network, nothing_is_left, work};
use lab::rogue::{Lie, Opening, Proof, RogueGateway};
use lab::wire::Tap;
use postern_api::FaultName;

/// Connects and expects that exit code and that name; nothing may be left behind.
pub fn refused(network: &Network, tunnel: &str, secrets: &[(&str, &str)], code: i32, name: FaultName) -> Result<()> {
    let endpoint = network.endpoint(tunnel, secrets)?;
    let said = endpoint.expect(code, &["connect", "work"])?;
    ensure!(said.contains(name.as_str()) && said.contains("Next: "), "{said}");
    let fault = work(&endpoint)?.last_fault.context("the status does not say why")?;
    ensure!(fault.name == name, "{fault}");
    nothing_is_left(network)
}

pub fn wrong_psk() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&psk_gateway())?;
    refused(&network, PSK_TUNNEL, &[("psk", "another key than the gateway's")], 4, FaultName::AuthenticationFailed)
}

pub fn no_common_suite() -> Result<()> {
    let network = Network::new()?;
    let mut settings = psk_gateway();
    settings.connections = settings.connections.replace(IKE_PROPOSALS, "aes192-sha512-modp4096");
    let _gateway = network.strongswan(&settings)?;
    refused(&network, PSK_TUNNEL, &[("psk", PSK)], 15, FaultName::ProposalMismatch)
}

pub fn wrong_identity() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&psk_gateway())?;
    let tunnel = PSK_TUNNEL.replace("[auth]", "gateway_identity = \"other.example.test\"\n[auth]");
    refused(&network, &tunnel, &[("psk", PSK)], 14, FaultName::GatewayNotTrusted)
}

pub fn refused_user() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&habit_gateway())?;
    refused(&network, HABIT_TUNNEL, &[("psk", PSK), ("password", "wrong")], 4, FaultName::AuthenticationFailed)
}

pub fn silent_gateway() -> Result<()> {
    let network = Network::new()?;
    network
        .gateway
        .shell("nft 'add table inet t; add chain inet t c { type filter hook input priority 0; policy drop; }'")?;
    let tap = Tap::open(&network.client, "wan0")?;
    refused(&network, PSK_TUNNEL, &[("psk", PSK)], 5, FaultName::GatewayUnreachable)?;
    // What ended the attempt is that it was repeated in vain, not a clock.
    let asked = tap.packets().iter().filter(|packet| packet.outgoing && packet.exchange == Some(IKE_SA_INIT)).count();
    ensure!(asked >= 3, "asked {asked} times");
    Ok(())
}

/// A gateway that proves itself with `gateway`, towards a client that trusts `pki`.
fn distrusted(pki: &Pki, gateway: &Credential) -> Result<()> {
    let network = Network::new()?;
    let mut settings = certificate_gateway(pki, gateway, EAP_SIDES, false);
    // charon would not use a certificate that has run out or is for another name of its own accord.
    settings.connections = settings.connections.replace("id = vpn.example.test", "id = \"vpn.example.test\"");
    let _gateway = network.strongswan(&settings)?;
    let secrets = [("ca.pem", &*pki.authority.certificate().pem), ("password", "Passw0rd")];
    refused(&network, EAP_TUNNEL, &secrets, 14, FaultName::GatewayNotTrusted)
}

pub fn untrusted_authority() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let (_, gateway) = pki.untrusted_gateway()?;
    distrusted(&pki, &gateway)
}

pub fn expired_certificate() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    distrusted(&pki, &pki.expired_gateway()?)
}

pub fn other_name() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let network = Network::new()?;
    let mut settings = certificate_gateway(&pki, &pki.other_gateway()?, EAP_SIDES, false);
    settings.connections = settings.connections.replace(" id = vpn.example.test }", " id = other.example.test }");
    let _gateway = network.strongswan(&settings)?;
    let secrets = [("ca.pem", &*pki.authority.certificate().pem), ("password", "Passw0rd")];
    refused(&network, EAP_TUNNEL, &secrets, 14, FaultName::GatewayNotTrusted)
}

pub fn rogue_hears_nothing() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let (_, stranger) = pki.untrusted_gateway()?;
    let lies = [
        (Proof::None, Opening::Identity),
        (Proof::None, Opening::Challenge),
        (Proof::None, Opening::Success),
        (Proof::Garbage { method: 14, octets: 72 }, Opening::Challenge),
        (Proof::PreSharedKey(b"a guess".to_vec()), Opening::Challenge),
        // A right signature of a key that nobody vouches for.
        (Proof::Signature(stranger.key_pem.clone()), Opening::Challenge),
    ];
    for (number, (proof, opening)) in lies.into_iter().enumerate() {
        let network = Network::new_numbered(number)?;
        let lie = Lie {
            identity: Some("vpn.example.test".into()),
            certificates: vec![stranger.certificate.der.clone()],
            proof,
            opening,
        };
        let rogue = RogueGateway::start(&network.gateway, "10.99.0.2".parse()?, lie)?;
        let secrets = [("ca.pem", &*pki.authority.certificate().pem), ("password", "Passw0rd")];
        let mut endpoint =
            network.endpoint(&EAP_TUNNEL.replace("[auth]", "connect_timeout = \"10s\"\n[auth]"), &secrets)?;
        let (code, stdout, stderr) = endpoint.postern(&["connect", "work"])?;
        ensure!(rogue.has_lied(), "the rogue was not asked: {stdout}{stderr}");
        ensure!(matches!(code, 1 | 14), "exit {code}: {stdout}{stderr}");
        for answer in rogue.eap_answers() {
            // Code 2 is a response, type 1 Identity (RFC 3748 §4.1, §5.1): a name and nothing else.
            ensure!(matches!(answer.as_slice(), [2, _, _, _, 1, ..]), "the rogue was told {answer:?}");
        }
        endpoint.kill();
    }
    Ok(())
}
