//! The model of one tunnel: `tunnels.d/NAME.toml`, or an entry of EMS's profile.

use crate::profile::document::{Complaint, Document};
use crate::profile::fortigate::{FortigateSettings, Peer};
use crate::profile::gateways::Gateways;
use crate::profile::span;
use crate::profile::tags::{AfterLoss, TagSettings};
use ike_client::auth::Identity;
use ike_client::auth::certificate::RevocationPolicy;
use ike_client::auth::eap::{EapMethod, EapProfile, InnerMethod, TlsVersion};
use ike_client::crypto::suite::{EspSuite, IkeSuite};
use ike_client::tunnel::control::AddressFamily;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One tunnel. Secrets are not in it; it names the files that hold them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tunnel {
    /// The gateway's name or address, or several that are as good as one another.
    pub gateway: Gateways,
    /// What kind of gateway it is.
    #[serde(default)]
    pub peer: Peer,
    /// What it is for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How the gateway proves itself; `psk` by default when this end does so too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_auth: Option<GatewayAuthentication>,
    /// The identity the gateway must prove: a name, address or mail; the gateway's name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_identity: Option<String>,
    /// PEM files with the authorities to trust for this gateway; none: the system's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateway_ca_files: Vec<PathBuf>,
    /// The authorities themselves as PEM, for a tunnel that came from EMS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_ca_pem: Option<String>,
    /// SHA-256 of the gateway's public key, `sha256//BASE64`; one must match where any is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateway_pins: Vec<String>,
    /// PEM files with revocation lists of the gateway's authorities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateway_crl_files: Vec<PathBuf>,
    /// What a revocation list must say: `off`, `soft` (a certificate that a list names is refused) or `hard` (only one
    /// that a valid list leaves out is accepted).
    #[serde(default)]
    pub gateway_revocation: RevocationPolicy,
    /// Whether an RSA signature with SHA-1 is accepted from a gateway that cannot do better (a
    /// FortiGate with its default settings); it carries a standing warning.
    #[serde(default = "enabled")]
    pub gateway_sha1: bool,
    /// Whether the tunnel makes itself again after it was lost.
    #[serde(default)]
    pub keep_running: bool,
    /// What may leave in the clear after compliance was lost.
    #[serde(default)]
    pub after_loss: AfterLoss,
    /// How long tags that only EMS can know keep their value while EMS is out of reach.
    #[serde(default = "offline_grace", with = "span")]
    pub offline_grace: Duration,
    /// How long a connection may take to come up, prompts included.
    #[serde(default = "connect_timeout", with = "span")]
    pub connect_timeout: Duration,
    /// How this end proves itself.
    #[serde(default)]
    pub auth: Authentication,
    /// What a FortiGate is told; only with `peer = "fortigate"`.
    #[serde(default)]
    pub fortigate: FortigateSettings,
    /// Algorithms, strongest wish first.
    #[serde(default)]
    pub proposals: Proposals,
    /// How packets travel to the gateway.
    #[serde(default)]
    pub carrier: Carrier,
    /// Routes, names and sizes inside.
    #[serde(default)]
    pub network: NetworkSettings,
    /// The tag policy.
    #[serde(default)]
    pub tags: TagSettings,
}

/// How this end proves itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authentication {
    /// The way.
    pub kind: AuthenticationKind,
    /// The IKE identity: address, name, mail, `keyid:TEXT`; by default the user's name, the
    /// certificate's subject, or the local address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The EAP user; asked for when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The EAP methods that the gateway may ask for, best first; with any other one there is no
    /// login.
    pub eap_methods: Vec<EapMethod>,
    /// File with the EAP password, mode 0600; stored or asked for when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// File with the pre-shared key, mode 0600; stored or asked for when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psk_file: Option<PathBuf>,
    /// Name of the post-quantum pre-shared key (RFC 8784) that is mixed into the keys; none: none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppk_id: Option<String>,
    /// File with the post-quantum pre-shared key, mode 0600; stored or asked for when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppk_file: Option<PathBuf>,
    /// Whether a gateway that does not have that key is refused.
    pub ppk_required: bool,
    /// PEM file with this end's certificate, then its issuers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// PEM file with its private key, mode 0600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Whom EAP-TLS and EAP-TTLS trust, and what TTLS carries.
    pub tls: LoginTls,
}

