//! How the service reaches EMS, also under a full tunnel, a block and changed DNS: its sockets carry
//! the mark that goes past the tunnel, and the addresses at which EMS answered are dialled when its
//! name can no longer be looked up.
//!
//! The way past belongs to the socket and never to the address. Whoever answers for EMS's name on a
//! hostile network chooses its address, and were that address let past the tunnel, so would be
//! everything else that this machine sends there. The name itself is looked up where gateways' names
//! are, by a child: what strangers answer is not parsed here.

use crate::network::plan::Places;
use crate::service::child::look_up;
use crate::service::rights;
use ike_client::tunnel::lookup::NameService;
use posture::ems::Network;
use posture::ems::network::{Dial, Dialling};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// How long one address is waited for before the next is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// How many addresses are remembered for a host, and how many are tried at most.
const REMEMBERED: usize = 4;
const TRIED: usize = 8;

/// Addresses that answered, by host, the latest first.
type Known = Arc<Mutex<BTreeMap<String, Vec<IpAddr>>>>;

/// Who looks names up.
#[derive(Clone)]
struct Names(NameService);

impl Default for Names {
    fn default() -> Self {
        Self(Arc::new(|name| Box::pin(async move { look_up::addresses(&name).await })))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Names")
    }
}

/// Dials EMS.
#[derive(Clone, Debug, Default)]
pub struct EmsDial {
    known: Known,
    names: Names,
    /// Where the addresses are kept: a service that begins anew under a tunnel's resolver finds EMS.
    file: Option<PathBuf>,
}

impl EmsDial {
    /// Begins with the addresses that were known when the service ended last.
    pub fn open(state: &Path) -> Self {
        let file = state.join("ems-addresses.json");
        let known = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { known: Arc::new(Mutex::new(known)), names: Names::default(), file: Some(file) }
    }

    /// Returns the addresses at which EMS answered.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().flatten().copied().collect()
    }

    /// Returns how EMS is reached; local sockets lie in the runtime directory.
    pub fn network(&self, runtime: &Path) -> Network {
        Network { dial: Some(Arc::new(self.clone())), relay_directory: Some(runtime.to_owned()), ..Network::default() }
    }

    async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let found = (self.names.0)(host.to_owned()).await;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned().unwrap_or_default();
        let mut addresses: Vec<IpAddr> = match found {
            Ok(found) => found.into_iter().chain(known).collect(),
            Err(error) if known.is_empty() => return Err(error),
            Err(_) => known,
        };
        let mut seen = Vec::new();
        addresses.retain(|address| {
            !seen.contains(address) && {
                seen.push(*address);
                true
            }
        });
        addresses.truncate(TRIED);
        let stream = race(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect()).await?;
        if let Ok(peer) = stream.peer_addr() {
            self.remember(host, peer.ip());
        }
        Ok(stream)
    }

    fn remember(&self, host: &str, address: IpAddr) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of_host = known.entry(host.to_owned()).or_default();
        if of_host.first() == Some(&address) {
            return;
        }
        of_host.retain(|other| *other != address);
        of_host.insert(0, address);
        of_host.truncate(REMEMBERED);
        let kept = serde_json::to_vec(&*known).unwrap_or_default();
        if let Some(Err(error)) = self.file.as_ref().map(|file| crate::profile::file::replace(file, &kept)) {
            tracing::warn!(%error, "the addresses of EMS cannot be kept");
        }
    }
}

/// Connects to the first that answers; one that is silent holds the next up for a moment only.
async fn race(candidates: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = candidates.into_iter();
    let mut attempts = JoinSet::new();
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    loop {
        let more = match waiting.next() {
            Some(candidate) => {
                attempts.spawn(async move { socket(candidate)?.connect(candidate).await });
                true
            }
            None => false,
        };
        loop {
            let ended = tokio::select! {
                ended = attempts.join_next() => ended,
                () = tokio::time::sleep(STAGGER), if more => break,
            };
            match ended {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => last = error,
                Some(Err(error)) => last = io::Error::other(error),
                None => return Err(last),
            }
            if more {
                break;
            }
        }
    }
}

/// Opens a socket that goes past the tunnel. Without the right to mark it, EMS is reached only by the
/// way that everything takes, which never lets anything past.
fn socket(candidate: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if candidate.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Err(error) = rights::mark(&socket, Places::default().mark.0) {
        tracing::debug!(%error, "the way to EMS cannot be marked");
    }
    Ok(socket)
}

impl Dial for EmsDial {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> Dialling<'a> {
        Box::pin(self.connect(host, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn an_address_that_answered_on_one_port_is_dialled_on_the_port_that_is_asked_for() {
        let dial = EmsDial::default();
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        dial.connect("127.0.0.1", first.local_addr().unwrap().port()).await.unwrap();
        assert_eq!(dial.addresses(), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
        let second = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = second.local_addr().unwrap().port();
        drop(second);
        assert!(dial.connect("127.0.0.1", port).await.is_err(), "nobody listens there");
    }

    #[tokio::test]
    async fn its_name_is_looked_up_by_another_process_and_what_is_known_serves_when_that_finds_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let to_note = Arc::clone(&asked);
        let names = Names(Arc::new(move |name| {
            let mut asked = to_note.lock().unwrap();
            asked.push(name);
            let first = asked.len() == 1;
            let nowhere = || io::Error::other("nobody says where it is");
            Box::pin(async move { first.then(|| vec![IpAddr::from([127, 0, 0, 1])]).ok_or_else(nowhere) })
        }));
        let dial = EmsDial { names, ..EmsDial::default() };
        for _ in 0..2 {
            assert_eq!(dial.connect("ems.invalid", port).await.unwrap().peer_addr().unwrap().port(), port);
        }
        assert_eq!(*asked.lock().unwrap(), ["ems.invalid"; 2]);
        let error = dial.connect("elsewhere.invalid", port).await.unwrap_err();
        assert_eq!(error.to_string(), "nobody says where it is");
    }

    #[tokio::test]
    async fn an_address_that_answered_is_known_again_after_a_restart() {
        let state = tempfile::TempDir::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dial = EmsDial::open(state.path());
        dial.connect("127.0.0.1", listener.local_addr().unwrap().port()).await.unwrap();
        assert_eq!(EmsDial::open(state.path()).addresses(), dial.addresses());
        std::fs::write(state.path().join("ems-addresses.json"), "damaged").unwrap();
        assert!(EmsDial::open(state.path()).addresses().is_empty());
    }

    #[tokio::test]
    async fn an_address_that_refuses_does_not_keep_the_next_from_being_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let refusing = SocketAddr::new("127.0.0.2".parse().unwrap(), good.port());
        assert_eq!(race(vec![refusing, good]).await.unwrap().peer_addr().unwrap(), good);
        assert!(race(vec![refusing]).await.is_err());
        assert!(race(Vec::new()).await.is_err());
    }
}
