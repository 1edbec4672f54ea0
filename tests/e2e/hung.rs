//! What never answers costs its own fact only: a mount whose server is silent, a message bus that takes
//! connections and says nothing.

use crate::{PSK, TUNNEL, gateway, known_by};
use anyhow::{Context, Result, ensure};
use lab::net::until;
use lab::roadwarrior::{LIMIT, Network, wait_for};
use nix::mount::{MsFlags, mount};
use postern_api::ConnectionState;
use postern_api::posture::Fact;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

/// Between a change and its end on the wire, at most; most of it is for a busy machine.
const NOTICED: Duration = Duration::from_secs(3);

pub fn costs_its_own_fact_only() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&gateway())?;
    // A FUSE mount that nobody serves: whoever looks below it waits until the descriptor is closed.
    let dead = Path::new("/run/dead");
    std::fs::create_dir_all(dead)?;
    let server = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").context("opening /dev/fuse")?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", server.as_raw_fd());
    mount(Some("dead"), dead, Some("fuse"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options.as_str()))
        .context("mounting")?;
    // A bus that never answers a hello.
    std::fs::create_dir_all("/run/dbus")?;
    let _bus = UnixListener::bind("/run/dbus/system_bus_socket")?;

    let marker = network.folder.join("marker");
    std::fs::write(&marker, "this device is known\n")?;
    let rules = "[[tags.rules]]\nname = \"dead\"\ntag = \"Dead\"\n\
                 [[tags.rules.systems.linux.rules]]\nid = 1\ntype = \"file\"\npath = \"/run/dead/file\"\n";
    let endpoint = network.endpoint(&format!("{TUNNEL}{}{rules}", known_by(&marker)), &[("psk", PSK)])?;
    let began = Instant::now();
    endpoint.expect(0, &["connect", "work"])?;
    ensure!(began.elapsed() < Duration::from_secs(12), "the pre-check took {} s", began.elapsed().as_secs());
    let facts = endpoint.expect(0, &["posture", "facts", "--json"])?;
    let facts: Vec<Fact> = serde_json::from_str(facts.trim()).with_context(|| facts.clone())?;
    let file = |name: &str| facts.iter().find(|fact| fact.area == "files" && fact.name == name).context("no such fact");
    let silent = file("/run/dead/file")?;
    ensure!(silent.value.is_none() && silent.unknown_because.is_some(), "{silent:?}");
    ensure!(file(&marker.to_string_lossy())?.value.is_some(), "{facts:?}");
    for area in ["os", "packages", "processes", "addresses"] {
        let known = facts.iter().any(|fact| fact.area == area && fact.value.is_some());
        ensure!(known, "{area} is unknown because of a mount that is dead: {facts:?}");
    }
    let said = endpoint.expect(0, &["posture", "explain", "Dead"])?;
    ensure!(said.contains("unknown") && said.contains("/run/dead/file"), "{said}");

    // Other changes are noticed as if nothing were.
    std::fs::remove_file(&marker)?;
    let removed = Instant::now();
    wait_for(&endpoint, ConnectionState::Blocked)?;
    ensure!(removed.elapsed() < NOTICED, "the change was noticed after {} ms", removed.elapsed().as_millis());
    until("the doctor to name the mount", LIMIT, || {
        let health = endpoint.postern(&["doctor"])?.1;
        Ok((health.contains("changes of files") && health.contains("/run/dead/file")).then_some(()))
    })?;

    // Once it answers, if only with an error, it is no longer unknown for silence: whoever asks is judged by a
    // look of its own, though the service itself looks seldom while nothing passes.
    drop(server);
    until("an answer of the mount", LIMIT, || {
        endpoint.postern(&["connect", "work"])?;
        let facts = endpoint.expect(0, &["posture", "facts", "--json"])?;
        Ok((!facts.contains("does not answer")).then_some(()))
    })
}
