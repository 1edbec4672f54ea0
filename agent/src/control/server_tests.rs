use super::*;
use crate::control::Client;
use postern_api::method::TunnelName;
use std::path::PathBuf;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;

#[derive(Clone)]
struct Echo {
    events: broadcast::Sender<Event>,
}

impl Handler for Echo {
    async fn call(&self, _caller: Caller, method: Method, parameters: Value) -> Result<Value, Fault> {
        match method {
            Method::Connect => std::future::pending().await,
            Method::Disconnect => Err(Fault::new(FaultName::TunnelUnknown, "x", "is no tunnel", "")),
            _ => Ok(parameters),
        }
    }

    async fn subscribe(&self) -> (Event, broadcast::Receiver<Event>) {
        (Event::PromptEnded { id: 0 }, self.events.subscribe())
    }
}

struct Bench {
    _directory: tempfile::TempDir,
    socket: PathBuf,
    events: broadcast::Sender<Event>,
}

fn bench() -> Bench {
    bench_of(|listener| listener)
}

fn bench_of(prepared: impl FnOnce(Listener) -> Listener) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let (events, _) = broadcast::channel(8);
    let listener = transport::listen(&socket, "no-such-group-here").unwrap();
    tokio::spawn(serve(prepared(listener), Echo { events: events.clone() }));
    Bench { _directory: directory, socket, events }
}

#[tokio::test]
async fn a_call_is_answered_while_another_is_under_way() {
    let bench = bench();
    let client = Client::open(&bench.socket, "test").await.unwrap();
    assert_eq!(client.welcome().role, Role::Administrator);
    let pending = client.call_raw(Method::Connect, &Value::Null);
    let name = TunnelName { tunnel: "a".into() };
    let answered = client.call::<TunnelName>(Method::TunnelShow, &name);
    tokio::select! {
        _ = pending => panic!("connect does not end"),
        answer = answered => assert_eq!(answer.unwrap().tunnel, "a"),
    }
    let fault = client.ask::<Value>(Method::Disconnect).await.unwrap_err();
    assert_eq!(fault.name, FaultName::TunnelUnknown);
}

#[tokio::test]
async fn events_begin_with_a_snapshot() {
    let bench = bench();
    let mut client = Client::open(&bench.socket, "test").await.unwrap();
    client.ask::<Value>(Method::Subscribe).await.unwrap();
    let mut events = client.take_events().unwrap();
    assert_eq!(events.recv().await, Some(Event::PromptEnded { id: 0 }));
    bench.events.send(Event::PromptEnded { id: 1 }).unwrap();
    assert_eq!(events.recv().await, Some(Event::PromptEnded { id: 1 }));
}

