//! One IKE SA: what is awaited, what comes in, what goes out.

use super::additional::Pending;
use super::authentication::{EapProofStage, EapStage};
use super::child::Child;
use super::event::{Event, LogEvent, LogKind, Subject};
use super::fortigate::SecondFactorStage;
use super::init::InitExchange;
use super::responder::{Context, Path, Transmit};
use ike_client::crypto::keys::{IkeKeys, Side};
use ike_client::crypto::suite::IkeSuite;
use ike_client::exchange::protection::Opened;
use ike_client::exchange::reassembly::Placed;
use ike_client::exchange::window::Due;
use ike_client::exchange::{
    Incoming, IncomingWindow, IntermediateTranscript, OutgoingWindow, Protection, Reassembly, RetransmissionPolicy,
};
use ike_client::time::Timestamp;
use ike_client::wire::{
    DecodeError, Delete, ExchangeType, Flags, Header, InitiatorSpi, Message, Notify, NotifyType, Payload, PayloadType,
    ResponderSpi, decode_chain, encode_chain,
};
use std::net::Ipv4Addr;
use std::time::Duration;

/// What an IKE SA waits for.
pub(super) enum State {
    /// The first IKE_AUTH request.
    AwaitingAuth(Box<InitExchange>),
    /// The client's next EAP packet.
    AwaitingEap(Box<EapStage>),
    /// The code of a second factor.
    AwaitingCode(Box<SecondFactorStage>),
    /// The client's AUTH after EAP.
    AwaitingEapProof(Box<EapProofStage>),
    /// Requests of an authenticated client.
    Established {
        /// Since when.
        since: Timestamp,
    },
    /// The Delete of an SA whose successor has taken everything over.
    Replaced,
    /// The answer to the gateway's own Delete.
    AwaitingDeleteAnswer,
}

/// Who the client is and what it was given.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub peer_id: Option<String>,
    pub user: Option<String>,
    pub forticlient_uid: Option<String>,
    /// Whether the client's vendor IDs were FortiClient's.
    pub forticlient: bool,
    pub address: Option<Ipv4Addr>,
}

/// What becomes of an SA after a step.
pub(super) enum Fate {
    Stays,
    /// It stays until it is deleted; the successor does the work from now on.
    HandsOver(Box<IkeSa>),
    Ends,
}

/// An authentic request that is whole.
struct OpenedRequest {
    payloads: Result<Vec<Payload>, DecodeError>,
    /// The datagram by which a repetition is known.
    known_by: Vec<u8>,
}

/// What an exchange answers.
pub(super) enum Answer {
    /// Nothing at all, as if the request had not come.
    Silence,
    Reply(Vec<Payload>, Fate),
}

/// One IKE SA. The gateway is its responder, and the responder of every exchange but Delete and
/// liveness.
pub(super) struct IkeSa {
    pub serial: u64,
    pub initiator_spi: InitiatorSpi,
    pub responder_spi: ResponderSpi,
    pub path: Path,
    pub suite: IkeSuite,
    pub keys: IkeKeys,
    pub protection: Protection,
    pub intermediate: IntermediateTranscript,
    /// The keys from the next message on.
    pub next_keys: Option<IkeKeys>,
    pub pending: Option<Box<Pending>>,
    pub incoming: IncomingWindow,
    pub outgoing: OutgoingWindow,
    pub reassembly: Reassembly,
    pub first_fragment: Vec<u8>,
    pub fragments: bool,
    pub created: Timestamp,
    pub facts: Facts,
    pub initial_contact: bool,
    pub children: Vec<Child>,
    pub state: State,
}

impl IkeSa {
    /// Returns the SPI that the gateway chose.
    pub(super) const fn own_spi(&self) -> u64 {
        self.responder_spi.0
    }

    pub(super) const fn is_established(&self) -> bool {
        matches!(self.state, State::Established { .. })
    }

    pub(super) const fn is_listed(&self) -> bool {
        !matches!(self.state, State::Replaced | State::AwaitingDeleteAnswer)
    }

    pub(super) const fn take_initial_contact(&mut self) -> bool {
        std::mem::replace(&mut self.initial_contact, false)
    }

    /// Answers a repeated IKE_SA_INIT request by the octets of the first answer.
    pub(super) fn init_answer_again(&self, request: &[u8], path: Path) -> Option<Transmit> {
        match &self.state {
            State::AwaitingAuth(init) if init.request == request && self.path == path => {
                Some(Transmit { path, message: init.response.clone() })
            }
            _ => None,
        }
    }

