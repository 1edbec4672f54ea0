//! `lab-ems`: runs the lab EMS, and administers a running one.
//!
//! `lab-ems run` prints one line of JSON when it listens. `lab-ems admin` does one thing and prints
//! one object of JSON, with the moment of the change (`unix_milliseconds`, `boottime_nanoseconds`).

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use lab::ems::office::AdministratorRequest as Request;
use lab::ems::{Administrator, LabEms, Settings, Sharing};
use posture::rules::TagName;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};

/// The endpoint management server of Postern's lab.
#[derive(Parser)]
#[command(name = "lab-ems", version)]
struct Command {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs EMS until it is stopped.
    Run(Run),
    /// Does one thing at a running EMS.
    Admin {
        /// The state directory of the running EMS.
        #[arg(long)]
        state: PathBuf,
        #[command(subcommand)]
        action: Action,
    },
}

#[derive(Args)]
struct Run {
    /// Keys, database and the administrator's socket.
    #[arg(long)]
    state: PathBuf,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// A name or address for which EMS's certificate holds; the first is the one in invitations.
    #[arg(long = "name")]
    names: Vec<String>,
    /// Milliseconds between two heartbeats of a push stream.
    #[arg(long)]
    heartbeat_milliseconds: Option<u64>,
    /// Seconds between two reports of an endpoint on which nothing changes.
    #[arg(long)]
    keep_alive_seconds: Option<u64>,
    /// Seconds after which a silent endpoint counts as gone.
    #[arg(long)]
    offline_after_seconds: Option<u64>,
    /// Seconds for which an endpoint's certificate holds.
    #[arg(long)]
    certificate_seconds: Option<u64>,
    /// A loopback address on which the administrator's interface is served too.
    #[arg(long)]
    administration: Option<SocketAddr>,
}

#[derive(Clone, Copy, ValueEnum)]
enum SharingMode {
    /// Only endpoints connected to this fabric device.
    Connected,
    /// All endpoints.
    All,
}

