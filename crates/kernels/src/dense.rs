//! The linear layer of a stack: one product for clean activations and centres together, one with the magnitudes of
//! the weights for the radii (interval bound propagation, Gowal et al. 2018).
//!
//! The magnitudes are made as the weight is copied into tile order, so they never exist in memory.

use crate::gemm::{self, Entries, Layout, Start};
use crate::linear::{self, Dims};

/// Splits the values of a stack after clean activations and centres; the second part is empty with one slab.
fn parts(values: &[f32], slabs: usize) -> (&[f32], &[f32]) {
    assert!(slabs == 1 || slabs == 3, "dense: {slabs} slabs");
    values.split_at(values.len() / slabs * slabs.min(2))
}

/// The sizes of clean activations and centres together; `dims.rows` is what one slab has.
fn plain(slabs: usize, dims: Dims) -> Dims {
    Dims { rows: dims.rows * slabs.min(2), ..dims }
}

/// `y[slabs, rows, outputs]` of `x[slabs, rows, inputs]`: `x w^T + bias` for clean activations and centres,
/// `x |w|^T` for radii.
pub fn forward(x: &[f32], w: &[f32], bias: &[f32], y: &mut [f32], slabs: usize, dims: Dims) {
    let Dims { rows, inputs, outputs } = dims;
    let (x, radius) = parts(x, slabs);
    let (y, y_radius) = y.split_at_mut(rows * outputs * slabs.min(2));
    linear::forward(x, w, Some(bias), y, plain(slabs, dims));
    if slabs == 3 {
        let (normal, transposed) = (Layout::Normal, Layout::Transposed);
        let (entries, start) = (Entries::Magnitude, Start::Zero);
        #[rustfmt::skip]
        gemm::product(
            rows, outputs, inputs, 1.0, radius, normal, w, transposed, entries, y_radius, start, |_, _, _| (),
        );
    }
}

/// `dx[slabs, rows, inputs]` for the gradient `g[slabs, rows, outputs]` of the output.
pub fn backward_input(g: &[f32], w: &[f32], dx: &mut [f32], slabs: usize, dims: Dims) {
    let Dims { rows, inputs, outputs } = dims;
    let (g, radius) = parts(g, slabs);
    let (dx, dx_radius) = dx.split_at_mut(rows * inputs * slabs.min(2));
    linear::backward_input(g, w, dx, plain(slabs, dims));
    if slabs == 3 {
        let normal = Layout::Normal;
        let (entries, start) = (Entries::Magnitude, Start::Zero);
        #[rustfmt::skip]
        gemm::product(
            rows, inputs, outputs, 1.0, radius, normal, w, normal, entries, dx_radius, start, |_, _, _| (),
        );
    }
}

/// `dw[outputs, inputs]`: `g^T x` of clean activations and centres, plus that of the radii with the sign of the
/// weight (zero at zero).
pub fn backward_weight(x: &[f32], g: &[f32], w: &[f32], dw: &mut [f32], slabs: usize, dims: Dims) {
    let Dims { rows, inputs, outputs } = dims;
    assert_eq!(w.len(), outputs * inputs, "dense: weight");
    let ((x, x_radius), (g, g_radius)) = (parts(x, slabs), parts(g, slabs));
    let (normal, transposed, stored) = (Layout::Normal, Layout::Transposed, Entries::Stored);
    if slabs == 3 {
        let signed = |row: usize, columns: std::ops::Range<usize>, dw: &mut [f32]| {
            let w = &w[row * inputs..][columns];
            for (dw, &w) in dw.iter_mut().zip(w) {
                *dw *= sign(w);
            }
        };
        #[rustfmt::skip]
        gemm::product(
            outputs, inputs, rows, 1.0, g_radius, transposed, x_radius, normal, stored, dw, Start::Zero, signed,
        );
    }
    gemm::gemm(outputs, inputs, plain(slabs, dims).rows, 1.0, g, transposed, x, normal, dw, slabs == 3);
}

/// `db[outputs]`: the sum of the rows of `g` of clean activations and centres.
pub fn backward_bias(g: &[f32], db: &mut [f32], slabs: usize, dims: Dims) {
    linear::backward_bias(parts(g, slabs).0, db, plain(slabs, dims));
}

/// The derivative of the magnitude, with zero at zero.
#[inline(always)]
pub(crate) fn sign(w: f32) -> f32 {
    f32::from(u8::from(w > 0.0)) - f32::from(u8::from(w < 0.0))
}
