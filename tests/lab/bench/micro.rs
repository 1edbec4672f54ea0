//! What the steps of the packet path cost an octet, without a network, beside the cipher alone.

use super::figures::Figures;
use super::packets::{Filling, SEGMENT, SEGMENTS, esp, super_packet};
use anyhow::{Context, Result, ensure};
use ike_client::tunnel::batch::{InboundBatch, OutboundBatch};
use ike_client::tunnel::encapsulation::Encapsulation;
use ike_client::tunnel::offload::{Coalescer, Joins, split};
use ike_client::tunnel::tally::Tally;
use ring::aead;
use std::hint::black_box;

/// Our steps in the table, and the cipher alone.
pub const OURS: &str = "Postern, one super-packet";
/// ring's AES-256-GCM on packets of the same size.
pub const CIPHER: &str = "AES-256-GCM alone (ring)";
/// Super-packets a round.
const TIMES: usize = 2000;
/// The octets of a segment with its headers.
const PACKET: usize = SEGMENT + 40;

/// Measures every step, once a round.
///
/// # Errors
/// When packets are lost on a way that loses none.
pub fn measure(rounds: usize, figures: &mut Figures) -> Result<()> {
    for _ in 0..rounds {
        let steps = path()?;
        for (name, ticks) in ["split", "seal", "open", "coalesce"].into_iter().zip(steps) {
            note(figures, name, OURS, ticks);
        }
        let (seal, open) = cipher()?;
        note(figures, "seal", CIPHER, seal);
        note(figures, "open", CIPHER, open);
    }
    Ok(())
}

fn note(figures: &mut Figures, step: &str, system: &str, ticks: u64) {
    let octets = (TIMES * SEGMENTS * PACKET) as f64;
    figures.note(&format!("{step}, {UNIT} an octet"), system, UNIT, ticks as f64 / octets);
}

/// Moves super-packets from the device's form to the device's form; returns what each step took.
fn path() -> Result<[u64; 4]> {
    let esp = esp("aes256gcm16-noesn")?;
    let tally = Tally::default();
    let (mut outbound, mut inbound) = (OutboundBatch::new(), InboundBatch::new(1));
    let mut coalescer = Coalescer::default();
    let (header, packet) = super_packet();
    let (mut steps, mut packets) = ([0; 4], 0);
    for _ in 0..TIMES {
        outbound.start(esp.layout().context("no SA")?);
        let start = ticks();
        split(header, black_box(&packet), &mut Filling(&mut outbound))?;
        let cut = ticks();
        esp.seal(&mut outbound, &tally);
        let sealed = ticks();
        inbound.start();
        let mut at = 0;
        for (octets, _) in outbound.sealed() {
            inbound.buffer.get_mut(at..at + octets.len()).context("no room")?.copy_from_slice(octets);
            inbound.push_at(at..at + octets.len());
            at += octets.len();
        }
        let arrived = ticks();
        esp.open(&mut inbound, &tally, &mut |_| {});
        let opened = ticks();
        let (buffer, ranges) = inbound.opened();
        coalescer.group(buffer, ranges, Joins::ALL);
        coalescer.deliver(buffer, |_, delivery| packets += black_box(delivery).packets);
        let joined = ticks();
        for (step, (from, to)) in
            steps.iter_mut().zip([(start, cut), (cut, sealed), (arrived, opened), (opened, joined)])
        {
            *step += to - from;
        }
    }
    ensure!(packets == TIMES * SEGMENTS, "{packets} packets came through: {:?}", tally.read());
    Ok(steps)
}

/// Seals and opens as many packets by the cipher alone; returns what each took.
fn cipher() -> Result<(u64, u64)> {
    let failed = |_| anyhow::anyhow!("the cipher failed");
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, &[7; 32]).map_err(failed)?;
    let key = aead::LessSafeKey::new(key);
    let nonce = |number: usize| {
        let mut nonce = [0; aead::NONCE_LEN];
        nonce[4..].copy_from_slice(&(number as u64).to_be_bytes());
        aead::Nonce::assume_unique_for_key(nonce)
    };
    let room = PACKET + 16;
    let mut packets = vec![0x5a_u8; SEGMENTS * room];
    let (mut seal, mut open) = (0, 0);
    for time in 0..TIMES {
        let start = ticks();
        for (index, packet) in packets.chunks_mut(room).enumerate() {
            let (text, tag) = packet.split_at_mut(PACKET);
            let number = nonce(time * SEGMENTS + index);
            let made = key.seal_in_place_separate_tag(number, aead::Aad::from([0; 8]), text).map_err(failed)?;
            tag.copy_from_slice(made.as_ref());
        }
        let sealed = ticks();
        for (index, packet) in packets.chunks_mut(room).enumerate() {
            let number = nonce(time * SEGMENTS + index);
            black_box(key.open_in_place(number, aead::Aad::from([0; 8]), packet).map_err(failed)?);
        }
        (seal, open) = (seal + sealed - start, open + ticks() - sealed);
    }
    Ok((seal, open))
}

/// What [`ticks`] counts.
#[cfg(target_arch = "x86_64")]
const UNIT: &str = "cycles";
/// What [`ticks`] counts.
#[cfg(not(target_arch = "x86_64"))]
const UNIT: &str = "ns";

/// Reads the processor's time stamp, which counts at its nominal frequency.
#[cfg(target_arch = "x86_64")]
fn ticks() -> u64 {
    // SAFETY: every processor of this architecture has the instruction, which touches no memory.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Reads a clock.
#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}
