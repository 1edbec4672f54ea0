//! Moving to other addresses (MOBIKE, RFC 4555).
//!
//! ```text
//! request:  N(UPDATE_SA_ADDRESSES) N(NAT_DETECTION_SOURCE_IP) N(NAT_DETECTION_DESTINATION_IP)
//!           N(COOKIE2)
//! response: N(NAT_DETECTION_SOURCE_IP) N(NAT_DETECTION_DESTINATION_IP) N(COOKIE2)
//! ```
//! Only this side moves: the initiator decides which addresses are used (§3.5). The owner says where
//! to; the request that is under way goes on there, then the gateway is told. Whatever arrives, from
//! wherever, changes no address unless it is protected by the IKE SA: a gateway's wish to move us is
//! refused, and a response from another of its addresses moves the path only because it is authentic.
//! A gateway that falls silent is asked at its other addresses too (§3.10).

use super::{Ending, EstablishedSa, Operation, Task};
use crate::session::cause::CloseCause;
use crate::session::context::Context;
use crate::session::event::{Event, Nat};
use crate::session::ike_sa::Spis;
use crate::session::nat;
use crate::session::payloads::Payloads;
use crate::session::state::State;
use crate::time::Timestamp;
use crate::wire::{ExchangeType, Notify, NotifyType, Payload};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The length of the token that shows that the gateway has seen the very request.
const COOKIE: usize = 16;
/// No more addresses of a gateway are kept.
const MAXIMUM_ADDRESSES: usize = 8;

/// What is known about moving.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mobility {
    /// Both sides can.
    pub supported: bool,
    /// How often this side has moved.
    pub moves: u32,
}

/// The own request that is under way.
pub(super) struct AddressUpdate {
    cookie: Vec<u8>,
    /// The number of the move that it tells.
    moves: u32,
}

impl EstablishedSa {
    /// Tells whether the gateway follows a move.
    pub(in crate::session) const fn can_move(&self) -> bool {
        self.mobility.supported
    }

    /// Goes on at the path that the context now names.
    pub(in crate::session) fn moved(mut self: Box<Self>, context: &mut Context, now: Timestamp) -> State {
        self.mobility.moves = self.mobility.moves.wrapping_add(1);
        self.current.sa.hurry(context, now);
        self.plan_update();
        self.proceed(Ok(()), context, now)
    }

    /// Has the gateway told of a move before anything else.
    pub(super) fn plan_update(&mut self) {
        self.queue.retain(|operation| *operation != Operation::UpdateAddresses);
        self.queue.push_front(Operation::UpdateAddresses);
    }

    /// Tells the gateway which addresses are in use.
    pub(super) fn start_update(&mut self, context: &mut Context, now: Timestamp) -> Result<Option<Task>, CloseCause> {
        let mut cookie = vec![0; COOKIE];
        context.random.fill(&mut cookie)?;
        let mut payloads = vec![Payload::Notify(Notify::new(NotifyType::UPDATE_SA_ADDRESSES, Vec::new()))];
        payloads.extend(detection(self.current.sa.spis, context)?);
        payloads.push(Payload::Notify(Notify::new(NotifyType::COOKIE2, cookie.clone())));
        self.current.sa.request(ExchangeType::INFORMATIONAL, &payloads, context, now)?;
        Ok(Some(Task::UpdateAddresses(AddressUpdate { cookie, moves: self.mobility.moves })))
    }

    /// Takes the response to the own request.
    pub(super) fn updated(
        &mut self,
        update: &AddressUpdate,
        payloads: Payloads<'_>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), Ending> {
        if update.moves != self.mobility.moves {
            // It was about where this side is no more.
            self.plan_update();
            return Ok(());
        }
        if payloads.error().is_some() {
            return Err(CloseCause::AddressChangeRefused.into());
        }
        let returned = payloads.notify(NotifyType::COOKIE2);
        if returned.is_some_and(|notify| notify.data != update.cookie) {
            return Err(CloseCause::misbehaved("it returned another token than it was sent").into());
        }
        let spis = self.current.sa.spis;
        let nat = nat::detect(payloads.notifies(), spis.initiator, spis.responder, &context.path).unwrap_or_default();
        self.watch_nat(nat, context, now);
        context.tell(Event::Moved { local: context.path.local, gateway: context.path.remote, nat });
        Ok(())
    }