/// The login's own TLS: its server may be another one than the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoginTls {
    /// The name that the login server's certificate must be for; the gateway's by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// PEM files with the authorities that may vouch for the login server; the gateway's
    /// `gateway_ca_files` by default, never the system's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ca_files: Vec<PathBuf>,
    /// SHA-256 of the login server's public key, `sha256//BASE64`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<String>,
    /// The lowest version of TLS: `1.2` or `1.3`.
    pub minimum_version: TlsVersion,
    /// What TTLS carries: `mschapv2`, or `pap`, which shows the server the password.
    pub inner: InnerMethod,
    /// What TTLS calls the user outside, where the way to the login server can read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outer_identity: Option<String>,
}

impl Default for Authentication {
    fn default() -> Self {
        Self {
            kind: AuthenticationKind::Eap,
            identity: None,
            user: None,
            eap_methods: EapProfile::default().methods,
            password_file: None,
            psk_file: None,
            ppk_id: None,
            ppk_file: None,
            ppk_required: true,
            certificate_file: None,
            key_file: None,
            tls: LoginTls::default(),
        }
    }
}

/// The way in which this end proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthenticationKind {
    /// A pre-shared key.
    Psk,
    /// A certificate and its private key.
    Certificate,
    /// A user's name and password by EAP.
    Eap,
    /// A sign-on in a browser, then EAP with what it brought; only with `peer = "fortigate"`.
    Saml,
}

/// The way in which the gateway proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayAuthentication {
    /// A certificate that leads to a trusted authority.
    Certificate,
    /// The login alone (RFC 5998); only with EAP-TLS.
    Eap,
    /// The pre-shared key; with EAP that is a FortiGate habit and carries a standing warning.
    Psk,
}

/// Algorithms by name, and lifetimes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proposals {
    /// Suites for the IKE SA, such as `aes256gcm16-prfsha384-ecp384`.
    pub ike: Vec<IkeSuite>,
    /// Suites for the CHILD SA, such as `aes256gcm16-ecp384`.
    pub esp: Vec<EspSuite>,
    /// Whether the IKE SA must withstand a quantum computer: suites without an additional ML-KEM
    /// exchange are then not offered, unless `auth.ppk_id` is set and required.
    pub require_post_quantum: bool,
    /// When the IKE SA gets new keys.
    #[serde(with = "span")]
    pub ike_lifetime: Duration,
    /// When the CHILD SA gets new keys.
    #[serde(with = "span")]
    pub esp_lifetime: Duration,
    /// How many bytes each half of a CHILD SA may carry under one key; a renewal begins at nine
    /// tenths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub esp_bytes: Option<u64>,
    /// How many packets it may carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub esp_packets: Option<u64>,
}

impl Default for Proposals {
    /// What a FortiGate dial-up server accepts by default, without its weaker rows: no SHA-1,
    /// no group below 14.
    fn default() -> Self {
        // The first is for a gateway that withstands a quantum computer too; others pass it over.
        let ike = [
            "aes256gcm16-prfsha384-ecp384-ke1_mlkem768",
            "aes256gcm16-prfsha384-ecp384",
            "chacha20poly1305-prfsha256-x25519",
            "aes128gcm16-prfsha256-ecp256",
            "aes256-sha256-ecp384",
            "aes128-sha256-ecp256",
            "aes256-sha256-modp2048",
            "aes128-sha256-modp2048",
        ];
        let esp = [
            "aes256gcm16-ecp384",
            "chacha20poly1305-x25519",
            "aes128gcm16-ecp256",
            "aes256-sha256-ecp384",
            "aes128-sha256-ecp256",
            "aes256-sha256-modp2048",
            "aes128-sha256-modp2048",
        ];
        Self {
            ike: ike.iter().filter_map(|name| name.parse().ok()).collect(),
            esp: esp.iter().filter_map(|name| name.parse().ok()).collect(),
            require_post_quantum: false,
            ike_lifetime: Duration::from_secs(86_400),
            esp_lifetime: Duration::from_secs(43_200),
            esp_bytes: None,
            esp_packets: None,
        }
    }
}

