//! A lab gateway that runs on a host, and its console.

use super::console::{Request, ask};
use super::settings::Settings;
use crate::client::program;
use crate::net::{Host, Running, until};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the gateway may take to come up before it counts as broken.
const LIMIT: Duration = Duration::from_secs(20);

/// A running gateway; it ends with this value.
#[derive(Debug)]
pub struct RunningGateway {
    daemon: Running,
    folder: PathBuf,
}

impl RunningGateway {
    /// Starts `lab-gateway` on `host`. Its event log and console lie in `folder`; the rest is as
    /// `settings` say, whose `daemon.listen` and `daemon.device_address` must be set.
    ///
    /// # Errors
    /// When it does not come up; its words are in the error.
    pub fn start(host: &Host, folder: &Path, mut settings: Settings) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        settings.daemon.event_log = Some(folder.join("events.log"));
        settings.daemon.socket = Some(folder.join("console.sock"));
        let configuration = folder.join("gateway.toml");
        std::fs::write(&configuration, toml::to_string(&settings)?)?;
        let output = std::fs::File::create(folder.join("gateway.out"))?;
        let mut command = host.command(program("lab-gateway")?);
        command.arg("run").arg("--config").arg(&configuration).stdout(output.try_clone()?).stderr(output);
        let mut gateway = Self { daemon: Running::start("lab-gateway", &mut command)?, folder: folder.to_owned() };
        until("the gateway's console", LIMIT, || {
            if let Some(status) = gateway.daemon.ended()? {
                anyhow::bail!("it ended: {status}");
            }
            Ok(gateway.diagnose(&["vpn", "ike", "gateway", "list"]).ok())
        })
        .with_context(|| gateway.output())?;
        Ok(gateway)
    }

    /// Runs `diagnose` with these words.
    ///
    /// # Errors
    /// When the gateway does not answer or does not know the command.
    pub fn diagnose(&self, words: &[&str]) -> Result<String> {
        self.ask(&Request::Diagnose { words: words.iter().map(ToString::to_string).collect() })
    }

    /// Changes a setting of the tunnel, such as `remote-gw-ztna-tags`.
    ///
    /// # Errors
    /// When the gateway does not answer or refuses.
    pub fn set(&self, name: &str, values: &[&str]) -> Result<()> {
        let values = values.iter().map(ToString::to_string).collect();
        self.ask(&Request::Set { name: name.into(), values }).map(drop)
    }

    /// Deletes every IKE SA, telling the clients.
    ///
    /// # Errors
    /// When the gateway does not answer.
    pub fn flush(&self) -> Result<()> {
        self.ask(&Request::Flush).map(drop)
    }

    /// Asks every client whether it lives.
    ///
    /// # Errors
    /// When the gateway does not answer.
    pub fn check_liveness(&self) -> Result<()> {
        self.ask(&Request::CheckLiveness).map(drop)
    }

    /// Returns how many clients have a tunnel.
    ///
    /// # Errors
    /// When the gateway does not answer.
    pub fn established(&self) -> Result<usize> {
        Ok(self.diagnose(&["vpn", "ike", "gateway", "list"])?.matches("  status: established ").count())
    }

    /// Returns the event log's lines. No packet, no line.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn events(&self) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(self.folder.join("events.log")).context("the event log")?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Returns what the gateway printed, for errors.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.folder.join("gateway.out")).unwrap_or_default()
    }

    /// Returns the daemon, to be signalled or stopped.
    pub fn daemon(&mut self) -> &mut Running {
        &mut self.daemon
    }

    fn ask(&self, request: &Request) -> Result<String> {
        ask(&self.folder.join("console.sock"), request)
    }
}
