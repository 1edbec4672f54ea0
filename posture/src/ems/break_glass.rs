//! Break-glass codes: EMS lets one endpoint connect for a time although its host check refuses.
//!
//! A code is short enough to be read out over a telephone and works while EMS is out of reach. It
//! holds its number, when it was made, for how long it can be used and for how long it then lasts,
//! and EMS's signature over these, over EMS and over the endpoint: so it is worth nothing at another
//! endpoint. Numbers grow, and a code whose number is not above every number used before is refused:
//! each is used once, and a newer one makes older ones void.
//!
//! Text form: 88 bytes (four integers, big endian, and an Ed25519 signature) in base 32 without the
//! letters I, L, O and U, in groups of six. Case, spaces and dashes do not count.

use super::protocol::{EmsId, EndpointId};
use super::signed::{CLOCK_TOLERANCE_SECONDS, Verifier};
use serde::{Deserialize, Serialize};

/// Keeps a signature over a code from meaning anything elsewhere.
const CONTEXT: &[u8] = b"postern-ems-break-glass-v1\0";
/// The longest time for which a code is believed, in seconds: a week.
pub const MOST_SECONDS: u32 = 7 * 86_400;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const FIELDS: usize = 24;
const SIGNATURE: usize = 64;
/// Characters of a group.
const GROUP: usize = 6;

/// What a code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlass {
    /// Grows with each code that EMS makes for the endpoint.
    pub number: u64,
    /// When it was made, seconds since 1970.
    pub issued_unix: u64,
    /// For how long it can be used, in seconds.
    pub use_within_seconds: u32,
    /// For how long the host check is overridden once it is used, in seconds.
    pub lasts_seconds: u32,
}

/// Why a code is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BreakGlassError {
    /// It is no code, or was not copied whole.
    #[error("this is no break-glass code; was it copied whole?")]
    Unreadable,
    /// The signature is not EMS's for this endpoint.
    #[error("the code is not of this endpoint's EMS, or is for another endpoint")]
    NotSigned,
    /// Its time to be used is over.
    #[error("the code had to be used {seconds} s ago at the latest")]
    TooLate {
        /// How long ago that was.
        seconds: u64,
    },
    /// It was made at a moment that has not come by this endpoint's clock.
    #[error("the clock is {seconds} s before the moment at which the code was made")]
    ClockTurnedBack {
        /// By how much.
        seconds: u64,
    },
    /// It, or a newer one, was used before.
    #[error("the code was used before, or a newer one was")]
    Used,
    /// It lasts longer than any code may.
    #[error("the code lasts longer than {MOST_SECONDS} s")]
    TooLong,
}

impl BreakGlass {
    /// Returns the bytes over which EMS's signature goes.
    pub fn message(&self, ems: &EmsId, endpoint: &EndpointId) -> Vec<u8> {
        let names = [ems.0.as_bytes(), b"\0", endpoint.0.as_bytes(), b"\0"].concat();
        [CONTEXT, &names, &self.fields()].concat()
    }

    fn fields(&self) -> [u8; FIELDS] {
        let mut fields = [0; FIELDS];
        let parts = self.number.to_be_bytes().into_iter().chain(self.issued_unix.to_be_bytes());
        let parts = parts.chain(self.use_within_seconds.to_be_bytes()).chain(self.lasts_seconds.to_be_bytes());
        fields.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        fields
    }

    fn of_fields(fields: &[u8]) -> Option<Self> {
        let (number, rest) = fields.split_first_chunk::<8>()?;
        let (issued, rest) = rest.split_first_chunk::<8>()?;
        let (within, rest) = rest.split_first_chunk::<4>()?;
        let (lasts, rest) = rest.split_first_chunk::<4>()?;
        rest.is_empty().then_some(Self {
            number: u64::from_be_bytes(*number),
            issued_unix: u64::from_be_bytes(*issued),
            use_within_seconds: u32::from_be_bytes(*within),
            lasts_seconds: u32::from_be_bytes(*lasts),
        })
    }

    /// Returns the code with its signature as people read and type it.
    pub fn to_text(&self, signature: &[u8]) -> String {
        let text = to_base32(&[&self.fields(), signature].concat());
        let groups: Vec<&str> = text.as_bytes().chunks(GROUP).filter_map(|group| str::from_utf8(group).ok()).collect();
        groups.join("-")
    }

    /// Reads a code as a person typed it and judges it for an endpoint. `used` is the number of the
    /// last code that was used there, 0 where there was none. Nothing is noted here.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn judge(
        text: &str,
        verifier: &Verifier,
        endpoint: &EndpointId,
        used: u64,
        now_unix: u64,
    ) -> Result<Self, BreakGlassError> {
        let bytes = of_base32(text).ok_or(BreakGlassError::Unreadable)?;
        let (fields, signature) = bytes.split_at_checked(FIELDS).ok_or(BreakGlassError::Unreadable)?;
        if signature.len() != SIGNATURE {
            return Err(BreakGlassError::Unreadable);
        }
        let code = Self::of_fields(fields).ok_or(BreakGlassError::Unreadable)?;
        if !verifier.is_signed(&code.message(verifier.ems(), endpoint), signature, now_unix) {
            return Err(BreakGlassError::NotSigned);
        }
        if code.number <= used {
            return Err(BreakGlassError::Used);
        }
        if code.lasts_seconds > MOST_SECONDS || code.use_within_seconds > MOST_SECONDS {
            return Err(BreakGlassError::TooLong);
        }
        if now_unix.saturating_add(CLOCK_TOLERANCE_SECONDS) < code.issued_unix {
            return Err(BreakGlassError::ClockTurnedBack { seconds: code.issued_unix - now_unix });
        }
        let latest = code.issued_unix.saturating_add(u64::from(code.use_within_seconds));
        if now_unix > latest {
            return Err(BreakGlassError::TooLate { seconds: now_unix - latest });
        }
        Ok(code)
    }
}

