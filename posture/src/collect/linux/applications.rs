//! Applications beside the system's packages: flatpak's for the whole system, and snaps.

use super::text;
use crate::collect::{Context, Look};
use crate::facts::{Observation, Package, PackageManager};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const FLATPAK: &str = "/var/lib/flatpak/app";
const SNAP: [&str; 2] = ["/snap", "/var/lib/snapd/snap"];

/// How many applications of one kind are listed.
const LIMIT: usize = 10_000;

pub(in crate::collect) fn applications(context: &Context) -> Look<Vec<Package>> {
    const SOURCE: &str = "/var/lib/flatpak, /snap";
    let mut all = Vec::new();
    for list in [flatpaks, snaps] {
        match list(context) {
            Ok(found) => all.extend(found),
            Err((path, error)) => {
                return Look::new(Observation::from_error(&path.display().to_string(), &error), SOURCE);
            }
        }
    }
    all.sort();
    Look::known(all, SOURCE)
}

type Listed = Result<Vec<Package>, (PathBuf, std::io::Error)>;

/// The names in a folder; none where the folder is not there.
fn names(folder: &Path) -> Result<Vec<String>, (PathBuf, std::io::Error)> {
    let failed = |error| (folder.to_owned(), error);
    match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .take(LIMIT)
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()).map_err(failed))
            .collect(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

/// `app/ID/ARCHITECTURE/BRANCH/active` is the deployed version of an application.
fn flatpaks(context: &Context) -> Listed {
    let mut found = Vec::new();
    let root = context.path(FLATPAK);
    for id in names(&root)? {
        for architecture in names(&root.join(&id))?.into_iter().filter(|name| name != "current") {
            for branch in names(&root.join(&id).join(&architecture))? {
                let place = format!("{FLATPAK}/{id}/{architecture}/{branch}/active");
                if context.path(&place).exists() {
                    let version = released(context, &place, &id).unwrap_or_else(|| branch.clone());
                    found.push(application(&id, &version, &architecture, PackageManager::Flatpak));
                }
            }
        }
    }
    Ok(found)
}

/// The newest release that the application's own description names (AppStream: the newest comes first).
fn released(context: &Context, place: &str, id: &str) -> Option<String> {
    let described = ["metainfo/ID.metainfo.xml", "metainfo/ID.appdata.xml", "appdata/ID.appdata.xml"];
    let description = described.iter().find_map(|path| {
        let path = format!("{place}/files/share/{}", path.replace("ID", id));
        text(context, &path).ok().flatten()
    })?;
    let release = description.split("<release ").nth(1)?.split('>').next()?;
    let version = release.split("version=").nth(1)?;
    let quote = version.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    version.split(quote).nth(1).map(str::to_owned)
}

/// `NAME/current` leads to the revision in use, whose `meta/snap.yaml` has the version.
fn snaps(context: &Context) -> Listed {
    let mut found = Vec::new();
    for folder in SNAP {
        for name in names(&context.path(folder))? {
            let described = format!("{folder}/{name}/current/meta/snap.yaml");
            if let Ok(Some(description)) = text(context, &described) {
                let value = |key: &str| {
                    let line = description.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
                    Some(line.trim().trim_matches(['"', '\'']).to_owned())
                };
                let version = value("version").unwrap_or_default();
                found.push(application(&name, &version, "", PackageManager::Snap));
            }
        }
        if !found.is_empty() {
            break;
        }
    }
    Ok(found)
}

fn application(name: &str, version: &str, architecture: &str, manager: PackageManager) -> Package {
    Package {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: architecture.to_owned(),
        source_name: name.to_owned(),
        source_version: version.to_owned(),
        manager,
        module: None,
    }
}

#[cfg(test)]
mod tests {
    use crate::collect::tests::Tree;

    fn told(tree: &Tree) -> Vec<String> {
        let facts = tree.collect();
        let all = facts.applications.value().unwrap();
        all.iter().map(|package| format!("{} {} {}", package.manager, package.name, package.version)).collect()
    }

    #[test]
    fn flatpaks_and_snaps_are_listed_with_their_versions() {
        let app = "/var/lib/flatpak/app/org.example.App";
        let metainfo = "<component><releases>\n<release date=\"2026-01-02\" version=\"3.1\">\n</release><release version=\"3.0\"/></releases></component>";
        let tree = Tree::new()
            .with(&format!("{app}/x86_64/stable/active/files/share/metainfo/org.example.App.metainfo.xml"), metainfo)
            .with_folder(&format!("{app}/x86_64/beta/active"))
            .with_folder(&format!("{app}/x86_64/undeployed"))
            .with_link(&format!("{app}/current"), &format!("{app}/x86_64/stable"))
            .with("/snap/hello/29/meta/snap.yaml", "name: hello\nversion: '2.10'\nsummary: x\n")
            .with_link("/snap/hello/current", "/snap/hello/29")
            .with_folder("/snap/bin");
        assert_eq!(told(&tree), ["snap hello 2.10", "flatpak org.example.App 3.1", "flatpak org.example.App beta"]);
    }

    #[test]
    fn a_system_without_them_has_none() {
        assert!(told(&Tree::new()).is_empty());
    }
}
