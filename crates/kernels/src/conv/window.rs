//! The part of an image that a block of output rows needs, copied so that every tap of the kernel reads contiguous
//! numbers.
//!
//! The copy holds the zeros of the padding, and with a step of s it holds the s x s *phases* of the image apart (all
//! pixels whose row and column leave the same remainder), so that the output's neighbours are neighbours in it. Output
//! (y, x) and tap (ky, kx) of channel c read number `offset(c, ky, kx) + y * pitch + x`; there is no `im2col` matrix.
//!
//! Rows of the output rarely are a whole number of vectors. A *flat* window holds one copy for every kx instead of one
//! for every phase, cut to the width of the output: then the rows follow each other without a gap, and so do the
//! vectors, at the price of a copy that is up to a kernel's width as large.

use crate::extent::{Ptr, PtrMut};

/// What is correlated with what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// Channels that are read.
    pub channels: usize,
    /// Height and width of a plane that is read.
    pub source: [usize; 2],
    /// Height and width of a plane that is written.
    pub out: [usize; 2],
    /// Height and width of the kernel.
    pub taps: [usize; 2],
    /// Step in the source for one step in the output.
    pub step: usize,
    /// Output 0 and tap 0 read source row and column `-pad`.
    pub pad: [isize; 2],
}

/// Where everything lies in the copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    geometry: Geometry,
    /// Rows of the output a window serves.
    pub rows: usize,
    /// From a row to the next.
    pub pitch: usize,
    /// Numbers of one phase.
    plane: usize,
    /// Phases of rows.
    tall: usize,
    /// Phases of columns, or copies for every kx.
    wide: usize,
    flat: bool,
}

/// Numbers of a window that stay in the second-level cache with what else is needed.
const NUMBERS: usize = 1 << 16;

impl Window {
    pub fn new(geometry: Geometry, flat: bool) -> Self {
        let Geometry { channels, out, taps, step, .. } = geometry;
        let reach = taps.map(|taps| (taps - 1) / step);
        let (wide, pitch) = if flat { (taps[1], out[1]) } else { (step.min(taps[1]), out[1] + reach[1]) };
        let tall = step.min(taps[0]);
        // All rows that fit, at least four and 64 pixels, in blocks of about the same height.
        let fit = NUMBERS / (channels * tall * wide * pitch).max(1);
        let least = 64_usize.div_ceil(out[1].max(1)).max(4);
        let blocks = out[0].div_ceil(fit.saturating_sub(reach[0]).max(least)).max(1);
        let rows = out[0].div_ceil(blocks);
        Self { geometry, rows, pitch, plane: (rows + reach[0]) * pitch, tall, wide, flat }
    }

    /// Numbers a window takes; `slack` may be read, though not used, behind the last.
    pub fn len(&self, slack: usize) -> usize {
        self.geometry.channels * self.tall * self.wide * self.plane + slack
    }

    /// Numbers in a row without gap, and how many such runs `rows` rows of output are.
    pub fn runs(&self, rows: usize) -> (usize, usize) {
        let width = self.geometry.out[1];
        if self.pitch == width { (rows * width, 1) } else { (width, rows) }
    }

    /// Offsets of all taps, in the order (channel, row, column).
    pub fn offsets(&self) -> Vec<usize> {
        let Geometry { channels, taps, step, .. } = self.geometry;
        let mut offsets = Vec::with_capacity(channels * taps[0] * taps[1]);
        for c in 0..channels {
            for ky in 0..taps[0] {
                for kx in 0..taps[1] {
                    let (b, x) = if self.flat { (kx, 0) } else { (kx % step, kx / step) };
                    let phase = (c * self.tall + ky % step) * self.wide + b;
                    offsets.push(phase * self.plane + ky / step * self.pitch + x);
                }
            }
        }
        offsets
    }

    /// Copies what the output rows from `y` on need; rows that no output needs are zero.
    ///
    /// # Safety
    /// `source` must hold the channels, and `to` have room for [`Window::len`] numbers.
    #[inline(always)]
    pub unsafe fn fill(&self, source: Ptr, y: usize, to: PtrMut) {
        let Geometry { channels, source: [height, width], step, pad, .. } = self.geometry;
        let mut to = to;
        for c in 0..channels {
            // SAFETY: channel c of the source.
            let image = unsafe { source.add(c * height * width) };
            if self.flat && step == 1 && self.pitch == width {
                for b in 0..self.wide {
                    // SAFETY: a copy of the channel for one column of the kernel.
                    unsafe {
                        self.copy_plane(image, y, b as isize - pad[1], to);
                        to = to.add(self.plane);
                    }
                }
                continue;
            }
            for a in 0..self.tall {
                for b in 0..self.wide {
                    for r in 0..self.plane / self.pitch {
                        let row = ((y + r) * step + a) as isize - pad[0];
                        // SAFETY: a row inside the source; the copy is written from its start to its end.
                        unsafe {
                            if (0..height as isize).contains(&row) {
                                let from = image.add(row as usize * width);
                                copy_row(from, width, b as isize - pad[1], step, to, self.pitch);
                            } else {
                                to.clear(self.pitch);
                            }
                            to = to.add(self.pitch);
                        }
                    }
                }
            }
        }
    }

