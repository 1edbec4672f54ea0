//! The computations of MSCHAPv2 (RFC 2759 §8) and of the keys after it (RFC 3079 §3).
//!
//! MD4, DES and SHA-1 are what the method is made of. Its exchange is safe only inside a channel whose other end
//! has been proven, which is where it runs here.

use crate::crypto::Secret;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use md4::{Digest, Md4};
use sha1::Sha1;
use zeroize::Zeroizing;

/// 16 octets that are wiped on drop.
pub(super) type Key = Zeroizing<[u8; 16]>;

const AUTHENTICATOR_MAGIC_1: &[u8] = b"Magic server to client signing constant";
const AUTHENTICATOR_MAGIC_2: &[u8] = b"Pad to make it do more than one iteration";
const MASTER_KEY_MAGIC: &[u8] = b"This is the MPPE Master Key";
const CLIENT_SENDS_MAGIC: &[u8] =
    b"On the client side, this is the send key; on the server side, it is the receive key.";
const CLIENT_RECEIVES_MAGIC: &[u8] =
    b"On the client side, this is the receive key; on the server side, it is the send key.";
const SHA_PAD_1: [u8; 40] = [0x00; 40];
const SHA_PAD_2: [u8; 40] = [0xf2; 40];

/// `NtPasswordHash`: MD4 of the password in UTF-16, low octet first.
pub(super) fn password_hash(password: &str) -> Key {
    let units: Zeroizing<Vec<u8>> = Zeroizing::new(password.encode_utf16().flat_map(u16::to_le_bytes).collect());
    Zeroizing::new(Md4::digest(units.as_slice()).into())
}

/// `HashNtPasswordHash`.
pub(super) fn password_hash_hash(hash: &Key) -> Key {
    Zeroizing::new(Md4::digest(hash.as_slice()).into())
}

/// `ChallengeHash`: `user` without domain.
pub(super) fn challenge_hash(peer: &[u8; 16], authenticator: &[u8; 16], user: &str) -> [u8; 8] {
    first(&sha1(&[peer, authenticator, user.as_bytes()]))
}

/// `ChallengeResponse`: the challenge under three DES keys cut from the password's hash.
pub(super) fn challenge_response(challenge: &[u8; 8], hash: &Key) -> [u8; 24] {
    let mut padded = Zeroizing::new([0_u8; 21]);
    padded.iter_mut().zip(hash.iter()).for_each(|(to, from)| *to = *from);
    let mut response = [0; 24];
    for (block, part) in response.as_chunks_mut::<8>().0.iter_mut().zip(padded.as_chunks::<7>().0) {
        let cipher = des::Des::new((&*des_key(part)).into());
        *block = *challenge;
        cipher.encrypt_block(block.into());
    }
    response
}

/// Spreads 56 bits over eight octets; DES ignores the lowest bit of each.
pub(super) fn des_key(part: &[u8; 7]) -> Zeroizing<[u8; 8]> {
    let bits = part.iter().fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
    let mut key = Zeroizing::new([0_u8; 8]);
    for (octet, shift) in key.iter_mut().zip([49, 42, 35, 28, 21, 14, 7, 0]) {
        let [seven_bits, ..] = (bits >> shift & 0x7f).to_le_bytes();
        *octet = seven_bits << 1;
    }
    key
}

/// `GenerateAuthenticatorResponse`: what only someone who knows the password's hash can answer.
pub(super) fn authenticator_response(hash_hash: &Key, nt_response: &[u8; 24], challenge: &[u8; 8]) -> [u8; 20] {
    let digest = sha1(&[hash_hash.as_slice(), nt_response, AUTHENTICATOR_MAGIC_1]);
    *sha1(&[digest.as_slice(), challenge, AUTHENTICATOR_MAGIC_2])
}

/// `GetMasterKey`.
pub(super) fn master_key(hash_hash: &Key, nt_response: &[u8; 24]) -> Key {
    Zeroizing::new(first(&sha1(&[hash_hash.as_slice(), nt_response, MASTER_KEY_MAGIC])))
}

/// The MSK: what the server receives with, what it sends with, and 32 zeros.
pub(super) fn master_session_key(master: &Key) -> Secret {
    let client_sends = start_key(master, CLIENT_SENDS_MAGIC);
    let client_receives = start_key(master, CLIENT_RECEIVES_MAGIC);
    Secret::new([client_sends.as_slice(), client_receives.as_slice(), &[0; 32]].concat())
}

/// `GetAsymmetricStartKey` for 128 bits.
fn start_key(master: &Key, magic: &[u8]) -> Key {
    Zeroizing::new(first(&sha1(&[master.as_slice(), &SHA_PAD_1, magic, &SHA_PAD_2])))
}

fn sha1(parts: &[&[u8]]) -> Zeroizing<[u8; 20]> {
    let mut digest = Sha1::new();
    parts.iter().for_each(|part| digest.update(part));
    Zeroizing::new(digest.finalize().into())
}

/// Cuts a digest to its first octets.
fn first<const N: usize>(digest: &[u8; 20]) -> [u8; N] {
    let mut cut = [0; N];
    cut.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHENTICATOR: &str = "5B5D7C7D7B3F2F3E3C2C602132262628";
    const PEER: &str = "21402324255E262A28295F2B3A337C7E";
    const NT_RESPONSE: &str = "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF";

    fn octets<const N: usize>(digits: &str) -> [u8; N] {
        hex::decode(digits).unwrap().try_into().unwrap()
    }

    #[test]
    fn the_example_of_rfc_2759_section_9_2_comes_out() {
        let challenge = challenge_hash(&octets(PEER), &octets(AUTHENTICATOR), "User");
        assert_eq!(challenge, octets("D02E4386BCE91226"));
        let hash = password_hash("clientPass");
        assert_eq!(*hash, octets("44EBBA8D5312B8D611474411F56989AE"));
        assert_eq!(*password_hash_hash(&hash), octets("41C00C584BD2D91C4017A2A12FA59F3F"));
        let response = challenge_response(&challenge, &hash);
        assert_eq!(response, octets(NT_RESPONSE));
        assert_eq!(
            authenticator_response(&password_hash_hash(&hash), &response, &challenge),
            octets("407A5589115FD0D6209F510FE9C04566932CDA56")
        );
    }

    #[test]
    fn the_128_bit_example_of_rfc_3079_section_3_5_3_comes_out() {
        let hash_hash = password_hash_hash(&password_hash("clientPass"));
        let master = master_key(&hash_hash, &octets(NT_RESPONSE));
        assert_eq!(*master, octets("FDECE3717A8C838CB388E527AE3CDD31"));
        let msk = master_session_key(&master);
        // The RFC prints the server's send key; the MSK starts with the server's receive key.
        let expected = ["D5F0E9521E3EA9589645E86051C82226", "8B7CDC149B993A1BA118CB153F56DCCB", &"00".repeat(32)];
        assert_eq!(msk.expose(), hex::decode(expected.concat()).unwrap());
    }

    #[test]
    fn des_keys_are_spread_as_the_parity_example_has_it() {
        // RFC 2759 §8.6 inserts a parity bit after each seven bits.
        assert_eq!(*des_key(&[0xff; 7]), [0xfe; 8]);
        assert_eq!(*des_key(&[0x80, 0, 0, 0, 0, 0, 1]), [0x80, 0, 0, 0, 0, 0, 0, 2]);
    }
}
