//! Whom a certificate is for: subject alternative names and the subject, against an identity.
//!
//! The subject's common name is not a host name here: a certificate without alternative names speaks only for
//! its distinguished name (RFC 4945 §3.1.2 to §3.1.5).

use super::CertificateError;
use crate::auth::distinguished_name::DistinguishedName;
use crate::auth::identity::{Identity, same_host, same_mail};
use std::net::IpAddr;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

/// The names in one certificate.
pub(super) struct Names {
    hosts: Vec<String>,
    addresses: Vec<IpAddr>,
    mails: Vec<String>,
    subject: Option<DistinguishedName>,
}

impl Names {
    pub(super) fn read(certificate: &X509Certificate<'_>) -> Result<Self, CertificateError> {
        let mut names = Self {
            hosts: Vec::new(),
            addresses: Vec::new(),
            mails: Vec::new(),
            subject: DistinguishedName::from_der(certificate.subject().as_raw()).ok(),
        };
        let alternatives = certificate
            .subject_alternative_name()
            .map_err(|_| CertificateError::Malformed("its subject alternative names cannot be read".to_owned()))?;
        for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(host) => names.hosts.push((*host).to_owned()),
                GeneralName::RFC822Name(mail) => names.mails.push((*mail).to_owned()),
                GeneralName::IPAddress(octets) => names.addresses.extend(address(octets)),
                _ => {}
            }
        }
        Ok(names)
    }

    /// Returns true when the certificate speaks for `identity`. For a key id none does.
    pub(super) fn cover(&self, identity: &Identity) -> bool {
        match identity {
            Identity::Fqdn(name) => self.hosts.iter().any(|pattern| host_covers(pattern, name)),
            Identity::Address(wanted) => self.addresses.contains(wanted),
            Identity::Mail(wanted) => self.mails.iter().any(|mail| same_mail(mail, wanted)),
            Identity::DistinguishedName(wanted) => self.subject.as_ref().is_some_and(|name| name.matches(wanted)),
            Identity::KeyId(_) => false,
        }
    }

    /// Lists every name for an error message, the subject last.
    pub(super) fn listed(&self) -> Vec<String> {
        let hosts = self.hosts.iter().chain(&self.mails).map(|name| name.escape_debug().to_string());
        let addresses = self.addresses.iter().map(ToString::to_string);
        hosts.chain(addresses).chain(self.subject.iter().map(ToString::to_string)).collect()
    }

    /// Returns the subject as text.
    pub(super) fn subject(&self) -> Option<&DistinguishedName> {
        self.subject.as_ref()
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(octets).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

/// Compares a dNSName with a host name. A wildcard is the whole first label, stands for exactly one label, and
/// needs two labels after it; a name that is asked for never has one (RFC 6125 §6.4.3).
fn host_covers(pattern: &str, name: &str) -> bool {
    if name.is_empty() || name.contains('*') || name.starts_with('.') {
        return false;
    }
    let Some(parent) = pattern.strip_prefix("*.") else {
        return !pattern.contains('*') && same_host(pattern, name);
    };
    let strict = !parent.contains('*') && parent.trim_end_matches('.').contains('.') && !parent.starts_with('.');
    strict && name.split_once('.').is_some_and(|(_, rest)| same_host(parent, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_covered_exactly_or_by_one_whole_label() {
        for (pattern, name) in [
            ("vpn.example.com", "vpn.example.com"),
            ("VPN.example.com", "vpn.EXAMPLE.com."),
            ("*.example.com", "vpn.example.com"),
        ] {
            assert!(host_covers(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.example.com", "example.com"),
            ("*.example.com", ".example.com"),
            ("*.example.com", "a.b.example.com"),
            ("*.example.com", "*.example.com"),
            ("*.com", "example.com"),
            ("*.com.", "example.com"),
            ("*", "example"),
            ("*.*.com", "vpn.example.com"),
            ("v*.example.com", "vpn.example.com"),
            ("*vpn.example.com", "vpn.example.com"),
            ("vpn.*.com", "vpn.example.com"),
            ("example.com", "vpn.example.com"),
            ("vpn.example.com", ""),
            ("", ""),
        ] {
            assert!(!host_covers(pattern, name), "{pattern} {name}");
        }
    }
}
