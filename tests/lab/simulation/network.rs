//! Datagrams under way between one client and one gateway.

use ike_client::random::{Random, SeededRandom};
use ike_client::time::Timestamp;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The gateway's address.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Which side a datagram goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client.
    Client,
    /// The gateway.
    Gateway,
}

/// A datagram.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Which side it goes to.
    pub to: End,
    /// Where it comes from, as the receiver sees it.
    pub source: SocketAddr,
    /// Where it goes to, as the sender addressed it.
    pub destination: SocketAddr,
    /// What is in it, without a marker; ESP has none either.
    pub bytes: Vec<u8>,
}

/// What lies between, with a NAT in front of the client.
#[derive(Debug)]
pub struct Network {
    random: SeededRandom,
    /// So many of 256 are lost.
    pub loss: u8,
    /// So many of 256 arrive twice.
    pub repetition: u8,
    /// The longest way.
    pub delay: Duration,
    /// Larger ones are lost.
    pub largest: usize,
    /// The client's own address.
    pub inside: Ipv4Addr,
    /// The NAT's address, behind which the client is seen.
    outside: Ipv4Addr,
    /// What the NAT adds to the client's ports.
    mapping: u16,
    under_way: Vec<(Timestamp, Datagram)>,
}

impl Network {
    /// Makes a good network.
    pub fn new(seed: u64) -> Self {
        Self {
            random: SeededRandom::new(seed),
            loss: 0,
            repetition: 0,
            delay: Duration::from_millis(20),
            largest: 9000,
            inside: Ipv4Addr::new(10, 0, 0, 2),
            outside: Ipv4Addr::new(198, 51, 100, 1),
            mapping: 0,
            under_way: Vec::new(),
        }
    }

    /// Makes it good again.
    pub fn heal(&mut self) {
        (self.loss, self.repetition, self.delay, self.largest) = (0, 0, Duration::from_millis(20), 9000);
    }

    /// Forgets the mapping: the next datagram of the client makes another, and what goes to the old
    /// one is lost.
    pub fn rebind(&mut self) {
        self.mapping = self.mapping % 20_000 + 1000;
    }

    /// Puts the client behind another NAT.
    pub fn relocate(&mut self, place: u8) {
        self.inside = Ipv4Addr::new(10, 0, place, 2);
        self.outside = Ipv4Addr::new(198, 51, 100, place);
        self.rebind();
    }

    fn octet(&mut self) -> u8 {
        let mut octet = [0];
        self.random.fill(&mut octet).expect("a seed never runs dry");
        octet[0]
    }

    /// Returns how the gateway sees the client's port.
    fn mapped(&self, port: u16) -> SocketAddr {
        (self.outside, port.wrapping_add(self.mapping)).into()
    }

    /// Takes a datagram of the client from that port.
    pub fn from_client(&mut self, port: u16, destination: SocketAddr, bytes: Vec<u8>, now: Timestamp) {
        let source = self.mapped(port);
        self.carry(Datagram { to: End::Gateway, source, destination, bytes }, now);
    }

    /// Takes a datagram of the gateway.
    pub fn from_gateway(&mut self, source: SocketAddr, destination: SocketAddr, bytes: Vec<u8>, now: Timestamp) {
        self.carry(Datagram { to: End::Client, source, destination, bytes }, now);
    }

    /// Puts a datagram on the wire that nobody of the two sent; it is neither lost nor late.
    pub fn inject(&mut self, datagram: Datagram, now: Timestamp) {
        self.under_way.push((now, datagram));
    }

    fn carry(&mut self, datagram: Datagram, now: Timestamp) {
        if datagram.bytes.len() > self.largest || self.octet() < self.loss {
            return;
        }
        let copies = if self.octet() < self.repetition { 2 } else { 1 };
        for _ in 0..copies {
            let delay = self.delay * (u32::from(self.octet()) + 1) / 256;
            self.under_way.push((now + delay, datagram.clone()));
        }
    }

    /// Returns when the next datagram arrives.
    pub fn next(&self) -> Option<Timestamp> {
        self.under_way.iter().map(|(at, _)| *at).min()
    }

    /// Returns what has arrived, the first first. The NAT lets through to the client only what is
    /// addressed to the mapping it has now.
    pub fn arrived(&mut self, now: Timestamp) -> Vec<Datagram> {
        let mut arrived: Vec<(Timestamp, Datagram)> = self.under_way.extract_if(.., |(at, _)| *at <= now).collect();
        arrived.sort_by_key(|(at, _)| *at);
        let (natted, plain) = (self.mapped(4500), self.mapped(500));
        let passes =
            |datagram: &Datagram| datagram.to == End::Gateway || [natted, plain].contains(&datagram.destination);
        arrived.into_iter().map(|(_, datagram)| datagram).filter(passes).collect()
    }

    /// Loses everything under way.
    pub fn drop_all(&mut self) {
        self.under_way.clear();
    }
}
