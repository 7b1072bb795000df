//! Every kernel once with its outputs and all temporary memory full of NaN: the results are, bit for bit, those of memory
//! that happened to be there, with every instruction set. A kernel that leaves a number of its output unwritten panics.
mod common;
use common::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use temper_kernels::adamw::{self, AdamW};
use temper_kernels::arch::{self, InstructionSet, instruction_set};
use temper_kernels::attack::{self, Aim};
use temper_kernels::attention::{self, Rotary};
use temper_kernels::channel_affine::Dims;
use temper_kernels::conv::{self, Sums};
use temper_kernels::cross_entropy::{self, HeadDims};
use temper_kernels::gelu::{self, Gelu};
use temper_kernels::gemm::{self, Layout};
use temper_kernels::linear::{self, Dims as Linear};
use temper_kernels::{batch_norm, boxes, channel_affine, channel_moments, dense, embedding};
use temper_kernels::{interval_moments, layer_norm, margins, poison_outputs, relu};

/// What a kernel makes.
type Results = Vec<Vec<f32>>;
/// Its module and name, and a call of it.
type Kernel = (&'static str, fn() -> Results);

/// Every public function that returns numbers or replaces some, by module and name.
const KERNELS: [Kernel; 48] = [
    ("adamw::update", || {
        let o = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, step: 3, grad_scale: 0.5 };
        let (mut p, mut m, mut v) = (numbers(1, 1001), numbers(2, 1001), vec![0.5; 1001]);
        adamw::update(&mut p, &numbers(3, 1001), &mut m, &mut v, &o);
        vec![p, m, v]
    }),
    ("attack::climb", || {
        let [mut before, x, gradient, lower, upper] = images();
        attack::climb(&mut before, &x, &gradient, [&lower, &upper], &numbers(6, 10), 0.75);
        vec![before]
    }),
    ("attack::heights", || AIMS.map(|aim| attack::heights(&numbers(1, 50), aim)).to_vec()),
    ("attack::heights_backward", || {
        AIMS.map(|aim| attack::heights_backward(&numbers(2, 10), &numbers(1, 50), aim)).to_vec()
    }),
    ("attack::margins", || vec![attack::margins(&numbers(1, 50), &LABELS)]),
    ("attack::margins_backward", || vec![attack::margins_backward(&numbers(2, 10), &numbers(1, 50), &LABELS)]),
    ("attack::replace", || {
        let [mut to, from, ..] = images();
        attack::replace(&mut to, &from, &[0, 1, 0, 0, 1, 1, 0, 1, 0, 0]);
        vec![to]
    }),
    ("attack::square", || {
        let [mut x, _, _, lower, upper] = images();
        let draws: Vec<f32> = numbers(6, 50).iter().map(|draw| draw.abs()).collect();
        attack::square(&mut x, [&lower, &upper], &draws, 7, [3, 11, 31]);
        vec![x]
    }),
    ("attack::step", || {
        let [mut x, _, gradient, lower, upper] = images();
        attack::step(&mut x, &gradient, [&lower, &upper], 0.1);
        vec![x]
    }),
    ("attention::backward", || {
        let (s, rotary, qkv) = attention_input();
        let [out, lse] = attention::forward(&qkv, &rotary, s);
        vec![attention::backward(&qkv, &rotary, s, &out, &lse, &numbers(2, out.len()))]
    }),
    ("attention::forward", || {
        let (s, rotary, qkv) = attention_input();
        attention::forward(&qkv, &rotary, s).to_vec()
    }),
    ("batch_norm::backward", || {
        let (x, [w, _]) = (stack(), channels());
        let (moments, mut g) = (channel_moments::forward(&x, DIMS), numbers(4, x.len()));
        let gradients = batch_norm::backward(&x, &moments, &w, 1e-5, &mut g, DIMS);
        [vec![g], gradients.to_vec()].concat()
    }),
    ("batch_norm::scale_and_shift", || {
        let [w, b] = channels();
        batch_norm::scale_and_shift(&channel_moments::forward(&stack(), DIMS), &w, &b, 1e-5).to_vec()
    }),
    ("boxes::boxes", || vec![boxes::boxes(&numbers(1, 10 * 5 * 35), &[0.1; 10], &[0.5; 5], &[0.2; 5])]),
    ("boxes::clean", || vec![boxes::clean(&numbers(1, 10 * 5 * 35), 10, &[0.5; 5], &[0.2; 5])]),
    ("channel_affine::backward", || {
        let (x, [scale, _]) = (stack(), channels());
        let mut g = numbers(4, x.len());
        let sums = channel_affine::backward(&x, &scale, &mut g, DIMS);
        [vec![g], sums.to_vec()].concat()
    }),
    ("channel_affine::forward", || {
        let [scale, shift] = channels();
        vec![channel_affine::forward(&stack(), &scale, &shift, DIMS)]
    }),
    ("channel_moments::backward", || {
        let x = stack();
        let moments = channel_moments::forward(&x, DIMS);
        vec![channel_moments::backward(&x, &moments, &numbers(4, moments.len()), DIMS)]
    }),
    ("channel_moments::forward", || vec![channel_moments::forward(&stack(), DIMS)]),
    ("conv::backward_input", || {
        of_convolutions(|s| {
            let (w, g) = (numbers(2, s.weight_len()), numbers(3, s.output_len()));
            [Sums::Fast, Sums::Plain].map(|sums| conv::backward_input(&g, &w, s, sums)).to_vec()
        })
    }),
    ("conv::backward_weight", || {
        of_convolutions(|s| {
            let (x, w, g) = (numbers(1, s.input_len()), numbers(2, s.weight_len()), numbers(3, s.output_len()));
            conv::backward_weight(&x, &g, &w, s).to_vec()
        })
    }),
    ("conv::forward", || {
        of_convolutions(|s| {
            let (x, w, b) = (numbers(1, s.input_len()), numbers(2, s.weight_len()), numbers(3, s.outputs));
            [Sums::Fast, Sums::Plain].map(|sums| conv::forward(&x, &w, Some(&b), s, sums)).to_vec()
        })
    }),
    ("cross_entropy::forward", || {
        let (d, x, w, targets) = head();
        vec![cross_entropy::forward(&x, &w, &targets, d)]
    }),
    ("cross_entropy::forward_backward", || {
        let (d, x, w, targets) = head();
        cross_entropy::forward_backward(&x, &w, &targets, 0.01, d).to_vec()
    }),
    ("dense::backward_bias", || vec![dense::backward_bias(&numbers(1, 3 * 70 * 19), 3, LINEAR)]),
    ("dense::backward_input", || vec![dense::backward_input(&numbers(1, 3 * 70 * 19), &weight(), 3, LINEAR)]),
    ("dense::backward_weight", || {
        [1, 3].map(|s| dense::backward_weight(&rows(s), &numbers(1, s * 70 * 19), &weight(), s, LINEAR)).to_vec()
    }),
    ("dense::forward", || [1, 3].map(|s| dense::forward(&rows(s), &weight(), &numbers(3, 19), s, LINEAR)).to_vec()),
    ("embedding::backward", || vec![embedding::backward(&numbers(1, 40 * 17), &indices(2, 40, 90), 17, 90)]),
    ("embedding::forward", || vec![embedding::forward(&numbers(1, 90 * 17), &indices(2, 40, 90), 17)]),
    ("gelu::backward", || {
        let mut g = numbers(1, 1001);
        gelu::backward(Gelu::Tanh, &numbers(2, 1001), &mut g);
        vec![g]
    }),
    ("gelu::forward", || [Gelu::Erf, Gelu::Tanh].map(|kind| gelu::forward(kind, &numbers(2, 1001))).to_vec()),
    ("gemm::gemm", || {
        let (m, n, k) = (61, 67, 300);
        let (a, b) = (numbers(1, m * k), numbers(2, k * n));
        let layouts = [Layout::Normal, Layout::Transposed];
        let product = |(a_layout, b_layout, accumulate)| {
            let mut c = numbers(3, m * n);
            gemm::gemm(m, n, k, 0.5, &a, a_layout, &b, b_layout, &mut c, accumulate);
            c
        };
        let each = layouts.into_iter().flat_map(|a| layouts.map(|b| (a, b)));
        each.flat_map(|(a, b)| [(a, b, false), (a, b, true)]).map(product).collect()
    }),
    ("interval_moments::backward", || {
        let x = stack();
        vec![interval_moments::backward(&x, &interval_moments::forward(&x), &numbers(4, 7))]
    }),
    ("interval_moments::backward_after", || {
        let (x, [scale, shift]) = (stack(), channels());
        let sums = interval_moments::forward(&channel_affine::forward(&x, &scale, &shift, DIMS));
        vec![interval_moments::backward_after(&x, &scale, &shift, &sums, &numbers(4, 7), DIMS)]
    }),
    ("layer_norm::backward", || {
        let (x, w) = (numbers(1, 67 * 45), numbers(2, 45));
        let [_, mean, rstd] = layer_norm::forward(&x, &w, &w, 1e-5);
        layer_norm::backward(&x, &w, &mean, &rstd, &numbers(3, 67 * 45)).to_vec()
    }),
    ("layer_norm::forward", || {
        layer_norm::forward(&numbers(1, 67 * 45), &numbers(2, 45), &numbers(3, 45), 1e-5).to_vec()
    }),
    ("linear::backward_bias", || vec![linear::backward_bias(&numbers(1, 70 * 19), LINEAR)]),
    ("linear::backward_input", || vec![linear::backward_input(&numbers(1, 70 * 19), &weight(), LINEAR)]),
    ("linear::backward_weight", || vec![linear::backward_weight(&numbers(1, 70 * 19), &rows(1), LINEAR)]),
    ("linear::forward", || vec![linear::forward(&rows(1), &weight(), Some(&numbers(3, 19)), LINEAR)]),
    ("linear::forward_gelu", || linear::forward_gelu(&rows(1), &weight(), None, Gelu::Erf, LINEAR).to_vec()),
    ("margins::backward_input", || vec![margins::backward_input(&numbers(1, 50), &numbers(2, 350), &LABELS, 5)]),
    ("margins::backward_weight", || {
        margins::backward_weight(&numbers(3, 3 * 10 * 70), &numbers(1, 50), &numbers(2, 350), &LABELS, 5).to_vec()
    }),
    ("margins::forward", || {
        vec![margins::forward(&numbers(3, 3 * 10 * 70), &numbers(2, 350), &numbers(1, 5), &LABELS)]
    }),
    ("relu::backward", || {
        let mut g = numbers(4, stack().len());
        relu::backward(&stack(), &mut g, 3);
        vec![g]
    }),
    ("relu::backward_after", || {
        let (x, [scale, shift]) = (stack(), channels());
        let mut g = numbers(4, x.len());
        relu::backward_after(&x, &scale, &shift, &mut g, DIMS);
        vec![g]
    }),
    ("relu::forward", || [1, 3].map(|slabs| relu::forward(&stack(), slabs)).to_vec()),
];

