//! A tunnel of the administrator of this machine alone, with rules of its own and no EMS anywhere: the
//! README's example to the letter, against strongSwan.

use anyhow::{Context, Result, ensure};
use lab::client::Endpoint;
use lab::demo::traffic::{blocked_here, last_packet_of_tunnel, silent_since};
use lab::feeds;
use lab::net::until;
use lab::ping::Series;
use lab::pki::{Authority, Contents, Credential, KeyKind};
use lab::roadwarrior::{CORPORATE, ESP_PROPOSALS, GATEWAY, IKE_PROPOSALS, LIMIT, Network, POOLS, work};
use lab::strongswan::{Gateway, Settings};
use lab::wire::{Kind, Tap, boottime_ns};
use postern_api::{ConnectionState, FaultName};
use std::path::Path;
use std::time::Duration;

/// The gateway's name in the example.
const NAME: &str = "vpn.example.com";
/// The file by which the example knows a device.
const KNOWN: &str = "/etc/known-device";
/// The example's words.
const WARNING: &str = "Install the pending updates, or call IT: 4711.";
const PASSWORD: &str = "Passw0rd";

/// Returns the example as it stands in the README.
fn example() -> Result<String> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"))?;
    let (_, section) = readme.split_once("### Without an EMS\n").context("the README has no such section")?;
    let (_, block) = section.split_once("```toml\n").context("the section has no example")?;
    let (example, _) = block.split_once("```").context("the example has no end")?;
    for word in [NAME, KNOWN, WARNING] {
        ensure!(example.contains(word), "the example does not name {word:?}:\n{example}");
    }
    Ok(example.to_owned())
}

fn gateway(authority: &Authority, own: &Credential) -> Settings {
    let mut files = vec![authority.strongswan_file("authority")];
    files.extend(own.strongswan_files("gateway"));
    Settings {
        connections: format!(
            "eap {{\n version = 2\n pools = p4\n proposals = {IKE_PROPOSALS}\n unique = never\n encap = yes\n\
             send_cert = always\n local {{ auth = pubkey\n certs = gateway.crt\n id = {NAME} }}\n\
             remote {{ auth = eap-mschapv2\n id = %any\n eap_id = %any }}\n\
             children {{ net {{\n local_ts = 10.98.0.0/24\n esp_proposals = {ESP_PROPOSALS}\n mode = tunnel\n }} }}\n}}"
        ),
        pools: POOLS.into(),
        secrets: format!("eap-alice {{ id = alice\n secret = \"{PASSWORD}\" }}"),
        files,
        ..Settings::default()
    }
}

/// What the scenario is played with.
struct Place {
    network: Network,
    gateway: Gateway,
    endpoint: Endpoint,
    tap: Tap,
}

impl Place {
    fn build() -> Result<Self> {
        let network = Network::new()?;
        let authority = Authority::new(KeyKind::EcdsaP256, "Corporate authority")?;
        let own = Contents { common_name: "gateway".into(), hosts: vec![NAME.into()], ..Contents::default() };
        let gateway = network.strongswan(&gateway(&authority, &authority.gateway(&own)?))?;
        network.client.etc("hosts", &format!("127.0.0.1 localhost\n{GATEWAY} {NAME}\n"))?;
        // The example names no authority: those of the system count.
        let anchors = "/etc/ssl/certs/ca-certificates.crt";
        std::fs::create_dir_all("/etc/ssl/certs")?;
        let trusted = std::fs::read_to_string(anchors).unwrap_or_default();
        std::fs::write(anchors, format!("{trusted}\n{}", authority.certificate().pem))?;
        let mut endpoint = Endpoint::new(&network.client, &network.folder.join("endpoint"))?;
        install(&endpoint, true)?;
        let settings = format!(
            "[posture]\nadvisories_limit = \"1000000h\"\ndpkg_status = {:?}\nosv_records = {:?}\n",
            endpoint.path("dpkg/status"),
            feeds::advisories()
        );
        endpoint.configure("postern.toml", &settings)?;
        endpoint.configure("password", PASSWORD)?;
        endpoint.configure("tunnels.d/work.toml", &example()?)?;
        let tap = Tap::open(&network.client, "wan0")?;
        endpoint.start()?;
        Ok(Self { network, gateway, endpoint, tap })
    }

    fn connect(&self, code: i32) -> Result<String> {
        let password = self.endpoint.path("config/password");
        self.endpoint.expect(code, &["connect", "work", "--password-file", &password.to_string_lossy()])
    }

    /// Asks for the tunnel, is refused, and finds nothing of this host on the wire meanwhile.
    fn refused(&self, code: i32, words: &[&str]) -> Result<String> {
        let mark = self.tap.count();
        let said = self.connect(code)?;
        for word in words {
            ensure!(said.contains(word), "{word:?} is not told:\n{said}");
        }
        let sent = self.tap.since(mark).into_iter().find(|packet| packet.outgoing && packet.kind != Kind::Neighbour);
        ensure!(sent.is_none(), "a packet of a refused tunnel: {sent:?}");
        ensure!(!self.gateway.log().contains(" IKE_SA_INIT "), "the gateway was asked:\n{}", self.gateway.log());
        Ok(said)
    }

