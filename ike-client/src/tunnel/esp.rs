//! ESP as an [`Encapsulation`]: the CHILD SAs of one tunnel.
//!
//! A renewed SA is opened with at once. It is sealed with at once, or, where the peer asked for
//! the renewal, after the first packet on it (RFC 7296 §2.8). A retired SA is still opened with
//! for a grace, because packets on the way overtake the negotiation; what overtakes the key itself is
//! kept until it is here ([`Early`]).

use super::batch::{InboundBatch, OutboundBatch};
use super::control::VolumeLimits;
use super::early::{Early, EarlyPacket};
use super::encapsulation::{Encapsulation, EncapsulationEvent, Layout};
use super::published::Published;
use super::tally::{Tally, add};
use super::volume::Volume;
use crate::Timestamp;
use crate::crypto::protect::CipherError;
use crate::esp::{EspSpi, InboundSa, OpenError, Opened, Opening, OutboundSa};
use crate::transport::{Packet, udp};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Octets of ESP's padding length and next header.
const TRAILER: usize = 2;
/// How long a retired SA is still opened with.
const GRACE: Duration = Duration::from_secs(5);
/// The most inbound SAs kept at a time; a peer that renews faster loses the oldest.
const MOST_INBOUND: usize = 8;

/// The CHILD SAs of one tunnel.
#[derive(Debug, Default)]
pub struct EspEncapsulation {
    limits: VolumeLimits,
    outbound: Published<Option<Arc<Outbound>>>,
    inbound: Published<Vec<Arc<Inbound>>>,
    renewal_asked: AtomicBool,
    retiring: Mutex<Vec<(EspSpi, Timestamp)>>,
    early: Early,
}

/// An outbound SA, and what it has carried.
#[derive(Debug)]
struct Outbound {
    sa: OutboundSa,
    volume: Volume,
}

/// An inbound SA, what it has carried, and the outbound one that waits for its first packet.
#[derive(Debug)]
struct Inbound {
    sa: InboundSa,
    volume: Volume,
    waits: AtomicBool,
    successor: Mutex<Option<Arc<Outbound>>>,
}

