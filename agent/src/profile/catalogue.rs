//! All tunnels by name, and who wins: EMS before the local administrator before a user.
//!
//! A local tunnel is *shadowing* when it has the name or the gateway of a managed one. It stays
//! listed, so that its owner sees why, but it cannot be connected: otherwise a copy of a managed
//! tunnel without its tag policy would be a way round the host check.

use crate::profile::document::{self, ProfileError};
use crate::profile::paths::Paths;
use crate::profile::settings::toml_files;
use crate::profile::tunnel::Tunnel;
use postern_api::state::Origin;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

/// The longest name of a tunnel, in bytes.
pub const MAXIMUM_NAME: usize = 64;

/// One tunnel of the catalogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The tunnel.
    pub tunnel: Tunnel,
    /// Who defined it.
    pub origin: Origin,
    /// The managed tunnel that this local one would shadow; it cannot be connected.
    pub shadows: Option<String>,
    /// Whose own it is.
    pub owner: Option<u32>,
}

/// All tunnels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    managed: BTreeMap<String, Tunnel>,
    local: BTreeMap<String, Tunnel>,
    /// Users' own, with their owners.
    own: BTreeMap<String, (u32, Tunnel)>,
    /// Whether those count.
    own_allowed: bool,
    broken: BTreeMap<String, ProfileError>,
    /// Addresses at which gateways were met or found, by tunnel.
    addresses: BTreeMap<String, BTreeSet<IpAddr>>,
}

