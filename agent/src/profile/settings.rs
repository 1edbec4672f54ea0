//! The service's own settings: `postern.toml`, then `postern.d/*.toml` in the order of their names.

use crate::profile::catalogue::check_owner;
use crate::profile::document::{self, Complaint, Document, ProfileError};
use crate::profile::paths::Paths;
use crate::profile::span;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every setting of the service, with its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The control socket.
    pub control: ControlSettings,
    /// The compliance loop.
    pub compliance: ComplianceSettings,
    /// Where facts about the endpoint are read.
    pub posture: PostureSettings,
    /// What users may do.
    pub users: UserSettings,
    /// Tokens with keys.
    pub tokens: TokenSettings,
}

/// The `[tokens]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenSettings {
    /// The PKCS#11 module that speaks with tokens. It is code that the service runs, in a process of its own without
    /// capabilities but as the service's user: only this file names it, never a tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<PathBuf>,
}

/// The `[control]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlSettings {
    /// The group whose members may use the socket.
    pub group: String,
}

impl Default for ControlSettings {
    fn default() -> Self {
        Self { group: "postern".into() }
    }
}

/// The `[users]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserSettings {
    /// Whether members of the group may have tunnels of their own, which name no files of the machine.
    pub own_tunnels: bool,
}

/// The `[compliance]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ComplianceSettings {
    /// The clock tick of the loop, and how often facts are gathered anew.
    #[serde(with = "span")]
    pub interval: Duration,
}

impl Default for ComplianceSettings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(15) }
    }
}

/// The `[posture]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostureSettings {
    /// The tree in which the system's files are looked for.
    pub root: PathBuf,
    /// A dpkg status file that is read in the place of the system's package database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpkg_status: Option<PathBuf>,
    /// The file or directory of OSV records, as `.json`, `.jsonl` or OSV's `all.zip`; `STATE/osv` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub osv_records: Option<PathBuf>,
    /// How long a vulnerability scan may take.
    #[serde(with = "span")]
    pub scan_timeout: Duration,
    /// How old the database of advisories may become before scans against it count as unknown.
    #[serde(with = "span")]
    pub advisories_limit: Duration,
    /// How old a scan's result may become before the service scans again by itself. Where it is written
    /// down, the first scan is the service's own too; where it is not, each result of a scan that
    /// somebody ordered is renewed daily.
    #[serde(with = "span::optional", skip_serializing_if = "Option::is_none")]
    pub scan_interval: Option<Duration>,
    /// Lock files (Cargo.lock, package-lock.json, poetry.lock, uv.lock, requirements.txt) whose packages
    /// are scanned too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lock_files: Vec<PathBuf>,
}

impl Default for PostureSettings {
    fn default() -> Self {
        Self {
            root: PathBuf::from("/"),
            dpkg_status: None,
            osv_records: None,
            scan_timeout: Duration::from_secs(300),
            advisories_limit: Duration::from_secs(30 * 24 * 3600),
            scan_interval: None,
            lock_files: Vec::new(),
        }
    }
}

impl Document for Settings {
    fn check(&self) -> Result<(), Complaint> {
        let interval = self.compliance.interval;
        if interval < Duration::from_millis(100) || interval > Duration::from_secs(3600) {
            return Err(Complaint {
                element: "compliance.interval",
                problem: format!("is {}", span::shown(interval)),
                expected: "100ms to 1h",
            });
        }
        if self.posture.scan_timeout.is_zero() {
            return Err(Complaint {
                element: "posture.scan_timeout",
                problem: "is 0".into(),
                expected: "a time above 0",
            });
        }
        if let Some(interval) = self.posture.scan_interval.filter(|interval| *interval < Duration::from_secs(60)) {
            return Err(Complaint {
                element: "posture.scan_interval",
                problem: format!("is {}", span::shown(interval)),
                expected: "1m or more",
            });
        }
        Ok(())
    }
}