    /// Takes a message that names this SA.
    pub(super) fn receive(&mut self, bytes: &[u8], message: &Message, path: Path, context: &mut Context<'_>) -> Fate {
        let header = message.header;
        if header.flags.is_response() {
            return self.receive_response(bytes, message, path);
        }
        match self.incoming.classify(header.message_id, bytes) {
            Incoming::New => {}
            Incoming::Outside => return Fate::Stays,
            Incoming::Repeated(datagrams) => {
                let again = datagrams.iter().map(|message| Transmit { path, message: message.clone() });
                context.output.transmits.extend(again);
                return Fate::Stays;
            }
        }
        let Some(request) = self.open(bytes, message, context.now.clock) else { return Fate::Stays };
        self.path = path;
        let answer = match request.payloads {
            Ok(payloads) => self.answer(header.exchange, &payloads, context),
            Err(error) => self.malformed(&error),
        };
        match answer {
            Answer::Silence => Fate::Stays,
            Answer::Reply(payloads, fate) => {
                self.respond(header, &request.known_by, &payloads, context);
                self.turn_keys();
                fate
            }
        }
    }

    fn answer(&mut self, exchange: ExchangeType, payloads: &[Payload], context: &mut Context<'_>) -> Answer {
        match (&self.state, exchange) {
            (State::AwaitingAuth(_), ExchangeType::IKE_INTERMEDIATE) => self.intermediate(payloads, context),
            (State::AwaitingAuth(init), ExchangeType::IKE_AUTH) if !init.additional.is_empty() => Answer::Silence,
            (State::Established { .. }, ExchangeType::IKE_FOLLOWUP_KE) => self.followup(payloads, context),
            (
                State::AwaitingAuth(_) | State::AwaitingEap(_) | State::AwaitingCode(_) | State::AwaitingEapProof(_),
                ExchangeType::IKE_AUTH,
            ) => self.authenticate(payloads, context),
            (State::Established { .. }, ExchangeType::CREATE_CHILD_SA) => self.create(payloads, context),
            (
                State::Established { .. } | State::Replaced | State::AwaitingDeleteAnswer,
                ExchangeType::INFORMATIONAL,
            ) => self.inform(payloads, context),
            (State::Replaced | State::AwaitingDeleteAnswer, ExchangeType::CREATE_CHILD_SA) => {
                Answer::Reply(vec![notify(NotifyType::TEMPORARY_FAILURE)], Fate::Stays)
            }
            // An INFORMATIONAL before authentication: the client gives up.
            (_, ExchangeType::INFORMATIONAL) => Answer::Reply(Vec::new(), Fate::Ends),
            _ => Answer::Silence,
        }
    }

    fn malformed(&self, error: &DecodeError) -> Answer {
        let refusal = match error.unsupported_critical_payload() {
            Some(payload) => Notify::new(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![payload.0]),
            None => Notify::new(NotifyType::INVALID_SYNTAX, Vec::new()),
        };
        let fate = if self.is_established() { Fate::Stays } else { Fate::Ends };
        Answer::Reply(vec![Payload::Notify(refusal)], fate)
    }

    /// Opens a message or a fragment; gives a request once it is whole.
    fn open(&mut self, bytes: &[u8], message: &Message, now: Timestamp) -> Option<OpenedRequest> {
        let mut decode = |first: PayloadType, content: &[u8]| {
            if message.header.exchange == ExchangeType::IKE_INTERMEDIATE {
                self.intermediate.note(&self.keys, &message.header, first, content);
            }
            decode_chain(first, content)
        };
        match self.protection.open(bytes, message).ok()? {
            Opened::Whole { first_payload, content } => {
                Some(OpenedRequest { payloads: decode(first_payload, &content), known_by: bytes.to_vec() })
            }
            Opened::Fragment(fragment) => {
                if fragment.number == 1 {
                    self.first_fragment = bytes.to_vec();
                }
                match self.reassembly.place(fragment, now) {
                    Placed::Complete(whole) => {
                        let known_by = std::mem::take(&mut self.first_fragment);
                        Some(OpenedRequest { payloads: decode(whole.first_payload, &whole.content), known_by })
                    }
                    Placed::Incomplete | Placed::Dropped => None,
                }
            }
        }
    }

    fn receive_response(&mut self, bytes: &[u8], message: &Message, path: Path) -> Fate {
        if self.outgoing.awaited() != Some(message.header.message_id) || self.protection.open(bytes, message).is_err() {
            return Fate::Stays;
        }
        self.outgoing.answered();
        self.path = path;
        if matches!(self.state, State::AwaitingDeleteAnswer) { Fate::Ends } else { Fate::Stays }
    }

    fn respond(&mut self, request: Header, request_datagram: &[u8], payloads: &[Payload], context: &mut Context<'_>) {
        let header = self.header(request.exchange, true, request.message_id);
        let datagrams = self.seal(header, payloads, context);
        self.incoming.answered(request.message_id, request_datagram, datagrams);
    }

