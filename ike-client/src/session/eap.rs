//! EAP inside IKE_AUTH (RFC 7296 §2.16).
//!
//! A round starts from a gateway that has proven itself, and the EAP peer cannot be made from
//! anything else. What the gateway says within EAP is handed to the peer; names and passwords are
//! asked for when the peer needs them; the key that comes out makes the last AUTH of both sides.

use super::auth::AwaitingFinalAuth;
use super::cause::{CloseCause, DistrustReason, LikelyCause, SaKind};
use super::child::FirstChild;
use super::closing;
use super::configuration::ClientAuthentication;
use super::context::{Context, Question};
use super::event::Warning;
use super::init::Negotiated;
use super::payloads::Payloads;
use super::ppk::Ppk;
use super::request::{Answer, Request};
use super::state::State;
use crate::auth::certificate::ExpectedIdentity;
use crate::auth::eap::mschapv2::{Decline, Declined};
use crate::auth::eap::tls::TlsError;
use crate::auth::eap::{EapFailure, EapKey, EapProfile, Peer, Step};
use crate::auth::{GatewayProven, Identity, gateway, psk};
use crate::time::Timestamp;
use crate::wire::{Authentication, AuthenticationMethod, ExchangeType, Identification, Payload};

/// What stays the same through all rounds.
pub(super) struct Round {
    pub standing: Standing,
    pub offer: FirstChild,
    pub warnings: Vec<Warning>,
    /// IDi, which the own last AUTH will cover.
    pub identity: Identification,
    /// IDr, which the gateway's last AUTH will cover.
    pub gateway: Option<Identification>,
}

/// What is known of the gateway while the login runs.
pub(super) enum Standing {
    /// It has proven itself before.
    Proven(GatewayProven),
    /// It calls itself so, and the login is to be its proof.
    ByLogin(Identity),
}

/// Awaits the gateway's next EAP packet.
pub(super) struct AwaitingEapMessage {
    pub negotiated: Box<Negotiated>,
    round: Round,
    peer: Peer,
    passwords: u8,
}

/// Awaits a name or a password from the owner.
pub(super) struct AwaitingCredential {
    pub negotiated: Box<Negotiated>,
    pub question: Question,
    round: Round,
    peer: Peer,
    passwords: u8,
    /// With a question for a new password: what the gateway said of the one that has expired.
    expired: Option<String>,
}

/// Starts with the gateway's first EAP packet.
pub(super) fn begin(
    negotiated: Box<Negotiated>,
    round: Round,
    packet: &[u8],
    context: &mut Context,
    now: Timestamp,
) -> State {
    let (name, profile) = match &context.configuration.client_auth {
        ClientAuthentication::Eap { identity, profile }
        | ClientAuthentication::CertificateThenEap { identity, profile, .. } => (identity.clone(), profile.clone()),
        _ => (None, EapProfile::default()),
    };
    let unix_now = context.unix(now);
    let peer = match &round.standing {
        Standing::Proven(proven) => Some(Peer::new(proven, name, profile, unix_now)),
        Standing::ByLogin(_) => Peer::alone(name, profile, unix_now),
    };
    let Some(peer) = peer else {
        let cause = CloseCause::unusable("its EAP methods do not suffice to prove the gateway: only TLS does");
        return closing::farewell(negotiated.sa, cause, context, now);
    };
    AwaitingEapMessage { negotiated, round, peer, passwords: 0 }.handle(packet, context, now)
}

impl AwaitingEapMessage {
    /// Tells whether the gateway has proven itself before the login.
    pub(super) const fn is_proven(&self) -> bool {
        matches!(self.round.standing, Standing::Proven(_))
    }

    /// Takes the response to the last EAP answer.
    pub(super) fn respond(self, payloads: &[Payload], context: &mut Context, now: Timestamp) -> State {
        let payloads = Payloads(payloads);
        match (payloads.eap(), payloads.error()) {
            (_, Some(notify)) => {
                let cause = CloseCause::of_refusal(notify, SaKind::Child, &[LikelyCause::CredentialsWrong]);
                State::closed(cause, context)
            }
            (Some(packet), None) => self.handle(packet, context, now),
            (None, None) => {
                let cause = CloseCause::misbehaved("its answer within EAP holds no EAP packet");
                closing::farewell(self.negotiated.sa, cause, context, now)
            }
        }
    }

