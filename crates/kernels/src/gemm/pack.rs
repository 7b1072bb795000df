//! Copies an operand into the order in which the tiles read it, so that they walk through memory one line at a time.

use super::tile::{Left, Level, Right};
use crate::extent::{Ptr, PtrMut};

/// An operand of which element (r, c) is at `start + r * row + c * column`; one of the two strides is 1.
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub start: Ptr,
    pub row: usize,
    pub column: usize,
}

impl View {
    /// The view from element (r, c) on.
    ///
    /// # Safety
    /// The element must be inside the allocation or one past it.
    pub unsafe fn from(self, r: usize, c: usize) -> Self {
        // SAFETY: the caller's promise.
        Self { start: unsafe { self.start.add(r * self.row + c * self.column) }, ..self }
    }
}

/// Numbers that `pack_right` writes for a `[k, n]` operand.
pub(crate) fn right_len(level: &Level, k: usize, n: usize) -> usize {
    n.next_multiple_of(level.nr) * k
}

/// Panels of NR columns, each `[k, NR]`, the last one filled up with zeros.
///
/// # Safety
/// `b` must be a valid `[k, n]` view and `to` must have room for [`right_len`] numbers.
pub(crate) unsafe fn pack_right(level: &Level, k: usize, n: usize, b: View, to: PtrMut) -> Right {
    // SAFETY: the caller's promise.
    unsafe { pack_panels(level.nr, level.avx, k, n, b, to) };
    Right { start: to.as_const(), panel: level.nr * k, step: level.nr }
}

/// [`pack_right`] with panels of any width `nr`; `avx` says that 8 x 8 blocks can be transposed with AVX.
///
/// # Safety
/// `b` must be a valid `[k, n]` view and `to` must have room for n, rounded up to `nr`, times k numbers.
pub(crate) unsafe fn pack_panels(nr: usize, avx: bool, k: usize, n: usize, b: View, to: PtrMut) {
    for (p, j) in (0..n).step_by(nr).enumerate() {
        let columns = nr.min(n - j);
        // SAFETY: column j < n; panel p has k * nr numbers of room.
        unsafe {
            let (from, to) = (b.from(0, j), to.add(p * nr * k));
            if columns < nr {
                to.clear(k * nr);
            }
            if b.column == 1 {
                match columns {
                    16 => copy_rows::<16>(k, from.start, b.row, to, nr),
                    48 => copy_rows::<48>(k, from.start, b.row, to, nr),
                    _ => copy_any(k, columns, from.start, b.row, to, nr),
                }
            } else {
                transpose(avx, columns, k, from.start, b.column, to, nr);
            }
        }
    }
}

/// Numbers that `pack_left` writes for an `[m, k]` operand.
pub(crate) fn left_len(level: &Level, m: usize, k: usize) -> usize {
    m.next_multiple_of(level.mr) * k
}

/// Strips of MR rows, each `[k, MR]`, from an operand stored `[k, m]` (`row` is 1).
///
/// # Safety
/// `a` must be a valid `[m, k]` view with row stride 1 and `to` must have room for [`left_len`] numbers.
pub(crate) unsafe fn pack_left(level: &Level, m: usize, k: usize, a: View, to: PtrMut) -> Left {
    debug_assert_eq!(a.row, 1);
    let mr = level.mr;
    // Eight lines of the source at a time, so that they are still at hand for the next strip.
    for p in (0..k).step_by(8) {
        let steps = 8.min(k - p);
        for (s, i) in (0..m).step_by(mr).enumerate() {
            let rows = mr.min(m - i);
            // SAFETY: rows i..i + rows and steps p..p + steps are inside the view, strip s inside the buffer.
            unsafe {
                let (from, to) = (a.from(i, p).start, to.add(s * mr * k + p * mr));
                match rows {
                    6 => copy_rows::<6>(steps, from, a.column, to, mr),
                    8 => copy_rows::<8>(steps, from, a.column, to, mr),
                    _ => copy_any(steps, rows, from, a.column, to, mr),
                }
            }
        }
    }
    Left { start: to.as_const(), strip: mr * k, row: 1, step: mr }
}