impl EspEncapsulation {
    /// Makes one without SAs, each of which may carry so much.
    pub fn new(limits: VolumeLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Says which SPI was proposed to the gateway and is not answered yet: what it sends there is kept.
    pub fn expect(&self, spi: Option<EspSpi>) {
        self.early.expect(spi);
    }

    /// Takes a CHILD SA into use. `wait` holds the sending half back until the first packet on the
    /// receiving half.
    pub fn install(&self, outbound: OutboundSa, inbound: InboundSa, wait: bool) {
        let outbound = Arc::new(Outbound { sa: outbound, volume: Volume::new(self.limits) });
        let successor = Mutex::new(wait.then(|| Arc::clone(&outbound)));
        let volume = Volume::new(self.limits);
        let inbound = Arc::new(Inbound { sa: inbound, volume, waits: AtomicBool::new(wait), successor });
        self.inbound.update(|current| {
            // The newest first: it is the one that most packets are for.
            let mut all = vec![Arc::clone(&inbound)];
            all.extend(current.iter().take(MOST_INBOUND - 1).cloned());
            all
        });
        if !wait {
            self.send_with(outbound);
        }
    }

    /// Stops sending with the SA whose sending half is `outbound`, and starts the grace of its
    /// receiving half `inbound`.
    pub fn retire(&self, inbound: EspSpi, outbound: EspSpi, now: Timestamp) {
        let still_sending =
            |current: &Option<Arc<Outbound>>| current.as_ref().is_some_and(|half| half.sa.spi() == outbound);
        if still_sending(&self.outbound.see()) {
            // A successor that still waits has waited long enough: the old SA is gone.
            let waiting = self.inbound.see().iter().find_map(|entry| entry.take_successor());
            self.outbound.update(|_| waiting.clone());
        }
        self.retiring.lock().unwrap_or_else(PoisonError::into_inner).push((inbound, now + GRACE));
    }

    /// Starts the grace of every receiving half but the one of `keep`: another session has taken the place of the one
    /// that they belong to, which says no more of them.
    pub fn retire_others(&self, keep: EspSpi, now: Timestamp) {
        let mut retiring = self.retiring.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in self.inbound.see().iter().map(|entry| entry.sa.spi()).filter(|spi| *spi != keep) {
            if retiring.iter().all(|(spi, _)| *spi != entry) {
                retiring.push((entry, now + GRACE));
            }
        }
    }

    /// Forgets every SA.
    pub fn clear(&self) {
        self.outbound.update(|_| None);
        self.inbound.update(|_| Vec::new());
    }

    fn send_with(&self, outbound: Arc<Outbound>) {
        self.renewal_asked.store(false, Ordering::Relaxed);
        self.outbound.update(|_| Some(Arc::clone(&outbound)));
    }

    /// Opens one packet. `current` is the SA of the one before: most packets of a batch are for one
    /// SA, whose window is then taken once.
    fn open_one<'a>(
        &self,
        table: &'a [Arc<Inbound>],
        current: &mut Option<(&'a Inbound, Opening<'a>)>,
        (packet, ecn): (&mut [u8], u8),
        tally: &Tally,
    ) -> Option<Range<usize>> {
        let spi = packet.first_chunk::<4>().map(|spi| EspSpi(u32::from_be_bytes(*spi)));
        if current.as_ref().is_none_or(|(entry, _)| Some(entry.sa.spi()) != spi) {
            // The old window is given back first.
            *current = None;
            *current =
                table.iter().find(|entry| Some(entry.sa.spi()) == spi).map(|entry| (&**entry, entry.sa.opening()));
        }
        let Some((entry, opening)) = current else {
            if !self.early.keep(spi, packet, ecn) {
                add(&tally.dropped_inbound, 1);
            }
            return None;
        };
        match opening.open_in_place(packet) {
            Ok(opened) => {
                if entry.waits.load(Ordering::Relaxed)
                    && let Some(outbound) = entry.take_successor()
                {
                    self.send_with(outbound);
                }
                match opened {
                    Opened::Packet(_, range) if entry.volume.take(range.len()) => return Some(range),
                    Opened::Packet(..) => add(&tally.dropped_inbound, 1),
                    Opened::Dummy => add(&tally.dummies, 1),
                }
            }
            Err(OpenError::Replayed) => add(&tally.replayed, 1),
            Err(OpenError::Cipher(CipherError::AuthenticationFailed)) => add(&tally.unauthenticated, 1),
            Err(_) => add(&tally.dropped_inbound, 1),
        }
        None
    }
}

