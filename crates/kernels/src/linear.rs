//! Affine map with the weight as a checkpoint stores it, `[outputs, inputs]`.
//!
//! The bias is where the sums of the product begin, and GELU is applied to a block of it that is still in the
//! second-level cache.

use crate::gelu::{self, Gelu};
use crate::gemm::{self, Entries, Layout, Start};
use crate::norm;
use crate::scratch::{self, Shared};
use rayon::prelude::*;
use std::ops::Range;

/// Sizes of one affine map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Rows of the input and of the output: tokens of the batch.
    pub rows: usize,
    /// Width of the input.
    pub inputs: usize,
    /// Width of the output.
    pub outputs: usize,
}

/// Rows whose bias gradient is summed in one piece.
const BIAS_ROWS: usize = 64;

/// `y[rows, outputs] = x[rows, inputs] w[outputs, inputs]^T + bias[outputs]`.
pub fn forward(x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32], dims: Dims) {
    product(x, w, bias, y, dims, |_, _, _| ());
}

/// `pre = x w^T + bias`, `y = gelu(pre)`, both `[rows, outputs]`.
pub fn forward_gelu(
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    kind: Gelu,
    pre: &mut [f32],
    y: &mut [f32],
    dims: Dims,
) {
    assert_eq!(y.len(), dims.rows * dims.outputs, "linear: y");
    let y = Shared::new(y);
    product(x, w, bias, pre, dims, |row, columns, pre| {
        // SAFETY: the blocks of a product do not overlap, so neither do these parts.
        let y = unsafe { y.part(row * dims.outputs + columns.start, pre.len()) };
        gelu::forward_chunk(kind, pre, y);
    });
}

/// The product with the transposed weight; `finish` sees each row of a block while it is in the cache.
fn product(
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    d: Dims,
    finish: impl Fn(usize, Range<usize>, &mut [f32]) + Sync,
) {
    let start = bias.map_or(Start::Zero, Start::Bias);
    let (normal, transposed) = (Layout::Normal, Layout::Transposed);
    gemm::product(d.rows, d.outputs, d.inputs, 1.0, x, normal, w, transposed, Entries::Stored, y, start, finish);
}

/// `dx[rows, inputs] = g[rows, outputs] w[outputs, inputs]`.
pub fn backward_input(g: &[f32], w: &[f32], dx: &mut [f32], dims: Dims) {
    gemm::gemm(dims.rows, dims.inputs, dims.outputs, 1.0, g, Layout::Normal, w, Layout::Normal, dx, false);
}

/// `dw[outputs, inputs] = g[rows, outputs]^T x[rows, inputs]`.
pub fn backward_weight(g: &[f32], x: &[f32], dw: &mut [f32], dims: Dims) {
    gemm::gemm(dims.outputs, dims.inputs, dims.rows, 1.0, g, Layout::Transposed, x, Layout::Normal, dw, false);
}

/// `db[outputs]` = sum of the rows of `g[rows, outputs]`, in pieces of 64 rows added up in order.
pub fn backward_bias(g: &[f32], db: &mut [f32], dims: Dims) {
    assert_eq!(g.len(), dims.rows * dims.outputs, "linear: g");
    assert_eq!(db.len(), dims.outputs, "linear: db");
    if db.is_empty() {
        return;
    }
    let width = dims.outputs;
    let mut partial = scratch::zeros(dims.rows.div_ceil(BIAS_ROWS) * width);
    partial.par_chunks_mut(width).zip(g.par_chunks(BIAS_ROWS * width)).for_each(|(sum, rows)| {
        for row in rows.chunks_exact(width) {
            norm::add(row, sum);
        }
    });
    norm::sum_rows(&partial, db);
}
