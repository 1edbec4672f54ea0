//! The lab's EMS as a process of a scenario: started, killed, started again on what it has kept.

use anyhow::{Context, Result};
use lab::client::{Endpoint, program};
use lab::ems::Administrator;
use lab::net::{Host, Running, until};
use lab::roadwarrior::{LIMIT, Network};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// EMS in the client's own host: nothing but the service is between it and the endpoint.
pub struct Ems {
    state: PathBuf,
    listen: &'static str,
    arguments: &'static [&'static str],
    environment: Vec<(&'static str, String)>,
    host: Host,
    process: Option<Running>,
    runtime: tokio::runtime::Runtime,
    /// One connection for many requests; made anew with each start of EMS.
    administrator: Option<Administrator>,
}

impl Ems {
    pub fn start(network: &Network) -> Result<Self> {
        Self::start_at(network, "127.0.0.1:8443")
    }

    /// Starts it where something stands before it: endpoints ask port 8443 of `localhost`.
    pub fn start_at(network: &Network, listen: &'static str) -> Result<Self> {
        Self::start_with(network, listen, &[], Vec::new())
    }

    /// Starts it with more arguments and more in its environment.
    pub fn start_with(
        network: &Network,
        listen: &'static str,
        arguments: &'static [&'static str],
        environment: Vec<(&'static str, String)>,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let state = network.folder.join("ems");
        let host = network.client.clone();
        let mut ems = Self { state, listen, arguments, environment, host, process: None, runtime, administrator: None };
        ems.run()?;
        Ok(ems)
    }

    pub fn run(&mut self) -> Result<()> {
        let out = self.state.with_extension("out");
        let log = std::fs::File::create(&out)?;
        let mut command = self.host.command(program("lab-ems")?);
        command.arg("run").arg("--state").arg(&self.state);
        command.args(["--listen", self.listen, "--name", "localhost"]);
        command.args(self.arguments).envs(self.environment.iter().cloned());
        self.process = Some(Running::start("lab-ems", command.stdout(log.try_clone()?).stderr(log))?);
        until("EMS", LIMIT, || Ok(std::fs::read_to_string(&out)?.contains("\"ready\":true").then_some(())))?;
        self.administrator = Some(Administrator::of_state(&self.state)?);
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process = None;
    }

    pub fn ask(&self, request: &Value) -> Result<Value> {
        let administrator = self.administrator.as_ref().context("EMS was never started")?;
        self.runtime.block_on(administrator.ask(&serde_json::from_value(request.clone())?))
    }

    /// Makes a change and returns its moment.
    pub fn change(&self, request: &Value) -> Result<u64> {
        self.ask(request)?["boottime_nanoseconds"].as_u64().context("EMS told no moment")
    }

    /// The host on which it runs.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Where its keys, database and socket are.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.as_ref().context("EMS does not run")?.signal(signal)
    }

    /// Invites an endpoint, has it enrol, and returns its identifier.
    pub fn enrol(&self, endpoint: &Endpoint) -> Result<String> {
        let invitation = self.ask(&json!({"do": "make-invitation", "label": "", "valid_seconds": 600}))?;
        endpoint.configure("../invitation", invitation["invitation"].as_str().context("no invitation")?)?;
        let file = endpoint.path("invitation");
        let enrolled = endpoint.expect(0, &["enroll", "--json", "--invitation-file", &file.to_string_lossy()])?;
        let enrolled: Value = serde_json::from_str(&enrolled)?;
        Ok(enrolled["endpoint"].as_str().context("no identifier")?.to_owned())
    }
}
