//! The backward pass of attention.
//!
//! With P the probabilities, S the scores, O the output and G its gradient:
//! `dV = P^T G`, `dP = G V^T`, `dS = P (dP - rowsum(G O))`, `dQ = scale dS K`, `dK = scale dS^T Q`;
//! dQ and dK are rotated back at the end.

use super::{Rotary, Rows, Shape, check, score_stride};
use crate::arch::dispatch;
use crate::gemm::tile::{self, Left, Level, Out, Right, Source};
use crate::math::{exp2, sum_by};
use crate::scratch::{self, Shared};
use rayon::prelude::*;
use std::f32::consts::LOG2_E;

/// Strips of query rows in a tile: many enough to pay for visiting all of dK and dV once a tile.
const STRIPS: usize = 8;

/// `dqkv` (overwritten) from the gradient `g` of `out`; `out` and `lse` are those of the forward pass.
pub fn backward(qkv: &[f32], rotary: &Rotary, shape: Shape, out: &[f32], lse: &[f32], g: &[f32], dqkv: &mut [f32]) {
    check(qkv, rotary, shape, out, lse);
    assert_eq!(g.len(), out.len(), "attention: g");
    assert_eq!(dqkv.len(), qkv.len(), "attention: dqkv");
    if out.is_empty() {
        return;
    }
    let dqkv = Shared::new(dqkv);
    lse.par_chunks(shape.seq).enumerate().for_each(|(task, lse)| {
        let (b, h) = (task / shape.heads, task % shape.heads);
        head(qkv, rotary, shape, b, h, out, lse, g, &dqkv);
    });
}

#[allow(clippy::too_many_arguments)]
fn head(
    qkv: &[f32],
    rotary: &Rotary,
    shape: Shape,
    b: usize,
    h: usize,
    out: &[f32],
    lse: &[f32],
    g: &[f32],
    dqkv: &Shared,
) {
    let Shape { seq, head_dim: hd, .. } = shape;
    let (level, scale) = (tile::level(), shape.scale());
    let part = |p: usize, part: usize| &qkv[shape.qkv_at(b, p, h) + part * hd..][..hd];
    let of_out = |x: &'static str, p: usize| match x {
        "g" => &g[shape.out_at(b, p, h)..][..hd],
        _ => &out[shape.out_at(b, p, h)..][..hd],
    };
    let q = Rows::new(level, seq, hd, |p, row| rotary.rotate(p, 1.0, part(p, 0), row));
    let k = Rows::new(level, seq, hd, |p, row| rotary.rotate(p, 1.0, part(p, 1), row));
    let v = Rows::new(level, seq, hd, |p, row| row.copy_from_slice(part(p, 2)));
    let g = Rows::new(level, seq, hd, |p, row| row.copy_from_slice(of_out("g", p)));
    let (kt, vt) = (k.transposed(level, seq, hd), v.transposed(level, seq, hd));

    let (tile, stride, width) = (STRIPS * level.mr, score_stride(level, seq), q.width);
    let (mut p, mut ds) = (scratch::take(tile * stride), scratch::take(tile * stride));
    let (mut dq, mut dk, mut dv) =
        (scratch::take(seq * width), scratch::zeros(seq * width), scratch::zeros(seq * width));
    for start in (0..seq).step_by(tile) {
        let rows = tile.min(seq - start);
        let keys = start + rows;
        let (po, dso) = (Out { start: p.as_mut_ptr(), row: stride }, Out { start: ds.as_mut_ptr(), row: stride });
        // SAFETY: all operands are [seq, width], p and ds hold `rows` rows of `stride` numbers.
        unsafe {
            let strips = |x: &Rows| Left { start: x.row(start), strip: level.mr * width, row: width, step: 1 };
            level.block(rows, keys, hd, scale * LOG2_E, strips(&q), kt.right, po, Source::NONE);
            level.block(rows, keys, hd, 1.0, strips(&g), vt.right, dso, Source::NONE);
        }
        for (r, (p, ds)) in p.chunks_exact_mut(stride).zip(ds.chunks_exact_mut(stride)).take(rows).enumerate() {
            let (p, hidden) = p[..keys].split_at_mut(start + r + 1);
            hidden.fill(0.0);
            let (ds, hidden) = ds[..keys].split_at_mut(start + r + 1);
            hidden.fill(0.0);
            score_gradient(p, ds, lse[start + r], of_out("g", start + r), of_out("out", start + r));
        }
        // SAFETY: as above; dq, dk and dv are [seq, width].
        unsafe {
            let to = |x: &mut [f32], p: usize| Out { start: x[p * width..].as_mut_ptr(), row: width };
            let left = Left { start: dso.start, strip: level.mr * stride, row: stride, step: 1 };
            level.block(rows, hd, keys, scale, left, k.right(level, 0), to(&mut dq, start), Source::NONE);
            transposed_sum(level, keys, hd, rows, 1.0, po, g.right(level, start), to(&mut dv, 0));
            transposed_sum(level, keys, hd, rows, scale, dso, q.right(level, start), to(&mut dk, 0));
        }
    }
    for i in 0..seq {
        // SAFETY: this task alone writes the columns of this head.
        let to = unsafe { dqkv.part(shape.qkv_at(b, i, h), 3 * hd) };
        let row =
            |x: &scratch::Scratch| -> &[f32] { unsafe { std::slice::from_raw_parts(x.as_ptr().add(i * width), hd) } };
        rotary.rotate(i, -1.0, row(&dq), &mut to[..hd]);
        rotary.rotate(i, -1.0, row(&dk), &mut to[hd..2 * hd]);
        to[2 * hd..].copy_from_slice(row(&dv));
    }
}

/// `out[keys, hd] += alpha * s[rows, keys]^T * right[rows, hd]`.
#[allow(clippy::too_many_arguments)]
unsafe fn transposed_sum(
    level: &Level,
    keys: usize,
    hd: usize,
    rows: usize,
    alpha: f32,
    s: Out,
    right: Right,
    out: Out,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let left = Left { start: s.start, strip: level.mr, row: 1, step: s.row };
        level.block(keys, hd, rows, alpha, left, right, out, out.itself());
    }
}

/// Turns a row of scores (in powers of two) into probabilities and a row of dP into dS.
fn score_gradient(p: &mut [f32], ds: &mut [f32], lse: f32, g: &[f32], out: &[f32]) {
    dispatch(
        #[inline(always)]
        |isa| {
            let dot = sum_by(
                [g, out],
                #[inline(always)]
                |[g, out]| g * out,
            );
            let lse = lse * LOG2_E;
            for (p, ds) in p.iter_mut().zip(ds) {
                *p = exp2(isa, *p - lse);
                *ds = *p * (*ds - dot);
            }
        },
    )
}
