//! Every operation has two bodies: the fused one and the plain composition. They must agree, forward
//! and in every gradient, also on odd shapes and on inputs that are views.

mod common;

use burn::tensor::{Device, Tensor, TensorData};
use common::devices;
use temper_ops::attack::{self, Ends};
use temper_ops::{self as ops, AdamW, Gelu, Rotary, Shape, composed};

/// Deterministic values in [-1, 1).
fn noise(seed: u64, n: usize) -> Vec<f32> {
    // Every test comes through here.
    temper_kernels::poison_outputs();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(n).collect()
}

fn matrix(seed: u64, rows: usize, columns: usize) -> Tensor<2> {
    Tensor::from_data(TensorData::new(noise(seed, rows * columns), [rows, columns]), &Device::flex())
}

fn vector(seed: u64, n: usize) -> Tensor<1> {
    Tensor::from_data(TensorData::new(noise(seed, n), [n]), &Device::flex())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.inner().into_data().try_to_vec().unwrap()
}

/// Largest difference is at most 1e-5 of the largest entry (f32 sums of a few hundred terms).
fn check(what: &str, fused: &[f32], composed: &[f32]) {
    assert_eq!(fused.len(), composed.len(), "{what}");
    let largest = composed.iter().fold(1e-6f32, |a, b| a.max(b.abs()));
    for (i, (a, b)) in fused.iter().zip(composed).enumerate() {
        assert!((a - b).abs() <= 1e-5 * largest, "{what}[{i}]: fused {a}, composed {b}, largest {largest}");
    }
}

/// Runs one body on leaves made of `matrices` and `vectors`, moved to `device`: output, then every gradient under the
/// upstream gradient `noise`.
fn run<const D: usize>(
    device: &Device,
    matrices: &[Tensor<2>],
    vectors: &[Tensor<1>],
    body: impl Fn(&[Tensor<2>], &[Tensor<1>]) -> Tensor<D>,
) -> Vec<Vec<f32>> {
    let matrices: Vec<_> = matrices.iter().map(|m| m.clone().to_device(device).autodiff().require_grad()).collect();
    let vectors: Vec<_> = vectors.iter().map(|v| v.clone().to_device(device).autodiff().require_grad()).collect();
    let out = body(&matrices, &vectors);
    let upstream: Tensor<D> =
        Tensor::from_data(TensorData::new(noise(99, out.shape().num_elements()), out.shape()), device);
    let mut tape = (out.clone() * upstream.autodiff()).sum().backward();
    let mut results = vec![values(out)];
    results.extend(matrices.iter().map(|m| values(m.grad_remove(&mut tape).unwrap())));
    results.extend(vectors.iter().map(|v| values(v.grad_remove(&mut tape).unwrap())));
    results
}

fn compare<const D: usize>(
    what: &str,
    matrices: &[Tensor<2>],
    vectors: &[Tensor<1>],
    fused: impl Fn(&[Tensor<2>], &[Tensor<1>]) -> Tensor<D>,
    plain: impl Fn(&[Tensor<2>], &[Tensor<1>]) -> Tensor<D>,
) {
    let a = run(&Device::flex(), matrices, vectors, fused);
    for device in devices() {
        let b = run(&device, matrices, vectors, &plain);
        for (i, (a, b)) in a.iter().zip(&b).enumerate() {
            let part = if i == 0 { "output".into() } else { format!("gradient {i}") };
            check(&format!("{what}, {part} on {device:?}"), a, b);
        }
    }
}

#[test]
fn layer_norm() {
    for (rows, width) in [(1, 8), (7, 33), (300, 16)] {
        compare(
            &format!("layer_norm {rows}x{width}"),
            &[matrix(1, rows, width)],
            &[vector(2, width), vector(3, width)],
            |m, v| ops::layer_norm(m[0].clone(), v[0].clone(), v[1].clone(), 1e-5),
            |m, v| composed::layer_norm(m[0].clone(), v[0].clone(), v[1].clone(), 1e-5),
        );
    }
}

