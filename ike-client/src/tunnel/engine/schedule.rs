//! What is tried to reach a gateway, and when: its addresses, of both families in turn, by one
//! carrier or both (RFC 8305 §4, §5).

use crate::tunnel::control::{Carrier, CarrierChoice};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// The head start of each address before the next (RFC 8305 §5).
pub const HEAD_START: Duration = Duration::from_millis(250);
/// The silence after which the other carrier is started beside the first.
pub const SILENCE: Duration = Duration::from_secs(3);

/// One address of the gateway by one carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where the first message goes by UDP, or the stream by TCP.
    pub gateway: SocketAddr,
    /// What carries it.
    pub carrier: Carrier,
}

/// Returns the candidates with the time from the start at which each has its turn.
pub fn of(addresses: &[SocketAddr], choice: CarrierChoice) -> VecDeque<(Duration, Candidate)> {
    let addresses = in_turn(addresses);
    let by = |carrier: Carrier, from: Duration| {
        addresses.iter().zip(0..).map(move |(address, place)| {
            let gateway = match carrier {
                Carrier::Udp => *address,
                Carrier::Tcp { port } => SocketAddr::new(address.ip(), port),
            };
            (from + HEAD_START * place, Candidate { gateway, carrier })
        })
    };
    match choice {
        CarrierChoice::Udp => by(Carrier::Udp, Duration::ZERO).collect(),
        CarrierChoice::Tcp { port } => by(Carrier::Tcp { port }, Duration::ZERO).collect(),
        CarrierChoice::Auto { port, tcp_first } => {
            let both = [Carrier::Udp, Carrier::Tcp { port }];
            let [first, second] = if tcp_first { [both[1], both[0]] } else { both };
            by(first, Duration::ZERO).chain(by(second, SILENCE)).collect()
        }
    }
}

/// Puts the families in turn, beginning with the first address's (RFC 8305 §4).
fn in_turn(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (mut ours, mut others): (VecDeque<_>, VecDeque<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv4() == first.is_ipv4());
    let mut ordered = Vec::with_capacity(addresses.len());
    while let Some(next) = ours.pop_front() {
        ordered.push(next);
        ordered.extend(others.pop_front());
    }
    ordered.extend(others);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|address| address.parse().unwrap()).collect()
    }

    fn shown(schedule: &VecDeque<(Duration, Candidate)>) -> Vec<(u128, String)> {
        let carrier = |carrier| if carrier == Carrier::Udp { "udp" } else { "tcp" };
        let line = |(at, candidate): &(Duration, Candidate)| {
            (at.as_millis(), format!("{} {}", carrier(candidate.carrier), candidate.gateway))
        };
        schedule.iter().map(line).collect()
    }

    #[test]
    fn both_families_have_their_turn_in_the_order_of_the_look_up() {
        let found = addresses(&["[2001:db8::1]:500", "[2001:db8::2]:500", "192.0.2.1:500"]);
        let expected = [(0, "udp [2001:db8::1]:500"), (250, "udp 192.0.2.1:500"), (500, "udp [2001:db8::2]:500")];
        assert_eq!(shown(&of(&found, CarrierChoice::Udp)), expected.map(|(at, what)| (at, what.to_owned())));
    }

    #[test]
    fn tcp_begins_after_three_seconds_of_silence_and_at_its_own_port() {
        let schedule = of(&addresses(&["192.0.2.1:500"]), CarrierChoice::Auto { port: 443, tcp_first: false });
        assert_eq!(shown(&schedule), [(0, "udp 192.0.2.1:500".to_owned()), (3000, "tcp 192.0.2.1:443".to_owned())]);
    }

    #[test]
    fn what_carried_the_last_tunnel_on_this_network_is_the_first() {
        let schedule = of(&addresses(&["192.0.2.1:500"]), CarrierChoice::Auto { port: 443, tcp_first: true });
        assert_eq!(shown(&schedule), [(0, "tcp 192.0.2.1:443".to_owned()), (3000, "udp 192.0.2.1:500".to_owned())]);
    }

    #[test]
    fn a_carrier_that_was_not_chosen_is_never_tried() {
        let found = addresses(&["192.0.2.1:500", "[2001:db8::1]:500"]);
        assert!(of(&found, CarrierChoice::Tcp { port: 4500 }).iter().all(|(_, one)| one.gateway.port() == 4500));
        assert!(of(&found, CarrierChoice::Udp).iter().all(|(_, one)| one.carrier == Carrier::Udp));
        assert!(of(&[], CarrierChoice::Udp).is_empty());
    }
}