impl Catalogue {
    /// Reads the local tunnels anew; what is not valid is kept as its error.
    ///
    /// A tunnel that `is_in_use` keeps what its file said last while the file is gone or not valid: a
    /// half-written file is no reason to cut a connection, and none to let its policy lapse.
    pub fn load_local(&mut self, paths: &Paths, is_in_use: impl Fn(&str) -> bool) {
        self.local.retain(|name, _| is_in_use(name));
        self.broken.clear();
        for file in toml_files(&paths.tunnels()) {
            let Some(name) = file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) else { continue };
            match load_tunnel(&file, &name) {
                Ok(tunnel) => drop(self.local.insert(name, tunnel)),
                Err(error) => drop(self.broken.insert(name, error)),
            }
        }
        self.load_own(paths);
    }

    /// Reads users' own tunnels, which the service has written; the first of a name counts.
    fn load_own(&mut self, paths: &Paths) {
        self.own.clear();
        let users = std::fs::read_dir(paths.users()).into_iter().flatten().flatten();
        let mut users: Vec<u32> = users.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        users.sort_unstable();
        for uid in users {
            for file in toml_files(&paths.users().join(uid.to_string())) {
                let Some(name) = file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) else { continue };
                match load_tunnel(&file, &name) {
                    Ok(tunnel) => drop(self.own.entry(name).or_insert((uid, tunnel))),
                    Err(error) => tracing::warn!(%error, "a user's own tunnel is not valid"),
                }
            }
        }
    }

    /// Says whether users' own tunnels count.
    pub fn allow_own(&mut self, allowed: bool) {
        self.own_allowed = allowed;
    }

    /// Counts the tunnels that a user has of his own.
    pub fn owned_by(&self, uid: u32) -> usize {
        self.own.values().filter(|(owner, _)| *owner == uid).count()
    }

    /// Returns the tunnels that the one of that name hides, the weightiest first, with the owner of a user's.
    pub fn hidden(&self, name: &str) -> Vec<(Origin, Option<u32>)> {
        let local = self.local.get(name).map(|_| (Origin::Local, None));
        let own = self.own.get(name).map(|(owner, _)| (Origin::User, Some(*owner)));
        let shown = self.find(name).map(|entry| entry.origin);
        local.into_iter().chain(own).filter(|(origin, _)| Some(*origin) != shown).collect()
    }

    /// Puts EMS's tunnels in place of those it gave before.
    pub fn set_managed(&mut self, tunnels: BTreeMap<String, Tunnel>) {
        self.addresses.retain(|name, _| {
            tunnels.contains_key(name) || self.local.contains_key(name) || self.own.contains_key(name)
        });
        self.managed = tunnels;
    }

    /// Remembers at which address a tunnel's gateway was met, or was found by its name; tells whether that was
    /// not known.
    pub fn remember_address(&mut self, name: &str, address: IpAddr) -> bool {
        if self.find(name).is_none() {
            return false;
        }
        let known = self.addresses.entry(name.to_owned()).or_default();
        // Names of great services have many addresses, and they change.
        if known.len() == MAXIMUM_ADDRESSES {
            known.clear();
        }
        known.insert(address.to_canonical())
    }

    /// Returns the addresses at which a tunnel's gateway was met, or was found by its name.
    pub fn addresses_of(&self, name: &str) -> impl Iterator<Item = IpAddr> {
        self.addresses.get(name).into_iter().flatten().copied()
    }

    /// Returns the names of EMS's tunnels.
    pub fn managed_names(&self) -> Vec<String> {
        self.managed.keys().cloned().collect()
    }

    /// Returns EMS's tunnels with each name of their gateways that is no address.
    pub fn managed_host_names(&self) -> Vec<(String, String)> {
        let gateways = |(name, tunnel): (&String, &Tunnel)| {
            let names = tunnel.gateway.dialled().into_iter().filter(|gateway| gateway.parse::<IpAddr>().is_err());
            names.map(|gateway| (name.clone(), gateway)).collect::<Vec<_>>()
        };
        self.managed.iter().flat_map(gateways).collect()
    }

    /// Returns the names of a tunnel's gateways that are no addresses.
    pub fn host_names(&self, name: &str) -> Vec<(String, String)> {
        let entry = self.find(name);
        let dialled = entry.into_iter().flat_map(|entry| entry.tunnel.gateway.dialled());
        let names = dialled.filter(|gateway| gateway.parse::<IpAddr>().is_err());
        names.map(|gateway| (name.to_owned(), gateway)).collect()
    }

    /// Returns every address at which a managed gateway is known to be, with its tunnel.
    pub fn managed_addresses(&self) -> BTreeMap<IpAddr, String> {
        let addresses = |(name, managed): (&String, &Tunnel)| {
            let literal = managed.gateway.comparable();
            let literal = literal.iter().filter_map(|gateway| gateway.parse::<IpAddr>().ok());
            let known = self.addresses.get(name).into_iter().flatten().copied();
            literal.chain(known).map(|address| (address.to_canonical(), name.clone())).collect::<Vec<_>>()
        };
        self.managed.iter().flat_map(addresses).collect()
    }

    /// Finds a tunnel by its name.
    pub fn find(&self, name: &str) -> Option<Entry> {
        if let Some(tunnel) = self.managed.get(name) {
            return Some(Entry { tunnel: tunnel.clone(), origin: Origin::Managed, shadows: None, owner: None });
        }
        let (tunnel, origin, owner) = match (self.local.get(name), self.own.get(name)) {
            (Some(tunnel), _) => (tunnel, Origin::Local, None),
            (None, Some((owner, tunnel))) if self.own_allowed => (tunnel, Origin::User, Some(*owner)),
            (None, _) => return None,
        };
        Some(Entry { tunnel: tunnel.clone(), origin, shadows: self.shadowed_by(name, tunnel), owner })
    }

    /// Returns why a local file of that name is not valid.
    pub fn broken(&self, name: &str) -> Option<&ProfileError> {
        self.broken.get(name)
    }

    /// Returns every file that is not valid.
    pub fn all_broken(&self) -> impl Iterator<Item = (&str, &ProfileError)> {
        self.broken.iter().map(|(name, error)| (name.as_str(), error))
    }

    /// Returns all tunnels by name, each name once.
    pub fn entries(&self) -> Vec<(String, Entry)> {
        let names: BTreeSet<&String> = self.managed.keys().chain(self.local.keys()).chain(self.own.keys()).collect();
        names.into_iter().filter_map(|name| Some((name.clone(), self.find(name)?))).collect()
    }

    /// Finds the managed tunnel whose gateway a local one leads to: by the gateway's name, by an address
    /// as its name, or by an address to which another name, or a redirect, has led it.
    fn shadowed_by(&self, name: &str, local: &Tunnel) -> Option<String> {
        let gateways = local.gateway.comparable();
        let mut addresses: BTreeSet<IpAddr> = gateways.iter().filter_map(|gateway| gateway.parse().ok()).collect();
        addresses.extend(self.addresses.get(name).into_iter().flatten());
        let by_name = self.managed.iter().find(|(_, managed)| !managed.gateway.comparable().is_disjoint(&gateways));
        let by_address =
            || self.managed.iter().find(|(name, managed)| self.meets(name, managed, &addresses)).map(|(name, _)| name);
        by_name.map(|(name, _)| name).or_else(by_address).cloned()
    }

    fn meets(&self, name: &str, managed: &Tunnel, addresses: &BTreeSet<IpAddr>) -> bool {
        let literal = managed.gateway.comparable();
        let literal = literal.iter().filter_map(|gateway| gateway.parse::<IpAddr>().ok());
        let known = self.addresses.get(name).into_iter().flatten().copied();
        literal.chain(known).any(|address| addresses.contains(&address))
    }
}

