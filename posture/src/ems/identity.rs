//! What an endpoint is to its EMS: key, certificate, and what it pinned at enrolment.

use super::base64_bytes;
use super::error::EmsError;
use super::invitation::EmsAddress;
use super::protocol::{EmsId, EndpointId, EnrolReply, RenewReply};
use super::signed::{Fingerprint, KeyRing, MOST_ANNOUNCEMENTS, Signed, Verifier};
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroize;

/// The identity of this endpoint at one EMS. Holds the private key: kept in a file that only the
/// service can read, wiped when dropped, never printed.
#[derive(Serialize, Deserialize)]
pub struct Identity {
    /// Where EMS is.
    #[serde(with = "address")]
    pub address: EmsAddress,
    /// Which EMS it is.
    pub ems: EmsId,
    /// Its name. Text from outside.
    pub ems_name: String,
    /// This endpoint's identifier there.
    pub endpoint: EndpointId,
    #[serde(with = "base64_bytes")]
    key_pkcs8: Vec<u8>,
    #[serde(with = "base64_bytes")]
    certificate: Vec<u8>,
    #[serde(with = "base64_bytes")]
    authority: Vec<u8>,
    #[serde(with = "base64_bytes")]
    signing_key: Vec<u8>,
    /// Announcements of the keys that had followed it at enrolment.
    #[serde(default)]
    keys: Vec<Signed>,
    /// The certificate before this one, where there was one.
    #[serde(default)]
    previous: Option<Fingerprint>,
    #[serde(default)]
    renew_after_unix: u64,
}

impl Identity {
    /// Returns the fingerprint to which documents are bound.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// Returns the verifier of this EMS's documents for this endpoint.
    ///
    /// It knows the keys of the enrolment; [`Cache::verifier`](super::Cache::verifier) also those that
    /// were announced since.
    pub fn verifier(&self) -> Result<Verifier, EmsError> {
        let key = <[u8; 32]>::try_from(self.signing_key.as_slice())
            .map_err(|_| EmsError::Local("the stored signing key is damaged".into()))?;
        let mut keys = KeyRing::pinned(key);
        keys.follow_all(&self.ems, &self.keys);
        Ok(Verifier::with_keys(self.ems.clone(), keys, self.fingerprint(), self.previous))
    }

    /// Returns the fingerprint of the certificate before this one.
    pub const fn previous(&self) -> Option<Fingerprint> {
        self.previous
    }

    /// Returns when the certificate is to be renewed, seconds since 1970.
    pub fn renew_after_unix(&self) -> Option<u64> {
        Some(self.renew_after_unix).filter(|after| *after > 0)
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.certificate.clone())
    }

    pub(super) fn authority(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.authority.clone())
    }

    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key_pkcs8.clone()))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("ems", &self.ems)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.key_pkcs8.zeroize();
    }
}

/// A key that waits for its certificate.
pub(super) struct Applicant {
    key: KeyPair,
}

impl Applicant {
    /// Makes a fresh ECDSA P-256 key.
    pub(super) fn new() -> Result<Self, EmsError> {
        Ok(Self { key: KeyPair::generate().map_err(local)? })
    }

    /// Returns the PKCS#10 request, DER. EMS chooses the subject.
    pub(super) fn certificate_request(&self) -> Result<Vec<u8>, EmsError> {
        let parameters = CertificateParams::new(Vec::<String>::new()).map_err(local)?;
        Ok(parameters.serialize_request(&self.key).map_err(local)?.der().to_vec())
    }

    /// Accepts what EMS issued, once it fits: the certificate holds this key and is signed by the
    /// named authority, and EMS's identifier is that of its signing key.
    pub(super) fn accept(self, address: EmsAddress, reply: EnrolReply) -> Result<Identity, EmsError> {
        let certificate = self.certificate(reply.certificate, &reply.authority)?;
        if reply.signing_key.len() != 32 || identifier(&reply.signing_key) != reply.ems {
            return Err(nonsense("its identifier is not that of its signing key"));
        }
        if reply.endpoint.0.is_empty() || reply.endpoint.0.len() > 128 {
            return Err(nonsense("the endpoint's identifier is empty or too long"));
        }
        if reply.keys.len() > MOST_ANNOUNCEMENTS {
            return Err(nonsense("more keys than any EMS has had"));
        }
        Ok(Identity {
            address,
            ems: reply.ems,
            ems_name: super::error::detail_of(&reply.ems_name),
            endpoint: reply.endpoint,
            key_pkcs8: self.key.serialize_der(),
            certificate: certificate.to_vec(),
            authority: reply.authority,
            signing_key: reply.signing_key,
            keys: reply.keys,
            previous: None,
            renew_after_unix: reply.renew_after_unix,
        })
    }

    /// Accepts the certificate that is to follow an identity's own: of the same EMS, for this key.
    pub(super) fn succeed(self, identity: &Identity, reply: RenewReply) -> Result<Identity, EmsError> {
        let certificate = self.certificate(reply.certificate, &identity.authority)?;
        Ok(Identity {
            address: identity.address.clone(),
            ems: identity.ems.clone(),
            ems_name: identity.ems_name.clone(),
            endpoint: identity.endpoint.clone(),
            key_pkcs8: self.key.serialize_der(),
            certificate: certificate.to_vec(),
            authority: identity.authority.clone(),
            signing_key: identity.signing_key.clone(),
            keys: identity.keys.clone(),
            previous: Some(identity.fingerprint()),
            renew_after_unix: reply.renew_after_unix,
        })
    }

    fn certificate(&self, certificate: Vec<u8>, authority: &[u8]) -> Result<CertificateDer<'static>, EmsError> {
        let certificate = CertificateDer::from(certificate);
        let public_key = webpki::EndEntityCert::try_from(&certificate)
            .map_err(|error| nonsense(&format!("the certificate cannot be read: {error}")))?
            .subject_public_key_info();
        if public_key.as_ref() != self.key.subject_public_key_info() {
            return Err(nonsense("the certificate is for another key"));
        }
        check_issuer(&certificate, &CertificateDer::from(authority))?;
        Ok(certificate)
    }
}

/// Returns the identifier of the EMS that signs with a key.
pub fn identifier(signing_key: &[u8]) -> EmsId {
    EmsId(Fingerprint::of(signing_key).to_string())
}

fn check_issuer(certificate: &CertificateDer<'_>, authority: &CertificateDer<'_>) -> Result<(), EmsError> {
    let anchor = webpki::anchor_from_trusted_cert(authority)
        .map_err(|error| nonsense(&format!("its authority cannot be read: {error}")))?;
    let leaf = webpki::EndEntityCert::try_from(certificate)
        .map_err(|error| nonsense(&format!("the certificate cannot be read: {error}")))?;
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &[anchor],
        &[],
        UnixTime::now(),
        webpki::KeyUsage::client_auth(),
        None,
        None,
    )
    .map(|_| ())
    .map_err(|error| nonsense(&format!("the certificate is not of its authority: {error}")))
}

fn local(error: rcgen::Error) -> EmsError {
    EmsError::Local(error.to_string())
}

fn nonsense(detail: &str) -> EmsError {
    EmsError::Nonsense(detail.into())
}

mod address {
    use super::EmsAddress;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(address: &EmsAddress, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(address)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EmsAddress, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
