//! How up to date the system is: when its packages last changed, and how many updates wait.

use super::package_database;
use crate::collect::{Context, Look};
use crate::facts::{Observation, Package, Updates};
use crate::vulnerability::inventory;
use crate::vulnerability::version::{Scheme, Version};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Files that are touched when an updater ran, also when it found nothing to do.
const STAMPS: [&str; 3] = [
    "/var/lib/apt/periodic/unattended-upgrades-stamp",
    "/var/lib/apt/periodic/upgrade-stamp",
    "/var/lib/zypp/LastDistributionFlavor",
];

/// Where apt keeps what its sources offer.
const APT_LISTS: &str = "/var/lib/apt/lists";

/// How much of one list is read.
const LIST_LIMIT: u64 = 512 << 20;

pub(in crate::collect) fn updates(context: &Context) -> Look<Updates> {
    const SOURCE: &str = "package database, /var/lib/apt";
    Look::known(Updates { last_unix: last(context), pending: pending(context) }, SOURCE)
}

/// The package database changes with every package that is installed, upgraded or removed.
fn last(context: &Context) -> Observation<u64> {
    let Some(database) = package_database(context) else {
        return Observation::Unknown("no package database is known here".to_owned());
    };
    let changed = match std::fs::metadata(&database).and_then(|metadata| metadata.modified()) {
        Ok(changed) => changed,
        Err(error) => return Observation::from_error(&database.display().to_string(), &error),
    };
    let stamps = STAMPS.iter().filter_map(|path| std::fs::metadata(context.path(path)).ok()?.modified().ok());
    let latest = stamps.chain([changed]).max().unwrap_or(changed);
    Observation::Known(latest.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// What the number of updates was made from: as long as that is the same, so is the number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Marks {
    status: Option<SystemTime>,
    lists: Vec<(PathBuf, Option<SystemTime>, u64)>,
}

/// The last number, since reading the lists takes a while. One system is looked at in one process.
static COUNTED: Mutex<Option<(Marks, u64)>> = Mutex::new(None);

/// Installed packages for which apt's lists offer a later version. Pins are not looked at.
fn pending(context: &Context) -> Observation<u64> {
    let Some(status) = package_database(context).filter(|path| path.file_name().is_some_and(|name| name == "status"))
    else {
        return Observation::Unknown("only what apt offers is read".to_owned());
    };
    let folder = context.path(APT_LISTS);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) => return Observation::from_error(APT_LISTS, &error),
    };
    let mut lists: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    lists.sort();
    let named = |path: &Path, what: &str| path.file_name().is_some_and(|name| name.to_string_lossy().contains(what));
    if lists.iter().any(|path| named(path, "_Packages.")) {
        return Observation::Unknown("apt keeps its lists compressed".to_owned());
    }
    lists.retain(|path| named(path, "_Packages"));
    if lists.is_empty() {
        return Observation::Unknown("apt has no lists: apt-get update was never run".to_owned());
    }
    let seen = |path: &Path| std::fs::metadata(path).ok();
    let marks = Marks {
        status: seen(&status).and_then(|metadata| metadata.modified().ok()),
        lists: lists
            .iter()
            .map(|path| {
                let metadata = seen(path);
                let changed = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
                (path.clone(), changed, metadata.map_or(0, |metadata| metadata.len()))
            })
            .collect(),
    };
    let held = COUNTED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some((_, number)) = held.filter(|(known, _)| *known == marks) {
        return Observation::Known(number);
    }
    let counted = inventory::read_dpkg_status(&status).and_then(|packages| count(&packages, &lists));
    match counted {
        Ok(number) => {
            *COUNTED.lock().unwrap_or_else(PoisonError::into_inner) = Some((marks, number));
            Observation::Known(number)
        }
        Err(error) => Observation::from_error(APT_LISTS, &error),
    }
}

