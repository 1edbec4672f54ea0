//! Which TLS server is EMS, and how this endpoint proves itself. TLS 1.3 only, through ring.

use super::error::EmsError;
use super::identity::Identity;
use super::invitation::KeyPin;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// Before enrolment: the server whose key has the pin of the invitation, whatever its certificate
/// says besides. No clock, no authority and no name is believed in its place.
pub(super) fn of_invitation(pin: KeyPin) -> Result<ClientConfig, EmsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = PinnedServer { pin, algorithms: provider.signature_verification_algorithms };
    let mut config =
        versions(&provider)?.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    finish(&mut config);
    Ok(config)
}

/// After enrolment: a server with a certificate of EMS's own authority, for EMS's name, valid now;
/// this endpoint shows the certificate that it was issued.
pub(super) fn of_enrolment(identity: &Identity) -> Result<ClientConfig, EmsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(identity.authority()).map_err(local)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| EmsError::Local(error.to_string()))?;
    let mut config = versions(&provider)?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(vec![identity.certificate()], identity.private_key())
        .map_err(local)?;
    finish(&mut config);
    Ok(config)
}

fn versions(
    provider: &Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, EmsError> {
    ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(local)
}

/// Each connection proves itself anew: a resumed one would rest on what was true earlier.
fn finish(config: &mut ClientConfig) {
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
}

fn local(error: rustls::Error) -> EmsError {
    EmsError::Local(error.to_string())
}

#[derive(Debug)]
struct PinnedServer {
    pin: KeyPin,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = webpki::EndEntityCert::try_from(end_entity)
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let found = KeyPin::of(certificate.subject_public_key_info().as_ref());
        if found == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General(format!("its key is {found}")))
        }
    }

    /// Never asked: TLS 1.2 is not offered.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