    fn handle(mut self, packet: &[u8], context: &mut Context, now: Timestamp) -> State {
        let step = self.peer.handle(packet, context.random.as_mut());
        self.step(step, context, now)
    }

    fn step(mut self, step: Step, context: &mut Context, now: Timestamp) -> State {
        match step {
            Step::Reply(packet) => self.send(&[Payload::Eap(packet)], context, now),
            Step::Continue => self.send(&[], context, now),
            Step::NeedIdentity { prompt } => self.ask(Request::EapIdentity { prompt }, context, now),
            Step::NeedPassword { identity, server } => {
                let prompt = self.peer.take_notice().unwrap_or(server);
                let again = self.passwords > 0;
                self.passwords = self.passwords.saturating_add(1);
                self.ask(Request::EapPassword { identity, prompt, again }, context, now)
            }
            Step::NeedNewPassword { identity, server } => {
                self.ask(Request::EapNewPassword { identity, prompt: server }, context, now)
            }
            Step::NeedCode { identity, challenge } => {
                self.ask(Request::EapCode { identity, prompt: challenge }, context, now)
            }
            Step::NeedSignature { algorithm, octets } => self.ask(Request::SignTls { algorithm, octets }, context, now),
            Step::Success(key) => self.succeed(key, context, now),
            Step::Failed { reason, farewell } => self.fail(reason, farewell, context, now),
        }
    }

    fn send(mut self, payloads: &[Payload], context: &mut Context, now: Timestamp) -> State {
        match self.negotiated.sa.request(ExchangeType::IKE_AUTH, payloads, context, now) {
            Ok(()) => State::AwaitingEapMessage(Box::new(self)),
            Err(cause) => closing::farewell(self.negotiated.sa, cause, context, now),
        }
    }

    fn ask(self, request: Request, context: &mut Context, now: Timestamp) -> State {
        let expired = match &request {
            Request::EapNewPassword { prompt, .. } => Some(prompt.clone()),
            _ => None,
        };
        let question = context.ask(request, now);
        let Self { negotiated, round, peer, passwords } = self;
        State::AwaitingCredential(Box::new(AwaitingCredential {
            negotiated,
            question,
            round,
            peer,
            passwords,
            expired,
        }))
    }

    /// Sends the AUTH that the method's key makes.
    fn succeed(self, key: EapKey, context: &mut Context, now: Timestamp) -> State {
        let Self { mut negotiated, round, peer, .. } = self;
        let Round { standing, offer, warnings, identity, gateway } = round;
        let proven = match prove(standing, peer, context) {
            Ok(proven) => proven,
            Err(why) => {
                return closing::farewell(negotiated.sa, CloseCause::GatewayNotTrusted { why }, context, now);
            }
        };
        let keys = &negotiated.sa.keys;
        let sk_pi = if let Ppk::Mixed(mixed) = &negotiated.ppk { &mixed.sk_pi } else { &keys.sk_pi };
        let data = psk::compute(keys.prf, key.secret(sk_pi.expose()), &negotiated.own_octets(&identity));
        let without = negotiated.proves_twice(&context.configuration).then(|| {
            let octets = negotiated.own_octets_without_ppk(&identity);
            psk::compute(keys.prf, key.secret(keys.sk_pi.expose()), &octets)
        });
        let own = Authentication { method: AuthenticationMethod::SHARED_KEY, data };
        let mut payloads = vec![Payload::Authentication(own)];
        payloads.extend(negotiated.ppk_notifies(&context.configuration, without));
        match negotiated.sa.request(ExchangeType::IKE_AUTH, &payloads, context, now) {
            Ok(()) => State::AwaitingFinalAuth(Box::new(AwaitingFinalAuth {
                negotiated,
                proven,
                offer,
                warnings,
                key,
                gateway,
            })),
            Err(cause) => closing::farewell(negotiated.sa, cause, context, now),
        }
    }

