//! Questions to a person, asked through pinentry: the desktop's own program for secrets.
//!
//! pinentry speaks the Assuan protocol on its standard streams: one command a line, answered by
//! `OK`, `ERR` or data lines (`D …`), with `%XX` for the characters that would break a line.

use anyhow::{Context, Result, bail};
use postern_api::Prompt;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::process::Command;

/// Assuan's bound on a line.
const MAXIMUM_LINE: u64 = 1000;

/// What is kept of a text, in characters, so that command and text fit a line.
const LONGEST_TEXT: usize = 900;

/// Asks; returns the answer, or none when the person cancelled.
///
/// # Errors
/// When pinentry cannot be run or breaks its protocol.
pub async fn ask(pinentry: &Path, prompt: &Prompt) -> Result<Option<String>> {
    let mut child = Command::new(pinentry)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| {
            format!("starting {}; next: install a pinentry (such as pinentry-gtk2)", pinentry.display())
        })?;
    let streams = child.stdout.take().zip(child.stdin.take());
    let (output, input) = streams.context("pinentry has no standard streams")?;
    converse(BufReader::new(output), input, prompt).await
}

async fn converse(
    mut output: impl AsyncBufRead + Unpin,
    mut input: impl AsyncWrite + Unpin,
    prompt: &Prompt,
) -> Result<Option<String>> {
    reply(&mut output).await?;
    let title = format!("Postern: {}", prompt.tunnel.for_one_line());
    for (command, text) in [
        ("SETTIMEOUT", prompt.seconds.to_string()),
        ("SETTITLE", title.clone()),
        ("SETDESC", format!("{title}\n{}", prompt.text.for_terminal())),
        ("SETPROMPT", if prompt.kind.is_secret() { "Secret:".into() } else { "Answer:".into() }),
    ] {
        input.write_all(format!("{command} {}\n", escaped(&text)).as_bytes()).await.context("writing to pinentry")?;
        // A pinentry that does not know an ornament still asks the question.
        let _ornament = reply(&mut output).await?;
    }
    input.write_all(b"GETPIN\n").await.context("writing to pinentry")?;
    reply(&mut output).await
}

/// Reads up to the end of one answer: its data, an empty text for a bare `OK`, none for `ERR`.
async fn reply(output: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<String>> {
    let mut data = String::new();
    loop {
        let mut line = String::new();
        if output.take(MAXIMUM_LINE + 2).read_line(&mut line).await.context("reading from pinentry")? == 0 {
            bail!("pinentry ended without an answer");
        }
        if !line.ends_with('\n') {
            bail!("pinentry sent a line longer than its protocol allows, or ended within one");
        }
        let line = line.trim_end_matches(['\n', '\r']);
        match line.split_once(' ').unwrap_or((line, "")) {
            ("OK", _) => return Ok(Some(data)),
            ("ERR", _) => return Ok(None),
            ("D", text) => data.push_str(&unescaped(text)?),
            _ => {}
        }
    }
}

fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|character| match character {
            '%' => "%25".chars().collect::<Vec<_>>(),
            '\n' => "%0A".chars().collect(),
            '\r' => "%0D".chars().collect(),
            other => vec![other],
        })
        .take(LONGEST_TEXT)
        .collect()
}

fn unescaped(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).context("an escape that is no text")?;
                bytes.push(u8::from_str_radix(digits, 16).context("an escape that is no number")?);
                rest = tail;
            }
            (other, tail) => {
                bytes.push(*other);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).context("an answer that is no text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_api::PromptKind;

    fn question() -> Prompt {
        Prompt {
            id: 1,
            tunnel: "RA-VPN".into(),
            kind: PromptKind::Password,
            address: None,
            text: "100 % sure?\nPassword".into(),
            seconds: 60,
            uid: None,
        }
    }

    async fn play(script: &str) -> (Result<Option<String>>, String) {
        let mut asked = Vec::new();
        let answer = converse(script.as_bytes(), &mut asked, &question()).await;
        (answer, String::from_utf8_lossy(&asked).into_owned())
    }

    #[tokio::test]
    async fn a_secret_comes_back_with_its_escapes_undone() {
        let (answer, asked) = play("OK hello\nOK\nOK\nOK\nOK\nD p%25ss%0Aword\nOK\n").await;
        assert_eq!(answer.unwrap().as_deref(), Some("p%ss\nword"));
        assert!(asked.contains("SETDESC Postern: RA-VPN%0A100 %25 sure?%0APassword\n"), "{asked}");
    }

    #[tokio::test]
    async fn a_cancelled_question_has_no_answer() {
        let (answer, _) = play("OK\nOK\nERR 1 unknown\nOK\nOK\nERR 83886179 canceled\n").await;
        assert_eq!(answer.unwrap(), None);
    }

    #[tokio::test]
    async fn a_pinentry_that_dies_is_an_error() {
        let (answer, _) = play("OK\nOK\n").await;
        assert!(answer.is_err());
    }
}
