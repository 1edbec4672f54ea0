//! strongSwan on a kernel that has ESP: user-mode Linux, an ordinary process with a whole Linux
//! kernel in it, joined to the lab's wires by tap devices.
//!
//! The kernel here and the one in CI may have no ESP of their own. What userspace ESP cannot show is
//! shown against this gateway: extended sequence numbers, UDP encapsulation that only the client's
//! wish brings about, the kernel's replay window.
//!
//! The guest's root is the host's file system (hostfs). Commands for the guest are files in a
//! shared folder: a loop in the guest runs `command` and leaves `done` with its output.

use crate::net::{Host, Running, until};
use crate::strongswan::{Settings, write_configuration};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// The environment variable that names the folder with the unpacked Debian packages
/// `user-mode-linux`, `kmod` and `libkmod2`; `tests/run` sets it.
pub const FOLDER_VARIABLE: &str = "POSTERN_LAB_UML";

/// Loaded in this order: what xfrm needs for AES-GCM, AES-CBC with HMAC-SHA-2 and sequence numbers.
const MODULES: &str = "jitterentropy_rng sha512_generic hmac drbg ctr ghash-generic gf128mul crypto_null seqiv \
     xfrm_user esp4 esp6 gcm echainiv authenc authencesn aes_generic cbc sha256_generic";

/// A guest with a strongSwan gateway that uses the guest kernel's ESP.
#[derive(Debug)]
pub struct Gateway {
    folder: PathBuf,
    guest: Running,
}

impl Gateway {
    /// Boots the guest in place of `host`: the host's `wan0` and `lan0` become mere wires, and the
    /// guest has the addresses that the host had.
    ///
    /// # Errors
    /// When the packages are not there or the guest does not come up; its console is in the error.
    pub fn start(host: &Host, folder: &Path, settings: &Settings) -> Result<Self> {
        let root = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from).with_context(|| {
            format!("{FOLDER_VARIABLE} is not set: run tests/run, which unpacks the packages user-mode-linux, kmod and libkmod2")
        })?;
        let kernel = root.join("usr/bin/linux.uml");
        ensure!(kernel.is_file(), "{} is not there: run tests/run once as root", kernel.display());
        std::fs::create_dir_all(folder)?;
        let plugins = crate::strongswan::PLUGINS.replace("kernel-libipsec ", "");
        write_configuration(folder, settings, &plugins)?;
        host.shell(
            "for pair in wan0:10.99.0.2/24 lan0:10.98.0.254/24; do\n\
               name=${pair%%:*}; ip address flush dev $name; ip link add br-$name type bridge; ip link set br-$name up\n\
               ip link set $name master br-$name; ip tuntap add tap-$name mode tap; ip link set tap-$name up master br-$name\n\
             done",
        )?;
        let script = folder.join("init");
        std::fs::write(&script, guest_script(&root, folder))?;
        crate::net::shell(&format!("chmod +x {}", script.display()))?;
        let console = std::fs::File::create(folder.join("console"))?;
        let guest = Running::start(
            "user-mode Linux",
            host.command(&kernel)
                .args(["mem=384M", "rootfstype=hostfs", "rootflags=/", "rw", "con=null", "con0=null,fd:1", "quiet"])
                .arg(format!("init={}", script.display()))
                .args(["vec0:transport=tap,ifname=tap-wan0,depth=128", "vec1:transport=tap,ifname=tap-lan0,depth=128"])
                .env("TMPDIR", folder)
                .stdout(console.try_clone()?)
                .stderr(Stdio::from(console)),
        )?;
        let mut gateway = Self { folder: folder.to_owned(), guest };
        let ready = gateway.folder.join("ready");
        until("the guest's strongSwan", Duration::from_secs(90), || {
            if let Some(status) = gateway.guest.ended()? {
                bail!("the guest ended: {status}");
            }
            Ok(ready.exists().then_some(()))
        })
        .with_context(|| gateway.console())?;
        Ok(gateway)
    }

    /// Runs a shell line in the guest and returns what it printed.
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
        until("the guest's answer", Duration::from_secs(30), || Ok(done.exists().then_some(())))
            .with_context(|| self.console())?;
        std::fs::read_to_string(&done).context("reading the guest's answer")
    }

    /// Returns what the guest's kernel and its init script printed, and charon's log.
    pub fn console(&self) -> String {
        ["console", "charon.log"]
            .map(|name| std::fs::read(self.folder.join(name)).unwrap_or_default())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .join("\n---\n")
    }
}

fn guest_script(root: &Path, folder: &Path) -> String {
    let (root, folder) = (root.display(), folder.display());
    // The scenario's folder lies below /run, where the guest wants a tmpfs of its own: in the guest
    // it is seen at /mnt.
    format!(
        "#!/bin/sh\n\
         export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/\n\
         mount -t proc proc /proc; mount -t sysfs sys /sys\n\
         mount --bind {folder} /mnt; mount -t tmpfs tmpfs /run\n\
         mkdir -p /run/m/lib/modules\n\
         cp -r {root}/usr/lib/uml/modules/* /run/m/lib/modules/\n\
         export LD_LIBRARY_PATH={root}/lib/x86_64-linux-gnu:{root}/usr/lib/x86_64-linux-gnu\n\
         cp {root}/bin/kmod /run/modprobe; cp {root}/bin/kmod /run/depmod\n\
         /run/depmod -b /run/m $(uname -r)\n\
         for module in {MODULES}; do /run/modprobe -d /run/m $module || echo \"no module $module\"; done\n\
         unset LD_LIBRARY_PATH\n\
         ip link set lo up\n\
         ip address add 10.99.0.2/24 dev vec0; ip link set vec0 up\n\
         ip address add 10.98.0.254/24 dev vec1; ip link set vec1 up\n\
         echo 1 > /proc/sys/net/ipv4/ip_forward\n\
         sed -e 's#unix://{folder}/charon.vici#unix:///run/charon.vici#' -e 's#{folder}#/mnt#g' \
           /mnt/strongswan.conf > /run/strongswan.conf\n\
         export STRONGSWAN_CONF=/run/strongswan.conf SWANCTL_DIR=/mnt/swanctl\n\
         charon-systemd &\n\
         for n in $(seq 200); do [ -S /run/charon.vici ] && break; sleep 0.1; done\n\
         swanctl --load-all --noprompt --uri unix:///run/charon.vici && touch /mnt/ready\n\
         while :; do\n\
           if [ -f /mnt/command ]; then\n\
             mv /mnt/command /mnt/running; sh /mnt/running > /mnt/output 2>&1; mv /mnt/output /mnt/done\n\
           fi\n\
           sleep 0.05\n\
         done\n"
    )
}
