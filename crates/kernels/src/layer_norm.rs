//! Layer normalisation (Ba, Kiros & Hinton 2016) over the last dimension, with weight and bias.
//!
//! `y = (x - mean) * rstd * w + b`. A row stays in the first-level cache for its three passes, so memory sees one
//! read and one write (forward) or two reads and one write (backward).
//! Backward, with `n = (x - mean) rstd` and `h = g w`: `dx = rstd (h - mean(h) - n mean(h n))`, `dw = sum g n`,
//! `db = sum g`; the sums over rows are made in pieces of 64 rows which are then added in order.

use crate::arch::{Isa, dispatch};
use crate::math::{sum, sum_by};
use crate::norm;
use crate::output::{Slot, make_all, make_output};
use crate::scratch;
use rayon::prelude::*;

/// Rows a task works on.
const ROWS: usize = 64;

/// `[y[rows, width], mean[rows], rstd[rows]]` of `x[rows, width]`, `w[width]` and `b[width]`; the last two are for the
/// backward pass. `rstd = 1 / sqrt(variance + eps)` with the biased variance.
///
/// # Panics
/// If `x` is not whole rows as long as `w`, or `b` is not as long.
pub fn forward(x: &[f32], w: &[f32], b: &[f32], eps: f32) -> [Vec<f32>; 3] {
    let width = w.len();
    let rows = rows(x, width);
    assert_eq!(b.len(), width, "layer_norm: b");
    make_all([x.len(), rows, rows], |[y, mean, rstd]| {
        y.par_chunks_mut(ROWS * width.max(1))
            .zip(x.par_chunks(ROWS * width.max(1)))
            .zip(mean.par_chunks_mut(ROWS).zip(rstd.par_chunks_mut(ROWS)))
            .for_each(|((y, x), (mean, rstd))| {
                dispatch(
                    #[inline(always)]
                    |isa| {
                        let rows = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
                        for ((y, x), (mean, rstd)) in rows.zip(mean.iter_mut().zip(rstd)) {
                            let (m, r) = forward_row(isa, x, w, b, eps, y);
                            mean.write(m);
                            rstd.write(r);
                        }
                    },
                )
            });
        // SAFETY: all have the same chunks of rows, and of each row everything was written.
        unsafe { [y.assume_init_mut(), mean.assume_init_mut(), rstd.assume_init_mut()] }
    })
}

/// Rows of `x`; without width there are none.
fn rows(x: &[f32], width: usize) -> usize {
    assert!(
        x.len().is_multiple_of(width.max(1)) && (width > 0 || x.is_empty()),
        "layer_norm: {} numbers, {width} a row",
        x.len()
    );
    x.len() / width.max(1)
}

#[inline(always)]
fn forward_row(isa: Isa, x: &[f32], w: &[f32], b: &[f32], eps: f32, y: &mut [Slot]) -> (f32, f32) {
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
        y[i].write(isa.fma((x[i] - mean) * rstd, w[i], b[i]));
    }
    (mean, rstd)
}

/// Gradients of [`forward`], `[dx[rows, width], dw[width], db[width]]`, for the gradient `g[rows, width]` of `y`.
///
/// # Panics
/// As [`forward`], and if `g`, `mean` or `rstd` do not have its rows.
pub fn backward(x: &[f32], w: &[f32], mean: &[f32], rstd: &[f32], g: &[f32]) -> [Vec<f32>; 3] {
    let width = w.len();
    let rows = rows(x, width);
    assert_eq!(g.len(), x.len(), "layer_norm: g");
    assert!(mean.len() == rows && rstd.len() == rows, "layer_norm: mean, rstd");
    if width == 0 {
        return [const { Vec::new() }; 3];
    }
    let pieces = rows.div_ceil(ROWS);
    let mut partial_w = scratch::zeros(pieces * width);
    let mut partial_b = scratch::zeros(pieces * width);
    let dx = make_output(x.len(), |dx| {
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
        // SAFETY: as in `forward`.
        unsafe { dx.assume_init_mut() }
    });
    [dx, norm::sum_rows(&partial_w, width), norm::sum_rows(&partial_b, width)]
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
    dx: &mut [Slot],
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
        dx[i].write(rstd * (g[i] * w[i] - mean_h - normal * mean_hn));
        dw[i] = isa.fma(g[i], normal, dw[i]);
        db[i] += g[i];
    }
}
