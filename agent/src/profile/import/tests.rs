use super::*;
use crate::profile::document;
use crate::profile::tunnel::{AuthenticationKind, CarrierKind, GatewayAuthentication};

const MANAGED: &[u8] = include_bytes!("samples/managed.xml");
const PLAIN: &[u8] = include_bytes!("samples/plain.xml");
const CERTIFICATE: &[u8] = include_bytes!("samples/certificate.xml");

fn import(octets: &[u8]) -> Import {
    read(Path::new("export.xml"), octets, &Additions::default()).unwrap()
}

fn tunnel_of(connection: &Connection) -> Tunnel {
    match &connection.outcome {
        Outcome::Tunnel { toml, .. } => document::parse(Path::new("t.toml"), toml).unwrap(),
        Outcome::LeftOut { reason, .. } => panic!("{} is left out: {reason}", connection.name),
    }
}

fn reason_of(connection: &Connection) -> &str {
    match &connection.outcome {
        Outcome::LeftOut { reason, .. } => reason,
        Outcome::Tunnel { toml, .. } => panic!("{} is a tunnel: {toml}", connection.name),
    }
}

fn refusal(text: &str) -> ProfileError {
    read(Path::new("export.xml"), text.as_bytes(), &Additions::default()).unwrap_err()
}

/// Puts text into an export with one connection.
fn around(inner: &str) -> String {
    format!(
        "<forticlient_configuration><vpn><ipsecvpn><connections><connection><name>x</name>{inner}</connection>\
         </connections></ipsecvpn></vpn></forticlient_configuration>"
    )
}

fn with_ike(inner: &str) -> String {
    around(&format!(
        "<ike_settings><version>2</version><server>g</server>\
         <authentication_method>Preshared Key</authentication_method>{inner}</ike_settings>"
    ))
}

#[test]
fn every_element_of_a_managed_profile_is_told() {
    insta::assert_json_snapshot!(import(MANAGED));
}

#[test]
fn plain_profiles_are_told_without_their_secrets() {
    let import = import(PLAIN);
    let told = serde_json::to_string(&import).unwrap() + &format!("{import:?}");
    for secret in ["hunter2", "a long"] {
        assert!(!told.contains(secret), "{told}");
    }
    insta::assert_json_snapshot!(import);
}

#[test]
fn certificates_old_versions_and_odd_tags_are_told() {
    insta::assert_json_snapshot!(import(CERTIFICATE));
}

#[test]
fn only_what_is_really_unknown_is_called_so() {
    let import = import(MANAGED);
    let findings = import.connections.iter().flat_map(|connection| &connection.findings).chain(&import.elsewhere);
    let unknown: Vec<&str> = findings
        .filter(|finding| finding.detail.contains("not known here"))
        .map(|finding| finding.path.as_str())
        .collect();
    assert_eq!(unknown.len(), 1, "{unknown:?}");
    assert!(unknown.iter().all(|path| path.ends_with("/connection/shiny_new_option")), "{unknown:?}");
}

#[test]
fn a_managed_profile_becomes_the_tunnel_that_it_describes() {
    let import = import(MANAGED);
    let tunnel = tunnel_of(&import.connections[0]);
    assert_eq!(tunnel.gateway.all(), ["vpn.example.com", "vpn2.example.com"]);
    assert_eq!(tunnel.auth.kind, AuthenticationKind::Eap);
    assert_eq!(tunnel.gateway_authentication(), GatewayAuthentication::Psk);
    assert_eq!(tunnel.tags.prohibited, ["Critical Vulnerability"]);
    assert!(tunnel.tags.warning.unwrap().ends_with("\nCall IT: 4711."));
    assert_eq!((tunnel.carrier.kind, tunnel.carrier.tcp_port, tunnel.carrier.port), (CarrierKind::Auto, 4443, 500));
    let suites: Vec<String> = tunnel.proposals.ike.iter().map(ToString::to_string).collect();
    assert_eq!(suites[0], "aes256gcm16-prfsha384-modp2048");
    assert_eq!(suites.len(), 6, "3DES and group 5 are gone: {suites:?}");
    assert!(import.connections[0].secrets.iter().all(|secret| secret.value.is_none()));
    assert!(reason_of(&import.connections[1]).contains("SSL-VPN"));
}

#[test]
fn plain_secrets_are_handed_over_beside_the_tunnel() {
    let import = import(PLAIN);
    let secrets = &import.connections[0].secrets;
    let values: Vec<_> = secrets.iter().map(|secret| secret.value.as_deref().map(String::as_str)).collect();
    assert_eq!(values, [Some("hunter2"), Some("a long & plain key")]);
    let Outcome::Tunnel { tunnel, .. } = &import.connections[0].outcome else { panic!("no tunnel") };
    assert_eq!(tunnel, "B-ro -Z-rich-");
}

#[test]
fn the_carrier_is_found_in_both_places_and_the_inner_one_counts() {
    for (outer, inner, kind) in
        [("2", "", CarrierKind::Auto), ("", "1", CarrierKind::Tcp), ("0", "1", CarrierKind::Tcp)]
    {
        let settings = with_ike(&format!("<transport_mode>{inner}</transport_mode>"));
        let text =
            settings.replace("<ike_settings>", &format!("<transport_mode>{outer}</transport_mode><ike_settings>"));
        assert_eq!(tunnel_of(&import(text.as_bytes()).connections[0]).carrier.kind, kind, "{outer} {inner}");
    }
}

