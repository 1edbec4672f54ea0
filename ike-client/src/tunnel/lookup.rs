//! The gateway's name becomes addresses.

use super::control::AddressFamily;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// The most addresses that are tried one after the other.
const MOST: usize = 4;

/// Looks `name` up, or reads it as an address.
///
/// # Errors
/// The resolver's, or "no address of that family".
pub async fn gateway(name: &str, port: u16, family: AddressFamily) -> io::Result<Vec<SocketAddr>> {
    let wanted = |address: &SocketAddr| match family {
        AddressFamily::Any => true,
        AddressFamily::Ipv4 => address.is_ipv4(),
        AddressFamily::Ipv6 => address.is_ipv6(),
    };
    let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let mut addresses: Vec<SocketAddr> = match literal {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => tokio::net::lookup_host((name, port)).await?.collect(),
    };
    addresses.retain(wanted);
    addresses.dedup();
    addresses.truncate(MOST);
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no address of the wanted family"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_taken_as_they_are_and_families_are_kept_apart() {
        let found = gateway("192.0.2.1", 500, AddressFamily::Any).await.unwrap();
        assert_eq!(found, ["192.0.2.1:500".parse().unwrap()]);
        assert!(gateway("192.0.2.1", 500, AddressFamily::Ipv6).await.is_err());
        assert_eq!(gateway("[2001:db8::1]", 500, AddressFamily::Ipv6).await.unwrap().len(), 1);
    }
}
