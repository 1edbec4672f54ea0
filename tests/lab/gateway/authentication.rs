//! IKE_AUTH (RFC 7296 §1.2, §2.16): the client's proof, the gateway's, the tag match, and the first
//! CHILD SA.

use super::child::{Made, Wanted};
use super::eap::{Authenticator, Step};
use super::event::LogKind;
use super::fortigate::{self, SecondFactorStage};
use super::init::InitExchange;
use super::proof::Proof;
use super::responder::Context;
use super::sa::{Answer, Fate, IkeSa, State, notify};
use super::settings::{ClientAuth, GatewayAuth, RemoteGatewayMatch};
use super::tag_refusal;
use ike_client::crypto::keys::Nonces;
use ike_client::wire::{
    Authentication, Certificate, CertificateEncoding, Configuration, ConfigurationAttribute as Attribute,
    ConfigurationAttributeType as Type, ConfigurationType, Identification, NotifyType, Payload, Proposal,
    TrafficSelector,
};
use std::net::Ipv4Addr;

const EAP_FAILED: &str = "EAP authentication failed";

/// The parts of the first IKE_AUTH request.
#[derive(Clone)]
pub(super) struct FirstRequest {
    id: Identification,
    authentication: Option<Authentication>,
    certificates: Vec<Certificate>,
    configuration: Option<Configuration>,
    wanted: Wanted,
    initial_contact: bool,
    /// The client can move (RFC 4555).
    mobile: bool,
    /// It asks for a ticket (RFC 5723).
    wants_ticket: bool,
}

/// EAP is under way.
pub(super) struct EapStage {
    init: InitExchange,
    request: FirstRequest,
    authenticator: Authenticator,
}

/// EAP has succeeded; both sides prove that they have its key.
pub(super) struct EapProofStage {
    pub(super) init: InitExchange,
    pub(super) request: FirstRequest,
    pub(super) key: EapKey,
}

/// What both AUTH payloads after EAP are made from.
pub(super) enum EapKey {
    /// The method's master session key.
    Msk([u8; 64]),
    /// SK_pi and SK_pr, where the method makes no key (RFC 7296 §2.16).
    OfTheIkeSa,
}

impl FirstRequest {
    fn read(payloads: &[Payload]) -> Option<Self> {
        let (mut id, mut authentication, mut configuration) = (None, None, None);
        let (mut proposals, mut client, mut gateway): (Vec<Proposal>, Vec<_>, Vec<_>) = Default::default();
        let (mut certificates, mut initial_contact, mut mobile, mut wants_ticket) = (Vec::new(), false, false, false);
        for payload in payloads {
            match payload {
                Payload::IdentificationInitiator(identity) => id = Some(identity.clone()),
                Payload::Authentication(proof) => authentication = Some(proof.clone()),
                Payload::Certificate(certificate) => certificates.push(certificate.clone()),
                Payload::Configuration(request) => configuration = Some(request.clone()),
                Payload::SecurityAssociation(offered) => proposals = offered.clone(),
                Payload::TrafficSelectorsInitiator(selectors) => client = selectors.clone(),
                Payload::TrafficSelectorsResponder(selectors) => gateway = selectors.clone(),
                Payload::Notify(n) => {
                    initial_contact |= n.notify_type == NotifyType::INITIAL_CONTACT;
                    mobile |= n.notify_type == NotifyType::MOBIKE_SUPPORTED;
                    wants_ticket |= n.notify_type == NotifyType::TICKET_REQUEST;
                }
                _ => {}
            }
        }
        let wanted = Wanted { proposals, client, gateway };
        Some(Self {
            id: id?,
            authentication,
            certificates,
            configuration,
            wanted,
            initial_contact,
            mobile,
            wants_ticket,
        })
    }
}

impl IkeSa {
    /// Answers an IKE_AUTH request.
    pub(super) fn authenticate(&mut self, payloads: &[Payload], context: &mut Context<'_>) -> Answer {
        match std::mem::replace(&mut self.state, State::Replaced) {
            State::AwaitingAuth(init) => self.first(*init, payloads, context),
            State::AwaitingEap(stage) => self.eap(*stage, payloads, context),
            State::AwaitingCode(stage) => self.second_factor(*stage, payloads, context),
            State::AwaitingEapProof(stage) => self.eap_proof(*stage, payloads, context),
            other => {
                self.state = other;
                Answer::Silence
            }
        }
    }

