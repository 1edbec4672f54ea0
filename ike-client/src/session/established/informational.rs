//! INFORMATIONAL requests of the peer (RFC 7296 §1.4): deletions and everything that is said in
//! notifies once both sides are proven.

use super::{EstablishedSa, Reply, Then};
use crate::esp::EspSpi;
use crate::session::context::Context;
use crate::session::event::Event;
use crate::session::ike_sa::Spis;
use crate::session::payloads::Payloads;
use crate::session::redirect;
use crate::time::Timestamp;
use crate::wire::{Delete, NotifyType, ProtocolId};

impl EstablishedSa {
    /// Answers an INFORMATIONAL request: the other halves of what the peer deletes, what MOBIKE wants
    /// returned, or nothing.
    pub(super) fn answer_informational(
        &mut self,
        asked_on: Spis,
        payloads: Payloads<'_>,
        context: &mut Context,
        now: Timestamp,
    ) -> Reply {
        let mut deleted = Vec::new();
        let mut then = self.lost_at_peer(payloads, context);
        for deletion in payloads.deletions() {
            match deletion {
                Delete::IkeSa => return Reply { payloads: Vec::new(), then: Then::IkeSaGone },
                Delete::ChildSas { protocol: ProtocolId::ESP, spis } => {
                    deleted.extend(spis.iter().filter_map(|spi| self.peer_deleted(EspSpi(spi.0), context)));
                    then = Then::ChildrenGone;
                }
                Delete::ChildSas { .. } => {}
            }
        }
        if let Some(notify) = payloads.notify(NotifyType::AUTH_LIFETIME) {
            self.note_authentication_lifetime(&notify.data, context, now);
        }
        if context.configuration.continuity.follow_redirects
            && let Some(to) = redirect::protected(payloads)
        {
            context.tell(Event::Redirected { to });
        }
        let mut reply = Vec::new();
        if !deleted.is_empty() {
            reply.push(super::delete::deletion(deleted));
        }
        reply.extend(self.answer_mobility(asked_on, payloads, context));
        Reply { payloads: reply, then }
    }

    /// Drops CHILD SAs of whose packets the peer says, under the IKE SA's protection, that it does not
    /// know their SPI (RFC 7296 §1.5).
    fn lost_at_peer(&mut self, payloads: Payloads<'_>, context: &mut Context) -> Then {
        let unknown = payloads.notifies().filter(|notify| notify.notify_type == NotifyType::INVALID_SPI);
        let lost: Vec<EspSpi> = unknown.filter_map(|notify| self.named_by(&notify.data)).collect();
        let then = if lost.is_empty() { Then::Nothing } else { Then::ChildrenGone };
        lost.into_iter().for_each(|inbound| self.retire_child(inbound, context));
        then
    }
}
