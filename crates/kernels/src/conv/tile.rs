//! The two innermost products of a convolution: tiles in registers that read a [`Window`] directly.
//!
//! *Correlation* (forward pass and gradient of the input): MR output channels by NV vectors of pixels; each step of
//! the sum, one tap of one channel, loads NV vectors of the window and broadcasts MR weights. *Weight gradient*: MR
//! taps by NV vectors of output channels; each step, one pixel, loads NV vectors of the gradient, whose channels have
//! been made contiguous, and broadcasts MR numbers of the window.
//!
//! Every number is one chain of multiply-adds in a fixed order, so neither the size of the tiles nor the width of the
//! vectors shows in the result.

use super::window::Window;
use crate::gemm::tile::Vector;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::ops::Range;

/// One correlation of the channels of a window with all kernels of a group.
#[derive(Clone, Copy)]
pub(crate) struct Correlation<'a> {
    pub window: &'a Window,
    /// Of every tap of every channel.
    pub offsets: &'a [usize],
    /// Strips of output channels ([`strip_rows`]), each `[taps, MR]`.
    pub weight: *const f32,
    /// Output channels.
    pub outputs: usize,
    /// One number an output channel, or null.
    pub bias: *const f32,
    /// Start of the source's channels.
    pub source: *const f32,
    /// First output row, and how many.
    pub y: usize,
    pub rows: usize,
    /// Where output channel 0 of the first row goes, and how far apart the channels are.
    pub out: *mut f32,
    pub plane: usize,
}

/// One block of rows of the weight gradient.
#[derive(Clone, Copy)]
pub(crate) struct WeightSum<'a> {
    pub window: &'a Window,
    pub offsets: &'a [usize],
    pub source: *const f32,
    pub y: usize,
    pub rows: usize,
    /// Width of the output.
    pub width: usize,
    /// Panels of `nr` output channels, each `[pixels, nr]`.
    pub gradient: *const f32,
    /// Numbers of a row of a panel; a multiple of the lanes, and at most what [`Level::panel`] says.
    pub nr: usize,
    /// Output channels, rounded up to `nr`: a row of `sums`.
    pub outputs: usize,
    /// `[taps, outputs]`, added to.
    pub sums: *mut f32,
}

/// Vector width and tile sizes for one instruction set.
pub(crate) struct Level {
    pub lanes: usize,
    /// Output channels of a strip of packed weights.
    pub mr: usize,
    /// Most output channels of a panel of the weight gradient.
    pub panel: usize,
    correlate: unsafe fn(Correlation, *mut f32),
    sum_weights: unsafe fn(WeightSum, *mut f32),
}

static PORTABLE: Level =
    Level { lanes: 8, mr: 4, panel: 8, correlate: correlate_portable, sum_weights: sum_weights_portable };
#[cfg(target_arch = "x86_64")]
static AVX2: Level = Level { lanes: 8, mr: 6, panel: 16, correlate: correlate_avx2, sum_weights: sum_weights_avx2 };
#[cfg(target_arch = "x86_64")]
static AVX512: Level =
    Level { lanes: 16, mr: 8, panel: 32, correlate: correlate_avx512, sum_weights: sum_weights_avx512 };

/// The widest level of the running processor whose vectors `length` numbers in a row can fill, the narrowest if none.
pub(crate) fn level(length: usize) -> &'static Level {
    #[cfg(target_arch = "x86_64")]
    {
        if crate::arch::has_avx512() && length >= AVX512.lanes {
            return &AVX512;
        }
        if crate::arch::has_avx2() {
            return &AVX2;
        }
    }
    let _ = length;
    &PORTABLE
}

impl Level {
    /// Fills `buffer` with the window and computes all outputs of the block.
    ///
    /// # Safety
    /// All that is addressed must be valid, the output exclusive, `buffer` have room for the window and a vector.
    pub unsafe fn correlate(&self, c: Correlation, buffer: *mut f32) {
        // SAFETY: the caller's promise; a level is only handed out where the processor has it.
        unsafe { (self.correlate)(c, buffer) }
    }

