//! The life of one connection as an enum: events in, effects out.
//!
//! Pure: no socket, no clock, no file. [`Connection::step`] consumes the state and an [`Input`] and
//! returns the next state and the [`Effect`]s, in the order in which they are to be carried out.
//! Whoever drives it (the service) judges posture, talks to the engine and changes the network.
//!
//! ```text
//! Disconnected ── Connect, posture admits ──▶ Connecting ── Established, network settled ──▶ Connected
//!      ▲   └──── Connect, posture refuses: nothing leaves, a notice stays                        │
//!      │                                                                                         │ lost, closed,
//!      ├──────────── nothing blocked ◀── Disconnecting ◀── data plane shut, Delete, undo ────────┤ disconnected,
//! Blocked ◀───────── posture lost and what was protected stays blocked ──┘                       │ posture lost
//!   Waiting (keep_running: until the next attempt) ◀─────────────────────────────────────────────┘
//! ```
//!
//! A block outlives every attempt to connect that does not succeed: it goes with it through Connecting,
//! Disconnecting and Waiting, back to Blocked.
//!
//! **Losing compliance**: the lease is revoked (nothing leaves from this moment), then the gateway
//! gets its Delete, then the network is taken back as far as `after_loss` says, then people are
//! told. The block itself needs no step of its own: it was laid under the tunnel when it came up.

mod status;
mod step;

use crate::profile::AfterLoss;
use ike_client::tunnel::control::{Counters, EndCause, EstablishedTunnel};
use postern_api::fault::Fault;
use postern_api::state::PostureStanding;
use std::net::IpAddr;
use std::time::Duration;

pub use status::sign_of;

/// Where a connection stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Connection {
    /// Nothing is up and nothing is blocked.
    Disconnected {
        /// Why it last ended or was refused.
        last: Option<Fault>,
        /// Whether it comes back by itself.
        resume: Resume,
    },
    /// The engine is on its way to the tunnel, or the network is being settled for it.
    Connecting(Attempt),
    /// The tunnel carries traffic.
    Connected(Session),
    /// The tunnel is being taken down.
    Disconnecting(Ending),
    /// The tunnel was lost and is made again after a while.
    Waiting {
        /// Who wants it.
        owner: Owner,
        /// How many attempts in a row have failed.
        failures: u32,
        /// Why it was lost.
        last: Fault,
        /// Why what it protected is blocked, where it is since an earlier loss of posture.
        block: Option<Fault>,
    },
    /// Posture was lost, and what the tunnel protected is blocked.
    Blocked {
        /// Why.
        last: Fault,
        /// Whether it comes back by itself.
        resume: Resume,
    },
}

/// For whom a connection is made, and under which settings of its tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user who asked, where users have numbers.
    pub uid: Option<u32>,
    /// The profile's `keep_running`.
    pub keep_running: bool,
    /// The profile's `after_loss`.
    pub after_loss: AfterLoss,
}

/// What brings a resting connection back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// A person or a script.
    OnRequest,
    /// The return of compliance, because the profile says `keep_running`.
    WhenCompliant(Owner),
}

/// An attempt under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// For whom.
    pub owner: Owner,
    /// How it came about.
    pub was: Was,
    /// What it waits for.
    pub stage: Stage,
    /// Why what the tunnel protects is blocked, where it is since an earlier loss of posture: the block
    /// stands until this tunnel does, and after it where the attempt fails.
    pub block: Option<Fault>,
}

/// What an attempt waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// The engine.
    Negotiation,
    /// A person who has to answer.
    Input,
    /// The network, for the tunnel that stands already.
    Network(Box<EstablishedTunnel>),
}

/// A tunnel that carries traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// For whom.
    pub owner: Owner,
    /// What the gateway gave.
    pub tunnel: Box<EstablishedTunnel>,
    /// What a person should know about the network, besides the tunnel's own warnings.
    pub warnings: Vec<String>,
    /// What has passed.
    pub counters: Counters,
}

/// A tunnel that is being taken down.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// For whom it was.
    pub owner: Owner,
    /// Why it ends.
    pub why: Why,
    /// What is awaited.
    pub awaiting: Awaiting,
    /// What it was until then.
    pub was: Was,
    /// Why what the tunnel protects is blocked, where it was before the attempt that ends here.
    pub block: Option<Fault>,
}

/// How an attempt came about, or that it had succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Was {
    /// Somebody asked for it.
    Asked,
    /// The tunnel is made again by itself, after so many failures in a row.
    Repeated(u32),
    /// The tunnel was up.
    Up,
}

/// Why a tunnel ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// Somebody asked, before it was up or after.
    Requested(Option<Fault>),
    /// Posture no longer admits it: the fault of the host check.
    Posture(Fault),
    /// It failed or was lost.
    Failed {
        /// The fault.
        fault: Fault,
        /// After how long another attempt is worth making, if at all.
        retry: Option<Duration>,
    },
}

