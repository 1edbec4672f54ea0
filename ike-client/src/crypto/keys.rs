//! Key derivation (RFC 7296 §2.13 to §2.18).
//!
//! ```text
//! SKEYSEED = prf(Ni | Nr, g^ir)                     a new IKE SA
//! SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr)  a rekeyed one, by the old SA's prf
//! {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr)
//! KEYMAT = prf+(SK_d, [g^ir |] Ni | Nr)             a CHILD SA, with PFS the part in brackets
//! ```

use super::Secret;
use super::kex::SharedSecret;
use super::prf::{ExpansionTooLong, Prf};
use super::protect::{ProtectError, SkCipher};
use super::suite::{EspSuite, IkeSuite};
use super::transform::{Encryption, Integrity};

/// The nonces of the exchange that the keys come from, without payload headers.
#[derive(Clone, Copy, Debug)]
pub struct Nonces<'a> {
    /// Ni: of the side that started the exchange.
    pub initiator: &'a [u8],
    /// Nr: of the side that answered it.
    pub responder: &'a [u8],
}

/// The SPIs of the IKE SA that the keys are for, as they stand in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IkeSpis {
    /// SPIi.
    pub initiator: [u8; 8],
    /// SPIr.
    pub responder: [u8; 8],
}

/// Which side of an exchange we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one who started it.
    Initiator,
    /// The one who answered.
    Responder,
}

/// The keys of an IKE SA.
///
/// "Initiator" is whoever started the exchange that made *this* IKE SA, which after a rekey may be
/// the other peer.
#[derive(Debug)]
pub struct IkeKeys {
    /// The pseudo-random function that the SA uses from now on.
    pub prf: Prf,
    /// What CHILD SA keys and the next IKE SA are derived from.
    pub sk_d: Secret,
    /// What the initiator's identity is bound into AUTH with.
    pub sk_pi: Secret,
    /// What the responder's identity is bound into AUTH with.
    pub sk_pr: Secret,
    encryption: Encryption,
    integrity: Option<Integrity>,
    sk_ai: Secret,
    sk_ar: Secret,
    sk_ei: Secret,
    sk_er: Secret,
}

impl IkeKeys {
    /// Derives the keys of a new IKE SA.
    ///
    /// # Errors
    /// [`ExpansionTooLong`], which no suite of the tables reaches.
    pub fn derive(
        suite: &IkeSuite,
        shared: &SharedSecret,
        nonces: Nonces<'_>,
        spis: IkeSpis,
    ) -> Result<Self, ExpansionTooLong> {
        let share = |nonce| match suite.prf.nonce_share() {
            Some(octets) => <[u8]>::get(nonce, ..octets).unwrap_or(nonce),
            None => nonce,
        };
        let key = [share(nonces.initiator), share(nonces.responder)].concat();
        let skeyseed = Prf::new(suite.prf).compute(&key, &[shared.expose()]);
        Self::expand(suite, &skeyseed, nonces, spis)
    }

    /// Derives the keys of the IKE SA that takes the place of this one. `suite`, `nonces` and
    /// `spis` are those of the new SA.
    ///
    /// # Errors
    /// [`ExpansionTooLong`], which no suite of the tables reaches.
    pub fn rekey(
        &self,
        suite: &IkeSuite,
        shared: &SharedSecret,
        nonces: Nonces<'_>,
        spis: IkeSpis,
    ) -> Result<Self, ExpansionTooLong> {
        self.rekey_with(suite, shared, &[], nonces, spis)
    }

    /// As [`Self::rekey`], with the secrets of the additional key exchanges in their order
    /// (RFC 9370 §2.2.4).
    ///
    /// # Errors
    /// [`ExpansionTooLong`], which no suite of the tables reaches.
    pub fn rekey_with(
        &self,
        suite: &IkeSuite,
        shared: &SharedSecret,
        additional: &[SharedSecret],
        nonces: Nonces<'_>,
        spis: IkeSpis,
    ) -> Result<Self, ExpansionTooLong> {
        let mut seed = vec![shared.expose(), nonces.initiator, nonces.responder];
        seed.extend(additional.iter().map(Secret::expose));
        let skeyseed = self.prf.compute(self.sk_d.expose(), &seed);
        Self::expand(suite, &skeyseed, nonces, spis)
    }

