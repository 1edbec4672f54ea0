//! CHILD SAs: making and rekeying them, and rekeying the IKE SA (RFC 7296 §1.3, §2.8, §2.9).

use super::additional::Prepared;
use super::authentication::narrowed_to;
use super::event::{Event, InstalledChild};
use super::init::random_spi;
use super::proposal::{Pfs, choose_esp, choose_ike};
use super::responder::Context;
use super::sa::{Answer, Fate, IkeSa, State, notify};
use ike_client::crypto::kex::{KeyExchange, SharedSecret};
use ike_client::crypto::keys::{IkeSpis, Nonces};
use ike_client::crypto::suite::{EspSuite, IkeSuite};
use ike_client::crypto::transform::Group;
use ike_client::esp::selector::{Selector, Selectors};
use ike_client::esp::{EspSpi, InboundSa, OutboundSa, WindowSize};
use ike_client::exchange::{IncomingWindow, IntermediateTranscript, OutgoingWindow, Protection, Reassembly};
use ike_client::wire::{
    InitiatorSpi, KeyExchange as KePayload, KeyExchangeGroup, Notify, NotifyType, Payload, Proposal, ProtocolId,
    ResponderSpi, TrafficSelector,
};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// A CHILD SA that is in use.
#[derive(Clone, Debug)]
pub(super) struct Child {
    /// What the gateway receives on.
    pub inbound: EspSpi,
    /// What the client receives on.
    pub outbound: EspSpi,
    pub suite: EspSuite,
}

/// What the client asks for.
#[derive(Clone)]
pub(super) struct Wanted {
    pub proposals: Vec<Proposal>,
    pub client: Vec<TrafficSelector>,
    pub gateway: Vec<TrafficSelector>,
}

/// A CHILD SA and what tells the client about it.
pub(super) struct Made {
    pub payloads: Vec<Payload>,
    pub child: Child,
}

/// A CHILD SA that has no keys yet.
pub(super) struct PreparedChild {
    inbound: EspSpi,
    outbound: EspSpi,
    suite: EspSuite,
    selectors: Arc<Selectors>,
    shared: Option<SharedSecret>,
    address: Ipv4Addr,
}

/// An IKE SA that has no keys yet.
pub(super) struct PreparedIke {
    initiator_spi: InitiatorSpi,
    responder_spi: ResponderSpi,
    suite: IkeSuite,
    shared: SharedSecret,
}

/// A CREATE_CHILD_SA request.
struct Request<'a> {
    wanted: Wanted,
    nonce: &'a [u8],
    key_exchange: Option<&'a KePayload>,
    rekeys: Option<&'a Notify>,
}

impl<'a> Request<'a> {
    fn read(payloads: &'a [Payload]) -> Option<Self> {
        let mut wanted = Wanted { proposals: Vec::new(), client: Vec::new(), gateway: Vec::new() };
        let (mut nonce, mut key_exchange, mut rekeys) = (None, None, None);
        for payload in payloads {
            match payload {
                Payload::SecurityAssociation(offered) => wanted.proposals = offered.clone(),
                Payload::TrafficSelectorsInitiator(selectors) => wanted.client = selectors.clone(),
                Payload::TrafficSelectorsResponder(selectors) => wanted.gateway = selectors.clone(),
                Payload::Nonce(value) => nonce = Some(value.as_slice()),
                Payload::KeyExchange(payload) => key_exchange = Some(payload),
                Payload::Notify(n) if n.notify_type == NotifyType::REKEY_SA => rekeys = Some(n),
                _ => {}
            }
        }
        Some(Self { wanted, nonce: nonce?, key_exchange, rekeys })
    }
}

impl IkeSa {
    /// Answers CREATE_CHILD_SA.
    pub(super) fn create(&mut self, payloads: &[Payload], context: &mut Context<'_>) -> Answer {
        let Some(request) = Request::read(payloads) else {
            return Answer::Reply(vec![notify(NotifyType::INVALID_SYNTAX)], Fate::Stays);
        };
        let is_ike = request.wanted.proposals.iter().any(|proposal| proposal.protocol == ProtocolId::IKE);
        let result = if is_ike { self.rekey_ike(&request, context) } else { self.further_child(&request, context) };
        match result {
            Ok(answer) => answer,
            Err(refusal) => Answer::Reply(vec![Payload::Notify(refusal)], Fate::Stays),
        }
    }

