//! The backward pass of attention.
//!
//! With P the probabilities, S the scores, O the output and G its gradient:
//! `dV = P^T G`, `dP = G V^T`, `dS = P (dP - rowsum(G O))`, `dQ = scale dS K`, `dK = scale dS^T Q`;
//! dQ and dK are rotated back at the end.

use super::{Head, Rotary, Rows, Shape, check, score_stride};
use crate::arch::dispatch;
use crate::extent::{PtrMut, Shared};
use crate::gemm::tile::{self, Left, Level, Out, Right, Source};
use crate::math::{exp2, sum_by};
use crate::output::{Slot, make_output};
use crate::scratch::{self, Scratch};
use rayon::prelude::*;
use std::f32::consts::LOG2_E;

/// Strips of query rows in a tile: many enough to pay for visiting all of dK and dV once a tile.
const STRIPS: usize = 8;

/// The results of the forward pass, and the gradient of `out`.
#[derive(Clone, Copy)]
struct Past<'a> {
    out: &'a [f32],
    lse: &'a [f32],
    g: &'a [f32],
}

/// `dqkv[batch, seq, heads, 3 * head_dim]` from the gradient `g` of `out`; `out` and `lse` are those of the forward pass.
///
/// # Panics
/// If a slice is not as long as `shape` says, or the tables of `rotary` are for fewer positions or wider heads.
pub fn backward(qkv: &[f32], rotary: &Rotary, shape: Shape, out: &[f32], lse: &[f32], g: &[f32]) -> Vec<f32> {
    check(qkv, rotary, shape);
    assert_eq!(out.len(), shape.out_len(), "attention: out");
    assert_eq!(lse.len(), shape.lse_len(), "attention: lse");
    assert_eq!(g.len(), out.len(), "attention: g");
    let past = Past { out, lse, g };
    make_output(qkv.len(), |dqkv| {
        let shared = Shared::new(&mut *dqkv);
        if !out.is_empty() {
            let heads = shape.batch * shape.heads;
            (0..heads).into_par_iter().for_each(|task| head(Head::new(qkv, rotary, shape, task), past, task, &shared));
        }
        // SAFETY: every task wrote its head's columns of all rows; without a task there is nothing to write.
        unsafe { dqkv.assume_init_mut() }
    })
}

fn head(task: Head, past: Past, number: usize, dqkv: &Shared<Slot>) {
    let shape = task.shape;
    let Shape { seq, head_dim: hd, .. } = shape;
    let (level, scale) = (tile::best_level(), shape.scale());
    let Past { out, lse, g: gradient } = past;
    let lse = &lse[number * seq..][..seq];
    let [q, k, v] = task.operands(level);
    let g = Rows::new(level, seq, hd, |p, row| {
        row.write_copy_of_slice(task.row(gradient, p));
    });
    let (kt, vt) = (k.transposed(level, seq, hd), v.transposed(level, seq, hd));

    let (tile, stride, width) = (STRIPS * level.mr, score_stride(level, seq), q.width);
    let (mut p, mut ds) = (scratch::take(tile * stride), scratch::take(tile * stride));
    let (mut dq, mut dk, mut dv) =
        (scratch::take(seq * width), scratch::zeros(seq * width), scratch::zeros(seq * width));
    for start in (0..seq).step_by(tile) {
        let rows = tile.min(seq - start);
        let keys = start + rows;
        let scores = |of: &mut Scratch| Out { start: PtrMut::of(of), row: stride };
        // SAFETY: all operands are [seq, width], p and ds hold `rows` rows of `stride` numbers.
        unsafe {
            let (p, ds) = (scores(&mut p), scores(&mut ds));
            level.block(rows, keys, hd, scale * LOG2_E, q.left(level, start), kt.right, p, Source::NONE);
            level.block(rows, keys, hd, 1.0, g.left(level, start), vt.right, ds, Source::NONE);
        }
        for (r, (p, ds)) in p.chunks_exact_mut(stride).zip(ds.chunks_exact_mut(stride)).take(rows).enumerate() {
            let (p, hidden) = p[..keys].split_at_mut(start + r + 1);
            hidden.fill(0.0);
            let (ds, hidden) = ds[..keys].split_at_mut(start + r + 1);
            hidden.fill(0.0);
            let position = start + r;
            score_gradient(p, ds, lse[position], task.row(gradient, position), task.row(out, position));
        }
        // SAFETY: as above; dq, dk and dv are [seq, width].
        unsafe {
            let (p, ds) = (scores(&mut p), scores(&mut ds));
            let to = |x: &mut [f32], p: usize| Out { start: PtrMut::of(&mut x[p * width..]), row: width };
            let left = Left { start: ds.start.as_const(), strip: level.mr * stride, row: stride, step: 1 };
            level.block(rows, hd, keys, scale, left, k.right(level, 0), to(&mut dq, start), Source::NONE);
            transposed_sum(level, keys, hd, rows, 1.0, p, g.right(level, start), to(&mut dv, 0));
            transposed_sum(level, keys, hd, rows, scale, ds, q.right(level, start), to(&mut dk, 0));
        }
    }
    for i in 0..seq {
        // SAFETY: this task alone writes the columns of this head.
        let to = unsafe { dqkv.part(task.qkv_at(i), 3 * hd) };
        let (to_q, rest) = to.split_at_mut(hd);
        let (to_k, to_v) = rest.split_at_mut(hd);
        let row = i * width..i * width + hd;
        task.rotary.rotate(i, -1.0, &dq[row.clone()], to_q);
        task.rotary.rotate(i, -1.0, &dk[row.clone()], to_k);
        to_v.write_copy_of_slice(&dv[row]);
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
        let left = Left { start: s.start.as_const(), strip: level.mr, row: 1, step: s.row };
        level.block(keys, hd, rows, alpha, left, right, out, out.as_source());
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
