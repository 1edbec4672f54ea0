//! What only a FortiGate does: the second factor, and the sign-on in a real browser.

use crate::{PSK, settings};
use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lab::gateway::RunningGateway;
use lab::gateway::fortigate::{FortigateSettings, SignOnSettings};
use lab::net::{Running, until};
use lab::pki::{KeyKind, Pki, spki_sha256};
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, nothing_is_left, work};
use lab::wire::{Kind, Tap};
use postern_api::ConnectionState;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

const TUNNEL: &str = r#"
peer = "fortigate"
gateway = "vpn.example.test"
gateway_auth = "psk"
[fortigate]
host = "laptop"
[auth]
kind = "KIND"
psk_file = "@/psk"
"#;

fn tunnel(kind: &str, more: &str) -> String {
    format!("{}{more}\n", TUNNEL.replace("KIND", kind))
}

/// A program that is ended when this value goes, whose lines can be waited for.
struct Talking {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Talking {
    /// Starts it; both of its outputs are read.
    fn start(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (sender, lines) = mpsc::channel();
        let outputs: [Option<Box<dyn std::io::Read + Send>>; 2] = [
            child.stdout.take().map(|output| Box::new(output) as _),
            child.stderr.take().map(|output| Box::new(output) as _),
        ];
        for output in outputs.into_iter().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { child, lines })
    }

    fn say(&mut self, text: &str) -> Result<()> {
        let mut input = self.child.stdin.take().context("its input was closed already")?;
        input.write_all(text.as_bytes()).context("speaking to it")
    }

    /// Waits for a line that holds `word`.
    fn line(&self, word: &str) -> Result<String> {
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) if line.contains(word) => return Ok(line),
                Ok(line) => said.push(line),
                Err(_) => bail!("waited for {word:?}, heard {said:?}"),
            }
        }
    }

    fn end(mut self) -> Result<(i32, Vec<String>)> {
        let status = self.child.wait().context("waiting for it")?;
        Ok((status.code().context("ended by a signal")?, self.lines.iter().collect()))
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gateway(network: &Network, fortigate: FortigateSettings) -> Result<RunningGateway> {
    let settings = lab::gateway::Settings { fortigate: Some(fortigate), ..settings() };
    RunningGateway::start(&network.gateway, &network.folder.join("gateway"), settings)
}

/// Password, then the code; then the same with a wrong code.
pub fn second_factor() -> Result<()> {
    let network = Network::new()?;
    let codes = [("alice".to_owned(), "123456".to_owned())].into();
    let gateway = gateway(&network, FortigateSettings { codes, unity: true, empty_dns: true, ..Default::default() })?;
    let login = tunnel("eap", "user = \"alice\"\npassword_file = \"@/password\"");
    let endpoint = network.endpoint(&login, &[("psk", PSK), ("password", "Passw0rd\n")])?;
    for (code, exit) in [("000000\n", 4), ("123456\n", 0)] {
        let mut connecting = Talking::start(endpoint.command(&["connect", "work", "--answers-stdin"])?)?;
        connecting.say(code)?;
        let (status, said) = connecting.end()?;
        ensure!(status == exit, "exit {status}: {said:?}\n{}", endpoint.log());
    }
    let given = work(&endpoint)?.established.context("not up")?;
    ensure!(given.networks == ["10.98.0.0/24"], "the split networks of Unity: {given:?}");
    ensure!(given.dns == ["10.98.0.53".parse::<std::net::IpAddr>()?], "{given:?}");
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    let list = gateway.diagnose(&["vpn", "ike", "gateway", "list"])?;
    let uid = std::fs::read_to_string(endpoint.path("state/fortigate-uid"))?;
    ensure!(list.contains("eap-user: alice") && list.contains(&format!("FortiClient UID: {uid}")), "{list}");
    endpoint.expect(0, &["disconnect", "work"])?;
    nothing_is_left(&network)
}

/// The gateway with its sign-on's pages, and the pin by which the browser knows them.
fn signing_on(network: &Network) -> Result<(RunningGateway, String)> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let (certificate, key) = (network.folder.join("pages.pem"), network.folder.join("pages.key"));
    std::fs::write(&certificate, &pki.gateway.certificate.pem)?;
    std::fs::write(&key, &pki.gateway.key_pem)?;
    let pin = STANDARD.encode(spki_sha256(&pki.gateway.certificate.der)?);
    let pages =
        SignOnSettings { port: 1001, provider_port: 8443, certificate, key, user: "alice@example.test".to_owned() };
    Ok((gateway(network, FortigateSettings { sign_on: Some(pages), ..Default::default() })?, pin))
}

