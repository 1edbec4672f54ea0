//! Other addresses of one gateway (RFC 4555 §3.6).
//!
//! The gateway says under its IKE SA where else it can be reached. From there ESP is taken as from the
//! address in use: its integrity check is what makes it the gateway's. An IKE message is kept apart with
//! the address it came from, since an authentic answer from there moves the tunnel.

use crate::transport::{Packet, udp};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

/// How many IKE messages from other addresses wait for the engine; more are dropped, IKE repeats them.
const WAITING: usize = 8;

/// See the module's description.
#[derive(Debug, Default)]
pub struct OtherAddresses {
    announced: RwLock<Vec<IpAddr>>,
    messages: Mutex<Vec<(Vec<u8>, SocketAddr)>>,
    waiting: AtomicBool,
}

impl OtherAddresses {
    /// Takes the gateway's list in place of the one before.
    pub fn announce(&self, addresses: &[IpAddr]) {
        let known = self.announced.read().unwrap_or_else(PoisonError::into_inner).as_slice() == addresses;
        if !known {
            addresses.clone_into(&mut self.announced.write().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Tells whether the gateway said that it is at that address too.
    pub fn admits(&self, address: IpAddr) -> bool {
        self.announced.read().unwrap_or_else(PoisonError::into_inner).contains(&address.to_canonical())
    }

    /// Keeps a datagram from another address if it is an IKE message; returns false when it is not.
    pub fn keep(&self, datagram: &[u8], from: SocketAddr) -> bool {
        let Ok(Packet::Ike(message)) = udp::demultiplex(datagram) else { return false };
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() < WAITING {
            messages.push((message.to_vec(), SocketAddr::new(from.ip().to_canonical(), from.port())));
            self.waiting.store(true, Ordering::Release);
        }
        true
    }

    /// Gives the IKE messages away.
    pub fn take(&self) -> Vec<(Vec<u8>, SocketAddr)> {
        if !self.waiting.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
