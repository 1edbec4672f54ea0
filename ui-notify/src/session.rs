//! The conversation with the service: hello, subscribe, then events in and requests out, again
//! and again when the service goes and comes back.

use crate::model::{Effect, Model};
use crate::tray::Tray;
use crate::view::Command;
use crate::{notification, prompt};
use anyhow::{Context, Result, bail};
use postern_api::method::{Connect, Explain, Explanation, Hello, Method, PromptAnswer, TunnelName};
use postern_api::rpc::{self, Request, Response};
use postern_api::{Event, Prompt, PromptKind};
use serde::Serialize;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;

/// Pause before the service is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What reaches the session from inside the tray.
#[derive(Debug)]
pub enum Input {
    /// A menu entry was chosen.
    Command(Command),
    /// A person answered, or cancelled.
    Answered(u64, Option<String>),
}

/// Everything that lives across reconnections.
struct State<'a> {
    model: Model,
    tray: Tray,
    pinentry: &'a Path,
    inputs: UnboundedSender<Input>,
    questions: HashMap<u64, AbortHandle>,
    next_request: u64,
    /// The explanation that was asked for: the request's number, and of which tunnel.
    explaining: Option<(u64, String)>,
}

/// Runs until the person quits.
///
/// # Errors
/// Never because the service is away; only when the tray itself cannot go on.
pub async fn run(
    socket: &Path,
    pinentry: &Path,
    tray: Tray,
    inputs: UnboundedSender<Input>,
    mut requests: UnboundedReceiver<Input>,
) -> Result<()> {
    let mut state = State {
        model: Model::default(),
        tray,
        pinentry,
        inputs,
        questions: HashMap::new(),
        next_request: 1,
        explaining: None,
    };
    loop {
        state.redraw().await;
        match connect(socket).await {
            Ok(stream) => {
                let (reader, writer) = tokio::io::split(stream);
                match converse(&mut state, BufReader::new(reader), writer, &mut requests).await {
                    Ok(()) => return Ok(()),
                    Err(error) => tracing::info!("the service is away: {error:#}"),
                }
            }
            Err(error) => tracing::debug!("{error:#}"),
        }
        let lost = state.model.service_lost();
        state.perform(lost).await;
        state.redraw().await;
        let pause = tokio::time::sleep(RETRY);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                Some(input) = requests.recv() => match input {
                    Input::Command(Command::Quit) => return Ok(()),
                    Input::Command(Command::ShowLastNotice) => state.show_last_notice().await,
                    _ => {}
                },
            }
        }
    }
}

#[cfg(unix)]
async fn connect(socket: &Path) -> Result<tokio::net::UnixStream> {
    tokio::net::UnixStream::connect(socket).await.with_context(|| format!("opening {}", socket.display()))
}

#[cfg(windows)]
async fn connect(_socket: &Path) -> Result<tokio::net::windows::named_pipe::NamedPipeClient> {
    tokio::net::windows::named_pipe::ClientOptions::new()
        .open(r"\\.\pipe\postern-control")
        .context("opening the control pipe")
}

/// Speaks with the service until it goes (an error) or the person quits.
async fn converse(
    state: &mut State<'_>,
    mut reader: impl AsyncBufRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    requests: &mut UnboundedReceiver<Input>,
) -> Result<()> {
    let hello = Hello { protocol: rpc::PROTOCOL.into(), version: rpc::PROTOCOL_VERSION, client: "postern-tray".into() };
    state.call(&mut writer, Method::Hello, &hello).await?;
    state.call(&mut writer, Method::Subscribe, &serde_json::json!({})).await?;
    let mut line = Vec::new();
    loop {
        tokio::select! {
            outcome = read_line(&mut reader, &mut line) => {
                outcome?;
                let effects = state.take(&line)?;
                line.clear();
                // A desktop may take its time over a notification; the menu need not wait for it.
                state.redraw().await;
                state.perform(effects).await;
            }
            Some(input) = requests.recv() => match input {
                Input::Command(Command::Quit) => return Ok(()),
                Input::Command(Command::ShowLastNotice) => state.show_last_notice().await,
                Input::Command(command) => state.request(&mut writer, command).await?,
                Input::Answered(id, answer) => {
                    state.questions.remove(&id);
                    state.call(&mut writer, Method::PromptAnswer, &PromptAnswer { id, answer }).await?;
                }
            },
        }
    }
}

