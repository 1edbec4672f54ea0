//! Dials a gateway and prints what happens, one JSON event a line: a tool for trying things, not
//! the agent. It grants itself the lease, answers questions from a file, and gives the device its
//! addresses and routes by `ip`.
//!
//! ```text
//! dial TUNNEL.json SECRETS.json [--seconds N] [--rekey-child N] [--rekey-ike N] [--no-lease | --lease-once N]
//! ```
//! TUNNEL.json is a [`TunnelConfiguration`], or a [`WireGuardConfiguration`] when it names a
//! `peer_public_key`; SECRETS.json has `psk`, `password`, `identity`, `key` (the path of a PEM
//! file), and `wireguard_key` (32 numbers). Ends on Ctrl-C or after N seconds.

use ike_client::SystemRandom;
use ike_client::auth::PrivateKey;
use ike_client::auth::signature::{self, SignatureHashes};
use ike_client::crypto::Secret;
use ike_client::session::{Answer, CloseReason, Request};
use ike_client::tunnel::control::{Command, EstablishedTunnel, Event, TunnelConfiguration, WireGuardConfiguration};
use ike_client::tunnel::{clock, engine};
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::mpsc;

#[derive(Default, Deserialize)]
struct Secrets {
    psk: Option<String>,
    password: Option<String>,
    identity: Option<String>,
    key: Option<String>,
    wireguard_key: Option<[u8; 32]>,
}

struct Options {
    seconds: Option<u64>,
    rekey_child: Option<u64>,
    rekey_ike: Option<u64>,
    lease: bool,
    lease_once: Option<u64>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: dial TUNNEL.json SECRETS.json [--seconds N] [--rekey-child N] [--rekey-ike N] [--no-lease]";
    let tunnel: serde_json::Value = serde_json::from_slice(&std::fs::read(arguments.next().ok_or(usage)?)?)?;
    let secrets: Secrets = serde_json::from_slice(&std::fs::read(arguments.next().ok_or(usage)?)?)?;
    let mut options = Options { seconds: None, rekey_child: None, rekey_ike: None, lease: true, lease_once: None };
    while let Some(flag) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).ok_or(usage);
        match flag.as_str() {
            "--seconds" => options.seconds = Some(number()?),
            "--rekey-child" => options.rekey_child = Some(number()?),
            "--rekey-ike" => options.rekey_ike = Some(number()?),
            "--lease-once" => options.lease_once = Some(number()?),
            "--no-lease" => options.lease = false,
            _ => return Err(usage.into()),
        }
    }
    let start = if tunnel.get("peer_public_key").is_some() {
        let tunnel: Box<WireGuardConfiguration> = serde_json::from_value(tunnel)?;
        Command::StartWireGuard { tunnel }
    } else {
        let tunnel: Box<TunnelConfiguration> = serde_json::from_value(tunnel)?;
        Command::Start { tunnel, ticket: None }
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(dial(start, secrets, options))
}

async fn dial(start: Command, secrets: Secrets, options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let (commands, orders) = mpsc::channel(16);
    let (events, mut told) = mpsc::channel(16);
    let engine = tokio::spawn(engine::run(orders, events));
    commands.send(start).await?;
    let after = |seconds: Option<u64>, command: Command| {
        let commands = commands.clone();
        if let Some(seconds) = seconds {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                let _ = commands.send(command).await;
            });
        }
    };
    after(options.seconds, Command::Stop { reason: CloseReason::User });
    after(options.rekey_child, Command::RekeyChild);
    after(options.rekey_ike, Command::RekeyIke);
    if let Some(seconds) = options.lease_once {
        commands.send(Command::GrantLease { until: clock::now() + Duration::from_secs(seconds) }).await?;
    }
    let mut renewal = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            _ = renewal.tick(), if options.lease && options.lease_once.is_none() => {
                let until = clock::now() + Duration::from_secs(15);
                let _ = commands.send(Command::GrantLease { until }).await;
            }
            _ = tokio::signal::ctrl_c() => {
                let _ = commands.send(Command::Stop { reason: CloseReason::User }).await;
            }
            event = told.recv() => {
                let Some(event) = event else { break };
                println!("{}", serde_json::to_string(&event)?);
                match event {
                    Event::Request { id, request, .. } => {
                        let _ = commands.send(Command::Answer { id, answer: answer(&request, &secrets) }).await;
                    }
                    Event::Established { tunnel } => configure(&tunnel),
                    Event::Ended { .. } => break,
                    _ => {}
                }
            }
        }
    }
    drop(commands);
    engine.await?;
    Ok(())
}

fn answer(request: &Request, secrets: &Secrets) -> Answer {
    let refused = || Answer::Refused { because: "the file of secrets does not have it".to_owned() };
    let secret = |text: &Option<String>| match text {
        Some(text) => Answer::Secret { secret: Secret::from(text.as_bytes()) },
        None => refused(),
    };
    match request {
        Request::PreSharedKey => secret(&secrets.psk),
        Request::PrivateKey => match &secrets.wireguard_key {
            Some(key) => Answer::Secret { secret: Secret::from(key.as_slice()) },
            None => refused(),
        },
        Request::EapPassword { .. } => secret(&secrets.password),
        Request::EapIdentity { .. } => match &secrets.identity {
            Some(text) => Answer::Text { text: text.clone() },
            None => refused(),
        },
        Request::Sign { octets, announced } => sign(octets, announced, secrets).unwrap_or_else(refused),
        other => Answer::Refused { because: format!("this example has no answer to {other:?}") },
    }
}

fn sign(octets: &[u8], announced: &SignatureHashes, secrets: &Secrets) -> Option<Answer> {
    let pem = std::fs::read_to_string(secrets.key.as_ref()?).ok()?;
    let key = PrivateKey::from_pem(&pem).ok()?;
    let signed = signature::sign(&key, announced, octets, &mut SystemRandom).ok()?;
    Some(Answer::Signature { method: signed.scheme.method(), data: signed.data })
}

/// Gives the device its addresses and routes: the part that the agent does by netlink.
fn configure(tunnel: &EstablishedTunnel) {
    let ip = |arguments: &[&str]| match std::process::Command::new("ip").args(arguments).status() {
        Ok(status) if status.success() => {}
        other => eprintln!("ip {arguments:?}: {other:?}"),
    };
    for address in &tunnel.addresses {
        ip(&["address", "add", &address.to_string(), "dev", &tunnel.device]);
    }
    for network in &tunnel.networks {
        // A default route would swallow the gateway's own: for that there is the agent.
        if network.prefix_len() > 0 {
            ip(&["route", "replace", &network.to_string(), "dev", &tunnel.device]);
        }
    }
}
