//! The gateway's configuration file (TOML).

use super::continuity::ContinuitySettings;
use super::fortigate::FortigateSettings;
use anyhow::{Context, Result, bail};
use ike_client::auth::PrivateKey;
use ike_client::crypto::suite::{EspSuite, IkeSuite};
use ike_client::wire::Identification;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the file says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The tunnel's name, as logs and lists show it.
    #[serde(default = "default_name")]
    pub name: String,
    /// IDr.
    pub identity: Identification,
    /// How the gateway proves itself.
    pub gateway_auth: GatewayAuth,
    /// How a client proves itself.
    pub client_auth: ClientAuth,
    /// The pre-shared key, for whoever uses one.
    #[serde(default)]
    pub psk: String,
    /// User names and passwords.
    #[serde(default)]
    pub users: BTreeMap<String, String>,
    /// IKE suites, preferred first.
    #[serde(default = "default_ike_suites")]
    pub ike_suites: Vec<IkeSuite>,
    /// ESP suites, preferred first; a group asks for PFS when a CHILD SA is rekeyed.
    #[serde(default = "default_esp_suites")]
    pub esp_suites: Vec<EspSuite>,
    /// Whether IKE_SA_INIT is answered with a cookie first.
    #[serde(default)]
    pub cookie: bool,
    /// Whether the client is made to see a NAT.
    #[serde(default = "yes")]
    pub force_encapsulation: bool,
    /// The largest IKE message sent in one piece, once the client takes fragments.
    #[serde(default = "default_fragment")]
    pub fragment_size: usize,
    /// Seconds in which an SA must be established.
    #[serde(default = "default_negotiate_timeout")]
    pub negotiate_timeout: u64,
    /// First address for clients.
    pub pool_first: Ipv4Addr,
    /// Last address for clients.
    pub pool_last: Ipv4Addr,
    /// Resolvers for clients.
    #[serde(default)]
    pub dns: Vec<Ipv4Addr>,
    /// Domains that belong to the resolvers.
    #[serde(default)]
    pub domains: Vec<String>,
    /// Networks behind the gateway, sent as INTERNAL_IP4_SUBNET; TSr stays everything, as a
    /// FortiGate with split tunnelling leaves it. Empty: none are sent.
    #[serde(default)]
    pub networks: Vec<Ipv4Net>,
    /// Which peers may connect.
    #[serde(default)]
    pub remote_gw_match: RemoteGatewayMatch,
    /// With `ztna`: any of these tags suffices. Names as the gateway knows them (`EMS1_ZTNA_x`).
    #[serde(default)]
    pub remote_gw_ztna_tags: Vec<String>,
    /// What keeps tunnels going.
    #[serde(default)]
    pub continuity: ContinuitySettings,
    /// The manners that only a FortiGate has; none: not those.
    #[serde(default)]
    pub fortigate: Option<FortigateSettings>,
    /// Everything that the core does not need.
    #[serde(default)]
    pub daemon: DaemonSettings,
}

/// What the daemon around the core is told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaemonSettings {
    /// The address to listen on; IKE on 500, IKE and ESP on 4500.
    pub listen: Option<Ipv4Addr>,
    /// The TUN device's name.
    #[serde(default)]
    pub device: String,
    /// The TUN device's address and network (the pool's).
    pub device_address: Option<Ipv4Net>,
    /// Where event log lines go.
    pub event_log: Option<PathBuf>,
    /// The socket that `diagnose` and `set` talk to.
    pub socket: Option<PathBuf>,
    /// Where tags come from.
    pub tags: Option<TagSettings>,
}

/// Where the address lists of tags come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum TagSettings {
    /// A JSON file, read again and again.
    File {
        /// The file.
        path: PathBuf,
    },
    /// The lab EMS, which knows this gateway as a fabric device.
    Ems {
        /// `https://HOST:PORT`.
        base: String,
        /// The PEM of EMS's certificate authority.
        authority: PathBuf,
        /// The name of this fabric device.
        device: String,
        /// Its token.
        token: String,
    },
}

