//! EAP methods: strongSwan's own TLS and GTC, and FreeRADIUS behind it for TLS, TTLS and a password that has expired.

use crate::gateways::{HABIT_TUNNEL, PSK, certificate_gateway, habit_gateway};
use crate::refusals::refused;
use anyhow::{Context, Result, ensure};
use lab::pki::{Contents, Credential, KeyKind, Pki};
use lab::radius::{self, Radius};
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, nothing_is_left};
use lab::strongswan::Settings;
use postern_api::FaultName;

/// The login server's name, which is not the gateway's.
const LOGIN_SERVER: &str = "login.example.test";

/// A gateway with a certificate that asks for this method.
fn gateway(pki: &Pki, method: &str) -> Settings {
    let sides = format!(
        "send_cert = always\nlocal {{ auth = pubkey\n certs = gateway.crt\n id = vpn.example.test }}\n\
         remote {{ auth = {method}\n id = alice@example.test\n eap_id = %any }}"
    );
    certificate_gateway(pki, &pki.gateway, &sides, false)
}

fn tunnel(user: &str, rest: &str) -> String {
    format!(
        "gateway = \"vpn.example.test\"\ngateway_ca_files = [\"@/ca.pem\"]\n[auth]\nkind = \"eap\"\n\
         identity = \"alice@example.test\"\nuser = \"{user}\"\n{rest}"
    )
}

const WITH_CERTIFICATE: &str =
    "eap_methods = [\"tls\"]\ncertificate_file = \"@/alice.pem\"\nkey_file = \"@/alice.key\"\n";

fn secrets(pki: &Pki) -> [(&'static str, &str); 4] {
    [
        ("ca.pem", &*pki.authority.certificate().pem),
        ("alice.pem", &*pki.user.certificate.pem),
        ("alice.key", &*pki.user.key_pem),
        ("password", "Passw0rd"),
    ]
}

fn carries(network: &Network, tunnel: &str, secrets: &[(&str, &str)]) -> Result<()> {
    let endpoint = network.endpoint(tunnel, secrets)?;
    connect(&endpoint)?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT).map(drop)
}

pub fn tls() -> Result<()> {
    for kind in [KeyKind::EcdsaP256, KeyKind::Rsa2048] {
        let pki = Pki::new(kind)?;
        let network = Network::new_numbered(usize::from(kind == KeyKind::Rsa2048))?;
        let gateway = network.strongswan(&gateway(&pki, "eap-tls"))?;
        carries(&network, &tunnel("alice@example.test", WITH_CERTIFICATE), &secrets(&pki))
            .with_context(|| gateway.log())?;
        ensure!(gateway.log().contains("EAP method EAP_TLS succeeded, MSK established"), "{}", gateway.log());
    }
    Ok(())
}

/// RFC 5998: the gateway proves itself by EAP-TLS and by nothing else.
pub fn tls_alone() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let network = Network::new()?;
    let mut settings = gateway(&pki, "eap-tls");
    settings.connections = settings.connections.replace("local { auth = pubkey\n", "local { auth = eap-tls\n");
    let gateway = network.strongswan(&settings)?;
    let tunnel = tunnel("alice@example.test", WITH_CERTIFICATE).replace("[auth]", "gateway_auth = \"eap\"\n[auth]");
    carries(&network, &tunnel, &secrets(&pki)).with_context(|| gateway.log())?;
    let log = gateway.log();
    let response = log.lines().find(|line| line.contains("generating IKE_AUTH response 1 ")).unwrap_or_default();
    ensure!(response.contains("EAP/REQ") && !response.contains(" AUTH "), "{response}");
    Ok(())
}

pub fn gtc() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let network = Network::new()?;
    let mut settings = gateway(&pki, "eap-gtc");
    settings.more_plugins = "eap-gtc xauth-generic".into();
    settings.plugin_settings = "eap-gtc { backend = generic }\n".into();
    let gateway = network.strongswan(&settings)?;
    let rest = "password_file = \"@/password\"\neap_methods = [\"gtc\"]\n";
    carries(&network, &tunnel("alice", rest), &secrets(&pki)).with_context(|| gateway.log())?;
    ensure!(gateway.log().contains("EAP method EAP_GTC succeeded, no MSK established"), "{}", gateway.log());
    Ok(())
}

