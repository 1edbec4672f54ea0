//! What the service tells without being asked: JSON-RPC notifications of method `event`.

use crate::fault::Fault;
use crate::posture::TagReport;
use crate::prompt::Prompt;
use crate::state::{Status, TunnelStatus};
use crate::text::PlainText;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// One thing that happened.
#[allow(clippy::large_enum_variant, reason = "written to a socket as soon as it is made, never kept in numbers")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The whole status; sent first after `subscribe`.
    Snapshot {
        /// The status.
        status: Status,
    },
    /// A tunnel changed.
    Tunnel {
        /// Where it stands now.
        tunnel: TunnelStatus,
    },
    /// Tag knowledge changed.
    Tags {
        /// What is known now.
        report: TagReport,
    },
    /// A connection was refused or torn down, and a person must be told.
    Notice {
        /// What happened.
        notice: Notice,
    },
    /// A person is asked.
    Prompt {
        /// The question.
        prompt: Prompt,
    },
    /// A scan for vulnerable packages goes on.
    Scan {
        /// What it does.
        step: ScanStep,
        /// How many records or packages it has done so far.
        done: u64,
    },
    /// A message of a tunnel's conversation with its gateway; for the one who asked for it alone.
    Trace {
        /// The tunnel.
        tunnel: PlainText,
        /// The message: names and sizes, no content.
        line: PlainText,
    },
    /// A key of a tunnel, as a line of one of Wireshark's tables; for root alone, who asked for it.
    Keys {
        /// The tunnel.
        tunnel: PlainText,
        /// The table.
        table: KeyTable,
        /// The line.
        line: SecretText,
    },
    /// Something that a person who waits for a tunnel may want to know.
    Progress {
        /// The tunnel.
        tunnel: PlainText,
        /// In words, such as `UDP seems blocked here, trying TCP`.
        text: PlainText,
    },
    /// A question was answered or has lapsed.
    PromptEnded {
        /// Its number.
        id: u64,
    },
}

/// One of Wireshark's tables of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyTable {
    /// IKE SAs.
    Ike,
    /// ESP SAs.
    Esp,
}

impl KeyTable {
    /// Returns the name of the file in Wireshark's configuration folder.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Ike => "ikev2_decryption_table",
            Self::Esp => "esp_sa",
        }
    }
}

/// A text that is not printed, and wiped when dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// Takes over `text`.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// Lends the text to what it is for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for SecretText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SecretText({} octets)", self.0.len())
    }
}

/// What a scan does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScanStep {
    /// Reads the records of a new feed.
    Importing,
    /// Holds the packages against the records.
    Scanning,
}

impl Event {
    /// Returns the user for whom it is meant; none for everybody.
    pub const fn addressee(&self) -> Option<u32> {
        match self {
            Self::Prompt { prompt } => prompt.uid,
            Self::Notice { notice } => notice.uid,
            _ => None,
        }
    }
}

/// A text that stays until a person dismisses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Grows by one with each notice of this service.
    pub id: u64,
    /// RFC 3339.
    pub time: String,
    /// The tunnel.
    pub tunnel: PlainText,
    /// One line that says what happened, such as `VPN disconnected: security posture changed`.
    pub title: PlainText,
    /// The administrator's words, verbatim; the default text when none is set.
    pub warning: PlainText,
    /// Tag, evidence, next step.
    pub fault: Fault,
    /// Why posture stands as it does, as [`crate::method::Method::PostureExplain`] tells it: the rules as a
    /// tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explanation: Vec<PlainText>,
    /// The user in whose session it is to be shown, as the system numbers users.
    #[serde(default)]
    pub uid: Option<u32>,
}
