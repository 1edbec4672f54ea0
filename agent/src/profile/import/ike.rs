//! `<ike_settings>`: the gateway, the login, the carrier.

use super::connection::Draft;
use super::reader::{Reader, own_text};
use super::secret::{SecretFound, SecretKind, is_obfuscated};
use super::{Additions, suites, xml};
use crate::profile::Gateways;
use crate::profile::file::read_regular;
use crate::profile::tunnel::{AuthenticationKind, CarrierKind, GatewayAuthentication};
use ike_client::auth::eap::{EapMethod, InnerMethod};
use posture::rules::{Pattern, PatternKind, Text};
use roxmltree::Node;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// The most gateways of one tunnel.
const MOST_GATEWAYS: usize = 8;

/// Reads the settings into the draft.
pub(super) fn read<'d>(reader: &mut Reader<'d>, draft: &mut Draft, settings: Node<'d, 'd>, additions: &Additions) {
    version(reader, draft, settings);
    login(reader, draft, settings, additions);
    gateways(reader, draft, settings);
    if let Some((node, text)) = reader.text(settings, "localid") {
        reader.used(node, "auth.identity");
        draft.tunnel.auth.identity = Some(text);
    }
    if let Some((node, text)) = reader.text(settings, "peerid") {
        reader.used(node, "gateway_identity");
        draft.tunnel.gateway_identity = Some(text);
    }
    if let Some((node, seconds)) = reader.number::<u32>(settings, "key_life") {
        if seconds >= 120 {
            reader.used(node, "proposals.ike_lifetime");
            draft.tunnel.proposals.ike_lifetime = Duration::from_secs(seconds.into());
        } else {
            reader.unsupported(node, "is too short: renewing would never end");
        }
    }
    carrier(reader, draft, settings);
    if let Some((node, on)) = reader.flag(settings, "enable_local_lan") {
        reader.used(node, format!("network.allow_local = {on}"));
        draft.tunnel.network.allow_local = on;
    }
    if let Some((node, on)) = reader.flag(settings, "no_vnic_dns_server") {
        if on {
            reader.used(node, "network.dns = \"off\"");
            draft.tunnel.network.dns = crate::profile::tunnel::DnsSource::Off;
        } else {
            reader.idle(node, "is off");
        }
    }
    if let Some((node, seconds)) = reader.number::<u16>(settings, "xauth_timeout") {
        if seconds >= 10 {
            reader.used(node, "connect_timeout");
            draft.tunnel.connect_timeout = Duration::from_secs(seconds.into());
        } else {
            reader.unsupported(node, "is too short for a login");
        }
    }
    let suites = suites::ike(reader, settings);
    let parsed: Vec<_> = suites.iter().filter_map(|suite| suite.parse().ok()).collect();
    if !parsed.is_empty() {
        draft.tunnel.proposals.ike = parsed;
    }
}

fn version<'d>(reader: &mut Reader<'d>, draft: &mut Draft, settings: Node<'d, 'd>) {
    match reader.text(settings, "version") {
        Some((node, text)) if text == "2" => reader.used(node, "IKEv2"),
        found => {
            if let Some((node, _)) = found {
                reader.unsupported(node, "only IKEv2 is supported");
            }
            let next =
                "let the gateway's administrator switch the tunnel to IKEv2 (FortiClient 7.4.4 has no IKEv1 either)";
            draft.leave_out("it uses IKEv1, which is not supported", next);
        }
    }
}