#[test]
fn linear_and_mlp() {
    for (rows, inputs, outputs) in [(1, 5, 3), (67, 24, 40), (130, 7, 1)] {
        let (m, v) = ([matrix(1, rows, inputs), matrix(2, outputs, inputs)], [vector(3, outputs)]);
        let what = format!("{rows}x{inputs}->{outputs}");
        compare(
            &format!("linear {what}"),
            &m,
            &v,
            |m, v| ops::linear(m[0].clone(), m[1].clone(), v[0].clone()),
            |m, v| composed::linear(m[0].clone(), m[1].clone(), v[0].clone()),
        );
        let (m, v) = ([m[0].clone(), m[1].clone(), matrix(4, 9, outputs)], [v[0].clone(), vector(5, 9)]);
        let layer = |m: &[Tensor<2>], v: &[Tensor<1>], i: usize| (m[i + 1].clone(), v[i].clone());
        for kind in [Gelu::Erf, Gelu::Tanh] {
            compare(
                &format!("mlp {what}->9 {kind:?}"),
                &m,
                &v,
                |m, v| ops::mlp(m[0].clone(), layer(m, v, 0), layer(m, v, 1), kind),
                |m, v| composed::mlp(m[0].clone(), layer(m, v, 0), layer(m, v, 1), kind),
            );
        }
    }
}

/// A transposed view enters a fused operation: it must be read in its logical order.
#[test]
fn views_are_read_in_logical_order() {
    let stored = matrix(1, 6, 9);
    let copy = Tensor::from_data(stored.clone().transpose().into_data(), &Device::flex());
    let (w, b) = (matrix(2, 4, 6), vector(3, 4));
    let a = values(ops::linear(stored.transpose(), w.clone(), b.clone()));
    assert_eq!(a, values(ops::linear(copy, w, b)));
}

#[test]
fn causal_attention() {
    for (batch, seq, heads, head_dim, rotary_dims) in
        [(1, 1, 1, 4, 2), (2, 17, 3, 8, 8), (1, 65, 2, 16, 4), (1, 130, 1, 10, 0)]
    {
        let shape = Shape { batch, seq, heads, head_dim };
        let rotary = Rotary::new(rotary_dims, 10_000.0, seq);
        compare(
            &format!("attention {batch} {seq} {heads} {head_dim} {rotary_dims}"),
            &[matrix(1, batch * seq, heads * 3 * head_dim)],
            &[],
            |m, _| ops::causal_attention(m[0].clone(), &rotary, shape),
            |m, _| composed::causal_attention(m[0].clone(), &rotary, shape),
        );
        for rows in [1, 7, 64].into_iter().filter(|rows| *rows <= seq) {
            compare(
                &format!("attention {batch} {seq} {heads} {head_dim} {rotary_dims} in tiles of {rows}"),
                &[matrix(1, batch * seq, heads * 3 * head_dim)],
                &[],
                |m, _| ops::causal_attention(m[0].clone(), &rotary, shape),
                |m, _| composed::causal_attention_in_tiles(m[0].clone(), &rotary, shape, rows),
            );
        }
    }
}

