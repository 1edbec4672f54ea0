//! Addresses for clients.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// A range of addresses and who has them.
#[derive(Clone, Debug)]
pub struct AddressPool {
    first: Ipv4Addr,
    last: Ipv4Addr,
    leases: BTreeMap<Ipv4Addr, u64>,
}

impl AddressPool {
    /// Makes a pool of the addresses from `first` to `last`.
    pub const fn new(first: Ipv4Addr, last: Ipv4Addr) -> Self {
        Self { first, last, leases: BTreeMap::new() }
    }

    /// Gives the lowest free address to `holder`; `wished` instead, if it is free and ours.
    pub fn lease(&mut self, holder: u64, wished: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let range = u32::from(self.first)..=u32::from(self.last);
        let free = |address: &Ipv4Addr| !self.leases.contains_key(address);
        let wished = wished.filter(|address| range.contains(&u32::from(*address)));
        let address = wished.filter(free).or_else(|| range.map(Ipv4Addr::from).find(free))?;
        self.leases.insert(address, holder);
        Some(address)
    }

    /// Takes an address back.
    pub fn release(&mut self, address: Ipv4Addr) {
        self.leases.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_address_is_given_until_none_is_left() {
        let mut pool = AddressPool::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        assert_eq!(pool.lease(1, Some([10, 0, 0, 2].into())), Some([10, 0, 0, 2].into()));
        assert_eq!(pool.lease(2, Some([192, 0, 2, 1].into())), Some([10, 0, 0, 1].into()));
        assert_eq!(pool.lease(3, None), None);
        pool.release([10, 0, 0, 2].into());
        assert_eq!(pool.lease(3, None), Some([10, 0, 0, 2].into()));
    }
}
