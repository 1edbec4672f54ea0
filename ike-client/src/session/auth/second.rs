//! A second exchange of authentication (RFC 4739): a certificate first, then EAP.
//!
//! ```text
//!                     <--  HDR, SA, KE, Nr, N(MULTIPLE_AUTH_SUPPORTED)
//! HDR, SK {IDi, CERT, AUTH, SAi2, TSi, TSr,
//!   N(MULTIPLE_AUTH_SUPPORTED), N(ANOTHER_AUTH_FOLLOWS)}  -->
//!                     <--  HDR, SK {IDr, CERT, AUTH}
//! HDR, SK {IDi}  -->
//!                     <--  HDR, SK {EAP} ...
//! HDR, SK {AUTH}  -->
//!                     <--  HDR, SK {AUTH, SAr2, TSi, TSr}
//! ```
//! The second AUTH of each side comes from the key that EAP made; the client's covers the IDi of the second exchange.
//! Nothing of the second exchange leaves before the gateway has proven itself in the first. A gateway that
//! wants to prove itself twice is refused: there is nothing that its second proof could be held against.

use crate::auth::GatewayProven;
use crate::session::cause::{CloseCause, LikelyCause, SaKind};
use crate::session::child::FirstChild;
use crate::session::configuration::{ClientAuthentication, GatewayAuthentication};
use crate::session::context::Context;
use crate::session::event::Warning;
use crate::session::init::Negotiated;
use crate::session::payloads::Payloads;
use crate::session::state::State;
use crate::session::{closing, eap};
use crate::time::Timestamp;
use crate::wire::{ExchangeType, Identification, Notify, NotifyType, Payload};

/// What the first exchange brought.
pub(super) struct First {
    pub proven: GatewayProven,
    pub offer: FirstChild,
    pub warnings: Vec<Warning>,
    /// IDi.
    pub identity: Identification,
}

/// Awaits the gateway's first EAP packet of the second exchange.
pub(in crate::session) struct AwaitingSecondExchange {
    pub negotiated: Box<Negotiated>,
    first: First,
    /// IDr of the first exchange, which the gateway's last AUTH covers too.
    gateway: Option<Identification>,
}

/// Refuses a gateway that cannot do what the profile wants, before anything is shown to it.
pub(super) fn possible(negotiated: &Negotiated, context: &Context) -> Result<(), CloseCause> {
    let ClientAuthentication::CertificateThenEap { .. } = &context.configuration.client_auth else { return Ok(()) };
    if context.configuration.ppk.is_some() {
        return Err(CloseCause::unusable("a post-quantum pre-shared key beside two exchanges of authentication"));
    }
    if context.configuration.gateway_auth == GatewayAuthentication::Eap {
        return Err(CloseCause::unusable("the login as the gateway's only proof beside a certificate of this client"));
    }
    if !negotiated.several_authentications {
        let what = "a second exchange of authentication (RFC 4739)".to_owned();
        return Err(CloseCause::ProtectionMissing { what });
    }
    Ok(())
}

/// Returns what the first request says of the second exchange.
pub(super) fn notifies(client: &ClientAuthentication) -> Vec<Payload> {
    let kinds: &[NotifyType] = match client {
        ClientAuthentication::CertificateThenEap { .. } => {
            &[NotifyType::MULTIPLE_AUTH_SUPPORTED, NotifyType::ANOTHER_AUTH_FOLLOWS]
        }
        _ => &[],
    };
    kinds.iter().map(|kind| Payload::Notify(Notify::new(*kind, Vec::new()))).collect()
}

/// Refuses a gateway that says in its response that it will prove itself once more (RFC 4739 §2.2).
pub(super) fn gateway_stops_here(payloads: Payloads<'_>, context: &Context) -> Result<(), CloseCause> {
    if payloads.notify(NotifyType::ANOTHER_AUTH_FOLLOWS).is_none() {
        return Ok(());
    }
    Err(match &context.configuration.client_auth {
        ClientAuthentication::CertificateThenEap { .. } => {
            CloseCause::PeerIncompatible { what: "a second proof of its own identity (RFC 4739)".to_owned() }
        }
        _ => CloseCause::misbehaved("it announces another authentication to a client that does not know of such"),
    })
}

/// Begins the second exchange; `payloads` are the response of the first.
pub(super) fn begin(
    mut negotiated: Box<Negotiated>,
    mut first: First,
    payloads: Payloads<'_>,
    context: &mut Context,
    now: Timestamp,
) -> State {
    if payloads.proposals().is_some() {
        let cause = CloseCause::misbehaved("it lets this client in without the second authentication");
        return closing::farewell(negotiated.sa, cause, context, now);
    }
    if let ClientAuthentication::CertificateThenEap { second_identity: Some(identity), .. } =
        &context.configuration.client_auth
    {
        first.identity = Identification::from(identity);
    }
    let request = [Payload::IdentificationInitiator(first.identity.clone())];
    match negotiated.sa.request(ExchangeType::IKE_AUTH, &request, context, now) {
        Ok(()) => {
            let gateway = payloads.responder_identity().cloned();
            State::AwaitingSecondExchange(Box::new(AwaitingSecondExchange { negotiated, first, gateway }))
        }
        Err(cause) => closing::farewell(negotiated.sa, cause, context, now),
    }
}

impl AwaitingSecondExchange {
    /// Takes the response: `EAP`.
    pub(in crate::session) fn respond(self, payloads: &[Payload], context: &mut Context, now: Timestamp) -> State {
        let Self { negotiated, first, gateway } = self;
        let payloads = Payloads(payloads);
        match (payloads.eap(), payloads.error()) {
            (Some(packet), None) => {
                let First { proven, offer, warnings, identity } = first;
                let round = eap::Round { standing: eap::Standing::Proven(proven), offer, warnings, identity, gateway };
                eap::begin(negotiated, round, packet, context, now)
            }
            (_, Some(notify)) => {
                let cause = CloseCause::of_refusal(notify, SaKind::Child, &[LikelyCause::IdentityUnknown]);
                State::closed(cause, context)
            }
            (None, None) => {
                let cause = CloseCause::misbehaved("its answer within the second authentication holds no EAP packet");
                closing::farewell(negotiated.sa, cause, context, now)
            }
        }
    }
}
