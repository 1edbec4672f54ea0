//! How both ends prove themselves. Secrets are not in it; it names the files that hold them.

use super::complain;
use crate::profile::document::Complaint;
use crate::profile::key_uri::KeyUri;
use ike_client::auth::certificate::RevocationPolicy;
use ike_client::auth::eap::{EapMethod, EapProfile, InnerMethod, TlsVersion};
use ike_client::auth::signature::RsaPadding;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How this end proves itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authentication {
    /// The way.
    pub kind: AuthenticationKind,
    /// The IKE identity: address, name, mail, `keyid:TEXT`; by default the user's name, the
    /// certificate's subject, or the local address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The EAP user; asked for when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The EAP methods that the gateway may ask for, best first; with any other one there is no
    /// login.
    pub eap_methods: Vec<EapMethod>,
    /// File with the EAP password, mode 0600; stored or asked for when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// File with the pre-shared key, mode 0600; stored or asked for when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psk_file: Option<PathBuf>,
    /// Name of the post-quantum pre-shared key (RFC 8784) that is mixed into the keys; none: none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppk_id: Option<String>,
    /// File with the post-quantum pre-shared key, mode 0600; stored or asked for when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppk_file: Option<PathBuf>,
    /// Whether a gateway that does not have that key is refused.
    pub ppk_required: bool,
    /// PEM file with this end's certificate, then its issuers; that of `key_file` or of the token when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// File with its private key, mode 0600: PEM, which may be encrypted, or PKCS#12 (`.p12` or `.pfx`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The private key's place in a token (RFC 7512), such as `pkcs11:token=card;object=alice`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_uri: Option<String>,
    /// File with the passphrase of `key_file` or the PIN of the token, mode 0600; asked for when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_passphrase_file: Option<PathBuf>,
    /// How an RSA key signs AUTH: `pkcs1`, or `pss` and nothing else.
    pub rsa_signature: RsaPadding,
    /// Whom EAP-TLS and EAP-TTLS trust, and what TTLS carries.
    pub tls: LoginTls,
}

/// The login's own TLS: its server may be another one than the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoginTls {
    /// The name that the login server's certificate must be for; the gateway's by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// PEM files with the authorities that may vouch for the login server; the gateway's
    /// `gateway_ca_files` by default, never the system's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ca_files: Vec<PathBuf>,
    /// SHA-256 of the login server's public key, `sha256//BASE64`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<String>,
    /// PEM files with revocation lists of the login server's authorities, beside `gateway_crl_files`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub crl_files: Vec<PathBuf>,
    /// What must be known of the login server's certificates, by lists or by the OCSP response that it sends within TLS;
    /// nobody is asked. As `gateway_revocation` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation: Option<RevocationPolicy>,
    /// The lowest version of TLS: `1.2` or `1.3`.
    pub minimum_version: TlsVersion,
    /// What TTLS carries: `mschapv2`, or `pap`, which shows the server the password.
    pub inner: InnerMethod,
    /// What TTLS calls the user outside, where the way to the login server can read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outer_identity: Option<String>,
}

impl Default for Authentication {
    fn default() -> Self {
        Self {
            kind: AuthenticationKind::Eap,
            identity: None,
            user: None,
            eap_methods: EapProfile::default().methods,
            password_file: None,
            psk_file: None,
            ppk_id: None,
            ppk_file: None,
            ppk_required: true,
            certificate_file: None,
            key_file: None,
            key_uri: None,
            key_passphrase_file: None,
            rsa_signature: RsaPadding::default(),
            tls: LoginTls::default(),
        }
    }
}

/// The way in which this end proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthenticationKind {
    /// A pre-shared key.
    Psk,
    /// A certificate and its private key.
    Certificate,
    /// A certificate, and then a user's name and password by EAP (RFC 4739); both must be accepted.
    #[serde(rename = "certificate+eap")]
    CertificateThenEap,
    /// A user's name and password by EAP.
    Eap,
    /// A sign-on in a browser, then EAP with what it brought; only with `peer = "fortigate"`.
    Saml,
}

/// The way in which the gateway proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayAuthentication {
    /// A certificate that leads to a trusted authority.
    Certificate,
    /// The login alone (RFC 5998); only with EAP-TLS.
    Eap,
    /// The pre-shared key; with EAP that is a FortiGate habit and carries a standing warning.
    Psk,
}

/// Tells whether a file is by its name one that holds certificates beside the key.
fn is_container(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| ["p12", "pfx"].iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

impl Authentication {
    /// Tells whether this end shows a certificate, to the gateway or to the login server.
    pub fn shows_certificate(&self) -> bool {
        matches!(self.kind, AuthenticationKind::Certificate | AuthenticationKind::CertificateThenEap)
            || (self.kind == AuthenticationKind::Eap && self.eap_methods.contains(&EapMethod::Tls))
    }

    /// Checks what this end needs in order to prove itself in the way that `kind` names.
    pub(super) fn check(&self) -> Result<(), Complaint> {
        if self.eap_methods.is_empty() {
            return complain("auth.eap_methods", "is empty", "at least one method");
        }
        if self.shows_certificate() {
            let brings_its_own = self.key_uri.is_some() || self.key_file.as_deref().is_some_and(is_container);
            if self.certificate_file.is_none() && !brings_its_own {
                return complain("auth.certificate_file", "is missing", "a PEM file, because of auth.kind or EAP-TLS");
            }
            if self.key_file.is_none() && self.key_uri.is_none() {
                return complain("auth.key_file", "is missing", "a PEM file, because of auth.kind or EAP-TLS");
            }
        }
        if self.kind == AuthenticationKind::CertificateThenEap && self.ppk_id.is_some() {
            return complain("auth.ppk_id", "goes with one authentication only", "another auth.kind, or no such key");
        }
        if self.key_file.is_some() && self.key_uri.is_some() {
            return complain("auth.key_uri", "is one key too many", "either auth.key_file or auth.key_uri");
        }
        if let Some(Err(error)) = self.key_uri.as_ref().map(|uri| uri.parse::<KeyUri>()) {
            return complain("auth.key_uri", &error.to_string(), "such as pkcs11:token=card;object=alice");
        }
        if self.ppk_id.is_none() && self.ppk_file.is_some() {
            return complain("auth.ppk_id", "is missing", "the key's name, because auth.ppk_file is set");
        }
        if self.ppk_id.as_ref().is_some_and(|name| name.is_empty() || name.len() > 255) {
            return complain("auth.ppk_id", "has no usable length", "1 to 255 octets");
        }
        Ok(())
    }
}
