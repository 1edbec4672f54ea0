//! EMS's keys: the certificate authority, the TLS server, the signature of documents.
//!
//! Files in the state directory, each for its owner alone; made at the first start, kept from
//! then on, because endpoints pin what they once learned.

use anyhow::{Context, Result};
use posture::ems::identity::identifier;
use posture::ems::invitation::KeyPin;
use posture::ems::protocol::{EmsId, EndpointId};
use posture::ems::signed::{CLOCK_TOLERANCE_SECONDS, KeyAnnouncement, MOST_ANNOUNCEMENTS, Signed};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
    date_time_ymd,
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const AUTHORITY_KEY: &str = "authority.key";
const AUTHORITY_CERTIFICATE: &str = "authority.der";
const TLS_KEY: &str = "tls.key";
const SIGNING_KEY: &str = "signing.key";
/// The first public signing key: EMS's identifier is its digest, whichever key signs now.
const FIRST_PUBLIC: &str = "signing.public";

/// EMS's keys.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    tls_key: KeyPair,
    signing_key: Ed25519KeyPair,
    first_public: Vec<u8>,
    /// How each signing key announced the next.
    announcements: Vec<Signed>,
    directory: PathBuf,
}

/// A certificate that was issued to an endpoint.
pub struct Issued {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// Until when it holds, seconds since 1970.
    pub expires_unix: u64,
}

impl Authority {
    /// Opens the keys in a directory; makes those that are missing.
    pub fn open(directory: &Path) -> Result<Self> {
        let authority_key = key(&directory.join(AUTHORITY_KEY))?;
        let place = directory.join(AUTHORITY_CERTIFICATE);
        let certificate = match read(&place)? {
            Some(bytes) => CertificateDer::from(bytes),
            None => {
                let made = authority_parameters().self_signed(&authority_key)?.der().clone();
                write(&place, &made)?;
                made
            }
        };
        let issuer = Issuer::from_ca_cert_der(&certificate, authority_key)?;
        let announcements = announcements(directory)?;
        // A rotation that was cut short may have left the older key.
        for older in (0..announcements.len()).map(|number| directory.join(signing_key_name(number))) {
            if older.exists() {
                fs::remove_file(older)?;
            }
        }
        let signing_key = ed25519(&directory.join(signing_key_name(announcements.len())))?;
        let place = directory.join(FIRST_PUBLIC);
        let first_public = match read(&place)? {
            Some(bytes) => bytes,
            None => {
                let public = signing_key.public_key().as_ref().to_vec();
                write(&place, &public)?;
                public
            }
        };
        let tls_key = key(&directory.join(TLS_KEY))?;
        let directory = directory.to_owned();
        Ok(Self { certificate, issuer, tls_key, signing_key, first_public, announcements, directory })
    }

