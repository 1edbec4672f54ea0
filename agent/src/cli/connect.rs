//! `postern connect`.

use super::ask::{self, Answers};
use super::capture::Capture;
use super::keys::Tables;
use super::trace::Log;
use super::{Session, output};
use crate::control::Client;
use clap::Args;
use postern_api::event::Event;
use postern_api::fault::{Fault, FaultName};
use postern_api::method::{Connect, Method, PromptAnswer, TunnelName};
use postern_api::prompt::PromptKind;
use postern_api::state::{ConnectionState, PostureStanding, TunnelStatus};
use postern_api::text::PlainText;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long nothing may come before what is told is taken as whole: the answer that the tunnel is up
/// can overtake the last lines.
const QUIET: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The tunnel
    tunnel: String,
    /// Stay until the tunnel ends; Ctrl-C disconnects
    #[arg(long, short)]
    foreground: bool,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Open a browser where a sign-on is asked for; its address is printed in any case
    #[arg(long)]
    browser: bool,
    /// The user's name, should it be asked for
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Read the password from a file
    #[arg(long, value_name = "FILE", conflicts_with = "password_stdin")]
    password_file: Option<PathBuf>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Read the pre-shared key from a file
    #[arg(long, value_name = "FILE", conflicts_with = "psk_stdin")]
    psk_file: Option<PathBuf>,
    /// Read the pre-shared key from standard input
    #[arg(long, conflicts_with = "password_stdin")]
    psk_stdin: bool,
    /// Read answers to whatever else is asked (a new password, a code, a passphrase) from standard input, one a line
    #[arg(long, conflicts_with_all = ["password_stdin", "psk_stdin"])]
    answers_stdin: bool,
    /// Write each IKE message to a file, or to standard output (-): names of payloads and sizes, no
    /// content. Goes on for as long as the command stays
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Capture the packets of IKE and ESP in UDP, and ESP, to a new file in pcap's form; for root
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Write the tunnel's KEYS to Wireshark's tables in a new folder; for root. Whoever has them reads
    /// all that the tunnel carries. Goes on for as long as the command stays
    #[arg(long, value_name = "DIR")]
    disclose_keys: Option<PathBuf>,
}

/// What is written down of what the service tells.
struct Readers {
    log: Log,
    keys: Tables,
}

impl Readers {
    fn note(&mut self, event: &Event) {
        self.log.note(event);
        self.keys.note(event);
    }

