//! The way between the endpoint and EMS, as a scenario wants it: what stands here ends TLS with EMS's own
//! certificate, shows EMS the endpoint's, and passes on each push as it is told to.

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum_server::tls_rustls::RustlsConfig;
use base64::Engine;
use futures_util::stream;
use lab::ems::authority::Authority;
use lab::net::Host;
use posture::ems::protocol::PATH_PUSH;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Where endpoints ask EMS.
const ASKED_AT: &str = "127.0.0.1:8443";

/// How documents that EMS pushes are passed on; whatever else is said passes as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// At once.
    Straight,
    /// So much later.
    Late(Duration),
    /// Held until there are three. Then the newest, twice; the two before it; and all that were ever pushed,
    /// from the newest to the oldest.
    Shuffled,
    /// The next is lost, and the stream with it.
    LostOnce,
    /// There are no streams.
    None,
    /// At once, and EMS is not told what the endpoint has: it says all that it knows.
    Everything,
}

/// One event, and when it is to arrive; an error breaks the stream off.
type Passed = (Instant, Result<Bytes, std::io::ErrorKind>);

#[derive(Clone)]
pub struct Way {
    manner: Arc<watch::Sender<Manner>>,
    /// The pushes that were passed on, oldest first.
    said: Arc<Mutex<Vec<Bytes>>>,
    authority: CertificateDer<'static>,
    identity: PathBuf,
    ems_at: SocketAddr,
    as_endpoint: Arc<Mutex<Option<reqwest::Client>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Way {
    /// Opens the way to the EMS whose keys are in `state`, for the endpoint whose identity will be in a file.
    pub fn open(host: &Host, state: &Path, ems_at: &str, identity: PathBuf) -> Result<Self> {
        let authority = Authority::open(state)?;
        let (chain, key) = authority.server_certificate(&["localhost".into()])?;
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let listener = host.inside(|| Ok(TcpListener::bind(ASKED_AT)?))?;
        listener.set_nonblocking(true)?;
        let way = Self {
            manner: Arc::new(watch::Sender::new(Manner::Straight)),
            said: Arc::default(),
            authority: authority.certificate().clone(),
            identity,
            ems_at: ems_at.parse()?,
            as_endpoint: Arc::default(),
        };
        let (host, routes) = (host.clone(), Router::new().fallback(pass).with_state(way.clone()));
        // Ends with the scenario's process.
        std::thread::spawn(move || {
            let ended = host.inside(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(Arc::new(tls)))?;
                    Ok(server.serve(routes.into_make_service()).await?)
                })
            });
            eprintln!("the way to EMS ended: {ended:?}");
        });
        Ok(way)
    }

    pub fn manner(&self) -> Manner {
        *self.manner.borrow()
    }

    pub fn set(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// Returns how many pushes of documents were passed on.
    pub fn passed(&self) -> usize {
        lock(&self.said).len()
    }

    async fn forward(&self, request: Request) -> Result<Response> {
        let (mut parts, body) = request.into_parts();
        let is_push = parts.uri.path() == PATH_PUSH;
        if is_push && self.manner() == Manner::None {
            return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
        }
        let body = axum::body::to_bytes(body, 1 << 24).await?;
        let mut address = format!("https://localhost:8443{}", parts.uri);
        if is_push && self.manner() == Manner::Everything {
            address = format!("https://localhost:8443{PATH_PUSH}?profile=0&rules=0&tags=0&key=0");
            parts.headers.remove("last-event-id");
        }
        parts.headers.remove(header::HOST);
        let request = self.client()?.request(parts.method, address).headers(parts.headers).body(body);
        let reply = request.send().await?;
        let status = reply.status();
        let kind = reply.headers().get(header::CONTENT_TYPE).cloned();
        let body =
            if is_push && status == StatusCode::OK { self.pushes(reply) } else { Body::from(reply.bytes().await?) };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().extend(kind.map(|kind| (header::CONTENT_TYPE, kind)));
        Ok(response)
    }

    /// The endpoint's own connection to EMS, once it is enrolled; before, one of nobody.
    fn client(&self) -> Result<reqwest::Client> {
        if let Some(client) = &*lock(&self.as_endpoint) {
            return Ok(client.clone());
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.clone())?;
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots);
        let build = |tls: rustls::ClientConfig| {
            let client = reqwest::Client::builder().no_proxy().http1_only().resolve("localhost", self.ems_at);
            client.tls_backend_preconfigured(tls).build()
        };
        if !self.identity.exists() {
            return Ok(build(tls.with_no_client_auth())?);
        }
        let stored: serde_json::Value = serde_json::from_slice(&std::fs::read(&self.identity)?)?;
        let bytes = |name: &str| -> Result<Vec<u8>> {
            let text = stored[name].as_str().with_context(|| format!("an identity without {name}"))?;
            Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(bytes("key_pkcs8")?));
        let client = build(tls.with_client_auth_cert(vec![CertificateDer::from(bytes("certificate")?)], key)?)?;
        Ok(lock(&self.as_endpoint).insert(client).clone())
    }

    fn pushes(&self, ems: reqwest::Response) -> Body {
        let (out, passed) = mpsc::unbounded_channel::<Passed>();
        tokio::spawn(self.clone().carry(ems, out));
        Body::from_stream(stream::unfold(passed, |mut passed| async move {
            let (at, event) = passed.recv().await?;
            tokio::time::sleep_until(at).await;
            Some((event.map_err(std::io::Error::from), passed))
        }))
    }

    async fn carry(self, mut ems: reqwest::Response, out: mpsc::UnboundedSender<Passed>) {
        let (mut text, mut held) = (Vec::new(), Vec::new());
        let mut manners = self.manner.subscribe();
        loop {
            let chunk = tokio::select! {
                chunk = ems.chunk() => chunk,
                () = out.closed() => return,
                () = without_streams(&mut manners) => break,
            };
            let Ok(Some(chunk)) = chunk else { break };
            text.extend_from_slice(&chunk);
            while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
                let event = Bytes::from(text.drain(..end + 2).collect::<Vec<_>>());
                let Some(events) = self.told(event, &mut held) else {
                    let _ = out.send((Instant::now(), Err(std::io::ErrorKind::ConnectionReset)));
                    return;
                };
                for (at, event) in events {
                    let _ = out.send((at, Ok(event)));
                }
            }
        }
        let _ = out.send((Instant::now(), Err(std::io::ErrorKind::ConnectionReset)));
    }

    /// What is passed on now that EMS has said this; `None` breaks the stream off.
    fn told(&self, event: Bytes, held: &mut Vec<Bytes>) -> Option<Vec<(Instant, Bytes)>> {
        let now = Instant::now();
        let is_document = String::from_utf8_lossy(&event).contains(r#""push":"documents""#);
        let manner = if is_document { self.manner() } else { Manner::Straight };
        let mut said = lock(&self.said);
        let passed = match manner {
            Manner::Straight | Manner::Everything => vec![(now, event.clone())],
            Manner::Late(by) => vec![(now + by, event.clone())],
            Manner::Shuffled => {
                held.push(event);
                let [first, second, newest] = held.as_slice() else { return Some(Vec::new()) };
                let order = [newest, newest, first, second].into_iter().chain(said.iter().rev());
                let passed = order.map(|event| (now, event.clone())).collect();
                said.append(held);
                return Some(passed);
            }
            Manner::LostOnce => {
                self.set(Manner::Straight);
                return None;
            }
            Manner::None => return None,
        };
        if is_document {
            said.push(event);
        }
        Some(passed)
    }
}

/// Waits until there are to be no streams.
async fn without_streams(manners: &mut watch::Receiver<Manner>) {
    drop(manners.wait_for(|manner| *manner == Manner::None).await);
}

async fn pass(State(way): State<Way>, request: Request) -> Response {
    // An EMS that is not there.
    way.forward(request).await.unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, error.to_string()).into_response())
}
