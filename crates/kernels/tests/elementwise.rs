//! GELU, layer normalisation, embedding, AdamW and whole-vector operations against `f64`.
mod common;
use common::*;
use temper_kernels::adamw::{self, AdamW};
use temper_kernels::gelu::{self, Gelu};
use temper_kernels::{embedding, layer_norm, norm};

const LENGTHS: [usize; 7] = [1, 7, 8, 63, 1000, 16_385, 70_001];

fn gelu64(kind: Gelu, x: f64) -> f64 {
    match kind {
        Gelu::Erf => 0.5 * x * (1.0 + libm::erf(x / 2.0_f64.sqrt())),
        Gelu::Tanh => 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()),
    }
}

#[test]
fn gelu_and_its_derivative() {
    for kind in [Gelu::Erf, Gelu::Tanh] {
        let x: Vec<f32> = (-120_000..=120_000).map(|i| i as f32 * 1e-4).collect();
        let g: Vec<f32> = x.iter().map(|v| 1.0 + 0.1 * v).collect();
        let (y, mut dx) = (gelu::forward(kind, &x), g.clone());
        gelu::backward(kind, &x, &mut dx);
        for i in 0..x.len() {
            let v = f64::from(x[i]);
            let error = (f64::from(y[i]) - gelu64(kind, v)).abs() / v.abs().max(1.0);
            assert!(error < 5e-7, "{kind:?}({v}) = {}, error {error:e}", y[i]);
            let slope = (gelu64(kind, v + 1e-5) - gelu64(kind, v - 1e-5)) / 2e-5 * f64::from(g[i]);
            assert!((f64::from(dx[i]) - slope).abs() < 2e-6, "{kind:?}'({v}) = {}, expected {slope}", dx[i]);
        }
    }
}

#[test]
fn gelu_far_out_and_nan() {
    for kind in [Gelu::Erf, Gelu::Tanh] {
        let x = [-1e4_f32, 1e4, -80.0, 80.0, 0.0, f32::NAN];
        let (y, mut dx) = (gelu::forward(kind, &x), [1.0; 6]);
        gelu::backward(kind, &x, &mut dx);
        assert_eq!(y[..5], [0.0, 1e4, 0.0, 80.0, 0.0], "{kind:?}");
        for (got, expected) in dx.iter().zip([0.0, 1.0, 0.0, 1.0]) {
            assert!((got - expected).abs() < 5e-7, "{kind:?}': {dx:?}");
        }
        assert_eq!(dx[4], 0.5, "{kind:?}");
        assert!(y[5].is_nan() && dx[5].is_nan(), "{kind:?}");
    }
}

#[test]
fn layer_norm_and_its_gradients() {
    for (rows, width) in [(1, 1), (1, 5), (3, 8), (63, 17), (65, 128), (130, 31), (200, 67), (2, 1030)] {
        let eps = 1e-5_f32;
        let x: Vec<f32> = numbers(1, rows * width).iter().map(|v| 3.0 * v + 2.0).collect();
        let (w, b, g) = (numbers(2, width), numbers(3, width), numbers(4, rows * width));
        let [y, mean, rstd] = layer_norm::forward(&x, &w, &b, eps);
        let [dx, dw, db] = layer_norm::backward(&x, &w, &mean, &rstd, &g);

        let n = width as f64;
        let (mut ey, mut edx, mut edw, mut edb) = (vec![], vec![], vec![0.0; width], vec![0.0; width]);
        for r in 0..rows {
            let x = wide(&x[r * width..][..width]);
            let m = x.iter().sum::<f64>() / n;
            let s = 1.0 / (x.iter().map(|v| (v - m).powi(2)).sum::<f64>() / n + f64::from(eps)).sqrt();
            let norm: Vec<f64> = x.iter().map(|v| (v - m) * s).collect();
            let h: Vec<f64> = (0..width).map(|j| f64::from(g[r * width + j]) * f64::from(w[j])).collect();
            let h_mean = h.iter().sum::<f64>() / n;
            let hn_mean = h.iter().zip(&norm).map(|(h, n)| h * n).sum::<f64>() / n;
            for j in 0..width {
                ey.push(norm[j] * f64::from(w[j]) + f64::from(b[j]));
                edx.push(s * (h[j] - h_mean - norm[j] * hn_mean));
                edw[j] += f64::from(g[r * width + j]) * norm[j];
                edb[j] += f64::from(g[r * width + j]);
            }
        }
        close(&format!("{rows}x{width} y"), &y, &ey, 3e-6);
        if width > 1 {
            close(&format!("{rows}x{width} dx"), &dx, &edx, 3e-6);
        }
        close(&format!("{rows}x{width} dw"), &dw, &edw, 3e-6);
        close(&format!("{rows}x{width} db"), &db, &edb, 3e-6);
    }
}

