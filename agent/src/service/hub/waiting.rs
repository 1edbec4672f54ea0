//! Callers that wait for a tunnel to be up, or to rest.

use super::{Hub, Reply};
use crate::connection::{Connection, Input};
use crate::control::Caller;
use crate::fault;
use postern_api::fault::{Fault, FaultName};
use postern_api::method::Role;
use postern_api::prompt::PromptKind;
use serde_json::Value;

/// Somebody who waits for a tunnel.
pub(in crate::service) struct Waiter {
    pub(in crate::service) reply: Reply,
    pub(in crate::service) caller: Caller,
    pub(in crate::service) interactive: bool,
    /// What the caller wants to be asked for, whatever is kept.
    pub(in crate::service) supplied: Vec<PromptKind>,
    /// Whether the wait is for the tunnel to be up; otherwise for it to rest.
    pub(in crate::service) for_up: bool,
}

impl Waiter {
    /// Tells whether the caller may answer for the user for whom the tunnel is made.
    pub(in crate::service) fn answers_for(&self, owner: Option<u32>) -> bool {
        self.caller.uid == owner || self.caller.role == Role::Administrator
    }
}

impl Hub {
    /// Tells whoever waits, and forgets who has hung up.
    pub(in crate::service) fn answer_waiters(&mut self) {
        let names: Vec<String> = self.waiters.keys().cloned().collect();
        for name in names {
            let Some(connection) = self.connections.get(&name) else { continue };
            let is_up = matches!(connection, Connection::Connected(_));
            let rests = connection.rests() || matches!(connection, Connection::Waiting { .. });
            let last = connection.last_fault().cloned();
            let Some(waiters) = self.waiters.remove(&name) else { continue };
            let (mut kept, mut hung_up) = (Vec::new(), false);
            for waiter in waiters {
                if waiter.reply.is_closed() {
                    // Who only joined ends nothing of another's by leaving.
                    hung_up |= waiter.for_up && self.may_end(&waiter.caller, &name);
                } else if waiter.for_up && is_up {
                    let status = self.tunnel_status(&name);
                    let _ = waiter.reply.send(serde_json::to_value(status).map_err(super::call::unserialisable));
                } else if waiter.for_up && rests {
                    let fault =
                        last.clone().unwrap_or_else(|| Fault::new(FaultName::Cancelled, "", "was cancelled", ""));
                    let _ = waiter.reply.send(Err(fault::about(&name, fault)));
                } else if !waiter.for_up && connection_rests(self.connections.get(&name)) {
                    let _ = waiter.reply.send(Ok(Value::Null));
                } else {
                    kept.push(waiter);
                }
            }
            let nobody_waits = !kept.iter().any(|waiter| waiter.for_up && self.may_end(&waiter.caller, &name));
            if !kept.is_empty() {
                self.waiters.insert(name.clone(), kept);
            }
            if hung_up && nobody_waits && matches!(self.connections.get(&name), Some(Connection::Connecting(_))) {
                let fault = Fault::new(FaultName::Cancelled, name.as_str(), "was cancelled", "");
                self.feed(&name, Input::Disconnect(Some(fault)));
            }
        }
    }
}

fn connection_rests(connection: Option<&Connection>) -> bool {
    connection.is_none_or(Connection::rests)
}
