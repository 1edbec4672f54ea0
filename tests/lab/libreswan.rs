//! libreswan as the gateway: Debian's pluto in a guest, ESP by the guest's kernel.
//!
//! A stack of its own descent (FreeS/WAN), its own cryptography (NSS) and its own reading of the
//! RFCs. It runs from the unpacked package; nothing of it is installed.

use crate::net::until;
use crate::pki::{Certificate, Credential};
use crate::uml::{Guest, packages};
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How long pluto may take for one step.
const LIMIT: Duration = Duration::from_secs(30);

/// What the gateway is to do, in ipsec.conf's language.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `conn` sections.
    pub connections: String,
    /// More lines of `config setup`.
    pub setup: String,
    /// The lines of ipsec.secrets.
    pub secrets: String,
    /// The authority it trusts; in its data base by the name `authority`.
    pub authority: Option<Certificate>,
    /// Its own certificate and key; in its data base by the name `gateway`.
    pub credential: Option<Credential>,
}

/// A running pluto.
#[derive(Debug)]
pub struct Gateway<'g> {
    guest: &'g Guest,
    folder: PathBuf,
    programs: PathBuf,
}

impl<'g> Gateway<'g> {
    /// Ends what pluto runs in the guest and starts one with these settings.
    ///
    /// # Errors
    /// When it does not come up or refuses a connection; its log is in the error.
    pub fn start(guest: &'g Guest, settings: &Settings) -> Result<Self> {
        let programs = packages()?;
        let gateway = Self { guest, folder: guest.folder().join("pluto"), programs };
        gateway.run(
            "[ -e /run/pluto/pluto.pid ] && kill -KILL $(cat /run/pluto/pluto.pid)\n\
             ip xfrm state flush; ip xfrm policy flush; rm -rf /run/pluto",
        )?;
        gateway.write(settings)?;
        // pluto calls `addconn` by the path it was built with.
        let programs = gateway.programs.display();
        gateway.run(&format!(
            "mountpoint -q /usr/libexec || {{ mount -t tmpfs tmpfs /usr/libexec; \
               ln -s {programs}/usr/libexec/ipsec /usr/libexec/ipsec; }}\n\
             mkdir -p /run/pluto\n\
             {programs}/usr/libexec/ipsec/pluto --config /mnt/pluto/ipsec.conf --secretsfile /mnt/pluto/ipsec.secrets \
               --nssdir /mnt/pluto/nss --rundir /run/pluto --logfile /mnt/pluto/log --nhelpers 0 --log-no-audit"
        ))?;
        // It loads the secrets last, after every connection.
        until("pluto's connections", LIMIT, || Ok(gateway.log().contains("loading secrets").then_some(())))
            .with_context(|| gateway.log())?;
        ensure!(!gateway.log().contains("failed to add connection"), "{}", gateway.log());
        Ok(gateway)
    }

    fn write(&self, settings: &Settings) -> Result<()> {
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder)?;
        }
        std::fs::create_dir_all(self.folder.join("nss"))?;
        std::fs::write(
            self.folder.join("ipsec.conf"),
            format!("config setup\n\tuniqueids=no\n{}\n{}\n", settings.setup, settings.connections),
        )?;
        std::fs::write(self.folder.join("ipsec.secrets"), &settings.secrets)?;
        self.certutil("certutil", &["-N", "--empty-password"])?;
        if let Some(authority) = &settings.authority {
            let file = self.folder.join("authority.pem");
            std::fs::write(&file, &authority.pem)?;
            let file = file.to_string_lossy();
            self.certutil("certutil", &["-A", "-n", "authority", "-t", "CT,,", "-a", "-i", &file])?;
        }
        if let Some(credential) = &settings.credential {
            let [certificate, key, both] =
                ["gateway.pem", "gateway.key", "gateway.p12"].map(|name| self.folder.join(name));
            std::fs::write(&certificate, &credential.certificate.pem)?;
            std::fs::write(&key, &credential.key_pem)?;
            let mut openssl = Command::new("openssl");
            openssl.args(["pkcs12", "-export", "-name", "gateway", "-passout", "pass:lab", "-in"]).arg(&certificate);
            crate::net::output_of(openssl.arg("-inkey").arg(&key).arg("-out").arg(&both))?;
            self.certutil("pk12util", &["-i", &both.to_string_lossy(), "-W", "lab"])?;
        }
        Ok(())
    }

    /// Runs one of NSS's tools on the gateway's data base.
    fn certutil(&self, tool: &str, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(self.programs.join("usr/bin").join(tool));
        command.args(arguments).arg("-d").arg(format!("sql:{}", self.folder.join("nss").display()));
        command.env("LD_LIBRARY_PATH", self.programs.join("usr/lib/x86_64-linux-gnu"));
        crate::net::output_of(&mut command).map(drop).with_context(|| tool.to_owned())
    }

    /// Runs a shell line in the guest with libreswan's libraries at hand.
    ///
    /// # Errors
    /// When it does not end.
    pub fn run(&self, line: &str) -> Result<String> {
        let libraries = self.programs.join("usr/lib/x86_64-linux-gnu");
        self.guest.shell(&format!("export LD_LIBRARY_PATH={}\n{line}", libraries.display()))
    }

    /// Runs `whack` against this pluto and returns what it printed.
    ///
    /// # Errors
    /// When it does not end.
    pub fn whack(&self, arguments: &str) -> Result<String> {
        self.run(&format!("{}/usr/libexec/ipsec/whack --rundir /run/pluto {arguments}", self.programs.display()))
    }

    /// Waits for a line in the log that contains `words`, past the first `from` octets.
    ///
    /// # Errors
    /// When there is none in time; the log is in the error.
    pub fn says(&self, words: &str, from: usize) -> Result<()> {
        let said = || self.log().get(from..).is_some_and(|log| log.contains(words));
        until(&format!("pluto saying {words:?}"), LIMIT, || Ok(said().then_some(()))).with_context(|| self.log())
    }

    /// Returns how many IKE SAs are established.
    ///
    /// # Errors
    /// When pluto does not answer.
    pub fn established(&self) -> Result<usize> {
        let status = self.whack("--status")?;
        let line = status.lines().find(|line| line.contains("IKE SAs: total(")).context(status.clone())?;
        let count = line.split_once("authenticated(").and_then(|(_, rest)| rest.split_once(')'));
        count.context("no count of authenticated SAs")?.0.parse().context("a count")
    }

    /// Returns the log since the last start, without its greeting.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&bytes).into_owned();
        log.find("using Linux xfrm").and_then(|start| log.get(start..)).map(str::to_owned).unwrap_or(log)
    }
}
