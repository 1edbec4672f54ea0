use super::wiring::{CLIENT, Wiring, settings};
use crate::gateway::settings::{RemoteGatewayMatch, Settings};
use crate::gateway::tags::{TagAddresses, TagDirectory};
use ike_client::session::CloseCause;
use std::net::Ipv4Addr;

fn demanding(tags: &[&str]) -> Settings {
    let remote_gw_ztna_tags = tags.iter().map(ToString::to_string).collect();
    Settings { remote_gw_match: RemoteGatewayMatch::Ztna, remote_gw_ztna_tags, ..settings() }
}

fn shared(tags: &[(&str, &[Ipv4Addr])]) -> TagDirectory {
    let tags =
        tags.iter().map(|(name, addresses)| TagAddresses { name: (*name).into(), addresses: addresses.to_vec() });
    TagDirectory { tags: tags.collect() }
}

const BOTH: &[&str] = &["EMS1_ZTNA_Antivirus running", "EMS1_ZTNA_Telemetry Connected"];

#[test]
fn any_one_of_the_tags_suffices_however_it_is_spelled() {
    let mut wiring = Wiring::new(demanding(BOTH));
    wiring.gateway.set_tags(shared(&[("Antivirus running", &[]), ("telemetry connected", &[CLIENT.into()])]));
    wiring.settle();
    assert_eq!(wiring.ping(), Ok(()));
}

// -->  HDR, SK {AUTH(MSK)}   <--  HDR, SK {N(LAB_TAG_CHECK_FAILED), N(AUTHENTICATION_FAILED)}
#[test]
fn no_matching_tag_is_refused_after_authentication_by_name_and_logged_as_an_error() {
    let elsewhere = [Ipv4Addr::new(192, 0, 2, 77)];
    for tags in [
        shared(&[]),
        shared(&[("Antivirus running", &elsewhere), ("Telemetry connected", &[])]),
        shared(&[("Another tag", &[CLIENT.into()])]),
    ] {
        let mut wiring = Wiring::new(demanding(BOTH));
        wiring.gateway.set_tags(tags);
        wiring.settle();
        assert_eq!(wiring.closed, Some(CloseCause::TagCheckRefused { text: "EMSTokenCheckFailed".into() }));
        assert!(wiring.asked.contains(&"password"), "the refusal comes after authentication");
        assert_eq!(wiring.log.len(), 1);
        assert!(wiring.log[0].contains("level=\"error\""));
        assert!(wiring.log[0].contains("reason=\"EMS ZTNA tags check failed\""));
        assert_eq!(wiring.gateway.established(), 0);
        assert!(wiring.children.is_empty());
    }
}

#[test]
fn taking_the_one_tag_away_from_the_demand_refuses_and_lifting_the_demand_admits() {
    let tags = shared(&[("Telemetry connected", &[CLIENT.into()])]);
    let mut wiring = Wiring::new(demanding(&["EMS1_ZTNA_Antivirus running"]));
    wiring.gateway.set_tags(tags);
    wiring.settle();
    assert!(matches!(wiring.closed, Some(CloseCause::TagCheckRefused { .. })), "{:?}", wiring.closed);
    let mut wiring = Wiring::new(Settings { remote_gw_match: RemoteGatewayMatch::Any, ..demanding(BOTH) });
    wiring.settle();
    assert_eq!(wiring.ping(), Ok(()));
}

#[test]
fn a_gateway_that_hears_nothing_logs_nothing() {
    let mut wiring = Wiring::new(demanding(BOTH));
    wiring.filter = Box::new(|_| false);
    wiring.wait_for("the end", |wiring| wiring.closed.is_some());
    assert_eq!(wiring.closed, Some(CloseCause::NoAnswer));
    assert!(wiring.log.is_empty());
}
