//! The pages of a FortiGate's SAML sign-on, and an identity provider on a port of its own whose
//! log-in form sends itself. The assertion is a random handle: what is shown is the way of the
//! browser, not SAML's cryptography.
//!
//! ```text
//! POST /saml_login?  UID, REDIRECT_PORT   -> a page whose script goes to /saml?ID
//! GET  /saml?ID                           -> 302 to the provider
//! GET  provider/sso?RelayState=ID         -> a log-in form that sends itself
//! POST provider/login                     -> a form that sends itself to /remote/saml/login
//! POST /remote/saml/login                 -> 303 to http://localhost:PORT/?tokenid=…&username=…
//! ```

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Form, Query, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum_server::tls_rustls::RustlsConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sign-on's ports and certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignOnSettings {
    /// The port of the gateway's pages (`auth-ike-saml-port`).
    pub port: u16,
    /// The port of the identity provider.
    pub provider_port: u16,
    /// PEM: the certificate of both.
    pub certificate: PathBuf,
    /// PEM: its key.
    pub key: PathBuf,
    /// Who signs on at the provider.
    pub user: String,
}

/// A user who has signed on and not connected yet.
#[derive(Clone, Debug)]
pub struct SignedOn {
    /// The token, which is the password of the login.
    pub token: String,
    /// The user's name.
    pub user: String,
}

/// Who signed on, by UID.
pub type SignedOnUsers = Arc<Mutex<BTreeMap<String, SignedOn>>>;

#[derive(Clone)]
struct Pages {
    settings: SignOnSettings,
    /// Sign-ons under way, by their id.
    begun: Arc<Mutex<BTreeMap<String, Begun>>>,
    signed_on: SignedOnUsers,
}

struct Begun {
    uid: String,
    port: u16,
    /// What the provider vouches for, once it does.
    assertion: Option<(String, String)>,
}

/// Serves the pages on `address` in threads of their own, until the process ends.
///
/// # Errors
/// When a port cannot be had, or certificate or key cannot be read.
pub fn serve(address: IpAddr, settings: &SignOnSettings, signed_on: SignedOnUsers) -> Result<()> {
    let tls = tls(settings)?;
    let listen = |port| {
        let address = SocketAddr::new(address, port);
        let listener = TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
        listener.set_nonblocking(true)?;
        anyhow::Ok(listener)
    };
    let (front, provider) = (listen(settings.port)?, listen(settings.provider_port)?);
    let pages = Pages { settings: settings.clone(), begun: Arc::default(), signed_on };
    let gateway = Router::new()
        .route("/saml_login", post(begin))
        .route("/saml", get(to_provider))
        .route("/remote/saml/login", post(assert))
        .with_state(pages.clone());
    let identity = Router::new().route("/sso", get(ask_user)).route("/login", post(vouch)).with_state(pages);
    std::thread::Builder::new().name("sign-on".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a thread of the lab has a runtime");
        runtime.block_on(async {
            let config = RustlsConfig::from_config(Arc::new(tls));
            let serve = |listener, routes: Router| {
                let server = axum_server::from_tcp_rustls(listener, config.clone());
                async move { server?.serve(routes.into_make_service()).await }
            };
            let (front, identity) = tokio::join!(serve(front, gateway), serve(provider, identity));
            for ended in [front, identity] {
                if let Err(error) = ended {
                    eprintln!("the sign-on's pages are gone: {error}");
                }
            }
        });
    })?;
    Ok(())
}

fn tls(settings: &SignOnSettings) -> Result<rustls::ServerConfig> {
    let certificates = CertificateDer::pem_file_iter(&settings.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| settings.certificate.display().to_string())?;
    let key = PrivateKeyDer::from_pem_file(&settings.key).with_context(|| settings.key.display().to_string())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_no_client_auth().with_single_cert(certificates, key)?)
}

#[derive(Deserialize)]
struct Beginning {
    #[serde(rename = "UID")]
    uid: String,
    #[serde(rename = "REDIRECT_PORT")]
    port: u16,
}

async fn begin(State(pages): State<Pages>, headers: HeaderMap, Form(beginning): Form<Beginning>) -> Response {
    if beginning.uid.len() != 32 || !beginning.uid.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let id = random(8);
    let begun = Begun { uid: beginning.uid, port: beginning.port, assertion: None };
    pages.begun().insert(id.clone(), begun);
    page(&format!("<script>window.location=\"https://{}/saml?{id}\"</script>", host(&headers)))
}

async fn to_provider(State(pages): State<Pages>, headers: HeaderMap, RawQuery(id): RawQuery) -> Response {
    let id = id.unwrap_or_default();
    if !pages.begun().contains_key(&id) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let host = host(&headers);
    let name = host.split(':').next().unwrap_or_default();
    let provider = format!("https://{name}:{}/sso?RelayState={id}&acs={host}", pages.settings.provider_port);
    Redirect::to(&provider).into_response()
}

#[derive(Deserialize)]
struct Wish {
    #[serde(rename = "RelayState")]
    id: String,
    acs: String,
}

async fn ask_user(State(pages): State<Pages>, Query(Wish { id, acs }): Query<Wish>) -> Response {
    let fields = [("RelayState", id.as_str()), ("acs", &acs), ("user", &pages.settings.user)];
    page(&form("/login", &fields))
}

#[derive(Deserialize)]
struct LogIn {
    #[serde(rename = "RelayState")]
    id: String,
    acs: String,
    user: String,
}

async fn vouch(State(pages): State<Pages>, Form(log_in): Form<LogIn>) -> Response {
    let handle = random(16);
    match pages.begun().get_mut(&log_in.id) {
        Some(begun) => begun.assertion = Some((handle.clone(), log_in.user)),
        None => return StatusCode::FORBIDDEN.into_response(),
    }
    let fields = [("RelayState", log_in.id.as_str()), ("SAMLResponse", &handle)];
    page(&form(&format!("https://{}/remote/saml/login", log_in.acs), &fields))
}

#[derive(Deserialize)]
struct Assertion {
    #[serde(rename = "RelayState")]
    id: String,
    #[serde(rename = "SAMLResponse")]
    handle: String,
}

async fn assert(State(pages): State<Pages>, Form(assertion): Form<Assertion>) -> Response {
    let begun = pages.begun().remove(&assertion.id);
    let Some(Begun { uid, port, assertion: Some((handle, user)) }) = begun else {
        return StatusCode::FORBIDDEN.into_response();
    };
    if handle != assertion.handle {
        return StatusCode::FORBIDDEN.into_response();
    }
    let token = random(24);
    let back = format!("http://localhost:{port}/?tokenid={token}&username={user}");
    pages.signed_on.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, SignedOn { token, user });
    Redirect::to(&back).into_response()
}

impl Pages {
    fn begun(&self) -> MutexGuard<'_, BTreeMap<String, Begun>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A form that sends itself.
fn form(action: &str, fields: &[(&str, &str)]) -> String {
    let fields: String = fields
        .iter()
        .map(|(name, value)| format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">"))
        .collect();
    format!("<form method=\"post\" action=\"{action}\">{fields}</form><script>document.forms[0].submit()</script>")
}

fn page(body: &str) -> Response {
    Html(format!("<!doctype html><title>lab</title>{body}")).into_response()
}

fn host(headers: &HeaderMap) -> String {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned()
}

fn random(octets: usize) -> String {
    let mut drawn = vec![0; octets];
    getrandom::fill(&mut drawn).expect("the system has randomness");
    hex::encode(drawn)
}
