//! The authenticator's side of EAP (RFC 3748) with MS-CHAPv2 as the only method.

use super::mschapv2::{Expectation, expect};
use std::collections::BTreeMap;

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const SUCCESS: u8 = 3;
const FAILURE: u8 = 4;
const TYPE_IDENTITY: u8 = 1;
const TYPE_MSCHAPV2: u8 = 26;
const OP_CHALLENGE: u8 = 1;
const OP_RESPONSE: u8 = 2;
const OP_SUCCESS: u8 = 3;
const OP_FAILURE: u8 = 4;

/// What to send next.
pub(super) enum Step {
    /// This EAP packet; the client's answer is awaited.
    Continue(Vec<u8>),
    /// This EAP packet, which tells that the proof was wrong; the client may acknowledge it.
    Refused(Vec<u8>),
    /// EAP-Success; AUTH with this key follows.
    Succeeded { packet: Vec<u8>, msk: [u8; 64], user: String },
    /// EAP-Failure; it is over.
    Failed { packet: Vec<u8> },
}

/// Waiting for the client's answer to the last packet.
pub(super) struct Authenticator {
    identifier: u8,
    challenge: [u8; 16],
    awaiting: Awaiting,
}

/// MS-CHAPv2 counts its own conversation; one challenge is all there is.
const MSCHAPV2_ID: u8 = 1;

/// What the client's next packet must be.
enum Awaiting {
    Identity,
    Response { user: String },
    SuccessAcknowledgement { user: String, msk: [u8; 64] },
    FailureAcknowledgement,
}

impl Authenticator {
    /// Starts; returns the request for the identity. `challenge` must be random.
    pub(super) fn start(challenge: [u8; 16]) -> (Self, Vec<u8>) {
        let this = Self { identifier: 1, challenge, awaiting: Awaiting::Identity };
        let packet = packet(REQUEST, 1, &[TYPE_IDENTITY]);
        (this, packet)
    }

    /// Tells whether the client was told already that its proof was wrong.
    pub(super) const fn has_refused(&self) -> bool {
        matches!(self.awaiting, Awaiting::FailureAcknowledgement)
    }

    /// Takes the client's packet.
    pub(super) fn handle(&mut self, received: &[u8], users: &BTreeMap<String, String>) -> Step {
        let Some((kind, body)) = self.read(received) else { return self.fail() };
        match (std::mem::replace(&mut self.awaiting, Awaiting::FailureAcknowledgement), kind, body) {
            (Awaiting::Identity, TYPE_IDENTITY, name) => {
                self.awaiting = Awaiting::Response { user: String::from_utf8_lossy(name).into_owned() };
                let content = [&[16][..], &self.challenge, b"lab-gateway"].concat();
                Step::Continue(self.request(OP_CHALLENGE, &content))
            }
            (Awaiting::Response { user }, TYPE_MSCHAPV2, [OP_RESPONSE, _, _, _, 49, value @ ..]) => {
                self.judge(user, value, users)
            }
            (Awaiting::SuccessAcknowledgement { user, msk }, TYPE_MSCHAPV2, [OP_SUCCESS, ..]) => {
                Step::Succeeded { packet: packet(SUCCESS, self.identifier, &[]), msk, user }
            }
            _ => self.fail(),
        }
    }

    fn judge(&mut self, user: String, value: &[u8], users: &BTreeMap<String, String>) -> Step {
        let parts = value.split_first_chunk::<16>().and_then(|(peer_challenge, rest)| {
            let (_reserved, rest) = rest.split_first_chunk::<8>()?;
            let (nt_response, rest) = rest.split_first_chunk::<24>()?;
            let (_flags, name) = rest.split_first()?;
            Some((*peer_challenge, *nt_response, String::from_utf8_lossy(name).into_owned()))
        });
        let Some((peer_challenge, nt_response, name)) = parts else { return self.fail() };
        let found = users.get(&user).map(|password| expect(self.challenge, peer_challenge, &name, password));
        match found {
            Some(Expectation { nt_response: expected, authenticator_response, msk }) if expected == nt_response => {
                self.awaiting = Awaiting::SuccessAcknowledgement { user, msk };
                let message = format!("{authenticator_response} M=Welcome");
                Step::Continue(self.request(OP_SUCCESS, message.as_bytes()))
            }
            // An unknown user and a wrong password look the same from outside.
            _ => {
                self.awaiting = Awaiting::FailureAcknowledgement;
                let message = format!("E=691 R=0 C={} V=3 M=Authentication failed", hex::encode_upper(self.challenge));
                Step::Refused(self.request(OP_FAILURE, message.as_bytes()))
            }
        }
    }

    fn read<'a>(&self, received: &'a [u8]) -> Option<(u8, &'a [u8])> {
        match received {
            [RESPONSE, identifier, high, low, kind, body @ ..]
                if *identifier == self.identifier
                    && usize::from(u16::from_be_bytes([*high, *low])) == received.len() =>
            {
                Some((*kind, body))
            }
            _ => None,
        }
    }

    fn request(&mut self, operation: u8, content: &[u8]) -> Vec<u8> {
        self.identifier = self.identifier.wrapping_add(1);
        let length = u16::try_from(content.len().saturating_add(4)).unwrap_or(u16::MAX);
        let head = [TYPE_MSCHAPV2, operation, MSCHAPV2_ID];
        let body = [&head[..], &length.to_be_bytes(), content].concat();
        packet(REQUEST, self.identifier, &body)
    }

    fn fail(&self) -> Step {
        Step::Failed { packet: packet(FAILURE, self.identifier, &[]) }
    }
}

fn packet(code: u8, identifier: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len().saturating_add(4)).unwrap_or(u16::MAX);
    [&[code, identifier][..], &length.to_be_bytes(), body].concat()
}
