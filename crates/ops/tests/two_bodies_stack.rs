//! The two bodies of every operation on stacks: the fused one and the plain composition must agree, forward and in
//! every gradient, with and without intervals, on odd sizes and on inputs that are views.

mod common;

use burn::tensor::{Device, Tensor, TensorData};
use common::devices;
use temper_ops::composed;
use temper_ops::stack::{self, Conv, Sums};

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

fn random<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(noise(seed, shape.iter().product()), shape), &Device::flex())
}

/// A stack whose radii are not negative.
fn stack_of(seed: u64, shape: [usize; 5]) -> Tensor<5> {
    let mut values = noise(seed, shape.iter().product());
    let slab = values.len() / shape[0];
    values.iter_mut().skip(2 * slab).for_each(|r| *r = 0.3 * r.abs());
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
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

/// Runs a body on leaves made of input, weight and bias, moved to `device`: output, then the gradients of those that were asked for,
/// under the upstream gradient `noise`.
fn run<const X: usize, const W: usize, const D: usize>(
    device: &Device,
    (x, w, b): &(Tensor<X>, Tensor<W>, Tensor<1>),
    used: [bool; 3],
    body: impl Fn(Tensor<X>, Tensor<W>, Tensor<1>) -> Tensor<D>,
) -> Vec<Vec<f32>> {
    let (x, w, b) = (x.clone().to_device(device), w.clone().to_device(device), b.clone().to_device(device));
    let x = if used[0] { x.autodiff().require_grad() } else { x.autodiff() };
    let (w, b) = (w.autodiff().require_grad(), b.autodiff().require_grad());
    let out = body(x.clone(), w.clone(), b.clone());
    let upstream: Tensor<D> =
        Tensor::from_data(TensorData::new(noise(99, out.shape().num_elements()), out.shape()), device);
    let mut tape = (out.clone() * upstream.autodiff()).sum().backward();
    let mut results = vec![values(out)];
    results.extend(used[0].then(|| values(x.grad_remove(&mut tape).unwrap())));
    results.extend(used[1].then(|| values(w.grad_remove(&mut tape).unwrap())));
    results.extend(used[2].then(|| values(b.grad_remove(&mut tape).unwrap())));
    results
}

fn compare<const X: usize, const W: usize, const D: usize>(
    what: &str,
    inputs: &(Tensor<X>, Tensor<W>, Tensor<1>),
    used: [bool; 3],
    fused: impl Fn(Tensor<X>, Tensor<W>, Tensor<1>) -> Tensor<D>,
    plain: impl Fn(Tensor<X>, Tensor<W>, Tensor<1>) -> Tensor<D>,
) {
    let a = run(&Device::flex(), inputs, used, fused);
    for device in devices() {
        let b = run(&device, inputs, used, &plain);
        assert_eq!(a.len(), b.len(), "{what}");
        for (i, (a, b)) in a.iter().zip(&b).enumerate() {
            let part = if i == 0 { "output".into() } else { format!("gradient {i}") };
            check(&format!("{what}, {part} on {device:?}"), a, b);
        }
    }
}

const ALL: [bool; 3] = [true; 3];
const INPUT: [bool; 3] = [true, false, false];

/// Images, inputs, outputs, groups, height, width, kernel, stride, padding.
const CONVOLUTIONS: [[usize; 9]; 9] = [
    [2, 1, 8, 1, 9, 11, 3, 1, 1],
    [3, 3, 5, 1, 12, 7, 3, 2, 1],
    [1, 4, 6, 2, 8, 8, 3, 1, 1],
    [2, 6, 9, 3, 10, 9, 1, 2, 0],
    [2, 5, 7, 1, 9, 13, 1, 1, 0],
    [1, 2, 3, 1, 11, 10, 4, 2, 1],
    [1, 16, 33, 1, 28, 28, 3, 2, 1],
    [2, 20, 18, 1, 17, 18, 3, 1, 0],
    [1, 3, 2, 1, 5, 6, 5, 1, 2],
];

/// What follows an affine map and makes its output again must have the very gradients of what keeps it.
#[test]
fn outputs_that_are_made_again() {
    for slabs in [1, 3] {
        let x = stack_of(1, [slabs, 3, 5, 6, 7]);
        let inputs = (x.clone(), random(2, [5]), random(3, [5]));
        let made = stack::Affine::new(&x, &inputs.1, &inputs.2).expect("planes are large enough");
        let relu = |again: bool| {
            let made = made.clone();
            run(&Device::flex(), &inputs, ALL, move |x, scale, shift| {
                let y = stack::channel_affine(x, scale, shift);
                if again { stack::relu_after(y, &made) } else { stack::relu(y) }
            })
        };
        assert_eq!(relu(true), relu(false), "relu, S {slabs}");
        if slabs == 3 {
            let moments = |again: bool| {
                let made = made.clone();
                run(&Device::flex(), &inputs, ALL, move |x, scale, shift| {
                    let y = stack::channel_affine(x, scale, shift);
                    if again { stack::interval_moments_after(y, &made) } else { stack::interval_moments(y) }
                })
            };
            assert_eq!(moments(true), moments(false), "interval moments");
        }
    }
    assert!(stack::Affine::new(&stack_of(1, [3, 2, 4, 1, 1]), &random(2, [4]), &random(3, [4])).is_none());
}

#[test]
fn batch_norm() {
    for slabs in [1, 3] {
        for (n, c, h, w) in [(1, 1, 1, 2), (2, 3, 5, 7), (9, 4, 1, 1), (3, 17, 8, 8)] {
            let x = stack_of(1, [slabs, n, c, h, w]) + 0.5;
            compare(
                &format!("batch_norm S {slabs}, {n} {c}x{h}x{w}"),
                &(x, random(2, [c]), random(3, [c])),
                ALL,
                |x, weight, bias| {
                    let moments = stack::channel_moments(x.clone());
                    stack::batch_norm(x, weight, bias, &moments, 1e-5)
                },
                |x, weight, bias| composed::batch_norm(x, weight, bias, 1e-5),
            );
        }
    }
}

#[test]
fn conv2d() {
    for slabs in [1, 3] {
        for [n, i, o, groups, h, w, k, stride, padding] in CONVOLUTIONS {
            let conv = Conv { stride, padding, groups };
            let inputs = (stack_of(1, [slabs, n, i, h, w]), random(2, [o, i / groups, k, k]), random(3, [o]));
            for used in [ALL, [false, true, true]] {
                compare(
                    &format!("conv2d S {slabs}, {n} {i}x{h}x{w} -> {o}, kernel {k}, {conv:?}"),
                    &inputs,
                    used,
                    |x, w, b| stack::conv2d(x, w, b, conv, Sums::Fast),
                    |x, w, b| composed::conv2d(x, w, b, conv),
                );
            }
        }
    }
}

#[test]
fn conv2d_adjoint() {
    for [n, i, o, groups, h, w, k, stride, padding] in CONVOLUTIONS {
        let conv = Conv { stride, padding, groups };
        let out = [h, w].map(|size| conv.output(size, k).unwrap());
        compare(
            &format!("conv2d_adjoint {n} {i}x{h}x{w} -> {o}, kernel {k}, {conv:?}"),
            &(random(1, [n, o, out[0], out[1]]), random(2, [o, i / groups, k, k]), random(3, [1])),
            [true, true, false],
            |x, weight, _| stack::conv2d_adjoint(x, weight, conv, [h, w], Sums::Fast),
            |x, weight, _| composed::conv2d_adjoint(x, weight, conv, [h, w]),
        );
    }
}

#[test]
fn dense() {
    for slabs in [1, 3] {
        for (rows, inputs, outputs) in [(1, 5, 3), (67, 24, 40), (9, 700, 33)] {
            compare(
                &format!("dense S {slabs}, {rows}x{inputs}->{outputs}"),
                &(stack_of(1, [slabs, rows, inputs, 1, 1]), random(2, [outputs, inputs]), random(3, [outputs])),
                ALL,
                stack::dense,
                composed::dense,
            );
        }
    }
}

#[test]
fn channels() {
    for slabs in [1, 3] {
        for [n, c, h, w] in [[1, 1, 1, 2], [5, 3, 7, 9], [33, 17, 1, 1], [2, 4, 20, 31]] {
            let x = stack_of(1, [slabs, n, c, h, w]);
            let what = format!("S {slabs}, {n}x{c}x{h}x{w}");
            let (scale, shift) = (random(2, [1, c]), random(3, [c]));
            compare(
                &format!("channel_affine {what}"),
                &(x.clone(), scale, shift),
                ALL,
                |x, scale, shift| stack::channel_affine(x, scale.squeeze_dim(0), shift),
                |x, scale, shift| composed::channel_affine(x, scale.squeeze_dim(0), shift),
            );
            compare(
                &format!("channel_moments {what}"),
                &(x + 3.0, random(2, [1]), random(3, [1])),
                INPUT,
                |x, _, _| stack::channel_moments(x),
                |x, _, _| composed::channel_moments(x),
            );
        }
    }
}

#[test]
fn relu_and_interval_moments() {
    for slabs in [1, 3] {
        for shape in [[slabs, 1, 1, 1, 3], [slabs, 5, 3, 7, 9], [slabs, 40, 8, 13, 9]] {
            let inputs = (stack_of(1, shape), random(2, [1]), random(3, [1]));
            let what = format!("{shape:?}");
            compare(&format!("relu {what}"), &inputs, INPUT, |x, _, _| stack::relu(x), |x, _, _| composed::relu(x));
            if slabs == 3 {
                compare(
                    &format!("interval_moments {what}"),
                    &inputs,
                    INPUT,
                    |x, _, _| stack::interval_moments(x),
                    |x, _, _| composed::interval_moments(x),
                );
            }
        }
    }
}

#[test]
fn running_statistics() {
    let (old, batch) = (random(1, [7]), random(2, [7]));
    let fused = values(stack::running(old.clone(), batch.clone(), 0.1, 1.25));
    for device in devices() {
        let there = composed::running(old.clone().to_device(&device), batch.clone().to_device(&device), 0.1, 1.25);
        check(&format!("running on {device:?}"), &fused, &values(there));
    }
}

#[test]
fn margins() {
    for (n, width, classes) in [(1, 3, 2), (9, 70, 10), (33, 129, 7)] {
        let labels: Vec<u32> = (0..n).map(|i| (i * 5 % classes) as u32).collect();
        compare(
            &format!("margins {n} {width} {classes}"),
            &(stack_of(1, [3, n, width, 1, 1]), random(2, [classes, width]), random(3, [classes])),
            ALL,
            |x, w, b| stack::margins(x, w, b, &labels),
            |x, w, b| composed::margins(x, w, b, &labels),
        );
    }
}

/// Images and their boxes, at the edges of what a pixel can be, for radii down to those that a pixel does not resolve.
#[test]
fn boxes() {
    for [n, c, h, w] in [[1, 1, 1, 1], [3, 3, 5, 7], [9, 1, 28, 28]] {
        let pixels = (random(1, [n, c, h, w]) * 0.7 + 0.5).clamp(0.0, 1.0);
        let eps: Vec<f64> = (0..n).map(|image| [0.1, 1e-6, 0.7][image % 3]).collect();
        let (mean, std) = (&[0.5, 0.1, 0.3][..c], &[0.2, 1.0, 0.7][..c]);
        let what = format!("{n} {c}x{h}x{w}");
        let clean = values(stack::clean(pixels.clone(), mean, std));
        let boxes = stack::boxes(pixels.clone(), &eps, mean, std);
        for device in devices() {
            let pixels = pixels.clone().to_device(&device);
            let expected = composed::boxes(pixels.clone(), None, mean, std);
            check(&format!("clean {what} on {device:?}"), &clean, &values(expected));
            let expected = composed::boxes(pixels, Some(&eps), mean, std);
            for slab in 0..3 {
                for image in 0..n {
                    let part = |stack: &Tensor<5>| values(stack.clone().narrow(0, slab, 1).narrow(1, image, 1));
                    let what = format!("boxes {what}, part {slab} of image {image} on {device:?}");
                    check(&what, &part(&boxes), &part(&expected));
                }
            }
        }
    }
}

/// A stack that is a view of another enters: it must be read in its logical order.
#[test]
fn views_are_read_in_logical_order() {
    let stored = stack_of(1, [3, 4, 5, 6, 7]);
    let view = stored.clone().swap_dims(3, 4).narrow(1, 1, 2);
    let copy = Tensor::from_data(view.clone().into_data(), &Device::flex());
    let conv = Conv { stride: 1, padding: 1, groups: 1 };
    let (w, b) = (random(2, [4, 5, 3, 3]), random(3, [4]));
    let transposed = random(2, [3, 3, 5, 4]).swap_dims(0, 3).swap_dims(1, 2);
    let straight = Tensor::from_data(transposed.clone().into_data(), &Device::flex());
    for (a, b) in [
        (
            stack::conv2d(view.clone(), w.clone(), b.clone(), conv, Sums::Fast),
            stack::conv2d(copy.clone(), w, b.clone(), conv, Sums::Fast),
        ),
        (
            stack::conv2d(copy.clone(), transposed, b.clone(), conv, Sums::Fast),
            stack::conv2d(copy.clone(), straight, b, conv, Sums::Fast),
        ),
        (stack::relu(view.clone()), stack::relu(copy.clone())),
    ] {
        assert_eq!(values(a), values(b));
    }
    assert_eq!(values(stack::channel_moments(view.clone())), values(stack::channel_moments(copy.clone())));
    assert_eq!(values(stack::interval_moments(view)), values(stack::interval_moments(copy)));
}
