//! The transitions.

use super::{Attempt, Awaiting, Connection, Effect, Ending, Input, Owner, Resume, Session, Stage, Told, Was, Why};
use crate::fault;
use crate::profile::AfterLoss;
use ike_client::session::CloseReason;
use ike_client::tunnel::control::{Counters, EstablishedTunnel};
use postern_api::fault::Fault;
use postern_api::state::PostureStanding;
use std::time::Duration;

/// How long the engine may take for its farewell before the network is taken back without it.
const FAREWELL: Duration = Duration::from_secs(5);
/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// The time before a tunnel is made anew under which the network or the gateway has changed.
const AT_ONCE: Duration = Duration::from_millis(100);
/// The least time before one is that lost its engine.
const AFTER_CRASH: Duration = Duration::from_secs(1);

type Stepped = (Connection, Vec<Effect>);

impl Connection {
    /// Returns why what the tunnel protected is blocked, or is going to be once it is down.
    pub fn block(&self) -> Option<Fault> {
        match self {
            Self::Blocked { last, .. } => Some(last.clone()),
            Self::Connecting(attempt) => attempt.block.clone(),
            Self::Disconnecting(ending) => ending.left_blocked(),
            Self::Waiting { block, .. } => block.clone(),
            Self::Disconnected { .. } | Self::Connected(_) => None,
        }
    }

    /// Consumes the state and what happened; returns the next state and what is to be done.
    pub fn step(self, input: Input) -> Stepped {
        match self {
            Self::Disconnected { last, resume } => rest(Rest { last, resume, blocked: false }, input),
            Self::Blocked { last, resume } => rest(Rest { last: Some(last), resume, blocked: true }, input),
            Self::Connecting(attempt) => connecting(attempt, input),
            Self::Connected(session) => connected(session, input),
            Self::Disconnecting(ending) => disconnecting(ending, input),
            Self::Waiting { owner, failures, last, block } => waiting(Wait { owner, failures, last, block }, input),
        }
    }
}

struct Rest {
    last: Option<Fault>,
    resume: Resume,
    blocked: bool,
}

impl Rest {
    fn state(self) -> Connection {
        match self {
            Self { last: Some(last), resume, blocked: true } => Connection::Blocked { last, resume },
            Self { last, resume, .. } => Connection::Disconnected { last, resume },
        }
    }

    /// What an attempt finds blocked; it stands until the new tunnel does.
    fn block(&self) -> Option<Fault> {
        self.last.clone().filter(|_| self.blocked)
    }
}

struct Wait {
    owner: Owner,
    failures: u32,
    last: Fault,
    block: Option<Fault>,
}

impl Ending {
    /// Returns why something stays blocked once this tunnel, or this attempt at one, is down.
    fn left_blocked(&self) -> Option<Fault> {
        match &self.why {
            Why::Posture(fault)
                if self.was == Was::Up && self.owner.after_loss == AfterLoss::BlockProtectedPrefixes =>
            {
                Some(fault::lost(fault.clone()))
            }
            // Whoever takes an attempt back lifts the block that was there before it.
            Why::Requested(None) => None,
            _ => self.block.clone(),
        }
    }
}

fn rest(rest: Rest, input: Input) -> Stepped {
    match input {
        Input::Connect { owner, posture } => match refusal(&posture) {
            // The block of an earlier loss stands until the new tunnel does; what was to come back by itself
            // still does.
            Some(fault) => {
                let told = Effect::Tell(Told::Refused(fault.clone()));
                (Rest { last: Some(fault), ..rest }.state(), vec![told])
            }
            None => begin(owner, Was::Asked, rest.block(), &posture),
        },
        Input::Judged(posture) => match (rest.resume, refusal(&posture)) {
            (Resume::WhenCompliant(owner), None) => begin(owner, Was::Repeated(0), rest.block(), &posture),
            _ => (rest.state(), Vec::new()),
        },
        Input::Dismiss | Input::Disconnect(_) => {
            let effects = if rest.blocked { vec![Effect::SettleNothing] } else { Vec::new() };
            (Connection::Disconnected { last: rest.last, resume: Resume::OnRequest }, effects)
        }
        _ => (rest.state(), Vec::new()),
    }
}

fn begin(owner: Owner, was: Was, block: Option<Fault>, posture: &PostureStanding) -> Stepped {
    let mut effects = vec![Effect::Start];
    if let PostureStanding::Audit { would_be } = posture {
        effects.push(Effect::Tell(Told::Audited(would_be.as_ref().clone())));
    }
    if let PostureStanding::Overridden { would_be, .. } = posture {
        effects.push(Effect::Tell(Told::Overridden(would_be.as_ref().clone())));
    }
    (Connection::Connecting(Attempt { owner, was, stage: Stage::Negotiation, block }), effects)
}