/// A browser without a window, on the client, that opens an address.
fn browser(network: &Network, pin: &str, address: &str) -> Result<Running> {
    let profile = network.folder.join("browser");
    let mut command = network.client.command("chromium");
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-dev-shm-usage", "--remote-debugging-port=0"])
        .arg(format!("--ignore-certificate-errors-spki-list={pin}"))
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(address)
        .env("HOME", &network.folder)
        .env("TMPDIR", &network.folder);
    let log = std::fs::File::create(network.folder.join("browser.log"))?;
    Running::start("chromium", command.stdout(log.try_clone()?).stderr(log))
}

/// `postern connect` prints an address, a browser goes there, and the tunnel stands.
pub fn sign_on_in_a_browser() -> Result<()> {
    let network = Network::new()?;
    let (gateway, pin) = signing_on(&network)?;
    let endpoint = network.endpoint(&tunnel("saml", ""), &[("psk", PSK)])?;
    let tap = Tap::open(&network.client, "wan0")?;
    let connecting = Talking::start(endpoint.command(&["connect", "work"])?)?;
    let line = connecting.line("http://localhost:")?;
    ensure!(work(&endpoint)?.state == ConnectionState::NeedsInput, "{:?}", work(&endpoint)?);
    tap.none_of(0, &[Kind::Ike, Kind::Esp, Kind::EspInUdp]).context("IKE waits for the sign-on")?;
    let address = line.split_whitespace().find(|word| word.starts_with("http://")).context("no address")?;
    let port = address.trim_start_matches("http://localhost:").split('/').next().context("no port")?.to_owned();
    // A stranger who finds the port is refused, and does not spoil it.
    let stolen = format!("curl -sS -o /dev/null -w '%{{http_code}}' 'http://localhost:{port}/?tokenid=stolen'");
    ensure!(network.client.shell(&stolen)?.trim() == "403");
    let _browser = browser(&network, &pin, address)?;
    let (status, said) = connecting.end()?;
    ensure!(status == 0, "exit {status}: {said:?}\n{}", endpoint.log());
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    let list = gateway.diagnose(&["vpn", "ike", "gateway", "list"])?;
    ensure!(list.contains("eap-user: alice@example.test"), "{list}");
    ensure!(network.client.shell(&stolen).is_err(), "the listener is gone");
    let log = endpoint.log();
    ensure!(!log.contains("tokenid") && !log.contains(address), "{log}");
    endpoint.expect(0, &["disconnect", "work"])?;
    nothing_is_left(&network)
}

/// Who declines, hangs up or comes too late leaves nothing behind.
pub fn sign_on_given_up() -> Result<()> {
    let network = Network::new()?;
    let (_gateway, _) = signing_on(&network)?;
    let endpoint = network.endpoint(&tunnel("saml", ""), &[("psk", PSK)])?;
    let tap = Tap::open(&network.client, "wan0")?;
    let said = endpoint.expect(16, &["connect", "work", "--timeout", "1"])?;
    ensure!(said.contains("nobody signed on in time"), "{said}");
    let hanging_up = Talking::start(endpoint.command(&["connect", "work"])?)?;
    hanging_up.line("http://localhost:")?;
    drop(hanging_up);
    until("the end of the attempt", LIMIT, || {
        Ok((work(&endpoint)?.state == ConnectionState::Disconnected).then_some(()))
    })?;
    let listeners = network.client.shell("ss -Hltn 'src 127.0.0.1'")?;
    ensure!(listeners.trim().is_empty(), "{listeners}");
    tap.none_of(0, &[Kind::Ike, Kind::Esp, Kind::EspInUdp])
}

/// Without two factors and without a sign-on it is a gateway like any other.
pub fn plain_login() -> Result<()> {
    let network = Network::new()?;
    let gateway = gateway(&network, FortigateSettings::default())?;
    let login = tunnel("eap", "user = \"alice\"\npassword_file = \"@/password\"");
    let endpoint = network.endpoint(&login, &[("psk", PSK), ("password", "Passw0rd\n")])?;
    let tap = Tap::open(&network.client, "wan0")?;
    connect(&endpoint)?;
    ensure!(gateway.established()? == 1);
    let first = tap.packets().into_iter().find(|packet| packet.kind == Kind::Ike).context("no IKE")?;
    ensure!(first.exchange == Some(34), "{first:?}");
    Ok(())
}
