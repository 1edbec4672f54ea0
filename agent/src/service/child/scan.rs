//! The vulnerability scan, in a process of its own.

use crate::profile::Paths;
use crate::profile::settings::PostureSettings;
use postern_api::fault::{Fault, FaultName};
use posture::facts::{OperatingSystem, Package};
use posture::vulnerability::ScanResult;
use posture::vulnerability::child::{self, Progress, Reply, Request};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The argument that leads a new process of this binary to the scan.
pub const ARGUMENT: &str = "scan-child";
/// The result of the last scan, in the state directory.
const RESULT: &str = "scan.json";

/// What a scan looks at.
pub struct Subject {
    /// The system; none where it is not known.
    pub os: Option<OperatingSystem>,
    /// The tree of its files, and the status file in the place of its package database.
    pub place: (PathBuf, Option<PathBuf>),
    /// Its packages as they were seen last; none where they were not.
    pub packages: Option<Vec<Package>>,
    /// The last result.
    pub last: Option<ScanResult>,
}

/// Scans a system; first makes the records into a database where they are newer. Where neither the
/// packages nor the database have changed since the last result, that result is what a scan would
/// find, and counts as of now.
///
/// # Errors
/// In the words of whoever failed; never an empty result.
pub async fn run(
    subject: Subject,
    settings: &PostureSettings,
    paths: &Paths,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<ScanResult, Fault> {
    let Subject { os, place: (root, dpkg_status), packages, last } = subject;
    let os = os.ok_or_else(|| failed("the operating system is not known", "postern posture facts"))?;
    let program = crate::platform::own_program().map_err(|error| failed(&error.to_string(), ""))?;
    let records = settings.osv_records.clone().unwrap_or_else(|| paths.state.join("osv"));
    let database = paths.state.join("advisories");
    if newest(&records) > newest(&database) {
        let import = Request::Import { feed: records.clone(), database: database.clone() };
        if let Reply::Failed(why) = ask(&program, &import, settings, progress).await? {
            return Err(failed(&format!("the advisories cannot be read: {why}"), "check the OSV records"));
        }
    }
    if !database.exists() {
        let next = format!("put OSV records into {}", records.display());
        // Nothing has gone wrong: what was never looked for is unknown.
        return Err(Fault::new(FaultName::TagsUnknown, "scan", "there are no advisories to scan against", next));
    }
    let lock_files = settings.lock_files.clone();
    if let (Some(last), Some(packages), true) = (last, packages, lock_files.is_empty())
        && last.still_holds(&packages, &database)
    {
        return Ok(ScanResult { finished_unix: crate::service::posture::judge::unix_now(), ..last });
    }
    match ask(&program, &Request::Scan { root, dpkg_status, os, database, lock_files }, settings, progress).await? {
        Reply::Scanned(result) => Ok(result),
        Reply::Failed(why) => Err(failed(&why, "")),
        Reply::Imported(_) | Reply::Progress(_) => Err(failed("the scan process answered another question", "")),
    }
}

async fn ask(
    program: &Path,
    request: &Request,
    settings: &PostureSettings,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Reply, Fault> {
    child::run(program, &[ARGUMENT], request, settings.scan_timeout, progress)
        .await
        .map_err(|error| failed(&error.to_string(), "postern scan"))
}

fn failed(detail: &str, next: &str) -> Fault {
    Fault::new(FaultName::Internal, "scan", format!("gave no result: {detail}"), next)
}

/// Returns when a file, or the newest file of a directory, was changed.
fn newest(path: &Path) -> Option<SystemTime> {
    let own = fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    let inside = fs::read_dir(path).into_iter().flatten().filter_map(|entry| newest(&entry.ok()?.path()));
    inside.chain([own]).max()
}

/// Reads the last result.
pub fn load(state: &Path) -> Option<ScanResult> {
    serde_json::from_slice(&fs::read(state.join(RESULT)).ok()?).ok()
}

/// Keeps a result.
///
/// # Errors
/// Where the state directory cannot be written.
pub fn store(state: &Path, result: &ScanResult) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(state)?;
    file.write_all(&serde_json::to_vec(result)?)?;
    file.as_file().sync_all()?;
    file.persist(state.join(RESULT))?;
    Ok(())
}