    /// Mixes a post-quantum pre-shared key into the three secrets that it protects (RFC 8784 §3).
    ///
    /// # Errors
    /// [`ExpansionTooLong`], which no suite of the tables reaches.
    pub fn mix(&self, ppk: &[u8]) -> Result<MixedKeys, ExpansionTooLong> {
        let mixed = |secret: &Secret| self.prf.expand(ppk, &[secret.expose()], secret.length());
        Ok(MixedKeys { sk_d: mixed(&self.sk_d)?, sk_pi: mixed(&self.sk_pi)?, sk_pr: mixed(&self.sk_pr)? })
    }

    /// Goes on with secrets into which a post-quantum pre-shared key was mixed.
    pub fn adopt(&mut self, mixed: MixedKeys) {
        let MixedKeys { sk_d, sk_pi, sk_pr } = mixed;
        (self.sk_d, self.sk_pi, self.sk_pr) = (sk_d, sk_pi, sk_pr);
    }

    /// Derives the keys of an IKE SA that resumes one whose SK_d is `sk_d` (RFC 5723 §5.1). `suite` is
    /// the old one's.
    ///
    /// # Errors
    /// [`ExpansionTooLong`], which no suite of the tables reaches.
    pub fn resume(
        suite: &IkeSuite,
        sk_d: &Secret,
        nonces: Nonces<'_>,
        spis: IkeSpis,
    ) -> Result<Self, ExpansionTooLong> {
        let skeyseed = Prf::new(suite.prf).compute(sk_d.expose(), &[b"Resumption", nonces.initiator, nonces.responder]);
        Self::expand(suite, &skeyseed, nonces, spis)
    }

    /// Returns SK_d, from which a resumed IKE SA's keys come.
    pub const fn sk_d(&self) -> &Secret {
        &self.sk_d
    }

    /// Derives the keys of a CHILD SA; `shared` is the fresh secret of a key exchange (PFS).
    ///
    /// # Errors
    /// [`ExpansionTooLong`], which no suite of the tables reaches.
    pub fn child(
        &self,
        suite: &EspSuite,
        shared: Option<&SharedSecret>,
        nonces: Nonces<'_>,
    ) -> Result<ChildKeys, ExpansionTooLong> {
        self.child_with(suite, shared, &[], nonces)
    }

    /// As [`Self::child`], with the secrets of the additional key exchanges in their order
    /// (RFC 9370 §2.2.4).
    ///
    /// # Errors
    /// [`ExpansionTooLong`], which no suite of the tables reaches.
    pub fn child_with(
        &self,
        suite: &EspSuite,
        shared: Option<&SharedSecret>,
        additional: &[SharedSecret],
        nonces: Nonces<'_>,
    ) -> Result<ChildKeys, ExpansionTooLong> {
        let encryption = suite.encryption.key_material_length();
        let integrity = suite.integrity.map_or(0, Integrity::key_length);
        let fresh = shared.map_or(&[][..], Secret::expose);
        let mut seed = vec![fresh, nonces.initiator, nonces.responder];
        seed.extend(additional.iter().map(Secret::expose));
        let material = self.prf.expand(self.sk_d.expose(), &seed, 2 * (encryption + integrity))?;
        let mut rest = material.expose();
        Ok(ChildKeys {
            from_initiator: DirectionKeys {
                encryption: take(&mut rest, encryption),
                integrity: take(&mut rest, integrity),
            },
            from_responder: DirectionKeys {
                encryption: take(&mut rest, encryption),
                integrity: take(&mut rest, integrity),
            },
        })
    }

    /// Makes the cipher of what `side` of this IKE SA sends.
    ///
    /// # Errors
    /// [`ProtectError::Cipher`] when the transforms do not go together.
    pub fn cipher(&self, side: Side) -> Result<SkCipher, ProtectError> {
        let (encryption, integrity) = match side {
            Side::Initiator => (&self.sk_ei, &self.sk_ai),
            Side::Responder => (&self.sk_er, &self.sk_ar),
        };
        SkCipher::new(self.encryption, self.integrity, encryption.expose(), integrity.expose())
    }

