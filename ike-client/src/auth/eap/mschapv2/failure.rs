//! Why the server declines: `E=691 R=0 C=... V=3 M=...` (RFC 2759 §6).

use serde::{Deserialize, Serialize};

/// The most characters of a server's text that are kept.
const MAX_TEXT: usize = 512;

/// The server declined, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declined {
    /// Why.
    pub reason: Decline,
    /// Whether the server would take another attempt.
    pub retry_allowed: bool,
    /// The server's message, bounded, not to be trusted with more than display as plain text.
    pub message: String,
}

/// The reasons that have numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decline {
    /// 691: name or password is wrong.
    WrongCredentials,
    /// 648: the password is right but has expired.
    PasswordExpired,
    /// 647: the account is disabled.
    AccountDisabled,
    /// 646: not at this hour.
    RestrictedHours,
    /// 649: this account may not dial in.
    NoDialInPermission,
    /// 709: the new password was not accepted.
    PasswordChange,
    /// Another number.
    Other(u32),
    /// No number, or none that can be read.
    Unstated,
}

impl std::fmt::Display for Decline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::WrongCredentials => f.write_str("name or password is wrong"),
            Self::PasswordExpired => f.write_str("the password has expired"),
            Self::AccountDisabled => f.write_str("the account is disabled"),
            Self::RestrictedHours => f.write_str("this account may not connect at this hour"),
            Self::NoDialInPermission => f.write_str("this account may not connect"),
            Self::PasswordChange => f.write_str("the password change was refused"),
            Self::Other(number) => write!(f, "reason {number}"),
            Self::Unstated => f.write_str("no reason given"),
        }
    }
}

impl Declined {
    /// Reads the text; whatever cannot be read is left at its default, since the answer is "no" all the same.
    pub(in crate::auth::eap) fn read(body: &[u8]) -> Self {
        let text = display_text(body);
        let (fields, message) = match text.split_once("M=") {
            Some((fields, message)) => (fields, message.to_owned()),
            None => (text.as_str(), String::new()),
        };
        let field = |name: &str| fields.split_ascii_whitespace().find_map(|field| field.strip_prefix(name));
        let reason = match field("E=").and_then(|digits| digits.parse().ok()) {
            Some(691) => Decline::WrongCredentials,
            Some(648) => Decline::PasswordExpired,
            Some(647) => Decline::AccountDisabled,
            Some(646) => Decline::RestrictedHours,
            Some(649) => Decline::NoDialInPermission,
            Some(709) => Decline::PasswordChange,
            Some(other) => Decline::Other(other),
            None => Decline::Unstated,
        };
        Self { reason, retry_allowed: field("R=") == Some("1"), message }
    }

    /// Reads the challenge for another attempt, `C=` and 32 hexadecimal digits.
    pub(super) fn next_challenge(body: &[u8]) -> Option<[u8; 16]> {
        let text = display_text(body);
        let fields = text.split_once("M=").map_or(text.as_str(), |(fields, _)| fields);
        let digits = fields.split_ascii_whitespace().find_map(|field| field.strip_prefix("C="))?;
        super::hexadecimal(digits.as_bytes())
    }
}

/// Makes bounded text of bytes from the server.
pub(in crate::auth::eap) fn display_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|character| *character != '\0').take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_form_is_read() {
        let text = b"E=691 R=1 C=0123456789ABCDEF0123456789ABCDEF V=3 M=Authentication failed, E=0";
        assert_eq!(
            Declined::read(text),
            Declined {
                reason: Decline::WrongCredentials,
                retry_allowed: true,
                message: "Authentication failed, E=0".to_owned()
            }
        );
    }

    #[test]
    fn every_number_has_its_reason() {
        for (number, reason) in [
            (646, Decline::RestrictedHours),
            (647, Decline::AccountDisabled),
            (648, Decline::PasswordExpired),
            (649, Decline::NoDialInPermission),
            (709, Decline::PasswordChange),
            (12, Decline::Other(12)),
        ] {
            assert_eq!(Declined::read(format!("E={number} R=0").as_bytes()).reason, reason);
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_refusal_all_the_same() {
        for text in [&b""[..], b"E=", b"E=99999999999999999999", b"E=-1", b"\xff\xfe", b"no", b"M=", b"E=691E=691"] {
            let declined = Declined::read(text);
            assert_eq!((declined.reason, declined.retry_allowed), (Decline::Unstated, false), "{text:?}");
        }
    }

    #[test]
    fn the_next_challenge_is_read_only_when_it_is_whole() {
        let text = b"E=648 R=0 C=0123456789abcdefFEDCBA9876543210 V=3 M=old C=00";
        let expected = hex::decode("0123456789abcdeffedcba9876543210").unwrap();
        assert_eq!(Declined::next_challenge(text).map(Vec::from), Some(expected));
        for text in [
            &b"E=648"[..],
            b"E=648 C=00",
            b"C=0123456789abcdefFEDCBA987654321x",
            b"E=648 M=C=0123456789abcdefFEDCBA9876543210",
        ] {
            assert_eq!(Declined::next_challenge(text), None);
        }
    }

    #[test]
    fn the_message_is_bounded() {
        let long = [b"E=691 M=".as_slice(), &[b'x'; 5000]].concat();
        assert!(Declined::read(&long).message.len() <= MAX_TEXT);
    }
}
