//! A server with EMS's own keys that says whatever a test wants.

use crate::endpoint::Lab;
use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use lab::ems::authority::Authority;
use posture::ems::Identity;
use posture::ems::protocol::{DocumentKind, DocumentSet, TagSnapshot};
use posture::ems::signed::{Binding, Content, Document, Fingerprint, Signed};
use rustls::SupportedProtocolVersion;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The keys of a lab EMS, and an endpoint that is enrolled with it.
pub struct Fake {
    pub authority: Authority,
    pub identity: Identity,
    handle: Handle<SocketAddr>,
    _lab: Lab,
}

impl Fake {
    pub async fn new() -> Self {
        let lab = Lab::start().await;
        let identity = lab.enrol("pc").await;
        let authority = Authority::open(lab.state.path()).unwrap();
        Self { authority, identity, handle: Handle::new(), _lab: lab }
    }

    /// Serves routes under EMS's own certificate, and turns the endpoint's identity towards them.
    pub async fn serve(&mut self, routes: Router) {
        let (chain, key) = self.authority.server_certificate(&["127.0.0.1".into()]).unwrap();
        self.serve_with(routes, chain, key, &rustls::version::TLS13).await;
    }

    pub async fn serve_with(
        &mut self,
        routes: Router,
        chain: Vec<rustls_pki_types::CertificateDer<'static>>,
        key: rustls_pki_types::PrivateKeyDer<'static>,
        version: &'static SupportedProtocolVersion,
    ) {
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        self.turn_to(listener.local_addr().unwrap());
        let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(Arc::new(config))).unwrap();
        let server = server.handle(self.handle.clone());
        tokio::spawn(server.serve(routes.into_make_service()));
        self.handle.listening().await.unwrap();
    }

    pub fn turn_to(&mut self, address: SocketAddr) {
        self.identity.address = format!("https://{address}").parse().unwrap();
    }

    pub fn binding(&self, kind: DocumentKind, counter: u64) -> Binding {
        Binding {
            kind,
            ems: self.identity.ems.clone(),
            endpoint: self.identity.fingerprint(),
            policy_version: 1,
            counter,
            issued_unix: now(),
            expires_unix: now() + 1_000,
        }
    }

    pub fn sign<T: Content>(&self, binding: Binding, content: T) -> Signed {
        self.authority.sign(serde_json::to_vec(&Document { binding, content }).unwrap())
    }

    /// A set with one empty snapshot.
    pub fn snapshot(&self, counter: u64) -> DocumentSet {
        self.snapshot_of(self.binding(DocumentKind::Tags, counter))
    }

    pub fn snapshot_of(&self, binding: Binding) -> DocumentSet {
        let tags = Some(self.sign(binding, TagSnapshot::default()));
        DocumentSet { tags, ..DocumentSet::default() }
    }

    pub fn foreign_snapshot(&self, counter: u64) -> DocumentSet {
        let binding = self.binding(DocumentKind::Tags, counter);
        self.snapshot_of(Binding { endpoint: Fingerprint([1; 32]), ..binding })
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
