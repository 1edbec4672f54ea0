//! What `posternd repair` takes back where no service runs.

use crate::{PSK, TUNNEL, gateway, known_by};
use anyhow::{Context, Result, ensure};
use lab::client::{Endpoint, program};
use lab::net::until;
use lab::roadwarrior::{LIMIT, Network, connect, lose_compliance, nothing_is_left, wait_for};
use postern_api::ConnectionState;

/// Repairs; returns whether that went well, and what was said.
fn repair(network: &Network, endpoint: &Endpoint, arguments: &[&str]) -> Result<(bool, String)> {
    let mut command = network.client.command(program("posternd")?);
    for (option, name) in [("--config", "config"), ("--state", "state"), ("--runtime", "run")] {
        command.arg(option).arg(endpoint.path(name));
    }
    let output = command.arg("repair").args(arguments).output().context("starting posternd repair")?;
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Ok((output.status.success(), said.concat()))
}

pub fn without_a_service() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&gateway())?;
    let marker = network.folder.join("marker");
    std::fs::write(&marker, "this device is known\n")?;
    let tunnel = format!("after_loss = \"block_protected_prefixes\"\n{TUNNEL}{}", known_by(&marker));
    let mut endpoint = network.endpoint(&tunnel, &[("psk", PSK)])?;
    connect(&endpoint)?;
    let (done, said) = repair(&network, &endpoint, &["--lift-block"])?;
    ensure!(!done && said.contains("another posternd runs"), "beside a service: {said}");

    endpoint.kill();
    let state = endpoint.path("state").display().to_string();
    let (_, findings, _) = endpoint.postern(&["--state", &state, "doctor"])?;
    ensure!(findings.contains("posternd repair"), "{findings}");
    let (done, said) = repair(&network, &endpoint, &[])?;
    ensure!(done && said.contains("undone: "), "{said}");
    // The tunnel's device goes with the network process, which hears of the end by itself.
    until("everything to be taken back", LIMIT, || Ok(nothing_is_left(&network).is_ok().then_some(())))
        .with_context(|| said.clone())?;

    endpoint.start()?;
    connect(&endpoint)?;
    lose_compliance(&endpoint, &marker)?;
    wait_for(&endpoint, ConnectionState::Blocked)?;
    endpoint.kill();
    let (done, said) = repair(&network, &endpoint, &[])?;
    ensure!(done && said.contains("stays blocked"), "{said}");
    let tables = network.client.shell("nft list tables")?;
    ensure!(tables.contains("postern_block"), "the block does not stand: {tables}\n{said}");
    let (done, said) = repair(&network, &endpoint, &["--lift-block"])?;
    ensure!(done, "{said}");
    nothing_is_left(&network).with_context(|| said)
}