/// How many addresses of a gateway are remembered.
const MAXIMUM_ADDRESSES: usize = 64;

/// Tells whether a text can name a tunnel, and with it a file.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAXIMUM_NAME
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' '))
}

/// Reads a tunnel as the service does: a file of that name, which nobody but root can write.
///
/// # Errors
/// What is wrong with the name, the file or its content.
pub fn load_tunnel(file: &Path, name: &str) -> Result<Tunnel, ProfileError> {
    if !is_name(name) {
        let expected = "letters, digits, `-`, `_`, `.` and spaces, the first a letter or a digit";
        return Err(ProfileError::whole(file, "the file's name is no name for a tunnel".into(), expected));
    }
    check_owner(file)?;
    document::load(file)
}

/// A policy that others may write is none.
#[cfg(unix)]
pub(super) fn check_owner(file: &Path) -> Result<(), ProfileError> {
    use std::os::unix::fs::MetadataExt;
    // What cannot be looked at cannot be read either, and says so then.
    let Ok(metadata) = std::fs::metadata(file) else { return Ok(()) };
    let problem = if metadata.mode() & 0o002 != 0 {
        format!("can be written by everybody (mode {:o})", metadata.mode() & 0o777)
    } else if metadata.mode() & 0o020 != 0 && metadata.gid() != 0 && metadata.gid() != nix::unistd::getegid().as_raw() {
        format!("can be written by group {} (mode {:o})", metadata.gid(), metadata.mode() & 0o777)
    } else if metadata.uid() != 0 && metadata.uid() != nix::unistd::geteuid().as_raw() {
        format!("belongs to user {}", metadata.uid())
    } else {
        return Ok(());
    };
    Err(ProfileError::whole(file, problem, "a file of root's that nobody else can write"))
}

