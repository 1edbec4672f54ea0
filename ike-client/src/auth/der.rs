//! The little of DER that keys and algorithm identifiers need: whole elements with definite, minimal
//! lengths and one-byte tags. Everything else is refused.

/// Tags that occur here.
pub(super) mod tag {
    pub const INTEGER: u8 = 0x02;
    pub const BIT_STRING: u8 = 0x03;
    pub const OCTET_STRING: u8 = 0x04;
    pub const BOOLEAN: u8 = 0x01;
    pub const ENUMERATED: u8 = 0x0a;
    pub const GENERALIZED_TIME: u8 = 0x18;
    pub const NULL: u8 = 0x05;
    pub const OBJECT_IDENTIFIER: u8 = 0x06;
    pub const SEQUENCE: u8 = 0x30;
}

/// Object identifiers by their content octets.
pub(super) mod oid {
    pub const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    pub const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8];
    pub const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
    pub const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    pub const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    pub const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
    pub const SECP521R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
    pub const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
    pub const ED448: &[u8] = &[0x2b, 0x65, 0x71];
}

/// Reads elements one after the other.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// Takes the next element's tag and content.
    pub(super) fn element(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 => {
                let (&[length], rest) = rest.split_first_chunk::<1>()?;
                (Some(usize::from(length)).filter(|length| *length >= 0x80)?, rest)
            }
            0x82 => {
                let (&length, rest) = rest.split_first_chunk::<2>()?;
                (Some(usize::from(u16::from_be_bytes(length))).filter(|length| *length > 0xff)?, rest)
            }
            0x83 => {
                let (&[high, middle, low], rest) = rest.split_first_chunk::<3>()?;
                let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).ok()?;
                (Some(length).filter(|length| *length > 0xffff)?, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// Takes the next element as it stands, tag and length included, if it has this tag.
    pub(super) fn whole(&mut self, wanted: u8) -> Option<&'a [u8]> {
        let before = self.0;
        self.content(wanted)?;
        before.get(..before.len().checked_sub(self.0.len())?)
    }

    /// Returns the next element's tag without taking it.
    pub(super) fn peek(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Takes the next element's content if it has this tag, and leaves it where it has another.
    pub(super) fn optional(&mut self, wanted: u8) -> Option<Option<&'a [u8]>> {
        if self.peek() == Some(wanted) { self.content(wanted).map(Some) } else { Some(None) }
    }

    /// Takes the next element if it is a BIT STRING of whole octets.
    pub(super) fn bits(&mut self) -> Option<&'a [u8]> {
        match self.content(tag::BIT_STRING)? {
            [0, octets @ ..] => Some(octets),
            _ => None,
        }
    }

    /// Takes the next element's content if it has this tag.
    pub(super) fn content(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.element().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }

    /// Goes into the next element if it has this tag.
    pub(super) fn enter(&mut self, wanted: u8) -> Option<Reader<'a>> {
        self.content(wanted).map(Reader)
    }

    /// Takes the next element if it is an INTEGER that is not negative: its octets without leading zero.
    pub(super) fn unsigned(&mut self) -> Option<&'a [u8]> {
        match self.content(tag::INTEGER)? {
            [0] => Some(&[]),
            [0, rest @ ..] if rest.first().is_some_and(|byte| *byte >= 0x80) => Some(rest),
            octets @ [1..0x80, ..] => Some(octets),
            _ => None,
        }
    }

    /// Returns something only when nothing is left.
    pub(super) fn finish(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// Encodes one element.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.iter().copied().skip_while(|byte| *byte == 0).collect();
    match significant.as_slice() {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(0x7f));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let content = vec![7; length];
            let der = element(tag::OCTET_STRING, &content);
            let mut reader = Reader::new(&der);
            assert_eq!(reader.content(tag::OCTET_STRING), Some(content.as_slice()));
            assert!(reader.finish().is_some());
            let doubled = [der.clone(), der.clone()].concat();
            assert_eq!(Reader::new(&doubled).whole(tag::OCTET_STRING), Some(der.as_slice()));
        }
    }

    #[test]
    fn lengths_that_are_not_minimal_or_too_long_are_refused() {
        for der in [
            &[4, 0x81, 1, 0][..],
            &[4, 0x82, 0, 1, 0],
            &[4, 0x83, 0, 0, 1, 0],
            &[4, 0x80, 0, 0],
            &[4, 2, 0],
            &[4],
            &[],
            &[0x1f, 1, 0],
        ] {
            assert!(Reader::new(der).element().is_none(), "{der:?}");
        }
    }

    #[test]
    fn integers_are_minimal_and_not_negative() {
        let read = |der: &'static [u8]| Reader::new(der).unsigned();
        assert_eq!(read(&[2, 1, 0]), Some(&[][..]));
        assert_eq!(read(&[2, 2, 0, 0x80]), Some(&[0x80][..]));
        assert_eq!(read(&[2, 1, 3]), Some(&[3][..]));
        assert_eq!(read(&[2, 1, 0x80]), None);
        assert_eq!(read(&[2, 2, 0, 3]), None);
        assert_eq!(read(&[2, 0]), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(der in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            let mut reader = Reader::new(&der);
            while reader.element().is_some() {}
            let _ = Reader::new(&der).unsigned();
        }
    }
}
