//! A gateway sends its client to another one (RFC 5685).

use crate::gateways::{PSK, PSK_TUNNEL, psk_gateway};
use anyhow::{Context, Result, ensure};
use lab::net::{Host, until, wire};
use lab::ping::Series;
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, nothing_is_left, work};
use lab::strongswan::Gateway;
use std::time::Duration;

/// The second gateway's outer address.
const SECOND: &str = "10.99.1.2";
/// Between two pings.
const PACE: Duration = Duration::from_millis(20);
/// How many pings may be lost on the way from one gateway to the other, which gives another address; each
/// is waited for two seconds before the next is sent.
const LOST: u64 = 2;

/// The first gateway redirects an SA that stands; the client makes another at the second, which gives
/// it another address, and closes the first; pings go on.
pub fn of_a_standing_sa() -> Result<()> {
    let network = Network::new()?;
    let first = network.strongswan(&psk_gateway())?;
    let host = Host::new("second0")?;
    wire((&network.client, "wan1", "10.99.1.1/24"), (&host, "wan0", "10.99.1.2/24"))?;
    // What stands behind the second gateway is on it.
    host.shell("ip address add 10.98.0.1/32 dev lo; echo 1 > /proc/sys/net/ipv4/ip_forward")?;
    let mut settings = psk_gateway();
    settings.pools = settings.pools.replace("10.97.0.0/24", "10.97.1.0/24");
    let second = Gateway::start(&host, &network.folder.join("second"), &settings)?;
    let endpoint = network.endpoint(PSK_TUNNEL, &[("psk", PSK)])?;
    connect(&endpoint)?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    let series = Series::start(&network.client, CORPORATE.parse()?, PACE)?;
    until("pings before the redirect", LIMIT, || Ok((series.answered() > 20).then_some(())))?;
    first.swanctl(&["--redirect", "--peer-id", "psk@example.test", "--gateway", SECOND])?;
    let given = until("the tunnel to the second gateway", LIMIT, || {
        Ok(work(&endpoint)?.established.filter(|given| given.gateway.contains(SECOND)))
    })
    .with_context(|| format!("{}\n{}\n{}", first.log(), second.log(), endpoint.log()))?;
    ensure!(given.addresses == ["10.97.1.1".parse::<std::net::IpAddr>()?], "{given:?}");
    let mark = series.answered();
    until("pings by the second gateway", LIMIT, || Ok((series.answered() > mark + 50).then_some(())))
        .with_context(|| endpoint.log())?;
    let tally = series.finish()?;
    ensure!(tally.sent - tally.answered <= LOST, "{tally:?}");
    until("the first SA to be closed", LIMIT, || Ok((first.established()? == 0).then_some(())))
        .with_context(|| first.log())?;
    ensure!(second.established()? == 1);
    endpoint.expect(0, &["disconnect", "work"])?;
    until("the second SA to be closed", LIMIT, || Ok((second.established()? == 0).then_some(())))?;
    network.client.shell("ip link del wan1")?;
    nothing_is_left(&network)
}