impl Inbound {
    fn take_successor(&self) -> Option<Arc<Outbound>> {
        self.waits.store(false, Ordering::Relaxed);
        self.successor.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Encapsulation for EspEncapsulation {
    fn layout(&self) -> Option<Layout> {
        self.outbound.see().as_ref().as_ref().map(|half| sa_layout(&half.sa))
    }

    fn seal(&self, batch: &mut OutboundBatch, tally: &Tally) {
        let current = self.outbound.see();
        // The SA may have been renewed with another suite since the batch was laid out.
        let Some(half) = current.as_ref().as_ref().filter(|half| sa_layout(&half.sa) == batch.layout()) else {
            add(&tally.dropped_outbound, batch.packets());
            return;
        };
        let mut dropped = 0;
        batch.seal_each(|packet, inner| {
            let sealed = half.volume.take(inner) && half.sa.seal_in_place(packet, inner).is_ok();
            dropped += usize::from(!sealed);
            sealed
        });
        if dropped > 0 {
            add(&tally.dropped_outbound, dropped);
        }
    }

    fn open(&self, batch: &mut InboundBatch, tally: &Tally, other: &mut dyn FnMut(&[u8])) {
        let table = self.inbound.see();
        let mut current = None;
        batch.open_each(|datagram, ecn| {
            match udp::demultiplex(datagram) {
                Ok(Packet::Esp(_)) => {}
                Ok(Packet::Ike(message)) => {
                    other(message);
                    return None;
                }
                Ok(Packet::Keepalive) => return None,
                Err(_) => {
                    add(&tally.dropped_inbound, 1);
                    return None;
                }
            }
            let range = self.open_one(&table, &mut current, (&mut *datagram, ecn), tally)?;
            let inner = datagram.get_mut(range.clone())?;
            if !super::ecn::decapsulate(ecn, inner) {
                add(&tally.dropped_inbound, 1);
                return None;
            }
            Some(range)
        });
    }

    fn take_early(&self) -> Vec<EarlyPacket> {
        self.early.take()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.retiring.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(_, at)| *at).min()
    }

    fn handle_timeout(&self, now: Timestamp) {
        let mut retiring = self.retiring.lock().unwrap_or_else(PoisonError::into_inner);
        let due: Vec<EspSpi> = retiring.iter().filter(|(_, at)| *at <= now).map(|(spi, _)| *spi).collect();
        retiring.retain(|(_, at)| *at > now);
        if !due.is_empty() {
            self.inbound
                .update(|current| current.iter().filter(|entry| !due.contains(&entry.sa.spi())).cloned().collect());
        }
    }

    fn has_event(&self) -> bool {
        let current = self.outbound.see();
        let due = current
            .as_ref()
            .as_ref()
            .is_some_and(|half| half.sa.is_nearly_exhausted() || half.volume.is_nearly_spent())
            || self.inbound.see().first().is_some_and(|newest| newest.volume.is_nearly_spent());
        due && !self.renewal_asked.load(Ordering::Relaxed)
    }

    fn poll_event(&self) -> Option<EncapsulationEvent> {
        let due = self.has_event();
        (due && !self.renewal_asked.swap(true, Ordering::Relaxed)).then_some(EncapsulationEvent::RenewalDue)
    }
}

fn sa_layout(sa: &OutboundSa) -> Layout {
    Layout { headroom: sa.header_length(), inside: TRAILER, alignment: sa.alignment(), trailer: sa.icv_length() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::crypto::Secret;
    use crate::crypto::keys::DirectionKeys;
    use crate::crypto::suite::EspSuite;
    use crate::esp::WindowSize;
    use crate::esp::selector::{Selector, Selectors};

    /// A packet over IPv4 of 100 octets.
    const PACKET: [u8; 100] = {
        let mut packet = [0; 100];
        packet[0] = 0x45;
        packet[3] = 100;
        packet[9] = 17;
        packet
    };

    /// The two halves of an SA whose ends are the same, so that it opens what it sealed.
    pub(in crate::tunnel) fn child(spi: u32) -> (OutboundSa, InboundSa) {
        let suite: EspSuite = "aes128gcm16-noesn".parse().unwrap();
        let keys = DirectionKeys {
            encryption: Secret::new(vec![7; suite.encryption.key_material_length()]),
            integrity: Secret::new(Vec::new()),
        };
        let all = vec![Selector::addresses("0.0.0.0".parse().unwrap()..="255.255.255.255".parse().unwrap())];
        let selectors = Arc::new(Selectors { local: all.clone(), remote: all });
        (
            OutboundSa::new(EspSpi(spi), &suite, &keys, Arc::clone(&selectors)).unwrap(),
            InboundSa::new(EspSpi(spi), &suite, &keys, selectors, WindowSize::default()).unwrap(),
        )
    }

    /// Seals one packet and returns it; none when it was dropped.
    pub(in crate::tunnel) fn seal(esp: &EspEncapsulation, tally: &Tally) -> Option<Vec<u8>> {
        let mut batch = OutboundBatch::new();
        batch.start(esp.layout().unwrap());
        batch.push(PACKET.len(), 0).unwrap().copy_from_slice(&PACKET);
        esp.seal(&mut batch, tally);
        let mut sealed = None;
        batch
            .runs::<()>(1, |run| {
                sealed = Some(run.contents.to_vec());
                Ok(())
            })
            .unwrap();
        sealed
    }

    /// Opens one packet; returns how many inner packets came of it.
    fn open(esp: &EspEncapsulation, packet: &[u8], tally: &Tally) -> usize {
        let mut batch = InboundBatch::new(1);
        batch.buffer[..packet.len()].copy_from_slice(packet);
        batch.push(0, packet.len(), packet.len(), 0);
        esp.open(&mut batch, tally, &mut |_| {});
        batch.opened().1.len()
    }

    #[test]
    fn at_nine_tenths_a_renewal_is_asked_for_once_and_beyond_the_limit_nothing_is_sealed() {
        let tally = Tally::default();
        let esp = EspEncapsulation::new(VolumeLimits { bytes: Some(1000), packets: None });
        let (outbound, inbound) = child(0x1000);
        esp.install(outbound, inbound, false);
        for _ in 0..8 {
            assert!(seal(&esp, &tally).is_some());
        }
        assert_eq!(esp.poll_event(), None);
        assert!(seal(&esp, &tally).is_some());
        assert_eq!(esp.poll_event(), Some(EncapsulationEvent::RenewalDue));
        assert_eq!(esp.poll_event(), None);
        assert!(seal(&esp, &tally).is_some());
        assert!((0..3).all(|_| seal(&esp, &tally).is_none()));
        assert_eq!(tally.read().dropped_outbound, 3);
        let (outbound, inbound) = child(0x2000);
        esp.install(outbound, inbound, false);
        assert!(seal(&esp, &tally).is_some(), "the renewed SA begins at nothing");
    }

    #[test]
    fn what_comes_before_its_key_is_opened_once_the_key_is_here_and_not_a_second_time() {
        let tally = Tally::default();
        let gateway = EspEncapsulation::default();
        let (outbound, inbound) = child(0x2000);
        gateway.install(outbound, inbound, false);
        let esp = EspEncapsulation::default();
        let (outbound, inbound) = child(0x1000);
        esp.install(outbound, inbound, false);
        let [unexpected, early, forged, late] = std::array::from_fn(|_| seal(&gateway, &tally).unwrap());
        assert_eq!((open(&esp, &unexpected, &tally), tally.read().dropped_inbound), (0, 1));
        esp.expect(Some(EspSpi(0x2000)));
        let forged: Vec<u8> = forged.iter().enumerate().map(|(place, octet)| octet ^ u8::from(place > 20)).collect();
        assert_eq!((open(&esp, &early, &tally), open(&esp, &forged, &tally)), (0, 0));
        assert_eq!(tally.read().dropped_inbound, 1, "kept");
        let (outbound, inbound) = child(0x2000);
        esp.install(outbound, inbound, false);
        let kept = esp.take_early();
        assert_eq!(kept.iter().map(|packet| open(&esp, &packet.sealed, &tally)).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(tally.read().unauthenticated, 1);
        assert_eq!((open(&esp, &early, &tally), tally.read().replayed), (0, 1), "a repetition is still one");
        assert_eq!((open(&esp, &late, &tally), esp.take_early()), (1, Vec::new()));
    }

    #[test]
    fn what_another_session_left_is_opened_for_a_moment_and_no_longer() {
        let (tally, at) = (Tally::default(), |seconds| Timestamp::from_start(Duration::from_secs(seconds)));
        let (before, after, esp) = <(EspEncapsulation, EspEncapsulation, EspEncapsulation)>::default();
        for (sender, spi) in [(&before, 0x1000), (&after, 0x2000)] {
            for end in [sender, &esp] {
                let (outbound, inbound) = child(spi);
                end.install(outbound, inbound, false);
            }
        }
        esp.retire_others(EspSpi(0x2000), at(1));
        assert_eq!(open(&esp, &seal(&before, &tally).unwrap(), &tally), 1, "what is still on its way");
        esp.retire_others(EspSpi(0x2000), at(4));
        assert_eq!(esp.poll_timeout(), Some(at(1) + GRACE));
        esp.handle_timeout(at(1) + GRACE);
        assert_eq!(open(&esp, &seal(&before, &tally).unwrap(), &tally), 0);
        assert_eq!(open(&esp, &seal(&after, &tally).unwrap(), &tally), 1);
    }

    #[test]
    fn beyond_the_limit_nothing_is_opened_either() {
        let tally = Tally::default();
        let sender = EspEncapsulation::default();
        let (outbound, inbound) = child(0x1000);
        sender.install(outbound, inbound, false);
        let receiver = EspEncapsulation::new(VolumeLimits { bytes: None, packets: Some(10) });
        let (outbound, inbound) = child(0x1000);
        receiver.install(outbound, inbound, false);
        let opened: Vec<usize> = (0..12).map(|_| open(&receiver, &seal(&sender, &tally).unwrap(), &tally)).collect();
        assert_eq!(opened, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
        assert_eq!(receiver.poll_event(), Some(EncapsulationEvent::RenewalDue));
        assert_eq!(tally.read().dropped_inbound, 2);
        let repeated = seal(&sender, &tally).unwrap();
        open(&receiver, &repeated, &tally);
        open(&receiver, &repeated, &tally);
        assert_eq!(tally.read().replayed, 1);
    }
}
