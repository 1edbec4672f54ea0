//! What the tray knows. Events change it and say what else is to be done; nothing here does it.

use postern_api::event::Notice;
use postern_api::method::Explanation;
use postern_api::{ConnectionState, Event, Prompt, Status};

/// What is known of the service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The last status; none while the service does not answer.
    pub status: Option<Status>,
    /// The newest notice that was shown.
    pub last_notice: Option<Notice>,
    /// What was explained last from the menu: of which tunnel, and why posture stands as it does.
    pub explained: Option<(String, Explanation)>,
    /// The failure of the last thing that was asked from the menu, in one line.
    pub last_failure: Option<String>,
    /// Questions that wait for an answer.
    pub prompts: Vec<Prompt>,
}

/// What is to be done because of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Show a notice until a person dismisses it.
    Notify(Notice),
    /// Show why posture stands as it does towards a tunnel.
    Explain(String, Explanation),
    /// Ask a person.
    Ask(Prompt),
    /// Take a question back.
    Withdraw(u64),
}

impl Model {
    /// Takes in one event.
    pub fn apply(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Snapshot { status } => {
                self.status = Some(status);
                self.last_failure = None;
            }
            Event::Tunnel { tunnel } => {
                if let Some(status) = &mut self.status {
                    match status.tunnels.iter_mut().find(|known| known.name == tunnel.name) {
                        Some(known) => *known = tunnel,
                        None => status.tunnels.push(tunnel),
                    }
                    status.state = overall(status);
                    status.attention = status.tunnels.iter().any(|tunnel| tunnel.attention);
                }
            }
            Event::Tags { report } => {
                if let Some(status) = &mut self.status {
                    status.posture = report;
                }
            }
            Event::Notice { notice } => {
                // The service repeats its notices to who subscribes anew; one is shown once.
                if self.last_notice.as_ref().is_some_and(|last| last.id >= notice.id) {
                    return Vec::new();
                }
                self.last_notice = Some(notice.clone());
                return vec![Effect::Notify(notice)];
            }
            Event::Prompt { prompt } => {
                self.prompts.push(prompt.clone());
                return vec![Effect::Ask(prompt)];
            }
            // A trace is told to whoever asked for it, which is never the tray.
            Event::Scan { .. } | Event::Trace { .. } | Event::Keys { .. } => {}
            // The tray shows states; who waits at a terminal reads along.
            Event::Progress { .. } => {}
            Event::PromptEnded { id } => {
                self.prompts.retain(|prompt| prompt.id != id);
                return vec![Effect::Withdraw(id)];
            }
        }
        Vec::new()
    }

    /// Forgets what only a running service can say.
    pub fn service_lost(&mut self) -> Vec<Effect> {
        self.status = None;
        self.explained = None;
        self.last_failure = None;
        // A service that starts anew counts its notices anew.
        if let Some(notice) = &mut self.last_notice {
            notice.id = 0;
        }
        self.prompts.drain(..).map(|prompt| Effect::Withdraw(prompt.id)).collect()
    }

    /// Returns the state that the icon shows.
    pub fn state(&self) -> ConnectionState {
        self.status.as_ref().map_or(ConnectionState::ServiceUnavailable, |status| status.state)
    }
}

/// Returns the state that stands for all tunnels: the one that needs an eye most.
fn overall(status: &Status) -> ConnectionState {
    let rank = |state: ConnectionState| match state {
        ConnectionState::Disconnected => 0,
        ConnectionState::Connected => 1,
        ConnectionState::Disconnecting => 2,
        ConnectionState::Connecting => 3,
        ConnectionState::Reconnecting => 4,
        ConnectionState::NeedsInput => 5,
        ConnectionState::Blocked => 6,
        ConnectionState::Quarantined => 7,
        ConnectionState::ServiceUnavailable => 8,
    };
    let states = status.tunnels.iter().map(|tunnel| tunnel.state);
    states.max_by_key(|state| rank(*state)).unwrap_or(ConnectionState::Disconnected)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use postern_api::posture::{Decrees, TagReport, TagSource};
    use postern_api::state::{Origin, PostureStanding, TunnelStatus};
    use postern_api::{Fault, FaultName};

    pub(crate) fn tunnel(name: &str, state: ConnectionState) -> TunnelStatus {
        TunnelStatus {
            name: name.into(),
            origin: Origin::Managed,
            state,
            attention: state == ConnectionState::Blocked,
            gateway: "vpn.example.test".into(),
            posture: PostureStanding::Compliant,
            established: None,
            last_fault: None,
            blocked: state == ConnectionState::Blocked,
        }
    }

    pub(crate) fn status(tunnels: Vec<TunnelStatus>) -> Status {
        let posture = TagReport {
            source: TagSource::Ems,
            ems: Some("EMS1".into()),
            telemetry_connected: true,
            age_seconds: 1,
            grace_seconds: None,
            tags: Vec::new(),
            unknown_because: None,
            decrees: Decrees::default(),
        };
        let mut status = Status {
            version: "0.1.0".into(),
            state: ConnectionState::Disconnected,
            attention: false,
            tunnels,
            posture,
        };
        status.state = overall(&status);
        status.attention = status.tunnels.iter().any(|tunnel| tunnel.attention);
        status
    }

    pub(crate) fn notice(id: u64) -> Notice {
        Notice {
            id,
            time: "2026-11-23T05:00:00Z".into(),
            tunnel: "RA-VPN".into(),
            title: "VPN disconnected: security posture changed".into(),
            warning: "Update <b>your</b> machine".into(),
            fault: Fault::new(FaultName::ComplianceLost, "RA-VPN", "tag \"Critical Vulnerability\"", "upgrade curl"),
            explanation: Vec::new(),
            uid: None,
        }
    }

    #[test]
    fn a_tunnel_that_changes_changes_the_state_of_the_whole() {
        let mut model = Model::default();
        let both = vec![tunnel("a", ConnectionState::Disconnected), tunnel("b", ConnectionState::Connected)];
        model.apply(Event::Snapshot { status: status(both) });
        assert_eq!(model.state(), ConnectionState::Connected);
        model.apply(Event::Tunnel { tunnel: tunnel("a", ConnectionState::Blocked) });
        assert_eq!(model.state(), ConnectionState::Blocked);
        assert!(model.status.as_ref().is_some_and(|status| status.attention));
    }

    #[test]
    fn a_notice_is_shown_once_and_again_only_after_the_service_started_anew() {
        let mut model = Model::default();
        assert_eq!(model.apply(Event::Notice { notice: notice(3) }).len(), 1);
        assert_eq!(model.apply(Event::Notice { notice: notice(3) }).len(), 0);
        model.service_lost();
        assert_eq!(model.apply(Event::Notice { notice: notice(1) }).len(), 1);
    }

    #[test]
    fn without_a_service_nothing_is_claimed() {
        let mut model = Model::default();
        model.apply(Event::Snapshot { status: status(vec![tunnel("a", ConnectionState::Connected)]) });
        model.service_lost();
        assert_eq!(model.state(), ConnectionState::ServiceUnavailable);
        assert_eq!(model.status, None);
    }
}
