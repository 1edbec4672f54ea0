//! Logging in at strongSwan, and at a rogue, with every kind of credential: the session alone, without a tunnel.

use anyhow::{Context, Result, bail, ensure};
use ike_client::session::{CloseCause, Configuration, DistrustReason};
use lab::handshake::{Credentials, Login, log_in};
use lab::net::{Host, wire};
use lab::pki::{Credential, GATEWAY_NAME, KeyKind, Pki, USER_MAIL};
use lab::roadwarrior::{ESP_PROPOSALS, IKE_PROPOSALS, POOLS};
use lab::rogue::{Lie, Opening, Proof, RogueGateway};
use lab::scenario::{self, Scenario};
use lab::strongswan::{Gateway, Settings};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

const SCENARIOS: &[Scenario] = &[
    ("handshake strongswan: certificates on both sides by RFC 7427", certificates_by_rfc_7427),
    ("handshake strongswan: certificates on both sides by methods 1, 9 and 10", certificates_by_old_methods),
    ("handshake strongswan: a gateway's certificate and eap-mschapv2", certificate_and_eap),
    ("handshake strongswan: a pre-shared key and eap-mschapv2", psk_and_eap),
    ("handshake strongswan: a pinned key stands in place of an authority", pinned_key),
    ("handshake strongswan: a refused password and a refused certificate", refused_credentials),
    ("handshake strongswan: expired, untrusted and foreign gateways are not trusted", bad_gateways),
    ("handshake rogue: no EAP answer before IDr and AUTH verify", rogue_hears_no_eap_answer),
];

fn main() -> ExitCode {
    scenario::main(SCENARIOS)
}

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 99, 0, 1));
const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 99, 0, 2));
const PSK: &str = "correct horse battery staple";
const PASSWORD: &str = "Pass w\u{f6}rd";

fn hosts() -> Result<(Host, Host)> {
    let (client, gateway) = (Host::new("client")?, Host::new("gateway")?);
    wire((&client, "wan0", "10.99.0.1/24"), (&gateway, "wan0", "10.99.0.2/24"))?;
    // strongSwan installs no policy for a network in which it has no address.
    gateway.shell("ip address add 10.98.0.254/24 dev lo")?;
    Ok((client, gateway))
}

fn connection(name: &str, local: &str, remote: &str) -> String {
    format!(
        "{name} {{\n version = 2\n pools = p4\n proposals = {IKE_PROPOSALS}\n unique = never\n send_cert = ifasked\n \
         children {{ net {{\n local_ts = 10.98.0.0/24\n esp_proposals = {ESP_PROPOSALS}\n }} }}\n \
         local {{\n {local}\n }}\n remote {{\n {remote}\n }}\n}}\n"
    )
}

/// A gateway with this certificate, that takes users by certificate and by EAP.
fn settings(pki: &Pki, server: &Credential) -> Settings {
    let local = format!("auth = pubkey\n certs = server.crt\n id = {GATEWAY_NAME}");
    let by_certificate = connection("certificate", &local, &format!("auth = pubkey\n id = {USER_MAIL}"));
    let by_eap = connection("eap", &local, "auth = eap-mschapv2\n id = %any\n eap_id = %any");
    let mut files = vec![pki.authority.strongswan_file("ca")];
    files.extend(server.strongswan_files("server"));
    Settings {
        connections: by_certificate + &by_eap,
        pools: POOLS.into(),
        secrets: format!("eap-alice {{ id = alice\n secret = \"{PASSWORD}\" }}"),
        files,
        ..Settings::default()
    }
}

fn start(gateway: &Host, name: &str, settings: &Settings) -> Result<Gateway> {
    Gateway::start(gateway, &Path::new("/run/lab").join(name), settings)
}

fn configuration(gateway_auth: &Value, client_auth: &Value, local: Option<&str>) -> Result<Configuration> {
    let mut configuration: Configuration = serde_json::from_value(json!({
        "gateway_name": GATEWAY_NAME,
        "gateway_auth": gateway_auth,
        "client_auth": client_auth,
        "ike_suites": ["aes256gcm16-prfsha384-ecp384"],
        "esp_suites": ["aes256gcm16"],
    }))?;
    configuration.local_identity = local.map(str::parse).transpose()?;
    Ok(configuration)
}

fn trusting(pki: &Pki) -> Value {
    json!({ "method": "certificate", "anchors": [pki.authority.certificate().der], "allow_rsa_sha1": true })
}

fn by_certificate(user: &Credential) -> Value {
    json!({ "method": "certificate", "chain": [user.certificate.der] })
}

fn by_eap() -> Value {
    json!({ "method": "eap" })
}

