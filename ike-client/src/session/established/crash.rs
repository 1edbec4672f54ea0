//! A gateway that has restarted (quick crash detection, RFC 6290).
//!
//! It cannot protect anything any more, so its INVALID_IKE_SPI proves nothing. If it gave a token
//! while it still could, and now shows the same one, it is the gateway that has lost everything: the
//! session ends at once instead of after the silence.

use super::EstablishedSa;
use crate::session::payloads::Payloads;
use crate::wire::{ExchangeType, Message, NotifyType};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// How long a token may be (RFC 6290 §4.1).
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=128;

/// The token that the gateway gave for an IKE SA; whoever shows it can end the session.
#[derive(Debug, Default)]
pub(super) struct CrashToken(Option<Zeroizing<Vec<u8>>>);

impl CrashToken {
    /// Reads the token of a protected message.
    pub(super) fn read(payloads: Payloads<'_>) -> Self {
        let notify = payloads.notify(NotifyType::QUICK_CRASH_DETECTION);
        let token = notify.map(|notify| notify.data.clone()).filter(|token| LENGTHS.contains(&token.len()));
        Self(token.map(Zeroizing::new))
    }
}

impl EstablishedSa {
    /// Tells whether an unprotected message under the current IKE SA's SPIs proves that the gateway
    /// has lost it.
    pub(super) fn shows_crash(&self, message: &Message) -> bool {
        let payloads = Payloads(&message.payloads);
        let Some(known) = &self.crash_token.0 else { return false };
        message.header.exchange == ExchangeType::INFORMATIONAL
            && message.header.flags.is_response()
            && payloads.notify(NotifyType::INVALID_IKE_SPI).is_some()
            && payloads
                .notify(NotifyType::QUICK_CRASH_DETECTION)
                .is_some_and(|shown| bool::from(shown.data.as_slice().ct_eq(known.as_slice())))
    }
}
