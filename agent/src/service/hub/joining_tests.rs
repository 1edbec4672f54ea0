//! Several callers and one tunnel: who is asked, and what those may do who only joined.

use super::*;

/// Speaks as another user from here on; returns what that user is told.
fn become_user(bench: &mut Bench, uid: u32) -> mpsc::Receiver<Event> {
    let (events, told) = mpsc::channel(64);
    bench.caller = Caller { uid: Some(uid), role: Role::User, events };
    std::mem::replace(&mut bench.events, told)
}

async fn prompt_of(events: &mut mpsc::Receiver<Event>) -> postern_api::prompt::Prompt {
    loop {
        match tokio::time::timeout(LIMIT, events.recv()).await.unwrap() {
            Some(Event::Prompt { prompt }) => return prompt,
            Some(_) => {}
            None => panic!("nothing more is told"),
        }
    }
}

#[tokio::test]
async fn who_joins_while_a_question_waits_is_asked_too_and_can_answer_when_the_first_is_gone() {
    let mut bench = bench("", password());
    become_user(&mut bench, 1000);
    let first = bench.begin(Method::Connect, asked(true));
    let asked_first = prompt_of(&mut bench.events).await;
    become_user(&mut bench, 1000);
    let second = bench.begin(Method::Connect, asked(true));
    assert_eq!(bench.status().await.state, ConnectionState::NeedsInput);
    drop(first);
    let prompt = prompt_of(&mut bench.events).await;
    assert_eq!(prompt, asked_first);
    let answer = PromptAnswer { id: prompt.id, answer: Some("hunter2".into()) };
    bench.call(Method::PromptAnswer, answer).await.unwrap();
    assert!(tokio::time::timeout(LIMIT, second).await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn another_user_who_joins_is_not_asked_and_ends_nothing_by_leaving() {
    let mut bench = bench("", password());
    become_user(&mut bench, 1000);
    let alice = bench.begin(Method::Connect, asked(true));
    let prompt = prompt_of(&mut bench.events).await;
    let mut told_alice = become_user(&mut bench, 1001);
    let carol = bench.begin(Method::Connect, asked(true));
    assert_eq!(bench.status().await.state, ConnectionState::NeedsInput);
    drop(carol);
    for _ in 0..3 {
        assert_eq!(bench.status().await.state, ConnectionState::NeedsInput);
    }
    assert!(!matches!(bench.events.try_recv(), Ok(Event::Prompt { .. })), "the question is alice's");
    become_user(&mut bench, 1000);
    let answer = PromptAnswer { id: prompt.id, answer: Some("hunter2".into()) };
    bench.call(Method::PromptAnswer, answer).await.unwrap();
    assert!(tokio::time::timeout(LIMIT, alice).await.unwrap().unwrap().is_ok());
    assert!(told_alice.try_recv().is_err(), "and asked once");
}

#[tokio::test]
async fn an_attempt_ends_with_its_user_though_another_waits_for_it_too() {
    let mut bench = bench("", password());
    become_user(&mut bench, 1000);
    let alice = bench.begin(Method::Connect, asked(true));
    prompt_of(&mut bench.events).await;
    become_user(&mut bench, 1001);
    let carol = bench.begin(Method::Connect, asked(true));
    assert_eq!(bench.status().await.state, ConnectionState::NeedsInput);
    drop(alice);
    let fault = tokio::time::timeout(LIMIT, carol).await.unwrap().unwrap().unwrap_err();
    assert_eq!(fault.name, FaultName::Cancelled);
}

#[tokio::test]
async fn a_block_does_not_become_his_who_asks_for_the_tunnel() {
    let mut bench = bench(PSK, None);
    become_user(&mut bench, 1000);
    bench.connect().await.unwrap();
    bench.mark();
    bench.until(ConnectionState::Blocked).await;
    become_user(&mut bench, 1001);
    assert_eq!(bench.connect().await.unwrap_err().name, FaultName::NotPermitted);
    let named = TunnelName { tunnel: "work".into() };
    assert_eq!(bench.call(Method::Dismiss, named).await.unwrap_err().name, FaultName::NotPermitted);
    assert_eq!(bench.status().await.state, ConnectionState::Blocked);
}

#[tokio::test]
async fn of_two_who_ask_at_once_the_first_has_the_tunnel() {
    let mut bench = bench(PSK, None);
    become_user(&mut bench, 1000);
    let alice = bench.begin(Method::Connect, asked(true));
    become_user(&mut bench, 1001);
    let carol = bench.begin(Method::Connect, asked(true));
    for up in [alice, carol] {
        tokio::time::timeout(LIMIT, up).await.unwrap().unwrap().unwrap();
    }
    let named = || TunnelName { tunnel: "work".into() };
    assert_eq!(bench.call(Method::Disconnect, named()).await.unwrap_err().name, FaultName::NotPermitted);
    become_user(&mut bench, 1000);
    bench.call(Method::Disconnect, named()).await.unwrap();
}
