//! Tunnels that come from EMS.

use crate::profile::document::Document;
use crate::profile::tags::{AfterLoss, TagRuleSource, TagSettings};
use crate::profile::tunnel::{AuthenticationKind, CarrierKind, GatewayAuthentication, Tunnel};
use posture::ems::protocol::{self, ManagedTunnel, Profile};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Reads the tunnels of EMS's profile. What cannot be understood is left out and told as a
/// problem: a tunnel that means something else than EMS says is worse than none.
///
/// `configuration` is the directory below which installed certificates lie.
pub fn tunnels(profile: &Profile, configuration: &Path) -> (BTreeMap<String, Tunnel>, Vec<String>) {
    let mut tunnels = BTreeMap::new();
    let mut problems = Vec::new();
    for managed in &profile.tunnels {
        match tunnel(profile, managed, configuration) {
            Ok(tunnel) => drop(tunnels.insert(managed.name.clone(), tunnel)),
            Err(problem) => problems.push(format!("tunnel {:?} of EMS's profile: {problem}", managed.name)),
        }
    }
    (tunnels, problems)
}

fn tunnel(profile: &Profile, managed: &ManagedTunnel, configuration: &Path) -> Result<Tunnel, String> {
    if !super::catalogue::is_name(&managed.name) {
        return Err("its name cannot be used".into());
    }
    let mut tunnel = Tunnel::to(managed.gateway.as_str());
    match &managed.gateway_auth {
        protocol::GatewayAuthentication::PreSharedKey => tunnel.gateway_auth = Some(GatewayAuthentication::Psk),
        protocol::GatewayAuthentication::Certificate { anchors_pem, spki_pins } => {
            tunnel.gateway_auth = Some(GatewayAuthentication::Certificate);
            tunnel.gateway_ca_pem = Some(anchors_pem.join("\n")).filter(|pem| !pem.trim().is_empty());
            tunnel.gateway_pins.clone_from(spki_pins);
        }
    }
    match &managed.client_auth {
        protocol::ClientAuthentication::PreSharedKey => tunnel.auth.kind = AuthenticationKind::Psk,
        protocol::ClientAuthentication::Eap { user } => tunnel.auth.user.clone_from(user),
        protocol::ClientAuthentication::Certificate { name } if super::catalogue::is_name(name) => {
            let directory = configuration.join("certificates");
            tunnel.auth.kind = AuthenticationKind::Certificate;
            tunnel.auth.certificate_file = Some(directory.join(format!("{name}.pem")));
            tunnel.auth.key_file = Some(directory.join(format!("{name}.key")));
        }
        protocol::ClientAuthentication::Certificate { .. } => {
            return Err("its certificate's name cannot be used".into());
        }
    }
    tunnel.gateway_identity.clone_from(&managed.remote_identity);
    tunnel.auth.identity.clone_from(&managed.local_identity);
    let suite = |text: &str, error: String| format!("suite {text:?}: {error}");
    if !managed.ike_suites.is_empty() {
        let read = managed.ike_suites.iter().map(|text| text.parse().map_err(|e| suite(text, format!("{e}"))));
        tunnel.proposals.ike = read.collect::<Result<_, String>>()?;
    }
    if !managed.esp_suites.is_empty() {
        let read = managed.esp_suites.iter().map(|text| text.parse().map_err(|e| suite(text, format!("{e}"))));
        tunnel.proposals.esp = read.collect::<Result<_, String>>()?;
    }
    let carried = |carrier| managed.carriers.contains(&carrier);
    tunnel.carrier.kind = match (carried(protocol::Carrier::Udp), carried(protocol::Carrier::Tcp)) {
        (true, true) => CarrierKind::Auto,
        (false, true) => CarrierKind::Tcp,
        (_, false) => CarrierKind::Udp,
    };
    if let Some(port) = managed.tcp_port {
        tunnel.carrier.tcp_port = port;
    }
    tunnel.network.routes.clone_from(&managed.networks);
    tunnel.carrier.force_encapsulation = true;
    tunnel.keep_running = managed.keep_running;
    tunnel.after_loss = match managed.after_loss {
        protocol::AfterLoss::Restore => AfterLoss::Restore,
        protocol::AfterLoss::BlockProtectedPrefixes => AfterLoss::BlockProtectedPrefixes,
    };
    tunnel.offline_grace = Duration::from_secs(managed.offline_grace_seconds.unwrap_or(profile.offline_grace_seconds));
    tunnel.tags = TagSettings {
        enforcement: profile.enforcement(managed),
        prohibited: managed.tags.prohibited.iter().map(ToString::to_string).collect(),
        allowed: managed.tags.allowed.iter().map(ToString::to_string).collect(),
        warning: managed.tags.warning.clone(),
        source: TagRuleSource::Ems,
        rules: Vec::new(),
    };
    tunnel.check().map_err(|complaint| format!("{} {}", complaint.element, complaint.problem))?;
    Ok(tunnel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use posture::policy::Enforcement;

    fn profile(tunnel: &str, secure: bool) -> Profile {
        serde_json::from_str(&format!(
            r#"{{"name":"p","secure_remote_access":{secure},"tunnels":[{{"name":"RA-VPN","gateway":"vpn.example",
            "gateway_auth":{{"method":"certificate"}},"client_auth":{{"method":"eap"}}{tunnel}}}]}}"#
        ))
        .unwrap()
    }

    #[test]
    fn the_switch_of_secure_remote_access_decides_enforcement() {
        let tags = r#","tags":{"prohibited":["Critical Vulnerability"],"warning":"call 4711"}"#;
        let audit = r#","tags":{"prohibited":["Critical Vulnerability"],"enforcement":"audit"}"#;
        for (tags, secure, enforcement) in [
            (tags, true, Enforcement::Enforce),
            (tags, false, Enforcement::Off),
            (audit, true, Enforcement::Audit),
            (audit, false, Enforcement::Off),
        ] {
            let (tunnels, problems) = tunnels(&profile(tags, secure), Path::new("/etc/postern"));
            assert_eq!(tunnels["RA-VPN"].tags.enforcement, enforcement, "{problems:?}");
        }
    }

    #[test]
    fn a_tunnel_that_is_not_understood_is_left_out_and_named() {
        for broken in [r#","ike_suites":["rot13"]"#, r#","local_identity":"""#] {
            let (tunnels, problems) = tunnels(&profile(broken, true), Path::new("/etc/postern"));
            assert!(tunnels.is_empty());
            assert!(problems[0].contains("RA-VPN"), "{problems:?}");
        }
    }
}