/// What GTC would show is not shown where the profile does not name it.
pub fn gtc_not_allowed() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let network = Network::new()?;
    let mut settings = gateway(&pki, "eap-gtc");
    settings.more_plugins = "eap-gtc xauth-generic".into();
    settings.plugin_settings = "eap-gtc { backend = generic }\n".into();
    let gateway = network.strongswan(&settings)?;
    let tunnel = tunnel("alice", "password_file = \"@/password\"\n");
    let endpoint = network.endpoint(&tunnel, &secrets(&pki))?;
    let (code, stdout, stderr) = endpoint.postern(&["connect", "work"])?;
    ensure!(code != 0, "{stdout}{stderr}");
    ensure!(gateway.log().contains("received EAP_NAK"), "{}", gateway.log());
    Ok(())
}

/// strongSwan passes EAP on to FreeRADIUS.
struct Behind {
    pki: Pki,
    server: Credential,
    network: Network,
    radius: Radius,
    gateway: lab::strongswan::Gateway,
}

const USERS: &str = "alice Cleartext-Password := \"Passw0rd\"\n\
     late Cleartext-Password := \"Passw0rd\", SMB-Account-CTRL := 131088\n";

fn behind(first: &str, tls: &str) -> Result<Behind> {
    behind_of(first, tls, |pki| gateway(pki, "eap-radius"))
}

fn behind_of(first: &str, tls: &str, gateway: impl FnOnce(&Pki) -> Settings) -> Result<Behind> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let network = Network::new()?;
    let server: Credential = pki.authority.gateway(&Contents {
        common_name: "login".to_owned(),
        hosts: vec![LOGIN_SERVER.to_owned()],
        ..Contents::default()
    })?;
    let settings =
        radius::Settings { server: &server, authority: &pki.authority.certificate().pem, first, tls, users: USERS };
    let radius = Radius::start(&network.gateway, &network.folder.join("radius"), &settings)?;
    let mut settings = gateway(&pki);
    settings.more_plugins = "eap-radius".into();
    settings.plugin_settings = radius::plugin();
    let gateway = network.strongswan(&settings)?;
    Ok(Behind { pki, server, network, radius, gateway })
}

impl Behind {
    fn carries(&self, tunnel: &str) -> Result<()> {
        carries(&self.network, tunnel, &secrets(&self.pki))
            .with_context(|| format!("{}\n{}", self.radius.log(), self.gateway.log()))
    }
}

fn login_server(rest: &str) -> String {
    format!("[auth.tls]\nserver_name = \"{LOGIN_SERVER}\"\n{rest}")
}

pub fn radius_tls_12() -> Result<()> {
    // It proposes MD5 first, which the client answers with Nak.
    let behind = behind("md5", "1.2")?;
    behind.carries(&tunnel("alice@example.test", &format!("{WITH_CERTIFICATE}{}", login_server(""))))
}

pub fn radius_tls_13() -> Result<()> {
    let behind = behind("tls", "1.3")?;
    let tls = login_server("minimum_version = \"1.3\"\n");
    behind.carries(&tunnel("alice@example.test", &format!("{WITH_CERTIFICATE}{tls}")))
}

fn ttls(inner: &str, version: &str) -> Result<()> {
    let behind = behind("ttls", version)?;
    let rest = format!(
        "password_file = \"@/password\"\neap_methods = [\"ttls\"]\n{}",
        login_server(&format!(
            "inner = \"{inner}\"\nminimum_version = \"{version}\"\nouter_identity = \"anonymous\"\n"
        ))
    );
    behind.carries(&tunnel("alice", &rest))?;
    // The name is inside; outside there is another.
    ensure!(behind.gateway.log().contains("received EAP identity 'anonymous'"), "{}", behind.gateway.log());
    ensure!(behind.radius.log().contains("Login OK: [alice"), "{}", behind.radius.log());
    Ok(())
}