const DIMS: Dims = Dims { slabs: 3, channels: 5, plane: 35 };
const LINEAR: Linear = Linear { rows: 70, inputs: 300, outputs: 19 };
const LABELS: [u32; 10] = [0, 4, 1, 1, 3, 2, 0, 4, 4, 2];

const AIMS: [Aim; 2] = [
    Aim { labels: &LABELS, goals: None, over_spread: true },
    Aim { labels: &LABELS, goals: Some(&[1, 0, 3, 2, 4, 0, 1, 2, 3, 0]), over_spread: false },
];

/// Ten images under attack, their gradient, and the ends of their boxes.
fn images() -> [Vec<f32>; 5] {
    let part = |seed: u64, by: f32| numbers(seed, 10 * 3 * 11 * 31).iter().map(|v| 0.2 * v + by).collect();
    [part(1, 0.0), part(2, 0.0), part(3, 0.0), part(4, -0.3), part(5, 0.3)]
}

/// Two images of every slab; radii of at least zero.
fn stack() -> Vec<f32> {
    let mut x = numbers(1, 3 * 2 * 5 * 35);
    x.iter_mut().skip(2 * 2 * 5 * 35).for_each(|r| *r = 0.4 * r.abs());
    x
}

fn channels() -> [Vec<f32>; 2] {
    [numbers(2, 5), numbers(3, 5)]
}

