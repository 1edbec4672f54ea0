//! `certificate`: one that is valid now is in a store of the system.

use super::Judgement;
use crate::facts::{CertificateFact, Facts};
use crate::rules::{Pattern, Truth};

const AREA: &str = "certificates";

pub(super) fn judge(facts: &Facts, subject: Option<&Pattern>, issuer: Option<&str>, now_unix: u64) -> Judgement {
    let Some(certificates) = facts.certificates.value() else {
        return Judgement::without(AREA, &facts.certificates, "let Postern read the certificate stores");
    };
    let fits = |certificate: &&CertificateFact| {
        subject.is_none_or(|pattern| pattern.fits(&certificate.subject))
            && issuer.is_none_or(|issuer| issuer.to_lowercase() == certificate.issuer.to_lowercase())
    };
    let mut lapsed = None;
    for certificate in certificates.iter().filter(fits) {
        if (certificate.not_before_unix..=certificate.not_after_unix).contains(&now_unix) {
            let seen = format!("\"{}\" of \"{}\" in {}", certificate.subject, certificate.issuer, certificate.store);
            return Judgement::new(Truth::True, AREA, seen, "remove the certificate");
        }
        lapsed = Some(certificate);
    }
    match lapsed {
        Some(certificate) => {
            let seen = format!("\"{}\" in {} is not valid now", certificate.subject, certificate.store);
            Judgement::new(Truth::False, AREA, seen, "renew the certificate")
        }
        None => Judgement::new(
            Truth::False,
            AREA,
            format!("none of {} certificates fits", certificates.len()),
            "install the certificate",
        ),
    }
}
