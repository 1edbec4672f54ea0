//! The IKE SA that stands, with its CHILD SAs: who asked for what, and what comes next.
//!
//! The machine is the same for both sides of an SA. At any time there is one *current* IKE SA, on
//! which own exchanges start one after the other; around a renewal there can be *others*, which
//! only wait to be deleted. What an exchange means is in a file of its own: [`create_child`],
//! [`rekey_child`], [`rekey_ike`], [`delete`], [`liveness`], and when it is due in [`lifetimes`].

mod crash;
mod create_child;
mod delete;
mod exchange;
mod followup;
mod informational;
mod lifetimes;
mod liveness;
mod mobility;
mod probe;
mod reauthenticate;
mod rekey_child;
mod rekey_ike;

pub(super) use lifetimes::IkeLifetime;
pub(super) use mobility::learn_addresses;

use super::cause::CloseCause;
use super::child::{ChildSa, Standing};
use super::closing;
use super::context::Context;
use super::event::{Event, Nat, Warning};
use super::ike_sa::{IkeSa, Received, Spis};
use super::payloads::Payloads;
use super::selectors::Ends;
use super::state::State;
use crate::esp::EspSpi;
use crate::time::Timestamp;
use crate::wire::{DecodeError, ExchangeType, Message, Notify, NotifyType, Payload, ProtocolId};
use crash::CrashToken;
use exchange::{Ending, Line, Operation, Other, OtherStanding, Reply, Task, Then, Which};
use followup::Pending;
use mobility::Mobility;
use probe::ProbeTimer;
use reauthenticate::Authentication;
use std::collections::VecDeque;
use std::time::Duration;

/// How long the side that replaced an SA may take to delete it.
const RETIREMENT: Duration = Duration::from_secs(60);
/// After TEMPORARY_FAILURE the exchange is tried again, not before this time, plus up to as much
/// again at random.
const TEMPORARY_FAILURE_WAIT: Duration = Duration::from_secs(5);
/// After another refusal of a renewal it is tried again.
const REFUSED_WAIT: Duration = Duration::from_secs(60);

/// See the module's description.
pub(super) struct EstablishedSa {
    current: Line,
    others: Vec<Other>,
    children: Vec<ChildSa>,
    queue: VecDeque<Operation>,
    later: Vec<(Timestamp, Operation)>,
    ike_rekey: Option<Timestamp>,
    /// When the current IKE SA was made.
    ike_made: Timestamp,
    ike_expiry: Timestamp,
    keepalive: Option<Timestamp>,
    last_heard: Timestamp,
    /// When an unprotected message last led to a liveness check.
    prompted: Option<Timestamp>,
    /// What the last CHILD SA is or was for.
    ends: Ends,
    /// When it was made.
    child_made: Timestamp,
    /// Since when no CHILD SA carries packets.
    childless_since: Option<Timestamp>,
    mobility: Mobility,
    authentication: Authentication,
    crash_token: CrashToken,
    /// The peer's negotiation that goes on after CREATE_CHILD_SA.
    pending: Option<Box<Pending>>,
    probe_timer: ProbeTimer,
}

impl EstablishedSa {
    /// Starts with the IKE SA and its first CHILD SA. Without one the first thing is to ask for it.
    pub(super) fn new(
        sa: IkeSa,
        child: Option<ChildSa>,
        lifetime: IkeLifetime,
        nat: Nat,
        context: &Context,
        now: Timestamp,
    ) -> Self {
        let keepalive = context.configuration.keepalive_interval.filter(|_| nat.here);
        let wanted = || Ends::wanted(&context.configuration);
        Self {
            current: Line { sa, task: None },
            others: Vec::new(),
            ends: child.as_ref().map_or_else(wanted, |child| child.ends.clone()),
            queue: child.is_none().then_some(Operation::CreateChild).into_iter().collect(),
            childless_since: child.is_none().then_some(now),
            children: child.into_iter().collect(),
            later: Vec::new(),
            ike_rekey: Some(lifetime.rekey),
            ike_made: now,
            ike_expiry: lifetime.expiry,
            keepalive: keepalive.map(|interval| now + interval),
            last_heard: now,
            prompted: None,
            child_made: now,
            mobility: Mobility { supported: false, moves: 0 },
            authentication: Authentication::default(),
            crash_token: CrashToken::default(),
            pending: None,
            probe_timer: ProbeTimer::new(now),
        }
    }

