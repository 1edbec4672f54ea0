use super::*;
use ike_client::session::{CloseCause, CloseReason};
use postern_api::fault::FaultName;
use postern_api::state::ConnectionState;

fn owner() -> Owner {
    Owner { uid: Some(1000), keep_running: false, after_loss: AfterLoss::BlockProtectedPrefixes }
}

fn persistent() -> Owner {
    Owner { keep_running: true, ..owner() }
}

fn tunnel() -> Box<EstablishedTunnel> {
    Box::new(EstablishedTunnel {
        other_gateways: Vec::new(),
        gateway: "192.0.2.1:4500".parse().unwrap(),
        local: "192.0.2.9:4500".parse().unwrap(),
        carrier: ike_client::tunnel::control::Carrier::Udp,
        behind_nat: false,
        gateway_identity: "vpn.example.com".into(),
        addresses: vec!["10.8.0.2/32".parse().unwrap()],
        dns: vec![],
        domains: vec![],
        remote_selectors: vec![],
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        mtu: 1400,
        device: "postern0".into(),
        device_index: 7,
        protection: ike_client::tunnel::control::Protection::Esp {
            ike_suite: "aes256gcm16-prfsha384-ecp384".parse().unwrap(),
            esp_suite: "aes256gcm16".parse().unwrap(),
        },
        warnings: vec![],
    })
}

fn refused() -> PostureStanding {
    PostureStanding::Refused {
        fault: Box::new(Fault::new(FaultName::HostCheckFailed, "x", "refused: tag \"t\" (e)", "n")),
    }
}

fn ended(cause: CloseCause) -> Input {
    Input::Ended(EndCause::Session { cause })
}

/// Feeds inputs and returns the last state with the effects of all.
fn run(owner: Owner, inputs: Vec<Input>) -> (Connection, Vec<Effect>) {
    let begin = Input::Connect { owner, posture: PostureStanding::Compliant };
    let mut all = Vec::new();
    let state = std::iter::once(begin).chain(inputs).fold(Connection::default(), |state, input| {
        let (next, effects) = state.step(input);
        all.extend(effects);
        next
    });
    (state, all)
}

fn up(owner: Owner, mut then: Vec<Input>) -> (Connection, Vec<Effect>) {
    then.splice(0..0, [Input::Established(tunnel()), Input::NetworkSettled(vec![])]);
    let (state, effects) = run(owner, then);
    let after = effects.iter().position(|effect| *effect == Effect::Tell(Told::Up)).unwrap();
    (state, effects[after + 1..].to_vec())
}

#[test]
fn a_refused_pre_check_starts_nothing() {
    let (state, effects) = Connection::default().step(Input::Connect { owner: owner(), posture: refused() });
    assert!(matches!(effects.as_slice(), [Effect::Tell(Told::Refused(_))]), "{effects:?}");
    assert_eq!(state.last_fault().unwrap().name, FaultName::HostCheckFailed);
    assert_eq!(state.state(&refused()), ConnectionState::Disconnected);
}

#[test]
fn lost_posture_shuts_then_deletes_then_undoes_then_tells() {
    let (state, effects) = up(
        owner(),
        vec![
            Input::Judged(refused()),
            ended(CloseCause::Requested { reason: CloseReason::Compliance }),
            Input::NetworkSettled(vec![]),
        ],
    );
    assert!(
        matches!(
            effects.as_slice(),
            [
                Effect::RevokeLease,
                Effect::Stop(CloseReason::Compliance),
                Effect::Timer(Some(_)),
                Effect::Timer(None),
                Effect::SettleBlock,
                Effect::Tell(Told::Lost(_))
            ]
        ),
        "{effects:?}"
    );
    assert_eq!(state.state(&refused()), ConnectionState::Blocked);
    assert_eq!(state.last_fault().unwrap().name, FaultName::ComplianceLost);
}

#[test]
fn a_profile_that_restores_leaves_no_block() {
    let restoring = Owner { after_loss: AfterLoss::Restore, ..owner() };
    let inputs = vec![Input::Judged(refused()), Input::TimeIsUp(refused()), Input::NetworkSettled(vec![])];
    let (state, effects) = up(restoring, inputs);
    assert!(effects.contains(&Effect::SettleNothing) && !effects.contains(&Effect::SettleBlock));
    assert_eq!(state.state(&refused()), ConnectionState::Disconnected);
}

#[test]
fn an_engine_that_does_not_say_farewell_is_not_waited_for() {
    let (state, effects) = up(owner(), vec![Input::Judged(refused()), Input::TimeIsUp(refused())]);
    assert!(effects.contains(&Effect::SettleBlock));
    assert!(matches!(state, Connection::Disconnecting(Ending { awaiting: Awaiting::Network, .. })));
}

