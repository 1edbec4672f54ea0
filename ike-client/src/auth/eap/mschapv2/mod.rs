//! EAP-MSCHAPv2 as a peer (draft-kamath-pppext-eap-mschapv2; RFC 2759 for what is inside).
//!
//! ```text
//! server                        we
//! Challenge(C)          ──▶                      the user's password is asked for here
//!                       ◀──     Response(P, NT)
//! Failure(E=648)        ──▶                      expired: a new password is asked for, once
//!                       ◀──     Change-Password
//! Success(S=...)        ──▶                      S is compared first: it proves the server
//!                       ◀──     Success
//! ```

mod change;
mod derivation;
mod failure;
mod login;

pub(super) use failure::display_text;
pub use failure::{Decline, Declined};
pub(super) use login::Login;

use crate::crypto::Secret;
use crate::random::{Random, RandomUnavailable};
use derivation::Key;
use subtle::ConstantTimeEq;

const CHALLENGE: u8 = 1;
const RESPONSE: u8 = 2;
const SUCCESS: u8 = 3;
const FAILURE: u8 = 4;

/// Windows accepts no longer password, and no longer name (RFC 2759 §4).
const MAX_PASSWORD_UNITS: usize = 256;
const MAX_NAME: usize = 256;

/// What is wrong with a packet of the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedPacket {
    /// Nothing in it, or a header cut short.
    #[error("an MSCHAPv2 packet of {0} octets")]
    TooShort(usize),
    /// The length inside differs from the packet's.
    #[error("an MSCHAPv2 packet whose own length does not fit")]
    Length,
    /// A challenge that does not have 16 octets.
    #[error("an MSCHAPv2 challenge of another size than 16 octets")]
    ChallengeSize,
    /// A success message that does not start with `S=` and 40 hexadecimal digits.
    #[error("an MSCHAPv2 success without the server's proof")]
    NoProof,
    /// An operation that no server sends.
    #[error("MSCHAPv2 operation {0} from the server")]
    Operation(u8),
}

/// A request of the method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Challenge(Challenge),
    Success {
        proof: [u8; 20],
    },
    Failure {
        identifier: u8,
        declined: Declined,
        /// The challenge for another attempt.
        challenge: Option<[u8; 16]>,
    },
}

/// The server's challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    identifier: u8,
    challenge: [u8; 16],
    /// What the server calls itself; not proven by anything, for display only.
    pub server: String,
}

/// Why no response can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ResponseError {
    /// The password or the name is longer than the method can carry, or not text.
    #[error("the name or password cannot be used with MSCHAPv2")]
    CredentialUnusable,
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

/// What remains after our response: how the server must prove itself, and the key if it does.
pub(super) struct AwaitedProof {
    proof: [u8; 20],
    key: Secret,
}

impl Request {
    /// Reads what follows the EAP type.
    pub(super) fn decode(data: &[u8]) -> Result<Self, MalformedPacket> {
        let (&[operation, identifier, high, low], body) =
            data.split_first_chunk::<4>().ok_or(MalformedPacket::TooShort(data.len()))?;
        if usize::from(u16::from_be_bytes([high, low])) != data.len() {
            return Err(MalformedPacket::Length);
        }
        match operation {
            CHALLENGE => challenge(identifier, body).map(Self::Challenge),
            SUCCESS => proof(body).map(|proof| Self::Success { proof }).ok_or(MalformedPacket::NoProof),
            FAILURE => Ok(Self::Failure {
                identifier,
                declined: Declined::read(body),
                challenge: Declined::next_challenge(body),
            }),
            other => Err(MalformedPacket::Operation(other)),
        }
    }
}

fn challenge(identifier: u8, body: &[u8]) -> Result<Challenge, MalformedPacket> {
    let (size, rest) = body.split_first().ok_or(MalformedPacket::TooShort(4))?;
    let (challenge, name) = rest.split_first_chunk::<16>().ok_or(MalformedPacket::ChallengeSize)?;
    if *size != 16 {
        return Err(MalformedPacket::ChallengeSize);
    }
    Ok(Challenge { identifier, challenge: *challenge, server: failure::display_text(name) })
}

