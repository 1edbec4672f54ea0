//! AUTH payloads: the gateway's own, and the verification of a client's (RFC 7296 §2.15, §2.16).

use super::init::InitExchange;
use super::settings::Credentials;
use ike_client::auth::signature::{PublicKey, SignatureHashes, SignaturePolicy, sign};
use ike_client::crypto::{Secret, keys::IkeKeys};
use ike_client::exchange::IntermediateTranscript;
use ike_client::random::Random;
use ike_client::wire::{Authentication, AuthenticationMethod, Certificate, CertificateEncoding, Identification};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use subtle::ConstantTimeEq;

/// What the AUTH payloads of one IKE SA cover.
pub(super) struct Proof<'a> {
    pub init: &'a InitExchange,
    pub keys: &'a IkeKeys,
    pub intermediate: &'a IntermediateTranscript,
}

impl Proof<'_> {
    pub(super) fn initiator_octets(&self, id: &Identification) -> Vec<u8> {
        let maced = self.keys.prf.compute(self.keys.sk_pi.expose(), &[&id.body()]);
        [&self.init.request, &self.init.responder_nonce, maced.expose(), &self.intermediate.octets()].concat()
    }

    pub(super) fn responder_octets(&self, id: &Identification) -> Vec<u8> {
        let maced = self.keys.prf.compute(self.keys.sk_pr.expose(), &[&id.body()]);
        [&self.init.response, &self.init.initiator_nonce, maced.expose(), &self.intermediate.octets()].concat()
    }

    fn shared_key(&self, secret: &[u8], octets: &[u8]) -> Secret {
        let key = self.keys.prf.compute(secret, &[b"Key Pad for IKEv2"]);
        self.keys.prf.compute(key.expose(), &[octets])
    }

    /// Makes the gateway's AUTH from a shared key: the PSK, or what EAP gave.
    pub(super) fn gateway_by_key(&self, id: &Identification, secret: &[u8]) -> Authentication {
        let data = self.shared_key(secret, &self.responder_octets(id)).expose().to_vec();
        Authentication { method: AuthenticationMethod::SHARED_KEY, data }
    }

    /// Makes the gateway's AUTH with its private key.
    pub(super) fn gateway_by_certificate(
        &self,
        id: &Identification,
        credentials: &Credentials,
        random: &mut dyn Random,
    ) -> Option<Authentication> {
        let hashes = &self.init.client_hashes;
        let signed = sign(credentials.key.as_ref()?, hashes, &self.responder_octets(id), random).ok()?;
        Some(Authentication { method: AuthenticationMethod(signed.scheme.method()), data: signed.data })
    }

    /// Verifies a client's AUTH that was made from a shared key.
    pub(super) fn client_by_key(&self, id: &Identification, presented: &Authentication, secret: &[u8]) -> bool {
        let expected = self.shared_key(secret, &self.initiator_octets(id));
        presented.method == AuthenticationMethod::SHARED_KEY && bool::from(expected.expose().ct_eq(&presented.data))
    }

    /// Verifies a client's AUTH that was made with the key of a certificate, and the certificate.
    pub(super) fn client_by_certificate(
        &self,
        id: &Identification,
        presented: &Authentication,
        certificates: &[Certificate],
        credentials: &Credentials,
        unix_now: u64,
    ) -> bool {
        let ders = certificates.iter().filter(|one| one.encoding == CertificateEncoding::X509_SIGNATURE);
        let ders: Vec<_> = ders.map(|one| CertificateDer::from(one.data.as_slice())).collect();
        let Some((leaf, intermediates)) = ders.split_first() else { return false };
        if !chains_to(leaf, intermediates, &credentials.client_authorities, unix_now) {
            return false;
        }
        let ours = SignatureHashes::ours();
        let policy = SignaturePolicy {
            announced_by_us: &ours,
            announced_by_gateway: &self.init.client_hashes,
            allow_rsa_sha1: true,
        };
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(leaf) else { return false };
        let Ok(key) = PublicKey::from_info(parsed.public_key().raw) else { return false };
        key.verify(presented.method.0, &presented.data, &self.initiator_octets(id), &policy).is_ok()
    }
}

fn chains_to(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    authorities: &[Vec<u8>],
    unix_now: u64,
) -> bool {
    let authorities: Vec<_> = authorities.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let anchors: Vec<_> = authorities.iter().filter_map(|der| webpki::anchor_from_trusted_cert(der).ok()).collect();
    let Ok(leaf) = webpki::EndEntityCert::try_from(leaf) else { return false };
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        intermediates,
        UnixTime::since_unix_epoch(Duration::from_secs(unix_now)),
        webpki::KeyUsage::client_auth(),
        None,
        None,
    )
    .is_ok()
}
