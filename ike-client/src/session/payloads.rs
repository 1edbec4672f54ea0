//! The payloads of one message, found by kind.

use crate::wire::{
    Authentication, Certificate, Configuration, ConfigurationType, Delete, Identification, KeyExchange, Notify,
    NotifyType, Payload, Proposal, TrafficSelector,
};

/// A view of a message's payloads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payloads<'a>(pub &'a [Payload]);

/// Declares a finder of the first payload of a kind.
macro_rules! first {
    ($($(#[$doc:meta])* $name:ident: $variant:ident => $content:ty;)*) => {$(
        $(#[$doc])*
        pub(super) fn $name(self) -> Option<&'a $content> {
            self.0.iter().find_map(|payload| match payload {
                Payload::$variant(content) => {
                    let content: &$content = content;
                    Some(content)
                }
                _ => None,
            })
        }
    )*};
}

impl<'a> Payloads<'a> {
    first! {
        /// SA.
        proposals: SecurityAssociation => [Proposal];
        /// KE.
        key_exchange: KeyExchange => KeyExchange;
        /// Ni or Nr.
        nonce: Nonce => [u8];
        /// IDi, which only a gateway reads.
        #[cfg(test)]
        initiator_identity: IdentificationInitiator => Identification;
        /// IDr.
        responder_identity: IdentificationResponder => Identification;
        /// AUTH.
        authentication: Authentication => Authentication;
        /// EAP.
        eap: Eap => [u8];
        /// TSi.
        initiator_selectors: TrafficSelectorsInitiator => [TrafficSelector];
        /// TSr.
        responder_selectors: TrafficSelectorsResponder => [TrafficSelector];
    }

    /// Returns the notifies in the order of the wire.
    pub(super) fn notifies(self) -> impl Iterator<Item = &'a Notify> + Clone {
        self.0.iter().filter_map(|payload| match payload {
            Payload::Notify(notify) => Some(notify),
            _ => None,
        })
    }

    /// Returns the first notify of a type.
    pub(super) fn notify(self, kind: NotifyType) -> Option<&'a Notify> {
        self.notifies().find(|notify| notify.notify_type == kind)
    }

    /// Returns the error that says most: one that names its reason goes before one that is vague.
    pub(super) fn error(self) -> Option<&'a Notify> {
        self.notify(NotifyType::LAB_TAG_CHECK_FAILED)
            .or_else(|| self.notifies().find(|notify| notify.notify_type.is_error()))
    }

    /// Returns the certificates in the order of the wire: encoding and data.
    pub(super) fn certificates(self) -> impl Iterator<Item = &'a Certificate> {
        self.0.iter().filter_map(|payload| match payload {
            Payload::Certificate(certificate) => Some(certificate),
            _ => None,
        })
    }

    /// Returns the deletions.
    pub(super) fn deletions(self) -> impl Iterator<Item = &'a Delete> {
        self.0.iter().filter_map(|payload| match payload {
            Payload::Delete(delete) => Some(delete),
            _ => None,
        })
    }

    /// Returns the CFG_REPLY.
    pub(super) fn configuration_reply(self) -> Option<&'a Configuration> {
        self.0.iter().find_map(|payload| match payload {
            Payload::Configuration(configuration) if configuration.kind == ConfigurationType::REPLY => {
                Some(configuration)
            }
            _ => None,
        })
    }
}
