//! IKE_AUTH: both sides prove who they are, and the first CHILD SA is made (RFC 7296 §1.2, §2.15).
//!
//! The gateway's proof is checked before anything else in its answer is used. Only what
//! [`gateway`] returns for a good proof opens the way on: to the CHILD SA, or
//! to EAP.

use super::cause::{CloseCause, DistrustReason, LikelyCause, SaKind};
use super::child::{Agreed, ChildOffer, ChildSa, FirstChild};
use super::config::{self, Assigned};
use super::configuration::{ClientAuthentication, GatewayAuthentication};
use super::context::{Context, Question};
use super::established::{EstablishedSa, IkeLifetime};
use super::event::{Established, Event, Warning};
use super::init::Negotiated;
use super::payloads::Payloads;
use super::ppk::{self, Ppk};
use super::redirect::{self, RedirectTarget};
use super::request::{Answer, Request};
use super::resume::Ticket;
use super::state::State;
use super::{closing, eap, init};
use crate::auth::certificate::{self, ExpectedIdentity, Trust};
use crate::auth::eap::EapKey;
use crate::auth::gateway::{self, Claim, ProvenBy};
use crate::auth::octets::signed_octets;
use crate::auth::signature::{SignatureHashes, SignaturePolicy, SignatureScheme};
use crate::auth::{GatewayProven, GatewayRejected, Identity, psk};
use crate::crypto::Secret;
use crate::crypto::keys::Side;
use crate::crypto::suite::{EspSuite, IkeSuite};
use crate::time::Timestamp;
use crate::wire::{Authentication, AuthenticationMethod, ExchangeType, Identification, Notify, NotifyType, Payload};

/// Pre-shared keys with fewer octets are warned about: everyone who sees one handshake can try
/// keys against it for as long as he likes.
const STRONG_PRE_SHARED_KEY: usize = 20;

/// Awaits the pre-shared key from the owner.
pub(super) struct AwaitingPreSharedKey {
    pub negotiated: Box<Negotiated>,
    pub question: Question,
}

/// Awaits a signature from the owner.
pub(super) struct AwaitingSignature {
    pub negotiated: Box<Negotiated>,
    pub question: Question,
    psk: Option<Secret>,
    identity: Identification,
    /// The proof with the post-quantum pre-shared key, while the one without it is being made.
    first: Option<Authentication>,
}

/// What goes into AUTH.
struct OwnProof {
    authentication: Authentication,
    /// The authentication data without the post-quantum pre-shared key, where the gateway may choose.
    without_ppk: Option<Vec<u8>>,
}

/// Awaits the response to the first IKE_AUTH.
pub(super) struct AwaitingAuthResponse {
    pub negotiated: Box<Negotiated>,
    psk: Option<Secret>,
    identity: Identification,
    offer: FirstChild,
    warnings: Vec<Warning>,
}

/// Awaits the response to the AUTH that came out of EAP.
pub(super) struct AwaitingFinalAuth {
    pub negotiated: Box<Negotiated>,
    pub proven: GatewayProven,
    pub offer: FirstChild,
    pub warnings: Vec<Warning>,
    /// The key that both AUTH payloads come from.
    pub key: EapKey,
    /// The identity that the gateway's second AUTH covers.
    pub gateway: Option<Identification>,
}

/// Awaits the response to the only IKE_AUTH of a resumed session.
pub(super) struct AwaitingResumedAuth {
    pub negotiated: Box<Negotiated>,
    offer: FirstChild,
    gateway: Identity,
}

/// Starts with what IKE_SESSION_RESUME brought: both sides prove that they hold the keys of the session
/// that is resumed (RFC 5723 §5.1).
pub(super) fn resume(
    mut negotiated: Box<Negotiated>,
    (identity, gateway): (Identity, Identity),
    context: &mut Context,
    now: Timestamp,
) -> State {
    let own = Identification::from(&identity);
    let keys = &negotiated.sa.keys;
    let data = keys.prf.compute(keys.sk_pi.expose(), &[&negotiated.own_octets(&own)]).expose().to_vec();
    let authentication = Authentication { method: AuthenticationMethod::SHARED_KEY, data };
    let own_proof = Some(OwnProof { authentication, without_ppk: None });
    let sent = first_request(&negotiated, &own, own_proof, context).and_then(|(payloads, offer)| {
        negotiated.sa.request(ExchangeType::IKE_AUTH, &payloads, context, now)?;
        Ok(offer)
    });
    match sent {
        Ok(offer) => {
            context.identity = Some(identity);
            State::AwaitingResumedAuth(Box::new(AwaitingResumedAuth { negotiated, offer, gateway }))
        }
        Err(cause) => closing::farewell(negotiated.sa, cause, context, now),
    }
}