fn connecting(attempt: Attempt, input: Input) -> Stepped {
    let Attempt { owner, was, stage, block } = attempt;
    let stay = |stage, block| (Connection::Connecting(Attempt { owner, was, stage, block }), Vec::new());
    let ending = |why, block| Ending { owner, why, awaiting: Awaiting::EngineEnd, was, block };
    match (input, stage) {
        (Input::Established(tunnel), _) => {
            let effects = vec![Effect::Met(tunnel.gateway.ip()), Effect::SettleTunnel(tunnel.clone())];
            (Connection::Connecting(Attempt { owner, was, stage: Stage::Network(tunnel), block }), effects)
        }
        (Input::NetworkSettled(warnings), Stage::Network(tunnel)) => {
            let session = Session { owner, tunnel, warnings, counters: Counters::default() };
            (Connection::Connected(session), vec![Effect::Timer(None), Effect::Tell(Told::Up)])
        }
        (Input::NetworkFailed(fault), Stage::Network(_)) => {
            stop(ending(Why::Failed { fault, retry: None }, block), CloseReason::User)
        }
        (Input::Judged(posture), stage) => match refusal(&posture) {
            Some(fault) => stop(ending(Why::Posture(fault), block), CloseReason::Compliance),
            None => stay(stage, block),
        },
        (Input::Disconnect(fault), _) => stop(ending(Why::Requested(fault), block), CloseReason::User),
        // The block is lifted once the attempt that goes on above it has ended.
        (Input::Dismiss, _) if block.is_some() => stop(ending(Why::Requested(None), block), CloseReason::User),
        (Input::TimeIsUp(_), _) => {
            let why = Why::Failed { fault: fault::timed_out(), retry: Some(Duration::ZERO) };
            stop(ending(why, block), CloseReason::User)
        }
        (Input::Ended(cause), _) => {
            let (fault, retry) = (fault::of_end(&cause), fault::retry_of(&cause));
            undo(ending(Why::Failed { fault, retry }, block))
        }
        (Input::EngineLost, _) => {
            undo(ending(Why::Failed { fault: fault::engine_lost(), retry: Some(Duration::ZERO) }, block))
        }
        (Input::InputNeeded, Stage::Negotiation) => stay(Stage::Input, block),
        (Input::InputGiven, Stage::Input) => stay(Stage::Negotiation, block),
        (_, stage) => stay(stage, block),
    }
}

fn connected(session: Session, input: Input) -> Stepped {
    let owner = session.owner;
    let ending = |why| Ending { owner, why, awaiting: Awaiting::EngineEnd, was: Was::Up, block: None };
    match input {
        Input::Judged(posture) => match refusal(&posture) {
            Some(fault) => stop(ending(Why::Posture(fault)), CloseReason::Compliance),
            None => (Connection::Connected(session), Vec::new()),
        },
        Input::Disconnect(fault) => stop(ending(Why::Requested(fault)), CloseReason::User),
        Input::Ended(cause) => {
            let (fault, retry) = (fault::of_end(&cause), fault::retry_of(&cause));
            undo(ending(Why::Failed { fault, retry }))
        }
        Input::EngineLost => undo(ending(Why::Failed { fault: fault::engine_lost(), retry: Some(AFTER_CRASH) })),
        Input::Counted(counters) => (Connection::Connected(Session { counters, ..session }), Vec::new()),
        Input::SuccessorWanted(posture) => match refusal(&posture) {
            Some(fault) => stop(ending(Why::Posture(fault)), CloseReason::Compliance),
            None => (Connection::Connected(session), vec![Effect::Succeed]),
        },
        Input::Succeeded(tunnel) => {
            let mut effects = vec![Effect::Met(tunnel.gateway.ip())];
            if given(&tunnel) != given(&session.tunnel) {
                effects.push(Effect::SettleTunnel(tunnel.clone()));
            }
            (Connection::Connected(Session { tunnel, ..session }), effects)
        }
        Input::NetworkSettled(warnings) => (Connection::Connected(Session { warnings, ..session }), Vec::new()),
        Input::NetworkFailed(fault) => stop(ending(Why::Failed { fault, retry: None }), CloseReason::User),
        _ => (Connection::Connected(session), Vec::new()),
    }
}

/// Returns what of a tunnel the network is settled by.
fn given(tunnel: &EstablishedTunnel) -> impl PartialEq + '_ {
    let EstablishedTunnel { addresses, dns, domains, networks, remote_selectors, mtu, device, .. } = tunnel;
    let gateways = (tunnel.gateway.ip(), &tunnel.other_gateways);
    (addresses, dns, domains, networks, remote_selectors, mtu, device, gateways)
}

fn disconnecting(ending: Ending, input: Input) -> Stepped {
    match (input, ending.awaiting) {
        (Input::Ended(_) | Input::TimeIsUp(_) | Input::EngineLost, Awaiting::EngineEnd) => undo(ending),
        // What could not be taken back stays in the journal; the connection has ended all the same.
        (Input::NetworkSettled(_) | Input::NetworkFailed(_), Awaiting::Network) => finish(ending),
        // Posture that is lost during a farewell decides what stays blocked and what is told.
        (Input::Judged(posture), Awaiting::EngineEnd) if !matches!(ending.why, Why::Posture(_)) => {
            let why = match refusal(&posture) {
                Some(fault) => Why::Posture(fault),
                None => ending.why,
            };
            (Connection::Disconnecting(Ending { why, ..ending }), Vec::new())
        }
        _ => (Connection::Disconnecting(ending), Vec::new()),
    }
}

