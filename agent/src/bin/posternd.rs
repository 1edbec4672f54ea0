//! The service of Postern.

use clap::{Parser, Subcommand};
use postern_agent::profile::Paths;
use postern_agent::service::child::probe;
use postern_agent::service::repair;
use postern_agent::service::start;
use postern_agent::service::tunnel::engine::TunnelEngine;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Postern's service.
#[derive(Debug, Parser)]
#[command(name = "posternd", version, about)]
struct Arguments {
    /// Directory of postern.toml and tunnels.d
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
    /// Directory of identity, cache and journal
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Directory of the control socket
    #[arg(long, value_name = "DIR")]
    runtime: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service (the default)
    Run,
    /// Take back what a service that died left on the network, as root and while none runs; what is blocked stays
    Repair {
        /// Lift what was blocked after a lost compliance, too
        #[arg(long)]
        lift_block: bool,
    },
    /// The network process; started by the service
    #[command(hide = true)]
    Net,
    /// Finds the addresses of a gateway; started by the service
    #[command(hide = true)]
    LookUp {
        /// The gateway's name
        name: String,
    },
    /// Asks those whom a gateway's certificate names whether it was revoked; started by the service
    #[command(hide = true)]
    Inquire,
    /// Uses a key in a token; started by the service
    #[command(hide = true)]
    Token,
    /// Tries what the network process must not be able to do, confined as it is
    #[command(hide = true)]
    NetProbe {
        /// Files to try to read and write
        paths: Vec<PathBuf>,
    },
    /// The vulnerability scan; started by the service
    #[command(hide = true)]
    ScanChild,
}

/// What the look-up has to say it says to the one who asked.
fn quietly<T, E>(outcome: Result<T, E>) -> ExitCode {
    outcome.map_or(ExitCode::FAILURE, |_| ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Some(Command::ScanChild)) {
        return start::scan_main().unwrap_or_else(|error| {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        });
    }
    let filter = EnvFilter::try_from_env("POSTERN_LOG")
        .or_else(|_| EnvFilter::try_from_default_env())
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    let outcome = match arguments.command {
        Some(Command::Net) => start::net_main(TunnelEngine::default()),
        Some(Command::LookUp { name }) => return quietly(start::look_up_main(&name)),
        Some(Command::Inquire) => start::inquire_main(),
        Some(Command::Token) => start::token_main(),
        Some(Command::NetProbe { paths }) => probe::main(&paths).map_err(Into::into),
        Some(Command::Repair { lift_block }) => {
            repair::main(&Paths::settle(arguments.config, arguments.state, arguments.runtime), lift_block)
        }
        _ => start::main(Paths::settle(arguments.config, arguments.state, arguments.runtime)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