#[test]
fn a_certificate_is_held_against_the_patterns() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("own.pem");
    let made = |name: &str| {
        let script = format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN={name}' -keyout /dev/null -out {}",
            file.display()
        );
        let made = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let additions =
        Additions { certificate_file: Some(file.clone()), key_file: Some("/k".into()), ..Additions::default() };
    let text = String::from_utf8_lossy(CERTIFICATE).replace("Example CA", "pc7.staff.example.com");
    made("pc7.staff.example.com");
    let import = read(Path::new("e"), text.as_bytes(), &additions).unwrap();
    assert_eq!(tunnel_of(&import.connections[0]).auth.certificate_file.as_deref(), Some(file.as_path()));
    made("pc7.guests.example.com");
    let import = read(Path::new("e"), text.as_bytes(), &additions).unwrap();
    assert!(reason_of(&import.connections[0]).contains("does not fit"), "{:?}", import.connections[0].outcome);
}

#[test]
fn what_only_an_attacker_writes_is_refused_with_line_and_element() {
    let doctype = "<?xml version=\"1.0\"?>\n<!DOCTYPE a [<!ENTITY b \"c\">]>\n<forticlient_configuration/>";
    let entity = around("\n<ike_settings>&secret;</ike_settings>");
    let included = around("\n<x:include xmlns:x=\"http://www.w3.org/2001/XInclude\" href=\"/etc/passwd\"/>");
    let deep = around(&("\n".to_owned() + &"<a>".repeat(30) + &"</a>".repeat(30)));
    let instruction = around("\n<?php evil ?>");
    for (text, line, element, problem) in [
        (doctype.to_owned(), 2, "", "has a DOCTYPE"),
        (entity, 2, "connection/ike_settings", "has the entity `&secret;`"),
        (included, 2, "connection/include", "is an XInclude"),
        (deep, 2, "connection/a/a/a", "is deeper than 24 levels"),
        (instruction, 2, "connection", "is a processing instruction"),
        (around("\n<a></b>"), 2, "connection/a", "expected 'a' tag, not 'b'"),
    ] {
        let error = refusal(&text);
        assert!(error.element.contains(element) && error.problem.contains(problem), "{error:?}");
        assert_eq!(error.line, line, "{error:?}");
        assert!(error.column > 0, "{error:?}");
    }
    assert!(refusal("<other/>").to_string().contains("is <other>"));
}

#[test]
fn an_ampersand_in_a_plain_key_is_pointed_at_without_the_key() {
    let error = refusal(&with_ike("<auth_data>\n<preshared_key>hunter2&rest;</preshared_key></auth_data>"));
    let told = format!("{error} {} {error:?}", error.pointed());
    assert!(error.element.ends_with("preshared_key") && !told.contains("hunter2") && !told.contains("rest"), "{told}");
}

#[test]
fn the_bounds_are_held() {
    let long = around(&"<!-- -->".repeat(200_000));
    assert!(refusal(&long).problem.contains("longer than"));
    let many = around(&"<a/>".repeat(20_001));
    assert!(refusal(&many).problem.contains("more than 20000 elements"));
    let connections = with_ike("")
        .replace("<connection>", &"<connection></connection>".repeat(64))
        .replace("<name>x", "<connection><name>x");
    assert!(refusal(&connections).problem.contains("one connection too many"));
    let error = read(Path::new("e"), b"<a>\n\xff</a>", &Additions::default()).unwrap_err();
    assert_eq!((error.line, error.column, error.problem.as_str()), (2, 1, "is not UTF-8"));
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    let text = format!("\u{feff}{}", with_ike(""));
    assert!(is_xml(text.as_bytes()) && !is_xml(b"# <a>\n"));
    assert_eq!(import(text.as_bytes()).connections.len(), 1);
}

#[test]
fn tunnels_that_would_lie_in_one_file_are_told_apart() {
    let one = with_ike("");
    let (head, rest) = one.split_once("<connection>").unwrap();
    let (body, tail) = rest.split_once("</connection>").unwrap();
    let text = ["x", "X", "x!"]
        .map(|name| format!("<connection>{}</connection>", body.replace("<name>x", &format!("<name>{name}"))));
    let import = import(format!("{head}{}{tail}", text.concat()).as_bytes());
    let names: Vec<&str> = import
        .connections
        .iter()
        .map(|connection| match &connection.outcome {
            Outcome::Tunnel { tunnel, .. } => tunnel.as_str(),
            Outcome::LeftOut { reason, .. } => reason,
        })
        .collect();
    assert_eq!(names, ["x", "X 2", "x-"]);
}

#[test]
fn a_second_element_of_one_name_does_not_count_and_is_told() {
    let import = import(with_ike("<tcp_port>1</tcp_port><tcp_port>2</tcp_port>").as_bytes());
    assert_eq!(tunnel_of(&import.connections[0]).carrier.tcp_port, 1);
    let told = import.connections[0].findings.iter().find(|finding| finding.path.ends_with("tcp_port[2]")).unwrap();
    assert!(told.detail.contains("second time"), "{told:?}");
}

#[test]
fn weak_algorithms_are_never_taken_over() {
    let text = with_ike(
        "<dhgroup>2;5</dhgroup><proposals><proposal>DES|MD5</proposal><proposal>AES128|SHA1</proposal></proposals>",
    );
    let tunnel = tunnel_of(&import(text.as_bytes()).connections[0]);
    assert_eq!(tunnel.proposals, crate::profile::tunnel::Proposals::default());
}