impl AwaitingResumedAuth {
    /// Takes the response: `IDr AUTH [CP] SA TSi TSr`.
    pub(super) fn respond(self, payloads: &[Payload], context: &mut Context, now: Timestamp) -> State {
        let Self { negotiated, offer, gateway } = self;
        let payloads = Payloads(payloads);
        let (Some(theirs), Some(authentication)) = (payloads.responder_identity(), payloads.authentication()) else {
            let cause = match payloads.error() {
                Some(notify) => CloseCause::of_refusal(notify, SaKind::Child, &[LikelyCause::IdentityUnknown]),
                None => CloseCause::GatewayNotTrusted { why: DistrustReason::ProofMissing },
            };
            return closing::farewell(negotiated.sa, cause, context, now);
        };
        let octets = negotiated.gateway_octets(theirs);
        let claim = Claim { identity: theirs, authentication, certificates: &[], octets: &octets };
        let keys = &negotiated.sa.keys;
        match gateway::prove_by_resumption(&claim, keys.prf, keys.sk_pr.expose(), &gateway) {
            Ok(proven) => {
                let warnings = warnings(context, None);
                establish(negotiated, &proven, offer, warnings, payloads, context, now)
            }
            Err(rejected) => {
                let cause = CloseCause::GatewayNotTrusted { why: rejected.into() };
                closing::farewell(negotiated.sa, cause, context, now)
            }
        }
    }
}

/// Starts with what IKE_SA_INIT brought.
pub(super) fn begin(negotiated: Box<Negotiated>, context: &mut Context, now: Timestamp) -> State {
    if matches!(negotiated.ppk, Ppk::Agreed) {
        return ppk::ask(negotiated, context, now);
    }
    let configuration = &context.configuration;
    let needs_key = configuration.gateway_auth == GatewayAuthentication::PreSharedKey
        || configuration.client_auth == ClientAuthentication::PreSharedKey;
    if needs_key {
        let question = context.ask(Request::PreSharedKey, now);
        return State::AwaitingPreSharedKey(Box::new(AwaitingPreSharedKey { negotiated, question }));
    }
    prove(negotiated, None, context, now)
}

impl AwaitingPreSharedKey {
    pub(super) fn answer(self, answer: Answer, context: &mut Context, now: Timestamp) -> State {
        match answer {
            Answer::Secret { secret } if !secret.expose().is_empty() => {
                prove(self.negotiated, Some(secret), context, now)
            }
            _ => {
                let cause = CloseCause::InputRefused { because: "the pre-shared key is empty".to_owned() };
                closing::farewell(self.negotiated.sa, cause, context, now)
            }
        }
    }
}

/// Makes the own proof, or leaves it out when EAP is to follow.
fn prove(negotiated: Box<Negotiated>, psk: Option<Secret>, context: &mut Context, now: Timestamp) -> State {
    let identity = match own_identity(context) {
        Ok(identity) => identity,
        Err(cause) => return closing::farewell(negotiated.sa, cause, context, now),
    };
    let identity = Identification::from(&*context.identity.insert(identity));
    let octets = negotiated.own_octets(&identity);
    let own = match (&context.configuration.client_auth, &psk) {
        (ClientAuthentication::Eap { .. }, _) => None,
        (ClientAuthentication::PreSharedKey, Some(psk)) => {
            let prf = negotiated.sa.keys.prf;
            let twice = negotiated.proves_twice(&context.configuration);
            let method = AuthenticationMethod::SHARED_KEY;
            let plain = || psk::compute(prf, psk.expose(), &negotiated.own_octets_without_ppk(&identity));
            Some(OwnProof {
                authentication: Authentication { method, data: psk::compute(prf, psk.expose(), &octets) },
                without_ppk: twice.then(plain),
            })
        }
        (ClientAuthentication::PreSharedKey, None) => {
            let cause = CloseCause::InputRefused { because: "there is no pre-shared key".to_owned() };
            return closing::farewell(negotiated.sa, cause, context, now);
        }
        (ClientAuthentication::Certificate { .. }, _) => {
            let request = Request::Sign { octets, announced: negotiated.announced.clone() };
            let question = context.ask(request, now);
            let state = AwaitingSignature { negotiated, question, psk, identity, first: None };
            return State::AwaitingSignature(Box::new(state));
        }
    };
    send(negotiated, psk, identity, own, context, now)
}

