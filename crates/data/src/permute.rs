//! A permutation of `0..n` that is computed, not stored: position p of the epoch is asked for and nothing else.
//!
//! A balanced Feistel network of 8 rounds over the smallest even number of bits that holds n - 1, walking its cycles
//! until it lands below n (Black and Rogaway 2002, "Ciphers with arbitrary finite domains", method 2): at most four
//! steps on average. The round function is the finaliser of SplitMix64. The order of a run's data depends on this
//! file: a change here would change it, and a test holds numbers against that.

use temper_base::random::{STEP, finalise};

const ROUNDS: usize = 8;

/// A permutation of `0..n` drawn by a key.
#[derive(Debug, Clone)]
pub struct Permutation {
    n: u64,
    /// Bits of either half.
    half: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// The permutation of `0..n` that belongs to a key. `n` is at least 1.
    pub fn new(n: u64, key: u64) -> Self {
        let bits = u64::BITS - n.saturating_sub(1).leading_zeros();
        let half = bits.div_ceil(2).max(1);
        let keys = std::array::from_fn(|r| finalise(key.wrapping_add(STEP.wrapping_mul(r as u64 + 1))));
        Self { n, half, keys }
    }

    /// What stands at position `p`, which is below `n`.
    pub fn get(&self, p: u64) -> u64 {
        assert!(p < self.n, "position {p} of {}", self.n);
        let mask = (1 << self.half) - 1;
        let mut x = p;
        loop {
            let (mut left, mut right) = (x >> self.half, x & mask);
            for key in self.keys {
                (left, right) = (right, left ^ (finalise(right ^ key) & mask));
            }
            x = left << self.half | right;
            if x < self.n {
                return x;
            }
        }
    }
}
