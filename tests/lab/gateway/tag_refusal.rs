//! How the lab gateway tells a client that its tag match failed. The one place that knows.
//!
//! FortiOS's way is not public. Ours: the last IKE_AUTH response, encrypted and integrity
//! protected as any other, carries beside AUTHENTICATION_FAILED the private error notify
//! [`NotifyType::LAB_TAG_CHECK_FAILED`] with the text [`TEXT`], the words that FortiClient shows.

use ike_client::wire::{Notify, NotifyType, Payload};

/// The notify's data.
pub const TEXT: &str = "EMSTokenCheckFailed";

/// What the event log gives as the reason.
pub const LOG_REASON: &str = "EMS ZTNA tags check failed";

/// Returns the payloads of the refusal.
pub fn payloads() -> Vec<Payload> {
    vec![
        Payload::Notify(Notify::new(NotifyType::LAB_TAG_CHECK_FAILED, TEXT.as_bytes().to_vec())),
        Payload::Notify(Notify::new(NotifyType::AUTHENTICATION_FAILED, Vec::new())),
    ]
}
