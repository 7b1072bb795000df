//! Matrix product.

/// How an operand is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As it enters the product: `a` is `[m, k]`, `b` is `[k, n]`.
    Normal,
    /// Transposed: `a` is `[k, m]`, `b` is `[n, k]`.
    Transposed,
}

/// `c[m, n] = alpha * op(a)[m, k] * op(b)[k, n] + (accumulate ? c : 0)`, on all threads.
#[allow(clippy::too_many_arguments)]
pub fn gemm(
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: &[f32],
    a_layout: Layout,
    b: &[f32],
    b_layout: Layout,
    c: &mut [f32],
    accumulate: bool,
) {
    assert_eq!(a.len(), m * k, "gemm: a");
    assert_eq!(b.len(), k * n, "gemm: b");
    assert_eq!(c.len(), m * n, "gemm: c");
    let (ars, acs) = strides(m, k, a_layout);
    let (brs, bcs) = strides(k, n, b_layout);
    // SAFETY: sizes were checked, strides follow from the layouts, and `c` is borrowed exclusively.
    unsafe {
        raw(
            m,
            n,
            k,
            alpha,
            a.as_ptr(),
            (ars, acs),
            b.as_ptr(),
            (brs, bcs),
            c.as_mut_ptr(),
            n,
            accumulate,
            gemm::Parallelism::Rayon(0),
        )
    }
}

fn strides(rows: usize, columns: usize, layout: Layout) -> (usize, usize) {
    match layout {
        Layout::Normal => (columns, 1),
        Layout::Transposed => (1, rows),
    }
}

/// The product with strides (row, column) for the operands and rows of `c` that are `ldc` apart.
///
/// # Safety
/// Every element addressed by the shape and the strides must be valid, and `c` must not be aliased.
#[allow(clippy::too_many_arguments)]
pub(crate) unsafe fn raw(
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: *const f32,
    (ars, acs): (usize, usize),
    b: *const f32,
    (brs, bcs): (usize, usize),
    c: *mut f32,
    ldc: usize,
    accumulate: bool,
    parallelism: gemm::Parallelism,
) {
    // SAFETY: the caller's promise.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c,
            1,
            ldc as isize,
            accumulate,
            a,
            acs as isize,
            ars as isize,
            b,
            bcs as isize,
            brs as isize,
            1.0,
            alpha,
            false,
            false,
            false,
            parallelism,
        );
    }
}
