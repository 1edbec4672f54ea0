//! The first IKE_AUTH request.

use super::own::OwnProof;
use super::response::AwaitingAuthResponse;
use super::second;
use crate::auth::certificate::{self, RevocationPolicy};
use crate::crypto::Secret;
use crate::session::cause::CloseCause;
use crate::session::child::{ChildOffer, FirstChild};
use crate::session::configuration::{ClientAuthentication, GatewayAuthentication};
use crate::session::context::Context;
use crate::session::event::Warning;
use crate::session::init::Negotiated;
use crate::session::state::State;
use crate::session::{closing, config};
use crate::time::Timestamp;
use crate::wire::{ExchangeType, Identification, Notify, NotifyType, Payload};

/// Pre-shared keys with fewer octets are warned about: everyone who sees one handshake can try
/// keys against it for as long as he likes.
const STRONG_PRE_SHARED_KEY: usize = 20;

/// Sends the first IKE_AUTH.
pub(super) fn send(
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
pub(super) fn first_request(
    negotiated: &Negotiated,
    identity: &Identification,
    own: Option<OwnProof>,
    context: &mut Context,
) -> Result<(Vec<Payload>, FirstChild), CloseCause> {
    let offer = ChildOffer::first(context)?;
    let configuration = &context.configuration;
    let mut payloads = vec![Payload::IdentificationInitiator(identity.clone())];
    if let Some(chain) = configuration.client_auth.chain() {
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
    if let GatewayAuthentication::Certificate { anchors, revocation, .. } = &configuration.gateway_auth {
        let request = certificate::request(anchors).map_err(|error| CloseCause::unusable(error.to_string()))?;
        payloads.push(Payload::CertificateRequest(request));
        if revocation.inquire && revocation.policy != RevocationPolicy::Off && !anchors.is_empty() {
            payloads.push(Payload::CertificateRequest(certificate::request_ocsp()));
        }
    }
    if let (true, Some(gateway)) = (configuration.send_remote_identity, &configuration.remote_identity) {
        payloads.push(Payload::IdentificationResponder(gateway.into()));
    }
    if let Some(OwnProof { authentication, without_ppk }) = own {
        payloads.push(Payload::Authentication(authentication));
        payloads.extend(negotiated.ppk_notifies(configuration, without_ppk));
    }
    payloads.extend(second::notifies(&configuration.client_auth));
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

/// Returns what a person should know of the way in which both sides prove themselves.
pub(super) fn warnings(context: &Context, psk: Option<&Secret>) -> Vec<Warning> {
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
