//! The gateway's connections, in ipsec.conf's language, and the tunnels that fit them.

use lab::libreswan::Settings;
use lab::pki::{Credential, Pki};
use std::collections::BTreeMap;

pub const PSK: &str = "correct horse battery staple";

/// The connection `work`: what is usual, with `changes` to it.
pub fn connection(changes: &[(&str, &str)]) -> String {
    let usual = [
        ("ikev2", "insist"),
        ("auto", "add"),
        ("left", "10.99.0.2"),
        ("leftid", "@vpn.example.test"),
        ("leftsubnet", "10.98.0.0/24"),
        // The guest has its routes already, and the script wants tools that may not be there.
        ("leftupdown", "/bin/true"),
        ("right", "%any"),
        ("rightaddresspool", "10.97.0.1-10.97.0.200"),
        ("modecfgdns", "10.98.0.53"),
        ("narrowing", "yes"),
        ("ike", "aes_gcm256-sha2_384;dh20"),
        ("esp", "aes_gcm256;dh20"),
        ("rekey", "no"),
    ];
    let mut lines: BTreeMap<&str, &str> = usual.into_iter().collect();
    lines.extend(changes.iter().copied());
    lines.iter().fold("conn work\n".to_owned(), |text, (name, value)| text + &format!("\t{name}={value}\n"))
}

/// Both sides prove themselves by [`PSK`].
pub fn psk_gateway(changes: &[(&str, &str)]) -> Settings {
    let sides = [("authby", "secret"), ("rightid", "psk@example.test")];
    Settings {
        connections: connection(&[&sides, changes].concat()),
        secrets: format!("@vpn.example.test psk@example.test : PSK \"{PSK}\"\n"),
        ..Settings::default()
    }
}

pub const PSK_TUNNEL: &str = r#"
gateway = "vpn.example.test"
[auth]
kind = "psk"
identity = "psk@example.test"
psk_file = "@/psk"
"#;

pub const PSK_SECRETS: &[(&str, &str)] = &[("psk", PSK)];

/// Both sides prove themselves by certificates of one authority.
pub fn certificate_gateway(pki: &Pki, credential: &Credential, changes: &[(&str, &str)]) -> Settings {
    let sides =
        [("leftcert", "gateway"), ("leftsendcert", "always"), ("rightid", "alice@example.test"), ("rightca", "%same")];
    Settings {
        connections: connection(&[&sides, changes].concat()),
        authority: Some(pki.authority.certificate().clone()),
        credential: Some(credential.clone()),
        ..Settings::default()
    }
}

pub const CERTIFICATE_TUNNEL: &str = r#"
gateway = "vpn.example.test"
gateway_ca_files = ["@/ca.pem"]
[auth]
kind = "certificate"
identity = "alice@example.test"
certificate_file = "@/alice.pem"
key_file = "@/alice.key"
"#;

/// The files of [`CERTIFICATE_TUNNEL`].
pub fn certificate_secrets(pki: &Pki) -> [(&'static str, &str); 3] {
    [
        ("ca.pem", &pki.authority.certificate().pem),
        ("alice.pem", &pki.user.certificate.pem),
        ("alice.key", &pki.user.key_pem),
    ]
}
