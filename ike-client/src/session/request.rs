//! What a session asks of the world, and the answers.
//!
//! A question has a number and a deadline and leaves the session in a state of its own. Requests
//! and answers are plain values, because they may have to cross a process boundary: the one who
//! speaks with the gateway holds neither passwords nor private keys.

use crate::auth::certificate::RevocationSource;
use crate::auth::signature::{SignatureAlgorithm, SignatureHashes};
use crate::crypto::Secret;
use serde::{Deserialize, Serialize};

/// The number of a request within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// The pre-shared key of the tunnel; answered by [`Answer::Secret`].
    PreSharedKey,
    /// The post-quantum pre-shared key of the tunnel (RFC 8784); answered by [`Answer::Secret`].
    PostQuantumPreSharedKey {
        /// Its name.
        identity: String,
    },
    /// The private key of a WireGuard tunnel, as 32 octets or as text in Base64; answered by
    /// [`Answer::Secret`].
    PrivateKey,
    /// The EAP identity; answered by [`Answer::Text`].
    EapIdentity {
        /// What the gateway says, to be shown as plain text; often empty.
        prompt: String,
    },
    /// The EAP password; answered by [`Answer::Secret`].
    EapPassword {
        /// Whose password.
        identity: String,
        /// What the gateway says, to be shown as plain text; often empty.
        prompt: String,
        /// True when the gateway has refused an earlier answer of this session.
        again: bool,
    },
    /// A new EAP password: the gateway says that the present one is right, but has expired; answered
    /// by [`Answer::Secret`].
    EapNewPassword {
        /// Whose password.
        identity: String,
        /// What the gateway says, to be shown as plain text; often empty.
        prompt: String,
    },
    /// A code that is good once (a second factor); answered by [`Answer::Secret`].
    EapCode {
        /// Whose code.
        identity: String,
        /// What the gateway says, to be shown as plain text.
        prompt: String,
    },
    /// Whether the proven gateway's certificates were revoked; answered by [`Answer::RevocationStatus`], also when
    /// nobody said anything. Whoever answers takes no longer than a few seconds.
    RevocationStatus {
        /// For each certificate those who could say, in the order in which they are to be asked until one has
        /// said something.
        certificates: Vec<Vec<RevocationSource>>,
    },
    /// A signature within TLS by the private key of the own certificate; answered by
    /// [`Answer::Octets`] with the bare signature in the form that TLS has.
    SignTls {
        /// By which algorithm.
        algorithm: SignatureAlgorithm,
        /// What is to be signed, before any hash (RFC 5246 §7.4.8, RFC 8446 §4.4.3).
        octets: Vec<u8>,
    },
    /// A signature by the private key of the own certificate; answered by [`Answer::Signature`].
    Sign {
        /// What is to be signed, before any hash (RFC 7296 §2.15).
        octets: Vec<u8>,
        /// Hash algorithms the gateway announced (RFC 7427 §4); empty: method 14 is not possible
        /// and the key's own method (1, 9, 10 or 11) is wanted.
        announced: SignatureHashes,
    },
}

/// The answer to one [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// A text that is no secret.
    Text {
        /// The text.
        text: String,
    },
    /// A secret. Text is UTF-8.
    Secret {
        /// The secret.
        #[serde(with = "secret_octets")]
        secret: Secret,
    },
    /// The body of an AUTH payload.
    Signature {
        /// The authentication method (RFC 7296 §3.8).
        method: u8,
        /// The authentication data; for method 14 with its AlgorithmIdentifier (RFC 7427 §3).
        data: Vec<u8>,
    },
    /// Octets that are no secret; what they are the request says.
    Octets {
        /// The octets.
        octets: Vec<u8>,
    },
    /// What those said who were asked about revocation, unread.
    RevocationStatus {
        /// OCSP responses, DER.
        #[serde(with = "crate::octet_strings")]
        responses: Vec<Vec<u8>>,
        /// Revocation lists, DER.
        #[serde(with = "crate::octet_strings")]
        lists: Vec<Vec<u8>>,
    },
    /// There is none: the person declined, nobody is there to ask, or the key cannot be used.
    Refused {
        /// In words.
        because: String,
    },
}

/// How a secret crosses a process boundary: as its octets.
pub(super) mod secret_octets {
    use crate::crypto::Secret;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        secret.expose().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(Secret::new)
    }
}
