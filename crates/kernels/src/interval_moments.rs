//! What the warmup regularisers need to know of the intervals `[c - r, c + r]` before a ReLU (arXiv 2103.17268,
//! section 4.2).
//!
//! One pass sums radius, centre and, over the active (`c - r > 0`) and the inactive (`c + r < 0`), count, centre and
//! squared centre; pieces of 256 elements in `f32`, then in `f64`, chunks of 8192 in order. A spread around the mean follows from
//! these: `sum (c - m)^2 = sum c^2 - 2 m sum c + n m^2`.

use crate::arch::{Isa, dispatch};
use crate::channel_affine::{self, Dims};
use crate::math::sum;
use crate::output::{self, Slot, make_output};
use crate::scratch;
use rayon::prelude::*;

/// Elements a task works on.
const CHUNK: usize = 1 << 13;
/// Elements that are summed in `f32`, in 16 lanes, before they are added up in `f64`.
const PIECE: usize = 256;

/// Sums over all intervals.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Intervals.
    pub count: f64,
    /// Of the radii.
    pub radius: f64,
    /// Of the centres.
    pub centre: f64,
    /// Count, sum of centres and of squared centres of the active.
    pub active: [f64; 3],
    /// The same of the inactive.
    pub inactive: [f64; 3],
}

impl Sums {
    /// Mean centre.
    fn mean(&self) -> f64 {
        self.centre / self.count
    }

    /// Mean radius; mean of centre over the active and of minus centre over the inactive, both divided by the count of
    /// all; the sums of `(c - mean c)^2` over the active and the inactive; how many are active; how many inactive.
    pub fn moments(&self) -> [f32; 7] {
        let mean = self.mean();
        let spread = |[n, sum, squares]: [f64; 3]| squares - 2.0 * mean * sum + n * mean * mean;
        [
            self.radius / self.count,
            self.active[1] / self.count,
            -self.inactive[1] / self.count,
            spread(self.active),
            spread(self.inactive),
            self.active[0],
            self.inactive[0],
        ]
        .map(|v| v as f32)
    }
}

/// Sums over the centres and radii of the stack `x[3, ..]`.
///
/// # Panics
/// If `x` is not three slabs.
pub fn forward(x: &[f32]) -> Sums {
    let (c, r) = intervals(x);
    let partial: Vec<[f64; 8]> = c.par_chunks(CHUNK).zip(r.par_chunks(CHUNK)).map(|(c, r)| chunk(c, r)).collect();
    let mut sums = [0.0; 8];
    for chunk in partial {
        for (sum, part) in sums.iter_mut().zip(chunk) {
            *sum += part;
        }
    }
    let [radius, centre, n, a, aa, m, i, ii] = sums;
    Sums { count: c.len() as f64, radius, centre, active: [n, a, aa], inactive: [m, i, ii] }
}

fn chunk(c: &[f32], r: &[f32]) -> [f64; 8] {
    dispatch(
        #[inline(always)]
        |_| {
            let mut sums = [0.0; 8];
            let mut terms = [[0.0; PIECE]; 6];
            for (c, r) in c.chunks(PIECE).zip(r.chunks(PIECE)) {
                let n = c.len();
                let r = &r[..n];
                let [active, a, aa, inactive, i, ii] = terms.each_mut().map(
                    #[inline(always)]
                    |terms| &mut terms[..n],
                );
                // A product with the mask, not a choice: a NaN must come out.
                for k in 0..n {
                    active[k] = if c[k] - r[k] > 0.0 { 1.0 } else { 0.0 };
                    a[k] = c[k] * active[k];
                    aa[k] = c[k] * a[k];
                }
                for k in 0..n {
                    inactive[k] = if c[k] + r[k] < 0.0 { 1.0 } else { 0.0 };
                    i[k] = c[k] * inactive[k];
                    ii[k] = c[k] * i[k];
                }
                sums[0] += f64::from(sum(r));
                sums[1] += f64::from(sum(c));
                for (total, terms) in sums[2..].iter_mut().zip([active, a, aa, inactive, i, ii]) {
                    *total += f64::from(sum(terms));
                }
            }
            sums
        },
    )
}

/// Centres and radii of a stack.
fn intervals(x: &[f32]) -> (&[f32], &[f32]) {
    assert!(x.len().is_multiple_of(3), "interval_moments: a stack without intervals");
    x[x.len() / 3..].split_at(x.len() / 3)
}

/// The gradient of the stack `x[3, ..]`, of which `sums` are the sums, for the gradient `g[7]` of the moments: zero for the
/// clean activations. The counts have none.
///
/// # Panics
/// If `x` is not three slabs, or `g` is not seven numbers.
pub fn backward(x: &[f32], sums: &Sums, g: &[f32]) -> Vec<f32> {
    let (c, r) = intervals(x);
    let slope = Slope::new(sums, g);
    let fill = |dc: &mut [Slot], dr: &mut [Slot]| {
        let inputs = c.par_chunks(CHUNK).zip(r.par_chunks(CHUNK));
        dc.par_chunks_mut(CHUNK).zip(dr.par_chunks_mut(CHUNK)).zip(inputs).for_each(|((dc, dr), (c, r))| {
            dispatch(
                #[inline(always)]
                |isa| slope.apply(isa, c, r, dc, dr),
            );
        });
    };
    // SAFETY: all four are equally long, and every chunk is given to `apply`, which writes all of it.
    unsafe { stack(c.len(), fill) }
}