    fn request(&mut self, payloads: &[Payload], context: &mut Context<'_>) {
        let Some(message_id) = self.outgoing.free() else { return };
        let header = self.header(ExchangeType::INFORMATIONAL, false, message_id);
        let datagrams = self.seal(header, payloads, context);
        let policy = RetransmissionPolicy {
            initial: Duration::from_millis(500),
            repetitions: 3,
            ..RetransmissionPolicy::default()
        };
        self.outgoing.sent(datagrams, policy, context.now.clock);
    }

    const fn header(&self, exchange: ExchangeType, response: bool, message_id: u32) -> Header {
        Header::new(self.initiator_spi, self.responder_spi, exchange, Flags::new(false, response), message_id)
    }

    fn seal(&mut self, header: Header, payloads: &[Payload], context: &mut Context<'_>) -> Vec<Vec<u8>> {
        if header.exchange == ExchangeType::IKE_INTERMEDIATE
            && let Ok((first, content)) = encode_chain(payloads)
        {
            self.intermediate.note(&self.keys, &header, first, &content);
        }
        let largest = self.fragments.then_some(context.settings.fragment_size);
        let datagrams = self.protection.seal(context.random, header, payloads, largest).unwrap_or_default();
        let path = self.path;
        let transmits = datagrams.iter().map(|message| Transmit { path, message: message.clone() });
        context.output.transmits.extend(transmits);
        datagrams
    }

    /// Deletes the SA: the data plane first, then the client is told.
    pub(super) fn close(&mut self, context: &mut Context<'_>) -> Fate {
        if !self.is_established() {
            return if matches!(self.state, State::AwaitingDeleteAnswer) { Fate::Stays } else { Fate::Ends };
        }
        self.release(context);
        self.request(&[Payload::Delete(Delete::IkeSa)], context);
        self.state = State::AwaitingDeleteAnswer;
        Fate::Stays
    }

    /// Asks whether the client lives.
    pub(super) fn check_liveness(&mut self, context: &mut Context<'_>) -> Fate {
        if self.is_established() {
            self.request(&[], context);
        }
        Fate::Stays
    }

    /// Returns when [`Self::timeout`] is due.
    pub(super) fn deadline(&self, negotiation_limit: Duration) -> Option<Timestamp> {
        let half_open = match self.state {
            State::AwaitingAuth(_) | State::AwaitingEap(_) | State::AwaitingCode(_) | State::AwaitingEapProof(_) => {
                Some(self.created + negotiation_limit)
            }
            _ => None,
        };
        [half_open, self.outgoing.deadline(), self.reassembly.deadline()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(super) fn timeout(&mut self, context: &mut Context<'_>) -> Fate {
        let now = context.now.clock;
        self.reassembly.expire(now);
        let path = self.path;
        match self.outgoing.due(now) {
            Due::Nothing => {}
            Due::Repeat(datagrams) => {
                let again = datagrams.iter().map(|message| Transmit { path, message: message.clone() });
                context.output.transmits.extend(again);
            }
            Due::GivenUp => {
                if self.is_established() {
                    self.log(LogKind::LivenessFailed, context);
                }
                return Fate::Ends;
            }
        }
        let half_open = !self.is_established() && self.is_listed();
        if half_open && self.created + context.settings.negotiation_limit() <= now {
            self.log(LogKind::NegotiationFailed { reason: "negotiation timeout" }, context);
            return Fate::Ends;
        }
        Fate::Stays
    }

    /// Gives back what the client had. An SA that was replaced has nothing any more.
    pub(super) fn end(&mut self, context: &mut Context<'_>) {
        self.release(context);
    }

    fn release(&mut self, context: &mut Context<'_>) {
        for child in std::mem::take(&mut self.children) {
            context.output.events.push_back(Event::ChildRetired { inbound: child.inbound });
        }
        if let State::Established { since } = self.state {
            let seconds = context.now.clock.saturating_since(since).as_secs();
            self.log(LogKind::TunnelDown { seconds }, context);
            self.state = State::AwaitingDeleteAnswer;
        }
        if let Some(address) = self.facts.address.take() {
            context.pool.release(address);
        }
    }

    pub(super) fn log(&self, kind: LogKind, context: &mut Context<'_>) {
        let Facts { peer_id, user, forticlient_uid, address, .. } = self.facts.clone();
        let spis = (self.initiator_spi, self.responder_spi);
        let subject = Subject { path: self.path, spis, peer_id, user, address, forticlient_uid };
        context.output.events.push_back(Event::Log(LogEvent { subject, kind }));
    }

    /// Returns the side that the gateway is on.
    pub(super) const SIDE: Side = Side::Responder;
}

pub(super) const fn notify(notify_type: NotifyType) -> Payload {
    Payload::Notify(Notify::new(notify_type, Vec::new()))
}