    /// Keeps the mapping of a NAT in front of this side, if there is one now.
    fn watch_nat(&mut self, nat: Nat, context: &Context, now: Timestamp) {
        let interval = context.configuration.keepalive_interval.filter(|_| nat.here);
        self.keepalive = interval.map(|interval| now + interval);
    }

    /// Returns what goes into the answer to a request that is about addresses and came in under those SPIs.
    pub(super) fn answer_mobility(
        &self,
        asked_on: Spis,
        payloads: Payloads<'_>,
        context: &mut Context,
    ) -> Vec<Payload> {
        if !self.mobility.supported {
            return Vec::new();
        }
        let mut reply = Vec::new();
        if payloads.notify(NotifyType::UPDATE_SA_ADDRESSES).is_some() {
            reply.push(Payload::Notify(Notify::new(NotifyType::UNACCEPTABLE_ADDRESSES, Vec::new())));
        } else if payloads.notify(NotifyType::NAT_DETECTION_SOURCE_IP).is_some() {
            reply.extend(detection(asked_on, context).unwrap_or_default());
        }
        reply.extend(payloads.notify(NotifyType::COOKIE2).cloned().map(Payload::Notify));
        learn_addresses(payloads, context);
        reply
    }

    /// Goes on at the address from which an authentic response came, when it is another of the
    /// gateway's own. What the response protects is not where it came from: the port stays what it was, and packets
    /// stay where they are until the gateway has answered there ([`Event::Moved`]).
    pub(super) fn follow_response(&mut self, context: &mut Context) {
        let from = context.from;
        if !self.mobility.supported || from.ip() == context.path.remote.ip() {
            return;
        }
        let before = context.path.remote;
        context.path.remote.set_ip(from.ip());
        context.alternatives.retain(|address| *address != from.ip());
        context.alternatives.push(before.ip());
        self.mobility.moves = self.mobility.moves.wrapping_add(1);
        self.plan_update();
    }
}

fn detection(spis: Spis, context: &mut Context) -> Result<Vec<Payload>, CloseCause> {
    let mut disguise = [0; 20];
    context.random.fill(&mut disguise)?;
    let disguise = context.configuration.force_encapsulation.then_some(disguise);
    let notifies = nat::notifies(spis.initiator, spis.responder, &context.path, disguise);
    Ok(notifies.into_iter().map(Payload::Notify).collect())
}

/// Takes the gateway's list of its other addresses (§3.6): each list replaces the one before.
pub(in crate::session) fn learn_addresses(payloads: Payloads<'_>, context: &mut Context) {
    let address = |notify: &Notify| match notify.notify_type {
        NotifyType::ADDITIONAL_IP4_ADDRESS => {
            <[u8; 4]>::try_from(notify.data.as_slice()).ok().map(|octets| IpAddr::V4(Ipv4Addr::from(octets)))
        }
        NotifyType::ADDITIONAL_IP6_ADDRESS => {
            <[u8; 16]>::try_from(notify.data.as_slice()).ok().map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))
        }
        _ => None,
    };
    let kinds =
        [NotifyType::ADDITIONAL_IP4_ADDRESS, NotifyType::ADDITIONAL_IP6_ADDRESS, NotifyType::NO_ADDITIONAL_ADDRESSES];
    if !payloads.notifies().any(|notify| kinds.contains(&notify.notify_type)) {
        return;
    }
    // Another family would need another socket: the path in use stays in its own.
    let remote = context.path.remote.ip();
    let usable = |address: &IpAddr| {
        let reachable = !address.is_unspecified() && !address.is_multicast() && !address.is_loopback();
        reachable && *address != remote && address.is_ipv4() == remote.is_ipv4()
    };
    context.alternatives = payloads.notifies().filter_map(address).filter(usable).take(MAXIMUM_ADDRESSES).collect();
}
