//! Whom TLS trusts: the login's own authorities and name, nothing that the system or the server brings.

use crate::auth::Identity;
use crate::auth::certificate::{self, CertificateError, ExpectedIdentity, Revocation, Trust};
use crate::auth::eap::profile::TlsProfile;
use crate::wire::{self, CertificateEncoding};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use std::sync::{Arc, Mutex, PoisonError};

/// Why the server's certificate was refused, for the one who asks later.
pub(super) type Refusal = Arc<Mutex<Option<CertificateError>>>;

/// Checks the server's certificate as a gateway's is checked.
pub(super) struct ServerCheck {
    anchors: Vec<Vec<u8>>,
    pins: Vec<[u8; 32]>,
    name: Identity,
    revocation: Revocation,
    algorithms: WebPkiSupportedAlgorithms,
    refusal: Refusal,
}

impl ServerCheck {
    pub(super) fn new(profile: &TlsProfile, algorithms: WebPkiSupportedAlgorithms, refusal: Refusal) -> Self {
        let name =
            profile.server_name.parse().map_or_else(|_| Identity::Fqdn(profile.server_name.clone()), Identity::Address);
        Self {
            anchors: profile.server_anchors.clone(),
            pins: profile.server_pins.clone(),
            name,
            revocation: Revocation { inquire: false, fetched: None, ..profile.revocation.clone() },
            algorithms,
            refusal,
        }
    }
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<Vec<u8>> =
            std::iter::once(end_entity).chain(intermediates).map(|certificate| certificate.to_vec()).collect();
        let expected = ExpectedIdentity::Profile(&self.name);
        let trust = Trust { anchors: &self.anchors, pins: &self.pins, revocation: &self.revocation, expected };
        let mut payloads = certificate::payloads(&chain);
        if !ocsp_response.is_empty() {
            let encoding = CertificateEncoding::OCSP;
            payloads.push(wire::Certificate { encoding, data: ocsp_response.to_vec() });
        }
        match certificate::verify_gateway(&payloads, &trust, &self.name, now.as_secs()) {
            Ok(_) => Ok(ServerCertVerified::assertion()),
            Err(error) => {
                *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl std::fmt::Debug for ServerCheck {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ServerCheck({})", self.name)
    }
}
