//! One login by the method, from the challenge to the key.

use super::change::Change;
use super::{AwaitedProof, Challenge, Decline, Declined, FAILURE_RESPONSE, Request, SUCCESS_RESPONSE, derivation};
use crate::auth::eap::method::{Question, Turn};
use crate::auth::eap::{EapFailure, EapKey};
use crate::crypto::Secret;
use crate::random::Random;

/// What is left of the master session key where only its keys are wanted.
const SHORT_KEY: usize = 32;

/// One run of the method.
pub(in crate::auth::eap) struct Login {
    name: String,
    short_key: bool,
    stage: Stage,
}

enum Stage {
    /// The server's challenge.
    AwaitingChallenge,
    /// The user's password.
    AwaitingPassword(Challenge),
    /// The server's proof that it knows the password, or its refusal.
    AwaitingProof { awaited: AwaitedProof, challenge: [u8; 16], used: derivation::Key },
    /// A new password in the place of the expired one.
    AwaitingNewPassword(Change),
    /// The server's proof that it knows the new password.
    AwaitingChangedProof(AwaitedProof),
    /// The server has proven itself.
    Proven,
    /// It has ended badly.
    Ended,
}

impl Login {
    pub(in crate::auth::eap) const fn new(name: String, short_key: bool) -> Self {
        Self { name, short_key, stage: Stage::AwaitingChallenge }
    }

    pub(in crate::auth::eap) const fn has_proven_server(&self) -> bool {
        matches!(self.stage, Stage::Proven)
    }

    /// Takes a request of the method.
    pub(in crate::auth::eap) fn request(&mut self, data: &[u8]) -> Result<Turn, EapFailure> {
        let stage = std::mem::replace(&mut self.stage, Stage::Ended);
        match (stage, Request::decode(data)?) {
            (Stage::AwaitingChallenge, Request::Challenge(challenge)) => {
                let server = challenge.server.clone();
                self.stage = Stage::AwaitingPassword(challenge);
                Ok(Turn::Ask(Question::Password { server }))
            }
            (Stage::AwaitingChallenge, Request::Success { .. }) => Err(EapFailure::EarlySuccess),
            (Stage::AwaitingChallenge, Request::Failure { .. }) => {
                Err(EapFailure::Unexpected("a failure without a challenge"))
            }
            (
                Stage::AwaitingProof { awaited, .. } | Stage::AwaitingChangedProof(awaited),
                Request::Success { proof },
            ) => {
                let mut key = awaited.check(&proof).ok_or(EapFailure::ServerUnproven)?;
                if self.short_key {
                    key.truncate(SHORT_KEY);
                }
                self.stage = Stage::Proven;
                let success = Some(EapKey::MasterSessionKey(key));
                Ok(Turn::Reply { data: SUCCESS_RESPONSE.to_vec(), success })
            }
            (
                Stage::AwaitingProof { challenge: first, used, .. },
                Request::Failure {
                    identifier,
                    declined: Declined { reason: Decline::PasswordExpired, message, .. },
                    challenge,
                },
            ) => {
                let challenge = challenge.unwrap_or(first);
                self.stage = Stage::AwaitingNewPassword(Change { identifier, challenge, old: used });
                Ok(Turn::Ask(Question::NewPassword { server: message }))
            }
            (Stage::AwaitingProof { .. } | Stage::AwaitingChangedProof(_), Request::Failure { declined, .. }) => {
                Ok(Turn::Decline { reason: EapFailure::Declined(declined), farewell: FAILURE_RESPONSE.to_vec() })
            }
            (Stage::AwaitingProof { .. } | Stage::AwaitingChangedProof(_), Request::Challenge(_)) => {
                Err(EapFailure::Unexpected("a second challenge"))
            }
            (Stage::Proven, _) => Err(EapFailure::Unexpected("a request after the method's end")),
            (Stage::AwaitingPassword(_) | Stage::AwaitingNewPassword(_) | Stage::Ended, _) => {
                Err(EapFailure::Unexpected("a request while the last one was not answered"))
            }
        }
    }

    /// Takes the password, or the new password, that was asked for.
    pub(in crate::auth::eap) fn secret(
        &mut self,
        secret: &Secret,
        random: &mut dyn Random,
    ) -> Result<Turn, EapFailure> {
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::AwaitingPassword(challenge) => {
                let (data, awaited) = challenge.respond(&self.name, secret.expose(), random)?;
                let used = std::str::from_utf8(secret.expose()).map_err(|_| EapFailure::CredentialUnusable)?;
                let used = derivation::password_hash(used);
                self.stage = Stage::AwaitingProof { awaited, challenge: challenge.challenge, used };
                Ok(Turn::Reply { data, success: None })
            }
            Stage::AwaitingNewPassword(change) => {
                let password = std::str::from_utf8(secret.expose()).map_err(|_| EapFailure::CredentialUnusable)?;
                let (data, awaited) = change.respond(&self.name, password, random)?;
                self.stage = Stage::AwaitingChangedProof(awaited);
                Ok(Turn::Reply { data, success: None })
            }
            _ => Err(EapFailure::Unexpected("no request for a password, yet one was answered")),
        }
    }
}
