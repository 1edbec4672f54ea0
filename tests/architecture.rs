//! The workspace's own rules: which crate may know which, and where unsafe code may live.

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What each of our packages may depend on among ours. An arrow that is not here turns the
/// architecture round.
const ARROWS: &[(&str, &[&str])] = &[
    ("ike-client", &[]),
    ("posture", &[]),
    ("postern-api", &[]),
    ("postern-agent", &["ike-client", "posture", "postern-api"]),
    ("ui-notify", &["postern-api"]),
    ("postern-tests", &["ike-client", "posture", "postern-api", "postern-agent", "ui-notify"]),
];

/// The rooms with unsafe code: batched I/O of the engine, the operating system of the agent, and
/// the lab.
const UNSAFE_ROOMS: &[&str] = &["ike-client/src/tunnel/", "agent/src/platform/", "tests/"];

/// No file grows beyond this; at half of it one should have asked whether it is two ideas.
const LONGEST_FILE: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn no_arrow_between_the_crates_turns_round() {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    let members: BTreeSet<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for package in &metadata.packages {
        let Some(allowed) = arrows.get(package.name.as_str()) else {
            panic!("{} is new: say in ARROWS what it may depend on", package.name);
        };
        for dependency in package.dependencies.iter().filter(|dependency| members.contains(&dependency.name)) {
            assert!(
                allowed.contains(&dependency.name.as_str()),
                "{} must not depend on {}: see the arrows in tests/architecture.rs",
                package.name,
                dependency.name
            );
        }
    }
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    for (path, text) in sources() {
        if UNSAFE_ROOMS.iter().any(|room| path.starts_with(room)) {
            continue;
        }
        for (number, line) in code_lines(&text) {
            let found = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe("];
            assert!(!found.iter().any(|word| line.contains(word)), "{path}:{number} holds unsafe code: {line}");
        }
    }
}

#[test]
fn nothing_is_left_for_later_and_no_test_is_ignored() {
    let words = ["todo!(", "unimplemented!(", concat!("#[", "ignore")];
    for (path, text) in sources() {
        for (number, line) in code_lines(&text) {
            let found = words.iter().find(|word| line.contains(*word));
            assert!(found.is_none() || path == "tests/architecture.rs", "{path}:{number}: {line}");
        }
    }
}

#[test]
fn no_file_holds_more_than_one_can_read() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "{path} has {lines} lines: more than one idea");
    }
}

/// The fuzz targets stand outside the workspace, with a lock file of their own that no other test reads.
#[test]
fn the_lock_of_the_fuzz_targets_holds_what_our_crates_need() {
    let lock = std::fs::read_to_string(root().join("tests/fuzz/Cargo.lock")).unwrap().parse::<toml::Table>().unwrap();
    let locked: BTreeMap<&str, BTreeSet<&str>> = lock["package"].as_array().unwrap().iter().map(needs).collect();
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    let used = metadata.packages.iter().filter_map(|package| Some((package, locked.get(package.name.as_str())?)));
    let mut looked_at = 0;
    for (package, locked) in used {
        let normal = package.dependencies.iter().filter(|one| one.kind == DependencyKind::Normal && !one.optional);
        for needed in normal {
            looked_at += 1;
            let (name, needed) = (&package.name, needed.name.as_str());
            assert!(
                locked.contains(needed),
                "{name} needs {needed}: run cargo metadata in tests/fuzz, which renews its lock"
            );
        }
    }
    assert!(looked_at > 50, "the fuzz targets no longer use our crates?");
}

/// A package of a lock file and the names of what it needs.
fn needs(package: &toml::Value) -> (&str, BTreeSet<&str>) {
    let needed = package.get("dependencies").and_then(|list| list.as_array()).into_iter().flatten();
    let names = needed.filter_map(|one| one.as_str()?.split(' ').next());
    (package["name"].as_str().unwrap(), names.collect())
}

/// Every Rust file of the workspace with its path from the root.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().to_string_lossy().into_owned(), text));
            }
        }
    }
    assert!(found.len() > 20, "the sources are not where this test looks");
    found
}

/// The lines that are not comments, with their numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())).filter(|(_, line)| !line.starts_with("//"))
}
