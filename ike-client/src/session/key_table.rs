//! The keys of the SAs, for whoever must see inside a capture: lines of the two tables that Wireshark
//! reads.
//!
//! | table | a line |
//! |---|---|
//! | `ikev2_decryption_table` | SPIi, SPIr, SK_ei, SK_er, cipher, SK_ai, SK_ar, integrity |
//! | `esp_sa` | family, source, destination, SPI, cipher, key, integrity, key |
//!
//! Nothing is written unless [`Session::disclose_keys`](super::Session::disclose_keys) asked for it
//! before the first message. Whoever has the lines can read, and forge, all that the SAs carry. Ciphers
//! that Wireshark does not know are named as the RFCs name them, for other readers.

use super::ike_sa::Spis;
use crate::crypto::Secret;
use crate::crypto::keys::{ChildKeys, DirectionKeys, IkeKeys};
use crate::crypto::suite::EspSuite;
use crate::crypto::transform::{Encryption, Integrity, Mode};
use crate::esp::EspSpi;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::VecDeque;
use std::fmt::Write;
use std::net::IpAddr;
use zeroize::Zeroizing;

/// The most lines that wait to be polled; older ones give way.
const MOST: usize = 64;

/// One of Wireshark's tables; whoever writes the lines names its file, as above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyTable {
    /// IKE SAs.
    Ike,
    /// ESP SAs, one line a direction.
    Esp,
}

/// A line of a table: keys in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLine {
    /// The table.
    pub table: KeyTable,
    /// The line, without its end. A secret.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub line: Secret,
}

fn as_text<S: Serializer>(line: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    std::str::from_utf8(line.expose()).map_err(serde::ser::Error::custom)?.serialize(serializer)
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(|line| Secret::new(line.into_bytes()))
}

/// The lines; none are kept unless it is switched on.
#[derive(Debug, Default)]
pub(super) struct Disclosure {
    on: bool,
    lines: VecDeque<KeyLine>,
}

impl Disclosure {
    pub(super) fn switch_on(&mut self) {
        self.on = true;
    }

    pub(super) const fn is_on(&self) -> bool {
        self.on
    }

    /// Takes the oldest line.
    pub(super) fn poll(&mut self) -> Option<KeyLine> {
        self.lines.pop_front()
    }

    /// Notes the keys of an IKE SA.
    pub(super) fn ike(&mut self, spis: Spis, keys: &IkeKeys) {
        if !self.on {
            return;
        }
        let shown = keys.messages();
        let mut line = Line::default();
        line.hexadecimal(&spis.initiator.0.to_be_bytes());
        line.hexadecimal(&spis.responder.0.to_be_bytes());
        line.hexadecimal(shown.sk_ei.expose());
        line.hexadecimal(shown.sk_er.expose());
        line.quoted(&ike_cipher(shown.encryption));
        line.hexadecimal(shown.sk_ai.expose());
        line.hexadecimal(shown.sk_ar.expose());
        line.quoted(shown.integrity.map_or("NONE [RFC4306]", ike_integrity));
        self.put(KeyTable::Ike, line);
    }

    /// Notes the keys of a CHILD SA: what its initiator and its responder receive on.
    pub(super) fn child(
        &mut self,
        (to_initiator, to_responder): (EspSpi, EspSpi),
        suite: &EspSuite,
        keys: &ChildKeys,
        gateway: IpAddr,
    ) {
        if !self.on {
            return;
        }
        for (spi, keys) in [(to_responder, &keys.from_initiator), (to_initiator, &keys.from_responder)] {
            let line = esp_line(spi, suite, keys, gateway);
            self.put(KeyTable::Esp, line);
        }
    }

    fn put(&mut self, table: KeyTable, line: Line) {
        if self.lines.len() >= MOST {
            self.lines.pop_front();
        }
        self.lines.push_back(KeyLine { table, line: Secret::from(line.0.as_bytes()) });
    }
}

/// A line in the making. Its room is taken at once, so that no shorter copy is left behind.
struct Line(Zeroizing<String>);

