//! The certificate authorities that the whole system trusts.

use crate::collect::pem;
use crate::collect::{Context, Look};
use crate::facts::{CertificateFact, Observation};
use std::io::{ErrorKind, Read};

/// Where distributions keep the bundle: Debian and Alpine, Fedora and its kin, SUSE, others.
pub(super) const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How much of a bundle is read.
const LIMIT: u64 = 32 << 20;

pub(in crate::collect) fn certificates(context: &Context) -> Look<Vec<CertificateFact>> {
    for path in BUNDLES {
        let opened = std::fs::File::open(context.path(path));
        let mut bundle = Vec::new();
        match opened.and_then(|file| file.take(LIMIT).read_to_end(&mut bundle)) {
            Ok(_) => return Look::known(pem::certificates(&bundle, "system roots"), path),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Look::new(Observation::from_error(path, &error), path),
        }
    }
    Look::unknown("no bundle of certificate authorities is there", BUNDLES.join(", "))
}

#[cfg(test)]
mod tests {
    use crate::collect::tests::Tree;
    use crate::rules::Asked;

    #[test]
    fn the_bundle_of_the_distribution_is_read() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "Corp CA");
        let pem = parameters.self_signed(&key).unwrap().pem();
        let asked = Asked { certificates: true, ..Asked::default() };
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for path in super::BUNDLES {
            let tree = Tree::new().with(path, &format!("# Corp\n{pem}\n{broken}"));
            let facts = tree.collect_asked(&asked);
            let all = facts.certificates.value().unwrap();
            assert_eq!(all.len(), 1, "{path}");
            assert_eq!((all[0].subject.as_str(), all[0].issuer.as_str()), ("Corp CA", "Corp CA"));
            assert!(all[0].not_before_unix < all[0].not_after_unix && all[0].sha256.len() == 64);
        }
        assert!(Tree::new().collect_asked(&asked).certificates.observation.reason().is_some());
        let unasked = Tree::new().with(super::BUNDLES[0], &pem).collect();
        assert_eq!(unasked.certificates.observation.reason(), Some("no rule asks for it"));
    }
}
