//! Authorities, gateways' and users' certificates for the lab, as files for strongSwan and for Postern.
//!
//! rcgen makes the certificates; RSA keys, which it cannot make with ring, come from the `openssl` command. Every
//! certificate is valid from 2020 to 2100, except the ones that are to be refused for their dates.

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, CustomExtension,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, RevocationReason, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The gateway's host name in the lab.
pub const GATEWAY_NAME: &str = "vpn.example.test";
/// The user's mail address in the lab.
pub const USER_MAIL: &str = "alice@example.test";

/// The kind of the keys of one authority and of everything under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA of 2048 bits.
    Rsa2048,
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Rsa2048, Self::EcdsaP256, Self::EcdsaP384];

    fn generate(self) -> Result<KeyPair> {
        match self {
            Self::Rsa2048 => Ok(KeyPair::from_pem(&rsa_key_pem(2048)?)?),
            Self::EcdsaP256 => Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?),
            Self::EcdsaP384 => Ok(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?),
        }
    }
}

/// Makes an RSA key with the `openssl` command; PKCS#8 in PEM.
fn rsa_key_pem(bits: u32) -> Result<String> {
    let mut command = Command::new("openssl");
    command.args(["genpkey", "-algorithm", "RSA", "-pkeyopt"]).arg(format!("rsa_keygen_bits:{bits}"));
    let output = command.stdin(Stdio::null()).output().context("starting openssl")?;
    ensure!(output.status.success(), "openssl genpkey: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    kind: KeyKind,
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate in both its forms.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// PEM.
    pub pem: String,
    /// DER.
    pub der: Vec<u8>,
}

/// A certificate and its private key.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The certificate.
    pub certificate: Certificate,
    /// The key, PKCS#8 in PEM.
    pub key_pem: String,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validity {
    /// 2020 to 2100.
    #[default]
    Now,
    /// 2020 to 2021.
    Expired,
    /// 2099 to 2100.
    NotYet,
}

/// What a certificate is to say.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The subject's common name; the organisation is always `Postern Lab`.
    pub common_name: String,
    /// Host names.
    pub hosts: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Mail addresses.
    pub mails: Vec<String>,
    /// When it is valid.
    pub validity: Validity,
    /// Where an OCSP responder knows of it.
    pub ocsp: Option<String>,
    /// Where a revocation list of its authority lies.
    pub revocation_list: Option<String>,
}