#[derive(Clone, Copy, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Subcommand)]
enum Action {
    /// Does what a JSON file says, in the form of the administrator's requests (`-`: standard input).
    Request { file: PathBuf },
    /// Signs with a new key from now on.
    RotateSigningKey {
        /// For how long the older key holds beside it, in seconds.
        #[arg(long, default_value_t = 30 * 86_400)]
        overlap: u64,
    },
    /// Lists the certificates of an endpoint.
    ListCertificates { endpoint: String },
    /// Revokes a certificate.
    RevokeCertificate { serial: String },
    /// Makes an invitation.
    MakeInvitation {
        /// For whom.
        #[arg(long, default_value = "")]
        label: String,
        /// For how long it holds, in seconds.
        #[arg(long, default_value_t = 3600)]
        valid: u64,
        /// How often it can be used; 0 is without a limit.
        #[arg(long, default_value_t = 1)]
        uses: u64,
        /// The group of the endpoints that it lets in.
        #[arg(long)]
        group: Option<String>,
    },
    /// Replaces the profile by a JSON file (`-`: standard input).
    SetProfile { file: PathBuf },
    /// Shows the profile.
    ShowProfile,
    /// Replaces the tagging rules by a JSON file with a list of rule sets (`-`: standard input).
    SetRules { file: PathBuf },
    /// Shows the tagging rules.
    ShowRules,
    /// Makes a tag known that people give by hand.
    DefineTag { tag: String },
    /// Gives a tag to an endpoint (identifier or host name).
    SetTag { endpoint: String, tag: String },
    /// Takes a tag away from an endpoint.
    UnsetTag { endpoint: String, tag: String },
    /// Lists endpoints with their tags.
    ListEndpoints,
    /// Shows the facts of an endpoint.
    ShowFacts { endpoint: String },
    /// Lists events.
    ListEvents {
        /// The number of the last one that is not wanted.
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
    /// Removes an endpoint.
    RemoveEndpoint { endpoint: String },
    /// Puts an endpoint into quarantine or out of it.
    Quarantine {
        endpoint: String,
        switch: Switch,
        /// What its users are told.
        #[arg(long)]
        message: Option<String>,
    },
    /// Makes a code that overrides the host check of an endpoint for a time.
    MakeBreakGlass {
        endpoint: String,
        /// Why: for the audit.
        #[arg(long)]
        reason: String,
        /// For how long it can be used, in seconds.
        #[arg(long, default_value_t = 3_600)]
        use_within: u32,
        /// For how long it then lasts, in seconds.
        #[arg(long, default_value_t = 3_600)]
        lasts: u32,
    },
    /// Lists what administrators did.
    ListAudit {
        /// The number of the last one that is not wanted.
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
    /// Makes an endpoint scan.
    Scan { endpoint: String },
    /// Adds a gateway and prints its token.
    AddDevice { device: String },
    /// Sets which endpoints a gateway is told of.
    SetSharing { device: String, sharing: SharingMode },
    /// Shows what a gateway is told.
    ShowAddresses { device: String },
    /// Shows EMS's identifier, pin and authority.
    ShowAuthority,
}

#[tokio::main]
async fn main() -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("LAB_EMS_LOG");
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")))
        .init();
    match Command::parse().task {
        Task::Run(run) => serve(run).await,
        Task::Admin { state, action } => {
            let answer = Administrator::of_state(&state)?.ask(&request(action)?).await?;
            println!("{answer}");
            Ok(())
        }
    }
}

async fn serve(run: Run) -> Result<()> {
    let (mut end, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let ems = LabEms::start(Settings {
        state: run.state,
        listen: run.listen,
        names: run.names,
        heartbeat_milliseconds: run.heartbeat_milliseconds,
        keep_alive_seconds: run.keep_alive_seconds,
        offline_after_seconds: run.offline_after_seconds,
        certificate_seconds: run.certificate_seconds,
        administration: run.administration,
    })
    .await?;
    println!(
        "{}",
        json!({"ready": true, "address": ems.address(), "socket": ems.administrator_socket(),
            "administration": ems.administration()})
    );
    tokio::select! {
        () = ems.run() => anyhow::bail!("EMS ended by itself"),
        _ = end.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

fn request(action: Action) -> Result<Request> {
    Ok(match action {
        Action::Request { file } => read(&file)?,
        Action::RotateSigningKey { overlap } => Request::RotateSigningKey { overlap_seconds: overlap },
        Action::ListCertificates { endpoint } => Request::ListCertificates { endpoint },
        Action::RevokeCertificate { serial } => Request::RevokeCertificate { serial },
        Action::MakeInvitation { label, valid, uses, group } => {
            Request::MakeInvitation { label, valid_seconds: valid, uses, group }
        }
        Action::SetProfile { file } => Request::SetProfile { profile: read(&file)? },
        Action::ShowProfile => Request::ShowProfile,
        Action::SetRules { file } => Request::SetRules { rule_sets: read(&file)? },
        Action::ShowRules => Request::ShowRules,
        Action::DefineTag { tag } => Request::DefineTag { tag: TagName::new(tag) },
        Action::SetTag { endpoint, tag } => Request::SetTag { endpoint, tag: TagName::new(tag) },
        Action::UnsetTag { endpoint, tag } => Request::UnsetTag { endpoint, tag: TagName::new(tag) },
        Action::ListEndpoints => Request::ListEndpoints,
        Action::ShowFacts { endpoint } => Request::ShowFacts { endpoint },
        Action::ListEvents { after } => Request::ListEvents { after, endpoint: None },
        Action::RemoveEndpoint { endpoint } => Request::RemoveEndpoint { endpoint },
        Action::Quarantine { endpoint, switch, message } => {
            Request::Quarantine { endpoint, on: matches!(switch, Switch::On), message }
        }
        Action::MakeBreakGlass { endpoint, reason, use_within, lasts } => {
            Request::MakeBreakGlass { endpoint, use_within_seconds: use_within, lasts_seconds: lasts, reason }
        }
        Action::ListAudit { after } => Request::ListAudit { after },
        Action::Scan { endpoint } => Request::Scan { endpoint },
        Action::AddDevice { device } => Request::AddDevice { device },
        Action::SetSharing { device, sharing } => {
            let sharing = match sharing {
                SharingMode::Connected => Sharing::Connected,
                SharingMode::All => Sharing::All,
            };
            Request::SetSharing { device, sharing }
        }
        Action::ShowAddresses { device } => Request::ShowAddresses { device },
        Action::ShowAuthority => Request::ShowAuthority,
    })
}

fn read<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let text = match file == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin())?,
        false => std::fs::read_to_string(file).with_context(|| file.display().to_string())?,
    };
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}
