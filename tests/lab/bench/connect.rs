//! The real service before strongSwan's gateway: how long connecting takes, what its network
//! process costs there beside strongSwan's own client, and how fast a changed tag is obeyed.

use super::figures::Figures;
use super::process;
use super::stream::{self, Way};
use crate::client::program;
use crate::net::{Host, output_of, until};
use crate::roadwarrior::{CORPORATE, ESP_PROPOSALS, IKE_PROPOSALS, LIMIT, Network, POOLS};
use crate::strongswan::{Gateway, Settings};
use anyhow::Result;
use std::process::Command;
use std::time::{Duration, Instant};

const PSK: &str = "correct horse battery staple";
/// The service's name in the table, and its rival's.
pub const OURS: &str = "posternd";
/// strongSwan's client.
pub const THEIRS: &str = "charon";
/// How long the network process is left alone to see what it does idle: two of the service's looks at the
/// system long, since it is asked something after each.
const REST: Duration = Duration::from_secs(30);

/// Connects both in turn, `rounds` times, and moves data for `seconds` each time.
///
/// # Errors
/// When either does not connect.
pub fn measure(rounds: usize, seconds: u32, figures: &mut Figures) -> Result<()> {
    let network = Network::new()?;
    let sides = "local { auth = psk\n id = vpn.example.test }\nremote { auth = psk\n id = psk@example.test }";
    let gateway = network.strongswan(&Settings {
        connections: format!(
            "psk {{\n version = 2\n pools = p4\n proposals = {IKE_PROPOSALS}\n unique = never\n encap = yes\n\
             children {{ net {{\n local_ts = 10.98.0.0/24\n esp_proposals = {ESP_PROPOSALS}\n mode = tunnel\n }} }}\n{sides}\n}}"
        ),
        pools: POOLS.into(),
        secrets: secrets(),
        ..Settings::default()
    })?;
    let tunnel = "gateway = \"vpn.example.test\"\n[auth]\nkind = \"psk\"\nidentity = \"psk@example.test\"\npsk_file = \"@/psk\"\n\
         [proposals]\nike = [\"chacha20poly1305-prfsha256-x25519\"]\nesp = [\"aes256gcm16\"]\n";
    let endpoint = network.endpoint(tunnel, &[("psk", PSK)])?;
    let mut rival = rival(&network)?;
    let server = stream::serve(&network.corporate)?;
    for _ in 0..rounds {
        let time = timed(|| {
            endpoint.expect(0, &["connect", "work"])?;
            answered(&network.client)
        })?;
        figures.note("command to the first ping answered, PSK", OURS, "ms", time);
        let id = endpoint.network_process()?;
        let before = process::switches(id)?;
        std::thread::sleep(REST);
        let switches = (process::switches(id)? - before) / REST.as_secs_f64();
        figures.note("context switches of the connected process, idle", OURS, "1/s", switches);
        load(&network.client, OURS, id, seconds, figures)?;
        figures.note("memory of the connected process, peak", OURS, "MB", process::peak(id)?);
        endpoint.expect(0, &["disconnect", "work"])?;
        let time = timed(|| {
            rival.swanctl(&["--initiate", "--child", "net", "--timeout", "10"])?;
            answered(&network.client)
        })?;
        figures.note("command to the first ping answered, PSK", THEIRS, "ms", time);
        let id = rival.daemon().id();
        load(&network.client, THEIRS, id, seconds, figures)?;
        figures.note("memory of the connected process, peak", THEIRS, "MB", process::peak(id)?);
        rival.swanctl(&["--terminate", "--ike", "bench"])?;
        until("the gateway's SAs to go", LIMIT, || Ok((gateway.established()? == 0).then_some(())))?;
    }
    drop(server);
    Ok(())
}

/// Plays the demo and notes its teardowns.
///
/// # Errors
/// When the demo fails.
pub fn tag_change(rounds: usize, figures: &mut Figures) -> Result<()> {
    for _ in 0..rounds {
        let text = output_of(Command::new(program("lab-demo")?).arg("--json"))?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        for time in lines.filter_map(|line| line["change_to_last_packet"].as_f64()) {
            figures.note("tag change at EMS to last packet", OURS, "ms", time);
        }
    }
    Ok(())
}

/// Moves data both ways before strongSwan's gateway, which is the limit here: what counts is what
/// a gigabyte costs the client.
fn load(client: &Host, system: &str, id: u32, seconds: u32, figures: &mut Figures) -> Result<()> {
    for (way, name) in [(Way::Up, "up"), (Way::Down, "down")] {
        let before = process::processor(id)?;
        let transfer = stream::transfer(client, CORPORATE.parse()?, way, 1, seconds, None)?;
        let cost = (process::processor(id)? - before) / transfer.gigabytes;
        figures.note(&format!("TCP {name}, strongSwan's gateway"), system, "Gbit/s", transfer.rate);
        figures.note(&format!("processor, TCP {name}, strongSwan's gateway"), system, "s/GB", cost);
    }
    Ok(())
}

fn secrets() -> String {
    format!("ike-psk {{ id-1 = psk@example.test\n id-2 = vpn.example.test\n secret = \"{PSK}\" }}")
}

/// Runs something and returns how many milliseconds it took.
fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

fn answered(client: &Host) -> Result<()> {
    crate::ping::once(client, CORPORATE.parse()?, LIMIT).map(drop)
}

/// strongSwan as the client, on the same host as ours.
fn rival(network: &Network) -> Result<Gateway> {
    Gateway::start(
        &network.client,
        &network.folder.join("rival"),
        &Settings {
            connections:
                "bench {\n version = 2\n local_addrs = 10.99.0.1\n remote_addrs = 10.99.0.2\n vips = 0.0.0.0\n\
                 proposals = chacha20poly1305-prfsha256-x25519\n encap = yes\n\
                 local { auth = psk\n id = psk@example.test }\n remote { auth = psk\n id = vpn.example.test }\n\
                 children { net { remote_ts = 10.98.0.0/24\n esp_proposals = aes256gcm16-noesn\n mode = tunnel } }\n}"
                    .into(),
            secrets: secrets(),
            ..Settings::default()
        },
    )
}
