//! What keeps a tunnel going, as a gateway does it: MOBIKE (RFC 4555), the length of an
//! authentication (RFC 4478), crash tokens (RFC 6290), redirects (RFC 5685).

use super::init::{has, nat_detection, status};
use super::responder::{Context, Path, Transmit};
use super::sa::IkeSa;
use ike_client::wire::{ExchangeType, Flags, Header, Message, Notify, NotifyType, Payload};
use ring::hmac;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Which of it the gateway does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContinuitySettings {
    /// Follows clients to other addresses.
    #[serde(default)]
    pub mobility: bool,
    /// After how many seconds a client has to prove itself again.
    #[serde(default)]
    pub authentication_seconds: Option<u32>,
    /// What crash tokens are made from; it outlives the gateway. None: it makes none.
    #[serde(default)]
    pub crash_secret: Option<String>,
    /// Gives tickets to clients that ask for one, and takes them (RFC 5723).
    #[serde(default)]
    pub tickets: bool,
    /// Where every client that takes redirects is sent in IKE_SA_INIT.
    #[serde(default)]
    pub redirect: Option<Ipv4Addr>,
    /// Where it is sent in IKE_AUTH, once both sides have proven themselves.
    #[serde(default)]
    pub redirect_in_auth: Option<Ipv4Addr>,
}

impl ContinuitySettings {
    fn crash_token(&self, header: &Header) -> Option<Payload> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.crash_secret.as_ref()?.as_bytes());
        let spis = [header.initiator_spi.to_bytes(), header.responder_spi.to_bytes()].concat();
        let token = hmac::sign(&key, &spis).as_ref().to_vec();
        Some(status(NotifyType::QUICK_CRASH_DETECTION, token))
    }

    /// Returns what a client is told whose SPIs are unknown: with its token, if one would have been
    /// made for them.
    pub(super) fn unknown(&self, received: &Header, path: Path) -> Option<Transmit> {
        let token = self.crash_token(received)?;
        let flags = Flags::new(!received.flags.is_initiator(), true);
        let (initiator, responder) = (received.initiator_spi, received.responder_spi);
        let header = Header::new(initiator, responder, ExchangeType::INFORMATIONAL, flags, received.message_id);
        let invalid = Payload::Notify(Notify::new(NotifyType::INVALID_IKE_SPI, Vec::new()));
        let message = Message::new(header, vec![invalid, token]).encode().ok()?;
        Some(Transmit { path, message })
    }

    /// Returns the redirect that answers a first request.
    pub(super) fn redirection(&self, request: &Message, nonce: &[u8]) -> Option<Notify> {
        let target = self.redirect.filter(|_| has(request, NotifyType::REDIRECT_SUPPORTED))?;
        let data = [&[1, 4][..], &target.octets(), nonce].concat();
        Some(Notify::new(NotifyType::REDIRECT, data))
    }

    /// Returns the redirect that stands in the place of a CHILD SA (RFC 5685 §6), for a client whose first
    /// request, `init`, said that it follows.
    pub(super) fn redirection_of_proven(&self, init: &[u8]) -> Option<Payload> {
        let target = self.redirect_in_auth?;
        let follows = Message::decode(init).is_ok_and(|init| has(&init, NotifyType::REDIRECT_SUPPORTED));
        follows.then(|| status(NotifyType::REDIRECT, [&[1, 4][..], &target.octets()].concat()))
    }
}

impl IkeSa {
    /// Returns what goes beside the first CHILD SA.
    pub(super) fn beside_first_child(&self, mobile: bool, context: &Context<'_>) -> Vec<Payload> {
        let settings = &context.settings.continuity;
        let flags = Flags::new(false, true);
        let header = Header::new(self.initiator_spi, self.responder_spi, ExchangeType::IKE_AUTH, flags, 1);
        let lifetime = settings.authentication_seconds;
        let lifetime = lifetime.map(|seconds| status(NotifyType::AUTH_LIFETIME, seconds.to_be_bytes().to_vec()));
        let mobility = (mobile && settings.mobility).then(|| status(NotifyType::MOBIKE_SUPPORTED, Vec::new()));
        mobility.into_iter().chain(lifetime).chain(settings.crash_token(&header)).collect()
    }

    /// Answers what an INFORMATIONAL says about addresses. That the client is where its message came
    /// from is noted with every authentic one.
    pub(super) fn answer_move(&self, payloads: &[Payload], context: &Context<'_>) -> Vec<Payload> {
        let find = |kind| {
            payloads.iter().find_map(|payload| match payload {
                Payload::Notify(notify) if notify.notify_type == kind => Some(notify.clone()),
                _ => None,
            })
        };
        let mut answer = Vec::new();
        if context.settings.continuity.mobility && find(NotifyType::UPDATE_SA_ADDRESSES).is_some() {
            let pretend = context.settings.force_encapsulation;
            answer.extend(nat_detection(self.initiator_spi, self.responder_spi, self.path, pretend));
        }
        answer.extend(find(NotifyType::COOKIE2).map(Payload::Notify));
        answer
    }
}
