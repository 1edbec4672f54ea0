use super::*;
use crate::facts::{Fact, FileState, Observation, Package, VolumeEncryption};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use tempfile::TempDir;

/// A tree of files that stands in for a system.
pub(super) struct Tree(TempDir);

impl Tree {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    pub(super) fn with(self, path: &str, content: &str) -> Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub(super) fn with_bytes(self, path: &str, content: &[u8]) -> Self {
        let tree = self.with(path, "");
        fs::write(tree.path(path), content).unwrap();
        tree
    }

    pub(super) fn collect_asked(&self, asked: &Asked) -> Facts {
        Collector::new(self.0.path(), Settings::default()).collect(asked)
    }

    pub(super) fn with_folder(self, path: &str) -> Self {
        fs::create_dir_all(self.path(path)).unwrap();
        self
    }

    /// Makes a link that leads, within the tree, from one folder to another.
    pub(super) fn with_link(self, path: &str, target: &str) -> Self {
        let from = self.path(path);
        fs::create_dir_all(from.parent().unwrap()).unwrap();
        symlink(self.path(target), from).unwrap();
        self
    }

    pub(super) fn collect(&self) -> Facts {
        self.collect_with(Settings::default(), &[])
    }

    fn collect_with(&self, settings: Settings, files: &[&str]) -> Facts {
        let files = files.iter().map(|path| (*path).to_owned()).collect();
        Collector::new(self.0.path(), settings).collect(&Asked { files, ..Asked::default() })
    }
}

fn lab(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/lab/feeds").join(path)
}

/// Says whether the user who runs the tests is bound by file permissions.
fn permissions_bind() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o0)).unwrap();
    fs::read(&file).is_err()
}

#[test]
fn a_tree_of_fixtures_stands_in_for_the_system() {
    let tree = Tree::new()
        .with("/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n")
        .with("/proc/sys/kernel/osrelease", "6.1.0-37-amd64\n")
        .with("/proc/sys/kernel/hostname", "laptop\n")
        .with("/var/lib/dpkg/status", &fs::read_to_string(lab("dpkg/vulnerable")).unwrap());
    let facts = tree.collect();
    assert_eq!(facts.os.value().unwrap().id, "debian");
    assert_eq!(facts.kernel.value().unwrap().release, "6.1.0-37-amd64");
    assert_eq!(facts.host_name.value().unwrap(), "laptop");
    assert_eq!(facts.packages.value().unwrap().len(), 17);
    assert!(facts.packages.gathered_unix > 1_600_000_000);
    assert!(facts.packages.source.ends_with("/var/lib/dpkg/status"));
}

#[test]
fn debian_tells_its_point_release_in_a_file_of_its_own() {
    let version = |point: &str| {
        let tree = Tree::new().with("/etc/os-release", "ID=debian\nVERSION_ID=12\n").with("/etc/debian_version", point);
        tree.collect().os.value().unwrap().version.clone().unwrap()
    };
    assert_eq!(version("12.7\n"), "12.7");
    assert_eq!(version("bookworm/sid\n"), "12");
    assert_eq!(version("120.1\n"), "12");
}

#[test]
fn an_empty_tree_is_unknown_everywhere_and_never_absent() {
    let facts = Tree::new().collect();
    for line in facts.lines() {
        // These are lists, or have parts that are unknown each by itself.
        let expected_known = matches!(line.area, "antivirus" | "client" | "updates" | "security")
            || (line.area, line.name.as_str()) == ("packages", "applications");
        assert_eq!(line.value.known().is_some(), expected_known, "{line:?}");
    }
    let security = facts.security.value().unwrap();
    assert!(security.secure_boot.reason().is_some() && security.access_control.reason().is_some());
    assert!(facts.updates.value().unwrap().last_unix.reason().is_some());
    // Products may hide among processes that could not be seen.
    assert!(facts.antivirus.value().unwrap().hidden.is_some());
    assert_eq!(facts.vulnerabilities.observation.reason(), Some("never scanned"));
}

#[test]
fn the_package_database_may_lie_elsewhere() {
    let settings = Settings { dpkg_status: Some(lab("dpkg/upgraded")), ..Settings::default() };
    let facts = Tree::new().collect_with(settings.clone(), &[]);
    assert_eq!(facts.packages.value().unwrap().len(), 17);
    assert_eq!(Collector::new("/", settings).package_database(), Some(lab("dpkg/upgraded")));
    let own = Tree::new().with("/lib/apk/db/installed", "");
    assert_eq!(
        Collector::new(own.0.path(), Settings::default()).package_database(),
        Some(own.path("/lib/apk/db/installed"))
    );
}

#[test]
fn what_may_not_be_read_is_denied_and_not_unknown() {
    let tree = Tree::new().with("/var/lib/dpkg/status", "");
    fs::set_permissions(tree.path("/var/lib/dpkg/status"), fs::Permissions::from_mode(0o0)).unwrap();
    let packages = tree.collect().packages.observation;
    if permissions_bind() {
        assert!(matches!(packages, Observation::Denied(_)), "{packages:?}");
    } else {
        // Root reads everything; what it is shown then is this other error.
        assert_eq!(packages, Observation::Known(Vec::<Package>::new()));
    }
    let error = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    let denied = Observation::<()>::from_error("the file", &error);
    assert_eq!(denied, Observation::Denied("the file: no permission to read it".to_owned()));
}

