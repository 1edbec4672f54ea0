//! Two exchanges of authentication (RFC 4739): a certificate, then EAP.

use crate::certificates::TUNNEL;
use crate::gateways::certificate_gateway;
use anyhow::{Context, Result, ensure};
use lab::client::Endpoint;
use lab::net::until;
use lab::pki::{Credential, KeyKind, Pki};
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, nothing_is_left, transfer, work};
use lab::strongswan::Gateway;
use postern_api::FaultName;

/// The gateway wants both.
const BOTH: &str = "send_cert = always\nlocal { auth = pubkey\n certs = gateway.crt\n id = vpn.example.test }\n\
     remote-1 { auth = pubkey\n id = alice@example.test }\n\
     remote-2 { auth = eap-mschapv2\n id = %any\n eap_id = alice }";

/// Log lines of charon.
const BY_CERTIFICATE: &str = "authentication of 'alice@example.test' with ECDSA_WITH_SHA256_DER successful";
const BY_EAP: &str = "authentication of 'alice' with EAP successful";

struct Stage {
    network: Network,
    gateway: Gateway,
    endpoint: Endpoint,
}

impl Stage {
    /// A client that does both, with that password, and a gateway by that certificate.
    fn new(
        sides: &str,
        password: &str,
        gateway: impl FnOnce(&Pki) -> Result<Credential>,
        daemon: impl FnOnce(&mut lab::strongswan::Settings),
    ) -> Result<Self> {
        let network = Network::new()?;
        let pki = Pki::new(KeyKind::EcdsaP256)?;
        let mut settings = certificate_gateway(&pki, &gateway(&pki)?, sides, false);
        daemon(&mut settings);
        let gateway = network.strongswan(&settings)?;
        let secrets = [
            ("ca.pem", &*pki.authority.certificate().pem),
            ("alice.pem", &*pki.user.certificate.pem),
            ("alice.key", &*pki.user.key_pem),
            ("password", password),
        ];
        let both = TUNNEL.replace("\"certificate\"", "\"certificate+eap\"");
        let tunnel = format!("{both}user = \"alice\"\npassword_file = \"@/password\"\n");
        let endpoint = network.endpoint(&tunnel, &secrets)?;
        Ok(Self { network, gateway, endpoint })
    }

    fn logs(&self) -> String {
        format!("{}\n---\n{}", self.gateway.log(), self.endpoint.log())
    }

    /// Connecting ends with that code and name; `unsaid` is what the gateway must not have come to.
    fn refused(&self, code: i32, name: FaultName, unsaid: &[&str]) -> Result<()> {
        let mark = self.gateway.log().len();
        self.endpoint.expect(code, &["connect", "work"]).with_context(|| self.logs())?;
        let fault = work(&self.endpoint)?.last_fault.context("the status does not say why")?;
        ensure!(fault.name == name, "{fault}");
        let log = self.gateway.log().get(mark..).map(str::to_owned).unwrap_or_default();
        for words in unsaid {
            ensure!(!log.contains(words), "charon came to {words:?}:\n{log}");
        }
        ensure!(self.gateway.established()? == 0, "{}", self.logs());
        nothing_is_left(&self.network)
    }
}

fn good(pki: &Pki) -> Result<Credential> {
    Ok(pki.gateway.clone())
}

pub fn certificate_then_eap() -> Result<()> {
    let stage = Stage::new(BOTH, "Passw0rd", good, |_| {})?;
    connect(&stage.endpoint).with_context(|| stage.logs())?;
    let log = stage.gateway.log();
    let place = |words: &str| log.find(words).with_context(|| format!("charon does not say {words:?}:\n{log}"));
    ensure!(place(BY_CERTIFICATE)? < place("EAP method EAP_MSCHAPV2 succeeded, MSK established")?);
    place(BY_EAP)?;
    lab::ping::once(&stage.network.client, CORPORATE.parse()?, LIMIT)?;
    transfer(&stage.network, CORPORATE.parse()?, 5)?;
    stage.endpoint.expect(0, &["disconnect", "work"])?;
    nothing_is_left(&stage.network)
}

/// The certificate is good, and the second exchange fails: nothing is established.
pub fn wrong_password() -> Result<()> {
    let stage = Stage::new(BOTH, "wrong", good, |_| {})?;
    stage.refused(4, FaultName::AuthenticationFailed, &[BY_EAP, "established between"])?;
    ensure!(stage.gateway.log().contains(BY_CERTIFICATE), "the first exchange had succeeded:\n{}", stage.gateway.log());
    Ok(())
}

/// The gateway is satisfied with the certificate; the profile is not.
pub fn one_is_not_two() -> Result<()> {
    let one = "send_cert = always\nlocal { auth = pubkey\n certs = gateway.crt\n id = vpn.example.test }\n\
         remote { auth = pubkey\n id = alice@example.test }";
    let stage = Stage::new(one, "Passw0rd", good, |_| {})?;
    let (code, said, _) = stage.endpoint.postern(&["connect", "work"])?;
    ensure!(code != 0, "{said}\n{}", stage.logs());
    until("the gateway's SA to go", LIMIT, || Ok((stage.gateway.established()? == 0).then_some(())))?;
    nothing_is_left(&stage.network)
}

/// A gateway that does not announce RFC 4739 is shown neither the certificate nor a name.
pub fn not_announced() -> Result<()> {
    let stage = Stage::new(BOTH, "Passw0rd", good, |settings| settings.one_authentication = true)?;
    stage.refused(15, FaultName::ProposalMismatch, &["parsed IKE_AUTH", "alice"])
}

/// Nothing of the second exchange leaves for a gateway that was not proven in the first.
pub fn unproven_gateway() -> Result<()> {
    let stage = Stage::new(BOTH, "Passw0rd", |pki| Ok(pki.untrusted_gateway()?.1), |_| {})?;
    stage.refused(14, FaultName::GatewayNotTrusted, &["parsed IKE_AUTH request 2", "EAP"])
}
