//! Where the address lists of tags come from: EMS, which knows this gateway as a fabric device.
//!
//! EMS pushes the lists whenever they change; the gateway tells EMS which clients have a tunnel,
//! because EMS may share only those ("only share clients connected to this fabric device"). While
//! EMS is away the last lists stay. A JSON file can stand in for EMS.

use super::settings::TagSettings;
use super::tags::{TagAddresses, TagDirectory};
use crate::ems::fabric_client::FabricClient;
use crate::ems::office::FabricView;
use anyhow::{Context, Result};
use std::future::Future;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The wait before EMS is told again what it did not take, and between two looks at a file.
const PAUSE: Duration = Duration::from_millis(200);

/// A client's tunnel came or went.
#[derive(Clone, Copy, Debug)]
struct Notice {
    address: IpAddr,
    up: bool,
}

/// The connection to whoever keeps the lists.
pub(super) struct Fabric {
    lists: mpsc::Receiver<TagDirectory>,
    ready: UnixStream,
    notices: UnboundedSender<Notice>,
}

/// The other end of [`Fabric`]'s lists.
struct Lists {
    lists: mpsc::Sender<TagDirectory>,
    wake: UnixStream,
}

impl Lists {
    /// Tells the gateway; false when it is gone.
    fn publish(&mut self, directory: TagDirectory) -> bool {
        self.lists.send(directory).is_ok() && self.wake.write_all(&[1]).is_ok()
    }
}

impl Fabric {
    /// Starts following the lists, in a thread of its own. Without a source there never are any.
    ///
    /// # Errors
    /// When a file that is needed cannot be read.
    pub(super) fn start(settings: Option<&TagSettings>) -> Result<Self> {
        let (ready, wake) = UnixStream::pair()?;
        ready.set_nonblocking(true)?;
        let (sender, lists) = mpsc::channel();
        let (notices, receiver) = unbounded_channel();
        let mut published = Lists { lists: sender, wake };
        let work: Box<dyn FnOnce() + Send> = match settings {
            None => Box::new(move || drop_when_closed(&mut published.wake)),
            Some(TagSettings::File { path }) => {
                let path = path.clone();
                Box::new(move || follow_file(&path, &mut published))
            }
            Some(TagSettings::Ems { base, authority, device, token }) => {
                let authority = std::fs::read_to_string(authority).with_context(|| authority.display().to_string())?;
                let client = FabricClient::new(base, &authority, device, token)?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                Box::new(move || runtime.block_on(follow_ems(client, published, receiver)))
            }
        };
        std::thread::Builder::new().name("fabric".into()).spawn(work)?;
        Ok(Self { lists, ready, notices })
    }

    /// Becomes readable when there are new lists.
    pub(super) fn ready(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    /// Returns the newest lists, if there are new ones.
    pub(super) fn newest(&mut self) -> Option<TagDirectory> {
        let mut wakes = [0; 64];
        while self.ready.read(&mut wakes).is_ok_and(|length| length > 0) {}
        self.lists.try_iter().last()
    }

    /// Tells that the client at an outer address has a tunnel now, or has none any more.
    pub(super) fn tell(&self, address: IpAddr, up: bool) {
        // Nobody to tell: there is no EMS.
        let _ = self.notices.send(Notice { address, up });
    }
}

/// Holds the other end open until the gateway is gone.
fn drop_when_closed(wake: &mut UnixStream) {
    let _ = wake.read(&mut [0]);
}

fn follow_file(path: &Path, lists: &mut Lists) {
    let mut shown = None;
    loop {
        match read_file(path) {
            Ok(directory) if shown.as_ref() != Some(&directory) => {
                shown = Some(directory.clone());
                if !lists.publish(directory) {
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => eprintln!("lab-gateway: {error:#}"),
        }
        std::thread::sleep(PAUSE);
    }
}

/// Reads `{"tags": [{"name": "…", "addresses": ["…"]}]}`; a missing file has no tags.
fn read_file(path: &Path) -> Result<TagDirectory> {
    let path: PathBuf = path.into();
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| path.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(TagDirectory::default()),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

async fn follow_ems(client: FabricClient, mut lists: Lists, notices: UnboundedReceiver<Notice>) {
    let mut view = client.watch();
    tokio::spawn(tell_ems(client, notices));
    while view.changed().await.is_ok() {
        let directory = view.borrow_and_update().as_ref().map(directory);
        if directory.is_some_and(|directory| !lists.publish(directory)) {
            return;
        }
    }
}

fn directory(view: &FabricView) -> TagDirectory {
    let tags = view
        .tags
        .iter()
        .map(|tag| TagAddresses { name: tag.name.as_str().to_owned(), addresses: tag.addresses.clone() });
    TagDirectory { tags: tags.collect() }
}

async fn tell_ems(client: FabricClient, mut notices: UnboundedReceiver<Notice>) {
    until_taken(|| client.restart()).await;
    while let Some(Notice { address, up }) = notices.recv().await {
        until_taken(|| client.session(address, up)).await;
    }
}

async fn until_taken<Attempt: Future<Output = Result<()>>>(mut attempt: impl FnMut() -> Attempt) {
    while let Err(error) = attempt().await {
        eprintln!("lab-gateway: EMS was not told: {error:#}");
        tokio::time::sleep(PAUSE).await;
    }
}
