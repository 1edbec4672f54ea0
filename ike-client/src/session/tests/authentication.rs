//! IKE_AUTH by pre-shared key: proofs, what is assigned, what is refused.

use super::*;
use crate::auth::Identity;
use crate::wire::{
    ConfigurationAttribute, ConfigurationAttributeType, ExchangeType, Identification, Message, Notify, NotifyType,
    Payload, PayloadType, TrafficSelector,
};

/// Runs a client against a gateway as far as it comes.
fn run(configuration: Configuration, behaviour: Behaviour) -> (Session, Gateway) {
    let mut gateway = Gateway::new(configuration.clone(), behaviour);
    let mut client = client(configuration);
    exchange(&mut client, &mut gateway, at(0));
    answer_psk(&mut client, PSK, at(0));
    exchange(&mut client, &mut gateway, at(0));
    (client, gateway)
}

#[test]
fn the_child_sa_of_ike_auth_is_expected_from_the_request_until_it_stands() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    exchange(&mut client, &mut gateway, at(0));
    assert_eq!(client.expected_child(), None, "nothing was proposed");
    answer_psk(&mut client, PSK, at(0));
    // HDR, SK{IDi, AUTH, SAi2, ...} -->
    let expected = client.expected_child().expect("it was proposed");
    exchange(&mut client, &mut gateway, at(0));
    assert_eq!(client.expected_child(), None);
    let child = events(&mut client).into_iter().find_map(|event| match event {
        Event::ChildInstalled(child) => Some(child.inbound.spi()),
        _ => None,
    });
    assert_eq!(child, Some(expected));
    // A refusal: nothing will come.
    let (refused, _) = run(configuration(), Behaviour { psk: b"another".to_vec(), ..Behaviour::default() });
    assert_eq!(refused.expected_child(), None);
}

fn cause_with(behaviour: Behaviour) -> CloseCause {
    closed(&mut run(configuration(), behaviour).0)
}

#[test]
fn both_sides_prove_themselves_and_the_child_sa_carries_packets() {
    // HDR, SK{IDi, N(INITIAL_CONTACT), AUTH, CP(CFG_REQUEST), SAi2, TSi, TSr, N(TICKET_REQUEST),
    //     N(MOBIKE_SUPPORTED)} -->
    //      <-- HDR, SK{IDr, AUTH, CP(CFG_REPLY), SAr2, TSi, TSr}
    let (mut client, mut gateway) = run(configuration(), Behaviour::default());
    let order: Vec<PayloadType> = gateway.first_auth.iter().map(Payload::payload_type).collect();
    assert_eq!(
        order,
        [
            PayloadType::IDENTIFICATION_INITIATOR,
            PayloadType::NOTIFY,
            PayloadType::AUTHENTICATION,
            PayloadType::CONFIGURATION,
            PayloadType::SECURITY_ASSOCIATION,
            PayloadType::TRAFFIC_SELECTORS_INITIATOR,
            PayloadType::TRAFFIC_SELECTORS_RESPONDER,
            PayloadType::NOTIFY,
            PayloadType::NOTIFY,
        ]
    );
    let mut told = events(&mut client).into_iter();
    let Some(Event::Established(established)) = told.next() else { panic!("established first") };
    assert_eq!(established.addresses, ["10.9.0.7/32".parse().unwrap()]);
    assert_eq!(established.dns, ["10.9.0.1".parse::<std::net::IpAddr>().unwrap()], "0.0.0.0 is none");
    assert_eq!(established.gateway_identity, "vpn.example.test".parse::<Identity>().unwrap());
    assert_eq!(established.ike_suite, configuration().ike_suites[0]);
    assert_eq!(established.gateway, address("198.51.100.1:4500"));
    assert_eq!(established.warnings, []);
    let Some(Event::ChildInstalled(ours)) = told.next() else { panic!("then the child") };
    assert_eq!(ours.outbound_from, OutboundFrom::Now);
    assert_eq!(ours.replaces, None);
    let mut gateway =
        std::mem::replace(&mut gateway, Gateway::new(configuration(), Behaviour::default())).into_session();
    let Some(Event::ChildInstalled(theirs)) = gateway.poll_event() else { panic!("the gateway's child") };

    let inner = inner_packet([10, 9, 0, 7], [10, 1, 2, 3]);
    let mut packet = vec![0; ours.outbound.sealed_length(inner.len())];
    let header = ours.outbound.header_length();
    packet[header..header + inner.len()].copy_from_slice(&inner);
    let length = ours.outbound.seal_in_place(&mut packet, inner.len()).unwrap();
    match theirs.inbound.open_in_place(&mut packet[..length]).unwrap() {
        crate::esp::Opened::Packet(_, range) => assert_eq!(packet[range], inner),
        crate::esp::Opened::Dummy => panic!("no dummy was sent"),
    }
}

