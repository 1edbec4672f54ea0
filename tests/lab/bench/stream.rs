//! TCP through a tunnel, by iperf3 with CUBIC at both ends.

use crate::net::{Host, Running, output_of, until};
use anyhow::{Context, Result};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

/// iperf3's own port.
const PORT: u16 = 5201;

/// How often a transfer is tried.
const ATTEMPTS: u32 = 4;

/// Which way the octets go, as seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the gateway.
    Up,
    /// From the gateway to the client.
    Down,
}

/// What a transfer brought.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Gigabits a second that arrived.
    pub rate: f64,
    /// Gigabytes that arrived.
    pub gigabytes: f64,
}

/// Starts the server on a host and waits until it listens.
///
/// # Errors
/// When it does not.
pub fn serve(host: &Host) -> Result<Running> {
    let mut command = host.command("iperf3");
    let server = Running::start("iperf3", command.arg("-s").stdout(Stdio::null()).stderr(Stdio::null()))?;
    let address = SocketAddr::from(([127, 0, 0, 1], PORT));
    until("iperf3 listening", Duration::from_secs(10), || {
        host.inside(|| Ok(TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok().then_some(())))
    })?;
    Ok(server)
}

/// Moves as much as goes, or `megabits` a second, for so many seconds.
///
/// # Errors
/// When iperf3 fails; its words are in the error.
pub fn transfer(
    client: &Host,
    target: IpAddr,
    way: Way,
    streams: u32,
    seconds: u32,
    megabits: Option<u32>,
) -> Result<Transfer> {
    let (target, streams, seconds) = (target.to_string(), streams.to_string(), seconds.to_string());
    let mut command = client.command("iperf3");
    command.args(["-J", "-C", "cubic", "-c", &target, "-P", &streams, "-t", &seconds]);
    if way == Way::Down {
        command.arg("-R");
    }
    if let Some(megabits) = megabits {
        command.args(["-b", &format!("{megabits}M")]);
    }
    // The server turns a client away while it still clears up after the one before.
    let mut attempt = 0;
    loop {
        let outcome = output_of(&mut command).and_then(|text| read(&text));
        attempt += 1;
        if outcome.is_ok() || attempt == ATTEMPTS {
            return outcome;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn read(text: &str) -> Result<Transfer> {
    let document: serde_json::Value = serde_json::from_str(text).context("iperf3's report")?;
    let sum = &document["end"]["sum_received"];
    let number = |name: &str| sum[name].as_f64().with_context(|| format!("iperf3 reports no {name}: {text}"));
    Ok(Transfer { rate: number("bits_per_second")? / 1e9, gigabytes: number("bytes")? / 1e9 })
}