/// How the gateway proves itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case", deny_unknown_fields)]
pub enum GatewayAuth {
    /// By the pre-shared key.
    Psk,
    /// By a certificate.
    Certificate {
        /// PEM: its certificate and intermediates, leaf first.
        chain: PathBuf,
        /// PEM: its private key.
        key: PathBuf,
    },
}

/// How clients prove themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ClientAuth {
    /// By the pre-shared key.
    Psk,
    /// By a certificate under one of these authorities.
    Certificate {
        /// PEM.
        authority: PathBuf,
    },
    /// By EAP-MSCHAPv2.
    Eap,
}

/// Which peers may connect, judged by their outer address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RemoteGatewayMatch {
    /// All.
    #[default]
    Any,
    /// Those whose address one of the tags resolves to.
    Ztna,
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or says something impossible.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let settings: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        if settings.pool_first > settings.pool_last {
            bail!("{}: the pool ends before it begins", path.display());
        }
        Ok(settings)
    }

    /// Returns settings that need no file: by PSK, with quick suites.
    pub(crate) fn for_fuzzing() -> Self {
        let settings = r#"
            identity = "fqdn:vpn.example.test"
            gateway_auth = { method = "psk" }
            client_auth = { method = "psk" }
            psk = "secret"
            ike_suites = ["aes256gcm16-prfsha384-x25519"]
            pool_first = "10.97.0.2"
            pool_last = "10.97.0.3"
        "#;
        toml::from_str(settings).expect("these settings are whole")
    }

    /// Returns the time in which an SA must be established.
    pub const fn negotiation_limit(&self) -> Duration {
        Duration::from_secs(self.negotiate_timeout)
    }
}

/// What proves the gateway and verifies clients, read from the files that the settings name.
#[derive(Debug, Default)]
pub struct Credentials {
    /// The gateway's certificates, DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The gateway's key.
    pub key: Option<PrivateKey>,
    /// Authorities of clients' certificates, DER.
    pub client_authorities: Vec<Vec<u8>>,
}

impl Credentials {
    /// Reads the files.
    ///
    /// # Errors
    /// When a file is missing or holds something else.
    pub fn load(settings: &Settings) -> Result<Self> {
        let mut credentials = Self::default();
        if let GatewayAuth::Certificate { chain, key } = &settings.gateway_auth {
            credentials.chain = certificates(chain)?;
            let pem = std::fs::read_to_string(key).with_context(|| key.display().to_string())?;
            credentials.key = Some(PrivateKey::from_pem(&pem)?);
        }
        if let ClientAuth::Certificate { authority } = &settings.client_auth {
            credentials.client_authorities = certificates(authority)?;
        }
        Ok(credentials)
    }
}

fn certificates(path: &Path) -> Result<Vec<Vec<u8>>> {
    use rustls_pki_types::{CertificateDer, pem::PemObject};
    let all = CertificateDer::pem_file_iter(path).with_context(|| path.display().to_string())?;
    let all: Vec<_> = all.map(|one| one.map(|der| der.to_vec())).collect::<Result<_, _>>()?;
    if all.is_empty() {
        bail!("{} holds no certificate", path.display());
    }
    Ok(all)
}

fn default_name() -> String {
    "RA-VPN".into()
}

fn default_ike_suites() -> Vec<IkeSuite> {
    suites(&["aes256gcm16-prfsha384-ecp384", "aes256gcm16-prfsha256-x25519", "aes256-sha256-prfsha256-modp2048"])
}

fn default_esp_suites() -> Vec<EspSuite> {
    suites(&["aes256gcm16-ecp384-noesn", "aes256gcm16-x25519-noesn", "aes256gcm16-noesn", "aes256-sha256-noesn"])
}

fn suites<Suite: std::str::FromStr>(names: &[&str]) -> Vec<Suite> {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

const fn yes() -> bool {
    true
}

const fn default_fragment() -> usize {
    1200
}

const fn default_negotiate_timeout() -> u64 {
    30
}