#[cfg(not(unix))]
pub(super) fn check_owner(_file: &Path) -> Result<(), ProfileError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::gateways::Gateways;

    fn with_managed() -> Catalogue {
        let mut catalogue = Catalogue::default();
        catalogue.set_managed(BTreeMap::from([("RA-VPN".to_owned(), Tunnel::to("vpn.example.com"))]));
        catalogue
    }

    #[test]
    fn a_local_tunnel_of_the_same_name_is_hidden() {
        let mut catalogue = with_managed();
        catalogue.local.insert("RA-VPN".into(), Tunnel::to("elsewhere.example.com"));
        let entry = catalogue.find("RA-VPN").unwrap();
        assert_eq!((entry.origin, entry.tunnel.gateway.to_string()), (Origin::Managed, "vpn.example.com".to_owned()));
        assert_eq!(catalogue.entries().len(), 1);
    }

    #[test]
    fn a_local_twin_is_seen_through_every_spelling_of_the_gateway() {
        let mut catalogue = with_managed();
        for spelling in ["vpn.example.com", "VPN.Example.COM", "vpn.example.com."] {
            catalogue.local.insert("twin".into(), Tunnel::to(spelling));
            assert_eq!(catalogue.find("twin").unwrap().shadows.as_deref(), Some("RA-VPN"), "{spelling}");
        }
        let second = Gateways::Several(vec!["other.example.com".into(), "vpn.example.com".into()]);
        catalogue.local.insert("twin".into(), Tunnel { gateway: second, ..Tunnel::to("") });
        assert_eq!(catalogue.find("twin").unwrap().shadows.as_deref(), Some("RA-VPN"), "as the second of two");
        catalogue.local.insert("twin".into(), Tunnel::to("other.example.com"));
        assert_eq!(catalogue.find("twin").unwrap().shadows, None);
    }

    #[test]
    fn a_local_twin_by_address_is_seen_once_the_managed_gateway_was_met() {
        let mut catalogue = with_managed();
        catalogue.local.insert("twin".into(), Tunnel::to("192.0.2.1"));
        assert_eq!(catalogue.find("twin").unwrap().shadows, None);
        catalogue.remember_address("RA-VPN", "::ffff:192.0.2.1".parse().unwrap());
        assert_eq!(catalogue.find("twin").unwrap().shadows.as_deref(), Some("RA-VPN"));
    }

    #[test]
    fn a_local_twin_by_another_name_or_a_redirect_is_seen_where_it_arrives() {
        let mut catalogue = with_managed();
        catalogue.local.insert("twin".into(), Tunnel::to("alias.example.net"));
        catalogue.remember_address("RA-VPN", "192.0.2.1".parse().unwrap());
        catalogue.remember_address("twin", "192.0.2.7".parse().unwrap());
        assert_eq!(catalogue.find("twin").unwrap().shadows, None);
        catalogue.remember_address("twin", "192.0.2.1".parse().unwrap());
        assert_eq!(catalogue.find("twin").unwrap().shadows.as_deref(), Some("RA-VPN"));
        let literal = BTreeMap::from([("By address".to_owned(), Tunnel::to("192.0.2.7"))]);
        catalogue.set_managed(literal);
        assert_eq!(catalogue.find("twin").unwrap().shadows.as_deref(), Some("By address"));
    }

    #[test]
    fn a_users_own_tunnel_counts_where_it_may_and_gives_way_to_the_administrators() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::settle(Some(directory.path().into()), Some(directory.path().join("state")), None);
        let file = paths.own_tunnel(1000, "home");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "gateway = \"home.example.com\"\n").unwrap();
        let mut catalogue = with_managed();
        catalogue.load_local(&paths, |_| false);
        assert_eq!(catalogue.find("home"), None);
        catalogue.allow_own(true);
        let entry = catalogue.find("home").unwrap();
        assert_eq!((entry.origin, entry.owner, catalogue.owned_by(1000)), (Origin::User, Some(1000), 1));
        catalogue.local.insert("home".into(), Tunnel::to("office.example.com"));
        assert_eq!(catalogue.find("home").unwrap().origin, Origin::Local);
        assert_eq!(catalogue.hidden("home"), [(Origin::User, Some(1000))]);
        catalogue.local.clear();
        std::fs::write(&file, "gateway = \"VPN.example.com.\"\n").unwrap();
        catalogue.load_local(&paths, |_| false);
        assert_eq!(catalogue.find("home").unwrap().shadows.as_deref(), Some("RA-VPN"), "no way round the host check");
    }

    #[test]
    fn the_names_that_are_looked_up_are_those_of_managed_gateways() {
        let catalogue = with_managed();
        assert_eq!(catalogue.managed_host_names(), [("RA-VPN".to_owned(), "vpn.example.com".to_owned())]);
        assert_eq!(catalogue.managed_names(), ["RA-VPN"]);
    }

    #[test]
    fn a_file_that_is_not_valid_does_not_hide_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::settle(Some(directory.path().into()), None, None);
        std::fs::create_dir(paths.tunnels()).unwrap();
        std::fs::write(paths.tunnel("good"), "gateway = \"a.example.com\"\n").unwrap();
        std::fs::write(paths.tunnel("bad"), "gateway = 7\n").unwrap();
        let mut catalogue = Catalogue::default();
        catalogue.load_local(&paths, |_| false);
        assert_eq!(catalogue.entries().len(), 1);
        assert!(catalogue.broken("bad").unwrap().to_string().contains("bad.toml:1: gateway"));
    }

    #[test]
    fn a_tunnel_in_use_outlives_a_half_written_file_and_no_longer() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::settle(Some(directory.path().into()), None, None);
        std::fs::create_dir(paths.tunnels()).unwrap();
        std::fs::write(paths.tunnel("work"), "gateway = \"a.example.com\"\n").unwrap();
        let mut catalogue = Catalogue::default();
        catalogue.load_local(&paths, |_| false);
        std::fs::write(paths.tunnel("work"), "gatew").unwrap();
        catalogue.load_local(&paths, |name| name == "work");
        assert_eq!(catalogue.find("work").unwrap().tunnel.gateway.to_string(), "a.example.com");
        assert!(catalogue.broken("work").is_some());
        catalogue.load_local(&paths, |_| false);
        assert_eq!(catalogue.find("work"), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_policy_that_everybody_can_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::settle(Some(directory.path().into()), None, None);
        std::fs::create_dir(paths.tunnels()).unwrap();
        std::fs::write(paths.tunnel("open"), "gateway = \"a.example.com\"\n").unwrap();
        std::fs::set_permissions(paths.tunnel("open"), std::fs::Permissions::from_mode(0o666)).unwrap();
        let mut catalogue = Catalogue::default();
        catalogue.load_local(&paths, |_| false);
        assert!(catalogue.broken("open").unwrap().to_string().contains("mode 666"));
    }

    #[test]
    fn names_cannot_leave_the_directory() {
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "a\nb", "-x"] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(is_name("RA-VPN") && is_name("Head Office 2"));
    }
}
