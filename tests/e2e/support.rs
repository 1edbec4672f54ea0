//! What helps whoever looks for a fault: the log, and a bundle that holds everything but secrets. On the
//! way the scan that the schedule orders.

use crate::{PSK, TUNNEL, gateway};
use anyhow::{Context, Result, ensure};
use lab::client::Endpoint;
use lab::feeds;
use lab::net::{finish, until};
use lab::roadwarrior::{LIMIT, Network, connect};
use postern_api::posture::Fact;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

const PASSWORD: &str = "hunter2-hunter3";
const CODE: &str = "K7Q2ZZ9PLUGH";

pub fn logs_and_a_bundle() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&gateway())?;
    let mut endpoint = Endpoint::new(&network.client, &network.folder.join("endpoint"))?;
    endpoint.configure("psk", PSK)?;
    let folder = endpoint.path("config");
    endpoint.configure("tunnels.d/work.toml", &TUNNEL.replace("\"@/", &format!("\"{}/", folder.display())))?;
    // An invitation of an EMS that is not there: it is tried, and its failure told.
    let pin = "A".repeat(43);
    endpoint.configure("invitation", &format!("postern-ems:https://127.0.0.1:9#code={CODE}&pin=sha256/{pin}"))?;
    let settings = format!(
        "[posture]\nscan_interval = \"1h\"\nadvisories_limit = \"1000000h\"\ndpkg_status = {:?}\nosv_records = {:?}\n",
        feeds::vulnerable_packages(),
        feeds::advisories()
    );
    endpoint.configure("postern.toml", &settings)?;
    endpoint.start()?;
    until("a scan that nobody asked for", LIMIT, || {
        let facts: Vec<Fact> = serde_json::from_str(&endpoint.expect(0, &["posture", "facts", "--json"])?)?;
        Ok(facts.into_iter().find(|fact| fact.area == "vulnerabilities" && fact.value.is_some()))
    })
    .with_context(|| endpoint.log())?;

    let mut add = endpoint.command(&["tunnel", "add", "other", "--gateway", "vpn.example.test"])?;
    add.args(["--user", "ann", "--password-stdin"]).stdin(Stdio::piped());
    let mut added = add.spawn()?;
    added.stdin.take().context("no input")?.write_all(PASSWORD.as_bytes())?;
    ensure!(added.wait()?.success(), "the tunnel was not added");

    follow(&endpoint)?;
    filter(&endpoint)?;
    journal(&endpoint)?;
    bundle(&endpoint)
}

fn log(endpoint: &Endpoint) -> String {
    endpoint.path("posternd.log").display().to_string()
}

/// What is logged while somebody looks is shown while it happens.
fn follow(endpoint: &Endpoint) -> Result<()> {
    let mut command = endpoint.command(&["logs", "--follow", "--lines", "0", "--file", &log(endpoint)])?;
    let mut following = command.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(following.stdout.take().context("no output")?).lines();
    connect(endpoint)?;
    let told = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("to=connected")));
    following.kill()?;
    following.wait()?;
    told.context("the log ended").map(drop)
}

fn filter(endpoint: &Endpoint) -> Result<()> {
    let all = endpoint.expect(0, &["logs", "--file", &log(endpoint), "--lines", "100000"])?;
    ensure!(all.contains(" INFO ") && all.contains(" WARN "), "{all}");
    let grave = endpoint.expect(0, &["logs", "--file", &log(endpoint), "--level", "warn", "--since", "1h"])?;
    ensure!(!grave.is_empty() && !grave.contains(" INFO "), "{grave}");
    let json = endpoint.expect(0, &["--json", "logs", "--file", &log(endpoint), "-n", "1"])?;
    let line: serde_json::Value = serde_json::from_str(json.trim())?;
    ensure!(line["time"].is_string() && line["level"].is_string() && line["text"].is_string(), "{line}");
    let future = endpoint.expect(0, &["logs", "--file", &log(endpoint), "--since", "2999-01-01T00:00:00Z"])?;
    ensure!(future.contains("nothing of that kind"), "{future}");
    endpoint.expect(2, &["logs", "--file", &log(endpoint), "--since", "yesterday"])?;
    endpoint.expect(2, &["logs", "--file", "/no/such/log"])?;
    Ok(())
}

