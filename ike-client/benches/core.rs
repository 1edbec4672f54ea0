//! What the parts of the core cost: reading and writing messages, deriving keys, each key exchange,
//! sealing and opening packets.
//!
//! `cargo bench -p ike-client` prints the figures; they say something only beside others of one run.
#![allow(missing_docs)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ike_client::crypto::Secret;
use ike_client::crypto::kex::{KeyExchange, respond};
use ike_client::crypto::keys::{DirectionKeys, IkeKeys, IkeSpis, Nonces};
use ike_client::crypto::suite::{EspSuite, IkeSuite};
use ike_client::crypto::transform::Group;
use ike_client::esp::selector::{Selector, Selectors};
use ike_client::esp::{EspSpi, InboundSa, OutboundSa, WindowSize};
use ike_client::random::SeededRandom;
use ike_client::session::{Configuration, Session};
use ike_client::time::Timestamp;
use ike_client::wire::Message;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// An inner packet that fills a usual path.
const PACKET: usize = 1400;

/// The first message of a session with every default.
fn first_message() -> Vec<u8> {
    let configuration: Configuration = serde_json::from_value(serde_json::json!({
        "gateway_name": "vpn.example.test",
        "gateway_auth": { "method": "pre-shared-key" },
        "client_auth": { "method": "pre-shared-key" },
        "local_identity": { "fqdn": "client.example.test" },
        "ike_suites": ["aes256gcm16-prfsha384-ecp384", "chacha20poly1305-prfsha256-x25519", "aes256-sha256-modp2048"],
        "esp_suites": ["aes256gcm16-noesn"],
    }))
    .expect("a configuration");
    let (local, remote) = (([192, 0, 2, 10], 500).into(), ([192, 0, 2, 1], 500).into());
    let start = Timestamp::from_start(Duration::from_secs(1));
    let mut session = Session::new(configuration, Box::new(SeededRandom::new(1)), local, remote, start, 1_790_000_000);
    session.poll_transmit().expect("a session begins with a message").bytes
}

fn messages(criterion: &mut Criterion) {
    let octets = first_message();
    let message = Message::decode(&octets).expect("what we send can be read");
    let mut group = criterion.benchmark_group("IKE_SA_INIT");
    group.throughput(Throughput::Bytes(octets.len() as u64));
    group.bench_function("decode", |bencher| bencher.iter(|| Message::decode(&octets)));
    group.bench_function("encode", |bencher| bencher.iter(|| message.encode()));
    group.finish();
}

fn derivation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("key derivation");
    let (initiator, responder) = ([1; 32], [2; 32]);
    let nonces = Nonces { initiator: &initiator, responder: &responder };
    let spis = IkeSpis { initiator: [3; 8], responder: [4; 8] };
    for name in ["aes256gcm16-prfsha384-ecp384", "aes256-sha256-prfsha256-x25519", "aes128-aesxcbc-prfaesxcbc-x25519"] {
        let suite: IkeSuite = name.parse().expect("a suite");
        let shared = Secret::new(vec![5; 48]);
        group.bench_function(format!("IKE SA, {name}"), |bencher| {
            bencher.iter(|| IkeKeys::derive(&suite, &shared, nonces, spis));
        });
        let keys = IkeKeys::derive(&suite, &shared, nonces, spis).expect("keys");
        let esp: EspSuite = "aes256gcm16-ecp384-noesn".parse().expect("a suite");
        group.bench_function(format!("CHILD SA, {name}"), |bencher| {
            bencher.iter(|| keys.child(&esp, Some(&shared), nonces));
        });
    }
    group.finish();
}

fn exchanges(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("key exchange");
    for group in Group::ALL.iter().copied() {
        let mut random = SeededRandom::new(7);
        let name = group.name();
        bench.sample_size(10);
        bench.bench_function(format!("{name}: generate"), |bencher| {
            bencher.iter(|| KeyExchange::generate(group, &mut random));
        });
        let mut random = SeededRandom::new(8);
        let ours = KeyExchange::generate(group, &mut random).expect("a key exchange");
        let (theirs, _) = respond(group, ours.public(), &mut random).expect("an answer");
        bench.bench_function(format!("{name}: agree"), |bencher| bencher.iter(|| ours.agree(&theirs)));
    }
    bench.finish();
}

fn packets(criterion: &mut Criterion) {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let all = vec![Selector::addresses(address("0.0.0.0")..=address("255.255.255.255"))];
    let selectors = Arc::new(Selectors { local: all.clone(), remote: all });
    let mut inner = vec![0x33; PACKET];
    inner[..20].copy_from_slice(&[0x45, 0, 5, 0x78, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    let mut group = criterion.benchmark_group("ESP, 1400 octets");
    group.throughput(Throughput::Bytes(PACKET as u64));
    for name in ["aes256gcm16-noesn", "chacha20poly1305-noesn", "aes256-sha256-noesn", "aes128ctr-sha256-noesn"] {
        let suite: EspSuite = name.parse().expect("a suite");
        let keys = DirectionKeys {
            encryption: Secret::new(vec![1; suite.encryption.key_material_length()]),
            integrity: Secret::new(vec![2; suite.integrity.map_or(0, |integrity| integrity.key_length())]),
        };
        let outbound = || OutboundSa::new(EspSpi(300), &suite, &keys, Arc::clone(&selectors)).expect("an SA");
        let sa = outbound();
        let mut buffer = vec![0; sa.sealed_length(PACKET)];
        let start = sa.header_length();
        group.bench_function(format!("{name}: seal"), |bencher| {
            bencher.iter(|| {
                buffer[start..start + PACKET].copy_from_slice(&inner);
                sa.seal_in_place(&mut buffer, PACKET)
            });
        });
        // Each packet is fresh to its receiver: a receiver of its own for each.
        let sa = outbound();
        let mut sealed = vec![0; sa.sealed_length(PACKET)];
        sealed[start..start + PACKET].copy_from_slice(&inner);
        sa.seal_in_place(&mut sealed, PACKET).expect("a packet");
        group.bench_function(format!("{name}: open"), |bencher| {
            bencher.iter_batched(
                || {
                    let window = WindowSize::default();
                    let inbound = InboundSa::new(EspSpi(300), &suite, &keys, Arc::clone(&selectors), window);
                    (inbound.expect("an SA"), sealed.clone())
                },
                |(inbound, mut packet)| inbound.open_in_place(&mut packet),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(core, messages, derivation, exchanges, packets);
criterion_main!(core);
