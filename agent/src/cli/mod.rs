//! The command line `postern`: one file a command.
//!
//! Each command takes a `Session` (arguments that all share, the control socket) and ends in
//! `Ok` or in a [`Fault`], which is printed in one place and decides the exit code. `--json`
//! prints one object a line. Secrets come by prompt, file or standard input, never as an argument
//! or from the environment.

mod ask;
mod capture;
mod completions;
mod connect;
mod debug;
mod disconnect;
mod doctor;
mod effective;
mod enroll;
mod import;
mod keys;
mod logs;
mod monitor;
mod output;
mod posture;
mod profile;
mod release;
mod repair;
mod scan;
mod status;
mod trace;
mod tunnel;

use crate::control::Client;
use crate::profile::Paths;
use clap::{Parser, Subcommand};
use postern_api::fault::{Fault, FaultName};
use std::path::PathBuf;
use std::process::ExitCode;

/// Postern: a VPN client that connects a device only while it is fit.
#[derive(Debug, Parser)]
#[command(name = "postern", version, about = "Connects this device to a VPN while it is fit", max_term_width = 100)]
pub struct Arguments {
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
    /// Directory of postern.toml and tunnels.d
    #[arg(long, global = true, value_name = "DIR")]
    config: Option<PathBuf>,
    /// Directory of the service's state
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Directory of the control socket
    #[arg(long, global = true, value_name = "DIR")]
    runtime: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Connect a tunnel and return when it is up
    #[command(visible_alias = "up")]
    Connect(connect::Arguments),
    /// Disconnect a tunnel, or all, and lift what was blocked
    #[command(visible_alias = "down")]
    Disconnect(disconnect::Arguments),
    /// Show where everything stands
    Status(status::Arguments),
    /// Show events as they happen
    Monitor,
    /// List, show, add and remove tunnels
    #[command(subcommand)]
    Tunnel(tunnel::Command),
    /// Enrol with an EMS by invitation
    Enroll(enroll::Arguments),
    /// Leave the EMS, where it allows that
    Unenroll,
    /// End a quarantine with the administrator's code
    Release(release::Arguments),
    /// Override the host check for a time with the administrator's code
    BreakGlass(release::Arguments),
    /// Show tags, facts and the report to EMS, or explain a verdict
    Posture(posture::Arguments),
    /// Look for vulnerable packages now
    Scan(scan::Arguments),
    /// Check and show profiles
    #[command(subcommand)]
    Profile(profile::Command),
    /// Look for what keeps Postern from working
    Doctor,
    /// Take back whatever a crash left behind
    Repair,
    /// Show what the service logged
    Logs(logs::Arguments),
    /// Gather what helps to find a fault
    #[command(subcommand)]
    Debug(debug::Command),
    /// Print completions for a shell
    Completions(completions::Arguments),
    /// Print the manual page, of postern or of one of its commands
    Man(completions::Page),
}

/// What every command is given.
struct Session {
    json: bool,
    paths: Paths,
}

impl Session {
    async fn open(&self) -> Result<Client, Fault> {
        Client::open(&self.paths.socket(), "postern").await
    }
}

/// Returns the command line's definition, for completions and manual pages.
pub fn definition() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// Runs `postern` and returns its exit code.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let session =
        Session { json: arguments.json, paths: Paths::settle(arguments.config, arguments.state, arguments.runtime) };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let fault = Fault::new(FaultName::Internal, "", format!("no runtime ({error})"), "");
            return output::fault(session.json, &fault);
        }
    };
    let outcome = runtime.block_on(async {
        match arguments.command {
            // Has a farewell of its own.
            Command::Connect(arguments) => connect::run(&session, arguments).await,
            command => tokio::select! {
                outcome = dispatch(&session, command) => outcome,
                () = interrupted() => Err(cancelled()),
            },
        }
    });
    // A prompt that still waits for a line must not keep the process, nor the terminal silent.
    runtime.shutdown_background();
    ask::leave_terminal();
    match outcome {
        Ok(()) => output::finish(),
        Err(fault) => output::fault(session.json, &fault),
    }
}

async fn dispatch(session: &Session, command: Command) -> Result<(), Fault> {
    match command {
        Command::Connect(arguments) => connect::run(session, arguments).await,
        Command::Disconnect(arguments) => disconnect::run(session, arguments).await,
        Command::Status(arguments) => status::run(session, arguments).await,
        Command::Monitor => monitor::run(session).await,
        Command::Tunnel(command) => tunnel::run(session, command).await,
        Command::Enroll(arguments) => enroll::run(session, arguments).await,
        Command::Unenroll => enroll::leave(session).await,
        Command::Release(arguments) => release::run(session, arguments).await,
        Command::BreakGlass(arguments) => release::break_glass(session, arguments).await,
        Command::Posture(arguments) => posture::run(session, arguments).await,
        Command::Scan(arguments) => scan::run(session, arguments).await,
        Command::Profile(command) => profile::run(session, command).await,
        Command::Doctor => doctor::run(session).await,
        Command::Repair => repair::run(session).await,
        Command::Logs(arguments) => logs::run(session, arguments).await,
        Command::Debug(command) => debug::run(session, command).await,
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(page) => completions::manual(&page),
    }
}

/// Makes the fault of a command that was interrupted.
fn cancelled() -> Fault {
    Fault::new(FaultName::Cancelled, "", "interrupted", "")
}

/// Waits for Ctrl-C or a polite end.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        // A terminal that is closed hangs up: whoever stays in the foreground goes with it.
        let mut hang_up = if ignores_hang_up() { None } else { signal(SignalKind::hangup()).ok() };
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
                Some(_) = async { hang_up.as_mut()?.recv().await } => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Tells whether the caller wants it to outlive its terminal (`nohup`); where nobody can tell, it does.
#[cfg(unix)]
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The first signal is the lowest bit.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_none_or(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        definition().debug_assert();
    }

    #[test]
    fn no_argument_and_no_variable_carries_a_secret() {
        fn walk(command: &clap::Command) {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                let takes_value = argument.get_action().takes_values();
                let secret =
                    ["password", "psk", "code", "invitation", "passphrase"].iter().any(|word| name.contains(word));
                assert!(!(secret && takes_value) || name.ends_with("file"), "{}: {name}", command.get_name());
                assert!(argument.get_env().is_none(), "{name} is read from the environment");
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&definition());
    }
}
