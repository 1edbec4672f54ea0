//! What every kind of tunnel has: the gate with its lease, the data plane, the counters.

use crate::time::Timestamp;
use crate::tunnel::clock;
use crate::tunnel::control::{COUNTERS_INTERVAL, Command, Counters, Event};
use crate::tunnel::device::Device;
use crate::tunnel::encapsulation::Encapsulation;
use crate::tunnel::gate::Gate;
use crate::tunnel::lease::LeaseReader;
use crate::tunnel::link::Link;
use crate::tunnel::outbox::Outbox;
use crate::tunnel::plane::{DataPlane, FromPlane};
use crate::tunnel::tally::Tally;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Counters may be told so much earlier: with whatever wakes the engine anyway.
const COUNTERS_SLACK: Duration = Duration::from_secs(2);

/// What the owner said last about the lease.
#[derive(Clone, Debug, Default)]
pub struct Lease {
    until: Option<Timestamp>,
    /// Where the owner writes the end of a lease that runs, if it shares that.
    shared: Option<Arc<LeaseReader>>,
}

impl Lease {
    /// Makes one that was not granted yet.
    pub const fn new(shared: Option<Arc<LeaseReader>>) -> Self {
        Self { until: None, shared }
    }

    /// Hears a command; those that are not about the lease change nothing.
    pub fn hear(&mut self, command: &Command) {
        match command {
            Command::GrantLease { until } => self.until = Some(*until),
            Command::RevokeLease => self.until = None,
            _ => {}
        }
    }

    /// Returns when it ends, as far as is known now; none where none was granted.
    fn end(&self) -> Option<Timestamp> {
        let until = self.until?;
        Some(self.shared.as_ref().map_or(until, |shared| shared.end()))
    }

    fn runs_at(&self, now: Timestamp) -> bool {
        self.end().is_some_and(|end| now < end)
    }
}

/// The gate and, once there is a device, the data plane behind it.
pub struct Traffic {
    gate: Arc<Gate>,
    lease: Lease,
    lapse_told: bool,
    tally: Arc<Tally>,
    told: Counters,
    /// How many packets had come in at the last look.
    seen: u64,
    counters_due: Option<Timestamp>,
    running: Option<Running>,
    /// The device after the data plane was stopped.
    idle: Option<Device>,
    stopped: bool,
}

struct Running {
    plane: DataPlane,
    told: mpsc::Receiver<FromPlane>,
    device: Device,
}

impl Traffic {
    /// Makes the gate, open as far as the lease goes.
    pub fn new(lease: Lease) -> Self {
        let traffic = Self {
            gate: Arc::new(Gate::reading(lease.shared.clone())),
            lease,
            lapse_told: true,
            tally: Arc::default(),
            told: Counters::default(),
            seen: 0,
            counters_due: None,
            running: None,
            idle: None,
            stopped: false,
        };
        traffic.apply_lease();
        traffic
    }

    /// Hears a command about the lease.
    pub fn hear(&mut self, command: &Command) {
        self.lease.hear(command);
        self.apply_lease();
        if self.lease.runs_at(clock::now()) {
            self.lapse_told = false;
        }
    }

    fn apply_lease(&self) {
        match self.lease.until {
            Some(until) => self.gate.grant(until),
            None => self.gate.revoke(),
        }
    }

    /// Starts moving packets between device and link.
    ///
    /// # Errors
    /// The system's.
    pub fn start(&mut self, device: Device, link: Arc<Link>, encapsulation: Arc<dyn Encapsulation>) -> io::Result<()> {
        let (plane, told) =
            DataPlane::start(&device, link, encapsulation, Arc::clone(&self.gate), Arc::clone(&self.tally))?;
        self.running = Some(Running { plane, told, device });
        let now = clock::now();
        self.counters_due = Some(now + COUNTERS_INTERVAL);
        self.lapse_told = !self.lease.runs_at(now);
        Ok(())
    }

