//! What is due when: repetitions, renewals, age limits.
//!
//! A CHILD SA that reaches its age limit is given up and another is made; an IKE SA that does ends
//! the session.

use super::{Ending, EstablishedSa, Operation, OtherStanding, RETIREMENT};
use crate::session::cause::CloseCause;
use crate::session::child::Standing;
use crate::session::context::Context;
use crate::session::output::TimerName;
use crate::session::state::State;
use crate::time::Timestamp;

impl EstablishedSa {
    /// Returns every moment at which [`Self::handle_timeout`] has something to do.
    pub(in crate::session) fn timers(&self, context: &Context) -> Vec<(Timestamp, TimerName)> {
        let mut timers = Vec::new();
        let mut add = |moment: Option<Timestamp>, name| timers.extend(moment.map(|moment| (moment, name)));
        add(self.current.sa.retransmission(), TimerName::Retransmission);
        add(self.current.sa.reassembly(), TimerName::Reassembly);
        for other in &self.others {
            add(other.line.sa.retransmission(), TimerName::Retransmission);
            add(other.line.sa.reassembly(), TimerName::Reassembly);
            if let OtherStanding::Replaced { until } = other.standing {
                add(Some(until), TimerName::Retirement);
            }
        }
        for child in &self.children {
            add(child.rekey, TimerName::ChildRekey);
            add(Some(child.expiry), TimerName::ChildExpiry);
            if let Standing::Replaced { until } = child.standing {
                add(Some(until), TimerName::Retirement);
            }
        }
        add(self.ike_rekey, TimerName::IkeRekey);
        add(Some(self.ike_expiry), TimerName::IkeExpiry);
        add(self.keepalive, TimerName::Keepalive);
        add(self.silence(context), TimerName::Liveness);
        add(self.reauthentication(context).map(|(due, _)| due), TimerName::Reauthentication);
        add(self.later.iter().map(|(moment, _)| *moment).min(), TimerName::RetryExchange);
        timers
    }

    /// Does what is due.
    pub(in crate::session) fn handle_timeout(mut self: Box<Self>, context: &mut Context, now: Timestamp) -> State {
        let outcome = self.expire(context, now);
        self.proceed(outcome, context, now)
    }

    fn expire(&mut self, context: &mut Context, now: Timestamp) -> Result<(), Ending> {
        if !self.current.sa.handle_timeout(context, now) {
            return Err(Ending::Silent(CloseCause::GatewayLost));
        }
        self.others.retain_mut(|other| {
            let over = matches!(other.standing, OtherStanding::Replaced { until } if until <= now);
            !over && other.line.sa.handle_timeout(context, now)
        });
        if self.ike_expiry <= now {
            return Err(CloseCause::Expired.into());
        }
        self.watch_authentication(context, now);
        if self.ike_rekey.is_some_and(|moment| moment <= now) {
            self.ike_rekey = None;
            self.enqueue(Operation::RekeyIke);
        }
        let (mut operations, mut too_old) = (Vec::new(), Vec::new());
        for child in &mut self.children {
            if child.rekey.is_some_and(|moment| moment <= now) {
                child.rekey = None;
                operations.push(Operation::RekeyChild(child.inbound));
            }
            match &mut child.standing {
                Standing::Replaced { until } if *until <= now => {
                    *until = now + RETIREMENT;
                    operations.push(Operation::DeleteChild(child.inbound));
                }
                _ => {}
            }
            if child.expiry <= now {
                // Until its deletion is confirmed there is nothing more to do about it.
                child.expiry = now + RETIREMENT;
                too_old.push(child.inbound);
            }
        }
        self.later.retain(|(moment, operation)| {
            let due = *moment <= now;
            operations.extend(due.then_some(*operation));
            !due
        });
        operations.into_iter().for_each(|operation| self.enqueue(operation));
        too_old.iter().for_each(|inbound| self.outlive_child(*inbound, context));
        self.keep_alive(context, now);
        if too_old.is_empty() { Ok(()) } else { self.require_child(now) }
    }
}

/// When an IKE SA is renewed, and when it is given up.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct IkeLifetime {
    pub(super) rekey: Timestamp,
    pub(super) expiry: Timestamp,
}

impl IkeLifetime {
    /// Draws the lifetime of an IKE SA that starts now.
    pub(in crate::session) fn draw(context: &mut Context, now: Timestamp) -> Result<Self, CloseCause> {
        let lifetime = context.configuration.ike_lifetime;
        let early = context.part_of(lifetime.jitter)?;
        let rekey = now + lifetime.rekey_after.saturating_sub(early);
        Ok(Self { rekey, expiry: now + lifetime.expire_after })
    }
}
