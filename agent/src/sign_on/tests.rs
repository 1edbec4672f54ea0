//! A browser as it should be, and everybody else.

use super::*;
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(20);

/// A sign-on that waits, its address without the origin, and its port.
async fn begun() -> (JoinHandle<io::Result<SignedOn>>, String, u16) {
    let uid = Uid::of([7; 16]);
    let sign_on = SignOn::begin("vpn.example.test", 1001, &uid).await.unwrap();
    let (address, port) = (sign_on.address(), sign_on.door.port);
    let path = address.strip_prefix(&format!("http://localhost:{port}")).unwrap().to_owned();
    (tokio::spawn(sign_on.wait(LIMIT)), path, port)
}

async fn ask(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn get(port: u16, target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n{more}\r\n"
    )
}

/// Begins and returns the cookie that was given.
async fn cookie(port: u16, path: &str) -> String {
    let answer = ask(port, &get(port, path, "")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("action=\"https://vpn.example.test:1001/saml_login?\""), "{answer}");
    assert!(answer.contains(&format!("name=\"REDIRECT_PORT\" value=\"{port}\"")), "{answer}");
    let set = answer.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).unwrap();
    assert!(set.contains("; HttpOnly; SameSite=Lax"), "{set}");
    format!("Cookie: {}\r\n", set.split(';').next().unwrap())
}

#[tokio::test]
async fn a_browser_that_begins_here_brings_its_token_back_once() {
    let (waiting, path, port) = begun().await;
    let cookie = cookie(port, &path).await;
    let answer = ask(port, &get(port, "/?tokenid=s3cr3t&username=%3Cscript%3Ealice", &cookie)).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(!answer.contains("script") && !answer.contains("s3cr3t") && !answer.contains("alice"), "{answer}");
    let signed_on = waiting.await.unwrap().unwrap();
    assert_eq!((signed_on.token.expose(), signed_on.user.as_str()), (&b"s3cr3t"[..], "<script>alice"));
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err(), "the listener is good for one sign-on");
}

#[tokio::test]
async fn everybody_else_is_refused_and_told_nothing() {
    let (waiting, path, port) = begun().await;
    let cookie = cookie(port, &path).await;
    let token = "/?tokenid=stolen";
    let plain = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{cookie}\r\n");
    let own = format!("localhost:{port}");
    for (request, status) in [
        // Another browser, a guess, two cookies of one name.
        (get(port, token, ""), 403),
        (get(port, token, "Cookie: postern-sign-on=0123456789abcdef0123456789abcdef\r\n"), 403),
        (get(port, token, &cookie.replace("\r\n", "; postern-sign-on=x\r\n")), 403),
        // Another name that leads here: rebinding.
        (plain(token, "evil.example"), 421),
        (plain(token, &format!("127.0.0.1:{port}")), 421),
        (plain(token, "localhost"), 421),
        // A page that asks by itself.
        (get(port, token, &format!("{cookie}Origin: https://evil.example\r\n")), 403),
        (get(port, token, &cookie).replace("navigate", "no-cors"), 403),
        (get(port, token, &cookie).replace("document", "image"), 403),
        // Other methods, bodies, heads that two readers could read two ways.
        (get(port, token, &cookie).replace("GET ", "POST "), 405),
        (get(port, token, &format!("{cookie}Content-Length: 3\r\n")), 405),
        (get(port, token, &format!("{cookie}Transfer-Encoding: chunked\r\n")), 405),
        (get(port, token, &format!("{cookie}Host: {own}\r\n")), 400),
        (get(port, token, &cookie).replace("HTTP/1.1", "HTTP/1.0"), 400),
        (get(port, token, &cookie).replace(" HTTP", "  HTTP"), 400),
        (get(port, "http://evil.example/", &cookie), 400),
        (get(port, token, &format!("{cookie}X: \u{e9}\r\n")), 400),
        (get(port, token, &format!("{cookie}no colon\r\n")), 400),
        // Nothing there.
        (get(port, "/", &cookie), 404),
        (get(port, "/favicon.ico", &cookie), 404),
        (get(port, &format!("{path}x"), ""), 404),
        // No token that could be one.
        (get(port, "/?username=alice", &cookie), 403),
        (get(port, "/?tokenid=a&tokenid=b", &cookie), 403),
    ] {
        let answer = ask(port, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{answer}");
        assert!(!answer.contains("stolen") && !answer.contains("Set-Cookie"), "{answer}");
    }
    assert!(!waiting.is_finished());
    ask(port, &get(port, "/?tokenid=good", &cookie)).await;
    assert_eq!(waiting.await.unwrap().unwrap().token.expose(), b"good", "and none of it was in the way");
}

#[tokio::test]
async fn the_port_is_held_on_both_loopback_addresses_and_nowhere_else() {
    let sign_on = SignOn::begin("vpn.example.test", 1001, &Uid::of([7; 16])).await.unwrap();
    let address = sign_on.listener.local_addr().unwrap();
    assert_eq!(address.ip(), Ipv4Addr::LOCALHOST);
    if sign_on._held.is_some() {
        let stolen = TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await;
        assert_eq!(stolen.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}

#[tokio::test]
async fn nobody_is_waited_for_longer_than_the_limit() {
    let sign_on = SignOn::begin("vpn.example.test", 1001, &Uid::of([7; 16])).await.unwrap();
    assert_eq!(sign_on.wait(Duration::from_millis(20)).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn connections_that_say_nothing_are_not_in_the_way_for_long() {
    let (waiting, path, port) = begun().await;
    let mut silent = Vec::new();
    for _ in 0..MOST_CONNECTIONS - 1 {
        silent.push(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap());
    }
    let cookie = cookie(port, &path).await;
    let endless = format!("GET /?tokenid=x HTTP/1.1\r\nX: {}", "x".repeat(request::LONGEST_HEAD));
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let _ = stream.write_all(endless.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty(), "a head without an end is not answered");
    ask(port, &get(port, "/?tokenid=good", &cookie)).await;
    assert!(waiting.await.unwrap().is_ok());
}

#[test]
fn a_gateways_name_cannot_leave_its_attribute() {
    let page = page::beginning("https://\"><script>alert(1)</script>:1001/", &[("UID", "'\"<>&".to_owned())]);
    assert_eq!(page.matches("<script>").count(), 1, "{page}");
    assert!(page.contains("&#39;&quot;&lt;&gt;&amp;"), "{page}");
}
