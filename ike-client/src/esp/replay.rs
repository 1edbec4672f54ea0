//! The anti-replay window (RFC 4303 §3.4.3, appendix A), a ring of bits as in RFC 6479.
//!
//! A number is looked at before the ICV is checked, and marked only after: a forged packet must
//! not move the window.

/// How many sequence numbers the window remembers: 64 to 8192, in steps of 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSize(usize);

impl WindowSize {
    /// Makes a size, moved to the nearest one that can be had.
    pub const fn new(packets: usize) -> Self {
        let packets = if packets < 64 { 64 } else { packets };
        let packets = if packets > 8192 { 8192 } else { packets };
        Self(packets.next_multiple_of(64))
    }

    /// Returns the number of packets.
    pub const fn packets(self) -> usize {
        self.0
    }
}

impl Default for WindowSize {
    /// 1024: what a batch of reordered segments on two paths needs, and no memory to speak of.
    fn default() -> Self {
        Self(1024)
    }
}

/// Which of the last sequence numbers have been seen.
#[derive(Clone, Debug)]
pub struct ReplayWindow {
    size: u64,
    highest: u64,
    /// One bit a number; one word more than the size, so that the oldest word can be reused whole.
    words: Box<[u64]>,
}

impl ReplayWindow {
    /// Makes a window that has seen nothing.
    pub fn new(size: WindowSize) -> Self {
        Self { size: size.0 as u64, highest: 0, words: vec![0; size.0 / 64 + 1].into_boxed_slice() }
    }

    /// Returns the highest number marked so far; 0 before the first.
    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// Finds the 64-bit number that the low half on the wire stands for, given an ESN SA
    /// (RFC 4303 appendix A2.2): the one nearest to the window.
    pub fn extend(&self, low: u32) -> Option<u64> {
        let top_high = self.highest >> 32;
        let top_low = self.highest & 0xffff_ffff;
        let wanted = u64::from(low);
        let behind = self.size - 1;
        let high = if top_low >= behind {
            // The window lies within one subspace: below its foot means the next one.
            if wanted >= top_low - behind {
                Some(top_high)
            } else {
                top_high.checked_add(1).filter(|high| *high <= 0xffff_ffff)
            }
        } else if wanted >= (top_low + (1 << 32)) - behind {
            // The window reaches back into the subspace before.
            top_high.checked_sub(1)
        } else {
            Some(top_high)
        };
        high.map(|high| high << 32 | wanted)
    }

    /// Returns whether `sequence` is neither seen nor too old.
    pub fn is_fresh(&self, sequence: u64) -> bool {
        if sequence == 0 {
            return false;
        }
        if sequence > self.highest {
            return true;
        }
        if self.highest - sequence >= self.size {
            return false;
        }
        let (word, bit) = self.place(sequence);
        self.words.get(word).is_some_and(|word| word & bit == 0)
    }

    /// Marks `sequence` as seen, once its ICV has been verified.
    pub fn mark(&mut self, sequence: u64) {
        if sequence > self.highest {
            let (from, to) = (self.highest / 64, sequence / 64);
            let words = self.words.len() as u64;
            let cleared = (to - from).min(words);
            for step in 1..=cleared {
                let word = usize::try_from((from + step) % words).unwrap_or(0);
                // A jump over the whole ring clears every word, whichever the order.
                if let Some(word) = self.words.get_mut(word) {
                    *word = 0;
                }
            }
            self.highest = sequence;
        }
        let (word, bit) = self.place(sequence);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }

    fn place(&self, sequence: u64) -> (usize, u64) {
        let words = self.words.len() as u64;
        (usize::try_from((sequence / 64) % words).unwrap_or(0), 1 << (sequence % 64))
    }
}