    fn first(&mut self, init: InitExchange, payloads: &[Payload], context: &mut Context<'_>) -> Answer {
        let Some(request) = FirstRequest::read(payloads) else {
            return Answer::Reply(vec![notify(NotifyType::INVALID_SYNTAX)], Fate::Ends);
        };
        self.facts.peer_id = Some(request.id.to_string());
        self.facts.forticlient_uid = forticlient_uid(payloads);
        let proof = Proof { init: &init, keys: &self.keys, intermediate: &self.intermediate };
        let (settings, credentials) = (context.settings, context.credentials);
        if let Some(resumed) = &init.resumed {
            let claim = (&request.id, request.authentication.as_ref());
            return match self.resumed_proof(resumed, &init, claim, &settings.identity) {
                Some(proof) => self.complete(&init, &request, proof, context),
                None => self.refuse("ticket not proven", vec![notify(NotifyType::AUTHENTICATION_FAILED)], context),
            };
        }
        let accepted = match (&settings.client_auth, &request.authentication) {
            // A FortiGate answers a client that brings AUTH where EAP is due with silence.
            (ClientAuth::Eap, Some(_)) => {
                self.state = State::AwaitingAuth(Box::new(init));
                return Answer::Silence;
            }
            (ClientAuth::Eap, None) => return self.start_eap(init, request, context),
            (ClientAuth::Psk, Some(auth)) => proof.client_by_key(&request.id, auth, settings.psk.as_bytes()),
            (ClientAuth::Certificate { .. }, Some(auth)) => {
                let (certificates, now) = (&request.certificates, context.now.unix);
                proof.client_by_certificate(&request.id, auth, certificates, credentials, now)
            }
            (_, None) => false,
        };
        if !accepted {
            let reason = match settings.client_auth {
                ClientAuth::Psk => "probable pre-shared secret mismatch",
                _ => "peer certificate or signature not accepted",
            };
            return self.refuse(reason, vec![notify(NotifyType::AUTHENTICATION_FAILED)], context);
        }
        match self.gateway_proof(&init, context) {
            Some(proof) => self.complete(&init, &request, proof, context),
            None => Answer::Reply(vec![notify(NotifyType::AUTHENTICATION_FAILED)], Fate::Ends),
        }
    }

    /// Returns IDr, certificates and AUTH of the gateway.
    fn gateway_proof(&self, init: &InitExchange, context: &mut Context<'_>) -> Option<Vec<Payload>> {
        let id = &context.settings.identity;
        let proof = Proof { init, keys: &self.keys, intermediate: &self.intermediate };
        let mut payloads = vec![Payload::IdentificationResponder(id.clone())];
        let authentication = match context.settings.gateway_auth {
            GatewayAuth::Psk => proof.gateway_by_key(id, context.settings.psk.as_bytes()),
            GatewayAuth::Certificate { .. } => {
                let chain = context.credentials.chain.iter();
                payloads.extend(chain.map(|der| {
                    let encoding = CertificateEncoding::X509_SIGNATURE;
                    Payload::Certificate(Certificate { encoding, data: der.clone() })
                }));
                proof.gateway_by_certificate(id, context.credentials, context.random)?
            }
        };
        payloads.push(Payload::Authentication(authentication));
        Some(payloads)
    }

    fn start_eap(&mut self, init: InitExchange, request: FirstRequest, context: &mut Context<'_>) -> Answer {
        let mut challenge = [0; 16];
        let (Ok(()), Some(mut payloads)) = (context.random.fill(&mut challenge), self.gateway_proof(&init, context))
        else {
            return Answer::Reply(vec![notify(NotifyType::AUTHENTICATION_FAILED)], Fate::Ends);
        };
        let (authenticator, packet) = Authenticator::start(challenge);
        payloads.push(Payload::Eap(packet));
        self.state = State::AwaitingEap(Box::new(EapStage { init, request, authenticator }));
        Answer::Reply(payloads, Fate::Stays)
    }