/// Appends to `line` up to a line feed; what a cancelled call read stays in `line`.
async fn read_line(reader: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> Result<()> {
    let room = u64::try_from(rpc::MAXIMUM_LINE.saturating_sub(line.len())).unwrap_or_default();
    if reader.take(room).read_until(b'\n', line).await.context("reading from the service")? == 0 {
        bail!("the service closed the connection, or sent a line without end");
    }
    Ok(())
}

impl State<'_> {
    /// Takes in one line; returns what is to be done.
    fn take(&mut self, line: &[u8]) -> Result<Vec<Effect>> {
        if !line.ends_with(b"\n") {
            bail!("the service sent a line without end");
        }
        if let Ok(request) = serde_json::from_slice::<Request>(line) {
            if request.method != "event" {
                return Ok(Vec::new());
            }
            // An event that this version does not know changes nothing.
            return Ok(serde_json::from_value::<Event>(request.params).map_or_else(
                |error| {
                    tracing::debug!("an event that is not understood: {error}");
                    Vec::new()
                },
                |event| self.model.apply(event),
            ));
        }
        let response: Response = serde_json::from_slice(line).context("the service sent what is no answer")?;
        if let Some(error) = response.error {
            tracing::info!("{}", error.message);
            self.model.last_failure = Some(error.message);
        } else if let Some((_, tunnel)) = self.explaining.take_if(|(number, _)| Some(*number) == response.id) {
            let explained = response.result.and_then(|result| serde_json::from_value::<Explanation>(result).ok());
            if let Some(explanation) = explained {
                self.model.explained = Some((tunnel.clone(), explanation.clone()));
                return Ok(vec![Effect::Explain(tunnel, explanation)]);
            }
        }
        Ok(Vec::new())
    }

    /// Sends what a menu entry asks for.
    async fn request(&mut self, writer: &mut (impl AsyncWrite + Unpin), command: Command) -> Result<()> {
        self.model.last_failure = None;
        match command {
            Command::Connect(tunnel) => {
                let parameters = Connect {
                    tunnel,
                    interactive: true,
                    trace: false,
                    disclose_keys: false,
                    timeout_seconds: None,
                    supplied: Vec::new(),
                };
                self.call(writer, Method::Connect, &parameters).await
            }
            Command::Disconnect(tunnel) => self.call(writer, Method::Disconnect, &TunnelName { tunnel }).await,
            Command::Dismiss(tunnel) => self.call(writer, Method::Dismiss, &TunnelName { tunnel }).await,
            Command::Explain(tunnel) => {
                self.explaining = Some((self.next_request, tunnel.clone()));
                self.call(writer, Method::PostureExplain, &Explain { subject: tunnel }).await
            }
            Command::Scan => self.call(writer, Method::Scan, &serde_json::json!({})).await,
            Command::ShowLastNotice | Command::Quit => Ok(()),
        }
    }

    async fn call(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
        method: Method,
        parameters: &impl Serialize,
    ) -> Result<()> {
        let parameters = serde_json::to_value(parameters).context("writing parameters")?;
        let request = Request::call(self.next_request, method.name(), parameters);
        self.next_request += 1;
        let mut line = serde_json::to_vec(&request).context("writing a request")?;
        line.push(b'\n');
        writer.write_all(&line).await.context("writing to the service")
    }

    async fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Notify(notice) => {
                    if let Err(error) = notification::show(&notice).await {
                        tracing::warn!("the notice could not be shown on the desktop: {error}");
                    }
                }
                Effect::Explain(tunnel, explanation) => {
                    if let Err(error) = notification::explain(&tunnel, &explanation).await {
                        tracing::warn!("the explanation could not be shown on the desktop: {error}");
                    }
                }
                Effect::Ask(prompt) => self.ask(prompt),
                Effect::Withdraw(id) => {
                    if let Some(question) = self.questions.remove(&id) {
                        question.abort();
                    }
                }
            }
        }
    }

    fn ask(&mut self, prompt: Prompt) {
        if prompt.kind == PromptKind::SignOn {
            return open_browser(&prompt);
        }
        let (inputs, pinentry, id) = (self.inputs.clone(), self.pinentry.to_owned(), prompt.id);
        let question = tokio::spawn(async move {
            let answer = prompt::ask(&pinentry, &prompt).await.unwrap_or_else(|error| {
                tracing::warn!("{error:#}");
                None
            });
            // When nobody listens any more, there is nobody to answer.
            let _ = inputs.send(Input::Answered(id, answer));
        });
        self.questions.insert(id, question.abort_handle());
    }

    async fn show_last_notice(&self) {
        if let Some(notice) = &self.model.last_notice
            && let Err(error) = notification::show(notice).await
        {
            tracing::warn!("the notice could not be shown on the desktop: {error}");
        }
    }

    async fn redraw(&mut self) {
        self.tray.draw(crate::view::view(&self.model)).await;
    }
}

/// Opens the user's browser for a sign-on, which ends by itself. Only what can be the service's own
/// listener is opened.
fn open_browser(prompt: &Prompt) {
    let Some(address) = &prompt.address else { return };
    let address = address.as_received();
    if !address.starts_with("http://localhost:") {
        return;
    }
    let mut command = tokio::process::Command::new("xdg-open");
    let quiet = std::process::Stdio::null;
    command.arg(address).stdin(quiet()).stdout(quiet()).stderr(quiet());
    if let Err(error) = command.spawn() {
        tracing::warn!("no browser could be opened: {error}; next: postern connect prints the address");
    }
}
