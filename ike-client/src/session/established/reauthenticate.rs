//! How long the authentication holds (RFC 4478).
//!
//! A gateway may say after how many seconds it wants this client to prove itself again; renewals do
//! not change that. Proving oneself again means another IKE SA from the start, so it is not done
//! here: the owner is told in time, makes a successor beside this session, and closes this one when
//! the successor stands. The same is said when the IKE SA nears its age limit without having been
//! renewed.

use super::EstablishedSa;
use crate::session::context::Context;
use crate::session::event::Event;
use crate::time::Timestamp;
use std::time::Duration;

/// A gateway that wants another proof sooner than this has to end the session itself.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(20);
/// The successor is asked for this long before the end: a tenth of the lifetime, within these bounds.
const SHORTEST_MARGIN: Duration = Duration::from_secs(5);
/// See [`SHORTEST_MARGIN`]. Long enough for a person to find a token.
const LONGEST_MARGIN: Duration = Duration::from_secs(300);

/// When the authentication ends, and what was said about it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Authentication {
    /// When a successor is asked for, and when the gateway ends this one.
    ends: Option<(Timestamp, Timestamp)>,
    /// The end that the owner was told of last.
    told: Option<Timestamp>,
}

impl EstablishedSa {
    /// Reads the seconds of AUTH_LIFETIME.
    pub(super) fn note_authentication_lifetime(&mut self, data: &[u8], context: &mut Context, now: Timestamp) {
        let Ok(seconds) = <[u8; 4]>::try_from(data).map(u32::from_be_bytes) else {
            context.counters.malformed += 1;
            return;
        };
        let lifetime = Duration::from_secs(u64::from(seconds)).max(SHORTEST_LIFETIME);
        self.authentication.ends = Some((now + lifetime.saturating_sub(margin(lifetime)), now + lifetime));
    }

    /// Returns when the owner is told that it is time, and the end that this is about.
    pub(super) fn reauthentication(&self, context: &Context) -> Option<(Timestamp, Timestamp)> {
        let lifetime = context.configuration.ike_lifetime;
        let age = lifetime.expire_after;
        // A renewal has its chance first; only one that came to nothing wants a successor.
        let left = age.saturating_sub(lifetime.rekey_after);
        let renewed = if left.is_zero() { Duration::ZERO } else { lifetime.rekey_after + left / 2 };
        let before = age.saturating_sub(margin(age)).max(renewed);
        let too_old = (self.ike_made + before, self.ike_expiry);
        self.authentication
            .ends
            .into_iter()
            .chain([too_old])
            .min()
            .filter(|(_, end)| self.authentication.told != Some(*end))
    }

    /// Tells the owner when it is time.
    pub(super) fn watch_authentication(&mut self, context: &mut Context, now: Timestamp) {
        if let Some((_, end)) = self.reauthentication(context).filter(|(due, _)| *due <= now) {
            self.authentication.told = Some(end);
            context.tell(Event::ReauthenticationDue { within: end.saturating_since(now) });
        }
    }
}

fn margin(lifetime: Duration) -> Duration {
    (lifetime / 10).clamp(SHORTEST_MARGIN.min(lifetime / 2), LONGEST_MARGIN)
}
