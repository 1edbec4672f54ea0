//! One IKE SA: its keys, its two windows, and the way of a message into and out of it.

use super::cause::CloseCause;
use super::context::Context;
use crate::crypto::keys::{IkeKeys, Side};
use crate::crypto::suite::IkeSuite;
use crate::exchange::protection::Opened;
use crate::exchange::reassembly::Placed;
use crate::exchange::window::Due;
use crate::exchange::{
    Incoming, IncomingWindow, IntermediateTranscript, OutgoingWindow, Protection, Reassembly, RetransmissionPolicy,
};
use crate::time::Timestamp;
use crate::wire::{
    DecodeError, ExchangeType, Flags, Header, InitiatorSpi, Message, Payload, ResponderSpi, decode_chain, encode_chain,
};

/// What an IKE message may have on the narrowest path of IPv4 (RFC 7383 §2.5.1): 576 octets less IP, UDP
/// and the marker.
const SMALLEST_FRAGMENT: usize = 576 - 20 - 8 - 4;

/// The SPIs of an IKE SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spis {
    pub initiator: InitiatorSpi,
    pub responder: ResponderSpi,
}

impl Spis {
    pub(super) fn of(header: &Header) -> Self {
        Self { initiator: header.initiator_spi, responder: header.responder_spi }
    }
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct IkeSa {
    pub spis: Spis,
    /// The side of the exchange that made this SA; after a renewal it may change.
    pub side: Side,
    pub suite: IkeSuite,
    pub keys: IkeKeys,
    /// Whether the peer takes fragments.
    pub fragmentation: bool,
    protection: Protection,
    /// Whether these keys were disclosed to who asked for that.
    disclosed: bool,
    /// What AUTH covers of the IKE_INTERMEDIATE exchanges.
    intermediate: IntermediateTranscript,
    /// The kind of the exchange that is under way.
    asked: ExchangeType,
    outgoing: OutgoingWindow,
    incoming: IncomingWindow,
    requests: Reassembly,
    responses: Reassembly,
    /// The first fragment of the request that is being put together: a repetition is known by it.
    first_fragment: Option<Vec<u8>>,
    /// Whether the last request was sent more than once.
    repeated: bool,
}

/// What a datagram turned out to be.
#[derive(Debug)]
pub(super) enum Received {
    /// A new request of the peer. To be answered by [`IkeSa::respond`] with the same octets.
    Request {
        message_id: u32,
        exchange: ExchangeType,
        /// The octets by which a repetition will be known.
        datagram: Vec<u8>,
        payloads: Result<Vec<Payload>, DecodeError>,
    },
    /// The awaited response.
    Response { payloads: Result<Vec<Payload>, DecodeError> },
    /// Nothing that concerns anyone: dropped and counted, or dealt with here.
    Nothing,
}

impl IkeSa {
    /// Takes the keys into use. `first_request` is the message id of the first own request, and of
    /// the peer's first: 1 and 0 after IKE_SA_INIT, 0 and 0 after a renewal.
    pub(super) fn new(
        spis: Spis,
        side: Side,
        suite: IkeSuite,
        keys: IkeKeys,
        (first_request, first_of_peer): (u32, u32),
        fragmentation: bool,
    ) -> Result<Self, CloseCause> {
        let protection = Protection::new(&keys, side)?;
        Ok(Self {
            spis,
            side,
            suite,
            keys,
            fragmentation,
            protection,
            disclosed: false,
            intermediate: IntermediateTranscript::default(),
            asked: ExchangeType::INFORMATIONAL,
            outgoing: OutgoingWindow::new(first_request),
            incoming: IncomingWindow::new(first_of_peer),
            requests: Reassembly::default(),
            responses: Reassembly::default(),
            first_fragment: None,
            repeated: false,
        })
    }

    /// Takes the keys of an additional key exchange into use; message ids go on.
    pub(super) fn renew_keys(&mut self, keys: IkeKeys) -> Result<(), CloseCause> {
        self.protection = Protection::new(&keys, self.side)?;
        self.keys = keys;
        self.disclosed = false;
        Ok(())
    }

    /// Returns what AUTH covers of the IKE_INTERMEDIATE exchanges (RFC 9242 §3.3.1).
    pub(super) fn intermediate_octets(&self) -> Vec<u8> {
        self.intermediate.octets()
    }

    /// Tells whether a request can be sent now.
    pub(super) fn is_free(&self) -> bool {
        self.outgoing.free().is_some()
    }

    /// Tells whether a response is awaited.
    pub(super) fn is_waiting(&self) -> bool {
        self.outgoing.is_waiting()
    }

