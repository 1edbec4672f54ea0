//! NAT detection (RFC 7296 §2.23).

use super::context::Path;
use super::event::Nat;
use crate::crypto::hash::Digest;
use crate::wire::{InitiatorSpi, Notify, NotifyType, ResponderSpi};
use std::net::{IpAddr, SocketAddr};

/// The length of a detection hash.
const HASH_LENGTH: usize = 20;

/// Returns SHA-1 of SPIs, address and port.
fn hash(initiator: InitiatorSpi, responder: ResponderSpi, end: SocketAddr) -> Vec<u8> {
    let address = match end.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let parts: [&[u8]; 4] = [&initiator.to_bytes(), &responder.to_bytes(), &address, &end.port().to_be_bytes()];
    Digest::Sha1.of(&parts).as_ref().to_vec()
}

/// Returns the two notifies of an IKE_SA_INIT message.
///
/// With `disguise` the source's hash is those octets instead: the peer then sees a NAT and
/// encapsulates ESP whatever the path is like.
pub(super) fn notifies(
    initiator: InitiatorSpi,
    responder: ResponderSpi,
    path: &Path,
    disguise: Option<[u8; HASH_LENGTH]>,
) -> [Notify; 2] {
    let source = disguise.map_or_else(|| hash(initiator, responder, path.local), |octets| octets.to_vec());
    [
        Notify::new(NotifyType::NAT_DETECTION_SOURCE_IP, source),
        Notify::new(NotifyType::NAT_DETECTION_DESTINATION_IP, hash(initiator, responder, path.remote)),
    ]
}

/// Tells where NATs are, by the notifies of the peer; none when it sent none.
pub(super) fn detect<'a>(
    notifies: impl Iterator<Item = &'a Notify> + Clone,
    initiator: InitiatorSpi,
    responder: ResponderSpi,
    path: &Path,
) -> Option<Nat> {
    let differs = |kind, end| {
        let mut hashes = notifies.clone().filter(|notify| notify.notify_type == kind).peekable();
        hashes.peek()?;
        let expected = hash(initiator, responder, end);
        // A peer with several addresses sends one hash for each: one match is enough.
        Some(!hashes.any(|notify| notify.data == expected))
    };
    Some(Nat {
        there: differs(NotifyType::NAT_DETECTION_SOURCE_IP, path.remote)?,
        here: differs(NotifyType::NAT_DETECTION_DESTINATION_IP, path.local)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::output::LocalSocket;

    const SPIS: (InitiatorSpi, ResponderSpi) = (InitiatorSpi(1), ResponderSpi(2));

    fn path(local: &str, remote: &str) -> Path {
        Path { local: local.parse().unwrap(), remote: remote.parse().unwrap(), socket: LocalSocket::Ike }
    }

    fn detected(sent_by: &Path, seen_by: &Path, disguise: Option<[u8; 20]>) -> Option<Nat> {
        let notifies = notifies(SPIS.0, SPIS.1, sent_by, disguise);
        detect(notifies.iter(), SPIS.0, SPIS.1, seen_by)
    }

    #[test]
    fn a_straight_path_has_no_nat() {
        let (ours, theirs) = (path("192.0.2.1:500", "198.51.100.1:500"), path("198.51.100.1:500", "192.0.2.1:500"));
        assert_eq!(detected(&theirs, &ours, None), Some(Nat { here: false, there: false }));
    }

    #[test]
    fn each_side_behind_a_nat_is_found() {
        let ours = path("10.0.0.1:500", "198.51.100.1:500");
        let theirs = path("198.51.100.1:500", "192.0.2.1:1024");
        assert_eq!(detected(&theirs, &ours, None), Some(Nat { here: true, there: false }));
        assert_eq!(detected(&ours, &theirs, None), Some(Nat { here: false, there: true }));
    }

    #[test]
    fn a_disguised_source_looks_like_a_nat() {
        let (ours, theirs) =
            (path("[2001:db8::1]:500", "[2001:db8::2]:500"), path("[2001:db8::2]:500", "[2001:db8::1]:500"));
        assert_eq!(detected(&ours, &theirs, Some([7; 20])), Some(Nat { here: false, there: true }));
    }

    #[test]
    fn a_peer_that_says_nothing_is_told_from_one_without_nat() {
        let ours = path("192.0.2.1:500", "198.51.100.1:500");
        assert_eq!(detect([].iter(), SPIS.0, SPIS.1, &ours), None);
    }
}
