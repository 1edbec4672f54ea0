use super::*;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_start(Duration::from_secs(seconds))
}

/// Answers every question as a path of that width does; returns the sizes asked for and used.
fn settle(search: &mut Search, width: u16, now: Timestamp) -> (Vec<u16>, Vec<u16>) {
    let (mut asked, mut used) = (Vec::new(), vec![search.found().size]);
    while let Some(size) = search.poll(now) {
        asked.push(size);
        used.extend(search.answered(size <= width, now).map(|found| found.size));
    }
    assert_eq!(search.next_due(), None, "nothing wakes anybody");
    (asked, used)
}

#[test]
fn a_path_that_takes_the_largest_is_asked_once_and_again_only_while_packets_move() {
    let mut search = Search::begin(1280, 1400, at(1));
    assert_eq!(settle(&mut search, 1500, at(1)), (vec![1400], vec![1400]));
    search.note(Sign::Idle, at(10_000));
    assert_eq!((search.next_due(), search.poll(at(10_000))), (None, None));
    let mut search = Search::begin(1280, 1400, at(1));
    settle(&mut search, 1500, at(1));
    search.note(Sign::Flow, at(60));
    assert_eq!(search.poll(at(60)), None);
    search.note(Sign::Flow, at(61));
    assert_eq!(settle(&mut search, 1500, at(61)).0, [1400]);
    search.note(Sign::Stall, at(64));
    assert_eq!(search.poll(at(64)), None, "it was asked just now");
    search.note(Sign::Stall, at(65));
    assert_eq!(settle(&mut search, 1500, at(65)).0, [1400]);
}

#[test]
fn after_three_losses_the_base_is_used_at_once_and_the_largest_that_fits_is_found() {
    for (floor, width) in [1280, 1281, 1287, 1300, 1345, 1391, 1399].into_iter().flat_map(|w| [(576, w), (1280, w)]) {
        let mut search = Search::begin(floor, 1400, at(1));
        let (asked, used) = settle(&mut search, width, at(1));
        assert_eq!(asked[..4], [1400, 1400, 1400, 1280]);
        assert_eq!(used.get(1), Some(&1280), "nothing that may be lost is sent meanwhile");
        assert!(used.windows(2).skip(1).all(|pair| pair[0] < pair[1]), "{used:?}");
        let Found { size, whole } = search.found();
        assert!(size <= width && width - size < STEP && whole, "{size} of {width}");
        assert!(asked.len() < 24, "{asked:?}");
    }
}

#[test]
fn below_the_base_the_floor_is_used_at_once_and_left_upwards() {
    for width in [576, 600, 900, 1279] {
        let mut search = Search::begin(576, 1400, at(1));
        let (asked, used) = settle(&mut search, width, at(1));
        assert_eq!(asked[..7], [1400, 1400, 1400, 1280, 1280, 1280, 576]);
        assert_eq!(used[1..3], [1280, 576]);
        let Found { size, whole } = search.found();
        assert!(size <= width && width - size < STEP && whole, "{size} of {width}");
    }
}

#[test]
fn what_the_floor_needs_beyond_the_path_is_left_to_fragments_until_the_path_is_wider() {
    for floor in [576, 1280] {
        let mut search = Search::begin(floor, 1400, at(1));
        settle(&mut search, 500, at(1));
        assert_eq!(search.found(), Found { size: floor, whole: false });
        search.note(Sign::Flow, at(16));
        settle(&mut search, 1400, at(16));
        assert_eq!(search.found(), Found { size: 1400, whole: true });
    }
}

#[test]
fn one_or_two_losses_are_no_black_hole() {
    let mut search = Search::begin(1280, 1400, at(1));
    for _ in 0..2 {
        assert_eq!(search.poll(at(1)), Some(1400));
        assert_eq!(search.answered(false, at(1)), None);
    }
    assert_eq!(search.poll(at(1)), Some(1400));
    assert_eq!((search.answered(true, at(1)), search.found().size), (None, 1400));
}

#[test]
fn a_larger_size_is_tried_again_after_waits_that_double_and_used_when_it_fits() {
    let mut search = Search::begin(1280, 1400, at(0));
    settle(&mut search, 1300, at(0));
    let small = search.found().size;
    let mut asked_at = |now, width| {
        search.note(Sign::Flow, at(now));
        let (asked, used) = settle(&mut search, width, at(now));
        (asked.first().copied(), used)
    };
    for in_vain in [10, 30] {
        assert_eq!(asked_at(in_vain - 1, 1300), (None, vec![small]));
        assert_eq!(asked_at(in_vain, 1300), (Some(1400), vec![small]), "in vain, and it costs nothing");
    }
    assert_eq!(asked_at(69, 1400), (None, vec![small]));
    assert_eq!(asked_at(70, 1400), (Some(1400), vec![small, 1400]));
    assert_eq!(search.found(), Found { size: 1400, whole: true });
}

#[test]
fn another_path_is_asked_from_its_first_hop_on() {
    let mut search = Search::begin(576, 1400, at(1));
    settle(&mut search, 1300, at(1));
    search.restart(1350, at(2));
    assert_eq!(settle(&mut search, 1400, at(2)), (vec![1350], vec![1350]));
    search.restart(400, at(3));
    assert_eq!(settle(&mut search, 1400, at(3)), (vec![576], vec![576]));
}

#[test]
fn a_question_that_is_never_answered_counts_as_lost() {
    let mut search = Search::begin(1280, 1400, at(0));
    assert_eq!(search.poll(at(0)), Some(1400));
    assert_eq!(search.poll(at(59)), None);
    assert_eq!(search.poll(at(60)), Some(1400));
    assert_eq!(search.poll(at(120)), Some(1400));
    search.poll(at(180));
    assert_eq!(search.found().size, 1280);
}

#[test]
fn a_transfer_that_falls_silent_is_a_stall_and_an_idle_tunnel_is_none() {
    let sums = |packets_sent, bytes_sent, packets_received, bytes_received| Sums {
        packets_sent,
        bytes_sent,
        packets_received,
        bytes_received,
    };
    let mut pulse = Pulse::default();
    // A download, which stops; then nothing.
    assert_eq!(pulse.look(sums(100, 5_000, 1000, 1_400_000)), Sign::Flow);
    assert_eq!(pulse.look(sums(200, 10_000, 2000, 2_800_000)), Sign::Flow);
    assert_eq!(pulse.look(sums(201, 10_050, 2001, 2_800_100)), Sign::Stall);
    assert_eq!(pulse.look(sums(202, 10_100, 2002, 2_800_200)), Sign::Idle);
    // An upload whose packets are lost from the first full one on.
    assert_eq!(pulse.look(sums(204, 10_300, 2004, 2_800_300)), Sign::Idle);
    assert_eq!(pulse.look(sums(205, 11_700, 2004, 2_800_300)), Sign::Stall);
    // Pings without an answer are too small to say anything.
    assert_eq!(pulse.look(sums(207, 11_900, 2004, 2_800_300)), Sign::Idle);
    assert_eq!(pulse.look(sums(207, 11_900, 2004, 2_800_300)), Sign::Idle);
}
