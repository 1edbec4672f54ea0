//! `posternd` against libreswan as a road warrior's gateway, in a guest whose kernel does the ESP.
//!
//! | module | holds |
//! |---|---|
//! | [`room`] | the network and the guest, which all scenarios share |
//! | [`gateways`] | the gateway's connections and the tunnels that fit them |
//! | [`carries`] | data inside: addresses, selectors, suites |
//! | [`life`] | rekeys, deletion, liveness |
//! | [`certificates`] | certificates on both sides, fragmentation |
//! | [`eap`] | EAP-TLS |
//! | [`ppk`] | post-quantum pre-shared keys |
//! | [`refusals`] | what goes wrong, and the name it has |

mod carries;
mod certificates;
mod eap;
mod gateways;
mod life;
mod ppk;
mod refusals;
mod room;

use lab::scenario::{self, Scenario};
use std::process::ExitCode;

const SCENARIOS: &[Scenario] = &[
    ("libreswan psk: addresses, routes, resolver, 20 MB each way", carries::psk_carries_data),
    ("libreswan psk: IPv6 inside and outside", carries::ipv6),
    ("libreswan psk: every cipher suite carries data", carries::suites),
    ("libreswan psk: extended sequence numbers", carries::extended_sequence_numbers),
    ("libreswan psk: selectors narrowed to half a network", carries::narrowed_network),
    ("libreswan psk: no ping is lost through rekeys by the gateway", life::rekeyed_by_gateway),
    ("libreswan psk: no ping is lost through rekeys by the client", life::rekeyed_by_client),
    ("libreswan psk: the client deletes", life::deleted_by_client),
    ("libreswan psk: the gateway deletes", life::deleted_by_gateway),
    ("libreswan psk: a gateway that stops dead is noticed", life::gateway_dead),
    ("libreswan psk: the gateway's liveness checks are answered", life::liveness_answered),
    ("libreswan certificates, RSA by method 1", certificates::rsa_method_1),
    ("libreswan certificates, RSA by RFC 7427, PSS from the gateway", certificates::rsa_rfc_7427),
    ("libreswan certificates, ECDSA P-256 by RFC 7427", certificates::p256),
    ("libreswan certificates, ECDSA P-384 by RFC 7427", certificates::p384),
    ("libreswan certificates: long messages travel in fragments", certificates::fragments),
    ("libreswan eap-tls alone: a success that TLS 1.3 does not confirm is not believed", eap::without_confirmation),
    ("libreswan ppk: known to both", ppk::known),
    ("libreswan ppk: optional, and the gateway has none", ppk::absent_and_optional),
    ("libreswan ppk: required, and the gateway has none", ppk::absent_and_required),
    ("libreswan ppk: the gateway's is another", ppk::different),
    ("libreswan ppk: the gateway insists, and this end has none", ppk::missing_here),
    ("libreswan certificate: an unknown authority is GatewayNotTrusted", refusals::untrusted_authority),
    ("libreswan certificate: another name is GatewayNotTrusted", refusals::other_name),
    ("libreswan psk: a wrong key is AuthenticationFailed", refusals::wrong_psk),
    ("libreswan psk: an identity that the gateway does not know", refusals::unknown_identity),
    ("libreswan psk: another gateway's identity is GatewayNotTrusted", refusals::wrong_identity),
    ("libreswan psk: no common suite is ProposalMismatch", refusals::no_common_suite),
];

fn main() -> ExitCode {
    scenario::main_together(SCENARIOS)
}
