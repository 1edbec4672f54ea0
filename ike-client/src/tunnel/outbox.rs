//! Events on their way to the owner, who may be slow or stopped: the engine never waits for it.

use super::control::Event;
use std::collections::VecDeque;
use tokio::sync::mpsc;

/// The most events kept. Counters give way to newer ones; more of the others than this means that
/// the owner is gone. What says how the tunnel stands is kept beyond that: there is little of it.
const MOST: usize = 256;

/// The queue.
#[derive(Debug)]
pub struct Outbox {
    events: mpsc::Sender<Event>,
    waiting: VecDeque<Event>,
}

impl Outbox {
    /// Makes an empty queue.
    pub const fn new(events: mpsc::Sender<Event>) -> Self {
        Self { events, waiting: VecDeque::new() }
    }

    /// Queues an event, or hands it over at once when there is room.
    pub fn put(&mut self, event: Event) {
        if let Event::Counters { .. } = event {
            self.waiting.retain(|waiting| !matches!(waiting, Event::Counters { .. }));
        }
        // Whoever floods us is in the conversation log too: it leaves room for what matters.
        let most = if matches!(event, Event::Trace { .. }) { MOST / 2 } else { MOST };
        if self.waiting.len() < most || says_how_it_stands(&event) {
            self.waiting.push_back(event);
        }
        while let Some(event) = self.waiting.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.waiting.push_front(event);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => self.waiting.clear(),
            }
        }
    }

    /// Hands one waiting event over; waits for ever when none waits.
    pub async fn deliver(&mut self) {
        if self.waiting.is_empty() {
            return std::future::pending().await;
        }
        // Reserving first: an event is taken off the queue only when it can go.
        match self.events.reserve().await {
            Ok(permit) => {
                if let Some(event) = self.waiting.pop_front() {
                    permit.send(event);
                }
            }
            Err(_) => self.waiting.clear(),
        }
    }

    /// Hands everything over, waiting for the owner.
    pub async fn flush(&mut self) {
        while !self.waiting.is_empty() {
            self.deliver().await;
        }
    }
}

/// Tells whether an event is one without which the owner would believe what is not so.
const fn says_how_it_stands(event: &Event) -> bool {
    matches!(
        event,
        Event::Established { .. }
            | Event::Succeeded { .. }
            | Event::GatewayMoved { .. }
            | Event::DataStopped { .. }
            | Event::Ended { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::super::control::{Carrier, Counters, EndCause, EstablishedTunnel, Progress, Protection};
    use super::*;
    use crate::session::SaKind;
    use crate::time::Timestamp;

    fn tunnel() -> Box<EstablishedTunnel> {
        Box::new(EstablishedTunnel {
            gateway: ([198, 51, 100, 1], 4500).into(),
            other_gateways: Vec::new(),
            local: ([192, 0, 2, 1], 4500).into(),
            carrier: Carrier::Udp,
            behind_nat: false,
            gateway_identity: "gateway.test".to_owned(),
            addresses: Vec::new(),
            dns: Vec::new(),
            domains: Vec::new(),
            remote_selectors: Vec::new(),
            networks: Vec::new(),
            mtu: 1400,
            device: "postern0".to_owned(),
            device_index: 7,
            protection: Protection::WireGuard,
            warnings: Vec::new(),
        })
    }

    #[tokio::test]
    async fn what_says_how_the_tunnel_stands_is_kept_however_much_waits() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut outbox = Outbox::new(sender);
        for _ in 0..2 * MOST {
            outbox.put(Event::Rekeyed { sa: SaKind::Child });
        }
        let at = Timestamp::ZERO;
        let kept = [
            Event::Established { tunnel: tunnel() },
            Event::Succeeded { tunnel: tunnel() },
            Event::GatewayMoved { tunnel: tunnel() },
            Event::DataStopped { at },
            Event::Ended { cause: EndCause::OwnerGone },
        ];
        kept.iter().cloned().for_each(|event| outbox.put(event));
        let reader = async {
            let mut seen = Vec::new();
            while let Some(event) = receiver.recv().await {
                seen.push(event);
            }
            seen
        };
        let (seen, ()) = tokio::join!(reader, async move { outbox.flush().await });
        let (flood, told): (Vec<_>, Vec<_>) =
            seen.into_iter().partition(|event| matches!(event, Event::Rekeyed { .. }));
        // One is with the owner, the others wait.
        assert_eq!(flood.len(), MOST + 1);
        assert_eq!(told, kept);
    }

    #[tokio::test]
    async fn a_slow_owner_gets_everything_in_order_and_the_newest_counters() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut outbox = Outbox::new(sender);
        let counters = |packets_sent| Event::Counters { counters: Counters { packets_sent, ..Counters::default() } };
        outbox.put(Event::Progress { step: Progress::LookingUp });
        outbox.put(counters(1));
        outbox.put(Event::Progress { step: Progress::Authenticated });
        outbox.put(counters(2));
        let mut seen = Vec::new();
        let reader = async {
            while let Some(event) = receiver.recv().await {
                seen.push(event);
            }
        };
        let writer = async move { outbox.flush().await };
        tokio::join!(reader, writer);
        assert_eq!(
            seen,
            [
                Event::Progress { step: Progress::LookingUp },
                Event::Progress { step: Progress::Authenticated },
                counters(2)
            ]
        );
    }
}
