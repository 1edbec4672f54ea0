//! Enrolment without a person: an invitation that lies ready, in a file of root's or as a systemd
//! credential.
//!
//! | place | written by |
//! |---|---|
//! | `$CREDENTIALS_DIRECTORY/postern.invitation` | systemd: `LoadCredential=`, `/etc/credstore/postern.invitation`, the machine's firmware |
//! | `CONFIGURATION/invitation` | whoever installs the machine |
//!
//! An invitation is used once. The file is taken away afterwards; what cannot be (a credential) is
//! noted by its digest, so that a restart, or an un-enrolment, does not enrol with it again. While
//! EMS cannot be reached it is tried again, ever less often; what EMS refuses is not tried again
//! before it changes. A file that others can read or write is not used: its code is nobody's secret.

use super::enrolment::of_invitation;
use crate::profile::Paths;
use crate::profile::file::{open_regular, replace};
use crate::service::hub::{Hub, Message};
use ike_client::Timestamp;
use ike_client::tunnel::clock;
use postern_api::fault::{Fault, FaultName};
use postern_api::health::Check;
use postern_api::method::Enroll;
use posture::ems::Invitation;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// The name of the credential.
pub const CREDENTIAL: &str = "postern.invitation";
/// How often a place without an invitation is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// The first and the longest wait after EMS could not be reached.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// The longest file, in bytes.
const MAXIMUM: u64 = 4096;
/// How many used invitations are remembered.
const REMEMBERED: usize = 64;

/// An invitation that was found.
pub(in crate::service) struct Found {
    path: PathBuf,
    text: Zeroizing<String>,
    digest: String,
}

/// Where unattended enrolment stands.
#[derive(Debug)]
pub struct Unattended {
    credentials: Option<PathBuf>,
    next: Timestamp,
    wait: Duration,
    /// The invitation that is being used: its place and digest.
    under_way: Option<(PathBuf, String)>,
    /// The digest of the one that EMS refused.
    refused: Option<String>,
    /// Why there is no enrolment although an invitation lies ready.
    pub(in crate::service) problem: Option<Fault>,
}

impl Unattended {
    /// `credentials` is where systemd puts the service's credentials.
    pub fn new(credentials: Option<PathBuf>) -> Self {
        Self { credentials, next: Timestamp::ZERO, wait: AGAIN.0, under_way: None, refused: None, problem: None }
    }

    fn find(&self, paths: &Paths) -> io::Result<Option<Found>> {
        let credential = self.credentials.as_ref().map(|directory| directory.join(CREDENTIAL));
        for path in credential.into_iter().chain([paths.invitation()]) {
            let text = match read(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
            };
            let digest = digest(&text);
            if self.refused.as_ref() != Some(&digest) && !used(paths).contains(&digest) {
                return Ok(Some(Found { path, text, digest }));
            }
        }
        Ok(None)
    }
}

impl Hub {
    /// At each beat: enrols, where an invitation lies ready and nobody has enrolled yet.
    pub(in crate::service) fn enrol_unattended(&mut self) {
        let enrolled = self.view.ems.as_ref().is_some_and(|ems| !ems.decreed.deregistered);
        if enrolled || self.unattended.under_way.is_some() || clock::now() < self.unattended.next {
            return;
        }
        self.unattended.next = clock::now() + LOOK;
        let found = match self.unattended.find(&self.paths) {
            Ok(found) => found,
            Err(error) => {
                let next = "chown root and chmod 600 the file, or put another in its place";
                return self.unattended_failed(Fault::new(FaultName::ProfileInvalid, "", error.to_string(), next));
            }
        };
        let Some(Found { path, text, digest }) = found else { return };
        tracing::info!(invitation = %path.display(), "enrolling without a person");
        self.unattended.under_way = Some((path, digest));
        let (reply, outcome) = oneshot::channel();
        self.enroll(&Enroll { invitation: text.to_string() }, reply);
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            if let Ok(outcome) = outcome.await {
                let _ = inbox.send(Message::EnrolledUnattended(outcome.map(drop)));
            }
        });
    }

    /// Hears what came of it.
    pub(in crate::service) fn enrolled_unattended(&mut self, outcome: Result<(), Fault>) {
        let Some((path, digest)) = self.unattended.under_way.take() else { return };
        match outcome {
            Ok(()) => {
                tracing::info!(invitation = %path.display(), "enrolled without a person");
                self.unattended.problem = None;
                self.unattended.wait = AGAIN.0;
                if let Err(error) = note(&self.paths, &digest) {
                    tracing::warn!(%error, "that the invitation was used could not be noted");
                }
                // A credential lies on a file system that nobody can write: it is noted above.
                let _ = std::fs::remove_file(&path);
            }
            Err(fault) => {
                // Who is out of reach now may answer later; who refuses will refuse again.
                if fault.name == FaultName::EmsUnavailable {
                    self.unattended.next = clock::now() + self.unattended.wait;
                    self.unattended.wait = (self.unattended.wait * 2).min(AGAIN.1);
                } else {
                    self.unattended.refused = Some(digest);
                }
                self.unattended_failed(fault);
            }
        }
    }

    fn unattended_failed(&mut self, fault: Fault) {
        if self.unattended.problem.as_ref() != Some(&fault) {
            tracing::warn!(%fault, "the invitation that lies ready did not enrol this endpoint");
            self.unattended.problem = Some(fault);
        }
    }

    /// Returns how unattended enrolment stands, where there is anything to say.
    pub(in crate::service) fn unattended_health(&self) -> Option<Check> {
        let fault = self.unattended.problem.as_ref()?;
        let detail = format!("an invitation lies ready and did not enrol: {}", fault.detail.for_one_line());
        Some(Check::bad("unattended enrolment", detail, fault.next.for_one_line()))
    }
}