#[test]
fn cross_entropy_and_embedding() {
    for (rows, dim, vocab) in [(1, 4, 7), (37, 12, 101), (600, 8, 33)] {
        let targets: Vec<u32> = (0..rows).map(|i| (i * 13 % vocab) as u32).collect();
        let inputs = [matrix(1, rows, dim), matrix(2, vocab, dim)];
        compare(
            &format!("cross_entropy {rows}x{dim}x{vocab}"),
            &inputs,
            &[],
            |m, _| ops::cross_entropy(m[0].clone(), m[1].clone(), &targets, 0.125),
            |m, _| composed::cross_entropy(m[0].clone(), m[1].clone(), &targets, 0.125),
        );
        for piece in [1, 11, 100].into_iter().filter(|piece| rows / 20 < *piece && *piece <= rows) {
            compare(
                &format!("cross_entropy {rows}x{dim}x{vocab} in pieces of {piece}"),
                &inputs,
                &[],
                |m, _| ops::cross_entropy(m[0].clone(), m[1].clone(), &targets, 0.125),
                |m, _| composed::cross_entropy_in_pieces(m[0].clone(), m[1].clone(), &targets, 0.125, piece),
            );
        }
        let [x, w] = inputs;
        let plain = ops::token_nll(x.clone(), w.clone(), &targets);
        for device in devices() {
            let there = composed::token_nll(x.clone().to_device(&device), w.clone().to_device(&device), &targets);
            check(&format!("token_nll on {device:?}"), &plain, &values(there));
        }
        compare(
            &format!("embedding {rows}x{dim}x{vocab}"),
            &[matrix(3, vocab, dim)],
            &[],
            |m, _| ops::embedding(m[0].clone(), &targets),
            |m, _| composed::embedding(m[0].clone(), &targets),
        );
    }
}

#[test]
fn adamw() {
    for step in [1, 2, 1000] {
        let settings = AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, step, grad_scale: 0.5 };
        let inputs = || [matrix(1, 9, 11), matrix(2, 9, 11), matrix(3, 9, 11), matrix(4, 9, 11).square()];
        let [p, g, m, v] = inputs();
        let fused = ops::adamw(p, g, m, v, &settings);
        for device in devices() {
            let [p, g, m, v] = inputs().map(|tensor| tensor.to_device(&device));
            let plain = composed::adamw(p, g, m, v, &settings);
            for (name, (fused, plain)) in ["p", "m", "v"].iter().zip(fused.iter().cloned().zip(plain)) {
                check(&format!("adamw {name} at {step} on {device:?}"), &values(fused), &values(plain));
            }
        }
    }
}

#[test]
fn norms_and_non_finite_values() {
    let x = matrix(1, 13, 17);
    let expected: f64 = values(x.clone()).iter().map(|v| f64::from(*v).powi(2)).sum();
    assert!((ops::sums_of_squares(&[&x.clone().flatten(0, 1)], Vec::new()).0[0] - expected).abs() < 1e-9 * expected);
    for device in devices() {
        let (x, number) = (x.clone().to_device(&device).flatten(0, 1), vector(2, 1).to_device(&device));
        let (sums, numbers) = ops::sums_of_squares(&[&x, &x], vec![number.clone(), number * 2.0]);
        let expected = [expected, expected, f64::from(noise(2, 1)[0]), 2.0 * f64::from(noise(2, 1)[0])];
        for (found, expected) in sums.into_iter().chain(numbers).zip(expected) {
            assert!((found - expected).abs() < 1e-6 * expected.abs(), "{found} is not {expected} on {device:?}");
        }
    }
    assert_eq!(ops::first_non_finite(&x), None);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut v = noise(1, 40);
        v[23] = bad;
        let x: Tensor<1> = Tensor::from_data(TensorData::new(v, [40]), &Device::flex());
        assert_eq!(ops::first_non_finite(&x), Some(23));
    }
}

/// Margins, and what an attack climbs, also where there are too few classes for a spread.
#[test]
fn margins_and_heights() {
    for (images, classes) in [(1, 2), (7, 3), (5, 4), (33, 10)] {
        let logits = [matrix(1, images, classes) * 3.0];
        let class = |image: usize, factor: usize| (image * factor % classes) as u32;
        let labels: Vec<u32> = (0..images).map(|image| class(image, 5)).collect();
        let goals: Vec<u32> = (0..images).map(|image| class(image * 5 + 1, 1)).collect();
        compare(
            &format!("attack margins {images}x{classes}"),
            &logits,
            &[],
            |m, _| attack::margins(m[0].clone(), &labels),
            |m, _| composed::attack_margins(m[0].clone(), &labels),
        );
        for goals in [None, Some(goals.as_slice())] {
            for over_spread in [false, true] {
                compare(
                    &format!("attack heights {images}x{classes} {goals:?} {over_spread}"),
                    &logits,
                    &[],
                    |m, _| attack::heights(m[0].clone(), &labels, goals, over_spread),
                    |m, _| composed::attack_heights(m[0].clone(), &labels, goals, over_spread),
                );
            }
        }
    }
    let infinite = Tensor::<2>::from_floats([[1.0, f32::INFINITY], [2.0, 1.0], [f32::NAN, 0.0]], &Device::flex());
    let mut all = vec![attack::margins(infinite.clone(), &[0; 3])];
    all.extend(devices().iter().map(|device| composed::attack_margins(infinite.clone().to_device(device), &[0; 3])));
    for margins in all {
        let margins = values(margins);
        assert!(margins[0].is_nan() && margins[1] == 1.0 && margins[2].is_nan(), "{margins:?}");
    }
}

