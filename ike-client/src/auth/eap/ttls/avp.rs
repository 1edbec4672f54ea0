//! Attributes as TTLS carries them inside the channel (RFC 5281 §10).

/// The most attributes in one message.
const MAX_COUNT: usize = 32;

const MANDATORY: u8 = 0x40;
const VENDOR: u8 = 0x80;
/// Microsoft's vendor number (RFC 2548).
pub(super) const MICROSOFT: u32 = 311;

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attribute<'a> {
    pub code: u32,
    pub vendor: u32,
    pub mandatory: bool,
    pub value: &'a [u8],
}

/// Writes an attribute that the server must understand, with its padding.
pub(super) fn write(out: &mut Vec<u8>, code: u32, vendor: u32, value: &[u8]) -> Option<()> {
    let head: u32 = if vendor == 0 { 8 } else { 12 };
    let length = u32::try_from(value.len()).ok()?.checked_add(head).filter(|length| *length <= 0x00ff_ffff)?;
    let flags = if vendor == 0 { MANDATORY } else { MANDATORY | VENDOR };
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&(u32::from(flags) << 24 | length).to_be_bytes());
    if vendor != 0 {
        out.extend_from_slice(&vendor.to_be_bytes());
    }
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    Some(())
}

/// Reads attributes; nothing when they are malformed. The last one may come without its padding.
pub(super) fn read(mut bytes: &[u8]) -> Option<Vec<Attribute<'_>>> {
    let mut attributes = Vec::new();
    while !bytes.is_empty() {
        let (code, rest) = bytes.split_first_chunk::<4>()?;
        let (&[flags, high, middle, low], rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).ok()?;
        let (vendor, rest, head) = if flags & VENDOR == 0 {
            (0, rest, 8)
        } else {
            let (vendor, rest) = rest.split_first_chunk::<4>()?;
            (u32::from_be_bytes(*vendor), rest, 12)
        };
        let (value, rest) = rest.split_at_checked(length.checked_sub(head)?)?;
        let padding = length.next_multiple_of(4).checked_sub(length)?;
        attributes.push(Attribute {
            code: u32::from_be_bytes(*code),
            vendor,
            mandatory: flags & MANDATORY != 0,
            value,
        });
        if attributes.len() > MAX_COUNT {
            return None;
        }
        bytes = rest.get(padding..).unwrap_or_default();
    }
    Some(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = Vec::new();
        write(&mut out, 1, 0, b"alice").unwrap();
        write(&mut out, 25, MICROSOFT, &[7; 50]).unwrap();
        assert_eq!(out[..16], *b"\0\0\0\x01\x40\0\0\x0dalice\0\0\0");
        assert_eq!(
            read(&out).unwrap(),
            [
                Attribute { code: 1, vendor: 0, mandatory: true, value: b"alice" },
                Attribute { code: 25, vendor: MICROSOFT, mandatory: true, value: &[7; 50] },
            ]
        );
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        for bytes in [
            &[0, 0, 0, 1][..],
            &[0, 0, 0, 1, 0x40, 0, 0, 7],
            &[0, 0, 0, 1, 0x40, 0, 0, 9],
            &[0, 0, 0, 1, 0xc0, 0, 0, 11, 0, 0, 1, 55],
            &[0, 0, 0, 1, 0xc0, 0, 0, 12],
            &[0, 0, 0, 1, 0x40, 0xff, 0xff, 0xff, 0],
        ] {
            assert_eq!(read(bytes), None, "{bytes:?}");
        }
        assert_eq!(read(&[]), Some(vec![]));
        assert_eq!(read(&[0, 0, 0, 1, 0x40, 0, 0, 8].repeat(MAX_COUNT + 1)), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            let _ = read(&bytes);
        }
    }
}
