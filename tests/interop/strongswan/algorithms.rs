//! Every algorithm that strongSwan with ESP in userspace has beside the usual ones: packets pass, and
//! both SAs are renewed by both sides without one being lost.

use crate::carries::no_ping_lost;
use crate::gateways::{PSK, PSK_TUNNEL, psk_gateway};
use anyhow::{Context, Result, ensure};
use lab::net::until;
use lab::roadwarrior::{CORPORATE, ESP_PROPOSALS, IKE_PROPOSALS, LIMIT, Network, connect, transfer};

/// One suite for each SA, and whether it is one that must be warned about.
struct Row {
    ike: &'static str,
    esp: &'static str,
    weak: bool,
}

fn carried(row: &Row) -> Result<()> {
    let network = Network::new()?;
    let mut settings = psk_gateway();
    settings.connections =
        settings.connections.replace(IKE_PROPOSALS, row.ike).replace(ESP_PROPOSALS, &format!("{}-noesn", row.esp));
    let gateway = network.strongswan(&settings)?;
    let tunnel = format!(
        "{PSK_TUNNEL}\n[proposals]\nike = [\"{}\"]\nesp = [\"{}\"]\nike_lifetime = \"9s\"\nesp_lifetime = \"5s\"\n",
        row.ike, row.esp
    );
    let endpoint = network.endpoint(&tunnel, &[("psk", PSK)])?;
    let given = connect(&endpoint).with_context(|| gateway.log())?;
    ensure!(given.ike_suite.starts_with(first_word(row.ike)), "{given:?}");
    ensure!(given.esp_suite.starts_with(first_word(row.esp)), "{given:?}");
    ensure!(given.warnings.is_empty() != row.weak, "{given:?}");
    transfer(&network, CORPORATE.parse()?, 3)?;
    no_ping_lost(&network, || {
        gateway.swanctl(&["--rekey", "--child", "net"])?;
        gateway.swanctl(&["--rekey", "--ike", "psk"])?;
        until("IKE SAs renewed by both and four CHILD SAs", LIMIT, || {
            let log = gateway.log();
            let ike = log.matches("rekeyed between").count() >= 2;
            let child = log.matches("inbound CHILD_SA net").count().max(log.matches("outbound CHILD_SA net").count());
            Ok((ike && child >= 4).then_some(()))
        })
        .with_context(|| gateway.log())
    })
    .with_context(|| endpoint.log())?;
    transfer(&network, CORPORATE.parse()?, 3)
}

fn first_word(suite: &str) -> &str {
    suite.split('-').next().unwrap_or(suite)
}

/// A scenario for each row.
macro_rules! rows {
    ($($name:ident: $ike:literal, $esp:literal, $weak:literal;)*) => {$(
        pub fn $name() -> Result<()> {
            carried(&Row { ike: $ike, esp: $esp, weak: $weak })
        }
    )*};
}

rows! {
    modp3072: "aes256-sha512-prfsha512-modp3072", "aes256-sha512-modp3072", false;
    modp4096_counter: "aes128ctr-sha256-prfsha256-modp4096", "aes128ctr-sha256-modp4096", false;
    modp6144_xcbc: "aes192-aesxcbc-prfaesxcbc-modp6144", "aes192-aesxcbc", false;
    modp8192_counter: "aes256ctr-sha384-prfsha384-modp8192", "aes256ctr-sha384", false;
    ecp521_cmac: "aes256-sha256-prfaescmac-ecp521", "aes256-sha384-ecp521", false;
    counter_xcbc: "aes192ctr-aesxcbc-prfsha256-ecp384", "aes192ctr-aesxcbc-ecp384", false;
    gcm_192: "aes192gcm16-prfsha384-x25519", "aes192gcm16-x25519", false;
    gcm_12: "aes256gcm12-prfsha512-ecp256", "aes128gcm12-ecp256", false;
    gcm_8: "aes128gcm8-prfsha256-ecp256", "aes256gcm8-ecp256", true;
    modp1536: "aes256-sha256-prfsha256-modp1536", "aes256-sha256-modp1536", true;
    modp1024: "aes128-sha1-prfsha1-modp1024", "aes128-sha1-modp1024", true;
}