    fn further_child(&mut self, request: &Request<'_>, context: &mut Context<'_>) -> Result<Answer, Notify> {
        if let Some(named) = request.rekeys {
            // REKEY_SA names the SPI that the client receives on.
            let known = self.children.iter().any(|child| child.outbound.0.to_be_bytes() == named.spi.as_slice());
            if !known {
                let (protocol, spi) = (named.protocol, named.spi.clone());
                return Err(Notify { protocol, spi, ..plain(NotifyType::CHILD_SA_NOT_FOUND) });
            }
        }
        let nonce = fresh_nonce(context)?;
        let chosen = choose_esp(&context.settings.esp_suites, &request.wanted.proposals, Pfs::AsConfigured)
            .ok_or_else(|| plain(NotifyType::NO_PROPOSAL_CHOSEN))?;
        let agreed = match chosen.suite.group {
            Some(group) => Some(agree(group, request.key_exchange, context)?),
            None => None,
        };
        let (own, shared) = agreed.map_or((None, None), |(own, shared)| (Some(own), Some(shared)));
        let (mut payloads, prepared) =
            self.prepare_child(&request.wanted, Pfs::AsConfigured, shared, context).map_err(plain)?;
        let rest = payloads.split_off(1);
        payloads.push(Payload::Nonce(nonce.clone()));
        payloads.extend(own.map(Payload::KeyExchange));
        payloads.extend(rest);
        let additional = prepared.suite.additional;
        if additional.is_empty() {
            let nonces = Nonces { initiator: request.nonce, responder: &nonce };
            let child = self.finish_child(prepared, &[], nonces, context).map_err(plain)?;
            self.children.push(child);
        } else {
            let nonces = [request.nonce.to_vec(), nonce];
            payloads.push(self.keep_back(Prepared::Child(prepared), additional, nonces, context).map_err(plain)?);
        }
        Ok(Answer::Reply(payloads, Fate::Stays))
    }

    /// Makes the CHILD SA of IKE_AUTH for the client's address; the first payload is the SA.
    pub(super) fn make_child(
        &self,
        wanted: &Wanted,
        nonces: Nonces<'_>,
        context: &mut Context<'_>,
    ) -> Result<Made, NotifyType> {
        let (payloads, prepared) = self.prepare_child(wanted, Pfs::Impossible, None, context)?;
        Ok(Made { payloads, child: self.finish_child(prepared, &[], nonces, context)? })
    }

    /// Chooses what a CHILD SA will be; the first payload is the SA.
    fn prepare_child(
        &self,
        wanted: &Wanted,
        pfs: Pfs,
        shared: Option<SharedSecret>,
        context: &mut Context<'_>,
    ) -> Result<(Vec<Payload>, PreparedChild), NotifyType> {
        let address = self.facts.address.ok_or(NotifyType::FAILED_CP_REQUIRED)?;
        let mut chosen =
            choose_esp(&context.settings.esp_suites, &wanted.proposals, pfs).ok_or(NotifyType::NO_PROPOSAL_CHOSEN)?;
        let client = narrowed_to(address, &wanted.client);
        let gateway: Vec<_> = wanted.gateway.iter().filter(|one| one.addresses.start().is_ipv4()).cloned().collect();
        if client.is_empty() || gateway.is_empty() {
            return Err(NotifyType::TS_UNACCEPTABLE);
        }
        let client_spi = <[u8; 4]>::try_from(chosen.client_spi.as_slice()).map_err(|_| NotifyType::INVALID_SYNTAX)?;
        let outbound = EspSpi(u32::from_be_bytes(client_spi));
        let inbound = esp_spi(context).ok_or(NotifyType::TEMPORARY_FAILURE)?;
        let selectors = Arc::new(Selectors { local: convert(&gateway), remote: convert(&client) });
        chosen.answer.spi = inbound.0.to_be_bytes().to_vec();
        let payloads = vec![
            Payload::SecurityAssociation(vec![chosen.answer]),
            Payload::TrafficSelectorsInitiator(client),
            Payload::TrafficSelectorsResponder(gateway),
        ];
        Ok((payloads, PreparedChild { inbound, outbound, suite: chosen.suite, selectors, shared, address }))
    }

    /// Makes the CHILD SA that was chosen, out of all the secrets.
    pub(super) fn finish_child(
        &self,
        prepared: PreparedChild,
        additional: &[SharedSecret],
        nonces: Nonces<'_>,
        context: &mut Context<'_>,
    ) -> Result<Child, NotifyType> {
        let PreparedChild { inbound, outbound, suite, selectors, shared, address } = prepared;
        let unusable = |_| NotifyType::TEMPORARY_FAILURE;
        let keys = self.keys.child_with(&suite, shared.as_ref(), additional, nonces);
        let keys = keys.map_err(|_| NotifyType::TEMPORARY_FAILURE)?;
        let window = WindowSize::default();
        let installed = InstalledChild {
            inbound: InboundSa::new(inbound, &suite, &keys.from_initiator, Arc::clone(&selectors), window)
                .map_err(unusable)?,
            outbound: OutboundSa::new(outbound, &suite, &keys.from_responder, selectors).map_err(unusable)?,
            address,
            path: self.path,
        };
        context.output.events.push_back(Event::ChildInstalled(Box::new(installed)));
        Ok(Child { inbound, outbound, suite })
    }

