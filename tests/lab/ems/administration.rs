//! The administrator's client.

use super::office::AdministratorRequest;
use super::server::ADMINISTRATOR_SOCKET;
use anyhow::{Context, Result, bail};
use posture::ems::protocol::ErrorReply;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Talks to a running EMS over its local socket.
#[derive(Clone)]
pub struct Administrator {
    http: reqwest::Client,
    socket: PathBuf,
}

impl Administrator {
    /// Makes a client of the EMS whose state is in a directory.
    pub fn of_state(state: &Path) -> Result<Self> {
        Self::new(&state.join(ADMINISTRATOR_SOCKET))
    }

    /// Makes a client of a socket.
    pub fn new(socket: &Path) -> Result<Self> {
        // The client wants a TLS provider even where no TLS is spoken.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .unix_socket(socket.to_owned())
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self { http, socket: socket.to_owned() })
    }

    /// Asks; the answer holds what was asked for and the moment of the change
    /// (`unix_milliseconds`, `boottime_nanoseconds`).
    pub async fn ask(&self, request: &AdministratorRequest) -> Result<Value> {
        let response = self
            .http
            .post("http://ems/administer")
            .json(request)
            .send()
            .await
            .with_context(|| format!("{}: does EMS run?", self.socket.display()))?;
        let good = response.status().is_success();
        let body = response.bytes().await?;
        if !good {
            let reply: ErrorReply = serde_json::from_slice(&body).context("EMS refused without a reason")?;
            bail!("{}", reply.detail);
        }
        Ok(serde_json::from_slice(&body)?)
    }
}
