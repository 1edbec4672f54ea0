//! The manners of a FortiGate beyond those that the gateway always has, as far as they are known:
//! it knows FortiClient by its vendor IDs, asks for a second factor in a form of its own, names
//! split networks by Unity, answers private configuration attributes, and lets users sign on by
//! SAML. What it does was gathered from the same facts as the client's side, but written apart.
//!
//! | module | holds |
//! |---|---|
//! | `second_factor` | the Success of five octets, then GTC, then AUTH by SK_pi and SK_pr |
//! | [`sign_on`] | the pages of the sign-on, and an identity provider |

mod second_factor;
pub mod sign_on;

pub(super) use second_factor::{SecondFactorStage, success_then_gtc};
pub use sign_on::{SignOnSettings, SignedOn};

use super::settings::Settings;
use ike_client::wire::{ConfigurationAttribute as Attribute, ConfigurationAttributeType as Type, Message, Payload};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// `Forticlient EAP Extension`: who sends it can do the second factor.
const EAP_EXTENSION: &[u8] = b"\xc1\xdc\x43\x50\x47\x6b\x98\xa4\x29\xb9\x17\x81\x91\x4c\xa4\x3e";
/// UNITY_SPLIT_INCLUDE.
const SPLIT_INCLUDE: Type = Type(28_676);
/// client-auto-negotiate and client-keep-alive, which are answered with one octet; their true form
/// is not known.
const SWITCHES: [Type; 2] = [Type(21_514), Type(21_515)];

/// Which of the manners the gateway has.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FortigateSettings {
    /// The codes of the users that have a second factor.
    pub codes: BTreeMap<String, String>,
    /// Whether split networks are named by Unity instead of INTERNAL_IP4_SUBNET.
    pub unity: bool,
    /// Whether a resolver 0.0.0.0 is named.
    pub empty_dns: bool,
    /// The sign-on.
    pub sign_on: Option<SignOnSettings>,
    /// Who has signed on and not connected yet, by UID.
    #[serde(skip)]
    pub signed_on: Arc<Mutex<BTreeMap<String, SignedOn>>>,
}

/// Tells whether the client named itself as one that can do the second factor.
pub(super) fn is_forticlient(message: &Message) -> bool {
    message.payloads.iter().any(|payload| matches!(payload, Payload::VendorId(id) if id == EAP_EXTENSION))
}

/// Returns names and passwords by which clients may log in: users, and whoever has signed on.
pub(super) fn users(settings: &Settings) -> BTreeMap<String, String> {
    let mut users = settings.users.clone();
    if let Some(fortigate) = &settings.fortigate {
        let signed_on = fortigate.signed_on.lock().unwrap_or_else(PoisonError::into_inner);
        users.extend(signed_on.iter().map(|(uid, signed_on)| (uid.clone(), signed_on.token.clone())));
    }
    users
}

/// Takes the sign-on of a UID, which is good for one login; returns the user's name.
pub(super) fn redeem(settings: &Settings, uid: &str) -> Option<String> {
    let fortigate = settings.fortigate.as_ref()?;
    let mut signed_on = fortigate.signed_on.lock().unwrap_or_else(PoisonError::into_inner);
    signed_on.remove(uid).map(|signed_on| signed_on.user)
}

/// Turns a CFG_REPLY into a FortiGate's.
pub(super) fn dress(attributes: &mut Vec<Attribute>, settings: &Settings) {
    let Some(fortigate) = &settings.fortigate else { return };
    if fortigate.unity {
        attributes.retain(|attribute| attribute.kind != Type::INTERNAL_IP4_SUBNET);
        let entries = settings
            .networks
            .iter()
            .flat_map(|network| [&network.network().octets()[..], &network.netmask().octets(), &[0; 6]].concat());
        attributes.push(Attribute::new(SPLIT_INCLUDE, entries.collect::<Vec<u8>>()));
    }
    if fortigate.empty_dns {
        attributes.push(Attribute::new(Type::INTERNAL_IP4_DNS, [0; 4]));
    }
    attributes.extend(SWITCHES.map(|kind| Attribute::new(kind, [0])));
}
