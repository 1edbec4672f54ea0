//! The data plane: two threads, one for each direction, between device and link.
//!
//! Without a lease packets are read and dropped, never kept: what applications sent before a
//! suspend must not leave after it.

use super::batch::{InboundBatch, OutboundBatch};
use super::crossing::Crossing;
use super::device::{Device, Reader, Writer};
use super::early::EarlyPacket;
use super::encapsulation::Encapsulation;
use super::gate::Gate;
use super::link::{Link, Received, SLOTS};
use super::offload::mss;
use super::pace::{Look, Patience, Sent};
use super::senders::Senders;
use super::tally::{Tally, add};
use super::wake::Wake;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;
use tokio::sync::mpsc;

/// What the threads tell the engine.
#[derive(Debug)]
pub enum FromPlane {
    /// An IKE message that came on the encapsulated socket, without its marker.
    Ike(Vec<u8>),
    /// The same, from another address that the gateway said it can be reached at.
    IkeFrom(Vec<u8>, SocketAddr),
    /// The encapsulation has something to tell: see [`Encapsulation::poll_event`].
    Told,
    /// The device is gone, or cannot be used.
    DeviceFailed(io::Error),
    /// The socket cannot be used.
    LinkFailed(io::Error),
}

/// The IKE messages and failures that may wait for the engine; more are dropped, IKE repeats them.
const WAITING: usize = 64;

/// What both threads share.
struct Shared {
    link: Arc<Link>,
    encapsulation: Arc<dyn Encapsulation>,
    gate: Arc<Gate>,
    tally: Arc<Tally>,
    wake: Wake,
    /// What the sending thread is about to send.
    crossing: Crossing,
    tell: mpsc::Sender<FromPlane>,
    /// The largest inner packet.
    mtu: Arc<AtomicU16>,
    /// Who sends to this host. The packet path passes by while somebody else reads it.
    senders: Mutex<Senders>,
}

/// The running data plane.
pub struct DataPlane {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl DataPlane {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system's, when it is out of threads or descriptors.
    pub fn start(
        device: &Device,
        link: Arc<Link>,
        encapsulation: Arc<dyn Encapsulation>,
        gate: Arc<Gate>,
        tally: Arc<Tally>,
    ) -> io::Result<(Self, mpsc::Receiver<FromPlane>)> {
        let (tell, told) = mpsc::channel(WAITING);
        let (wake, crossing, mtu, senders) = (Wake::new()?, Crossing::default(), device.mtu(), Mutex::default());
        let shared = Arc::new(Shared { link, encapsulation, gate, tally, wake, crossing, tell, mtu, senders });
        let mut plane = Self { shared: Arc::clone(&shared), threads: Vec::with_capacity(2) };
        let reader = device.reader();
        let outbound = Arc::clone(&shared);
        plane.threads.push(Builder::new().name("tunnel-out".into()).spawn(move || outbound.outbound(reader))?);
        let writer = device.writer();
        plane.threads.push(Builder::new().name("tunnel-in".into()).spawn(move || shared.inbound(writer))?);
        Ok((plane, told))
    }

    /// Waits, briefly, until nothing is about to leave that was sealed with keys that are no longer in use.
    pub fn settle(&self) {
        if !self.shared.crossing.settle() {
            tracing::debug!("packets under the old keys are still waiting to leave");
        }
    }

    /// Sends what was held while there was no key to seal with, as far as the gate lets it.
    pub fn send_held(&self) {
        let Shared { link, encapsulation, gate, tally, wake, .. } = &*self.shared;
        let Some(layout) = encapsulation.layout() else { return };
        let mut batch = OutboundBatch::new();
        batch.start(layout);
        encapsulation.restore_held(&mut batch);
        if !batch.is_empty() {
            encapsulation.seal(&mut batch, tally);
            link.send(&batch, gate, wake, tally);
        }
    }

    /// Opens what came before its key, and delivers it as far as the gate lets it.
    pub fn deliver_early(&self, device: &Device) {
        let early = self.shared.encapsulation.take_early();
        if early.is_empty() {
            return;
        }
        let (mut writer, mut batch) = (device.writer(), InboundBatch::new(1));
        for EarlyPacket { sealed, ecn } in early {
            batch.start();
            let Some(room) = batch.buffer.get_mut(..sealed.len()) else { continue };
            room.copy_from_slice(&sealed);
            batch.push(0, sealed.len(), sealed.len(), ecn);
            self.shared.encapsulation.open(&mut batch, &self.shared.tally, &mut |_| {});
            self.shared.pass_on(&mut writer, &mut batch);
        }
    }

