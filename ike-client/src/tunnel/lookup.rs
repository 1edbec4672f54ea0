//! The gateway's name becomes addresses.
//!
//! Asking the system's resolver reads files and runs what `nsswitch.conf` names. An engine that is
//! confined leaves that to its owner, by a [`NameService`] of its own. The owner is asked about an address
//! in the place of a name too: wherever the engine sends its first packet to, the owner has named it.

use super::control::AddressFamily;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

/// The addresses of a name, when they are found.
pub type Found = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Finds the addresses of a name; of an address that is itself, where the owner lets the engine go there.
pub type NameService = Arc<dyn Fn(String) -> Found + Send + Sync>;

/// Returns the system's own resolver.
pub fn of_system() -> NameService {
    Arc::new(|name: String| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// The most addresses that are tried one after the other.
const MOST: usize = 4;

/// Looks `name` up, or reads it as an address.
///
/// # Errors
/// The resolver's, or "no address of that family".
pub async fn gateway(name: &str, port: u16, family: AddressFamily, names: &NameService) -> io::Result<Vec<SocketAddr>> {
    let wanted = |address: &SocketAddr| match family {
        AddressFamily::Any => true,
        AddressFamily::Ipv4 => address.is_ipv4(),
        AddressFamily::Ipv6 => address.is_ipv6(),
    };
    let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let asked = literal.map_or_else(|_| name.to_owned(), |address| address.to_string());
    let found = names(asked).await?;
    let mut addresses: Vec<SocketAddr> = found.into_iter().map(|address| SocketAddr::new(address, port)).collect();
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
        let names = of_system();
        let found = gateway("192.0.2.1", 500, AddressFamily::Any, &names).await.unwrap();
        assert_eq!(found, ["192.0.2.1:500".parse().unwrap()]);
        assert!(gateway("192.0.2.1", 500, AddressFamily::Ipv6, &names).await.is_err());
        assert_eq!(gateway("[2001:db8::1]", 500, AddressFamily::Ipv6, &names).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn an_owner_that_forbids_an_address_is_obeyed() {
        let names: NameService = Arc::new(|name| {
            assert_eq!(name, "2001:db8::7");
            Box::pin(async { Err(io::Error::from(io::ErrorKind::PermissionDenied)) })
        });
        let refused = gateway("[2001:db8::7]", 500, AddressFamily::Any, &names).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }

    #[tokio::test]
    async fn names_are_asked_of_the_owner_and_doubles_are_left_out() {
        let names: NameService = Arc::new(|name| {
            assert_eq!(name, "vpn.example.test");
            let found = ["192.0.2.7", "192.0.2.7", "2001:db8::7"].map(|address| address.parse().unwrap());
            Box::pin(async move { Ok(found.to_vec()) })
        });
        let found = gateway("vpn.example.test", 500, AddressFamily::Any, &names).await.unwrap();
        assert_eq!(found, ["192.0.2.7:500".parse().unwrap(), "[2001:db8::7]:500".parse().unwrap()]);
    }
}