/// Where systemd runs, its journal is asked for the service's unit. The journal here is played.
fn journal(endpoint: &Endpoint) -> Result<()> {
    std::fs::create_dir_all("/run/systemd/system")?;
    std::fs::create_dir_all("/run/bin")?;
    let script = format!("#!/bin/sh\necho \"$@\" > /run/asked\ncat {}\n", log(endpoint));
    std::fs::write("/run/bin/journalctl", script)?;
    std::fs::set_permissions("/run/bin/journalctl", std::fs::Permissions::from_mode(0o755))?;
    let path = format!("/run/bin:{}", std::env::var("PATH")?);
    let mut command = endpoint.command(&["logs", "--level", "error", "--since", "2h"])?;
    let (code, _, said) = finish(command.env("PATH", path))?;
    ensure!(code == 0, "{said}");
    let asked = std::fs::read_to_string("/run/asked")?;
    ensure!(asked.contains("--unit=posternd.service") && asked.contains("--since=@"), "{asked}");
    Ok(())
}

fn bundle(endpoint: &Endpoint) -> Result<()> {
    let path = endpoint.path("bundle.zip");
    let (archive, log) = (path.display().to_string(), log(endpoint));
    let configuration = endpoint.path("config").display().to_string();
    let make = |more: &[&str], code: i32| {
        let common = ["--config", &configuration, "debug", "bundle", "--output", &archive, "--log-file", &log];
        endpoint.expect(code, &[&common[..], more].concat())
    };
    // Nobody is there to agree.
    make(&[], 16)?;
    let shown = make(&["--dry-run"], 0)?;
    ensure!(!path.exists(), "a dry run wrote");
    let told = make(&["--yes"], 0)?;
    ensure!(std::fs::metadata(&path)?.permissions().mode() & 0o777 == 0o600, "others may read it");
    make(&["--yes"], 2).context("a bundle over another file")?;
    let link = endpoint.path("link.zip");
    std::os::unix::fs::symlink("/run/elsewhere", &link)?;
    endpoint.expect(2, &["debug", "bundle", "--yes", "--output", &link.to_string_lossy()])?;
    ensure!(!Path::new("/run/elsewhere").exists(), "a link was followed");

    let mut bundle = zip::ZipArchive::new(std::fs::File::open(&path)?)?;
    let names = bundle.file_names().map(|name| anyhow::Ok(name?.into_owned())).collect::<Result<BTreeSet<String>>>()?;
    for name in &names {
        ensure!(told.contains(name.as_str()) && shown.contains(name.as_str()), "{name} is in it and was not told");
    }
    let rows = told.lines().filter(|line| line.contains(" octets ")).count();
    ensure!(rows == names.len(), "{rows} files were told, {} are in it", names.len());
    let mut whole = String::new();
    for name in &names {
        bundle.by_name(name)?.read_to_string(&mut whole).with_context(|| name.clone())?;
    }
    let stored = ["psk", "secrets/other.password"].map(|name| std::fs::read_to_string(endpoint.path(name)));
    let stored: Vec<String> = stored.into_iter().flatten().collect();
    let secrets = [PSK, PASSWORD, CODE].into_iter().chain(stored.iter().map(|text| text.trim()));
    for secret in secrets.filter(|secret| !secret.is_empty()) {
        ensure!(!whole.contains(secret), "the bundle holds {secret:?}");
    }
    for wanted in [
        "ok   service",
        "\"state\": \"connected\"",
        "auth.psk_file",
        "posture not enforced",
        "2 findings",
        "posture.scan_interval = \"1h\"",
        "10.98.0.0/24",
        "nameserver",
        "the network process is up",
        "postern 0.",
    ] {
        ensure!(whole.contains(wanted), "the bundle lacks {wanted:?}:\n{whole}");
    }
    Ok(())
}
