//! The bench: ways through a tunnel, ours and others', measured in turn within one run.
//!
//! | module | holds |
//! |---|---|
//! | [`pair`] | two hosts and the wire between them, made anew for every visit |
//! | [`system`] | what is measured: how each system is started on a pair |
//! | [`visit`] | one visit to one system: what is measured there |
//! | [`stream`] | TCP, by iperf3 |
//! | [`datagrams`] | UDP, by a sender that keeps a pace and a receiver that counts |
//! | [`calls`] | system calls of a process, by strace |
//! | [`process`] | what a process has used: processor, memory, context switches |
//! | [`connect`] | the real service: how long connecting takes, what it costs before strongSwan |
//! | [`micro`], [`packets`] | the steps of the packet path without a network, beside the cipher alone |
//! | [`figures`] | medians, ratios, the table and the lines |
//! | [`picture`] | the same as an SVG |
//!
//! On a machine that others use too only the ratios within one run say something, and of those the
//! medians of several rounds. Both ends of every tunnel share the machine's cores.

pub mod calls;
pub mod connect;
pub mod datagrams;
pub mod figures;
pub mod micro;
pub mod packets;
pub mod pair;
pub mod picture;
pub mod process;
pub mod stream;
pub mod system;
pub mod visit;
