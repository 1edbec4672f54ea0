//! Finding the gateway: names one after the other, of each its addresses and carriers side by side,
//! and wherever it redirects to.

use super::ike::Engine;
use super::race::Race;
use super::schedule;
use super::{End, Owner, look_up};
use crate::auth::certificate::Known;
use crate::session::{self, CloseCause, GatewayAuthentication, RedirectTarget};
use crate::tunnel::clock;
use crate::tunnel::control::{Carrier, Command, EndCause, TunnelConfiguration};
use std::time::Duration;
use tokio::sync::mpsc;

/// The most redirects that are followed one after the other (RFC 5685 §7).
const REDIRECTS: usize = 5;
/// How long one gateway may be silent while there is another to try: the start of the second
/// carrier and some repetitions on each.
const PATIENCE: Duration = Duration::from_secs(12);

/// Tries the gateways one after the other, and of each its addresses and carriers side by side.
pub async fn connect(tunnel: &TunnelConfiguration, commands: &mut mpsc::Receiver<Command>, owner: &mut Owner) -> End {
    let mut end = End::from(CloseCause::NoAnswer);
    let mut gateways = tunnel.gateways.iter().peekable();
    while let Some(name) = gateways.next() {
        let patience = gateways.peek().map(|_| PATIENCE);
        end = follow(tunnel, name, patience, commands, owner).await;
        if !says_nothing(&end) {
            break;
        }
    }
    end
}

/// Tries one gateway, and those that it redirects to. Whichever it is in the end must prove the
/// identity of the one that was named first.
async fn follow(
    tunnel: &TunnelConfiguration,
    name: &str,
    patience: Option<Duration>,
    commands: &mut mpsc::Receiver<Command>,
    owner: &mut Owner,
) -> End {
    let mut place = name.to_owned();
    let mut redirected = None;
    for _ in 0..REDIRECTS {
        let tunnel = match &redirected {
            None => std::borrow::Cow::Borrowed(tunnel),
            Some(from) => {
                let mut tunnel = tunnel.clone();
                tunnel.session.continuity.redirected_from = Some(RedirectTarget::clone(from));
                std::borrow::Cow::Owned(tunnel)
            }
        };
        let end = dial(&tunnel, name, &place, patience, commands, owner).await;
        match &end.cause {
            EndCause::Session { cause: CloseCause::Redirected { to } } if end.device.is_none() => {
                tracing::info!(%to, "the gateway redirects");
                redirected = Some(place.parse().map_or(RedirectTarget::Name(place), RedirectTarget::Address));
                place = to.to_string();
            }
            _ => return end,
        }
    }
    CloseCause::PeerMisbehaved { what: "it redirects without end".to_owned() }.into()
}

/// Tries the gateway `name` at `place`. A way on which it answered and then fell silent is left out
/// of the next race.
async fn dial(
    tunnel: &TunnelConfiguration,
    name: &str,
    place: &str,
    patience: Option<Duration>,
    commands: &mut mpsc::Receiver<Command>,
    owner: &mut Owner,
) -> End {
    let addresses = match look_up((place, tunnel.port, tunnel.family), commands, owner).await {
        Ok(addresses) => addresses,
        Err(cause) => return cause.into(),
    };
    let mut candidates = schedule::of(&addresses, tunnel.carrier);
    loop {
        let race = Race::new(tunnel, name, &candidates, clock::now()).resuming(owner.ticket.take());
        let race = race.knowing(owner.remembered.known());
        let winner = match race.run(patience, commands, owner).await {
            Ok(winner) => winner,
            Err(cause) => return cause.into(),
        };
        candidates.retain(|(_, candidate)| *candidate != winner.candidate);
        let end = match Engine::new(tunnel, winner, owner) {
            Ok(engine) => engine.run(commands, owner).await,
            Err(error) => EndCause::Network { error: error.to_string() }.into(),
        };
        if !says_nothing(&end) || candidates.is_empty() {
            return end;
        }
    }
}

/// Tells whether an end says nothing about the next way: silence and unreachability, before the
/// tunnel stood.
fn says_nothing(end: &End) -> bool {
    let silent = matches!(
        end.cause,
        EndCause::Network { .. } | EndCause::LookupFailed { .. } | EndCause::Session { cause: CloseCause::NoAnswer }
    );
    silent && end.device.is_none()
}

/// Returns what a negotiation is told that goes to the gateway `name` by `carrier`, where this is known of revoked
/// certificates.
pub(super) fn configuration(
    tunnel: &TunnelConfiguration,
    name: &str,
    carrier: Carrier,
    known: Known,
) -> session::Configuration {
    let mut configuration = tunnel.session.clone();
    if let GatewayAuthentication::Certificate { revocation, .. } = &mut configuration.gateway_auth {
        revocation.known = known;
    }
    name.clone_into(&mut configuration.gateway_name);
    match carrier {
        Carrier::Udp => configuration.encapsulated_port = tunnel.nat_port,
        Carrier::Tcp { port } => {
            configuration.encapsulated_port = port;
            configuration.start_encapsulated = true;
            // TCP keeps the way through a NAT open by itself (RFC 9329 §6.7).
            configuration.keepalive_interval = None;
        }
    }
    configuration
}