/// Returns IDi: the configured one, the certificate's subject, or the local address.
fn own_identity(context: &Context) -> Result<Identity, CloseCause> {
    let configuration = &context.configuration;
    if let Some(identity) = &configuration.local_identity {
        return Ok(identity.clone());
    }
    match &configuration.client_auth {
        ClientAuthentication::Certificate { chain } => {
            let leaf = chain.first().ok_or_else(|| CloseCause::unusable("no certificate of this client"))?;
            certificate::subject(leaf).map_err(|error| CloseCause::unusable(error.to_string()))
        }
        _ => Ok(Identity::Address(context.path.local.ip())),
    }
}

impl AwaitingSignature {
    pub(super) fn answer(self, answer: Answer, context: &mut Context, now: Timestamp) -> State {
        let Self { negotiated, psk, identity, first, .. } = self;
        match (answer, first) {
            (Answer::Signature { method, data }, None) => {
                let authentication = Authentication { method: AuthenticationMethod(method), data };
                if negotiated.proves_twice(&context.configuration) {
                    let octets = negotiated.own_octets_without_ppk(&identity);
                    let request = Request::Sign { octets, announced: negotiated.announced.clone() };
                    let question = context.ask(request, now);
                    let first = Some(authentication);
                    let state = Self { negotiated, question, psk, identity, first };
                    return State::AwaitingSignature(Box::new(state));
                }
                let own = OwnProof { authentication, without_ppk: None };
                send(negotiated, psk, identity, Some(own), context, now)
            }
            (Answer::Signature { method, data }, Some(authentication)) if method == authentication.method.0 => {
                let own = OwnProof { authentication, without_ppk: Some(data) };
                send(negotiated, psk, identity, Some(own), context, now)
            }
            _ => {
                let cause = CloseCause::InputRefused { because: "no signature was given".to_owned() };
                closing::farewell(negotiated.sa, cause, context, now)
            }
        }
    }
}

/// Sends the first IKE_AUTH.
fn send(
    mut negotiated: Box<Negotiated>,
    psk: Option<Secret>,
    identity: Identification,
    own: Option<OwnProof>,
    context: &mut Context,
    now: Timestamp,
) -> State {
    let sent = first_request(&negotiated, &identity, own, context).and_then(|(payloads, offer)| {
        negotiated.sa.request(ExchangeType::IKE_AUTH, &payloads, context, now)?;
        Ok(offer)
    });
    match sent {
        Ok(offer) => {
            let warnings = warnings(context, psk.as_ref());
            let state = AwaitingAuthResponse { negotiated, psk, identity, offer, warnings };
            State::AwaitingAuthResponse(Box::new(state))
        }
        Err(cause) => closing::farewell(negotiated.sa, cause, context, now),
    }
}

