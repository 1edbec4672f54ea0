//! Measures how a tunnel comes about: ours and strongSwan's own initiator in turn, against the same
//! gateway, for each way to log in, from the start of the command to the first ping answered. Ours looks
//! at the system first, for a rule of the tunnel's own asks for a file. Then the core alone, two sides back to back in memory. It asserts
//! nothing: on a noisy machine only the ratios within one run say something.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use ike_client::crypto::Secret;
use ike_client::random::SeededRandom;
use ike_client::session::{Answer, Configuration, Event, LocalSocket, Request, SaKind, Session};
use ike_client::time::Timestamp;
use ike_client::transport::{Packet, udp};
use lab::gateway::responder::Now;
use lab::gateway::settings::{Credentials, Settings as GatewaySettings};
use lab::gateway::{Path, Responder};
use lab::net::until;
use lab::ping;
use lab::pki::{KeyKind, Pki};
use lab::roadwarrior::{CORPORATE, LIMIT, Network, POOLS, known_by};
use lab::scenario;
use lab::strongswan::{Gateway, Settings};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const PSK: &str = "correct horse battery staple";
/// What both initiators offer, and the gateway takes.
const IKE: &str = "chacha20poly1305-prfsha256-x25519";
/// Before each of them starts the machine comes to rest: the service looks at what the other took down.
const REST: Duration = Duration::from_millis(700);
const UNIX_NOW: u64 = 1_790_000_000;
const CLIENT: [u8; 4] = [192, 0, 2, 10];
const GATEWAY: [u8; 4] = [192, 0, 2, 1];

