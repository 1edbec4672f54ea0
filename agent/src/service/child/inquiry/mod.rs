//! Asking whether a gateway's certificate was revoked, in a process of its own.
//!
//! The proven gateway's certificate names OCSP responders and places of revocation lists. Neither MAIN nor NET talks
//! to them: a child that lives for one question does, without a capability and confined as the one that looks names
//! up; its sockets are marked before that ([`stock`]). What it brings is signed by the certificate's authority, and is held against that where the certificate is
//! ([`ike_client::auth::certificate::revocation`]); MAIN reads none of it.

pub mod child;
mod http;
pub mod stock;

use ike_client::auth::certificate::RevocationSource;
use ike_client::session::Answer;
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// How long the child may take; it ends by itself before that.
const LIMIT: Duration = Duration::from_secs(6);
/// What is read of its answer: what it may gather, twice because it is written in hexadecimal, and some more.
const MOST_OCTETS: u64 = 2 * child::MOST_OCTETS as u64 + (64 << 10);

/// Asks those whom the certificates name. Where nothing comes of it the answer says why.
pub async fn ask(certificates: &[Vec<RevocationSource>]) -> Answer {
    let asked = tokio::time::timeout(LIMIT, run(certificates)).await;
    let because = match asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(answer @ Answer::RevocationStatus { .. }) => return answer,
        Ok(_) => "the inquiry about revocation gave another answer".to_owned(),
        Err(error) => format!("the inquiry about revocation failed: {error}"),
    };
    tracing::warn!(%because, "nobody is asked whether the gateway's certificate was revoked");
    Answer::Refused { because }
}

async fn run(certificates: &[Vec<RevocationSource>]) -> io::Result<Answer> {
    let question = serde_json::to_vec(certificates)?;
    let mut child = Command::new(crate::platform::own_program()?)
        .arg("inquire")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(&question).await?;
    }
    let mut written = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(MOST_OCTETS).read_to_end(&mut written).await?;
    }
    let status = child.wait().await?;
    if !status.success() {
        return Err(io::Error::other(format!("its process ended: {status}")));
    }
    serde_json::from_slice(&written).map_err(io::Error::other)
}