    /// Writes what is still on its way.
    async fn drain(&mut self, events: &mut mpsc::Receiver<Event>) {
        while (self.log.is_on() || self.keys.is_on())
            && let Ok(Some(event)) = tokio::time::timeout(QUIET, events.recv()).await
        {
            self.note(&event);
        }
    }
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Result<(), Fault> {
    let mut answers = Answers { user: arguments.user.clone(), ..Answers::default() };
    if let Some(path) = &arguments.password_file {
        answers.password = Some(ask::from_file(path)?);
    } else if arguments.password_stdin {
        answers.password = Some(ask::from_stdin()?);
    }
    if let Some(path) = &arguments.psk_file {
        answers.pre_shared_key = Some(ask::from_file(path)?);
    } else if arguments.psk_stdin {
        answers.pre_shared_key = Some(ask::from_stdin()?);
    }
    if arguments.answers_stdin {
        answers.lines = ask::lines_from_stdin()?;
    }
    let mut readers = Readers {
        log: Log::open(arguments.trace.as_deref(), session.json)?,
        keys: Tables::make(arguments.disclose_keys.as_deref())?,
    };
    let _capture = arguments.capture.as_deref().map(Capture::start).transpose()?;
    let mut client = session.open().await?;
    let mut events = client.take_events().unwrap_or_else(|| mpsc::channel(1).1);
    if arguments.foreground {
        client.ask::<Value>(Method::Subscribe).await?;
    }
    let request = Connect {
        tunnel: arguments.tunnel.clone(),
        interactive: answers.can_answer(),
        trace: readers.log.is_on(),
        disclose_keys: readers.keys.is_on(),
        timeout_seconds: arguments.timeout,
        supplied: answers.supplied(),
    };
    // One listener for the whole command: a Ctrl-C between two steps counts in the next.
    let interruption = super::interrupted();
    tokio::pin!(interruption);
    let outcome = tokio::select! {
        outcome = bring_up(&client, &mut events, &request, answers, (arguments.browser, &mut readers)) => outcome,
        // Hanging up is what ends the attempt.
        () = &mut interruption => return Err(super::cancelled()),
    };
    readers.drain(&mut events).await;
    let status = outcome?;
    shown(session.json, &status);
    if !arguments.foreground {
        return Ok(());
    }
    tokio::select! {
        fault = until_lost(session.json, &mut events, &status, &mut readers) => Err(fault),
        () = &mut interruption => {
            let name = TunnelName { tunnel: arguments.tunnel };
            client.call::<Value>(Method::Disconnect, &name).await?;
            Err(Fault::new(FaultName::Cancelled, status.name, "disconnected on request", ""))
        }
    }
}

/// Waits for the connection and answers what is asked meanwhile.
async fn bring_up(
    client: &Client,
    events: &mut mpsc::Receiver<Event>,
    request: &Connect,
    mut answers: Answers,
    (browser, readers): (bool, &mut Readers),
) -> Result<TunnelStatus, Fault> {
    let connecting = client.call::<TunnelStatus>(Method::Connect, request);
    tokio::pin!(connecting);
    let mut last_prompt = 0;
    let mut last_progress = PlainText::from("");
    loop {
        let event = tokio::select! {
            outcome = &mut connecting => return outcome,
            Some(event) = events.recv() => event,
        };
        readers.note(&event);
        let prompt = match event {
            Event::Prompt { prompt } => prompt,
            // A subscriber is told twice.
            Event::Progress { tunnel, text } if tunnel.as_received() == request.tunnel && text != last_progress => {
                output::aside(text.for_one_line());
                last_progress = text;
                continue;
            }
            _ => continue,
        };
        // A subscriber that asked for the connection is told each prompt twice.
        if prompt.id == last_prompt || prompt.tunnel.as_received() != request.tunnel {
            continue;
        }
        last_prompt = prompt.id;
        if prompt.kind == PromptKind::SignOn {
            ask::sign_on(&prompt, browser);
            continue;
        }
        let answer = tokio::select! {
            outcome = &mut connecting => return outcome,
            answer = answers.answer(&prompt) => answer,
        };
        let given = PromptAnswer { id: prompt.id, answer: answer.as_ref().ok().map(|answer| answer.to_string()) };
        match client.call::<Value>(Method::PromptAnswer, &given).await {
            // Somebody else, such as the tray, was faster.
            Err(fault) if fault.name == FaultName::UsageInvalid => continue,
            outcome => outcome?,
        };
        answer?;
    }
}

fn shown(json: bool, status: &TunnelStatus) {
    if json {
        return output::json(status);
    }
    output::line(super::status::sentence(status));
    if status.posture == PostureStanding::NotEnforced {
        output::line("posture not enforced");
    }
    if let PostureStanding::Audit { would_be } = &status.posture {
        output::line(format!("audit only, this would have been refused: {would_be}"));
    }
    if let PostureStanding::Overridden { would_be, until } = &status.posture {
        output::line(format!("OVERRIDDEN by a break-glass code until {until}, would have been refused: {would_be}"));
    }
    for warning in status.established.iter().flat_map(|established| &established.warnings) {
        output::line(format!("warning: {}", warning.for_one_line()));
    }
}

/// Follows the tunnel until it is neither up nor on its way up again.
async fn until_lost(json: bool, events: &mut mpsc::Receiver<Event>, up: &TunnelStatus, readers: &mut Readers) -> Fault {
    while let Some(event) = events.recv().await {
        readers.note(&event);
        let tunnel = match event {
            Event::Tunnel { tunnel } if tunnel.name == up.name => tunnel,
            Event::Snapshot { status } => match status.tunnels.into_iter().find(|tunnel| tunnel.name == up.name) {
                Some(tunnel) => tunnel,
                None => break,
            },
            _ => continue,
        };
        if json {
            output::json(&tunnel);
        }
        if matches!(
            tunnel.state,
            ConnectionState::Disconnected | ConnectionState::Blocked | ConnectionState::Quarantined
        ) {
            return tunnel
                .last_fault
                .unwrap_or_else(|| Fault::new(FaultName::Cancelled, tunnel.name, "disconnected on request", ""));
        }
    }
    Fault::new(FaultName::ServiceUnavailable, up.name.clone(), "the service went away", "systemctl status posternd")
}
