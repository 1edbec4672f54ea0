//! A FortiGate's SAML sign-on: a listener on this machine that the browser begins at and comes back
//! to with a token.
//!
//! The browser does everything that is HTTPS; no process of ours reads a page of the gateway. The
//! listener is on 127.0.0.1 alone, for one sign-on, for a limited time. What comes in is a stranger's
//! until it has proven otherwise: any process of this machine can connect, and any page can send the
//! browser here. So
//!
//! - the address to begin at holds a secret, which only who connected is told;
//! - whoever begins there gets a cookie, and a token without it is refused. The protocol itself has
//!   no `state`;
//! - `Host` must name this listener, `Origin` the gateway or nobody, and only a navigation counts;
//! - a token is taken once, and no page repeats anything that came in.
//!
//! The gateway sends the browser to `localhost`, which may be tried as ::1 first: that port is held,
//! so that nobody else can listen there.
//!
//! | module | holds |
//! |---|---|
//! | [`request`] | the head of a request, read strictly |
//! | `page` | what is answered |

mod page;
pub mod request;
#[cfg(test)]
mod tests;

use ike_client::fortigate::Uid;
use ike_client::fortigate::sign_on::{self, SignedOn};
use request::{Head, Refusal};
use ring::digest;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The name of the cookie.
const COOKIE: &str = "postern-sign-on";
/// How long a request may take to come in.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// Connections served at a time; a browser opens a few ahead of need.
const MOST_CONNECTIONS: usize = 16;
/// Ports that are tried before it is given up.
const ATTEMPTS: usize = 8;

/// A sign-on that waits for its browser.
#[derive(Debug)]
pub struct SignOn {
    listener: TcpListener,
    /// The same port of ::1, where there is one.
    _held: Option<tokio::net::TcpSocket>,
    door: Arc<Door>,
}

/// What a request is measured by.
#[derive(Debug)]
struct Door {
    port: u16,
    /// The path to begin at, with its slash.
    beginning: String,
    cookie: String,
    /// The gateway's origin.
    origin: String,
    page: String,
    script: String,
}

impl SignOn {
    /// Opens the listener for a sign-on at `gateway`.
    ///
    /// # Errors
    /// When there is no port or no randomness.
    pub async fn begin(gateway: &str, gateway_port: u16, uid: &Uid) -> io::Result<Self> {
        let (listener, held) = listen().await?;
        let port = listener.local_addr()?.port();
        let action = sign_on::action(gateway, gateway_port);
        let origin = action.strip_suffix(sign_on::LOGIN).unwrap_or(&action).to_owned();
        let page = page::beginning(&action, &sign_on::fields(uid, port));
        let door = Door {
            port,
            beginning: format!("/{}", secret()?),
            cookie: secret()?,
            origin,
            page,
            script: page::script_digest(),
        };
        Ok(Self { listener, _held: held, door: Arc::new(door) })
    }

    /// Returns the address to open in a browser of this machine.
    pub fn address(&self) -> String {
        format!("http://localhost:{}{}", self.door.port, self.door.beginning)
    }

    /// Waits for the token. The listener is gone afterwards.
    ///
    /// # Errors
    /// `TimedOut`, or the system's.
    pub async fn wait(self, limit: Duration) -> io::Result<SignedOn> {
        tokio::time::timeout(limit, self.serve()).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn serve(self) -> io::Result<SignedOn> {
        let mut served = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if served.len() < MOST_CONNECTIONS => {
                    let (stream, _) = accepted?;
                    let door = Arc::clone(&self.door);
                    served.spawn(async move {
                        tokio::time::timeout(REQUEST_LIMIT, serve_one(stream, &door)).await.ok().flatten()
                    });
                }
                Some(done) = served.join_next() => {
                    if let Ok(Some(signed_on)) = done {
                        return Ok(signed_on);
                    }
                }
            }
        }
    }
}

/// Serves one connection, which is closed afterwards; returns the token if it brought one.
async fn serve_one(mut stream: TcpStream, door: &Door) -> Option<SignedOn> {
    let head = read_head(&mut stream).await?;
    let judged = Head::parse(&head).and_then(|head| door.judge(&head));
    let (response, signed_on) = match judged {
        Ok(Judged::Begin) => (page::begin(&door.page, &door.script, &format!("{COOKIE}={}", door.cookie)), None),
        Ok(Judged::SignedOn(signed_on)) => (page::done(COOKIE), Some(signed_on)),
        Err(refusal) => {
            tracing::debug!(%refusal, "a request at the sign-on was refused");
            (page::refused(refusal), None)
        }
    };
    // Whether the browser sees its page or not, the token is there.
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
    signed_on
}

async fn read_head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::with_capacity(1024);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= request::LONGEST_HEAD || stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// What a request is good for.
#[derive(Debug)]
enum Judged {
    Begin,
    SignedOn(SignedOn),
}

impl Door {
    fn judge(&self, head: &Head<'_>) -> Result<Judged, Refusal> {
        if head.host != format!("localhost:{}", self.port) {
            return Err(Refusal::OtherHost);
        }
        let foreign = |origin: &str| origin != "null" && origin != self.origin;
        if head.origin.is_some_and(foreign) || !head.is_navigation() {
            return Err(Refusal::NotNavigated);
        }
        let (path, query) = head.target.split_once('?').unwrap_or((head.target, ""));
        if same(path, &self.beginning) && query.is_empty() {
            return Ok(Judged::Begin);
        }
        if path != "/" || query.is_empty() {
            return Err(Refusal::NothingHere);
        }
        if !head.cookie(COOKIE).is_some_and(|cookie| same(cookie, &self.cookie)) {
            return Err(Refusal::NotBegunHere);
        }
        sign_on::callback(query).map(Judged::SignedOn).map_err(|_| Refusal::NoToken)
    }
}

/// Compares secrets so that the time says nothing about where they differ.
fn same(presented: &str, ours: &str) -> bool {
    let digest = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    digest(presented).as_ref() == digest(ours).as_ref()
}

fn secret() -> io::Result<String> {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets).map_err(io::Error::other)?;
    Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

/// Listens on a port of 127.0.0.1 whose twin on ::1 nobody has, and holds the twin.
async fn listen() -> io::Result<(TcpListener, Option<tokio::net::TcpSocket>)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let twin = tokio::net::TcpSocket::new_v6().and_then(|socket| {
            socket.bind(SocketAddr::from((Ipv6Addr::LOCALHOST, listener.local_addr()?.port()))).map(|()| socket)
        });
        match twin {
            Ok(socket) => return Ok((listener, Some(socket))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            // No IPv6 on this machine: nobody can listen there either.
            Err(_) => return Ok((listener, None)),
        }
    }
    Err(last)
}
