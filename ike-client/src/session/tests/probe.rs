//! Asking the path how much it takes.

use super::*;

/// Returns what the client queued, with whether it must stay whole.
fn asked(pair: &mut Pair) -> Vec<(Vec<u8>, bool)> {
    std::iter::from_fn(|| pair.client.poll_transmit()).map(|transmit| (transmit.bytes, transmit.whole)).collect()
}

fn probes(pair: &Pair) -> Vec<(usize, bool)> {
    let told = pair.told.iter().filter_map(|event| match event {
        Event::Probed { size, arrived } => Some((*size, *arrived)),
        _ => None,
    });
    told.collect()
}

fn without_marker(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(&[0; 4]).unwrap_or(bytes)
}

#[test]
fn a_question_of_the_size_in_one_piece_that_arrives() {
    let mut pair = Pair::new();
    for size in [1300, 1301, 1437] {
        pair.told.clear();
        pair.client.probe_path(size, pair.now);
        let questions = asked(&mut pair);
        assert_eq!(questions.len(), 1);
        assert!(questions[0].1 && questions[0].0.len() <= size && size - questions[0].0.len() < 16);
        pair.give_gateway(without_marker(&questions[0].0));
        pair.settle();
        assert_eq!(probes(&pair), [(size, true)]);
    }
    pair.assert_sound();
}

#[test]
fn a_question_that_is_lost_is_repeated_without_its_filling_and_the_session_stays() {
    let mut pair = Pair::new();
    pair.client.probe_path(1436, pair.now);
    assert_eq!(asked(&mut pair).len(), 1);
    let (due, name) = pair.client.poll_timeout().unwrap();
    assert_eq!((due, name), (pair.now + Duration::from_secs(1), TimerName::Retransmission));
    pair.now = due;
    pair.client.handle_timeout(due);
    let repeated = asked(&mut pair);
    assert!(repeated.iter().all(|(_, whole)| !whole), "nothing forbids fragments now");
    assert_eq!(repeated.len(), 2);
    // What is as large is lost again.
    for (bytes, _) in repeated.iter().filter(|(bytes, _)| bytes.len() < 1400) {
        pair.give_gateway(without_marker(bytes));
    }
    pair.settle();
    assert_eq!(probes(&pair), [(1436, false)]);
    pair.assert_sound();
}
