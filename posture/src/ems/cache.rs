//! Identity, documents and floor on disk.
//!
//! One directory, readable by the service alone: `identity.json` (private key inside),
//! `profile.json`, `rules.json`, `tags.json` (each a [`Signed`] exactly as EMS sent it),
//! `floor.json`, and what happened here: `release.json` (the quarantine that was ended by its
//! code), `break-glass.json` (the last such code that was used), `deregistered.json`, and
//! `keys.json` (announcements of EMS's newer keys). Every file is written beside its place, synced, renamed, and the directory
//! synced; so a crash leaves the old file or the new one. Nothing that is read back is believed
//! before it is verified again.

use super::break_glass::BreakGlassUse;
use super::error::EmsError;
use super::identity::Identity;
use super::protocol::{DocumentKind, Profile, Quarantine, ReleaseRequest, RuleDocument, TagSnapshot};
use super::signed::{Content, Floor, Refusal, Signed, Verified, Verifier};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The largest file that is read, in bytes: a document in base64 and its frame.
const MAXIMUM_FILE: u64 = 8 << 20;
/// How the name of a file begins that is being written.
const PENDING: &str = ".pending-";
const IDENTITY: &str = "identity.json";
const FLOOR: &str = "floor.json";
const RELEASE: &str = "release.json";
const BREAK_GLASS: &str = "break-glass.json";
const DEREGISTERED: &str = "deregistered.json";
/// EMS tells an endpoint that leaves that it is deregistered: what is written then must not come after what
/// is cleared.
static ENDING: Mutex<()> = Mutex::new(());
const KEYS: &str = "keys.json";

/// Why the cache failed.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// A file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written: disk full, read-only, no permission.
    #[error("{}: cannot be written: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what was written there.
    #[error("{}: damaged: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

/// What EMS said last, verified. `None` is: nothing that can be believed.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// The profile.
    pub profile: Option<Arc<Verified<Profile>>>,
    /// The tagging rules.
    pub rules: Option<Arc<Verified<RuleDocument>>>,
    /// The tag snapshot.
    pub tags: Option<Arc<Verified<TagSnapshot>>>,
    /// The quarantine of the newest snapshot. It stands until EMS says otherwise, also when the
    /// snapshot has expired meanwhile.
    pub quarantine: Option<Quarantine>,
    /// Documents that were at hand and are not believed, and why.
    pub refusals: Vec<(DocumentKind, Refusal)>,
}

