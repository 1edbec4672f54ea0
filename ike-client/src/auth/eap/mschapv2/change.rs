//! A new password in the place of one that has expired: the Change-Password packet (RFC 2759 §7).
//!
//! The new password travels under RC4 with the old password's hash as key, the old hash under DES with the new
//! one's: whoever knows the old password can read the new one. It runs only inside an IKE SA whose gateway has
//! proven itself, and only after that gateway has said that the old password was right and has expired.

use super::derivation::{self, Key};
use super::{AwaitedProof, MAX_PASSWORD_UNITS, ResponseError, user_part};
use crate::random::Random;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use zeroize::Zeroizing;

/// Change-Password's operation.
const CHANGE_PASSWORD: u8 = 7;
/// Its length, and what of it is the password's block.
const LENGTH: u16 = 586;
const BLOCK: usize = 512;

/// What a change is made from.
pub(super) struct Change {
    /// The identifier inside the failure that asked for it.
    pub identifier: u8,
    /// The failure's challenge, or without one the first challenge.
    pub challenge: [u8; 16],
    /// The hash of the password that has expired.
    pub old: Key,
}

impl Change {
    /// Makes the packet and remembers how the server must answer: as one who knows the new password.
    pub(super) fn respond(
        &self,
        name: &str,
        password: &str,
        random: &mut dyn Random,
    ) -> Result<(Vec<u8>, AwaitedProof), ResponseError> {
        let new = derivation::password_hash(password);
        let mut peer = [0; 16];
        random.fill(&mut peer)?;
        let encrypted = encrypt_password(password, &self.old, random)?;
        let response = super::nt_response(&peer, &self.challenge, user_part(name), &new);
        let packet = [
            &[CHANGE_PASSWORD, self.identifier.wrapping_add(1)][..],
            &LENGTH.to_be_bytes(),
            encrypted.as_slice(),
            &encrypt_hash(&self.old, &new),
            &peer,
            &[0; 8],
            &response.octets,
            // Flags: none is defined.
            &[0; 2],
        ];
        Ok((packet.concat(), response.awaited))
    }
}

/// `NewPasswordEncryptedWithOldNtPasswordHash` (RFC 2759 §8.9): the password at the end of a block of random
/// octets, then its length, all under RC4.
fn encrypt_password(password: &str, old: &Key, random: &mut dyn Random) -> Result<Zeroizing<Vec<u8>>, ResponseError> {
    let units: Zeroizing<Vec<u8>> = Zeroizing::new(password.encode_utf16().flat_map(u16::to_le_bytes).collect());
    let padding = BLOCK.checked_sub(units.len()).filter(|_| units.len() <= 2 * MAX_PASSWORD_UNITS);
    let padding = padding.ok_or(ResponseError::CredentialUnusable)?;
    let length = u32::try_from(units.len()).map_err(|_| ResponseError::CredentialUnusable)?;
    let mut block = Zeroizing::new(vec![0; padding]);
    random.fill(&mut block)?;
    block.extend_from_slice(&units);
    block.extend_from_slice(&length.to_le_bytes());
    rc4(old.as_slice(), &mut block);
    Ok(block)
}

/// `OldNtPasswordHashEncryptedWithNewNtPasswordHash` (RFC 2759 §8.12, §8.13): each half of the old hash under a DES
/// key of seven octets of the new one.
fn encrypt_hash(old: &Key, new: &Key) -> [u8; 16] {
    let mut encrypted = **old;
    for (block, part) in encrypted.as_chunks_mut::<8>().0.iter_mut().zip(new.as_chunks::<7>().0) {
        des::Des::new((&*derivation::des_key(part)).into()).encrypt_block(block.into());
    }
    encrypted
}

/// RC4, which the method is made of; used for nothing else.
fn rc4(key: &[u8], data: &mut [u8]) {
    let mut state = Zeroizing::new([0_u8; 256]);
    for (value, octet) in (0..=u8::MAX).zip(state.iter_mut()) {
        *octet = value;
    }
    let mut j = 0_u8;
    for (i, octet) in (0..256).zip(key.iter().cycle()) {
        let current = state.get(i).copied().unwrap_or(0);
        j = j.wrapping_add(current).wrapping_add(*octet);
        state.swap(i, usize::from(j));
    }
    let (mut i, mut j) = (0_u8, 0_u8);
    for octet in data {
        i = i.wrapping_add(1);
        let first = state.get(usize::from(i)).copied().unwrap_or(0);
        j = j.wrapping_add(first);
        let second = state.get(usize::from(j)).copied().unwrap_or(0);
        state.swap(usize::from(i), usize::from(j));
        *octet ^= state.get(usize::from(first.wrapping_add(second))).copied().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;
    use des::cipher::BlockCipherDecrypt;

    #[test]
    fn rc4_gives_the_key_stream_of_rfc_6229() {
        let mut stream = [0; 16];
        rc4(&hex::decode("0102030405").unwrap(), &mut stream);
        assert_eq!(hex::encode(stream), "b2396305f03dc027ccc3524a0a1118a8");
        let mut stream = [0; 16];
        rc4(&hex::decode("0102030405060708090a0b0c0d0e0f10").unwrap(), &mut stream);
        assert_eq!(hex::encode(stream), "9ac7cc9a609d1ef7b2932899cde41b97");
    }

    #[test]
    fn the_packet_has_the_documents_form_and_a_server_that_knows_the_old_hash_reads_it() {
        let old = derivation::password_hash("clientPass");
        let change = Change { identifier: 41, challenge: [0x42; 16], old: old.clone() };
        let (packet, awaited) = change.respond("CORP\\User", "new passphrase", &mut SeededRandom::new(3)).unwrap();
        assert_eq!(packet.len(), usize::from(LENGTH));
        assert_eq!(packet[..4], [7, 42, 2, 74]);
        let mut block = packet[4..520].to_vec();
        rc4(old.as_slice(), &mut block);
        assert_eq!(block[512..], 28_u32.to_le_bytes());
        let units: Vec<u16> = block[484..512].as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        assert_eq!(String::from_utf16(&units).unwrap(), "new passphrase");
        let new = derivation::password_hash("new passphrase");
        let mut hash: [u8; 16] = packet[520..536].try_into().unwrap();
        for (block, part) in hash.as_chunks_mut::<8>().0.iter_mut().zip(new.as_chunks::<7>().0) {
            des::Des::new((&*derivation::des_key(part)).into()).decrypt_block(block.into());
        }
        assert_eq!(hash, *old);
        let peer: [u8; 16] = packet[536..552].try_into().unwrap();
        let expected = crate::auth::eap::mschapv2::nt_response(&peer, &[0x42; 16], "User", &new);
        assert_eq!(packet[560..584], expected.octets);
        assert_eq!(awaited.proof, expected.awaited.proof);
        assert_eq!(packet[584..], [0, 0]);
    }

    #[test]
    fn a_password_that_does_not_fit_the_block_is_refused() {
        let old = derivation::password_hash("clientPass");
        let change = Change { identifier: 1, challenge: [0x42; 16], old };
        let long = "p".repeat(257);
        assert_eq!(
            change.respond("User", &long, &mut SeededRandom::new(3)).err(),
            Some(ResponseError::CredentialUnusable)
        );
        assert!(change.respond("User", &"p".repeat(256), &mut SeededRandom::new(3)).is_ok());
    }
}