    /// Sends a request and starts its repetition. When none can be sent now, nothing happens.
    pub(super) fn request(
        &mut self,
        exchange: ExchangeType,
        payloads: &[Payload],
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), CloseCause> {
        let policy = context.configuration.retransmission;
        self.request_with(policy, exchange, payloads, context, now)
    }

    /// As [`Self::request`], with numbers of repetition of its own.
    pub(super) fn request_with(
        &mut self,
        policy: RetransmissionPolicy,
        exchange: ExchangeType,
        payloads: &[Payload],
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), CloseCause> {
        let Some(message_id) = self.outgoing.free() else { return Ok(()) };
        let datagrams = self.seal(exchange, false, message_id, payloads, context)?;
        let smaller = self.seal_smaller(&datagrams, exchange, message_id, payloads, context)?;
        datagrams.iter().for_each(|datagram| context.send(datagram));
        self.responses.clear();
        self.asked = exchange;
        self.repeated = false;
        self.outgoing.sent(datagrams, policy, now);
        self.outgoing.sent_smaller(smaller);
        Ok(())
    }

    /// Sends an INFORMATIONAL whose datagram has `size` octets, or as little less as the suite's blocks
    /// want, in one piece. Its repetition says the same without the filling, and then as it was: who has
    /// taken the first knows that again.
    pub(super) fn request_filled(
        &mut self,
        policy: RetransmissionPolicy,
        size: usize,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), CloseCause> {
        let Some(message_id) = self.outgoing.free() else { return Ok(()) };
        let flags = Flags::new(self.side == Side::Initiator, false);
        let (initiator, responder) = (self.spis.initiator, self.spis.responder);
        let header = Header::new(initiator, responder, ExchangeType::INFORMATIONAL, flags, message_id);
        let marker = context.marker_length();
        let mut filling = size.saturating_sub(marker);
        // The overhead is what the first attempt is too long by; blocks may want one attempt more.
        let (payloads, whole) = loop {
            let payloads = [Payload::VendorId(vec![0; filling])];
            let sealed = self.protection.seal(context.random.as_mut(), header, &payloads, None)?;
            let length = sealed.iter().map(Vec::len).sum::<usize>() + marker;
            if length <= size || filling == 0 {
                break (payloads, sealed);
            }
            filling = filling.saturating_sub(length - size);
        };
        whole.iter().for_each(|datagram| context.send_whole(datagram));
        context.trace.sealed(header, &payloads, 1);
        let mut repetition = self.protection.seal(context.random.as_mut(), header, &[], None)?;
        repetition.extend(whole);
        self.responses.clear();
        self.asked = ExchangeType::INFORMATIONAL;
        self.repeated = false;
        self.outgoing.sent(repetition, policy, now);
        Ok(())
    }

    /// Tells whether the last request was sent more than once.
    pub(super) const fn was_repeated(&self) -> bool {
        self.repeated
    }

    /// Answers a request.
    pub(super) fn respond(
        &mut self,
        (message_id, exchange): (u32, ExchangeType),
        request: &[u8],
        payloads: &[Payload],
        context: &mut Context,
    ) -> Result<(), CloseCause> {
        let datagrams = self.seal(exchange, true, message_id, payloads, context)?;
        datagrams.iter().for_each(|datagram| context.answer(datagram));
        self.incoming.answered(message_id, request, datagrams);
        Ok(())
    }

    /// Cuts a request that was cut, or is long, smaller still: to what every host of IPv4 takes. IPv6 has no
    /// path on which the usual pieces are too large.
    fn seal_smaller(
        &mut self,
        datagrams: &[Vec<u8>],
        exchange: ExchangeType,
        message_id: u32,
        payloads: &[Payload],
        context: &mut Context,
    ) -> Result<Vec<Vec<u8>>, CloseCause> {
        let long = datagrams.iter().any(|datagram| datagram.len() > SMALLEST_FRAGMENT);
        if !self.fragmentation || !context.path.remote.is_ipv4() || !long {
            return Ok(Vec::new());
        }
        let flags = Flags::new(self.side == Side::Initiator, false);
        let header = Header::new(self.spis.initiator, self.spis.responder, exchange, flags, message_id);
        let sealed = self.protection.seal(context.random.as_mut(), header, payloads, Some(SMALLEST_FRAGMENT))?;
        Ok(sealed)
    }

    fn seal(
        &mut self,
        exchange: ExchangeType,
        response: bool,
        message_id: u32,
        payloads: &[Payload],
        context: &mut Context,
    ) -> Result<Vec<Vec<u8>>, CloseCause> {
        if context.disclosure.is_on() && !std::mem::replace(&mut self.disclosed, true) {
            context.disclosure.ike(self.spis, &self.keys);
        }
        let flags = Flags::new(self.side == Side::Initiator, response);
        let header = Header::new(self.spis.initiator, self.spis.responder, exchange, flags, message_id);
        if exchange == ExchangeType::IKE_INTERMEDIATE {
            let (first, content) = encode_chain(payloads)?;
            self.intermediate.note(&self.keys, &header, first, &content);
        }
        let largest = self.fragmentation.then_some(context.configuration.fragment_size);
        let datagrams = self.protection.seal(context.random.as_mut(), header, payloads, largest)?;
        context.trace.sealed(header, payloads, datagrams.len());
        Ok(datagrams)
    }

