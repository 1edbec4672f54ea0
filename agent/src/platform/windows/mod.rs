//! Windows: the clock and files are real, changes to the network are refused by name.

pub(super) mod firewall;
pub(super) mod machine;
pub(super) mod resolver;
pub(super) mod routes;
pub(super) mod sleep;
