//! The linear layer of a stack: one product for clean activations and centres together, one with the magnitudes of
//! the weights for the radii (interval bound propagation, Gowal et al. 2018).
//!
//! The magnitudes are made as the weight is copied into tile order, so they never exist in memory.

use crate::gemm::{self, Entries, Layout, Onto};
use crate::linear::{self, Dims};
use crate::output::make_output;

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
/// `x |w|^T` for radii. `w` is `[outputs, inputs]`, `bias` `[outputs]`; `dims.rows` counts the rows of one slab.
///
/// # Panics
/// If a slice is not as long as `slabs` and `dims` say, or `slabs` is neither 1 nor 3; so does every function here.
pub fn forward(x: &[f32], w: &[f32], bias: &[f32], slabs: usize, dims: Dims) -> Vec<f32> {
    let Dims { rows, inputs, outputs } = dims;
    let (x, radius) = parts(x, slabs);
    make_output(slabs * rows * outputs, |y| {
        let (plain_y, radius_y) = y.split_at_mut(rows * outputs * slabs.min(2));
        linear::forward_into(x, w, Some(bias), plain_y, plain(slabs, dims));
        if slabs == 3 {
            let (normal, transposed) = (Layout::Normal, Layout::Transposed);
            gemm::multiply_into(rows, outputs, inputs, radius, normal, w, transposed, Entries::Magnitude, radius_y);
        }
        // SAFETY: the products wrote both parts; with one slab the second is empty.
        unsafe { y.assume_init_mut() }
    })
}

/// `dx[slabs, rows, inputs]` for the gradient `g[slabs, rows, outputs]` of the output.
///
/// # Panics
/// As [`forward`].
pub fn backward_input(g: &[f32], w: &[f32], slabs: usize, dims: Dims) -> Vec<f32> {
    let Dims { rows, inputs, outputs } = dims;
    let (g, radius) = parts(g, slabs);
    make_output(slabs * rows * inputs, |dx| {
        let (plain_dx, radius_dx) = dx.split_at_mut(rows * inputs * slabs.min(2));
        linear::backward_input_into(g, w, plain_dx, plain(slabs, dims));
        if slabs == 3 {
            let normal = Layout::Normal;
            gemm::multiply_into(rows, inputs, outputs, radius, normal, w, normal, Entries::Magnitude, radius_dx);
        }
        // SAFETY: as in `forward`.
        unsafe { dx.assume_init_mut() }
    })
}

/// `dw[outputs, inputs]`: `g^T x` of clean activations and centres, plus that of the radii with the sign of the
/// weight (zero at zero).
///
/// # Panics
/// As [`forward`].
pub fn backward_weight(x: &[f32], g: &[f32], w: &[f32], slabs: usize, dims: Dims) -> Vec<f32> {
    let Dims { rows, inputs, outputs } = dims;
    assert_eq!(w.len(), outputs * inputs, "dense: weight");
    let ((x, x_radius), (g, g_radius)) = (parts(x, slabs), parts(g, slabs));
    let (normal, transposed, stored) = (Layout::Normal, Layout::Transposed, Entries::Stored);
    make_output(w.len(), |dw| {
        let onto = if slabs == 3 {
            let signed = |row: usize, columns: std::ops::Range<usize>, dw: &mut [f32]| {
                let w = &w[row * inputs..][columns];
                for (dw, &w) in dw.iter_mut().zip(w) {
                    *dw *= sign(w);
                }
            };
            let onto = Onto::Nothing(dw);
            #[rustfmt::skip]
            let dw = gemm::product(
                outputs, inputs, rows, 1.0, g_radius, transposed, x_radius, normal, stored, onto, signed,
            );
            Onto::Itself(dw)
        } else {
            Onto::Nothing(dw)
        };
        let rows = plain(slabs, dims).rows;
        gemm::product(outputs, inputs, rows, 1.0, g, transposed, x, normal, stored, onto, |_, _, _| ())
    })
}

/// `db[outputs]`: the sum of the rows of `g[slabs, rows, outputs]` of clean activations and centres.
///
/// # Panics
/// As [`forward`].
pub fn backward_bias(g: &[f32], slabs: usize, dims: Dims) -> Vec<f32> {
    linear::backward_bias(parts(g, slabs).0, plain(slabs, dims))
}

/// The derivative of the magnitude, with zero at zero.
#[inline(always)]
pub(crate) fn sign(w: f32) -> f32 {
    f32::from(u8::from(w > 0.0)) - f32::from(u8::from(w < 0.0))
}
