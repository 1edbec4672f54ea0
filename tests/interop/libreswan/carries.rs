//! Data inside: addresses, selectors, suites.

use crate::gateways::{PSK_SECRETS, PSK_TUNNEL, psk_gateway};
use crate::room::Play;
use anyhow::{Context, Result, ensure};
use lab::roadwarrior::{CORPORATE, LIMIT, transfer};
use lab::wire::{Kind, Tap};
use std::net::IpAddr;

pub fn psk_carries_data() -> Result<()> {
    let play = Play::new(&psk_gateway(&[]))?;
    let tap = Tap::open(&play.network.client, "wan0")?;
    play.connected(PSK_TUNNEL, PSK_SECRETS, |endpoint, given| {
        ensure!(given.addresses == ["10.97.0.1".parse::<IpAddr>()?], "{given:?}");
        ensure!(given.networks == ["10.98.0.0/24"], "{given:?}");
        ensure!(given.dns == ["10.98.0.53".parse::<IpAddr>()?], "{given:?}");
        let resolver = play.network.client.shell("cat /etc/resolv.conf")?;
        ensure!(resolver.contains("10.98.0.53"), "{resolver}");
        lab::ping::once(&play.network.client, CORPORATE.parse()?, LIMIT)?;
        transfer(play.network, CORPORATE.parse()?, 20)?;
        let usual = [Kind::Ike, Kind::EspInUdp, Kind::NatKeepalive, Kind::Neighbour];
        let strange: Vec<_> =
            tap.packets().into_iter().filter(|packet| !usual.contains(&packet.kind)).take(3).collect();
        ensure!(strange.is_empty(), "{strange:?}");
        endpoint.expect(0, &["disconnect", "work"]).map(drop)
    })
}

/// libreswan 4.10 wants one family inside and outside.
pub fn ipv6() -> Result<()> {
    let play = Play::new(&psk_gateway(&[
        ("left", "fd99::2"),
        ("leftsubnet", "fd98::/64"),
        ("rightaddresspool", "fd97::100/120"),
        ("modecfgdns", "fd98::53"),
    ]))?;
    let tunnel = PSK_TUNNEL
        .replace("\"vpn.example.test\"", "\"fd99::2\"")
        .replace("[auth]", "gateway_identity = \"vpn.example.test\"\n[network]\nipv4 = false\nipv6 = true\n[auth]");
    play.connected(&tunnel, PSK_SECRETS, |_, given| {
        ensure!(given.gateway.contains("fd99::2"), "{given:?}");
        ensure!(given.addresses.iter().all(IpAddr::is_ipv6) && given.addresses.len() == 1, "{given:?}");
        ensure!(given.dns == ["fd98::53".parse::<IpAddr>()?], "{given:?}");
        lab::ping::once(&play.network.client, "fd98::1".parse()?, LIMIT)?;
        transfer(play.network, "fd98::1".parse()?, 10)
    })
}

pub fn suites() -> Result<()> {
    for (ike, esp, theirs) in [
        (
            "chacha20poly1305-prfsha256-x25519",
            "chacha20poly1305-x25519",
            ("chacha20_poly1305-sha2_256;dh31", "chacha20_poly1305;dh31"),
        ),
        ("aes128gcm16-prfsha256-ecp256", "aes128gcm16-ecp256", ("aes_gcm128-sha2_256;dh19", "aes_gcm128;dh19")),
        ("aes256-sha256-modp2048", "aes256-sha256-modp2048", ("aes256-sha2_256;dh14", "aes256-sha2_256;dh14")),
    ] {
        let play = Play::new(&psk_gateway(&[("ike", theirs.0), ("esp", theirs.1)]))?;
        let tunnel =
            format!("{PSK_TUNNEL}\n[proposals]\nike = [\"{ike}\"]\nesp = [\"{esp}\"]\nesp_lifetime = \"3s\"\n");
        play.connected(&tunnel, PSK_SECRETS, |_, _| {
            transfer(play.network, CORPORATE.parse()?, 5)?;
            // The CHILD SA of IKE_AUTH has no key exchange of its own; the next one has.
            play.gateway.says("rekeyed Child SA", 0)?;
            transfer(play.network, CORPORATE.parse()?, 5)
        })
        .with_context(|| format!("{ike} {esp}"))?;
    }
    Ok(())
}

pub fn extended_sequence_numbers() -> Result<()> {
    let play = Play::new(&psk_gateway(&[("esn", "yes")]))?;
    let tunnel = format!("{PSK_TUNNEL}\n[proposals]\nesp = [\"aes256gcm16-ecp384-esn\"]\n");
    play.connected(&tunnel, PSK_SECRETS, |_, given| {
        ensure!(given.esp_suite.contains("esn") && !given.esp_suite.contains("noesn"), "{given:?}");
        let states = play.guest.shell("ip -d xfrm state")?;
        ensure!(states.contains("esn") && states.contains("encap type espinudp"), "{states}");
        transfer(play.network, CORPORATE.parse()?, 10)
    })
}

/// The client asks for everything; the gateway gives half a network, and the other half stays
/// outside the tunnel.
pub fn narrowed_network() -> Result<()> {
    let play = Play::new(&psk_gateway(&[("leftsubnet", "10.98.0.0/25")]))?;
    play.connected(PSK_TUNNEL, PSK_SECRETS, |_, given| {
        ensure!(given.networks == ["10.98.0.0/25"], "{given:?}");
        transfer(play.network, CORPORATE.parse()?, 5)?;
        let outside = play.network.client.shell("ip route get 10.98.0.200 || true")?;
        ensure!(!outside.contains("10.97.0."), "the other half goes through the tunnel: {outside}");
        Ok(())
    })
}
