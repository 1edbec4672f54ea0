//! The corporate host's web server: bytes to fetch and a place to send bytes to, with checksums.
//!
//! `GET /bytes/N` gives N bytes of a fixed sequence; `GET /stream` gives bytes for as long as the
//! client reads; `PUT /sink` takes a body and answers its length and SHA-256.

use crate::net::Host;
use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::{get, put};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::net::{SocketAddr, TcpListener};

const CHUNK: usize = 65_536;

/// The server; it ends with the process that started it.
#[derive(Debug)]
pub struct CorporateServer {
    _runtime: tokio::runtime::Runtime,
}

impl CorporateServer {
    /// Starts the server on a host's addresses.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub fn start(host: &Host, addresses: &[SocketAddr]) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("starting the corporate server's runtime")?;
        for address in addresses {
            let listener = host.inside(|| {
                let listener = TcpListener::bind(address).with_context(|| format!("binding {address}"))?;
                listener.set_nonblocking(true).context("making a listener non-blocking")?;
                Ok(listener)
            })?;
            runtime.spawn(async move {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => {
                        if let Err(error) = axum::serve(listener, routes()).await {
                            eprintln!("the corporate server stopped: {error}");
                        }
                    }
                    Err(error) => eprintln!("the corporate server did not start: {error}"),
                }
            });
        }
        Ok(Self { _runtime: runtime })
    }
}

fn routes() -> Router {
    Router::new()
        .route("/", get(|| async { "hello from the corporate network\n" }))
        .route("/bytes/{length}", get(|Path(length): Path<u64>| async move { Body::from_stream(sequence(length)) }))
        .route("/stream", get(|| async { Body::from_stream(sequence(u64::MAX)) }))
        .route("/sink", put(sink).layer(axum::extract::DefaultBodyLimit::disable()))
}

/// Gives `length` bytes of the fixed sequence in chunks.
fn sequence(length: u64) -> impl stream::Stream<Item = Result<Bytes, std::io::Error>> {
    let chunk = Bytes::from(fixed_bytes(CHUNK));
    stream::unfold(length, move |left| {
        let chunk = chunk.clone();
        async move {
            let size = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            (size > 0).then(|| (Ok(chunk.slice(..size)), left - size as u64))
        }
    })
}

/// Returns the first `length` bytes of the fixed sequence: not compressible, the same each time.
pub fn fixed_bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length.div_ceil(8))
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .take(length)
        .collect()
}

async fn sink(body: Body) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut total = 0_u64;
    let mut stream = body.into_data_stream();
    while let Some(Ok(bytes)) = stream.next().await {
        total += bytes.len() as u64;
        context.update(&bytes);
    }
    format!("{total} {}\n", hex::encode(context.finish()))
}
