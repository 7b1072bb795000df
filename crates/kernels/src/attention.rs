//! Causal self-attention with rotary position embedding (Su et al. 2021), GPT-NeoX layout, in tiles of query rows.
//!
//! For every (batch, head) the rotated queries and keys are copied once; a tile of queries then meets only the keys
//! up to its last row, so the upper triangle is skipped. The forward pass keeps the log-sum-exp of each row, from
//! which the backward pass rebuilds the probabilities (FlashAttention-2, Dao 2023).

use crate::arch::dispatch;
use crate::gemm::raw;
use crate::math::{exp, max, sum_by};
use crate::scratch::{self, Shared};
use gemm::Parallelism;
use rayon::prelude::*;

/// Sizes of one attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Sequences.
    pub batch: usize,
    /// Positions of a sequence.
    pub seq: usize,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

/// Cosines and sines of the rotary embedding.
#[derive(Clone, Debug)]
pub struct Rotary {
    half: usize,
    max_seq: usize,
    /// `[max_seq, half]`.
    cos: Vec<f32>,
    /// `[max_seq, half]`.
    sin: Vec<f32>,
}

impl Rotary {
    /// Tables for the first `dims` entries (even) of a head: angle of pair i at position p is `p * base^(-2 i / dims)`.
    ///
    /// The angle is formed in `f32` from an `f32` frequency, as the reference implementations do.
    pub fn new(dims: usize, base: f64, max_seq: usize) -> Self {
        assert!(dims.is_multiple_of(2), "rotary: dims must be even");
        let half = dims / 2;
        let frequency: Vec<f32> = (0..half).map(|i| base.powf(-2.0 * i as f64 / dims as f64) as f32).collect();
        let angles = (0..max_seq).flat_map(|p| frequency.iter().map(move |f| f64::from(p as f32 * f)));
        let (cos, sin) = angles.map(|a| (a.cos() as f32, a.sin() as f32)).unzip();
        Self { half, max_seq, cos, sin }
    }

    /// Rotates one head vector at position `p` by `direction` (1 or -1) times its angles.
    #[inline(always)]
    fn rotate(&self, p: usize, direction: f32, x: &mut [f32]) {
        let h = self.half;
        let (cos, sin) = (&self.cos[p * h..][..h], &self.sin[p * h..][..h]);
        let (x1, x2) = x[..2 * h].split_at_mut(h);
        for i in 0..h {
            let (a, b, s) = (x1[i], x2[i], direction * sin[i]);
            x1[i] = a * cos[i] - b * s;
            x2[i] = b * cos[i] + a * s;
        }
    }
}

/// Query rows of a tile.
const TILE: usize = 64;

fn check(qkv: &[f32], rotary: &Rotary, shape: Shape, out: &[f32], lse: &[f32]) {
    let Shape { batch, seq, heads, head_dim } = shape;
    assert_eq!(qkv.len(), batch * seq * heads * 3 * head_dim, "attention: qkv");
    assert_eq!(out.len(), batch * seq * heads * head_dim, "attention: out");
    assert_eq!(lse.len(), batch * heads * seq, "attention: lse");
    assert!(rotary.max_seq >= seq && 2 * rotary.half <= head_dim, "attention: rotary tables too small");
}

/// `out[batch, seq, heads * head_dim]` and `lse[batch, heads, seq]` from `qkv[batch, seq, heads, 3 * head_dim]`.
pub fn forward(qkv: &[f32], rotary: &Rotary, shape: Shape, out: &mut [f32], lse: &mut [f32]) {
    check(qkv, rotary, shape, out, lse);
    let Shape { seq, heads, head_dim: hd, .. } = shape;
    let (in_stride, out_stride) = (heads * 3 * hd, heads * hd);
    let scale = 1.0 / (hd as f32).sqrt();
    if out.is_empty() {
        return;
    }
    let out = Shared::new(out);
    lse.par_chunks_mut(seq).enumerate().for_each(|(bh, lse)| {
        let (b, h) = (bh / heads, bh % heads);
        let qkv = &qkv[b * seq * in_stride..][..seq * in_stride];
        let (q, k) = rotated(qkv, rotary, shape, h);
        let v = &qkv[h * 3 * hd + 2 * hd..];
        let mut scores = scratch::take(TILE * seq);
        for start in (0..seq).step_by(TILE) {
            let rows = TILE.min(seq - start);
            let keys = start + rows;
            // SAFETY: q and k are [seq, hd], scores holds rows * keys; v and out are strided views of this head,
            // and no other task writes this head's columns of out.
            unsafe {
                let s = scores.as_mut_ptr();
                raw(
                    rows,
                    keys,
                    hd,
                    scale,
                    q[start * hd..].as_ptr(),
                    (hd, 1),
                    k.as_ptr(),
                    (1, hd),
                    s,
                    keys,
                    false,
                    Parallelism::None,
                );
                for r in 0..rows {
                    let row = &mut scores[r * keys..][..keys];
                    lse[start + r] = softmax(row, start + r + 1);
                }
                let o = out.part((b * seq + start) * out_stride + h * hd, 1).as_mut_ptr();
                raw(
                    rows,
                    hd,
                    keys,
                    1.0,
                    scores.as_ptr(),
                    (keys, 1),
                    v.as_ptr(),
                    (in_stride, 1),
                    o,
                    out_stride,
                    false,
                    Parallelism::None,
                );
            }
        }
    });
}

