//! Every instruction set the processor has, one after the other in a process of its own: the kernels whose code or
//! tiles differ between them, against `f64` on sizes that fill no tile, and with any number of threads.
mod common;
use common::*;
use temper_kernels::adamw::{self, AdamW};
use temper_kernels::arch::{self, InstructionSet, instruction_set};
use temper_kernels::attention::{self, Rotary};
use temper_kernels::conv::{self, Sums};
use temper_kernels::cross_entropy::{self, HeadDims};
use temper_kernels::gelu::{self, Gelu};
use temper_kernels::gemm::{Layout, gemm};
use temper_kernels::layer_norm;

/// Rows at and around the heights of the tiles, columns around their widths, sums around the cuts.
fn products() {
    let rows = [1, 2, 3, 5, 6, 7, 8, 9, 11, 13, 14, 15, 27, 28, 29, 61];
    let columns = [1, 7, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 65, 97];
    let sums = [1, 8, 33, 255, 256, 257, 515];
    for (i, m) in rows.into_iter().enumerate() {
        for (j, n) in columns.into_iter().enumerate() {
            let k = sums[(i + 3 * j) % sums.len()];
            let (a, b, c) = (numbers(1, m * k), numbers(2, k * n), numbers(3, m * n));
            let (wa, wb, wc) = (wide(&a), wide(&b), wide(&c));
            for (al, bl) in [
                (Layout::Normal, Layout::Normal),
                (Layout::Normal, Layout::Transposed),
                (Layout::Transposed, Layout::Normal),
                (Layout::Transposed, Layout::Transposed),
            ] {
                let at = |i, p| if al == Layout::Normal { wa[i * k + p] } else { wa[p * m + i] };
                let bt = |p, j| if bl == Layout::Normal { wb[p * n + j] } else { wb[j * k + p] };
                let mut expected = product(m, n, k, at, bt);
                expected.iter_mut().zip(&wc).for_each(|(e, c)| *e = 0.5 * *e + c);
                let mut got = c.clone();
                gemm(m, n, k, 0.5, &a, al, &b, bl, &mut got, true);
                close(&format!("{:?} gemm {m}x{n}x{k} {al:?} {bl:?}", instruction_set()), &got, &expected, 2e-6);
            }
        }
    }
}

/// `[out, lse, dqkv]` and `[nll, dx, dw]` and what the elementwise kernels make.
fn everything() -> Vec<Vec<f32>> {
    let s = attention::Shape { batch: 2, seq: 131, heads: 2, head_dim: 20 };
    let (n, rotary) = (s.batch * s.seq * s.heads * s.head_dim, Rotary::new(4, 1e4, s.seq));
    let (qkv, g) = (numbers(1, 3 * n), numbers(2, n));
    let [out, lse] = attention::forward(&qkv, &rotary, s);
    let dqkv = attention::backward(&qkv, &rotary, s, &out, &lse, &g);

    let d = HeadDims { rows: 301, dim: 37, vocab: 1013 };
    let (x, w) = (numbers(3, d.rows * d.dim), numbers(4, d.vocab * d.dim));
    let targets = indices(5, d.rows, d.vocab);
    let [nll, dx, dw] = cross_entropy::forward_backward(&x, &w, &targets, 0.01, d);

    let (rows, width) = (67, 45);
    let (x, g, w) = (numbers(6, rows * width), numbers(7, rows * width), numbers(8, width));
    let [y, mean, rstd] = layer_norm::forward(&x, &w, &w, 1e-5);
    let [nx, nw, nb] = layer_norm::backward(&x, &w, &mean, &rstd, &g);
    let mut results = vec![out, lse, dqkv, nll, dx, dw, y, nx, nw, nb];
    for kind in [Gelu::Erf, Gelu::Tanh] {
        let (y, mut dx) = (gelu::forward(kind, &x), g.clone());
        gelu::backward(kind, &x, &mut dx);
        results.extend([y, dx]);
    }
    // At Winograd's points, in both widths of vectors, and tap by tap.
    for (width, stride) in [(11, 1), (19, 1), (23, 2)] {
        let s = conv::Shape {
            slabs: 3,
            images: 2,
            inputs: 16,
            outputs: 18,
            groups: 1,
            size: [13, width],
            kernel: 3,
            stride,
            padding: 1,
        };
        let (x, w, g) = (numbers(10, s.input_len()), numbers(11, s.weight_len()), numbers(12, s.output_len()));
        let (y, dx) = (conv::forward(&x, &w, None, s, Sums::Fast), conv::backward_input(&g, &w, s, Sums::Fast));
        let [dw, _] = conv::backward_weight(&x, &g, &w, s);
        results.extend([y, dx, dw]);
    }
    let o = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, step: 3, grad_scale: 0.5 };
    let (mut p, mut m, mut v) = (x.clone(), numbers(9, x.len()), g.iter().map(|g| g * g).collect::<Vec<f32>>());
    adamw::update(&mut p, &g, &mut m, &mut v, &o);
    results.extend([p, m, v]);
    results
}

/// Products are held against `f64`; of the rest all instruction sets are held against the portable code, and the tests
/// of each kernel hold the best of them against `f64`.
#[test]
fn every_instruction_set() {
    arch::pretend_at_most(InstructionSet::Portable);
    products();
    let portable = everything();
    for set in [InstructionSet::Avx2, InstructionSet::Avx512] {
        arch::pretend_at_most(set);
        if instruction_set() != set {
            continue;
        }
        products();
        for (i, (got, expected)) in everything().iter().zip(&portable).enumerate() {
            close(&format!("{set:?}, result {i}"), got, &wide(expected), 2e-5);
        }
        same_for_all_pools(&format!("{set:?}"), everything);
    }
}
