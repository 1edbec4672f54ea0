//! The core: every IKE SA of the gateway, without a socket or a clock.
//!
//! The driver hands in datagrams and the time, then empties [`Responder::poll_transmit`] and
//! [`Responder::poll_event`], then sleeps until [`Responder::poll_timeout`] or the next datagram.

use super::event::Event;
use super::init;
use super::pool::AddressPool;
use super::resumption::{self, Tickets};
use super::sa::{Fate, IkeSa};
use super::settings::{Credentials, Settings};
use super::tags::TagDirectory;
use ike_client::random::Random;
use ike_client::time::Timestamp;
use ike_client::wire::{ExchangeType, Message, ResponderSpi};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// The two ends of a datagram's way, the gateway's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// The gateway's address and port.
    pub local: SocketAddr,
    /// The client's address and port, as the gateway sees it.
    pub remote: SocketAddr,
}

/// An IKE message to send; on port 4500 behind the non-ESP marker, which is the driver's to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From where to where.
    pub path: Path,
    /// The message.
    pub message: Vec<u8>,
}

/// The two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The one that timers count by.
    pub clock: Timestamp,
    /// Seconds since 1970, for certificates.
    pub unix: u64,
}

/// What waits for the driver.
#[derive(Default)]
pub(super) struct Output {
    pub transmits: VecDeque<Transmit>,
    pub events: VecDeque<Event>,
}

/// What every exchange may use besides its SA.
pub(super) struct Context<'a> {
    pub settings: &'a Settings,
    pub credentials: &'a Credentials,
    pub tags: &'a TagDirectory,
    pub random: &'a mut dyn Random,
    pub pool: &'a mut AddressPool,
    pub tickets: &'a mut Tickets,
    pub output: &'a mut Output,
    pub now: Now,
}

/// The gateway's core.
pub struct Responder {
    settings: Settings,
    credentials: Credentials,
    tags: TagDirectory,
    random: Box<dyn Random>,
    pool: AddressPool,
    tickets: Tickets,
    /// By the SPI that the gateway chose.
    sas: BTreeMap<u64, IkeSa>,
    cookie_secret: [u8; 32],
    output: Output,
    opened: u64,
}

