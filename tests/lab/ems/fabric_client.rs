//! A gateway's client of EMS: what tags resolve to, and which tunnels the gateway has.

use super::office::FabricView;
use super::server::{SessionList, SessionNotice};
use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use posture::ems::push::EventParser;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long EMS may be silent on a watch: its heartbeat is 5 s, and two may be missed.
const SILENCE: Duration = Duration::from_secs(11);
/// The wait before a watch that broke is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// A client for one device.
#[derive(Clone)]
pub struct FabricClient {
    http: reqwest::Client,
    base: String,
    device: String,
    token: String,
}

impl FabricClient {
    /// Makes a client of the EMS at `https://HOST:PORT`, whose certificate authority is given as PEM;
    /// no other authority is believed.
    pub fn new(base: &str, authority_pem: &str, device: &str, token: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority_pem.as_bytes()).context("EMS's authority")?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .build()?;
        Ok(Self { http, base: base.trim_end_matches('/').into(), device: device.into(), token: token.into() })
    }

    /// Fetches what the tags resolve to now.
    pub async fn view(&self) -> Result<FabricView> {
        let response = self.request(reqwest::Method::GET, "tags").timeout(SILENCE).send().await?;
        Ok(serde_json::from_slice(&good(response).await?.bytes().await?)?)
    }

    /// Tells EMS that the client at an outer address has a tunnel, or has it no longer.
    pub async fn session(&self, address: IpAddr, up: bool) -> Result<()> {
        let request = self.request(reqwest::Method::POST, "session").json(&SessionNotice { address, up });
        good(request.timeout(SILENCE).send().await?).await?;
        Ok(())
    }

    /// Tells EMS which clients have tunnels now, by outer address, and learns what follows.
    pub async fn sessions(&self, addresses: Vec<IpAddr>) -> Result<FabricView> {
        let request = self.request(reqwest::Method::PUT, "sessions").json(&SessionList { addresses });
        let response = request.timeout(SILENCE).send().await?;
        Ok(serde_json::from_slice(&good(response).await?.bytes().await?)?)
    }

    /// Tells EMS that this device has no tunnels: it has just started.
    pub async fn restart(&self) -> Result<()> {
        self.sessions(Vec::new()).await.map(|_| ())
    }

    /// Keeps a view up to date, on the current runtime, until every receiver is gone. `None` while
    /// EMS has not been reached yet; the last view stays while EMS is away.
    pub fn watch(&self) -> watch::Receiver<Option<FabricView>> {
        let (sender, receiver) = watch::channel(None);
        let client = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    outcome = client.follow(&sender) => if let Err(error) = outcome {
                        tracing::info!(%error, "the watch of EMS's tags broke");
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        receiver
    }

    async fn follow(&self, sender: &watch::Sender<Option<FabricView>>) -> Result<()> {
        let response = good(self.request(reqwest::Method::GET, "watch").send().await?).await?;
        let mut bytes = response.bytes_stream();
        let mut parser = EventParser::default();
        loop {
            let chunk = tokio::time::timeout(SILENCE, bytes.next()).await.context("EMS fell silent")?;
            for event in parser.feed(&chunk.context("EMS closed the stream")??)? {
                let view: FabricView = serde_json::from_str(&event.data)?;
                sender.send_if_modified(|shown| {
                    let changed = shown.as_ref() != Some(&view);
                    *shown = Some(view);
                    changed
                });
            }
        }
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}/v1/fabric/{path}", self.base)).basic_auth(&self.device, Some(&self.token))
    }
}

async fn good(response: reqwest::Response) -> Result<reqwest::Response> {
    if !response.status().is_success() {
        bail!("EMS refused: {}", response.status());
    }
    Ok(response)
}