    /// Returns the authority's certificate.
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Returns the authority's certificate as PEM.
    pub fn certificate_pem(&self) -> String {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(&self.certificate);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    /// Returns the pin that invitations carry.
    pub fn pin(&self) -> KeyPin {
        KeyPin::of(&self.tls_key.subject_public_key_info())
    }

    /// Returns the identifier of this EMS.
    pub fn ems(&self) -> EmsId {
        identifier(&self.first_public)
    }

    /// Returns the first public key of documents: the one that endpoints pin.
    pub fn signing_key(&self) -> Vec<u8> {
        self.first_public.clone()
    }

    /// Returns the public key of what is signed now.
    pub fn public_key(&self) -> &[u8] {
        self.signing_key.public_key().as_ref()
    }

    /// Returns how each key announced the next, oldest first.
    pub fn announcements(&self) -> &[Signed] {
        &self.announcements
    }

    /// Signs with a new key from now on, announced under the one that signed so far. The new key is
    /// on disk before its announcement, and the older one, which nothing needs any more, goes.
    pub fn rotate_signing_key(&mut self, overlap_until_unix: u64) -> Result<u64> {
        let number = self.announcements.len() + 1;
        anyhow::ensure!(number <= MOST_ANNOUNCEMENTS, "this EMS has had every key that endpoints follow");
        let place = self.directory.join(signing_key_name(number));
        // One that was made and never announced is nobody's.
        if place.exists() {
            fs::remove_file(&place)?;
        }
        let next = ed25519(&place)?;
        let key = next.public_key().as_ref().to_vec();
        let announcement = KeyAnnouncement { ems: self.ems(), number: u64::try_from(number)?, key, overlap_until_unix };
        let body = serde_json::to_vec(&announcement)?;
        let signature = self.sign_bytes(&KeyAnnouncement::message(&body));
        let signed = Signed { body, signature };
        write(&self.directory.join(announcement_name(number)), &serde_json::to_vec(&signed)?)?;
        fs::remove_file(self.directory.join(signing_key_name(number - 1)))?;
        self.announcements.push(signed);
        self.signing_key = next;
        Ok(announcement.number)
    }

    /// Signs a document.
    pub fn sign(&self, body: Vec<u8>) -> Signed {
        let signature = self.sign_bytes(&Signed::message(&body));
        Signed { body, signature }
    }

    /// Signs what is no document and says so in its first bytes.
    pub fn sign_bytes(&self, message: &[u8]) -> Vec<u8> {
        self.signing_key.sign(message).as_ref().to_vec()
    }

    /// Issues EMS's own TLS certificate, for names and addresses.
    pub fn server_certificate(
        &self,
        names: &[String],
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let mut parameters = CertificateParams::new(Vec::<String>::new())?;
        for name in names {
            parameters.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            });
        }
        parameters.distinguished_name = named("Postern lab EMS");
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let certificate = parameters.signed_by(&self.tls_key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.tls_key.serialize_der()));
        Ok((vec![certificate.der().clone(), self.certificate.clone()], key))
    }

    /// Issues an endpoint's certificate. Of the request only the key counts, once its signature has
    /// shown that the endpoint holds it.
    pub fn issue(&self, request: &[u8], endpoint: &EndpointId, now_unix: u64, valid_seconds: u64) -> Result<Issued> {
        let request = CertificateSigningRequestDer::from(request.to_vec());
        let mut request = CertificateSigningRequestParams::from_der(&request).context("certificate request")?;
        let mut serial = [0u8; 16];
        getrandom::fill(&mut serial).map_err(|_| anyhow::anyhow!("no random numbers"))?;
        // A positive integer of full length.
        serial[0] = serial[0] & 0x3f | 0x40;
        let expires_unix = now_unix.saturating_add(valid_seconds);
        let epoch = date_time_ymd(1970, 1, 1);
        let mut parameters = CertificateParams::new(Vec::<String>::new())?;
        parameters.distinguished_name = named(&endpoint.0);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.serial_number = Some(SerialNumber::from_slice(&serial));
        // The endpoint's clock may be behind ours.
        parameters.not_before = epoch + Duration::from_secs(now_unix.saturating_sub(CLOCK_TOLERANCE_SECONDS));
        parameters.not_after = epoch + Duration::from_secs(expires_unix);
        request.params = parameters;
        let certificate = request.signed_by(&self.issuer)?.der().clone();
        Ok(Issued { certificate, serial: hex::encode(serial), expires_unix })
    }
}

fn signing_key_name(number: usize) -> String {
    if number == 0 { SIGNING_KEY.to_owned() } else { format!("signing-{number}.key") }
}

fn announcement_name(number: usize) -> String {
    format!("signing-{number}.announcement")
}

fn announcements(directory: &Path) -> Result<Vec<Signed>> {
    let mut found = Vec::new();
    while let Some(bytes) = read(&directory.join(announcement_name(found.len() + 1)))? {
        found.push(serde_json::from_slice(&bytes)?);
    }
    Ok(found)
}

