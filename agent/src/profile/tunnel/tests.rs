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
fn the_local_policy_that_the_readme_shows_is_a_tunnel() {
    let readme = include_str!("../../../../README.md");
    let section = readme.split("### Without an EMS").nth(1).unwrap();
    let text = section.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let tunnel = read(text).unwrap();
    assert_eq!((tunnel.tags.rules.len(), tunnel.tags.prohibited.len(), tunnel.tags.allowed.len()), (2, 1, 1));
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
    assert!(error.starts_with("t.toml:4: proposals.ike") || error.starts_with("t.toml:3: proposals.ike"), "{error}");
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

#[test]
fn a_wireguard_tunnel_has_what_it_needs_and_nothing_of_ike() {
    let text = "type = \"wireguard\"\ngateway = \"g\"\n[wireguard]\n\
                public_key = \"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\"\n\
                addresses = [\"10.97.0.2/32\"]\nallowed_ips = [\"0.0.0.0/0\", \"::/0\"]\nkeepalive = \"25s\"\n";
    let tunnel = read(text).unwrap();
    let wireguard = tunnel.wireguard.clone().unwrap();
    assert_eq!((tunnel.kind, wireguard.port, wireguard.uses_pre_shared_key()), (TunnelKind::WireGuard, 51_820, false));
    assert_eq!(wireguard.keepalive, Some(Duration::from_secs(25)));
    assert_eq!(read(&tunnel.to_toml().unwrap()).unwrap(), tunnel);
    for (from, to, expected) in [
        ("type = \"wireguard\"\n", "", "wireguard: is for a WireGuard tunnel"),
        ("[wireguard]", "[auth]\nuser = \"alice\"\n[wireguard]", "auth: is for an IKE tunnel"),
        ("[wireguard]", "gateway_sha1 = false\n[wireguard]", "gateway_sha1: is for an IKE tunnel"),
        ("gateway = \"g\"", "gateway = [\"g\", \"h\"]", "gateway: has several names"),
        ("[\"10.97.0.2/32\"]", "[]", "wireguard.addresses: is empty"),
        ("8Dg=", "8Dg", "is not Base64"),
        ("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", "AAAA", "does not have 32 octets"),
        ("25s", "0s", "wireguard.keepalive: is out of range"),
    ] {
        let error = read(&text.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(expected), "{to}: {error}");
    }
    assert!(read("type = \"wireguard\"\ngateway = \"g\"\n").unwrap_err().contains("wireguard: is missing"));
}
