//! EMS on the network: HTTPS for endpoints and gateways, a local socket for the administrator.

mod administrator;
mod endpoint;
mod fabric;
mod reply;
mod rest;

pub use administrator::PATH_ADMINISTER;
pub use fabric::{SessionList, SessionNotice};
pub use rest::{ADMINISTRATION, ADMINISTRATOR_TOKEN};

use super::authority::Authority;
use super::office::{Conduct, Denial, Office};
use super::stamp::Stamp;
use super::store::Sqlite;
use anyhow::{Context, Result};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use posture::ems::protocol::RefusalCode;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// The largest request, in bytes.
const MOST_BYTES: usize = 16 << 20;
/// The administrator's socket within the state directory.
pub const ADMINISTRATOR_SOCKET: &str = "administrator.sock";
/// The authority's certificate within the state directory, for those who need it as a file.
pub const AUTHORITY_PEM: &str = "authority.pem";

/// The description of everything that is served here.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// How to start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where keys, database and the administrator's socket live.
    pub state: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Names and addresses for which EMS's certificate holds; the listening address when empty. The
    /// first is the one that invitations carry.
    pub names: Vec<String>,
    /// Milliseconds between two heartbeats; the default when absent.
    pub heartbeat_milliseconds: Option<u64>,
    /// Seconds between two reports; the default when absent.
    pub keep_alive_seconds: Option<u64>,
    /// Seconds after which a silent endpoint counts as gone; the default when absent.
    pub offline_after_seconds: Option<u64>,
    /// Seconds for which an endpoint's certificate holds; the default when absent.
    pub certificate_seconds: Option<u64>,
    /// A loopback address on which the administrator's interface is served too, in the clear.
    pub administration: Option<SocketAddr>,
}

impl Settings {
    /// Returns the settings of an EMS that listens on a free port of the loopback.
    pub fn loopback(state: &Path) -> Self {
        Self {
            state: state.to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            names: Vec::new(),
            heartbeat_milliseconds: None,
            keep_alive_seconds: None,
            offline_after_seconds: None,
            certificate_seconds: None,
            administration: None,
        }
    }
}

/// The office behind its door: one call at a time, on threads for blocking work.
#[derive(Clone)]
struct Door {
    office: Arc<Mutex<Office>>,
}

impl Door {
    async fn enter<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Office, Stamp) -> Result<T, Denial> + Send + 'static,
    ) -> Result<T, Denial> {
        let door = self.clone();
        let failed = |_| Denial::new(RefusalCode::ServerFailed, "the call did not end");
        tokio::task::spawn_blocking(move || door.enter_now(call)).await.map_err(failed)?
    }

    /// Blocks. A call that panicked left the store's transaction rolled back, so the next may go on.
    fn enter_now<T>(&self, call: impl FnOnce(&mut Office, Stamp) -> Result<T, Denial>) -> Result<T, Denial> {
        let mut office = self.office.lock().unwrap_or_else(PoisonError::into_inner);
        call(&mut office, Stamp::now())
    }

    /// Closes a push stream or a watch, from a destructor.
    fn close(&self, stream: super::office::StreamId) {
        let door = self.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || door.enter_now(|office, now| office.unsubscribe(stream, now)));
        }
    }
}

/// A running EMS; ends when dropped.
pub struct LabEms {
    address: SocketAddr,
    socket: PathBuf,
    authority_pem: String,
    administration: Option<SocketAddr>,
    handle: Handle<SocketAddr>,
    tasks: JoinSet<()>,
}

