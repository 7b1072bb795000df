//! Prints how fast every kernel is on this machine: `cargo run --release -p temper-kernels --example kernel_times`.
//!
//! For each kernel the median and the best of some repetitions, in GFLOP/s counted for the mathematical operation
//! (a causal attention counts half the square) or, for kernels bound by memory, in GB/s of compulsory traffic.

use std::time::Instant;
use temper_kernels::adamw::{self, AdamW};
use temper_kernels::attention::{self, Rotary, Shape};
use temper_kernels::conv::{self, Sums};
use temper_kernels::cross_entropy::{self, HeadDims};
use temper_kernels::gelu::{self, Gelu};
use temper_kernels::linear::{self, Dims};
use temper_kernels::{channel_affine, channel_moments, embedding, interval_moments, layer_norm, norm, relu};

/// Times `work`, which does `amount` of `unit` (in units of 1e9), the memory of what it returns included.
fn time<T>(name: &str, amount: f64, unit: &str, mut work: impl FnMut() -> T) {
    if std::env::args().nth(1).is_some_and(|filter| !name.contains(&filter)) {
        return;
    }
    drop(work());
    let mut seconds: Vec<f64> = vec![];
    let start = Instant::now();
    while seconds.len() < 5 || (start.elapsed().as_secs_f64() < 1.0 && seconds.len() < 1000) {
        let start = Instant::now();
        drop(std::hint::black_box(work()));
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let (best, median) = (seconds[0], seconds[seconds.len() / 2]);
    println!(
        "{name:<48} {:>8.2} ms  {:>7.1} {unit} (median {:.1})",
        1e3 * best,
        amount / best / 1e9,
        amount / median / 1e9
    );
}

/// False if the filter of the command line excludes every name that begins with `prefix`.
fn wanted(prefix: &str) -> bool {
    std::env::args().nth(1).is_none_or(|filter| prefix.contains(&filter) || filter.contains(prefix))
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn linear_times(d: Dims) {
    if !wanted(&format!("linear {}x{}->{}", d.rows, d.inputs, d.outputs)) {
        return;
    }
    let (x, w, b, g) =
        (numbers(d.rows * d.inputs), numbers(d.outputs * d.inputs), numbers(d.outputs), numbers(d.rows * d.outputs));
    let flops = 2.0 * (d.rows * d.inputs * d.outputs) as f64;
    let name = |what: &str| format!("linear {}x{}->{} {what}", d.rows, d.inputs, d.outputs);
    time(&name("forward"), flops, "GFLOP/s", || linear::forward(&x, &w, Some(&b), d));
    time(&name("forward_gelu"), flops, "GFLOP/s", || linear::forward_gelu(&x, &w, Some(&b), Gelu::Erf, d));
    time(&name("backward_input"), flops, "GFLOP/s", || linear::backward_input(&g, &w, d));
    time(&name("backward_weight"), flops, "GFLOP/s", || linear::backward_weight(&g, &x, d));
    time(&name("backward_bias"), 4.0 * g.len() as f64, "GB/s", || linear::backward_bias(&g, d));
}

fn attention_times(s: Shape) {
    if !wanted(&format!("attention {}x{}x{}x{}", s.batch, s.seq, s.heads, s.head_dim)) {
        return;
    }
    let n = s.batch * s.seq * s.heads * s.head_dim;
    let rotary = Rotary::new(s.head_dim / 4, 10_000.0, s.seq);
    let (qkv, g) = (numbers(3 * n), numbers(n));
    let [out, lse] = attention::forward(&qkv, &rotary, s);
    let pairs = (s.batch * s.heads * s.seq * (s.seq + 1) / 2) as f64;
    let name = |what: &str| format!("attention {}x{}x{}x{} {what}", s.batch, s.seq, s.heads, s.head_dim);
    time(&name("forward"), 4.0 * pairs * s.head_dim as f64, "GFLOP/s", || attention::forward(&qkv, &rotary, s));
    time(&name("backward"), 10.0 * pairs * s.head_dim as f64, "GFLOP/s", || {
        attention::backward(&qkv, &rotary, s, &out, &lse, &g)
    });
}

/// A convolution of a stack of clean activations, centres and radii.
fn conv_times(s: conv::Shape) {
    let prefix = format!(
        "conv {}x{} {}x{}x{}->{} k{} s{}",
        s.slabs, s.images, s.inputs, s.size[0], s.size[1], s.outputs, s.kernel, s.stride
    );
    if !wanted(&prefix) {
        return;
    }
    let (x, w, b, g) = (numbers(s.input_len()), numbers(s.weight_len()), numbers(s.outputs), numbers(s.output_len()));
    let flops = 2.0 * (s.output_len() * s.inputs / s.groups * s.kernel * s.kernel) as f64;
    let name = |what: &str| format!("{prefix} {what}");
    time(&name("forward"), flops, "GFLOP/s", || conv::forward(&x, &w, Some(&b), s, Sums::Fast));
    time(&name("backward_input"), flops, "GFLOP/s", || conv::backward_input(&g, &w, s, Sums::Fast));
    time(&name("backward_weight"), flops, "GFLOP/s", || conv::backward_weight(&x, &g, &w, s));
}

fn head_times(d: HeadDims) {
    if !wanted(&format!("head {}x{} vocab {}", d.rows, d.dim, d.vocab)) {
        return;
    }
    let (x, w) = (numbers(d.rows * d.dim), numbers(d.vocab * d.dim));
    let targets: Vec<u32> = (0..d.rows).map(|i| (i * 7919 % d.vocab) as u32).collect();
    let flops = 2.0 * (d.rows * d.dim * d.vocab) as f64;
    let name = |what: &str| format!("head {}x{} vocab {} {what}", d.rows, d.dim, d.vocab);
    time(&name("forward"), flops, "GFLOP/s", || cross_entropy::forward(&x, &w, &targets, d));
    time(&name("forward_backward"), 3.0 * flops, "GFLOP/s", || {
        cross_entropy::forward_backward(&x, &w, &targets, 1e-3, d)
    });
}

fn elementwise_times(rows: usize, width: usize, vocab: usize) {
    let n = rows * width;
    let (x, g, w, b) = (numbers(n), numbers(n), numbers(width), numbers(width));
    let [_, mean, rstd] = layer_norm::forward(&x, &w, &b, 1e-5);
    let mut dx = x.clone();
    let bytes = 4.0 * n as f64;
    let name = |what: &str| format!("{what} {rows}x{width}");
    time(&name("layer_norm forward"), 2.0 * bytes, "GB/s", || layer_norm::forward(&x, &w, &b, 1e-5));
    time(&name("layer_norm backward"), 3.0 * bytes, "GB/s", || layer_norm::backward(&x, &w, &mean, &rstd, &g));
    for kind in [Gelu::Erf, Gelu::Tanh] {
        time(&name(&format!("gelu {kind:?} forward")), 2.0 * bytes, "GB/s", || gelu::forward(kind, &x));
        time(&name(&format!("gelu {kind:?} backward")), 3.0 * bytes, "GB/s", || gelu::backward(kind, &x, &mut dx));
    }
    let table = numbers(vocab * width);
    let ids: Vec<u32> = (0..rows).map(|i| (i * 7919 % vocab) as u32).collect();
    time(&name(&format!("embedding {vocab} forward")), 2.0 * bytes, "GB/s", || embedding::forward(&table, &ids, width));
    time(&name(&format!("embedding {vocab} backward")), 4.0 * table.len() as f64 + bytes, "GB/s", || {
        embedding::backward(&g, &ids, width, vocab)
    });
}

/// What lies between the convolutions of a stack: batch norm, ReLU, statistics.
fn stack_times(images: usize, channels: usize, plane: usize) {
    let slab = images * channels * plane;
    let mut x = numbers(3 * slab);
    x[2 * slab..].iter_mut().for_each(|r| *r = r.abs());
    let mut g = x.clone();
    let (scale, shift) = (numbers(channels), numbers(channels));
    let dims = channel_affine::Dims { slabs: 3, channels, plane };
    let (bytes, one) = (12.0 * slab as f64, 4.0 * slab as f64);
    let name = |what: &str| format!("{what} 3x{images}x{channels}x{plane}");
    time(&name("channel_moments forward"), one, "GB/s", || channel_moments::forward(&x, dims));
    let (moments, gm) = (channel_moments::forward(&x, dims), numbers(2 * channels));
    // The gradient of centres and radii is written too: it is zero.
    time(&name("channel_moments backward"), one + bytes, "GB/s", || channel_moments::backward(&x, &moments, &gm, dims));
    time(&name("channel_affine forward"), 2.0 * bytes, "GB/s", || channel_affine::forward(&x, &scale, &shift, dims));
    time(&name("channel_affine backward"), 3.0 * bytes, "GB/s", || channel_affine::backward(&x, &scale, &mut g, dims));
    g.copy_from_slice(&x);
    time(&name("relu forward"), 2.0 * bytes, "GB/s", || relu::forward(&x, 3));
    time(&name("relu backward"), 3.0 * bytes, "GB/s", || relu::backward(&x, &mut g, 3));
    let sums = interval_moments::forward(&x);
    time(&name("interval_moments forward"), 2.0 * one, "GB/s", || interval_moments::forward(&x));
    time(&name("interval_moments backward"), 2.0 * one + bytes, "GB/s", || {
        interval_moments::backward(&x, &sums, &[0.1; 7])
    });
}

fn vector_times(n: usize) {
    let (g, mut p) = (numbers(n), numbers(n));
    let (mut m, mut v) = (vec![0.0; n], vec![0.0; n]);
    let o = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, step: 10, grad_scale: 0.5 };
    let bytes = 4.0 * n as f64;
    time(&format!("adamw {n}"), 7.0 * bytes, "GB/s", || adamw::update(&mut p, &g, &mut m, &mut v, &o));
    time(&format!("sum_of_squares {n}"), bytes, "GB/s", || norm::sum_of_squares(&g));
    time(&format!("first_non_finite {n}"), bytes, "GB/s", || norm::first_non_finite(&g));
}

fn main() {
    for (rows, d) in [(4096, 128), (2048, 512)] {
        for (inputs, outputs) in [(d, 3 * d), (d, d), (d, 4 * d), (4 * d, d)] {
            linear_times(Dims { rows, inputs, outputs });
        }
    }
    attention_times(Shape { batch: 8, seq: 512, heads: 4, head_dim: 32 });
    attention_times(Shape { batch: 4, seq: 512, heads: 8, head_dim: 64 });
    // The layers of CNN-7, narrow on MNIST and as published on CIFAR-10, and one of Wide-ResNet-8.
    let conv = |images, inputs, outputs, size, kernel, stride| {
        let padding = kernel / 2;
        conv_times(conv::Shape {
            slabs: 3,
            images,
            inputs,
            outputs,
            groups: 1,
            size: [size; 2],
            kernel,
            stride,
            padding,
        });
    };
    for (w, input, size, images) in [(8, 1, 28, 256), (16, 1, 28, 256), (64, 3, 32, 128)] {
        conv(images, input, w, size, 3, 1);
        conv(images, w, w, size, 3, 1);
        conv(images, w, 2 * w, size, 3, 2);
        conv(images, 2 * w, 2 * w, size / 2, 3, 1);
    }
    conv(32, 256, 512, 16, 1, 2);
    conv(32, 512, 512, 8, 3, 1);
    head_times(HeadDims { rows: 4096, dim: 128, vocab: 8192 });
    head_times(HeadDims { rows: 4096, dim: 128, vocab: 50304 });
    head_times(HeadDims { rows: 2048, dim: 512, vocab: 50304 });
    for (rows, width) in [(4096, 128), (2048, 512)] {
        if ["layer_norm", "gelu", "embedding"].iter().any(|kind| wanted(kind)) {
            elementwise_times(rows, width, 50304);
        }
    }
    if ["channel_", "relu", "interval_moments"].iter().any(|kind| wanted(kind)) {
        stack_times(128, 16, 28 * 28);
        stack_times(128, 32, 14 * 14);
    }
    if ["adamw", "sum_of_squares", "first_non_finite"].iter().any(|kind| wanted(kind)) {
        vector_times(70_000_000);
    }
}