    /// Tells those who send to this host by TCP that the path takes `mtu` octets, as far as the gate lets it.
    pub fn tell_senders(&self, mtu: u16) {
        let Shared { link, encapsulation, gate, tally, wake, senders, .. } = &*self.shared;
        let Some(layout) = encapsulation.layout() else { return };
        let mut batch = OutboundBatch::new();
        batch.start(layout);
        for packet in senders.lock().unwrap_or_else(PoisonError::into_inner).too_big(mtu) {
            if let Some(room) = batch.push(packet.len(), 0) {
                room.copy_from_slice(&packet);
            }
        }
        if !batch.is_empty() {
            encapsulation.seal(&mut batch, tally);
            link.send(&batch, gate, wake, tally);
        }
    }

    /// Ends the threads and waits for them.
    pub fn stop(&mut self) {
        self.shared.wake.set();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the data plane has panicked");
            }
        }
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn outbound(&self, mut reader: Reader) {
        let mut batch = OutboundBatch::new();
        let result = self.move_all_out(&mut reader, &mut batch);
        if let Err(error) = result {
            let _ = self.tell.blocking_send(FromPlane::DeviceFailed(error));
        }
    }

    fn move_all_out(&self, reader: &mut Reader, batch: &mut OutboundBatch) -> io::Result<()> {
        while reader.wait(&self.wake)? {
            // As long as there is more nobody needs to wait for it.
            while !self.move_out(reader, batch)? && !self.wake.is_set() {}
        }
        Ok(())
    }

    /// Moves a batch; returns whether nothing was left to be read.
    fn move_out(&self, reader: &mut Reader, batch: &mut OutboundBatch) -> io::Result<bool> {
        let (Some(_), Some(layout)) = (self.gate.enter(), self.encapsulation.layout()) else {
            return reader.discard(&self.tally).map(|()| true);
        };
        batch.start(layout);
        let drained = reader.fill(batch, &self.tally)?;
        if !batch.is_empty() {
            let mtu = self.mtu.load(Ordering::Relaxed);
            let mut senders = self.senders.try_lock().ok();
            batch.inner_each(|packet| {
                mss::clamp(packet, mtu);
                if let Some(senders) = &mut senders {
                    senders.note(packet);
                }
            });
            drop(senders);
            let under_way = self.crossing.begin();
            self.encapsulation.seal(batch, &self.tally);
            self.link.send(batch, &self.gate, &self.wake, &self.tally);
            drop(under_way);
            self.tell_events();
        }
        Ok(drained)
    }

    fn tell_events(&self) {
        if self.encapsulation.has_event() {
            let _ = self.tell.try_send(FromPlane::Told);
        }
    }

    fn inbound(&self, mut writer: Writer) {
        let mut batch = InboundBatch::new(SLOTS);
        let (mut patience, mut look) = (Patience::default(), Look::default());
        let result = loop {
            // Whoever is patient need not ask first whether there is something, unless there was nothing.
            if patience.span().is_none() || look.packets == 0 {
                match self.link.wait(&self.wake) {
                    Ok(true) => {}
                    Ok(false) => break Ok(()),
                    Err(error) => break Err(error),
                }
            }
            if let Some(span) = patience.span() {
                std::thread::sleep(span);
            }
            look = match self.move_in(&mut writer, &mut batch) {
                Ok(look) => look,
                Err(error) => break Err(error),
            };
            patience.note(look, self.sent(), Instant::now());
        };
        if let Err(error) = result {
            let _ = self.tell.blocking_send(FromPlane::LinkFailed(error));
        }
    }

    fn sent(&self) -> Sent {
        let Tally { packets_sent, bytes_sent, .. } = &*self.tally;
        Sent { packets: packets_sent.load(Ordering::Relaxed), octets: bytes_sent.load(Ordering::Relaxed) }
    }

    /// Moves what is there; returns what it was.
    fn move_in(&self, writer: &mut Writer, batch: &mut InboundBatch) -> io::Result<Look> {
        let mut look = Look::default();
        loop {
            batch.start();
            let received = self.link.receive(batch, &self.tally)?;
            if received == Received::Nothing || self.wake.is_set() {
                return Ok(look);
            }
            look += batch.brought();
            for (message, from) in self.link.take_from_others() {
                let _ = self.tell.try_send(FromPlane::IkeFrom(message, from));
            }
            self.encapsulation.open(batch, &self.tally, &mut |message| {
                let _ = self.tell.try_send(FromPlane::Ike(message.to_vec()));
            });
            self.tell_events();
            self.pass_on(writer, batch);
            if received == Received::All {
                return Ok(look);
            }
        }
    }

    /// Delivers what was opened, if the gate is open.
    fn pass_on(&self, writer: &mut Writer, batch: &mut InboundBatch) {
        if batch.is_empty() {
            return;
        }
        let mtu = self.mtu.load(Ordering::Relaxed);
        batch.opened_each(|packet| mss::clamp(packet, mtu));
        match self.gate.enter() {
            Some(_passage) => writer.deliver(batch, &self.tally),
            None => add(&self.tally.dropped_without_lease, batch.opened().1.len()),
        }
    }
}
