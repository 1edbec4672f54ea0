//! Certificates that their authority has taken back, and that are for another use.

use crate::gateways::{EAP_SIDES, EAP_TUNNEL, certificate_gateway};
use crate::refusals::refused;
use anyhow::{Context, Result, ensure};
use lab::net::{Running, until};
use lab::pki::{Authority, Contents, Credential, KeyKind, Pki};
use lab::responder::{self, Standing};
use lab::roadwarrior::{LIMIT, Network, connect, known_by, lose_compliance, wait_for, work};
use lab::strongswan::Gateway;
use postern_api::{ConnectionState, FaultName};
use std::time::{Duration, SystemTime};

fn tunnel(policy: &str) -> String {
    let keys = format!("gateway_crl_files = [\"@/crl.pem\"]\ngateway_revocation = \"{policy}\"\n[auth]");
    EAP_TUNNEL.replace("[auth]", &keys)
}

pub fn named_by_a_list() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let network = Network::new()?;
    let _gateway = network.strongswan(&certificate_gateway(&pki, &pki.gateway, EAP_SIDES, false))?;
    let list = pki.authority.revocation_list(&[&pki.gateway])?;
    let ca = &*pki.authority.certificate().pem;
    let secrets = [("ca.pem", ca), ("crl.pem", &*list), ("password", "Passw0rd")];
    refused(&network, &tunnel("soft"), &secrets, 14, FaultName::GatewayNotTrusted)
}

/// The list names another certificate: that is what a strict profile wants to see.
pub fn left_out_by_a_list() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let network = Network::new()?;
    let _gateway = network.strongswan(&certificate_gateway(&pki, &pki.gateway, EAP_SIDES, false))?;
    let list = pki.authority.revocation_list(&[&pki.user])?;
    let ca = &*pki.authority.certificate().pem;
    let secrets = [("ca.pem", ca), ("crl.pem", &*list), ("password", "Passw0rd")];
    connect(&network.endpoint(&tunnel("hard"), &secrets)?).map(drop)
}

pub fn no_list_where_one_is_demanded() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let network = Network::new()?;
    let _gateway = network.strongswan(&certificate_gateway(&pki, &pki.gateway, EAP_SIDES, false))?;
    let secrets = [("ca.pem", &*pki.authority.certificate().pem), ("password", "Passw0rd")];
    let tunnel = EAP_TUNNEL.replace("[auth]", "gateway_revocation = \"hard\"\n[auth]");
    refused(&network, &tunnel, &secrets, 14, FaultName::GatewayNotTrusted)
}

/// A user's certificate, whose extended key usage is for clients, poses as a gateway's.
pub fn for_another_use() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let network = Network::new()?;
    let mut gateway = Pki::gateway_contents();
    gateway.common_name = "a client".to_owned();
    let credential = pki.authority.user(&gateway)?;
    let _gateway = network.strongswan(&certificate_gateway(&pki, &credential, EAP_SIDES, false))?;
    let secrets = [("ca.pem", &*pki.authority.certificate().pem), ("password", "Passw0rd")];
    refused(&network, EAP_TUNNEL, &secrets, 14, FaultName::GatewayNotTrusted)
}

/// A gateway whose certificate names somebody who knows whether it was revoked.
struct Asking {
    network: Network,
    pki: Pki,
    credential: Credential,
    _gateway: Gateway,
}

impl Asking {
    fn new(names: impl FnOnce(&mut Contents)) -> Result<Self> {
        let pki = Pki::new(KeyKind::EcdsaP256)?;
        let mut contents = Pki::gateway_contents();
        names(&mut contents);
        let credential = pki.authority.gateway(&contents)?;
        let network = Network::new()?;
        let gateway = network.strongswan(&certificate_gateway(&pki, &credential, EAP_SIDES, false))?;
        Ok(Self { network, pki, credential, _gateway: gateway })
    }

    /// Names a responder, and starts it.
    fn responder(signer: impl FnOnce(&Authority) -> Result<Credential>, standing: Standing) -> Result<(Self, Running)> {
        let port = responder::OCSP_PORT;
        let this = Self::new(|contents| contents.ocsp = Some(format!("http://vpn.example.test:{port}/")))?;
        let signer = signer(&this.pki.authority)?;
        let of = (&this.credential, standing);
        let folder = this.network.folder.join("ocsp");
        let server = responder::ocsp(&this.network.gateway, &folder, &this.pki.authority, &signer, of)?;
        Ok((this, server))
    }

    /// Names a list, and has it lie there.
    fn list(revoked: impl FnOnce(&Self) -> Result<String>) -> Result<(Self, Running)> {
        let url = format!("http://vpn.example.test:{}/ca.crl", responder::LIST_PORT);
        let this = Self::new(|contents| contents.revocation_list = Some(url))?;
        let server = responder::list(&this.network.gateway, &this.network.folder.join("list"), &revoked(&this)?)?;
        Ok((this, server))
    }

    fn tunnel(policy: &str) -> String {
        EAP_TUNNEL.replace("[auth]", &format!("gateway_revocation = \"{policy}\"\n[auth]"))
    }

    fn secrets(&self) -> [(&str, &str); 2] {
        [("ca.pem", &*self.pki.authority.certificate().pem), ("password", "Passw0rd")]
    }

    fn accepted(&self, policy: &str, warned: bool) -> Result<()> {
        let given = connect(&self.network.endpoint(&Self::tunnel(policy), &self.secrets())?)?;
        let warnings: Vec<String> = given.warnings.iter().map(ToString::to_string).collect();
        let about = warnings.iter().any(|warning| warning.contains("revoked"));
        ensure!(about == warned && warnings.len() == usize::from(warned), "{warnings:?}");
        Ok(())
    }

