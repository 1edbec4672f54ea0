//! How a successor takes the place of the session that stands: the owner is asked, it is negotiated, and
//! packets go on by it.

use super::Engine;
use crate::session::{self, LocalSocket, Warning};
use crate::time::Timestamp;
use crate::tunnel::control::Event;
use crate::tunnel::engine::Owner;
use crate::tunnel::engine::succession::{Came, Wanted};
use crate::tunnel::outbox::Outbox;
use crate::tunnel::{clock, established};
use std::time::Duration;

impl Engine<'_> {
    /// Asks the owner whether there may be a successor.
    pub(super) fn want_successor(&mut self, wanted: Wanted, within: Duration, outbox: &mut Outbox, now: Timestamp) {
        if self.ending.is_none() && self.succession.want(wanted, now) {
            outbox.put(Event::SuccessorWanted { within });
        }
    }

    /// Begins the successor that the owner has allowed, beside the session that stands.
    pub(super) fn begin_successor(&mut self, owner: &Owner, now: Timestamp) {
        let Ok(local) = self.path.local(LocalSocket::Encapsulated) else { return };
        let ends = (local, self.session.remote());
        self.succession.begin(self.tunnel, self.candidate.carrier, &self.assigned, ends, &owner.names, now);
    }

    /// Takes what came on the way of a session beside.
    pub(super) fn take_beside(&mut self, came: Came, now: Timestamp) {
        match came {
            Came::Opened(opened) => {
                let by = (self.tunnel, self.candidate.carrier);
                let before = (self.assigned.as_slice(), self.session.remote());
                if let Err(error) = self.succession.opened(opened, by, before, now) {
                    tracing::warn!(%error, "the gateway that this client was sent to cannot be reached");
                }
            }
            came => self.succession.receive(&came, now),
        }
    }

    /// Hears what the sessions beside say; the successor takes over with its first CHILD SA.
    pub(super) fn hear_succession(&mut self, outbox: &mut Outbox) {
        let now = clock::now();
        while let Some(event) = self.succession.poll_predecessor() {
            if let session::Event::ChildRetired { inbound, outbound } = event {
                self.esp.retire(inbound, outbound, now);
            }
        }
        while let Some(event) = self.succession.poll_successor() {
            match event {
                session::Event::ChildInstalled(child) if self.succession.may_take_over() => {
                    let shown = established::Child::of(&child);
                    let inbound = child.inbound.spi();
                    self.esp.install(child.outbound, child.inbound, false);
                    self.esp.retire_others(inbound, now);
                    self.traffic.settle();
                    self.traffic.deliver_early();
                    self.take_over(&shown, outbox, now);
                    self.search_anew(outbox, now);
                }
                session::Event::Closed { cause } if self.succession.may_take_over() => {
                    tracing::warn!(%cause, "no successor of the tunnel came about");
                    outbox.put(Event::Warning { warning: Warning::RekeyRefused });
                }
                session::Event::Ticket(ticket) => outbox.put(Event::Ticket { ticket }),
                session::Event::RevocationLearnt(answer) => self.remembered.learn(answer),
                session::Event::Warning(warning) => outbox.put(Event::Warning { warning }),
                _ => {}
            }
        }
    }

    /// Lets the successor take the place: packets go by its way from now on.
    fn take_over(&mut self, child: &established::Child, outbox: &mut Outbox, now: Timestamp) {
        let Some(takeover) = self.succession.take_over(&mut self.session, now) else { return };
        if let Some(way) = takeover.way {
            let mut before = std::mem::replace(&mut self.path, way);
            self.candidate.gateway.set_ip(self.session.remote().ip());
            self.relink(self.session.remote(), outbox, now);
            // The answer to the Delete comes where the threads received.
            before.take_back();
            self.succession.leave(before);
        }
        let negotiated = takeover.established;
        self.assigned.clone_from(&negotiated.addresses);
        let Some(shown) = &self.shown else { return };
        let local = self.path.local(LocalSocket::Encapsulated).unwrap_or(shown.local);
        let device = (shown.device.as_str(), shown.device_index);
        let mut tunnel = established::describe(&negotiated, child, self.candidate.carrier, local, device, shown.mtu);
        self.session.other_addresses().clone_into(&mut tunnel.other_gateways);
        self.shown = Some(tunnel.clone());
        outbox.put(Event::Succeeded { tunnel: Box::new(tunnel) });
    }
}