impl Default for Line {
    fn default() -> Self {
        Self(Zeroizing::new(String::with_capacity(1024)))
    }
}

impl Line {
    fn next(&mut self) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
    }

    fn hexadecimal(&mut self, octets: &[u8]) {
        self.next();
        self.digits(octets);
    }

    fn digits(&mut self, octets: &[u8]) {
        for octet in octets {
            // A string takes everything.
            let _ = write!(self.0, "{octet:02x}");
        }
    }

    fn quoted(&mut self, text: &str) {
        self.next();
        let _ = write!(self.0, "\"{text}\"");
    }

    fn quoted_key(&mut self, key: &Secret) {
        self.next();
        self.0.push_str("\"0x");
        self.digits(key.expose());
        self.0.push('"');
    }
}

fn esp_line(spi: EspSpi, suite: &EspSuite, keys: &DirectionKeys, gateway: IpAddr) -> Line {
    let mut line = Line::default();
    line.quoted(if gateway.is_ipv4() { "IPv4" } else { "IPv6" });
    // Behind a NAT neither end knows all addresses: the SPI tells packets apart.
    line.quoted("*");
    line.quoted("*");
    line.quoted(&format!("0x{:08x}", spi.0));
    line.quoted(&esp_cipher(suite.encryption));
    line.quoted_key(&keys.encryption);
    line.quoted(suite.integrity.map_or("NULL", esp_integrity));
    line.quoted_key(&keys.integrity);
    line
}

fn ike_cipher(encryption: Encryption) -> String {
    let bits = 8 * encryption.key_length();
    match encryption.mode() {
        Mode::Cbc => format!("AES-CBC-{bits} [RFC3602]"),
        Mode::Gcm { icv, .. } => format!("AES-GCM-{bits} with {icv} octet ICV [RFC5282]"),
        Mode::Counter => format!("AES-CTR-{bits} [RFC5930]"),
        Mode::ChaCha20Poly1305 { .. } => "ChaCha20-Poly1305 [RFC7634]".to_owned(),
    }
}

fn esp_cipher(encryption: Encryption) -> String {
    match encryption.mode() {
        Mode::Cbc => "AES-CBC [RFC3602]".to_owned(),
        Mode::Counter => "AES-CTR [RFC3686]".to_owned(),
        Mode::Gcm { icv, implicit_iv: false } => format!("AES-GCM with {icv} octet ICV [RFC4106]"),
        Mode::Gcm { icv, implicit_iv: true } => format!("AES-GCM with {icv} octet ICV [RFC8750]"),
        Mode::ChaCha20Poly1305 { implicit_iv: false } => "ChaCha20-Poly1305 [RFC7634]".to_owned(),
        Mode::ChaCha20Poly1305 { implicit_iv: true } => "ChaCha20-Poly1305 [RFC8750]".to_owned(),
    }
}

const fn ike_integrity(integrity: Integrity) -> &'static str {
    match integrity {
        Integrity::HmacSha1_96 => "HMAC_SHA1_96 [RFC2404]",
        Integrity::HmacSha256_128 => "HMAC_SHA2_256_128 [RFC4868]",
        Integrity::HmacSha384_192 => "HMAC_SHA2_384_192 [RFC4868]",
        Integrity::HmacSha512_256 => "HMAC_SHA2_512_256 [RFC4868]",
        // Not checked by Wireshark, which then reads them all the same.
        Integrity::AesXcbc96 | Integrity::AesCmac96 => "ANY 96-bits of Authentication [No Checking]",
    }
}

const fn esp_integrity(integrity: Integrity) -> &'static str {
    match integrity {
        Integrity::HmacSha1_96 => "HMAC-SHA-1-96 [RFC2404]",
        Integrity::HmacSha256_128 => "HMAC-SHA-256-128 [RFC4868]",
        Integrity::HmacSha384_192 => "HMAC-SHA-384-192 [RFC4868]",
        Integrity::HmacSha512_256 => "HMAC-SHA-512-256 [RFC4868]",
        Integrity::AesXcbc96 | Integrity::AesCmac96 => "ANY 96 bit authentication [no checking]",
    }
}
