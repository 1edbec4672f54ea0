//! Linux: rtnetlink, nftables, systemd-resolved or `resolv.conf`, logind, `/proc`.

pub(super) mod firewall;
pub(super) mod machine;
pub(super) mod resolver;
pub(super) mod routes;
pub(super) mod sleep;
mod sockets;
