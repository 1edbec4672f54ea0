//! An invitation: one text that says where EMS is, the code, and the pin of its key.
//!
//! ```text
//! postern-ems:https://ems.example:8443#code=K7Q2...&pin=sha256/BASE64URL
//! ```
//!
//! It is meant to be copied whole by a person, so white space around it and line breaks inside it
//! do not matter. It is no link that a desktop opens: enrolling is always an act of its own.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// What the text begins with.
pub const PREFIX: &str = "postern-ems:";
/// The longest text that is looked at, in bytes.
pub const MAXIMUM_LENGTH: usize = 1024;
/// The longest code, in characters.
const MAXIMUM_CODE: usize = 128;
/// The port of EMS where none is named.
pub const DEFAULT_PORT: u16 = 8443;

/// SHA-256 of a public key as it stands in a certificate (SubjectPublicKeyInfo, DER).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyPin(pub [u8; 32]);

impl KeyPin {
    /// Computes the pin of a SubjectPublicKeyInfo in DER.
    pub fn of(public_key_info: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, public_key_info);
        let mut pin = [0; 32];
        pin.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Self(pin)
    }
}

impl fmt::Display for KeyPin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256/{}", URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for KeyPin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyPin({self})")
    }
}

impl FromStr for KeyPin {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let encoded = text.strip_prefix("sha256/").ok_or(InvitationError::PinInvalid)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| InvitationError::PinInvalid)?;
        Ok(Self(bytes.try_into().map_err(|_| InvitationError::PinInvalid)?))
    }
}

/// Where EMS is: host and port, reached by HTTPS only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EmsAddress {
    /// A DNS name or an address; IPv6 without brackets.
    host: String,
    port: u16,
}

impl EmsAddress {
    /// Returns the DNS name or address; IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the URL of a path that begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("{self}{path}")
    }
}

impl fmt::Display for EmsAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "https://[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "https://{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for EmsAddress {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvitationError::AddressInvalid;
        let rest = text.strip_prefix("https://").ok_or(InvitationError::NotHttps)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
            let (host, after) = bracketed.split_once(']').ok_or_else(invalid)?;
            host.parse::<Ipv6Addr>().map_err(|_| invalid())?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or_else(invalid)?) })
        } else {
            match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            }
        };
        let port = match port {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| invalid())?
            }
            Some(_) => return Err(invalid()),
            None => DEFAULT_PORT,
        };
        let is_v6 = host.contains(':');
        let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
        if host.is_empty() || host.len() > 253 || port == 0 || !(is_v6 || is_name) {
            return Err(invalid());
        }
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

/// An invitation to enrol with one EMS. The code is a secret until it is used: `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Where EMS is.
    pub address: EmsAddress,
    /// The code, used once.
    pub code: String,
    /// The pin of EMS's TLS key.
    pub pin: KeyPin,
}

/// Why a text is not an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvitationError {
    /// Something else was pasted.
    #[error("this is no invitation: one begins with `{PREFIX}`")]
    NotAnInvitation,
    /// Longer than any invitation.
    #[error("the text is longer than an invitation can be ({MAXIMUM_LENGTH} bytes)")]
    TooLong,
    /// The address is not HTTPS.
    #[error("the address of EMS must begin with `https://`")]
    NotHttps,
    /// Host or port cannot be read.
    #[error("the address of EMS cannot be read: expected https://HOST:PORT")]
    AddressInvalid,
    /// Nothing after the address.
    #[error("the code or the pin is missing; was the invitation copied whole?")]
    Incomplete,
    /// The code is empty, too long or holds unexpected characters.
    #[error("the code cannot be read: expected letters, digits, `-` and `_`")]
    CodeInvalid,
    /// The pin is not 32 bytes of base64url after `sha256/`.
    #[error(
        "the pin of EMS's key cannot be read: expected sha256/ and 43 characters; was the invitation copied whole?"
    )]
    PinInvalid,
    /// One member stands twice, so that it is not clear what is meant.
    #[error("the invitation names its code or its pin twice")]
    Ambiguous,
}

