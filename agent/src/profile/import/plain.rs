//! The elements that Postern has no use for: which values ask for nothing, and why others are not
//! supported.

use super::account::Finding;
use super::reader::{Reader, own_text};
use roxmltree::Node;

/// An element without a place in a tunnel.
struct Plain {
    /// Its path below the connection.
    path: &'static str,
    /// Values that ask for nothing, or for what is done anyway; `*` is any.
    idle: &'static [&'static str],
    /// Why, for those; then why another value is not supported.
    why: (&'static str, &'static str),
    /// The switch without which it means nothing.
    under: Option<&'static str>,
}

const OFF: &str = "is off";
const AS_DONE: &str = "is done anyway";

const fn plain(path: &'static str, idle: &'static [&'static str], done: &'static str, not: &'static str) -> Plain {
    Plain { path, idle, why: (done, not), under: None }
}

const fn under(switch: &'static str, path: &'static str, not: &'static str) -> Plain {
    Plain { path, idle: &[], why: (OFF, not), under: Some(switch) }
}

const CONNECTION: &[Plain] = &[
    plain("type", &["manual"], AS_DONE, "a tunnel of this type is not made by itself"),
    plain("single_user_mode", &["0"], OFF, "every member of the service's group may use the tunnel"),
    plain("disclaimer_msg", &[], OFF, "no text is shown before connecting"),
    plain(
        "redundant_sort_method",
        &["0"],
        "gateways are tried as listed",
        "gateways are tried as listed, not as measured",
    ),
    plain("failover_sslvpn_connection", &[], OFF, "SSL-VPN is not supported, so there is nothing to fall back to"),
    plain("machine", &["0"], OFF, "no tunnel is made before a user asks for it"),
    plain("keep_fqdn_resolution_consistency", &["0"], OFF, "the gateway's name is looked up for each connection"),
    plain("android_cert_path", &[], OFF, "is for Android"),
    plain("traffic_keep_strategy", &["0"], OFF, "traffic is not held while reconnecting"),
    plain("traffic_keep_timer", &["*"], "belongs to traffic_keep_strategy", ""),
    plain("dns_priority", &["0", "1"], AS_DONE, "the tunnel's resolvers come first, for its domains"),
    plain("pinned", &["0"], OFF, "there is no window to pin it in"),
    plain("ui/show_passcode", &["0"], OFF, "is a switch of FortiClient's window"),
    plain("ui/show_remember_password", &["0"], OFF, "is a switch of FortiClient's window"),
    plain("ui/show_alwaysup", &["0"], OFF, "is a switch of FortiClient's window"),
    plain("ui/show_autoconnect", &["0"], OFF, "is a switch of FortiClient's window"),
    plain("ui/save_username", &["0"], OFF, "a user name is kept where auth.user says it, else asked for"),
    plain("ui/save_password", &["0"], OFF, "a password is kept where it was given once, else asked for"),
    plain("traffic_control/enabled", &["0"], OFF, "traffic is not chosen by program or by name"),
    under("traffic_control/enabled", "traffic_control/mode", "belongs to traffic_control/enabled"),
    plain("ike_settings/failover_sslvpn_connection", &[], OFF, "SSL-VPN is not supported"),
    plain("ike_settings/prompt_certificate", &["0"], OFF, "the certificate is the one in auth.certificate_file"),
    plain("ike_settings/implied_SPDO", &["0"], OFF, "what else may leave while connecting is not restricted"),
    under("ike_settings/implied_SPDO", "ike_settings/implied_SPDO_timeout", "belongs to implied_SPDO"),
    plain("ike_settings/cert_subjectcheck", &["*"], "the gateway's name is checked always", ""),
    plain("ike_settings/mode", &["*"], "belongs to IKEv1", ""),
    plain("ike_settings/networkid", &["0"], OFF, "a gateway that chooses its tunnel by network-id cannot be told"),
    plain("ike_settings/use_external_browser", &["*"], "postern connect --browser opens one", ""),
    plain("ike_settings/azure_auto_login/enabled", &["0"], OFF, "signing on without a question is not done"),
    under(
        "ike_settings/azure_auto_login/enabled",
        "ike_settings/azure_auto_login/azure_app/tenant_name",
        "as azure_auto_login",
    ),
    under(
        "ike_settings/azure_auto_login/enabled",
        "ike_settings/azure_auto_login/azure_app/client_id",
        "as azure_auto_login",
    ),
    plain("ike_settings/sase_mode", &["0"], OFF, "FortiSASE has a protocol of its own"),
    plain("ike_settings/nat_traversal", &["1"], AS_DONE, "packets go in UDP or TCP always"),
    plain("ike_settings/mode_config", &["1"], AS_DONE, "an address is asked for always"),
    plain("ike_settings/modeconfig_type", &["0"], AS_DONE, "addresses come by the configuration payload alone"),
    plain("ike_settings/session_resume", &["1"], AS_DONE, "is done wherever the gateway offers it"),
    plain("ike_settings/enable_ike_fragmentation", &["1"], AS_DONE, "is done wherever the gateway offers it"),
    plain("ike_settings/dpd", &["1"], AS_DONE, "a silent gateway is noticed always"),
    plain(
        "ike_settings/dpd_retry_count",
        &["3"],
        AS_DONE,
        "how often a request is sent again is fixed; see carrier.liveness",
    ),
    plain(
        "ike_settings/dpd_retry_interval",
        &["5"],
        AS_DONE,
        "how soon a request is sent again is fixed; see carrier.liveness",
    ),
    plain("ike_settings/run_fcauth_system", &["0"], OFF, "the login runs in the service"),
    plain("ike_settings/xauth/prompt_username", &["*"], "a name that is not given is asked for", ""),
    plain("ike_settings/xauth/use_otp", &["*"], "a code is asked for when the gateway asks for one", ""),
    plain("ipsec_settings/replay_detection", &["1"], AS_DONE, "is never switched off"),
    plain("ipsec_settings/use_vip", &["1"], AS_DONE, "an address is asked for always"),
    plain(
        "ipsec_settings/virtualip/type",
        &["modeconfig"],
        AS_DONE,
        "addresses come by the configuration payload alone",
    ),
    plain("ipsec_settings/virtualip/ip", &["0.0.0.0", "::"], OFF, "the gateway gives the address"),
    plain("ipsec_settings/virtualip/mask", &["0.0.0.0", "::"], OFF, "the gateway gives the address"),
    plain("ipsec_settings/virtualip/winserver", &["0.0.0.0", "::"], OFF, "WINS is not supported"),
];

/// Books the elements of a connection that have no place in a tunnel.
pub(super) fn connection<'d>(reader: &mut Reader<'d>, node: Node<'d, 'd>) {
    for row in CONNECTION {
        for element in reader.all(node, row.path) {
            let value = own_text(element);
            let off = |switch: &str| reader.text(node, switch).is_none_or(|(_, value)| value == "0");
            let (done, not) = row.why;
            if value.is_empty() || element.children().any(|child| child.is_element()) {
                continue;
            }
            if row.under.is_some_and(off) || row.idle.iter().any(|idle| *idle == "*" || *idle == value) {
                reader.idle(element, done);
            } else {
                reader.unsupported(element, not);
            }
        }
    }
    for lists in ["apps", "fqdns", "isdb_objects", "vsdb_objects"] {
        for list in reader.all(node, &format!("traffic_control/{lists}")) {
            let off = reader.text(node, "traffic_control/enabled").is_none_or(|(_, value)| value == "0");
            every_leaf(reader, list, off, "traffic is not chosen by program or by name");
        }
    }
    for event in ["on_connect", "on_disconnect"] {
        for script in reader.all(node, event) {
            every_leaf(reader, script, false, "no script is run: it would have the rights of the service");
        }
    }
    for excluded in reader.all(node, "ipsec_settings/ipv4_split_exclude_networks") {
        every_leaf(
            reader,
            excluded,
            false,
            "no network is left out of the tunnel; name those inside in network.routes",
        );
    }
}