impl Authority {
    /// Makes an authority with a self-signed certificate.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn new(kind: KeyKind, name: &str) -> Result<Self> {
        let mut parameters = parameters(&Contents { common_name: name.to_owned(), ..Contents::default() })?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = kind.generate()?;
        let certificate = Certificate::from(parameters.self_signed(&key)?);
        Ok(Self { kind, certificate, issuer: Issuer::new(parameters, key) })
    }

    /// Returns the authority's own certificate.
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Returns the authority's private key, PKCS#8 in PEM: for whoever is to misuse it.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Issues a gateway's certificate.
    ///
    /// # Errors
    /// When a name cannot be in a certificate, or a key cannot be made.
    pub fn gateway(&self, contents: &Contents) -> Result<Credential> {
        self.issue(contents, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Issues a user's certificate.
    ///
    /// # Errors
    /// When a name cannot be in a certificate, or a key cannot be made.
    pub fn user(&self, contents: &Contents) -> Result<Credential> {
        self.issue(contents, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// Issues the certificate of an OCSP responder, who speaks for this authority.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn responder(&self) -> Result<Credential> {
        let contents = Contents { common_name: "responder".to_owned(), ..Contents::default() };
        self.issue(&contents, ExtendedKeyUsagePurpose::OcspSigning)
    }

    fn issue(&self, contents: &Contents, purpose: ExtendedKeyUsagePurpose) -> Result<Credential> {
        let mut parameters = parameters(contents)?;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![purpose];
        parameters.use_authority_key_identifier_extension = true;
        let key = self.kind.generate()?;
        let certificate = Certificate::from(parameters.signed_by(&key, &self.issuer)?);
        Ok(Credential { certificate, key_pem: key.serialize_pem() })
    }

    /// Makes a revocation list, PEM, that names these certificates.
    ///
    /// # Errors
    /// When one of them is no certificate.
    pub fn revocation_list(&self, revoked: &[&Credential]) -> Result<String> {
        // 2100.
        self.revocation_list_until(revoked, UNIX_EPOCH + Duration::from_secs(4_102_444_800))
    }

    /// Makes a revocation list, PEM, that names these certificates and runs out at a moment.
    ///
    /// # Errors
    /// When one of them is no certificate.
    pub fn revocation_list_until(&self, revoked: &[&Credential], until: SystemTime) -> Result<String> {
        let mut revoked_certs = Vec::new();
        for credential in revoked {
            let (_, certificate) = X509Certificate::from_der(&credential.certificate.der).context("a certificate")?;
            revoked_certs.push(RevokedCertParams {
                serial_number: SerialNumber::from_slice(certificate.raw_serial()),
                revocation_time: date_time_ymd(2024, 1, 1),
                reason_code: Some(RevocationReason::KeyCompromise),
                invalidity_date: None,
            });
        }
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(1970, 1, 1) + until.duration_since(UNIX_EPOCH)?,
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }

    /// Returns the file that makes strongSwan trust this authority, for [`Settings::files`](crate::strongswan::Settings).
    pub fn strongswan_file(&self, name: &str) -> (String, Vec<u8>) {
        (format!("x509ca/{name}.crt"), self.certificate.pem.clone().into_bytes())
    }
}

impl Credential {
    /// Returns certificate and key as strongSwan wants them, for [`Settings::files`](crate::strongswan::Settings).
    pub fn strongswan_files(&self, name: &str) -> [(String, Vec<u8>); 2] {
        [
            (format!("x509/{name}.crt"), self.certificate.pem.clone().into_bytes()),
            (format!("private/{name}.key"), self.key_pem.clone().into_bytes()),
        ]
    }
}

impl From<rcgen::Certificate> for Certificate {
    fn from(certificate: rcgen::Certificate) -> Self {
        Self { pem: certificate.pem(), der: certificate.der().to_vec() }
    }
}

fn parameters(contents: &Contents) -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(contents.hosts.clone())?;
    for address in &contents.addresses {
        parameters.subject_alt_names.push(SanType::IpAddress(*address));
    }
    for mail in &contents.mails {
        parameters.subject_alt_names.push(SanType::Rfc822Name(mail.as_str().try_into()?));
    }
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, "Postern Lab");
    parameters.distinguished_name.push(DnType::CommonName, contents.common_name.as_str());
    let (from, to) = match contents.validity {
        Validity::Now => (2020, 2100),
        Validity::Expired => (2020, 2021),
        Validity::NotYet => (2099, 2100),
    };
    if let Some(url) = &contents.ocsp {
        parameters.custom_extensions.push(responder_at(url)?);
    }
    let points = contents.revocation_list.iter().map(|url| CrlDistributionPoint { uris: vec![url.clone()] });
    parameters.crl_distribution_points = points.collect();
    parameters.not_before = date_time_ymd(from, 1, 1);
    parameters.not_after = date_time_ymd(to, 1, 1);
    Ok(parameters)
}

/// Makes AuthorityInfoAccess with one OCSP responder, which rcgen does not do.
fn responder_at(url: &str) -> Result<CustomExtension> {
    let element = |tag: u8, content: &[u8]| -> Result<Vec<u8>> {
        let length = u8::try_from(content.len()).ok().filter(|length| *length < 0x80).context("a short address")?;
        Ok([&[tag, length], content].concat())
    };
    let method = element(0x06, &[0x2b, 6, 1, 5, 5, 7, 48, 1])?;
    let description = [method, element(0x86, url.as_bytes())?].concat();
    let content = element(0x30, &element(0x30, &description)?)?;
    Ok(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content))
}

/// One authority, the gateway that it vouches for, and a user.
#[derive(Debug)]
pub struct Pki {
    /// The authority that both sides trust.
    pub authority: Authority,
    /// The gateway's: host name [`GATEWAY_NAME`] and its addresses.
    pub gateway: Credential,
    /// The user's: mail address [`USER_MAIL`].
    pub user: Credential,
}

