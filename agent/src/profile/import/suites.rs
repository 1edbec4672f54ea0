//! Algorithms: FortiClient's `ENC|AUTH` and its numbered groups, as suites.

use super::reader::{Reader, own_text};
use roxmltree::Node;

/// Returns the name of a Diffie-Hellman group by its number (IANA, Transform Type 4).
fn group(number: &str) -> Result<&'static str, &'static str> {
    match number {
        "14" => Ok("modp2048"),
        "15" => Ok("modp3072"),
        "16" => Ok("modp4096"),
        "17" => Ok("modp6144"),
        "18" => Ok("modp8192"),
        "19" => Ok("ecp256"),
        "20" => Ok("ecp384"),
        "21" => Ok("ecp521"),
        "31" => Ok("x25519"),
        "1" | "2" | "5" | "22" | "23" | "24" => Err("is too weak"),
        _ => Err("is not known here"),
    }
}

/// Reads a list of groups; what cannot be offered is booked.
pub(super) fn groups<'d>(reader: &mut Reader<'d>, settings: Node<'d, 'd>) -> Vec<&'static str> {
    let Some(node) = reader.at(settings, "dhgroup") else { return Vec::new() };
    let text = own_text(node);
    let (mut kept, mut lost) = (Vec::new(), Vec::new());
    for number in text.split([';', ',', ' ']).map(str::trim).filter(|number| !number.is_empty()) {
        match group(number) {
            Ok(name) if !kept.contains(&name) => kept.push(name),
            Ok(_) => {}
            Err(why) => lost.push(format!("group {number} {why}")),
        }
    }
    match (kept.is_empty(), lost.is_empty()) {
        (true, true) => reader.idle(node, "is empty"),
        (_, true) => reader.used(node, format!("groups {}", kept.join(", "))),
        (false, false) => reader.used(node, format!("groups {}; {}", kept.join(", "), lost.join(", "))),
        (true, false) => reader.unsupported(node, lost.join(", ")),
    }
    kept
}

/// What a proposal asks for, without a group.
struct Pair {
    encryption: &'static str,
    integrity: Option<&'static str>,
    prf: Option<&'static str>,
}

/// Reads `ENC|AUTH`.
fn pair(text: &str) -> Result<Pair, String> {
    let upper = text.to_ascii_uppercase();
    let (encryption, authentication) = upper.split_once('|').unwrap_or((&upper, "NONE"));
    let encryption = match encryption.trim() {
        "AES128" => "aes128",
        "AES192" => "aes192",
        "AES256" => "aes256",
        "AES128GCM" => "aes128gcm16",
        "AES256GCM" => "aes256gcm16",
        "CHACHA20POLY1305" => "chacha20poly1305",
        "DES" | "3DES" => return Err("its encryption is too weak".into()),
        other => return Err(format!("its encryption {} is not known here", shown(other))),
    };
    let (integrity, prf) = match authentication.trim() {
        "SHA256" => (Some("sha256"), None),
        "SHA384" => (Some("sha384"), None),
        "SHA512" => (Some("sha512"), None),
        "PRFSHA256" => (None, Some("prfsha256")),
        "PRFSHA384" => (None, Some("prfsha384")),
        "PRFSHA512" => (None, Some("prfsha512")),
        "NONE" | "" => (None, None),
        "MD5" | "SHA1" | "PRFSHA1" => return Err("its authentication is too weak".into()),
        other => return Err(format!("its authentication {} is not known here", shown(other))),
    };
    Ok(Pair { encryption, integrity, prf })
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric()).take(24).collect()
}

/// Reads the suites of the IKE SA.
pub(super) fn ike<'d>(reader: &mut Reader<'d>, settings: Node<'d, 'd>) -> Vec<String> {
    let groups = groups(reader, settings);
    suites(reader, settings, |pair| {
        let whole = match (pair.integrity, pair.prf) {
            (Some(integrity), None) => format!("{}-{integrity}", pair.encryption),
            (None, Some(prf)) => format!("{}-{prf}", pair.encryption),
            (None, None) => format!("{}-prfsha256", pair.encryption),
            (Some(_), Some(_)) => return Vec::new(),
        };
        groups.iter().map(|group| format!("{whole}-{group}")).collect()
    })
}

/// Reads the suites of the CHILD SA. `with_group` is `<pfs>`.
pub(super) fn esp<'d>(reader: &mut Reader<'d>, settings: Node<'d, 'd>, with_group: bool) -> Vec<String> {
    let groups = if with_group { groups(reader, settings) } else { Vec::new() };
    suites(reader, settings, |pair| {
        let whole = match pair.integrity {
            Some(integrity) => format!("{}-{integrity}", pair.encryption),
            None => pair.encryption.to_owned(),
        };
        if with_group { groups.iter().map(|group| format!("{whole}-{group}")).collect() } else { vec![whole] }
    })
}

fn suites<'d>(
    reader: &mut Reader<'d>,
    settings: Node<'d, 'd>,
    with_groups: impl Fn(&Pair) -> Vec<String>,
) -> Vec<String> {
    let mut suites = Vec::new();
    for node in reader.all(settings, "proposals/proposal") {
        let text = own_text(node);
        if text.is_empty() {
            continue;
        }
        match pair(&text) {
            Ok(pair) => {
                let named = with_groups(&pair);
                // The pair may not be one that a suite can have, such as CBC without integrity.
                if named.is_empty() || !named.iter().all(|name| is_suite(name)) {
                    reader.unsupported(node, "makes no suite with the groups that are left");
                } else {
                    reader.used(node, named.join(", "));
                    suites.extend(named.into_iter().filter(|name| !suites.contains(name)).collect::<Vec<_>>());
                }
            }
            Err(why) => reader.unsupported(node, why),
        }
    }
    suites
}

fn is_suite(name: &str) -> bool {
    use ike_client::crypto::suite::{EspSuite, IkeSuite};
    name.parse::<IkeSuite>().is_ok() || name.parse::<EspSuite>().is_ok()
}
