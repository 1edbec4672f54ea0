//! Hosts, wires and servers of the story.
//!
//! ```text
//! client 10.0.3.2 ─────┐
//! colleague 172.16.7.3 ┤ router ├── 203.0.113.2 gateway 10.98.0.254 ── 10.98.0.1 corporate host
//! EMS 198.51.100.5 ────┘ "internet", resolver 10.0.3.1
//! ```
//! The addresses of the two endpoints are the article's, so that the gateway's list can be compared
//! with the article's to the letter. The router forwards nothing that is not for these networks.

use super::policy::{self, Profile};
use crate::client::{Endpoint, program};
use crate::dns::Resolver;
use crate::http::CorporateServer;
use crate::net::{Host, Running, output_of, until, wire};
use crate::wire::Tap;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long a step may take before the story counts as stuck.
pub const LIMIT: Duration = Duration::from_secs(20);
/// The gateway's name.
pub const GATEWAY_NAME: &str = "vpn.example.test";
/// The password of alice.
pub const PASSWORD: &str = "Passw0rd of alice";

/// Everything that stands on the stage. Dropping it ends every program.
#[derive(Debug)]
pub struct Stage {
    /// The endpoint's host.
    pub client: Host,
    /// The second endpoint's host.
    pub colleague: Host,
    /// The gateway's host.
    pub gateway: Host,
    /// The service under test.
    pub endpoint: Endpoint,
    /// The second endpoint's service.
    pub second: Endpoint,
    /// What the endpoint's wire carries.
    pub tap: Tap,
    /// Counts look-ups at the "internet's" resolver.
    pub resolver: Resolver,
    /// The profile as it is set now.
    pub profile: Profile,
    folder: PathBuf,
    ems: Running,
    lab_gateway: Running,
    _corporate: CorporateServer,
}

impl Stage {
    /// Builds the stage inside namespaces that the caller has made private.
    ///
    /// # Errors
    /// When the system refuses something, or a server does not come up.
    pub fn build() -> Result<Self> {
        let folder = PathBuf::from("/run/demo");
        std::fs::create_dir_all(&folder)?;
        let [client, colleague, router, gateway, corporate, ems_host] =
            ["client", "colleague", "router", "gateway", "corporate", "ems"].map(Host::new);
        let (client, colleague, router) = (client?, colleague?, router?);
        let (gateway, corporate, ems_host) = (gateway?, corporate?, ems_host?);
        wire((&client, "eth0", "10.0.3.2/24"), (&router, "c0", "10.0.3.1/24"))?;
        wire((&colleague, "eth0", "172.16.7.3/24"), (&router, "k0", "172.16.7.1/24"))?;
        wire((&gateway, "wan0", "203.0.113.2/24"), (&router, "g0", "203.0.113.1/24"))?;
        wire((&ems_host, "eth0", "198.51.100.5/24"), (&router, "e0", "198.51.100.1/24"))?;
        wire((&gateway, "lan0", "10.98.0.254/24"), (&corporate, "lan0", "10.98.0.1/24 10.98.0.53/24"))?;
        for (host, default) in [
            (&client, "10.0.3.1"),
            (&colleague, "172.16.7.1"),
            (&gateway, "203.0.113.1"),
            (&ems_host, "198.51.100.1"),
            (&corporate, "10.98.0.254"),
        ] {
            host.shell(&format!("ip route add default via {default}"))?;
        }
        for host in [&router, &gateway] {
            host.shell("echo 1 > /proc/sys/net/ipv4/ip_forward")?;
        }
        for host in [&client, &colleague, &gateway] {
            host.etc("resolv.conf", "# the network's own resolver\nnameserver 10.0.3.1\n")?;
        }
        let names = [(GATEWAY_NAME, "203.0.113.2".parse()?), ("ems.example.test", "198.51.100.5".parse()?)];
        let resolver = Resolver::start(&router, "10.0.3.1:53".parse()?, &names)?;
        let inside = [("intranet.example.test", "10.98.0.1".parse()?)];
        // The corporate resolver's own counter is not asked: that it answers is proof enough.
        let _corporate_resolver = Resolver::start(&corporate, "10.98.0.53:53".parse()?, &inside)?;
        let corporate_server = CorporateServer::start(&corporate, &["10.98.0.1:80".parse()?])?;
        let tap = Tap::open(&client, "eth0")?;

        let ems = start_ems(&ems_host, &folder)?;
        let authority = gateway_certificate(&folder)?;
        let profile = Profile {
            secure_remote_access: true,
            prohibited: vec![policy::CRITICAL],
            allowed: Vec::new(),
            after_loss: "block_protected_prefixes",
            authority,
        };
        // The gateway numbers tags in the order in which it learns of them.
        let rules = policy::rules();
        let first: Vec<_> = rules.as_array().into_iter().flatten().take(1).cloned().collect();
        std::fs::write(folder.join("document.json"), Value::from(first).to_string())?;
        administer(&folder, &["set-rules", &folder.join("document.json").to_string_lossy()])?;
        let lab_gateway = start_gateway(&gateway, &folder)?;
        let endpoint = endpoint(&client, &folder.join("endpoint"))?;
        let second = self::endpoint(&colleague, &folder.join("second"))?;
        let stage = Self {
            client,
            colleague,
            gateway,
            endpoint,
            second,
            tap,
            resolver,
            profile,
            folder,
            ems,
            lab_gateway,
            _corporate: corporate_server,
        };
        until("the first tag at the gateway", LIMIT, || {
            let list = stage.diagnose(&["firewall", "dynamic", "list", policy::TELEMETRY])?;
            Ok((!list.is_empty()).then_some(()))
        })?;
        stage.administer_with(&["set-rules"], &rules)?;
        stage.set_profile()?;
        Ok(stage)
    }