impl Pki {
    /// Makes all three.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn new(kind: KeyKind) -> Result<Self> {
        let authority = Authority::new(kind, "Postern Lab CA")?;
        let gateway = authority.gateway(&Self::gateway_contents())?;
        let user = authority.user(&Contents {
            common_name: "alice".to_owned(),
            mails: vec![USER_MAIL.to_owned()],
            ..Contents::default()
        })?;
        Ok(Self { authority, gateway, user })
    }

    /// Returns what the good gateway's certificate says.
    pub fn gateway_contents() -> Contents {
        Contents {
            common_name: "gateway".to_owned(),
            hosts: vec![GATEWAY_NAME.to_owned()],
            addresses: vec![IpAddr::from([10, 99, 0, 2])],
            ..Contents::default()
        }
    }

    /// Makes a gateway whose certificate has run out.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn expired_gateway(&self) -> Result<Credential> {
        self.authority.gateway(&Contents { validity: Validity::Expired, ..Self::gateway_contents() })
    }

    /// Makes a gateway that the authority vouches for, under another name.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn other_gateway(&self) -> Result<Credential> {
        self.authority.gateway(&Contents {
            common_name: "other".to_owned(),
            hosts: vec!["other.example.test".to_owned()],
            ..Contents::default()
        })
    }

    /// Makes a gateway of the right name that an unknown authority vouches for, and that authority.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn untrusted_gateway(&self) -> Result<(Authority, Credential)> {
        let stranger = Authority::new(self.authority.kind, "Strange CA")?;
        let gateway = stranger.gateway(&Self::gateway_contents())?;
        Ok((stranger, gateway))
    }
}

/// Returns the SHA-256 of a certificate's subjectPublicKeyInfo, by which its key is pinned.
///
/// # Errors
/// When it is no certificate.
pub fn spki_sha256(der: &[u8]) -> Result<[u8; 32]> {
    let (_, certificate) = X509Certificate::from_der(der).context("reading a certificate")?;
    let key = certificate.tbs_certificate.subject_pki.raw;
    Ok(ring::digest::digest(&ring::digest::SHA256, key).as_ref().try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ike_client::auth::certificate::{self, CertificateError, ExpectedIdentity, Revocation, Trust, verify_gateway};
    use ike_client::auth::{Identity, PrivateKey};

    /// 2026-11-23.
    const NOW: u64 = 1_795_392_000;

    fn check(pki: &Pki, gateway: &Credential) -> Result<(), CertificateError> {
        let anchors = [pki.authority.certificate().der.clone()];
        let trust = Trust {
            anchors: &anchors,
            pins: &[],
            revocation: &Revocation::default(),
            expected: ExpectedIdentity::Host(GATEWAY_NAME),
        };
        let chain = certificate::payloads(std::slice::from_ref(&gateway.certificate.der));
        verify_gateway(&chain, &trust, &Identity::Fqdn(GATEWAY_NAME.to_owned()), NOW).map(drop)
    }

    #[test]
    fn each_kind_of_gateway_is_accepted_or_refused_for_its_own_reason() {
        for kind in KeyKind::ALL {
            let pki = Pki::new(kind).unwrap();
            assert_eq!(check(&pki, &pki.gateway), Ok(()));
            let expired = check(&pki, &pki.expired_gateway().unwrap());
            assert!(matches!(expired, Err(CertificateError::Expired { .. })), "{expired:?}");
            let other = check(&pki, &pki.other_gateway().unwrap());
            assert!(matches!(other, Err(CertificateError::IdentityMismatch { .. })), "{other:?}");
            let untrusted = check(&pki, &pki.untrusted_gateway().unwrap().1);
            assert!(matches!(untrusted, Err(CertificateError::UnknownIssuer { .. })), "{untrusted:?}");
            let user = check(&pki, &pki.user);
            assert!(matches!(user, Err(CertificateError::WrongUse(_))), "{user:?}");
        }
    }

    #[test]
    fn each_key_is_read_by_postern_and_belongs_to_its_certificate() {
        for kind in KeyKind::ALL {
            let pki = Pki::new(kind).unwrap();
            for credential in [&pki.gateway, &pki.user] {
                let key = PrivateKey::from_pem(&credential.key_pem).unwrap();
                assert_eq!(certificate::holds_key(&credential.certificate.der, &key.public_key_info()), Ok(true));
            }
        }
    }
}
