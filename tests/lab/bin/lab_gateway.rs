//! The lab gateway's program: runs it, or talks to one that runs.

use anyhow::Result;
use clap::{Parser, Subcommand};
use lab::gateway::{Settings, console, daemon::Daemon};
use std::path::PathBuf;

#[derive(Parser)]
#[command(name = "lab-gateway", about = "An IKEv2 gateway for tests, in the manner of a FortiGate dial-up server")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a gateway until it is killed; prints `ready` when it can be dialled.
    Run {
        /// The configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
    /// Prints what FortiOS's command of the same words prints.
    Diagnose {
        /// The gateway's command socket.
        #[arg(long)]
        socket: PathBuf,
        /// For example: firewall dynamic list "EMS1_ZTNA_Telemetry Connected".
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// Changes a setting of the tunnel, as in `config vpn ipsec phase1-interface`.
    Set {
        /// The gateway's command socket.
        #[arg(long)]
        socket: PathBuf,
        /// remote-gw-match, remote-gw-ztna-tags or psk.
        name: String,
        /// The new values.
        values: Vec<String>,
    },
    /// Deletes every IKE SA, telling the clients.
    Flush {
        /// The gateway's command socket.
        #[arg(long)]
        socket: PathBuf,
    },
    /// Asks every client whether it lives.
    CheckLiveness {
        /// The gateway's command socket.
        #[arg(long)]
        socket: PathBuf,
    },
}

fn main() -> Result<()> {
    let (socket, request) = match Arguments::parse().command {
        Command::Run { config } => {
            let daemon = Daemon::start(Settings::load(&config)?)?;
            println!("ready");
            return daemon.run();
        }
        Command::Diagnose { socket, words } => (socket, console::Request::Diagnose { words }),
        Command::Set { socket, name, values } => (socket, console::Request::Set { name, values }),
        Command::Flush { socket } => (socket, console::Request::Flush),
        Command::CheckLiveness { socket } => (socket, console::Request::CheckLiveness),
    };
    print!("{}", console::ask(&socket, &request)?);
    Ok(())
}
