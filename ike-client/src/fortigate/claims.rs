//! FORTICLIENT_CONNECT: what a client says of itself to a FortiGate.
//!
//! Text, one `KEY=value` a line, each line ended by LF, then one NUL. The gateway believes it; it is
//! no proof of anything. Only [`Claims::version`] and [`Claims::uid`] are known to matter; whoever
//! wants to say less leaves the others empty.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest value; control characters are left out of it.
const LONGEST: usize = 255;

/// A client's identity at a FortiGate: 32 hexadecimal digits, the same at every connection. With a
/// sign-on it is half of what the login needs: it is shown to the gateway and to nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uid(String);

/// A text that is no [`Uid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a UID has 32 hexadecimal digits")]
pub struct UidError;

impl Uid {
    /// Makes one of sixteen random octets.
    pub fn of(octets: [u8; 16]) -> Self {
        Self(octets.iter().map(|octet| format!("{octet:02X}")).collect())
    }

    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Uid {
    type Err = UidError;

    fn from_str(text: &str) -> Result<Self, UidError> {
        let text = text.trim();
        let fits = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        if fits { Ok(Self(text.to_ascii_uppercase())) } else { Err(UidError) }
    }
}

impl TryFrom<String> for Uid {
    type Error = UidError;

    fn try_from(text: String) -> Result<Self, UidError> {
        text.parse()
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        uid.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The version of FortiClient that is claimed: gateways let older ones do less.
    pub version: String,
    /// Who this client is.
    pub uid: Uid,
    /// The own address; empty: not said.
    pub address: String,
    /// The host's name; empty: not said.
    pub host: String,
    /// The user of the operating system; empty: not said.
    pub user: String,
    /// The operating system; empty: not said.
    pub system: String,
    /// The serial number of the EMS that manages this endpoint, and its tenant; none: no EMS.
    pub ems: Option<(String, String)>,
}

impl Claims {
    /// Returns the body of the notify.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = String::new();
        let mut say = |key: &str, value: &str| {
            let value: String = value.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
            body.push_str(key);
            body.push('=');
            body.push_str(&value);
            body.push('\n');
        };
        say("VER", "1");
        say("FCTVER", &self.version);
        say("UID", self.uid.as_str());
        say("IP", &self.address);
        say("HOST", &self.host);
        say("USER", &self.user);
        say("OSVER", &self.system);
        say("REG_STATUS", "0");
        if let Some((serial, tenant)) = &self.ems {
            say("EMSSN", serial);
            say("EMSID", tenant);
        }
        let mut octets = body.into_bytes();
        octets.push(0);
        octets
    }
}