/// A tunnel that lost posture, blocked, and comes back when posture does; then what is fed.
fn blocked_then(inputs: Vec<Input>) -> (Connection, Vec<Effect>) {
    let lost = vec![Input::Judged(refused()), Input::TimeIsUp(refused()), Input::NetworkSettled(vec![])];
    let (mut state, _) = up(persistent(), lost);
    assert!(matches!(state, Connection::Blocked { .. }));
    let mut all = Vec::new();
    for input in inputs {
        let (next, effects) = state.step(input);
        state = next;
        all.extend(effects);
    }
    (state, all)
}

#[test]
fn a_block_outlives_every_attempt_that_does_not_succeed() {
    let connect = || Input::Connect { owner: persistent(), posture: PostureStanding::Compliant };
    let returns = || Input::Judged(PostureStanding::Compliant);
    let no_answer = || ended(CloseCause::NoAnswer);
    let cancelled = || Input::Disconnect(Some(Fault::new(FaultName::Cancelled, "", "", "")));
    let attempts = [
        vec![connect(), no_answer(), Input::NetworkSettled(vec![])],
        vec![connect(), Input::EngineLost, Input::NetworkSettled(vec![])],
        vec![connect(), Input::TimeIsUp(refused()), no_answer(), Input::NetworkSettled(vec![])],
        vec![connect(), Input::Established(tunnel()), Input::Judged(refused()), no_answer()],
        vec![connect(), cancelled(), no_answer(), Input::NetworkSettled(vec![])],
        vec![returns(), no_answer(), Input::NetworkSettled(vec![])],
        vec![returns(), Input::Judged(refused()), no_answer(), Input::NetworkSettled(vec![])],
        vec![returns(), no_answer(), Input::NetworkSettled(vec![]), Input::TimeIsUp(refused())],
        vec![returns(), no_answer(), Input::NetworkSettled(vec![]), cancelled()],
        vec![
            returns(),
            no_answer(),
            Input::NetworkSettled(vec![]),
            Input::TimeIsUp(PostureStanding::Compliant),
            no_answer(),
            Input::NetworkSettled(vec![]),
        ],
    ];
    for inputs in attempts {
        for until in 1..=inputs.len() {
            let (state, effects) = blocked_then(inputs[..until].to_vec());
            assert!(state.block().is_some(), "{:?}: {state:?}", &inputs[..until]);
            assert!(!effects.contains(&Effect::SettleNothing), "{:?}: {effects:?}", &inputs[..until]);
        }
    }
    let ended_by_others = [
        vec![connect(), cancelled(), no_answer(), Input::NetworkSettled(vec![])],
        vec![returns(), no_answer(), Input::NetworkSettled(vec![]), cancelled()],
    ];
    for inputs in ended_by_others {
        let why = blocked_then(inputs).0.block().unwrap();
        assert_eq!(why.name, FaultName::ComplianceLost, "who reads it after a restart learns what is wrong");
    }
    let (state, _) = blocked_then(vec![connect(), Input::Established(tunnel()), Input::NetworkSettled(vec![])]);
    assert!(matches!(state, Connection::Connected(_)) && state.block().is_none(), "the tunnel takes its place");
}

#[test]
fn a_person_lifts_a_block_also_while_it_is_tried_again() {
    let returns = || Input::Judged(PostureStanding::Compliant);
    let no_answer = || ended(CloseCause::NoAnswer);
    for lift in [Input::Dismiss, Input::Disconnect(None)] {
        let on_the_way = vec![returns(), lift.clone(), no_answer(), Input::NetworkSettled(vec![])];
        let between = vec![returns(), no_answer(), Input::NetworkSettled(vec![]), lift];
        for inputs in [on_the_way, between] {
            let (state, effects) = blocked_then(inputs);
            assert!(matches!(state, Connection::Disconnected { resume: Resume::OnRequest, .. }), "{state:?}");
            assert!(effects.contains(&Effect::SettleNothing));
        }
    }
}

#[test]
fn a_block_is_lifted_by_dismissal_and_survives_a_refused_attempt() {
    let (state, _) = up(owner(), vec![Input::Judged(refused()), Input::EngineLost, Input::NetworkSettled(vec![])]);
    let (state, effects) = state.step(Input::Connect { owner: owner(), posture: refused() });
    assert_eq!(state.state(&PostureStanding::Compliant), ConnectionState::Blocked);
    assert!(!effects.contains(&Effect::SettleNothing));
    let (state, effects) = state.step(Input::Dismiss);
    assert_eq!(effects, [Effect::SettleNothing]);
    assert_eq!(state.state(&PostureStanding::Compliant), ConnectionState::Disconnected);
}

