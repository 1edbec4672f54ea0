//! wireguard-go as the peer: Debian's, in userspace, with the tools of the same authors.

use crate::net::{Host, Running, until};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The device's name.
const DEVICE: &str = "wgs";
/// The peer's UDP port.
pub const PORT: u16 = 51_820;

/// A private key and the public one that belongs to it, in Base64.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// The private key.
    pub private: String,
    /// The public key.
    pub public: String,
}

impl KeyPair {
    /// Makes a pair.
    ///
    /// # Errors
    /// When `wg` (package wireguard-tools) is not there.
    pub fn new() -> Result<Self> {
        let private = crate::net::shell("wg genkey")?.trim().to_owned();
        let public = crate::net::shell(&format!("echo {private} | wg pubkey"))?.trim().to_owned();
        Ok(Self { private, public })
    }
}

/// The client as the peer knows it.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its public key.
    pub public_key: String,
    /// The key that both share beside their own.
    pub pre_shared_key: Option<String>,
    /// Its addresses inside, separated by commas.
    pub addresses: String,
}

/// A running peer.
#[derive(Debug)]
pub struct Peer {
    host: Host,
    folder: PathBuf,
    daemon: Option<Running>,
}

impl Peer {
    /// Starts the peer on `host`, with a folder of its own.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(host: &Host, folder: &Path, own: &KeyPair, client: &Client) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("private"), &own.private)?;
        let mut peer = Self { host: host.clone(), folder: folder.to_owned(), daemon: None };
        peer.run(client)?;
        Ok(peer)
    }

    fn run(&mut self, client: &Client) -> Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("wireguard-go.log"))?;
        let mut command = self.host.command("wireguard-go");
        command.args(["-f", DEVICE]).env("LOG_LEVEL", "verbose").env("WG_PROCESS_FOREGROUND", "1");
        self.daemon = Some(Running::start("wireguard-go", command.stdout(log.try_clone()?).stderr(log))?);
        until("wireguard-go answering", Duration::from_secs(20), || {
            Ok(self.host.shell(&format!("wg show {DEVICE}")).ok())
        })
        .with_context(|| self.log())?;
        let private = self.folder.join("private");
        self.host.shell(&format!("wg set {DEVICE} private-key {} listen-port {PORT}", private.display()))?;
        self.know(client)?;
        let routes: Vec<String> =
            client.addresses.split(',').map(|address| format!("ip route replace {address} dev {DEVICE}; ")).collect();
        self.host.shell(&format!("ip link set {DEVICE} mtu 1420 up; {}", routes.concat()))?;
        Ok(())
    }

    /// Lets the peer know the client, and nothing of any earlier session with it.
    ///
    /// # Errors
    /// When `wg` refuses.
    pub fn know(&self, client: &Client) -> Result<()> {
        let mut shared = String::new();
        if let Some(key) = &client.pre_shared_key {
            let file = self.folder.join("psk");
            std::fs::write(&file, key)?;
            shared = format!("preshared-key {}", file.display());
        }
        let Client { public_key, addresses, .. } = client;
        self.host
            .shell(&format!(
                "wg set {DEVICE} peer '{public_key}' remove
                 wg set {DEVICE} peer '{public_key}' {shared} allowed-ips {addresses}"
            ))
            .map(drop)
    }

    /// Tells the peer where the client is, so that it makes a session by itself.
    ///
    /// # Errors
    /// When `wg` refuses.
    pub fn call(&self, client: &Client, endpoint: &str) -> Result<()> {
        let key = &client.public_key;
        self.host.shell(&format!("wg set {DEVICE} peer '{key}' endpoint {endpoint} persistent-keepalive 5")).map(drop)
    }

    /// Ends the daemon at once and starts it again.
    ///
    /// # Errors
    /// When it does not come up again.
    pub fn restart(&mut self, client: &Client) -> Result<()> {
        self.daemon = None;
        let socket = format!("/var/run/wireguard/{DEVICE}.sock");
        if Path::new(&socket).exists() {
            std::fs::remove_file(&socket)?;
        }
        self.run(client)
    }

    /// Returns where the client was heard last, `ADDRESS:PORT`.
    ///
    /// # Errors
    /// When `wg` fails, or the peer has not heard of the client.
    pub fn endpoint(&self) -> Result<String> {
        let shown = self.host.shell(&format!("wg show {DEVICE} endpoints"))?;
        let endpoint = shown.split_whitespace().nth(1).context("no peer is known")?;
        ensure!(endpoint != "(none)", "the client was never heard");
        Ok(endpoint.to_owned())
    }

    /// Returns how many handshakes were begun, by the client and by the peer.
    pub fn handshakes(&self) -> (usize, usize) {
        let log = self.log();
        (log.matches("Received handshake initiation").count(), log.matches("Sending handshake initiation").count())
    }

    /// Returns the daemon's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("wireguard-go.log")).unwrap_or_default()
    }
}