    /// Takes note of what the gateway said beside its proof, and starts what waits to be started.
    pub(super) fn begin(mut self: Box<Self>, payloads: Payloads<'_>, context: &mut Context, now: Timestamp) -> State {
        let mobile = context.configuration.continuity.mobility;
        self.mobility.supported = mobile && payloads.notify(NotifyType::MOBIKE_SUPPORTED).is_some();
        if self.mobility.supported {
            learn_addresses(payloads, context);
        }
        if let Some(notify) = payloads.notify(NotifyType::AUTH_LIFETIME) {
            self.note_authentication_lifetime(&notify.data, context, now);
        }
        self.crash_token = CrashToken::read(payloads);
        self.proceed(Ok(()), context, now)
    }

    /// Gives the current IKE SA away, for the last exchange on it.
    pub(super) fn into_current_sa(self) -> IkeSa {
        self.current.sa
    }

    /// Gives tests a way to send what the machine never would.
    #[cfg(test)]
    pub(super) const fn current_sa_mut(&mut self) -> &mut IkeSa {
        &mut self.current.sa
    }

    /// Tells tests how many IKE SAs stand beside the current one.
    #[cfg(test)]
    pub(super) fn others_for_test(&self) -> usize {
        self.others.len()
    }

    /// Gives tests the IKE SA that was replaced last.
    #[cfg(test)]
    pub(super) fn replaced_sa_for_test(&mut self) -> Option<&mut IkeSa> {
        self.others.last_mut().map(|other| &mut other.line.sa)
    }

    /// Lets the CHILD SAs reach their age limit.
    #[cfg(test)]
    pub(super) fn age_children_for_test(&mut self, now: Timestamp) {
        self.children.iter_mut().for_each(|child| child.expiry = now);
    }

    /// Makes a gateway of the tests lose its CHILD SAs.
    #[cfg(test)]
    pub(super) fn forget_children_for_test(&mut self) {
        self.children.clear();
    }

    /// Takes a datagram.
    pub(super) fn receive(
        mut self: Box<Self>,
        datagram: &[u8],
        message: &Message,
        context: &mut Context,
        now: Timestamp,
    ) -> State {
        let spis = Spis::of(&message.header);
        let Some(which) = self.find(spis) else {
            return self.of_no_sa(message, context, now);
        };
        let is_protected =
            matches!(message.payloads.as_slice(), [Payload::Encrypted(_)] | [Payload::EncryptedFragment(_)]);
        if !is_protected {
            context.counters.unexpected += 1;
            if which == Which::Current && self.shows_crash(message) {
                return State::closed(CloseCause::GatewayRestarted, context);
            }
            self.prompt(now);
            return self.proceed(Ok(()), context, now);
        }
        let Some(line) = self.line(which) else { return State::Established(self) };
        let outcome = match line.sa.receive(datagram, message, context, now) {
            Received::Nothing => return State::Established(self),
            Received::Request { message_id, exchange, datagram, payloads } => {
                self.last_heard = now;
                self.request(which, (message_id, exchange), &datagram, payloads, context, now)
            }
            Received::Response { payloads } => {
                self.last_heard = now;
                self.follow_response(context);
                let task = line_task(self.line(which));
                match task {
                    Some(task) => self.response(which, task, payloads, context, now),
                    None => Ok(()),
                }
            }
        };
        self.proceed(outcome, context, now)
    }

    fn find(&self, spis: Spis) -> Option<Which> {
        if self.current.sa.spis == spis {
            return Some(Which::Current);
        }
        self.others.iter().position(|other| other.line.sa.spis == spis).map(Which::Other)
    }