#[test]
fn what_returns_by_itself_still_does_after_somebody_asked_for_it_too_early() {
    let lost = vec![Input::Judged(refused()), Input::EngineLost, Input::NetworkSettled(vec![])];
    let (state, _) = up(persistent(), lost);
    let (state, effects) = state.step(Input::Connect { owner: persistent(), posture: refused() });
    assert!(matches!(effects.as_slice(), [Effect::Tell(Told::Refused(_))]), "{effects:?}");
    let (_, effects) = state.step(Input::Judged(PostureStanding::Compliant));
    assert!(effects.contains(&Effect::Start), "{effects:?}");
    let once = Connection::default().step(Input::Connect { owner: persistent(), posture: refused() }).0;
    let (_, effects) = once.step(Input::Judged(PostureStanding::Compliant));
    assert_eq!(effects, [], "what was never up is not made by itself");
}

#[test]
fn posture_lost_during_the_attempt_ends_it_without_a_block() {
    let inputs = vec![
        Input::Established(tunnel()),
        Input::Judged(refused()),
        ended(CloseCause::Requested { reason: CloseReason::Compliance }),
        Input::NetworkSettled(vec![]),
    ];
    let (state, effects) = run(owner(), inputs);
    assert!(effects.contains(&Effect::SettleNothing));
    assert!(matches!(effects.last(), Some(Effect::Tell(Told::Refused(_)))));
    assert_eq!(state.last_fault().unwrap().name, FaultName::HostCheckFailed);
}

#[test]
fn posture_lost_during_a_farewell_still_blocks() {
    let inputs = vec![
        Input::Disconnect(None),
        Input::Judged(refused()),
        ended(CloseCause::Requested { reason: CloseReason::User }),
        Input::NetworkSettled(vec![]),
    ];
    let (state, _) = up(owner(), inputs);
    assert_eq!(state.state(&PostureStanding::Compliant), ConnectionState::Blocked);
}

#[test]
fn a_lost_gateway_is_dialled_again_only_with_keep_running() {
    let lost = || vec![ended(CloseCause::GatewayLost), Input::NetworkSettled(vec![])];
    let (state, _) = up(owner(), lost());
    assert!(matches!(state, Connection::Disconnected { .. }));
    let (state, effects) = up(persistent(), lost());
    assert_eq!(state.state(&PostureStanding::Compliant), ConnectionState::Reconnecting);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Timer(Some(_)))));
    let (state, effects) = state.step(Input::TimeIsUp(PostureStanding::Compliant));
    assert_eq!(effects, [Effect::Start]);
    assert_eq!(state.state(&PostureStanding::Compliant), ConnectionState::Reconnecting);
}

#[test]
fn another_attempt_is_judged_like_the_first() {
    let (state, _) = up(persistent(), vec![ended(CloseCause::GatewayLost), Input::NetworkSettled(vec![])]);
    let (state, effects) = state.step(Input::TimeIsUp(refused()));
    assert!(!effects.contains(&Effect::Start));
    let (_, effects) = state.step(Input::Judged(PostureStanding::Compliant));
    assert_eq!(effects, [Effect::Start], "it comes back with compliance");
}

#[test]
fn a_wrong_password_is_never_tried_again_by_itself() {
    let failed = ended(CloseCause::AuthenticationFailed { likely: vec![] });
    let (state, effects) = run(persistent(), vec![failed, Input::NetworkSettled(vec![])]);
    assert!(matches!(effects.last(), Some(Effect::Tell(Told::Failed(_)))));
    assert_eq!(state.last_fault().unwrap().exit_code(), 4);
    assert!(state.rests());
}

#[test]
fn a_question_is_shown_as_a_state_of_its_own() {
    let (state, _) = run(owner(), vec![Input::InputNeeded]);
    assert_eq!(state.state(&PostureStanding::Compliant), ConnectionState::NeedsInput);
    let (state, _) = state.step(Input::InputGiven);
    assert_eq!(state.state(&PostureStanding::Compliant), ConnectionState::Connecting);
}

#[test]
fn audit_mode_tells_and_lets_pass() {
    let would_be = Box::new(Fault::new(FaultName::HostCheckFailed, "x", "refused", ""));
    let posture = PostureStanding::Audit { would_be };
    let (_, effects) = Connection::default().step(Input::Connect { owner: owner(), posture });
    assert!(matches!(effects.as_slice(), [Effect::Start, Effect::Tell(Told::Audited(_))]));
}