/// [`backward`] for intervals that are not kept: they are [`channel_affine`] of the stack `x`, and made again plane by
/// plane, in the cache. The gradient is that of the intervals, not of `x`.
///
/// # Panics
/// If `x` is not whole images of `dims` in three slabs, scale or shift do not have a number for each channel, or `g` does not have seven.
pub fn backward_after(x: &[f32], scale: &[f32], shift: &[f32], sums: &Sums, g: &[f32], dims: Dims) -> Vec<f32> {
    assert_eq!(dims.slabs, 3, "interval_moments: a stack without intervals");
    dims.check(x.len(), scale.len());
    assert_eq!(shift.len(), scale.len(), "interval_moments: shift");
    let (slope, plane) = (Slope::new(sums, g), dims.plane);
    let image = dims.channels * plane;
    let fill = |dc: &mut [Slot], dr: &mut [Slot]| {
        dc.par_chunks_mut(image).zip(dr.par_chunks_mut(image)).enumerate().for_each(|(image, (dc, dr))| {
            let mut input = scratch::take(3 * plane);
            for (channel, (dc, dr)) in dc.chunks_exact_mut(plane).zip(dr.chunks_exact_mut(plane)).enumerate() {
                dispatch(
                    #[inline(always)]
                    |isa| {
                        let map = [scale[channel], shift[channel]];
                        channel_affine::planes(isa, x, map, image, channel, &mut input, dims);
                        slope.apply(isa, &input[plane..2 * plane], &input[2 * plane..], dc, dr);
                    },
                );
            }
        });
    };
    // SAFETY: slabs are whole images of whole planes, and every plane is given to `apply`, which writes all of it.
    unsafe { stack(x.len() / 3, fill) }
}

/// A stack whose clean activations are zero and whose centres and radii `fill` writes.
///
/// # Safety
/// `fill` must write all of both.
unsafe fn stack(slab: usize, fill: impl FnOnce(&mut [Slot], &mut [Slot])) -> Vec<f32> {
    make_output(3 * slab, |dx| {
        let (clean, intervals) = dx.split_at_mut(slab);
        let (dc, dr) = intervals.split_at_mut(slab);
        output::fill(clean, 0.0);
        fill(dc, dr);
        // SAFETY: zeros were written to the clean activations; the rest is the caller's promise.
        unsafe { dx.assume_init_mut() }
    })
}

/// The gradient of the moments as a function of an interval.
#[derive(Clone, Copy)]
struct Slope {
    mean: f32,
    radius: f32,
    constant: f32,
    /// Constant and slope where active, and where inactive.
    active: [f32; 2],
    inactive: [f32; 2],
}

impl Slope {
    fn new(sums: &Sums, g: &[f32]) -> Self {
        assert_eq!(g.len(), 7, "interval_moments: g");
        let g: Vec<f64> = g.iter().map(|&g| f64::from(g)).collect();
        let (n, mean) = (sums.count, sums.mean());
        // Through the mean centre: d/dm sum (c - m)^2 = -2 sum (c - m).
        let pull = |[count, sum, _]: [f64; 3]| -2.0 * (sum - count * mean) / n;
        let constant = (g[3] * pull(sums.active) + g[4] * pull(sums.inactive)) as f32;
        Self {
            mean: mean as f32,
            radius: (g[0] / n) as f32,
            constant,
            active: [(g[1] / n) as f32, (2.0 * g[3]) as f32],
            inactive: [(-g[2] / n) as f32, (2.0 * g[4]) as f32],
        }
    }

    /// Writes all of `dc` and `dr`, which are as long as `c` and `r`.
    #[inline(always)]
    fn apply(self, isa: Isa, c: &[f32], r: &[f32], dc: &mut [Slot], dr: &mut [Slot]) {
        assert!(c.len() == dc.len() && r.len() == dc.len() && dr.len() == dc.len(), "interval_moments: lengths");
        let Self { mean, radius, constant, active, inactive } = self;
        for (dc, (&c, &r)) in dc.iter_mut().zip(c.iter().zip(r)) {
            // Both are computed before they are chosen: a choice of values becomes vectors, a branch does not.
            let from_mean = c - mean;
            let a = isa.fma(active[1], from_mean, active[0]);
            let i = isa.fma(inactive[1], from_mean, inactive[0]);
            let a = if c - r > 0.0 { a } else { 0.0 };
            let i = if c + r < 0.0 { i } else { 0.0 };
            dc.write(a + i + constant);
        }
        output::fill(dr, radius);
    }
}
