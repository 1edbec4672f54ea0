//! ESP as an [`Encapsulation`]: the CHILD SAs of one tunnel.
//!
//! A renewed SA is opened with at once. It is sealed with at once, or, where the peer asked for
//! the renewal, after the first packet on it (RFC 7296 §2.8). A retired SA is still opened with
//! for a grace, because packets on the way overtake the negotiation.

use super::batch::{InboundBatch, OutboundBatch};
use super::encapsulation::{Encapsulation, EncapsulationEvent, Layout};
use super::published::Published;
use super::tally::{Tally, add};
use crate::Timestamp;
use crate::crypto::protect::CipherError;
use crate::esp::{EspSpi, InboundSa, OpenError, Opened, OutboundSa};
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
    outbound: Published<Option<Arc<OutboundSa>>>,
    inbound: Published<Vec<Arc<Inbound>>>,
    renewal_asked: AtomicBool,
    retiring: Mutex<Vec<(EspSpi, Timestamp)>>,
}

/// An inbound SA, and the outbound one that waits for its first packet.
#[derive(Debug)]
struct Inbound {
    sa: InboundSa,
    waits: AtomicBool,
    successor: Mutex<Option<Arc<OutboundSa>>>,
}

impl EspEncapsulation {
    /// Takes a CHILD SA into use. `wait` holds the sending half back until the first packet on the
    /// receiving half.
    pub fn install(&self, outbound: OutboundSa, inbound: InboundSa, wait: bool) {
        let outbound = Arc::new(outbound);
        let successor = Mutex::new(wait.then(|| Arc::clone(&outbound)));
        let inbound = Arc::new(Inbound { sa: inbound, waits: AtomicBool::new(wait), successor });
        self.inbound.update(|current| {
            // The newest first: it is the one that most packets are for.
            let mut all = vec![inbound];
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
        let still_sending = |current: &Option<Arc<OutboundSa>>| current.as_ref().is_some_and(|sa| sa.spi() == outbound);
        if still_sending(&self.outbound.see()) {
            // A successor that still waits has waited long enough: the old SA is gone.
            let waiting = self.inbound.see().iter().find_map(|entry| entry.take_successor());
            self.outbound.update(|_| waiting);
        }
        self.retiring.lock().unwrap_or_else(PoisonError::into_inner).push((inbound, now + GRACE));
    }

    /// Forgets every SA.
    pub fn clear(&self) {
        self.outbound.update(|_| None);
        self.inbound.update(|_| Vec::new());
    }

    fn send_with(&self, outbound: Arc<OutboundSa>) {
        self.renewal_asked.store(false, Ordering::Relaxed);
        self.outbound.update(|_| Some(outbound));
    }

    fn open_one(&self, table: &[Arc<Inbound>], packet: &mut [u8], tally: &Tally) -> Option<Range<usize>> {
        let spi = packet.first_chunk::<4>().map(|spi| EspSpi(u32::from_be_bytes(*spi)));
        let Some(entry) = table.iter().find(|entry| Some(entry.sa.spi()) == spi) else {
            add(&tally.dropped_inbound, 1);
            return None;
        };
        match entry.sa.open_in_place(packet) {
            Ok(opened) => {
                if entry.waits.load(Ordering::Relaxed)
                    && let Some(outbound) = entry.take_successor()
                {
                    self.send_with(outbound);
                }
                match opened {
                    Opened::Packet(_, range) => return Some(range),
                    Opened::Dummy => {}
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
    fn take_successor(&self) -> Option<Arc<OutboundSa>> {
        self.waits.store(false, Ordering::Relaxed);
        self.successor.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Encapsulation for EspEncapsulation {
    fn layout(&self) -> Option<Layout> {
        self.outbound.see().as_ref().as_ref().map(|sa| sa_layout(sa))
    }

    fn seal(&self, batch: &mut OutboundBatch, tally: &Tally) {
        let current = self.outbound.see();
        // The SA may have been renewed with another suite since the batch was laid out.
        let Some(sa) = current.as_ref().as_ref().filter(|sa| sa_layout(sa) == batch.layout()) else {
            add(&tally.dropped_outbound, batch.packets());
            return;
        };
        let mut dropped = 0;
        batch.seal_each(|packet, inner| {
            let sealed = sa.seal_in_place(packet, inner).is_ok();
            dropped += usize::from(!sealed);
            sealed
        });
        if dropped > 0 {
            add(&tally.dropped_outbound, dropped);
        }
    }

    fn open(&self, batch: &mut InboundBatch, tally: &Tally, other: &mut dyn FnMut(&[u8])) {
        let table = self.inbound.see();
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
            let range = self.open_one(&table, datagram, tally)?;
            let inner = datagram.get_mut(range.clone())?;
            if !super::ecn::decapsulate(ecn, inner) {
                add(&tally.dropped_inbound, 1);
                return None;
            }
            Some(range)
        });
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
        let due = current.as_ref().as_ref().is_some_and(|sa| sa.is_nearly_exhausted());
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
