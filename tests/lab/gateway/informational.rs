//! INFORMATIONAL (RFC 7296 §1.4): deletions and liveness.

use super::event::Event;
use super::responder::Context;
use super::sa::{Answer, Fate, IkeSa};
use ike_client::wire::{ChildSpi, Delete, Payload, ProtocolId};

impl IkeSa {
    /// Answers an INFORMATIONAL request.
    pub(super) fn inform(&mut self, payloads: &[Payload], context: &mut Context<'_>) -> Answer {
        let mut removed = Vec::new();
        for payload in payloads {
            match payload {
                Payload::Delete(Delete::IkeSa) => return Answer::Reply(Vec::new(), Fate::Ends),
                Payload::Delete(Delete::ChildSas { protocol: ProtocolId::ESP, spis }) => {
                    removed.extend(spis.iter().filter_map(|spi| self.remove_child(*spi, context)));
                }
                _ => {}
            }
        }
        let answer = (!removed.is_empty())
            .then_some(Payload::Delete(Delete::ChildSas { protocol: ProtocolId::ESP, spis: removed }));
        let moved = self.answer_move(payloads, context);
        Answer::Reply(answer.into_iter().chain(moved).collect(), Fate::Stays)
    }

    /// Removes the CHILD SA that the client receives on `spi` with; returns the gateway's SPI of it.
    fn remove_child(&mut self, spi: ChildSpi, context: &mut Context<'_>) -> Option<ChildSpi> {
        let at = self.children.iter().position(|child| child.outbound.0 == spi.0)?;
        let child = self.children.remove(at);
        context.output.events.push_back(Event::ChildRetired { inbound: child.inbound });
        Some(ChildSpi(child.inbound.0))
    }
}
