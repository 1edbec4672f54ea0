//! Addresses, links, routes and policy rules by rtnetlink.
//!
//! Everything carries [`ROUTE_PROTOCOL`], and the kernel compares it when it deletes: what
//! somebody else put beside ours is never taken with it.

use super::sockets;
use crate::network::step::{Before, Device, Family, ROUTE_PROTOCOL, RouteTarget, Rule, RuleAction, Step};
use crate::network::system::{SystemError, Undone};
use crate::platform::RoutesRoom;
use futures_util::TryStreamExt;
use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction as KernelAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, rule};
use rtnetlink::{AddressMessageBuilder, Error, Handle, IpVersion, LinkUnspec};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kernel's routing, over one netlink socket.
pub(in crate::platform) struct Routes {
    handle: Handle,
}

impl RoutesRoom for Routes {
    fn living_on(address: &IpAddr) -> io::Result<usize> {
        sockets::living_on(*address)
    }

    fn open() -> Result<Self, SystemError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(|error| SystemError::Failed {
            operation: "opening a netlink socket".to_owned(),
            detail: error.to_string(),
        })?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    async fn look(&mut self, step: &Step) -> Result<Before, SystemError> {
        let foreign = match step {
            Step::Rule(wanted) => {
                let wanted = rule_message(wanted);
                let rules: Vec<RuleMessage> = self
                    .handle
                    .rule()
                    .get(version(&wanted.header.family))
                    .execute()
                    .try_collect()
                    .await
                    .map_err(|error| told(step, &error))?;
                rules.iter().any(|standing| same_rule_of_others(standing, &wanted))
            }
            Step::Address { device, address } => {
                self.holds(device, address).await.map_err(|error| told(step, &error))?
            }
            // The tables and the device are ours alone.
            _ => false,
        };
        Ok(if foreign { Before::Present } else { Before::Absent })
    }

    async fn apply(&mut self, step: &Step) -> Result<(), SystemError> {
        let result = match step {
            Step::Route { table, destination, target } => {
                self.handle.route().add(route_message(table.0, destination, target)).replace().execute().await
            }
            Step::Rule(_) | Step::Address { .. } => self.add(step).await,
            Step::Link { device, mtu } => {
                let message = LinkUnspec::new_with_index(device.index).mtu(u32::from(mtu.0)).up().build();
                self.handle.link().set(message).execute().await
            }
            _ => Ok(()),
        };
        match result {
            Ok(()) => Ok(()),
            Err(error) if code(&error) == Some(Errno::EEXIST) => Ok(()),
            // A kernel without the family has no way by which anything could leave there.
            Err(error) if code(&error) == Some(Errno::EAFNOSUPPORT) && refuses_only(step) => Ok(()),
            Err(error) => Err(told(step, &error)),
        }
    }

    async fn restore(&mut self, step: &Step) -> Result<bool, SystemError> {
        match self.add(step).await {
            Ok(()) => Ok(!matches!(step, Step::Link { .. })),
            Err(error) if code(&error).is_some_and(|code| cannot_be_gone(step, code)) => Ok(false),
            Err(error) => Err(told(step, &error)),
        }
    }

    async fn undo(&mut self, step: &Step) -> Result<Undone, SystemError> {
        let result = match step {
            Step::Route { table, destination, target } => {
                self.handle.route().del(route_message(table.0, destination, target)).execute().await
            }
            Step::Rule(wanted) => self.handle.rule().del(rule_message(wanted)).execute().await,
            Step::Address { device, address } => {
                let result = self.handle.address().del(address_message(device, address)).execute().await;
                // Also when the device took the address with it: the sockets are still there.
                match sockets::end_those_of(*address) {
                    Ok(0) => {}
                    Ok(ended) => tracing::info!(%address, ended, "ended the sockets of the tunnel's address"),
                    Err(error) => tracing::warn!(%address, %error, "sockets of the tunnel's address may live on"),
                }
                result
            }
            Step::Link { device, .. } => {
                self.handle.link().set(LinkUnspec::new_with_index(device.index).down().build()).execute().await
            }
            _ => return Ok(Undone::AlreadyGone),
        };
        match result {
            Ok(()) => Ok(Undone::Removed),
            Err(error) => match code(&error) {
                Some(Errno::ESRCH | Errno::ENOENT | Errno::ENODEV | Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT) => {
                    Ok(Undone::AlreadyGone)
                }
                _ => Err(told(step, &error)),
            },
        }
    }
}