    /// Lends what protects messages, for a table of keys that was asked for.
    pub(crate) const fn messages(&self) -> MessageKeys<'_> {
        let Self { encryption, integrity, sk_ai, sk_ar, sk_ei, sk_er, .. } = self;
        MessageKeys { encryption: *encryption, integrity: *integrity, sk_ai, sk_ar, sk_ei, sk_er }
    }

    fn expand(
        suite: &IkeSuite,
        skeyseed: &Secret,
        nonces: Nonces<'_>,
        spis: IkeSpis,
    ) -> Result<Self, ExpansionTooLong> {
        let prf = Prf::new(suite.prf);
        let own = prf.output_length();
        let encryption = suite.encryption.key_material_length();
        let integrity = suite.integrity.map_or(0, Integrity::key_length);
        let seed = [nonces.initiator, nonces.responder, &spis.initiator, &spis.responder];
        let material = prf.expand(skeyseed.expose(), &seed, 3 * own + 2 * (integrity + encryption))?;
        let mut rest = material.expose();
        let sk_d = take(&mut rest, own);
        let (sk_ai, sk_ar) = (take(&mut rest, integrity), take(&mut rest, integrity));
        let (sk_ei, sk_er) = (take(&mut rest, encryption), take(&mut rest, encryption));
        let (sk_pi, sk_pr) = (take(&mut rest, own), take(&mut rest, own));
        Ok(Self {
            prf,
            sk_d,
            sk_pi,
            sk_pr,
            encryption: suite.encryption,
            integrity: suite.integrity,
            sk_ai,
            sk_ar,
            sk_ei,
            sk_er,
        })
    }
}

/// What protects the messages of an IKE SA.
#[derive(Debug)]
pub(crate) struct MessageKeys<'a> {
    pub encryption: Encryption,
    pub integrity: Option<Integrity>,
    pub sk_ai: &'a Secret,
    pub sk_ar: &'a Secret,
    pub sk_ei: &'a Secret,
    pub sk_er: &'a Secret,
}

/// The secrets of an IKE SA that a post-quantum pre-shared key protects, with it mixed in.
#[derive(Debug)]
pub struct MixedKeys {
    /// SK_d.
    pub sk_d: Secret,
    /// SK_pi.
    pub sk_pi: Secret,
    /// SK_pr.
    pub sk_pr: Secret,
}

/// The keys of a CHILD SA: one set a direction, named for the side that *started the exchange*.
#[derive(Debug)]
pub struct ChildKeys {
    /// For packets from the exchange's initiator to its responder.
    pub from_initiator: DirectionKeys,
    /// For packets from the exchange's responder to its initiator.
    pub from_responder: DirectionKeys,
}

/// The keys of one direction of a CHILD SA.
#[derive(Debug)]
pub struct DirectionKeys {
    /// The cipher key, followed by the salt where the transform has one.
    pub encryption: Secret,
    /// The integrity key; empty with an AEAD.
    pub integrity: Secret,
}

/// Takes the next `octets` off the front; `expand` gave exactly as many as are taken.
fn take(rest: &mut &[u8], octets: usize) -> Secret {
    let (head, tail) = rest.split_at_checked(octets).unwrap_or((rest, &[]));
    *rest = tail;
    Secret::from(head)
}

#[cfg(test)]
mod published;
#[cfg(test)]
mod tests {
    //! The expected values were computed with Python's hmac over the formulas of RFC 7296.

    use super::*;

    fn shared() -> SharedSecret {
        Secret::new((0..32_u8).map(|i| i.wrapping_mul(7)).collect())
    }

    fn first() -> IkeKeys {
        let (ni, nr): (Vec<u8>, Vec<u8>) = ((0..32).collect(), (100..132).collect());
        let spis = IkeSpis { initiator: [1, 2, 3, 4, 5, 6, 7, 8], responder: [11, 12, 13, 14, 15, 16, 17, 18] };
        let suite = "aes256gcm16-prfsha256-x25519".parse().unwrap();
        IkeKeys::derive(&suite, &shared(), Nonces { initiator: &ni, responder: &nr }, spis).unwrap()
    }

    fn shown(secret: &Secret) -> String {
        hex::encode(secret.expose())
    }