fn login<'d>(reader: &mut Reader<'d>, draft: &mut Draft, settings: Node<'d, 'd>, additions: &Additions) {
    let by_user = reader.flag(settings, "xauth/enabled");
    let by_sign_on = reader.flag(settings, "sso_enabled");
    let on = |flag: &Option<(Node<'d, 'd>, bool)>| flag.is_some_and(|(_, on)| on);
    let kind = match (on(&by_sign_on), on(&by_user)) {
        (true, _) => Some(AuthenticationKind::Saml),
        (false, true) => Some(AuthenticationKind::Eap),
        (false, false) => None,
    };
    let method = reader.text(settings, "authentication_method");
    let lower = method.as_ref().map(|(_, text)| text.to_ascii_lowercase()).unwrap_or_default();
    let tunnel = &mut draft.tunnel;
    if lower.is_empty() || lower.contains("preshared") || lower.contains("pre-shared") {
        tunnel.gateway_auth = Some(GatewayAuthentication::Psk);
        tunnel.auth.kind = kind.unwrap_or(AuthenticationKind::Psk);
    } else if lower.contains("x509") {
        tunnel.gateway_auth = Some(GatewayAuthentication::Certificate);
        tunnel.gateway_ca_files.clone_from(&additions.ca_files);
        tunnel.auth.kind = kind.unwrap_or(AuthenticationKind::Certificate);
    } else {
        draft.leave_out("its authentication method is not known here", "postern tunnel add makes a tunnel by hand");
        return;
    }
    let kind = tunnel.auth.kind;
    let shown = match kind {
        AuthenticationKind::Psk => "psk",
        AuthenticationKind::Certificate => "certificate",
        AuthenticationKind::Eap => "eap",
        AuthenticationKind::Saml => "saml",
        AuthenticationKind::CertificateThenEap => "certificate+eap",
    };
    let gateway = if tunnel.uses_pre_shared_key() { "psk" } else { "certificate" };
    if let Some((node, _)) = method {
        reader.used(node, format!("gateway_auth = \"{gateway}\""));
    }
    for (node, _) in by_user.into_iter().chain(by_sign_on) {
        reader.used(node, format!("auth.kind = \"{shown}\""));
    }
    if let Some((node, port)) = reader.number::<u16>(settings, "ike_saml_port") {
        if kind == AuthenticationKind::Saml && port != 0 {
            reader.used(node, "fortigate.sign_on_port");
            draft.tunnel.fortigate.sign_on_port = port;
        } else {
            reader.idle(node, "belongs to sso_enabled");
        }
    }
    method_of_user(reader, draft, settings, additions);
    user(reader, draft, settings);
    pre_shared_key(reader, draft, settings);
    certificate(reader, draft, settings, additions);
}

fn method_of_user<'d>(reader: &mut Reader<'d>, draft: &mut Draft, settings: Node<'d, 'd>, additions: &Additions) {
    let Some((node, text)) = reader.text(settings, "eap_method") else { return };
    match (text.as_str(), draft.tunnel.auth.kind) {
        ("1", _) => reader.idle(node, "EAP-MSCHAPv2, as by default"),
        ("2", AuthenticationKind::Eap) => {
            reader.used(node, "auth.eap_methods = [\"ttls\"], auth.tls.inner = \"pap\"");
            draft.tunnel.auth.eap_methods = vec![EapMethod::Ttls];
            draft.tunnel.auth.tls.inner = InnerMethod::Pap;
            draft.tunnel.auth.tls.ca_files.clone_from(&additions.ca_files);
            if additions.ca_files.is_empty() {
                draft
                    .needs
                    .push("the authority of the login server: import with --ca-file, or set auth.tls.ca_files".into());
            }
        }
        ("2", _) => reader.idle(node, "belongs to a login with a password"),
        _ => reader.unsupported(node, "is not understood; expected 1 (MSCHAPv2) or 2 (TTLS)"),
    }
}

fn user<'d>(reader: &mut Reader<'d>, draft: &mut Draft, settings: Node<'d, 'd>) {
    let by_password = draft.tunnel.auth.kind == AuthenticationKind::Eap;
    if let Some((node, text)) = reader.text(settings, "xauth/username") {
        if is_obfuscated(&text) {
            reader.secret(node, "can be read by FortiClient only; the name is asked for");
        } else if by_password {
            reader.used(node, "auth.user");
            draft.tunnel.auth.user = Some(text);
        } else {
            reader.idle(node, "no user logs in with a password");
        }
    }
    secret(reader, draft, settings, "xauth/password", SecretKind::Password, by_password);
}

fn pre_shared_key<'d>(reader: &mut Reader<'d>, draft: &mut Draft, settings: Node<'d, 'd>) {
    let needed = draft.tunnel.uses_pre_shared_key();
    secret(reader, draft, settings, "auth_data/preshared_key", SecretKind::PreSharedKey, needed);
    if needed && !draft.secrets.iter().any(|secret| secret.kind == SecretKind::PreSharedKey) {
        let path = xml::path(settings) + "/auth_data/preshared_key";
        draft.secrets.push(SecretFound { kind: SecretKind::PreSharedKey, path, value: None });
    }
    if let Some((node, _)) = reader.text(settings, "auth_key") {
        reader.secret(node, "is not used: its meaning is not published");
    }
}

