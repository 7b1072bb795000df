//! The head and its gradients against `f64`.
mod common;
use common::*;
use temper_kernels::cross_entropy::{HeadDims, forward, forward_backward};

const SHAPES: [(usize, usize, usize); 9] = [
    (1, 1, 1),
    (1, 3, 2),
    (5, 7, 11),
    (63, 16, 130),
    (65, 33, 257),
    (300, 8, 1031),
    (130, 40, 513),
    (2, 64, 3001),
    (520, 12, 300),
];

struct Data {
    x: Vec<f32>,
    w: Vec<f32>,
    targets: Vec<u32>,
}

fn data(d: HeadDims, size: f32) -> Data {
    Data {
        x: numbers(1, d.rows * d.dim).iter().map(|v| size * v).collect(),
        w: numbers(2, d.vocab * d.dim),
        targets: indices(3, d.rows, d.vocab),
    }
}

/// `[nll of forward, nll, dx, dw]`.
fn run(t: &Data, scale: f32, d: HeadDims) -> Vec<Vec<f32>> {
    let mut results = vec![forward(&t.x, &t.w, &t.targets, d)];
    results.extend(forward_backward(&t.x, &t.w, &t.targets, scale, d));
    results
}

fn naive(t: &Data, scale: f64, d: HeadDims) -> [Vec<f64>; 3] {
    let (x, w) = (wide(&t.x), wide(&t.w));
    let mut p = product(d.rows, d.vocab, d.dim, |i, c| x[i * d.dim + c], |c, j| w[j * d.dim + c]);
    let mut nll = vec![];
    for (row, &target) in p.chunks_exact_mut(d.vocab).zip(&t.targets) {
        let top = row.iter().copied().fold(f64::MIN, f64::max);
        let lse = top + row.iter().map(|v| (v - top).exp()).sum::<f64>().ln();
        nll.push(lse - row[target as usize]);
        row.iter_mut().for_each(|v| *v = scale * (*v - lse).exp());
        row[target as usize] -= scale;
    }
    let dx = product(d.rows, d.dim, d.vocab, |i, j| p[i * d.vocab + j], |j, c| w[j * d.dim + c]);
    let dw = product(d.vocab, d.dim, d.rows, |j, i| p[i * d.vocab + j], |i, c| x[i * d.dim + c]);
    [nll, dx, dw]
}

fn dims((rows, dim, vocab): (usize, usize, usize)) -> HeadDims {
    HeadDims { rows, dim, vocab }
}

#[test]
fn equals_double_precision() {
    for d in SHAPES.map(dims) {
        for (size, scale) in [(1.0, 1.0), (8.0, 0.03)] {
            let t = data(d, size);
            let got = run(&t, scale, d);
            let [nll, dx, dw] = naive(&t, f64::from(scale), d);
            close(&format!("{d:?} nll of forward"), &got[0], &nll, 3e-6);
            close(&format!("{d:?} nll"), &got[1], &nll, 3e-6);
            if d.vocab > 1 {
                close(&format!("{d:?} dx"), &got[2], &dx, 1e-5);
                close(&format!("{d:?} dw"), &got[3], &dw, 1e-5);
            }
        }
    }
}

#[test]
fn threads_do_not_matter() {
    for d in SHAPES.map(dims) {
        let t = data(d, 2.0);
        same_for_all_pools(&format!("{d:?}"), || run(&t, 0.1, d));
    }
}

#[test]
fn logits_of_plus_and_minus_eighty_stay_finite() {
    let d = dims((4, 1, 600));
    let mut t = data(d, 1.0);
    t.x = vec![80.0, -80.0, 40.0, 80.0];
    t.w = (0..600).map(|j| if j % 7 == 0 { 1.0 } else { -1.0 }).collect();
    t.targets = vec![0, 0, 1, 1];
    let got = run(&t, 1.0, d);
    let [nll, dx, dw] = naive(&t, 1.0, d);
    close("nll", &got[1], &nll, 1e-6);
    close("dx", &got[2], &dx, 1e-5);
    close("dw", &got[3], &dw, 1e-5);
}

#[test]
fn a_nan_gives_a_nan_loss_in_its_row_only() {
    let d = dims((70, 9, 333));
    let mut t = data(d, 1.0);
    t.x[41 * 9 + 3] = f32::NAN;
    let got = run(&t, 1.0, d);
    for nll in &got[..2] {
        for (i, v) in nll.iter().enumerate() {
            assert_eq!(v.is_nan(), i == 41, "row {i}");
        }
    }
    assert!(got[3].iter().all(|v| v.is_nan()), "every row of dw has met the NaN");

    let mut t = data(d, 1.0);
    t.w[200 * 9] = f32::NAN;
    let got = run(&t, 1.0, d);
    assert!(got[0].iter().chain(&got[1]).all(|v| v.is_nan()), "a NaN in the weight reaches every loss");
}

#[test]
fn infinite_logits_do_not_pass_as_a_number() {
    let d = dims((3, 2, 50));
    let mut t = data(d, 1.0);
    t.w[20] = f32::INFINITY;
    t.x.fill(1.0);
    t.targets = vec![0, 1, 2];
    let got = run(&t, 1.0, d);
    assert!(got[0].iter().chain(&got[1]).all(|v| !v.is_finite()), "{:?}", got[0]);
}