/// Returns `IDi, [CERT, ...] [N(INITIAL_CONTACT)] [CERTREQ] [IDr] [AUTH] [N(PPK_IDENTITY) [N(NO_PPK_AUTH)]]
/// [CP] [SA TSi TSr] [N(TICKET_REQUEST)] [N(MOBIKE_SUPPORTED)]`.
fn first_request(
    negotiated: &Negotiated,
    identity: &Identification,
    own: Option<OwnProof>,
    context: &mut Context,
) -> Result<(Vec<Payload>, FirstChild), CloseCause> {
    let offer = ChildOffer::first(context)?;
    let configuration = &context.configuration;
    let mut payloads = vec![Payload::IdentificationInitiator(identity.clone())];
    if let ClientAuthentication::Certificate { chain } = &configuration.client_auth {
        payloads.extend(certificate::payloads(chain).into_iter().map(Payload::Certificate));
    }
    if configuration.initial_contact {
        payloads.push(Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, Vec::new())));
    }
    if configuration.gateway_auth == GatewayAuthentication::Eap {
        payloads.push(Payload::Notify(Notify::new(NotifyType::EAP_ONLY_AUTHENTICATION, Vec::new())));
    }
    let private = configuration.extensions.notifies.iter();
    payloads.extend(private.map(|(kind, data)| Payload::Notify(Notify::new(NotifyType(*kind), data.clone()))));
    if let GatewayAuthentication::Certificate { anchors, .. } = &configuration.gateway_auth {
        let request = certificate::request(anchors).map_err(|error| CloseCause::unusable(error.to_string()))?;
        payloads.push(Payload::CertificateRequest(request));
    }
    if let (true, Some(gateway)) = (configuration.send_remote_identity, &configuration.remote_identity) {
        payloads.push(Payload::IdentificationResponder(gateway.into()));
    }
    if let Some(OwnProof { authentication, without_ppk }) = own {
        payloads.push(Payload::Authentication(authentication));
        payloads.extend(negotiated.ppk_notifies(configuration, without_ppk));
    }
    let continuity = &configuration.continuity;
    let preferred = &continuity.preferred_addresses;
    payloads.extend(
        config::request(configuration.virtual_addresses, preferred, &configuration.extensions)
            .map(Payload::Configuration),
    );
    let offer = if negotiated.childless && continuity.childless {
        FirstChild::Later
    } else {
        payloads.extend(offer.payloads());
        FirstChild::Offered(offer)
    };
    if continuity.resumption {
        payloads.push(Payload::Notify(Notify::new(NotifyType::TICKET_REQUEST, Vec::new())));
    }
    if continuity.mobility {
        payloads.push(Payload::Notify(Notify::new(NotifyType::MOBIKE_SUPPORTED, Vec::new())));
    }
    Ok((payloads, offer))
}

fn warnings(context: &Context, psk: Option<&Secret>) -> Vec<Warning> {
    let configuration = &context.configuration;
    let mut warnings = Vec::new();
    let with_eap = matches!(configuration.client_auth, ClientAuthentication::Eap { .. });
    if with_eap && configuration.gateway_auth == GatewayAuthentication::PreSharedKey {
        warnings.push(Warning::GatewayByPreSharedKey);
    }
    if psk.is_some_and(|psk| psk.expose().len() < STRONG_PRE_SHARED_KEY) {
        warnings.push(Warning::PreSharedKeyWeak);
    }
    warnings
}

impl AwaitingAuthResponse {
    /// Takes the response: `IDr, [CERT, ...] AUTH`, then EAP or `[CP] SA TSi TSr`.
    pub(super) fn respond(self, payloads: &[Payload], context: &mut Context, now: Timestamp) -> State {
        let Self { mut negotiated, psk, identity, offer, mut warnings } = self;
        let payloads = Payloads(payloads);
        if payloads.authentication().is_none()
            && let Some(notify) = payloads.error()
        {
            let cause = CloseCause::of_refusal(notify, SaKind::Child, &likely(&negotiated, context));
            return State::closed(cause, context);
        }
        let by_login = context.configuration.gateway_auth == GatewayAuthentication::Eap;
        if let (true, Some(idr), Some(packet)) = (by_login, payloads.responder_identity(), payloads.eap()) {
            let standing = match Identity::try_from(idr) {
                Ok(identity) => eap::Standing::ByLogin(identity),
                Err(error) => {
                    let cause = CloseCause::misbehaved(error.to_string());
                    return closing::farewell(negotiated.sa, cause, context, now);
                }
            };
            let gateway = Some(idr.clone());
            let round = eap::Round { standing, offer, warnings, identity, gateway };
            return eap::begin(negotiated, round, packet, context, now);
        }
        // With EAP the gateway's first AUTH is made without the post-quantum key (RFC 8784 §4).
        let settled = match &context.configuration.client_auth {
            ClientAuthentication::Eap { .. } => Ok(()),
            _ => negotiated.settle_ppk(&context.configuration, payloads),
        };
        if let Err(cause) = settled {
            return closing::farewell(negotiated.sa, cause, context, now);
        }
        let proven = match verify(&negotiated, psk.as_ref(), payloads, context, now) {
            Ok(proven) => proven,
            Err(cause) => return closing::farewell(negotiated.sa, cause, context, now),
        };
        if matches!(proven.by(), ProvenBy::Certificate { scheme: SignatureScheme::RsaSha1, .. }) {
            warnings.push(Warning::SignatureUsesSha1);
        }
        if let Some(to) = followed(payloads, context) {
            return closing::farewell(negotiated.sa, CloseCause::Redirected { to }, context, now);
        }
        match (&context.configuration.client_auth, payloads.eap()) {
            (ClientAuthentication::Eap { .. }, Some(packet)) => {
                let gateway = payloads.responder_identity().cloned();
                let round = eap::Round { standing: eap::Standing::Proven(proven), offer, warnings, identity, gateway };
                eap::begin(negotiated, round, packet, context, now)
            }
            (ClientAuthentication::Eap { .. }, None) => {
                let cause = CloseCause::misbehaved("it lets this client in without EAP");
                closing::farewell(negotiated.sa, cause, context, now)
            }
            (_, Some(_)) => {
                let cause =
                    CloseCause::PeerIncompatible { what: "EAP, for which this tunnel is not set up".to_owned() };
                closing::farewell(negotiated.sa, cause, context, now)
            }
            (_, None) => establish(negotiated, &proven, offer, warnings, payloads, context, now),
        }
    }
}

