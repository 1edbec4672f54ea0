//! What AUTH covers (RFC 7296 §2.15): the side's own IKE_SA_INIT message as it was sent, the other side's
//! nonce, and the side's own identity under its SK_p.

use crate::crypto::prf::Prf;

/// Returns the octets that one side signs.
///
/// * `sk_p`: SK_pi for the initiator's octets, SK_pr for the responder's;
/// * `message`: that side's IKE_SA_INIT message, from the first byte of the header, without non-ESP marker;
///   the last one, if cookies or another group made the initiator send several;
/// * `peer_nonce`: the *other* side's nonce, without payload header;
/// * `identity_body`: that side's identification payload without generic header, as sent, reserved bytes included.
pub fn signed_octets(prf: Prf, sk_p: &[u8], message: &[u8], peer_nonce: &[u8], identity_body: &[u8]) -> Vec<u8> {
    let maced_identity = prf.compute(sk_p, &[identity_body]);
    [message, peer_nonce, maced_identity.expose()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::transform::PseudoRandomFunction;
    use ring::hmac;

    #[test]
    fn message_nonce_and_maced_identity_follow_each_other() {
        let prf = Prf::new(PseudoRandomFunction::HmacSha384);
        let maced = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA384, b"sk_p"), b"\x02\0\0\0vpn");
        let octets = signed_octets(prf, b"sk_p", b"message", b"nonce", b"\x02\0\0\0vpn");
        assert_eq!(octets, [b"messagenonce", maced.as_ref()].concat());
    }
}
