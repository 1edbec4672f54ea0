//! The lab: everything around Postern that a proof needs, made on one machine and taken away again.
//!
//! | module | holds |
//! |---|---|
//! | [`scenario`] | runs a test in private namespaces of its own |
//! | [`net`] | hosts, wires, programs on hosts |
//! | [`wire`] | a tap that sees what is really on the wire |
//! | [`pki`] | authorities and certificates, good ones and bad ones |
//! | [`ping`] | ICMP echo with a tally |
//! | [`mod@bench`] | what the bench measures, and the systems it measures |
//! | [`bus`] | a system bus, and logind on it |
//! | [`dns`] | a resolver that counts what it is asked |
//! | [`ems`] | the endpoint management server |
//! | [`handshake`] | a client that does nothing but log in |
//! | [`http`] | the corporate host's web server |
//! | [`roadwarrior`] | an endpoint, a strongSwan gateway, a host behind it |
//! | [`radius`] | FreeRADIUS behind the gateway |
//! | [`router`] | a router that translates addresses and forgets it did |
//! | [`rogue`] | a gateway that lies about who it is, and records what it hears |
//! | [`simulation`] | a client's session and a gateway in virtual time, on a network that does its worst |
//! | [`hostile`] | a hostile gateway and a hostile network, with an IKEv2 of their own |
//! | [`strongswan`] | strongSwan as the gateway |
//! | [`matrix`] | what is proven, against whom |
//! | [`wireguard`] | wireguard-go as the peer |
//! | [`libreswan`] | libreswan as the gateway, in a guest |
//! | [`uml`] | guests: a kernel with ESP in user-mode Linux |
//! | [`weather`] | loss, reordering, duplication and delay |
//! | [`demo`] | the article's story, act by act |
//! | [`clock`] | clocks that jump |
//! | [`client`] | the endpoint: the real service and command line |
//! | [`gateway`] | an IKEv2 gateway in the manner of a FortiGate, with posture tags |
//! | [`feeds`] | advisories and package databases |
//! | [`fuzz`] | functions that take any bytes, and their corpus |

pub mod bench;
pub mod bus;
pub mod client;
pub mod clock;
pub mod demo;
pub mod dns;
pub mod ems;
pub mod feeds;
pub mod fuzz;
pub mod gateway;
pub mod handshake;
pub mod hostile;
pub mod http;
pub mod libreswan;
#[doc = include_str!("matrix.md")]
pub mod matrix {}
pub mod net;
pub mod ping;
pub mod pki;
#[cfg(test)]
mod primes;
pub mod radius;
pub mod relay;
pub mod responder;
pub mod roadwarrior;
pub mod rogue;
pub mod router;
pub mod scenario;
pub mod simulation;
pub mod strongswan;
pub mod uml;
pub mod weather;
pub mod wire;
pub mod wireguard;