/// How packets travel to the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Carrier {
    /// UDP (RFC 3948), TCP (RFC 9329), or whichever the gateway answers on.
    pub kind: CarrierKind,
    /// Which addresses of the gateway are tried; a gateway that checks posture tags wants IPv4.
    pub family: AddressFamily,
    /// The gateway's IKE port.
    pub port: u16,
    /// The gateway's port for IKE and ESP behind NAT.
    pub nat_port: u16,
    /// Whether the first message already goes to `nat_port`, not to `port`.
    pub start_on_nat_port: bool,
    /// The gateway's TCP port.
    pub tcp_port: u16,
    /// Whether ESP is put into UDP even where no NAT is seen.
    pub force_encapsulation: bool,
    /// How many packets may overtake one another on the way: 64 to 8192.
    pub replay_window: u32,
    /// How long the gateway may be silent before it is asked whether it lives.
    #[serde(with = "span")]
    pub liveness: Duration,
}

impl Default for Carrier {
    fn default() -> Self {
        Self {
            kind: CarrierKind::Auto,
            family: AddressFamily::Any,
            port: 500,
            nat_port: 4500,
            start_on_nat_port: false,
            tcp_port: 443,
            force_encapsulation: true,
            replay_window: 1024,
            liveness: Duration::from_secs(20),
        }
    }
}

/// What carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CarrierKind {
    /// Datagrams; when nothing answers by them for three seconds, a TCP connection beside them.
    Auto,
    /// Datagrams.
    Udp,
    /// One TCP connection.
    Tcp,
}

/// Routes, names and sizes inside the tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSettings {
    /// Networks to send through the tunnel; none: those the gateway gives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<IpNet>,
    /// Whether private ranges on the local network stay reachable under a full tunnel.
    pub allow_local: bool,
    /// Whether an IPv4 address is asked for.
    pub ipv4: bool,
    /// Whether an IPv6 address is asked for.
    pub ipv6: bool,
    /// Where names are looked up.
    pub dns: DnsSource,
    /// Resolvers instead of the gateway's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_servers: Vec<IpAddr>,
    /// Domains that go to the tunnel's resolvers; none: those of the gateway, else all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// Size of the largest packet inside; measured when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Name of the device; chosen by the system when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            allow_local: false,
            ipv4: true,
            ipv6: false,
            dns: DnsSource::Gateway,
            dns_servers: Vec::new(),
            domains: Vec::new(),
            mtu: None,
            device: None,
        }
    }
}

/// Where names are looked up while connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsSource {
    /// The resolvers that the gateway gave, or `dns_servers`.
    Gateway,
    /// As before; nothing is changed.
    Off,
}

impl Tunnel {
    /// Makes a tunnel to a gateway with every default: EAP, gateway proved by certificate.
    pub fn to(gateway: impl Into<String>) -> Self {
        Self {
            gateway: Gateways::One(gateway.into()),
            peer: Peer::Standard,
            description: None,
            gateway_auth: None,
            gateway_identity: None,
            gateway_ca_files: Vec::new(),
            gateway_ca_pem: None,
            gateway_pins: Vec::new(),
            gateway_crl_files: Vec::new(),
            gateway_revocation: RevocationPolicy::default(),
            gateway_sha1: true,
            keep_running: false,
            after_loss: AfterLoss::default(),
            offline_grace: offline_grace(),
            connect_timeout: connect_timeout(),
            auth: Authentication::default(),
            fortigate: FortigateSettings::default(),
            proposals: Proposals::default(),
            carrier: Carrier::default(),
            network: NetworkSettings::default(),
            tags: TagSettings::default(),
        }
    }

