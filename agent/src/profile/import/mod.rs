//! Reading FortiClient's exports: XML in, tunnels and an account of every element out.
//!
//! The account is complete: each element of an IPsec connection is *used* (and the account names
//! what it became), *idle* (it asks for what Postern does anyway), a *secret*, or *unsupported*,
//! with the reason. What is not understood is never passed over in silence, and never guessed.
//! SSL-VPN connections and IKEv1 are named and left out.
//!
//! What this must never do: resolve an entity, open another file, run or keep a script, put a
//! secret into the account or into the TOML text.
//!
//! | file | holds |
//! |---|---|
//! | `xml` | the text within its bounds: no DOCTYPE, no entities, no XInclude; size, depth and number |
//! | `reader` | elements by path, and the book of what became of each |
//! | `connection` | one `<connection>`: from its parts to a tunnel |
//! | `ike` | its `<ike_settings>`: gateway, login, carrier |
//! | `child` | its `<ipsec_settings>`: networks, lifetimes |
//! | `suites` | algorithms and groups |
//! | `plain` | the elements that Postern has no use for, and why |
//! | `secret` | `Enc` values and plain ones |
//! | `account` | what is told of each element |

mod account;
mod child;
mod connection;
mod ike;
mod plain;
mod reader;
mod secret;
mod suites;
#[cfg(test)]
mod tests;
mod xml;

pub use account::{Fate, Finding};
pub use secret::{SecretFound, SecretKind};
pub use xml::{MAXIMUM_DEPTH, MAXIMUM_ELEMENTS, MAXIMUM_OCTETS};

use crate::profile::catalogue::is_name;
use crate::profile::document::ProfileError;
use crate::profile::tunnel::Tunnel;
use reader::Reader;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The most connections that one export may hold.
const MAXIMUM_TUNNELS: usize = 64;

/// What the person who imports adds, because no export holds it.
#[derive(Clone, Debug, Default)]
pub struct Additions {
    /// PEM file with this end's certificate, for connections that use one.
    pub certificate_file: Option<PathBuf>,
    /// PEM file with its private key.
    pub key_file: Option<PathBuf>,
    /// PEM files with the authorities to trust for the gateway and its login server.
    pub ca_files: Vec<PathBuf>,
}

/// An export as read.
#[derive(Debug, Default, Serialize)]
pub struct Import {
    /// The connections, in the order of the file.
    pub connections: Vec<Connection>,
    /// What became of every element outside the connections.
    pub elsewhere: Vec<Finding>,
}

/// One connection of an export.
#[derive(Debug, Serialize)]
pub struct Connection {
    /// Its name in the export.
    pub name: String,
    /// Where it stands.
    pub path: String,
    /// Its line.
    pub line: u32,
    /// The tunnel, or why there is none.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What became of every element.
    pub findings: Vec<Finding>,
    /// The secrets of it, which the account does not hold.
    #[serde(skip)]
    pub secrets: Vec<SecretFound>,
}

/// What came of a connection.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// A tunnel.
    Tunnel {
        /// Its name here; another than in the export where that one could not be kept.
        tunnel: String,
        /// The tunnel as TOML, without secrets.
        toml: String,
        /// What is still to be given before it can be connected, in words.
        needs: Vec<String>,
    },
    /// None, because Postern does not do what it asks for.
    LeftOut {
        /// Why.
        reason: String,
        /// What to do about it.
        next: String,
    },
}

/// Reads an export; `file` is only named in errors.
///
/// # Errors
/// [`ProfileError`] with line, column and element, where it is no XML that may be read here, or no
/// export of FortiClient.
pub fn read(file: &Path, octets: &[u8], additions: &Additions) -> Result<Import, ProfileError> {
    let text = xml::text(file, octets)?;
    let document = xml::parse(file, text)?;
    let mut reader = Reader::new(&document);
    let root = document.root_element();
    if root.tag_name().name() != "forticlient_configuration" {
        let problem = format!("is <{}>", root.tag_name().name());
        let expected = "an export of FortiClient: <forticlient_configuration>";
        return Err(xml::error_at(file, &document, root.range().start, &problem, expected));
    }
    let options = connection::Options::read(&mut reader, root);
    let mut import = Import { elsewhere: reader.booked(), ..Import::default() };
    for node in reader.all(root, "vpn/ipsecvpn/connections/connection") {
        if import.connections.len() == MAXIMUM_TUNNELS {
            let expected = format!("at most {MAXIMUM_TUNNELS} connections");
            return Err(xml::error_at(file, &document, node.range().start, "is one connection too many", &expected));
        }
        let mut connection = connection::read(&mut reader, node, &options, additions);
        connection.findings = reader.close(node);
        import.connections.push(connection);
    }
    for node in reader.all(root, "vpn/sslvpn/connections/connection") {
        import.connections.push(connection::ssl(&mut reader, node));
    }
    name_apart(&mut import.connections);
    import.elsewhere.extend(plain::elsewhere(&mut reader, root));
    import.elsewhere.sort_by_key(|finding| finding.line);
    Ok(import)
}

/// Tells whether octets look like XML rather than TOML.
pub fn is_xml(octets: &[u8]) -> bool {
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    octets.iter().find(|octet| !octet.is_ascii_whitespace()) == Some(&b'<')
}

/// Makes a name that a tunnel, and its file, can have.
pub fn usable_name(name: &str) -> String {
    let mut usable: String = name
        .trim()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ') { c } else { '-' })
        .take(crate::profile::catalogue::MAXIMUM_NAME)
        .collect();
    if !usable.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        usable.insert_str(0, "vpn");
        usable.truncate(crate::profile::catalogue::MAXIMUM_NAME);
    }
    debug_assert!(is_name(&usable));
    usable
}

/// Two connections that would lie in one file are told apart by a number.
fn name_apart(connections: &mut [Connection]) {
    let mut taken = std::collections::BTreeSet::new();
    for connection in connections {
        let Outcome::Tunnel { tunnel, .. } = &mut connection.outcome else { continue };
        // File systems may not tell cases apart.
        let mut number = 2;
        let wanted = tunnel.clone();
        while !taken.insert(tunnel.to_ascii_lowercase()) {
            let kept: String = wanted.chars().take(crate::profile::catalogue::MAXIMUM_NAME - 4).collect();
            *tunnel = format!("{kept} {number}");
            number += 1;
        }
    }
}

/// What a tunnel is written as, with the line that says where it comes from.
fn written(tunnel: &Tunnel, name: &str) -> Result<String, String> {
    let toml = tunnel.to_toml().map_err(|error| error.to_string())?;
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    Ok(format!("# From FortiClient's connection \"{name}\".\n{toml}"))
}
