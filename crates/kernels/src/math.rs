//! Branch-free exponentials and the normal distribution function, and sums and maxima with a fixed order.
//!
//! Written so that a loop over them vectorises: no table, no branch, comparisons that let a NaN through.
//! Maximum errors are measured in `tests/math.rs` against `f64`.

use crate::arch::Isa;

/// `2^y` for y <= 127, relative error at most 1e-7; 2^-126 below -126, NaN for NaN.
///
/// `y = n + r`, `|r| <= 1/2`. Adding 1.5 * 2^23 + 127 rounds y to the integer n and leaves `n + 127`, the exponent of
/// `2^n`, in the low bits; `2^r` is a polynomial (minimax of the relative error, with the constant 1).
#[inline(always)]
pub fn exp2(isa: Isa, y: f32) -> f32 {
    const MAGIC: f32 = 12_583_039.0;
    // A comparison instead of `max`: its operand order keeps a NaN.
    let y = if y < -126.0 { -126.0 } else { y };
    let shifted = y + MAGIC;
    let r = y - (shifted - MAGIC);
    let p = isa.fma(1.535_336_2e-4, r, 1.339_887_5e-3);
    let p = isa.fma(p, r, 9.618_437e-3);
    let p = isa.fma(p, r, 5.550_332_4e-2);
    let p = isa.fma(p, r, 2.402_264_8e-1);
    let p = isa.fma(p, r, 6.931_472e-1);
    let p = isa.fma(p, r, 1.0);
    p * f32::from_bits(shifted.to_bits() << 23)
}

