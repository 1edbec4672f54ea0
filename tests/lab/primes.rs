//! The MODP groups (RFC 3526, RFC 2409) held against OpenSSL, which has primes and arithmetic of its own.
//!
//! OpenSSL makes two key pairs a group and agrees with itself; from its secret exponent and its peer's public value
//! the client's key exchange has to come to the same public value and the same secret.

use ike_client::crypto::kex::KeyExchange;
use ike_client::crypto::transform::Group;
use ike_client::random::{Random, RandomUnavailable};
use std::path::Path;
use std::process::Command;
use x509_parser::asn1_rs::{Any, BitString, FromDer, Integer, OctetString, Sequence};

/// The groups by OpenSSL's names.
const GROUPS: [(Group, &str); 6] = [
    (Group::Modp1536, "modp_1536"),
    (Group::Modp2048, "modp_2048"),
    (Group::Modp3072, "modp_3072"),
    (Group::Modp4096, "modp_4096"),
    (Group::Modp6144, "modp_6144"),
    (Group::Modp8192, "modp_8192"),
];

/// Hands out an exponent as the client would draw it.
struct Exponent(Vec<u8>);

impl Random for Exponent {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
        let start = bytes.len().checked_sub(self.0.len()).ok_or(RandomUnavailable)?;
        bytes.fill(0);
        bytes[start..].copy_from_slice(&self.0);
        Ok(())
    }
}

fn openssl(folder: &Path, arguments: &str) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let output = output.expect("the program openssl is there");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Returns the magnitude of an INTEGER.
fn integer(der: &[u8]) -> Vec<u8> {
    let (_, integer) = Integer::from_der(der).expect("an INTEGER");
    integer.as_ref().iter().skip_while(|octet| **octet == 0).copied().collect()
}

/// Returns x of `PrivateKeyInfo { version, algorithm, OCTET STRING { x } }`.
fn exponent(der: &[u8]) -> Vec<u8> {
    let (_, key) = Sequence::from_der(der).expect("a SEQUENCE");
    let (rest, _) = Any::from_der(&key.content).expect("the version");
    let (rest, _) = Any::from_der(rest).expect("the algorithm");
    let (_, octets) = OctetString::from_der(rest).expect("an OCTET STRING");
    integer(octets.as_ref())
}

/// Returns y of `SubjectPublicKeyInfo { algorithm, BIT STRING { y } }`, as long as the prime.
fn public(der: &[u8], length: usize) -> Vec<u8> {
    let (_, key) = Sequence::from_der(der).expect("a SEQUENCE");
    let (rest, _) = Any::from_der(&key.content).expect("the algorithm");
    let (_, bits) = BitString::from_der(rest).expect("a BIT STRING");
    let value = integer(&bits.data);
    [vec![0; length - value.len()], value].concat()
}

#[test]
fn every_modp_group_gives_the_values_of_openssl() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &str| openssl(folder.path(), arguments);
    for (group, name) in GROUPS {
        for end in ["ours", "theirs"] {
            run(&format!("genpkey -algorithm DH -pkeyopt group:{name} -out {end}.pem"));
            run(&format!("pkey -in {end}.pem -pubout -out {end}.pub"));
        }
        let length = group.public_length();
        let private = run("pkcs8 -topk8 -nocrypt -in ours.pem -outform DER");
        let [ours, theirs] =
            ["ours", "theirs"].map(|end| public(&run(&format!("pkey -pubin -in {end}.pub -outform DER")), length));
        let shared = run("pkeyutl -derive -inkey ours.pem -peerkey theirs.pub -pkeyopt dh_pad:1");
        let exchange = KeyExchange::generate(group, &mut Exponent(exponent(&private))).expect("an exponent that fits");
        assert_eq!(hex::encode(exchange.public()), hex::encode(&ours), "{name}: public value");
        let agreed = exchange.agree(&theirs).expect("a good public value");
        assert_eq!(hex::encode(agreed.expose()), hex::encode(&shared), "{name}: shared secret");
    }
}
