//! UDP port 4500: IKE, ESP and keepalives on one socket (RFC 3948).

use super::{Meaningless, NON_ESP_MARKER, Packet, classify};

/// The datagram that keeps a NAT's mapping alive.
pub const KEEPALIVE: [u8; 1] = [0xff];

/// Tells what a datagram on port 4500 carries.
///
/// # Errors
/// [`Meaningless`] when it carries nothing of ours.
pub fn demultiplex(datagram: &[u8]) -> Result<Packet<'_>, Meaningless> {
    if datagram == KEEPALIVE {
        return Ok(Packet::Keepalive);
    }
    classify(datagram)
}

/// Puts the non-ESP marker before an IKE message.
pub fn mark(message: &[u8]) -> Vec<u8> {
    [&NON_ESP_MARKER, message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_message_is_ike() {
        assert_eq!(demultiplex(&mark(b"message")), Ok(Packet::Ike(b"message")));
    }

    #[test]
    fn a_nonzero_spi_is_esp_with_its_spi() {
        assert_eq!(demultiplex(&[0, 0, 0, 1, 0, 0, 0, 9, 7]), Ok(Packet::Esp(&[0, 0, 0, 1, 0, 0, 0, 9, 7])));
    }

    #[test]
    fn one_byte_of_ones_is_a_keepalive_and_any_other_byte_is_not() {
        assert_eq!(demultiplex(&[0xff]), Ok(Packet::Keepalive));
        assert_eq!(demultiplex(&[0xfe]), Err(Meaningless(1)));
    }

    #[test]
    fn too_little_is_meaningless() {
        for short in [&[][..], &[0; 4], &[0; 3], &[1, 2, 3, 4, 5, 6, 7], &[0xff; 2]] {
            assert_eq!(demultiplex(short), Err(Meaningless(short.len())));
        }
    }
}