/// Reads the settings; a file that is not there counts as empty.
///
/// # Errors
/// The first file that is not valid.
pub fn load(paths: &Paths) -> Result<Settings, ProfileError> {
    let mut merged = toml::Table::new();
    let mut last = paths.settings();
    for file in files(paths) {
        check_owner(&file)?;
        let text = document::read(&file)?;
        // Each file is held against the types by itself, so that an error names it and its line.
        document::parse::<Settings>(&file, &text)?;
        let table = text.parse::<toml::Table>().unwrap_or_default();
        merge(&mut merged, table);
        last = file;
    }
    let text = merged.to_string();
    document::parse(&last, &text)
}

/// Lists the settings' files, the one that counts least first.
pub fn files(paths: &Paths) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Some(paths.settings()).filter(|file| file.exists()).into_iter().collect();
    files.extend(toml_files(&paths.drop_ins()));
    files
}

/// Lists the `.toml` files of a directory by name; a directory that is not there has none.
pub fn toml_files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

fn merge(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(under)), toml::Value::Table(inner)) => merge(under, inner),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, Paths) {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| Some(directory.path().join(name));
        let paths = Paths::settle(place("etc"), place("state"), place("run"));
        std::fs::create_dir_all(paths.drop_ins()).unwrap();
        (directory, paths)
    }

    #[test]
    fn no_file_means_every_default() {
        let (_kept, paths) = directory();
        assert_eq!(load(&paths).unwrap(), Settings::default());
    }

    #[test]
    fn a_drop_in_changes_what_it_names_and_nothing_else() {
        let (_kept, paths) = directory();
        std::fs::write(paths.settings(), "[compliance]\ninterval = \"5s\"\n[posture]\nroot = \"/a\"\n").unwrap();
        std::fs::write(paths.drop_ins().join("10.toml"), "[posture]\nroot = \"/b\"\n").unwrap();
        let settings = load(&paths).unwrap();
        assert_eq!(settings.compliance.interval, Duration::from_secs(5));
        assert_eq!(settings.posture.root, Path::new("/b"));
        assert_eq!(settings.posture.scan_interval, None, "nobody set a schedule");
    }

    #[test]
    fn a_schedule_is_read_written_and_not_shorter_than_a_minute() {
        let (_kept, paths) = directory();
        std::fs::write(paths.settings(), "[posture]\nscan_interval = \"12h\"\n").unwrap();
        let settings = load(&paths).unwrap();
        assert_eq!(settings.posture.scan_interval, Some(Duration::from_secs(12 * 3600)));
        assert!(toml::to_string(&settings).unwrap().contains("scan_interval = \"12h\""));
        std::fs::write(paths.settings(), "[posture]\nscan_interval = 59\n").unwrap();
        assert!(load(&paths).unwrap_err().to_string().contains("posture.scan_interval"));
    }

    #[cfg(unix)]
    #[test]
    fn settings_that_others_may_write_are_none() {
        use std::os::unix::fs::PermissionsExt;
        let (_kept, paths) = directory();
        std::fs::write(paths.settings(), "[users]\nown_tunnels = true\n").unwrap();
        let mode = |mode| std::fs::set_permissions(paths.settings(), std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o646);
        assert!(load(&paths).unwrap_err().to_string().contains("can be written by everybody (mode 646)"));
        mode(0o644);
        assert!(load(&paths).is_ok());
        // Root alone may give a file to another group.
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(paths.settings(), None, Some(54_321)).unwrap();
            mode(0o664);
            assert!(load(&paths).unwrap_err().to_string().contains("can be written by group 54321 (mode 664)"));
        }
    }

    #[test]
    fn an_error_names_the_drop_in_and_its_line() {
        let (_kept, paths) = directory();
        let drop_in = paths.drop_ins().join("10.toml");
        std::fs::write(&drop_in, "[compliance]\ninterval = \"0s\"\n").unwrap();
        assert_eq!(
            load(&paths).unwrap_err().to_string(),
            format!("{}:2: compliance.interval: is 0s; expected 100ms to 1h", drop_in.display())
        );
    }
}