fn secret<'d>(
    reader: &mut Reader<'d>,
    draft: &mut Draft,
    settings: Node<'d, 'd>,
    path: &str,
    kind: SecretKind,
    needed: bool,
) {
    let Some((node, text)) = reader.text(settings, path) else { return };
    let text = Zeroizing::new(text);
    if !needed {
        reader.idle(node, "this tunnel uses no such secret");
        return;
    }
    let obfuscated = is_obfuscated(&text);
    reader.secret(
        node,
        if obfuscated { "can be read by FortiClient only; it is asked for" } else { "is kept by the service" },
    );
    draft.secrets.push(SecretFound { kind, path: xml::path(node), value: (!obfuscated).then_some(text) });
}

fn certificate<'d>(reader: &mut Reader<'d>, draft: &mut Draft, settings: Node<'d, 'd>, additions: &Additions) {
    let needed = draft.tunnel.auth.kind == AuthenticationKind::Certificate;
    if needed {
        let auth = &mut draft.tunnel.auth;
        auth.certificate_file.clone_from(&additions.certificate_file);
        auth.key_file.clone_from(&additions.key_file);
        // A PKCS#12 file holds both; whether this is one is the tunnel's own rule.
        if auth.key_file.is_none() {
            let next = "import again with --certificate-file FILE and --key-file FILE, or --key-file FILE.p12";
            draft.leave_out("it needs a certificate, which no export holds", next);
        }
    }
    let subjects = additions.certificate_file.as_deref().filter(|_| needed).map(common_names);
    for (which, path) in [(0, "common_name"), (1, "issuer")] {
        let Some(rule) = reader.at(settings, &format!("auth_data/certificate/{path}")) else { continue };
        let Some((node, text)) = reader.text(rule, "pattern") else { continue };
        let kind = reader.text(rule, "match_type");
        let outcome = match (&subjects, pattern(kind.as_ref().map(|(_, kind)| kind.as_str()), &text)) {
            (_, Err(problem)) => Err(problem),
            (None, Ok(_)) => Ok("would choose among several certificates; there is none to choose"),
            (Some(Err(problem)), Ok(_)) => Err(problem.clone()),
            (Some(Ok(names)), Ok(pattern)) => {
                let name = if which == 0 { &names.0 } else { &names.1 };
                if pattern.fits(name) {
                    Ok("fits the certificate given")
                } else {
                    Err("does not fit the certificate given".into())
                }
            }
        };
        for node in kind.map(|(node, _)| node).into_iter().chain([node]) {
            match &outcome {
                Ok(told) if subjects.is_some() => reader.used(node, *told),
                Ok(told) => reader.idle(node, *told),
                Err(problem) => reader.unsupported(node, problem.as_str()),
            }
        }
        if let (Err(problem), true) = (&outcome, needed && subjects.is_some()) {
            let reason = format!("the certificate's {} {problem}", path.replace('_', " "));
            draft.leave_out(&reason, "give the certificate that the export asks for");
        }
    }
}

fn pattern(kind: Option<&str>, text: &str) -> Result<Pattern, String> {
    let kind = match kind.map(str::to_ascii_lowercase).as_deref() {
        None | Some("simple") => PatternKind::Simple,
        Some("wildcard") => PatternKind::Wildcard,
        Some("regex") => PatternKind::Regex,
        Some(_) => return Err("is no match type known here".into()),
    };
    let text = Text::try_from(text.to_owned()).map_err(|error| error.to_string())?;
    Pattern::new(kind, text).map_err(|error| error.to_string())
}

/// Reads the common names of a certificate's subject and issuer: of the first in the file, which is this
/// end's own.
fn common_names(file: &Path) -> Result<(String, String), String> {
    const END: &str = "-----END CERTIFICATE-----";
    let cannot = |problem: String| format!("cannot be checked: {}: {problem}", file.display());
    let octets = read_regular(file, 1 << 20).map_err(|error| cannot(error.to_string()))?;
    let text = String::from_utf8_lossy(&octets);
    let first = text.split_inclusive(END).next().unwrap_or_default();
    let found = posture::collect::certificates(first.as_bytes(), "file").pop();
    found.map(|found| (found.subject, found.issuer)).ok_or_else(|| cannot("holds no certificate in PEM".into()))
}

