//! The article's second method, whole: EMS observes an endpoint, shares its tags with the gateway,
//! and the gateway decides by them.

use crate::{BY_EAP, INITIATE, TAG, client, settings};
use anyhow::{Context, Result, ensure};
use lab::client::program;
use lab::ems::Administrator;
use lab::gateway::settings::{RemoteGatewayMatch, TagSettings};
use lab::gateway::{RunningGateway, Settings};
use lab::net::{Host, Running, until};
use lab::roadwarrior::{CORPORATE, LIMIT, Network};
use posture::ems::protocol::facts_object;
use posture::ems::session::{SessionSettings, Telemetry};
use posture::ems::{Cache, EmsClient, Introduction, Invitation, enrol};
use posture::facts::Facts;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::mpsc;

/// An endpoint that reports until this value goes.
struct Reporting {
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// Enrols `host` and reports from its address, without an antivirus.
fn report(host: &Host, invitation: Invitation, cache: &Path) -> Result<Reporting> {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (ready, is_ready) = mpsc::channel();
    let (host, cache) = (host.clone(), cache.to_owned());
    std::fs::create_dir_all(&cache)?;
    std::thread::spawn(move || {
        let outcome = host.inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let network = posture::ems::Network::default();
                let introduction = Introduction { host_name: "pc".into(), ..Introduction::default() };
                let identity = enrol(&invitation, &introduction, &network).await?;
                let cache = Cache::open(&cache)?;
                cache.store_identity(&identity)?;
                let client = EmsClient::new(&identity, &network)?;
                let (telemetry, mut deliveries) =
                    Telemetry::start(client, identity.verifier()?, cache, SessionSettings::default());
                telemetry.report(facts_object(&Facts::default()));
                let _ = ready.send(());
                tokio::select! {
                    _ = stopped => {}
                    () = async { while deliveries.recv().await.is_some() {} } => {}
                }
                Ok(())
            })
        });
        if let Err(error) = outcome {
            eprintln!("the endpoint: {error:#}");
        }
    });
    is_ready.recv_timeout(LIMIT).context("the endpoint did not enrol")?;
    Ok(Reporting { _stop: stop })
}

fn ems(host: &Host, state: &Path) -> Result<(Running, Administrator)> {
    std::fs::create_dir_all(state)?;
    let mut command = host.command(program("lab-ems")?);
    command.arg("run").arg("--state").arg(state).args(["--listen", "10.99.0.2:8443", "--name", "10.99.0.2"]);
    let running = Running::start("lab-ems", command.stdout(std::fs::File::create(state.join("ems.out"))?))?;
    until("EMS", LIMIT, || {
        let said = std::fs::read_to_string(state.join("ems.out"))?;
        Ok(said.contains('\n').then_some(()))
    })?;
    Ok((running, Administrator::of_state(state)?))
}

fn ask(administrator: &Administrator, request: Value) -> Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(administrator.ask(&serde_json::from_value(request)?))
}

/// Refused while EMS shares only connected endpoints, admitted when it shares all, refused again by
/// a tag that the endpoint does not carry.
pub fn ems_decides() -> Result<()> {
    let network = Network::new()?;
    let state = network.folder.join("ems");
    let (_ems, administrator) = ems(&network.gateway, &state)?;
    ask(
        &administrator,
        json!({"do": "set-rules", "rule_sets": [
            {"name": "t", "tag": "Telemetry connected",
             "systems": {"linux": {"rules": [{"id": 1, "type": "ems-management"}]}}},
            {"name": "a", "tag": "Antivirus running",
             "systems": {"linux": {"rules": [{"id": 1, "type": "anti-virus"}]}}},
        ]}),
    )?;
    let invitation = ask(&administrator, json!({"do": "make-invitation", "label": "pc", "valid_seconds": 600}))?;
    let invitation = invitation["invitation"].as_str().context("an invitation")?.parse()?;
    let _endpoint = report(&network.client, invitation, &network.folder.join("cache"))?;
    let token = ask(&administrator, json!({"do": "add-device", "device": "fortigate"}))?;

    let mut settings = Settings {
        remote_gw_match: RemoteGatewayMatch::Ztna,
        remote_gw_ztna_tags: vec!["EMS1_ZTNA_Antivirus running".into(), TAG.into()],
        ..settings()
    };
    settings.daemon.tags = Some(TagSettings::Ems {
        base: "https://10.99.0.2:8443".into(),
        authority: state.join("authority.pem"),
        device: "fortigate".into(),
        token: token["token"].as_str().context("a token")?.into(),
    });
    let gateway = RunningGateway::start(&network.gateway, &network.folder.join("gateway"), settings)?;
    let shown = |total: u32| {
        until("the shared addresses", LIMIT, || {
            let list = gateway.diagnose(&["firewall", "dynamic", "list", TAG])?;
            Ok(list.contains(&format!("Total IP dynamic addresses: {total}.")).then_some(list))
        })
        .with_context(|| gateway.output())
    };
    let client = client(&network, BY_EAP, "Passw0rd")?;

    // The trap: the endpoint carries the tag, but is not connected to this gateway yet.
    shown(0)?;
    ensure!(client.swanctl(INITIATE).is_err());
    let events = gateway.events()?;
    ensure!(events.len() == 1 && events[0].contains("reason=\"EMS ZTNA tags check failed\""), "{events:?}");

    ask(&administrator, json!({"do": "set-sharing", "device": "fortigate", "sharing": "all"}))?;
    let list = shown(1)?;
    ensure!(list.contains("ADDR(10.99.0.1)\n"), "{list}");
    client.swanctl(INITIATE)?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;

    // Connected, it is shared either way, until it disconnects.
    ask(&administrator, json!({"do": "set-sharing", "device": "fortigate", "sharing": "connected"}))?;
    shown(1)?;
    client.swanctl(&["--terminate", "--ike", "work"])?;
    shown(0)?;

    ask(&administrator, json!({"do": "set-sharing", "device": "fortigate", "sharing": "all"}))?;
    shown(1)?;
    gateway.set("remote-gw-ztna-tags", &["EMS1_ZTNA_Antivirus running"])?;
    ensure!(client.swanctl(INITIATE).is_err());
    Ok(())
}
