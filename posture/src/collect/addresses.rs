//! Addresses of the interfaces, through `sysinfo`.

use super::{Context, Look};
use crate::facts::InterfaceAddress;
use sysinfo::Networks;

pub(super) fn addresses(context: &Context) -> Look<Vec<InterfaceAddress>> {
    const SOURCE: &str = "network interfaces";
    if !context.is_running_system() {
        return Look::not_below_another_root();
    }
    let networks = match Networks::new_with_refreshed_list() {
        Ok(networks) => networks,
        Err(error) => return Look::unknown(format!("the interfaces cannot be listed: {error}"), SOURCE),
    };
    let mut addresses: Vec<InterfaceAddress> = networks
        .iter()
        .filter(|(name, _)| !context.settings.ignored_interfaces.iter().any(|ignored| *name == ignored.as_str()))
        .flat_map(|(name, interface)| {
            let hardware = interface.mac_address();
            interface.ip_networks().iter().map(move |network| InterfaceAddress {
                interface: name.to_string_lossy().into_owned(),
                address: network.addr,
                prefix_length: network.prefix,
                hardware_address: (!hardware.is_unspecified()).then(|| hardware.to_string()),
            })
        })
        .collect();
    addresses.sort_by(|left, right| (&left.interface, left.address).cmp(&(&right.interface, right.address)));
    Look::known(addresses, SOURCE)
}
