//! The forward pass of attention.

use super::{Rotary, Rows, Shape, check, score_stride};
use crate::arch::dispatch;
use crate::gemm::tile::{self, Left, Level, Out, Right, Source};
use crate::math::{exp2, max};
use crate::scratch::{self, Shared};
use rayon::prelude::*;
use std::f32::consts::{LN_2, LOG2_E};

/// Strips of query rows in a tile: their scores are worked on in the first-level cache.
const STRIPS: usize = 4;

/// `out[batch, seq, heads * head_dim]` and `lse[batch, heads, seq]` from `qkv[batch, seq, heads, 3 * head_dim]`.
///
/// `lse` is the natural logarithm of the sum of `exp(score)` over the visible keys.
pub fn forward(qkv: &[f32], rotary: &Rotary, shape: Shape, out: &mut [f32], lse: &mut [f32]) {
    check(qkv, rotary, shape, out, lse);
    if out.is_empty() {
        return;
    }
    let out = Shared::new(out);
    lse.par_chunks_mut(shape.seq).enumerate().for_each(|(task, lse)| {
        head(qkv, rotary, shape, task / shape.heads, task % shape.heads, &out, lse);
    });
}

fn head(qkv: &[f32], rotary: &Rotary, shape: Shape, b: usize, h: usize, out: &Shared, lse: &mut [f32]) {
    let Shape { seq, head_dim: hd, .. } = shape;
    let level = tile::level();
    let part = |p: usize, part: usize| &qkv[shape.qkv_at(b, p, h) + part * hd..][..hd];
    let q = Rows::new(level, seq, hd, |p, row| rotary.rotate(p, 1.0, part(p, 0), row));
    let k = Rows::new(level, seq, hd, |p, row| rotary.rotate(p, 1.0, part(p, 1), row));
    let v = Rows::new(level, seq, hd, |p, row| row.copy_from_slice(part(p, 2)));
    let k = k.transposed(level, seq, hd);

    let (tile, stride) = (STRIPS * level.mr, score_stride(level, seq));
    let mut scores = scratch::take(tile * stride);
    for start in (0..seq).step_by(tile) {
        let rows = tile.min(seq - start);
        let keys = start + rows;
        let s = Out { start: scores.as_mut_ptr(), row: stride };
        // SAFETY: q is [seq, hd], the scores hold `rows` rows of `stride` numbers.
        unsafe {
            let q = Left { start: q.row(start), strip: level.mr * q.width, row: q.width, step: 1 };
            level.block(rows, keys, hd, shape.scale() * LOG2_E, q, k.right, s, Source::NONE);
        }
        let mut factors = [0.0; 64];
        for (r, row) in scores.chunks_exact_mut(stride).take(rows).enumerate() {
            let (visible, hidden) = row[..keys].split_at_mut(start + r + 1);
            hidden.fill(0.0);
            let (top, total) = exponentials(visible);
            factors[r] = 1.0 / total;
            lse[start + r] = LN_2 * top + total.ln();
        }
        // SAFETY: this task alone writes this head's columns; each row of it is inside `out`.
        unsafe {
            let to = Out { start: out.part(shape.out_at(b, start, h), hd).as_mut_ptr(), row: shape.out_stride() };
            weighted_sum(level, rows, hd, keys, s, v.right(level, 0), to);
            for (r, factor) in factors[..rows].iter().enumerate() {
                out.part(shape.out_at(b, start + r, h), hd).iter_mut().for_each(|o| *o *= factor);
            }
        }
    }
}

/// `out = scores * values`.
unsafe fn weighted_sum(level: &Level, rows: usize, hd: usize, keys: usize, s: Out, v: Right, out: Out) {
    // SAFETY: the caller's promise.
    unsafe {
        let s = Left { start: s.start, strip: level.mr * s.row, row: s.row, step: 1 };
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
