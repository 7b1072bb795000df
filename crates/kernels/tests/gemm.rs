//! The matrix product against `f64`, in all layouts, on shapes that fit no tile.
mod common;
use common::*;
use temper_kernels::gemm::{Layout, gemm};

const SHAPES: [(usize, usize, usize); 14] = [
    (1, 1, 1),
    (1, 17, 5),
    (19, 1, 3),
    (1, 1, 700),
    (2, 300, 1),
    (7, 13, 2),
    (5, 31, 64),
    (63, 65, 67),
    (128, 96, 130),
    (129, 257, 33),
    (301, 7, 513),
    (64, 520, 1031),
    (12, 1040, 515),
    (400, 50, 9),
];

fn run(m: usize, n: usize, k: usize, al: Layout, bl: Layout, alpha: f32, accumulate: bool) -> Vec<f32> {
    let (a, b) = (numbers(1, m * k), numbers(2, k * n));
    let mut c = numbers(3, m * n);
    gemm(m, n, k, alpha, &a, al, &b, bl, &mut c, accumulate);
    c
}

#[test]
fn equals_the_product_in_double_precision() {
    for (m, n, k) in SHAPES {
        for al in [Layout::Normal, Layout::Transposed] {
            for bl in [Layout::Normal, Layout::Transposed] {
                for (alpha, accumulate) in [(1.0, false), (0.37, true)] {
                    let (a, b, before) = (wide(&numbers(1, m * k)), wide(&numbers(2, k * n)), wide(&numbers(3, m * n)));
                    let at = |i, p| if al == Layout::Normal { a[i * k + p] } else { a[p * m + i] };
                    let bt = |p, j| if bl == Layout::Normal { b[p * n + j] } else { b[j * k + p] };
                    let mut expected = product(m, n, k, at, bt);
                    for (e, c) in expected.iter_mut().zip(before) {
                        *e = *e * f64::from(alpha) + if accumulate { c } else { 0.0 };
                    }
                    let got = run(m, n, k, al, bl, alpha, accumulate);
                    close(&format!("{m}x{n}x{k} {al:?} {bl:?} {accumulate}"), &got, &expected, 2e-6);
                }
            }
        }
    }
}

#[test]
fn threads_do_not_matter() {
    for (m, n, k) in SHAPES.into_iter().chain([(1000, 130, 515), (37, 3001, 129), (512, 128, 4096)]) {
        for al in [Layout::Normal, Layout::Transposed] {
            for bl in [Layout::Normal, Layout::Transposed] {
                same_for_all_pools(&format!("{m}x{n}x{k} {al:?} {bl:?}"), || {
                    vec![run(m, n, k, al, bl, 1.0, false), run(m, n, k, al, bl, 0.5, true)]
                });
            }
        }
    }
}

#[test]
fn nothing_to_sum_gives_zero_or_what_was_there() {
    let mut c = vec![3.0; 6];
    gemm(2, 3, 0, 1.0, &[], Layout::Normal, &[], Layout::Normal, &mut c, true);
    assert_eq!(c, [3.0; 6]);
    gemm(2, 3, 0, 1.0, &[], Layout::Normal, &[], Layout::Normal, &mut c, false);
    assert_eq!(c, [0.0; 6]);
    gemm(0, 3, 2, 1.0, &[], Layout::Normal, &[0.0; 6], Layout::Normal, &mut [], false);
}

#[test]
fn what_was_in_the_output_is_not_read_unless_asked() {
    let mut c = vec![f32::NAN; 15];
    gemm(3, 5, 2, 1.0, &[1.0; 6], Layout::Normal, &[2.0; 10], Layout::Normal, &mut c, false);
    assert_eq!(c, [4.0; 15]);
}

#[test]
fn a_nan_reaches_its_row_and_no_other() {
    let (m, n, k) = (70, 40, 33);
    let mut a = numbers(1, m * k);
    a[13 * k + 5] = f32::NAN;
    let mut c = vec![0.0; m * n];
    gemm(m, n, k, 1.0, &a, Layout::Normal, &numbers(2, k * n), Layout::Normal, &mut c, false);
    for (i, v) in c.iter().enumerate() {
        assert_eq!(v.is_nan(), i / n == 13, "element {i}");
    }
}
