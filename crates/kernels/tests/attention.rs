//! Rotary causal attention, forward and backward, against a direct computation in `f64`.
mod common;
use common::*;
use temper_kernels::attention::{Rotary, Shape, backward, forward};

const BASE: f64 = 10_000.0;

/// Shape and rotary dimensions.
const CASES: [(usize, usize, usize, usize, usize); 10] = [
    (1, 1, 1, 1, 0),
    (1, 1, 2, 8, 8),
    (2, 3, 1, 4, 2),
    (1, 63, 2, 5, 2),
    (1, 64, 1, 32, 8),
    (2, 65, 3, 16, 16),
    (1, 130, 2, 32, 8),
    (1, 200, 1, 64, 16),
    (3, 17, 2, 33, 10),
    (1, 300, 1, 12, 4),
];

fn shape(c: (usize, usize, usize, usize, usize)) -> (Shape, Rotary) {
    (Shape { batch: c.0, seq: c.1, heads: c.2, head_dim: c.3 }, Rotary::new(c.4, BASE, c.1 + 3))
}

/// Rotates in place; `sign` -1 is the transpose.
fn rotate(x: &mut [f64], dims: usize, p: usize, sign: f64) {
    let half = dims / 2;
    for i in 0..half {
        let angle = sign * p as f64 * BASE.powf(-2.0 * i as f64 / dims as f64);
        let (a, b) = (x[i], x[i + half]);
        x[i] = a * angle.cos() - b * angle.sin();
        x[i + half] = b * angle.cos() + a * angle.sin();
    }
}

struct Expected {
    out: Vec<f64>,
    lse: Vec<f64>,
    dqkv: Vec<f64>,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn naive(qkv: &[f64], s: Shape, dims: usize, g: &[f64]) -> Expected {
    let d = s.head_dim;
    let (rows, row) = (s.batch * s.seq * s.heads * d, 3 * d);
    let mut e = Expected { out: vec![0.0; rows], lse: vec![0.0; s.batch * s.heads * s.seq], dqkv: vec![0.0; 3 * rows] };
    let scale = 1.0 / (d as f64).sqrt();
    for b in 0..s.batch {
        for h in 0..s.heads {
            let at = |p: usize| ((b * s.seq + p) * s.heads + h) * row;
            let take = |p: usize, part: usize| qkv[at(p) + part * d..][..d].to_vec();
            let rotated = |p, part| {
                let mut x = take(p, part);
                rotate(&mut x, dims, p, 1.0);
                x
            };
            let q: Vec<_> = (0..s.seq).map(|p| rotated(p, 0)).collect();
            let k: Vec<_> = (0..s.seq).map(|p| rotated(p, 1)).collect();
            let v: Vec<_> = (0..s.seq).map(|p| take(p, 2)).collect();
            let mut dqk = vec![[vec![0.0; d], vec![0.0; d]]; s.seq];
            for i in 0..s.seq {
                let scores: Vec<f64> = (0..=i).map(|j| scale * dot(&q[i], &k[j])).collect();
                let top = scores.iter().copied().fold(f64::MIN, f64::max);
                let lse = top + scores.iter().map(|v| (v - top).exp()).sum::<f64>().ln();
                e.lse[(b * s.heads + h) * s.seq + i] = lse;
                let o = (b * s.seq + i) * s.heads * d + h * d;
                let p: Vec<f64> = scores.iter().map(|v| (v - lse).exp()).collect();
                for j in 0..=i {
                    (0..d).for_each(|c| e.out[o + c] += p[j] * v[j][c]);
                }
                let g = &g[o..][..d];
                let mean: f64 = (0..=i).map(|j| p[j] * dot(g, &v[j])).sum();
                for j in 0..=i {
                    let ds = p[j] * (dot(g, &v[j]) - mean) * scale;
                    for c in 0..d {
                        dqk[i][0][c] += ds * k[j][c];
                        dqk[j][1][c] += ds * q[i][c];
                        e.dqkv[at(j) + 2 * d + c] += p[j] * g[c];
                    }
                }
            }
            for (p, parts) in dqk.iter_mut().enumerate() {
                for (part, x) in parts.iter_mut().enumerate() {
                    rotate(x, dims, p, -1.0);
                    e.dqkv[at(p) + part * d..][..d].copy_from_slice(x);
                }
            }
        }
    }
    e
}

/// `[out, lse, dqkv]`.
fn run(qkv: &[f32], g: &[f32], s: Shape, rotary: &Rotary) -> Vec<Vec<f32>> {
    let [out, lse] = forward(qkv, rotary, s);
    let dqkv = backward(qkv, rotary, s, &out, &lse, g);
    vec![out, lse, dqkv]
}

fn inputs(s: Shape) -> (Vec<f32>, Vec<f32>) {
    let n = s.batch * s.seq * s.heads * s.head_dim;
    (numbers(1, 3 * n).iter().map(|v| 2.0 * v).collect(), numbers(2, n))
}

#[test]
fn equals_double_precision() {
    for case in CASES {
        let (s, rotary) = shape(case);
        let (qkv, g) = inputs(s);
        let got = run(&qkv, &g, s, &rotary);
        let e = naive(&wide(&qkv), s, case.4, &wide(&g));
        close(&format!("{case:?} out"), &got[0], &e.out, 5e-6);
        close(&format!("{case:?} lse"), &got[1], &e.lse, 5e-6);
        close(&format!("{case:?} dqkv"), &got[2], &e.dqkv, 2e-5);
    }
}

#[test]
fn threads_do_not_matter() {
    for case in CASES {
        let (s, rotary) = shape(case);
        let (qkv, g) = inputs(s);
        same_for_all_pools(&format!("{case:?}"), || run(&qkv, &g, s, &rotary));
    }
}

#[test]
fn large_scores_stay_finite() {
    let (s, rotary) = shape((1, 70, 1, 16, 4));
    let (mut qkv, g) = inputs(s);
    qkv.iter_mut().for_each(|v| *v *= 40.0);
    for (what, result) in ["out", "lse", "dqkv"].iter().zip(run(&qkv, &g, s, &rotary)) {
        assert!(result.iter().all(|v| v.is_finite()), "{what}");
    }
}

#[test]
fn a_nan_comes_out_where_it_can_be_seen_and_not_far_before() {
    let (s, rotary) = shape((1, 130, 2, 8, 4));
    for part in 0..3 {
        let (mut qkv, g) = inputs(s);
        // Position 100 of head 1.
        qkv[(100 * 2 + 1) * 24 + part * 8] = f32::NAN;
        let result = run(&qkv, &g, s, &rotary);
        for (i, v) in result[0].iter().enumerate() {
            let (position, head) = (i / 16, i / 8 % 2);
            let seen = head == 1 && if part == 0 { position == 100 } else { position >= 100 };
            let seen = seen && (part < 2 || i % 8 == 0);
            // A hidden value is multiplied by zero within the tile of queries it belongs to, as elsewhere.
            let same_tile = head == 1 && part == 2 && (64..100).contains(&position);
            assert!(v.is_nan() == seen || same_tile, "part {part}, position {position}, head {head}");
        }
        assert!(result[2].iter().any(|v| v.is_nan()), "gradient, part {part}");
    }
}