    /// Returns the tunnel as TOML without what the defaults say anyway, so that a later version's
    /// better defaults reach it.
    ///
    /// # Errors
    /// Where a value has no form in TOML.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        let mut written = toml::Table::try_from(self)?;
        leave_out(&mut written, &toml::Table::try_from(Self::to(""))?);
        toml::to_string(&written)
    }

    /// Returns how the gateway proves itself.
    pub fn gateway_authentication(&self) -> GatewayAuthentication {
        self.gateway_auth.unwrap_or(match self.auth.kind {
            AuthenticationKind::Psk => GatewayAuthentication::Psk,
            AuthenticationKind::Certificate | AuthenticationKind::Eap | AuthenticationKind::Saml => {
                GatewayAuthentication::Certificate
            }
        })
    }

    /// Tells whether a pre-shared key takes part on either side.
    pub fn uses_pre_shared_key(&self) -> bool {
        self.auth.kind == AuthenticationKind::Psk || self.gateway_authentication() == GatewayAuthentication::Psk
    }
}

impl Document for Tunnel {
    fn check(&self) -> Result<(), Complaint> {
        let complain = |element, problem: &str, expected| Err(Complaint { element, problem: problem.into(), expected });
        if !self.gateway.is_usable() {
            return complain(
                "gateway",
                "is not a host name or address",
                "a host name or an address, or up to eight; ports stand in [carrier]",
            );
        }
        for (element, identity) in
            [("auth.identity", &self.auth.identity), ("gateway_identity", &self.gateway_identity)]
        {
            if let Some(Err(error)) = identity.as_ref().map(|identity| identity.parse::<Identity>()) {
                return complain(element, &error.to_string(), "an address, a name, a mail address or a key id");
            }
        }
        if let Err(error) = self.tags.check() {
            return complain("tags.rules", &error, "rule sets as the documentation shows them");
        }
        if self.auth.eap_methods.is_empty() {
            return complain("auth.eap_methods", "is empty", "at least one method");
        }
        if self.peer != Peer::Fortigate && self.fortigate != FortigateSettings::default() {
            return complain("fortigate", "is for a FortiGate", "peer = \"fortigate\", or no such part");
        }
        if self.peer != Peer::Fortigate && self.auth.kind == AuthenticationKind::Saml {
            return complain("auth.kind", "is a FortiGate's", "peer = \"fortigate\", or another kind");
        }
        if self.auth.kind == AuthenticationKind::Saml && self.gateway.all().len() > 1 {
            return complain("gateway", "has several names", "one: a sign-on is good at the gateway that gave it");
        }
        let by_login = self.gateway_authentication() == GatewayAuthentication::Eap;
        if by_login && (self.auth.kind != AuthenticationKind::Eap || self.auth.eap_methods != [EapMethod::Tls]) {
            return complain("gateway_auth", "is eap", "auth.kind = eap and auth.eap_methods = [\"tls\"] with it");
        }
        let with_key = self.auth.kind == AuthenticationKind::Certificate
            || (self.auth.kind == AuthenticationKind::Eap && self.auth.eap_methods.contains(&EapMethod::Tls));
        if with_key {
            if self.auth.certificate_file.is_none() {
                return complain("auth.certificate_file", "is missing", "a PEM file, because of auth.kind or EAP-TLS");
            }
            if self.auth.key_file.is_none() {
                return complain("auth.key_file", "is missing", "a PEM file, because of auth.kind or EAP-TLS");
            }
        }
        if self.auth.ppk_id.is_none() && self.auth.ppk_file.is_some() {
            return complain("auth.ppk_id", "is missing", "the key's name, because auth.ppk_file is set");
        }
        if self.auth.ppk_id.as_ref().is_some_and(|name| name.is_empty() || name.len() > 255) {
            return complain("auth.ppk_id", "has no usable length", "1 to 255 octets");
        }
        if self.proposals.require_post_quantum
            && !(self.auth.ppk_id.is_some() && self.auth.ppk_required)
            && !self.proposals.ike.iter().any(|suite| suite.additional.is_post_quantum())
        {
            let expected = "a suite with ke1_mlkem768 or the like in proposals.ike, or auth.ppk_id";
            return complain("proposals.require_post_quantum", "cannot be met", expected);
        }
        if !(64..=8192).contains(&self.carrier.replay_window) {
            return complain("carrier.replay_window", "is out of range", "64 to 8192");
        }
        if self.proposals.ike.is_empty() {
            return complain("proposals.ike", "is empty", "at least one suite");
        }
        if self.proposals.esp.is_empty() {
            return complain("proposals.esp", "is empty", "at least one suite");
        }
        let limits = [("proposals.esp_bytes", self.proposals.esp_bytes, 1_000_000)];
        for (element, limit, least) in
            limits.into_iter().chain([("proposals.esp_packets", self.proposals.esp_packets, 1000)])
        {
            if limit.is_some_and(|limit| limit < least) {
                return complain(
                    element,
                    "is so small that renewing would never end",
                    "a million bytes, a thousand packets at least",
                );
            }
        }
        if !self.network.ipv4 && !self.network.ipv6 {
            return complain("network.ipv4", "is off, and network.ipv6 too", "one of them on");
        }
        if self.network.mtu.is_some_and(|mtu| mtu < 576) {
            return complain("network.mtu", "is below 576", "576 to 65535");
        }
        if self.network.ipv6 && self.network.mtu.is_some_and(|mtu| mtu < 1280) {
            return complain("network.mtu", "is below 1280", "1280 at least, because network.ipv6 is on");
        }
        Ok(())
    }
}

