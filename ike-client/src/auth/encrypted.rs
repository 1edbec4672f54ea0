//! What a passphrase protects: PBES2 (RFC 8018 §6.2), as PKCS#8 and PKCS#12 files have it.

use super::private_key::PrivateKeyError;
use pkcs5::EncryptionScheme;
use pkcs5::pbes2::Kdf;
use zeroize::Zeroizing;

/// The most rounds, and octets of memory, that a file may make this machine spend on one guess.
const MAX_ITERATIONS: u32 = 10_000_000;
const MAX_MEMORY: u64 = 256 << 20;

/// Decrypts `ciphertext` under `algorithm`, a whole AlgorithmIdentifier. A wrong passphrase is mostly seen here, and
/// else in what comes out.
pub(super) fn decrypt(
    algorithm: &[u8],
    ciphertext: &[u8],
    passphrase: &[u8],
) -> Result<Zeroizing<Vec<u8>>, PrivateKeyError> {
    let scheme = EncryptionScheme::try_from(algorithm).map_err(|_| PrivateKeyError::EncryptionUnsupported)?;
    let parameters = scheme.pbes2().ok_or(PrivateKeyError::EncryptionUnsupported)?;
    let bearable = match &parameters.kdf {
        Kdf::Pbkdf2(parameters) => parameters.iteration_count <= MAX_ITERATIONS,
        Kdf::Scrypt(parameters) => {
            let memory = parameters.cost_parameter.saturating_mul(128).saturating_mul(parameters.block_size.into());
            memory <= MAX_MEMORY && parameters.parallelization <= 16
        }
        _ => false,
    };
    if !bearable {
        return Err(PrivateKeyError::EncryptionUnsupported);
    }
    match scheme.decrypt(passphrase, ciphertext) {
        Ok(plain) => Ok(Zeroizing::new(plain)),
        Err(pkcs5::Error::DecryptFailed | pkcs5::Error::EncryptFailed) => Err(PrivateKeyError::WrongPassphrase),
        Err(_) => Err(PrivateKeyError::EncryptionUnsupported),
    }
}