/// An IPv4 header of UDP with nothing behind it.
fn inner_packet(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend([source, destination].concat());
    packet.extend([0, 53, 0, 53, 0, 8, 0, 0]);
    packet
}

#[test]
fn another_key_at_the_gateway_is_noticed_by_the_client() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    exchange(&mut client, &mut gateway, at(0));
    // The gateway takes the client's key, but proves itself by another one.
    gateway.behaviour.psk = PSK.to_vec();
    answer_psk(&mut client, PSK, at(0));
    let request = sent_one(&mut client);
    gateway.behaviour.eap = Some(Default::default());
    gateway.behaviour.psk = b"another key".to_vec();
    for answer in gateway.take(&request, at(0)) {
        client.handle_datagram(&answer, client.remote(), at(0));
    }
    // HDR, SK{N(AUTHENTICATION_FAILED), D} -->
    let farewell = Message::decode(&sent_one(&mut client)).unwrap();
    assert_eq!(farewell.header.exchange, ExchangeType::INFORMATIONAL);
    assert_eq!(closed(&mut client), CloseCause::GatewayNotTrusted { why: DistrustReason::ProofWrong });
}

#[test]
fn another_key_at_the_client_is_refused_with_the_likely_causes() {
    let cause = cause_with(Behaviour { psk: b"another key".to_vec(), ..Behaviour::default() });
    let likely = vec![LikelyCause::PreSharedKeyWrong, LikelyCause::IdentityUnknown];
    assert_eq!(cause, CloseCause::AuthenticationFailed { likely });
    assert_eq!(cause.retry(), Retry::WithNewCredentials);
}

#[test]
fn another_identity_than_the_configured_one_is_refused() {
    let configuration =
        Configuration { remote_identity: Some("other.example.test".parse().unwrap()), ..configuration() };
    let (mut client, _) = run(configuration, Behaviour::default());
    let presented = "vpn.example.test".to_owned();
    let why = DistrustReason::IdentityMismatch { presented };
    assert_eq!(closed(&mut client), CloseCause::GatewayNotTrusted { why });
}

#[test]
fn a_response_without_proof_is_refused() {
    let without_auth = vec![Payload::IdentificationResponder(Identification::fqdn("vpn.example.test"))];
    for forced in [Vec::new(), without_auth] {
        let cause = cause_with(Behaviour { forced_auth: Some(forced), ..Behaviour::default() });
        assert_eq!(cause, CloseCause::GatewayNotTrusted { why: DistrustReason::ProofMissing });
    }
}

#[test]
fn refusals_have_names_of_their_own() {
    let refusal = |kind, data: &[u8]| {
        let both = vec![Notify::new(NotifyType::AUTHENTICATION_FAILED, Vec::new()), Notify::new(kind, data.to_vec())];
        let alone = vec![Notify::new(kind, data.to_vec())];
        let refusal = if kind == NotifyType::LAB_TAG_CHECK_FAILED { both } else { alone };
        cause_with(Behaviour { refusal, ..Behaviour::default() })
    };
    assert_eq!(refusal(NotifyType::NO_PROPOSAL_CHOSEN, b""), CloseCause::ProposalMismatch { sa: SaKind::Child });
    assert_eq!(refusal(NotifyType::TS_UNACCEPTABLE, b""), CloseCause::TrafficSelectorsUnacceptable);
    assert_eq!(refusal(NotifyType::INTERNAL_ADDRESS_FAILURE, b""), CloseCause::AddressUnavailable);
    assert_eq!(refusal(NotifyType(9000), b""), CloseCause::RefusedByPeer { notify: 9000 });
    let text = "tag missing".to_owned();
    assert_eq!(refusal(NotifyType::LAB_TAG_CHECK_FAILED, b"tag missing"), CloseCause::TagCheckRefused { text });
}

#[test]
fn an_established_sa_whose_child_was_refused_is_deleted() {
    let refusal = vec![Notify::new(NotifyType::TS_UNACCEPTABLE, Vec::new())];
    let mut gateway = Gateway::new(configuration(), Behaviour { refusal, ..Behaviour::default() });
    let mut client = client(configuration());
    exchange(&mut client, &mut gateway, at(0));
    answer_psk(&mut client, PSK, at(0));
    let request = sent_one(&mut client);
    // <-- HDR, SK{IDr, AUTH, N(TS_UNACCEPTABLE)}
    for answer in gateway.take(&request, at(0)) {
        client.handle_datagram(&answer, client.remote(), at(0));
    }
    // HDR, SK{N(TS_UNACCEPTABLE), D} -->
    let farewell = Message::decode(&sent_one(&mut client)).unwrap();
    assert_eq!(farewell.header.exchange, ExchangeType::INFORMATIONAL);
}