    /// Moves packets by another link from now on. What applications sent meanwhile is dropped: it
    /// must not leave later.
    ///
    /// # Errors
    /// The system's.
    pub fn relink(&mut self, link: Arc<Link>, encapsulation: Arc<dyn Encapsulation>) -> io::Result<()> {
        let Some(Running { mut plane, told, device }) = self.running.take() else { return Ok(()) };
        // Nobody listens to the old threads any more: none of them may wait for room.
        drop(told);
        plane.stop();
        let restarted = device.reader().discard(&self.tally).and_then(|()| {
            DataPlane::start(&device, link, encapsulation, Arc::clone(&self.gate), Arc::clone(&self.tally))
        });
        match restarted {
            Ok((plane, told)) => {
                self.running = Some(Running { plane, told, device });
                Ok(())
            }
            Err(error) => {
                self.idle = Some(device);
                Err(error)
            }
        }
    }

    /// Takes another size of the largest inner packet into use; the system tells whoever sends larger ones.
    pub fn set_mtu(&self, mtu: u16) {
        if let Some(Running { device, .. }) = &self.running
            && let Err(error) = device.set_mtu(mtu)
        {
            tracing::warn!(%error, mtu, "the device does not take another size of packets");
        }
    }

    /// Tells those who send to this host by TCP that packets must be of `mtu` octets at most.
    pub fn tell_senders(&self, mtu: u16) {
        if let Some(running) = &self.running {
            running.plane.tell_senders(mtu);
        }
    }

    /// Waits, briefly, until nothing is about to leave that was sealed with keys that are no longer in use: before the
    /// gateway hears that it may forget them.
    pub fn settle(&self) {
        if let Some(running) = &self.running {
            running.plane.settle();
        }
    }

    /// Sends what was held while there was no key to seal with.
    pub fn send_held(&self) {
        if let Some(running) = &self.running {
            running.plane.send_held();
        }
    }

    /// Delivers what came before its key.
    pub fn deliver_early(&self) {
        if let Some(running) = &self.running {
            running.plane.deliver_early(&running.device);
        }
    }

    /// Returns whether packets may pass at `now`.
    pub fn is_leased(&self, now: Timestamp) -> bool {
        !self.stopped && self.lease.runs_at(now)
    }

    /// Lets nothing pass any more. When this returns nothing is being handed to the system.
    pub fn shut(&self) {
        self.gate.shut();
    }

    /// Returns whether packets are being moved.
    pub const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Lets nothing pass any more and ends the threads. The device stays, deaf and mute.
    pub fn stop(&mut self, outbox: &mut Outbox) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        self.gate.shut();
        let Some(Running { mut plane, told, device }) = self.running.take() else { return };
        outbox.put(Event::DataStopped { at: clock::now() });
        // Nobody listens to the threads any more: none of them may wait for room.
        drop(told);
        plane.stop();
        self.tell_counters(outbox);
        self.counters_due = None;
        self.idle = Some(device);
    }

    /// Returns the sums.
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Gives the device away, to be dropped last.
    pub fn take_device(&mut self) -> Option<Device> {
        self.idle.take()
    }

    /// Waits for the next word of the threads; for ever when there are none.
    pub async fn told(&mut self) -> FromPlane {
        let told = match &mut self.running {
            Some(running) => running.told.recv().await,
            None => None,
        };
        match told {
            Some(told) => told,
            None => std::future::pending().await,
        }
    }

    /// Returns when [`Self::do_what_is_due`] is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        let lapse = self.lease.end().filter(|_| !self.lapse_told && self.is_running());
        [self.counters_due, lapse].into_iter().flatten().min()
    }

    /// Tells counters and a lapse of the lease. Returns whether packets came in since the last look.
    pub fn do_what_is_due(&mut self, now: Timestamp, outbox: &mut Outbox) -> bool {
        let received = self.tally.read().packets_received;
        let received = std::mem::replace(&mut self.seen, received) != received;
        if self.counters_due.is_some_and(|at| at <= now + COUNTERS_SLACK) {
            self.counters_due = Some(now + COUNTERS_INTERVAL);
            self.tell_counters(outbox);
        }
        // One that is shared may have been renewed in the moment in which it ended.
        let lapsed = !self.lease.runs_at(now);
        if self.is_running() && std::mem::replace(&mut self.lapse_told, lapsed) != lapsed && lapsed {
            outbox.put(Event::LeaseLapsed { at: now });
        }
        received
    }

    fn tell_counters(&mut self, outbox: &mut Outbox) {
        let counters = self.tally.read();
        if counters != self.told {
            self.told = counters;
            outbox.put(Event::Counters { counters });
        }
    }
}
