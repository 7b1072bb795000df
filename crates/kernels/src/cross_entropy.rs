//! Unembedding and softmax cross-entropy in one, in chunks of rows: the logits of a batch never exist at once.

use crate::arch::dispatch;
use crate::gemm::{self, Entries, Layout, Onto};
use crate::math::{exp, max, sum};
use crate::output::{self, Slot, make_all};
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

/// `nll[i] = log sum_j exp(x_i . w_j) - x_i . w_target(i)`, in nats, of `x[rows, dim]`, `w[vocab, dim]` and one target a row.
///
/// # Panics
/// If a slice is not as long as `dims` says, or a target is not below `vocab`.
pub fn forward(x: &[f32], w: &[f32], targets: &[u32], dims: HeadDims) -> Vec<f32> {
    check(x, w, targets, dims);
    let mut nll = vec![0.0; dims.rows];
    let mut room = Room::new(dims);
    for (c, nll) in nll.chunks_mut(ROWS).enumerate() {
        let chunk = Chunk::new(c, x, targets, dims);
        chunk.softmax(w, None, nll, room.rows(chunk.rows));
    }
    nll
}

/// [`forward`], and the gradients of `scale * sum(nll)`: `[nll[rows], dx[rows, dim], dw[vocab, dim]]`.
///
/// # Panics
/// As [`forward`].
pub fn forward_backward(x: &[f32], w: &[f32], targets: &[u32], scale: f32, dims: HeadDims) -> [Vec<f32>; 3] {
    check(x, w, targets, dims);
    let HeadDims { dim, vocab, .. } = dims;
    let mut nll = vec![0.0; dims.rows];
    let [dx, dw] = make_all([x.len(), w.len()], |[dx, dw]| {
        let mut room = Room::new(dims);
        let mut dw = if dims.rows == 0 { Onto::Itself(output::fill(dw, 0.0)) } else { Onto::Nothing(dw) };
        for (c, nll) in nll.chunks_mut(ROWS).enumerate() {
            let chunk = Chunk::new(c, x, targets, dims);
            let logits = &*chunk.softmax(w, Some(scale), nll, room.rows(chunk.rows));
            let dx = &mut dx[c * ROWS * dim..][..chunk.rows * dim];
            let (normal, transposed, stored) = (Layout::Normal, Layout::Transposed, Entries::Stored);
            gemm::multiply_into(chunk.rows, dim, vocab, logits, normal, w, normal, stored, dx);
            let sum = gemm::product(
                vocab,
                dim,
                chunk.rows,
                1.0,
                logits,
                transposed,
                chunk.x,
                normal,
                stored,
                dw,
                |_, _, _| (),
            );
            dw = Onto::Itself(sum);
        }
        // SAFETY: every chunk wrote its rows of dx.
        [unsafe { dx.assume_init_mut() }, dw.numbers()]
    });
    [nll, dx, dw]
}

/// Memory for the logits of a chunk.
struct Room {
    logits: Vec<f32>,
    vocab: usize,
}

impl Room {
    fn new(dims: HeadDims) -> Self {
        Self { logits: Vec::with_capacity(ROWS.min(dims.rows) * dims.vocab), vocab: dims.vocab }
    }

    fn rows(&mut self, rows: usize) -> &mut [Slot] {
        &mut self.logits.spare_capacity_mut()[..rows * self.vocab]
    }
}

/// Rows of which the logits exist at the same time.
struct Chunk<'a> {
    rows: usize,
    x: &'a [f32],
    targets: &'a [u32],
    dims: HeadDims,
}

impl<'a> Chunk<'a> {
    fn new(number: usize, x: &'a [f32], targets: &'a [u32], dims: HeadDims) -> Self {
        let first = number * ROWS;
        let rows = ROWS.min(dims.rows - first);
        Self { rows, x: &x[first * dims.dim..][..rows * dims.dim], targets: &targets[first..][..rows], dims }
    }

    /// Writes the losses of the rows; returns their logits, or with a scale the gradients of these.
    fn softmax<'b>(&self, w: &[f32], scale: Option<f32>, nll: &mut [f32], room: &'b mut [Slot]) -> &'b mut [f32] {
        let HeadDims { dim, vocab, .. } = self.dims;
        let (normal, transposed) = (Layout::Normal, Layout::Transposed);
        let logits = gemm::multiply_into(self.rows, vocab, dim, self.x, normal, w, transposed, Entries::Stored, room);
        logits.par_chunks_mut(vocab).zip(nll).zip(self.targets).for_each(|((row, nll), &target)| {
            *nll = softmax(row, target as usize, scale);
        });
        logits
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

fn check(x: &[f32], w: &[f32], targets: &[u32], dims: HeadDims) {
    assert_eq!(x.len(), dims.rows * dims.dim, "cross_entropy: x");
    assert_eq!(w.len(), dims.vocab * dims.dim, "cross_entropy: w");
    assert_eq!(targets.len(), dims.rows, "cross_entropy: targets");
    assert!(targets.iter().all(|&t| (t as usize) < dims.vocab), "cross_entropy: target outside the vocabulary");
}
