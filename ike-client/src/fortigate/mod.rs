//! What a FortiGate dial-up gateway wants of a client beyond IKEv2, all of it, in one place.
//!
//! Nothing of this is published by Fortinet as a protocol. It is what logs, articles and three open
//! clients show; it was tried against the lab's gateway, not against a device.
//!
//! | quirk | here | seen in |
//! |---|---|---|
//! | three vendor IDs in IKE_SA_INIT, in this order; without them no second factor and no sign-on | [`VENDOR_IDS`] | openfortivpn-rs `forticlient.rs`; libreswan `vendorid.c`; MD5 of the names, computed again |
//! | FORTICLIENT_CONNECT (61696) in the first IKE_AUTH request | [`Claims`] | strongSwan issue 3120; openfortivpn-rs `payload.rs` |
//! | a CFG_REQUEST of sixteen attributes in a fixed order | [`CONFIGURATION_REQUEST`] | wire traces of FortiClient 7.4.8 |
//! | the first message goes to port 4500 | [`apply`] | the same traces |
//! | no IDr in the request: it breaks the choice of the phase 1 | [`apply`] | strongSwan issue 3120 |
//! | no AUTH in the first IKE_AUTH request of who uses EAP | `session::auth`, as RFC 7296 §2.16 has it | strongSwan pull request 3007 |
//! | after a good password an EAP-Success of five octets, the last one 6, then GTC; the last AUTH by SK_pi and SK_pr | `auth::eap`, allowed by [`apply`] | strongSwan issue 3120 |
//! | the master session key of 32 octets under AES-XCBC | `auth::eap`, switched by [`apply`] | FortiClient's log; RFC 4434 §2 |
//! | the split networks come as INTERNAL_IP4_SUBNET or UNITY_SPLIT_INCLUDE while TSr stays 0.0.0.0/0 | `session::config`, [`split_include`] | wire traces; openfortivpn-rs |
//! | a resolver 0.0.0.0 means none | `session::config` | openfortivpn-rs's test vector |
//! | SAML: the sign-on comes before IKE, then EAP with the UID and the token | [`sign_on`] | Fortinet document 951346; openfortivpn-rs `saml.rs` |
//!
//! **network-id is left out.** A FortiGate can choose between several dial-up phase 1s by a private
//! attribute of that name. Its number and form are not public; a gateway that needs it answers
//! NO_PROPOSAL_CHOSEN or not at all. Distinct proposals or peer ids do the same service.

mod claims;
pub mod sign_on;
#[cfg(test)]
mod tests;

pub use claims::{Claims, Uid, UidError};

use crate::session::{ClientAuthentication, Configuration};
use crate::wire::ConfigurationAttributeType as Kind;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// The vendor IDs of FortiClient: MD5 of `forticlient connect license`, `Fortinet Endpoint Control`
/// and `Forticlient EAP Extension`.
pub const VENDOR_IDS: [[u8; 16]; 3] = [
    [0x4c, 0x53, 0x42, 0x7b, 0x6d, 0x46, 0x5d, 0x1b, 0x33, 0x7b, 0xb7, 0x55, 0xa3, 0x7a, 0x7f, 0xef],
    [0xb4, 0xf0, 0x1c, 0xa9, 0x51, 0xe9, 0xda, 0x8d, 0x0b, 0xaf, 0xbb, 0xd3, 0x4a, 0xd3, 0x04, 0x4e],
    [0xc1, 0xdc, 0x43, 0x50, 0x47, 0x6b, 0x98, 0xa4, 0x29, 0xb9, 0x17, 0x81, 0x91, 0x4c, 0xa4, 0x3e],
];

/// The status notify that carries [`Claims`], of private type.
pub const FORTICLIENT_CONNECT: u16 = 0xf100;

/// UNITY_SPLIT_INCLUDE: networks behind the gateway, in entries of fourteen octets.
pub const UNITY_SPLIT_INCLUDE: Kind = Kind(28_676);

/// FortiClient's CFG_REQUEST: all empty, in this order. 21514 to 21516 (0x540A to 0x540C) and the
/// ones from 28672 on are private: client-auto-negotiate, client-keep-alive, one of unknown meaning,
/// UNITY_SAVE_PASSWD and UNITY_LOCAL_LAN. The form of their values is not public: they are asked
/// for, as a FortiClient does, and what comes back is passed over.
pub const CONFIGURATION_REQUEST: [Kind; 16] = [
    Kind(1),
    Kind(2),
    Kind(7),
    Kind(3),
    Kind(4),
    Kind(13),
    Kind(8),
    Kind(10),
    Kind(11),
    Kind(15),
    Kind(25),
    Kind(21_516),
    Kind(28_678),
    Kind(21_514),
    Kind(21_515),
    Kind(28_673),
];

/// Octets of an entry of [`UNITY_SPLIT_INCLUDE`]: network, mask, and six that are zero.
const SPLIT_ENTRY: usize = 14;

/// Makes a negotiation one that a FortiGate takes for FortiClient's.
pub fn apply(configuration: &mut Configuration, claims: &Claims) {
    let extensions = &mut configuration.extensions;
    extensions.vendor_ids = VENDOR_IDS.iter().map(|id| id.to_vec()).collect();
    extensions.notifies = vec![(FORTICLIENT_CONNECT, claims.encode())];
    extensions.configuration_request = CONFIGURATION_REQUEST.iter().map(|kind| kind.0).collect();
    extensions.split_include = true;
    configuration.start_encapsulated = true;
    configuration.send_remote_identity = false;
    if let ClientAuthentication::Eap { profile, .. } = &mut configuration.client_auth {
        profile.token_after_success = true;
        profile.short_master_session_key = true;
    }
}

/// Reads the networks of UNITY_SPLIT_INCLUDE; entries that are none are passed over.
pub fn split_include(value: &[u8]) -> impl Iterator<Item = Ipv4Net> + '_ {
    value.chunks_exact(SPLIT_ENTRY).filter_map(|entry| {
        let (network, rest) = entry.split_first_chunk::<4>()?;
        let mask = rest.first_chunk::<4>()?;
        let prefix = ipnet::ipv4_mask_to_prefix(Ipv4Addr::from(*mask)).ok()?;
        Some(Ipv4Net::new(Ipv4Addr::from(*network), prefix).ok()?.trunc())
    })
}