impl AwaitingFinalAuth {
    /// Takes the response: AUTH by the key that EAP made, `[CP] SA TSi TSr`.
    pub(super) fn respond(self, payloads: &[Payload], context: &mut Context, now: Timestamp) -> State {
        let Self { mut negotiated, proven, offer, warnings, key, gateway } = self;
        let payloads = Payloads(payloads);
        let Some(authentication) = payloads.authentication() else {
            let cause = match payloads.error() {
                Some(notify) => {
                    let wrong_ppk = matches!(negotiated.ppk, Ppk::Mixed(_)).then_some(LikelyCause::PostQuantumKeyWrong);
                    let likely: Vec<_> = wrong_ppk.into_iter().chain([LikelyCause::CredentialsWrong]).collect();
                    return State::closed(CloseCause::of_refusal(notify, SaKind::Child, &likely), context);
                }
                None => DistrustReason::ProofMissing,
            };
            return closing::farewell(negotiated.sa, CloseCause::GatewayNotTrusted { why: cause }, context, now);
        };
        if let Err(cause) = negotiated.settle_ppk(&context.configuration, payloads) {
            return closing::farewell(negotiated.sa, cause, context, now);
        }
        let keys = &negotiated.sa.keys;
        let key = key.secret(keys.sk_pr.expose());
        let good = authentication.method == AuthenticationMethod::SHARED_KEY
            && gateway.is_some_and(|gateway| {
                psk::verify(keys.prf, key, &negotiated.gateway_octets(&gateway), &authentication.data)
            });
        if !good {
            let why = DistrustReason::EapProofMissing;
            return closing::farewell(negotiated.sa, CloseCause::GatewayNotTrusted { why }, context, now);
        }
        if let Some(to) = followed(payloads, context) {
            return closing::farewell(negotiated.sa, CloseCause::Redirected { to }, context, now);
        }
        establish(negotiated, &proven, offer, warnings, payloads, context, now)
    }
}

/// Returns where the gateway, which has proven itself, sends this client (RFC 5685 §4).
fn followed(payloads: Payloads<'_>, context: &Context) -> Option<RedirectTarget> {
    redirect::protected(payloads).filter(|_| context.configuration.continuity.follow_redirects)
}

/// Checks who the gateway is.
fn verify(
    negotiated: &Negotiated,
    psk: Option<&Secret>,
    payloads: Payloads<'_>,
    context: &Context,
    now: Timestamp,
) -> Result<GatewayProven, CloseCause> {
    let missing = || CloseCause::GatewayNotTrusted { why: DistrustReason::ProofMissing };
    let identity = payloads.responder_identity().ok_or_else(missing)?;
    let authentication = payloads.authentication().ok_or_else(missing)?;
    let certificates: Vec<_> = payloads.certificates().cloned().collect();
    let octets = negotiated.gateway_octets(identity);
    let claim = Claim { identity, authentication, certificates: &certificates, octets: &octets };
    let configuration = &context.configuration;
    let expected = configuration.remote_identity.as_ref();
    let proven = match (&configuration.gateway_auth, psk) {
        (GatewayAuthentication::PreSharedKey, Some(psk)) => {
            gateway::prove_by_psk(&claim, negotiated.sa.keys.prf, psk.expose(), expected)
        }
        // Where the login is the proof, a response without EAP proves nothing.
        (GatewayAuthentication::PreSharedKey, None) | (GatewayAuthentication::Eap, _) => return Err(missing()),
        (GatewayAuthentication::Certificate { anchors, spki_pins, allow_rsa_sha1, revocation }, _) => {
            let dialled = ExpectedIdentity::Host(&configuration.gateway_name);
            let expected = expected.map_or(dialled, ExpectedIdentity::Profile);
            let trust = Trust { anchors, pins: spki_pins, revocation, expected };
            let signatures = SignaturePolicy {
                announced_by_us: &SignatureHashes::ours(),
                announced_by_gateway: &negotiated.announced,
                allow_rsa_sha1: *allow_rsa_sha1,
            };
            gateway::prove_by_certificate(&claim, &trust, &signatures, context.unix(now))
        }
    };
    proven.map_err(|rejected| CloseCause::GatewayNotTrusted { why: rejected.into() })
}

