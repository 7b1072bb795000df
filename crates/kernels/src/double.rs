//! Products of matrices in double precision, for what has to be sound. On the calling thread alone: its callers have whole tasks to
//! spread.

use crate::gemm::Layout;

/// `c[m, n] = op(a)[m, k] * op(b)[k, n]`, where `op` is what [`Layout`] says. Every element is one sum of k products in an order that
/// does not depend on the others.
///
/// # Panics
/// If a slice is not as long as `m`, `n` and `k` say.
#[allow(clippy::too_many_arguments)]
pub fn product(m: usize, n: usize, k: usize, a: &[f64], a_layout: Layout, b: &[f64], b_layout: Layout, c: &mut [f64]) {
    assert!(
        a.len() == m * k && b.len() == k * n && c.len() == m * n,
        "product: slices of other sizes than {m}, {n}, {k}"
    );
    let strides = |layout: Layout, rows: usize, columns: usize| match layout {
        Layout::Normal => (columns as isize, 1),
        Layout::Transposed => (1, rows as isize),
    };
    let (a_row, a_column) = strides(a_layout, m, k);
    let (b_row, b_column) = strides(b_layout, k, n);
    // SAFETY: the slices hold every element that the sizes and strides name, as asserted; `c` is borrowed for writing, so that it
    // overlaps neither. With beta 0 it is not read.
    unsafe {
        matrixmultiply::dgemm(
            m,
            k,
            n,
            1.0,
            a.as_ptr(),
            a_row,
            a_column,
            b.as_ptr(),
            b_row,
            b_column,
            0.0,
            c.as_mut_ptr(),
            n as isize,
            1,
        );
    }
}
