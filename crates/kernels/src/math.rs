//! Branch-free `exp` and the normal distribution function, and sums and maxima with a fixed order.
//!
//! Written so that a loop over them vectorises: no table, no branch, comparisons that let a NaN through.
//! Maximum errors are measured in `tests/math.rs` against `f64`.

use crate::arch::Isa;

/// `e^x`, relative error at most 2e-7 for -87 <= x <= 88; zero below -87.3, infinite above 88.7, NaN for NaN.
///
/// `x = n ln 2 + r`, `|r| <= ln 2 / 2`: the integer n is found by adding 1.5 * 2^23 (its low bits then *are* n and
/// become the exponent of the result), `e^r` is a polynomial.
#[inline(always)]
pub fn exp(isa: Isa, x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    // Comparisons instead of `clamp`: the operand order keeps a NaN.
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
    let p = isa.fma(p, r, 5.000_000_1e-1);
    let p = isa.fma(p, r * r, r) + 1.0;
    let scale = f32::from_bits(shifted.to_bits().wrapping_sub(MAGIC.to_bits()).wrapping_add(127) << 23);
    let y = p * scale;
    let y = if x < -87.3 { 0.0 } else { y };
    if x > 88.72 { f32::INFINITY } else { y }
}

/// `1 / (1 + e^-x)`, relative error at most 3e-7 for x >= -87.
#[inline(always)]
pub fn sigmoid(isa: Isa, x: f32) -> f32 {
    1.0 / (1.0 + exp(isa, -x))
}

/// `erf(x)`, absolute error at most 5e-7: the rational function of degree 13 / 8 that Eigen and XLA use.
#[inline(always)]
pub fn erf(isa: Isa, x: f32) -> f32 {
    let c = if x < -4.0 { -4.0 } else { x };
    let c = if c > 4.0 { 4.0 } else { c };
    let s = c * c;
    let p = isa.fma(s, -2.726_142_3e-10, 2.770_681_4e-8);
    let p = isa.fma(s, p, -2.101_024e-6);
    let p = isa.fma(s, p, -5.692_506_4e-5);
    let p = isa.fma(s, p, -7.349_906e-4);
    let p = isa.fma(s, p, -2.954_6e-3);
    let p = isa.fma(s, p, -1.609_603_3e-2);
    let q = isa.fma(s, -1.456_607_2e-5, -2.133_740_6e-4);
    let q = isa.fma(s, q, -1.682_827e-3);
    let q = isa.fma(s, q, -7.373_329e-3);
    let q = isa.fma(s, q, -1.426_473_9e-2);
    // Beyond 3.93 the nearest number is 1, which the quotient misses by a bit.
    let y = c * p / q;
    let y = if x > 3.93 { 1.0 } else { y };
    if x < -3.93 { -1.0 } else { y }
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

/// Sum over `i` of `term(i)`, for i in 0..n, in a fixed order (16 partial sums).
#[inline(always)]
pub fn sum_by(n: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let whole = n / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (l, lane) in lanes.iter_mut().enumerate() {
            *lane += term(start + l);
        }
    }
    for i in whole..n {
        lanes[i - whole] += term(i);
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
