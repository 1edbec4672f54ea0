//! A path that is too narrow for long messages and carries no fragments of IP: IKE cuts them itself
//! (RFC 7383).

use crate::gateways::certificate_gateway;
use anyhow::{Context, Result, ensure};
use lab::pki::{KeyKind, Pki};
use lab::roadwarrior::{CORPORATE, Network, connect, transfer};
use lab::wire::Tap;

/// The gateway's sides, and the tunnel that fits: certificates alone.
pub const SIDES: &str = "send_cert = always\nlocal { auth = pubkey\n certs = gateway.crt\n id = vpn.example.test }\n\
     remote { auth = pubkey\n id = alice@example.test }";

pub const TUNNEL: &str = r#"
gateway = "vpn.example.test"
gateway_ca_files = ["@/ca.pem"]
[auth]
kind = "certificate"
identity = "alice@example.test"
certificate_file = "@/alice.pem"
key_file = "@/alice.key"
"#;

/// The narrowest that IPv6 allows (RFC 8200 §5).
const PATH: usize = 1280;

fn over(gateway_address: &str) -> Result<()> {
    let network = Network::new()?;
    let pki = Pki::new(KeyKind::Rsa2048)?;
    let gateway = network.strongswan(&certificate_gateway(&pki, &pki.gateway, SIDES, false))?;
    network.client.etc("hosts", &format!("127.0.0.1 localhost\n{gateway_address} vpn.example.test\n"))?;
    for host in [&network.client, &network.gateway] {
        host.shell(&format!(
            "ip link set wan0 mtu {PATH}
             nft 'table inet narrow {{ chain in {{ type filter hook prerouting priority -450; \
               iifname wan0 ip frag-off & 0x3fff != 0 counter drop; iifname wan0 exthdr frag exists counter drop; }}; }}'"
        ))?;
    }
    let secrets = [
        ("ca.pem", &*pki.authority.certificate().pem),
        ("alice.pem", &pki.user.certificate.pem),
        ("alice.key", &pki.user.key_pem),
    ];
    let endpoint = network.endpoint(&format!("{TUNNEL}[network]\nmtu = 1100\n"), &secrets)?;
    let tap = Tap::open(&network.client, "wan0")?;
    let given = connect(&endpoint).with_context(|| gateway.log())?;
    ensure!(given.gateway.contains(gateway_address), "{given:?}");
    // Payload type 53 is the encrypted fragment (RFC 7383 §2.5).
    for outgoing in [true, false] {
        let packets = tap.packets();
        let fragments: Vec<_> = packets
            .iter()
            .filter(|packet| packet.outgoing == outgoing && packet.first_payload == Some(53))
            .map(|packet| packet.length)
            .collect();
        ensure!(fragments.len() >= 2 && fragments.iter().all(|length| *length <= PATH), "{outgoing}: {fragments:?}");
    }
    // What is inside fits too, so the whole tunnel needs no fragment of IP. (strongSwan's device knows
    // nothing of the path.)
    network.gateway.shell("ip link set ipsec0 mtu 1100")?;
    transfer(&network, CORPORATE.parse()?, 2)?;
    for host in [&network.client, &network.gateway] {
        let rules = host.shell("nft list table inet narrow")?;
        ensure!(rules.matches("counter packets 0 ").count() == 2, "fragments of IP came: {rules}");
    }
    Ok(())
}

pub fn over_ipv4() -> Result<()> {
    over("10.99.0.2")
}

pub fn over_ipv6() -> Result<()> {
    over("fd99::2")
}