    fn fail(mut self, reason: EapFailure, farewell: Option<Vec<u8>>, context: &mut Context, now: Timestamp) -> State {
        let cause = reason.into();
        match farewell {
            // The gateway knows after this; whatever it answers changes nothing.
            Some(packet) => {
                let payloads = [Payload::Eap(packet)];
                let _ = self.negotiated.sa.request(ExchangeType::IKE_AUTH, &payloads, context, now);
                State::closed(cause, context)
            }
            None => closing::farewell(self.negotiated.sa, cause, context, now),
        }
    }
}

/// Makes the gateway's proof of the login where it has no other.
fn prove(standing: Standing, peer: Peer, context: &Context) -> Result<GatewayProven, DistrustReason> {
    match standing {
        Standing::Proven(proven) => Ok(proven),
        Standing::ByLogin(identity) => {
            let login = peer.into_mutual().ok_or(DistrustReason::LoginKeyMissing)?;
            let configuration = &context.configuration;
            let dialled = || ExpectedIdentity::Host(&configuration.gateway_name).identity();
            let expected = configuration.remote_identity.clone().unwrap_or_else(dialled);
            Ok(gateway::prove_by_login(identity, &expected, login)?)
        }
    }
}

impl AwaitingCredential {
    /// Tells whether the gateway has proven itself before the login.
    pub(super) const fn is_proven(&self) -> bool {
        matches!(self.round.standing, Standing::Proven(_))
    }

    /// Returns why the session ends when nobody answers.
    pub(super) fn unanswered(&self, because: String) -> CloseCause {
        match &self.expired {
            Some(message) => CloseCause::LoginDeclined { reason: Decline::PasswordExpired, message: message.clone() },
            None => CloseCause::InputRefused { because },
        }
    }

    pub(super) fn answer(self, answer: Answer, context: &mut Context, now: Timestamp) -> State {
        let Self { negotiated, round, mut peer, passwords, .. } = self;
        let step = match answer {
            Answer::Text { text } => peer.identity(text, context.random.as_mut()),
            Answer::Secret { secret } => peer.secret(&secret, context.random.as_mut()),
            Answer::Octets { octets } => peer.signature(octets),
            Answer::Signature { .. } | Answer::RevocationStatus { .. } | Answer::Refused { .. } => {
                let cause = CloseCause::InputRefused { because: "the answer is of another kind".to_owned() };
                return closing::farewell(negotiated.sa, cause, context, now);
            }
        };
        AwaitingEapMessage { negotiated, round, peer, passwords }.step(step, context, now)
    }
}

impl From<EapFailure> for CloseCause {
    fn from(failure: EapFailure) -> Self {
        match failure {
            EapFailure::Declined(Declined { reason, message, .. }) => Self::LoginDeclined { reason, message },
            EapFailure::Refused => Self::AuthenticationFailed { likely: vec![LikelyCause::CredentialsWrong] },
            EapFailure::NoSharedMethod { offered } => Self::PeerIncompatible { what: format!("EAP method {offered}") },
            EapFailure::EarlySuccess => Self::GatewayNotTrusted { why: DistrustReason::EarlySuccess },
            EapFailure::SuccessUnconfirmed => Self::GatewayNotTrusted { why: DistrustReason::SuccessUnconfirmed },
            EapFailure::ServerUnproven => Self::GatewayNotTrusted { why: DistrustReason::EapProofMissing },
            EapFailure::Tls(TlsError::Certificate(error)) => {
                Self::GatewayNotTrusted { why: DistrustReason::Certificate { error: error.to_string() } }
            }
            EapFailure::Tls(TlsError::Unusable(what)) => Self::unusable(what),
            EapFailure::CredentialUnusable => Self::InputRefused { because: failure.to_string() },
            EapFailure::Random(_) => Self::RandomUnavailable,
            other => Self::misbehaved(other.to_string()),
        }
    }
}
