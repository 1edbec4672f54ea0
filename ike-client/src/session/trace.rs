//! The conversation log: each IKE message in the notation of RFC 7296 §1.2, with its sizes.
//!
//! ```text
//! --> IKE_SA_INIT request 0, 342 octets: HDR, SA(44), KE(104), Ni(36), N(NAT_DETECTION_SOURCE_IP)(28)
//! <-- IKE_AUTH response 1, 245 octets: HDR, SK {IDr(24), AUTH(56), CP(CFG_REPLY)(32), SA(40), TSi(24), TSr(24)}
//! ```
//! Names of payloads and notifies, numbers and lengths: never what is in a payload, so no identity, no
//! password, no key. A message is noted before anything is decided about it; what is not protected
//! is visible as such by the missing SK.

use crate::wire::{ExchangeType, Header, Message, Payload, PayloadType, encode_chain};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use zeroize::Zeroizing;

/// The most records that wait to be polled; older ones give way.
const MOST: usize = 64;

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// To the gateway, for the first time.
    Sent,
    /// To the gateway, once more or to another of its addresses.
    Repeated,
    /// From the gateway, or from whoever claims to be it.
    Received,
}

/// One message of the conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRecord {
    /// Which way it went.
    pub direction: Direction,
    /// The exchange.
    pub exchange: ExchangeType,
    /// Whether it is a response.
    pub response: bool,
    /// The message id.
    pub message_id: u32,
    /// Its length; of a received message that came in fragments, the length of what was inside.
    pub octets: usize,
    /// Header and payloads.
    pub notation: String,
}

impl std::fmt::Display for TraceRecord {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let arrow = match self.direction {
            Direction::Sent => "-->",
            Direction::Repeated => "--> again",
            Direction::Received => "<--",
        };
        let kind = if self.response { "response" } else { "request" };
        let Self { exchange, message_id, octets, notation, .. } = self;
        write!(formatter, "{arrow} {exchange} {kind} {message_id}, {octets} octets: HDR, {notation}")
    }
}

/// The log; it holds nothing unless it is switched on.
#[derive(Debug, Default)]
pub(super) struct Trace {
    on: bool,
    records: VecDeque<TraceRecord>,
    /// What is inside the protected messages that were sealed last, by whether they are responses.
    sealed: [Option<Sealed>; 2],
    /// The unprotected message that was sent last.
    open: Vec<u8>,
}

/// A message that was sealed, and how many of its datagrams were sent.
#[derive(Debug)]
struct Sealed {
    header: Header,
    content: String,
    datagrams: usize,
    sent: usize,
}

impl Trace {
    pub(super) fn switch_on(&mut self) {
        self.on = true;
    }

    /// Takes the oldest record.
    pub(super) fn poll(&mut self) -> Option<TraceRecord> {
        self.records.pop_front()
    }

    /// Remembers what was sealed into so many datagrams, which are sent next.
    pub(super) fn sealed(&mut self, header: Header, payloads: &[Payload], datagrams: usize) {
        if self.on {
            let response = header.flags.is_response();
            let content = notation(payloads, response);
            let [request_slot, response_slot] = &mut self.sealed;
            let slot = if response { response_slot } else { request_slot };
            *slot = Some(Sealed { header, content, datagrams, sent: 0 });
        }
    }

    /// Notes a datagram that is sent.
    pub(super) fn sent(&mut self, datagram: &[u8]) {
        if !self.on {
            return;
        }
        let Ok(message) = Message::decode(datagram) else { return };
        let mut repeated = false;
        let notation = match message.payloads.as_slice() {
            [Payload::Encrypted(_)] => {
                let (content, again) = self.inside(&message.header);
                repeated = again;
                format!("SK {{{content}}}")
            }
            [Payload::EncryptedFragment(fragment)] => {
                let (content, again) = self.inside(&message.header);
                repeated = again;
                let content = if fragment.number == 1 { content } else { "...".to_owned() };
                format!("SKF {} of {} {{{content}}}", fragment.number, fragment.total)
            }
            payloads => {
                repeated |= self.open == datagram;
                self.open = datagram.to_vec();
                notation(payloads, message.header.flags.is_response())
            }
        };
        let direction = if repeated { Direction::Repeated } else { Direction::Sent };
        self.note(direction, &message.header, datagram.len(), notation);
    }

    /// Returns what is inside the message with that header, and whether all of it was sent before.
    fn inside(&mut self, header: &Header) -> (String, bool) {
        let is_it = |sealed: &&mut Sealed| {
            let known = &sealed.header;
            (known.initiator_spi, known.responder_spi, known.message_id, known.flags)
                == (header.initiator_spi, header.responder_spi, header.message_id, header.flags)
        };
        match self.sealed.iter_mut().flatten().find(is_it) {
            Some(sealed) => {
                let again = sealed.sent >= sealed.datagrams;
                sealed.sent = sealed.sent.saturating_add(1);
                (sealed.content.clone(), again)
            }
            // Older than what is remembered: only a repetition can be that.
            None => ("...".to_owned(), true),
        }
    }

