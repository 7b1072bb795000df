//! Affine map with the weight as a checkpoint stores it, `[outputs, inputs]`.
//!
//! Rows are worked off in blocks that stay in the second-level cache, so bias and GELU read what the product has
//! just written.

use crate::gelu::{self, Gelu};
use crate::gemm::{self, Layout};
use crate::norm;
use crate::scratch;
use rayon::prelude::*;

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
    gemm::gemm(dims.rows, dims.outputs, dims.inputs, 1.0, x, Layout::Normal, w, Layout::Transposed, y, false);
    if let Some(bias) = bias {
        add_bias(bias, y, dims);
    }
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
    forward(x, w, bias, pre, dims);
    gelu::forward(kind, pre, y);
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

fn add_bias(bias: &[f32], y: &mut [f32], dims: Dims) {
    assert_eq!(bias.len(), dims.outputs, "linear: bias");
    if !bias.is_empty() {
        y.par_chunks_mut(dims.outputs * 16).for_each(|rows| {
            rows.chunks_exact_mut(dims.outputs).for_each(|row| norm::add(bias, row));
        });
    }
}
