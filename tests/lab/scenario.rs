//! Runs scenarios, each in private namespaces that it makes itself.
//!
//! A scenario is a function with a name. The test binary's `main` hands its table to [`main`],
//! which speaks libtest's command line; every scenario then runs in a child process of its own,
//! inside a fresh mount, process and network namespace (and a user namespace when the caller is
//! not root). The child has its own `/run`, its own copy of `/etc` and a loopback interface;
//! killing it takes everything it started with it. Nothing it does reaches outside.

mod room;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Names the scenario to run in the child.
const SCENARIO_VARIABLE: &str = "POSTERN_LAB_SCENARIO";
/// Set in the copy that [`alone`] starts.
const ALONE_VARIABLE: &str = "POSTERN_LAB_ALONE";
/// How long one scenario may take before it counts as hung.
const LIMIT: Duration = Duration::from_secs(180);

/// Names how many minutes a scenario that moves data is to go on; `tests/soak data` sets it.
const SOAK_VARIABLE: &str = "POSTERN_SOAK_MINUTES";

/// Returns how long a scenario that can go on for long is to go on; nothing in a usual run.
pub fn soak() -> Duration {
    let minutes = std::env::var(SOAK_VARIABLE).ok().and_then(|minutes| minutes.parse::<u64>().ok());
    Duration::from_secs(60 * minutes.unwrap_or(0))
}

/// What to do where the system forbids namespaces.
pub const ADVICE: &str = "The lab needs mount, process and network namespaces: run it as root, or allow unprivileged \
     user namespaces (sysctl kernel.unprivileged_userns_clone=1; on Ubuntu also \
     kernel.apparmor_restrict_unprivileged_userns=0)";