impl LabEms {
    /// Starts, on the current tokio runtime, and listens when this returns.
    pub async fn start(settings: Settings) -> Result<Self> {
        std::fs::create_dir_all(&settings.state).with_context(|| settings.state.display().to_string())?;
        let listener = TcpListener::bind(settings.listen).with_context(|| settings.listen.to_string())?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let names = match settings.names.is_empty() {
            true => vec![address.ip().to_string()],
            false => settings.names.clone(),
        };
        let authority = Authority::open(&settings.state)?;
        let tls = tls(&authority, &names)?;
        let authority_pem = authority.certificate_pem();
        std::fs::write(settings.state.join(AUTHORITY_PEM), &authority_pem)?;
        let store = Sqlite::open(&settings.state.join("ems.sqlite"))?;
        let office = Office::new(conduct(&settings, &names, address)?, authority, Box::new(store))?;
        let door = Door { office: Arc::new(Mutex::new(office)) };

        let socket = settings.state.join(ADMINISTRATOR_SOCKET);
        let administrator = administrator::listen(&socket)?;
        let resources = rest::routes(door.clone(), rest::Token::open(&settings.state)?);
        let mut tasks = JoinSet::new();
        let mut administration = None;
        if let Some(wanted) = settings.administration {
            anyhow::ensure!(wanted.ip().is_loopback(), "{wanted}: the administrator's interface stays on the loopback");
            let listener = tokio::net::TcpListener::bind(wanted).await.with_context(|| wanted.to_string())?;
            administration = Some(listener.local_addr()?);
            let resources = resources.clone();
            tasks.spawn(async move {
                if let Err(error) = axum::serve(listener, resources).await {
                    tracing::error!(%error, "the administrator's interface");
                }
            });
        }
        let local = administrator::routes(door.clone()).merge(resources).layer(DefaultBodyLimit::max(MOST_BYTES));
        tasks.spawn(async move {
            let local = local.into_make_service_with_connect_info::<administrator::Caller>();
            if let Err(error) = axum::serve(administrator, local).await {
                tracing::error!(%error, "the administrator's socket");
            }
        });
        tasks.spawn(tick(door.clone()));
        let handle = Handle::new();
        let routes = Router::new()
            .merge(endpoint::routes(door.clone()))
            .merge(fabric::routes(door))
            .route("/v1/openapi.json", get(|| async { ([(CONTENT_TYPE, "application/json")], OPENAPI) }))
            .layer(DefaultBodyLimit::max(MOST_BYTES));
        let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(Arc::new(tls))).acceptor(NoDelayAcceptor::new());
        let server = axum_server::from_tcp(listener)?.acceptor(acceptor).handle(handle.clone());
        tasks.spawn(async move {
            if let Err(error) = server.serve(routes.into_make_service_with_connect_info::<SocketAddr>()).await {
                tracing::error!(%error, "the HTTPS server");
            }
        });
        handle.listening().await.context("EMS does not listen")?;
        tracing::info!(%address, ?names, "EMS listens");
        Ok(Self { address, socket, authority_pem, administration, handle, tasks })
    }

    /// Returns where EMS listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the administrator's socket.
    pub fn administrator_socket(&self) -> &Path {
        &self.socket
    }

    /// Returns where the administrator's interface listens beside its socket.
    pub const fn administration(&self) -> Option<SocketAddr> {
        self.administration
    }

    /// Returns the certificate authority as PEM.
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// Runs until something ends it.
    pub async fn run(mut self) {
        self.tasks.join_next().await;
    }
}

impl Drop for LabEms {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

fn conduct(settings: &Settings, names: &[String], address: SocketAddr) -> Result<Conduct> {
    let host = names.first().context("EMS needs a name")?;
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host.clone(),
    };
    let mut conduct = Conduct::new(format!("https://{host}:{}", address.port()).parse()?);
    conduct.heartbeat_milliseconds = settings.heartbeat_milliseconds.unwrap_or(conduct.heartbeat_milliseconds);
    conduct.keep_alive_seconds = settings.keep_alive_seconds.unwrap_or(conduct.keep_alive_seconds);
    conduct.certificate_seconds = settings.certificate_seconds.unwrap_or(conduct.certificate_seconds);
    conduct.offline_after_seconds = settings.offline_after_seconds.unwrap_or(conduct.offline_after_seconds);
    Ok(conduct)
}

/// Clients may come without a certificate (to enrol, and as gateways), but not with a foreign one.
fn tls(authority: &Authority, names: &[String]) -> Result<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone())?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()?;
    let (chain, key) = authority.server_certificate(names)?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn tick(door: Door) {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if let Err(denial) = door.enter(Office::tick).await {
            tracing::error!(%denial, "tick");
        }
    }
}