/// Reads an invitation that nobody but root, or this service, can have read or written.
fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    if std::fs::symlink_metadata(path)?.is_symlink() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "is a link; expected the file itself"));
    }
    let file = open_regular(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let found = file.metadata()?;
        let refuse = |problem: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
        if found.uid() != 0 && found.uid() != nix::unistd::geteuid().as_raw() {
            return refuse(format!("belongs to user {}; expected root", found.uid()));
        }
        if found.mode() & 0o077 != 0 {
            return refuse(format!("can be used by others (mode {:o}); expected 600", found.mode() & 0o777));
        }
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAXIMUM).read_to_string(&mut text)?;
    // What is no invitation is told before anybody is asked.
    match text.trim().parse::<Invitation>() {
        Ok(_) => Ok(text),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, of_invitation(error).detail.for_one_line())),
    }
}

/// The digest stands for the invitation where the code itself is not to be kept.
fn digest(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.trim().as_bytes());
    digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

fn used(paths: &Paths) -> Vec<String> {
    let text = std::fs::read_to_string(paths.used_invitations()).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn note(paths: &Paths, digest: &str) -> io::Result<()> {
    let mut all = used(paths);
    all.push(digest.to_owned());
    let kept = all.split_off(all.len().saturating_sub(REMEMBERED));
    replace(&paths.used_invitations(), (kept.join("\n") + "\n").as_bytes())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const INVITATION: &str = "postern-ems:https://ems.example:8443#code=K7Q2K7Q2K7Q2&pin=sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";

    fn places() -> (tempfile::TempDir, Paths, Unattended) {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| Some(directory.path().join(name));
        let paths = Paths::settle(place("etc"), place("state"), place("run"));
        for path in [&paths.configuration, &paths.state] {
            fs::create_dir(path).unwrap();
        }
        let credentials = directory.path().join("credentials");
        fs::create_dir(&credentials).unwrap();
        (directory, paths, Unattended::new(Some(credentials)))
    }

    fn put(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn an_invitation_is_found_in_both_places_the_credential_first() {
        let (_kept, paths, unattended) = places();
        assert!(unattended.find(&paths).unwrap().is_none());
        put(&paths.invitation(), INVITATION, 0o600);
        assert_eq!(unattended.find(&paths).unwrap().unwrap().path, paths.invitation());
        let credential = unattended.credentials.clone().unwrap().join(CREDENTIAL);
        put(&credential, INVITATION, 0o400);
        assert_eq!(unattended.find(&paths).unwrap().unwrap().path, credential);
    }

    #[test]
    fn what_others_can_read_or_what_is_no_invitation_is_refused_by_name() {
        let (kept, paths, unattended) = places();
        let refusal = || unattended.find(&paths).err().unwrap().to_string();
        put(&paths.invitation(), INVITATION, 0o640);
        assert!(refusal().contains("mode 640"), "{}", refusal());
        put(&paths.invitation(), "postern-ems:nonsense", 0o600);
        assert!(!refusal().contains("nonsense"), "{}", refusal());
        fs::remove_file(paths.invitation()).unwrap();
        put(&kept.path().join("elsewhere"), INVITATION, 0o600);
        std::os::unix::fs::symlink(kept.path().join("elsewhere"), paths.invitation()).unwrap();
        assert!(refusal().contains("link"), "{}", refusal());
    }

    #[test]
    fn an_invitation_that_was_used_or_refused_is_not_used_again() {
        let (_kept, paths, mut unattended) = places();
        put(&paths.invitation(), INVITATION, 0o600);
        let digest = unattended.find(&paths).unwrap().unwrap().digest;
        unattended.refused = Some(digest.clone());
        assert!(unattended.find(&paths).unwrap().is_none());
        unattended.refused = None;
        note(&paths, &digest).unwrap();
        assert!(unattended.find(&paths).unwrap().is_none());
        assert!(!fs::read_to_string(paths.used_invitations()).unwrap().contains("K7Q2"), "the code is not kept");
        put(&paths.invitation(), &INVITATION.replace("K7Q2K7Q2", "M7Q2K7Q2"), 0o600);
        assert!(unattended.find(&paths).unwrap().is_some());
    }
}
