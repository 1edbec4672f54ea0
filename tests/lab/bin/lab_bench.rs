//! Measures, in namespaces that it makes itself, ours and strongSwan in turn within one run. It
//! asserts nothing: on a noisy machine only the ratios within one run say something.

use anyhow::{Context, Result};
use clap::Parser;
use lab::client::{Endpoint, program};
use lab::net::{Host, output_of, until};
use lab::roadwarrior::{CORPORATE, ESP_PROPOSALS, IKE_PROPOSALS, LIMIT, Network, POOLS};
use lab::scenario;
use lab::strongswan::{Gateway, Settings};
use std::process::{Command, ExitCode};
use std::time::Instant;

/// Set in the child that is inside the namespaces.
const INSIDE: &str = "POSTERN_LAB_BENCH_INSIDE";
const PSK: &str = "correct horse battery staple";
/// What is fetched through the tunnel.
const MEGABYTES: u32 = 200;

/// Reports measures; asserts nothing.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// One JSON object a line: {"measure", "system", "value", "unit"}.
    #[arg(long)]
    json: bool,
    /// How often each is measured; medians are reported.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = if std::env::var_os(INSIDE).is_some() {
        scenario::make_private().and_then(|()| measure(&arguments))
    } else {
        outside()
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the bench failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn outside() -> Result<()> {
    let own = std::env::current_exe()?;
    let mut command = scenario::isolated_here(&own.to_string_lossy());
    let status = command.args(std::env::args_os().skip(1)).env(INSIDE, "1").status()?;
    anyhow::ensure!(status.success(), "{}", scenario::ADVICE);
    Ok(())
}

/// Prints one figure.
fn report(arguments: &Arguments, measure: &str, system: &str, value: f64, unit: &str) {
    if arguments.json {
        println!("{}", serde_json::json!({"measure": measure, "system": system, "value": value, "unit": unit}));
    } else {
        println!("{measure:<34} {system:<28} {value:>10.1} {unit}");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn measure(arguments: &Arguments) -> Result<()> {
    let network = Network::new()?;
    let sides = "local { auth = psk\n id = vpn.example.test }\nremote { auth = psk\n id = psk@example.test }";
    let gateway = network.strongswan(&Settings {
        connections: format!(
            "psk {{\n version = 2\n pools = p4\n proposals = {IKE_PROPOSALS}\n unique = never\n encap = yes\n\
             children {{ net {{\n local_ts = 10.98.0.0/24\n esp_proposals = {ESP_PROPOSALS}\n mode = tunnel\n }} }}\n{sides}\n}}"
        ),
        pools: POOLS.into(),
        secrets: format!("ike-psk {{ id-1 = psk@example.test\n id-2 = vpn.example.test\n secret = \"{PSK}\" }}"),
        ..Settings::default()
    })?;
    let tunnel = "gateway = \"vpn.example.test\"\n[auth]\nkind = \"psk\"\nidentity = \"psk@example.test\"\npsk_file = \"@/psk\"\n\
         [proposals]\nike = [\"chacha20poly1305-prfsha256-x25519\"]\nesp = [\"aes256gcm16\"]\n";
    let mut endpoint = network.endpoint(tunnel, &[("psk", PSK)])?;
    for (process, kilobytes) in resident(&mut endpoint)? {
        report(arguments, "memory, idle", &process, kilobytes / 1024.0, "MB");
    }
    let rival = rival(&network)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut our_rate, mut their_rate) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        ours.push(timed(|| endpoint.expect(0, &["connect", "work"]).map(drop))?);
        our_rate.push(rate(&network.client)?);
        endpoint.expect(0, &["disconnect", "work"])?;
        theirs.push(timed(|| rival.swanctl(&["--initiate", "--child", "net", "--timeout", "10"]).map(drop))?);
        their_rate.push(rate(&network.client)?);
        rival.swanctl(&["--terminate", "--ike", "bench"])?;
        until("the gateway's SAs to go", LIMIT, || Ok((gateway.established()? == 0).then_some(())))?;
    }
    report(arguments, "IKE set-up, command to tunnel", "postern connect", median(ours), "ms");
    report(arguments, "IKE set-up, command to tunnel", "swanctl --initiate", median(theirs), "ms");
    report(arguments, "TCP down, gateway userspace ESP", "posternd", median(our_rate), "Mbit/s");
    report(arguments, "TCP down, gateway userspace ESP", "strongSwan userspace", median(their_rate), "Mbit/s");
    endpoint.expect(0, &["connect", "work"])?;
    rate(&network.client)?;
    for (process, kilobytes) in resident(&mut endpoint)? {
        report(arguments, "memory, after load", &process, kilobytes / 1024.0, "MB");
    }
    drop(endpoint);
    tag_change(arguments)
}

/// Runs something and returns how many milliseconds it took.
fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

/// Fetches [`MEGABYTES`] from the corporate host and returns Mbit a second.
fn rate(client: &Host) -> Result<f64> {
    lab::ping::once(client, CORPORATE.parse()?, LIMIT)?;
    let seconds = timed(|| {
        let fetch = format!("curl -sS --max-time 120 -o /dev/null http://{CORPORATE}/bytes/{}", MEGABYTES * 1_000_000);
        client.shell(&fetch).map(drop)
    })? / 1000.0;
    Ok(f64::from(MEGABYTES) * 8.0 / seconds)
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
            secrets: format!("ike-psk {{ id-1 = psk@example.test\n id-2 = vpn.example.test\n secret = \"{PSK}\" }}"),
            ..Settings::default()
        },
    )
}

/// Returns the resident memory of the service's processes, in kilobytes.
fn resident(endpoint: &mut Endpoint) -> Result<Vec<(String, f64)>> {
    let mut found = Vec::new();
    for (name, id) in ["posternd, main", "posternd, net"].into_iter().zip(endpoint.processes()?) {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("reading a process's status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        let kilobytes = line.trim().trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
        found.push((name.to_owned(), kilobytes));
    }
    Ok(found)
}

/// Plays the demo and reports its three teardowns.
fn tag_change(arguments: &Arguments) -> Result<()> {
    let mut values = Vec::new();
    for _ in 0..arguments.rounds {
        let text = output_of(Command::new(program("lab-demo")?).arg("--json"))?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        values.extend(lines.filter_map(|line| line["change_to_last_packet"].as_f64()));
    }
    report(arguments, "tag change at EMS to last packet", "posternd", median(values), "ms");
    Ok(())
}