    /// Makes the IKE SA that takes this one's place; the CHILD SAs move to it at once.
    fn rekey_ike(&mut self, request: &Request<'_>, context: &mut Context<'_>) -> Result<Answer, Notify> {
        let mut chosen = choose_ike(&context.settings.ike_suites, &request.wanted.proposals)
            .ok_or_else(|| plain(NotifyType::NO_PROPOSAL_CHOSEN))?;
        let client_spi = <[u8; 8]>::try_from(chosen.client_spi.as_slice());
        let initiator_spi =
            client_spi.map(u64::from_be_bytes).map(InitiatorSpi).map_err(|_| plain(NotifyType::INVALID_SYNTAX))?;
        let (own, shared) = agree(chosen.suite.group, request.key_exchange, context)?;
        let nonce = fresh_nonce(context)?;
        let responder_spi = ResponderSpi(random_spi(context).ok_or_else(|| plain(NotifyType::TEMPORARY_FAILURE))?);
        chosen.answer.spi = responder_spi.to_bytes().to_vec();
        let answer = Payload::SecurityAssociation(vec![chosen.answer]);
        let mut payloads = vec![answer, Payload::Nonce(nonce.clone()), Payload::KeyExchange(own)];
        let prepared = PreparedIke { initiator_spi, responder_spi, suite: chosen.suite, shared };
        let additional = chosen.suite.additional;
        if !additional.is_empty() {
            let nonces = [request.nonce.to_vec(), nonce];
            payloads.push(self.keep_back(Prepared::Ike(prepared), additional, nonces, context).map_err(plain)?);
            return Ok(Answer::Reply(payloads, Fate::Stays));
        }
        let nonces = Nonces { initiator: request.nonce, responder: &nonce };
        let successor = self.finish_ike(prepared, &[], nonces).map_err(plain)?;
        Ok(Answer::Reply(payloads, Fate::HandsOver(Box::new(successor))))
    }

    /// Makes the IKE SA that was chosen, out of all the secrets.
    pub(super) fn finish_ike(
        &mut self,
        prepared: PreparedIke,
        additional: &[SharedSecret],
        nonces: Nonces<'_>,
    ) -> Result<Self, NotifyType> {
        let PreparedIke { initiator_spi, responder_spi, suite, shared } = prepared;
        let spis = IkeSpis { initiator: initiator_spi.to_bytes(), responder: responder_spi.to_bytes() };
        let keys = self.keys.rekey_with(&suite, &shared, additional, nonces, spis);
        let keys = keys.map_err(|_| NotifyType::TEMPORARY_FAILURE)?;
        let protection = Protection::new(&keys, Self::SIDE).map_err(|_| NotifyType::TEMPORARY_FAILURE)?;
        let facts = self.facts.clone();
        self.facts.address = None;
        Ok(Self {
            serial: self.serial,
            initiator_spi,
            responder_spi,
            path: self.path,
            suite,
            keys,
            protection,
            intermediate: IntermediateTranscript::default(),
            next_keys: None,
            pending: None,
            incoming: IncomingWindow::new(0),
            outgoing: OutgoingWindow::new(0),
            reassembly: Reassembly::default(),
            first_fragment: Vec::new(),
            fragments: self.fragments,
            created: self.created,
            facts,
            initial_contact: false,
            children: std::mem::take(&mut self.children),
            state: std::mem::replace(&mut self.state, State::Replaced),
        })
    }
}

/// Answers the client's key exchange, or names the group that is wanted.
fn agree(
    group: Group,
    presented: Option<&KePayload>,
    context: &mut Context<'_>,
) -> Result<(KePayload, SharedSecret), Notify> {
    let presented = presented
        .filter(|payload| payload.group.0 == group.id())
        .ok_or_else(|| Notify::new(NotifyType::INVALID_KE_PAYLOAD, group.id().to_be_bytes().to_vec()))?;
    let own = KeyExchange::generate(group, context.random).map_err(|_| plain(NotifyType::TEMPORARY_FAILURE))?;
    let payload = KePayload { group: KeyExchangeGroup(group.id()), data: own.public().to_vec() };
    let shared = own.agree(&presented.data).map_err(|_| plain(NotifyType::INVALID_SYNTAX))?;
    Ok((payload, shared))
}

fn fresh_nonce(context: &mut Context<'_>) -> Result<Vec<u8>, Notify> {
    let mut nonce = vec![0; 32];
    context.random.fill(&mut nonce).map_err(|_| plain(NotifyType::TEMPORARY_FAILURE))?;
    Ok(nonce)
}

/// Draws an SPI outside the range that RFC 4303 §2.1 reserves.
fn esp_spi(context: &mut Context<'_>) -> Option<EspSpi> {
    let mut bytes = [0; 4];
    context.random.fill(&mut bytes).ok()?;
    Some(EspSpi(u32::from_be_bytes(bytes) | 0x100))
}

fn convert(selectors: &[TrafficSelector]) -> Vec<Selector> {
    selectors
        .iter()
        .map(|one| Selector { protocol: one.protocol, ports: one.ports.clone(), addresses: one.addresses.clone() })
        .collect()
}

const fn plain(notify_type: NotifyType) -> Notify {
    Notify::new(notify_type, Vec::new())
}
