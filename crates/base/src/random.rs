//! Random numbers without a state: each is a function of a seed, what it is for, and its number, so that neither the order of the work
//! nor the number of threads matters, and "the random state of a run" is its seed.
//!
//! All of them come from SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"). A change here would
//! change the weights, the data order and the attacks that a seed stands for: tests hold numbers against that.

/// The golden-ratio step of SplitMix64.
pub const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64: a bijection of 64 bits in which every bit of the input counts.
pub fn finalise(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One draw of SplitMix64: a step, then the finaliser.
pub fn mix(z: u64) -> u64 {
    finalise(z.wrapping_add(STEP))
}

/// One number out of several, in which every bit of each counts.
pub fn key_of(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |key: u64, &part| finalise(key.wrapping_add(STEP) ^ mix(part)))
}

/// A stream of uniform numbers in [0, 1), asked for by their number.
#[derive(Debug, Clone, Copy)]
pub struct Stream(u64);

impl Stream {
    /// The stream of a seed itself.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The stream that a seed has for what is called `name`, a tensor for instance: independent of those of other names.
    pub fn named(seed: u64, name: &str) -> Self {
        // FNV-1a.
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        Self(mix(seed ^ name.bytes().fold(0xcbf2_9ce4_8422_2325, hash)))
    }

    /// Number `counter` of the stream, in [0, 1).
    pub fn at(self, counter: u64) -> f64 {
        (mix(self.0 ^ mix(counter)) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}
