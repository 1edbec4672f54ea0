//! The endpoint under test: the real `posternd` on a host, driven by the real `postern`.

use crate::net::{Host, Running, finish, until};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Returns the path of one of the project's own programs, built beside this one.
///
/// # Errors
/// When it is not there; the text says what to build.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program")?;
    own.ancestors()
        .skip(1)
        .take(3)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not built beside {}: cargo build --workspace", own.display()))
}

/// An endpoint: configuration, state and runtime folders of its own, and the service.
#[derive(Debug)]
pub struct Endpoint {
    host: Host,
    folder: PathBuf,
    credentials: Option<PathBuf>,
    environment: Vec<(&'static str, String)>,
    service: Option<Running>,
}

impl Endpoint {
    /// Makes the folders; the service is started by [`Self::start`].
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn new(host: &Host, folder: &Path) -> Result<Self> {
        for name in ["config/tunnels.d", "config/postern.d", "state", "run"] {
            std::fs::create_dir_all(folder.join(name)).with_context(|| format!("making {name}"))?;
        }
        let (host, folder) = (host.clone(), folder.to_owned());
        Ok(Self { host, folder, credentials: None, environment: Vec::new(), service: None })
    }

    /// Returns the path of a file below the endpoint's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file below the configuration folder, readable by its owner alone.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, name: &str, content: &str) -> Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.folder.join("config").join(name);
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .with_context(|| format!("writing {}", path.display()))
    }

    /// Names the folder of credentials that the service is started with from now on, as systemd does.
    pub fn give_credentials(&mut self, folder: &Path) {
        self.credentials = Some(folder.to_owned());
    }

    /// Adds to the environment that the service is started with from now on.
    pub fn give_environment(&mut self, environment: impl IntoIterator<Item = (&'static str, String)>) {
        self.environment.extend(environment);
    }

    /// Starts the service and waits until it answers.
    ///
    /// # Errors
    /// When it does not answer; its log is in the error.
    pub fn start(&mut self) -> Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("posternd.log"))?;
        let mut command = self.host.command(program("posternd")?);
        for (option, name) in [("--config", "config"), ("--state", "state"), ("--runtime", "run")] {
            command.arg(option).arg(self.path(name));
        }
        if let Some(folder) = &self.credentials {
            command.env("CREDENTIALS_DIRECTORY", folder);
        }
        command.envs(self.environment.iter().cloned());
        command.env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into()));
        let mut service = Running::start("posternd", command.stdout(log.try_clone()?).stderr(log))?;
        let answer = until("posternd answering", Duration::from_secs(20), || {
            if let Some(status) = service.ended()? {
                bail!("posternd ended: {status}");
            }
            Ok((self.postern(&["status", "--json"])?.0 == 0).then_some(()))
        });
        self.service = Some(service);
        answer.with_context(|| self.log())
    }

    /// Ends the service at once (`kill -9`).
    pub fn kill(&mut self) {
        self.service = None;
    }

    /// Returns the service's main process, to be signalled or waited for.
    ///
    /// # Errors
    /// When it is not running.
    pub fn service(&mut self) -> Result<&mut Running> {
        self.service.as_mut().context("posternd is not running")
    }

    /// Returns the service's processes: the main one first, then those it started.
    ///
    /// # Errors
    /// When it is not running.
    pub fn processes(&mut self) -> Result<Vec<u32>> {
        let main = self.service()?.id();
        let mut found = vec![main];
        // Children are listed by the thread that started them.
        for task in std::fs::read_dir(format!("/proc/{main}/task")).context("listing the service's threads")? {
            let children = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
        Ok(found)
    }

    /// Returns the process that moves packets: the child `posternd net`, among others that come and go.
    ///
    /// # Errors
    /// When there is none.
    pub fn network_process(&self) -> Result<u32> {
        let main = self.service.as_ref().context("posternd is not running")?.id();
        // Children are listed by the thread that started them.
        let threads = std::fs::read_dir(format!("/proc/{main}/task")).context("listing the service's threads")?;
        let children = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok());
        let ids =
            children.flat_map(|ids| ids.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>());
        let moves_packets = |id: &u32| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            line.split(|octet| *octet == 0).nth(1) == Some(b"net")
        };
        ids.into_iter().find(moves_packets).context("the service has no network process")
    }

    /// Returns a `postern` command on this endpoint.
    ///
    /// # Errors
    /// When `postern` is not built.
    pub fn command(&self, arguments: &[&str]) -> Result<std::process::Command> {
        let mut command = self.host.command(program("postern")?);
        command.arg("--runtime").arg(self.path("run")).args(arguments);
        Ok(command)
    }

    /// Runs `postern` to its end; returns exit code, standard output and standard error.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn postern(&self, arguments: &[&str]) -> Result<(i32, String, String)> {
        finish(&mut self.command(arguments)?)
    }

    /// Runs `postern` and fails unless it exits with `code`; returns both outputs, one after the other.
    ///
    /// # Errors
    /// When the exit code is another; outputs and the service's log are in the error.
    pub fn expect(&self, code: i32, arguments: &[&str]) -> Result<String> {
        let (actual, stdout, stderr) = self.postern(arguments)?;
        if actual != code {
            bail!(
                "postern {} exited with {actual}, not {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n--- service\n{}",
                arguments.join(" "),
                self.log()
            );
        }
        Ok(stdout + &stderr)
    }

    /// Returns the status document.
    ///
    /// # Errors
    /// When the service does not answer.
    pub fn status(&self) -> Result<postern_api::Status> {
        let text = self.expect(0, &["status", "--json"])?;
        serde_json::from_str(text.trim()).with_context(|| text.clone())
    }

    /// Returns the service's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("posternd.log")).unwrap_or_default()
    }
}
