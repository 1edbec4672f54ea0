//! The authenticator's side of MS-CHAPv2 (RFC 2759) and the keys from it (RFC 3079 §3.4), written
//! from the RFCs and apart from the client's.

use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use md4::{Digest, Md4};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

/// What one challenge and one password lead to.
pub(super) struct Expectation {
    /// What the client must answer.
    pub nt_response: [u8; 24],
    /// What proves the password to the client: the text of the Success request.
    pub authenticator_response: String,
    /// The session key that both sides then have.
    pub msk: [u8; 64],
}

/// Computes what to expect from `user` who has `password`.
pub(super) fn expect(challenge: [u8; 16], peer_challenge: [u8; 16], user: &str, password: &str) -> Expectation {
    let utf16: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let password_hash: [u8; 16] = Md4::digest(&utf16).into();
    let hash_hash: [u8; 16] = Md4::digest(password_hash).into();
    // RFC 2759 §8.2: the user name without a domain in front.
    let user = user.rsplit_once('\\').map_or(user, |(_, name)| name);
    let challenge_hash = sha1(&[&peer_challenge, &challenge, user.as_bytes()]);
    let mut hash = [0; 8];
    hash.copy_from_slice(&challenge_hash[..8]);
    let nt_response = challenge_response(hash, password_hash);

    let inner = sha1(&[&hash_hash, &nt_response, b"Magic server to client signing constant"]);
    let outer = sha1(&[&inner, &hash, b"Pad to make it do more than one iteration"]);
    let authenticator_response = format!("S={}", hex::encode_upper(outer));

    let master = &sha1(&[&hash_hash, &nt_response, b"This is the MPPE Master Key"])[..16];
    let client_to_server = b"On the client side, this is the send key; on the server side, it is the receive key.";
    let server_to_client = b"On the client side, this is the receive key; on the server side, it is the send key.";
    let mut msk = [0; 64];
    for (half, text) in msk.chunks_exact_mut(16).zip([client_to_server, server_to_client]) {
        half.copy_from_slice(&sha1(&[master, &[0; 40], text, &[0xf2; 40]])[..16]);
    }
    Expectation { nt_response, authenticator_response, msk }
}

fn challenge_response(challenge: [u8; 8], password_hash: [u8; 16]) -> [u8; 24] {
    let mut padded = [0; 21];
    padded[..16].copy_from_slice(&password_hash);
    let mut response = [0; 24];
    for (part, key) in response.chunks_exact_mut(8).zip(padded.chunks_exact(7)) {
        let mut block = challenge.into();
        Des::new(&spread(key).into()).encrypt_block(&mut block);
        part.copy_from_slice(&block);
    }
    response
}

/// Spreads 56 bits over 8 bytes, leaving the lowest bit of each, which DES ignores.
fn spread(key: &[u8]) -> [u8; 8] {
    let bits = key.iter().fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
    std::array::from_fn(|index| u8::try_from((bits >> (49 - 7 * index)) & 0x7f).unwrap_or_default() << 1)
}

fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    let mut output = [0; 20];
    output.copy_from_slice(context.finish().as_ref());
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_2759_and_rfc_3079_comes_out() {
        let array = |text: &str| <[u8; 16]>::try_from(hex::decode(text).unwrap()).unwrap();
        let challenge = array("5B5D7C7D7B3F2F3E3C2C602132262628");
        let peer = array("21402324255E262A28295F2B3A337C7E");
        let expectation = expect(challenge, peer, "User", "clientPass");
        assert_eq!(hex::encode_upper(expectation.nt_response), "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF");
        assert_eq!(expectation.authenticator_response, "S=407A5589115FD0D6209F510FE9C04566932CDA56");
        // RFC 3079 §3.5.3: the server's send key of 128 bits, which stands second.
        assert_eq!(hex::encode_upper(&expectation.msk[16..32]), "8B7CDC149B993A1BA118CB153F56DCCB");
        assert_eq!(expectation.msk[32..], [0; 32]);
    }
}
