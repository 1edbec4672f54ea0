//! Hearing of changes of this system at once, so that a fact on which a rule depends is looked at anew
//! within a second of its change.

use crate::service::hub::{Hub, Inbox, Message};
use postern_api::health::Check;
use posture::collect::{self, FirewallListener, Noticing};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use tokio::sync::mpsc;

/// Says what is to be watched.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Paths.
    pub files: mpsc::UnboundedSender<Vec<PathBuf>>,
    /// Programs, by the names of their files.
    pub programs: mpsc::UnboundedSender<BTreeSet<String>>,
}

/// What is watched now.
#[derive(Debug, Default)]
pub(in crate::service) struct Watching {
    files: Vec<PathBuf>,
    programs: BTreeSet<String>,
}

/// Begins to listen; what is heard goes to the hub. The packet filter is listened to already, since that
/// takes a right which the service has given up by now.
pub(in crate::service) fn begin(inbox: &Inbox, firewall: io::Result<FirewallListener>) -> Watched {
    let (files, files_in) = mpsc::unbounded_channel();
    let (programs, programs_in) = mpsc::unbounded_channel();
    let (changed, mut changes) = mpsc::channel(1);
    let (notices, mut noticed) = mpsc::unbounded_channel();
    tokio::spawn(collect::file_changes(files_in, changed.clone(), notices.clone()));
    tokio::spawn(collect::process_changes(programs_in, changed.clone(), notices.clone()));
    tokio::spawn(collect::service_changes(changed.clone(), notices.clone()));
    let told = notices.clone();
    let by_kernel = move |about: &'static str, ended: Option<io::Result<()>>| {
        let how = ended.map_or(Ok("told by the kernel"), |ended| {
            let reason = ended.err().map_or_else(|| "the kernel stopped telling".to_owned(), |error| error.to_string());
            Err(format!("looked at at each tick: {reason}"))
        });
        let _ = told.send(Noticing { about, how });
    };
    let (of_network, tell, to_restore) = (changed, by_kernel.clone(), inbox.clone());
    tokio::spawn(async move {
        tell("network", None);
        tell("network", Some(collect::network_changes(of_network).await));
    });
    tokio::spawn(async move {
        let ended = match firewall {
            Ok(listener) => {
                by_kernel("firewall", None);
                let (told, mut changes) = mpsc::channel(1);
                let of_firewall = async {
                    while changes.recv().await.is_some() && to_restore.send(Message::FirewallChanged).is_ok() {}
                };
                tokio::select! {
                    ended = listener.changes(told) => ended,
                    () = of_firewall => Ok(()),
                }
            }
            Err(error) => Err(error),
        };
        by_kernel("firewall", Some(ended));
    });
    let to_hub = inbox.clone();
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                Some(()) = changes.recv() => Message::FilesChanged,
                Some(noticing) = noticed.recv() => Message::Noticing(noticing),
                else => return,
            };
            if to_hub.send(message).is_err() {
                return;
            }
        }
    });
    Watched { files, programs }
}

impl Hub {
    /// Names what is to be watched, where that has changed.
    pub(in crate::service) fn watch(&mut self, files: Vec<PathBuf>, programs: BTreeSet<String>) {
        let examination = &mut self.examination;
        if examination.watching.files != files {
            let _ = examination.watched.files.send(files.clone());
            examination.watching.files = files;
        }
        if examination.watching.programs != programs {
            let _ = examination.watched.programs.send(programs.clone());
            examination.watching.programs = programs;
        }
    }

    /// Notes how changes are noticed.
    pub(in crate::service) fn noticing(&mut self, noticing: Noticing) {
        if let Err(reason) = &noticing.how {
            tracing::info!(about = noticing.about, %reason, "changes are found by looking");
        }
        self.noticings.insert(noticing.about, noticing.how);
    }

    /// Says how changes are noticed. That nobody tells is no fault: they are found a little later.
    pub(in crate::service) fn noticing_health(&self) -> impl Iterator<Item = Check> {
        self.noticings.iter().map(|(about, how)| {
            let detail = match how {
                Ok(how) => (*how).to_owned(),
                Err(reason) => format!("found by looking from time to time ({reason})"),
            };
            Check { check: format!("changes of {about}"), ok: true, detail: detail.into(), next: "".into() }
        })
    }
}
