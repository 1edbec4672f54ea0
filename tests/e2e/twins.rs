//! A local tunnel that leads to a managed gateway, by whatever way: refused before a packet is sent to it.

use crate::management::Ems;
use crate::{PSK, TUNNEL, gateway};
use anyhow::{Context, Result, ensure};
use lab::net::{Host, until, wire};
use lab::roadwarrior::{LIMIT, Network, connect};
use lab::strongswan::Gateway;
use lab::wire::{Kind, Tap};
use serde_json::json;
use std::net::UdpSocket;

/// The managed gateway's address; it takes whoever has the key.
const MANAGED: &str = "10.99.1.2";

/// A tunnel like the first one, to another gateway, whose identity is still the one that gateways here have.
fn to(gateway: &str) -> String {
    let named = format!("gateway = {gateway:?}\ngateway_identity = \"vpn.example.test\"\n");
    TUNNEL.replace("gateway = \"vpn.example.test\"\n", &named)
}

pub fn never_dialled() -> Result<()> {
    let network = Network::new()?;
    let first = network.strongswan(&gateway())?;
    let host = Host::new("managed0")?;
    wire((&network.client, "wan1", "10.99.1.1/24"), (&host, "wan0", &format!("{MANAGED}/24")))?;
    // What stands behind it is on it.
    host.shell("ip address add 10.98.0.1/32 dev lo; echo 1 > /proc/sys/net/ipv4/ip_forward")?;
    let managed = Gateway::start(&host, &network.folder.join("managed"), &gateway())?;
    let names =
        format!("127.0.0.1 localhost\n10.99.0.2 vpn.example.test\n{MANAGED} managed.example.test alias.example.test\n");
    let ems = Ems::start(&network)?;
    ems.ask(&json!({"do": "set-profile", "profile": {"name": "p", "secure_remote_access": false, "tunnels": [
        {"name": "RA-VPN", "gateway": "managed.example.test", "gateway_auth": {"method": "pre-shared-key"},
         "client_auth": {"method": "pre-shared-key"}, "tags": {}}]}}))?;
    let mut endpoint = network.endpoint(TUNNEL, &[("psk", PSK)])?;
    let folder = endpoint.path("config");
    let twins = [
        ("alias", "alias.example.test"),
        ("spelled", "Managed.Example.TEST."),
        ("address", MANAGED),
        ("mapped", "::ffff:10.99.1.2"),
    ];
    for (name, gateway) in twins {
        let tunnel = to(gateway).replace("\"@/", &format!("\"{}/", folder.display()));
        endpoint.configure(&format!("tunnels.d/{name}.toml"), &tunnel)?;
    }
    ems.enrol(&endpoint)?;
    until("the managed tunnel", LIMIT, || {
        Ok(endpoint.status()?.tunnels.iter().any(|tunnel| tunnel.name.as_received() == "RA-VPN").then_some(()))
    })
    .with_context(|| endpoint.log())?;

    let tap = Tap::open(&network.client, "wan1")?;
    let sent = || tap.packets().into_iter().filter(|packet| packet.outgoing && packet.kind != Kind::Neighbour);
    // While nobody says where the managed gateway is, it may be there.
    let silent = network.gateway.inside(|| Ok(UdpSocket::bind("10.99.0.2:53")?))?;
    let said = endpoint.expect(5, &["connect", "address"])?;
    ensure!(said.contains("nobody says where managed.example.test is"), "{said}");
    drop(silent);
    let said = endpoint.expect(5, &["connect", "mapped"])?;
    ensure!(said.contains("nobody says where managed.example.test is"), "{said}");
    ensure!(sent().count() == 0, "{:?}", sent().next());
    network.client.etc("hosts", &names)?;
    for (name, gateway) in twins {
        let said = endpoint.expect(11, &["connect", name])?;
        ensure!(said.contains("leads to the gateway of the managed tunnel RA-VPN"), "{gateway}: {said}");
        ensure!(sent().count() == 0, "{gateway}: {:?}", sent().next());
    }
    // A gateway that may be dialled sends its client to the managed one.
    connect(&endpoint)?;
    let before = endpoint.log().len();
    first.swanctl(&["--redirect", "--peer-id", "psk@example.test", "--gateway", MANAGED])?;
    until("the redirect to be refused", LIMIT, || {
        let log = endpoint.log();
        let since = log.get(before..).unwrap_or_default();
        Ok(since.contains("leads to the gateway of the managed tunnel RA-VPN").then_some(()))
    })
    .with_context(|| endpoint.log())?;
    endpoint.expect(0, &["disconnect", "work"])?;
    ensure!(sent().count() == 0, "by a redirect: {:?}", sent().next());
    ensure!(!managed.log().contains(" IKE_SA_INIT "), "{}", managed.log());
    // Where it was is known to the next run of the service too, when nobody answers for its name.
    endpoint.kill();
    network.client.etc("hosts", "127.0.0.1 localhost\n10.99.0.2 vpn.example.test\n")?;
    endpoint.start()?;
    let said = endpoint.expect(11, &["connect", "address"])?;
    ensure!(said.contains("leads to the gateway of the managed tunnel RA-VPN"), "{said}");
    ensure!(sent().count() == 0, "by its address after a restart: {:?}", sent().next());
    network.client.etc("hosts", &names)?;
    // The same tunnel, that gateway and this wire are good: it was EMS's word alone that kept them apart.
    endpoint.expect(0, &["unenroll"])?;
    endpoint.expect(0, &["connect", "alias"])?;
    ensure!(sent().count() > 0 && managed.established()? == 1);
    Ok(())
}