pub fn radius_ttls_mschapv2() -> Result<()> {
    ttls("mschapv2", "1.2")
}

pub fn radius_ttls_pap() -> Result<()> {
    ttls("pap", "1.2")
}

pub fn radius_ttls_over_tls_13() -> Result<()> {
    ttls("mschapv2", "1.3")
}

/// As users of a directory log in at a FortiGate, whose RADIUS server ends the TLS: all that the client does there it does
/// here, and a gateway that is no FortiGate minds none of it.
pub fn fortigate_ttls() -> Result<()> {
    let behind = behind_of("ttls", "1.2", |_| {
        let mut settings = habit_gateway();
        settings.connections = settings.connections.replace("auth = eap-mschapv2", "auth = eap-radius");
        settings
    })?;
    let tls = login_server("ca_files = [\"@/ca.pem\"]\ninner = \"pap\"\n");
    let tunnel = HABIT_TUNNEL
        .replace("gateway_auth", "peer = \"fortigate\"\ngateway_auth")
        .replace("[auth]", "[fortigate]\nhost = \"laptop\"\n[auth]");
    let tunnel = format!("{tunnel}eap_methods = [\"ttls\"]\n{tls}");
    let secrets = [("psk", PSK), ("password", "Passw0rd"), ("ca.pem", &*behind.pki.authority.certificate().pem)];
    let endpoint = behind.network.endpoint(&tunnel, &secrets)?;
    let logs = || format!("{}\n{}\n{}", behind.radius.log(), behind.gateway.log(), endpoint.log());
    connect(&endpoint).with_context(logs)?;
    lab::ping::once(&behind.network.client, CORPORATE.parse()?, LIMIT)?;
    ensure!(behind.radius.log().contains("Login OK: [alice"), "{}", logs());
    // FORTICLIENT_CONNECT (0xF100), which this gateway has no name for.
    ensure!(behind.gateway.log().contains("61696"), "{}", logs());
    endpoint.expect(0, &["disconnect", "work"])?;
    nothing_is_left(&behind.network)
}

/// The login server has a good certificate, for another name than the profile's.
pub fn radius_other_server() -> Result<()> {
    let behind = behind("ttls", "1.2")?;
    let rest = "password_file = \"@/password\"\neap_methods = [\"ttls\"]\n\
                [auth.tls]\nserver_name = \"other.example.test\"\ninner = \"pap\"\n";
    refused(&behind.network, &tunnel("alice", rest), &secrets(&behind.pki), 14, FaultName::GatewayNotTrusted)?;
    ensure!(!behind.radius.log().contains("Login OK"), "{}", behind.radius.log());
    Ok(())
}

/// The login server's certificate stands on a list of its authority.
pub fn radius_revoked_server() -> Result<()> {
    let behind = behind("ttls", "1.2")?;
    let list = behind.pki.authority.revocation_list(&[&behind.server])?;
    let rest = "password_file = \"@/password\"\neap_methods = [\"ttls\"]\n".to_owned()
        + &login_server("inner = \"pap\"\ncrl_files = [\"@/crl.pem\"]\n");
    let with_list = [secrets(&behind.pki).as_slice(), &[("crl.pem", &*list)]].concat();
    refused(&behind.network, &tunnel("alice", &rest), &with_list, 14, FaultName::GatewayNotTrusted)?;
    ensure!(!behind.radius.log().contains("Login OK"), "{}", behind.radius.log());
    Ok(())
}

pub fn radius_expired_password() -> Result<()> {
    let behind = behind("mschapv2", "1.2")?;
    let endpoint =
        behind.network.endpoint(&tunnel("late", "password_file = \"@/password\"\n"), &secrets(&behind.pki))?;
    // Nobody is there to think of a new one, and the server says why it refuses.
    let said = endpoint.expect(4, &["connect", "work"])?;
    ensure!(said.contains("the password has expired"), "{said}\n{}", behind.radius.log());
    Ok(())
}
