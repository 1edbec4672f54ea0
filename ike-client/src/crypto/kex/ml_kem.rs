//! 35, 36 and 37: ML-KEM (FIPS 203), as IKEv2 uses it (draft-ietf-ipsecme-ikev2-mlkem).
//!
//! The initiator sends an encapsulation key, the responder a ciphertext. A ciphertext of the right
//! length always decapsulates to something (implicit rejection): a wrong one shows when the keys
//! that come of it do not fit.

use super::{KeyExchangeError, Method, Secret, SharedSecret};
use crate::random::Random;
use ::ml_kem::{Decapsulate, KeyExport, MlKem512, MlKem768, MlKem1024};
use zeroize::{Zeroize, Zeroizing};

type Drawn = Result<(Vec<u8>, Box<dyn Method>), KeyExchangeError>;
type Encapsulated = Result<Option<(Vec<u8>, SharedSecret)>, KeyExchangeError>;

/// Makes both sides for one parameter set.
macro_rules! parameter_set {
    ($set:ident, $generate:ident, $encapsulate:ident) => {
        pub(super) fn $generate(random: &mut dyn Random) -> Drawn {
            let mut seed = Zeroizing::new([0; 64]);
            random.fill(seed.as_mut())?;
            let key = ::ml_kem::DecapsulationKey::<$set>::from_seed((*seed).into());
            let public = key.encapsulation_key().to_bytes().to_vec();
            Ok((public, Box::new(key)))
        }

        impl Method for ::ml_kem::DecapsulationKey<$set> {
            fn agree(&self, peer: &[u8]) -> Option<SharedSecret> {
                let mut shared = self.decapsulate_slice(peer).ok()?;
                let secret = Secret::from(shared.as_slice());
                shared.zeroize();
                Some(secret)
            }
        }

        pub(super) fn $encapsulate(peer: &[u8], random: &mut dyn Random) -> Encapsulated {
            let Ok(peer) = peer.try_into() else { return Ok(None) };
            let Ok(key) = ::ml_kem::EncapsulationKey::<$set>::new(peer) else { return Ok(None) };
            let mut message = Zeroizing::new([0; 32]);
            random.fill(message.as_mut())?;
            let (ciphertext, mut shared) = key.encapsulate_deterministic(&(*message).into());
            let secret = Secret::from(shared.as_slice());
            shared.zeroize();
            Ok(Some((ciphertext.to_vec(), secret)))
        }
    };
}

parameter_set!(MlKem512, generate_512, encapsulate_512);
parameter_set!(MlKem768, generate_768, encapsulate_768);
parameter_set!(MlKem1024, generate_1024, encapsulate_1024);
