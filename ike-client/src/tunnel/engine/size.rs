//! The size of inner packets follows the path: the search of [`path_mtu`](crate::tunnel::path_mtu) asks
//! by IKE, the device has what it finds, and who sends to this host by TCP is told. Over TCP there is
//! nothing to ask, TCP finds its own way. A size that the owner wishes stays.

use super::ike::Engine;
use crate::time::Timestamp;
use crate::tunnel::control::Event;
use crate::tunnel::encapsulation::Encapsulation;
use crate::tunnel::established;
use crate::tunnel::outbox::Outbox;
use crate::tunnel::path_mtu::{Found, Pulse, Search, Sign, Sums};
use crate::tunnel::socket;
use ipnet::IpNet;
use std::net::IpAddr;

/// After packets had to become smaller, those who send to this host are told so again at this many looks:
/// what told them may have been lost.
const TOLD_AGAIN: u8 = 2;

/// What is known of the path's size.
#[derive(Debug, Default)]
pub(super) struct PathSize {
    search: Option<Search>,
    pulse: Pulse,
    /// What the system believed at the last look.
    belief: Option<usize>,
    /// How often the senders are told once more.
    tell_again: u8,
}

impl PathSize {
    /// Returns when something is to be asked.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.search.as_ref().and_then(Search::next_due)
    }
}

impl Engine<'_> {
    /// Returns the largest inner packet that the first hop takes, for a tunnel that stands on these
    /// addresses.
    pub(super) fn first_size(&self, addresses: &[IpNet]) -> u16 {
        let room = self.path.room(self.session.remote());
        established::mtu(room, self.esp.layout().unwrap_or_default(), established::floor(addresses))
    }

    /// Begins the search; `mtu` is what the device has, as the first hop allows.
    pub(super) fn begin_search(&mut self, mtu: u16, addresses: &[IpNet], now: Timestamp) {
        if self.tunnel.mtu.is_none() && !self.path.is_stream() && socket::path_is_askable() {
            self.size.search = Some(Search::begin(established::floor(addresses), mtu, now));
        }
    }

    /// The path is another one, or who answers on it.
    pub(super) fn search_anew(&mut self, outbox: &mut Outbox, now: Timestamp) {
        let ceiling = self.first_size(&self.assigned);
        if let Some(search) = &mut self.size.search {
            let before = search.found();
            search.restart(ceiling, now);
            let found = search.found();
            if found != before {
                self.use_size(before, found, outbox);
            }
        }
    }

    /// Takes note of what the system believes of the way that begins at `source`. When that changes the
    /// first hop may be another one; else it is a rumour, which is worth a question.
    pub(super) fn note_belief(&mut self, source: IpAddr, octets: usize, outbox: &mut Outbox, now: Timestamp) {
        if self.size.belief.replace(octets).is_none_or(|before| before == octets) {
            return;
        }
        if self.path.note_first_hop(socket::interface_mtu(source).unwrap_or(octets)) {
            self.search_anew(outbox, now);
        } else if let Some(search) = &mut self.size.search {
            search.note(Sign::Stall, now);
        }
    }

    /// Takes note of how packets move: a transfer that stalls may have met a hop that swallows them.
    pub(super) fn note_traffic(&mut self, now: Timestamp) {
        let Some(search) = &mut self.size.search else { return };
        let counters = self.traffic.tally().read();
        let sums = Sums {
            packets_sent: counters.packets_sent,
            bytes_sent: counters.bytes_sent,
            packets_received: counters.packets_received,
            bytes_received: counters.bytes_received,
        };
        let (sign, size) = (self.size.pulse.look(sums), search.found().size);
        search.note(sign, now);
        if sign != Sign::Idle {
            // The owner brings the device up as it was told at first, and may do so again.
            self.traffic.set_mtu(size);
        }
        if self.size.tell_again > 0 {
            self.size.tell_again -= 1;
            self.traffic.tell_senders(size);
        }
    }

    /// Asks what is to be asked.
    pub(super) fn search_on(&mut self, now: Timestamp) {
        let (Some(search), Some(layout)) = (&mut self.size.search, self.esp.layout()) else { return };
        if let Some(size) = search.poll(now) {
            self.session.probe_path(layout.sealed_length(size.into()), now);
        }
    }

    /// Takes the answer.
    pub(super) fn probed(&mut self, arrived: bool, outbox: &mut Outbox, now: Timestamp) {
        let Some(search) = &mut self.size.search else { return };
        let before = search.found();
        if let Some(found) = search.answered(arrived, now) {
            self.use_size(before, found, outbox);
        }
    }

    fn use_size(&mut self, before: Found, found: Found, outbox: &mut Outbox) {
        if found.whole != before.whole {
            self.path.cut(!found.whole);
        }
        let mtu = found.size;
        if mtu == before.size {
            return;
        }
        self.traffic.set_mtu(mtu);
        if mtu < before.size {
            self.traffic.tell_senders(mtu);
            self.size.tell_again = TOLD_AGAIN;
        }
        if let Some(shown) = &mut self.shown {
            shown.mtu = mtu;
        }
        outbox.put(Event::PathMtu { mtu });
    }
}
