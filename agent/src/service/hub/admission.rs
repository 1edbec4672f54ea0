//! Letting a connection begin: facts gathered for this very request, the journal tried, then judged.

use super::look_ups::Turn;
use super::waiting::Waiter;
use super::{Hub, Inbox, Message};
use crate::compliance::is_enforced;
use crate::connection::{Connection, Input, Owner};
use crate::fault;
use crate::profile::Entry;
use crate::profile::tags::TagRuleSource;
use crate::service::child::look_up;
use ike_client::Timestamp;
use ike_client::tunnel::clock;
use postern_api::fault::{Fault, FaultName};
use postern_api::state::{Origin, PostureStanding};
use posture::facts::OsFamily;
use posture::rules::Asked;
use std::time::Duration;

/// How long a connection waits for EMS to judge the facts that were just reported.
pub(in crate::service) const SNAPSHOT_LIMIT: Duration = Duration::from_secs(2);
/// How long a connection waits for a scan that is under way.
const SCAN_PATIENCE: Duration = Duration::from_secs(30);

/// How long looking gateways up may hold a local tunnel back. A managed gateway that was not found by then, and
/// that nobody has met, may be anywhere: also where the local tunnel leads.
const LOOK_UP_PATIENCE: Duration = Duration::from_secs(3);

/// A connection that waits for its pre-check.
pub struct Pending {
    pub(in crate::service) ticket: u64,
    pub(in crate::service) tunnel: String,
    pub(in crate::service) owner: Owner,
    pub(in crate::service) waiter: Waiter,
    pub(in crate::service) limit: Option<Duration>,
    pub(in crate::service) asked: Timestamp,
    pub(in crate::service) journal: Option<Result<(), Fault>>,
}

