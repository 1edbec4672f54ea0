//! AUTH by a shared key, method 2 (RFC 7296 §2.15, §2.16): `prf(prf(secret, "Key Pad for IKEv2"), octets)`.
//!
//! The secret is the pre-shared key, or after EAP the MSK, or, for an EAP method that makes no key, SK_pi for the
//! initiator's and SK_pr for the responder's AUTH.

use crate::crypto::prf::Prf;
use subtle::ConstantTimeEq;

const KEY_PAD: &[u8] = b"Key Pad for IKEv2";

/// Makes the authentication data over `octets`.
pub fn compute(prf: Prf, secret: &[u8], octets: &[u8]) -> Vec<u8> {
    let key = prf.compute(secret, &[KEY_PAD]);
    prf.compute(key.expose(), &[octets]).expose().to_vec()
}

/// Compares the authentication data that the peer presents with the right one, in constant time.
pub fn verify(prf: Prf, secret: &[u8], octets: &[u8], presented: &[u8]) -> bool {
    compute(prf, secret, octets).ct_eq(presented).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::transform::PseudoRandomFunction;
    use ring::hmac;

    fn prf() -> Prf {
        Prf::new(PseudoRandomFunction::HmacSha256)
    }

    #[test]
    fn the_data_is_the_nested_prf_of_rfc_7296() {
        let inner = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"correct horse"), b"Key Pad for IKEv2");
        let outer = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, inner.as_ref()), b"octets");
        assert_eq!(compute(prf(), b"correct horse", b"octets"), outer.as_ref());
    }

    #[test]
    fn only_the_same_secret_and_the_same_octets_verify() {
        let data = compute(prf(), b"secret", b"octets");
        assert!(verify(prf(), b"secret", b"octets", &data));
        assert!(!verify(prf(), b"Secret", b"octets", &data));
        assert!(!verify(prf(), b"secret", b"Octets", &data));
        assert!(!verify(prf(), b"secret", b"octets", data.get(1..).unwrap()));
        assert!(!verify(prf(), b"secret", b"octets", &[]));
    }

    #[test]
    fn zeros_at_the_end_of_an_msk_make_no_difference_to_hmac() {
        let short = [7_u8; 32];
        let long = [&short[..], &[0; 32]].concat();
        assert_eq!(compute(prf(), &short, b"octets"), compute(prf(), &long, b"octets"));
    }
}