#[test]
fn asked_files_are_looked_for_below_the_root() {
    let tree = Tree::new().with("/etc/badge", "").with_folder("/opt/agent");
    let settings = Settings { hidden_folders: vec!["/home".into()], ..Settings::default() };
    let asked = ["/etc/badge", "/opt/agent", "/etc/none", "/etc/badge/below", "badge", "/home/user/.x"];
    let facts = tree.collect_with(settings, &asked);
    let state = |path: &str| facts.files[path].observation.clone();
    assert_eq!(state("/etc/badge"), Observation::Known(FileState::Present));
    assert_eq!(state("/opt/agent"), Observation::Known(FileState::Present));
    assert_eq!(state("/etc/none"), Observation::Known(FileState::Missing));
    assert_eq!(state("/etc/badge/below"), Observation::Known(FileState::Missing));
    assert_eq!(state("badge"), Observation::Unknown("badge is not an absolute path".to_owned()));
    assert!(matches!(state("/home/user/.x"), Observation::Denied(_)));
}

/// A mount of `/` on the block device with this number.
fn mounted(tree: Tree, device: &str) -> Tree {
    tree.with("/proc/self/mountinfo", &format!("27 1 {device} / / rw - ext4 /dev/root rw\n"))
}

fn encryption(tree: &Tree) -> Observation<VolumeEncryption> {
    tree.collect().disk_encryption.value().unwrap().volumes[0].encryption.clone()
}

fn encrypted(how: &str) -> Observation<VolumeEncryption> {
    Observation::Known(VolumeEncryption::Encrypted(how.to_owned()))
}

#[test]
fn a_volume_on_dm_crypt_is_encrypted() {
    let tree = mounted(Tree::new(), "254:0").with("/sys/dev/block/254:0/dm/uuid", "CRYPT-LUKS2-0123-root\n");
    assert_eq!(encryption(&tree), encrypted("LUKS2"));
    assert_eq!(tree.collect().disk_encryption.value().unwrap().complete(), Some(true));
}

#[test]
fn a_logical_volume_on_dm_crypt_is_encrypted() {
    let tree = mounted(Tree::new(), "254:1")
        .with("/sys/devices/dm-1/dm/uuid", "LVM-abc\n")
        .with("/sys/devices/dm-0/dm/uuid", "CRYPT-LUKS1-0123-pv\n")
        .with_link("/sys/dev/block/254:1", "/sys/devices/dm-1")
        .with_link("/sys/devices/dm-1/slaves/dm-0", "/sys/devices/dm-0");
    assert_eq!(encryption(&tree), encrypted("LUKS1"));
}

#[test]
fn a_volume_over_an_encrypted_and_a_plain_disk_is_not_encrypted() {
    let tree = mounted(Tree::new(), "254:1")
        .with("/sys/devices/dm-1/dm/uuid", "LVM-abc\n")
        .with("/sys/devices/dm-0/dm/uuid", "CRYPT-LUKS2-0123-pv\n")
        .with("/sys/devices/sdb1/size", "1\n")
        .with_link("/sys/dev/block/254:1", "/sys/devices/dm-1")
        .with_link("/sys/devices/dm-1/slaves/dm-0", "/sys/devices/dm-0")
        .with_link("/sys/devices/dm-1/slaves/sdb1", "/sys/devices/sdb1");
    assert_eq!(encryption(&tree), Observation::Known(VolumeEncryption::None));
}

#[test]
fn a_plain_partition_is_not_encrypted_and_a_missing_device_is_unknown() {
    let plain = mounted(Tree::new(), "8:1").with("/sys/dev/block/8:1/partition", "1\n");
    assert_eq!(encryption(&plain), Observation::Known(VolumeEncryption::None));
    assert_eq!(plain.collect().disk_encryption.value().unwrap().complete(), Some(false));
    let missing = mounted(Tree::new(), "8:1");
    assert!(encryption(&missing).reason().is_some());
    assert_eq!(missing.collect().disk_encryption.value().unwrap().complete(), None);
}

#[test]
fn a_loop_of_devices_is_unknown_and_ends() {
    let tree = mounted(Tree::new(), "254:0")
        .with("/sys/devices/dm-0/dm/uuid", "LVM-abc\n")
        .with_link("/sys/dev/block/254:0", "/sys/devices/dm-0")
        .with_link("/sys/devices/dm-0/slaves/dm-0", "/sys/devices/dm-0");
    assert_eq!(encryption(&tree), Observation::Unknown("the stack of devices is too deep".to_owned()));
}

