//! nftables, through the `nft` tool: one text, one transaction.

use crate::network::ruleset;
use crate::network::system::{SystemError, Undone};
use crate::platform::FirewallRoom;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// Where the tool is looked for. A service has no say of its own in the caller's `PATH`.
const PLACES: [&str; 4] = ["/usr/sbin/nft", "/sbin/nft", "/usr/local/sbin/nft", "/usr/bin/nft"];
/// What the rules of a plan are made of.
const PROBE: &str = "add table inet postern_probe
table inet postern_probe {
  chain refuse { meta mark 0x1 counter reject with icmpx admin-prohibited; }
  chain arriving { type filter hook prerouting priority -300; meta l4proto tcp meta mark set 0x1; }
  chain leaving { type filter hook output priority 0; oifname { \"lo\" } accept; jump refuse; }
  chain passing { type filter hook forward priority 0; ip6 daddr fe80::/10 counter drop; }
}
";
/// How long it may take. The next change of the network waits for it, and a person who wants out of a block.
const LIMIT: Duration = Duration::from_secs(8);
/// How it is asked to load what it is handed.
const LOAD: [&str; 2] = ["--file", "-"];
/// What it does then.
const LOADING: &str = "loading nftables rules";
/// How much of the tool's complaint is passed on.
const MOST_COMPLAINT: usize = 400;

/// The packet filter.
pub(in crate::platform) struct Firewall;

/// `nft`, started and waiting for a text. Without one it ends and has changed nothing.
pub(in crate::platform) struct Tool(JoinHandle<Result<Child, SystemError>>);

impl FirewallRoom for Firewall {
    type Tool = Tool;

    async fn probe() -> Result<(), SystemError> {
        // `--check` builds the transaction in the kernel and drops it: tool, kernel and permission
        // in one question, with every kind of chain and verdict that is loaded later.
        run(&["--check", "--file", "-"], PROBE, "probing nftables").await
    }

    fn prepare() -> Option<Tool> {
        // Starting a program holds a thread up, which others need now.
        Some(Tool(tokio::task::spawn_blocking(|| start(&LOAD, LOADING))))
    }

    async fn load(ruleset: &str, tool: Option<Tool>) -> Result<(), SystemError> {
        let started = match tool {
            Some(Tool(started)) => started.await.ok().and_then(Result::ok),
            None => None,
        };
        match started.and_then(|mut child| matches!(child.try_wait(), Ok(None)).then_some(child)) {
            Some(child) => finish(child, ruleset, LOADING).await,
            None => run(&LOAD, ruleset, LOADING).await,
        }
    }

    async fn stands(table: &str) -> bool {
        run(&["list", "table", "inet", table], "", "listing an nftables table").await.is_ok()
    }

    async fn remove(table: &str) -> Result<Undone, SystemError> {
        if !Self::stands(table).await {
            return Ok(Undone::AlreadyGone);
        }
        run(&["--file", "-"], &ruleset::removal(table), "removing an nftables table").await.map(|()| Undone::Removed)
    }
}

async fn run(arguments: &[&str], input: &str, operation: &str) -> Result<(), SystemError> {
    finish(start(arguments, operation)?, input, operation).await
}

fn failed(operation: &str, error: &io::Error) -> SystemError {
    SystemError::Failed { operation: operation.to_owned(), detail: error.to_string() }
}

/// Starts the tool; it waits for its input.
fn start(arguments: &[&str], operation: &str) -> Result<Child, SystemError> {
    let tool = PLACES.iter().find(|place| Path::new(place).exists());
    let missing = || SystemError::Missing { operation: operation.to_owned(), what: "the program `nft`".to_owned() };
    Command::new(tool.ok_or_else(missing)?)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(operation, &error))
}

/// Hands the tool its input and waits for its end.
async fn finish(mut child: Child, input: &str, operation: &str) -> Result<(), SystemError> {
    let answer = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A tool that ends early closes the pipe; what it says then is worth more than that.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let hangs = |_| io::Error::from(io::ErrorKind::TimedOut);
    let answer = tokio::time::timeout(LIMIT, answer).await.map_err(hangs).and_then(|answer| answer);
    let output = answer.map_err(|error| failed(operation, &error))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint: String = String::from_utf8_lossy(&output.stderr).chars().take(MOST_COMPLAINT).collect();
    let complaint = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
    let operation = operation.to_owned();
    if complaint.contains("Operation not permitted") {
        Err(SystemError::NotPermitted { operation, detail: complaint })
    } else {
        Err(SystemError::Failed { operation, detail: complaint })
    }
}