fn rows(slabs: usize) -> Vec<f32> {
    numbers(1, slabs * 70 * 300)
}

fn weight() -> Vec<f32> {
    numbers(2, 19 * 300)
}

fn attention_input() -> (attention::Shape, Rotary, Vec<f32>) {
    let s = attention::Shape { batch: 2, seq: 77, heads: 2, head_dim: 20 };
    (s, Rotary::new(4, 1e4, s.seq), numbers(1, 2 * 77 * 2 * 3 * 20))
}

fn head() -> (HeadDims, Vec<f32>, Vec<f32>, Vec<u32>) {
    // Two chunks of rows.
    let d = HeadDims { rows: 270, dim: 13, vocab: 61 };
    (d, numbers(1, d.rows * d.dim), numbers(2, d.vocab * d.dim), indices(3, d.rows, d.vocab))
}

/// Slabs, images, inputs, outputs, groups, height, width, kernel, stride, padding: tap by tap with rows of every kind, at
/// Winograd's points, with strides below, at and above the kernel's size.
fn of_convolutions(work: impl Fn(conv::Shape) -> Results) -> Results {
    let shapes = [
        [3, 2, 5, 9, 1, 7, 7, 3, 1, 1],
        [1, 2, 3, 7, 1, 13, 6, 3, 2, 1],
        [3, 1, 6, 8, 2, 10, 19, 3, 1, 1],
        [1, 1, 4, 6, 1, 9, 10, 1, 3, 1],
        [3, 1, 8, 17, 1, 14, 14, 3, 2, 1],
        [1, 1, 2, 4, 1, 3, 3, 3, 1, 4],
        [3, 2, 16, 16, 1, 13, 14, 3, 1, 1],
        [1, 1, 17, 18, 1, 7, 19, 3, 1, 2],
    ];
    let shape = |[slabs, images, inputs, outputs, groups, h, w, kernel, stride, padding]: [usize; 10]| conv::Shape {
        slabs,
        images,
        inputs,
        outputs,
        groups,
        size: [h, w],
        kernel,
        stride,
        padding,
    };
    shapes.into_iter().flat_map(|s| work(shape(s))).collect()
}

