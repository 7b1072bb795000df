//! The innermost product of the weight gradient: MR taps by NV vectors of output channels. Each step, one pixel, loads NV vectors
//! of the gradient, whose channels have been made contiguous, and broadcasts MR numbers of the window.
//!
//! Every number is one chain of multiply-adds in a fixed order, as in [`tile`](super::tile).

use super::window::Window;
use crate::extent::{Ptr, PtrMut};
use crate::gemm::tile::Vector;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// One block of rows of the weight gradient.
#[derive(Clone, Copy)]
pub(crate) struct WeightSum<'a> {
    pub window: &'a Window,
    pub offsets: &'a [usize],
    pub source: Ptr,
    pub y: usize,
    pub rows: usize,
    /// Width of the output.
    pub width: usize,
    /// Panels of `nr` output channels, each `[pixels, nr]`.
    pub gradient: Ptr,
    /// Numbers of a row of a panel; a multiple of the lanes, and at most what [`Level::panel`] says.
    pub nr: usize,
    /// Output channels, rounded up to `nr`: a row of `sums`.
    pub outputs: usize,
    /// `[taps, outputs]`, added to.
    pub sums: PtrMut,
}

/// Fills `buffer` with the window and adds the block to the sums.
///
/// # Safety
/// As [`Level::sum_weights`](super::tile::Level::sum_weights), and the processor must have the vectors.
#[inline(always)]
pub(crate) unsafe fn sum_weights<V: Vector, const MR: usize, const NV: usize>(s: WeightSum, buffer: PtrMut) {
    let pixels = s.rows * s.width;
    // SAFETY: all places are inside the window, the panels and the sums.
    unsafe {
        s.window.fill(s.source, s.y, buffer);
        let buffer = buffer.as_const();
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
    buffer: Ptr,
    taps: &[usize],
    gradient: Ptr,
    sums: PtrMut,
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
    buffer: Ptr,
    taps: &[usize],
    gradient: Ptr,
    sums: PtrMut,
) {
    // SAFETY: the caller's promise.
    unsafe {
        // The sums are wanted at the end, and often have left the near caches since the last block.
        for i in 0..R {
            for v in 0..NV {
                prefetch(sums.add(i * s.outputs + v * V::LANES).raw(V::LANES));
            }
        }
        let mut x: [Ptr; R] = std::array::from_fn(|i| buffer.add(taps[i]));
        let mut sum = [[V::splat(0.0); NV]; R];
        let mut gradient = gradient;
        for _ in 0..s.rows {
            for p in 0..s.width {
                let mut g = [V::splat(0.0); NV];
                for (v, g) in g.iter_mut().enumerate() {
                    *g = V::load(gradient.add(v * V::LANES));
                }
                for (sum, x) in sum.iter_mut().zip(x) {
                    let x = V::splat(x.get(p));
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
                sum.fma(one, V::load(to.as_const())).store(to);
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
