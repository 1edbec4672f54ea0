//! Whether the gateway's certificate was revoked, where nothing at hand says so.
//!
//! Asked is only after the certificate's path has led to an anchor and its key has signed AUTH: whoever merely
//! stands in the way makes this client ask nobody. What comes back is held against the certificate as the rest was.

use super::response::AwaitingAuthResponse;
use super::verification::{learnt, verify};
use crate::auth::GatewayProven;
use crate::auth::certificate::{Fetched, RevocationSource};
use crate::auth::gateway::ProvenBy;
use crate::session::cause::CloseCause;
use crate::session::closing;
use crate::session::configuration::GatewayAuthentication;
use crate::session::context::{Context, Question};
use crate::session::event::{Event, Warning};
use crate::session::payloads::Payloads;
use crate::session::request::{Answer, Request};
use crate::session::state::State;
use crate::time::Timestamp;
use crate::wire::Payload;

/// Octets of the nonce in OCSP requests (RFC 8954 §2.1).
const NONCE_LENGTH: usize = 32;

/// Awaits what those say who were asked.
pub(in crate::session) struct AwaitingRevocation {
    pub state: AwaitingAuthResponse,
    pub question: Question,
    payloads: Vec<Payload>,
    nonce: Vec<u8>,
}

/// What is to be asked.
pub(super) struct ToAsk {
    certificates: Vec<Vec<RevocationSource>>,
    nonce: Vec<u8>,
}

/// Returns what is to be asked of a gateway's certificates; nothing where the profile does not want it or the
/// certificates name nobody.
pub(super) fn to_ask(proven: &GatewayProven, context: &mut Context) -> Result<Option<ToAsk>, CloseCause> {
    let (ProvenBy::Certificate { gateway, .. }, GatewayAuthentication::Certificate { revocation, .. }) =
        (proven.by(), &context.configuration.gateway_auth)
    else {
        return Ok(None);
    };
    if !revocation.inquire || gateway.unsettled.is_empty() {
        return Ok(None);
    }
    let mut nonce = vec![0; NONCE_LENGTH];
    context.random.fill(&mut nonce)?;
    let certificates: Vec<_> = gateway.unsettled.iter().map(|inquiry| inquiry.sources(&nonce)).collect();
    let certificates: Vec<_> = certificates.into_iter().filter(|sources| !sources.is_empty()).collect();
    Ok((!certificates.is_empty()).then_some(ToAsk { certificates, nonce }))
}

impl ToAsk {
    pub(super) fn ask(
        self,
        state: AwaitingAuthResponse,
        payloads: &[Payload],
        context: &mut Context,
        now: Timestamp,
    ) -> State {
        let Self { certificates, nonce } = self;
        let question = context.ask(Request::RevocationStatus { certificates }, now);
        let payloads = payloads.to_vec();
        State::AwaitingRevocation(Box::new(AwaitingRevocation { state, question, payloads, nonce }))
    }
}

impl AwaitingRevocation {
    /// Takes the answer. A refusal is none: it says as little as a responder that is silent.
    pub(in crate::session) fn answer(self, answer: Answer, context: &mut Context, now: Timestamp) -> State {
        let Self { mut state, payloads, nonce, .. } = self;
        let (responses, lists) = match answer {
            Answer::RevocationStatus { responses, lists } => (responses, lists),
            _ => (Vec::new(), Vec::new()),
        };
        let payloads = Payloads(&payloads);
        let fetched = Fetched { nonce, responses, lists };
        // Also what makes an end of this gateway is worth knowing the next time.
        for answer in learnt(payloads, &fetched, context, now) {
            context.tell(Event::RevocationLearnt(answer));
        }
        let proven = match verify(&state.negotiated, state.psk.as_ref(), payloads, Some(fetched), context, now) {
            Ok(proven) => proven,
            Err(cause) => return closing::farewell(state.negotiated.sa, cause, context, now),
        };
        if let ProvenBy::Certificate { gateway, .. } = proven.by()
            && !gateway.unsettled.is_empty()
        {
            state.warnings.push(Warning::RevocationUnknown);
        }
        state.go_on(proven, payloads, context, now)
    }
}