/// What an ending waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaiting {
    /// The engine's end; its Delete may need a few retransmissions.
    EngineEnd,
    /// The network.
    Network,
}

/// What happens to a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Somebody asks for it. Posture was judged for this very request.
    Connect {
        /// For whom.
        owner: Owner,
        /// How posture stands.
        posture: PostureStanding,
    },
    /// Somebody wants it down; with a fault when it did not get up in time or was cancelled.
    Disconnect(Option<Fault>),
    /// Somebody lifts the block.
    Dismiss,
    /// Posture was judged anew.
    Judged(PostureStanding),
    /// The engine waits for a person.
    InputNeeded,
    /// The person has answered.
    InputGiven,
    /// The tunnel stands.
    Established(Box<EstablishedTunnel>),
    /// The engine asks whether it may make a successor of the session. Posture was judged for it.
    SuccessorWanted(PostureStanding),
    /// The successor has taken over, with what its gateway gave.
    Succeeded(Box<EstablishedTunnel>),
    /// The engine has ended.
    Ended(EndCause),
    /// The engine's sums.
    Counted(Counters),
    /// The network is as the last effect wanted it; with words of warning.
    NetworkSettled(Vec<String>),
    /// The network could not be made so; what had been done is taken back.
    NetworkFailed(Fault),
    /// The process with the engine is gone, and another one is ready.
    EngineLost,
    /// The time of the last [`Effect::Timer`] is over. While waiting for another attempt, posture
    /// was judged for it.
    TimeIsUp(PostureStanding),
}

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The engine is started.
    Start,
    /// Nothing may leave any more.
    RevokeLease,
    /// The engine may make a successor of the session.
    Succeed,
    /// The gateway is told and the engine ends.
    Stop(ike_client::session::CloseReason),
    /// The network is settled for this tunnel, with guard and block under it.
    SettleTunnel(Box<EstablishedTunnel>),
    /// The network is taken back except for guard and block.
    SettleBlock,
    /// The network is taken back wholly.
    SettleNothing,
    /// The gateway was met at this address.
    Met(IpAddr),
    /// The timer is set anew, or stopped.
    Timer(Option<Duration>),
    /// People are told, by a notice that stays, and EMS.
    Tell(Told),
}

/// What people and EMS are told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The host check refused before anything left.
    Refused(Fault),
    /// A tunnel was taken down because posture was lost.
    Lost(Fault),
    /// Audit mode let pass what would have been refused.
    Audited(Fault),
    /// It would have been refused, and a break-glass code lets it pass.
    Overridden(Fault),
    /// The tunnel is up.
    Up,
    /// The tunnel ended for another reason.
    Down(Option<Fault>),
    /// It did not come up, for another reason than posture.
    Failed(Fault),
}

impl Default for Connection {
    fn default() -> Self {
        Self::Disconnected { last: None, resume: Resume::OnRequest }
    }
}

impl Connection {
    /// Tells whether the engine works for it, so that a lease is needed or will be.
    pub const fn holds_engine(&self) -> bool {
        matches!(self, Self::Connecting(_) | Self::Connected(_) | Self::Disconnecting(_))
    }

    /// Takes over settings of the tunnel's profile that changed meanwhile; returns whether what
    /// stands under an established tunnel has to be settled anew.
    pub fn revise(&mut self, keep_running: bool, after_loss: AfterLoss) -> bool {
        let owner = match self {
            Self::Connecting(attempt) => &mut attempt.owner,
            Self::Connected(session) => &mut session.owner,
            Self::Disconnecting(ending) => &mut ending.owner,
            Self::Waiting { owner, .. }
            | Self::Disconnected { resume: Resume::WhenCompliant(owner), .. }
            | Self::Blocked { resume: Resume::WhenCompliant(owner), .. } => owner,
            Self::Disconnected { .. } | Self::Blocked { .. } => return false,
        };
        let changed = owner.after_loss != after_loss;
        *owner = Owner { keep_running, after_loss, ..*owner };
        changed && matches!(self, Self::Connected(_))
    }

    /// Returns the device of the tunnel that stands.
    pub fn device(&self) -> Option<&str> {
        match self {
            Self::Connected(session) => Some(&session.tunnel.device),
            Self::Connecting(Attempt { stage: Stage::Network(tunnel), .. }) => Some(&tunnel.device),
            _ => None,
        }
    }

    /// Tells whether it rests: nothing happens to it unless somebody or something asks.
    pub const fn rests(&self) -> bool {
        matches!(self, Self::Disconnected { .. } | Self::Blocked { .. })
    }
}

#[cfg(test)]
mod tests;