#[test]
fn btrfs_is_followed_by_its_source_and_an_overlay_is_unknown() {
    let mounts = "27 1 0:25 / / rw - btrfs /dev/mapper/vault rw\n40 27 0:30 / /var rw - overlay overlay rw\n";
    let tree = Tree::new()
        .with("/proc/self/mountinfo", mounts)
        .with("/sys/class/block/dm-3/dm/name", "vault\n")
        .with("/sys/class/block/dm-3/dm/uuid", "CRYPT-LUKS2-0123-vault\n");
    let facts = tree.collect();
    let volumes = &facts.disk_encryption.value().unwrap().volumes;
    assert_eq!(volumes[0].encryption, encrypted("LUKS2"));
    assert_eq!((volumes[1].mount.as_str(), volumes[1].encryption.known()), ("/var", None));
    // It may span a second device, which the mount does not name.
    let wider = tree
        .with("/sys/fs/btrfs/0123/devices/dm-3", "")
        .with("/sys/fs/btrfs/0123/devices/sdb1", "")
        .with("/sys/class/block/sdb1/partition", "1\n");
    assert_eq!(encryption(&wider), Observation::Known(VolumeEncryption::None));
}

#[test]
fn an_installed_product_that_does_not_run_is_listed_with_the_age_of_its_signatures() {
    let header = "ClamAV-VDB:14 Nov 2023 03-37 -0500:27093:2048147:90:0:0:builder:1699951063 ";
    let tree = Tree::new().with("/usr/sbin/clamd", "").with("/var/lib/clamav/daily.cvd", header);
    let facts = tree.collect();
    let product = &facts.antivirus.value().unwrap().products[0];
    assert_eq!((product.name.as_str(), product.running), ("ClamAV", false));
    assert_eq!(product.signatures_unix, Observation::Known(1_699_951_063));
    let bare = Tree::new().with("/usr/sbin/clamd", "").collect();
    assert!(bare.antivirus.value().unwrap().products[0].signatures_unix.reason().is_some());
}

#[test]
fn ufw_tells_in_its_configuration() {
    let enabled = Tree::new().with("/etc/ufw/ufw.conf", "# comment\nENABLED=yes\nLOGLEVEL=low\n").collect();
    let firewall = enabled.firewall.value().unwrap();
    assert_eq!((firewall.active, firewall.provider.as_str()), (true, "ufw"));
    let disabled = Tree::new().with("/etc/ufw/ufw.conf", "ENABLED=no\n").collect();
    assert!(disabled.firewall.value().is_none(), "the kernel's rules of another root cannot be read");
}

#[test]
fn the_running_system_shows_this_very_process_and_a_loopback_address() {
    let asked = Asked { files: ["/proc/self".to_owned()].into(), ..Asked::default() };
    let facts = Collector::new("/", Settings::default()).collect(&asked);
    let list = facts.processes.value().unwrap();
    let executable = std::env::current_exe().unwrap();
    let is_this = |process: &&crate::facts::Process| process.executable.as_deref() == executable.to_str();
    let myself = list.processes.iter().find(is_this).unwrap();
    assert!(list.processes.iter().all(|process| process.name != "kthreadd"), "the kernel's threads are no programs");
    assert!(myself.name.len() <= 15, "the kernel cuts names, which is why the executable counts");
    assert!(facts.addresses.value().unwrap().iter().any(|entry| entry.address.is_loopback()));
    assert_eq!(facts.files["/proc/self"].value(), Some(&FileState::Present));
    assert_eq!(facts.family, OsFamily::of_this_build());
}

#[test]
fn a_program_under_another_number_is_no_change() {
    let process = |pid: u32, name: &str| crate::facts::Process {
        pid,
        name: name.to_owned(),
        executable: Some(format!("/bin/{name}")),
        command: None,
    };
    assert_eq!(process(1, "a"), process(2, "a"));
    assert_ne!(process(1, "a"), process(1, "b"));
    let areas = |pid| {
        let list = crate::facts::ProcessList { processes: vec![process(pid, "a")], hidden: None };
        crate::ems::protocol::facts_object(&Facts { processes: Fact::known(list, "test", 0), ..Facts::default() })
    };
    assert!(crate::ems::protocol::difference(&areas(1), &areas(2)).is_empty(), "EMS is not told again");
}

#[test]
fn our_own_interfaces_are_left_out() {
    let settings = Settings { ignored_interfaces: vec!["lo".to_owned()], ..Settings::default() };
    let facts = Collector::new("/", settings).collect(&Asked::default());
    assert!(facts.addresses.value().unwrap().iter().all(|entry| entry.interface != "lo"));
    // So is a device that a profile calls as it likes, from the moment on at which it is a tunnel's.
    let collector = Collector::new("/", Settings::default());
    let sees_lo = |collector: &Collector| {
        let facts = collector.collect(&Asked::default());
        facts.addresses.value().unwrap().iter().any(|entry| entry.interface == "lo")
    };
    assert!(sees_lo(&collector));
    collector.ignore("lo");
    assert!(!sees_lo(&collector));
}

#[test]
fn the_inventory_can_be_had_alone() {
    let settings = Settings { dpkg_status: Some(lab("dpkg/upgraded")), ..Settings::default() };
    let facts = Collector::new("/", settings).collect_inventory();
    assert!(facts.os.value().is_some() && facts.packages.value().is_some());
    assert_eq!(facts.processes, Fact::default());
}
