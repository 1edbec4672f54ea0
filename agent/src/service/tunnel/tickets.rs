//! Tickets by which lost tunnels come back without asking anybody (RFC 5723).
//!
//! A ticket is as good as the proof in which it was given: whoever has it and its key has the tunnel,
//! second factor and posture check included. It is used once, by a tunnel that comes back by itself, for the
//! very profile under which it was given, and only after the pre-check. It is destroyed when the tunnel is
//! ended on purpose, whatever for, when posture refuses it, and when somebody asks for the tunnel: who asks
//! proves himself, for he may be another than before.
//!
//! Tickets are kept in this process's memory alone, one a tunnel, and never on a disk, sealed or not:
//!
//! - What is on a disk cannot be destroyed for certain: journals, snapshots, backups and a flash's spare blocks
//!   keep copies. A loss of compliance has to destroy a ticket, not the name of its file.
//! - The key of a seal would lie on the same disk, for the service starts unattended. It would keep the ticket
//!   from nobody but those who cannot read this process's memory either, while a stolen disk, or a copy of
//!   it, would bring hours in a tunnel that no password opens any more.
//! - What is gained is small. A ticket serves a tunnel that was up a moment ago. After a restart of the service or
//!   of the machine posture is judged anew in any case, and a whole handshake takes some round trips more.
//!
//! A key is wiped when its ticket is dropped.

use crate::profile::tunnel::Tunnel;
use ike_client::Timestamp;
use ike_client::session::Ticket;
use std::collections::BTreeMap;

/// The tickets of all tunnels.
#[derive(Debug, Default)]
pub struct Tickets {
    held: BTreeMap<String, (Tunnel, Box<Ticket>)>,
}

impl Tickets {
    /// Keeps a ticket that was given under this profile; it takes the place of the one before.
    pub fn keep(&mut self, name: &str, profile: &Tunnel, ticket: Box<Ticket>) {
        self.held.insert(name.to_owned(), (profile.clone(), ticket));
    }

    /// Gives a tunnel's ticket away, if it is still good and the profile is the one it was given under.
    pub fn take(&mut self, name: &str, profile: &Tunnel, now: Timestamp) -> Option<Box<Ticket>> {
        let (under, ticket) = self.held.remove(name)?;
        (under == *profile && ticket.is_good(now)).then_some(ticket)
    }

    /// Destroys a tunnel's ticket.
    pub fn destroy(&mut self, name: &str) {
        self.held.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ticket() -> Box<Ticket> {
        let ticket = serde_json::json!({
            "opaque": [1, 2, 3],
            "expires": Timestamp::from_start(Duration::from_secs(100)),
            "suite": "aes256gcm16-prfsha384-ecp384",
            "sk_d": [7, 7, 7],
            "post_quantum": false,
            "identity": "fqdn:alice.example.test".parse::<ike_client::auth::Identity>().unwrap(),
            "gateway_identity": "fqdn:vpn.example.test".parse::<ike_client::auth::Identity>().unwrap(),
        });
        Box::new(serde_json::from_value(ticket).unwrap())
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_ticket_is_given_away_once_and_only_while_it_is_good() {
        let (mut tickets, profile) = (Tickets::default(), Tunnel::to("vpn.example.test"));
        tickets.keep("work", &profile, ticket());
        assert_eq!(tickets.take("home", &profile, at(1)), None);
        assert_eq!(tickets.take("work", &profile, at(1)), Some(ticket()));
        assert_eq!(tickets.take("work", &profile, at(1)), None);
        tickets.keep("work", &profile, ticket());
        assert_eq!(tickets.take("work", &profile, at(100)), None);
    }

    #[test]
    fn a_changed_profile_and_a_deliberate_end_destroy_it() {
        let (mut tickets, profile) = (Tickets::default(), Tunnel::to("vpn.example.test"));
        tickets.keep("work", &profile, ticket());
        assert_eq!(tickets.take("work", &Tunnel::to("other.example.test"), at(1)), None);
        assert_eq!(tickets.take("work", &profile, at(1)), None);
        tickets.keep("work", &profile, ticket());
        tickets.destroy("work");
        assert_eq!(tickets.take("work", &profile, at(1)), None);
    }
}