/// Reports how long it takes to set tunnels up; asserts nothing.
#[derive(Parser)]
#[command(name = "bench-setup")]
struct Arguments {
    /// One JSON object a line: {"measure", "system", "value", "unit"}.
    #[arg(long)]
    json: bool,
    /// How often each is measured; medians are reported.
    #[arg(long, default_value_t = 11)]
    rounds: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match scenario::alone(|| measure(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the bench failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints one figure.
fn report(arguments: &Arguments, measure: &str, system: &str, value: f64, unit: &str) {
    if arguments.json {
        println!("{}", serde_json::json!({"measure": measure, "system": system, "value": value, "unit": unit}));
    } else {
        println!("{measure:<56} {system:<34} {value:>10.2} {unit}");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs something and returns how many milliseconds it took.
fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

/// One way to log in, as the gateway, strongSwan's initiator and ours are told.
struct Login {
    name: &'static str,
    /// The gateway's `local` and `remote`.
    sides: &'static str,
    /// The rival's `local` and `remote`.
    rival: &'static str,
    /// The tunnel's `[auth]` and what stands before it.
    ours: &'static str,
}

const LOGINS: [Login; 3] = [
    Login {
        name: "pre-shared key",
        sides: "local { auth = psk\n id = vpn.example.test }\nremote { auth = psk\n id = psk@example.test }",
        rival: "local { auth = psk\n id = psk@example.test }\nremote { auth = psk\n id = vpn.example.test }",
        ours: "[auth]\nkind = \"psk\"\nidentity = \"psk@example.test\"\npsk_file = \"@/psk\"\n",
    },
    Login {
        name: "certificates, ECDSA P-256",
        sides: "send_cert = always\nlocal { auth = pubkey\n certs = gateway.crt\n id = vpn.example.test }\n\
                remote { auth = pubkey\n id = alice@example.test }",
        rival: "send_certreq = yes\nlocal { auth = pubkey\n certs = alice.crt\n id = alice@example.test }\n\
                remote { auth = pubkey\n id = vpn.example.test }",
        ours: "gateway_ca_files = [\"@/ca.pem\"]\n[auth]\nkind = \"certificate\"\nidentity = \"alice@example.test\"\n\
               certificate_file = \"@/alice.pem\"\nkey_file = \"@/alice.key\"\n",
    },
    Login {
        name: "EAP-MSCHAPv2, gateway by certificate",
        sides: "send_cert = always\nlocal { auth = pubkey\n certs = gateway.crt\n id = vpn.example.test }\n\
                remote { auth = eap-mschapv2\n id = alice@example.test\n eap_id = %any }",
        rival: "send_certreq = yes\nlocal { auth = eap-mschapv2\n id = alice@example.test\n eap_id = alice }\n\
                remote { auth = pubkey\n id = vpn.example.test }",
        ours: "gateway_ca_files = [\"@/ca.pem\"]\n[auth]\nkind = \"eap\"\nidentity = \"alice@example.test\"\n\
               user = \"alice\"\npassword_file = \"@/password\"\n",
    },
];

fn measure(arguments: &Arguments) -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    for (number, login) in LOGINS.iter().enumerate() {
        in_turn(arguments, number, login, &pki).with_context(|| login.name)?;
    }
    core(arguments)
}

fn secrets() -> String {
    format!(
        "ike-psk {{ id-1 = psk@example.test\n id-2 = vpn.example.test\n secret = \"{PSK}\" }}\n\
         eap-alice {{ id = alice\n secret = \"Passw0rd\" }}"
    )
}

fn in_turn(arguments: &Arguments, number: usize, login: &Login, pki: &Pki) -> Result<()> {
    let network = Network::new_numbered(number)?;
    let mut files = vec![pki.authority.strongswan_file("authority")];
    files.extend(pki.gateway.strongswan_files("gateway"));
    let gateway = network.strongswan(&Settings {
        connections: format!(
            "bench {{\n version = 2\n pools = p4\n proposals = {IKE}\n unique = never\n encap = yes\n\
             children {{ net {{\n local_ts = 10.98.0.0/24\n esp_proposals = aes256gcm16-noesn\n mode = tunnel\n }} }}\n{}\n}}",
            login.sides
        ),
        pools: POOLS.into(),
        secrets: secrets(),
        files,
        ..Settings::default()
    })?;
    let marker = network.folder.join("known");
    std::fs::write(&marker, "")?;
    let tunnel = format!(
        "gateway = \"vpn.example.test\"\n{}[proposals]\nike = [\"{IKE}\"]\nesp = [\"aes256gcm16\"]\n{}",
        login.ours,
        known_by(&marker)
    );
    let kept = [
        ("psk", PSK),
        ("password", "Passw0rd"),
        ("ca.pem", &pki.authority.certificate().pem),
        ("alice.pem", &pki.user.certificate.pem),
        ("alice.key", &pki.user.key_pem),
    ];
    let endpoint = network.endpoint(&tunnel, &kept)?;
    let mut files = vec![pki.authority.strongswan_file("authority")];
    files.extend(pki.user.strongswan_files("alice"));
    let rival = Gateway::start(
        &network.client,
        &network.folder.join("rival"),
        &Settings {
            connections: format!(
                "bench {{\n version = 2\n local_addrs = 10.99.0.1\n remote_addrs = 10.99.0.2\n vips = 0.0.0.0\n\
                 proposals = {IKE}\n encap = yes\n{}\n\
                 children {{ net {{ remote_ts = 10.98.0.0/24\n esp_proposals = aes256gcm16-noesn\n mode = tunnel }} }}\n}}",
                login.rival
            ),
            secrets: secrets(),
            files,
            ..Settings::default()
        },
    )?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let answered = || ping::once(&network.client, CORPORATE.parse()?, LIMIT).map(drop);
    let gone = || until("the gateway's SAs to go", LIMIT, || Ok((gateway.established()? == 0).then_some(())));
    for _ in 0..arguments.rounds {
        std::thread::sleep(REST);
        ours.push(timed(|| {
            endpoint.expect(0, &["connect", "work"])?;
            answered()
        })?);
        endpoint.expect(0, &["disconnect", "work"])?;
        gone()?;
        std::thread::sleep(REST);
        theirs.push(timed(|| {
            let initiated = rival.swanctl(&["--initiate", "--child", "net", "--timeout", "10"]);
            initiated.with_context(|| rival.log())?;
            answered()
        })?);
        rival.swanctl(&["--terminate", "--ike", "bench"])?;
        gone()?;
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let measure = format!("set-up to the first ping, {}", login.name);
    report(arguments, &measure, "postern connect, host check", ours, "ms");
    report(arguments, &measure, "swanctl --initiate", theirs, "ms");
    report(arguments, &measure, "ours to theirs", ours / theirs, "");
    Ok(())
}

/// Both sides of a negotiation, in memory and in one thread.
struct Pair {
    client: Session,
    gateway: Responder,
    clock: Timestamp,
    renewed: usize,
    children: usize,
}

impl Pair {
    fn new(suite: &str, seed: u64) -> Result<Self> {
        let settings: GatewaySettings = toml::from_str(&format!(
            "identity = \"fqdn:vpn.example.test\"\ngateway_auth = {{ method = \"psk\" }}\n\
             client_auth = {{ method = \"psk\" }}\npsk = \"{PSK}\"\nike_suites = [\"{suite}\"]\n\
             pool_first = \"10.97.0.2\"\npool_last = \"10.97.0.3\"\nnetworks = [\"10.98.0.0/24\"]\n"
        ))?;
        let configuration: Configuration = serde_json::from_value(serde_json::json!({
            "gateway_name": "vpn.example.test",
            "gateway_auth": { "method": "pre-shared-key" },
            "client_auth": { "method": "pre-shared-key" },
            "local_identity": { "fqdn": "client.example.test" },
            "ike_suites": [suite],
            "esp_suites": ["aes256gcm16-noesn"],
        }))?;
        let clock = Timestamp::from_start(Duration::from_secs(1000));
        let random = |more: u64| Box::new(SeededRandom::new(2 * seed + more));
        let gateway = Responder::new(settings, Credentials::default(), random(0)).context("no randomness")?;
        let (local, remote) = ((CLIENT, 500).into(), (GATEWAY, 500).into());
        let client = Session::new(configuration, random(1), local, remote, clock, UNIX_NOW);
        Ok(Self { client, gateway, clock, renewed: 0, children: 0 })
    }

    /// Hands messages over until nothing is on its way any more.
    fn settle(&mut self) -> Result<()> {
        let now = Now { clock: self.clock, unix: UNIX_NOW };
        loop {
            while let Some(event) = self.client.poll_event() {
                match event {
                    Event::ChildInstalled(_) => self.children += 1,
                    Event::IkeRekeyed { .. } => self.renewed += 1,
                    Event::Closed { cause } => anyhow::bail!("the session ended: {cause}"),
                    _ => {}
                }
            }
            while self.gateway.poll_event().is_some() {}
            while let Some((id, request, _)) = self.client.poll_request() {
                ensure!(matches!(request, Request::PreSharedKey), "the session asks for {request:?}");
                let answer = Answer::Secret { secret: Secret::from(PSK.as_bytes()) };
                self.client.handle_response(id, answer, self.clock)?;
            }
            if let Some(transmit) = self.client.poll_transmit() {
                let (message, port) = match transmit.socket {
                    LocalSocket::Ike => (transmit.bytes.as_slice(), 500),
                    LocalSocket::Encapsulated => match udp::demultiplex(&transmit.bytes)? {
                        Packet::Ike(message) => (message, 4500),
                        Packet::Esp(_) | Packet::Keepalive => continue,
                    },
                };
                let path = Path { local: (GATEWAY, port).into(), remote: (CLIENT, port).into() };
                self.gateway.handle_datagram(message, path, now);
            } else if let Some(transmit) = self.gateway.poll_transmit() {
                self.client.handle_datagram(&transmit.message, transmit.path.local, self.clock);
            } else {
                return Ok(());
            }
        }
    }
}

/// How many handshakes, and renewals, of both sides together one core does in a second.
fn core(arguments: &Arguments) -> Result<()> {
    for suite in [IKE, "aes256gcm16-prfsha384-ecp384", "aes256-sha256-prfsha256-modp2048"] {
        let per_handshake = repeated(arguments.rounds, |seed| {
            let mut pair = Pair::new(suite, seed)?;
            let spent = timed(|| pair.settle())?;
            ensure!(pair.children == 1, "no CHILD SA came about");
            Ok(spent)
        })?;
        report(arguments, "handshakes a second, both sides", suite, 1000.0 / per_handshake, "/s");
        let mut pair = Pair::new(suite, 1)?;
        pair.settle()?;
        for (kind, name) in [
            (SaKind::Child, "one renewal of the CHILD SA, no fresh exchange"),
            (SaKind::Ike, "one renewal of the IKE SA"),
        ] {
            let cost = repeated(arguments.rounds, |_| {
                let before = (pair.renewed, pair.children);
                let spent = timed(|| {
                    match kind {
                        SaKind::Ike => pair.client.rekey_ike(pair.clock),
                        SaKind::Child => pair.client.rekey_child(pair.clock),
                    }
                    pair.settle()
                })?;
                ensure!((pair.renewed, pair.children) != before, "nothing was renewed");
                Ok(spent)
            })?;
            report(arguments, name, suite, cost, "ms");
        }
    }
    Ok(())
}

/// Does something many times and returns the median of the milliseconds that each took.
fn repeated(rounds: usize, mut work: impl FnMut(u64) -> Result<f64>) -> Result<f64> {
    let values: Result<Vec<f64>> = (0..).take(20 * rounds).map(&mut work).collect();
    Ok(median(values?))
}
