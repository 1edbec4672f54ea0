//! Whether a certificate was taken back: by revocation lists (RFC 5280 §5) and OCSP responses (RFC 6960).
//!
//! Lists come with the profile, both with the gateway's CERT payloads (RFC 7296 §3.6, RFC 4806) or within TLS, each
//! signed by the authority that issued the certificate, or for OCSP by one whom that authority has made a responder.
//! What they leave open is returned as [`Inquiry`]: whom the certificate itself names as able to say. Nothing is fetched here:
//! whoever owns the session does, and only for a certificate whose path has led to an anchor and whose key has signed.
//! What was fetched comes back as [`Fetched`], and what of it was believed may be kept for the next time ([`Known`]).
//!
//! Whatever says that a certificate was revoked wins, whatever else is said.

use super::crl::{self, List};
use super::known::{Known, KnownAnswer, Said};
use super::{CertificateError, ocsp};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::asn1_rs::{Oid, oid};
use x509_parser::prelude::X509Certificate;

/// How far this clock and an authority's may be apart, in seconds.
pub(super) const SKEW: u64 = 300;
/// The most lists, OCSP responses, and octets of them, that are looked at.
const MAX_COUNT: usize = 16;
const MAX_OCTETS: usize = 16 * 1024 * 1024;
/// The most places that are asked of one certificate, and the longest address of one.
const MAX_SOURCES: usize = 4;
const MAX_URL: usize = 1024;
/// id-ad-ocsp.
const OCSP_ACCESS: Oid<'static> = oid!(1.3.6.1.5.5.7.48.1);

/// What is known of revoked certificates, and how much of it is demanded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Revocation {
    /// How much is demanded.
    pub policy: RevocationPolicy,
    /// Revocation lists of the profile, DER.
    #[serde(with = "crate::octet_strings")]
    pub lists: Vec<Vec<u8>>,
    /// Whether what is not at hand is asked for: of the gateway, in CERTREQ, and of those whom the certificates name.
    pub inquire: bool,
    /// What came of asking; none: nobody was asked yet.
    #[serde(skip)]
    pub fetched: Option<Fetched>,
    /// What came of asking before, and still stands.
    #[serde(skip)]
    pub known: Known,
}

/// What those said whom certificates name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The nonce of the OCSP requests.
    pub nonce: Vec<u8>,
    /// OCSP responses, DER.
    pub responses: Vec<Vec<u8>>,
    /// Revocation lists, DER.
    pub lists: Vec<Vec<u8>>,
}

/// How much must be known of a certificate before it is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevocationPolicy {
    /// Neither lists nor responses are looked at.
    Off,
    /// A certificate that was revoked is refused; one of which nothing is known is accepted.
    #[default]
    Soft,
    /// A certificate is accepted only when its authority, by a list or a response that has not run out, says that it
    /// was not revoked.
    Hard,
}

/// A certificate of which nothing at hand says whether it was revoked, and who could say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inquiry {
    certificate: Vec<u8>,
    issuer: Vec<u8>,
}

/// One who could say whether a certificate was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "kebab-case")]
pub enum RevocationSource {
    /// An OCSP responder.
    Ocsp {
        /// Its address; always `http://`.
        url: String,
        /// The OCSPRequest, DER.
        request: Vec<u8>,
    },
    /// A revocation list.
    List {
        /// Where it lies; always `http://`.
        url: String,
    },
}

impl Inquiry {
    /// Returns who could say, in the order in which they are to be asked until one has said something. OCSP goes
    /// first: it is short. Only plain HTTP is spoken (RFC 5280 §8: what comes is signed, and TLS would want
    /// certificates in turn).
    pub fn sources(&self, nonce: &[u8]) -> Vec<RevocationSource> {
        let read = |der| super::verify::parse(der).ok();
        let (Some(certificate), Some(issuer)) = (read(&self.certificate), read(&self.issuer)) else {
            return Vec::new();
        };
        let fits = |url: &&str| {
            url.len() <= MAX_URL && url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
        };
        let responders = responders(&certificate);
        let responders = responders.into_iter().filter(fits).map(|url| RevocationSource::Ocsp {
            url: url.to_owned(),
            request: ocsp::request(&certificate, &issuer, nonce),
        });
        let lists = crl::distribution_points(&certificate);
        let lists = lists.into_iter().filter(fits).map(|url| RevocationSource::List { url: url.to_owned() });
        responders.take(MAX_SOURCES / 2).chain(lists.take(MAX_SOURCES / 2)).collect()
    }
}

/// Returns the URIs of a certificate's OCSP responders (RFC 5280 §4.2.2.1).
fn responders<'a>(certificate: &'a X509Certificate<'_>) -> Vec<&'a str> {
    let mut uris = Vec::new();
    for extension in certificate.extensions() {
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else { continue };
        for description in &access.accessdescs {
            if let (true, GeneralName::URI(uri)) =
                (description.access_method == OCSP_ACCESS, &description.access_location)
            {
                uris.push(*uri);
            }
        }
    }
    uris
}

/// Tells whether `octets` are an OCSP response that says something, whoever has signed it: if not, the next source is
/// worth asking.
pub fn is_ocsp_response(octets: &[u8]) -> bool {
    ocsp::Response::read(octets).is_ok()
}

/// How a certificate stands with its authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Good,
    Revoked,
}

/// One certificate of a path, and the one above it.
pub(super) struct Link<'a> {
    pub certificate: X509Certificate<'a>,
    pub certificate_der: CertificateDer<'a>,
    pub issuer: X509Certificate<'a>,
    pub issuer_der: CertificateDer<'a>,
}

impl Link<'_> {
    pub(super) fn inquiry(&self) -> Inquiry {
        Inquiry { certificate: self.certificate_der.to_vec(), issuer: self.issuer_der.to_vec() }
    }
}

