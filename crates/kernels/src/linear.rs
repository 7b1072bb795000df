//! Affine map with the weight as a checkpoint stores it, `[outputs, inputs]`.
//!
//! The bias is where the sums of the product begin, and GELU is applied to a block of it that is still in the
//! second-level cache.

use crate::extent::Shared;
use crate::gelu::{self, Gelu};
use crate::gemm::{self, Entries, Layout, Onto};
use crate::norm;
use crate::output::{Slot, make_all, make_output};
use crate::scratch;
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
///
/// # Panics
/// If a slice is not as long as `dims` says; so does every function here.
pub fn forward(x: &[f32], w: &[f32], bias: Option<&[f32]>, dims: Dims) -> Vec<f32> {
    make_output(dims.rows * dims.outputs, |y| forward_into(x, w, bias, y, dims))
}

/// [`forward`] into memory that the caller provides.
pub(crate) fn forward_into<'a>(
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &'a mut [Slot],
    dims: Dims,
) -> &'a mut [f32] {
    product(x, w, bias, y, dims, |_, _, _| ())
}

/// `[pre, y]` with `pre = x w^T + bias` and `y = gelu(pre)`, both `[rows, outputs]`.
///
/// # Panics
/// As [`forward`].
pub fn forward_gelu(x: &[f32], w: &[f32], bias: Option<&[f32]>, kind: Gelu, dims: Dims) -> [Vec<f32>; 2] {
    make_all([dims.rows * dims.outputs; 2], |[pre, y]| {
        let shared = Shared::new(&mut *y);
        let pre = product(x, w, bias, pre, dims, |row, columns, pre| {
            // SAFETY: the blocks of a product do not overlap, so neither do these parts.
            let y = unsafe { shared.part(row * dims.outputs + columns.start, pre.len()) };
            gelu::forward_chunk(kind, pre, y);
        });
        // SAFETY: the product has shown all rows of all its blocks, and of each `forward_chunk` wrote all numbers.
        [pre, unsafe { y.assume_init_mut() }]
    })
}

/// The product with the transposed weight; `finish` sees each row of a block while it is in the cache.
fn product<'a>(
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &'a mut [Slot],
    d: Dims,
    finish: impl Fn(usize, Range<usize>, &mut [f32]) + Sync,
) -> &'a mut [f32] {
    let onto = match bias {
        Some(bias) => Onto::Bias(y, bias),
        None => Onto::Nothing(y),
    };
    let (normal, transposed) = (Layout::Normal, Layout::Transposed);
    gemm::product(d.rows, d.outputs, d.inputs, 1.0, x, normal, w, transposed, Entries::Stored, onto, finish)
}

/// `dx[rows, inputs] = g[rows, outputs] w[outputs, inputs]`.
///
/// # Panics
/// As [`forward`].
pub fn backward_input(g: &[f32], w: &[f32], dims: Dims) -> Vec<f32> {
    make_output(dims.rows * dims.inputs, |dx| backward_input_into(g, w, dx, dims))
}

/// [`backward_input`] into memory that the caller provides.
pub(crate) fn backward_input_into<'a>(g: &[f32], w: &[f32], dx: &'a mut [Slot], dims: Dims) -> &'a mut [f32] {
    let normal = Layout::Normal;
    gemm::multiply_into(dims.rows, dims.inputs, dims.outputs, g, normal, w, normal, Entries::Stored, dx)
}

/// `dw[outputs, inputs] = g[rows, outputs]^T x[rows, inputs]`.
///
/// # Panics
/// As [`forward`].
pub fn backward_weight(g: &[f32], x: &[f32], dims: Dims) -> Vec<f32> {
    let (transposed, normal) = (Layout::Transposed, Layout::Normal);
    make_output(dims.outputs * dims.inputs, |dw| {
        gemm::multiply_into(dims.outputs, dims.inputs, dims.rows, g, transposed, x, normal, Entries::Stored, dw)
    })
}

/// `db[outputs]` = sum of the rows of `g[rows, outputs]`, in pieces of 64 rows added up in order.
///
/// # Panics
/// As [`forward`].
pub fn backward_bias(g: &[f32], dims: Dims) -> Vec<f32> {
    assert_eq!(g.len(), dims.rows * dims.outputs, "linear: g");
    let width = dims.outputs;
    if width == 0 {
        return Vec::new();
    }
    let mut partial = scratch::zeros(dims.rows.div_ceil(BIAS_ROWS) * width);
    partial.par_chunks_mut(width).zip(g.par_chunks(BIAS_ROWS * width)).for_each(|(sum, rows)| {
        for row in rows.chunks_exact(width) {
            norm::add_to(row, sum);
        }
    });
    norm::sum_rows(&partial, width)
}
