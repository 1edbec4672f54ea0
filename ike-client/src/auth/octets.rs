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