/// A list or a response, and where it was fetched its octets, with the nonce of the question.
struct Given<'a, T> {
    read: T,
    fetched: Option<(&'a [u8], &'a [u8])>,
}

/// What is at hand, read.
pub(super) struct Evidence<'a> {
    own: Vec<List<'a>>,
    lists: Vec<Given<'a, List<'a>>>,
    responses: Vec<Given<'a, ocsp::Response<'a>>>,
    known: &'a Known,
    /// What was fetched and believed.
    learnt: Vec<KnownAnswer>,
    /// Why some of it is of no use.
    problems: Vec<String>,
}

impl<'a> Evidence<'a> {
    /// Reads what the profile has, what came with the certificates and what was fetched. Only a list of the profile
    /// that cannot be read is an error: its administrator should know.
    pub(super) fn read(
        revocation: &'a Revocation,
        sent_lists: &[&'a [u8]],
        sent_responses: &[&'a [u8]],
    ) -> Result<Self, CertificateError> {
        let fetched = revocation.fetched.as_ref();
        let of_fetched = |octets: fn(&Fetched) -> &[Vec<u8>]| {
            let given = fetched.map_or(&[][..], octets).iter();
            given
                .map(|octets| (octets.as_slice(), fetched.map(|fetched| (octets.as_slice(), fetched.nonce.as_slice()))))
        };
        let sent = |octets: &[&'a [u8]]| octets.iter().map(|octets| (*octets, None)).collect::<Vec<_>>();
        let lists: Vec<_> = sent(sent_lists).into_iter().chain(of_fetched(|fetched| &fetched.lists)).collect();
        let responses: Vec<_> =
            sent(sent_responses).into_iter().chain(of_fetched(|fetched| &fetched.responses)).collect();

        let count = revocation.lists.len().saturating_add(lists.len()).saturating_add(responses.len());
        let octets: usize = revocation.lists.iter().map(Vec::len).sum();
        let octets = lists.iter().map(|(list, _)| list.len()).fold(octets, usize::saturating_add);
        if count > MAX_COUNT || octets > MAX_OCTETS {
            return Err(CertificateError::RevocationUnusable("more than anyone needs".to_owned()));
        }
        let mut evidence = Self {
            own: Vec::new(),
            lists: Vec::new(),
            responses: Vec::new(),
            known: &revocation.known,
            learnt: Vec::new(),
            problems: Vec::new(),
        };
        for der in &revocation.lists {
            let list = List::read(der).map_err(|error| CertificateError::RevocationUnusable(error.to_string()))?;
            evidence.own.push(list);
        }
        for (der, fetched) in lists {
            match List::read(der) {
                Ok(read) => evidence.lists.push(Given { read, fetched }),
                Err(error) => evidence.note(error.to_string()),
            }
        }
        for (der, fetched) in responses {
            match ocsp::Response::read(der) {
                Ok(read) => evidence.responses.push(Given { read, fetched }),
                Err(error) => evidence.note(error.to_string()),
            }
        }
        Ok(evidence)
    }

    fn note(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Returns why some of what is at hand is of no use, in words.
    pub(super) fn problems(&self) -> String {
        self.problems.join("; ")
    }

    /// Returns what was fetched and believed so far, and still stands for a while.
    pub(super) fn learnt(self) -> Vec<KnownAnswer> {
        self.learnt
    }

    /// Returns how the link's certificate stands, as far as it is known.
    pub(super) fn status(&mut self, link: &Link<'_>, now: u64) -> Result<Option<Status>, CertificateError> {
        let mut said = Vec::new();
        let mut problems = Vec::new();
        for list in &self.own {
            match list.says(link, now) {
                Ok(status) => said.extend(status),
                Err(crl::CrlError::Outdated) => problems.push(crl::CrlError::Outdated.to_string()),
                Err(error) => return Err(CertificateError::RevocationUnusable(error.to_string())),
            }
        }
        let mut learnt = Vec::new();
        for Given { read, fetched } in &self.lists {
            match read.says(link, now) {
                Ok(Some(status)) => {
                    said.push(status);
                    let new = |(der, _): &(&[u8], _)| {
                        KnownAnswer::new(Said::List(der.to_vec()), link, Some(read.next_update()), now)
                    };
                    learnt.extend(fetched.as_ref().and_then(new));
                }
                Ok(None) => {}
                Err(error) => problems.push(error.to_string()),
            }
        }
        for Given { read, fetched } in &self.responses {
            match read.says(link, fetched.map(|(_, nonce)| nonce), now) {
                Ok(Some(status)) => {
                    said.push(status);
                    let new = |(der, _): &(&[u8], _)| {
                        KnownAnswer::new(Said::Response(der.to_vec()), link, read.next_update(link), now)
                    };
                    learnt.extend(fetched.as_ref().and_then(new));
                }
                Ok(None) => {}
                Err(error) => problems.push(error.to_string()),
            }
        }
        // What was believed before has no nonce of this time, as what the gateway sends has none. One that is not
        // believed any more, since its signer's certificate has run out, is as good as none.
        for answer in self.known.of(link, now) {
            said.extend(match &answer.said {
                Said::List(der) => List::read(der).ok().and_then(|list| list.says(link, now).ok()).flatten(),
                Said::Response(der) => {
                    ocsp::Response::read(der).ok().and_then(|response| response.says(link, None, now).ok()).flatten()
                }
            });
        }
        self.learnt.extend(learnt);
        problems.into_iter().for_each(|problem| self.note(problem));
        Ok(if said.contains(&Status::Revoked) { Some(Status::Revoked) } else { said.first().copied() })
    }
}
