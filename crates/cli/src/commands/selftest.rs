//! The arithmetic of this machine put to the test: right, equal on any number of threads, how fast. Takes about a second.

use std::time::Instant;

use temper_kernels::attention::{self, Rotary, Shape};
use temper_kernels::gemm::{Layout, gemm};

/// Largest difference that is taken for rounding, relative to the largest entry.
const ROUNDING: f64 = 1e-5;
/// Seconds a timing takes at least.
const TIMED: f64 = 0.25;
/// Rows, columns and depth of the products that are timed.
const SIDE: usize = 768;

/// Numbers between -1 and 1 that look random and are the same everywhere.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        // Knuth's linear congruential generator; the high bits are good enough.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Largest difference, relative to the largest expected number. Infinite if something is not a number.
fn difference(found: &[f32], expected: &[f64]) -> f64 {
    let largest = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    let off = found.iter().zip(expected).map(|(found, expected)| (f64::from(*found) - expected).abs() / largest);
    off.fold(0.0, |most, x| if x.is_finite() { most.max(x) } else { f64::INFINITY })
}

/// A matrix product against the same in double precision: the error, or what is wrong.
pub fn matrix_product() -> Result<f64, String> {
    // Odd sizes reach the edges of every tile.
    let (m, n, k) = (67, 131, 311);
    let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
    let mut c = vec![0.0; m * n];
    gemm(m, n, k, 1.0, &a, Layout::Normal, &b, Layout::Normal, &mut c, false);
    let entry = |i: usize, j: usize| (0..k).map(|p| f64::from(a[i * k + p]) * f64::from(b[p * n + j])).sum();
    let expected: Vec<f64> = (0..m * n).map(|at| entry(at / n, at % n)).collect();
    judged(difference(&c, &expected))
}

/// Causal attention without rotation against the same in double precision: the error, or what is wrong.
pub fn causal_attention() -> Result<f64, String> {
    let shape = Shape { batch: 1, seq: 97, heads: 3, head_dim: 16 };
    let Shape { seq, heads, head_dim: width, .. } = shape;
    let qkv = numbers(seq * heads * 3 * width, 3);
    let [out, _] = attention::forward(&qkv, &Rotary::new(0, 10_000.0, seq), shape);
    // Part 0 is the queries, 1 the keys, 2 the values.
    let at = |t: usize, h: usize, part: usize, i: usize| f64::from(qkv[((t * heads + h) * 3 + part) * width + i]);
    let mut expected = vec![0.0; out.len()];
    for (t, h) in (0..seq).flat_map(|t| (0..heads).map(move |h| (t, h))) {
        let score = |s: usize| (0..width).map(|i| at(t, h, 0, i) * at(s, h, 1, i)).sum::<f64>() / (width as f64).sqrt();
        let weights: Vec<f64> = (0..=t).map(|s| score(s).exp()).collect();
        let sum: f64 = weights.iter().sum();
        for i in 0..width {
            let value = weights.iter().enumerate().map(|(s, weight)| weight / sum * at(s, h, 2, i)).sum();
            expected[(t * heads + h) * width + i] = value;
        }
    }
    judged(difference(&out, &expected))
}

fn judged(error: f64) -> Result<f64, String> {
    // Not `>`: NaN must not pass.
    if error <= ROUNDING { Ok(error) } else { Err(format!("off by {error:.1e} of the largest entry")) }
}

/// Numbers of threads for which a piece of training gives other bits than with one; `None` if no threads could be had.
pub fn unequal_threads(threads: &[usize]) -> Option<Vec<usize>> {
    let with = |threads: usize| Some(rayon::ThreadPoolBuilder::new().num_threads(threads).build().ok()?.install(piece));
    let one = with(1)?;
    let mut unequal = Vec::new();
    for &threads in threads {
        if with(threads)? != one {
            unequal.push(threads);
        }
    }
    Some(unequal)
}

/// The bits of a layer's product, of attention and of its gradient.
fn piece() -> Vec<u32> {
    let shape = Shape { batch: 2, seq: 160, heads: 4, head_dim: 32 };
    let (rows, width) = (shape.batch * shape.seq, shape.heads * shape.head_dim);
    let (x, w) = (numbers(rows * width, 4), numbers(width * 3 * width, 5));
    let mut qkv = vec![0.0; rows * 3 * width];
    let scale = 1.0 / (width as f32).sqrt();
    gemm(rows, 3 * width, width, scale, &x, Layout::Normal, &w, Layout::Normal, &mut qkv, false);
    let rotary = Rotary::new(8, 10_000.0, shape.seq);
    let [out, lse] = attention::forward(&qkv, &rotary, shape);
    let gradient = attention::backward(&qkv, &rotary, shape, &out, &lse, &x);
    // The gradient of the weights sums over all rows.
    let mut weights = vec![0.0; w.len()];
    gemm(width, 3 * width, rows, 1.0, &x, Layout::Transposed, &gradient, Layout::Normal, &mut weights, false);
    [out, lse, gradient, weights].concat().into_iter().map(f32::to_bits).collect()
}

/// Billions of floating-point operations a second in a matrix product, the best of several, on that many threads.
pub fn gflops(threads: usize) -> Option<f64> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().ok()?;
    let (a, b) = (numbers(SIDE * SIDE, 6), numbers(SIDE * SIDE, 7));
    let mut c = vec![0.0; SIDE * SIDE];
    let begun = Instant::now();
    let mut best = f64::INFINITY;
    loop {
        let clock = Instant::now();
        pool.install(|| gemm(SIDE, SIDE, SIDE, 1.0, &a, Layout::Normal, &b, Layout::Normal, &mut c, false));
        best = best.min(clock.elapsed().as_secs_f64());
        if begun.elapsed().as_secs_f64() > TIMED {
            return Some(2.0 * (SIDE as f64).powi(3) / best / 1e9);
        }
    }
}