    fn eap(&mut self, mut stage: EapStage, payloads: &[Payload], context: &mut Context<'_>) -> Answer {
        let packet = payloads.iter().find_map(|payload| match payload {
            Payload::Eap(packet) => Some(packet.as_slice()),
            _ => None,
        });
        let Some(packet) = packet else {
            return Answer::Reply(vec![notify(NotifyType::INVALID_SYNTAX)], Fate::Ends);
        };
        let was_refused = stage.authenticator.has_refused();
        match stage.authenticator.handle(packet, &fortigate::users(context.settings)) {
            // Logged at once: many a client just goes away.
            Step::Refused(packet) => {
                self.log(LogKind::NegotiationFailed { reason: EAP_FAILED }, context);
                self.state = State::AwaitingEap(Box::new(stage));
                Answer::Reply(vec![Payload::Eap(packet)], Fate::Stays)
            }
            Step::Failed { packet } if was_refused => Answer::Reply(vec![Payload::Eap(packet)], Fate::Ends),
            Step::Continue(packet) => {
                self.state = State::AwaitingEap(Box::new(stage));
                Answer::Reply(vec![Payload::Eap(packet)], Fate::Stays)
            }
            Step::Succeeded { packet, msk, user } => {
                let EapStage { init, request, .. } = stage;
                let code = context.settings.fortigate.as_ref().and_then(|fortigate| fortigate.codes.get(&user));
                if let Some(code) = code.cloned() {
                    self.facts.user = Some(user);
                    return self.ask_code(init, request, code, &packet, context);
                }
                // Who signed on logs in by the UID, and only from where it was told.
                self.facts.user = match fortigate::redeem(context.settings, &user) {
                    Some(_) if self.facts.forticlient_uid.as_ref() != Some(&user) => {
                        return self.refuse(EAP_FAILED, vec![notify(NotifyType::AUTHENTICATION_FAILED)], context);
                    }
                    Some(signed_on) => Some(signed_on),
                    None => Some(user),
                };
                let key = EapKey::Msk(msk);
                self.state = State::AwaitingEapProof(Box::new(EapProofStage { init, request, key }));
                Answer::Reply(vec![Payload::Eap(packet)], Fate::Stays)
            }
            Step::Failed { packet } => self.refuse(EAP_FAILED, vec![Payload::Eap(packet)], context),
        }
    }

    /// A client that is no FortiClient is sent away without a word why.
    fn ask_code(
        &mut self,
        init: InitExchange,
        request: FirstRequest,
        code: String,
        success: &[u8],
        context: &mut Context<'_>,
    ) -> Answer {
        if !self.facts.forticlient || self.facts.forticlient_uid.is_none() {
            return self.refuse(EAP_FAILED, vec![notify(NotifyType::AUTHENTICATION_FAILED)], context);
        }
        let identifier = success.get(1).copied().unwrap_or_default();
        let stage = SecondFactorStage { init, request, code, identifier, asked: false };
        self.state = State::AwaitingCode(Box::new(stage));
        Answer::Reply(vec![Payload::Eap(fortigate::success_then_gtc(identifier))], Fate::Stays)
    }

    fn eap_proof(&mut self, stage: EapProofStage, payloads: &[Payload], context: &mut Context<'_>) -> Answer {
        let EapProofStage { init, request, key } = stage;
        let proof = Proof { init: &init, keys: &self.keys, intermediate: &self.intermediate };
        let (client_key, gateway_key) = match &key {
            EapKey::Msk(msk) => (&msk[..], &msk[..]),
            EapKey::OfTheIkeSa => (self.keys.sk_pi.expose(), self.keys.sk_pr.expose()),
        };
        let accepted = payloads.iter().any(|payload| match payload {
            Payload::Authentication(presented) => proof.client_by_key(&request.id, presented, client_key),
            _ => false,
        });
        if !accepted {
            let refusal = vec![notify(NotifyType::AUTHENTICATION_FAILED)];
            return self.refuse(EAP_FAILED, refusal, context);
        }
        let own = Payload::Authentication(proof.gateway_by_key(&context.settings.identity, gateway_key));
        self.complete(&init, &request, vec![own], context)
    }

