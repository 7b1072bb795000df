//! Matrix product on all threads.
//!
//! C is cut into blocks, each made by one task from a copy of B in tile order that all tasks share. k is cut every
//! 256 steps, so that a panel of B stays in the first-level cache; that cut depends on k alone, and every element is
//! summed in the order of k (`gemm/tile.rs`), so the result depends neither on the threads nor on the size of the blocks.

pub(crate) mod pack;
pub(crate) mod tile;

use crate::extent::{Ptr, PtrMut, Shared};
use crate::output::{self, Slot};
use crate::scratch;
use pack::View;
use rayon::prelude::*;
use std::ops::Range;
use tile::{Left, Level, Out, Right, Source};

/// How an operand is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As it enters the product: `a` is `[m, k]`, `b` is `[k, n]`.
    Normal,
    /// Transposed: `a` is `[k, m]`, `b` is `[n, k]`.
    Transposed,
}

impl Layout {
    /// The stored operand seen as `[rows, columns]`.
    fn view(self, start: &[f32], rows: usize, columns: usize) -> View {
        match self {
            Self::Normal => View { start: Ptr::new(start), row: columns, column: 1 },
            Self::Transposed => View { start: Ptr::new(start), row: 1, column: rows },
        }
    }
}

/// `c[m, n] = alpha * op(a)[m, k] * op(b)[k, n] + (accumulate ? c : 0)`, where `op` is what [`Layout`] says.
///
/// # Panics
/// If a slice is not as long as `m`, `n` and `k` say.
#[allow(clippy::too_many_arguments)]
pub fn gemm(
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: &[f32],
    a_layout: Layout,
    b: &[f32],
    b_layout: Layout,
    c: &mut [f32],
    accumulate: bool,
) {
    // SAFETY: a product writes numbers.
    let onto = if accumulate { Onto::Itself(c) } else { Onto::Nothing(unsafe { output::slots(c) }) };
    product(m, n, k, alpha, a, a_layout, b, b_layout, Entries::Stored, onto, |_, _, _| ());
}

/// `c[m, n] = op(a)[m, k] * op(b)[k, n]` into room for it.
#[allow(clippy::too_many_arguments)]
pub(crate) fn multiply_into<'a>(
    m: usize,
    n: usize,
    k: usize,
    a: &[f32],
    a_layout: Layout,
    b: &[f32],
    b_layout: Layout,
    entries: Entries,
    c: &'a mut [Slot],
) -> &'a mut [f32] {
    product(m, n, k, 1.0, a, a_layout, b, b_layout, entries, Onto::Nothing(c), |_, _, _| ())
}

/// What is multiplied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entries {
    /// The entries of B.
    Stored,
    /// Their magnitudes, made as B is copied.
    Magnitude,
}

/// Where a product goes, and what it is added to: only numbers that exist already can be added to.
pub(crate) enum Onto<'a, 'b> {
    /// Room that the product alone fills.
    Nothing(&'a mut [Slot]),
    /// Room, and the same row of n numbers for every row of C.
    Bias(&'a mut [Slot], &'b [f32]),
    /// Numbers that exist already.
    Itself(&'a mut [f32]),
}

impl<'a> Onto<'a, '_> {
    /// The sum so far.
    ///
    /// # Panics
    /// If nothing was written yet.
    pub fn numbers(self) -> &'a mut [f32] {
        match self {
            Self::Itself(numbers) => numbers,
            _ => panic!("gemm: nothing was added up"),
        }
    }
}

/// What a block begins with.
#[derive(Clone, Copy)]
enum Start<'a> {
    Zero,
    Accumulate,
    Bias(&'a [f32]),
}

/// Steps of k between two visits of a tile of C.
const DEPTH: usize = 256;
/// Columns of a block: with `DEPTH` steps of B, half of a second-level cache of 512 KiB.
const COLUMNS: usize = 256;
/// Numbers in the shared copy of B at most; beyond that C is made in several passes over its columns, and a sum that is
/// longer than `LONG` in several passes over k, so that A is not read again for every few columns.
const PACKED: usize = 1 << 21;
const LONG: usize = 1 << 12;

