//! The forward pass of attention.

use super::{Head, Rotary, Shape, check, score_stride};
use crate::arch::dispatch;
use crate::extent::{PtrMut, Shared};
use crate::gemm::tile::{self, Left, Level, Out, Right, Source};
use crate::math::{exp2, max};
use crate::output::{Slot, make_all};
use crate::scratch;
use rayon::prelude::*;
use std::f32::consts::{LN_2, LOG2_E};

/// Strips of query rows in a tile: their scores are worked on in the first-level cache.
const STRIPS: usize = 4;

/// `[out[batch, seq, heads * head_dim], lse[batch, heads, seq]]` from `qkv[batch, seq, heads, 3 * head_dim]`.
///
/// `lse` is the natural logarithm of the sum of `exp(score)` over the visible keys.
///
/// # Panics
/// If `qkv` is not as long as `shape` says, or the tables of `rotary` are for fewer positions or wider heads.
pub fn forward(qkv: &[f32], rotary: &Rotary, shape: Shape) -> [Vec<f32>; 2] {
    check(qkv, rotary, shape);
    make_all([shape.out_len(), shape.lse_len()], |[out, lse]| {
        if !out.is_empty() {
            let out = Shared::new(&mut *out);
            lse.par_chunks_mut(shape.seq)
                .enumerate()
                .for_each(|(task, lse)| head(Head::new(qkv, rotary, shape, task), &out, lse));
        } else {
            // Heads of no width have scores of zero, and nobody reads their sums.
            crate::output::fill(lse, 0.0);
        }
        // SAFETY: every task wrote its head's columns of all rows of `out`, and its part of `lse`.
        unsafe { [out.assume_init_mut(), lse.assume_init_mut()] }
    })
}

fn head(task: Head, out: &Shared<Slot>, lse: &mut [Slot]) {
    let shape = task.shape;
    let Shape { seq, head_dim: hd, .. } = shape;
    let level = tile::best_level();
    let [q, k, v] = task.operands(level);
    let k = k.transposed(level, seq, hd);

    let (tile, stride) = (STRIPS * level.mr, score_stride(level, seq));
    let mut scores = scratch::take(tile * stride);
    for start in (0..seq).step_by(tile) {
        let rows = tile.min(seq - start);
        let keys = start + rows;
        // SAFETY: q is [seq, hd], the scores hold `rows` rows of `stride` numbers.
        unsafe {
            let s = Out { start: PtrMut::of(&mut scores), row: stride };
            level.block(rows, keys, hd, shape.scale() * LOG2_E, q.left(level, start), k.right, s, Source::NONE);
        }
        let mut factors = [0.0; 64];
        for (r, row) in scores.chunks_exact_mut(stride).take(rows).enumerate() {
            let (visible, hidden) = row[..keys].split_at_mut(start + r + 1);
            hidden.fill(0.0);
            let (top, total) = exponentials(visible);
            factors[r] = 1.0 / total;
            lse[start + r].write(LN_2 * top + total.ln());
        }
        // SAFETY: this task alone writes this head's columns; each row of it is inside `out`, and is scaled after the
        // product has written it.
        unsafe {
            let s = Out { start: PtrMut::of(&mut scores), row: stride };
            let to = Out { start: out.at(task.out_at(start)), row: shape.out_stride() };
            weighted_sum(level, rows, hd, keys, s, v.right(level, 0), to);
            for (r, factor) in factors[..rows].iter().enumerate() {
                let row = out.part(task.out_at(start + r), hd).assume_init_mut();
                row.iter_mut().for_each(|o| *o *= factor);
            }
        }
    }
}

/// `out = scores * values`.
unsafe fn weighted_sum(level: &Level, rows: usize, hd: usize, keys: usize, s: Out, v: Right, out: Out) {
    // SAFETY: the caller's promise.
    unsafe {
        let s = Left { start: s.start.as_const(), strip: level.mr * s.row, row: s.row, step: 1 };
        level.block(rows, hd, keys, 1.0, s, v, out, Source::NONE);
    }
}

/// Replaces scores s (in powers of two) by `2^(s - top)`; returns top, the largest, and the sum.
fn exponentials(row: &mut [f32]) -> (f32, f32) {
    dispatch(
        #[inline(always)]
        |isa| {
            let top = max(row);
            for v in row.iter_mut() {
                *v = exp2(isa, *v - top);
            }
            (top, crate::math::sum(row))
        },
    )
}