fn count(packages: &[Package], lists: &[PathBuf]) -> Result<u64, std::io::Error> {
    // By name and architecture, which no name holds a colon to confuse.
    let mut installed: HashMap<String, (Version, bool)> = HashMap::new();
    let mut key = String::new();
    for package in packages {
        // What cannot be read cannot be upgraded to something either.
        if let Ok(version) = Scheme::Debian.read(&package.version) {
            installed.insert(format!("{}:{}", package.name, package.architecture), (version, false));
        }
    }
    for list in lists {
        let mut reader = BufReader::new(File::open(list)?.take(LIST_LIMIT));
        let (mut name, mut architecture, mut version) = (String::new(), String::new(), String::new());
        let mut line = Vec::new();
        loop {
            line.clear();
            let end = reader.read_until(b'\n', &mut line)? == 0;
            let text = std::str::from_utf8(&line).unwrap_or_default().trim_end();
            if end || line.trim_ascii().is_empty() {
                key.clear();
                key.extend([name.as_str(), ":", architecture.as_str()]);
                if let Some((here, waits)) = installed.get_mut(&key)
                    && let Ok(offered) = Scheme::Debian.read(&version)
                {
                    *waits |= offered > *here;
                }
                for field in [&mut name, &mut architecture, &mut version] {
                    field.clear();
                }
                if end {
                    break;
                }
            } else if let Some((field, value)) = text.split_once(": ") {
                match field {
                    "Package" => value.clone_into(&mut name),
                    "Architecture" => value.clone_into(&mut architecture),
                    "Version" => value.clone_into(&mut version),
                    _ => {}
                }
            }
        }
    }
    Ok(u64::try_from(installed.values().filter(|(_, waits)| *waits).count()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::tests::Tree;

    const STATUS: &str = "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\n\n\
                          Package: b\nStatus: install ok installed\nArchitecture: all\nVersion: 2.0-1\n\n";
    const LIST: &str = "/var/lib/apt/lists/deb.example_dists_x_main_binary-amd64_Packages";

    fn told(tree: &Tree) -> Updates {
        tree.collect().updates.value().unwrap().clone()
    }

    fn debian() -> Tree {
        Tree::new().with("/etc/os-release", "ID=debian\nVERSION_ID=12\n").with("/var/lib/dpkg/status", STATUS)
    }

    #[test]
    fn an_update_waits_where_a_list_offers_a_later_version() {
        let list = "Package: a\nArchitecture: amd64\nVersion: 1.0-1+deb12u1\nDescription: x\n\n\
                    Package: a\nArchitecture: i386\nVersion: 9\n\nPackage: b\nArchitecture: all\nVersion: 1.9-1\n\n\
                    Package: c\nArchitecture: all\nVersion: 9\n";
        assert_eq!(told(&debian().with(LIST, list)).pending, Observation::Known(1));
        assert_eq!(
            told(&debian().with(LIST, "Package: a\nArchitecture: amd64\nVersion: 1.0-1\n")).pending,
            Observation::Known(0)
        );
    }

    #[test]
    fn what_nobody_asked_a_server_for_is_unknown() {
        assert!(told(&debian()).pending.reason().is_some());
        assert!(told(&debian().with_folder("/var/lib/apt/lists/partial")).pending.reason().is_some());
        let compressed = debian().with(&format!("{LIST}.lz4"), "");
        assert_eq!(told(&compressed).pending, Observation::Unknown("apt keeps its lists compressed".to_owned()));
        let alpine = Tree::new().with("/etc/os-release", "ID=alpine\n").with("/lib/apk/db/installed", "");
        assert!(told(&alpine).pending.reason().is_some());
    }

    #[test]
    fn the_last_update_is_the_latest_of_what_an_update_touches() {
        let tree = debian().with(STAMPS[0], "");
        let at = |path: &str, seconds: u64| {
            let file = File::options().write(true).open(tree.path(path)).unwrap();
            file.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
        };
        at("/var/lib/dpkg/status", 1_700_000_000);
        at(STAMPS[0], 1_600_000_000);
        assert_eq!(told(&tree).last_unix, Observation::Known(1_700_000_000));
        at(STAMPS[0], 1_750_000_000);
        assert_eq!(told(&tree).last_unix, Observation::Known(1_750_000_000));
        assert!(told(&Tree::new()).last_unix.reason().is_some());
    }
}