    /// One copy of a flat window whose rows are as long as the source's: a single run of numbers, `shift` further on, in
    /// which the columns that came from a neighbouring row are then cleared.
    #[inline(always)]
    unsafe fn copy_plane(&self, image: Ptr, y: usize, shift: isize, to: PtrMut) {
        let Geometry { source: [height, width], pad, .. } = self.geometry;
        let rows = self.plane / self.pitch;
        // Source row 0 and one past the last, counted in rows of the copy.
        let first = (pad[0] - y as isize).clamp(0, rows as isize) as usize;
        let end = (pad[0] - y as isize + height as isize).clamp(first as isize, rows as isize) as usize;
        let n = (end - first) * width;
        let gap = shift.unsigned_abs().min(width);
        // SAFETY: rows first..end are inside both, the others inside the copy.
        unsafe {
            to.clear(first * width);
            to.add(end * width).clear((rows - end) * width);
            let block = to.add(first * width);
            let length = n.saturating_sub(gap);
            let (at, skip) = if shift < 0 { (gap, 0) } else { (0, gap) };
            if length > 0 {
                let from = image.offset((y as isize + first as isize - pad[0]) * width as isize);
                from.add(skip).copy_to(block.add(at), length);
            }
            if gap > 0 {
                for row in 0..end - first {
                    clear(block.add(row * width + if shift < 0 { 0 } else { width - gap }), gap);
                }
            }
        }
    }
}

/// `to[x] = from[first + x * step]` for x below `count`, zero where that is not among the `width` numbers of the row.
#[inline(always)]
unsafe fn copy_row(from: Ptr, width: usize, first: isize, step: usize, to: PtrMut, count: usize) {
    // The x that are inside.
    let start = (-first).max(0).unsigned_abs().div_ceil(step).min(count);
    let end = (width as isize - first).max(0).unsigned_abs().div_ceil(step).clamp(start, count);
    // SAFETY: x from start to end address the row, and the copy has `count` numbers.
    unsafe {
        clear(to, start);
        clear(to.add(end), count - end);
        if start == end {
            return;
        }
        let from = from.offset(first + (start * step) as isize);
        let (to, n) = (to.add(start), end - start);
        if step == 1 && n >= 16 {
            copy_pieces::<16>(from, to, n);
        } else if step == 1 && n >= 8 {
            copy_pieces::<8>(from, to, n);
        } else if step == 1 && n >= 4 {
            copy_pieces::<4>(from, to, n);
        } else if step == 2 && n > 8 {
            copy_every_other(from, to, n);
        } else {
            for x in 0..n {
                to.set(x, from.get(x * step));
            }
        }
    }
}

/// Copies every other of more than eight numbers in pieces of eight, each a shuffle of two vectors; the last, which may overlap
/// the one before, takes the odd numbers from one before, so that nothing behind the row is read.
#[inline(always)]
unsafe fn copy_every_other(from: Ptr, to: PtrMut, n: usize) {
    // SAFETY: the caller's promise: 2 n - 1 numbers, and room for n.
    unsafe {
        let mut x = 0;
        while x + 8 < n {
            let pairs = from.add(2 * x).raw(16).cast::<[f32; 16]>().read_unaligned();
            to.add(x).raw(8).cast::<[f32; 8]>().write_unaligned(std::array::from_fn(|i| pairs[2 * i]));
            x += 8;
        }
        let pairs = from.add(2 * (n - 8) - 1).raw(16).cast::<[f32; 16]>().read_unaligned();
        to.add(n - 8).raw(8).cast::<[f32; 8]>().write_unaligned(std::array::from_fn(|i| pairs[2 * i + 1]));
    }
}

/// `n` zeros; mostly one, for which a call of `memset` would take longer than all else of a row.
#[inline(always)]
unsafe fn clear(to: PtrMut, n: usize) {
    // SAFETY: the caller's promise: n numbers.
    unsafe {
        match n {
            0 => {}
            1 => to.set(0, 0.0),
            _ => to.clear(n),
        }
    }
}

/// Copies at least N numbers in pieces of N, of which the last may overlap the one before: rows are too short for a
/// call of `memcpy`.
#[inline(always)]
unsafe fn copy_pieces<const N: usize>(from: Ptr, to: PtrMut, n: usize) {
    // SAFETY: the caller's promise: n numbers on both sides.
    unsafe {
        let mut x = 0;
        while x < n {
            let at = x.min(n - N);
            let piece = from.add(at).raw(N).cast::<[f32; N]>().read_unaligned();
            to.add(at).raw(N).cast::<[f32; N]>().write_unaligned(piece);
            x += N;
        }
    }
}