/// Reads `S=` and 40 hexadecimal digits; a message may follow after a space.
pub(super) fn proof(body: &[u8]) -> Option<[u8; 20]> {
    let (digits, rest) = body.strip_prefix(b"S=")?.split_first_chunk::<40>()?;
    if !matches!(rest, [] | [b' ', ..]) {
        return None;
    }
    hexadecimal(digits)
}

/// Reads exactly as many hexadecimal digits as `N` octets have.
fn hexadecimal<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let mut octets = [0; N];
    if pairs.len() != N {
        return None;
    }
    for (octet, pair) in octets.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *octet = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(octets)
}

/// The name without the domain in front (`DOMAIN\user`): what enters the hash.
fn user_part(name: &str) -> &str {
    name.split_once('\\').map_or(name, |(_, user)| user)
}

/// An answer to a challenge, and what the server must then show.
struct NtResponse {
    octets: [u8; 24],
    awaited: AwaitedProof,
}

/// Computes the answer of one who knows the password with that `hash`.
fn nt_response(peer: &[u8; 16], authenticator: &[u8; 16], user: &str, hash: &Key) -> NtResponse {
    let hash_hash = derivation::password_hash_hash(hash);
    let challenge = derivation::challenge_hash(peer, authenticator, user);
    let octets = derivation::challenge_response(&challenge, hash);
    let awaited = AwaitedProof {
        proof: derivation::authenticator_response(&hash_hash, &octets, &challenge),
        key: derivation::master_session_key(&derivation::master_key(&hash_hash, &octets)),
    };
    NtResponse { octets, awaited }
}

impl Challenge {
    /// Makes the response and remembers what the server must answer. The name may carry a domain in front
    /// (`DOMAIN\user`), which is sent but does not enter the hash.
    pub(super) fn respond(
        &self,
        name: &str,
        password: &[u8],
        random: &mut dyn Random,
    ) -> Result<(Vec<u8>, AwaitedProof), ResponseError> {
        let password = std::str::from_utf8(password).map_err(|_| ResponseError::CredentialUnusable)?;
        if password.encode_utf16().count() > MAX_PASSWORD_UNITS || name.len() > MAX_NAME {
            return Err(ResponseError::CredentialUnusable);
        }
        let mut peer = [0; 16];
        random.fill(&mut peer)?;
        let hash = derivation::password_hash(password);
        let NtResponse { octets, awaited } = nt_response(&peer, &self.challenge, user_part(name), &hash);
        let length = u16::try_from(54 + name.len()).map_err(|_| ResponseError::CredentialUnusable)?;
        let packet = [
            &[RESPONSE, self.identifier][..],
            &length.to_be_bytes(),
            &[49],
            &peer,
            &[0; 8],
            &octets,
            &[0],
            name.as_bytes(),
        ];
        Ok((packet.concat(), awaited))
    }
}

impl AwaitedProof {
    /// Gives out the key if `proof` is the right one; compared in constant time.
    pub(super) fn check(self, proof: &[u8; 20]) -> Option<Secret> {
        bool::from(self.proof.ct_eq(proof)).then_some(self.key)
    }
}

/// Makes the answer that travels as an attribute inside a TLS channel (RFC 5281 §11.2.4): identifier, flags, the
/// peer's challenge, eight zeros, the response.
pub(super) fn tunnelled(
    challenge: &[u8; 16],
    identifier: u8,
    name: &str,
    password: &Secret,
    random: &mut dyn Random,
) -> Result<(Vec<u8>, AwaitedProof), ResponseError> {
    let password = std::str::from_utf8(password.expose()).map_err(|_| ResponseError::CredentialUnusable)?;
    if password.encode_utf16().count() > MAX_PASSWORD_UNITS || name.len() > MAX_NAME {
        return Err(ResponseError::CredentialUnusable);
    }
    let mut peer = [0; 16];
    random.fill(&mut peer)?;
    let hash = derivation::password_hash(password);
    let NtResponse { octets, awaited } = nt_response(&peer, challenge, user_part(name), &hash);
    Ok(([&[identifier, 0][..], &peer, &[0; 8], &octets].concat(), awaited))
}