    #[test]
    fn a_new_ike_sa_gets_the_keys_of_another_implementation() {
        let keys = first();
        assert_eq!(shown(&keys.sk_d), "9309a3163600eb9cad806157fdeecf67699d8c308a13b60d0fefc0f1fbb009d0");
        assert_eq!(shown(&keys.sk_ei), "704330f0ef7c90585b2d5f96c723d6d34f84bd361761a2da2605f83d79fd950417573581");
        assert_eq!(shown(&keys.sk_er), "c05c9ee407da96492d2b89d0a43877d203c49af4c68c4d422aa8405b86c7bb4d898570ff");
        assert_eq!(shown(&keys.sk_pi), "48aed46b9e50863b5ce89935a173a18540eaf8e5d45bfc0dc19e3531fc3d92e9");
        assert_eq!(shown(&keys.sk_pr), "8855bb86a8a44eab581e9e540abef222bf91e8a3e4152edfeedfa917d415f4cb");
        assert_eq!((keys.sk_ai.length(), keys.sk_ar.length()), (0, 0));
    }

    #[test]
    fn a_rekeyed_ike_sa_comes_from_the_old_prf_and_the_new_suite() {
        // The peer starts the rekey: nonces and SPIs have changed places.
        let (ni, nr): (Vec<u8>, Vec<u8>) = ((100..132).collect(), (0..32).collect());
        let spis = IkeSpis { initiator: [11, 12, 13, 14, 15, 16, 17, 18], responder: [1, 2, 3, 4, 5, 6, 7, 8] };
        let suite = "aes256-sha512-ecp256".parse().unwrap();
        let mut fresh = shared().expose().to_vec();
        fresh.reverse();
        let nonces = Nonces { initiator: &ni, responder: &nr };
        let keys = first().rekey(&suite, &Secret::new(fresh), nonces, spis).unwrap();
        assert!(shown(&keys.sk_d).starts_with("a3be1d7fe5cce61fdc887beae80894e4a350b528d8b8c6df"));
        assert!(shown(&keys.sk_ai).starts_with("8c73b5d1e79261c4d21bafd4cd107ce43eb7c98bd254524c"));
        assert_eq!(shown(&keys.sk_er), "67be744cfa38931d190f94dbb94b795c6ae458eb296a933d6193c5baaadd2ff1");
        assert!(shown(&keys.sk_pr).ends_with("2ec8e533046fc2263276424919b33559c"));
    }

    #[test]
    fn child_keys_come_from_sk_d_with_and_without_a_fresh_secret() {
        let (ni, nr): (Vec<u8>, Vec<u8>) = ((0..32).collect(), (100..132).collect());
        let nonces = Nonces { initiator: &ni, responder: &nr };
        let keys = first().child(&"aes128-sha256".parse().unwrap(), None, nonces).unwrap();
        let all =
            [&keys.from_initiator, &keys.from_responder].map(|keys| [shown(&keys.encryption), shown(&keys.integrity)]);
        assert_eq!(all[0][0], "652e89e424b275540662c8b914300906");
        assert_eq!(all[0][1], "35ffdc1588580321b66cc6e0e0a7639f4e0b080bea1293a6b39ca8f9d20e2afe");
        assert_eq!(all[1][0], "2352aa1d8efe0f4850316661a34de029");
        assert_eq!(all[1][1], "665f0b93aa6ce587666d029860a9a645c1ee96bca1ac3de76f0dc2ccedb1cace");

        let keys = first().child(&"aes256gcm16-x25519".parse().unwrap(), Some(&shared()), nonces).unwrap();
        assert_eq!(
            shown(&keys.from_initiator.encryption),
            "0a955934b2d5846a5c1ac18c99ebd8bc9c63b0179c06b02c4c848465b524ca9b8b8fe4b4"
        );
        assert_eq!(
            shown(&keys.from_responder.encryption),
            "d55916f70d79b8919bd37a1a9c8cb646b32382085017f2f8feb3383a2bd58c21c6fa63a6"
        );
    }

    #[test]
    fn keys_cannot_be_printed() {
        let shown = format!("{:?}", first());
        assert!(shown.contains("sk_d: Secret(32 octets)"), "{shown}");
        assert!(!shown.contains("147"), "0x93, the first octet of SK_d: {shown}");
    }
}