    fn line(&mut self, which: Which) -> Option<&mut Line> {
        match which {
            Which::Current => Some(&mut self.current),
            Which::Other(place) => self.others.get_mut(place).map(|other| &mut other.line),
        }
    }

    /// Answers a request of the peer.
    fn request(
        &mut self,
        which: Which,
        (message_id, exchange): (u32, ExchangeType),
        datagram: &[u8],
        payloads: Result<Vec<Payload>, DecodeError>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), Ending> {
        let reply = match payloads {
            Ok(payloads) => self.judge(which, exchange, Payloads(&payloads), context, now)?,
            Err(error) => {
                context.counters.malformed += 1;
                match error.unsupported_critical_payload() {
                    Some(kind) => Notify::new(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![kind.0]).into(),
                    None => NotifyType::INVALID_SYNTAX.into(),
                }
            }
        };
        if let Some(line) = self.line(which) {
            line.sa.respond((message_id, exchange), datagram, &reply.payloads, context)?;
        }
        match reply.then {
            Then::Nothing => Ok(()),
            Then::NewIkeSa(sa, lowest) => self.peer_made_ike_sa(*sa, lowest, context, now).map_err(Ending::from),
            Then::IkeSaGone => self.ike_sa_gone(which, context, now),
            Then::ChildrenGone => self.require_child(now),
        }
    }

    fn judge(
        &mut self,
        which: Which,
        exchange: ExchangeType,
        payloads: Payloads<'_>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<Reply, CloseCause> {
        match exchange {
            ExchangeType::INFORMATIONAL => {
                let current = self.current.sa.spis;
                let asked_on = self.line(which).map_or(current, |line| line.sa.spis);
                Ok(self.answer_informational(asked_on, payloads, context, now))
            }
            ExchangeType::CREATE_CHILD_SA => {
                let protocol = payloads.proposals().and_then(|proposals| proposals.first()).map(|first| first.protocol);
                match (protocol, payloads.notify(NotifyType::REKEY_SA)) {
                    (Some(ProtocolId::IKE), _) => self.answer_rekey_ike(which, payloads, context),
                    (_, Some(rekey)) => self.answer_rekey_child(which, rekey, payloads, context, now),
                    _ => self.answer_create_child(which, payloads, context, now),
                }
            }
            ExchangeType::IKE_FOLLOWUP_KE => self.answer_followup(which, payloads, context, now),
            _ => {
                context.counters.unexpected += 1;
                Ok(NotifyType::INVALID_SYNTAX.into())
            }
        }
    }

    /// Takes the response to the exchange under way.
    fn response(
        &mut self,
        which: Which,
        task: Task,
        payloads: Result<Vec<Payload>, DecodeError>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), Ending> {
        let payloads = match payloads {
            Ok(payloads) => payloads,
            Err(error) => {
                context.counters.malformed += 1;
                return match task {
                    Task::CreateChild(_) | Task::RekeyChild(_) | Task::RekeyIke(_) | Task::Followup(_) => {
                        Err(CloseCause::misbehaved(error.to_string()).into())
                    }
                    _ => Ok(()),
                };
            }
        };
        let payloads = Payloads(&payloads);
        let Some(task) = self.follow_up(which, task, payloads, context, now)? else { return Ok(()) };
        match task {
            Task::Followup(followup) => self.followed_up(*followup, payloads, context, now),
            Task::Liveness => Ok(()),
            Task::Probe(size) => {
                self.probed(which, size, context, now);
                Ok(())
            }
            Task::DeleteChild(inbound) => {
                self.retire_child(inbound, context);
                self.require_child(now)
            }
            Task::DeleteIke => {
                if let Which::Other(place) = which
                    && place < self.others.len()
                {
                    self.others.remove(place);
                }
                Ok(())
            }
            Task::UpdateAddresses(update) => self.updated(&update, payloads, context, now),
            Task::CreateChild(creation) => self.child_created(*creation, payloads, context, now),
            Task::RekeyChild(rekey) => self.child_rekeyed(*rekey, payloads, context, now),
            Task::RekeyIke(rekey) => self.ike_rekeyed(*rekey, payloads, context, now),
        }
    }

