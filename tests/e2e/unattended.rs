//! Endpoints that nobody sits at: enrolled by an invitation that lies ready, once; what is reported is what
//! is shown, and nothing that no rule asks for; EMS is left only where the profile lets it.

use anyhow::{Context, Result, ensure};
use lab::client::Endpoint;
use lab::demo::opening::ra_vpn;
use lab::demo::policy;
use lab::demo::stage::{LIMIT, Stage};
use lab::net::{shell, until};
use posture::ems::protocol::{FactsObject, difference};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const WORDS: &str = "Leaving is for the service desk: 4711.";
/// What a tunnel of the endpoint's own asks about, and EMS does not.
const PRIVATE: &str = "/etc/a-matter-of-this-endpoint";
/// What EMS's rules come to ask about.
const ASKED: &str = "/etc/hostname";
const ALONE: &str = r#"
gateway = "other.example.test"
[tags]
source = "local"
prohibited = ["Private"]
[[tags.rules]]
name = "private"
tag = "Private"
[tags.rules.systems.linux]
rules = [{ id = 1, type = "file", path = "/etc/a-matter-of-this-endpoint" },
         { id = 2, type = "running-process", name = "posternd" }]
"#;

fn invitation(stage: &Stage) -> Result<String> {
    let made = stage.administer(&["make-invitation", "--label", "unattended"])?;
    Ok(made["invitation"].as_str().context("no invitation")?.to_owned())
}

fn used(endpoint: &Endpoint) -> Result<String> {
    Ok(std::fs::read_to_string(endpoint.path("state/invitations-used"))?)
}

fn is_enrolled(endpoint: &Endpoint) -> Result<bool> {
    Ok(endpoint.status()?.tunnels.iter().any(|tunnel| tunnel.name.as_received() == "RA-VPN"))
}

/// Returns who the endpoint is at EMS.
fn identifier(endpoint: &Endpoint) -> Result<String> {
    let identity: Value = serde_json::from_slice(&std::fs::read(endpoint.path("state/ems/identity.json"))?)?;
    Ok(identity["endpoint"].as_str().context("no identifier")?.to_owned())
}

pub fn enrolled_and_left() -> Result<()> {
    let mut stage = Stage::build()?;
    stage.endpoint.configure("tunnels.d/alone.toml", ALONE)?;
    let first = by_file(&stage)?;
    reported_as_shown(&stage)?;
    left_as_allowed(&stage)?;
    // The used invitation enrols nobody again, though it lies there anew; a new one does.
    stage.endpoint.kill();
    stage.endpoint.configure("invitation", &first)?;
    stage.endpoint.start()?;
    stage.endpoint.configure("invitation", &invitation(&stage)?)?;
    until("the managed tunnel again", LIMIT, || Ok(ra_vpn(&stage).ok())).with_context(|| stage.endpoint.log())?;
    let begun = stage.endpoint.log().matches("enrolling without a person").count();
    ensure!(begun == 2, "one for each invitation, not {begun}");
    by_credential(&mut stage)
}

/// An invitation in a file that others can read enrols nobody, and is told; closed to them it enrols, and goes.
fn by_file(stage: &Stage) -> Result<String> {
    let made = invitation(stage)?;
    let (pending, file) = (stage.endpoint.path("config/made"), stage.endpoint.path("config/invitation"));
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode));
    stage.endpoint.configure("made", &made)?;
    mode(&pending, 0o644)?;
    std::fs::rename(&pending, &file)?;
    until("the doctor to name the file's mode", LIMIT, || {
        Ok(stage.endpoint.postern(&["doctor"])?.1.contains("mode 644").then_some(()))
    })?;
    ensure!(file.exists() && !is_enrolled(&stage.endpoint)?);
    mode(&file, 0o600)?;
    until("the managed tunnel without a person", LIMIT, || Ok(ra_vpn(stage).ok()))
        .with_context(|| stage.endpoint.log())?;
    until("the file to be gone", LIMIT, || Ok((!file.exists()).then_some(())))?;
    ensure!(!used(&stage.endpoint)?.contains("code="), "the code is kept");
    Ok(made)
}

