//! Which signatures on certificates, revocation lists and OCSP responses are believed.

use super::p521;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use webpki::EndEntityCert;

/// Returns the algorithms: those of the path builder, and P-521. None of them uses SHA-1.
pub(super) fn algorithms() -> Vec<&'static dyn SignatureVerificationAlgorithm> {
    webpki::ALL_VERIFICATION_ALGS.iter().copied().chain(p521::ALGORITHMS).collect()
}

/// Tells whether the key in the certificate `signer` has signed `message`. `algorithm` is the content of the
/// AlgorithmIdentifier that stands with the signature.
pub(super) fn is_signed_by(signer: &CertificateDer<'_>, algorithm: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok(signer) = EndEntityCert::try_from(signer) else { return false };
    algorithms()
        .into_iter()
        .filter(|candidate| candidate.signature_alg_id().as_ref() == algorithm)
        .any(|candidate| signer.verify_signature(candidate, message, signature).is_ok())
}
