//! A client's session and the lab gateway in virtual time, on a network that does its worst.
//!
//! Everything is decided by bytes ([`run`]), so that a scenario is also an input for a fuzzer: each
//! pair of them is one thing that happens ([`Happening`]). Both sides are driven by `poll_timeout`
//! alone. After each step the [`invariants`] are looked at; at the end the network heals, and
//! whatever happened before there must be a tunnel again: the old one, or, where that one ended, one
//! that a new session makes.
//!
//! | module | holds |
//! |---|---|
//! | [`network`] | datagrams under way: loss, repetition, delay, size, a NAT that forgets |
//! | [`world`] | both sides, time, and what a driver does |
//! | [`invariants`] | what must hold whatever happens |

pub mod invariants;
pub mod network;
pub mod world;

use std::time::Duration;
use world::World;

/// The most that happens in one scenario.
const MOST: usize = 96;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Time goes by: so many tenths of a second.
    Wait(u8),
    /// From now on so many of 256 datagrams are lost.
    Loss(u8),
    /// From now on so many of 256 datagrams arrive twice.
    Repetition(u8),
    /// From now on datagrams take up to so many hundredths of a second.
    Delay(u8),
    /// From now on datagrams of more than so many times ten octets are lost.
    Size(u8),
    /// The NAT forgets: the client's datagrams come from another port.
    Rebind,
    /// The client is elsewhere; its session is told.
    Move(u8),
    /// The client renews the CHILD SA.
    RekeyChild,
    /// The client renews the IKE SA.
    RekeyIke,
    /// The client asks whether the gateway lives.
    AskGateway,
    /// The gateway asks whether the client lives.
    AskClient,
    /// The gateway loses everything.
    Restart,
    /// The client's machine sleeps for so many times four seconds: timers are late, datagrams are lost.
    Sleep(u8),
    /// A packet goes each way.
    Ping,
    /// Somebody sends a datagram again that was on the wire before, perhaps changed in one place.
    Inject(u8),
    /// Somebody sends what he likes: an unprotected message under the SPIs in use.
    Forge(u8),
}

impl Happening {
    fn decode(kind: u8, how: u8) -> Self {
        match kind % 20 {
            0..=3 => Self::Wait(how),
            4 => Self::Loss(how / 2),
            5 => Self::Repetition(how),
            6 => Self::Delay(how),
            7 => Self::Size(how),
            8 => Self::Rebind,
            9 => Self::Move(how),
            10 | 11 => Self::RekeyChild,
            12 => Self::RekeyIke,
            13 => Self::AskGateway,
            14 => Self::AskClient,
            15 if how < 64 => Self::Restart,
            15 => Self::Sleep(how),
            16 | 17 => Self::Ping,
            18 => Self::Inject(how),
            _ => Self::Forge(how),
        }
    }
}

/// Plays the scenario that these bytes describe: the first two seed all randomness, the others are
/// what happens, two bytes each.
///
/// # Panics
/// When an invariant does not hold, or there is no tunnel once the network has healed.
pub fn run(bytes: &[u8]) {
    play(bytes);
}

/// As [`run`]; returns what came up.
fn play(bytes: &[u8]) -> std::collections::BTreeSet<&'static str> {
    let (seed, script) = bytes.split_at(bytes.len().min(2));
    let seed = seed.iter().fold(1, |seed, byte| seed * 256 + u64::from(*byte));
    let mut world = World::new(seed);
    world.pass(Duration::from_secs(5));
    for pair in script.chunks_exact(2).take(MOST) {
        let [kind, how] = *pair else { continue };
        world.let_happen(Happening::decode(kind, how));
    }
    world.heal();
    world.came_up
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, proptest};
    use proptest::test_runner::{RngAlgorithm, RngSeed};

    /// Encodes a scenario.
    fn script(happenings: &[(u8, u8)]) -> Vec<u8> {
        [0, 7].into_iter().chain(happenings.iter().flat_map(|(kind, how)| [*kind, *how])).collect()
    }

    #[test]
    fn a_quiet_day_is_a_quiet_day() {
        run(&[]);
        run(&script(&[(0, 255), (16, 0), (0, 255), (16, 0)]));
    }

    #[test]
    fn a_gateway_that_restarts_under_renewals_is_found_again() {
        run(&script(&[(10, 0), (12, 0), (15, 0), (10, 0), (0, 100), (16, 0)]));
    }

    #[test]
    fn a_machine_that_sleeps_between_two_moves_comes_back() {
        run(&script(&[(9, 3), (15, 255), (9, 7), (0, 50), (16, 0)]));
    }

    #[test]
    fn scenarios_reach_what_they_are_about() {
        // Of some hundred scenarios each kind of ending must have come up, or they prove nothing.
        let mut endings = std::collections::BTreeMap::<&str, u32>::new();
        let mut random = ike_client::random::SeededRandom::new(0x7265_6163_6865_6421);
        for _ in 0..200 {
            let mut bytes = [0; 120];
            ike_client::random::Random::fill(&mut random, &mut bytes).unwrap();
            for ending in play(&bytes) {
                *endings.entry(ending).or_default() += 1;
            }
        }
        for ending in
            ["moved", "restarted", "silent", "child lost", "ike renewed", "child renewed", "survived", "made anew"]
        {
            assert!(endings.get(ending).is_some_and(|times| *times > 2), "{ending}: {endings:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            rng_algorithm: RngAlgorithm::ChaCha,
            rng_seed: RngSeed::Fixed(0x706f_7374_6572_6e21),
            max_shrink_iters: 200,
            ..ProptestConfig::with_cases(700)
        })]

        #[test]
        fn whatever_happens_the_invariants_hold_and_a_healed_network_has_a_tunnel(
            bytes in proptest::collection::vec(any::<u8>(), 2..160),
        ) {
            run(&bytes);
        }
    }
}