impl Routes {
    /// Adds what is not there; the kernel says `EEXIST` where it is.
    async fn add(&self, step: &Step) -> Result<(), Error> {
        match step {
            Step::Route { table, destination, target } => {
                self.handle.route().add(route_message(table.0, destination, target)).execute().await
            }
            Step::Rule(wanted) => {
                let mut request = self.handle.rule().add();
                *request.message_mut() = rule_message(wanted);
                request.execute().await
            }
            Step::Address { device, address } => {
                let mut request = self.handle.address().add(device.index, *address, host_prefix(address));
                *request.message_mut() = address_message(device, address);
                request.execute().await
            }
            _ => Ok(()),
        }
    }

    async fn holds(&self, device: &Device, address: &IpAddr) -> Result<bool, Error> {
        let addresses = self.handle.address().get().set_link_index_filter(device.index).execute();
        let addresses: Vec<AddressMessage> = addresses.try_collect().await?;
        Ok(addresses.iter().any(|message| {
            message
                .attributes
                .iter()
                .any(|attribute| matches!(attribute, AddressAttribute::Address(standing) if standing == address))
        }))
    }
}

/// Returns whether what the kernel says to a step that is to stand again shows that nobody took it away: it
/// stands, or its family or its device is not there. A device goes with its tunnel, whose end is on its way
/// then, and takes its routes and addresses along.
fn cannot_be_gone(step: &Step, said: Errno) -> bool {
    match said {
        Errno::EEXIST => true,
        Errno::EAFNOSUPPORT => refuses_only(step),
        Errno::ENODEV => {
            matches!(step, Step::Address { .. } | Step::Route { target: RouteTarget::Device { .. }, .. })
        }
        _ => false,
    }
}

/// Returns whether the step only ever refuses traffic.
fn refuses_only(step: &Step) -> bool {
    match step {
        Step::Route { target, .. } => !matches!(target, RouteTarget::Device { .. }),
        Step::Rule(_) => true,
        _ => false,
    }
}

fn route_message(table: u32, destination: &IpNet, target: &RouteTarget) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = kernel_family(Family::of_network(destination));
    message.header.destination_prefix_length = destination.prefix_len();
    message.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    // Never a narrower scope: when somebody adds a route by a gateway, the kernel asks for the
    // gateway with link scope and passes over ours. Otherwise a full tunnel would seem to be the
    // way to every new gateway, and its block would make them all invalid.
    message.header.scope = RouteScope::Universe;
    message.attributes.push(RouteAttribute::Table(table));
    message.attributes.push(RouteAttribute::Destination(route_address(destination.addr())));
    message.header.kind = match target {
        RouteTarget::Device { device, source } => {
            message.attributes.push(RouteAttribute::Oif(device.index));
            message.attributes.extend(source.map(|source| RouteAttribute::PrefSource(route_address(source))));
            RouteType::Unicast
        }
        RouteTarget::Prohibit => RouteType::Prohibit,
        RouteTarget::Unreachable => RouteType::Unreachable,
    };
    message
}

fn rule_message(wanted: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = kernel_family(wanted.family);
    message.attributes.push(RuleAttribute::Priority(wanted.priority.0));
    message.attributes.push(RuleAttribute::Protocol(RouteProtocol::from(ROUTE_PROTOCOL)));
    if let Some(mark) = wanted.unless_mark {
        // The flag turns the whole rule round, which here is the mark alone.
        message.header.flags = RuleFlags::Invert;
        message.attributes.push(RuleAttribute::FwMark(mark.0));
        message.attributes.push(RuleAttribute::FwMask(u32::MAX));
    }
    if let Some(from) = wanted.from {
        message.header.src_len = from.prefix_len();
        message.attributes.push(RuleAttribute::Source(from.addr()));
    }
    if let Some(to) = wanted.to {
        message.header.dst_len = to.prefix_len();
        message.attributes.push(RuleAttribute::Destination(to.addr()));
    }
    match &wanted.action {
        RuleAction::Lookup { table, except_default } => {
            message.header.action = KernelAction::ToTable;
            message.attributes.push(RuleAttribute::Table(table.0));
            if *except_default {
                message.attributes.push(RuleAttribute::SuppressPrefixLen(0));
            }
        }
        RuleAction::Prohibit => message.header.action = KernelAction::Prohibit,
    }
    message
}

