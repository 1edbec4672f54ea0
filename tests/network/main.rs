//! The agent's network changes on a real kernel: rtnetlink, nftables, `resolv.conf`, D-Bus.
//!
//! Every scenario's own process is the client: it stands in a network namespace with one wire to
//! an "open" host, which would gladly take whatever leaks, and one to the "inside", which plays
//! the tunnel's device and what lies behind it. Removing that device is what a crash of the
//! engine does.

mod client;
mod leaks;
mod offload;
mod overhead;
mod resolved;
mod undo;

use lab::scenario::{self, Scenario};
use std::process::ExitCode;

const SCENARIOS: &[Scenario] = &[
    ("network: undoing a full tunnel gives back the very system that was there", undo::gives_back_the_same),
    ("network: undoing keeps the rules, routes and lines that others made meanwhile", undo::keeps_what_others_made),
    ("network: what others take away meanwhile is set up again", undo::what_others_take_is_restored),
    ("network: killed at any moment, the next life removes exactly what was ours", undo::any_kill_is_undone),
    ("network: on a full disk nothing is changed", undo::full_disk_changes_nothing),
    ("network: without nftables the strict block is refused and the others still guard", undo::without_nftables),
    ("network: more specific routes on the LAN do not lead around the tunnel", leaks::lan_routes_lead_nowhere),
    ("network: without the tunnel's device the block stands, for every kind of socket", leaks::crash_uncovers_block),
    ("network: a new gateway is valid while the tunnel or its block stands", leaks::new_gateways_are_valid),
    ("network: IPv6 does not leak around an IPv4 tunnel", leaks::ipv6_does_not_leak),
    ("network: a socket bound to the tunnel's address never leaves by another way", leaks::bound_sockets_stay),
    ("network: connections over the tunnel do not go on outside it", leaks::connections_die_with_the_tunnel),
    ("network: packets to the tunnel's address on another link are dropped", leaks::strangers_are_dropped),
    ("network: answers reach marked sockets under a strict reverse-path check", leaks::strict_reverse_path),
    ("network: super-packets are cut as the kernel cuts them", offload::cuts_as_the_kernel_does),
    ("network: fragments of IPv4 pass as the kernel passes them", offload::fragments_pass_as_the_kernel_passes_them),
    (
        "network: joined packets are cut again by the kernel to what they were",
        offload::joins_what_the_kernel_cuts_again,
    ),
    ("network: what lies around a packet on the wire is what the suite says", overhead::on_the_wire),
    ("network: systemd-resolved is told per link and reverted", resolved::is_told_and_reverted),
];

fn main() -> ExitCode {
    if let Some(code) = undo::short_life() {
        return code;
    }
    scenario::main(SCENARIOS)
}