#[tokio::test]
async fn a_user_who_takes_every_place_is_told_and_gets_one_when_another_is_left() {
    let bench = bench();
    let mut held = Vec::new();
    let fault = loop {
        match Client::open(&bench.socket, "test").await {
            Ok(client) => held.push(client),
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault.name, FaultName::ServiceUnavailable);
    assert!(fault.to_string().contains("as many connections"), "{fault}");
    drop(held);
    let again = async {
        while Client::open(&bench.socket, "test").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
}

#[test]
fn what_is_meant_for_one_user_is_not_told_another() {
    let prompt = |uid| Event::Prompt {
        prompt: postern_api::Prompt {
            id: 1,
            tunnel: "work".into(),
            kind: postern_api::PromptKind::Password,
            text: "Password of alice".into(),
            address: None,
            seconds: 60,
            uid,
        },
    };
    let peer = |uid, role| Peer { uid: Some(uid), role };
    assert!(concerns(&prompt(Some(1000)), &peer(1000, Role::User)));
    assert!(!concerns(&prompt(Some(1000)), &peer(1001, Role::User)));
    assert!(concerns(&prompt(Some(1000)), &peer(0, Role::Administrator)));
    assert!(concerns(&prompt(None), &peer(1001, Role::User)));
}

/// Sends raw lines and returns the answers.
async fn raw(bench: &Bench, lines: &[&str]) -> Vec<String> {
    let mut stream = UnixStream::connect(&bench.socket).await.unwrap();
    let (read, mut write) = stream.split();
    let mut answers = BufReader::new(read).lines();
    let mut collected = Vec::new();
    for line in lines {
        if write.write_all(format!("{line}\n").as_bytes()).await.is_err() {
            break;
        }
        match answers.next_line().await {
            Ok(Some(answer)) => collected.push(answer),
            _ => break,
        }
    }
    collected
}

const HELLO: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"hello","params":{"protocol":"postern-control","version":1,"client":"raw"}}"#;

#[tokio::test]
async fn nothing_goes_before_hello_and_no_other_version_is_served() {
    let bench = bench();
    let early = raw(&bench, &[r#"{"jsonrpc":"2.0","id":1,"method":"status"}"#, HELLO]).await;
    assert_eq!(early.len(), 1, "the connection is closed after the refusal");
    assert!(early[0].contains("must be hello"), "{}", early[0]);
    let other = raw(&bench, &[&HELLO.replace("\"version\":1", "\"version\":2")]).await;
    assert!(other[0].contains("version 1 only"), "{}", other[0]);
}

#[tokio::test]
async fn nonsense_is_refused_by_name_and_the_connection_goes_on() {
    let bench = bench();
    let answers = raw(
        &bench,
        &[
            HELLO,
            "not json",
            r#"{"jsonrpc":"2.0","id":2,"method":"reboot"}"#,
            r#"{"jsonrpc":"2.0","id":3,"method":"status","params":{"a":1},"more":true}"#,
        ],
    )
    .await;
    assert!(answers[1].contains("-32600"), "{}", answers[1]);
    assert!(answers[2].contains("-32601") && answers[2].contains("reboot"), "{}", answers[2]);
    assert!(answers[3].contains(r#""result":{"a":1}"#), "{}", answers[3]);
}

#[tokio::test]
async fn a_line_without_end_closes_the_connection() {
    let bench = bench();
    let mut stream = UnixStream::connect(&bench.socket).await.unwrap();
    let flood = vec![b'x'; MAXIMUM_LINE + 10];
    let _ = stream.write_all(&flood).await;
    let mut answer = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
    assert!(answer.is_empty());
}

#[test]
fn each_role_is_held_against_the_table() {
    let line = |method: Method| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, method.name()).into_bytes();
    for method in Method::ALL {
        for role in [Role::Observer, Role::User, Role::Administrator] {
            assert_eq!(admit(&line(*method), role).is_ok(), role >= method.role(), "{} {role:?}", method.name());
        }
    }
}

#[tokio::test]
async fn a_caller_that_does_not_read_is_hung_up_on_and_what_it_asked_for_ends() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let (events, _) = broadcast::channel(8);
    let peer = Peer { uid: Some(1000), role: Role::User };
    let attended = tokio::spawn(attend(near, peer, Echo { events: events.clone() }, Duration::from_millis(50)));
    let requests = [(2, Method::Connect), (3, Method::Subscribe)]
        .map(|(id, method)| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{}"}}"#, method.name()));
    far.write_all(format!("{HELLO}\n{}\n", requests.join("\n")).as_bytes()).await.unwrap();
    let prompt = Event::Prompt {
        prompt: postern_api::Prompt {
            id: 1,
            tunnel: "work".into(),
            kind: postern_api::PromptKind::Password,
            text: "x".repeat(1 << 16).into(),
            address: None,
            seconds: 60,
            uid: None,
        },
    };
    let ended = async {
        while !attended.is_finished() {
            let _ = events.send(prompt.clone());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        attended.await.unwrap()
    };
    let outcome = tokio::time::timeout(Duration::from_secs(20), ended).await.expect("the connection ends");
    assert_eq!(outcome.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(events.receiver_count(), 0, "nobody subscribes for it any more");
}

#[tokio::test]
async fn a_user_of_whom_the_system_says_nothing_is_denied_and_holds_up_nobody() {
    let (end, hangs) = std::sync::mpsc::channel::<()>();
    let (asked, mut asking) = mpsc::unbounded_channel();
    let hangs = std::sync::Mutex::new(Some(hangs));
    // The first question hangs until the test is over.
    let is_member = move || {
        let first = hangs.lock().unwrap().take();
        let _ = asked.send(());
        first.is_none_or(|first| first.recv().is_ok())
    };
    let bench = bench_of(|listener| listener.asking(is_member, Duration::from_millis(500)));
    let socket = bench.socket.clone();
    let first = tokio::spawn(async move { Client::open(&socket, "first").await.map(drop) });
    asking.recv().await.unwrap();
    let second = Client::open(&bench.socket, "second").await.unwrap();
    assert_eq!(second.welcome().role, Role::User);
    let fault = first.await.unwrap().unwrap_err();
    assert!(fault.to_string().contains("getent group"), "{fault}");
    drop(end);
}
