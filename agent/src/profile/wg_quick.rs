//! WireGuard's own files: what `wg-quick` reads, made a [`Tunnel`] and the keys that belong to it.
//!
//! Keys never enter the tunnel: they are handed out beside it, to be kept by the service. Commands
//! (`PostUp` and the like) are never run, and everything else that is left out is named.

use crate::profile::ProfileError;
use crate::profile::tunnel::{PublicKey, Tunnel, TunnelKind, WireGuard};
use ipnet::IpNet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// What a file held.
pub struct Imported {
    /// The tunnel, without secrets.
    pub tunnel: Tunnel,
    /// This end's private key, in Base64.
    pub private_key: Zeroizing<String>,
    /// The key that both sides share beside their own, in Base64.
    pub pre_shared_key: Option<Zeroizing<String>>,
    /// What was left out, a line each.
    pub left_out: Vec<String>,
}

/// Tells whether a file's name is one of WireGuard's.
pub fn is_named_so(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("conf"))
}

/// Reads the text of a file; `file` names it in errors.
///
/// # Errors
/// With the line, where the text is none that `wg-quick` would take, or has several peers.
pub fn parse(file: &Path, text: &str) -> Result<Imported, ProfileError> {
    let error = |line: usize, element: &str, problem: &str, expected: &str| ProfileError {
        line,
        element: element.to_owned(),
        ..ProfileError::whole(file, problem.to_owned(), expected)
    };
    let mut found = Found::default();
    let mut section = Section::None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            section = match name.trim_end_matches(']').trim().to_ascii_lowercase().as_str() {
                "interface" => Section::Interface,
                "peer" if found.peers == 0 => Section::Peer,
                "peer" => return Err(error(number, "Peer", "comes again", "one peer: a client has one gateway")),
                _ => return Err(error(number, line, "is no section of WireGuard", "[Interface] or [Peer]")),
            };
            found.peers += usize::from(section == Section::Peer);
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(error(number, line, "has no value", "KEY = VALUE"));
        };
        let (key, value) = (key.trim(), value.trim());
        found.take(section, key, value).map_err(|(problem, expected)| error(number, key, &problem, expected))?;
    }
    let missing = |what: &str| error(0, what, "is missing", "what wg-quick wants too");
    let (gateway, port) = found.endpoint.ok_or_else(|| missing("Endpoint"))?;
    let mut tunnel = Tunnel::to(gateway);
    tunnel.kind = TunnelKind::WireGuard;
    tunnel.network.dns_servers = found.dns;
    tunnel.network.mtu = found.mtu;
    tunnel.wireguard = Some(WireGuard {
        public_key: found.public_key.ok_or_else(|| missing("PublicKey"))?,
        port,
        private_key_file: None,
        psk: found.pre_shared_key.is_some(),
        psk_file: None,
        addresses: found.addresses,
        allowed_ips: found.allowed_ips,
        keepalive: found.keepalive,
    });
    Ok(Imported {
        tunnel,
        private_key: found.private_key.ok_or_else(|| missing("PrivateKey"))?,
        pre_shared_key: found.pre_shared_key,
        left_out: found.left_out,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    None,
    Interface,
    Peer,
}

#[derive(Default)]
struct Found {
    peers: usize,
    private_key: Option<Zeroizing<String>>,
    pre_shared_key: Option<Zeroizing<String>>,
    public_key: Option<PublicKey>,
    endpoint: Option<(String, u16)>,
    addresses: Vec<IpNet>,
    allowed_ips: Vec<IpNet>,
    dns: Vec<IpAddr>,
    mtu: Option<u16>,
    keepalive: Option<Duration>,
    left_out: Vec<String>,
}

type Problem = (String, &'static str);

impl Found {
    fn take(&mut self, section: Section, key: &str, value: &str) -> Result<(), Problem> {
        match (section, key.to_ascii_lowercase().as_str()) {
            (Section::Interface, "privatekey") => self.private_key = Some(secret(value)?),
            (Section::Interface, "address") => self.addresses.extend(networks(value)?),
            (Section::Interface, "dns") => self.take_resolvers(value),
            (Section::Interface, "mtu") => {
                self.mtu = Some(value.parse().map_err(|_| wrong(value, "is no size", "a number of octets"))?);
            }
            (Section::Interface, "preup" | "postup" | "predown" | "postdown") => {
                self.left_out.push(format!("{key}: commands of a file are never run"));
            }
            (Section::Interface, "listenport" | "fwmark" | "table" | "saveconfig") => {
                self.left_out.push(format!("{key}: is Postern's own business"));
            }
            (Section::Peer, "publickey") => {
                let key = value.parse().map_err(|problem| wrong(value, problem, "32 octets in Base64"))?;
                self.public_key = Some(key);
            }
            (Section::Peer, "presharedkey") => self.pre_shared_key = Some(secret(value)?),
            (Section::Peer, "allowedips") => self.allowed_ips.extend(networks(value)?),
            (Section::Peer, "endpoint") => {
                let parts = value.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
                let (host, port) = parts.ok_or_else(|| wrong(value, "is no endpoint", "HOST:PORT"))?;
                self.endpoint = Some((host.trim_matches(['[', ']']).to_owned(), port));
            }
            (Section::Peer, "persistentkeepalive") if value.eq_ignore_ascii_case("off") || value == "0" => {}
            (Section::Peer, "persistentkeepalive") => {
                let seconds: u16 = value.parse().map_err(|_| wrong(value, "is no interval", "1 to 65535 seconds"))?;
                self.keepalive = Some(Duration::from_secs(seconds.into()));
            }
            _ => return Err(("is not known here".to_owned(), "a key of wg-quick in its section")),
        }
        Ok(())
    }

    fn take_resolvers(&mut self, value: &str) {
        for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.parse() {
                Ok(address) => self.dns.push(address),
                Err(_) => self.left_out.push(format!("DNS = {part}: search domains are not taken over")),
            }
        }
    }
}

fn wrong(value: &str, problem: &str, expected: &'static str) -> Problem {
    (format!("`{value}` {problem}"), expected)
}

/// Takes a key without showing it in any error.
fn secret(value: &str) -> Result<Zeroizing<String>, Problem> {
    match value.parse::<PublicKey>() {
        Ok(_) => Ok(Zeroizing::new(value.to_owned())),
        Err(problem) => Err((problem.to_owned(), "32 octets in Base64")),
    }
}

fn networks(value: &str) -> Result<Vec<IpNet>, Problem> {
    value
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let bare = || part.parse::<IpAddr>().map(IpNet::from);
            part.parse().or_else(|_| bare()).map_err(|_| wrong(part, "is no network", "ADDRESS/LENGTH"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::document;

    const FILE: &str = "\
# a comment
[Interface]
PrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=
Address = 10.97.0.2/32, fd97::2/128
DNS = 10.98.0.53, corp.example
MTU = 1380
PostUp = touch /tmp/owned

[peer]
publickey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
PresharedKey = /UwcSPg38hW/D9Y3tcS1FOV0K1wuURMbS0sesJEP5ak=
AllowedIPs = 10.98.0.0/24, fd98::/64
Endpoint = [2001:db8::1]:51821
PersistentKeepalive = 25
";

    fn read(text: &str) -> Result<Imported, String> {
        parse(Path::new("wg0.conf"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_of_wg_quick_is_a_tunnel_without_secrets() {
        let imported = read(FILE).unwrap();
        assert!(imported.private_key.starts_with("yAnz") && imported.pre_shared_key.unwrap().starts_with("/Uwc"));
        assert_eq!(imported.left_out.len(), 2, "{:?}", imported.left_out);
        let toml = imported.tunnel.to_toml().unwrap();
        assert!(!toml.contains("yAnz") && !toml.contains("/Uwc"), "{toml}");
        let written: Tunnel = document::parse(Path::new("t.toml"), &toml).unwrap();
        assert_eq!(written, imported.tunnel);
        let wireguard = written.wireguard.as_ref().unwrap();
        assert_eq!((written.gateway.to_string().as_str(), wireguard.port), ("2001:db8::1", 51_821));
        assert_eq!((wireguard.addresses.len(), wireguard.allowed_ips.len()), (2, 2));
        assert_eq!(wireguard.keepalive, Some(Duration::from_secs(25)));
        assert!(written.uses_pre_shared_key());
        assert_eq!(written.network.dns_servers, ["10.98.0.53".parse::<IpAddr>().unwrap()]);
        assert_eq!(written.network.mtu, Some(1380));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_no_key_is_shown() {
        for (from, to, expected) in [
            ("51821", "99999", "wg0.conf:13: Endpoint: `[2001:db8::1]:99999` is no endpoint"),
            ("10.97.0.2/32", "10.97.0.2/33", "wg0.conf:4: Address: `10.97.0.2/33` is no network"),
            ("yAnz5TF+", "nokey", "wg0.conf:3: PrivateKey: is not Base64"),
            ("[peer]", "[stranger]", "wg0.conf:9: [stranger]: is no section of WireGuard"),
            ("MTU", "Colour", "wg0.conf:7: Colour: is not known here"),
            ("Endpoint = [2001:db8::1]:51821\n", "", "Endpoint: is missing"),
        ] {
            let error = read(&FILE.replacen(from, to, 1)).err().unwrap();
            let line = FILE.lines().position(|line| line.contains("MTU")).unwrap() + 1;
            let expected = expected.replace(":7: Colour", &format!(":{line}: Colour"));
            assert!(error.contains(&expected) && !error.contains("lXXJte14"), "{error}");
        }
        let two = format!("{FILE}[Peer]\n");
        assert!(read(&two).err().unwrap().contains("one peer"));
    }
}
