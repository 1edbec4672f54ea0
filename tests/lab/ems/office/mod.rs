//! Every decision of EMS, as one synchronous state machine: no network, no runtime.
//!
//! In: requests with the certificate of the endpoint that made them and the address they came from;
//! commands of the administrator; the time. Out: replies, and messages into the channels of open
//! push streams. The server calls it on threads for blocking work, one call at a time.

mod addresses;
mod administrator;
mod audit;
mod certificate;
mod decision;
mod decree;
mod denial;
mod endpoint;
mod enrolment;
mod group;
mod push;

pub use addresses::{DeviceCredentials, FabricTag, FabricView, Sharing};
pub use administrator::AdministratorRequest;
pub use audit::Actor;
pub use denial::Denial;
pub use enrolment::random_token;
pub use push::{Pushed, StreamId};

use super::authority::Authority;
use super::store::Store;
use addresses::Watcher;
use administrator::Consequence;
use enrolment::Attempts;
use posture::ems::invitation::EmsAddress;
use posture::ems::protocol::{EndpointId, FactsObject};
use posture::facts::Facts;
use push::Stream;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// How EMS behaves. Times in seconds, but for the heartbeat.
#[derive(Clone, Debug)]
pub struct Conduct {
    /// EMS's name, for people.
    pub name: String,
    /// The address that invitations carry.
    pub address: EmsAddress,
    /// Milliseconds between two heartbeats of a push stream.
    pub heartbeat_milliseconds: u64,
    /// How often an endpoint reports when nothing changes.
    pub keep_alive_seconds: u64,
    /// How long an endpoint without a push stream counts as connected after it was last heard.
    pub offline_after_seconds: u64,
    /// How long a tag snapshot holds.
    pub tags_valid_seconds: u64,
    /// How long profile and rules hold.
    pub policy_valid_seconds: u64,
    /// How many enrolments one address may try in a minute.
    pub attempts_a_minute: usize,
    /// How long an endpoint that is offline keeps its tags; then no gateway is told of it.
    pub tag_timeout_seconds: u64,
    /// How long an endpoint's certificate holds; it is renewed after two thirds of that.
    pub certificate_seconds: u64,
    /// How many events of an endpoint are kept.
    pub events_most: u64,
}

impl Conduct {
    /// Returns the defaults.
    pub fn new(address: EmsAddress) -> Self {
        Self {
            name: "Lab EMS".into(),
            address,
            heartbeat_milliseconds: 5_000,
            keep_alive_seconds: 60,
            offline_after_seconds: 15,
            tags_valid_seconds: 7 * 86_400,
            policy_valid_seconds: 30 * 86_400,
            attempts_a_minute: 20,
            tag_timeout_seconds: 3_600,
            certificate_seconds: 90 * 86_400,
            events_most: 10_000,
        }
    }
}

/// An endpoint's facts, parsed once a report.
struct Reported {
    sequence: u64,
    object: FactsObject,
    facts: Arc<Facts>,
}

/// EMS without its network.
pub struct Office {
    conduct: Conduct,
    authority: Authority,
    store: Box<dyn Store>,
    reported: HashMap<EndpointId, Reported>,
    /// When each was heard last, by the clock that nobody sets.
    heard_boot: HashMap<EndpointId, u64>,
    connected: HashSet<EndpointId>,
    /// Endpoints that have been offline for longer than their tags last.
    lapsed: HashSet<EndpointId>,
    streams: HashMap<StreamId, Stream>,
    backlog: HashMap<EndpointId, VecDeque<Pushed>>,
    watchers: HashMap<StreamId, Watcher>,
    attempts: Attempts,
    refusals: audit::Refusals,
    /// What is to be told once the change that is being made lasts.
    consequences: Vec<Consequence>,
    last_number: u64,
}

impl Office {
    /// Opens for business.
    pub fn new(conduct: Conduct, authority: Authority, store: Box<dyn Store>) -> Result<Self, Denial> {
        let mut office = Self {
            conduct,
            authority,
            store,
            reported: HashMap::new(),
            heard_boot: HashMap::new(),
            connected: HashSet::new(),
            lapsed: HashSet::new(),
            streams: HashMap::new(),
            backlog: HashMap::new(),
            watchers: HashMap::new(),
            attempts: Attempts::default(),
            refusals: audit::Refusals::default(),
            consequences: Vec::new(),
            // Push ids go on growing when EMS starts again, without a place of their own.
            last_number: super::stamp::Stamp::now().unix_milliseconds,
        };
        office.finish_rotation()?;
        Ok(office)
    }

    /// Returns how EMS behaves.
    pub const fn conduct(&self) -> &Conduct {
        &self.conduct
    }

    /// Returns EMS's keys.
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

#[cfg(test)]
mod tests;
