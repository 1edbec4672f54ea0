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
        let key = [nonces.initiator, nonces.responder].concat();
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
        let skeyseed = self.prf.compute(self.sk_d.expose(), &[shared.expose(), nonces.initiator, nonces.responder]);
        Self::expand(suite, &skeyseed, nonces, spis)
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
        let encryption = suite.encryption.key_material_length();
        let integrity = suite.integrity.map_or(0, Integrity::key_length);
        let fresh = shared.map_or(&[][..], Secret::expose);
        let seed = [fresh, nonces.initiator, nonces.responder];
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