#[inline(always)]
unsafe fn copy_rows<const N: usize>(rows: usize, from: Ptr, from_row: usize, to: PtrMut, to_row: usize) {
    for r in 0..rows {
        // SAFETY: the caller's promise: N numbers a row on both sides.
        unsafe {
            let numbers = from.add(r * from_row).raw(N).cast::<[f32; N]>().read_unaligned();
            to.add(r * to_row).raw(N).cast::<[f32; N]>().write_unaligned(numbers);
        };
    }
}

unsafe fn copy_any(rows: usize, n: usize, from: Ptr, from_row: usize, to: PtrMut, to_row: usize) {
    for r in 0..rows {
        // SAFETY: the caller's promise: n numbers a row on both sides.
        unsafe { from.add(r * from_row).copy_to(to.add(r * to_row), n) };
    }
}

/// `to[c, r] = from[r, c]` for `rows` x `columns` of `from`.
unsafe fn transpose(avx: bool, rows: usize, columns: usize, from: Ptr, from_row: usize, to: PtrMut, to_row: usize) {
    // SAFETY: all inside both by the caller's promise; `avx` says that the processor has it.
    unsafe {
        let whole = if avx { transpose_blocks(rows, columns, from, from_row, to, to_row) } else { (0, 0) };
        for r in 0..rows {
            for c in if r < whole.0 { whole.1 } else { 0 }..columns {
                to.set(c * to_row + r, from.get(r * from_row + c));
            }
        }
    }
}

/// The part of [`transpose`] that consists of whole 8 x 8 blocks; returns its rows and columns.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn transpose_blocks(
    rows: usize,
    columns: usize,
    from: Ptr,
    from_row: usize,
    to: PtrMut,
    to_row: usize,
) -> (usize, usize) {
    let whole = (rows / 8 * 8, columns / 8 * 8);
    for c in (0..whole.1).step_by(8) {
        for r in (0..whole.0).step_by(8) {
            // SAFETY: an 8 x 8 block inside both.
            unsafe { transpose8(from.add(r * from_row + c), from_row, to.add(c * to_row + r), to_row) };
        }
    }
    whole
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn transpose_blocks(_: usize, _: usize, _: Ptr, _: usize, _: PtrMut, _: usize) -> (usize, usize) {
    (0, 0)
}

/// An 8 x 8 block, by three rounds of exchanging halves.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx")]
unsafe fn transpose8(from: Ptr, from_row: usize, to: PtrMut, to_row: usize) {
    use std::arch::x86_64::*;
    // SAFETY: the caller's promise: eight rows of eight on both sides.
    unsafe {
        // Lower halves of rows i and i + 4 are joined as they are loaded: no crossing of halves is needed later.
        let pair = |i: usize, half: usize| {
            let low = _mm256_castps128_ps256(_mm_loadu_ps(from.add(i * from_row + half).raw(4)));
            _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(from.add((i + 4) * from_row + half).raw(4)))
        };
        for half in [0, 4] {
            let (r0, r1, r2, r3) = (pair(0, half), pair(1, half), pair(2, half), pair(3, half));
            let (a, b) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
            let (c, d) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
            let to = to.add(half * to_row);
            _mm256_storeu_ps(to.raw(8), _mm256_shuffle_ps::<0b01_00_01_00>(a, c));
            _mm256_storeu_ps(to.add(to_row).raw(8), _mm256_shuffle_ps::<0b11_10_11_10>(a, c));
            _mm256_storeu_ps(to.add(2 * to_row).raw(8), _mm256_shuffle_ps::<0b01_00_01_00>(b, d));
            _mm256_storeu_ps(to.add(3 * to_row).raw(8), _mm256_shuffle_ps::<0b11_10_11_10>(b, d));
        }
    }
}
