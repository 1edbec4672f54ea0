//! One child that plays several scenarios, one after the other.
//!
//! The parent writes a scenario's name to the child's standard input, a line each; the child answers
//! on its standard output with the line `passed`, or `failed` and the reasons as one JSON string.

use super::{LIMIT, SCENARIO_VARIABLE, Scenario, TOGETHER, isolated, make_private, print_logs};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ExitCode, Stdio};
use std::sync::{Mutex, mpsc};

/// A child that waits for scenarios.
#[derive(Debug)]
pub(super) struct Room {
    child: Child,
    names: ChildStdin,
    verdicts: mpsc::Receiver<String>,
}

impl Drop for Room {
    fn drop(&mut self) {
        // It may have ended by itself; both calls then do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Room {
    fn open() -> Result<Self> {
        let program = std::env::current_exe().context("finding this test's own program")?;
        let mut command = isolated(&program.to_string_lossy());
        command.env(SCENARIO_VARIABLE, TOGETHER).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("starting unshare (package util-linux)")?;
        let names = child.stdin.take().context("the child's standard input")?;
        let stdout = child.stdout.take().context("the child's standard output")?;
        let (sender, verdicts) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, names, verdicts })
    }
}

/// Runs in the parent: has the child play one scenario.
pub(super) fn play(room: &Mutex<Option<Room>>, name: &str) -> Result<()> {
    let mut room = room.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut open = match room.take() {
        Some(open) => open,
        None => Room::open()?,
    };
    writeln!(open.names, "{name}").context("the child has ended")?;
    loop {
        let verdict = open.verdicts.recv_timeout(LIMIT + super::soak());
        match verdict.as_deref() {
            Ok("passed") => {
                *room = Some(open);
                return Ok(());
            }
            Ok(line) => {
                if let Some(reasons) = line.strip_prefix("failed ") {
                    bail!("{}", serde_json::from_str::<String>(reasons).unwrap_or_else(|_| reasons.to_owned()));
                }
                // Anything else is what a program in the child printed.
            }
            Err(mpsc::RecvTimeoutError::Timeout) => bail!("the scenario took longer than {} s", LIMIT.as_secs()),
            Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the child ended"),
        }
    }
}

/// Runs in the child: plays what it is told until its standard input ends, or one scenario fails.
pub(super) fn serve(scenarios: &[Scenario]) -> ExitCode {
    if let Err(error) = make_private() {
        say_failed(&error);
        return ExitCode::FAILURE;
    }
    for name in std::io::stdin().lock().lines().map_while(Result::ok) {
        let outcome = match scenarios.iter().find(|(known, _)| *known == name) {
            Some((_, play)) => play(),
            None => Err(anyhow::anyhow!("no scenario is called {name:?}")),
        };
        match outcome {
            Ok(()) => println!("passed"),
            Err(error) => {
                print_logs();
                say_failed(&error);
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn say_failed(error: &anyhow::Error) {
    let reasons = serde_json::Value::from(format!("{error:#}"));
    println!("failed {reasons}");
}