fn kernels() -> impl Iterator<Item = Kernel> {
    KERNELS.into_iter()
}

/// The public functions of the sources that return numbers or take some to replace.
fn written_in(folder: &Path, module: &str, names: &mut BTreeSet<String>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let module = if module.is_empty() { stem } else { module };
        if path.is_dir() {
            written_in(&path, module, names);
            continue;
        }
        for function in fs::read_to_string(&path).unwrap().split("\npub fn ").skip(1) {
            let signature = function.split('{').next().unwrap();
            let (name, rest) = signature.split_once(['(', '<']).unwrap();
            if rest.contains("&mut [f32]") || rest.contains("Vec<f32>") {
                names.insert(format!("{module}::{name}"));
            }
        }
    }
}

#[test]
fn every_kernel_is_in_the_table() {
    let mut expected = BTreeSet::new();
    written_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut expected);
    assert_eq!(kernels().map(|(name, _)| name.to_owned()).collect::<BTreeSet<_>>(), expected);
}

#[test]
fn nothing_is_read_before_it_is_written() {
    let bits = |results: Results| -> Vec<Vec<u32>> {
        results.into_iter().map(|numbers| numbers.into_iter().map(f32::to_bits).collect()).collect()
    };
    let sets = [InstructionSet::Portable, InstructionSet::Avx2, InstructionSet::Avx512];
    let every = || {
        let mut made = Vec::new();
        for set in sets {
            arch::pretend_at_most(set);
            if instruction_set() == set {
                made.extend(kernels().map(|(name, kernel)| (set, name, bits(kernel()))));
            }
        }
        made
    };
    let plain = every();
    poison_outputs();
    for ((set, name, plain), (_, _, poisoned)) in plain.into_iter().zip(every()) {
        assert!(plain.iter().flatten().all(|&v| !f32::from_bits(v).is_nan()), "{name} makes a NaN with {set:?}");
        assert!(plain == poisoned, "{name} depends on memory that it did not write, with {set:?}");
    }
}