fn keyed(user: &Credential) -> Credentials {
    Credentials { key_pem: Some(user.key_pem.clone()), ..Credentials::default() }
}

fn alice(password: &str) -> Credentials {
    Credentials { user: Some(("alice".into(), password.into())), psk: Some(PSK.into()), ..Credentials::default() }
}

fn established(login: Login, gateway: &Gateway) -> Result<Login> {
    match &login.outcome {
        Ok(established) if established.addresses.len() == 1 => Ok(login),
        other => bail!("{other:?}\n{}", gateway.log()),
    }
}

fn both_certificates(classic_signatures: bool, methods: [u8; 3]) -> Result<()> {
    let (client, server) = hosts()?;
    for (kind, method) in KeyKind::ALL.into_iter().zip(methods) {
        let pki = Pki::new(kind)?;
        let settings = Settings { classic_signatures, ..settings(&pki, &pki.gateway) };
        let gateway = start(&server, &format!("{kind:?}"), &settings)?;
        let configuration = configuration(&trusting(&pki), &by_certificate(&pki.user), Some(USER_MAIL))?;
        let login = log_in(&client, CLIENT, SERVER, configuration, &keyed(&pki.user))?;
        let login = established(login, &gateway).with_context(|| format!("{kind:?}"))?;
        ensure!(login.signed_by == Some(method), "{kind:?} signed by {:?}", login.signed_by);
    }
    Ok(())
}

fn certificates_by_rfc_7427() -> Result<()> {
    both_certificates(false, [14, 14, 14])
}

fn certificates_by_old_methods() -> Result<()> {
    both_certificates(true, [1, 9, 10])
}

fn certificate_and_eap() -> Result<()> {
    let (client, server) = hosts()?;
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let gateway = start(&server, "eap", &settings(&pki, &pki.gateway))?;
    let login = log_in(&client, CLIENT, SERVER, configuration(&trusting(&pki), &by_eap(), None)?, &alice(PASSWORD))?;
    ensure!(established(login, &gateway)?.password_asked);
    Ok(())
}

fn psk_gateway() -> Settings {
    let local = format!("auth = psk\n id = {GATEWAY_NAME}");
    Settings {
        connections: connection("habit", &local, "auth = eap-mschapv2\n id = %any\n eap_id = %any"),
        pools: POOLS.into(),
        secrets: format!(
            "ike-psk {{ id-1 = {GATEWAY_NAME}\n secret = \"{PSK}\" }}\neap-alice {{ id = alice\n secret = \"{PASSWORD}\" }}"
        ),
        ..Settings::default()
    }
}

fn psk_and_eap() -> Result<()> {
    let (client, server) = hosts()?;
    let gateway = start(&server, "habit", &psk_gateway())?;
    let by_psk = json!({ "method": "pre-shared-key" });
    let log_in_with = |credentials: &Credentials| {
        log_in(&client, CLIENT, SERVER, configuration(&by_psk, &by_eap(), None)?, credentials)
    };
    established(log_in_with(&alice(PASSWORD))?, &gateway)?;
    // Whoever does not know the key is no gateway, and gets no name and no password.
    let other_key = Credentials { psk: Some("another key of the same length".into()), ..alice(PASSWORD) };
    let login = log_in_with(&other_key)?;
    ensure!(!login.password_asked);
    ensure!(distrust(&login)? == &DistrustReason::ProofWrong, "{:?}", login.outcome);
    Ok(())
}

fn pinned_key() -> Result<()> {
    let (client, server) = hosts()?;
    let pki = Pki::new(KeyKind::EcdsaP384)?;
    let gateway = start(&server, "pinned", &settings(&pki, &pki.gateway))?;
    let log_in_with = |pin: &[u8]| {
        let pinned = json!({ "method": "certificate", "anchors": [], "spki_pins": [pin] });
        let mut configuration = configuration(&pinned, &by_eap(), None)?;
        configuration.gateway_name = "10.99.0.77".into();
        log_in(&client, CLIENT, SERVER, configuration, &alice(PASSWORD))
    };
    established(log_in_with(&lab::pki::spki_sha256(&pki.gateway.certificate.der)?)?, &gateway)?;
    let login = log_in_with(&[7; 32])?;
    ensure!(matches!(distrust(&login)?, DistrustReason::Certificate { .. }), "{:?}", login.outcome);
    Ok(())
}