    /// Runs one command of EMS's administrator and returns its answer.
    ///
    /// # Errors
    /// When EMS refuses it.
    pub fn administer(&self, arguments: &[&str]) -> Result<Value> {
        administer(&self.folder, arguments)
    }

    /// Runs one command of EMS's administrator that takes a document.
    ///
    /// # Errors
    /// When EMS refuses it.
    pub fn administer_with(&self, arguments: &[&str], document: &Value) -> Result<Value> {
        let file = self.folder.join("document.json");
        std::fs::write(&file, document.to_string())?;
        self.administer(&[arguments, &[&*file.to_string_lossy()]].concat())
    }

    /// Sends the profile, as it is held here, to EMS; returns EMS's answer.
    ///
    /// # Errors
    /// When EMS refuses it.
    pub fn set_profile(&self) -> Result<Value> {
        self.administer_with(&["set-profile"], &self.profile.document())
    }

    /// Returns the identifier of the endpoint at EMS.
    ///
    /// # Errors
    /// When it is not enrolled.
    pub fn endpoint_identifier(&self) -> Result<String> {
        let text = std::fs::read_to_string(self.folder.join("endpoint/identifier"));
        text.context("the endpoint is not enrolled")
    }

    /// Enrols one endpoint with a fresh invitation, and returns what `postern` said.
    ///
    /// # Errors
    /// When EMS or the endpoint refuses.
    pub fn enrol(&self, endpoint: &Endpoint) -> Result<String> {
        let answer = self.administer(&["make-invitation", "--label", "demo"])?;
        let invitation = answer["invitation"].as_str().context("EMS gave no invitation")?;
        let file = endpoint.path("invitation");
        endpoint.configure("../invitation", invitation)?;
        let said = endpoint.expect(0, &["enroll", "--json", "--invitation-file", &file.to_string_lossy()])?;
        let enrolled: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
        let identifier = enrolled["endpoint"].as_str().context("no identifier")?;
        std::fs::write(endpoint.path("identifier"), identifier)?;
        Ok(invitation.to_owned())
    }

    /// Puts the package database with curl's vulnerable version, or the upgraded one, in place.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn install_packages(&self, vulnerable: bool) -> Result<()> {
        install_packages(&self.endpoint, vulnerable)
    }

    /// Runs `postern connect RA-VPN` with alice's password and expects that exit code.
    ///
    /// # Errors
    /// When it exits otherwise.
    pub fn connect(&self, code: i32) -> Result<String> {
        let password = self.endpoint.path("config/password");
        self.endpoint.expect(code, &["connect", "RA-VPN", "--password-file", &password.to_string_lossy()])
    }

    /// Returns the lines of the gateway's event log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn gateway_log(&self) -> Result<String> {
        std::fs::read_to_string(self.folder.join("gateway.log")).context("reading the gateway's event log")
    }

    /// Sets one of the gateway's settings.
    ///
    /// # Errors
    /// When the gateway refuses it.
    pub fn gateway_set(&self, name: &str, values: &[&str]) -> Result<String> {
        self.gateway_program("set", &[&[name], values].concat())
    }

    /// Runs the gateway's `diagnose`.
    ///
    /// # Errors
    /// When the gateway does not know the command.
    pub fn diagnose(&self, words: &[&str]) -> Result<String> {
        self.gateway_program("diagnose", words)
    }

    fn gateway_program(&self, verb: &str, words: &[&str]) -> Result<String> {
        let mut command = Command::new(program("lab-gateway")?);
        output_of(command.arg(verb).arg("--socket").arg(self.folder.join("gateway.sock")).args(words))
    }

    /// Tells whether EMS and the gateway still run.
    ///
    /// # Errors
    /// Names the one that ended, with its log.
    pub fn servers_run(&mut self) -> Result<()> {
        for (name, server) in [("ems", &mut self.ems), ("gateway", &mut self.lab_gateway)] {
            if let Some(status) = server.ended()? {
                let log = std::fs::read_to_string(self.folder.join(format!("{name}.out"))).unwrap_or_default();
                anyhow::bail!("the lab's {name} ended: {status}\n{log}");
            }
        }
        Ok(())
    }
}

