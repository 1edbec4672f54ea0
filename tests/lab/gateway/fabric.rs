//! Where the address lists of tags come from: EMS, which knows this gateway as a fabric device.
//!
//! The lists are asked for again and again, so the gateway's view is never older than
//! [`REFRESH`] and an answer. While EMS does not answer, the last lists stay.

use super::settings::TagSettings;
use super::tags::TagDirectory;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the lists are asked for.
pub const REFRESH: Duration = Duration::from_millis(500);

/// A source of address lists.
pub trait TagSource: Send {
    /// Asks for every list.
    ///
    /// # Errors
    /// When the source does not answer, or not with lists.
    fn fetch(&mut self) -> Result<TagDirectory>;
}

/// Makes the source that the settings name.
///
/// # Errors
/// When a file that it needs cannot be read.
pub fn source(settings: &TagSettings) -> Result<Box<dyn TagSource>> {
    Ok(match settings {
        TagSettings::File { path } => Box::new(FileSource { path: path.clone() }),
        TagSettings::Ems { url, authority, token, identity } => {
            Box::new(EmsSource::new(url, authority, token, identity.as_deref())?)
        }
    })
}

/// A JSON file: `{"tags": [{"name": "…", "addresses": ["…"]}]}`. A missing file has no tags.
struct FileSource {
    path: PathBuf,
}

impl TagSource for FileSource {
    fn fetch(&mut self) -> Result<TagDirectory> {
        match std::fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| self.path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(TagDirectory::default()),
            Err(error) => Err(error).with_context(|| self.path.display().to_string()),
        }
    }
}

/// The lab EMS over HTTPS.
struct EmsSource {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    url: String,
    token: String,
}

impl EmsSource {
    fn new(url: &str, authority: &Path, token: &str, identity: Option<&Path>) -> Result<Self> {
        // Another part of the process may have installed it already; either will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let read = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
        let authority = reqwest::Certificate::from_pem(&read(authority)?)?;
        let mut client = reqwest::Client::builder()
            .tls_certs_only([authority])
            .timeout(Duration::from_secs(5))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none());
        if let Some(identity) = identity {
            client = client.identity(reqwest::Identity::from_pem(&read(identity)?)?);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, client: client.build()?, url: url.to_owned(), token: token.to_owned() })
    }
}

impl TagSource for EmsSource {
    fn fetch(&mut self) -> Result<TagDirectory> {
        let mut request = self.client.get(&self.url);
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        self.runtime.block_on(async { Ok(request.send().await?.error_for_status()?.json().await?) })
    }
}
