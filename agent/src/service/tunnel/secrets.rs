//! Pre-shared keys and passwords: read from files that only their owner can read,
//! kept in the state directory, never logged.

use crate::profile::file::open_regular;
use ike_client::crypto::Secret;
use postern_api::prompt::PromptKind;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The longest secret file that is read, in bytes.
const MAXIMUM: u64 = 64 << 10;

/// Which secret of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The pre-shared key.
    PreSharedKey,
    /// The user's password.
    Password,
    /// The post-quantum pre-shared key.
    PostQuantumKey,
    /// The private key of a WireGuard tunnel.
    PrivateKey,
}

impl From<Kind> for PromptKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::PreSharedKey => Self::PreSharedKey,
            Kind::Password => Self::Password,
            Kind::PostQuantumKey => Self::PostQuantumKey,
            Kind::PrivateKey => Self::PrivateKey,
        }
    }
}

/// Secrets that the service keeps for local tunnels: the administrator's, and apart from them those of each
/// user's own, so that a name alone never leads from one owner's tunnel to what another one kept.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// Keeps secrets in `directory`.
    pub const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Reads a kept secret.
    pub fn read(&self, owner: Option<u32>, tunnel: &str, kind: Kind) -> Option<Secret> {
        read_private(&self.file(owner, tunnel, kind)).ok()
    }

    /// Keeps a secret.
    ///
    /// # Errors
    /// Where the state directory cannot be written.
    pub fn write(&self, owner: Option<u32>, tunnel: &str, kind: Kind, secret: &str) -> io::Result<()> {
        let directory = self.of(owner);
        fs::create_dir_all(&directory)?;
        let mut file = tempfile::NamedTempFile::new_in(&directory)?;
        file.write_all(secret.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(self.file(owner, tunnel, kind))?;
        Ok(())
    }

    /// Forgets the secrets of a tunnel.
    pub fn forget(&self, owner: Option<u32>, tunnel: &str) {
        for kind in [Kind::PreSharedKey, Kind::Password, Kind::PostQuantumKey, Kind::PrivateKey] {
            let _ = fs::remove_file(self.file(owner, tunnel, kind));
        }
    }

    fn of(&self, owner: Option<u32>) -> PathBuf {
        owner.map_or_else(|| self.directory.clone(), |uid| self.directory.join("users").join(uid.to_string()))
    }

    fn file(&self, owner: Option<u32>, tunnel: &str, kind: Kind) -> PathBuf {
        let kind = match kind {
            Kind::PreSharedKey => "psk",
            Kind::Password => "password",
            Kind::PostQuantumKey => "ppk",
            Kind::PrivateKey => "key",
        };
        self.of(owner).join(format!("{tunnel}.{kind}"))
    }
}

/// Reads a secret from a file that nobody else can read; its line end does not belong to it.
///
/// # Errors
/// Where it cannot be read, is empty, or others can read it too.
pub fn read_private(path: &Path) -> io::Result<Secret> {
    let mut octets = read_octets(path)?;
    while octets.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
        octets.pop();
    }
    if octets.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is empty", path.display())));
    }
    Ok(Secret::new(std::mem::take(&mut *octets)))
}

/// Reads a file that nobody else can read, as it is.
///
/// # Errors
/// Where it cannot be read, or others can read it too.
pub fn read_octets(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = open_regular(path).map_err(named)?;
    check_closed(&file, path)?;
    let mut octets = Zeroizing::new(Vec::new());
    file.take(MAXIMUM).read_to_end(&mut octets).map_err(named)?;
    Ok(octets)
}

#[cfg(unix)]
fn check_closed(file: &File, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let mode = file.metadata()?.mode() & 0o777;
    if mode & 0o077 != 0 {
        let text = format!("{} can be used by others (mode {mode:o}); expected 600", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_closed(_file: &File, _path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("psk");
        fs::write(&path, "hunter2\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read_private(&path).unwrap_err().to_string().contains("mode 644"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_private(&path).unwrap().expose(), b"hunter2");
    }

    #[test]
    fn kept_secrets_are_closed_and_forgotten_with_their_tunnel() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().join("secrets"));
        store.write(None, "work", Kind::Password, "hunter2").unwrap();
        assert_eq!(store.read(None, "work", Kind::Password).unwrap().expose(), b"hunter2");
        assert!(store.read(None, "work", Kind::PreSharedKey).is_none());
        store.forget(None, "work");
        assert!(store.read(None, "work", Kind::Password).is_none());
    }

    #[test]
    fn a_name_leads_to_no_other_owner_s_secret() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().join("secrets"));
        store.write(None, "work", Kind::Password, "the administrator's").unwrap();
        store.write(Some(1000), "work", Kind::Password, "ann's").unwrap();
        assert!(store.read(Some(1001), "work", Kind::Password).is_none());
        assert_eq!(store.read(Some(1000), "work", Kind::Password).unwrap().expose(), b"ann's");
        store.forget(Some(1000), "work");
        assert_eq!(store.read(None, "work", Kind::Password).unwrap().expose(), b"the administrator's");
        assert!(store.read(Some(1000), "work", Kind::Password).is_none());
    }
}