#[test]
fn selectors_outside_the_offer_are_refused() {
    let any = vec![TrafficSelector::any_ipv4()];
    let six = vec![TrafficSelector::any_ipv6()];
    for selectors in [(any.clone(), six), (any.clone(), Vec::new()), (Vec::new(), any)] {
        let cause = cause_with(Behaviour { selectors: Some(selectors), ..Behaviour::default() });
        assert_eq!(cause, CloseCause::TrafficSelectorsUnacceptable);
    }
}

#[test]
fn a_reply_without_an_address_is_refused() {
    for assigned in [
        Vec::new(),
        vec![ConfigurationAttribute::new(ConfigurationAttributeType::INTERNAL_IP4_ADDRESS, [0, 0, 0, 0])],
        vec![ConfigurationAttribute::new(ConfigurationAttributeType::INTERNAL_IP4_DNS, [10, 0, 0, 1])],
    ] {
        assert_eq!(cause_with(Behaviour { assigned, ..Behaviour::default() }), CloseCause::AddressUnavailable);
    }
}

#[test]
fn unknown_payloads_are_passed_over_unless_they_are_critical() {
    let unknown = |critical| {
        let body = vec![1, 2, 3];
        let extra = vec![Payload::Unknown { payload_type: PayloadType(200), critical, body }];
        run(configuration(), Behaviour { extra, ..Behaviour::default() }).0
    };
    assert_eq!(unknown(false).state_name(), "established");
    assert!(matches!(closed(&mut unknown(true)), CloseCause::PeerIncompatible { .. }));
}

#[test]
fn a_question_lapses_and_the_time_it_takes_is_not_the_gateways() {
    let configuration = Configuration { answer_limit: Duration::from_secs(300), ..configuration() };
    let mut gateway = Gateway::new(configuration.clone(), Behaviour::default());
    let mut patient = client(configuration.clone());
    exchange(&mut patient, &mut gateway, at(0));
    assert_eq!(patient.poll_timeout(), Some((at(300), TimerName::Answer)));
    patient.handle_timeout(at(200));
    answer_psk(&mut patient, PSK, at(200));
    exchange(&mut patient, &mut gateway, at(200));
    assert_eq!(patient.state_name(), "established", "the negotiation's 60 s did not run meanwhile");

    let mut gateway = Gateway::new(configuration.clone(), Behaviour::default());
    let mut late = client(configuration);
    exchange(&mut late, &mut gateway, at(0));
    let (id, _) = requested(&mut late);
    late.handle_timeout(at(300));
    assert_eq!(closed(&mut late), CloseCause::InputTimedOut);
    let answer = Answer::Secret { secret: Secret::from(PSK) };
    assert_eq!(late.handle_response(id, answer, at(301)), Err(UnknownRequest(id)));
}

#[test]
fn a_refused_question_ends_the_session() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    exchange(&mut client, &mut gateway, at(0));
    let (id, _) = requested(&mut client);
    client.handle_response(id, Answer::Refused { because: "cancelled".into() }, at(0)).unwrap();
    assert_eq!(closed(&mut client), CloseCause::InputRefused { because: "cancelled".into() });
}

#[test]
fn a_short_key_is_warned_about() {
    let mut gateway = Gateway::new(configuration(), Behaviour { psk: b"secret".to_vec(), ..Behaviour::default() });
    let mut client = client(configuration());
    exchange(&mut client, &mut gateway, at(0));
    answer_psk(&mut client, b"secret", at(0));
    exchange(&mut client, &mut gateway, at(0));
    let Some(Event::Established(established)) = client.poll_event() else { panic!("established") };
    assert_eq!(established.warnings, [Warning::PreSharedKeyWeak]);
}

#[test]
fn the_private_extensions_of_a_profile_are_sent_as_written() {
    let notifies = vec![(61696, b"VER=1\n".to_vec())];
    let extensions = Extensions { vendor_ids: vec![vec![1; 16]], notifies, ..Extensions::default() };
    let configuration = Configuration { extensions, ..configuration() };
    let mut client = client(configuration.clone());
    let request = Message::decode(&sent_one(&mut client)).unwrap();
    assert!(request.payloads.contains(&Payload::VendorId(vec![1; 16])));
    let (_, gateway) = run(configuration, Behaviour::default());
    let notify = Payload::Notify(Notify::new(NotifyType(61696), b"VER=1\n".to_vec()));
    assert!(gateway.first_auth.contains(&notify));
}