impl From<GatewayRejected> for DistrustReason {
    fn from(rejected: GatewayRejected) -> Self {
        match rejected {
            GatewayRejected::IdentityMismatch { presented, .. } => Self::IdentityMismatch { presented },
            GatewayRejected::MethodNotAccepted { method } => Self::MethodNotAccepted { method },
            GatewayRejected::Certificate(error) => Self::Certificate { error: error.to_string() },
            GatewayRejected::IdentityUnreadable(error) => Self::Certificate { error: error.to_string() },
            _ => Self::ProofWrong,
        }
    }
}

/// Takes what the gateway assigned and chose into use.
pub(super) fn establish(
    negotiated: Box<Negotiated>,
    proven: &GatewayProven,
    offer: FirstChild,
    mut warnings: Vec<Warning>,
    payloads: Payloads<'_>,
    context: &mut Context,
    now: Timestamp,
) -> State {
    let outcome = first_child(offer, negotiated.childless, payloads, context, now);
    let outcome = outcome.and_then(|child| Ok((child, IkeLifetime::draw(context, now)?)));
    let ((first, assigned), lifetime) = match outcome {
        Ok(outcome) => outcome,
        Err(_) if wants_no_child(&negotiated, payloads, context) => {
            context.configuration.continuity.childless = true;
            return init::from_the_start(context, now);
        }
        Err(cause) => return closing::farewell(negotiated.sa, cause, context, now),
    };
    let ike = Some(negotiated.sa.suite).filter(IkeSuite::is_weak).map(|suite| suite.to_string());
    let esp = first.as_ref().map(|(agreed, _)| agreed.suite).filter(EspSuite::is_weak).map(|suite| suite.to_string());
    if context.configuration.ppk.is_some() && !matches!(negotiated.ppk, Ppk::InUse) {
        warnings.push(Warning::PostQuantumKeyUnused);
    }
    warnings.extend(ike.into_iter().chain(esp).map(|suite| Warning::WeakSuite { suite }));
    let established = Established {
        gateway: context.path.remote,
        gateway_identity: proven.identity().clone(),
        addresses: assigned.addresses,
        dns: assigned.dns,
        domains: assigned.domains,
        subnets: assigned.subnets,
        ike_suite: negotiated.sa.suite,
        nat: negotiated.nat,
        warnings,
    };
    let keys = match &first {
        Some((agreed, _)) => negotiated.sa.keys.child(&agreed.suite, None, negotiated.nonces()).map(Some),
        None => Ok(None),
    };
    let keys = match keys {
        Ok(keys) => keys,
        Err(error) => return closing::farewell(negotiated.sa, error.into(), context, now),
    };
    // The driver hears of the SA as a whole before it gets the keys of its child.
    context.tell(Event::Established(Box::new(established)));
    if let (Some((agreed, _)), Some(keys)) = (&first, &keys)
        && let Err(cause) = agreed.install(keys, Side::Initiator, None, context)
    {
        return closing::farewell(negotiated.sa, cause, context, now);
    }
    if let (true, Some(identity)) = (context.configuration.continuity.resumption, context.identity.clone()) {
        let identities = (identity, proven.identity().clone());
        let ticket = Ticket::read(payloads, &negotiated, identities, now);
        ticket.into_iter().for_each(|ticket| context.tell(Event::Ticket(Box::new(ticket))));
    }
    let Negotiated { sa, nat, .. } = *negotiated;
    let child = first.map(|(_, child)| child);
    Box::new(EstablishedSa::new(sa, child, lifetime, nat, context, now)).begin(payloads, context, now)
}

