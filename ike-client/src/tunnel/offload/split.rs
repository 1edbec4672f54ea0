//! Taking super-packets apart: what the network card would have done.

use super::checksum;
use super::headers::{
    GSO_ECN, GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CHECKSUM, Shape, TCP, UDP, VirtioHeader, put, u16_at,
    u32_at,
};

/// TCP's flags octet: CWR, which belongs to the first segment alone.
const CWR: u8 = 0x80;
/// TCP's flags octet: PSH and FIN, which belong to the last segment alone.
const LAST_ONLY: u8 = 0x08 | 0x01;
/// Where in the TCP header the flags lie.
const FLAGS: usize = 13;

/// Why a packet from the device was not taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// The header and the packet do not fit together.
    #[error("the device's header and the packet do not fit together")]
    Inconsistent,
    /// The kind of segmentation is none that was asked for.
    #[error("segmentation of kind {0} was not asked for")]
    UnknownKind(u8),
    /// The receiver of the segments had no room.
    #[error("no room for the segments")]
    NoRoom,
}

/// Where segments are written.
pub trait Segments {
    /// Lends the place of the next segment, `length` octets; none: there is no room.
    fn place(&mut self, length: usize) -> Option<&mut [u8]>;
}

/// Takes `packet` apart as `header` says and writes the segments to `out`.
///
/// # Errors
/// See [`SplitError`]. Segments written before an error are whole.
pub fn split(header: VirtioHeader, packet: &[u8], out: &mut impl Segments) -> Result<(), SplitError> {
    let kind = header.gso_type & !GSO_ECN;
    if kind == GSO_NONE {
        let place = out.place(packet.len()).ok_or(SplitError::NoRoom)?;
        place.copy_from_slice(packet);
        return if header.flags & NEEDS_CHECKSUM != 0 { complete(header, place) } else { Ok(()) };
    }
    let protocol = match kind {
        GSO_TCPV4 | GSO_TCPV6 => TCP,
        GSO_UDP_L4 => UDP,
        other => return Err(SplitError::UnknownKind(other)),
    };
    let shape = if header.flags & NEEDS_CHECKSUM != 0 {
        Shape::read_at(packet, protocol, usize::from(header.checksum_start))
    } else {
        Shape::read(packet).filter(|shape| shape.protocol == protocol)
    };
    let shape = shape.ok_or(SplitError::Inconsistent)?;
    let size = usize::from(header.gso_size);
    let other_family = kind == GSO_TCPV4 && shape.ipv6 || kind == GSO_TCPV6 && !shape.ipv6;
    if other_family || size == 0 {
        return Err(SplitError::Inconsistent);
    }
    // The system has summed addresses, protocol and length; of these only the length changes. The
    // destination that counts may stand in a routing header.
    let given = u16_at(packet, shape.ip + shape.checksum_offset()).unwrap_or(0);
    let whole = packet.len() - shape.ip;
    let base = (header.flags & NEEDS_CHECKSUM != 0).then(|| u64::from(given) + u64::from(!short(whole)));
    let (headers, payload) = packet.split_at_checked(shape.headers).ok_or(SplitError::Inconsistent)?;
    let identification = u16_at(packet, 4).unwrap_or(0);
    let sequence = u32_at(packet, shape.ip + 4).unwrap_or(0);
    let segments = payload.len().div_ceil(size);
    for (index, (part, offset)) in payload.chunks(size).zip((0_u32..).step_by(size)).enumerate() {
        let segment = out.place(shape.headers + part.len()).ok_or(SplitError::NoRoom)?;
        let (head, body) = segment.split_at_mut(shape.headers);
        head.copy_from_slice(headers);
        body.copy_from_slice(part);
        if !shape.ipv6 {
            let step = u16::try_from(index).unwrap_or(0);
            put(head, 4, &identification.wrapping_add(step).to_be_bytes());
        }
        if shape.protocol == TCP {
            put(head, shape.ip + 4, &sequence.wrapping_add(offset).to_be_bytes());
            if let Some(flags) = head.get_mut(shape.ip + FLAGS) {
                *flags &= if index > 0 { !CWR } else { 0xff };
                *flags &= if index + 1 < segments { !LAST_ONLY } else { 0xff };
            }
        }
        finish(shape, base, segment);
    }
    Ok(())
}

fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// Writes length and checksums of a whole segment; `base` is the sum of the pseudo-header without
/// the length, where it is known.
fn finish(shape: Shape, base: Option<u64>, segment: &mut [u8]) {
    let total = segment.len();
    shape.write_length(segment, total);
    let transport = total - shape.ip;
    if shape.protocol != TCP {
        put(segment, shape.ip + 4, &short(transport).to_be_bytes());
    }
    let at = shape.ip + shape.checksum_offset();
    put(segment, at, &[0, 0]);
    let partial = match base {
        Some(base) => base + u64::from(short(transport)),
        None => shape.pseudo_header(segment, transport),
    };
    let sum = checksum::finish(checksum::sum(segment.get(shape.ip..).unwrap_or_default(), partial));
    // In UDP a zero says "no checksum" (RFC 768).
    let sum = if sum == 0 && shape.protocol != TCP { u16::MAX } else { sum };
    put(segment, at, &sum.to_be_bytes());
}

/// Completes the partial checksum of a packet that needs no cutting.
fn complete(header: VirtioHeader, packet: &mut [u8]) -> Result<(), SplitError> {
    let start = usize::from(header.checksum_start);
    let at = start + usize::from(header.checksum_offset);
    let sum = checksum::finish(checksum::sum(packet.get(start..).ok_or(SplitError::Inconsistent)?, 0));
    let sum = if sum == 0 { u16::MAX } else { sum };
    packet.get_mut(at..at + 2).ok_or(SplitError::Inconsistent)?.copy_from_slice(&sum.to_be_bytes());
    Ok(())
}
