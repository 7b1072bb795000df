//! Initial weights: every value is a function of (seed, tensor name, index), so neither the order of
//! the tensors nor the number of threads matters.

use crate::config::GptNeoxConfig;

/// How the weights of a fresh model are drawn. Biases are zero, LayerNorm weights one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Pythia's: small-init (Nguyen and Salazar 2019), normal with std `sqrt(2 / (5 d))`, and for the
    /// two matrices that write into the residual stream wang-init, std `2 / (L sqrt(d))`.
    SmallWang,
    /// Normal with one standard deviation everywhere.
    Normal {
        /// Standard deviation.
        std: f64,
    },
}

impl Init {
    /// Standard deviation for the weight matrix called `name`.
    pub fn std(self, name: &str, config: &GptNeoxConfig) -> f64 {
        match self {
            Init::Normal { std } => std,
            Init::SmallWang if name.ends_with("attention.dense.weight") || name.ends_with("dense_4h_to_h.weight") => {
                2.0 / (config.layers as f64 * (config.d_model as f64).sqrt())
            }
            Init::SmallWang => (2.0 / (5.0 * config.d_model as f64)).sqrt(),
        }
    }
}

/// `len` normal values of mean 0 for the tensor called `name`.
pub fn normal(seed: u64, name: &str, std: f64, len: usize) -> Vec<f32> {
    // FNV-1a keeps the stream of a tensor independent of the other tensors of the model.
    let stream =
        name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let key = mix(seed ^ stream);
    let uniform = |counter: u64| (mix(key ^ mix(counter)) >> 11) as f64 * (1.0 / (1u64 << 53) as f64);
    let mut values = Vec::with_capacity(len + 1);
    for pair in 0..len.div_ceil(2) as u64 {
        // Box and Muller: two uniform values give two normal ones; 1 - u keeps the logarithm finite.
        let radius = (-2.0 * (1.0 - uniform(2 * pair)).ln()).sqrt() * std;
        let (sin, cos) = (std::f64::consts::TAU * uniform(2 * pair + 1)).sin_cos();
        values.push((radius * cos) as f32);
        values.push((radius * sin) as f32);
    }
    values.truncate(len);
    values
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014) over a Weyl step.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