/// Books all leaves below an element in one way; empty ones are found at the end.
fn every_leaf<'d>(reader: &mut Reader<'d>, node: Node<'d, 'd>, off: bool, not: &str) {
    for leaf in node.descendants().filter(|node| node.is_element() && !own_text(*node).is_empty()) {
        if off { reader.idle(leaf, OFF) } else { reader.unsupported(leaf, not) }
    }
}

/// Global options: the values that ask for nothing, and why others are not supported.
const OPTIONS: &[Plain] = &[
    plain("vpn/options/current_connection_name", &["*"], "is FortiClient's memory", ""),
    plain("vpn/options/current_connection_type", &["*"], "is FortiClient's memory", ""),
    plain("vpn/options/minimize_window_on_connect", &["*"], "is a switch of FortiClient's window", ""),
    plain("vpn/options/show_negotiation_wnd", &["*"], "is a switch of FortiClient's window", ""),
    plain("vpn/options/suppress_vpn_notification", &["0"], OFF, "notices are shown always"),
    plain("vpn/options/autoconnect_tunnel", &[], OFF, "tunnels are connected when asked for; see keep_running"),
    plain("vpn/options/on_os_start_connect", &[], OFF, "no tunnel is made before a user asks for it"),
    plain(
        "vpn/options/allow_personal_vpns",
        &["0", "1"],
        "is the administrator's to say here: [users] in postern.toml",
        "",
    ),
    plain(
        "vpn/options/lockdown/enabled",
        &["0"],
        OFF,
        "the network is not closed before a tunnel is up; see after_loss",
    ),
    plain("vpn/ipsecvpn/options/enabled", &["1"], AS_DONE, "is not a switch here"),
    plain(
        "vpn/ipsecvpn/options/disallow_invalid_server_certificate",
        &["*"],
        "an invalid certificate is refused always",
        "",
    ),
    plain("vpn/ipsecvpn/options/prefer_ipsecvpn_dns", &["1"], AS_DONE, "the tunnel's resolvers come first"),
    plain(
        "vpn/ipsecvpn/options/enhanced_key_usage_mandatory",
        &["0"],
        OFF,
        "the usage of an own certificate is not checked here",
    ),
    plain("vpn/ipsecvpn/options/disable_default_route", &["0"], OFF, "name the networks inside in network.routes"),
    plain("vpn/ipsecvpn/options/block_ipv6", &["0"], OFF, "set network.ipv6 where the gateway gives an IPv6 address"),
];