    /// Makes a change while packets flow, and sees the tunnel go for it within a second.
    fn torn_down(&self, change: impl FnOnce(&Self) -> Result<()>) -> Result<String> {
        let client = &self.network.client;
        let inside = work(&self.endpoint)?.established.context("not connected")?.addresses;
        let series = Series::start(client, CORPORATE.parse()?, Duration::from_millis(5))?;
        until("pings through the tunnel", LIMIT, || Ok((series.answered() > 20).then_some(())))?;
        let begin = self.tap.count();
        change(self)?;
        let changed = boottime_ns();
        let lost = until("the loss of compliance", LIMIT, || {
            Ok(work(&self.endpoint)?.last_fault.filter(|fault| fault.name == FaultName::ComplianceLost))
        })
        .with_context(|| self.endpoint.log())?;
        let mark = self.tap.count();
        ensure!(work(&self.endpoint)?.state == ConnectionState::Blocked, "nothing is blocked");
        let last = last_packet_of_tunnel(&self.tap.since(begin), &inside).unwrap_or_default();
        ensure!(last < changed + 1_000_000_000, "packets left {} ms after the change", (last - changed) / 1_000_000);
        let _refused = lab::ping::once(client, CORPORATE.parse()?, Duration::from_millis(20));
        silent_since(&self.tap, mark, &inside)?;
        ensure!(blocked_here(client)?, "what the tunnel protected may leave in the clear");
        until("the gateway to have heard of the end", LIMIT, || Ok((self.gateway.established()? == 0).then_some(())))?;
        let warning = lost.warning.clone().unwrap_or_default().as_received().to_owned();
        ensure!(warning == WARNING, "{warning:?}");
        let status = self.endpoint.expect(0, &["status"])?;
        ensure!(status.contains("ComplianceLost"), "{status}");
        Ok(lost.to_string())
    }
}

/// Puts a package database in place, as a package manager does: a new file under the old name.
fn install(endpoint: &Endpoint, vulnerable: bool) -> Result<()> {
    let source = if vulnerable { feeds::vulnerable_packages() } else { feeds::upgraded_packages() };
    std::fs::create_dir_all(endpoint.path("dpkg"))?;
    std::fs::copy(source, endpoint.path("dpkg/status-new"))?;
    Ok(std::fs::rename(endpoint.path("dpkg/status-new"), endpoint.path("dpkg/status"))?)
}

pub fn by_its_own_rules() -> Result<()> {
    let place = Place::build()?;
    let endpoint = &place.endpoint;
    // What was never scanned is unknown, and unknown refuses.
    place.refused(13, &["TagsUnknown", "Critical Vulnerability"])?;
    endpoint.expect(0, &["scan"])?;
    let said = place.refused(3, &["HostCheckFailed", "Critical Vulnerability", "curl", feeds::CRITICAL_CVE])?;
    ensure!(said.starts_with(WARNING), "the administrator's words do not come first:\n{said}");
    // Mended, it still is not a device that is known.
    install(endpoint, false)?;
    endpoint.expect(0, &["scan"])?;
    place.refused(3, &[WARNING, "Known device"])?;
    std::fs::write(KNOWN, "")?;
    until("the explanation to name the file as there", LIMIT, || {
        let explained = endpoint.expect(0, &["posture", "explain", "work"])?;
        for word in ["Critical Vulnerability", "Known device", "vulnerable-devices", KNOWN] {
            ensure!(explained.contains(word), "{word:?} is not explained:\n{explained}");
        }
        Ok((place.endpoint.postern(&["posture", "tags"])?.1.lines())
            .any(|line| line.contains("Known device") && line.contains("present"))
            .then_some(()))
    })?;
    // A file that is not valid is no tunnel; who can mend it is told where.
    endpoint.configure("tunnels.d/broken.toml", "gateway = \"vpn.example.test\"\ngatway_auth = 5\n")?;
    until("the file to be listed", LIMIT, || {
        let listed = endpoint.expect(0, &["tunnel", "list"])?;
        Ok((listed.contains("broken is not valid: ") && listed.contains("broken.toml:2: gatway_auth")).then_some(()))
    })?;
    place.connect(0)?;
    lab::ping::once(&place.network.client, CORPORATE.parse()?, LIMIT).with_context(|| place.gateway.log())?;
    let lost = place.torn_down(|_| Ok(std::fs::remove_file(KNOWN)?))?;
    ensure!(lost.contains("Known device"), "{lost}");
    // And anew, for the other of its rules.
    std::fs::write(KNOWN, "")?;
    place.connect(0)?;
    let lost = place.torn_down(|place| {
        install(&place.endpoint, true)?;
        place.endpoint.expect(0, &["scan"]).map(drop)
    })?;
    ensure!(lost.contains("Critical Vulnerability") && lost.contains("curl"), "{lost}");
    Ok(())
}
