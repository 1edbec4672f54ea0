//! Secrets of an export: obfuscated ones, which only FortiClient can read, and plain ones.

use std::fmt;
use zeroize::Zeroizing;

/// Which secret it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// The pre-shared key.
    PreSharedKey,
    /// The user's password.
    Password,
}

/// A secret that the export names.
pub struct SecretFound {
    /// Which.
    pub kind: SecretKind,
    /// Where it stands.
    pub path: String,
    /// Its value, where the export holds it in clear.
    pub value: Option<Zeroizing<String>>,
}

impl fmt::Debug for SecretFound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind;
        formatter.debug_struct("SecretFound").field("kind", &kind).field("path", &self.path).finish_non_exhaustive()
    }
}

/// Tells whether a value is obfuscated by FortiClient: `Enc` or `EncX`, then digits.
///
/// A word that merely begins so (`Encore`) is a plain value.
pub(super) fn is_obfuscated(value: &str) -> bool {
    let Some(rest) = value.strip_prefix("Enc") else { return false };
    let rest = rest.strip_prefix('X').unwrap_or(rest);
    let digits = rest.trim_start();
    let spaced = digits.len() < rest.len();
    let encoded = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let hexadecimal = digits.len() >= 16 && digits.chars().all(|c| c.is_ascii_hexdigit());
    (spaced && !digits.is_empty() && digits.chars().all(encoded)) || hexadecimal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn obfuscated_and_plain_values_are_told_apart() {
        for value in ["Enc 5a6b7c", "EncX 0123456789ABCDEF", "Enc0123456789abcdef0123", "Enc AbC+/9=="] {
            assert!(is_obfuscated(value), "{value}");
        }
        for value in ["", "Enc", "Encore2024", "Enc ", "enc 5a6b", "hunter2", "Enc two words", "EncXyz"] {
            assert!(!is_obfuscated(value), "{value}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let found = SecretFound {
            kind: SecretKind::Password,
            path: "/x".into(),
            value: Some(Zeroizing::new("hunter2".into())),
        };
        assert!(!format!("{found:?}").contains("hunter2"));
    }
}