#[test]
fn no_input_in_any_state_lets_the_engine_start_while_posture_refuses() {
    let states = || {
        let fault = Fault::new(FaultName::GatewayLost, "x", "", "");
        [
            Connection::default(),
            Connection::Disconnected { last: None, resume: Resume::WhenCompliant(persistent()) },
            Connection::Blocked { last: fault.clone(), resume: Resume::WhenCompliant(persistent()) },
            Connection::Waiting { owner: persistent(), failures: 3, last: fault, block: None },
            run(owner(), vec![]).0,
            up(owner(), vec![]).0,
            up(owner(), vec![Input::Disconnect(None)]).0,
        ]
    };
    let inputs = || {
        vec![
            Input::Connect { owner: owner(), posture: refused() },
            Input::Judged(refused()),
            Input::TimeIsUp(refused()),
            Input::NetworkSettled(vec![]),
            Input::EngineLost,
            ended(CloseCause::GatewayLost),
        ]
    };
    for state in states() {
        for input in inputs() {
            let (_, effects) = state.clone().step(input.clone());
            assert!(!effects.contains(&Effect::Start), "{state:?} {input:?}");
        }
    }
}

#[test]
fn a_profile_that_changed_meanwhile_decides_what_stays_blocked() {
    let (mut state, _) = up(owner(), vec![]);
    assert!(state.revise(false, AfterLoss::Restore));
    assert!(!state.revise(false, AfterLoss::Restore));
    let (state, _) = state.step(Input::Judged(refused()));
    let (_, effects) = state.step(Input::EngineLost);
    assert!(effects.contains(&Effect::SettleNothing), "{effects:?}");
}

#[test]
fn a_successor_is_made_when_posture_admits_it_and_otherwise_the_tunnel_is_lost() {
    let (state, effects) = up(owner(), vec![Input::SuccessorWanted(PostureStanding::Compliant)]);
    assert_eq!(effects.last(), Some(&Effect::Succeed));
    assert!(matches!(state, Connection::Connected(_)));
    let (state, effects) = up(owner(), vec![Input::SuccessorWanted(refused())]);
    assert!(effects.contains(&Effect::Stop(CloseReason::Compliance)) && !effects.contains(&Effect::Succeed));
    assert!(matches!(state, Connection::Disconnecting(_)));
}

#[test]
fn a_successor_with_other_addresses_settles_the_network_anew_and_the_same_one_does_not() {
    let settlings = |effects: &[Effect]| effects.iter().filter(|one| matches!(one, Effect::SettleTunnel(_))).count();
    let (state, effects) = up(owner(), vec![Input::Succeeded(tunnel())]);
    assert_eq!(settlings(&effects), settlings(&up(owner(), vec![]).1));
    assert!(matches!(state, Connection::Connected(_)));
    let other = Box::new(EstablishedTunnel { addresses: vec!["10.8.0.3/32".parse().unwrap()], ..*tunnel() });
    let (state, effects) = up(owner(), vec![Input::Succeeded(other.clone()), Input::NetworkSettled(vec![])]);
    assert_eq!(effects.last(), Some(&Effect::SettleTunnel(other.clone())));
    let Connection::Connected(session) = state else { panic!("{state:?}") };
    assert_eq!(session.tunnel, other);
}

#[test]
fn a_tunnel_whose_path_has_changed_is_made_again_by_the_same_check_as_ever() {
    let lost = || vec![Input::Ended(EndCause::PathChanged), Input::NetworkSettled(vec![])];
    let (state, effects) = up(owner(), lost());
    assert!(matches!(state, Connection::Waiting { .. }), "though nobody keeps it running");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Timer(Some(after)) if after.as_millis() <= 100)));
    let (again, effects) = state.clone().step(Input::TimeIsUp(PostureStanding::Compliant));
    assert!(matches!(again, Connection::Connecting(_)) && effects.contains(&Effect::Start));
    let (refused, effects) = state.step(Input::TimeIsUp(refused()));
    assert!(matches!(refused, Connection::Disconnected { .. }) && !effects.contains(&Effect::Start));
    // A second failure in a row is one that a person hears of.
    let inputs = [lost(), vec![Input::TimeIsUp(PostureStanding::Compliant), ended(CloseCause::NoAnswer)]].concat();
    let (state, _) = up(owner(), [inputs, vec![Input::NetworkSettled(vec![])]].concat());
    assert!(matches!(state, Connection::Disconnected { .. }), "{state:?}");
}
