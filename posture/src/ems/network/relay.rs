//! A local socket behind which a [`Dial`] makes the connections.

use super::{Dial, Network};
use crate::ems::error::EmsError;
use crate::ems::invitation::EmsAddress;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// A running relay to one EMS; ends when dropped.
pub(in crate::ems) struct Relay {
    /// Closed to other users; removed with the relay.
    _directory: TempDir,
    socket: PathBuf,
    failure: Arc<Mutex<Option<String>>>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Starts a relay. Needs a tokio runtime.
    pub(in crate::ems) fn start(network: &Network, dial: Arc<dyn Dial>, address: EmsAddress) -> Result<Self, EmsError> {
        let local = |error: std::io::Error| EmsError::Local(format!("relay: {error}"));
        let mut builder = tempfile::Builder::new();
        builder.prefix("postern-ems-");
        let directory = match &network.relay_directory {
            Some(place) => builder.tempdir_in(place),
            None => builder.tempdir(),
        }
        .map_err(local)?;
        let socket = directory.path().join("relay");
        let listener = UnixListener::bind(&socket).map_err(local)?;
        let failure = Arc::default();
        let task = tokio::spawn(accept(listener, dial, address, network.limits.connect, Arc::clone(&failure)));
        Ok(Self { _directory: directory, socket, failure, task })
    }

    /// Makes an HTTP client connect through the relay.
    pub(in crate::ems) fn carry(&self, builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        builder.unix_socket(self.socket.clone())
    }

    /// Takes why the last connection could not be made: the HTTP client only sees its end of the
    /// relay close.
    pub(in crate::ems) fn take_failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: UnixListener,
    dial: Arc<dyn Dial>,
    address: EmsAddress,
    limit: std::time::Duration,
    failure: Arc<Mutex<Option<String>>>,
) {
    // Connections live in here, so that they end with the relay.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((near, _)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        let (dial, address, failure) = (Arc::clone(&dial), address.clone(), Arc::clone(&failure));
        connections.spawn(async move {
            let outcome = tokio::time::timeout(limit, dial.dial(address.host(), address.port())).await;
            let problem = match outcome {
                Ok(Ok(far)) => {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    join(near, far).await;
                    return;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no connection in time".to_owned(),
            };
            *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
        });
    }
}

async fn join(mut near: UnixStream, mut far: tokio::net::TcpStream) {
    // Heartbeats and small reports are not to wait for more.
    let _ = far.set_nodelay(true);
    // Whichever side fails, both streams close here, and the other side sees that.
    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
}
