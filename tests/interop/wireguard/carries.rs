//! What a WireGuard tunnel carries, and what it outlives.

use crate::Lab;
use anyhow::{Context, Result, ensure};
use lab::net::until;
use lab::ping::Series;
use lab::roadwarrior::{CORPORATE, LIMIT, connect, nothing_is_left, transfer, work};
use lab::scenario;
use lab::wire::{Kind, Tap};
use lab::wireguard::PORT;
use postern_api::ConnectionState;
use std::time::{Duration, Instant};

pub fn data() -> Result<()> {
    let lab = Lab::new(None)?;
    let network = &lab.network;
    let endpoint = network.endpoint(&lab.tunnel(), &[("key", &lab.own.private)])?;
    let tap = Tap::open(&network.client, "wan0")?;
    let given = connect(&endpoint)?;
    ensure!((given.ike_suite.as_str(), given.carrier.as_str()) == ("wireguard", "udp"), "{given:?}");
    let resolvers = network.client.shell("cat /etc/resolv.conf")?;
    ensure!(resolvers.contains("nameserver 10.98.0.53"), "{resolvers}");
    transfer(network, CORPORATE.parse()?, 20)?;
    transfer(network, "fd98::1".parse()?, 10)?;
    let strange = tap.packets().into_iter().find(|packet| !matches!(packet.kind, Kind::WireGuard | Kind::Neighbour));
    ensure!(strange.is_none(), "something beside WireGuard is on the wire: {strange:?}");
    until("the counters to be told", LIMIT, || {
        let counted = work(&endpoint)?.established.context("not up")?;
        Ok((counted.bytes_sent > 25_000_000 && counted.bytes_received > 25_000_000).then_some(()))
    })?;
    endpoint.expect(0, &["disconnect", "work"])?;
    let mark = tap.count();
    ensure!(lab::ping::once(&network.client, CORPORATE.parse()?, Duration::from_millis(300)).is_err());
    tap.none_of(mark, &[Kind::WireGuard])?;
    nothing_is_left(network)
}

pub fn file_of_wg_quick() -> Result<()> {
    let shared = lab::net::shell("wg genpsk")?.trim().to_owned();
    let lab = Lab::new(Some(shared.clone()))?;
    let network = &lab.network;
    let endpoint = network.endpoint(&lab.tunnel(), &[("key", &lab.own.private)])?;
    let file = network.folder.join("office.conf");
    std::fs::write(
        &file,
        format!(
            "[Interface]\nPrivateKey = {}\nAddress = 10.97.0.2/32\nPostUp = touch /run/owned\n[Peer]\nPublicKey = {}\n\
             PresharedKey = {shared}\nAllowedIPs = 10.98.0.0/24\nEndpoint = 10.99.0.2:{PORT}\nPersistentKeepalive = 20\n",
            lab.own.private, lab.server.public
        ),
    )?;
    let said = endpoint.expect(0, &["profile", "import", &file.to_string_lossy()])?;
    ensure!(said.contains("left out: PostUp"), "{said}");
    endpoint.expect(0, &["connect", "office"])?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    ensure!(!std::path::Path::new("/run/owned").exists(), "a command of the file was run");
    for secret in [&shared, &lab.own.private] {
        let shown = endpoint.expect(0, &["tunnel", "show", "office"])? + &endpoint.log();
        ensure!(!shown.contains(secret.as_str()), "a key is shown:\n{shown}");
    }
    endpoint.expect(0, &["disconnect", "office"])?;
    // Without the pre-shared key the peer says nothing.
    let said = endpoint.expect(5, &["connect", "work", "--timeout", "2"])?;
    ensure!(said.contains("GatewayUnreachable"), "{said}");
    Ok(())
}

pub fn peer_restarts() -> Result<()> {
    let mut lab = Lab::new(None)?;
    let endpoint = lab.network.endpoint(&lab.tunnel(), &[("key", &lab.own.private)])?;
    connect(&endpoint)?;
    lab::ping::once(&lab.network.client, CORPORATE.parse()?, LIMIT)?;
    let client_at = lab.peer.endpoint()?;
    lab.peer.restart(&lab.client)?;
    lab.peer.call(&lab.client, &client_at)?;
    until("a ping by the new session", LIMIT, || {
        Ok(lab::ping::once(&lab.network.client, CORPORATE.parse()?, Duration::from_millis(300)).ok())
    })
    .with_context(|| lab.peer.log())?;
    ensure!(lab.peer.handshakes().1 > 0, "the peer made no session: {}", lab.peer.log());
    transfer(&lab.network, CORPORATE.parse()?, 2)?;
    ensure!(work(&endpoint)?.state == ConnectionState::Connected);
    Ok(())
}

pub fn roams() -> Result<()> {
    let lab = Lab::new(None)?;
    let network = &lab.network;
    let endpoint = network.endpoint(&lab.tunnel(), &[("key", &lab.own.private)])?;
    connect(&endpoint)?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    let series = Series::start(&network.client, CORPORATE.parse()?, Duration::from_millis(20))?;
    until("pings before the move", LIMIT, || Ok((series.answered() > 20).then_some(())))?;
    network.client.shell("ip address del 10.99.0.1/24 dev wan0; ip address add 10.99.0.7/24 dev wan0")?;
    let mark = series.answered();
    until("pings after the move", LIMIT, || Ok((series.answered() > mark + 50).then_some(())))
        .with_context(|| endpoint.log())?;
    let heard = lab.peer.endpoint()?;
    ensure!(heard.starts_with("10.99.0.7:"), "{heard}");
    ensure!(lab.peer.handshakes() == (1, 0), "one session lasts: {}", lab.peer.log());
    ensure!(work(&endpoint)?.state == ConnectionState::Connected);
    Ok(())
}

/// Pauses after which the tunnel must carry at once. Beyond three minutes there is no session any more.
const PAUSES: [u64; 10] = [1, 3, 8, 13, 21, 34, 55, 89, 144, 233];

pub fn pauses() -> Result<()> {
    let lab = Lab::new(None)?;
    let endpoint = lab.network.endpoint(&lab.tunnel(), &[("key", &lab.own.private)])?;
    connect(&endpoint)?;
    let began = Instant::now();
    let mut without_session = 0;
    for (round, pause) in PAUSES.into_iter().cycle().enumerate() {
        let taken =
            lab::ping::once(&lab.network.client, CORPORATE.parse()?, Duration::from_secs(4)).with_context(|| {
                format!("round {round}, after {} s: deaf\n{}", began.elapsed().as_secs(), lab.peer.log())
            })?;
        eprintln!(
            "round {round} after {} s: a ping in {taken:?}, handshakes {:?}",
            began.elapsed().as_secs(),
            lab.peer.handshakes()
        );
        transfer(&lab.network, CORPORATE.parse()?, 1)?;
        let left = scenario::soak().saturating_sub(began.elapsed());
        if left.is_zero() {
            break;
        }
        without_session += usize::from(pause >= 180);
        std::thread::sleep(Duration::from_secs(pause).min(left));
    }
    // One each two minutes at most, and one after each pause that no session outlives.
    let (by_client, by_peer) = lab.peer.handshakes();
    let most = 1 + usize::try_from(began.elapsed().as_secs() / 120)? + without_session;
    ensure!(by_client <= most, "{by_client} handshakes by the client, not {most} at most:\n{}", lab.peer.log());
    ensure!(by_peer == 0, "the peer missed us {by_peer} times:\n{}", lab.peer.log());
    ensure!(work(&endpoint)?.state == ConnectionState::Connected);
    Ok(())
}
