//! `posternd` against strongSwan as a road warrior's gateway: real packets between namespaces.
//!
//! | module | holds |
//! |---|---|
//! | [`gateways`] | the gateways' configurations and the tunnels that fit them |
//! | [`carries`] | data, rekeys, deletion, liveness, by pre-shared key and the FortiGate habit |
//! | [`algorithms`] | the rest of the algorithm tables, each with rekeys |
//! | [`path`] | a path whose middle takes less than its ends, and changes |
//! | [`ppk`] | post-quantum pre-shared keys |
//! | [`capture`] | packets and keys, read by Wireshark |
//! | [`certificates`] | certificates on one side or both, every AUTH method |
//! | [`twice`] | a certificate, then EAP: RFC 4739 |
//! | [`keys`] | the client's key behind a passphrase, or in a token |
//! | [`tcp`] | the TCP carrier through a relay, the race of carriers, families and gateways |
//! | [`trace`] | the conversation log |
//! | [`hostile`] | a hostile gateway and a hostile network, played by Python |
//! | [`conditions`] | bad weather and renewals that cross in it, with the kernel's ESP |
//! | [`nat`] | NAT, twice over, and a mapping that changes |
//! | [`fragments`] | a path too narrow for long messages |
//! | [`roams`] | other addresses of the client, reauthentication |
//! | [`eap`] | EAP-TLS, TTLS, GTC; FreeRADIUS behind strongSwan |
//! | [`revocation`] | certificates taken back, or for another use |
//! | [`redirects`] | a gateway that sends its client to another one |
//! | [`refusals`] | what goes wrong, and the name it has |

mod algorithms;
mod capture;
mod carries;
mod certificates;
mod conditions;
mod eap;
mod fragments;
mod gateways;
mod hostile;
mod keys;
mod nat;
mod path;
mod ppk;
mod redirects;
mod refusals;
mod revocation;
mod roams;
mod tcp;
mod trace;
mod twice;

use lab::scenario::{self, Scenario};
use std::process::ExitCode;

