//! The quirks, each as it is known.

use super::sign_on::{CallbackError, action, callback};
use super::*;

fn claims() -> Claims {
    Claims {
        version: "7.4.8.2066".into(),
        uid: "19e105711ea27e4e66b7c6bd5721dd06".parse().unwrap(),
        address: "192.0.2.7".into(),
        host: "laptop".into(),
        user: "alice".into(),
        system: "Debian GNU/Linux 12".into(),
        ems: None,
    }
}

#[test]
fn the_vendor_ids_are_those_that_are_published_as_text() {
    let shown = VENDOR_IDS.map(hex::encode);
    assert_eq!(
        shown,
        ["4c53427b6d465d1b337bb755a37a7fef", "b4f01ca951e9da8d0bafbbd34ad3044e", "c1dc4350476b98a429b91781914ca43e"]
    );
}

#[test]
fn the_claims_are_lines_in_their_order_and_a_nul_ends_them() {
    let body = String::from_utf8(claims().encode()).unwrap();
    assert_eq!(
        body,
        "VER=1\nFCTVER=7.4.8.2066\nUID=19E105711EA27E4E66B7C6BD5721DD06\nIP=192.0.2.7\nHOST=laptop\nUSER=alice\n\
         OSVER=Debian GNU/Linux 12\nREG_STATUS=0\n\0"
    );
    let managed = Claims { ems: Some(("FCTEMS0000000001".into(), "0".repeat(32))), ..claims() };
    assert!(String::from_utf8(managed.encode()).unwrap().contains("\nEMSSN=FCTEMS0000000001\nEMSID=000"));
}

#[test]
fn a_claim_cannot_smuggle_another_line_in() {
    let sly = Claims { host: "x\nEMSSN=FCTEMS0000000001\0".into(), ..claims() };
    let body = String::from_utf8(sly.encode()).unwrap();
    assert!(!body.contains("\nEMSSN"), "{body:?}");
    assert_eq!(body.matches('\0').count(), 1);
}

#[test]
fn a_uid_has_thirty_two_digits_and_nothing_else() {
    assert_eq!(Uid::of([0xab; 16]).as_str(), "AB".repeat(16));
    for wrong in ["", "AB", &"G".repeat(32), &"A".repeat(33), "19e10571-1ea2-7e4e-66b7-c6bd5721dd06"] {
        assert!(wrong.parse::<Uid>().is_err(), "{wrong}");
    }
}

#[test]
fn the_configuration_request_is_seventy_two_octets_long() {
    // Generic header, type and three reserved octets, then four octets an attribute.
    assert_eq!(4 + 4 + 4 * CONFIGURATION_REQUEST.len(), 72);
}

#[test]
fn split_networks_are_read_entry_by_entry_and_nonsense_is_passed_over() {
    let entry = |network: [u8; 4], mask: [u8; 4]| [&network[..], &mask, &[0; 6]].concat();
    let value = [
        entry([10, 1, 2, 3], [255, 255, 0, 0]),
        entry([10, 9, 0, 0], [255, 0, 255, 0]),
        entry([192, 0, 2, 0], [255, 255, 255, 0]),
        vec![10, 0, 0, 0, 255, 0, 0, 0],
    ]
    .concat();
    let networks: Vec<String> = split_include(&value).map(|network| network.to_string()).collect();
    assert_eq!(networks, ["10.1.0.0/16", "192.0.2.0/24"]);
    assert_eq!(split_include(&[]).count(), 0);
}

#[test]
fn the_form_goes_to_the_gateways_sign_on_port() {
    assert_eq!(action("vpn.example.test", 1001), "https://vpn.example.test:1001/saml_login?");
    assert_eq!(action("2001:db8::1", 9443), "https://[2001:db8::1]:9443/saml_login?");
    let fields = sign_on::fields(&claims().uid, 50_123);
    assert_eq!(fields[0], ("UID", "19E105711EA27E4E66B7C6BD5721DD06".to_owned()));
    assert_eq!(fields[1], ("REDIRECT_PORT", "50123".to_owned()));
}

#[test]
fn the_token_comes_back_in_the_query() {
    let signed_on = callback("tokenid=ab%2B12&username=alice%40example.test").unwrap();
    assert_eq!(signed_on.token.expose(), b"ab+12");
    assert_eq!(signed_on.user, "alice@example.test");
    assert_eq!(format!("{:?}", signed_on.token).find("ab+12"), None, "a token is not printed");
}

#[test]
fn a_query_that_is_none_of_the_gateways_is_refused() {
    let long = format!("tokenid={}", "a".repeat(1025));
    for (query, why) in [
        ("", CallbackError::NoToken),
        ("username=alice", CallbackError::NoToken),
        ("tokenid=1&tokenid=2", CallbackError::NoToken),
        ("tokenid=", CallbackError::BadToken),
        ("tokenid=a%20b", CallbackError::BadToken),
        ("tokenid=%00", CallbackError::BadToken),
        ("tokenid=%zz", CallbackError::Malformed),
        ("tokenid=%4", CallbackError::Malformed),
        (&long, CallbackError::BadToken),
    ] {
        assert_eq!(callback(query), Err(why), "{query}");
    }
}