/// What moves the images of an attack, in their boxes, on sizes of several tasks; also where images are shared or views.
#[test]
fn steps_of_an_attack() {
    for (images, [c, h, w]) in [(1, [1, 1, 3]), (5, [2, 6, 4]), (40, [3, 19, 17])] {
        let shape = [c, h, w];
        let width = c * h * w;
        let all = |seed| matrix(seed, images, width);
        let ends = Ends { lower: all(1) * 0.2 - 0.5, upper: all(2) * 0.2 + 0.5 };
        let x = all(3).max_pair(ends.lower.clone()).min_pair(ends.upper.clone());
        let (before, gradient) = (all(4), all(5).mask_fill(all(6).greater_elem(0.8), 0.0));
        let (steps, chance) = (vector(7, images) + 1.0, vector(8, images));
        let which = |device: &Device| chance.clone().to_device(device).greater_elem(0.0);
        let draws: Vec<f32> = noise(9, images * (2 + c)).iter().map(|draw| draw * 0.5 + 0.5).collect();
        // A gradient as it comes from a network: a view of something larger.
        let view = Tensor::cat(vec![all(10), gradient.clone()], 0).narrow(0, images, images);
        // The composed body, with what it is given moved to each device.
        type Moved<'a> = &'a dyn Fn(Tensor<2>) -> Tensor<2>;
        let both = |what: &str, fused: Tensor<2>, composed: &dyn Fn(Moved, &Ends, &Device) -> Tensor<2>| {
            let fused = values(fused);
            for device in devices() {
                let to = |tensor: Tensor<2>| tensor.to_device(&device);
                let ends = Ends { lower: to(ends.lower.clone()), upper: to(ends.upper.clone()) };
                let composed = values(composed(&to, &ends, &device));
                check(&format!("{what} {images}x{shape:?} on {device:?}"), &fused, &composed);
            }
        };
        for gradient in [gradient, view] {
            both("step", attack::step(x.clone(), gradient.clone(), &ends, 0.3), &|to, ends, _| {
                composed::attack_step(to(x.clone()), to(gradient.clone()), ends, 0.3)
            });
            for keep in [1.0, 0.75] {
                let [x, before, gradient] = [&x, &before, &gradient].map(Tensor::clone);
                both(
                    "climb",
                    attack::climb(x.clone(), before.clone(), gradient.clone(), &ends, steps.clone(), keep),
                    &|to, ends, device| {
                        let [x, before, gradient] = [&x, &before, &gradient].map(|tensor| to(tensor.clone()));
                        composed::attack_climb(x, before, gradient, ends, steps.clone().to_device(device), keep)
                    },
                );
            }
        }
        for side in [1, h.min(w)] {
            both("square", attack::square(x.clone(), &ends, &draws, side, shape), &|to, ends, _| {
                composed::attack_square(to(x.clone()), ends, &draws, side, shape)
            });
        }
        both("replace", attack::replace(x.clone(), &before, &which(&Device::flex())), &|to, _, device| {
            composed::attack_replace(to(x.clone()), &to(before.clone()), &which(device))
        });
        // Whoever shares the images still has them.
        let kept = values(x.clone());
        attack::step(x.clone(), before, &ends, 0.3);
        assert_eq!(values(x), kept);
    }
}
