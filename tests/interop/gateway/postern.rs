//! `posternd` at the lab gateway: what strongSwan cannot show, the tags, and the same life as there.

use crate::{PSK, TAG, settings};
use anyhow::{Context, Result, ensure};
use lab::gateway::settings::{RemoteGatewayMatch, TagSettings};
use lab::gateway::{RunningGateway, Settings};
use lab::net::until;
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, nothing_is_left, transfer, wait_for, work};
use postern_api::{ConnectionState, FaultName};
use std::time::Duration;

/// A tunnel by the FortiGate habit.
pub const TUNNEL: &str = r#"
gateway = "10.99.0.2"
gateway_auth = "psk"
[auth]
kind = "eap"
identity = "10.99.0.1"
user = "alice"
password_file = "@/password"
psk_file = "@/psk"
"#;
/// What it takes.
pub const SECRETS: &[(&str, &str)] = &[("psk", PSK), ("password", "Passw0rd\n")];

/// Connects by the FortiGate habit, moves data, and is named when the gateway deletes.
pub fn lives() -> Result<()> {
    let network = Network::new()?;
    let gateway = RunningGateway::start(&network.gateway, &network.folder.join("gateway"), settings())?;
    let endpoint = network.endpoint(TUNNEL, SECRETS)?;
    let given = connect(&endpoint).with_context(|| endpoint.log())?;
    ensure!(given.addresses.iter().any(|address| address.to_string().starts_with("10.97.0.2")), "{given:?}");
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    transfer(&network, CORPORATE.parse()?, 5)?;
    gateway.check_liveness()?;
    endpoint.expect(0, &["disconnect", "work"])?;
    until("the gateway's SA to go", LIMIT, || Ok((gateway.established()? == 0).then_some(())))?;
    nothing_is_left(&network)?;

    connect(&endpoint)?;
    gateway.flush()?;
    let tunnel = wait_for(&endpoint, ConnectionState::Disconnected)?;
    let fault = tunnel.last_fault.context("no fault says why it ended")?;
    ensure!(fault.name == FaultName::ClosedByGateway, "{fault}");
    nothing_is_left(&network)
}

/// Additional key exchanges that withstand a quantum computer, for both SAs and their renewals; and a
/// gateway without them is refused where the profile demands them.
pub fn post_quantum() -> Result<()> {
    let network = Network::new()?;
    let hybrid = Settings {
        ike_suites: vec!["aes256gcm16-prfsha384-ecp384-ke1_mlkem768".parse()?],
        esp_suites: vec!["aes256gcm16-ecp384-ke1_mlkem768".parse()?],
        ..settings()
    };
    let demand = "[proposals]\nrequire_post_quantum = true\nesp = [\"aes256gcm16-ecp384-ke1_mlkem768\"]\n\
         ike_lifetime = \"7s\"\nesp_lifetime = \"4s\"\n";
    let tunnel = format!("{TUNNEL}{demand}");
    {
        let _gateway = RunningGateway::start(&network.gateway, &network.folder.join("gateway"), hybrid)?;
        let mut endpoint = network.endpoint(&tunnel, SECRETS)?;
        let given = connect(&endpoint).with_context(|| endpoint.log())?;
        ensure!(given.ike_suite.contains("ke1_mlkem768"), "{given:?}");
        transfer(&network, CORPORATE.parse()?, 2)?;
        let series = lab::ping::Series::start(&network.client, CORPORATE.parse()?, Duration::from_millis(10))?;
        // Longer than both SAs live: without a renewal of each nothing would pass.
        until("a tunnel that outlives its SAs twice", LIMIT, || Ok((series.answered() > 1600).then_some(())))
            .with_context(|| endpoint.log())?;
        let tally = series.finish()?;
        ensure!(tally.sent == tally.answered, "{tally:?}");
        ensure!(work(&endpoint)?.state == ConnectionState::Connected);
        endpoint.expect(0, &["disconnect", "work"])?;
        endpoint.kill();
    }
    let network = Network::new_numbered(1)?;
    let _gateway = RunningGateway::start(&network.gateway, &network.folder.join("gateway"), settings())?;
    let endpoint = network.endpoint(&tunnel, SECRETS)?;
    endpoint.expect(15, &["connect", "work"])?;
    nothing_is_left(&network)
}

/// The gateway's tag check refuses with a name and an exit code of its own.
pub fn refused_by_tags() -> Result<()> {
    let network = Network::new()?;
    let lists = network.folder.join("tags.json");
    let mut settings =
        Settings { remote_gw_match: RemoteGatewayMatch::Ztna, remote_gw_ztna_tags: vec![TAG.into()], ..settings() };
    settings.daemon.tags = Some(TagSettings::File { path: lists.clone() });
    let gateway = RunningGateway::start(&network.gateway, &network.folder.join("gateway"), settings)?;
    let endpoint = network.endpoint(TUNNEL, SECRETS)?;
    let said = endpoint.expect(6, &["connect", "work"])?;
    ensure!(said.contains("EMSTokenCheckFailed"), "{said}");
    let fault = work(&endpoint)?.last_fault.context("the status does not say why")?;
    ensure!(fault.name == FaultName::EMSTokenCheckFailed, "{fault}");
    let events = gateway.events()?;
    ensure!(events.len() == 1 && events[0].contains("reason=\"EMS ZTNA tags check failed\""), "{events:?}");
    nothing_is_left(&network)?;

    std::fs::write(&lists, r#"{"tags": [{"name": "Telemetry connected", "addresses": ["10.99.0.1"]}]}"#)?;
    until("the shared address", LIMIT, || {
        Ok(gateway.diagnose(&["firewall", "dynamic", "list", TAG])?.contains("ADDR(10.99.0.1)").then_some(()))
    })?;
    connect(&endpoint)?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT).map(drop)
}
