//! A host behind the client: what is too large for the tunnel comes back with the size that fits.

use crate::Lab;
use anyhow::{Result, ensure};
use lab::net::{Host, wire};
use lab::roadwarrior::connect;

pub fn too_big() -> Result<()> {
    let lab = Lab::new(None)?;
    let network = &lab.network;
    let guest = Host::new("guest")?;
    wire((&network.client, "lan0", "10.96.0.1/24 fd96::1/64"), (&guest, "lan0", "10.96.0.2/24 fd96::2/64"))?;
    guest.shell("ip route add default via 10.96.0.1; ip -6 route add default via fd96::1")?;
    network.client.shell("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")?;
    let endpoint = network.endpoint(&lab.tunnel(), &[("key", &lab.own.private)])?;
    connect(&endpoint)?;
    network.client.shell(
        "nft 'add table inet guests; add chain inet guests c { type nat hook postrouting priority 100; }
              add rule inet guests c oifname postern0 masquerade'",
    )?;
    for (address, told) in [("10.98.0.1", "mtu = 1400"), ("fd98::1", "mtu=1400")] {
        let small = guest.shell(&format!("ping -c 1 -W 5 {address} 2>&1"))?;
        ensure!(small.contains("1 received"), "{small}");
        let said = guest.shell(&format!("ping -c 1 -W 2 -M do -s 1400 {address} 2>&1 || true"))?;
        ensure!(said.contains(told), "{address}: {said}");
        // A guest whose network takes more offers more; its connections go through all the same.
        let url = if address.contains(':') { format!("http://[{address}]") } else { format!("http://{address}") };
        let length = guest.shell(&format!("curl -sS --max-time 60 {url}/bytes/2000000 | wc -c"))?;
        ensure!(length.trim() == "2000000", "{address}: {length}");
    }
    Ok(())
}