/// [`gemm`] that ends every block of C by calling `finish(row, columns, block row)`, while it is in the cache, for
/// each of its rows. Returns C, of which every number is written.
#[allow(clippy::too_many_arguments)]
pub(crate) fn product<'a>(
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: &[f32],
    a_layout: Layout,
    b: &[f32],
    b_layout: Layout,
    entries: Entries,
    onto: Onto<'a, '_>,
    finish: impl Fn(usize, Range<usize>, &mut [f32]) + Sync,
) -> &'a mut [f32] {
    let (c, start) = match onto {
        Onto::Nothing(c) => (c, Start::Zero),
        Onto::Bias(c, bias) => (c, Start::Bias(bias)),
        // SAFETY: numbers are written below.
        Onto::Itself(c) => (unsafe { output::slots(c) }, Start::Accumulate),
    };
    assert_eq!(a.len(), m * k, "gemm: a");
    assert_eq!(b.len(), k * n, "gemm: b");
    assert_eq!(c.len(), m * n, "gemm: c");
    if let Start::Bias(bias) = start {
        assert_eq!(bias.len(), n, "gemm: bias");
    }
    if m == 0 || n == 0 {
        return output::fill(c, 0.0);
    }
    let level = tile::best_level();
    let (a, b) = (a_layout.view(a, m, k), b_layout.view(b, k, n));
    let (total, row) = (k, n);
    let (rows, width) = (block_rows(level, m, n), COLUMNS.next_multiple_of(level.nr));
    let pass = (PACKED / k.clamp(1, LONG)).max(COLUMNS) / level.nr * level.nr;
    let pass = pass.min(n.next_multiple_of(level.nr));
    let depth = (PACKED / pass).max(DEPTH) / DEPTH * DEPTH;
    let shared = Shared::new(&mut *c);
    let mut packed = scratch::take(pack::right_len(level, k.min(depth), pass));
    for first in (0..n).step_by(pass) {
        let columns = pass.min(n - first);
        let blocks = columns.div_ceil(width);
        // With k = 0, the start must be written all the same.
        for p in (0..k.max(1)).step_by(depth) {
            let k = p..k.min(p + depth);
            // SAFETY: steps k and columns first..first + columns of the operand.
            pack_shared(level, k.len(), columns, unsafe { b.from(p, first) }, entries, &mut packed);
            let (packed, last) = (&packed, k.end == total);
            (0..m.div_ceil(rows) * blocks).into_par_iter().for_each(|task| {
                let (i, j) = (task / blocks * rows, task % blocks * width);
                let (m, n) = (rows.min(m - i), width.min(columns - j));
                let block = Block { level, i, m, j: first + j, n, k: k.clone(), alpha };
                // SAFETY: the operands were checked above; no two tasks have the same block of C, and a block writes all of its
                // numbers before `finish` sees them.
                unsafe {
                    let out = Out { start: shared.at(i * row + first + j), row };
                    let start = if p > 0 { Start::Accumulate } else { start };
                    block.run(a, Ptr::new(packed), j, columns, out, start);
                    if last {
                        for r in 0..m {
                            let made = shared.part((i + r) * row + block.j, n).assume_init_mut();
                            finish(i + r, block.j..block.j + n, made);
                        }
                    }
                }
            });
        }
    }
    // SAFETY: the blocks cover C, and the pass over the first steps wrote each of them.
    unsafe { c.assume_init_mut() }
}

/// Rows of a block: enough blocks for the threads to share, each large enough to pay for reading B.
fn block_rows(level: &Level, m: usize, n: usize) -> usize {
    let columns = n.div_ceil(COLUMNS);
    let wanted = (m * columns).div_ceil(8 * rayon::current_num_threads());
    wanted.clamp(4 * level.mr, 32 * level.mr).next_multiple_of(level.mr)
}

/// Columns `0..n` of B in tile order: for every cut of k its panels, at `p * (n rounded up)`.
fn pack_shared(level: &Level, k: usize, n: usize, b: View, entries: Entries, to: &mut [f32]) {
    let padded = n.next_multiple_of(level.nr);
    let chunk = if k * n < 1 << 14 { padded } else { 8 * level.nr };
    let chunks = n.div_ceil(chunk);
    let to = Shared::new(to);
    let job = |job: usize| {
        let (p, j) = (job / chunks * DEPTH, job % chunks * chunk);
        let steps = DEPTH.min(k - p);
        let columns = chunk.min(n - j);
        // SAFETY: every job has its own panels.
        unsafe {
            let to = to.part(p * padded + j * steps, pack::right_len(level, steps, columns));
            pack::pack_right(level, steps, columns, b.from(p, j), PtrMut::of(to));
            if entries == Entries::Magnitude {
                to.iter_mut().for_each(|v| *v = v.abs());
            }
        }
    };
    let jobs = k.div_ceil(DEPTH) * chunks;
    if k * n < 1 << 14 { (0..jobs).for_each(job) } else { (0..jobs).into_par_iter().for_each(job) }
}

/// One block of C.
struct Block<'a> {
    level: &'a Level,
    i: usize,
    m: usize,
    j: usize,
    n: usize,
    /// The steps of this pass.
    k: Range<usize>,
    alpha: f32,
}

impl Block<'_> {
    /// Sums all cuts of k. `packed` is what `pack_shared` made of `columns` columns, of which the block starts at `j`.
    unsafe fn run(&self, a: View, packed: Ptr, j: usize, columns: usize, out: Out, start: Start) {
        let Self { level, i, m, n, alpha, .. } = *self;
        let k = self.k.len();
        let padded = columns.next_multiple_of(level.nr);
        let mut strips = scratch::take(if a.column == 1 { 0 } else { pack::left_len(level, m, DEPTH.min(k)) });
        let mut source = match start {
            Start::Zero => Source::NONE,
            Start::Accumulate => out.as_source(),
            Start::Bias(bias) => Source { start: Some(Ptr::new(&bias[self.j..])), row: 0 },
        };
        // With k = 0, the start must be written all the same.
        for p in (0..k.max(1)).step_by(DEPTH) {
            let steps = DEPTH.min(k - p);
            // SAFETY: rows i..i + m and `steps` steps of A, and the panels of B from column j on.
            unsafe {
                let a = a.from(i, self.k.start + p);
                let left = if a.column == 1 {
                    Left { start: a.start, strip: level.mr * a.row, row: a.row, step: 1 }
                } else {
                    pack::pack_left(level, m, steps, a, PtrMut::of(&mut strips))
                };
                let right =
                    Right { start: packed.add(p * padded + j * steps), panel: level.nr * steps, step: level.nr };
                level.block(m, n, steps, alpha, left, right, out, source);
            }
            source = out.as_source();
        }
    }
}
