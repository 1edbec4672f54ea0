//! What the process that parses strangers' datagrams cannot do.

use crate::{PSK, TUNNEL, gateway};
use anyhow::{Context, Result, ensure};
use lab::client::{Endpoint, program};
use lab::net::{output_of, until};
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, nothing_is_left};
use postern_agent::service::child::probe::Line;
use postern_api::health::Check;
use std::io::Write;
use std::path::Path;

/// The user that the package makes, as the scenario's own `/etc` names it.
const USER: (&str, u32) = ("postern-net", 61_199);
/// `CAP_NET_ADMIN`, as /proc shows it.
const NET_ADMIN: &str = "0000000000001000";

pub fn confined() -> Result<()> {
    let add = |file: &str, line: String| -> Result<()> {
        let text = std::fs::read_to_string(file)?;
        Ok(std::fs::write(file, text + &line)?)
    };
    let (name, id) = USER;
    add("/etc/passwd", format!("{name}:x:{id}:{id}::/:/usr/sbin/nologin\n"))?;
    add("/etc/group", format!("{name}:x:{id}:\n"))?;
    // An ordinary user's namespace has no shadow file to be read by its root.
    std::fs::write("/etc/shadow", "root:*:1:0:99999:7:::\n")?;

    let network = Network::new()?;
    let _gateway = network.strongswan(&gateway())?;
    let endpoint = network.endpoint(TUNNEL, &[("psk", PSK)])?;
    connect(&endpoint)?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    let resolver = network.client.shell("cat /etc/resolv.conf")?;
    ensure!(resolver.contains("nameserver 10.98.0.53"), "the tunnel's resolver is not asked: {resolver}");
    // A program for the network writes the file anew.
    network.client.shell("echo 'nameserver 10.99.0.2' > /etc/resolv.conf")?;
    until("the tunnel's resolver to be asked again", LIMIT, || {
        let resolver = network.client.shell("cat /etc/resolv.conf")?;
        Ok(resolver.contains("nameserver 10.98.0.53").then_some(()))
    })
    .with_context(|| endpoint.log())?;

    as_the_kernel_sees_it(endpoint.network_process()?)?;
    as_an_intruder_finds_it(&network, &endpoint)?;
    as_the_doctor_tells(&endpoint)?;

    endpoint.expect(0, &["disconnect", "work"])?;
    let log = endpoint.log();
    let of_resolver = log.lines().filter(|line| line.contains("WARN") && line.contains("somebody took this away"));
    ensure!(of_resolver.count() == 1, "told once:\n{log}");
    ensure!(!log.contains("cannot be told"), "{log}");
    nothing_is_left(&network)
}

fn as_the_kernel_sees_it(id: u32) -> Result<()> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.map(str::trim).with_context(|| format!("no {name} in {status}"))
    };
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        ensure!(line(set)? == NET_ADMIN, "{set}: {}", line(set)?);
    }
    for set in ["CapInh", "CapAmb"] {
        ensure!(line(set)?.bytes().all(|digit| digit == b'0'), "{set}: {}", line(set)?);
    }
    ensure!(line("NoNewPrivs")? == "1" && line("Seccomp")? == "2", "{status}");
    let user = if others_are_mapped()? { USER.1 } else { 0 };
    for kind in ["Uid", "Gid"] {
        let ids: Vec<&str> = line(kind)?.split_whitespace().collect();
        ensure!(ids.iter().all(|id| **id == user.to_string()), "{kind}: {ids:?}");
    }
    ensure!(line("Groups")?.is_empty() || user == 0, "{status}");

    // Nothing that was opened before is a way round it.
    for entry in std::fs::read_dir(format!("/proc/{id}/fd"))? {
        let path = entry?.path();
        let file = std::fs::read_link(&path)?;
        let name = file.to_string_lossy();
        if name.starts_with("/memfd:lease") {
            let written =
                std::fs::OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write(&[0xff; 8]));
            ensure!(written.is_err(), "the lease can be written by others than the one who grants it");
            continue;
        }
        let known = ["/dev/null", "/dev/net/tun"].contains(&name.as_ref())
            || name.ends_with("posternd.log")
            || ["socket:", "anon_inode:", "pipe:"].iter().any(|kind| name.starts_with(kind));
        ensure!(known, "the network process holds {name}");
    }
    Ok(())
}

/// Under the very confinement, files of the system and of the service are tried.
fn as_an_intruder_finds_it(network: &Network, endpoint: &Endpoint) -> Result<()> {
    let files = ["/etc/shadow", "/etc/passwd", "/etc/resolv.conf", "/usr/bin", "/proc/1/environ"].map(Path::new);
    let own = ["config/psk", "config/tunnels.d/work.toml", "state", "run/control.sock"].map(|name| endpoint.path(name));
    let files: Vec<&Path> = files.into_iter().chain(own.iter().map(AsRef::as_ref)).collect();
    for file in &files {
        ensure!(file.exists(), "{} is not there to be tried", file.display());
    }
    let output = output_of(network.client.command(program("posternd")?).arg("net-probe").args(&files))?;
    let lines: Vec<Line> = output.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut tried = 0;
    for line in lines {
        match line {
            Line::Measure(measure) if measure.about == "files" => {
                ensure!(measure.in_force == kernel_has_landlock(), "{measure:?}");
                ensure!(
                    measure.in_force,
                    "this kernel has no Landlock, without which nothing here can be shown: {measure:?}"
                );
            }
            Line::Measure(measure) => ensure!(measure.in_force, "{measure:?}"),
            Line::Tried { what, done, said } => {
                tried += 1;
                let needed = what.starts_with("open the tunnel device") || what.starts_with("open a datagram socket");
                ensure!(done == needed, "{what}: done {done}, {said}");
            }
        }
    }
    ensure!(tried > 2 * files.len(), "only {tried} attempts: {output}");
    Ok(())
}

fn as_the_doctor_tells(endpoint: &Endpoint) -> Result<()> {
    let (_, output, _) = endpoint.postern(&["--json", "doctor"])?;
    let checks: Vec<Check> = output.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    for about in ["user", "capabilities", "files", "system calls"] {
        let name = format!("confinement: {about}");
        ensure!(checks.iter().any(|check| check.check == name && check.ok), "{name} is not told: {output}");
    }
    Ok(())
}

/// Tells whether this user namespace knows other users than its root.
fn others_are_mapped() -> Result<bool> {
    let map = std::fs::read_to_string("/proc/self/uid_map")?;
    let count = map.split_whitespace().nth(2).context("a map has three columns")?;
    Ok(count.parse::<u64>()? > u64::from(USER.1))
}

fn kernel_has_landlock() -> bool {
    const VERSION: libc::c_uint = 1;
    // SAFETY: asked for its version, the call reads no memory: the null pointer and the length of
    // zero are what it wants then.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION) };
    version > 0
}