/// The answer to a success.
pub(super) const SUCCESS_RESPONSE: [u8; 1] = [SUCCESS];
/// The answer to a failure.
pub(super) const FAILURE_RESPONSE: [u8; 1] = [FAILURE];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    fn packet(operation: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[operation, 5][..], &length, body].concat()
    }

    fn challenge_of(bytes: &[u8]) -> Challenge {
        match Request::decode(bytes).unwrap() {
            Request::Challenge(challenge) => challenge,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_response_has_the_documents_form_and_the_domain_stays_out_of_the_hash() {
        let challenge = challenge_of(&packet(1, &[&[16][..], &[0x42; 16], b"fortress"].concat()));
        assert_eq!(challenge.server, "fortress");
        let (bare, _) = challenge.respond("carol", b"pw", &mut SeededRandom::new(1)).unwrap();
        let (with_domain, _) = challenge.respond("CORP\\carol", b"pw", &mut SeededRandom::new(1)).unwrap();
        assert_eq!(bare[..5], [2, 5, 0, 59, 49]);
        assert_eq!(bare.len(), 59);
        assert_eq!(bare[21..29], [0; 8]);
        assert_eq!(&bare[54..], b"carol");
        assert_eq!(bare[5..54], with_domain[5..54]);
        assert_eq!(&with_domain[54..], b"CORP\\carol");
    }

    #[test]
    fn only_the_right_proof_gives_the_key_out() {
        let challenge = challenge_of(&packet(1, &[&[16][..], &[0x42; 16]].concat()));
        let respond = || challenge.respond("carol", b"pw", &mut SeededRandom::new(1)).unwrap().1;
        let right = respond().proof;
        assert!(respond().check(&right).is_some());
        let mut wrong = right;
        wrong[19] ^= 1;
        assert!(respond().check(&wrong).is_none());
    }

    #[test]
    fn the_proof_is_read_with_and_without_message() {
        let digits = "407A5589115FD0D6209F510FE9C04566932cda56";
        for text in [format!("S={digits}"), format!("S={digits} M=welcome")] {
            let Ok(Request::Success { proof }) = Request::decode(&packet(3, text.as_bytes())) else { panic!() };
            assert_eq!(proof.to_vec(), hex::decode(digits).unwrap());
        }
        for text in [format!("S={}", &digits[..39]), format!("s={digits}"), format!("S={digits}00"), "S=".into()] {
            assert_eq!(Request::decode(&packet(3, text.as_bytes())), Err(MalformedPacket::NoProof));
        }
        let not_digits = format!("S={}zz", &digits[..38]);
        assert_eq!(Request::decode(&packet(3, not_digits.as_bytes())), Err(MalformedPacket::NoProof));
    }

    #[test]
    fn sizes_are_checked_before_anything_is_read() {
        for (bytes, error) in [
            (vec![], MalformedPacket::TooShort(0)),
            (vec![1, 5, 0], MalformedPacket::TooShort(3)),
            (vec![1, 5, 0, 5], MalformedPacket::Length),
            (vec![4, 5, 0, 3], MalformedPacket::Length),
            (packet(1, &[]), MalformedPacket::TooShort(4)),
            (packet(1, &[16, 1, 2]), MalformedPacket::ChallengeSize),
            (packet(1, &[8; 20]), MalformedPacket::ChallengeSize),
            (packet(2, b"x"), MalformedPacket::Operation(2)),
            (packet(7, b"x"), MalformedPacket::Operation(7)),
        ] {
            assert_eq!(Request::decode(&bytes), Err(error));
        }
    }

    #[test]
    fn credentials_that_do_not_fit_are_refused() {
        let challenge = challenge_of(&packet(1, &[&[16][..], &[0x42; 16]].concat()));
        let mut random = SeededRandom::new(1);
        for (name, password) in [("carol", &[0xff, 0xfe][..]), (&"n".repeat(257), b"pw"), ("carol", &[b'p'; 257])] {
            assert_eq!(challenge.respond(name, password, &mut random).err(), Some(ResponseError::CredentialUnusable));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let _ = Request::decode(&bytes);
        }

        #[test]
        fn no_body_of_any_operation_makes_the_reader_panic(operation in 0u8..8, body in "[ESRCVM=0-9 A-F]{0,60}") {
            let _ = Request::decode(&packet(operation, body.as_bytes()));
        }
    }
}
