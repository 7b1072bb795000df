//! The innermost products of a convolution: tiles in registers that read a [`Window`] directly, and which of them the
//! processor gets.
//!
//! *Correlation* (forward pass and gradient of the input): MR output channels by NV vectors of pixels; each step of
//! the sum, one tap of one channel, loads NV vectors of the window and broadcasts MR weights. The *weight gradient* is in
//! [`weight_tile`](super::weight_tile).
//!
//! Every number is one chain of multiply-adds in a fixed order, so neither the size of the tiles nor the width of the
//! vectors shows in the result.

use super::weight_tile::{WeightSum, sum_weights};
use super::window::Window;
use crate::extent::{Ptr, PtrMut};
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
    pub weight: Ptr,
    /// Output channels.
    pub outputs: usize,
    /// One number an output channel.
    pub bias: Option<Ptr>,
    /// Start of the source's channels.
    pub source: Ptr,
    /// First output row, and how many.
    pub y: usize,
    pub rows: usize,
    /// Where output channel 0 of the first row goes, and how far apart the channels are.
    pub out: PtrMut,
    pub plane: usize,
}

/// Vector width and tile sizes for one instruction set.
pub(crate) struct Level {
    pub lanes: usize,
    /// Output channels of a strip of packed weights.
    pub mr: usize,
    /// Most output channels of a panel of the weight gradient.
    pub panel: usize,
    correlate: unsafe fn(Correlation, PtrMut),
    sum_weights: unsafe fn(WeightSum, PtrMut),
}

static PORTABLE: Level =
    Level { lanes: 8, mr: 4, panel: 8, correlate: correlate_portable, sum_weights: sum_weights_portable };
#[cfg(target_arch = "x86_64")]
static AVX2: Level = Level { lanes: 8, mr: 6, panel: 16, correlate: correlate_avx2, sum_weights: sum_weights_avx2 };
#[cfg(target_arch = "x86_64")]
static AVX512: Level =
    Level { lanes: 16, mr: 8, panel: 32, correlate: correlate_avx512, sum_weights: sum_weights_avx512 };

/// The widest level of the running processor whose vectors `length` numbers in a row can fill, the narrowest if none.
pub(crate) fn level_for(length: usize) -> &'static Level {
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
    pub unsafe fn correlate(&self, c: Correlation, buffer: PtrMut) {
        // SAFETY: the caller's promise; a level is only handed out where the processor has it.
        unsafe { (self.correlate)(c, buffer) }
    }

    /// Fills `buffer` with the window and adds the block to the sums.
    ///
    /// # Safety
    /// As [`Level::correlate`].
    pub unsafe fn sum_weights(&self, s: WeightSum, buffer: PtrMut) {
        // SAFETY: as above.
        unsafe { (self.sum_weights)(s, buffer) }
    }
}

unsafe fn correlate_portable(c: Correlation, buffer: PtrMut) {
    // SAFETY: the caller's promise.
    unsafe { correlate::<[f32; 8], 4, 1>(c, buffer) }
}

unsafe fn sum_weights_portable(s: WeightSum, buffer: PtrMut) {
    // SAFETY: the caller's promise.
    unsafe { sum_weights::<[f32; 8], 4, 1>(s, buffer) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn correlate_avx2(c: Correlation, buffer: PtrMut) {
    // SAFETY: the caller's promise.
    unsafe { correlate::<__m256, 6, 2>(c, buffer) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn sum_weights_avx2(s: WeightSum, buffer: PtrMut) {
    // SAFETY: the caller's promise.
    unsafe { sum_weights::<__m256, 6, 2>(s, buffer) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn correlate_avx512(c: Correlation, buffer: PtrMut) {
    // SAFETY: the caller's promise.
    unsafe { correlate::<__m512, 8, 3>(c, buffer) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn sum_weights_avx512(s: WeightSum, buffer: PtrMut) {
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
unsafe fn correlate<V: Vector, const MR: usize, const NV: usize>(c: Correlation, buffer: PtrMut) {
    let (length, runs) = c.window.runs(c.rows);
    let per_run = length.div_ceil(V::LANES);
    let vectors = runs * per_run;
    let (groups, strips) = (vectors.div_ceil(NV), c.outputs.div_ceil(MR));
    // SAFETY: all places are inside the window and the block of output.
    unsafe {
        c.window.fill(c.source, c.y, buffer);
        let buffer = buffer.as_const();
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
    buffer: Ptr,
    strip: usize,
    places: &[(usize, usize); NV],
    count: usize,
    lanes: usize,
) {
    const WIDEST: usize = 8 * 3 * 16;
    let mut cut = [0.0_f32; WIDEST];
    let Range { start: first, end } = strip_rows(c.outputs, MR, strip);
    let rows = end - first;
    let cut = PtrMut::of(&mut cut);
    // SAFETY: the caller's promise; `cut` holds NV blocks of MR vectors.
    unsafe {
        let out = c.out.add(first * c.plane);
        let mut x = [buffer; NV];
        let mut to = [out; NV];
        for v in 0..count {
            x[v] = buffer.add(places[v].0);
            to[v] = if lanes == V::LANES { out.add(places[v].1) } else { cut.add(v * MR * V::LANES) };
        }
        let tile = Tile {
            weight: c.weight.add(strip * MR * c.offsets.len()),
            mr: MR,
            bias: c.bias.map(|bias| bias.add(first)),
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
                    to[v].as_const().add(r * V::LANES).copy_to(out.add(r * c.plane + places[v].1), lanes);
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Tile {
    weight: Ptr,
    mr: usize,
    bias: Option<Ptr>,
    /// From an output channel to the next.
    row: usize,
}

/// Picks the tile with the right number of output channels.
#[inline(always)]
unsafe fn rows_of<V: Vector, const MR: usize, const NV: usize>(
    t: &Tile,
    offsets: &[usize],
    rows: usize,
    x: [Ptr; NV],
    to: [PtrMut; NV],
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
    x: [Ptr; NV],
    to: [PtrMut; NV],
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
                let w = V::splat(weight.get(i));
                for (sum, pixels) in sum.iter_mut().zip(pixels) {
                    *sum = w.fma(pixels, *sum);
                }
            }
            weight = weight.wrapping_add(t.mr);
        }
        let one = V::splat(1.0);
        for (i, sum) in sum.iter().enumerate() {
            for (&sum, to) in sum.iter().zip(to) {
                let sum = match t.bias {
                    None => sum,
                    Some(bias) => sum.fma(one, V::splat(bias.get(i))),
                };
                sum.store(to.add(i * t.row));
            }
        }
    }
}