    /// Takes a datagram whose SPIs are this SA's.
    pub(super) fn receive(
        &mut self,
        datagram: &[u8],
        message: &Message,
        context: &mut Context,
        now: Timestamp,
    ) -> Received {
        let header = &message.header;
        // Both ends of an SA are told apart by this flag alone: the own one would be a reflection.
        if header.flags.is_initiator() == (self.side == Side::Initiator) {
            context.counters.unexpected += 1;
            return Received::Nothing;
        }
        let response = header.flags.is_response();
        if response {
            if header.exchange != self.asked {
                context.counters.unexpected += 1;
                return Received::Nothing;
            }
            if self.outgoing.awaited() != Some(header.message_id) {
                context.counters.outside_window += 1;
                return Received::Nothing;
            }
        } else {
            match self.incoming.classify(header.message_id, datagram) {
                Incoming::New => {}
                Incoming::Repeated(answer) => {
                    context.counters.repeated += 1;
                    answer.iter().for_each(|datagram| context.answer(datagram));
                    return Received::Nothing;
                }
                Incoming::Outside => {
                    context.counters.outside_window += 1;
                    return Received::Nothing;
                }
            }
        }
        let Ok(opened) = self.protection.open(datagram, message) else {
            context.counters.unauthenticated += 1;
            return Received::Nothing;
        };
        let (first_payload, content, request, octets) = match opened {
            Opened::Whole { first_payload, content } => (first_payload, content, datagram.to_vec(), datagram.len()),
            Opened::Fragment(fragment) => {
                let reassembly = if response { &mut self.responses } else { &mut self.requests };
                if !response && fragment.number == 1 {
                    self.first_fragment = Some(datagram.to_vec());
                }
                match reassembly.place(fragment, now) {
                    Placed::Complete(whole) => {
                        let request = self.first_fragment.take().unwrap_or_default();
                        let octets = whole.content.len();
                        (whole.first_payload, whole.content, request, octets)
                    }
                    Placed::Incomplete => return Received::Nothing,
                    Placed::Dropped => {
                        context.counters.fragments += 1;
                        return Received::Nothing;
                    }
                }
            }
        };
        if header.exchange == ExchangeType::IKE_INTERMEDIATE {
            self.intermediate.note(&self.keys, header, first_payload, &content);
        }
        let payloads = decode_chain(first_payload, &content);
        context.trace.received(header, payloads.as_deref().ok(), octets);
        if response {
            self.outgoing.answered();
            Received::Response { payloads }
        } else {
            let message_id = header.message_id;
            Received::Request { message_id, exchange: header.exchange, datagram: request, payloads }
        }
    }

    /// Returns when the request under way is repeated or given up.
    pub(super) fn retransmission(&self) -> Option<Timestamp> {
        self.outgoing.deadline()
    }

    /// Returns when fragments are dropped.
    pub(super) fn reassembly(&self) -> Option<Timestamp> {
        self.requests.deadline().into_iter().chain(self.responses.deadline()).min()
    }

    /// Drops fragments whose time is over and repeats the request under way when that is due.
    /// Returns false when the peer is to be given up.
    #[must_use]
    pub(super) fn handle_timeout(&mut self, context: &mut Context, now: Timestamp) -> bool {
        self.requests.expire(now);
        self.responses.expire(now);
        match self.outgoing.due(now) {
            Due::Nothing => true,
            Due::Repeat(datagrams) => {
                self.repeated = true;
                context.counters.retransmitted += 1;
                datagrams.iter().for_each(|datagram| context.send_everywhere(datagram));
                true
            }
            Due::GivenUp => {
                self.outgoing.answered();
                false
            }
        }
    }

    /// Sends the request under way once more, out of turn, and starts its repetition anew: the path is
    /// another one.
    pub(super) fn hurry(&mut self, context: &mut Context, now: Timestamp) {
        self.repeated = true;
        self.outgoing.restart(now).iter().for_each(|datagram| context.send(datagram));
    }

    /// Sends the request under way once more, out of turn, and stops waiting for its response: the
    /// peer may not have it, and takes the next one only after it (RFC 7296 §2.3).
    pub(super) fn abandon_request(&mut self, context: &mut Context) {
        self.outgoing.abandon().iter().for_each(|datagram| context.send(datagram));
    }
}