    /// Notes a message that came without protection.
    pub(super) fn received_open(&mut self, message: &Message, octets: usize) {
        let protected = |payload: &Payload| {
            matches!(payload.payload_type(), PayloadType::ENCRYPTED | PayloadType::ENCRYPTED_FRAGMENT)
        };
        if self.on && !message.payloads.iter().any(protected) {
            let notation = notation(&message.payloads, message.header.flags.is_response());
            self.note(Direction::Received, &message.header, octets, notation);
        }
    }

    /// Notes a message that was opened; none when what was inside is no chain of payloads.
    pub(super) fn received(&mut self, header: &Header, payloads: Option<&[Payload]>, octets: usize) {
        if self.on {
            let content = payloads.map(|payloads| notation(payloads, header.flags.is_response()));
            let notation = format!("SK {{{}}}", content.as_deref().unwrap_or("not to be understood"));
            self.note(Direction::Received, header, octets, notation);
        }
    }

    fn note(&mut self, direction: Direction, header: &Header, octets: usize, notation: String) {
        if self.records.len() >= MOST {
            self.records.pop_front();
        }
        self.records.push_back(TraceRecord {
            direction,
            exchange: header.exchange,
            response: header.flags.is_response(),
            message_id: header.message_id,
            octets,
            notation,
        });
    }
}

/// Writes payloads by their names, each with the octets it takes with its header.
fn notation(payloads: &[Payload], response: bool) -> String {
    let names = payloads.iter().map(|payload| {
        // The encoding is measured and wiped: it may hold an answer to EAP.
        let octets = encode_chain(std::slice::from_ref(payload)).map_or(0, |(_, octets)| Zeroizing::new(octets).len());
        match payload {
            Payload::Nonce(_) => format!("{}({octets})", if response { "Nr" } else { "Ni" }),
            Payload::Notify(notify) => format!("N({})({octets})", notify.notify_type),
            Payload::Configuration(configuration) => format!("CP({})({octets})", configuration.kind),
            other => format!("{}({octets})", other.payload_type()),
        }
    });
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Flags, InitiatorSpi, ResponderSpi};

    fn header(exchange: ExchangeType, response: bool, message_id: u32) -> Header {
        Header::new(InitiatorSpi(3), ResponderSpi(4), exchange, Flags::new(true, response), message_id)
    }

    #[test]
    fn a_message_is_written_by_names_and_sizes_alone() {
        let mut trace = Trace::default();
        trace.switch_on();
        let payloads = vec![Payload::Nonce(vec![7; 32]), Payload::Eap(b"hunter2 and more".to_vec())];
        let message = Message::new(header(ExchangeType::IKE_SA_INIT, false, 0), payloads);
        let datagram = message.encode().unwrap();
        trace.sent(&datagram);
        trace.sent(&datagram);
        let lines: Vec<String> = std::iter::from_fn(|| trace.poll()).map(|record| record.to_string()).collect();
        assert_eq!(
            lines,
            [
                "--> IKE_SA_INIT request 0, 84 octets: HDR, Ni(36), EAP(20)",
                "--> again IKE_SA_INIT request 0, 84 octets: HDR, Ni(36), EAP(20)"
            ]
        );
    }

    #[test]
    fn what_is_inside_a_received_message_is_written_and_what_cannot_be_read_is_said() {
        let mut trace = Trace::default();
        trace.switch_on();
        let header = header(ExchangeType::INFORMATIONAL, true, 9);
        trace.received(&header, Some(&[]), 80);
        trace.received(&header, None, 81);
        let lines: Vec<String> = std::iter::from_fn(|| trace.poll()).map(|record| record.to_string()).collect();
        assert_eq!(
            lines,
            [
                "<-- INFORMATIONAL response 9, 80 octets: HDR, SK {}",
                "<-- INFORMATIONAL response 9, 81 octets: HDR, SK {not to be understood}"
            ]
        );
    }

    #[test]
    fn a_flood_is_bounded_and_a_silent_log_holds_nothing() {
        let mut trace = Trace::default();
        let message = Message::new(header(ExchangeType::INFORMATIONAL, false, 0), Vec::new());
        trace.received_open(&message, 28);
        assert_eq!(trace.poll(), None);
        trace.switch_on();
        (0..1000).for_each(|_| trace.received_open(&message, 28));
        assert_eq!(std::iter::from_fn(|| trace.poll()).count(), MOST);
    }
}
