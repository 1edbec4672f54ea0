//! ESP that overtakes its key.
//!
//! A responder may send on a CHILD SA as soon as it has made it (RFC 7296 §2.8), and some put it into their
//! kernel before they answer: what they send then arrives under the SPI that was proposed to them while the
//! keys, which take their nonce, are still on the way. A few such packets are kept until the answer is here.
//!
//! That goes for a renewal, for a further CHILD SA, and for the first one of a successor of the session that stands.
//! The very first CHILD SA of a tunnel has no use of it: its device has neither address nor route until its owner has
//! heard that the tunnel stands, so that what arrives before that finds nobody, key or no key.
//!
//! Nothing is believed of them: they are opened like any other once there is a key, and forgotten when
//! there will be none. Whoever sends such packets in the gateway's name, and guesses the SPI, fills a bounded
//! room and no more.

use crate::esp::EspSpi;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many packets are kept.
const MOST_PACKETS: usize = 256;
/// How many octets they may have together.
const MOST_OCTETS: usize = 256 * 1024;
/// Stands for no SPI: the numbers up to 255 are reserved (RFC 4303 §2.1).
const NONE: u32 = 0;

/// See the module's description.
#[derive(Debug, Default)]
pub struct Early {
    awaited: AtomicU32,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    packets: Vec<EarlyPacket>,
    octets: usize,
}

/// A sealed packet and the congestion mark of the datagram it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlyPacket {
    /// The packet, from its SPI on.
    pub sealed: Vec<u8>,
    /// The two bits of RFC 3168.
    pub ecn: u8,
}

impl Early {
    /// Says which SPI was proposed and is not answered yet; another one forgets what was kept for the last.
    pub fn expect(&self, spi: Option<EspSpi>) {
        let awaited = spi.map_or(NONE, |spi| spi.0);
        if self.awaited.load(Ordering::Relaxed) != awaited {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            self.awaited.store(awaited, Ordering::Relaxed);
            *kept = Kept::default();
        }
    }

    /// Keeps a packet for whose SPI there is no SA, if one is to come and there is room; says whether it did.
    #[cold]
    pub fn keep(&self, spi: Option<EspSpi>, sealed: &[u8], ecn: u8) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let awaited = self.awaited.load(Ordering::Relaxed);
        let fits = kept.packets.len() < MOST_PACKETS && kept.octets + sealed.len() <= MOST_OCTETS;
        if awaited == NONE || spi != Some(EspSpi(awaited)) || !fits {
            return false;
        }
        kept.octets += sealed.len();
        kept.packets.push(EarlyPacket { sealed: sealed.to_vec(), ecn });
        true
    }

    /// Gives away what was kept, in the order in which it came, and keeps nothing more.
    pub fn take(&self) -> Vec<EarlyPacket> {
        if self.awaited.load(Ordering::Relaxed) == NONE {
            return Vec::new();
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        self.awaited.store(NONE, Ordering::Relaxed);
        std::mem::take(&mut *kept).packets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPI: EspSpi = EspSpi(0x1000);

    #[test]
    fn only_what_is_for_the_proposed_spi_is_kept_and_given_away_once() {
        let early = Early::default();
        assert!(!early.keep(Some(SPI), &[1; 40], 0), "nothing is awaited");
        early.expect(Some(SPI));
        assert!(early.keep(Some(SPI), &[1; 40], 2));
        assert!(!early.keep(Some(EspSpi(0x1001)), &[2; 40], 0) && !early.keep(None, &[3; 2], 0));
        early.expect(Some(SPI));
        assert!(early.keep(Some(SPI), &[4; 40], 0), "the same word again changes nothing");
        let sealed: Vec<(u8, u8)> = early.take().iter().map(|packet| (packet.sealed[0], packet.ecn)).collect();
        assert_eq!(sealed, [(1, 2), (4, 0)]);
        assert!(early.take().is_empty() && !early.keep(Some(SPI), &[5; 40], 0), "there is a key now");
    }

    #[test]
    fn what_is_kept_is_bounded_and_forgotten_when_no_answer_will_come() {
        let early = Early::default();
        early.expect(Some(SPI));
        let kept = (0..1000).filter(|_| early.keep(Some(SPI), &[0; 60], 0)).count();
        assert_eq!(kept, MOST_PACKETS);
        early.expect(Some(EspSpi(0x2000)));
        assert_eq!(early.kept.lock().unwrap().packets, []);
        let kept = (0..1000).filter(|_| early.keep(Some(EspSpi(0x2000)), &[0; 8192], 0)).count();
        assert_eq!(kept, MOST_OCTETS / 8192);
        early.expect(None);
        assert!(early.take().is_empty() && early.kept.lock().unwrap().packets.is_empty());
    }
}