#[test]
fn embedding_copies_rows_and_adds_gradients() {
    for (vocab, width, tokens) in [(1, 1, 1), (5, 3, 40), (300, 17, 130), (1000, 128, 700)] {
        let (w, g, ids) = (numbers(1, vocab * width), numbers(2, tokens * width), indices(3, tokens, vocab));
        let out = embedding::forward(&w, &ids, width);
        let dw = embedding::backward(&g, &ids, width, vocab);
        let mut expected = vec![0.0; vocab * width];
        for (i, &id) in ids.iter().enumerate() {
            assert_eq!(out[i * width..][..width], w[id as usize * width..][..width]);
            for j in 0..width {
                expected[id as usize * width + j] += f64::from(g[i * width + j]);
            }
        }
        close(&format!("{vocab}x{width}"), &dw, &expected, 2e-6);
    }
}

#[test]
#[should_panic(expected = "outside the vocabulary")]
fn embedding_gradient_refuses_an_unknown_id() {
    embedding::backward(&[1.0; 4], &[0, 2], 2, 2);
}

#[test]
fn adamw_follows_the_definition() {
    for n in LENGTHS {
        let (mut p, mut m, mut v) = (numbers(1, n), vec![0.0; n], vec![0.0; n]);
        let (mut ep, mut em, mut ev) = (wide(&p), vec![0.0_f64; n], vec![0.0_f64; n]);
        for step in 1..=5 {
            let g = numbers(10 + step, n);
            let o = AdamW { lr: 3e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, step, grad_scale: 0.25 };
            adamw::update(&mut p, &g, &mut m, &mut v, &o);
            let (lr, b1, b2) = (f64::from(o.lr), f64::from(o.beta1), f64::from(o.beta2));
            for i in 0..n {
                let g = f64::from(g[i]) * 0.25;
                ep[i] *= 1.0 - lr * f64::from(o.weight_decay);
                em[i] = b1 * em[i] + (1.0 - b1) * g;
                ev[i] = b2 * ev[i] + (1.0 - b2) * g * g;
                let denominator = (ev[i] / (1.0 - b2.powi(step as i32))).sqrt() + f64::from(o.eps);
                ep[i] -= lr / (1.0 - b1.powi(step as i32)) * em[i] / denominator;
            }
        }
        close(&format!("p of {n}"), &p, &ep, 1e-6);
        close(&format!("m of {n}"), &m, &em, 1e-6);
        close(&format!("v of {n}"), &v, &ev, 1e-6);
    }
}

#[test]
fn whole_vector_operations() {
    for n in LENGTHS {
        let x = numbers(1, n);
        let expected: f64 = wide(&x).iter().map(|v| v * v).sum();
        assert!((norm::sum_of_squares(&x) - expected).abs() <= 1e-12 * expected, "{n}");
        assert_eq!(norm::first_non_finite(&x), None);
        for (at, bad) in [(n - 1, f32::NAN), (n / 2, f32::INFINITY), (n / 3, f32::NEG_INFINITY)] {
            let mut z = x.clone();
            z[n - 1] = f32::NAN;
            z[at] = bad;
            assert_eq!(norm::first_non_finite(&z), Some(at));
        }
    }
    assert!(norm::sum_of_squares(&[1.0, f32::NAN]).is_nan());
    assert_eq!(norm::sum_of_squares(&[1e30, 1e30]), 2.0 * f64::from(1e30_f32).powi(2));
}

#[test]
fn threads_do_not_matter() {
    for n in LENGTHS {
        let (x, g) = (numbers(1, n), numbers(2, n));
        same_for_all_pools(&format!("{n} elements"), || {
            let (y, mut dx) = (gelu::forward(Gelu::Erf, &x), g.clone());
            gelu::backward(Gelu::Tanh, &x, &mut dx);
            let sum = norm::sum_of_squares(&x);
            let (mut p, mut m, mut v) = (x.clone(), g.clone(), vec![0.5; n]);
            let o = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, step: 7, grad_scale: 0.5 };
            adamw::update(&mut p, &g, &mut m, &mut v, &o);
            let halves = [(sum.to_bits() >> 32) as u32, sum.to_bits() as u32].map(f32::from_bits).to_vec();
            vec![y, dx, halves, p, m, v]
        });
    }
    for (rows, width) in [(1, 5), (65, 128), (1000, 33)] {
        let (x, w, b, g) = (numbers(1, rows * width), numbers(2, width), numbers(3, width), numbers(4, rows * width));
        let ids = indices(5, rows, 77);
        same_for_all_pools(&format!("{rows}x{width}"), || {
            let [y, mean, rstd] = layer_norm::forward(&x, &w, &b, 1e-5);
            let [dx, dw, db] = layer_norm::backward(&x, &w, &mean, &rstd, &g);
            vec![y, mean, rstd, dx, dw, db, embedding::backward(&g, &ids, width, 77)]
        });
    }
}
