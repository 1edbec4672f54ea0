//! Answers for prompts: from a file, from standard input, or from the person at the terminal.

use super::output;
use postern_api::fault::{Fault, FaultName};
use postern_api::prompt::{Prompt, PromptKind};
use std::collections::VecDeque;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use zeroize::Zeroizing;

/// The longest secret that is read, in bytes.
const MAXIMUM_SECRET: u64 = 64 << 10;

/// Whether the terminal hides what is typed at this moment.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Where answers come from.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) user: Option<String>,
    pub(super) password: Option<Zeroizing<String>>,
    pub(super) pre_shared_key: Option<Zeroizing<String>>,
    /// Lines for whatever else is asked, in order.
    pub(super) lines: VecDeque<Zeroizing<String>>,
}

impl Answers {
    /// Tells whether at least some question can be answered.
    pub(super) fn can_answer(&self) -> bool {
        output::has_terminal()
            || self.user.is_some()
            || self.password.is_some()
            || self.pre_shared_key.is_some()
            || !self.lines.is_empty()
    }

    /// Returns the secrets that were given for this connection.
    pub(super) fn supplied(&self) -> Vec<PromptKind> {
        let password = self.password.as_ref().map(|_| PromptKind::Password);
        password.into_iter().chain(self.pre_shared_key.as_ref().map(|_| PromptKind::PreSharedKey)).collect()
    }

    /// Answers one prompt; each given secret answers once, so that a wrong one is not repeated.
    ///
    /// # Errors
    /// `InputNeeded` when nothing was given for it and there is no terminal.
    pub(super) async fn answer(&mut self, prompt: &Prompt) -> Result<Zeroizing<String>, Fault> {
        let given = match prompt.kind {
            PromptKind::UserName => self.user.take().map(Zeroizing::new),
            PromptKind::Password => self.password.take(),
            PromptKind::PreSharedKey => self.pre_shared_key.take(),
            // It ends by itself.
            PromptKind::SignOn => None,
            PromptKind::NewPassword
            | PromptKind::OneTimeCode
            | PromptKind::PostQuantumKey
            | PromptKind::PrivateKey
            | PromptKind::KeyPassphrase => self.lines.pop_front(),
        };
        if let Some(given) = given {
            return Ok(given);
        }
        if !output::has_terminal() {
            return Err(input_needed(&prompt.tunnel.for_one_line(), &prompt.text.for_one_line()));
        }
        let question = format!("{}: ", prompt.text.for_one_line());
        let secret = prompt.kind.is_secret();
        if prompt.kind == PromptKind::NewPassword {
            return typed_twice(question).await;
        }
        at_terminal(question, secret).await
    }
}

/// Asks for a new secret until it was typed the same way twice.
async fn typed_twice(question: String) -> Result<Zeroizing<String>, Fault> {
    loop {
        let first = at_terminal(question.clone(), true).await?;
        let second = at_terminal("Again: ".to_owned(), true).await?;
        if first == second {
            return Ok(first);
        }
        eprintln!("The two are not the same.");
    }
}

/// Tells where to sign on, and opens a browser there where that is wanted.
pub(super) fn sign_on(prompt: &Prompt, browser: bool) {
    let Some(address) = &prompt.address else { return };
    output::aside(format!("{}: {}", prompt.text.for_one_line(), address.for_one_line()));
    // Only what can be the service's own listener is handed to another program.
    if browser && address.as_received().starts_with("http://localhost:") {
        let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
        let mut command = std::process::Command::new(opener);
        let quiet = std::process::Stdio::null;
        command.arg(address.as_received()).stdin(quiet()).stdout(quiet()).stderr(quiet());
        if let Err(error) = command.spawn() {
            output::aside(format!("no browser could be opened ({opener}: {error}); open the address yourself"));
        }
    }
}

/// Asks the person at the terminal.
pub(super) async fn at_terminal(question: String, secret: bool) -> Result<Zeroizing<String>, Fault> {
    let asked = tokio::task::spawn_blocking(move || {
        if secret {
            SILENT.store(true, Ordering::SeqCst);
            let answer = rpassword::prompt_password(&question);
            SILENT.store(false, Ordering::SeqCst);
            return answer;
        }
        eprint!("{question}");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line.trim_end_matches(['\r', '\n']).to_owned())
    });
    match asked.await {
        Ok(Ok(answer)) => Ok(Zeroizing::new(answer)),
        _ => Err(input_needed("", "the terminal gave no answer")),
    }
}

/// Gives the terminal its echo back, when a question that hid the answer was broken off.
pub(super) fn leave_terminal() {
    if SILENT.load(Ordering::SeqCst) {
        let _ = std::process::Command::new("stty").arg("echo").status();
        output::aside("");
    }
}

/// Makes the fault of a question that nobody can answer.
pub(super) fn input_needed(subject: &str, question: &str) -> Fault {
    Fault::new(
        FaultName::InputNeeded,
        subject,
        format!("needs an answer and there is no terminal: {question}"),
        "give it by file or standard input (see postern connect --help)",
    )
}

/// Reads a secret from a file; its line end does not belong to it.
pub(super) fn from_file(path: &Path) -> Result<Zeroizing<String>, Fault> {
    let file = std::fs::File::open(path).map_err(|error| unreadable(path, &error.to_string()))?;
    read_secret(file).map_err(|problem| unreadable(path, &problem))
}

/// Reads answers from standard input, one a line, to its end.
pub(super) fn lines_from_stdin() -> Result<VecDeque<Zeroizing<String>>, Fault> {
    let text = from_stdin()?;
    Ok(text.lines().map(|line| Zeroizing::new(line.to_owned())).collect())
}

/// Reads a secret from standard input, to its end.
pub(super) fn from_stdin() -> Result<Zeroizing<String>, Fault> {
    read_secret(std::io::stdin().lock()).map_err(|problem| unreadable(Path::new("standard input"), &problem))
}

fn read_secret(source: impl Read) -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::new());
    source.take(MAXIMUM_SECRET).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    if text.is_empty() { Err("is empty".into()) } else { Ok(text) }
}

fn unreadable(path: &Path, problem: &str) -> Fault {
    Fault::new(FaultName::UsageInvalid, path.display().to_string(), format!("cannot be used: {problem}"), "")
}
