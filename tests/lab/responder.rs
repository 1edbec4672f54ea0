//! Those whom a certificate names as able to say whether it was revoked: OpenSSL's OCSP responder, and a web server
//! with a revocation list.

use crate::net::{Host, Running, until};
use crate::pki::{Authority, Credential};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Where the responder listens.
pub const OCSP_PORT: u16 = 8080;
/// Where the web server listens.
pub const LIST_PORT: u16 = 8081;

/// How a certificate stands with its authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is good.
    Good,
    /// It was revoked.
    Revoked,
}

/// Starts `openssl ocsp` on `host` for one certificate of `authority`; `signer` signs what it says.
///
/// # Errors
/// When it does not come up; its words are in the error.
pub fn ocsp(
    host: &Host,
    folder: &Path,
    authority: &Authority,
    signer: &Credential,
    (certificate, standing): (&Credential, Standing),
) -> Result<Running> {
    std::fs::create_dir_all(folder)?;
    let write = |name: &str, content: &str| {
        std::fs::write(folder.join(name), content).with_context(|| format!("writing {name}"))
    };
    let (_, parsed) = X509Certificate::from_der(&certificate.certificate.der).context("a certificate")?;
    let serial: String = parsed.raw_serial().iter().map(|octet| format!("{octet:02X}")).collect();
    let line = match standing {
        Standing::Good => format!("V\t991231235959Z\t\t{serial}\tunknown\t/CN=gateway\n"),
        Standing::Revoked => format!("R\t991231235959Z\t240101000000Z,keyCompromise\t{serial}\tunknown\t/CN=gateway\n"),
    };
    write("index.txt", &line)?;
    write("ca.pem", &authority.certificate().pem)?;
    write("signer.pem", &signer.certificate.pem)?;
    write("signer.key", &signer.key_pem)?;
    let out = std::fs::File::create(folder.join("ocsp.out"))?;
    let mut command = host.command("openssl");
    command.args(["ocsp", "-ndays", "1", "-ignore_err", "-port", &OCSP_PORT.to_string()]);
    for (option, file) in
        [("-index", "index.txt"), ("-CA", "ca.pem"), ("-rsigner", "signer.pem"), ("-rkey", "signer.key")]
    {
        command.arg(option).arg(folder.join(file));
    }
    listening(Running::start("openssl ocsp", command.stdout(out.try_clone()?).stderr(out))?, host, OCSP_PORT)
        .with_context(|| std::fs::read_to_string(folder.join("ocsp.out")).unwrap_or_default())
}

/// Starts a web server on `host` that has this revocation list (PEM) at `/ca.crl`, as DER.
///
/// # Errors
/// When it does not come up.
pub fn list(host: &Host, folder: &Path, list: &str) -> Result<Running> {
    std::fs::create_dir_all(folder)?;
    let (_, list) = x509_parser::pem::parse_x509_pem(list.as_bytes()).context("a list in PEM")?;
    std::fs::write(folder.join("ca.crl"), list.contents)?;
    let mut command = host.command("python3");
    command.args(["-m", "http.server", &LIST_PORT.to_string(), "--directory"]).arg(folder);
    let out = std::fs::File::create(folder.join("http.out"))?;
    listening(Running::start("python3 -m http.server", command.stdout(out.try_clone()?).stderr(out))?, host, LIST_PORT)
}

fn listening(mut server: Running, host: &Host, port: u16) -> Result<Running> {
    until("a server to listen", Duration::from_secs(20), || {
        if let Some(status) = server.ended()? {
            bail!("it ended: {status}");
        }
        Ok(host.shell(&format!("ss -Hltn 'sport = :{port}'"))?.contains("LISTEN").then_some(()))
    })?;
    Ok(server)
}