impl Responder {
    /// Makes a gateway without any SA.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn new(settings: Settings, credentials: Credentials, mut random: Box<dyn Random>) -> anyhow::Result<Self> {
        let mut cookie_secret = [0; 32];
        random.fill(&mut cookie_secret)?;
        let pool = AddressPool::new(settings.pool_first, settings.pool_last);
        Ok(Self {
            settings,
            credentials,
            tags: TagDirectory::default(),
            random,
            pool,
            tickets: Tickets::default(),
            sas: BTreeMap::new(),
            cookie_secret,
            output: Output::default(),
            opened: 0,
        })
    }

    /// Returns the settings, which the console may change.
    pub const fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Returns the settings.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Replaces what EMS shares. SAs that stand are not looked at again, as in FortiOS 7.6.
    pub fn set_tags(&mut self, tags: TagDirectory) {
        self.tags = tags.after(&self.tags);
    }

    /// Returns what EMS shares.
    pub const fn tags(&self) -> &TagDirectory {
        &self.tags
    }

    /// Takes an IKE message. What is no message of an SA, or not authentic, changes nothing.
    pub fn handle_datagram(&mut self, bytes: &[u8], path: Path, now: Now) {
        let Ok(message) = Message::decode(bytes) else { return };
        let header = message.header;
        let begins = header.exchange == ExchangeType::IKE_SA_INIT && !header.flags.is_response();
        let resumes = header.exchange == ExchangeType::IKE_SESSION_RESUME && !header.flags.is_response();
        if (begins || resumes) && header.responder_spi == ResponderSpi::ZERO {
            self.begin(bytes, &message, path, now);
            return;
        }
        let ours = if header.flags.is_initiator() { header.responder_spi.0 } else { header.initiator_spi.0 };
        let Some(mut sa) = self.sas.remove(&ours) else {
            let told = (!header.flags.is_response()).then(|| self.settings.continuity.unknown(&header, path));
            self.output.transmits.extend(told.flatten());
            return;
        };
        let fate = sa.receive(bytes, &message, path, &mut self.context(now));
        self.settle(ours, sa, fate, now);
    }

    fn begin(&mut self, bytes: &[u8], message: &Message, path: Path, now: Now) {
        if let Some(answer) = self.sas.values().find_map(|sa| sa.init_answer_again(bytes, path)) {
            self.output.transmits.push_back(answer);
            return;
        }
        let (serial, secret) = (self.opened, self.cookie_secret);
        let opened = match message.header.exchange {
            ExchangeType::IKE_SA_INIT => init::open(bytes, message, path, serial, &secret, &mut self.context(now)),
            _ => resumption::open(bytes, message, path, serial, &mut self.context(now)),
        };
        if let Some(sa) = opened {
            self.opened = self.opened.saturating_add(1);
            self.sas.insert(sa.own_spi(), sa);
        }
    }

    fn settle(&mut self, ours: u64, mut sa: IkeSa, fate: Fate, now: Now) {
        match fate {
            Fate::Stays => {
                let replaced = sa.take_initial_contact().then(|| sa.facts.clone());
                self.sas.insert(ours, sa);
                if let Some(facts) = replaced {
                    self.end_all(now, |spi, other| {
                        spi != ours && (&other.facts.peer_id, &other.facts.user) == (&facts.peer_id, &facts.user)
                    });
                }
            }
            Fate::HandsOver(successor) => {
                self.sas.insert(ours, sa);
                self.sas.insert(successor.own_spi(), *successor);
            }
            Fate::Ends => sa.end(&mut self.context(now)),
        }
    }

    fn end_all(&mut self, now: Now, unwanted: impl Fn(u64, &IkeSa) -> bool) {
        let gone: Vec<_> = self.sas.extract_if(.., |spi, sa| unwanted(*spi, sa)).collect();
        for (_, mut sa) in gone {
            sa.end(&mut self.context(now));
        }
    }

    /// Does what is due: repeats requests, gives up silent clients and half-open SAs.
    pub fn handle_timeout(&mut self, now: Now) {
        let spis: Vec<_> = self.sas.keys().copied().collect();
        for spi in spis {
            if let Some(mut sa) = self.sas.remove(&spi) {
                let fate = sa.timeout(&mut self.context(now));
                self.settle(spi, sa, fate, now);
            }
        }
    }

    /// Returns when [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.sas.values().filter_map(|sa| sa.deadline(self.settings.negotiation_limit())).min()
    }

    /// Returns the next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.output.transmits.pop_front()
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.output.events.pop_front()
    }

    /// Deletes every IKE SA, telling the clients.
    pub fn close_all(&mut self, now: Now) {
        self.command(now, IkeSa::close);
    }

    /// Asks every client whether it lives.
    pub fn check_liveness(&mut self, now: Now) {
        self.command(now, IkeSa::check_liveness);
    }

    fn command(&mut self, now: Now, command: impl Fn(&mut IkeSa, &mut Context<'_>) -> Fate) {
        let spis: Vec<_> = self.sas.keys().copied().collect();
        for spi in spis {
            if let Some(mut sa) = self.sas.remove(&spi) {
                let fate = command(&mut sa, &mut self.context(now));
                self.settle(spi, sa, fate, now);
            }
        }
    }

    /// Notes that an authentic ESP packet came from elsewhere: a NAT has moved the client.
    pub fn moved(&mut self, from: Path, to: Path) {
        self.sas.values_mut().filter(|sa| sa.path == from).for_each(|sa| sa.path = to);
    }

    /// Returns the SAs, oldest first, for lists.
    pub(super) fn listed(&self) -> Vec<&IkeSa> {
        let mut all: Vec<_> = self.sas.values().filter(|sa| sa.is_listed()).collect();
        all.sort_by_key(|sa| sa.serial);
        all
    }

    /// Returns how many IKE SAs there are, in whatever state.
    pub fn sa_count(&self) -> usize {
        self.sas.len()
    }

    /// Returns how many clients have a tunnel.
    pub fn established(&self) -> usize {
        self.sas.values().filter(|sa| sa.is_established()).count()
    }

    const fn context(&mut self, now: Now) -> Context<'_> {
        Context {
            settings: &self.settings,
            credentials: &self.credentials,
            tags: &self.tags,
            random: &mut *self.random,
            pool: &mut self.pool,
            tickets: &mut self.tickets,
            output: &mut self.output,
            now,
        }
    }
}

impl Path {
    /// Returns the client's address if it is an IPv4 one, which is what tags are matched on.
    pub fn outer_ipv4(&self) -> Option<std::net::Ipv4Addr> {
        match self.remote.ip() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }
}
