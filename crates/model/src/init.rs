//! Initial weights: every value is a function of (seed, tensor name, index), so neither the order of
//! the tensors nor the number of threads matters.

use rayon::prelude::*;
use temper_base::random::Stream;

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
    let uniform = Stream::named(seed, name);
    let mut values = vec![0.0; len];
    values.par_chunks_mut(2 * PAIRS).enumerate().for_each(|(chunk, values)| {
        for (i, pair) in values.chunks_mut(2).enumerate() {
            // Box and Muller: two uniform values give two normal ones; 1 - u keeps the logarithm finite.
            let counter = 2 * (chunk * PAIRS + i) as u64;
            let radius = (-2.0 * (1.0 - uniform.at(counter)).ln()).sqrt() * std;
            let (sin, cos) = (std::f64::consts::TAU * uniform.at(counter + 1)).sin_cos();
            for (value, part) in pair.iter_mut().zip([cos, sin]) {
                *value = (radius * part) as f32;
            }
        }
    });
    values
}

/// `len` values uniform between -`bound` and `bound` for the tensor called `name`.
pub fn uniform(seed: u64, name: &str, bound: f64, len: usize) -> Vec<f32> {
    let stream = Stream::named(seed, name);
    let mut values = vec![0.0; len];
    values.par_chunks_mut(2 * PAIRS).enumerate().for_each(|(chunk, values)| {
        for (i, value) in values.iter_mut().enumerate() {
            *value = ((2.0 * stream.at((chunk * 2 * PAIRS + i) as u64) - 1.0) * bound) as f32;
        }
    });
    values
}

/// Pairs of values that one thread makes at a time.
const PAIRS: usize = 1 << 13;