/// Puts a package database in place, as a package manager does: a new file under the old name.
fn install_packages(endpoint: &Endpoint, vulnerable: bool) -> Result<()> {
    let source = if vulnerable { crate::feeds::vulnerable_packages() } else { crate::feeds::upgraded_packages() };
    let (status, new) = (endpoint.path("dpkg/status"), endpoint.path("dpkg/status-new"));
    std::fs::create_dir_all(endpoint.path("dpkg"))?;
    std::fs::copy(source, &new).context("copying the package database")?;
    std::fs::rename(new, status).context("putting the package database in place")
}

fn endpoint(host: &Host, folder: &Path) -> Result<Endpoint> {
    let mut endpoint = Endpoint::new(host, folder)?;
    install_packages(&endpoint, true)?;
    // The lab's feed is as old as it is.
    let settings = format!(
        "[posture]\nadvisories_limit = \"1000000h\"\ndpkg_status = {:?}\nosv_records = {:?}\n",
        endpoint.path("dpkg/status"),
        crate::feeds::advisories()
    );
    endpoint.configure("postern.toml", &settings)?;
    endpoint.configure("password", PASSWORD)?;
    endpoint.start()?;
    Ok(endpoint)
}

fn administer(folder: &Path, arguments: &[&str]) -> Result<Value> {
    let mut command = Command::new(program("lab-ems")?);
    command.arg("admin").arg("--state").arg(folder.join("ems")).args(arguments);
    let text = output_of(&mut command)?;
    serde_json::from_str(&text).with_context(|| format!("EMS answered {text:?}"))
}

fn start_ems(host: &Host, folder: &Path) -> Result<Running> {
    let log = std::fs::File::create(folder.join("ems.out"))?;
    let mut command = host.command(program("lab-ems")?);
    command.arg("run").arg("--state").arg(folder.join("ems"));
    command.args(["--listen", "198.51.100.5:8443", "--name", "ems.example.test"]);
    let mut ems = Running::start("lab-ems", command.stdout(log.try_clone()?).stderr(log))?;
    until("EMS", LIMIT, || {
        if let Some(status) = ems.ended()? {
            anyhow::bail!("lab-ems ended: {status}\n{}", std::fs::read_to_string(folder.join("ems.out"))?);
        }
        Ok(std::fs::read_to_string(folder.join("ems.out"))?.contains("\"ready\":true").then_some(()))
    })?;
    Ok(ems)
}

/// Makes the gateway's authority and certificate; returns the authority as PEM.
fn gateway_certificate(folder: &Path) -> Result<String> {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256};
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "Corporate VPN authority");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = CertificateParams::new(vec![GATEWAY_NAME.to_owned()])?.signed_by(&key, &authority)?;
    std::fs::write(folder.join("gateway.pem"), certificate.pem())?;
    std::fs::write(folder.join("gateway.key"), key.serialize_pem())?;
    Ok(authority.pem())
}

fn start_gateway(host: &Host, folder: &Path) -> Result<Running> {
    let device = administer(folder, &["add-device", "FGT-LAB"])?;
    let token = device["token"].as_str().context("EMS gave no token")?;
    let authority = administer(folder, &["show-authority"])?;
    std::fs::write(folder.join("ems.pem"), authority["certificate"].as_str().context("EMS showed no certificate")?)?;
    let at = folder.display();
    let configuration = format!(
        "identity = \"fqdn:{GATEWAY_NAME}\"\npool_first = \"10.97.0.10\"\npool_last = \"10.97.0.99\"\n\
         dns = [\"10.98.0.53\"]\nnetworks = [\"10.98.0.0/24\"]\n\
         [gateway_auth]\nmethod = \"certificate\"\nchain = \"{at}/gateway.pem\"\nkey = \"{at}/gateway.key\"\n\
         [client_auth]\nmethod = \"eap\"\n[users]\nalice = \"{PASSWORD}\"\n\
         [daemon]\nlisten = \"203.0.113.2\"\ndevice = \"gw0\"\ndevice_address = \"10.97.0.1/24\"\n\
         event_log = \"{at}/gateway.log\"\nsocket = \"{at}/gateway.sock\"\n\
         [daemon.tags]\nkind = \"ems\"\nbase = \"https://ems.example.test:8443\"\nauthority = \"{at}/ems.pem\"\n\
         device = \"FGT-LAB\"\ntoken = \"{token}\"\n"
    );
    std::fs::write(folder.join("gateway.toml"), configuration)?;
    let log = std::fs::File::create(folder.join("gateway.out"))?;
    let mut command = host.command(program("lab-gateway")?);
    command.args(["run", "--config"]).arg(folder.join("gateway.toml"));
    let mut gateway = Running::start("lab-gateway", command.stdout(log.try_clone()?).stderr(log))?;
    until("the gateway", LIMIT, || {
        let said = std::fs::read_to_string(folder.join("gateway.out"))?;
        if let Some(status) = gateway.ended()? {
            anyhow::bail!("lab-gateway ended: {status}\n{said}");
        }
        Ok(said.contains("ready").then_some(()))
    })?;
    Ok(gateway)
}