fn refused_credentials() -> Result<()> {
    let (client, server) = hosts()?;
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let _gateway = start(&server, "refusing", &settings(&pki, &pki.gateway))?;
    let eap = configuration(&trusting(&pki), &by_eap(), None)?;
    let stranger = Pki::new(KeyKind::EcdsaP256)?.user;
    let certificate = configuration(&trusting(&pki), &by_certificate(&stranger), Some(USER_MAIL))?;
    for (configuration, credentials) in [(eap, alice("wrong")), (certificate, keyed(&stranger))] {
        let login = log_in(&client, CLIENT, SERVER, configuration, &credentials)?;
        ensure!(matches!(login.outcome, Err(CloseCause::AuthenticationFailed { .. })), "{:?}", login.outcome);
    }
    Ok(())
}

fn bad_gateways() -> Result<()> {
    let (client, server) = hosts()?;
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    for (name, credential, word) in [
        ("expired", pki.expired_gateway()?, "ran out"),
        ("other", pki.other_gateway()?, "other.example.test"),
        ("untrusted", pki.untrusted_gateway()?.1, "no configured authority"),
    ] {
        let mut settings = settings(&pki, &credential);
        if name == "other" {
            settings.connections = settings.connections.replace(GATEWAY_NAME, "other.example.test");
        }
        let gateway = start(&server, name, &settings)?;
        let configuration = configuration(&trusting(&pki), &by_eap(), None)?;
        let login = log_in(&client, CLIENT, SERVER, configuration, &alice(PASSWORD))?;
        ensure!(!login.password_asked, "{name}");
        match distrust(&login).with_context(|| gateway.log())? {
            DistrustReason::Certificate { error } if error.contains(word) => {}
            other => bail!("{name}: {other:?}"),
        }
    }
    Ok(())
}

fn distrust(login: &Login) -> Result<&DistrustReason> {
    match &login.outcome {
        Err(CloseCause::GatewayNotTrusted { why }) => Ok(why),
        other => bail!("{other:?}"),
    }
}

fn rogue_hears_no_eap_answer() -> Result<()> {
    let (client, _) = hosts()?;
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let by_psk = json!({ "method": "pre-shared-key" });
    let named = |proof| Lie { identity: Some(GATEWAY_NAME.into()), proof, ..Lie::default() };
    let signed = |credential: &Credential, certificate: &Credential| Lie {
        certificates: vec![certificate.certificate.der.clone()],
        ..named(Proof::Signature(credential.key_pem.clone()))
    };
    let lies = [
        ("nothing", by_psk.clone(), Lie::default()),
        ("no AUTH", by_psk.clone(), named(Proof::None)),
        ("garbage", by_psk.clone(), named(Proof::Garbage { method: 2, octets: 48 })),
        ("a guessed key", by_psk, named(Proof::PreSharedKey(b"guessed".to_vec()))),
        ("nothing for a certificate", trusting(&pki), Lie::default()),
        ("a key for a certificate", trusting(&pki), named(Proof::PreSharedKey(PSK.into()))),
        ("NULL authentication", trusting(&pki), named(Proof::Garbage { method: 13, octets: 32 })),
        ("an unknown authority", trusting(&pki), {
            let stranger = pki.untrusted_gateway()?.1;
            signed(&stranger, &stranger)
        }),
        ("a stolen certificate", trusting(&pki), signed(&pki.user, &pki.gateway)),
        ("a user's certificate", trusting(&pki), signed(&pki.user, &pki.user)),
        ("another gateway's", trusting(&pki), {
            let other = pki.other_gateway()?;
            signed(&other, &other)
        }),
    ];
    for (index, (name, gateway_auth, lie)) in lies.into_iter().enumerate() {
        for (turn, opening) in [Opening::Identity, Opening::Challenge, Opening::Success].into_iter().enumerate() {
            let number = index * 3 + turn;
            let host = Host::new(&format!("rogue{number}"))?;
            let network = format!("10.{}.{}", 100 + number / 200, number % 200);
            let (near, far) = (format!("{network}.1/24"), format!("{network}.2/24"));
            wire((&client, &format!("w{number}"), &near), (&host, "w0", &far))?;
            let address: IpAddr = format!("{network}.2").parse()?;
            let rogue = RogueGateway::start(&host, address, Lie { opening, ..lie.clone() })?;
            let configuration = configuration(&gateway_auth, &by_eap(), Some(USER_MAIL))?;
            let login = log_in(&client, format!("{network}.1").parse()?, address, configuration, &alice(PASSWORD))?;
            distrust(&login).with_context(|| format!("{name}, {opening:?}"))?;
            ensure!(rogue.has_lied(), "{name}: the lie was never told");
            ensure!(!login.password_asked, "{name}, {opening:?}: the password was asked for");
            let answers = rogue.eap_answers();
            ensure!(answers.is_empty(), "{name}, {opening:?}: EAP answers left: {answers:02x?}");
        }
    }
    Ok(())
}