const SCENARIOS: &[Scenario] = &[
    ("strongswan psk: addresses, routes, resolver, 50 MB each way", carries::psk_carries_data),
    ("strongswan psk: no ping is lost through rekeys by the gateway", carries::psk_rekeyed_by_gateway),
    ("strongswan psk: no ping is lost through rekeys by the client", carries::psk_rekeyed_by_client),
    ("strongswan psk: data flows on while both sides renew the keys", carries::data_flows_on),
    ("strongswan psk: the client deletes", carries::psk_deleted_by_client),
    ("strongswan psk: the gateway deletes", carries::psk_deleted_by_gateway),
    ("strongswan psk: a gateway that stops dead is noticed", carries::psk_gateway_dead),
    ("strongswan psk: an IPv6 address inside", carries::psk_ipv6_inside),
    ("strongswan psk: every cipher suite carries data", carries::psk_suites),
    ("strongswan psk: MODP-3072, AES-CBC, HMAC-SHA-512", algorithms::modp3072),
    ("strongswan psk: MODP-4096, AES-CTR", algorithms::modp4096_counter),
    ("strongswan psk: MODP-6144, AES-192, AES-XCBC", algorithms::modp6144_xcbc),
    ("strongswan psk: MODP-8192, AES-CTR", algorithms::modp8192_counter),
    ("strongswan psk: P-521, PRF AES-CMAC", algorithms::ecp521_cmac),
    ("strongswan psk: AES-CTR with AES-XCBC", algorithms::counter_xcbc),
    ("strongswan psk: AES-192-GCM", algorithms::gcm_192),
    ("strongswan psk: AES-GCM with 12 octets", algorithms::gcm_12),
    ("strongswan psk: AES-GCM with 8 octets, by name", algorithms::gcm_8),
    ("strongswan psk: MODP-1536, by name", algorithms::modp1536),
    ("strongswan psk: MODP-1024 and SHA-1, by name", algorithms::modp1024),
    ("strongswan ppk: required by both", ppk::required_by_both),
    ("strongswan ppk: optional for both, and used", ppk::optional_for_both),
    ("strongswan ppk: optional and unknown to the gateway", ppk::optional_and_unknown),
    ("strongswan ppk: optional and absent at the gateway", ppk::optional_and_absent),
    ("strongswan ppk: required and unknown to the gateway", ppk::required_and_unknown),
    ("strongswan ppk: required and absent at the gateway", ppk::required_and_absent),
    ("strongswan ppk: of another value", ppk::wrong_key),
    ("strongswan ppk: required by the gateway alone", ppk::required_by_the_gateway_alone),
    ("strongswan ppk: beside a certificate and eap-mschapv2", ppk::with_eap),
    ("strongswan ppk: optional beside certificates on both sides, known and unknown", ppk::optional_with_certificates),
    ("strongswan psk and eap-mschapv2, the FortiGate habit", carries::fortigate_habit),
    ("strongswan certificate and eap-mschapv2", certificates::certificate_and_eap),
    ("strongswan certificate, then eap-mschapv2 (RFC 4739)", twice::certificate_then_eap),
    ("strongswan certificate, then eap-mschapv2: a wrong password is AuthenticationFailed", twice::wrong_password),
    ("strongswan certificate, then eap-mschapv2: the certificate alone does not suffice", twice::one_is_not_two),
    ("strongswan certificate, then eap-mschapv2: a gateway without RFC 4739 is shown nothing", twice::not_announced),
    ("strongswan certificate, then eap-mschapv2: nothing of it for an unproven gateway", twice::unproven_gateway),
    ("strongswan certificates, RSA by method 1", certificates::rsa_method_1),
    ("strongswan certificates, RSA by RFC 7427", certificates::rsa_rfc_7427),
    ("strongswan certificates, RSA-PSS by RFC 7427, where both sides want it", certificates::rsa_pss),
    ("strongswan certificates, an encrypted key whose passphrase is in a file", keys::encrypted),
    ("strongswan certificates, PKCS#12 whose passphrase is asked for", keys::pkcs12),
    ("strongswan certificates, RSA-PSS by a key in a token (PKCS#11)", keys::token_by_pss),
    ("strongswan certificates, ECDSA by a key and certificate in a token (PKCS#11)", keys::token_with_certificate),
    ("strongswan certificates, ECDSA P-256 by method 9", certificates::p256_method_9),
    ("strongswan certificates, ECDSA P-256 by RFC 7427", certificates::p256_rfc_7427),
    ("strongswan certificates, ECDSA P-384 by method 10", certificates::p384_method_10),
    ("strongswan certificates, ECDSA P-384 by RFC 7427", certificates::p384_rfc_7427),
    (
        "strongswan path: a hop becomes narrow in silence and wide again while data moves, IPv4",
        path::black_hole_over_ipv4,
    ),
    ("strongswan path: a hop becomes narrow in silence while data moves, IPv6", path::black_hole_over_ipv6),
    ("strongswan path: a hop becomes narrow and says so while data moves, IPv4", path::spoken_over_ipv4),
    ("strongswan path: a hop becomes narrow and says so while data moves, IPv6", path::spoken_over_ipv6),
    ("strongswan path: a narrow hop that swallows large packets from the start", path::narrow_from_the_start),
    ("strongswan path: IPv6 inside the narrowest IPv6 goes in fragments", path::ipv6_in_the_narrowest_ipv6),
    ("strongswan path: a forged word of ICMP makes nothing smaller, IPv4", path::forged_over_ipv4),
    ("strongswan path: a forged word of ICMP makes nothing smaller, IPv6", path::forged_over_ipv6),
    ("strongswan tcp: data and nothing but TCP on the wire", tcp::only_tcp),
    ("strongswan auto: without UDP TCP is tried after a silence, and first the next time", tcp::auto_without_udp),
    ("strongswan auto: with UDP no TCP connection is made", tcp::auto_with_udp),
    ("strongswan tcp: a stream cut in mid-transfer is opened again and no byte is lost", tcp::cut_in_mid_transfer),
    (
        "strongswan tcp: on lost compliance the stream is aborted and the Delete has its own",
        tcp::teardown_on_compliance,
    ),
    ("strongswan mobike: the client's address changes and the tunnel goes on", roams::moves_by_mobike),
    (
        "strongswan mobike: a gateway that falls silent is followed to its second address",
        roams::follows_to_the_second_address,
    ),
    (
        "strongswan psk without mobike: the client's address changes and the tunnel is made anew at once",
        roams::made_anew_without_mobike,
    ),
    ("strongswan psk: an SA that stands is redirected to a second gateway", redirects::of_a_standing_sa),
    ("strongswan tcp: the client's address changes and the stream is opened from the other", roams::moves_by_tcp),
    ("strongswan psk: reauthentication loses no ping", roams::proves_itself_anew),
    ("strongswan psk: the second of two gateways is taken when the first is silent", tcp::second_gateway),
    ("strongswan psk: of two families the one that answers carries", tcp::both_families),
    ("nobody: a refused TCP connection is GatewayUnreachable", tcp::no_stream),
    ("strongswan kernel ESP in user-mode Linux: psk with extended sequence numbers", carries::kernel_esp),
    ("strongswan certificate: an unknown authority is GatewayNotTrusted", refusals::untrusted_authority),
    ("strongswan certificate: an expired one is GatewayNotTrusted", refusals::expired_certificate),
    ("strongswan certificate: another name is GatewayNotTrusted", refusals::other_name),
    ("strongswan certificates: IKE fragments on a narrow path over IPv4", fragments::over_ipv4),
    ("strongswan certificates: IKE fragments on a narrow path over IPv6", fragments::over_ipv6),
    ("rogue: no EAP answer beyond Identity leaves before AUTH verifies", refusals::rogue_hears_nothing),
    ("strongswan eap-tls: certificates on both sides", eap::tls),
    ("strongswan eap-tls alone, without another proof of the gateway", eap::tls_alone),
    ("strongswan eap-gtc: a password in the clear for the proven gateway", eap::gtc),
    ("strongswan eap-gtc: not where the profile does not name it", eap::gtc_not_allowed),
    ("freeradius eap-tls over TLS 1.2, after a Nak", eap::radius_tls_12),
    ("freeradius eap-tls over TLS 1.3", eap::radius_tls_13),
    ("freeradius eap-ttls with mschapv2 inside", eap::radius_ttls_mschapv2),
    ("freeradius eap-ttls with pap inside", eap::radius_ttls_pap),
    ("freeradius eap-ttls over TLS 1.3", eap::radius_ttls_over_tls_13),
    ("freeradius eap-ttls with pap inside, by a client in the manner of FortiClient", eap::fortigate_ttls),
    ("freeradius eap-ttls: another login server is GatewayNotTrusted", eap::radius_other_server),
    ("freeradius eap-ttls: a login server that was revoked is GatewayNotTrusted", eap::radius_revoked_server),
    ("freeradius eap-mschapv2: an expired password is named as the reason", eap::radius_expired_password),
    ("strongswan certificate: one that a revocation list names is GatewayNotTrusted", revocation::named_by_a_list),
    (
        "strongswan certificate: one that a revocation list leaves out, where one is demanded",
        revocation::left_out_by_a_list,
    ),
    (
        "strongswan certificate: no revocation list where one is demanded is GatewayNotTrusted",
        revocation::no_list_where_one_is_demanded,
    ),
    ("strongswan certificate: good by its authority's OCSP responder, where one is demanded", revocation::good_by_ocsp),
    (
        "strongswan certificate: one that an OCSP responder calls revoked is GatewayNotTrusted",
        revocation::revoked_by_ocsp,
    ),
    ("strongswan certificate: an OCSP responder of nobody's making is not believed", revocation::forged_ocsp),
    ("strongswan certificate: a silent OCSP responder is a standing warning", revocation::silent_responder),
    (
        "strongswan certificate: a silent OCSP responder where one is demanded is GatewayNotTrusted",
        revocation::silent_responder_where_one_is_demanded,
    ),
    ("strongswan certificate: one that a fetched list names is GatewayNotTrusted", revocation::named_by_a_fetched_list),
    (
        "strongswan certificate: one that a fetched list leaves out, where one is demanded",
        revocation::left_out_by_a_fetched_list,
    ),
    (
        "strongswan certificate: an OCSP responder is asked past the block of a lost tunnel",
        revocation::asked_past_a_block,
    ),
    (
        "strongswan certificate: an OCSP response from before serves while its responder is gone",
        revocation::known_from_before,
    ),
    (
        "strongswan certificate: a list from before that has run out, where one is demanded, is GatewayNotTrusted",
        revocation::known_until_it_runs_out,
    ),
    ("strongswan certificate: one for clients only is GatewayNotTrusted", revocation::for_another_use),
    ("strongswan psk: a wrong key is AuthenticationFailed", refusals::wrong_psk),
    ("strongswan psk: no common suite is ProposalMismatch", refusals::no_common_suite),
    ("strongswan psk: another identity is GatewayNotTrusted", refusals::wrong_identity),
    ("strongswan habit: a refused user is AuthenticationFailed", refusals::refused_user),
    (
        "strongswan habit: the conversation log tells every message and no secret",
        trace::conversation_is_told_without_secrets,
    ),
    ("strongswan psk: the conversation log goes on in a file", trace::conversation_goes_on_in_a_file),
    (
        "strongswan psk: a capture and its keys are read by Wireshark, and not without the keys",
        capture::read_by_wireshark,
    ),
    ("rogue.py honest: the measure of what follows", hostile::honest),
    ("rogue.py asks for EAP without any proof and hears an identity at most", hostile::asks_without_proof),
    ("rogue.py sends the MSCHAPv2 challenge without any proof", hostile::early_challenge),
    ("rogue.py sends EAP-Success before anything was proved", hostile::early_success),
    ("rogue.py sends the success of five octets out of its place", hostile::early_five_octets),
    ("rogue.py proves itself by a shared key where a certificate is wanted", hostile::proves_by_key),
    ("rogue.py sends certificates without end", hostile::oversized_certificates),
    ("rogue.py signs with an RSA key of exponent 1", hostile::exponent_one),
    ("rogue.py floods an established SA with fragments", hostile::fragment_flood),
    ("rogue.py floods an established SA with unprotected words", hostile::unprotected_flood),
    ("rogue.py and strongswan: forged refusals do not stop the real answer", hostile::refuses_first),
    ("rogue.py and strongswan: whole forged answers first do not stop the real one", hostile::answers_first),
    ("rogue.py and strongswan: forged cookies do not spoil the attempt", hostile::asks_for_cookies),
    ("rogue.py and strongswan: one spoofed refusal of each kind does not end the attempt", hostile::spoofs_refusals),
    ("rogue.py and strongswan: ICMP's word that nobody is there does not end the attempt", hostile::unreachable),
    ("rogue.py and strongswan: reflected messages do nothing", hostile::reflects),
    ("rogue.py and strongswan: answers of an earlier connection do nothing", hostile::replays),
    ("rogue.py and strongswan: NAT detection cannot be stripped", hostile::strips_nat_detection),
    ("rogue.py and strongswan: fragmentation cannot be stripped", hostile::strips_fragmentation),
    ("rogue.py and strongswan: signature hashes cannot be stripped", hostile::strips_hashes),
    ("nobody: a silent gateway is GatewayUnreachable", refusals::silent_gateway),
];

/// They share a guest, whose kernel does the gateway's ESP.
const IN_THE_GUEST: &[Scenario] = &[
    ("strongswan kernel ESP: loss, reordering, duplication and delay", conditions::weather),
    ("strongswan kernel ESP: data flows on in bad weather while keys are renewed", conditions::data_flows_on),
    ("strongswan kernel ESP: renewals of the CHILD SA by both sides cross under loss", conditions::crossing_child),
    ("strongswan kernel ESP: renewals of the IKE SA by both sides cross under loss", conditions::crossing_ike),
    ("strongswan kernel ESP: the NAT's mapping changes and the gateway follows", nat::mapping_changes),
    ("strongswan kernel ESP: NAT behind NAT", nat::twice),
    ("strongswan kernel ESP: the gateway's liveness checks are answered, and ours by it", conditions::liveness),
];

fn main() -> ExitCode {
    scenario::main_of(SCENARIOS, IN_THE_GUEST)
}