impl FromStr for Invitation {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAXIMUM_LENGTH {
            return Err(InvitationError::TooLong);
        }
        let text: String = text.chars().filter(|character| !character.is_whitespace()).collect();
        let rest = text.strip_prefix(PREFIX).ok_or(InvitationError::NotAnInvitation)?;
        let (address, members) = match rest.split_once('#') {
            Some(parts) => parts,
            None => (rest, ""),
        };
        let address = address.parse()?;
        let (mut code, mut pin) = (None, None);
        for (name, value) in members.split('&').filter_map(|member| member.split_once('=')) {
            let slot = match name {
                "code" => &mut code,
                "pin" => &mut pin,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(InvitationError::Ambiguous);
            }
        }
        let (Some(code), Some(pin)) = (code, pin) else { return Err(InvitationError::Incomplete) };
        let is_code = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if code.is_empty() || code.len() > MAXIMUM_CODE || !code.bytes().all(is_code) {
            return Err(InvitationError::CodeInvalid);
        }
        Ok(Self { address, code: code.to_owned(), pin: pin.parse()? })
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}#code={}&pin={}", self.address, self.code, self.pin)
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Invitation")
            .field("address", &self.address)
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str =
        "postern-ems:https://ems.example:8443#code=K7Q2-x_1&pin=sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn it_prints_as_it_reads() {
        let invitation: Invitation = TEXT.parse().unwrap();
        assert_eq!(invitation.address.host(), "ems.example");
        assert_eq!(invitation.address.port(), 8443);
        assert_eq!(invitation.code, "K7Q2-x_1");
        assert_eq!(invitation.to_string(), TEXT);
    }

    #[test]
    fn line_breaks_of_a_mail_do_not_matter() {
        let broken = format!("  {}\r\n {}\n", &TEXT[..40], &TEXT[40..]);
        assert_eq!(broken.parse::<Invitation>().unwrap().to_string(), TEXT);
    }

    #[test]
    fn each_mistake_has_its_own_words() {
        let cases = [
            ("", InvitationError::NotAnInvitation),
            ("https://ems.example", InvitationError::NotAnInvitation),
            ("postern-ems:http://ems.example#code=a&pin=b", InvitationError::NotHttps),
            ("postern-ems:https://user@ems.example#code=a&pin=b", InvitationError::AddressInvalid),
            ("postern-ems:https://ems.example:70000#code=a&pin=b", InvitationError::AddressInvalid),
            ("postern-ems:https://ems.example:+443#code=a&pin=b", InvitationError::AddressInvalid),
            ("postern-ems:https://[::g]#code=a&pin=b", InvitationError::AddressInvalid),
            ("postern-ems:https://ems.example/path#code=a&pin=b", InvitationError::AddressInvalid),
            ("postern-ems:https://ems.example", InvitationError::Incomplete),
            ("postern-ems:https://ems.example#code=a", InvitationError::Incomplete),
            ("postern-ems:https://ems.example#code=&pin=sha256/AA", InvitationError::CodeInvalid),
            ("postern-ems:https://ems.example#code=a;b&pin=sha256/AA", InvitationError::CodeInvalid),
            ("postern-ems:https://ems.example#code=a&pin=sha256/AA", InvitationError::PinInvalid),
            ("postern-ems:https://ems.example#code=a&pin=md5/AA", InvitationError::PinInvalid),
            ("postern-ems:https://ems.example#code=a&code=b&pin=x", InvitationError::Ambiguous),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Invitation>().unwrap_err(), error, "{text}");
        }
        assert_eq!("x".repeat(MAXIMUM_LENGTH + 1).parse::<Invitation>().unwrap_err(), InvitationError::TooLong);
    }

    #[test]
    fn addresses_of_both_families_are_read() {
        let v6: EmsAddress = "https://[2001:db8::1]:9443/".parse().unwrap();
        assert_eq!((v6.host(), v6.port()), ("2001:db8::1", 9443));
        assert_eq!(v6.url("/v1/enrol"), "https://[2001:db8::1]:9443/v1/enrol");
        let v4: EmsAddress = "https://192.0.2.1".parse().unwrap();
        assert_eq!(v4.to_string(), "https://192.0.2.1:8443");
    }

    #[test]
    fn the_code_is_not_printed() {
        let invitation: Invitation = TEXT.parse().unwrap();
        assert!(!format!("{invitation:?}").contains("K7Q2"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = text.parse::<Invitation>();
        }

        #[test]
        fn a_damaged_invitation_is_never_another_pin(position in 0usize..TEXT.len(), byte in 0x20u8..0x7f) {
            let mut damaged = TEXT.as_bytes().to_vec();
            damaged[position] = byte;
            if let Ok(invitation) = String::from_utf8(damaged).unwrap().parse::<Invitation>() {
                prop_assert_eq!(invitation.to_string().parse::<Invitation>().unwrap(), invitation);
            }
        }

        #[test]
        fn what_prints_reads_back(host in "[a-z][a-z0-9]{0,10}(\\.[a-z]{2,5})?", port in 1u16.., code in "[A-Za-z0-9_-]{1,40}", pin: [u8; 32]) {
            let address = format!("https://{host}:{port}").parse().unwrap();
            let invitation = Invitation { address, code, pin: KeyPin(pin) };
            prop_assert_eq!(invitation.to_string().parse::<Invitation>().unwrap(), invitation);
        }
    }
}
