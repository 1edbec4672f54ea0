//! The Internet checksum (RFC 1071), many octets at a time.

/// Adds `octets`, as big-endian 16-bit words, to a partial sum. An odd last octet counts as the
/// high half of a word, so only the last part of a text may be odd.
pub fn sum(octets: &[u8], partial: u64) -> u64 {
    // One's complement sums do not care in which order the octets of a word are read, as long as
    // it is the same for all: summed as the machine reads them, turned round once at the end.
    let (chunks, rest) = octets.as_chunks::<4>();
    let mut total = partial + u64::from(u16::from_be(fold(native(chunks))));
    let (pairs, last) = rest.as_chunks::<2>();
    for pair in pairs {
        total += u64::from(u16::from_be_bytes(*pair));
    }
    if let [last] = last {
        total += u64::from(*last) << 8;
    }
    total
}

/// Sums words as the machine reads them, with the widest registers that are there.
fn native(words: &[[u8; 4]]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if words.len() >= WORTH_ASKING && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { with_avx2(words) };
    }
    plain(words)
}

/// From so many words on it is worth asking what the processor has.
#[cfg(target_arch = "x86_64")]
const WORTH_ASKING: usize = 32;

/// [`plain`], compiled for 256-bit registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2(words: &[[u8; 4]]) -> u64 {
    plain(words)
}

#[inline(always)]
fn plain(words: &[[u8; 4]]) -> u64 {
    words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum()
}

/// Folds a partial sum to 16 bits without complementing it.
pub fn fold(mut partial: u64) -> u16 {
    partial = (partial & 0xffff_ffff) + (partial >> 32);
    partial = (partial & 0xffff_ffff) + (partial >> 32);
    let mut folded = (partial & 0xffff) + (partial >> 16);
    folded = (folded & 0xffff) + (folded >> 16);
    folded = (folded & 0xffff) + (folded >> 16);
    u16::try_from(folded & 0xffff).unwrap_or(0)
}

/// Finishes a checksum.
pub fn finish(partial: u64) -> u16 {
    !fold(partial)
}

/// Sums the pseudo-header of a transport checksum (RFC 9293 §3.1, RFC 8200 §8.1).
pub fn pseudo_header(addresses: &[u8], protocol: u8, length: usize) -> u64 {
    sum(addresses, u64::from(protocol) + length as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_sum_is_that_of_the_definition(octets in proptest::collection::vec(any::<u8>(), 0..3000), cut in 0_usize..1500) {
            let mut naive = 0_u64;
            for pair in octets.chunks(2) {
                naive += u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low));
            }
            while naive > 0xffff {
                naive = (naive & 0xffff) + (naive >> 16);
            }
            prop_assert_eq!(u64::from(fold(sum(&octets, 0))), naive);
            prop_assert_eq!(plain(octets.as_chunks::<4>().0), native(octets.as_chunks::<4>().0));
            let cut = (cut * 2).min(octets.len());
            let parts = sum(&octets[cut..], sum(&octets[..cut], 0));
            prop_assert_eq!(fold(parts), fold(sum(&octets, 0)));
        }
    }

    #[test]
    fn the_example_of_rfc_1071_comes_out() {
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], 0)), 0xddf2);
    }
}