    /// Ends the session if that is the outcome; else starts what waits to be started.
    fn proceed(mut self: Box<Self>, outcome: Result<(), Ending>, context: &mut Context, now: Timestamp) -> State {
        match outcome.and_then(|()| self.start_next(context, now).map_err(Ending::from)) {
            Ok(()) => State::Established(self),
            Err(Ending::Silent(cause)) => State::closed(cause, context),
            Err(Ending::Told(cause)) => closing::farewell(self.current.sa, cause, context, now),
        }
    }

    fn start_next(&mut self, context: &mut Context, now: Timestamp) -> Result<(), CloseCause> {
        while self.current.task.is_none() && self.current.sa.is_free() {
            let Some(operation) = self.queue.pop_front() else { return Ok(()) };
            self.current.task = match operation {
                Operation::CreateChild => self.start_create_child(None, context, now)?,
                Operation::Liveness => self.start_liveness(context, now)?,
                Operation::Probe(size) => self.start_probe(size, context, now)?,
                Operation::DeleteChild(inbound) => self.start_delete_child(inbound, context, now)?,
                Operation::RekeyChild(inbound) => self.start_rekey_child(inbound, None, context, now)?,
                Operation::RekeyIke => self.start_rekey_ike(None, context, now)?,
                Operation::UpdateAddresses => self.start_update(context, now)?,
            };
        }
        Ok(())
    }

    fn enqueue(&mut self, operation: Operation) {
        if !self.queue.contains(&operation) {
            self.queue.push_back(operation);
        }
    }

    /// Notes that a renewal was refused, and when it is tried again.
    fn postpone(
        &mut self,
        operation: Operation,
        refusal: Option<&Notify>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), CloseCause> {
        let wait = match refusal.map(|notify| notify.notify_type) {
            Some(NotifyType::TEMPORARY_FAILURE) => TEMPORARY_FAILURE_WAIT,
            _ => {
                context.tell(Event::Warning(Warning::RekeyRefused));
                REFUSED_WAIT
            }
        };
        let wait = wait + context.part_of(wait)?;
        self.later.push((now + wait, operation));
        Ok(())
    }

    /// Returns the exchange under way on the current IKE SA.
    const fn task(&self) -> Option<&Task> {
        self.current.task.as_ref()
    }

    fn child(&mut self, inbound: EspSpi) -> Option<&mut ChildSa> {
        self.children.iter_mut().find(|child| child.inbound == inbound)
    }

    /// Returns the own SPI of the CHILD SA that is being asked for.
    pub(super) fn expected_child(&self) -> Option<EspSpi> {
        self.task().and_then(Task::expected_child)
    }

    /// Renews the IKE SA on its owner's wish.
    pub(super) fn rekey_ike(mut self: Box<Self>, context: &mut Context, now: Timestamp) -> State {
        self.enqueue(Operation::RekeyIke);
        self.proceed(Ok(()), context, now)
    }

    /// Renews the CHILD SA on its owner's wish.
    pub(super) fn rekey_child(mut self: Box<Self>, context: &mut Context, now: Timestamp) -> State {
        let in_use = self.children.iter().filter(|child| child.standing == Standing::InUse);
        let operations: Vec<_> = in_use.map(|child| Operation::RekeyChild(child.inbound)).collect();
        operations.into_iter().for_each(|operation| self.enqueue(operation));
        self.proceed(Ok(()), context, now)
    }

    /// Asks the peer whether it lives, on the owner's wish.
    pub(super) fn check_liveness(mut self: Box<Self>, context: &mut Context, now: Timestamp) -> State {
        if !self.current.sa.is_waiting() {
            self.enqueue(Operation::Liveness);
        }
        self.proceed(Ok(()), context, now)
    }

    /// Notes that an authentic ESP packet of the peer came.
    pub(super) fn note_inbound_traffic(&mut self, now: Timestamp) {
        self.last_heard = self.last_heard.max(now);
    }
}

fn line_task(line: Option<&mut Line>) -> Option<Task> {
    line.and_then(|line| line.task.take())
}