fn leave_out(table: &mut toml::Table, defaults: &toml::Table) {
    for (key, default) in defaults {
        match (table.get_mut(key), default) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(defaults)) => {
                leave_out(inner, defaults);
                if inner.is_empty() {
                    table.remove(key);
                }
            }
            (Some(value), default) if *value == *default => drop(table.remove(key)),
            _ => {}
        }
    }
}

const fn enabled() -> bool {
    true
}

fn offline_grace() -> Duration {
    Duration::from_secs(24 * 3600)
}

fn connect_timeout() -> Duration {
    Duration::from_secs(120)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::document;
    use std::path::Path;

    fn read(text: &str) -> Result<Tunnel, String> {
        document::parse(Path::new("t.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_gateway_alone_is_a_tunnel() {
        let tunnel = read("gateway = \"vpn.example.com\"\n").unwrap();
        assert_eq!(tunnel, Tunnel::to("vpn.example.com"));
        assert_eq!(tunnel.gateway_authentication(), GatewayAuthentication::Certificate);
    }

    #[test]
    fn several_gateways_are_read_and_written_in_their_order() {
        let tunnel = read("gateway = [\"a.example.com\", \"b.example.com\"]\n").unwrap();
        assert_eq!(tunnel.gateway.all(), ["a.example.com", "b.example.com"]);
        assert_eq!(read(&tunnel.to_toml().unwrap()).unwrap(), tunnel);
        for wrong in ["gateway = []", "gateway = [\"a\", \"\"]", "gateway = [1]", "gateway = \"a b\""] {
            assert!(read(wrong).unwrap_err().starts_with("t.toml:1: gateway"), "{wrong}");
        }
    }

    #[test]
    fn what_only_a_fortigate_knows_is_refused_elsewhere() {
        let saml = "gateway = \"g\"\ngateway_auth = \"psk\"\n[auth]\nkind = \"saml\"\n";
        assert!(read(saml).unwrap_err().contains("auth.kind"));
        assert!(read(&format!("peer = \"fortigate\"\n{saml}")).is_ok());
        let two = saml.replace("\"g\"", "[\"g\", \"h\"]");
        assert!(read(&format!("peer = \"fortigate\"\n{two}")).unwrap_err().contains("gateway"));
        let said = "gateway = \"g\"\n[fortigate]\nclient_version = \"7.2.5\"\n";
        assert!(read(said).unwrap_err().contains("fortigate"));
        let tunnel = read(&format!("peer = \"fortigate\"\n{said}")).unwrap();
        assert_eq!(read(&tunnel.to_toml().unwrap()).unwrap(), tunnel);
        let uid = "peer = \"fortigate\"\ngateway = \"g\"\n[fortigate]\nuid = \"7\"\n";
        assert!(read(uid).unwrap_err().contains("32"));
    }

    #[test]
    fn a_replay_window_out_of_range_is_refused() {
        for (window, fine) in [(63, false), (64, true), (8192, true), (8193, false)] {
            let text = format!("gateway = \"g\"\n[carrier]\nreplay_window = {window}\n");
            assert_eq!(read(&text).is_ok(), fine, "{window}");
        }
    }

    #[test]
    fn the_default_suites_are_all_known_and_none_is_weak() {
        let proposals = Proposals::default();
        assert_eq!((proposals.ike.len(), proposals.esp.len()), (8, 7));
        let names: Vec<String> = proposals.ike.iter().map(ToString::to_string).collect();
        assert!(names.iter().all(|name| !name.contains("sha1") && !name.contains("modp1")), "{names:?}");
    }

    #[test]
    fn a_pre_shared_key_on_this_side_means_one_on_the_other() {
        let tunnel = read("gateway = \"g\"\n[auth]\nkind = \"psk\"\n").unwrap();
        assert_eq!(tunnel.gateway_authentication(), GatewayAuthentication::Psk);
    }

    #[test]
    fn a_post_quantum_key_has_a_name_and_is_required_unless_said_otherwise() {
        let tunnel = read("gateway = \"g\"\n[auth]\nppk_id = \"ppk@example.com\"\n").unwrap();
        assert!(tunnel.auth.ppk_required);
        let error = read("gateway = \"g\"\n[auth]\nppk_file = \"/k\"\n").unwrap_err();
        assert!(error.contains("auth.ppk_id: is missing"), "{error}");
    }

    #[test]
    fn what_no_suite_can_meet_is_refused() {
        let ask = "gateway = \"g\"\n[proposals]\nrequire_post_quantum = true\n";
        let plain = format!("{ask}ike = [\"aes256gcm16-prfsha384-ecp384\"]\n");
        assert!(read(&plain).unwrap_err().contains("require_post_quantum: cannot be met"));
        let hybrid = format!("{ask}ike = [\"aes256gcm16-prfsha384-ecp384-ke1_mlkem768\"]\n");
        assert!(read(&hybrid).unwrap().proposals.require_post_quantum);
        let keyed = format!("{plain}[auth]\nppk_id = \"k\"\n");
        assert!(read(&keyed).is_ok());
    }

    #[test]
    fn a_misspelt_suite_is_shown_with_its_line() {
        let error = read("gateway = \"g\"\n[proposals]\nike = [\n  \"aes256-sha999-ecp384\",\n]\n").unwrap_err();
        assert!(
            error.starts_with("t.toml:4: proposals.ike") || error.starts_with("t.toml:3: proposals.ike"),
            "{error}"
        );
        assert!(error.contains("sha999"), "{error}");
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let error = read("gateway = \"g\"\n[auth]\nkind = \"certificate\"\ncertificate_file = \"/c\"\n").unwrap_err();
        assert!(error.starts_with("t.toml:2: auth.key_file: is missing"), "{error}");
    }

    #[test]
    fn local_tag_rules_are_read_and_checked() {
        let text = r#"
gateway = "g"
[tags]
source = "local"
prohibited = ["Critical Vulnerability"]
[[tags.rules]]
name = "critical"
tag = "Critical Vulnerability"
[tags.rules.systems.linux]
rules = [{ id = 1, type = "vulnerable-devices", severity = "critical" }]
"#;
        assert_eq!(read(text).unwrap().tags.rules.len(), 1);
        let broken = text.replace("vulnerable-devices", "phase-of-the-moon");
        assert!(read(&broken).unwrap_err().contains("phase-of-the-moon"));
    }

    #[test]
    fn what_is_written_is_read_back_and_defaults_are_not_written() {
        let mut tunnel = Tunnel::to("vpn.example.com");
        assert_eq!(tunnel.to_toml().unwrap(), "gateway = \"vpn.example.com\"\n");
        tunnel.auth.user = Some("alice".into());
        tunnel.tags.prohibited = vec!["Critical Vulnerability".into()];
        tunnel.carrier.port = 1500;
        let text = tunnel.to_toml().unwrap();
        assert!(!text.contains("proposals") && text.contains("port = 1500"), "{text}");
        assert_eq!(read(&text).unwrap(), tunnel);
    }
}
