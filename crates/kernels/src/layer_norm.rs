//! Layer normalisation (Ba, Kiros & Hinton 2016) over the last dimension, with weight and bias.
//!
//! `y = (x - mean) * rstd * w + b`. A row stays in the first-level cache for its three passes, so memory sees one
//! read and one write (forward) or two reads and one write (backward).
//! Backward, with `n = (x - mean) rstd` and `h = g w`: `dx = rstd (h - mean(h) - n mean(h n))`, `dw = sum g n`,
//! `db = sum g`; the sums over rows are made in pieces of 64 rows which are then added in order.

use crate::arch::{Isa, dispatch};
use crate::math::{sum, sum_by};
use crate::norm;
use crate::scratch;
use rayon::prelude::*;

/// Rows a task works on.
const ROWS: usize = 64;

/// `y[rows, width]`, and `mean[rows]` and `rstd[rows]` for the backward pass. `rstd = 1 / sqrt(variance + eps)` with
/// the biased variance.
pub fn forward(x: &[f32], w: &[f32], b: &[f32], eps: f32, y: &mut [f32], mean: &mut [f32], rstd: &mut [f32]) {
    let (rows, width) = (mean.len(), w.len());
    assert!(x.len() == rows * width && y.len() == rows * width, "layer_norm: x, y");
    assert!(b.len() == width && rstd.len() == rows, "layer_norm: b, rstd");
    if width == 0 {
        return;
    }
    y.par_chunks_mut(ROWS * width)
        .zip(x.par_chunks(ROWS * width))
        .zip(mean.par_chunks_mut(ROWS).zip(rstd.par_chunks_mut(ROWS)))
        .for_each(|((y, x), (mean, rstd))| {
            dispatch(
                #[inline(always)]
                |isa| {
                    let rows = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
                    for ((y, x), (mean, rstd)) in rows.zip(mean.iter_mut().zip(rstd)) {
                        (*mean, *rstd) = forward_row(isa, x, w, b, eps, y);
                    }
                },
            )
        });
}

#[inline(always)]
fn forward_row(isa: Isa, x: &[f32], w: &[f32], b: &[f32], eps: f32, y: &mut [f32]) -> (f32, f32) {
    let n = x.len();
    let (w, b, y) = (&w[..n], &b[..n], &mut y[..n]);
    let mean = sum(x) / n as f32;
    let variance = sum_by(
        [x],
        #[inline(always)]
        |[x]| (x - mean) * (x - mean),
    ) / n as f32;
    let rstd = 1.0 / (variance + eps).sqrt();
    for i in 0..n {
        y[i] = isa.fma((x[i] - mean) * rstd, w[i], b[i]);
    }
    (mean, rstd)
}

/// Gradients of [`forward`]: `dx[rows, width]`, `dw[width]`, `db[width]`, all overwritten.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    x: &[f32],
    w: &[f32],
    mean: &[f32],
    rstd: &[f32],
    g: &[f32],
    dx: &mut [f32],
    dw: &mut [f32],
    db: &mut [f32],
) {
    let (rows, width) = (mean.len(), w.len());
    assert!(x.len() == rows * width && g.len() == rows * width && dx.len() == rows * width, "layer_norm: x, g, dx");
    assert!(rstd.len() == rows && dw.len() == width && db.len() == width, "layer_norm: rstd, dw, db");
    if width == 0 {
        return;
    }
    let pieces = rows.div_ceil(ROWS);
    let mut partial_w = scratch::zeros(pieces * width);
    let mut partial_b = scratch::zeros(pieces * width);
    dx.par_chunks_mut(ROWS * width)
        .zip(x.par_chunks(ROWS * width).zip(g.par_chunks(ROWS * width)))
        .zip(mean.par_chunks(ROWS).zip(rstd.par_chunks(ROWS)))
        .zip(partial_w.par_chunks_mut(width).zip(partial_b.par_chunks_mut(width)))
        .for_each(|(((dx, (x, g)), (mean, rstd)), (pw, pb))| {
            dispatch(
                #[inline(always)]
                |isa| {
                    let rows = dx.chunks_exact_mut(width).zip(x.chunks_exact(width).zip(g.chunks_exact(width)));
                    for ((dx, (x, g)), (&mean, &rstd)) in rows.zip(mean.iter().zip(rstd)) {
                        backward_row(isa, x, w, mean, rstd, g, dx, pw, pb);
                    }
                },
            )
        });
    norm::sum_rows(&partial_w, dw);
    norm::sum_rows(&partial_b, db);
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn backward_row(
    isa: Isa,
    x: &[f32],
    w: &[f32],
    mean: f32,
    rstd: f32,
    g: &[f32],
    dx: &mut [f32],
    dw: &mut [f32],
    db: &mut [f32],
) {
    let n = x.len();
    let (w, g, dx, dw, db) = (&w[..n], &g[..n], &mut dx[..n], &mut dw[..n], &mut db[..n]);
    let mean_h = sum_by(
        [g, w],
        #[inline(always)]
        |[g, w]| g * w,
    ) / n as f32;
    let mean_hn = sum_by(
        [g, w, x],
        #[inline(always)]
        |[g, w, x]| g * w * ((x - mean) * rstd),
    ) / n as f32;
    for i in 0..n {
        let normal = (x[i] - mean) * rstd;
        dx[i] = rstd * (g[i] * w[i] - mean_h - normal * mean_hn);
        dw[i] = isa.fma(g[i], normal, dw[i]);
        db[i] += g[i];
    }
}
