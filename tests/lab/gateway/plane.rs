//! The data plane: CHILD SAs by SPI, clients by address.

use super::event::InstalledChild;
use super::responder::Path;
use ike_client::esp::{EspSpi, Opened};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::ops::Range;

/// Every CHILD SA of every client.
#[derive(Default)]
pub(crate) struct Plane {
    children: HashMap<EspSpi, Child>,
    /// Which CHILD SA a client's packets go out on, by the SPI that the gateway receives on.
    routes: HashMap<Ipv4Addr, EspSpi>,
}

struct Child {
    installed: InstalledChild,
    heard: bool,
}

impl Plane {
    /// Takes a CHILD SA into use. One that replaces another is sent on once it was heard on, or
    /// the other is gone (RFC 7296 §2.8).
    pub(crate) fn install(&mut self, installed: InstalledChild) {
        let spi = installed.inbound.spi();
        self.routes.entry(installed.address).or_insert(spi);
        self.children.insert(spi, Child { installed, heard: false });
    }

    /// Drops a CHILD SA.
    pub(crate) fn retire(&mut self, inbound: EspSpi) {
        let Some(gone) = self.children.remove(&inbound) else { return };
        let address = gone.installed.address;
        if self.routes.get(&address) == Some(&inbound) {
            let other = self.children.iter().find(|(_, child)| child.installed.address == address);
            match other.map(|(spi, _)| *spi) {
                Some(spi) => self.routes.insert(address, spi),
                None => self.routes.remove(&address),
            };
        }
    }

    /// Opens an ESP packet in place; returns where the inner packet lies, and the client's old and
    /// new path when the packet came from elsewhere.
    pub(crate) fn open(&mut self, packet: &mut [u8], path: Path) -> Option<(Range<usize>, Option<Path>)> {
        let spi = EspSpi(u32::from_be_bytes(*packet.first_chunk::<4>()?));
        let child = self.children.get_mut(&spi)?;
        let Ok(Opened::Packet(_, range)) = child.installed.inbound.open_in_place(packet) else { return None };
        if !std::mem::replace(&mut child.heard, true) {
            self.routes.insert(child.installed.address, spi);
        }
        let moved_from = (child.installed.path != path).then_some(child.installed.path);
        if moved_from.is_some() {
            let address = child.installed.address;
            let of_client = self.children.values_mut().filter(|child| child.installed.address == address);
            of_client.for_each(|child| child.installed.path = path);
        }
        Some((range, moved_from))
    }

    /// Seals the inner packet for the client that it is addressed to.
    pub(crate) fn seal(&self, inner: &[u8], out: &mut [u8]) -> Option<(usize, Path)> {
        let destination =
            <[u8; 4]>::try_from(inner.get(16..20)?).ok().filter(|_| inner.first().is_some_and(|b| b >> 4 == 4))?;
        let child = &self.children.get(self.routes.get(&destination.into())?)?.installed;
        let start = child.outbound.header_length();
        out.get_mut(start..start + inner.len())?.copy_from_slice(inner);
        let length = child.outbound.seal_in_place(out, inner.len()).ok()?;
        Some((length, child.path))
    }
}
