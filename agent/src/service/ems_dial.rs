//! How the service reaches EMS, also under a full tunnel, a block and changed DNS: the addresses
//! at which EMS answered are remembered, kept out of the tunnel, and dialled when its name can no
//! longer be looked up.

use posture::ems::Network;
use posture::ems::network::{Dial, Dialling};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;

/// Addresses that answered, by host.
type Known = Arc<Mutex<BTreeMap<String, Vec<SocketAddr>>>>;

/// Dials EMS.
#[derive(Clone, Debug, Default)]
pub struct EmsDial {
    known: Known,
}

impl EmsDial {
    /// Returns the addresses at which EMS answered.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().flatten().map(SocketAddr::ip).collect()
    }

    /// Returns how EMS is reached; local sockets lie in the runtime directory.
    pub fn network(&self, runtime: &Path) -> Network {
        Network { dial: Some(Arc::new(self.clone())), relay_directory: Some(runtime.to_owned()), ..Network::default() }
    }

    async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let found = tokio::net::lookup_host((host, port)).await;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned().unwrap_or_default();
        let candidates: Vec<SocketAddr> = match found {
            Ok(found) => found.chain(known).collect(),
            Err(error) if known.is_empty() => return Err(error),
            Err(_) => known,
        };
        let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
        for candidate in candidates {
            match TcpStream::connect(candidate).await {
                Ok(stream) => {
                    let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                    let known = known.entry(host.to_owned()).or_default();
                    known.retain(|address| *address != candidate);
                    known.insert(0, candidate);
                    known.truncate(4);
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl Dial for EmsDial {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> Dialling<'a> {
        Box::pin(self.connect(host, port))
    }
}
