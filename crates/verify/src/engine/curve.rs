//! Lines below and above sigmoid and tanh between two ends: tangents and secants (Zhang et al. 2018, Shi et al. 2020).
//!
//! Which slopes are chosen decides how tight the lines are, not whether they hold: the offset is the least (or largest) distance of the
//! curve from the slope's line through 0, which it takes at an end or where the curve is as steep.

use std::ops::Range;

use temper_graph::Curve;

use super::interval::Ends;
use super::real::{Real, UNIT};

/// What a library's function may be off by in single precision, besides the rounding of what it is given. Those of machine learning are
/// approximations of their own, good to some 1e-7.
pub(crate) const DEPLOYED: f64 = 1.0 / (1u64 << 20) as f64;

/// What the curve's value at `z`, and a line of this slope there, may be off by in double precision.
fn off(y: f64, slope: f64, z: f64) -> f64 {
    128.0 * UNIT * (y.abs() + (slope * z).abs()) + 1e-300
}

/// The ends of a curve, whatever is rounded.
pub(crate) fn ends<T: Real>(curve: Curve, ends: &Ends<T>, sound: bool, deployed: bool) -> Ends<T> {
    let more = if deployed { DEPLOYED } else { 0.0 };
    let end = |z: T, sign: f64| {
        let y = curve.of(z.double());
        T::nearest(if sound { y + sign * (off(y, 0.0, 0.0) + more) } else { y })
    };
    Ends {
        lower: ends.lower.iter().map(|z| end(*z, -1.0)).collect(),
        upper: ends.upper.iter().map(|z| end(*z, 1.0)).collect(),
    }
}

/// `lower[0] z + lower[1]` is below the curve, `upper[0] z + upper[1]` above it.
pub(crate) struct Lines<T> {
    lower: [Vec<T>; 2],
    upper: [Vec<T>; 2],
}

impl<T: Real> Lines<T> {
    pub(crate) fn new(curve: Curve, ends: &Ends<T>, sound: bool) -> Self {
        let mut lines = Self { lower: [Vec::new(), Vec::new()], upper: [Vec::new(), Vec::new()] };
        for (l, u) in ends.lower.iter().zip(&ends.upper) {
            let (l, u) = (l.double(), u.double());
            // The curve is odd about its middle, so that its slopes are even.
            for (to, slope, sign) in
                [(&mut lines.lower, slope(curve, l, u), 1.0), (&mut lines.upper, slope(curve, -u, -l), -1.0)]
            {
                let slope = T::nearest(slope);
                let offset = offset(curve, slope.double(), [l, u], sign, sound);
                to[0].push(slope);
                // In single precision rounding does not matter; in double precision nothing is rounded here.
                to[1].push(T::nearest(offset));
            }
        }
        lines
    }

    /// Slope and offset that a coefficient meets.
    pub(crate) fn meets(&self, i: usize, coefficient: T) -> [T; 2] {
        let [slope, offset] = if coefficient < T::ZERO { &self.upper } else { &self.lower };
        [slope[i], offset[i]]
    }
}

/// The slope of a good line below the curve.
fn slope(curve: Curve, l: f64, u: f64) -> f64 {
    if !(l.is_finite() && u.is_finite()) {
        return 0.0;
    }
    let middle = 0.5 * l + 0.5 * u;
    let secant = (curve.of(u) - curve.of(l)) / (u - l);
    if u <= 0.0 || !secant.is_finite() {
        // It bends upwards: a tangent.
        return curve.slope(middle);
    }
    if l >= 0.0 || curve.slope(l) >= secant {
        return secant;
    }
    // The tangent that meets the curve at the upper end, or the one in the middle if it touches before: the least area.
    let (mut low, mut high) = (l, 0.0);
    for _ in 0..40 {
        let at = 0.5 * (low + high);
        if curve.of(at) + curve.slope(at) * (u - at) > curve.of(u) { high = at } else { low = at }
    }
    curve.slope(low.min(middle))
}

/// The largest number that a line of this slope may begin at to stay below the curve (`sign` 1), the least to stay above it (-1).
fn offset(curve: Curve, slope: f64, [l, u]: [f64; 2], sign: f64, sound: bool) -> f64 {
    let steep = curve.as_steep(slope);
    // Between the ends, or at one of them.
    let places = [l, u, steep.max(l).min(u), (-steep).max(l).min(u)];
    let at = |z: f64| {
        let y = curve.of(z);
        let line = if slope == 0.0 { 0.0 } else { slope * z };
        let offset = sign * (y - line);
        if sound { offset - off(y, slope, if slope == 0.0 { 0.0 } else { z }) } else { offset }
    };
    sign * places
        .into_iter()
        .map(at)
        .fold(f64::INFINITY, |least, at| if at < least || at.is_nan() { at } else { least })
}

/// What rows of coefficients come to, one number a row.
pub(crate) struct Relaxed {
    /// Their constants.
    pub sums: Vec<f64>,
    /// The magnitudes that these were summed from.
    pub magnitudes: Vec<f64>,
    /// The magnitudes of coefficients at the input times its numbers.
    pub reaches: Vec<f64>,
}

/// Replaces `[elements, rows]` of coefficients at the output by those at the input.
pub(crate) fn relax<T: Real>(
    numbers: &mut [T],
    width: usize,
    spans: &[Range<usize>],
    lines: &[Lines<T>],
    reach: &[Vec<T>],
) -> Relaxed {
    let rows = spans.last().map_or(0, |span| span.end);
    let [mut sums, mut magnitudes, mut reaches] = [0; 3].map(|_| vec![0.0; rows]);
    for (i, numbers) in numbers.chunks_mut(width).enumerate() {
        for (place, span) in spans.iter().enumerate() {
            let reach = reach.get(place).map_or(0.0, |reach| reach[i].double());
            for row in span.clone() {
                let coefficient = numbers[row];
                // One that is 0 meets nothing, however far the ends are.
                if coefficient == T::ZERO {
                    continue;
                }
                let [slope, offset] = lines[place].meets(i, coefficient);
                let term = coefficient.double() * offset.double();
                sums[row] += term;
                magnitudes[row] += term.abs();
                numbers[row] = coefficient * slope;
                if slope != T::ZERO {
                    reaches[row] += numbers[row].magnitude().double() * reach;
                }
            }
        }
    }
    Relaxed { sums, magnitudes, reaches }
}
