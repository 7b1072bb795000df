//! What the warmup regularisers need to know of the intervals `[c - r, c + r]` before a ReLU (arXiv 2103.17268,
//! section 4.2).
//!
//! One pass sums radius, centre and, over the active (`c - r > 0`) and the inactive (`c + r < 0`), count, centre and
//! squared centre, in `f64`; chunks of 8192 elements are added up in order. A spread around the mean follows from
//! these: `sum (c - m)^2 = sum c^2 - 2 m sum c + n m^2`.

use crate::arch::dispatch;
use rayon::prelude::*;

/// Elements a task works on.
const CHUNK: usize = 1 << 13;
const LANES: usize = 8;

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

/// Sums over centres `c` and radii `r`.
pub fn forward(c: &[f32], r: &[f32]) -> Sums {
    assert_eq!(c.len(), r.len(), "interval_moments: c, r");
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
            let mut sums = [[0.0_f64; LANES]; 8];
            let ((whole, rest), (radii, last)) = (c.as_chunks::<LANES>(), r.as_chunks::<LANES>());
            for (c, r) in whole.iter().zip(radii) {
                for lane in 0..LANES {
                    add(&mut sums, lane, c[lane], r[lane]);
                }
            }
            for (lane, (&c, &r)) in rest.iter().zip(last).enumerate() {
                add(&mut sums, lane, c, r);
            }
            sums.map(|lanes| lanes.iter().sum())
        },
    )
}

#[inline(always)]
fn add(sums: &mut [[f64; LANES]; 8], lane: usize, c: f32, r: f32) {
    let active = if c - r > 0.0 { 1.0 } else { 0.0 };
    let inactive = if c + r < 0.0 { 1.0 } else { 0.0 };
    let c = f64::from(c);
    // A product with the mask, not a choice: a NaN must come out.
    let (a, i) = (c * active, c * inactive);
    for (sum, v) in sums.iter_mut().zip([f64::from(r), c, active, a, a * c, inactive, i, i * c]) {
        sum[lane] += v;
    }
}

/// The gradients `dc` and `dr` for the gradient `g` of the moments; the counts have none.
pub fn backward(c: &[f32], r: &[f32], sums: &Sums, g: &[f32], dc: &mut [f32], dr: &mut [f32]) {
    assert!(r.len() == c.len() && dc.len() == c.len() && dr.len() == c.len(), "interval_moments: lengths");
    assert_eq!(g.len(), 7, "interval_moments: g");
    let g: Vec<f64> = g.iter().map(|&g| f64::from(g)).collect();
    let (n, mean) = (sums.count, sums.mean());
    // Through the mean centre: d/dm sum (c - m)^2 = -2 sum (c - m).
    let pull = |[count, sum, _]: [f64; 3]| -2.0 * (sum - count * mean) / n;
    let constant = (g[3] * pull(sums.active) + g[4] * pull(sums.inactive)) as f32;
    let (active, inactive) = ((g[1] / n) as f32, (-g[2] / n) as f32);
    let (active_slope, inactive_slope) = ((2.0 * g[3]) as f32, (2.0 * g[4]) as f32);
    let (mean, radius) = (mean as f32, (g[0] / n) as f32);
    let inputs = c.par_chunks(CHUNK).zip(r.par_chunks(CHUNK));
    dc.par_chunks_mut(CHUNK).zip(dr.par_chunks_mut(CHUNK)).zip(inputs).for_each(|((dc, dr), (c, r))| {
        dispatch(
            #[inline(always)]
            |isa| {
                for (dc, (&c, &r)) in dc.iter_mut().zip(c.iter().zip(r)) {
                    let from_mean = c - mean;
                    let a = if c - r > 0.0 { isa.fma(active_slope, from_mean, active) } else { 0.0 };
                    let i = if c + r < 0.0 { isa.fma(inactive_slope, from_mean, inactive) } else { 0.0 };
                    *dc = a + i + constant;
                }
                dr.fill(radius);
            },
        );
    });
}