/// The directory.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// Opens the directory; makes it when it is not there.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, CacheError> {
        let directory = directory.into();
        fs::create_dir_all(&directory).map_err(|source| CacheError::Unwritable { path: directory.clone(), source })?;
        Ok(Self { directory })
    }

    /// Removes what a crash left half written, private keys among it: before anything else writes here.
    pub fn sweep(&self) -> Result<(), CacheError> {
        let unwritable = |source| CacheError::Unwritable { path: self.directory.clone(), source };
        for entry in fs::read_dir(&self.directory).map_err(unwritable)? {
            let entry = entry.map_err(unwritable)?;
            if entry.file_name().to_string_lossy().starts_with(PENDING) {
                fs::remove_file(entry.path()).map_err(unwritable)?;
            }
        }
        Ok(())
    }

    /// Reads the identity; `None` when the endpoint is not enrolled.
    pub fn identity(&self) -> Result<Option<Identity>, CacheError> {
        self.read(IDENTITY)
    }

    /// Writes the identity of a new enrolment. What an earlier one left is removed first, so that
    /// no document of another EMS can be taken for one of this.
    pub fn store_identity(&self, identity: &Identity) -> Result<(), CacheError> {
        self.clear()?;
        self.write(IDENTITY, identity)
    }

    /// Writes the identity with its next certificate: before that is shown for the first time.
    ///
    /// # Errors
    /// Also when another enrolment has come between.
    pub fn store_successor(&self, identity: &Identity) -> Result<(), CacheError> {
        let held = self.identity()?.map(|held| held.fingerprint());
        if held.is_none() || held != identity.previous() {
            let detail = "the identity was replaced meanwhile".into();
            return Err(CacheError::Damaged { path: self.directory.join(IDENTITY), detail });
        }
        self.write(IDENTITY, identity)
    }

    /// Returns the verifier of EMS's documents, with the keys that were announced since enrolment.
    /// Announcements that cannot be read are as if they had not come: EMS repeats them.
    pub fn verifier(&self, identity: &Identity) -> Result<Verifier, EmsError> {
        let mut verifier = identity.verifier()?;
        for announcement in self.read::<Vec<Signed>>(KEYS).ok().flatten().unwrap_or_default() {
            let _ = verifier.follow(&announcement);
        }
        Ok(verifier)
    }

    /// Adds the announcement of a key, verified: before anything that is signed with it.
    pub fn store_keys(&self, announced: &[Signed]) -> Result<(), CacheError> {
        let mut kept = self.read::<Vec<Signed>>(KEYS).ok().flatten().unwrap_or_default();
        kept.extend(announced.iter().filter(|signed| !kept.contains(signed)).cloned().collect::<Vec<_>>());
        self.write(KEYS, &kept)
    }

    /// Removes everything: identity last, so that a crash in between leaves an enrolled endpoint
    /// that knows nothing, never an unenrolled one with documents.
    pub fn clear(&self) -> Result<(), CacheError> {
        let _alone = ENDING.lock().unwrap_or_else(PoisonError::into_inner);
        let documents = DocumentKind::ALL.map(document_name);
        let notes = [RELEASE, BREAK_GLASS, DEREGISTERED, KEYS, FLOOR, IDENTITY];
        documents.iter().map(String::as_str).chain(notes).try_for_each(|name| self.remove(name))?;
        self.sync()
    }

    /// Notes that EMS no longer knows this endpoint, and removes what it said. The identity stays, so
    /// that an EMS that takes the endpoint back is heard. Nothing is noted of an endpoint that has left.
    pub fn deregister(&self, now_unix: u64) -> Result<(), CacheError> {
        let _alone = ENDING.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(self.identity(), Ok(None)) {
            return Ok(());
        }
        if self.deregistered().ok().flatten().is_none() {
            self.write(DEREGISTERED, &now_unix)?;
        }
        let documents = DocumentKind::ALL.map(document_name);
        documents.iter().map(String::as_str).chain([RELEASE]).try_for_each(|name| self.remove(name))?;
        self.sync()
    }

    /// Tells when EMS was found not to know this endpoint any more, seconds since 1970.
    pub fn deregistered(&self) -> Result<Option<u64>, CacheError> {
        self.read(DEREGISTERED)
    }

    /// Reads the release of the quarantine that was ended here last.
    pub fn release(&self) -> Result<Option<ReleaseRequest>, CacheError> {
        self.read(RELEASE)
    }

    /// Writes the release of a quarantine.
    pub fn store_release(&self, release: &ReleaseRequest) -> Result<(), CacheError> {
        self.write(RELEASE, release)
    }

    /// Reads which break-glass code was used last. A file that is damaged is an error: a code could be
    /// used twice.
    pub fn break_glass(&self) -> Result<BreakGlassUse, CacheError> {
        Ok(self.read(BREAK_GLASS)?.unwrap_or_default())
    }

    /// Writes which break-glass code was used last: before it has any effect.
    pub fn store_break_glass(&self, used: &BreakGlassUse) -> Result<(), CacheError> {
        self.write(BREAK_GLASS, used)
    }

    fn remove(&self, name: &str) -> Result<(), CacheError> {
        let path = self.directory.join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(CacheError::Unwritable { path, source }),
            _ => Ok(()),
        }
    }

    fn sync(&self) -> Result<(), CacheError> {
        sync_directory(&self.directory)
            .map_err(|source| CacheError::Unwritable { path: self.directory.clone(), source })
    }

    /// Reads the floor. A missing floor is the lowest one only where no document is either;
    /// otherwise it was taken away, and that is damage.
    pub fn floor(&self) -> Result<Floor, CacheError> {
        if let Some(floor) = self.read(FLOOR)? {
            return Ok(floor);
        }
        match DocumentKind::ALL.iter().any(|kind| self.directory.join(document_name(*kind)).exists()) {
            true => Err(CacheError::Damaged {
                path: self.directory.join(FLOOR),
                detail: "it is missing, but documents are there".into(),
            }),
            false => Ok(Floor::default()),
        }
    }

    /// Reads and verifies what EMS said last.
    pub fn knowledge(&self, verifier: &Verifier, now_unix: u64) -> Result<Knowledge, CacheError> {
        let floor = self.floor()?;
        let mut knowledge = Knowledge::default();
        let refusals = &mut knowledge.refusals;
        knowledge.profile = self.load(verifier, &floor, now_unix, refusals)?;
        knowledge.rules = self.load(verifier, &floor, now_unix, refusals)?;
        knowledge.tags = self.load(verifier, &floor, now_unix, refusals)?;
        knowledge.quarantine = match &knowledge.tags {
            Some(tags) => tags.content().quarantine.clone(),
            None => self.lapsed_quarantine(verifier, &floor, now_unix),
        };
        Ok(knowledge)
    }

    /// Raises the floor, then writes a document that was verified: a crash in between leaves an old
    /// document below the floor, which is refused, and never the other way round.
    pub fn store(&self, kind: DocumentKind, signed: &Signed, floor: &Floor) -> Result<(), CacheError> {
        self.store_floor(floor)?;
        self.write(&document_name(kind), signed)?;
        // An EMS that has something to say knows this endpoint.
        self.remove(DEREGISTERED)
    }

    /// Writes the floor.
    pub fn store_floor(&self, floor: &Floor) -> Result<(), CacheError> {
        self.write(FLOOR, floor)
    }

    fn lapsed_quarantine(&self, verifier: &Verifier, floor: &Floor, now_unix: u64) -> Option<Quarantine> {
        let signed = self.read::<Signed>(&document_name(DocumentKind::Tags)).ok()??;
        verifier.verify_lapsed::<TagSnapshot>(&signed, floor, now_unix).ok()?.content.quarantine
    }

    fn load<T: Content>(
        &self,
        verifier: &Verifier,
        floor: &Floor,
        now_unix: u64,
        refusals: &mut Vec<(DocumentKind, Refusal)>,
    ) -> Result<Option<Arc<Verified<T>>>, CacheError> {
        let signed = match self.read::<Signed>(&document_name(T::KIND)) {
            Ok(Some(signed)) => signed,
            Ok(None) => return Ok(None),
            Err(CacheError::Damaged { detail, .. }) => {
                refusals.push((T::KIND, Refusal::Malformed(detail)));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match verifier.verify(&signed, floor, now_unix) {
            Ok(verified) => Ok(Some(Arc::new(verified))),
            Err(refusal) => {
                refusals.push((T::KIND, refusal));
                Ok(None)
            }
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, CacheError> {
        let path = self.directory.join(name);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(MAXIMUM_FILE + 1).read_to_end(&mut bytes)) {
            Ok(read) if read as u64 > MAXIMUM_FILE => {
                return Err(CacheError::Damaged { path, detail: "too large".into() });
            }
            Ok(_) => {}
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CacheError::Unreadable { path, source }),
        }
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(CacheError::Damaged { path, detail: error.to_string() }),
        }
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), CacheError> {
        let path = self.directory.join(name);
        let bytes = serde_json::to_vec(value)
            .map(zeroize::Zeroizing::new)
            .map_err(|error| CacheError::Damaged { path: path.clone(), detail: error.to_string() })?;
        write_atomically(&self.directory, &path, &bytes).map_err(|source| CacheError::Unwritable { path, source })
    }
}

fn document_name(kind: DocumentKind) -> String {
    format!("{}.json", kind.as_str())
}

/// The temporary file is made for its owner alone (0600), and the rename keeps that.
fn write_atomically(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(PENDING).tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_directory(directory)
}

/// Makes a rename last. Where directories cannot be opened as files, the rename itself does that.
fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory) {
        Ok(opened) => opened.sync_all(),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