/// Compares all that we set but the protocol, which must be somebody else's.
fn same_rule_of_others(standing: &rule::RuleMessage, wanted: &rule::RuleMessage) -> bool {
    let protocol = |attribute: &RuleAttribute| matches!(attribute, RuleAttribute::Protocol(_));
    let ours = RuleAttribute::Protocol(RouteProtocol::from(ROUTE_PROTOCOL));
    standing.header.src_len == wanted.header.src_len
        && standing.header.dst_len == wanted.header.dst_len
        && standing.header.action == wanted.header.action
        && standing.header.flags.contains(RuleFlags::Invert) == wanted.header.flags.contains(RuleFlags::Invert)
        && !standing.attributes.contains(&ours)
        && wanted
            .attributes
            .iter()
            .filter(|attribute| !protocol(attribute))
            .all(|attribute| standing.attributes.contains(attribute))
}

/// A host address without a route of its own: routes come from the plan alone.
fn address_message(device: &Device, address: &IpAddr) -> AddressMessage {
    let mut message = match address {
        IpAddr::V4(address) => AddressMessageBuilder::<Ipv4Addr>::new()
            .index(device.index)
            .address(*address, u8::try_from(Ipv4Addr::BITS).unwrap_or(u8::MAX))
            .build(),
        IpAddr::V6(address) => AddressMessageBuilder::<Ipv6Addr>::new()
            .index(device.index)
            .address(*address, u8::try_from(Ipv6Addr::BITS).unwrap_or(u8::MAX))
            .build(),
    };
    // Nobody else can hold the address on a point-to-point device: no detection of duplicates.
    message.attributes.push(AddressAttribute::Flags(AddressFlags::Noprefixroute | AddressFlags::Nodad));
    message
}

fn host_prefix(address: &IpAddr) -> u8 {
    IpNet::from(*address).prefix_len()
}

const fn kernel_family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

const fn version(family: &AddressFamily) -> IpVersion {
    match family {
        AddressFamily::Inet6 => IpVersion::V6,
        _ => IpVersion::V4,
    }
}

const fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

fn code(error: &Error) -> Option<Errno> {
    match error {
        Error::NetlinkError(message) => message.to_io().raw_os_error().map(Errno::from_raw),
        _ => None,
    }
}

fn told(step: &Step, error: &Error) -> SystemError {
    let operation = step.to_string();
    match code(error) {
        Some(Errno::EPERM | Errno::EACCES) => {
            SystemError::NotPermitted { operation, detail: "CAP_NET_ADMIN is missing".to_owned() }
        }
        Some(errno) => SystemError::Failed { operation, detail: errno.desc().to_owned() },
        None => SystemError::Failed { operation, detail: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::step::RoutingTable;

    #[test]
    fn what_went_with_its_device_was_taken_by_nobody() {
        let device = Device { name: "postern0".into(), index: 7 };
        let address = Step::Address { device: device.clone(), address: "10.8.0.2".parse().unwrap() };
        let route = |target| Step::Route { table: RoutingTable(1), destination: "10.0.0.0/8".parse().unwrap(), target };
        let way = route(RouteTarget::Device { device, source: None });
        let block = route(RouteTarget::Prohibit);
        for step in [&address, &way] {
            assert!(cannot_be_gone(step, Errno::ENODEV) && cannot_be_gone(step, Errno::EEXIST));
            assert!(!cannot_be_gone(step, Errno::EPERM) && !cannot_be_gone(step, Errno::EAFNOSUPPORT));
        }
        assert!(!cannot_be_gone(&block, Errno::ENODEV), "a block needs no device");
        assert!(cannot_be_gone(&block, Errno::EAFNOSUPPORT));
    }
}
