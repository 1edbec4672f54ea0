//! The gateways' configurations, in swanctl.conf's language, and the tunnels that fit them.

use lab::pki::{Credential, Pki};
use lab::roadwarrior::{ESP_PROPOSALS, IKE_PROPOSALS, POOLS};
use lab::strongswan::Settings;

pub const PSK: &str = "correct horse battery staple";

/// A connection of the gateway; `rest` holds its `local` and `remote` sections.
pub fn connection(name: &str, pools: &str, rest: &str) -> String {
    format!(
        "{name} {{\n version = 2\n pools = {pools}\n proposals = {IKE_PROPOSALS}\n dpd_delay = 30s\n unique = never\n \
         encap = yes\n rekey_time = 4h\n children {{ net {{\n local_ts = 10.98.0.0/24, fd98::/64\n \
         esp_proposals = {ESP_PROPOSALS}\n mode = tunnel\n rekey_time = 1h\n }} }}\n{rest}\n}}\n"
    )
}

pub fn psk_gateway() -> Settings {
    let sides = "local { auth = psk\n id = vpn.example.test }\nremote { auth = psk\n id = psk@example.test }";
    Settings {
        connections: connection("psk", "p4, p6", sides),
        pools: POOLS.into(),
        secrets: format!("ike-psk {{ id-1 = psk@example.test\n id-2 = vpn.example.test\n secret = \"{PSK}\" }}"),
        ..Settings::default()
    }
}

pub const PSK_TUNNEL: &str = r#"
gateway = "vpn.example.test"
[auth]
kind = "psk"
identity = "psk@example.test"
psk_file = "@/psk"
"#;

pub fn habit_gateway() -> Settings {
    let sides = "local { auth = psk\n id = vpn.example.test }\nremote { auth = eap-mschapv2\n id = forti@example.test\n eap_id = %any }";
    let mut settings = psk_gateway();
    settings.connections = connection("habit", "p4", sides);
    settings.secrets = format!(
        "ike-psk {{ id-1 = forti@example.test\n id-2 = vpn.example.test\n secret = \"{PSK}\" }}\neap-alice {{ id = alice\n secret = \"Passw0rd\" }}"
    );
    settings
}

pub const HABIT_TUNNEL: &str = r#"
gateway = "vpn.example.test"
gateway_auth = "psk"
[auth]
kind = "eap"
identity = "forti@example.test"
user = "alice"
password_file = "@/password"
psk_file = "@/psk"
"#;

pub fn certificate_gateway(pki: &Pki, gateway: &Credential, sides: &str, classic: bool) -> Settings {
    let mut files = vec![pki.authority.strongswan_file("authority")];
    files.extend(gateway.strongswan_files("gateway"));
    Settings {
        connections: connection("certificate", "p4", sides),
        pools: POOLS.into(),
        secrets: "eap-alice { id = alice\n secret = \"Passw0rd\" }".into(),
        files,
        classic_signatures: classic,
        ..Settings::default()
    }
}

pub const EAP_SIDES: &str = "send_cert = always\nlocal { auth = pubkey\n certs = gateway.crt\n id = vpn.example.test }\n\
     remote { auth = eap-mschapv2\n id = alice@example.test\n eap_id = %any }";

pub const EAP_TUNNEL: &str = r#"
gateway = "vpn.example.test"
gateway_ca_files = ["@/ca.pem"]
[auth]
kind = "eap"
identity = "alice@example.test"
user = "alice"
password_file = "@/password"
"#;
