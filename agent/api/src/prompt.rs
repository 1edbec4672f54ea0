//! What the service asks a person, and the answer.

use crate::text::PlainText;
use serde::{Deserialize, Serialize};

/// What kind of answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptKind {
    /// A user name.
    UserName,
    /// A password; not echoed.
    Password,
    /// A new password in the place of one that has expired; not echoed, and best typed twice.
    NewPassword,
    /// The pre-shared key of the tunnel; not echoed.
    PreSharedKey,
    /// The post-quantum pre-shared key of the tunnel; not echoed.
    PostQuantumKey,
    /// The private key of a WireGuard tunnel, in Base64; not echoed.
    PrivateKey,
    /// A one-time code; not echoed.
    OneTimeCode,
    /// The passphrase of a private key; not echoed.
    KeyPassphrase,
    /// A sign-on in a browser at [`Prompt::address`]. It is not answered, it ends by itself; to
    /// answer it with nothing declines it.
    SignOn,
}

impl PromptKind {
    /// Tells whether the answer is a secret.
    pub const fn is_secret(self) -> bool {
        !matches!(self, Self::UserName | Self::SignOn)
    }
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// Its number, to be named in the answer.
    pub id: u64,
    /// The tunnel it is for.
    pub tunnel: PlainText,
    /// What is wanted.
    pub kind: PromptKind,
    /// The question in words; may come from the gateway.
    pub text: PlainText,
    /// What is to be opened in a browser of this machine; it holds a secret of this sign-on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<PlainText>,
    /// Seconds until it lapses.
    pub seconds: u64,
    /// The user for whom the connection is made, as the system numbers users; others are not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}
