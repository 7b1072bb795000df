//! Unembedding and softmax cross-entropy in one, in chunks of rows: the logits of a batch never exist at once.

use crate::arch::dispatch;
use crate::gemm::{Layout, gemm};
use crate::math::{exp, max, sum};
use crate::scratch::unwritten;
use rayon::prelude::*;

/// Sizes of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadDims {
    /// Tokens.
    pub rows: usize,
    /// Width of the hidden state.
    pub dim: usize,
    /// Rows of the unembedding, padded vocabulary included.
    pub vocab: usize,
}

/// Rows of which the logits exist at a time. Their memory is given back at the end, not kept as scratch: it is as large as a
/// layer's activations, and the backward pass can use it.
const ROWS: usize = 256;

/// `nll[i] = log sum_j exp(x_i . w_j) - x_i . w_target(i)`, in nats.
pub fn forward(x: &[f32], w: &[f32], targets: &[u32], nll: &mut [f32], dims: HeadDims) {
    check(x, w, targets, nll, dims);
    let mut logits = unwritten(ROWS.min(dims.rows) * dims.vocab);
    for (c, nll) in nll.chunks_mut(ROWS).enumerate() {
        let rows = nll.len();
        let x = &x[c * ROWS * dims.dim..][..rows * dims.dim];
        let logits = &mut logits[..rows * dims.vocab];
        gemm(rows, dims.vocab, dims.dim, 1.0, x, Layout::Normal, w, Layout::Transposed, logits, false);
        let targets = &targets[c * ROWS..][..rows];
        logits.par_chunks_mut(dims.vocab).zip(nll).zip(targets).for_each(|((row, nll), &target)| {
            *nll = softmax(row, target as usize, None);
        });
    }
}

/// [`forward`], and the gradient of `scale * sum(nll)`: `dx[rows, dim]` and `dw[vocab, dim]`, both overwritten.
#[allow(clippy::too_many_arguments)]
pub fn forward_backward(
    x: &[f32],
    w: &[f32],
    targets: &[u32],
    scale: f32,
    nll: &mut [f32],
    dx: &mut [f32],
    dw: &mut [f32],
    dims: HeadDims,
) {
    check(x, w, targets, nll, dims);
    assert_eq!(dx.len(), x.len(), "cross_entropy: dx");
    assert_eq!(dw.len(), w.len(), "cross_entropy: dw");
    if dims.rows == 0 {
        dw.fill(0.0);
    }
    let mut logits = unwritten(ROWS.min(dims.rows) * dims.vocab);
    for (c, nll) in nll.chunks_mut(ROWS).enumerate() {
        let rows = nll.len();
        let x = &x[c * ROWS * dims.dim..][..rows * dims.dim];
        let dx = &mut dx[c * ROWS * dims.dim..][..rows * dims.dim];
        let logits = &mut logits[..rows * dims.vocab];
        gemm(rows, dims.vocab, dims.dim, 1.0, x, Layout::Normal, w, Layout::Transposed, logits, false);
        let targets = &targets[c * ROWS..][..rows];
        logits.par_chunks_mut(dims.vocab).zip(nll).zip(targets).for_each(|((row, nll), &target)| {
            *nll = softmax(row, target as usize, Some(scale));
        });
        gemm(rows, dims.dim, dims.vocab, 1.0, logits, Layout::Normal, w, Layout::Normal, dx, false);
        gemm(dims.vocab, dims.dim, rows, 1.0, logits, Layout::Transposed, x, Layout::Normal, dw, c > 0);
    }
}

/// Returns the negative log-likelihood; with a scale, replaces the logits by their gradient.
fn softmax(row: &mut [f32], target: usize, scale: Option<f32>) -> f32 {
    dispatch(
        #[inline(always)]
        |isa| {
            let top = max(row);
            let logit = row[target];
            for v in row.iter_mut() {
                *v = exp(isa, *v - top);
            }
            let total = sum(row);
            if let Some(scale) = scale {
                let factor = scale / total;
                for v in row.iter_mut() {
                    *v *= factor;
                }
                row[target] -= scale;
            }
            total.ln() + top - logit
        },
    )
}

fn check(x: &[f32], w: &[f32], targets: &[u32], nll: &[f32], dims: HeadDims) {
    assert_eq!(x.len(), dims.rows * dims.dim, "cross_entropy: x");
    assert_eq!(w.len(), dims.vocab * dims.dim, "cross_entropy: w");
    assert!(targets.len() == dims.rows && nll.len() == dims.rows, "cross_entropy: targets, nll");
    assert!(targets.iter().all(|&t| (t as usize) < dims.vocab), "cross_entropy: target outside the vocabulary");
}