impl Hub {
    /// Begins a connection: facts are gathered for this very request, and the journal is tried.
    pub(in crate::service) fn queue_connection(
        &mut self,
        tunnel: String,
        owner: Owner,
        waiter: Waiter,
        limit: Option<Duration>,
    ) {
        self.examination.tickets += 1;
        let ticket = self.examination.tickets;
        let asked = clock::now();
        let names = self.names_to_compare(&tunnel);
        let ahead = self.name_ahead(&tunnel);
        let turn = match names.is_empty() && ahead.is_none() {
            true => None,
            false => match self.look_ups.take(&waiter.caller, &tunnel) {
                Ok(turn) => Some(turn),
                Err(fault) => return drop(waiter.reply.send(Err(fault))),
            },
        };
        let unmet = self.unmet(&names, &tunnel);
        if let Some(name) = ahead {
            self.net.look_up_ahead(name);
        }
        self.examination.pending.push(Pending { ticket, tunnel, owner, waiter, limit, asked, journal: None });
        let (reply, outcome) = tokio::sync::oneshot::channel();
        let _ = self.jobs.send(crate::service::network::keeper::Job::Check(reply));
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let unanswered = match turn {
                Some(turn) => tell_addresses(names, turn, &inbox).await,
                None => Vec::new(),
            };
            let told = match unanswered.into_iter().find(|name| unmet.contains(name)) {
                Some((managed, gateway)) => Err(unsettled(&managed, &gateway)),
                None => Ok(()),
            };
            let outcome = outcome.await.unwrap_or_else(|_| Ok(Vec::new())).map(drop);
            let _ = inbox.send(Message::Checked { ticket, outcome: told.and(outcome) });
        });
        self.examine();
    }

    /// Returns what is looked up before a tunnel that is not managed is judged: the names of managed gateways,
    /// to which it must not lead, and its own.
    fn names_to_compare(&self, tunnel: &str) -> Vec<(String, String)> {
        match self.catalogue.find(tunnel) {
            Some(entry) if entry.origin != Origin::Managed && !self.catalogue.managed_names().is_empty() => {
                let mut names = self.catalogue.managed_host_names();
                names.extend(self.catalogue.host_names(tunnel));
                names
            }
            _ => Vec::new(),
        }
    }

    /// Returns those of the names that belong to managed gateways of which no address is known.
    fn unmet(&self, names: &[(String, String)], tunnel: &str) -> Vec<(String, String)> {
        let unmet = |(managed, _): &&(String, String)| {
            managed != tunnel && self.catalogue.addresses_of(managed).next().is_none()
        };
        names.iter().filter(unmet).cloned().collect()
    }

    /// Returns the gateway's name, which is looked up beside the host check, unless posture as it is known refuses
    /// the tunnel: then it is not even asked for.
    fn name_ahead(&self, tunnel: &str) -> Option<String> {
        let refused = matches!(self.standing(tunnel), PostureStanding::Refused { .. });
        let entry = self.catalogue.find(tunnel).filter(|_| !refused);
        let gateway = entry.and_then(|entry| entry.tunnel.gateway.dialled().into_iter().next());
        gateway.filter(|name| name.parse::<std::net::IpAddr>().is_err())
    }

    /// Tells NET where a tunnel must not go, by whatever name or redirect: one that is not managed, to a
    /// managed gateway.
    pub(in crate::service) fn keep_from_managed(&self, tunnel: &str) {
        let managed = self.catalogue.find(tunnel).is_some_and(|entry| entry.origin == Origin::Managed);
        let off_limits = if managed { Default::default() } else { self.catalogue.managed_addresses() };
        self.net.keep_from(off_limits);
    }

    /// Lets those begin whose pre-check can be made.
    pub(in crate::service) fn admit_pending(&mut self) {
        let pending = std::mem::take(&mut self.examination.pending);
        for mut pending in pending {
            if pending.waiter.reply.is_closed() {
                continue;
            }
            let Some(journal) = pending.journal.take() else {
                self.examination.pending.push(pending);
                continue;
            };
            if let Err(fault) = journal {
                let _ = pending.waiter.reply.send(Err(fault::about(&pending.tunnel, fault)));
                continue;
            }
            if !self.is_judged_for(&pending) {
                pending.journal = Some(Ok(()));
                self.examination.pending.push(pending);
                continue;
            }
            self.admit(pending);
        }
    }

    /// Has a tunnel judged whose session is to have a successor: by facts gathered for this very wish.
    pub(in crate::service) fn queue_successor(&mut self, name: &str) {
        self.successor = Some((name.to_owned(), clock::now()));
        self.examine();
    }

    /// Lets a successor begin, or ends the tunnel, once it is judged.
    pub(in crate::service) fn admit_successor(&mut self) {
        let Some((name, asked)) = &self.successor else { return };
        let enforced = self.catalogue.find(name).is_some_and(|entry| is_enforced(&entry.tunnel));
        let stale = self.examination.gathered.is_none_or(|gathered| gathered < *asked);
        if enforced && stale {
            return;
        }
        if let Some((name, _)) = self.successor.take() {
            let posture = self.standing(&name);
            self.feed(&name, Input::SuccessorWanted(posture));
        }
    }

    /// Tells whether a tunnel may begin as far as the service as a whole goes; how posture stands towards it is
    /// judged besides. Asked for whoever asks for a tunnel, when its turn has come, and before one is made anew.
    pub(in crate::service) fn may_begin(&self, tunnel: &str) -> Result<(), Fault> {
        if self.stopping.is_some() {
            return Err(fault::stopping(tunnel));
        }
        if let Some(problem) = self.policy_problem() {
            return Err(fault::about(tunnel, problem));
        }
        let in_the_way = |what: String, next: String| Err(Fault::new(FaultName::UsageInvalid, tunnel, what, next));
        if let Some(active) = self.active.as_ref().filter(|active| *active != tunnel) {
            let what = format!("cannot be connected while {active} is: one tunnel at a time");
            return in_the_way(what, format!("postern disconnect {active}"));
        }
        // Two tunnels have one network plan: the new one would lift the block of the other.
        let blocked = self.connections.iter().find(|(name, state)| *name != tunnel && state.block().is_some());
        if let Some((blocked, _)) = blocked {
            let what = format!("cannot be connected while what {blocked} protected is blocked");
            return in_the_way(what, format!("postern disconnect --dismiss {blocked}"));
        }
        Ok(())
    }

    fn is_judged_for(&self, pending: &Pending) -> bool {
        if !self.net_ready && clock::now() < pending.asked + SNAPSHOT_LIMIT {
            return false;
        }
        // A tunnel that is on its way down gets there first.
        if matches!(self.connections.get(&pending.tunnel), Some(Connection::Disconnecting(_))) {
            return false;
        }
        let Some(entry) = self.catalogue.find(&pending.tunnel) else { return true };
        if !is_enforced(&entry.tunnel) {
            return self.examination.gathered.is_some();
        }
        let since = |moment: Option<Timestamp>| moment.is_some_and(|moment| moment >= pending.asked);
        let seen = since(self.examination.glimpsed) && self.is_seen_first(&entry);
        if !(since(self.examination.gathered) || seen) {
            return false;
        }
        // A scan that is under way may be about to change the verdict, for better or worse.
        if self.examination.scanning.is_some() && clock::now() < pending.asked + SCAN_PATIENCE {
            return false;
        }
        let refused = matches!(self.standing(&pending.tunnel), PostureStanding::Refused { .. });
        let behind = self.view.ems.as_ref().is_some_and(|ems| ems.telemetry.is_up())
            && self.view.snapshot_sequence() < self.examination.reported;
        !(refused && behind) || clock::now() >= pending.asked + SNAPSHOT_LIMIT
    }

    /// Tells whether the verdict on a tunnel depends on nothing but what is seen first of a look: the rest may
    /// follow while the tunnel is being made.
    fn is_seen_first(&self, entry: &Entry) -> bool {
        let tags = &entry.tunnel.tags;
        tags.source == TagRuleSource::Local
            && self.view.ems.is_none()
            && Asked::is_seen_first(&tags.rules, OsFamily::of_this_build())
    }

    fn admit(&mut self, pending: Pending) {
        let Pending { tunnel, owner, waiter, limit, .. } = pending;
        let posture = self.standing(&tunnel);
        // Who comes second, while the first was being judged, joins.
        let joins = matches!(self.connections.get(&tunnel), Some(Connection::Connected(_) | Connection::Connecting(_)));
        if joins {
            self.ask_latecomer(&tunnel, &waiter);
            self.waiters.entry(tunnel).or_default().push(waiter);
            return;
        }
        // While it was judged, another may have begun.
        if let Err(fault) = self.may_begin(&tunnel) {
            return drop(waiter.reply.send(Err(fault)));
        }
        self.owners.insert(tunnel.clone(), owner.uid);
        match limit {
            Some(limit) => drop(self.limits.insert(tunnel.clone(), limit)),
            None => drop(self.limits.remove(&tunnel)),
        }
        self.waiters.entry(tunnel.clone()).or_default().push(waiter);
        self.feed(&tunnel, Input::Connect { owner, posture });
    }
}