/// `e^x`, relative error at most 2e-7 for -87 <= x <= 88; zero below -87.3, infinite above 88.7, NaN for NaN.
///
/// As [`exp2`], with `x = n ln 2 + r` and ln 2 in two parts, so that r has no error to speak of.
#[inline(always)]
pub fn exp(isa: Isa, x: f32) -> f32 {
    const MAGIC: f32 = 12_583_039.0;
    let c = if x < -87.3 { -87.3 } else { x };
    let c = if c > 88.3 { 88.3 } else { c };
    let shifted = isa.fma(c, std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = isa.fma(n, -0.693_359_4, c);
    let r = isa.fma(n, 2.121_944_4e-4, r);
    let p = isa.fma(1.987_569_1e-4, r, 1.398_199_9e-3);
    let p = isa.fma(p, r, 8.333_452e-3);
    let p = isa.fma(p, r, 4.166_579_6e-2);
    let p = isa.fma(p, r, 1.666_666_6e-1);
    let p = isa.fma(p, r, 0.5);
    let p = isa.fma(p, r * r, r) + 1.0;
    let y = p * f32::from_bits(shifted.to_bits() << 23);
    let y = if x < -87.3 { 0.0 } else { y };
    if x > 88.72 { f32::INFINITY } else { y }
}

/// `1 / (1 + e^-x)`, relative error at most 3e-7 for x >= -87.
#[inline(always)]
pub fn sigmoid(isa: Isa, x: f32) -> f32 {
    1.0 / (1.0 + exp(isa, -x))
}

/// A polynomial in `t = 2 (x / 5.6)^2 - 1`: minimax fits in x^2 have coefficients that cancel in `f32`, shifted to
/// -1..1 they do not. `x` is limited to -5.6..5.6 and returned with the value.
#[inline(always)]
fn even_polynomial<const N: usize>(isa: Isa, x: f32, coefficients: [f32; N]) -> (f32, f32) {
    let x = if x < -5.6 { -5.6 } else { x };
    let x = if x > 5.6 { 5.6 } else { x };
    let t = isa.fma(x * x, 2.0 / (5.6 * 5.6), -1.0);
    let mut p = coefficients[N - 1];
    for &c in coefficients[..N - 1].iter().rev() {
        p = isa.fma(p, t, c);
    }
    (x, p)
}

/// The normal distribution function `(1 + erf(x / sqrt 2)) / 2`, absolute error at most 1.5e-7; exactly 0 and 1 far out.
#[inline(always)]
pub fn normal(isa: Isa, x: f32) -> f32 {
    let (x, p) = even_polynomial(
        isa,
        x,
        [
            1.262_596e-1,
            -6.305_129e-2,
            4.698_103e-2,
            -3.834_546e-2,
            3.196_729_7e-2,
            -2.631_233e-2,
            2.095_835_7e-2,
            -1.575_283e-2,
            1.093_557_8e-2,
            -7.543_582e-3,
            5.404_301e-3,
            -2.863_259_5e-3,
            7.491_192e-4,
            -6.288_345e-4,
            8.586_838e-4,
            -3.306_626e-4,
        ],
    );
    let y = isa.fma(p, x, 0.5);
    let y = if y < 0.0 { 0.0 } else { y };
    if y > 1.0 { 1.0 } else { y }
}

/// Derivative of `x * normal(x)`, absolute error at most 5e-7 (3.4e-7 of it beyond 5.6, where it is held constant).
#[inline(always)]
pub fn normal_slope(isa: Isa, x: f32) -> f32 {
    let (x, p) = even_polynomial(
        isa,
        x,
        [
            1.264_166_4e-1,
            -6.428_230_6e-2,
            5.180_796e-2,
            -5.097_242_4e-2,
            5.668_487_8e-2,
            -6.488_23e-2,
            7.162_958_4e-2,
            -7.375_118e-2,
            6.661_073e-2,
            -5.165_326_6e-2,
            4.266_031e-2,
            -3.816_177_3e-2,
            2.042_315_3e-2,
            -2.595_307_8e-3,
            4.184_596e-3,
            -8.000_639e-3,
            3.167_123_5e-3,
        ],
    );
    isa.fma(p, x, 0.5)
}

/// Number of partial sums a reduction keeps; fixed, so that the order is.
const LANES: usize = 16;

/// Combines partial results as a balanced tree.
#[inline(always)]
fn tree(mut lanes: [f32; LANES], combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = combine(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Sum of `term` over the numbers at the same place of every input, in a fixed order (16 partial sums). All inputs are as
/// long as the first.
// Iterators over arrays of slices are not inlined here.
#[allow(clippy::needless_range_loop)]
#[inline(always)]
pub fn sum_by<const K: usize>(inputs: [&[f32]; K], term: impl Fn([f32; K]) -> f32) -> f32 {
    let n = inputs[0].len();
    // Whole chunks are arrays, so that no bound is checked within.
    let mut chunks: [&[[f32; LANES]]; K] = [&[]; K];
    let mut rests: [&[f32]; K] = [&[]; K];
    for k in 0..K {
        (chunks[k], rests[k]) = inputs[k][..n].as_chunks();
    }
    let mut lanes = [0.0; LANES];
    for c in 0..n / LANES {
        let mut chunk = [&[0.0; LANES]; K];
        for k in 0..K {
            chunk[k] = &chunks[k][c];
        }
        for (l, lane) in lanes.iter_mut().enumerate() {
            let mut numbers = [0.0; K];
            for k in 0..K {
                numbers[k] = chunk[k][l];
            }
            *lane += term(numbers);
        }
    }
    for (l, lane) in lanes.iter_mut().enumerate().take(n % LANES) {
        let mut numbers = [0.0; K];
        for k in 0..K {
            numbers[k] = rests[k][l];
        }
        *lane += term(numbers);
    }
    tree(
        lanes,
        #[inline(always)]
        |a, b| a + b,
    )
}

/// The largest element, ignoring NaN; negative infinity for none.
#[inline(always)]
pub fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = if v > *lane { v } else { *lane };
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane = if v > *lane { v } else { *lane };
    }
    tree(
        lanes,
        #[inline(always)]
        |a, b| if b > a { b } else { a },
    )
}

/// Sum of the elements in a fixed order.
#[inline(always)]
pub fn sum(x: &[f32]) -> f32 {
    sum_by(
        [x],
        #[inline(always)]
        |[x]| x,
    )
}