/// What an endpoint keeps of the codes that were used there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlassUse {
    /// The number of the last one; 0 where there was none.
    pub number: u64,
    /// When it was used, seconds since 1970.
    pub began_unix: u64,
    /// When it ends, seconds since 1970.
    pub until_unix: u64,
}

impl BreakGlassUse {
    /// Tells whether it overrides the host check at a moment. A clock that stands before the moment
    /// of its use was turned back, and gives nothing.
    pub const fn holds_at(&self, now_unix: u64) -> bool {
        self.number > 0
            && now_unix.saturating_add(CLOCK_TOLERANCE_SECONDS) >= self.began_unix
            && now_unix < self.until_unix
    }
}

fn to_base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut held, mut bits) = (0u32, 0u32);
    let mut put = |index: u32| {
        let index = usize::try_from(index & 31).unwrap_or_default();
        text.extend(ALPHABET.get(index).map(|character| char::from(*character)));
    };
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            put(held >> bits);
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        put(held << (5 - bits));
    }
    text
}

fn of_base32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0u32, 0u32);
    for character in text.chars().filter(|character| !character.is_whitespace() && *character != '-') {
        let character = match character.to_ascii_uppercase() {
            // As they are misread.
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let value = ALPHABET.iter().position(|known| char::from(*known) == character)?;
        held = (held << 5) | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).ok()?);
            held &= (1 << bits) - 1;
        }
        if bytes.len() > FIELDS + SIGNATURE {
            return None;
        }
    }
    // What is left over of the last character carries nothing, and no whole character is left over.
    (held == 0 && bits < 5).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ems::signed::Fingerprint;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    const NOW: u64 = 1_800_000_000;

    fn ems() -> EmsId {
        EmsId("ems".into())
    }

    fn key() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
    }

    fn verifier() -> Verifier {
        Verifier::new(ems(), key().public_key().as_ref().try_into().unwrap(), Fingerprint([1; 32]))
    }

    fn code() -> BreakGlass {
        BreakGlass { number: 3, issued_unix: NOW, use_within_seconds: 600, lasts_seconds: 3_600 }
    }

    fn text(code: &BreakGlass, endpoint: &str) -> String {
        code.to_text(key().sign(&code.message(&ems(), &EndpointId(endpoint.into()))).as_ref())
    }

    fn judge(text: &str, used: u64, now_unix: u64) -> Result<BreakGlass, BreakGlassError> {
        BreakGlass::judge(text, &verifier(), &EndpointId("pc".into()), used, now_unix)
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let text = text(&code(), "pc");
        assert_eq!(text.len(), 141 + 23);
        assert_eq!(judge(&text, 0, NOW), Ok(code()));
        let typed = text.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
        assert_eq!(judge(&typed, 2, NOW + 600), Ok(code()));
    }

    #[test]
    fn a_code_is_for_one_endpoint_and_used_once() {
        assert_eq!(judge(&text(&code(), "other"), 0, NOW), Err(BreakGlassError::NotSigned));
        for used in [3, 4] {
            assert_eq!(judge(&text(&code(), "pc"), used, NOW), Err(BreakGlassError::Used));
        }
    }

    #[test]
    fn a_code_has_its_time() {
        let good = text(&code(), "pc");
        assert_eq!(judge(&good, 0, NOW + 601), Err(BreakGlassError::TooLate { seconds: 1 }));
        assert_eq!(judge(&good, 0, NOW - 301), Err(BreakGlassError::ClockTurnedBack { seconds: 301 }));
        let endless = BreakGlass { lasts_seconds: u32::MAX, ..code() };
        assert_eq!(judge(&text(&endless, "pc"), 0, NOW), Err(BreakGlassError::TooLong));
    }

    #[test]
    fn what_was_changed_cut_or_lengthened_is_no_code() {
        let good = text(&code(), "pc");
        for index in (0..good.len()).filter(|index| good.as_bytes()[*index] != b'-') {
            let mut changed = good.clone().into_bytes();
            changed[index] = if changed[index] == b'7' { b'8' } else { b'7' };
            assert!(judge(&String::from_utf8(changed).unwrap(), 0, NOW).is_err(), "{index}");
        }
        for broken in ["", "U", &good[..good.len() - 2], &format!("{good}0"), "ä-ö"] {
            assert!(judge(broken, 0, NOW).is_err(), "{broken}");
        }
    }

    #[test]
    fn an_override_ends_by_itself_and_with_a_clock_that_was_turned_back() {
        let used = BreakGlassUse { number: 1, began_unix: NOW, until_unix: NOW + 60 };
        assert!(used.holds_at(NOW) && used.holds_at(NOW + 59));
        assert!(!used.holds_at(NOW + 60) && !used.holds_at(NOW - 301));
        assert!(!BreakGlassUse { number: 0, ..used }.holds_at(NOW));
    }
}
