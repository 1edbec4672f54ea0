//! Certificates that a P-521 key has signed, which the path builder's own algorithms leave out.

use crate::auth::signature::{PublicKey, SignatureAlgorithm};
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};

/// What is added to the path builder's algorithms.
pub(super) const ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 3] = [
    &P521 { algorithm: SignatureAlgorithm::EcdsaSha256, identifier: alg_id::ECDSA_SHA256 },
    &P521 { algorithm: SignatureAlgorithm::EcdsaSha384, identifier: alg_id::ECDSA_SHA384 },
    &P521 { algorithm: SignatureAlgorithm::EcdsaSha512, identifier: alg_id::ECDSA_SHA512 },
];

#[derive(Debug)]
struct P521 {
    algorithm: SignatureAlgorithm,
    identifier: AlgorithmIdentifier,
}

impl SignatureVerificationAlgorithm for P521 {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let key = PublicKey::from_p521_point(key);
        if key.verify_bare(self.algorithm, message, signature) { Ok(()) } else { Err(InvalidSignature) }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P521
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.identifier
    }
}
