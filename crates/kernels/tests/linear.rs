//! Affine maps and their gradients against `f64`.
mod common;
use common::*;
use temper_kernels::gelu::{self, Gelu};
use temper_kernels::linear::{self, Dims};

const SHAPES: [(usize, usize, usize); 9] = [
    (1, 1, 1),
    (1, 8, 24),
    (3, 5, 7),
    (63, 17, 31),
    (65, 64, 3),
    (130, 40, 101),
    (257, 128, 129),
    (700, 33, 65),
    (7, 515, 260),
];

fn dims((rows, inputs, outputs): (usize, usize, usize)) -> Dims {
    Dims { rows, inputs, outputs }
}

struct Data {
    x: Vec<f32>,
    w: Vec<f32>,
    b: Vec<f32>,
    g: Vec<f32>,
}

fn data(d: Dims) -> Data {
    Data {
        x: numbers(1, d.rows * d.inputs),
        w: numbers(2, d.outputs * d.inputs),
        b: numbers(3, d.outputs),
        g: numbers(4, d.rows * d.outputs),
    }
}

fn expected_forward(d: Dims, t: &Data, bias: bool) -> Vec<f64> {
    let (x, w) = (wide(&t.x), wide(&t.w));
    let mut y = product(d.rows, d.outputs, d.inputs, |i, p| x[i * d.inputs + p], |p, j| w[j * d.inputs + p]);
    if bias {
        y.iter_mut().enumerate().for_each(|(i, y)| *y += f64::from(t.b[i % d.outputs]));
    }
    y
}

#[test]
fn forward_equals_double_precision() {
    for d in SHAPES.map(dims) {
        let t = data(d);
        for bias in [false, true] {
            let y = linear::forward(&t.x, &t.w, bias.then_some(&t.b), d);
            close(&format!("{d:?} bias {bias}"), &y, &expected_forward(d, &t, bias), 2e-6);
        }
    }
}

#[test]
fn fused_gelu_equals_linear_then_gelu() {
    for d in SHAPES.map(dims) {
        let t = data(d);
        for kind in [Gelu::Erf, Gelu::Tanh] {
            for bias in [false, true] {
                let [pre, y] = linear::forward_gelu(&t.x, &t.w, bias.then_some(&t.b), kind, d);
                close(&format!("{d:?} pre"), &pre, &expected_forward(d, &t, bias), 2e-6);
                assert_eq!(y, gelu::forward(kind, &pre), "{d:?} {kind:?}");
            }
        }
    }
}

#[test]
fn gradients_equal_double_precision() {
    for d in SHAPES.map(dims) {
        let t = data(d);
        let (x, w, g) = (wide(&t.x), wide(&t.w), wide(&t.g));
        let dx = linear::backward_input(&t.g, &t.w, d);
        let expected = product(d.rows, d.inputs, d.outputs, |i, p| g[i * d.outputs + p], |p, j| w[p * d.inputs + j]);
        close(&format!("{d:?} dx"), &dx, &expected, 2e-6);

        let dw = linear::backward_weight(&t.g, &t.x, d);
        let expected = product(d.outputs, d.inputs, d.rows, |i, p| g[p * d.outputs + i], |p, j| x[p * d.inputs + j]);
        close(&format!("{d:?} dw"), &dw, &expected, 2e-6);

        let db = linear::backward_bias(&t.g, d);
        let expected: Vec<f64> = (0..d.outputs).map(|j| (0..d.rows).map(|i| g[i * d.outputs + j]).sum()).collect();
        close(&format!("{d:?} db"), &db, &expected, 2e-6);
    }
}

#[test]
fn threads_do_not_matter() {
    for d in SHAPES.into_iter().chain([(1030, 128, 384)]).map(dims) {
        let t = data(d);
        same_for_all_pools(&format!("{d:?}"), || {
            let [pre, z] = linear::forward_gelu(&t.x, &t.w, Some(&t.b), Gelu::Erf, d);
            let y = linear::forward(&t.x, &t.w, Some(&t.b), d);
            let (dx, dw) = (linear::backward_input(&t.g, &t.w, d), linear::backward_weight(&t.g, &t.x, d));
            vec![y, pre, z, dx, dw, linear::backward_bias(&t.g, d)]
        });
    }
}

#[test]
fn no_rows_give_zero_weight_gradients() {
    let d = Dims { rows: 0, inputs: 3, outputs: 5 };
    assert_eq!(linear::backward_weight(&[], &[], d), [0.0; 15]);
    assert_eq!(linear::backward_bias(&[], d), [0.0; 5]);
}
