//! TUN where packets come and go one by one.

use crate::tunnel::batch::{InboundBatch, MAX_PACKET, OutboundBatch};
use crate::tunnel::ecn;
use crate::tunnel::tally::{Tally, add};
use crate::tunnel::wake::Wake;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use tun::AbstractDevice;

/// A device that exists as long as this does.
pub struct Device {
    device: Arc<tun::Device>,
    name: String,
    index: u32,
    mtu: Arc<AtomicU16>,
}

impl Device {
    /// Creates the device and brings it up, without addresses.
    ///
    /// # Errors
    /// The system's: no right, no driver, the name taken.
    pub fn create(name: &str, mtu: u16) -> io::Result<Self> {
        let mut configuration = tun::Configuration::default();
        configuration.mtu(mtu).up();
        // macOS numbers its devices itself.
        if !cfg!(target_os = "macos") {
            configuration.tun_name(name);
        }
        let device = tun::create(&configuration).map_err(io::Error::other)?;
        let index = device.tun_index().map_err(io::Error::other)?;
        let name = device.tun_name().map_err(io::Error::other)?;
        Ok(Self {
            device: Arc::new(device),
            name,
            index: u32::try_from(index).unwrap_or(0),
            mtu: Arc::new(AtomicU16::new(mtu)),
        })
    }

    /// Returns the device's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the device's index.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Here the size is as it was when the device was made: the path is not asked either.
    ///
    /// # Errors
    /// Always.
    pub fn set_mtu(&self, _: u16) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Returns the largest packet.
    pub fn mtu(&self) -> Arc<AtomicU16> {
        Arc::clone(&self.mtu)
    }

    /// Makes the end that reads what applications send.
    pub fn reader(&self) -> Reader {
        Reader { device: Arc::clone(&self.device), scratch: vec![0; MAX_PACKET].into(), held: None }
    }

    /// Makes the end that writes what applications receive.
    pub fn writer(&self) -> Writer {
        Writer { device: Arc::clone(&self.device) }
    }
}

/// Reads what applications send.
pub struct Reader {
    device: Arc<tun::Device>,
    scratch: Box<[u8]>,
    held: Option<usize>,
}

impl Reader {
    /// Waits until there is something to read. Returns false when woken to end.
    ///
    /// # Errors
    /// The system's.
    pub fn wait(&mut self, wake: &Wake) -> io::Result<bool> {
        while self.held.is_none() && !wake.is_set() {
            self.held = receive(&self.device, &mut self.scratch)?;
        }
        Ok(!wake.is_set())
    }

    /// Puts the packet that was waited for into the batch. Returns that nothing is left.
    ///
    /// # Errors
    /// None; the signature is Linux's.
    pub fn fill(&mut self, batch: &mut OutboundBatch, tally: &Tally) -> io::Result<bool> {
        if let Some(packet) = self.held.take().and_then(|length| self.scratch.get(..length)) {
            match batch.push(packet.len(), ecn::class(packet)) {
                Some(place) => place.copy_from_slice(packet),
                None => add(&tally.dropped_outbound, 1),
            }
        }
        Ok(true)
    }

    /// Drops the packet that was waited for.
    ///
    /// # Errors
    /// None; the signature is Linux's.
    pub fn discard(&mut self, tally: &Tally) -> io::Result<()> {
        add(&tally.dropped_without_lease, usize::from(self.held.take().is_some()));
        Ok(())
    }
}

#[cfg(unix)]
fn receive(device: &tun::Device, scratch: &mut [u8]) -> io::Result<Option<usize>> {
    match device.recv_timeout(scratch, std::time::Duration::from_millis(200)) {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn receive(device: &tun::Device, scratch: &mut [u8]) -> io::Result<Option<usize>> {
    device.recv(scratch).map(Some)
}

/// Writes what applications receive.
pub struct Writer {
    device: Arc<tun::Device>,
}

impl Writer {
    /// Writes the opened packets.
    pub fn deliver(&mut self, batch: &mut InboundBatch, tally: &Tally) {
        let (buffer, ranges) = batch.opened();
        for packet in ranges.iter().filter_map(|range| buffer.get(range.clone())) {
            match self.device.send(packet) {
                Ok(_) => {
                    add(&tally.packets_received, 1);
                    add(&tally.bytes_received, packet.len());
                }
                Err(_) => add(&tally.dropped_inbound, 1),
            }
        }
    }
}
