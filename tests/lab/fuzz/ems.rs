//! Fuzz targets of the EMS client: invitations, the push stream, signed documents.

use posture::ems::Invitation;
use posture::ems::identity::identifier;
use posture::ems::protocol::{PushMessage, TagSnapshot};
use posture::ems::push::EventParser;
use posture::ems::signed::{Fingerprint, Floor, Signed, Verifier};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// Reads an invitation; what reads must print, and then read the same.
///
/// # Panics
/// When it does not.
pub fn invitation(bytes: &[u8]) {
    if let Ok(invitation) = String::from_utf8_lossy(bytes).parse::<Invitation>() {
        assert_eq!(invitation.to_string().parse(), Ok(invitation));
    }
}

/// Reads server-sent events; the first byte says how many bytes arrive at a time. The pieces must
/// not matter.
///
/// # Panics
/// When they do.
pub fn push(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else { return };
    let at_once = EventParser::default().feed(stream);
    let mut parser = EventParser::default();
    let mut events = Vec::new();
    let piecewise = stream
        .chunks(usize::from(*piece).max(1))
        .try_for_each(|chunk| parser.feed(chunk).map(|more| events.extend(more)));
    assert_eq!(at_once.as_ref().err(), piecewise.as_ref().err());
    if let Ok(at_once) = at_once {
        assert_eq!(at_once, events);
        for event in events {
            let _ = serde_json::from_str::<PushMessage>(&event.data);
        }
    }
}

/// Signs the bytes as EMS would and judges them as an endpoint: only what parses and names this
/// endpoint is believed.
///
/// # Panics
/// When something else is.
pub fn document(bytes: &[u8]) {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("any seed will do");
    let public: [u8; 32] = key.public_key().as_ref().try_into().expect("32 bytes");
    let (ems, endpoint) = (identifier(&public), Fingerprint([7; 32]));
    let signature = key.sign(&Signed::message(bytes)).as_ref().to_vec();
    let signed = Signed { body: bytes.to_vec(), signature };
    let verifier = Verifier::new(ems.clone(), public, endpoint);
    if let Ok(verified) = verifier.verify::<TagSnapshot>(&signed, &Floor::default(), 1_800_000_000) {
        assert_eq!((&verified.binding().ems, verified.binding().endpoint), (&ems, endpoint));
        let _ = verified.content().table(verified.binding().issued_unix);
    }
}