fn ed25519(place: &Path) -> Result<Ed25519KeyPair> {
    let pkcs8 = match read(place)? {
        Some(bytes) => bytes,
        None => {
            let made = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new())
                .map_err(|_| anyhow::anyhow!("no random numbers"))?;
            write(place, made.as_ref())?;
            made.as_ref().to_vec()
        }
    };
    Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|error| anyhow::anyhow!("{}: {error}", place.display()))
}

fn authority_parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named("Postern lab EMS authority");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn key(place: &Path) -> Result<KeyPair> {
    let pkcs8 = match read(place)? {
        Some(bytes) => bytes,
        None => {
            let made = KeyPair::generate()?;
            write(place, made.serialized_der())?;
            return Ok(made);
        }
    };
    KeyPair::try_from(pkcs8).with_context(|| place.display().to_string())
}

fn read(place: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(place) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| place.display().to_string()),
    }
}

/// The temporary file is for its owner alone, and the rename keeps that.
fn write(place: &Path, bytes: &[u8]) -> Result<()> {
    let directory = place.parent().context("a key needs a directory")?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(place)?;
    fs::File::open(directory)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use posture::ems::signed::{Fingerprint, Verifier};
    use tempfile::TempDir;

    const NOW: u64 = 1_800_000_000;

    /// Makes a copy of a state directory with some of another's files beside its own.
    fn copy(state: &Path, beside: &[&Path]) -> TempDir {
        let made = TempDir::new().unwrap();
        for entry in fs::read_dir(state).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), made.path().join(entry.file_name())).unwrap();
        }
        for file in beside {
            fs::copy(file, made.path().join(file.file_name().unwrap())).unwrap();
        }
        made
    }

    /// What an endpoint believes that enrolled before any key was followed by another.
    fn is_believed(authority: &Authority) -> bool {
        let first = authority.signing_key().try_into().unwrap();
        let mut endpoint = Verifier::new(authority.ems(), first, Fingerprint([7; 32]));
        for announcement in authority.announcements() {
            endpoint.follow(announcement).unwrap();
        }
        let signed = authority.sign(b"{}".to_vec());
        // After every overlap: the newest key alone counts.
        endpoint.is_signed(&Signed::message(&signed.body), &signed.signature, NOW + 1_000)
    }

    #[test]
    fn a_rotation_that_is_cut_short_at_any_step_leaves_keys_that_sign_and_are_followed() {
        let before = TempDir::new().unwrap();
        let ems = Authority::open(before.path()).unwrap().ems();
        let after = copy(before.path(), &[]);
        Authority::open(after.path()).unwrap().rotate_signing_key(NOW + 10).unwrap();
        let (key, announcement) = (after.path().join("signing-1.key"), after.path().join("signing-1.announcement"));
        assert!(!after.path().join(SIGNING_KEY).exists(), "the older key goes");
        // The files as each step of the rotation leaves them.
        let steps: [(&str, TempDir, usize); 4] = [
            ("nothing yet", copy(before.path(), &[]), 0),
            ("the new key", copy(before.path(), &[&key]), 0),
            ("its announcement", copy(before.path(), &[&key, &announcement]), 1),
            ("all of it", copy(after.path(), &[]), 1),
        ];
        for (step, state, announced) in steps {
            let mut again = Authority::open(state.path()).unwrap();
            assert_eq!((again.announcements().len(), again.ems()), (announced, ems.clone()), "{step}");
            assert!(is_believed(&again), "{step}");
            assert_eq!(state.path().join(SIGNING_KEY).exists(), announced == 0, "{step}");
            again.rotate_signing_key(NOW + 20).unwrap();
            assert!(is_believed(&again), "{step}, and one more");
            let reopened = Authority::open(state.path()).unwrap();
            assert!(is_believed(&reopened) && reopened.announcements().len() == announced + 1, "{step}, opened again");
        }
    }
}