/// Books what stands outside the connections.
pub(super) fn elsewhere<'d>(reader: &mut Reader<'d>, root: Node<'d, 'd>) -> Vec<Finding> {
    for row in OPTIONS {
        for element in reader.all(root, row.path) {
            let value = own_text(element);
            if value.is_empty() {
                continue;
            }
            if row.idle.iter().any(|idle| *idle == "*" || *idle == value) {
                reader.idle(element, row.why.0);
            } else {
                reader.unsupported(element, row.why.1);
            }
        }
    }
    // What is off asks for nothing; what is on and has no row above is named.
    for options in ["vpn/options", "vpn/ipsecvpn/options"] {
        for option in reader.all(root, options).into_iter().flat_map(|node| node.descendants()) {
            let value = if option.is_element() { own_text(option) } else { continue };
            if reader.is_settled(option) || value.is_empty() {
                continue;
            }
            let closed = |node: &Node<'_, '_>| node.has_tag_name("lockdown");
            let switch = option.ancestors().find(closed).and_then(|lockdown| reader.text(lockdown, "enabled"));
            match value.as_str() {
                _ if switch.is_some_and(|(_, on)| on == "0") => reader.idle(option, OFF),
                "0" => reader.idle(option, OFF),
                _ => reader.unsupported(option, "is an option of FortiClient's that has no counterpart"),
            }
        }
    }
    for node in reader.all(root, "vpn/sslvpn/options") {
        reader.unsupported(node, "SSL-VPN is not supported");
        reader.settle_below(node);
    }
    for section in root.children().filter(|node| node.is_element() && node.tag_name().name() != "vpn") {
        let (idle, why) = section_reason(section.tag_name().name());
        if idle {
            reader.idle(section, why)
        } else {
            reader.unsupported(section, why)
        }
        reader.settle_below(section);
    }
    reader.close(root)
}

fn section_reason(name: &str) -> (bool, &'static str) {
    match name {
        "forticlient_version" | "version" | "exported_by_version" | "os_version" | "os_architecture" => {
            (true, "says who wrote the export")
        }
        "partial_configuration" => (true, "an import never takes anything away"),
        "endpoint_control" => (false, "Postern enrols with an EMS of its own protocol: postern enroll"),
        "system" => (false, "Postern's own settings are in postern.toml"),
        "vulnerability_scan" => (false, "scans are set in [posture] of postern.toml, or by EMS"),
        _ => (false, "Postern is a VPN client: it has no such part"),
    }
}
