//! Weighted sums of runs of numbers, where most weights may be left out.
//!
//! A linear map of many rows at once, rows last: an output is a run of one number a row, the sum of runs of the input times a weight each.
//! Runs that enter a sum follow each other in memory, in a few spans, so that a convolution needs no columns and no list of terms, and what
//! is known to be zero is not stored at all. As in `gemm/tile.rs`, a tile of sums lives in registers, and every sum is one chain of
//! multiply-adds in the order of its spans: so it depends neither on what else is summed nor on the width of the vectors.

use crate::lanes::{Lanes, widest};

/// Floats that can be summed.
pub trait Float: Copy {
    #[doc(hidden)]
    fn run(job: Job<'_, Self>);
}

/// Runs have a multiple of so many numbers.
pub const LANES: usize = 16;

/// Of every run of an input, the place of its weight, counted from that of a sum; in ascending order.
#[derive(Debug)]
pub struct Offsets(Vec<u32>);

impl Offsets {
    /// Places in ascending order.
    ///
    /// # Panics
    /// If they are in another.
    pub fn new(places: Vec<u32>) -> Self {
        assert!(places.is_sorted(), "sums: places in ascending order");
        Self(places)
    }
}

/// Runs `first..end` of an input, their weights at `base` and their own places.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// The first run.
    pub first: u32,
    /// The run after the last.
    pub end: u32,
    /// Where places are counted from.
    pub base: i64,
}

/// What is summed, its places checked.
#[doc(hidden)]
pub struct Job<'a, T> {
    rows: usize,
    weights: &'a [T],
    sums: &'a [u32],
    offsets: &'a [u32],
    spans: &'a [Span],
    from: &'a [T],
    /// Borrowed by [`sums`] for as long as this lives.
    to: *mut T,
}

/// Run `i` of `to` becomes the sum, over the runs `r` of all spans, of run `r` of `from` times the weight at the span's base, the run's
/// offset and `sums[i]`. Runs have `rows` numbers, a multiple of [`LANES`].
///
/// # Panics
/// If a place lies outside of its slice.
#[inline]
pub fn sums<T: Float>(
    rows: usize,
    weights: &[T],
    sums: &[u32],
    offsets: &Offsets,
    spans: &[Span],
    from: &[T],
    to: &mut [T],
) {
    assert!(rows.is_multiple_of(LANES), "sums: rows by {LANES}");
    assert!(sums.len() * rows == to.len(), "sums: a run of the output");
    let offsets = offsets.0.as_slice();
    assert!(offsets.len() * rows <= from.len(), "sums: a run of the input");
    let most = sums.iter().fold(0, |most, sum| most.max(*sum));
    for span in spans.iter().filter(|span| span.first < span.end) {
        let [first, last] = [span.first, span.end - 1].map(|run| span.base + i64::from(offsets[run as usize]));
        assert!(first >= 0 && ((last + i64::from(most)) as usize) < weights.len(), "sums: a weight");
    }
    T::run(Job { rows, weights, sums, offsets, spans, from, to: to.as_mut_ptr() });
}

impl Float for f32 {
    fn run(job: Job<'_, Self>) {
        // SAFETY: `sums` checked the places.
        widest!(f32, all(job: Job<'_, f32>, zero: f32 = 0.0));
    }
}

impl Float for f64 {
    fn run(job: Job<'_, Self>) {
        // SAFETY: `sums` checked the places.
        widest!(f64, all(job: Job<'_, f64>, zero: f64 = 0.0));
    }
}

/// All sums: three vectors of rows at a time, then what is left.
#[inline(always)]
unsafe fn all<V: Lanes>(job: Job<'_, V::E>, zero: V::E) {
    let mut at = 0;
    // SAFETY: rows at .. at + 3 vectors at most, which are there.
    unsafe {
        while at < job.rows {
            at += V::N
                * match (job.rows - at) / V::N {
                    1 => blocks::<V, 1>(&job, at, zero),
                    // Two and two are better than three and one.
                    2 | 4 => blocks::<V, 2>(&job, at, zero),
                    _ => blocks::<V, 3>(&job, at, zero),
                };
        }
    }
}

/// All sums of `NV` vectors of rows from `at` on; returns `NV`. What does not fit a tile is cut evenly.
#[inline(always)]
unsafe fn blocks<V: Lanes, const NV: usize>(job: &Job<'_, V::E>, at: usize, zero: V::E) -> usize {
    let mut tiles = job.sums.len().div_ceil(V::MOST);
    let mut first = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while tiles > 0 {
            let n = (job.sums.len() - first).div_ceil(tiles);
            match n {
                1 => tile::<V, 1, NV>(job, first, at, zero),
                2 => tile::<V, 2, NV>(job, first, at, zero),
                3 => tile::<V, 3, NV>(job, first, at, zero),
                4 => tile::<V, 4, NV>(job, first, at, zero),
                5 => tile::<V, 5, NV>(job, first, at, zero),
                6 => tile::<V, 6, NV>(job, first, at, zero),
                7 => tile::<V, 7, NV>(job, first, at, zero),
                _ => tile::<V, 8, NV>(job, first, at, zero),
            }
            first += n;
            tiles -= 1;
        }
    }
    NV
}

/// `R` sums of `NV` vectors of rows.
#[inline(always)]
unsafe fn tile<V: Lanes, const R: usize, const NV: usize>(job: &Job<'_, V::E>, first: usize, at: usize, zero: V::E) {
    let sums: [usize; R] = std::array::from_fn(|i| job.sums[first + i] as usize);
    // SAFETY: `sums` checked every place; rows at .. at + NV vectors are inside of every run.
    unsafe {
        let from = job.from.as_ptr().add(at);
        let mut sum = [[V::splat(zero); NV]; R];
        for span in job.spans {
            let weights = job.weights.as_ptr().wrapping_offset(span.base as isize);
            for run in span.first as usize..span.end as usize {
                let weights = weights.wrapping_add(*job.offsets.get_unchecked(run) as usize);
                let run = from.add(run * job.rows);
                let row: [V; NV] = std::array::from_fn(|v| V::load(run.add(v * V::N)));
                for (sum, place) in sum.iter_mut().zip(sums) {
                    let x = V::splat(*weights.wrapping_add(place));
                    for (sum, row) in sum.iter_mut().zip(row) {
                        *sum = x.fma(row, *sum);
                    }
                }
            }
        }
        for (i, sum) in sum.iter().enumerate() {
            let run = job.to.add((first + i) * job.rows + at);
            for (v, sum) in sum.iter().enumerate() {
                sum.store(run.add(v * V::N));
            }
        }
    }
}
