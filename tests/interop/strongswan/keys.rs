//! The client's key behind a passphrase, or in a token.

use crate::certificates::{PSS_SIDES, TUNNEL, signed_by_pss};
use crate::gateways::certificate_gateway;
use anyhow::{Context, Result, ensure};
use lab::client::Endpoint;
use lab::net::{Host, output_of};
use lab::pki::{KeyKind, Pki};
use lab::roadwarrior::{Network, connect};
use lab::strongswan::Gateway;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

const SIDES: &str = "send_cert = always\nlocal { auth = pubkey\n certs = gateway.crt\n id = vpn.example.test }\n\
     remote { auth = pubkey\n id = alice@example.test }";
const PIN: &str = "135790";
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A gateway that wants the user's certificate, and the user's certificate and key as files.
struct Room {
    network: Network,
    pki: Pki,
    gateway: Gateway,
}

impl Room {
    fn new(kind: KeyKind, sides: &str) -> Result<Self> {
        let network = Network::new()?;
        let pki = Pki::new(kind)?;
        let gateway = network.strongswan(&certificate_gateway(&pki, &pki.gateway, sides, false))?;
        std::fs::write(network.folder.join("alice.pem"), &pki.user.certificate.pem)?;
        std::fs::write(network.folder.join("alice.key"), &pki.user.key_pem)?;
        Ok(Self { network, pki, gateway })
    }

    fn openssl(&self, arguments: &[&str]) -> Result<()> {
        output_of(Command::new("openssl").current_dir(&self.network.folder).args(arguments)).map(drop)
    }

    fn endpoint(&self, tunnel: &str, more: &[(&str, &str)]) -> Result<Endpoint> {
        let usual =
            [("ca.pem", &*self.pki.authority.certificate().pem), ("alice.pem", &*self.pki.user.certificate.pem)];
        self.network.endpoint(tunnel, &[usual.as_slice(), more].concat())
    }
}

pub fn encrypted() -> Result<()> {
    let room = Room::new(KeyKind::EcdsaP256, SIDES)?;
    room.openssl(&[
        "pkcs8",
        "-topk8",
        "-scrypt",
        "-in",
        "alice.key",
        "-passout",
        "pass:open sesame",
        "-out",
        "locked.key",
    ])?;
    let key = std::fs::read_to_string(room.network.folder.join("locked.key"))?;
    ensure!(key.contains("ENCRYPTED"), "{key}");
    let tunnel = format!("{TUNNEL}key_passphrase_file = \"@/passphrase\"\n");
    let endpoint = room.endpoint(&tunnel, &[("alice.key", &*key), ("passphrase", "open sesame\n")])?;
    connect(&endpoint).with_context(|| room.gateway.log()).map(drop)
}

/// The certificate is in the file too. The first passphrase is wrong.
pub fn pkcs12() -> Result<()> {
    let room = Room::new(KeyKind::EcdsaP256, SIDES)?;
    let export = ["pkcs12", "-export", "-inkey", "alice.key", "-in", "alice.pem", "-passout", "pass:open sesame"];
    room.openssl(&[export.as_slice(), &["-out", "alice.p12"]].concat())?;
    let tunnel = TUNNEL.replace("certificate_file = \"@/alice.pem\"\n", "").replace("alice.key", "alice.p12");
    let endpoint = room.endpoint(&tunnel, &[])?;
    let file = endpoint.path("config/alice.p12");
    std::fs::copy(room.network.folder.join("alice.p12"), &file)?;
    std::fs::set_permissions(&file, Permissions::from_mode(0o600))?;
    answered(&endpoint, "sesame\nopen sesame\n").with_context(|| room.gateway.log())?;
    // Nobody is there to ask.
    endpoint.expect(0, &["disconnect", "work"])?;
    let (code, _, said) = endpoint.postern(&["connect", "work"])?;
    ensure!(code != 0 && said.contains("Passphrase of"), "{code}: {said}");
    Ok(())
}

/// Connects with these lines for what is asked.
fn answered(endpoint: &Endpoint, lines: &str) -> Result<()> {
    let mut command = endpoint.command(&["connect", "work", "--answers-stdin"])?;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("a way in")?.write_all(lines.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}\n{}", endpoint.log());
    ensure!(!endpoint.log().contains(lines.trim()), "an answer is in the log");
    Ok(())
}

/// A token of SoftHSM on `host`, with the user's key in it.
fn token(host: &Host, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder.join("tokens"))?;
    std::fs::create_dir_all(format!("/etc/netns/{}/softhsm", host.name()))?;
    let settings = format!("directories.tokendir = {}\nobjectstore.backend = file\n", folder.join("tokens").display());
    host.etc("softhsm/softhsm2.conf", &settings)?;
    let run = |program: &str, arguments: &[&str]| {
        output_of(host.command(program).current_dir(folder).args(arguments)).with_context(|| program.to_owned())
    };
    run("softhsm2-util", &["--init-token", "--free", "--label", "lab card", "--so-pin", "97531", "--pin", PIN])?;
    let import = ["--import", "alice.key", "--token", "lab card", "--label", "alice", "--id", "a11ce0", "--pin", PIN];
    run("softhsm2-util", &import).map(drop)
}

const SETTINGS: (&str, &str) = ("postern.toml", "[tokens]\nmodule = \"/usr/lib/softhsm/libsofthsm2.so\"\n");

fn in_token(rest: &str) -> String {
    let key = "key_uri = \"pkcs11:token=lab%20card;object=alice\"\nkey_passphrase_file = \"@/pin\"";
    format!("{}{rest}", TUNNEL.replace("key_file = \"@/alice.key\"", key))
}

pub fn token_by_pss() -> Result<()> {
    let room = Room::new(KeyKind::Rsa2048, PSS_SIDES)?;
    token(&room.network.client, &room.network.folder)?;
    let endpoint = room.endpoint(&in_token("rsa_signature = \"pss\"\n"), &[("pin", PIN), SETTINGS])?;
    connect(&endpoint).with_context(|| room.gateway.log())?;
    signed_by_pss(&room.gateway)
}

/// The PIN is asked for; a wrong one first.
pub fn token_with_certificate() -> Result<()> {
    let room = Room::new(KeyKind::EcdsaP256, SIDES)?;
    token(&room.network.client, &room.network.folder)?;
    room.openssl(&["x509", "-in", "alice.pem", "-outform", "DER", "-out", "alice.der"])?;
    let mut write = room.network.client.command("pkcs11-tool");
    write.current_dir(&room.network.folder).args([
        "--module",
        MODULE,
        "--login",
        "--pin",
        PIN,
        "--token-label",
        "lab card",
    ]);
    output_of(write.args(["--write-object", "alice.der", "--type", "cert", "--id", "a11ce0", "--label", "alice"]))?;
    let tunnel = in_token("").replace("certificate_file = \"@/alice.pem\"\n", "");
    let endpoint = room.endpoint(&tunnel.replace("key_passphrase_file = \"@/pin\"", ""), &[SETTINGS])?;
    answered(&endpoint, &format!("000000\n{PIN}\n")).with_context(|| room.gateway.log())
}
