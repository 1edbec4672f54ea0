//! The model of one tunnel: `tunnels.d/NAME.toml`, or an entry of EMS's profile.

mod authentication;
mod carrier;
mod network;
mod proposals;
#[cfg(test)]
mod tests;
mod wireguard;

pub use authentication::{Authentication, AuthenticationKind, GatewayAuthentication, LoginTls};
pub use carrier::{Carrier, CarrierKind};
pub use network::{DnsSource, NetworkSettings};
pub use proposals::Proposals;
pub use wireguard::{PublicKey, TunnelKind, WireGuard};

use crate::profile::document::{Complaint, Document};
use crate::profile::fortigate::{FortigateSettings, Peer};
use crate::profile::gateways::Gateways;
use crate::profile::span;
use crate::profile::tags::{AfterLoss, TagSettings};
use ike_client::auth::Identity;
use ike_client::auth::certificate::RevocationPolicy;
use ike_client::auth::eap::EapMethod;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// One tunnel. Secrets are not in it; it names the files that hold them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tunnel {
    /// The gateway's name or address, or several that are as good as one another.
    pub gateway: Gateways,
    /// What the tunnel speaks.
    #[serde(default, rename = "type")]
    pub kind: TunnelKind,
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
    /// What must be known of the gateway's certificates: `off`, `soft` (one that was revoked is refused) or `hard` (only
    /// one is accepted that its authority, by a list or by OCSP, says was not revoked).
    #[serde(default)]
    pub gateway_revocation: RevocationPolicy,
    /// Whether that is asked for: of the gateway, and of the OCSP responders and lists that its certificates name, by
    /// plain HTTP, before the tunnel is up and for five seconds at most.
    #[serde(default = "enabled")]
    pub gateway_revocation_inquiry: bool,
    /// Whether an RSA signature with SHA-1 is accepted from a gateway that cannot do better (a
    /// FortiGate with its default settings); it carries a standing warning.
    #[serde(default = "enabled")]
    pub gateway_sha1: bool,
    /// Whether the tunnel makes itself again after it was lost.
    #[serde(default)]
    pub keep_running: bool,
    /// Whether every member of the control socket's group may end the tunnel and lift its block;
    /// otherwise only the user for whom it was made, and administrators.
    #[serde(default)]
    pub shared: bool,
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
    /// The peer and the addresses; only with `type = "wireguard"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wireguard: Option<WireGuard>,
    /// Routes, names and sizes inside.
    #[serde(default)]
    pub network: NetworkSettings,
    /// The tag policy.
    #[serde(default)]
    pub tags: TagSettings,
}

impl Tunnel {
    /// Makes a tunnel to a gateway with every default: EAP, gateway proved by certificate.
    pub fn to(gateway: impl Into<String>) -> Self {
        Self {
            gateway: Gateways::One(gateway.into()),
            kind: TunnelKind::Ike,
            peer: Peer::Standard,
            description: None,
            gateway_auth: None,
            gateway_identity: None,
            gateway_ca_files: Vec::new(),
            gateway_ca_pem: None,
            gateway_pins: Vec::new(),
            gateway_crl_files: Vec::new(),
            gateway_revocation: RevocationPolicy::default(),
            gateway_revocation_inquiry: true,
            gateway_sha1: true,
            keep_running: false,
            shared: false,
            after_loss: AfterLoss::default(),
            offline_grace: offline_grace(),
            connect_timeout: connect_timeout(),
            auth: Authentication::default(),
            fortigate: FortigateSettings::default(),
            proposals: Proposals::default(),
            carrier: Carrier::default(),
            wireguard: None,
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
            AuthenticationKind::Certificate
            | AuthenticationKind::CertificateThenEap
            | AuthenticationKind::Eap
            | AuthenticationKind::Saml => GatewayAuthentication::Certificate,
        })
    }

    /// Returns the file that the pre-shared key is in, where the profile names one.
    pub const fn pre_shared_key_file(&self) -> &Option<PathBuf> {
        match &self.wireguard {
            Some(wireguard) => &wireguard.psk_file,
            None => &self.auth.psk_file,
        }
    }

    /// Tells whether a pre-shared key takes part on either side.
    pub fn uses_pre_shared_key(&self) -> bool {
        if let Some(wireguard) = &self.wireguard {
            return wireguard.uses_pre_shared_key();
        }
        self.auth.kind == AuthenticationKind::Psk || self.gateway_authentication() == GatewayAuthentication::Psk
    }
}

impl Document for Tunnel {
    fn check(&self) -> Result<(), Complaint> {
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
        wireguard::check(self)?;
        self.auth.check()?;
        self.proposals.check(self.auth.ppk_id.is_some() && self.auth.ppk_required)?;
        self.carrier.check()?;
        self.network.check()
    }
}

/// Refuses one element.
fn complain(element: &'static str, problem: &str, expected: &'static str) -> Result<(), Complaint> {
    Err(Complaint { element, problem: problem.into(), expected })
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
