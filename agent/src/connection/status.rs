//! A connection as the control socket shows it.

use super::{Connection, Stage, Was};
use postern_api::fault::{Fault, FaultName};
use postern_api::state::{ConnectionState, PostureStanding};

impl Connection {
    /// Returns the state's id, as it is the same in tray, JSON and events.
    pub fn state(&self, posture: &PostureStanding) -> ConnectionState {
        match self {
            Self::Disconnected { .. } | Self::Blocked { .. } if is_quarantined(posture) => ConnectionState::Quarantined,
            Self::Disconnected { .. } => ConnectionState::Disconnected,
            Self::Blocked { .. } => ConnectionState::Blocked,
            Self::Waiting { .. } => ConnectionState::Reconnecting,
            Self::Connecting(attempt) => match (&attempt.stage, attempt.was) {
                (Stage::Input, _) => ConnectionState::NeedsInput,
                (_, Was::Repeated(_)) => ConnectionState::Reconnecting,
                _ => ConnectionState::Connecting,
            },
            Self::Connected(_) => ConnectionState::Connected,
            Self::Disconnecting(_) => ConnectionState::Disconnecting,
        }
    }

    /// Returns why the connection last ended or was refused.
    pub const fn last_fault(&self) -> Option<&Fault> {
        match self {
            Self::Disconnected { last, .. } => last.as_ref(),
            Self::Blocked { last, .. } | Self::Waiting { last, .. } => Some(last),
            Self::Connecting(_) | Self::Connected(_) | Self::Disconnecting(_) => None,
        }
    }

    /// Tells whether something wants a person's eye: a block, a question, a refusal that is not
    /// the person's own doing, a posture that only audit mode or a
    /// break-glass code let pass.
    pub fn attention(&self, posture: &PostureStanding) -> bool {
        match self {
            Self::Blocked { .. } => true,
            Self::Connecting(attempt) => attempt.stage == Stage::Input,
            Self::Connected(_) => {
                matches!(posture, PostureStanding::Audit { .. } | PostureStanding::Overridden { .. })
            }
            Self::Disconnected { last, .. } => last.as_ref().is_some_and(|last| last.name != FaultName::Cancelled),
            Self::Waiting { .. } => true,
            Self::Disconnecting(_) => false,
        }
    }
}

fn is_quarantined(posture: &PostureStanding) -> bool {
    matches!(posture, PostureStanding::Refused { fault } if fault.name == FaultName::Quarantined)
}

/// Returns the state that stands for the whole of several: the one that most wants to be seen.
pub fn sign_of(states: impl Iterator<Item = ConnectionState>) -> ConnectionState {
    let weight = |state: &ConnectionState| match state {
        ConnectionState::ServiceUnavailable => 8,
        ConnectionState::Quarantined => 7,
        ConnectionState::NeedsInput => 6,
        ConnectionState::Connecting => 5,
        ConnectionState::Reconnecting => 4,
        ConnectionState::Disconnecting => 3,
        ConnectionState::Connected => 2,
        ConnectionState::Blocked => 1,
        ConnectionState::Disconnected => 0,
    };
    states.max_by_key(weight).unwrap_or(ConnectionState::Disconnected)
}
