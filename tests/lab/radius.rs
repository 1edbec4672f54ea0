//! FreeRADIUS behind the gateway: Debian's server with a folder of its own, in the gateway's namespace.
//!
//! It judges EAP for a strongSwan whose `eap-radius` plugin only passes the packets on, and so is the independent
//! other end of EAP-TLS, EAP-TTLS and of a password change. It never touches `/etc/freeradius`.

use crate::net::{Host, Running, until};
use crate::pki::Credential;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The secret that gateway and server share.
pub const SECRET: &str = "between the two";

/// Stands for what the server expands when a password is changed: anything but nothing means success.
const CHANGED: &str = "CHANGED";

/// What the server is to do.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// Its certificate and key.
    pub server: &'a Credential,
    /// The authority, PEM, under which clients' certificates must be.
    pub authority: &'a str,
    /// The method that it proposes first, in its own word.
    pub first: &'a str,
    /// The highest version of TLS, in its own words.
    pub tls: &'a str,
    /// The lines of its users' file.
    pub users: &'a str,
}

/// A running server.
#[derive(Debug)]
pub struct Radius {
    folder: PathBuf,
    _daemon: Running,
}

impl Radius {
    /// Writes the configuration below `folder` and starts the server on `host`, on the loopback interface.
    ///
    /// # Errors
    /// When it does not come up; its words are in the error.
    pub fn start(host: &Host, folder: &Path, settings: &Settings<'_>) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let write = |name: &str, content: &str| {
            std::fs::write(folder.join(name), content).with_context(|| format!("writing {name}"))
        };
        write("server.pem", &settings.server.certificate.pem)?;
        write("server.key", &settings.server.key_pem)?;
        write("ca.pem", settings.authority)?;
        write("users", settings.users)?;
        write("dictionary", "$INCLUDE /usr/share/freeradius/dictionary\n")?;
        write("radiusd.conf", &configuration(folder, settings))?;
        host.shell("ip link set lo up")?;
        let out = std::fs::File::create(folder.join("radius.out"))?;
        let mut daemon = Running::start(
            "freeradius",
            host.command("freeradius").arg("-f").arg("-d").arg(folder).stdout(out.try_clone()?).stderr(out),
        )?;
        let log = |folder: &Path| {
            let read = |name| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            read("radius.out") + &read("radius.log")
        };
        until("freeradius to be ready", Duration::from_secs(20), || {
            if let Some(status) = daemon.ended()? {
                bail!("freeradius ended: {status}");
            }
            Ok(log(folder).contains("Ready to process requests").then_some(()))
        })
        .with_context(|| log(folder))?;
        Ok(Self { folder: folder.to_owned(), _daemon: daemon })
    }

    /// Returns the server's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("radius.log")).unwrap_or_default()
    }
}

/// What strongSwan's `eap-radius` plugin is told, for [`Settings::plugin_settings`](crate::strongswan::Settings).
pub fn plugin() -> String {
    format!("eap-radius {{ servers {{ lab {{ address = 127.0.0.1\n secret = \"{SECRET}\" }} }} }}\n")
}

/// Its reader wants every closing brace on a line of its own.
fn configuration(folder: &Path, settings: &Settings<'_>) -> String {
    let folder = folder.display();
    let Settings { first, tls, .. } = settings;
    let sections = "authorize { files\n mschap\n eap { ok = return }\n pap\n }\n\
         authenticate { Auth-Type PAP { pap }\n Auth-Type MS-CHAP { mschap }\n eap\n }\n";
    let text = format!(
        "prefix = /usr\nlibdir = /usr/lib/freeradius\nname = freeradius\nlogdir = {folder}\nrun_dir = {folder}\n\
         db_dir = {folder}\npidfile = {folder}/radius.pid\nmax_request_time = 30\ncleanup_delay = 5\n\
         max_requests = 1024\nhostname_lookups = no\nproxy_requests = no\n\
         log {{ destination = files\n file = {folder}/radius.log\n auth = yes\n }}\n\
         security {{ max_attributes = 200\n reject_delay = 0\n status_server = yes\n allow_vulnerable_openssl = yes\n }}\n\
         client gateway {{ ipaddr = 127.0.0.1\n secret = \"{SECRET}\"\n }}\n\
         thread pool {{ start_servers = 2\n max_servers = 4\n min_spare_servers = 1\n max_spare_servers = 3\n }}\n\
         modules {{\n\
           files {{ usersfile = {folder}/users\n }}\n\
           pap {{ }}\n\
           mschap {{ passchange {{ local_cpw = \"{CHANGED}\"\n }} }}\n\
           eap {{ default_eap_type = {first}\n\
             tls-config lab {{ private_key_file = {folder}/server.key\n certificate_file = {folder}/server.pem\n\
               ca_file = {folder}/ca.pem\n tls_min_version = \"1.2\"\n tls_max_version = \"{tls}\"\n ecdh_curve = \"\"\n\
               cache {{ enable = no\n }} }}\n\
             md5 {{ }}\n\
             tls {{ tls = lab\n }}\n\
             ttls {{ tls = lab\n default_eap_type = md5\n virtual_server = inner\n }}\n\
             mschapv2 {{ send_error = yes\n }}\n\
           }}\n\
         }}\n\
         server outer {{ listen {{ type = auth\n ipaddr = 127.0.0.1\n port = 1812\n }}\n{sections}}}\n\
         server inner {{ {sections}}}\n"
    );
    text.replace('}', "\n}\n").replace(CHANGED, "%{MS-CHAP-New-NT-Password}")
}
