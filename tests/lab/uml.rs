//! A kernel that has ESP: user-mode Linux, an ordinary process with a whole Linux kernel in it,
//! joined to the lab's wires by tap devices.
//!
//! The kernel here and the one in CI may have no ESP of their own. What userspace ESP cannot show is
//! shown against gateways in such a guest: extended sequence numbers, UDP encapsulation that only
//! the client's wish brings about, the kernel's replay window, and libreswan, which has no
//! userspace ESP.
//!
//! The guest's root is the host's file system (hostfs). Commands for the guest are files in a
//! shared folder: a loop in the guest runs `command` and leaves `done` with its output.

use crate::net::{Host, Running, until};
use crate::strongswan::{Settings, write_configuration};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// The environment variable that names the folder that `tests/lab/uml-fetch` fills; `tests/run`
/// sets it.
pub const FOLDER_VARIABLE: &str = "POSTERN_LAB_UML";

/// Loaded in this order: what xfrm needs for AES-GCM, AES-CBC with HMAC-SHA-2 and sequence numbers.
const MODULES: &str = "jitterentropy_rng sha512_generic hmac drbg ctr ghash-generic gf128mul crypto_null seqiv \
     xfrm_user esp4 esp6 gcm echainiv authenc authencesn aes_generic cbc sha256_generic chacha_generic poly1305_generic chacha20poly1305";

/// How long a guest may take to boot, and a command in it to end.
const LIMIT: Duration = Duration::from_secs(90);

/// Returns the folder with the unpacked packages.
///
/// # Errors
/// When the variable is not set or names something else.
pub fn packages() -> Result<PathBuf> {
    let folder = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    let folder = folder.with_context(|| format!("{FOLDER_VARIABLE} is not set: run tests/run, which sets it"))?;
    ensure!(folder.join("stamp").is_file(), "{} is not laid out: run tests/run once", folder.display());
    Ok(folder)
}

/// A running guest: a kernel of its own on the gateway's wires.
#[derive(Debug)]
pub struct Guest {
    folder: PathBuf,
    running: Running,
}

impl Guest {
    /// Boots the guest in place of `host`: the host's `wan0` and `lan0` become mere wires, and the
    /// guest has the addresses that the host had. `folder` is seen as `/mnt` in the guest.
    ///
    /// # Errors
    /// When the packages are not there or the guest does not come up; its console is in the error.
    pub fn start(host: &Host, folder: &Path) -> Result<Self> {
        let packages = packages()?;
        std::fs::create_dir_all(folder)?;
        host.shell(
            "for pair in wan0 lan0; do\n\
               ip address flush dev $pair; ip link add br-$pair type bridge; ip link set br-$pair up\n\
               ip link set $pair master br-$pair; ip tuntap add tap-$pair mode tap; ip link set tap-$pair up master br-$pair\n\
             done",
        )?;
        let script = folder.join("init");
        std::fs::write(&script, init_script(&packages, folder))?;
        crate::net::shell(&format!("chmod +x {}", script.display()))?;
        let console = std::fs::File::create(folder.join("console"))?;
        let running = Running::start(
            "user-mode Linux",
            host.command(packages.join("usr/bin/linux.uml"))
                .args(["mem=384M", "rootfstype=hostfs", "rootflags=/", "rw", "con=null", "con0=null,fd:1", "quiet"])
                .arg(format!("init={}", script.display()))
                .args(["vec0:transport=tap,ifname=tap-wan0,depth=128", "vec1:transport=tap,ifname=tap-lan0,depth=128"])
                .env("TMPDIR", folder)
                .stdout(console.try_clone()?)
                .stderr(Stdio::from(console)),
        )?;
        let mut guest = Self { folder: folder.to_owned(), running };
        let ready = guest.folder.join("ready");
        until("the guest's init", LIMIT, || {
            if let Some(status) = guest.running.ended()? {
                bail!("the guest ended: {status}");
            }
            Ok(ready.exists().then_some(()))
        })
        .with_context(|| guest.console())?;
        Ok(guest)
    }