/// Tells whether the gateway, which can do without a CHILD SA, has refused the whole of IKE_AUTH because
/// there was one (strongSwan's `childless = force`): it has forgotten the IKE SA, so without one it
/// is tried from the start.
fn wants_no_child(negotiated: &Negotiated, payloads: Payloads<'_>, context: &Context) -> bool {
    let refused = payloads.error().is_some_and(|notify| notify.notify_type == NotifyType::INVALID_SYNTAX);
    refused && negotiated.childless && !context.configuration.continuity.childless
}

/// Reads what was assigned, and the CHILD SA if there is one. A gateway that can do without at first
/// may refuse it here and give one to the request that follows (RFC 6023 §3).
fn first_child(
    offer: FirstChild,
    childless: bool,
    payloads: Payloads<'_>,
    context: &mut Context,
    now: Timestamp,
) -> Result<(Option<(Agreed, ChildSa)>, Assigned), CloseCause> {
    let refused_here = |kind| {
        [NotifyType::NO_PROPOSAL_CHOSEN, NotifyType::NO_ADDITIONAL_SAS, NotifyType::TEMPORARY_FAILURE].contains(&kind)
    };
    let offer = match (offer, payloads.error()) {
        (_, Some(notify)) if childless && refused_here(notify.notify_type) => FirstChild::Later,
        (_, Some(notify)) => return Err(CloseCause::of_refusal(notify, SaKind::Child, &[])),
        (offer, None) => offer,
    };
    let wanted = context.configuration.virtual_addresses;
    let assigned = payloads
        .configuration_reply()
        .map(|reply| Assigned::read(reply, wanted, &context.configuration.extensions))
        .unwrap_or_default();
    if !assigned.suffices(wanted) {
        return Err(CloseCause::AddressUnavailable);
    }
    let FirstChild::Offered(offer) = offer else { return Ok((None, assigned)) };
    let agreed = offer.agreed(payloads)?;
    let child = agreed.to_child(context, now)?;
    Ok((Some((agreed, child)), assigned))
}

impl Negotiated {
    /// Returns what the own AUTH covers, with the post-quantum pre-shared key where there is one.
    pub(super) fn own_octets(&self, identity: &Identification) -> Vec<u8> {
        let keys = &self.sa.keys;
        let sk_pi = if let Ppk::Mixed(mixed) = &self.ppk { &mixed.sk_pi } else { &keys.sk_pi };
        let octets = signed_octets(keys.prf, sk_pi.expose(), &self.request, &self.responder_nonce, &identity.body());
        [octets, self.sa.intermediate_octets()].concat()
    }

    /// Returns what the own AUTH without the post-quantum pre-shared key covers.
    pub(super) fn own_octets_without_ppk(&self, identity: &Identification) -> Vec<u8> {
        let keys = &self.sa.keys;
        let sk_pi = keys.sk_pi.expose();
        let octets = signed_octets(keys.prf, sk_pi, &self.request, &self.responder_nonce, &identity.body());
        [octets, self.sa.intermediate_octets()].concat()
    }

    /// Returns what the gateway's AUTH covers.
    fn gateway_octets(&self, identity: &Identification) -> Vec<u8> {
        let keys = &self.sa.keys;
        let sk_pr = keys.sk_pr.expose();
        let octets = signed_octets(keys.prf, sk_pr, &self.response, &self.initiator_nonce, &identity.body());
        [octets, self.sa.intermediate_octets()].concat()
    }
}

/// Returns what to suspect behind AUTHENTICATION_FAILED in answer to the first IKE_AUTH.
fn likely(negotiated: &Negotiated, context: &Context) -> Vec<LikelyCause> {
    let mut likely = match &context.configuration.client_auth {
        ClientAuthentication::PreSharedKey => vec![LikelyCause::PreSharedKeyWrong, LikelyCause::IdentityUnknown],
        ClientAuthentication::Certificate { .. } => {
            vec![LikelyCause::CertificateNotAccepted, LikelyCause::IdentityUnknown]
        }
        ClientAuthentication::Eap { .. } => return vec![LikelyCause::IdentityUnknown],
    };
    if matches!(negotiated.ppk, Ppk::Mixed(_)) {
        likely.insert(0, LikelyCause::PostQuantumKeyWrong);
    }
    likely
}
