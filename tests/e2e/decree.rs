//! What EMS decrees over the endpoint, from the administrator's command to the packets: a break-glass
//! code, a quarantine and its code, a deregistration.

use anyhow::{Context, Result, ensure};
use lab::demo::opening::{TUNNEL_KINDS, await_tag, enrol, ra_vpn};
use lab::demo::policy::CRITICAL;
use lab::demo::stage::{LIMIT, Stage};
use lab::demo::timeline::Timeline;
use lab::net::until;
use postern_api::state::PostureStanding;
use postern_api::{ConnectionState, FaultName};
use serde_json::Value;

const WORDS: &str = "Stay away \u{1b}[2J and call 4711";

fn text(answer: &Value, name: &str) -> Result<String> {
    Ok(answer[name].as_str().with_context(|| answer.to_string())?.to_owned())
}

/// Types a code at the endpoint: from a file, as no code is an argument.
fn type_code(stage: &Stage, exit: i32, command: &str, code: &str) -> Result<String> {
    stage.endpoint.configure("../code", code)?;
    stage.endpoint.expect(exit, &[command, "--code-file", &stage.endpoint.path("code").to_string_lossy()])
}

pub fn decreed() -> Result<()> {
    let mut stage = Stage::build()?;
    enrol(&mut stage, &mut Timeline::new(true))?;
    break_glass(&mut stage)?;
    quarantine(&stage)?;
    deregistration(&stage)
}

/// A vulnerable endpoint is refused, connects by the code while its time runs, and only once.
fn break_glass(stage: &mut Stage) -> Result<()> {
    stage.endpoint.expect(0, &["scan"])?;
    await_tag(stage, CRITICAL, "present")?;
    stage.connect(3)?;
    let pc = stage.endpoint_identifier()?;
    let made = stage.administer(&["make-break-glass", &pc, "--reason", "the ward's terminal", "--lasts", "600"])?;
    let code = text(&made, "code")?;
    let other = stage.administer(&["list-endpoints"])?["endpoints"][0]["id"].as_str().context("no id")?.to_owned();
    ensure!(other != pc);
    let foreign = stage.administer(&["make-break-glass", &other, "--reason", "another"])?;
    let said = type_code(stage, 11, "break-glass", &text(&foreign, "code")?)?;
    ensure!(said.contains("another endpoint"), "{said}");
    let said = type_code(stage, 0, "break-glass", &code)?;
    ensure!(said.starts_with("BREAK-GLASS"), "{said}");
    let said = stage.connect(0)?;
    ensure!(said.contains("OVERRIDDEN"), "{said}");
    let status = stage.endpoint.expect(0, &["status"])?;
    ensure!(status.starts_with("BREAK-GLASS") && status.contains("OVERRIDDEN"), "{status}");
    ensure!(matches!(ra_vpn(stage)?.posture, PostureStanding::Overridden { .. }));
    ensure!(stage.endpoint.status()?.attention);
    type_code(stage, 11, "break-glass", &code)?;
    until("the events at EMS", LIMIT, || {
        let events = stage.administer(&["list-events"])?.to_string();
        Ok((events.contains("break-glass-used") && events.contains("host-check-overridden")).then_some(()))
    })?;
    // The override outlives the service, and is no second use of the code.
    stage.endpoint.kill();
    stage.endpoint.start()?;
    until("the override after a restart", LIMIT, || {
        Ok(matches!(ra_vpn(stage).map(|tunnel| tunnel.posture), Ok(PostureStanding::Overridden { .. })).then_some(()))
    })?;
    type_code(stage, 11, "break-glass", &code)?;
    Ok(())
}

/// A connected endpoint is put into quarantine: the tunnel goes, the words are told as data, nothing
/// connects until the code ends it.
fn quarantine(stage: &Stage) -> Result<()> {
    stage.connect(0)?;
    let pc = stage.endpoint_identifier()?;
    let answer = stage.administer(&["quarantine", &pc, "on", "--message", WORDS])?;
    until("the tunnel to go", LIMIT, || Ok((ra_vpn(stage)?.state == ConnectionState::Quarantined).then_some(())))?;
    ensure!(stage.endpoint.status()?.state == ConnectionState::Quarantined);
    let status = stage.endpoint.expect(0, &["status", "--notices"])?;
    ensure!(status.contains("IN QUARANTINE") && status.contains("Stay away \\u{1b}[2J and call 4711"), "{status}");
    ensure!(!status.contains('\u{1b}'), "the administrator's words are obeyed: {status:?}");
    let mark = stage.tap.count();
    let said = stage.connect(17)?;
    ensure!(said.starts_with("Stay away") && said.contains(FaultName::Quarantined.as_str()), "{said}");
    stage.tap.none_of(mark, TUNNEL_KINDS)?;
    let said = type_code(stage, 11, "release", "ABCD-EFGH-JKLM-NPQR")?;
    ensure!(said.contains("does not end this quarantine"), "{said}");
    type_code(stage, 0, "release", &text(&answer, "release_code")?.to_lowercase())?;
    stage.connect(0)?;
    until("EMS to have heard of it", LIMIT, || {
        let listed = stage.administer(&["list-endpoints"])?;
        let own = listed["endpoints"].as_array().into_iter().flatten().find(|endpoint| endpoint["id"] == pc.as_str());
        Ok(own.context("the endpoint is gone")?["quarantine"].is_null().then_some(()))
    })?;
    let events = stage.administer(&["list-events"])?.to_string();
    ensure!(events.contains("quarantine-released"), "{events}");
    Ok(())
}

/// The endpoint is removed at EMS while connected: its managed tunnel goes, it says so, and it may
/// enrol anew.
fn deregistration(stage: &Stage) -> Result<()> {
    ensure!(ra_vpn(stage)?.state == ConnectionState::Connected);
    stage.administer(&["remove-endpoint", &stage.endpoint_identifier()?])?;
    until("the managed tunnel to be gone", LIMIT, || Ok(stage.endpoint.status()?.tunnels.is_empty().then_some(())))
        .with_context(|| stage.endpoint.log())?;
    let status = stage.endpoint.expect(0, &["status"])?;
    ensure!(status.contains("has deregistered this endpoint"), "{status}");
    stage.enrol(&stage.endpoint)?;
    until("the tunnel again", LIMIT, || Ok(ra_vpn(stage).ok()))?;
    ensure!(!stage.endpoint.status()?.posture.decrees.deregistered);
    Ok(())
}
