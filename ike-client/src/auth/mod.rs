//! Proof of identity: what an AUTH payload says, made and checked.
//!
//! | module | holds |
//! |---|---|
//! | [`identity`], [`distinguished_name`] | IDi and IDr as typed values |
//! | [`signature`] | methods 1, 9, 10, 11 and 14 |
//! | [`private_key`] | the own key, from PEM |
//! | [`pkcs12`] | the own key and its certificates, from one file |
//! | [`octets`], [`psk`] | what AUTH covers; AUTH by a shared key |
//! | [`gateway`] | the gateway's proof, and the token that it yields |
//! | [`certificate`] | what makes a gateway's certificate good |
//! | [`eap`] | the login: Identity, MSCHAPv2 |

pub mod certificate;
mod der;
pub mod distinguished_name;
pub mod eap;
mod encrypted;
pub mod gateway;
pub mod identity;
pub mod octets;
pub mod pkcs12;
pub mod private_key;
pub mod psk;
pub mod signature;

pub use distinguished_name::DistinguishedName;
pub use gateway::{GatewayProven, GatewayRejected};
pub use identity::Identity;
pub use private_key::{PrivateKey, PrivateKeyError};
