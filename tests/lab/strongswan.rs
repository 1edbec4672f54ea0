//! strongSwan as the gateway: Debian's charon-systemd with ESP in userspace (kernel-libipsec).
//!
//! One daemon with a folder of its own; it never touches `/etc/swanctl`. What it cannot show is in
//! the comment of [`Gateway`].

use crate::net::{Host, Running, output_of, until};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The plugins that the gateway loads; `kernel-libipsec` before `kernel-netlink`, so that ESP is
/// done in userspace.
pub(crate) const PLUGINS: &str = "random nonce openssl pem pkcs1 pkcs8 pubkey x509 constraints revocation curve25519 aes gcm ctr cmac xcbc gmp sha2 sha1 \
     md4 md5 hmac kdf drbg chapoly kernel-libipsec kernel-netlink socket-default vici updown resolve attr \
     eap-identity eap-mschapv2 eap-md5 eap-tls eap-ttls error-notify counters";

/// What the gateway is to do, in swanctl.conf's own language.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The body of `connections { … }`.
    pub connections: String,
    /// The body of `pools { … }`.
    pub pools: String,
    /// The body of `secrets { … }`.
    pub secrets: String,
    /// Files for the credential folders: (`x509/server.crt`, content).
    pub files: Vec<(String, Vec<u8>)>,
    /// Whether the gateway leaves RFC 7427 out, so that AUTH methods 1, 9 and 10 are used.
    pub classic_signatures: bool,
    /// Whether the gateway leaves RFC 4739 out.
    pub one_authentication: bool,
    /// Names of further plugins to load.
    pub more_plugins: String,
    /// What goes into the daemon's `plugins { … }` beside what is always there.
    pub plugin_settings: String,
}

/// A running strongSwan gateway.
///
/// With kernel-libipsec it has no extended sequence numbers, a replay window of 128, forces UDP
/// encapsulation always and has a TUN device of MTU 1400; a kernel with ESP shows the rest.
#[derive(Debug)]
pub struct Gateway {
    host: Host,
    folder: PathBuf,
    daemon: Running,
}

impl Gateway {
    /// Writes the configuration below `folder`, starts the daemon on `host` and loads everything.
    ///
    /// # Errors
    /// When the daemon does not come up or refuses the configuration; its words are in the error.
    pub fn start(host: &Host, folder: &Path, settings: &Settings) -> Result<Self> {
        let folder = folder.to_owned();
        write_configuration(&folder, settings, PLUGINS)?;
        let log = std::fs::File::create(folder.join("charon.out"))?;
        let daemon = Running::start(
            "charon-systemd",
            host.command("charon-systemd")
                .env("STRONGSWAN_CONF", folder.join("strongswan.conf"))
                .env("SWANCTL_DIR", folder.join("swanctl"))
                .stdout(log.try_clone()?)
                .stderr(log),
        )?;
        let gateway = Self { host: host.clone(), folder, daemon };
        let socket = gateway.folder.join("charon.vici");
        until("charon's control socket", Duration::from_secs(20), || Ok(socket.exists().then_some(())))
            .with_context(|| gateway.log())?;
        gateway.swanctl(&["--load-all", "--noprompt"]).with_context(|| gateway.log())?;
        Ok(gateway)
    }

    /// Runs `swanctl` against this daemon and returns what it printed.
    ///
    /// # Errors
    /// When swanctl exits non-zero.
    pub fn swanctl(&self, arguments: &[&str]) -> Result<String> {
        output_of(
            self.host
                .command("swanctl")
                .args(arguments)
                .arg("--uri")
                .arg(format!("unix://{}", self.folder.join("charon.vici").display()))
                .env("STRONGSWAN_CONF", self.folder.join("strongswan.conf"))
                .env("SWANCTL_DIR", self.folder.join("swanctl")),
        )
    }

    /// Returns how many IKE SAs are established.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn established(&self) -> Result<usize> {
        Ok(self.swanctl(&["--list-sas"])?.matches("ESTABLISHED").count())
    }

    /// Returns the daemon's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("charon.log")).unwrap_or_default()
    }

    /// Returns the daemon, to be signalled or stopped.
    pub fn daemon(&mut self) -> &mut Running {
        &mut self.daemon
    }
}

/// Writes the daemon's configuration and credentials below `folder`.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write_configuration(folder: &Path, settings: &Settings, plugins: &str) -> Result<()> {
    for name in ["swanctl/x509", "swanctl/x509ca", "swanctl/private", "swanctl/ecdsa", "swanctl/rsa", "swanctl/pkcs8"] {
        std::fs::create_dir_all(folder.join(name)).with_context(|| format!("making {name}"))?;
    }
    for (name, content) in &settings.files {
        std::fs::write(folder.join("swanctl").join(name), content).with_context(|| format!("writing {name}"))?;
    }
    std::fs::write(folder.join("strongswan.conf"), daemon_configuration(folder, plugins, settings))?;
    std::fs::write(
        folder.join("swanctl/swanctl.conf"),
        format!(
            "connections {{\n{}\n}}\npools {{\n{}\n}}\nsecrets {{\n{}\n}}\n",
            settings.connections, settings.pools, settings.secrets
        ),
    )?;
    Ok(())
}

fn daemon_configuration(folder: &Path, plugins: &str, settings: &Settings) -> String {
    let Settings { more_plugins, plugin_settings, .. } = settings;
    let several = if settings.one_authentication { "no" } else { "yes" };
    let signatures = if settings.classic_signatures { "no" } else { "yes" };
    let folder = folder.display();
    let body = format!(
        "load = {plugins} {more_plugins}\n\
         install_routes = yes\ninstall_virtual_ip = yes\nthreads = 16\n\
         delete_rekeyed_delay = 1\n\
         retransmit_base = 1\n\
         retransmit_timeout = 1\n\
         retransmit_tries = 4\n\
         signature_authentication = {signatures}\n\
         multiple_authentication = {several}\n\
         plugins {{\n{plugin_settings}\
           kernel-libipsec {{ load = yes\n allow_peer_ts = yes\n }}\n\
           kernel-netlink {{ fwmark = !0x42 }}\n\
           socket-default {{ fwmark = 0x42 }}\n\
           vici {{ socket = unix://{folder}/charon.vici }}\n\
           resolve {{ file = {folder}/resolv.conf }}\n\
         }}\n\
         filelog {{ log {{ path = {folder}/charon.log\n default = 1\n ike = 2\n cfg = 2\n time_format = %H:%M:%S\n time_add_ms = yes\n flush_line = yes\n }} }}\n\
         syslog {{ daemon {{ default = -1 }}\n auth {{ default = -1 }} }}\n"
    );
    format!("charon-systemd {{\n{body}}}\ncharon {{\n load = {plugins} {more_plugins}\n}}\n")
}