    /// Runs a shell line in the guest and returns what it printed, whether it succeeded or not.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn shell(&self, line: &str) -> Result<String> {
        let (command, done) = (self.folder.join("command"), self.folder.join("done"));
        if done.exists() {
            std::fs::remove_file(&done)?;
        }
        // The loop in the guest looks for the finished name, so it never sees half a command.
        std::fs::write(self.folder.join("command.new"), line)?;
        std::fs::rename(self.folder.join("command.new"), &command)?;
        until("the guest's answer", LIMIT, || Ok(done.exists().then_some(()))).with_context(|| self.console())?;
        std::fs::read_to_string(&done).context("reading the guest's answer")
    }

    /// Loads further modules of the guest's kernel, in this order.
    ///
    /// # Errors
    /// When there is no such module.
    pub fn load(&self, modules: &str) -> Result<()> {
        let packages = packages()?;
        let packages = packages.display();
        let said = self.shell(&format!(
            "for module in {modules}; do\n\
               LD_LIBRARY_PATH={packages}/lib/x86_64-linux-gnu:{packages}/usr/lib/x86_64-linux-gnu \
                 {packages}/tools/modprobe -d {packages}/modules $module || exit\n\
             done\n\
             echo loaded"
        ))?;
        ensure!(said.ends_with("loaded\n"), "{said}");
        Ok(())
    }

    /// Returns the folder that the guest sees as `/mnt`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns what the guest's kernel and its init script printed.
    pub fn console(&self) -> String {
        let bytes = std::fs::read(self.folder.join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// strongSwan in a guest, with the guest kernel's ESP.
#[derive(Debug)]
pub struct Gateway {
    guest: Guest,
}

impl Gateway {
    /// Boots a guest in place of `host` and starts strongSwan in it.
    ///
    /// # Errors
    /// When either does not come up; console and log are in the error.
    pub fn start(host: &Host, folder: &Path, settings: &Settings) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let plugins = crate::strongswan::PLUGINS.replace("kernel-libipsec ", "");
        write_configuration(folder, settings, &plugins)?;
        let gateway = Self { guest: Guest::start(host, folder)? };
        let folder = folder.display();
        // The guest's sockets cannot be on hostfs.
        let said = gateway.shell(&format!(
            "sed -e 's#unix://{folder}/charon.vici#unix:///run/charon.vici#' -e 's#{folder}#/mnt#g' \
               /mnt/strongswan.conf > /run/strongswan.conf\n\
             export STRONGSWAN_CONF=/run/strongswan.conf SWANCTL_DIR=/mnt/swanctl\n\
             charon-systemd > /mnt/charon.out 2>&1 &\n\
             for n in $(seq 200); do [ -S /run/charon.vici ] && break; sleep 0.1; done\n\
             swanctl --load-all --noprompt --uri unix:///run/charon.vici && echo loaded"
        ))?;
        ensure!(said.ends_with("loaded\n"), "{said}\n{}", gateway.console());
        Ok(gateway)
    }

    /// Returns the guest it runs in.
    pub fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Runs `swanctl` against this daemon and returns what it printed, whether it succeeded or not.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn swanctl(&self, arguments: &str) -> Result<String> {
        self.shell(&format!(
            "STRONGSWAN_CONF=/run/strongswan.conf SWANCTL_DIR=/mnt/swanctl \
             swanctl {arguments} --uri unix:///run/charon.vici"
        ))
    }

    /// Returns charon's log.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.guest.folder().join("charon.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// As [`Guest::shell`].
    ///
    /// # Errors
    /// As there.
    pub fn shell(&self, line: &str) -> Result<String> {
        self.guest.shell(line)
    }

    /// Returns the guest's console and charon's log.
    pub fn console(&self) -> String {
        format!("{}\n---\n{}", self.guest.console(), self.log())
    }
}

fn init_script(packages: &Path, folder: &Path) -> String {
    let (packages, folder) = (packages.display(), folder.display());
    // The scenario's folder lies below /run, where the guest wants a tmpfs of its own: in the guest
    // it is seen at /mnt. The kernel is not to ask for modules by itself: its call would look for
    // them where they are not, and take its time.
    format!(
        "#!/bin/sh\n\
         export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/\n\
         mount -t proc proc /proc; mount -t sysfs sys /sys\n\
         mount --bind {folder} /mnt; mount -t tmpfs tmpfs /run\n\
         for module in {MODULES}; do\n\
           LD_LIBRARY_PATH={packages}/lib/x86_64-linux-gnu:{packages}/usr/lib/x86_64-linux-gnu \
             {packages}/tools/modprobe -d {packages}/modules $module || echo \"no module $module\"\n\
         done\n\
         echo /bin/true > /proc/sys/kernel/modprobe\n\
         ip link set lo up\n\
         ip address add 10.99.0.2/24 dev vec0; ip address add fd99::2/64 dev vec0 nodad; ip link set vec0 up\n\
         ip address add 10.98.0.254/24 dev vec1; ip address add fd98::fe/64 dev vec1 nodad; ip link set vec1 up\n\
         ip route add default via 10.99.0.1; ip -6 route add default via fd99::1\n\
         echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding\n\
         touch /mnt/ready\n\
         while :; do\n\
           if [ -f /mnt/command ]; then\n\
             mv /mnt/command /mnt/running; sh /mnt/running > /mnt/output 2>&1; mv /mnt/output /mnt/done\n\
           fi\n\
           sleep 0.02\n\
         done\n"
    )
}
