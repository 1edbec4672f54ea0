//! Asking a program of the system: bounded in time and in what it may say, without an environment.

use crate::facts::Observation;
use std::io::{ErrorKind, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How much of an answer is read.
const ANSWER_LIMIT: u64 = 16 << 20;

/// What a program said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) success: bool,
    pub(super) output: Vec<u8>,
    pub(super) complaint: String,
}

impl Answer {
    /// Returns the output of a program that succeeded, else its first complaint.
    pub(super) fn text(self, program: &str) -> Observation<String> {
        if self.success {
            return Observation::Known(String::from_utf8_lossy(&self.output).into_owned());
        }
        let complaint = self.complaint.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
        let denied = ["permitted", "ermission", "denied", "privilege", "root"];
        if denied.iter().any(|word| complaint.contains(word)) {
            Observation::Denied(format!("{program}: {complaint}"))
        } else {
            Observation::Unknown(format!("{program} failed: {complaint}"))
        }
    }
}

/// Runs `program`, a path, with `arguments`, and waits no longer than `limit`.
pub(super) fn ask(program: &str, arguments: &[&str], limit: Duration) -> Observation<Answer> {
    let spawned = Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Observation::Unknown(format!("{program} is not installed"));
        }
        Err(error) => return Observation::from_error(program, &error),
    };
    // Both ends are read in threads, since a full pipe would keep the program from ending.
    let output = child.stdout.take().map(|pipe| std::thread::spawn(move || all(pipe)));
    let complaint = child.stderr.take().map(|pipe| std::thread::spawn(move || all(pipe)));
    let end = Instant::now() + limit;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => {
                // It may have ended by itself just now; either way it is waited for.
                let _ = child.kill();
                let _ = child.wait();
                return Observation::Unknown(format!("{program} did not end in time"));
            }
        }
    };
    let joined = |reader: Option<std::thread::JoinHandle<Vec<u8>>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    let (output, complaint) = (joined(output), joined(complaint));
    let complaint = String::from_utf8_lossy(&complaint).into_owned();
    Observation::Known(Answer { success: status.success(), output, complaint })
}

fn all(pipe: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What was read until a failure is judged like any other answer.
    let _ = pipe.take(ANSWER_LIMIT).read_to_end(&mut bytes);
    bytes
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Observation<Answer> {
        ask("/bin/sh", &["-c", script], limit)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_program_that_hangs_is_ended_and_one_that_is_missing_is_named() {
        let hung = shell("exec sleep 600", Duration::from_millis(50));
        assert_eq!(hung, Observation::Unknown("/bin/sh did not end in time".to_owned()));
        let missing = ask("/no/such/program", &[], LONG);
        assert_eq!(missing, Observation::Unknown("/no/such/program is not installed".to_owned()));
    }

    #[test]
    fn an_answer_is_text_a_failure_or_a_refusal() {
        let text = |script: &str| match shell(script, LONG) {
            Observation::Known(answer) => answer.text("it"),
            other => panic!("{other:?}"),
        };
        assert_eq!(text("echo yes; echo no >&2"), Observation::Known("yes\n".to_owned()));
        assert_eq!(text("echo broken >&2; exit 3"), Observation::Unknown("it failed: broken".to_owned()));
        assert_eq!(
            text("echo 'Operation not permitted' >&2; exit 1"),
            Observation::Denied("it: Operation not permitted".to_owned())
        );
        let long = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2";
        assert!(matches!(text(long), Observation::Known(text) if text.len() == 300_000), "no pipe fills up");
    }
}