    fn refused(&self, policy: &str) -> Result<()> {
        refused(&self.network, &Self::tunnel(policy), &self.secrets(), 14, FaultName::GatewayNotTrusted)
    }
}

/// The responder signs by a certificate that the authority gave it for this.
pub fn good_by_ocsp() -> Result<()> {
    let (asking, _server) = Asking::responder(Authority::responder, Standing::Good)?;
    asking.accepted("hard", false)
}

pub fn revoked_by_ocsp() -> Result<()> {
    let (asking, _server) = Asking::responder(Authority::responder, Standing::Revoked)?;
    asking.refused("soft")
}

/// A responder that an authority of the same name, but with another key, has made.
pub fn forged_ocsp() -> Result<()> {
    let forged = |_: &Authority| Authority::new(KeyKind::EcdsaP256, "Postern Lab CA")?.responder();
    let (asking, _server) = Asking::responder(forged, Standing::Good)?;
    asking.refused("hard")
}

/// Nobody answers at the address that the certificate names.
pub fn silent_responder() -> Result<()> {
    let asking = Asking::new(|contents| contents.ocsp = Some("http://silent.example.test:8080/".to_owned()))?;
    asking.accepted("soft", true)
}

pub fn silent_responder_where_one_is_demanded() -> Result<()> {
    let asking = Asking::new(|contents| contents.ocsp = Some("http://silent.example.test:8080/".to_owned()))?;
    asking.refused("hard")
}

pub fn named_by_a_fetched_list() -> Result<()> {
    let (asking, _server) = Asking::list(|asking| asking.pki.authority.revocation_list(&[&asking.credential]))?;
    asking.refused("soft")
}

pub fn left_out_by_a_fetched_list() -> Result<()> {
    let (asking, _server) = Asking::list(|asking| asking.pki.authority.revocation_list(&[&asking.pki.user]))?;
    asking.accepted("hard", false)
}

/// A lost tunnel left its block, in which the responder lies too: the inquiry before the next tunnel goes past it, and
/// nothing else does.
pub fn asked_past_a_block() -> Result<()> {
    let port = responder::OCSP_PORT;
    let asking = Asking::new(|contents| contents.ocsp = Some(format!("http://ocsp.example.test:{port}/")))?;
    let network = &asking.network;
    // On the gateway's inner side, in the network that the tunnel protects.
    let signer = asking.pki.authority.responder()?;
    let of = (&asking.credential, Standing::Good);
    let folder = network.folder.join("ocsp");
    let _server = responder::ocsp(&network.gateway, &folder, &asking.pki.authority, &signer, of)?;
    network.client.etc("hosts", "127.0.0.1 localhost\n10.99.0.2 vpn.example.test\n10.98.0.254 ocsp.example.test\n")?;
    network.client.shell("ip route add default via 10.99.0.2")?;
    let marker = network.folder.join("marker");
    std::fs::write(&marker, "this device is known\n")?;
    let endpoint = network.endpoint(&format!("{}{}", Asking::tunnel("hard"), known_by(&marker)), &asking.secrets())?;
    connect(&endpoint)?;
    lose_compliance(&endpoint, &marker)?;
    wait_for(&endpoint, ConnectionState::Blocked)?;
    let fetch = format!("curl -sS -o /dev/null --max-time 5 http://ocsp.example.test:{port}/");
    ensure!(network.client.shell(&fetch).is_err(), "this test could not see the block");
    std::fs::write(&marker, "this device is known again\n")?;
    // Refused is what the posture says until it is judged anew.
    until(
        "the posture to be good again",
        LIMIT,
        || Ok((endpoint.postern(&["connect", "work"])?.0 != 3).then_some(())),
    )?;
    ensure!(work(&endpoint)?.state == ConnectionState::Connected, "{}", endpoint.log());
    Ok(())
}

/// What a responder said is good for the time that it named: the next tunnel asks nobody, and the responder may be gone.
pub fn known_from_before() -> Result<()> {
    let (asking, server) = Asking::responder(Authority::responder, Standing::Good)?;
    let endpoint = asking.network.endpoint(&Asking::tunnel("hard"), &asking.secrets())?;
    connect(&endpoint)?;
    endpoint.expect(0, &["disconnect", "work"])?;
    drop(server);
    let given = connect(&endpoint)?;
    ensure!(given.warnings.is_empty(), "{:?}", given.warnings);
    Ok(())
}

/// The list that let the first tunnel come up has run out before the second, and its place is gone.
pub fn known_until_it_runs_out() -> Result<()> {
    let url = format!("http://vpn.example.test:{}/ca.crl", responder::LIST_PORT);
    let asking = Asking::new(|contents| contents.revocation_list = Some(url))?;
    let endpoint = asking.network.endpoint(&Asking::tunnel("hard"), &asking.secrets())?;
    let until_then = SystemTime::now() + Duration::from_secs(20);
    let list = asking.pki.authority.revocation_list_until(&[&asking.pki.user], until_then)?;
    let server = responder::list(&asking.network.gateway, &asking.network.folder.join("list"), &list)?;
    connect(&endpoint)?;
    endpoint.expect(0, &["disconnect", "work"])?;
    drop(server);
    connect(&endpoint).context("while the list stands")?;
    endpoint.expect(0, &["disconnect", "work"])?;
    until("the list to run out", LIMIT, || Ok((SystemTime::now() > until_then).then_some(())))?;
    endpoint.expect(14, &["connect", "work"]).map(drop)
}