    /// Fills `buffer` with the window and adds the block to the sums.
    ///
    /// # Safety
    /// As [`Level::correlate`].
    pub unsafe fn sum_weights(&self, s: WeightSum, buffer: *mut f32) {
        // SAFETY: as above.
        unsafe { (self.sum_weights)(s, buffer) }
    }
}

unsafe fn correlate_portable(c: Correlation, buffer: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { correlate::<[f32; 8], 4, 1>(c, buffer) }
}

unsafe fn sum_weights_portable(s: WeightSum, buffer: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { sum_weights::<[f32; 8], 4, 1>(s, buffer) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn correlate_avx2(c: Correlation, buffer: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { correlate::<__m256, 6, 2>(c, buffer) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn sum_weights_avx2(s: WeightSum, buffer: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { sum_weights::<__m256, 6, 2>(s, buffer) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn correlate_avx512(c: Correlation, buffer: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { correlate::<__m512, 8, 3>(c, buffer) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn sum_weights_avx512(s: WeightSum, buffer: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { sum_weights::<__m512, 8, 2>(s, buffer) }
}

/// The output channels of a strip: all strips have about the same height, because a low tile does not keep the multipliers
/// busy.
pub(crate) fn strip_rows(outputs: usize, mr: usize, strip: usize) -> Range<usize> {
    let strips = outputs.div_ceil(mr);
    strip * outputs / strips..(strip + 1) * outputs / strips
}

/// Numbers of packed weights above which they do not stay in the second-level cache beside the window.
const WEIGHTS: usize = 3 << 16;

#[inline(always)]
unsafe fn correlate<V: Vector, const MR: usize, const NV: usize>(c: Correlation, buffer: *mut f32) {
    let (length, runs) = c.window.runs(c.rows);
    let per_run = length.div_ceil(V::LANES);
    let vectors = runs * per_run;
    let (groups, strips) = (vectors.div_ceil(NV), c.outputs.div_ceil(MR));
    // SAFETY: all places are inside the window and the block of output.
    unsafe {
        c.window.fill(c.source, c.y, buffer);
        // The places of the vectors of a group, and how many: groups have about the same size, because one vector alone
        // would not keep the multipliers busy.
        let group = |group: usize| {
            let first = group * vectors / groups;
            let count = (group + 1) * vectors / groups - first;
            let mut places = [(0, 0); NV];
            for (v, place) in places.iter_mut().enumerate().take(count) {
                let (run, x) = ((first + v) / per_run, (first + v) % per_run * V::LANES);
                // The last vector of a run ends where the run ends and overlaps the one before.
                let x = x.min(length.saturating_sub(V::LANES));
                *place = (run * c.window.pitch + x, run * length + x);
            }
            (places, count)
        };
        let lanes = length.min(V::LANES);
        // The innermost loop is the one whose operand stays in the cache.
        if c.outputs * c.offsets.len() > WEIGHTS {
            for strip in 0..strips {
                for (places, count) in (0..groups).map(group) {
                    strip_of::<V, MR, NV>(&c, buffer, strip, &places, count, lanes);
                }
            }
        } else {
            for (places, count) in (0..groups).map(group) {
                for strip in 0..strips {
                    strip_of::<V, MR, NV>(&c, buffer, strip, &places, count, lanes);
                }
            }
        }
    }
}

/// One strip of output channels by `count` vectors, of which `lanes` numbers count.
#[inline(always)]
unsafe fn strip_of<V: Vector, const MR: usize, const NV: usize>(
    c: &Correlation,
    buffer: *const f32,
    strip: usize,
    places: &[(usize, usize); NV],
    count: usize,
    lanes: usize,
) {
    const WIDEST: usize = 8 * 3 * 16;
    let mut cut = [0.0_f32; WIDEST];
    let Range { start: first, end } = strip_rows(c.outputs, MR, strip);
    let rows = end - first;
    // SAFETY: the caller's promise; `cut` holds NV blocks of MR vectors.
    unsafe {
        let out = c.out.add(first * c.plane);
        let mut x = [buffer; NV];
        let mut to = [out; NV];
        for v in 0..count {
            x[v] = buffer.add(places[v].0);
            to[v] = if lanes == V::LANES { out.add(places[v].1) } else { cut.as_mut_ptr().add(v * MR * V::LANES) };
        }
        let tile = Tile {
            weight: c.weight.add(strip * MR * c.offsets.len()),
            mr: MR,
            bias: if c.bias.is_null() { c.bias } else { c.bias.add(first) },
            row: if lanes == V::LANES { c.plane } else { V::LANES },
        };
        match count {
            1 => rows_of::<V, MR, 1>(&tile, c.offsets, rows, [x[0]], [to[0]]),
            2 if NV > 2 => rows_of::<V, MR, 2>(&tile, c.offsets, rows, [x[0], x[1]], [to[0], to[1]]),
            _ => rows_of::<V, MR, NV>(&tile, c.offsets, rows, x, to),
        }
        if lanes < V::LANES {
            for v in 0..count {
                for r in 0..rows {
                    std::ptr::copy_nonoverlapping(to[v].add(r * V::LANES), out.add(r * c.plane + places[v].1), lanes);
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Tile {
    weight: *const f32,
    mr: usize,
    bias: *const f32,
    /// From an output channel to the next.
    row: usize,
}

/// Picks the tile with the right number of output channels.
#[inline(always)]
unsafe fn rows_of<V: Vector, const MR: usize, const NV: usize>(
    t: &Tile,
    offsets: &[usize],
    rows: usize,
    x: [*const f32; NV],
    to: [*mut f32; NV],
) {
    // SAFETY: the caller's promise; arms above MR are never taken.
    unsafe {
        match rows {
            1 => tile::<V, 1, NV>(t, offsets, x, to),
            2 => tile::<V, 2, NV>(t, offsets, x, to),
            3 => tile::<V, 3, NV>(t, offsets, x, to),
            4 if MR > 4 => tile::<V, 4, NV>(t, offsets, x, to),
            5 if MR > 5 => tile::<V, 5, NV>(t, offsets, x, to),
            6 if MR > 6 => tile::<V, 6, NV>(t, offsets, x, to),
            7 if MR > 7 => tile::<V, 7, NV>(t, offsets, x, to),
            _ => tile::<V, MR, NV>(t, offsets, x, to),
        }
    }
}

/// `R` output channels by NV vectors of pixels.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const NV: usize>(
    t: &Tile,
    offsets: &[usize],
    x: [*const f32; NV],
    to: [*mut f32; NV],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = [[V::splat(0.0); NV]; R];
        let mut weight = t.weight;
        for &offset in offsets {
            let mut pixels = [V::splat(0.0); NV];
            for (pixels, x) in pixels.iter_mut().zip(x) {
                *pixels = V::load(x.add(offset));
            }
            for (i, sum) in sum.iter_mut().enumerate() {
                let w = V::splat(*weight.add(i));
                for (sum, pixels) in sum.iter_mut().zip(pixels) {
                    *sum = w.fma(pixels, *sum);
                }
            }
            weight = weight.add(t.mr);
        }
        let one = V::splat(1.0);
        for (i, sum) in sum.iter().enumerate() {
            for (&sum, to) in sum.iter().zip(to) {
                let sum = if t.bias.is_null() { sum } else { sum.fma(one, V::splat(*t.bias.add(i))) };
                sum.store(to.add(i * t.row));
            }
        }
    }
}

#[inline(always)]
unsafe fn sum_weights<V: Vector, const MR: usize, const NV: usize>(s: WeightSum, buffer: *mut f32) {
    let pixels = s.rows * s.width;
    // SAFETY: all places are inside the window, the panels and the sums.
    unsafe {
        s.window.fill(s.source, s.y, buffer);
        for (panel, o) in (0..s.outputs).step_by(s.nr).enumerate() {
            let gradient = s.gradient.add(panel * pixels * s.nr);
            // With one vector a row, eight rows keep the multipliers busy.
            let one = s.nr == V::LANES;
            let height = if one { 8 } else { MR };
            for (strip, taps) in s.offsets.chunks(height).enumerate() {
                let sums = s.sums.add(strip * height * s.outputs + o);
                if one {
                    taps_of::<V, 8, 1>(&s, buffer, taps, gradient, sums);
                } else {
                    taps_of::<V, MR, NV>(&s, buffer, taps, gradient, sums);
                }
            }
        }
    }
}

/// Picks the tile with the right number of taps.
#[inline(always)]
unsafe fn taps_of<V: Vector, const MR: usize, const NV: usize>(
    s: &WeightSum,
    buffer: *const f32,
    taps: &[usize],
    gradient: *const f32,
    sums: *mut f32,
) {
    // SAFETY: the caller's promise; arms above MR are never taken.
    unsafe {
        match taps.len() {
            1 => tap_tile::<V, 1, NV>(s, buffer, taps, gradient, sums),
            2 => tap_tile::<V, 2, NV>(s, buffer, taps, gradient, sums),
            3 => tap_tile::<V, 3, NV>(s, buffer, taps, gradient, sums),
            4 if MR > 4 => tap_tile::<V, 4, NV>(s, buffer, taps, gradient, sums),
            5 if MR > 5 => tap_tile::<V, 5, NV>(s, buffer, taps, gradient, sums),
            6 if MR > 6 => tap_tile::<V, 6, NV>(s, buffer, taps, gradient, sums),
            7 if MR > 7 => tap_tile::<V, 7, NV>(s, buffer, taps, gradient, sums),
            _ => tap_tile::<V, MR, NV>(s, buffer, taps, gradient, sums),
        }
    }
}

/// `R` taps by NV vectors of output channels, summed over the pixels of the block.
#[inline(always)]
unsafe fn tap_tile<V: Vector, const R: usize, const NV: usize>(
    s: &WeightSum,
    buffer: *const f32,
    taps: &[usize],
    gradient: *const f32,
    sums: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        // The sums are wanted at the end, and often have left the near caches since the last block.
        for i in 0..R {
            for v in 0..NV {
                prefetch(sums.add(i * s.outputs + v * V::LANES));
            }
        }
        let mut x: [*const f32; R] = std::array::from_fn(|i| buffer.add(taps[i]));
        let mut sum = [[V::splat(0.0); NV]; R];
        let mut gradient = gradient;
        for _ in 0..s.rows {
            for p in 0..s.width {
                let mut g = [V::splat(0.0); NV];
                for (v, g) in g.iter_mut().enumerate() {
                    *g = V::load(gradient.add(v * V::LANES));
                }
                for (sum, x) in sum.iter_mut().zip(x) {
                    let x = V::splat(*x.add(p));
                    for (sum, g) in sum.iter_mut().zip(g) {
                        *sum = x.fma(g, *sum);
                    }
                }
                gradient = gradient.add(NV * V::LANES);
            }
            for x in &mut x {
                *x = x.wrapping_add(s.window.pitch);
            }
        }
        let one = V::splat(1.0);
        for (i, sum) in sum.iter().enumerate() {
            for (v, &sum) in sum.iter().enumerate() {
                let to = sums.add(i * s.outputs + v * V::LANES);
                sum.fma(one, V::load(to)).store(to);
            }
        }
    }
}

/// Asks for a cache line.
#[inline(always)]
fn prefetch(line: *const f32) {
    // SAFETY: a hint, which any address may be given to; part of the base instruction set.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
