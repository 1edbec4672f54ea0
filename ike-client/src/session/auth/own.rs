//! The own proof: what AUTH of this side is made from, and who is asked for it.

use super::request::send;
use super::second;
use crate::auth::octets::signed_octets;
use crate::auth::{Identity, certificate, psk};
use crate::crypto::Secret;
use crate::session::cause::CloseCause;
use crate::session::closing;
use crate::session::configuration::{ClientAuthentication, GatewayAuthentication};
use crate::session::context::{Context, Question};
use crate::session::init::Negotiated;
use crate::session::ppk::{self, Ppk};
use crate::session::request::{Answer, Request};
use crate::session::state::State;
use crate::time::Timestamp;
use crate::wire::{Authentication, AuthenticationMethod, Identification};

/// Awaits the pre-shared key from the owner.
pub(in crate::session) struct AwaitingPreSharedKey {
    pub negotiated: Box<Negotiated>,
    pub question: Question,
}

/// Awaits a signature from the owner.
pub(in crate::session) struct AwaitingSignature {
    pub negotiated: Box<Negotiated>,
    pub question: Question,
    psk: Option<Secret>,
    identity: Identification,
    /// The proof with the post-quantum pre-shared key, while the one without it is being made.
    first: Option<Authentication>,
}

/// What goes into AUTH.
pub(super) struct OwnProof {
    pub(super) authentication: Authentication,
    /// The authentication data without the post-quantum pre-shared key, where the gateway may choose.
    pub(super) without_ppk: Option<Vec<u8>>,
}

/// Starts with what IKE_SA_INIT brought.
pub(in crate::session) fn begin(negotiated: Box<Negotiated>, context: &mut Context, now: Timestamp) -> State {
    if let Err(cause) = second::possible(&negotiated, context) {
        return closing::farewell(negotiated.sa, cause, context, now);
    }
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
    pub(in crate::session) fn answer(self, answer: Answer, context: &mut Context, now: Timestamp) -> State {
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
        (ClientAuthentication::Certificate { .. } | ClientAuthentication::CertificateThenEap { .. }, _) => {
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
        ClientAuthentication::Certificate { chain } | ClientAuthentication::CertificateThenEap { chain, .. } => {
            let leaf = chain.first().ok_or_else(|| CloseCause::unusable("no certificate of this client"))?;
            certificate::subject(leaf).map_err(|error| CloseCause::unusable(error.to_string()))
        }
        _ => Ok(Identity::Address(context.path.local.ip())),
    }
}

impl AwaitingSignature {
    pub(in crate::session) fn answer(self, answer: Answer, context: &mut Context, now: Timestamp) -> State {
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

impl Negotiated {
    /// Returns what the own AUTH covers, with the post-quantum pre-shared key where there is one.
    pub(in crate::session) fn own_octets(&self, identity: &Identification) -> Vec<u8> {
        let keys = &self.sa.keys;
        let sk_pi = if let Ppk::Mixed(mixed) = &self.ppk { &mixed.sk_pi } else { &keys.sk_pi };
        let octets = signed_octets(keys.prf, sk_pi.expose(), &self.request, &self.responder_nonce, &identity.body());
        [octets, self.sa.intermediate_octets()].concat()
    }

    /// Returns what the own AUTH without the post-quantum pre-shared key covers.
    pub(in crate::session) fn own_octets_without_ppk(&self, identity: &Identification) -> Vec<u8> {
        let keys = &self.sa.keys;
        let sk_pi = keys.sk_pi.expose();
        let octets = signed_octets(keys.prf, sk_pi, &self.request, &self.responder_nonce, &identity.body());
        [octets, self.sa.intermediate_octets()].concat()
    }

    /// Returns what the gateway's AUTH covers, for each first message that may be the gateway's: one of them must do.
    pub(super) fn gateway_octets(&self, identity: &Identification) -> Vec<Vec<u8>> {
        let keys = &self.sa.keys;
        let sk_pr = keys.sk_pr.expose();
        let octets = |response: &Vec<u8>| {
            let octets = signed_octets(keys.prf, sk_pr, response, &self.initiator_nonce, &identity.body());
            [octets, self.sa.intermediate_octets()].concat()
        };
        self.responses.iter().map(octets).collect()
    }
}
