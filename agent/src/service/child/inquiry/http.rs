//! Plain HTTP to a stranger's address: one request, one bounded answer, no redirect.
//!
//! The address stands in a certificate under a trusted authority. All the same it must not make this machine talk to
//! itself or to what only it can reach: neither loopback, link-local nor an own address is dialled, whatever name
//! leads there. Sockets come from a [`Stock`], so that a block of the tunnel lets them past.

use super::stock::Stock;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

/// How many of a name's addresses are tried, and how long each.
const MOST_ADDRESSES: usize = 4;
const EACH: Duration = Duration::from_millis(800);

/// Returns what lies at `url`.
///
/// # Errors
/// Where it cannot be had.
pub(super) async fn get(stock: &Stock, url: &str, most: usize) -> io::Result<Vec<u8>> {
    exchange(stock, Method::GET, url, None, most).await
}

/// Sends `content` to `url` and returns the answer.
///
/// # Errors
/// Where it cannot be had.
pub(super) async fn post(
    stock: &Stock,
    url: &str,
    (kind, content): (&'static str, Vec<u8>),
    most: usize,
) -> io::Result<Vec<u8>> {
    exchange(stock, Method::POST, url, Some((kind, content)), most).await
}

async fn exchange(
    stock: &Stock,
    method: Method,
    url: &str,
    content: Option<(&'static str, Vec<u8>)>,
    most: usize,
) -> io::Result<Vec<u8>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    let uri: Uri = url.parse().map_err(|_| invalid("is no URL"))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    let authority = authority.ok_or_else(|| invalid("names no host"))?;
    if uri.scheme_str() != Some("http") {
        return Err(invalid("is not plain HTTP"));
    }
    let stream = connect(stock, authority.host(), authority.port_u16().unwrap_or(80)).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request =
        Request::builder().method(method).uri(path).header(HOST, authority.as_str()).header(ACCEPT, "*/*");
    let body = match content {
        Some((kind, content)) => {
            request = request.header(CONTENT_TYPE, kind);
            Full::new(Bytes::from(content))
        }
        None => Full::default(),
    };
    let request = request.body(body).map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let said = read(response, most).await;
    connection.abort();
    said
}

/// Takes the answer, if it is one and not a refusal, a redirect or too long.
async fn read(response: Response<Incoming>, most: usize) -> io::Result<Vec<u8>> {
    if response.status() != StatusCode::OK {
        return Err(io::Error::other(format!("it answers {}", response.status())));
    }
    let body = Limited::new(response.into_body(), most).collect().await.map_err(io::Error::other)?;
    Ok(body.to_bytes().to_vec())
}

async fn connect(stock: &Stock, host: &str, port: u16) -> io::Result<TcpStream> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "has no address that may be asked");
    for address in lookup_host((host, port)).await?.take(MOST_ADDRESSES) {
        if !is_foreign(address.ip()) || is_own(address).await? {
            continue;
        }
        match timeout(EACH, stock.take(address)?.connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// Tells whether an address can be another machine's that others reach too.
fn is_foreign(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            !(address.is_loopback()
                || address.is_unspecified()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
                || address.octets().first() == Some(&0))
        }
        IpAddr::V6(address) => {
            !(address.is_loopback()
                || address.is_unspecified()
                || address.is_unicast_link_local()
                || address.is_multicast())
        }
    }
}

/// Tells whether packets to the address would leave from it: it is this machine's. Nothing is sent.
async fn is_own(address: SocketAddr) -> io::Result<bool> {
    let any: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    match socket.connect(address).await {
        Ok(()) => Ok(socket.local_addr()?.ip() == address.ip()),
        // No way leads there, as connecting will say in its own words.
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn neither_this_machine_nor_what_only_it_can_reach_is_dialled() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let refused = io::ErrorKind::AddrNotAvailable;
        for host in ["127.0.0.1", "127.8.8.8", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "localhost", "169.254.169.254"]
        {
            let error = get(&Stock::default(), &format!("http://{host}:{port}/"), 10).await.unwrap_err();
            assert_eq!(error.kind(), refused, "{host}: {error}");
        }
        for address in ["224.0.0.1", "255.255.255.255", "0.1.2.3", "fe80::1", "ff02::1", "::"] {
            assert!(!is_foreign(address.parse().unwrap()), "{address}");
        }
        for address in ["10.0.0.1", "192.0.2.1", "2001:db8::1", "fd00::1"] {
            assert!(is_foreign(address.parse().unwrap()), "{address}");
        }
        assert!(is_own(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap());
    }

    #[tokio::test]
    async fn what_is_no_plain_address_is_not_asked() {
        for url in
            ["https://example.test/", "ftp://example.test/", "/ca.crl", "http://user@example.test/", "", "http://"]
        {
            assert_eq!(get(&Stock::default(), url, 10).await.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{url}");
        }
    }

    /// Answers one request with these octets.
    async fn answered(octets: &'static [u8], most: usize) -> io::Result<Vec<u8>> {
        let (near, mut far) = tokio::io::duplex(4096);
        let serving = tokio::spawn(async move {
            let mut request = [0; 512];
            let _ = far.read(&mut request).await;
            let _ = far.write_all(octets).await;
        });
        let outcome = over(near, most).await;
        serving.abort();
        outcome
    }

    async fn over(stream: tokio::io::DuplexStream, most: usize) -> io::Result<Vec<u8>> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let request = Request::builder().uri("/").header(HOST, "h").body(Full::<Bytes>::default()).unwrap();
        read(sender.send_request(request).await.map_err(io::Error::other)?, most).await
    }

    #[tokio::test]
    async fn answers_are_bounded_and_redirects_are_not_followed() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlist";
        assert_eq!(answered(whole, 4).await.unwrap(), b"list");
        assert!(answered(whole, 3).await.is_err());
        let endless = b"HTTP/1.0 200 OK\r\n\r\nlistlistlistlist";
        assert!(answered(endless, 8).await.is_err());
        let elsewhere = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n";
        assert!(answered(elsewhere, 99).await.unwrap_err().to_string().contains("302"));
    }
}
