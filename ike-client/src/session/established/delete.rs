//! Deletion of CHILD SAs and of the IKE SA (RFC 7296 §1.4.1, §2.25).

use super::{Ending, EstablishedSa, Operation, Other, OtherStanding, Task, Which};
use crate::esp::EspSpi;
use crate::session::cause::CloseCause;
use crate::session::child::{ChildSa, Standing};
use crate::session::context::Context;
use crate::session::event::Event;
use crate::time::Timestamp;
use crate::wire::{ChildSpi, Delete, ExchangeType, Payload, ProtocolId};

impl EstablishedSa {
    /// Asks the peer to delete a CHILD SA, if it still is there.
    pub(super) fn start_delete_child(
        &mut self,
        inbound: EspSpi,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<Option<Task>, CloseCause> {
        if self.child(inbound).is_none() {
            return Ok(None);
        }
        self.current.sa.request(ExchangeType::INFORMATIONAL, &[deletion(vec![inbound])], context, now)?;
        Ok(Some(Task::DeleteChild(inbound)))
    }

    /// Returns the CHILD SA that is in use and that the peer receives on under this SPI.
    pub(super) fn named_by(&self, outbound: &[u8]) -> Option<EspSpi> {
        let in_use = |child: &&ChildSa| child.standing == Standing::InUse && child.outbound.0.to_be_bytes() == outbound;
        self.children.iter().find(in_use).map(|child| child.inbound)
    }

    /// Drops the CHILD SA that the peer receives on under `outbound`. Returns its other half, unless
    /// both sides delete it at once: then the own request says so already (RFC 7296 §2.25.1).
    pub(super) fn peer_deleted(&mut self, outbound: EspSpi, context: &mut Context) -> Option<EspSpi> {
        let inbound = self.children.iter().find(|child| child.outbound == outbound)?.inbound;
        self.retire_child(inbound, context);
        let deleting = matches!(self.task(), Some(Task::DeleteChild(own)) if *own == inbound);
        (!deleting).then_some(inbound)
    }

    /// Gives up a CHILD SA that is too old: nothing passes on it any more, and its deletion is asked for.
    pub(super) fn outlive_child(&mut self, inbound: EspSpi, context: &mut Context) {
        let Some(child) = self.child(inbound) else { return };
        let (outbound, told) = (child.outbound, child.standing == Standing::Redundant);
        child.standing = Standing::Redundant;
        child.rekey = None;
        if !told {
            context.tell(Event::ChildRetired { inbound, outbound });
        }
        self.enqueue(Operation::DeleteChild(inbound));
    }

    /// Drops a CHILD SA.
    pub(super) fn retire_child(&mut self, inbound: EspSpi, context: &mut Context) {
        let Some(place) = self.children.iter().position(|child| child.inbound == inbound) else { return };
        let child = self.children.remove(place);
        if child.standing != Standing::Redundant {
            context.tell(Event::ChildRetired { inbound: child.inbound, outbound: child.outbound });
        }
    }

    /// Goes on after the peer deleted the IKE SA that its request came in on.
    pub(super) fn ike_sa_gone(&mut self, which: Which, context: &mut Context, now: Timestamp) -> Result<(), Ending> {
        if let Which::Other(place) = which {
            if place < self.others.len() {
                self.others.remove(place);
            }
            return Ok(());
        }
        // The peer has replaced it: its SA stays, and the own renewal is forgotten (§2.25.2).
        match self.take_candidate() {
            Some((candidate, _)) => {
                self.adopt(candidate, context, now)?;
                self.others.pop();
                Ok(())
            }
            None => Err(Ending::Silent(CloseCause::ClosedByPeer)),
        }
    }

    /// Sends the Delete of an IKE SA that is not the current one.
    pub(super) fn delete_other(
        &mut self,
        mut other: Other,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), CloseCause> {
        let payloads = [Payload::Delete(Delete::IkeSa)];
        if other.line.sa.is_free() {
            other.line.sa.request(ExchangeType::INFORMATIONAL, &payloads, context, now)?;
            other.line.task = Some(Task::DeleteIke);
        }
        other.standing = OtherStanding::Replaced { until: now + super::RETIREMENT };
        self.others.push(other);
        Ok(())
    }
}

pub(super) fn deletion(spis: Vec<EspSpi>) -> Payload {
    let spis = spis.into_iter().map(|spi| ChildSpi(spi.0)).collect();
    Payload::Delete(Delete::ChildSas { protocol: ProtocolId::ESP, spis })
}