/// Looks gateways up in the turn that was taken for it, so that a tunnel to a managed one's address is known for what it is. Returns the names
/// of which nobody said in time where they are.
async fn tell_addresses(names: Vec<(String, String)>, turn: Turn, inbox: &Inbox) -> Vec<(String, String)> {
    let look_up = |(tunnel, name): (String, String)| {
        let (inbox, at_a_time) = (inbox.clone(), turn.names());
        tokio::spawn(async move {
            let found = async {
                let _one = at_a_time.acquire().await.map_err(std::io::Error::other)?;
                look_up::addresses(&name).await
            };
            match tokio::time::timeout(LOOK_UP_PATIENCE, found).await {
                Ok(Ok(addresses)) => drop(inbox.send(Message::Addresses(tunnel, addresses))),
                // Whoever answers for the resolver could say that there is no such name.
                Ok(Err(_)) | Err(_) => return Some((tunnel, name)),
            }
            None
        })
    };
    let under_way: Vec<_> = names.into_iter().map(look_up).collect();
    let mut unanswered = Vec::new();
    for look_up in under_way {
        unanswered.extend(look_up.await.ok().flatten());
    }
    drop(turn);
    unanswered
}

fn unsettled(managed: &str, gateway: &str) -> Fault {
    let detail = format!(
        "refused: nobody says where {gateway} is, the gateway of the managed tunnel {managed}, to which this \
         tunnel must not lead"
    );
    Fault::new(FaultName::GatewayNameUnresolved, "", detail, "look to the resolver, then try again")
}
