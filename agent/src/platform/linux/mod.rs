//! Linux: rtnetlink, nftables, systemd-resolved or `resolv.conf`, `/proc`.

pub(super) mod firewall;
pub(super) mod machine;
pub(super) mod resolver;
pub(super) mod routes;
mod sockets;