/// `dqkv` (overwritten) from the gradient `g` of `out`.
pub fn backward(qkv: &[f32], rotary: &Rotary, shape: Shape, out: &[f32], lse: &[f32], g: &[f32], dqkv: &mut [f32]) {
    check(qkv, rotary, shape, out, lse);
    assert_eq!(g.len(), out.len(), "attention: g");
    assert_eq!(dqkv.len(), qkv.len(), "attention: dqkv");
    let Shape { seq, heads, head_dim: hd, .. } = shape;
    let (in_stride, out_stride) = (heads * 3 * hd, heads * hd);
    let scale = 1.0 / (hd as f32).sqrt();
    if out.is_empty() {
        return;
    }
    let dqkv = Shared::new(dqkv);
    lse.par_chunks(seq).enumerate().for_each(|(bh, lse)| {
        let (b, h) = (bh / heads, bh % heads);
        let qkv = &qkv[b * seq * in_stride..][..seq * in_stride];
        let (q, k) = rotated(qkv, rotary, shape, h);
        let v = &qkv[h * 3 * hd + 2 * hd..];
        let head = |p: usize| (b * seq + p) * out_stride + h * hd;
        let (mut p, mut ds) = (scratch::take(TILE * seq), scratch::take(TILE * seq));
        let (mut dq, mut dk, mut dv) = (scratch::take(seq * hd), scratch::zeros(seq * hd), scratch::zeros(seq * hd));
        for start in (0..seq).step_by(TILE) {
            let rows = TILE.min(seq - start);
            let keys = start + rows;
            let none = Parallelism::None;
            let (qt, gt) = (q[start * hd..].as_ptr(), g[head(start)..].as_ptr());
            // SAFETY: q, k, dq, dk, dv are [seq, hd], p and ds hold rows * keys, v and g are strided views.
            unsafe {
                raw(rows, keys, hd, scale, qt, (hd, 1), k.as_ptr(), (1, hd), p.as_mut_ptr(), keys, false, none);
                raw(
                    rows,
                    keys,
                    hd,
                    1.0,
                    gt,
                    (out_stride, 1),
                    v.as_ptr(),
                    (1, in_stride),
                    ds.as_mut_ptr(),
                    keys,
                    false,
                    none,
                );
                for r in 0..rows {
                    let i = start + r;
                    let (g, o) = (&g[head(i)..][..hd], &out[head(i)..][..hd]);
                    score_gradient(&mut p[r * keys..][..keys], &mut ds[r * keys..][..keys], i + 1, lse[i], g, o, scale);
                }
                raw(keys, hd, rows, 1.0, p.as_ptr(), (1, keys), gt, (out_stride, 1), dv.as_mut_ptr(), hd, true, none);
                raw(keys, hd, rows, 1.0, ds.as_ptr(), (1, keys), qt, (hd, 1), dk.as_mut_ptr(), hd, true, none);
                let dq = dq[start * hd..].as_mut_ptr();
                raw(rows, hd, keys, 1.0, ds.as_ptr(), (keys, 1), k.as_ptr(), (hd, 1), dq, hd, false, none);
            }
        }
        for i in 0..seq {
            // SAFETY: this task alone writes the columns of this head.
            let to = unsafe { dqkv.part((b * seq + i) * in_stride + h * 3 * hd, 3 * hd) };
            to[..hd].copy_from_slice(&dq[i * hd..][..hd]);
            to[hd..2 * hd].copy_from_slice(&dk[i * hd..][..hd]);
            to[2 * hd..].copy_from_slice(&dv[i * hd..][..hd]);
            rotary.rotate(i, -1.0, &mut to[..hd]);
            rotary.rotate(i, -1.0, &mut to[hd..2 * hd]);
        }
    });
}

/// Rotated queries and keys of head `h`, each `[seq, head_dim]`.
fn rotated(qkv: &[f32], rotary: &Rotary, shape: Shape, h: usize) -> (scratch::Scratch, scratch::Scratch) {
    let Shape { seq, heads, head_dim: hd, .. } = shape;
    let (mut q, mut k) = (scratch::take(seq * hd), scratch::take(seq * hd));
    for (i, (q, k)) in q.chunks_exact_mut(hd).zip(k.chunks_exact_mut(hd)).enumerate() {
        let from = &qkv[(i * heads + h) * 3 * hd..][..2 * hd];
        q.copy_from_slice(&from[..hd]);
        k.copy_from_slice(&from[hd..]);
        rotary.rotate(i, 1.0, q);
        rotary.rotate(i, 1.0, k);
    }
    (q, k)
}

/// Softmax over the first `visible` scores of a row, zeros behind; returns the log-sum-exp.
fn softmax(row: &mut [f32], visible: usize) -> f32 {
    dispatch(
        #[inline(always)]
        |isa| {
            let (row, hidden) = row.split_at_mut(visible);
            hidden.fill(0.0);
            let top = max(row);
            for v in row.iter_mut() {
                *v = exp(isa, *v - top);
            }
            let total = {
                let row = &*row;
                sum_by(
                    row.len(),
                    #[inline(always)]
                    |i| row[i],
                )
            };
            let factor = 1.0 / total;
            for v in row.iter_mut() {
                *v *= factor;
            }
            total.ln() + top
        },
    )
}

/// Turns a row of scores into probabilities and a row of their gradients into the gradient of the scores.
fn score_gradient(p: &mut [f32], ds: &mut [f32], visible: usize, lse: f32, g: &[f32], out: &[f32], scale: f32) {
    dispatch(
        #[inline(always)]
        |isa| {
            let (p, hidden) = p.split_at_mut(visible);
            hidden.fill(0.0);
            let (ds, hidden) = ds.split_at_mut(visible);
            hidden.fill(0.0);
            let dot = sum_by(
                g.len(),
                #[inline(always)]
                |i| g[i] * out[i],
            );
            for (p, ds) in p.iter_mut().zip(ds) {
                *p = exp(isa, *p - lse);
                *ds = *p * (*ds - dot) * scale;
            }
        },
    )
}
