//! Proof of identity: what an AUTH payload says, made and checked.
//!
//! | module | holds |
//! |---|---|
//! | [`identity`], [`distinguished_name`] | IDi and IDr as typed values |
//! | [`signature`] | methods 1, 9, 10 and 14 |
//! | [`private_key`] | the own key, from PEM |
//! | [`certificate`] | what makes a gateway's certificate good |
//!
//! The calls that land next, with these signatures:
//!
//! ```text
//! octets::signed_octets(prf: Prf, sk_p: &[u8], message: &[u8], peer_nonce: &[u8], id_body: &[u8]) -> Vec<u8>
//! psk::compute(prf: Prf, secret: &[u8], octets: &[u8]) -> Vec<u8>          // PSK, MSK, or SK_p without an MSK
//! psk::verify(prf: Prf, secret: &[u8], octets: &[u8], presented: &[u8]) -> bool
//!
//! gateway::Claim { identity_body: &[u8] /* IDr payload body as received */, method: u8, authentication: &[u8],
//!                  octets: &[u8] /* signed_octets of the responder */, certificates: &[(u8, &[u8])] }
//! gateway::prove_by_psk(&Claim, prf: Prf, psk: &[u8], expected: Option<&Identity>) -> Result<GatewayProven, GatewayRejected>
//! gateway::prove_by_certificate(&Claim, &CertificateTrust, unix_now: u64) -> Result<GatewayProven, GatewayRejected>
//!   CertificateTrust { anchors: &[Vec<u8>], pins: &[[u8; 32]], expected: ExpectedIdentity<'_>,
//!                      announced_by_us: &SignatureHashes, announced_by_gateway: &SignatureHashes, allow_rsa_sha1: bool }
//!   ExpectedIdentity { Profile(&Identity) | Host(&str) }
//! GatewayProven (neither Clone nor constructible elsewhere): identity() -> &Identity, by() -> ProvenBy
//!
//! certificate::request(anchors: &[Vec<u8>]) -> Vec<u8>           // CERTREQ data: SHA-1 of each anchor's SPKI
//! certificate::key_kind(leaf: &[u8]) -> Result<KeyKind, _>       certificate::subject(leaf: &[u8]) -> Result<Identity, _>
//! PrivateKey::from_pem(&str) -> Result<PrivateKey, PrivateKeyError>;  key.kind()
//! signature::sign(&PrivateKey, announced: &SignatureHashes, octets: &[u8], &mut dyn Random) -> Result<Signed { method, data }, _>
//!
//! eap::Peer::new(&GatewayProven, identity: Option<String>) -> Peer     // no proof, no peer, no answer
//! peer.handle(packet: &[u8], &mut dyn Random) -> eap::Step
//! peer.identity(String) -> eap::Step;  peer.password(&[u8] /* UTF-8 */, &mut dyn Random) -> eap::Step
//! eap::Step { Reply(Vec<u8>) | NeedIdentity { prompt: String } | NeedPassword { identity: String, server: String }
//!           | Success(crypto::Secret /* MSK */) | Failed { reason: EapFailure, farewell: Option<Vec<u8>> } }
//! ```

pub mod certificate;
mod der;
pub mod distinguished_name;
pub mod identity;
pub mod private_key;
pub mod signature;

pub use distinguished_name::DistinguishedName;
pub use identity::Identity;
pub use private_key::{PrivateKey, PrivateKeyError};
