//! A cursor over received bytes that cannot read past their end, and a writer that cannot lie
//! about lengths.

use super::error::{DecodeError, DecodeErrorKind, EncodeError};
use super::payload::PayloadType;

/// A cursor that knows where it stands in the whole message and in which payload.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
    payload: Option<PayloadType>,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8], payload: Option<PayloadType>) -> Self {
        Self { rest: bytes, offset: 0, payload }
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) const fn within(mut self, payload: PayloadType) -> Self {
        self.payload = Some(payload);
        self
    }

    pub(crate) const fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { payload: self.payload, offset: self.offset, kind }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.error(DecodeErrorKind::Truncated { needed: length, available: self.rest.len() }));
        };
        self.rest = rest;
        self.offset = self.offset.saturating_add(length);
        Ok(taken)
    }

    /// Cuts off a reader of its own over the next `length` bytes.
    pub(crate) fn split(&mut self, length: usize) -> Result<Self, DecodeError> {
        let offset = self.offset;
        Ok(Self { rest: self.take(length)?, offset, payload: self.payload })
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes all that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.offset = self.offset.saturating_add(rest.len());
        self.rest = &[];
        rest
    }

    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error(DecodeErrorKind::TrailingBytes(self.rest.len()))) }
    }
}

/// Narrows a count or a length to its field, or says that it does not fit.
pub(crate) fn fit<Field: TryFrom<usize>>(
    what: &'static str,
    length: usize,
    limit: usize,
) -> Result<Field, EncodeError> {
    Field::try_from(length).map_err(|_| EncodeError::TooLong { what, length, limit })
}

/// Writes a 16-bit length at `at` that counts everything from `start` to the end of `out`.
pub(crate) fn patch_length(out: &mut [u8], at: usize, start: usize, what: &'static str) -> Result<(), EncodeError> {
    let length: u16 = fit(what, out.len().saturating_sub(start), usize::from(u16::MAX))?;
    if let Some(field) = out.get_mut(at..).and_then(|tail| tail.first_chunk_mut::<2>()) {
        *field = length.to_be_bytes();
    }
    Ok(())
}
