//! Session resumption (RFC 5723), the gateway's side: tickets by reference, each good once.

use super::init::{InitExchange, has, nat_detection, random_spi, status};
use super::proof::Proof;
use super::responder::{Context, Path, Transmit};
use super::sa::{Facts, IkeSa, State};
use ike_client::auth::signature::SignatureHashes;
use ike_client::crypto::Secret;
use ike_client::crypto::keys::{IkeKeys, IkeSpis, Nonces, Side};
use ike_client::crypto::suite::IkeSuite;
use ike_client::exchange::{IncomingWindow, IntermediateTranscript, OutgoingWindow, Protection, Reassembly};
use ike_client::time::Timestamp;
use ike_client::wire::{
    Authentication, AuthenticationMethod, ExchangeType, Flags, Header, Identification, InitiatorSpi, Message, Notify,
    NotifyType, Payload, ResponderSpi,
};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use subtle::ConstantTimeEq;

/// How long a ticket is good.
const LIFETIME: Duration = Duration::from_secs(600);

/// A reference that the client holds.
type Reference = [u8; 16];

/// The tickets that were given and not used.
#[derive(Default)]
pub(super) struct Tickets(BTreeMap<Reference, Ticket>);

/// What a session is resumed from.
struct Ticket {
    sk_d: Secret,
    suite: IkeSuite,
    client: Identification,
    user: Option<String>,
    until: Timestamp,
}

/// Who resumes.
pub(super) struct Resumed {
    client: Identification,
}

impl IkeSa {
    /// Makes a ticket for the client.
    pub(super) fn ticket(&self, client: &Identification, context: &mut Context<'_>) -> Option<Payload> {
        let mut reference = Reference::default();
        context.random.fill(&mut reference).ok()?;
        let ticket = Ticket {
            sk_d: self.keys.sk_d().clone(),
            suite: self.suite,
            client: client.clone(),
            user: self.facts.user.clone(),
            until: context.now.clock + LIFETIME,
        };
        context.tickets.0.insert(reference, ticket);
        let seconds = u32::try_from(LIFETIME.as_secs()).ok()?;
        let data = [&seconds.to_be_bytes()[..], &reference].concat();
        Some(status(NotifyType::TICKET_LT_OPAQUE, data))
    }

    /// Verifies the AUTH of a client that resumes, and makes the gateway's own: `prf(SK_p, octets)`.
    pub(super) fn resumed_proof(
        &self,
        resumed: &Resumed,
        init: &InitExchange,
        (id, presented): (&Identification, Option<&Authentication>),
        own: &Identification,
    ) -> Option<Vec<Payload>> {
        let proof = Proof { init, keys: &self.keys, intermediate: &self.intermediate };
        let prf = |key: &Secret, octets: &[u8]| self.keys.prf.compute(key.expose(), &[octets]);
        let expected = prf(&self.keys.sk_pi, &proof.initiator_octets(id));
        let presented = presented.filter(|one| one.method == AuthenticationMethod::SHARED_KEY)?;
        let good = bool::from(expected.expose().ct_eq(&presented.data)) && *id == resumed.client;
        let data = prf(&self.keys.sk_pr, &proof.responder_octets(own)).expose().to_vec();
        good.then(|| {
            let method = AuthenticationMethod::SHARED_KEY;
            let authentication = Payload::Authentication(Authentication { method, data });
            vec![Payload::IdentificationResponder(own.clone()), authentication]
        })
    }
}

/// Answers IKE_SESSION_RESUME; an SA comes of it when the ticket is good.
pub(super) fn open(
    bytes: &[u8],
    message: &Message,
    path: Path,
    serial: u64,
    context: &mut Context<'_>,
) -> Option<IkeSa> {
    let initiator = message.header.initiator_spi;
    let brought = message.notifies().find(|notify| notify.notify_type == NotifyType::TICKET_OPAQUE);
    let reference = brought.and_then(|notify| Reference::try_from(notify.data.as_slice()).ok());
    // Whether it leads anywhere or not, it was used.
    let ticket = reference.and_then(|reference| context.tickets.0.remove(&reference));
    let nonce = message.payloads.iter().find_map(|payload| match payload {
        Payload::Nonce(nonce) => Some(nonce.clone()),
        _ => None,
    });
    let (Some(ticket), Some(theirs)) = (ticket.filter(|ticket| context.now.clock < ticket.until), nonce) else {
        let refusal = Payload::Notify(Notify::new(NotifyType::TICKET_NACK, Vec::new()));
        let message = Message::new(header(initiator, ResponderSpi::ZERO), vec![refusal]).encode().ok()?;
        context.output.transmits.push_back(Transmit { path, message });
        return None;
    };
    let responder = ResponderSpi(random_spi(context)?);
    let mut ours = vec![0; 32];
    context.random.fill(&mut ours).ok()?;
    let fragments = has(message, NotifyType::IKEV2_FRAGMENTATION_SUPPORTED);
    let mut payloads = vec![Payload::Nonce(ours.clone())];
    payloads.extend(nat_detection(initiator, responder, path, context.settings.force_encapsulation));
    if fragments {
        payloads.push(status(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, Vec::new()));
    }
    let response = Message::new(header(initiator, responder), payloads).encode().ok()?;
    let nonces = Nonces { initiator: &theirs, responder: &ours };
    let spis = IkeSpis { initiator: initiator.to_bytes(), responder: responder.to_bytes() };
    let keys = IkeKeys::resume(&ticket.suite, &ticket.sk_d, nonces, spis).ok()?;
    let protection = Protection::new(&keys, Side::Responder).ok()?;
    context.output.transmits.push_back(Transmit { path, message: response.clone() });
    let init = InitExchange {
        request: bytes.to_vec(),
        response,
        initiator_nonce: theirs,
        responder_nonce: ours,
        client_hashes: SignatureHashes::ours(),
        additional: VecDeque::new(),
        resumed: Some(Resumed { client: ticket.client }),
    };
    Some(IkeSa {
        serial,
        initiator_spi: initiator,
        responder_spi: responder,
        path,
        suite: ticket.suite,
        keys,
        protection,
        intermediate: IntermediateTranscript::default(),
        next_keys: None,
        pending: None,
        incoming: IncomingWindow::new(1),
        outgoing: OutgoingWindow::new(0),
        reassembly: Reassembly::default(),
        first_fragment: Vec::new(),
        fragments,
        created: context.now.clock,
        facts: Facts { user: ticket.user, ..Facts::default() },
        initial_contact: false,
        children: Vec::new(),
        state: State::AwaitingAuth(Box::new(init)),
    })
}

const fn header(initiator: InitiatorSpi, responder: ResponderSpi) -> Header {
    Header::new(initiator, responder, ExchangeType::IKE_SESSION_RESUME, Flags::new(false, true), 0)
}