    /// Both sides are proven: matches tags, assigns an address, makes the CHILD SA.
    fn complete(
        &mut self,
        init: &InitExchange,
        request: &FirstRequest,
        proof: Vec<Payload>,
        context: &mut Context<'_>,
    ) -> Answer {
        if !self.tags_match(context) {
            return self.refuse(tag_refusal::LOG_REASON, tag_refusal::payloads(), context);
        }
        self.state = State::Established { since: context.now.clock };
        self.initial_contact = request.initial_contact;
        let mut payloads = proof;
        if let Some(elsewhere) = context.settings.continuity.redirection_of_proven(&init.request) {
            payloads.push(elsewhere);
            return Answer::Reply(payloads, Fate::Stays);
        }
        payloads.extend(self.first_child(init, request, context).unwrap_or_else(|refusal| vec![notify(refusal)]));
        payloads.extend(self.beside_first_child(request.mobile, context));
        if request.wants_ticket && context.settings.continuity.tickets {
            payloads.extend(self.ticket(&request.id, context));
        }
        self.log(LogKind::TunnelUp, context);
        Answer::Reply(payloads, Fate::Stays)
    }

    fn first_child(
        &mut self,
        init: &InitExchange,
        request: &FirstRequest,
        context: &mut Context<'_>,
    ) -> Result<Vec<Payload>, NotifyType> {
        let configuration = request.configuration.as_ref().ok_or(NotifyType::FAILED_CP_REQUIRED)?;
        let wished = configuration.of_type(Type::INTERNAL_IP4_ADDRESS).next().and_then(Attribute::ipv4);
        let address = context.pool.lease(self.own_spi(), wished).ok_or(NotifyType::INTERNAL_ADDRESS_FAILURE)?;
        self.facts.address = Some(address);
        let nonces = Nonces { initiator: &init.initiator_nonce, responder: &init.responder_nonce };
        let Made { mut payloads, child } = self.make_child(&request.wanted, nonces, context)?;
        self.children.push(child);
        payloads.insert(0, Payload::Configuration(reply(address, context)));
        Ok(payloads)
    }

    /// FortiOS's rule: tags are looked at one after the other until one resolves to the address
    /// that the client's packets come from.
    fn tags_match(&self, context: &Context<'_>) -> bool {
        let settings = context.settings;
        match settings.remote_gw_match {
            RemoteGatewayMatch::Any => true,
            RemoteGatewayMatch::Ztna => self.path.outer_ipv4().is_some_and(|address| {
                settings.remote_gw_ztna_tags.iter().any(|tag| context.tags.resolves(tag, address))
            }),
        }
    }

    pub(super) fn refuse(&mut self, reason: &'static str, payloads: Vec<Payload>, context: &mut Context<'_>) -> Answer {
        self.log(LogKind::NegotiationFailed { reason }, context);
        Answer::Reply(payloads, Fate::Ends)
    }
}

fn reply(address: Ipv4Addr, context: &Context<'_>) -> Configuration {
    let settings = context.settings;
    let mut attributes = vec![
        Attribute::new(Type::INTERNAL_IP4_ADDRESS, address.octets()),
        Attribute::new(Type::INTERNAL_IP4_NETMASK, [255; 4]),
    ];
    attributes.extend(settings.dns.iter().map(|dns| Attribute::new(Type::INTERNAL_IP4_DNS, dns.octets())));
    attributes.extend(settings.networks.iter().map(|network| {
        let value = [network.network().octets(), network.netmask().octets()].concat();
        Attribute::new(Type::INTERNAL_IP4_SUBNET, value)
    }));
    attributes.extend(settings.domains.iter().map(|name| Attribute::new(Type::INTERNAL_DNS_DOMAIN, name.as_bytes())));
    fortigate::dress(&mut attributes, settings);
    Configuration { kind: ConfigurationType::REPLY, attributes }
}

/// Reads the UID line of FortiClient's description of itself.
fn forticlient_uid(payloads: &[Payload]) -> Option<String> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Notify(n) if n.notify_type == NotifyType::FORTICLIENT_CONNECT => {
            let text = std::str::from_utf8(&n.data).ok()?;
            text.lines().find_map(|line| line.strip_prefix("UID=")).map(str::to_owned)
        }
        _ => None,
    })
}

/// The client's selectors, narrowed to the address that it was given.
pub(super) fn narrowed_to(address: Ipv4Addr, offered: &[TrafficSelector]) -> Vec<TrafficSelector> {
    let address = address.into();
    let covering = offered.iter().filter(|selector| selector.contains_address(address));
    covering.map(|selector| TrafficSelector { addresses: address..=address, ..selector.clone() }).collect()
}
