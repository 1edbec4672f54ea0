//! One CHILD SA: offered, agreed, installed (RFC 7296 §1.2, §2.17).

use super::cause::CloseCause;
use super::context::Context;
use super::event::{ChildInstalled, Event, OutboundFrom, Warning};
use super::payloads::Payloads;
use super::proposal;
use super::selectors::Ends;
use crate::crypto::keys::{ChildKeys, Side};
use crate::crypto::suite::EspSuite;
use crate::esp::{EspSpi, InboundSa, OutboundSa, WindowSize};
use crate::time::Timestamp;
use crate::wire::Payload;

/// A CHILD SA that stands.
#[derive(Debug)]
pub(super) struct ChildSa {
    /// The SPI this side receives on.
    pub inbound: EspSpi,
    /// The SPI the peer receives on.
    pub outbound: EspSpi,
    pub ends: Ends,
    pub standing: Standing,
    /// When its renewal starts; none once that has happened.
    pub rekey: Option<Timestamp>,
    /// When it is given up.
    pub expiry: Timestamp,
}

/// What a CHILD SA is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It carries packets.
    InUse,
    /// Another took its place; whoever asked for that deletes it. This side does, if the other has
    /// not until then.
    Replaced {
        /// Until when the peer's deletion is waited for.
        until: Timestamp,
    },
    /// It came out of a collision as the one too many and was never installed.
    Redundant,
}

/// What is asked of the gateway.
#[derive(Debug)]
pub(super) struct ChildOffer {
    pub inbound: EspSpi,
    pub suites: Vec<EspSuite>,
    pub ends: Ends,
}

impl ChildOffer {
    /// Makes the offer that the configuration asks for.
    pub(super) fn first(context: &mut Context) -> Result<Self, CloseCause> {
        let suites = proposal::without_groups(&context.configuration.esp_suites);
        let ends = Ends::wanted(&context.configuration);
        if suites.is_empty() {
            return Err(CloseCause::unusable("no ESP suite"));
        }
        if ends.is_empty() {
            return Err(CloseCause::unusable("no network of a family for which an address is requested"));
        }
        Ok(Self { inbound: context.esp_spi()?, suites, ends })
    }

    /// Makes the same offer for an exchange of its own, where the suites' groups bring a fresh secret.
    pub(super) fn further(context: &mut Context) -> Result<Self, CloseCause> {
        let suites = context.configuration.esp_suites.clone();
        Ok(Self { suites, ..Self::first(context)? })
    }

    /// Returns SA, TSi and TSr.
    pub(super) fn payloads(&self) -> [Payload; 3] {
        [
            Payload::SecurityAssociation(proposal::offer(&self.suites, &self.inbound.0.to_be_bytes())),
            Payload::TrafficSelectorsInitiator(self.ends.local.clone()),
            Payload::TrafficSelectorsResponder(self.ends.remote.clone()),
        ]
    }

    /// Reads what the peer chose.
    pub(super) fn agreed(self, payloads: Payloads<'_>) -> Result<Agreed, CloseCause> {
        let missing = || CloseCause::misbehaved("a CHILD SA's payload is missing in its answer");
        let (suite, spi) = proposal::chosen(&self.suites, payloads.proposals().ok_or_else(missing)?)
            .map_err(|error| CloseCause::misbehaved(error.to_string()))?;
        let local = payloads.initiator_selectors().ok_or_else(missing)?;
        let remote = payloads.responder_selectors().ok_or_else(missing)?;
        let ends = self.ends.narrowed(local, remote).ok_or(CloseCause::TrafficSelectorsUnacceptable)?;
        Ok(Agreed { inbound: self.inbound, outbound: esp_spi(spi)?, suite, ends })
    }
}

/// Where the first CHILD SA comes from.
#[derive(Debug)]
pub(super) enum FirstChild {
    /// It was asked for in IKE_AUTH.
    Offered(ChildOffer),
    /// IKE_AUTH goes without (RFC 6023): it is asked for when the IKE SA stands.
    Later,
}

impl FirstChild {
    /// Returns the own SPI of the CHILD SA that was asked for.
    pub(super) const fn expected(&self) -> Option<EspSpi> {
        match self {
            Self::Offered(offer) => Some(offer.inbound),
            Self::Later => None,
        }
    }
}

/// What both sides agreed on.
#[derive(Debug)]
pub(super) struct Agreed {
    pub inbound: EspSpi,
    pub outbound: EspSpi,
    pub suite: EspSuite,
    pub ends: Ends,
}

/// Reads the SPI of an ESP SA; those up to 255 are reserved (RFC 4303 §2.1).
pub(super) fn esp_spi(octets: &[u8]) -> Result<EspSpi, CloseCause> {
    match <[u8; 4]>::try_from(octets).map(u32::from_be_bytes) {
        Ok(spi) if spi > 255 => Ok(EspSpi(spi)),
        _ => Err(CloseCause::misbehaved(proposal::ChoiceError::BadSpi.to_string())),
    }
}

impl Agreed {
    /// Makes the CHILD SA with its lifetimes.
    pub(super) fn to_child(&self, context: &mut Context, now: Timestamp) -> Result<ChildSa, CloseCause> {
        let lifetime = context.configuration.child_lifetime;
        let early = context.part_of(lifetime.jitter)?;
        Ok(ChildSa {
            inbound: self.inbound,
            outbound: self.outbound,
            ends: self.ends.clone(),
            standing: Standing::InUse,
            rekey: Some(now + lifetime.rekey_after.saturating_sub(early)),
            expiry: now + lifetime.expire_after,
        })
    }

    /// Takes the keys into use and hands both halves to the driver. `side` is the own one in the
    /// exchange that made the SA.
    pub(super) fn install(
        &self,
        keys: &ChildKeys,
        side: Side,
        replaces: Option<EspSpi>,
        context: &mut Context,
    ) -> Result<(), CloseCause> {
        let (ours, theirs) = match side {
            Side::Initiator => (&keys.from_initiator, &keys.from_responder),
            Side::Responder => (&keys.from_responder, &keys.from_initiator),
        };
        let outbound_from = match side {
            Side::Initiator => OutboundFrom::Now,
            Side::Responder => OutboundFrom::FirstInbound,
        };
        if replaces.is_some() && self.suite.is_weak() {
            context.tell(Event::Warning(Warning::WeakSuite { suite: self.suite.to_string() }));
        }
        let spis = match side {
            Side::Initiator => (self.inbound, self.outbound),
            Side::Responder => (self.outbound, self.inbound),
        };
        context.disclosure.child(spis, &self.suite, keys, context.path.remote.ip());
        let selectors = self.ends.for_packets();
        let window = WindowSize::new(usize::try_from(context.configuration.replay_window).unwrap_or(usize::MAX));
        let unusable = |error: crate::crypto::protect::CipherError| CloseCause::unusable(error.to_string());
        let outbound = OutboundSa::new(self.outbound, &self.suite, ours, selectors.clone()).map_err(unusable)?;
        let inbound = InboundSa::new(self.inbound, &self.suite, theirs, selectors, window).map_err(unusable)?;
        context.tell(Event::ChildInstalled(Box::new(ChildInstalled {
            outbound,
            inbound,
            suite: self.suite,
            local_selectors: self.ends.local.clone(),
            remote_selectors: self.ends.remote.clone(),
            replaces,
            outbound_from,
        })));
        Ok(())
    }
}
