//! What an exchange on an established SA is: what is to be asked, what is under way, what is answered,
//! and how it ends.

use super::create_child::ChildCreation;
use super::followup::Followup;
use super::mobility::AddressUpdate;
use super::rekey_child::ChildRekey;
use super::rekey_ike::IkeRekey;
use crate::esp::EspSpi;
use crate::session::cause::CloseCause;
use crate::session::ike_sa::IkeSa;
use crate::time::Timestamp;
use crate::wire::{Notify, NotifyType, Payload};

/// An IKE SA and the own exchange that is under way on it.
pub(super) struct Line {
    pub sa: IkeSa,
    pub task: Option<Task>,
}

/// An IKE SA beside the current one.
pub(super) struct Other {
    pub line: Line,
    pub standing: OtherStanding,
}

/// What an IKE SA beside the current one is there for.
pub(super) enum OtherStanding {
    /// The peer made it while the own renewal is under way; the nonces will tell whether it stays.
    Candidate {
        /// The lower nonce of the exchange that made it.
        lowest: Vec<u8>,
    },
    /// It was replaced, or is one too many, and whoever is to delete it has until then.
    Replaced {
        /// The end of the wait.
        until: Timestamp,
    },
}

/// An exchange that is to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    CreateChild,
    DeleteChild(EspSpi),
    Liveness,
    Probe(usize),
    RekeyChild(EspSpi),
    RekeyIke,
    UpdateAddresses,
}

/// An exchange that is under way.
pub(super) enum Task {
    CreateChild(Box<ChildCreation>),
    DeleteChild(EspSpi),
    DeleteIke,
    Followup(Box<Followup>),
    Liveness,
    Probe(usize),
    RekeyChild(Box<ChildRekey>),
    RekeyIke(Box<IkeRekey>),
    UpdateAddresses(AddressUpdate),
}

impl Task {
    /// Tells whether it makes, replaces or deletes an SA.
    pub(super) const fn is_about_sas(&self) -> bool {
        !matches!(self, Self::Liveness | Self::Probe(_) | Self::UpdateAddresses(_))
    }

    /// Returns the own SPI of the CHILD SA that comes of it.
    pub(super) fn expected_child(&self) -> Option<EspSpi> {
        match self {
            Self::CreateChild(creation) => Some(creation.offer.inbound),
            Self::RekeyChild(rekey) => Some(rekey.offer.inbound),
            Self::Followup(followup) => followup.original().expected_child(),
            _ => None,
        }
    }
}

/// Which IKE SA a message came in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Current,
    Other(usize),
}

/// What is answered to a request, and what then follows.
pub(super) struct Reply {
    pub payloads: Vec<Payload>,
    pub then: Then,
}

/// What follows once a request is answered.
pub(super) enum Then {
    Nothing,
    /// The peer made a new IKE SA; with the lower nonce of that exchange.
    NewIkeSa(Box<IkeSa>, Vec<u8>),
    /// The peer deleted the IKE SA that the request came in on.
    IkeSaGone,
    /// The peer deleted CHILD SAs.
    ChildrenGone,
}

/// Why it ends, and whether the peer knows already.
pub(super) enum Ending {
    /// The peer knows, or is not there to be told.
    Silent(CloseCause),
    /// The peer is to be told.
    Told(CloseCause),
}

impl From<CloseCause> for Ending {
    fn from(cause: CloseCause) -> Self {
        Self::Told(cause)
    }
}

impl From<Vec<Payload>> for Reply {
    fn from(payloads: Vec<Payload>) -> Self {
        Self { payloads, then: Then::Nothing }
    }
}

impl From<Notify> for Reply {
    fn from(notify: Notify) -> Self {
        vec![Payload::Notify(notify)].into()
    }
}

impl From<NotifyType> for Reply {
    fn from(kind: NotifyType) -> Self {
        Notify::new(kind, Vec::new()).into()
    }
}