fn waiting(wait: Wait, input: Input) -> Stepped {
    let Wait { owner, failures, last, block } = wait;
    match input {
        Input::TimeIsUp(posture) | Input::Connect { posture, .. } => match refusal(&posture) {
            Some(fault) => {
                let told = Effect::Tell(Told::Refused(fault.clone()));
                let rest = Rest { last: Some(fault), resume: Resume::WhenCompliant(owner), blocked: block.is_some() };
                (rest.state(), vec![Effect::Timer(None), told])
            }
            None => begin(owner, Was::Repeated(failures), block, &posture),
        },
        Input::Disconnect(Some(_)) if block.is_some() => {
            let rest = Rest { last: block, resume: Resume::OnRequest, blocked: true };
            (rest.state(), vec![Effect::Timer(None)])
        }
        Input::Disconnect(_) => lifted(last),
        Input::Dismiss if block.is_some() => lifted(last),
        _ => (Connection::Waiting { owner, failures, last, block }, Vec::new()),
    }
}

/// Nothing stands any more, and nothing comes back by itself.
fn lifted(last: Fault) -> Stepped {
    let state = Connection::Disconnected { last: Some(last), resume: Resume::OnRequest };
    (state, vec![Effect::Timer(None), Effect::SettleNothing])
}

/// Shuts the data plane, then says farewell.
fn stop(ending: Ending, reason: CloseReason) -> Stepped {
    let effects = vec![Effect::RevokeLease, Effect::Stop(reason), Effect::Timer(Some(FAREWELL))];
    (Connection::Disconnecting(Ending { awaiting: Awaiting::EngineEnd, ..ending }), effects)
}

/// The engine is gone: takes the network back as far as the reason allows.
fn undo(ending: Ending) -> Stepped {
    let settle = if ending.left_blocked().is_some() { Effect::SettleBlock } else { Effect::SettleNothing };
    let ending = Ending { awaiting: Awaiting::Network, ..ending };
    (Connection::Disconnecting(ending), vec![Effect::Timer(None), settle])
}

fn finish(ending: Ending) -> Stepped {
    let block = ending.left_blocked();
    let Ending { owner, why, was, .. } = ending;
    let resume = if owner.keep_running { Resume::WhenCompliant(owner) } else { Resume::OnRequest };
    let blocked = block.is_some();
    match (why, was) {
        (Why::Requested(last), _) => {
            let told = Effect::Tell(Told::Down(last.clone()));
            // Whoever ended the attempt knows why; what it leaves blocked is to say its own reason.
            let rest = Rest { last: block.or(last), resume: Resume::OnRequest, blocked };
            (rest.state(), vec![told])
        }
        (Why::Posture(fault), Was::Up) => {
            let fault = fault::lost(fault);
            let told = Effect::Tell(Told::Lost(fault.clone()));
            (Rest { last: Some(fault), resume, blocked }.state(), vec![told])
        }
        (Why::Posture(fault), _) => {
            let told = Effect::Tell(Told::Refused(fault.clone()));
            (Rest { last: Some(fault), resume, blocked }.state(), vec![told])
        }
        // The network or the gateway changed under a tunnel that was up: it is made anew at once, by the
        // same check as ever, whether it is kept running or not.
        (Why::Failed { fault, retry: Some(Duration::ZERO) }, Was::Up) => {
            let effects = vec![Effect::Timer(Some(AT_ONCE)), Effect::Tell(Told::Down(Some(fault.clone())))];
            (Connection::Waiting { owner, failures: 0, last: fault, block }, effects)
        }
        (Why::Failed { fault, retry: Some(least) }, Was::Up | Was::Repeated(_)) if owner.keep_running => {
            let failures = match was {
                Was::Repeated(failed) => failed.saturating_add(1),
                Was::Asked | Was::Up => 0,
            };
            let effects =
                vec![Effect::Timer(Some(wait(least, failures))), Effect::Tell(Told::Down(Some(fault.clone())))];
            (Connection::Waiting { owner, failures, last: fault, block }, effects)
        }
        // An attempt that a person waits for fails at once.
        (Why::Failed { fault, .. }, was) => {
            let told = match was {
                Was::Up => Told::Down(Some(fault.clone())),
                Was::Asked | Was::Repeated(_) => Told::Failed(fault.clone()),
            };
            (Rest { last: Some(fault), resume: Resume::OnRequest, blocked }.state(), vec![Effect::Tell(told)])
        }
    }
}

/// One second, doubled with each failure, between what the cause asks for and [`LONGEST_WAIT`].
fn wait(least: Duration, failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(7)).max(least).min(LONGEST_WAIT.max(least))
}

fn refusal(posture: &PostureStanding) -> Option<Fault> {
    match posture {
        PostureStanding::Refused { fault } => Some(fault.as_ref().clone()),
        _ => None,
    }
}