/// One scenario: its name, as a sentence, and what it does.
pub type Scenario = (&'static str, fn() -> Result<()>);

/// What tells the child to play several scenarios, by the names it is then handed.
const TOGETHER: &str = "together";

/// The `main` of a test binary whose tests are scenarios.
pub fn main(scenarios: &'static [Scenario]) -> ExitCode {
    main_of(scenarios, &[])
}

/// As [`main`], for scenarios that share surroundings which take long to make, such as a guest: they
/// are played one after the other in one child. A failed scenario ends the child, so that the next
/// one begins in fresh surroundings.
pub fn main_together(scenarios: &'static [Scenario]) -> ExitCode {
    main_of(&[], scenarios)
}

/// As [`main`] for scenarios that stand alone, and [`main_together`] for the others.
pub fn main_of(alone: &'static [Scenario], together: &'static [Scenario]) -> ExitCode {
    match std::env::var(SCENARIO_VARIABLE).as_deref() {
        Ok(TOGETHER) => return room::serve(together),
        Ok(name) => return run_inside(alone, name),
        Err(_) => {}
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = if together.is_empty() { arguments.test_threads.or(Some(1)) } else { Some(1) };
    let failed = |error: anyhow::Error| Failed::from(format!("{error:#}"));
    let room = std::sync::Arc::new(std::sync::Mutex::new(None));
    let apart = alone.iter().map(|(name, _)| Trial::test(*name, move || run_outside(name).map_err(failed)));
    let shared = together.iter().map(|(name, _)| {
        let room = room.clone();
        Trial::test(*name, move || room::play(&room, name).map_err(failed))
    });
    libtest_mimic::run(&arguments, apart.chain(shared).collect()).exit_code()
}

/// Runs in the child: makes the surroundings private, then plays the scenario.
fn run_inside(scenarios: &[Scenario], name: &str) -> ExitCode {
    let Some((_, play)) = scenarios.iter().find(|(known, _)| *known == name) else {
        eprintln!("no scenario is called {name:?}");
        return ExitCode::FAILURE;
    };
    // Waiting for the children that the scenario leaves behind is the kernel's work: this process
    // is the first of its process namespace, and with it all others end.
    match make_private().and_then(|()| play()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            print_logs();
            ExitCode::FAILURE
        }
    }
}

/// Prints the ends of the logs that a failed scenario's programs left below `/run`.
fn print_logs() {
    let find = "find /run -path /run/private-etc -prune -o -name '*.log' -size +0 -exec sh -c 'echo \"--- $1\"; tail -n 60 \"$1\"' - {} \\;";
    if let Ok(output) = Command::new("sh").args(["-c", find]).output() {
        eprint!("{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// Runs in the parent: starts the child in namespaces and waits for it, with a limit.
fn run_outside(name: &str) -> Result<()> {
    let program = std::env::current_exe().context("finding this test's own program")?;
    let mut command = isolated(&program.to_string_lossy());
    command.env(SCENARIO_VARIABLE, name).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("starting unshare (package util-linux)")?;
    let output = collect([child.stdout.take().map(boxed), child.stderr.take().map(boxed)]);
    let status = wait(&mut child)?;
    let text = output.recv().unwrap_or_default();
    if status.success() {
        if !soak().is_zero() {
            // A soak's figures are wanted when all went well, too.
            eprint!("\n{text}");
        }
        return Ok(());
    }
    bail!("{status}\n{text}");
}

/// Returns the command that runs `program` in namespaces of its own: as root without, as an
/// ordinary user with a user namespace in which that user is mapped to root.
pub fn isolated(program: &str) -> Command {
    let mut command = isolated_here(program);
    // A process group of its own, so that a test runner's terminal signals do not tear it apart
    // before its parent has seen why.
    command.process_group(0);
    command
}

/// As [`isolated`], in the caller's process group: Ctrl-C reaches it.
///
/// Whatever ends the thread that starts the command, `kill -9` of its process too, ends the
/// namespaces and all that runs in them: `setpriv` asks the kernel for that, and `unshare` hands it on.
fn isolated_here(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare"]);
    if !nix::unistd::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]);
    command.arg(program);
    command
}

/// Runs `work` in a copy of this program that has namespaces of its own, given the same arguments.
///
/// # Errors
/// What `work` said, in the copy; here, that the copy failed (it has said why) or could not be
/// started, with what to do.
pub fn alone(work: impl FnOnce() -> Result<()>) -> Result<()> {
    if std::env::var_os(ALONE_VARIABLE).is_some() {
        make_private()?;
        return work();
    }
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = isolated_here(&program.to_string_lossy());
    let status = command
        .args(std::env::args_os().skip(1))
        .env(ALONE_VARIABLE, "1")
        .status()
        .with_context(|| format!("starting setpriv and unshare (package util-linux). {ADVICE}"))?;
    ensure!(status.success(), "see above; if nothing is there: {ADVICE}");
    Ok(())
}

/// Gives this process its own `/run` and `/etc` and brings its loopback interface up.
///
/// # Errors
/// When the system forbids it; the text says what to do.
fn make_private() -> Result<()> {
    for line in [
        "mount -t tmpfs tmpfs /run",
        "mkdir -p /run/netns /run/private-etc",
        "cp -a /etc/. /run/private-etc/ 2>/dev/null || true",
        "mount --rbind /run/private-etc /etc",
        "ip link set lo up",
    ] {
        let output = Command::new("sh").args(["-c", line]).output().with_context(|| format!("running {line:?}"))?;
        if !output.status.success() {
            bail!("{line:?} failed: {}. {ADVICE}", String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    Ok(())
}

fn boxed(stream: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(stream)
}

/// Reads the streams to their ends in the background and sends their text, first stream first.
fn collect(streams: [Option<Box<dyn Read + Send>>; 2]) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let readers: Vec<_> = streams
            .into_iter()
            .flatten()
            .map(|mut stream| {
                std::thread::spawn(move || {
                    let mut bytes = Vec::new();
                    // A broken pipe ends the text; what was read until then is still worth showing.
                    let _ = stream.read_to_end(&mut bytes);
                    String::from_utf8_lossy(&bytes).into_owned()
                })
            })
            .collect();
        let text: Vec<_> = readers.into_iter().filter_map(|reader| reader.join().ok()).collect();
        let _ = sender.send(text.concat());
    });
    receiver
}

/// Waits for the child, and ends it when it takes longer than [`LIMIT`].
fn wait(child: &mut std::process::Child) -> Result<std::process::ExitStatus> {
    let deadline = std::time::Instant::now() + LIMIT + soak();
    loop {
        if let Some(status) = child.try_wait().context("waiting for the scenario")? {
            return Ok(status);
        }
        if std::time::Instant::now() > deadline {
            child.kill().context("ending a hung scenario")?;
            child.wait().context("waiting for an ended scenario")?;
            bail!("the scenario took longer than {} s", LIMIT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn namespaces_end_with_whoever_made_them() {
        // The kernel looks at the thread that starts the command, so its end stands for a killed process.
        let starter = std::thread::spawn(|| {
            let mut command = isolated_here("sh");
            command.args(["-c", "echo up; exec sleep 1000"]).stdout(Stdio::piped());
            let mut child = command.spawn().expect("setpriv and unshare are there");
            let mut said = String::new();
            let _ = BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut said);
            (child, said)
        });
        let (mut child, said) = starter.join().expect("the starter does not panic");
        assert_eq!(said, "up\n", "{ADVICE}");
        assert_eq!(child.wait().expect("it can be waited for").signal(), Some(9));
    }
}