/// As systemd hands a credential to a service: a read-only file system with one file that only its user reads.
fn by_credential(stage: &mut Stage) -> Result<()> {
    let made = invitation(stage)?;
    let folder = "/run/credentials/posternd.service";
    let place = format!("{folder}/{}", postern_agent::service::ems::unattended::CREDENTIAL);
    shell(&format!("mkdir -p {folder}; mount -t tmpfs -o mode=0500 tmpfs {folder}"))?;
    std::fs::write(&place, &made)?;
    shell(&format!("chmod 0400 {place}; mount -o remount,ro {folder}"))?;
    let second = &mut stage.second;
    second.kill();
    second.give_credentials(Path::new(folder));
    second.start()?;
    until("the managed tunnel by a credential", LIMIT, || Ok(is_enrolled(second)?.then_some(())))
        .with_context(|| second.log())?;
    // It cannot be taken away, so it is noted: by its digest alone.
    ensure!(std::fs::read_to_string(&place)? == made);
    let noted = until("the note of its use", LIMIT, || Ok(used(second).ok()))?;
    ensure!(noted.lines().count() == 1 && !noted.contains("code="), "{noted}");
    second.expect(0, &["unenroll"])?;
    second.kill();
    // The look that finds the file passes over the credential, which comes first.
    let fresh = stage.administer(&["make-invitation"])?;
    stage.second.configure("invitation", fresh["invitation"].as_str().context("no invitation")?)?;
    stage.second.start()?;
    let second = &stage.second;
    until("the managed tunnel by the file", LIMIT, || Ok(is_enrolled(second)?.then_some(())))
        .with_context(|| second.log())?;
    until("both to be noted", LIMIT, || Ok((used(second)?.lines().count() == 2).then_some(())))?;
    let log = second.log();
    let begun: Vec<&str> = log.lines().filter(|line| line.contains("enrolling without a person")).collect();
    ensure!(begun.len() == 2 && begun[0].contains(folder) && !begun[1].contains(folder), "{begun:#?}");
    Ok(())
}

/// What `postern posture report --dry-run` shows is what EMS holds; what no rule of EMS asks for is in
/// neither, though the endpoint's own tunnel had it looked at.
fn reported_as_shown(stage: &Stage) -> Result<()> {
    let endpoint = identifier(&stage.endpoint)?;
    until("the endpoint to know what only its own tunnel asks for", LIMIT, || {
        let known = stage.endpoint.expect(0, &["posture", "--json"])?;
        Ok((known.contains(PRIVATE) && known.contains("processes")).then_some(()))
    })?;
    let equal = |what: &str, as_asked: &dyn Fn(&FactsObject) -> bool| {
        let mut seen = None;
        until(what, LIMIT, || {
            let shown = stage.endpoint.expect(0, &["posture", "report", "--dry-run", "--json"])?;
            let shown: FactsObject = serde_json::from_str(&shown)?;
            let held = stage.administer(&["show-facts", &endpoint])?;
            let held = held["facts"].as_object().cloned().unwrap_or_default();
            for told in [&shown, &held] {
                for unasked in ["packages", "applications", "certificates", "users", "surroundings", "supplied"] {
                    ensure!(!told.contains_key(unasked), "{unasked} is told unasked");
                }
                ensure!(!Value::Object(told.clone()).to_string().contains(PRIVATE), "{PRIVATE} is told unasked");
            }
            let is_equal = difference(&held, &shown).is_empty() && as_asked(&held);
            seen = Some((shown, held));
            Ok(is_equal.then_some(()))
        })
        .with_context(|| format!("{seen:?}"))
    };
    equal("the same facts at both ends", &|held| {
        let files = held.get("files").and_then(Value::as_object);
        held.contains_key("os") && !held.contains_key("processes") && files.is_none_or(serde_json::Map::is_empty)
    })?;
    // Once the administrator asks, it is told: that and no more.
    let Value::Array(mut rules) = policy::rules() else { anyhow::bail!("no list of rules") };
    rules.push(json!({"name": "asked", "tag": "Asked", "systems": {"linux": {"rules": [
        {"id": 1, "type": "file", "path": ASKED}, {"id": 2, "type": "running-process", "name": "posternd"}]}}}));
    stage.administer_with(&["set-rules"], &Value::Array(rules))?;
    equal("what was asked for at both ends", &|held| {
        let files = held.get("files").and_then(Value::as_object);
        files.is_some_and(|files| files.keys().eq([ASKED])) && held.contains_key("processes")
    })
}

fn forbid_leaving(stage: &Stage, forbidden: bool) -> Result<()> {
    let mut profile = stage.profile.document();
    profile["unenrol_allowed"] = json!(!forbidden);
    profile["unenrol_refusal"] = json!(WORDS);
    stage.administer_with(&["set-profile"], &profile).map(drop)
}

/// Forbidden: refused with the administrator's words, nothing changed. Allowed: everything of EMS goes.
fn left_as_allowed(stage: &Stage) -> Result<()> {
    forbid_leaving(stage, true)?;
    let said = until("the refusal with the words", LIMIT, || {
        let (code, _, said) = stage.endpoint.postern(&["unenroll"])?;
        Ok((code == 11 && said.contains(WORDS)).then_some(said))
    })?;
    ensure!(said.contains("does not allow this endpoint to leave"), "{said}");
    ensure!(ra_vpn(stage).is_ok());
    forbid_leaving(stage, false)?;
    let said = until("leaving", LIMIT, || {
        let (code, said, _) = stage.endpoint.postern(&["unenroll", "--json"])?;
        Ok((code == 0).then_some(said))
    })?;
    ensure!(said.contains("\"ems_told\":true"), "{said}");
    ensure!(!is_enrolled(&stage.endpoint)?);
    let state = stage.endpoint.path("state/ems");
    let left: Vec<_> = std::fs::read_dir(&state)?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    ensure!(left.is_empty(), "still there: {left:?}");
    Ok(())
}