fn gateways<'d>(reader: &mut Reader<'d>, draft: &mut Draft, settings: Node<'d, 'd>) {
    let Some(node) = reader.at(settings, "server") else {
        return draft.leave_out("it names no gateway", "postern tunnel add makes a tunnel by hand");
    };
    let text = own_text(node);
    let named = text.split([';', ',']).map(str::trim).filter(|gateway| !gateway.is_empty());
    let parts: Vec<(String, Option<u16>)> = named.map(host_and_port).collect();
    let most = if draft.tunnel.auth.kind == AuthenticationKind::Saml { 1 } else { MOST_GATEWAYS };
    let hosts: Vec<String> = parts.iter().take(most).map(|(host, _)| host.clone()).collect();
    let gateway = match hosts.as_slice() {
        [] => return draft.leave_out("it names no gateway", "postern tunnel add makes a tunnel by hand"),
        [one] => Gateways::One(one.clone()),
        several => Gateways::Several(several.to_vec()),
    };
    if !gateway.is_usable() {
        reader.unsupported(node, "is no host name or address");
        return draft.leave_out("its gateway is no host name or address", "postern tunnel add makes a tunnel by hand");
    }
    let mut ports: Vec<u16> = parts.iter().filter_map(|(_, port)| *port).collect();
    ports.dedup();
    let mut became = "gateway".to_owned();
    if parts.len() > most {
        became += &format!(" ({} of {}: no more are tried)", most, parts.len());
    }
    match ports.as_slice() {
        [] => {}
        [port] => {
            became += ", carrier.port and carrier.nat_port";
            (draft.tunnel.carrier.port, draft.tunnel.carrier.nat_port) = (*port, *port);
        }
        _ => became += " (gateways with different ports: the usual ones are used)",
    }
    reader.used(node, became);
    draft.tunnel.gateway = gateway;
}

/// Splits `host:port`; a colon within an IPv6 address splits nothing.
fn host_and_port(text: &str) -> (String, Option<u16>) {
    match text.rsplit_once(':') {
        Some((host, port))
            if host.starts_with('[') == host.ends_with(']') && (!host.contains(':') || host.ends_with(']')) =>
        {
            match port.parse() {
                Ok(port) if port != 0 => (host.to_owned(), Some(port)),
                _ => (text.to_owned(), None),
            }
        }
        _ => (text.to_owned(), None),
    }
}

/// The carrier stands in `<ike_settings>` or beside it; the former counts.
fn carrier<'d>(reader: &mut Reader<'d>, draft: &mut Draft, settings: Node<'d, 'd>) {
    let outside = settings.parent_element();
    let places: Vec<Node<'d, 'd>> = std::iter::once(settings).chain(outside).collect();
    let mut first: Option<String> = None;
    for place in &places {
        let Some((node, text)) = reader.text(*place, "transport_mode") else { continue };
        let kind = match text.as_str() {
            "0" => CarrierKind::Udp,
            "1" => CarrierKind::Tcp,
            "2" => CarrierKind::Auto,
            _ => {
                reader.unsupported(node, "is not understood; expected 0 (UDP), 1 (TCP) or 2 (both)");
                continue;
            }
        };
        match &first {
            None => {
                let shown = ["udp", "tcp", "auto"].get(text.parse::<usize>().unwrap_or_default()).copied();
                reader.used(node, format!("carrier.kind = \"{}\"", shown.unwrap_or_default()));
                draft.tunnel.carrier.kind = kind;
                first = Some(text);
            }
            Some(taken) if *taken == text => reader.idle(node, "says the same as the one in ike_settings"),
            Some(taken) => {
                let why = format!("says otherwise than the one in ike_settings ({taken}), which counts");
                reader.unsupported(node, why);
            }
        }
    }
    if first.is_none() {
        // FortiClient's own default.
        draft.tunnel.carrier.kind = CarrierKind::Udp;
    }
    port(reader, &places, "udp_port", |port| {
        if port != 500 && port != 4500 {
            (draft.tunnel.carrier.port, draft.tunnel.carrier.nat_port) = (port, port);
            return "carrier.port and carrier.nat_port";
        }
        draft.tunnel.carrier.start_on_nat_port |= port == 4500;
        if port == 500 { "carrier.port, as by default" } else { "carrier.start_on_nat_port" }
    });
    port(reader, &places, "tcp_port", |port| {
        draft.tunnel.carrier.tcp_port = port;
        "carrier.tcp_port"
    });
}

fn port<'d>(reader: &mut Reader<'d>, places: &[Node<'d, 'd>], path: &str, mut apply: impl FnMut(u16) -> &'static str) {
    let mut taken = None;
    for place in places {
        let Some((node, port)) = reader.number::<u16>(*place, path) else { continue };
        match taken {
            _ if port == 0 => reader.unsupported(node, "is no port"),
            None => {
                reader.used(node, apply(port));
                taken = Some(port);
            }
            Some(other) if other == port => reader.idle(node, "says the same as the one in ike_settings"),
            Some(_) => reader.unsupported(node, "says otherwise than the one in ike_settings, which counts"),
        }
    }
}
