//! Image networks: what they are, what their pass computes, how they start, how they are stored.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use temper_base::{Kind, Problem};
use temper_graph::{BatchNorm, NETWORKS, NetworkConfig, Op, by_name, names::Named, text};
use temper_model::image::{Classifier, ImageInit, Layer, PooledMoments, Statistics, init::Draw, stored, vanilla_init};
use temper_model::init::{normal, uniform};
use temper_model::parameter::Parameters;
use temper_model::tensors::{self, Dtype, Outgoing, Stored};

const MNIST: [usize; 3] = [1, 28, 28];
const CIFAR: [usize; 3] = [3, 32, 32];
const TINY: [usize; 3] = [3, 64, 64];

fn net(config: &NetworkConfig, init: ImageInit, seed: u64) -> Classifier {
    Classifier::new(config.clone(), init, seed, &Device::flex())
}

fn named(name: &str, width: usize, batch_norm: BatchNorm, input: [usize; 3]) -> NetworkConfig {
    by_name(name, Some(width), batch_norm, input, 10).unwrap()
}

fn layers(lines: &[&str], input: [usize; 3], classes: usize) -> NetworkConfig {
    text::parse(lines, "recipe", input, classes).unwrap()
}

fn floats<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().try_into_vec().unwrap()
}

/// A stack of `images` random images in [0, 1], with radius `eps` around them unless that is none.
fn stack(images: usize, [c, h, w]: [usize; 3], eps: Option<f32>, seed: u64) -> Tensor<5> {
    let x: Vec<f32> = uniform(seed, "images", 0.5, images * c * h * w).into_iter().map(|v| v + 0.5).collect();
    let (mut values, slabs) = (x.clone(), if eps.is_some() { 3 } else { 1 });
    if let Some(eps) = eps {
        values.extend(&x);
        values.extend(vec![eps; x.len()]);
    }
    Tensor::from_data(TensorData::new(values, [slabs, images, c, h, w]), &Device::flex())
}

/// Checks kind and text of an error, hint included.
fn check(problem: &Problem, expected: &[&str]) {
    assert_eq!(problem.kind, Kind::Input, "{problem}");
    let text = format!("{problem} {}", problem.hint.as_deref().unwrap_or_default());
    for part in expected {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// Counts and multiplications worked out from the paper's code; those without batch norm by subtraction.
#[test]
fn parameters_and_multiplications_of_the_papers_networks() {
    use BatchNorm::{Conv, Full, None as No};
    #[rustfmt::skip]
    let table = [
        ("cnn7",               Full, MNIST,  10, 13_259_338, 114.5e6),
        ("cnn7",               Full, CIFAR,  10, 17_192_650, 150.7e6),
        ("cnn7-tiny",          Full, TINY,  200, 17_290_120, 439.2e6),
        ("cnn7",               Conv, CIFAR,  10, 17_192_650 - 2 * 512, 150.7e6),
        ("cnn7",               No,   CIFAR,  10, 17_192_650 - 2 * (2 * 64 + 3 * 128 + 512), 150.7e6),
        ("wide-resnet-8",      Full, MNIST,  10, 17_615_434, 504.7e6),
        ("wide-resnet-8",      Full, CIFAR,  10, 21_547_882, 659.0e6),
        ("wide-resnet-8-tiny", Full, TINY,  200, 91_424_776, 4.07e9),
        ("wide-resnet-8",      No,   CIFAR,  10, 21_547_882 - 2 * (16 + 3 * (128 + 256 + 512) + 512), 659.0e6),
        ("resnext",            Full, MNIST,  10, 13_677_706, 0.0),
        ("resnext",            Full, CIFAR,  10, 17_611_018, 0.0),
        ("resnext-tiny",       Full, TINY,  200, 16_981_960, 0.0),
    ];
    for (name, batch_norm, input, classes, parameters, macs) in table {
        let config = by_name(name, None, batch_norm, input, classes).unwrap();
        assert_eq!(config.parameters(), parameters, "{name} {batch_norm:?} {input:?}");
        let ratio = config.macs() as f64 / macs;
        assert!(macs == 0.0 || (ratio - 1.0).abs() < 2e-3, "{name} {input:?}: {} multiplications", config.macs());
    }
    // Further networks of the same code, to the digits it is known with.
    for (name, width, input, parameters) in
        [("cnn7", 128, CIFAR, 35.19e6), ("cnn6", 32, CIFAR, 4.26e6), ("cnn6", 32, MNIST, 3.28e6)]
    {
        let found = named(name, width, BatchNorm::Full, input).parameters() as f64;
        assert!((found / parameters - 1.0).abs() < 2e-3, "{name} {width}: {found}");
    }
}

#[test]
fn a_network_counts_what_it_holds() {
    for Named { name, .. } in NETWORKS {
        for batch_norm in [BatchNorm::None, BatchNorm::Conv, BatchNorm::Full] {
            let config = named(name, 2, batch_norm, [2, 24, 24]);
            let mut net = net(&config, ImageInit::Default, 1);
            let (mut count, mut names, mut buffers) = (0, Vec::new(), 0);
            net.visit(&mut |name, parameter| {
                count += parameter.len() as u64;
                names.push(name.to_string());
            });
            net.visit_buffers(&mut |_, parameter| buffers += parameter.len());
            assert_eq!(count, config.parameters(), "{name} {batch_norm:?}");
            names.sort();
            names.dedup();
            let norms = config.nodes.iter().filter(|node| node.op == Op::BatchNorm).count();
            let weighted = config.nodes.iter().filter(|n| matches!(n.op, Op::Conv { .. } | Op::Linear { .. })).count();
            assert_eq!(names.len(), 2 * (norms + weighted), "names are unique");
            assert_eq!(net.batch_norm_counts(3).len(), norms);
            assert_eq!(buffers > 0, norms > 0);
            // After every layer with weights, after convolutions only, or nowhere.
            let linears = config.nodes.iter().filter(|node| matches!(node.op, Op::Linear { .. })).count();
            let expected = match batch_norm {
                BatchNorm::None => 0,
                BatchNorm::Conv => weighted - linears,
                BatchNorm::Full => weighted - 1,
            };
            assert_eq!(norms, expected, "{name} {batch_norm:?}");
        }
    }
}

#[test]
fn shapes_of_cnn7() {
    let shapes = by_name("cnn7", None, BatchNorm::None, MNIST, 10).unwrap().shapes().unwrap();
    let (wide, narrow) = ([64, 28, 28], [128, 14, 14]);
    let mut expected = vec![MNIST, wide, wide, wide, wide];
    expected.extend([narrow; 6]);
    expected.extend([[128 * 14 * 14, 1, 1], [512, 1, 1], [512, 1, 1], [10, 1, 1]]);
    assert_eq!(shapes, expected);
}

#[test]
fn names_of_networks() {
    let by = |name: &str| by_name(name, None, BatchNorm::Full, MNIST, 10);
    assert_eq!(by("cnn7-nobn").unwrap(), by_name("cnn7", None, BatchNorm::None, MNIST, 10).unwrap());
    assert_eq!(by("cnn7-convbn").unwrap(), by_name("cnn7", None, BatchNorm::Conv, MNIST, 10).unwrap());
    assert_eq!(by("small").unwrap(), named("small", 16, BatchNorm::Full, MNIST));
    check(&by("cnn-7").unwrap_err(), &["cnn-7", "did you mean cnn7?"]);
    check(&by("wide-resnet8").unwrap_err(), &["wide-resnet-8"]);
    check(&by("vision-transformer").unwrap_err(), &["vision-transformer", "cnn7, ", "dm-small"]);
    check(&by_name("cnn7", Some(0), BatchNorm::Full, MNIST, 10).unwrap_err(), &["cnn7", "width is 0"]);
    check(
        &by_name("cnn7", Some(1 << 40), BatchNorm::Full, MNIST, 10).unwrap_err(),
        &["cnn7", "1099511627776", "64 is usual"],
    );
    check(&by_name("cnn7", Some(usize::MAX), BatchNorm::Full, MNIST, 10).unwrap_err(), &["cnn7", "width"]);
    check(&by_name("cnn7", None, BatchNorm::Full, MNIST, 1).unwrap_err(), &["classes is 1", "2 classes"]);
    check(&by_name("cnn7", None, BatchNorm::Full, [0, 28, 28], 10).unwrap_err(), &["0 x 28 x 28"]);
    // A network that does not fit the image: layer, what it reads, what it needs.
    let problem = by_name("dm-medium", None, BatchNorm::Full, [1, 12, 12], 10).unwrap_err();
    check(&problem, &["layer conv4", "64 x 2 x 2", "4 x 4", "too small"]);
    assert_eq!(vanilla_init("wide-resnet-8-tiny"), ImageInit::FanOut);
    assert_eq!(vanilla_init("resnext"), ImageInit::Default);
}

#[test]
fn networks_as_json() {
    for Named { name, .. } in NETWORKS {
        let config = named(name, 2, BatchNorm::Full, [3, 24, 20]);
        assert_eq!(NetworkConfig::from_json(&config.to_json(), "x").unwrap(), config, "{name}");
    }
    // The least that has to be said.
    let text = r#"{"input": [1, 4, 4], "classes": 2, "nodes": [
        {"name": "a", "op": {"conv": {"out": 2, "kernel": 3}}}, {"name": "b", "op": "relu"},
        {"name": "c", "op": "flatten"}, {"name": "d", "op": {"linear": {"out": 2}}}]}"#;
    let read = |text: &str| NetworkConfig::from_json(text, "network.json");
    let expected = layers(&["a: conv 2 3", "b: relu", "c: flatten", "d: linear 2"], [1, 4, 4], 2);
    assert_eq!(read(text).unwrap(), expected);
    for (from, to, expected) in [
        (r#""kernel": 3"#, r#""kernel": 3, "dilation": 2"#, "dilation"),
        (r#""classes": 2"#, r#""classes": 2, "pool": true"#, "pool"),
        (r#""name": "b""#, r#""name": "b", "alpha": 1"#, "alpha"),
        (r#""relu""#, r#""gelu""#, "gelu"),
        (r#""kernel": 3"#, r#""kernel": 5"#, "layer a"),
        (r#""name": "b""#, r#""name": "a""#, "layer a"),
        (r#""name": "b""#, r#""name": "a b""#, "a b"),
        (r#""op": "relu""#, r#""op": "relu", "inputs": [2]"#, "not there yet"),
        (r#""op": "relu""#, r#""op": "relu", "inputs": [0]"#, "read by no layer"),
        (r#""op": "relu""#, r#""op": "add""#, "sum reads 2"),
        (r#""classes": 2"#, r#""classes": 3"#, "2 logits for 3 classes"),
        (r#", {"name": "b""#, r#", {"name": "b""#, ""),
    ] {
        match read(&text.replacen(from, to, 1)) {
            Err(problem) => check(&problem, &["network.json", expected]),
            Ok(_) => assert_eq!(expected, "", "{to}"),
        }
    }
}

#[test]
fn networks_as_lists_of_layers() {
    for Named { name, .. } in NETWORKS {
        for batch_norm in [BatchNorm::None, BatchNorm::Full] {
            let config = named(name, 2, batch_norm, [3, 24, 20]);
            let lines = text::lines(&config);
            assert_eq!(text::parse(&lines, "x", [3, 24, 20], 10).unwrap(), config, "{name}: {lines:?}");
        }
    }
    #[rustfmt::skip]
    let small = layers(&[
        "conv 16 4 stride 2 padding 1", "bn", "relu", "conv 32 4 padding 1 stride 2", "bn", "relu", "flatten",
        "linear 128", "bn", "relu", "linear 10",
    ], MNIST, 10);
    assert_eq!(small, named("small", 16, BatchNorm::Full, MNIST));
    // A shortcut, pooling and the image as a further input.
    #[rustfmt::skip]
    let config = layers(&[
        "conv 4 3 padding 1", "start: relu", "conv 8 3 stride 2 padding 1", "long: bn",
        "conv 8 1 stride 2 from start", "add long", "pool 2", "flatten", "small: linear 6",
        "pool 4 stride 3 from image", "flatten", "linear 6", "add small", "linear 3",
    ], [1, 8, 8], 3);
    assert_eq!(text::parse(&text::lines(&config), "x", [1, 8, 8], 3).unwrap(), config);
}

#[test]
fn lists_of_layers_that_cannot_be() {
    let list = |lines: &[&str], expected: &[&str]| {
        let problem = text::parse(lines, "model.layers", [1, 8, 8], 2).expect_err(&lines.join("; "));
        check(&problem, &["model.layers"]);
        check(&problem, expected);
    };
    list(&[], &["no layer"]);
    list(&["flatten", ""], &["line 2", "holds no layer", "conv, linear"]);
    list(&["flatten", "dense 3"], &["line 2 (dense 3)", "dense is not a kind of layer"]);
    list(&["conv 8"], &["line 1 (conv 8)", "kernel is missing"]);
    list(&["conv 8 3x3"], &["kernel is 3x3", "whole number"]);
    list(&["conv 8 3 stride"], &["nothing follows stride"]);
    list(&["conv 8 3 dilation 2"], &["dilation", "groups N"]);
    list(&["conv 8 3 stride 0"], &["stride is 0"]);
    list(&["conv 8 9"], &["line 1", "1 x 8 x 8", "9 x 9"]);
    list(&["conv 8 3 groups 2"], &["2 groups"]);
    list(&["conv -8 3"], &["output channels is -8"]);
    list(&["linear 2"], &["line 1", "1 x 8 x 8", "flat", "flatten"]);
    list(&["flatten", "relu 2"], &["line 2", "2 is not understood"]);
    list(&["flatten", "linear 2", "relu"], &["line 3 (relu)", "last layer"]);
    list(&["flatten", "linear 3"], &["line 2", "3 logits for 2 classes"]);
    list(&["flatten", "linear 4", "add other", "linear 2"], &["line 3", "called other"]);
    list(&["flatten", "linear 4", "add", "linear 2"], &["line 3", "names no layer"]);
    list(&["a: flatten", "linear 4", "add a", "linear 2"], &["line 3", "4 features and 64 features"]);
    list(&["a: flatten", "a: linear 2"], &["line 2", "called a"]);
    list(&["a b: flatten", "linear 2"], &["line 1", "a b"]);
    list(&["image: flatten", "linear 2"], &["line 1", "image"]);
    list(&["flatten", "linear 4", "flatten from image", "linear 2"], &["line 2", "read by no layer"]);
    list(&["flatten", "linear 4 from here", "linear 2"], &["line 2", "here"]);
    list(&["pool 9", "flatten", "linear 2"], &["line 1", "9 x 9"]);
    list(&["pool", "flatten", "linear 2"], &["line 1", "kernel is missing"]);
    list(&["flatten", "linear 1048576", "linear 1048576", "linear 2"], &["line 3", "parameters"]);
}

/// Networks that together hold every kind of layer, narrow.
fn zoo() -> Vec<NetworkConfig> {
    #[rustfmt::skip]
    let mixed = layers(&[
        "conv 4 3 padding 1", "start: relu", "conv 8 3 stride 2 padding 1", "bn", "relu", "conv 8 3 padding 1 groups 4",
        "long: bn", "conv 8 1 stride 2 from start", "add long", "relu", "pool 3 stride 2", "flatten",
        "linear 10", "bn", "relu", "linear 10",
    ], [2, 12, 9], 10);
    vec![
        named("cnn7", 2, BatchNorm::Full, [2, 8, 8]),
        named("wide-resnet-8", 1, BatchNorm::Full, [1, 8, 8]),
        named("resnext-tiny", 2, BatchNorm::Conv, [3, 8, 8]),
        mixed,
    ]
}

/// A network after some batches, so that its running statistics are its own and its biases are not small.
fn used(config: &NetworkConfig) -> Classifier {
    let mut net = net(config, ImageInit::Kaiming, 7);
    for seed in 0..20 {
        let trace = net.trace(stack(8, config.input, None, seed), Statistics::Batch);
        net.update_running(&trace.moments, &net.batch_norm_counts(8));
    }
    // Scales of both signs.
    net.visit(&mut |name, mut parameter| {
        if name.contains("bn") {
            let values = normal(3, name, 1.0, parameter.len());
            parameter.set(values, &Device::flex());
        }
    });
    net
}

#[test]
fn points_of_the_box_stay_inside_every_bound() {
    for config in zoo() {
        let net = used(&config);
        let (images, eps) = (3, 0.05);
        let x = stack(images, config.input, Some(eps), 1);
        let bounds = net.trace(x.clone(), Statistics::Running);
        assert_eq!(bounds.values.len(), config.nodes.len());
        let labels: Vec<u32> = (0..images as u32).collect();
        let margins = floats(&net.margins(&bounds, &labels));
        let centre = floats(&x.narrow(0, 0, 1));
        let mut inside = 0;
        for seed in 0..200 {
            // Half of the points are corners.
            let mut offset = uniform(seed, "offset", f64::from(eps), centre.len());
            if seed % 2 == 0 {
                offset.iter_mut().for_each(|v| *v = eps.copysign(*v));
            }
            let point: Vec<f32> = centre.iter().zip(offset).map(|(x, d)| x + d).collect();
            let [c, h, w] = config.input;
            let point = Tensor::from_data(TensorData::new(point, [1, images, c, h, w]), &Device::flex());
            let trace = net.trace(point, Statistics::Running);
            for (i, (bound, value)) in bounds.values.iter().zip(&trace.values).enumerate() {
                let [s, n, c, h, w] = value.dims();
                assert_eq!((bound.dims(), s), ([3, n, c, h, w], 1));
                assert_eq!([c, h, w], net.shapes()[i]);
                let (bound, value) = (floats(bound), floats(value));
                let (centre, radius) = bound[value.len()..].split_at(value.len());
                for ((c, r), v) in centre.iter().zip(radius).zip(&value) {
                    assert!((v - c).abs() <= r + 1e-5 * (1.0 + c.abs() + r), "value {i}: {v} is not in {c} +- {r}");
                }
                inside += value.len();
            }
            let logits = floats(&net.logits(&trace));
            for (n, y) in labels.iter().enumerate() {
                for j in 0..10 {
                    let margin = logits[n * 10 + *y as usize] - logits[n * 10 + j];
                    let bound = margins[n * 10 + j];
                    assert!(margin >= bound - 1e-5 * (1.0 + bound.abs()), "margin {margin} is below {bound}");
                    assert!(j != *y as usize || bound == 0.0);
                }
            }
        }
        assert!(inside > 100_000);
    }
}

/// Without perturbation centre and clean are the same and the radius is zero; bounds grow with eps.
#[test]
fn radii_of_no_and_of_more_perturbation() {
    for config in zoo() {
        let net = used(&config);
        for statistics in [Statistics::Running, Statistics::Batch] {
            let mean_radius = |eps: f32| {
                let trace = net.trace(stack(4, config.input, Some(eps), 2), statistics);
                let parts = |x: &Tensor<5>| [0, 1, 2].map(|i| floats(&x.clone().narrow(0, i, 1)));
                let mut means = Vec::new();
                for value in &trace.values {
                    let [clean, centre, radius] = parts(value);
                    assert!(radius.iter().all(|r| *r >= 0.0));
                    if eps == 0.0 {
                        assert!(radius.iter().all(|r| *r == 0.0));
                        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * (1.0 + b.abs());
                        assert!(clean.iter().zip(&centre).all(close));
                    }
                    means.push(radius.iter().sum::<f32>() / radius.len() as f32);
                }
                let clean = net.trace(stack(4, config.input, None, 2), statistics);
                let last = |trace| floats(&net.logits(trace));
                let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * (1.0 + b.abs());
                assert!(last(&trace).iter().zip(&last(&clean)).all(close), "logits are those of the clean slab");
                means
            };
            let [none, some, more] = [0.0, 0.01, 0.03].map(mean_radius);
            for ((none, some), more) in none.iter().zip(&some).zip(&more) {
                assert!(*none == 0.0 && *some > 0.0 && more > some, "{none} {some} {more}");
            }
        }
    }
}

/// A residual block and average pooling, with numbers made by hand.
#[test]
fn a_graph_by_hand() {
    let config =
        layers(&["a: relu", "b: conv 1 1 from image", "add a", "pool 2 stride 1", "flatten", "linear 2"], [1, 2, 3], 2);
    let mut net = net(&config, ImageInit::Default, 1);
    net.visit(&mut |name, mut parameter| match name {
        "b.weight" => parameter.set(vec![-2.0], &Device::flex()),
        "b.bias" => parameter.set(vec![1.0], &Device::flex()),
        "linear1.weight" => parameter.set(vec![1.0, 0.0, 2.0, -1.0], &Device::flex()),
        "linear1.bias" => parameter.set(vec![0.5, 0.0], &Device::flex()),
        _ => panic!("{name}"),
    });
    let clean = [1.0f32, -1.0, 0.0, 3.0, -2.0, 1.0];
    let radius = [0.5f32; 6];
    let values = [clean, clean, radius].concat();
    let x = Tensor::from_data(TensorData::new(values, [3, 1, 1, 2, 3]), &Device::flex());
    let trace = net.trace(x, Statistics::Running);
    // relu: 1 0 0 3 0 1; intervals [.5, 1.5] [0, 0] [0, .5] [2.5, 3.5] [0, 0] [.5, 1.5]
    assert_eq!(floats(&trace.values[1])[6..], [1.0, 0.0, 0.25, 3.0, 0.0, 1.0, 0.5, 0.0, 0.25, 0.5, 0.0, 0.5]);
    // 1 - 2x: -1 3 1 -5 5 -1, radius 1; sum with the relu
    assert_eq!(
        floats(&trace.values[3]),
        [0.0, 3.0, 1.0, -2.0, 5.0, 0.0, 0.0, 3.0, 1.25, -2.0, 5.0, 0.0, 1.5, 1.0, 1.25, 1.5, 1.0, 1.5]
    );
    // means of squares
    let pooled = [1.5, 2.25, 1.5, 2.3125, 1.25, 1.1875];
    assert_eq!(floats(&trace.values[4]), pooled);
    assert_eq!(trace.values[5].dims(), [3, 1, 2, 1, 1]);
    assert_eq!(floats(&net.logits(&trace)), [2.0, 0.75]);
    // (W_0 - W_1) = (-1, 1): -1.5 + 2.3125 + 0.5 - (1.25 + 1.1875)
    assert_eq!(floats(&net.margins(&trace, &[0])), [0.0, -1.125]);
    assert_eq!(config.relus(), [("a".to_string(), 0)]);
    assert_eq!(config.head_input(), 5);
}

/// One batch norm on two features, numbers by hand: biased variance in the pass, unbiased in the running statistics.
#[test]
fn statistics_of_batch_norm() {
    let config = layers(&["bn", "flatten", "linear 2"], [2, 1, 2], 2);
    let mut net = net(&config, ImageInit::Default, 1);
    // Two images, two channels, two pixels: channel 0 holds 1 2 3 6, channel 1 holds 0 0 4 4.
    let batch = [1.0f32, 2.0, 0.0, 0.0, 3.0, 6.0, 4.0, 4.0];
    let x = Tensor::<5>::from_data(TensorData::new(batch.to_vec(), [1, 2, 2, 1, 2]), &Device::flex());
    let trace = net.trace(x.clone(), Statistics::Batch);
    assert_eq!(floats(&trace.moments[0]), [3.0, 2.0, 3.5, 4.0]);
    let root = (4.0f64 + 1e-5).sqrt();
    let [scale, shift] = &trace.scales[0];
    assert!((f64::from(floats(scale)[1]) - 1.0 / root).abs() < 1e-7);
    assert!((f64::from(floats(shift)[1]) + 2.0 / root).abs() < 1e-7);
    assert!((f64::from(floats(&trace.values[1])[6]) - 2.0 / root).abs() < 1e-6);
    assert_eq!(net.batch_norm_counts(2), [4]);

    net.update_running(&trace.moments, &[4]);
    let statistics = |net: &Classifier| match &net.layers[0] {
        Layer::BatchNorm { running_mean, running_var, .. } => [floats(running_mean), floats(running_var)].concat(),
        _ => panic!(),
    };
    let close = |found: &[f32], expected: &[f64]| {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found}, expected {expected}");
        }
    };
    // 0.9 * old + 0.1 * new, the variance times 4/3.
    let (v0, v1) = (0.9 + 0.1 * 3.5 * 4.0 / 3.0, 0.9 + 0.1 * 4.0 * 4.0 / 3.0);
    close(&statistics(&net), &[0.3, 0.2, v0, v1]);
    net.update_running(&trace.moments, &[4]);
    close(&statistics(&net), &[0.57, 0.38, 0.9 * v0 + 1.4 / 3.0, 0.9 * v1 + 1.6 / 3.0]);
    let running = net.trace(x.clone(), Statistics::Running);
    close(&floats(&running.moments[0]), &[0.57, 0.38, 0.9 * v0 + 1.4 / 3.0, 0.9 * v1 + 1.6 / 3.0]);

    // Given statistics are used as they are; set ones are the running statistics.
    let given = [Tensor::<2>::from_data(TensorData::new(vec![1.0f32, 0.0, 0.25, 1.0], [2, 2]), &Device::flex())];
    net.set_running(&given);
    close(&statistics(&net), &[1.0, 0.0, 0.25, 1.0]);
    let by_given = net.trace(x.clone(), Statistics::Given(&given));
    assert_eq!(floats(&by_given.values[1]), floats(&net.trace(x.clone(), Statistics::Running).values[1]));
    close(&floats(&by_given.values[1])[..2], &[0.0, 1.0 / (0.25f64 + 1e-5).sqrt()]);

    // Two batches pooled are one batch of both.
    let mut pooled = PooledMoments::default();
    for image in 0..2 {
        let part = net.trace(x.clone().narrow(1, image, 1), Statistics::Batch);
        pooled.add(&part.moments, &net.batch_norm_counts(1));
    }
    close(&floats(&pooled.moments(&Device::flex())[0]), &[3.0, 2.0, 3.5, 4.0]);
    // A single value has no unbiased variance; it counts as it is.
    net.update_running(&trace.moments, &[1]);
    assert!(statistics(&net).iter().all(|v| v.is_finite()));
}

/// Gradients flow through the statistics of the batch and not through given ones. The derivative of a loss by one
/// weight, against a difference quotient.
#[test]
fn gradients_through_statistics() {
    let config = layers(&["conv 2 3", "bn", "relu", "flatten", "linear 5", "bn", "relu", "linear 3"], [1, 6, 6], 3);
    let net = net(&config, ImageInit::Kaiming, 4);
    let x = stack(6, config.input, Some(0.02), 5);
    let labels = [0, 1, 2, 0, 1, 2];
    let loss = |net: &Classifier, statistics: Statistics| {
        let trace = net.trace(x.clone(), statistics);
        (net.margins(&trace, &labels).square().sum() + net.logits(&trace).square().sum()) * 0.1
    };
    let moments = net.trace(x.clone(), Statistics::Batch).moments;
    let mut quotients = Vec::new();
    for statistics in [Statistics::Batch, Statistics::Given(&moments)] {
        let mut leaves = net.leaves();
        let mut gradients = loss(&leaves, statistics).backward();
        let mut gradient = None;
        leaves.visit(&mut |name, parameter| match parameter {
            temper_model::Parameter::Kernel(leaf) if name == "conv1.weight" => {
                gradient = leaf.grad_remove(&mut gradients).map(|g| floats(&g)[4]);
            }
            _ => {}
        });
        let moved = |by: f32| {
            let mut net = net.clone();
            net.visit(&mut |name, mut parameter| {
                if name == "conv1.weight" {
                    let mut values = parameter.to_vec();
                    values[4] += by;
                    parameter.set(values, &Device::flex());
                }
            });
            f64::from(floats(&loss(&net, statistics))[0])
        };
        let quotient = (moved(1e-3) - moved(-1e-3)) / 2e-3;
        let gradient = f64::from(gradient.expect("a gradient"));
        assert!((gradient - quotient).abs() < 0.01 * quotient.abs().max(1.0), "{gradient}, quotient {quotient}");
        quotients.push(quotient);
    }
    assert!((quotients[0] - quotients[1]).abs() > 0.1, "{quotients:?}");
}

/// An attack differentiates by the image, with the weights off the tape.
#[test]
fn gradient_by_the_image() {
    let net = used(&zoo()[1]);
    let leaf = stack(2, net.config.input, None, 3).autodiff().require_grad();
    let gradients = net.logits(&net.trace(leaf.clone(), Statistics::Running)).sum().backward();
    assert!(floats(&leaf.grad(&gradients).unwrap()).iter().any(|g| *g != 0.0));
}

fn moments(values: &[f32]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    (mean, (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt())
}

/// Standard deviations that the paper's formula gives, for the fan-ins of its networks.
#[test]
fn standard_deviations_of_ibp_initialisation() {
    let config = by_name("cnn7", None, BatchNorm::Full, MNIST, 10).unwrap();
    let std = |shape: &[usize]| match ImageInit::Ibp.draw(&config, 0, shape) {
        Draw::Normal { std } => std,
        other => panic!("{other:?}"),
    };
    for (shape, expected) in [
        (&[64, 1, 3, 3][..], 0.278514),
        (&[64, 3, 3, 3], 0.0928381),
        (&[64, 64, 3, 3], 0.00435179),
        (&[128, 128, 3, 3], 0.00217589),
        (&[512, 25088], 9.99134e-5),
        (&[512, 32768], 7.64962e-5),
    ] {
        assert!((std(shape) / expected - 1.0).abs() < 5e-6, "{shape:?}: {}, expected {expected}", std(shape));
    }
}

/// Spread and range of every tensor, for every initialisation, on a network with groups and shortcuts.
#[test]
fn every_tensor_has_its_distribution() {
    let config = named("resnext", 8, BatchNorm::Full, [3, 8, 8]);
    for init in [
        ImageInit::Default,
        ImageInit::FanOut,
        ImageInit::Xavier,
        ImageInit::Kaiming,
        ImageInit::Orthogonal,
        ImageInit::Ibp,
    ] {
        let mut shapes = BTreeMap::new();
        net(&config, init, 3).visit(&mut |name, values| {
            shapes.insert(name.to_string(), (values.shape(), values.to_vec()));
        });
        for (name, (shape, values)) in &shapes {
            let (mean, std) = moments(values);
            let expect = |expected: f64| {
                let n = values.len() as f64;
                assert!(mean.abs() < 5.0 * expected / n.sqrt(), "{init:?} {name}: mean {mean}");
                assert!((std / expected - 1.0).abs() < 5.0 / (2.0 * n).sqrt(), "{init:?} {name}: {std} for {expected}");
            };
            let norm = name.contains("bn") || name.contains("shortcut.1");
            if norm {
                assert!(values.iter().all(|v| *v == if name.ends_with("weight") { 1.0 } else { 0.0 }), "{name}");
                continue;
            }
            let layer = &name[..name.rfind('.').unwrap()];
            let weight = &shapes[&format!("{layer}.weight")].0;
            let fan_in = weight[1..].iter().product::<usize>() as f64;
            let fan_out = (weight[0] * weight[2..].iter().product::<usize>()) as f64;
            let framework = 1.0 / (3.0 * fan_in).sqrt();
            let largest = values.iter().fold(0.0f64, |max, v| max.max(f64::from(v.abs())));
            if name.ends_with("bias") {
                expect(framework);
                assert!(largest <= 1.0 / fan_in.sqrt(), "{name}: {largest}");
                continue;
            }
            let last = layer == "linear2";
            // What reads the ReLU of a sum: the first layers of the second and third block.
            let halved = ["layer2.0.conv1", "layer2.0.shortcut.0", "layer3.0.conv1", "layer3.0.shortcut.0"];
            match init {
                ImageInit::Kaiming => expect((2.0 / fan_in).sqrt()),
                ImageInit::Xavier => expect((2.0 / (fan_in + fan_out)).sqrt()),
                ImageInit::FanOut if weight.len() == 4 => expect((2.0 / fan_out).sqrt()),
                ImageInit::Ibp if !last => {
                    let std = std::f64::consts::TAU.sqrt() / fan_in;
                    expect(if halved.contains(&layer) { std / 2.0 } else { std });
                }
                ImageInit::Orthogonal if !last => {
                    let (rows, columns) = (weight[0], fan_in as usize);
                    let at = |row: usize, column: usize| f64::from(values[row * columns + column]);
                    let product = |i: usize, j: usize| -> f64 {
                        if rows <= columns {
                            (0..columns).map(|k| at(i, k) * at(j, k)).sum()
                        } else {
                            (0..rows).map(|k| at(k, i) * at(k, j)).sum()
                        }
                    };
                    for i in 0..rows.min(columns) {
                        for j in 0..=i {
                            let expected = if i == j { 1.0 } else { 0.0 };
                            assert!((product(i, j) - expected).abs() < 1e-6, "{name} {i} {j}: {}", product(i, j));
                        }
                    }
                    assert_eq!(shape, weight);
                }
                _ => {
                    expect(framework);
                    assert!(largest <= 1.0 / fan_in.sqrt(), "{name}: {largest}");
                }
            }
        }
    }
}

/// How much wider intervals get from one layer to the next: the mean width of a layer's output before its batch norm
/// over that of the pre-activation before it. The paper's initialisation keeps it near 1, but for the first layer,
/// whose input no ReLU has halved; the framework's does not.
#[test]
fn difference_gains() {
    let config = named("cnn7", 16, BatchNorm::Full, [3, 16, 16]);
    let gains = |init: ImageInit| {
        let trace = net(&config, init, 2).trace(stack(8, config.input, Some(0.002), 9), Statistics::Batch);
        let width = |value: usize| floats(&trace.values[value].clone().narrow(0, 2, 1).mean())[0];
        let norms = config.nodes.iter().filter(|node| node.op == Op::BatchNorm).map(|node| node.inputs[0]);
        let mut before = width(0);
        let gain = |affine: usize| {
            let gain = width(affine) / before;
            before = width(affine + 1); // after its batch norm
            gain
        };
        norms.map(gain).collect::<Vec<f32>>()
    };
    let (paper, framework) = (gains(ImageInit::Ibp), gains(ImageInit::Default));
    assert_eq!(paper.len(), 6);
    assert!((paper[0] - 2.0).abs() < 0.3, "{paper:?}");
    assert!(paper[1..].iter().all(|gain| (gain - 1.0).abs() < 0.2), "{paper:?}");
    assert!(framework[1..].iter().all(|gain| *gain > 1.8), "{framework:?}");
    assert!(framework[5] > 8.0, "{framework:?}");
}

#[test]
fn values_depend_on_seed_and_name_only() {
    let weights = |config: &NetworkConfig, init, seed| {
        let mut all = BTreeMap::new();
        net(config, init, seed).visit(&mut |name, values| {
            all.insert(name.to_string(), values.to_vec());
        });
        all
    };
    let narrow = named("cnn7", 3, BatchNorm::Full, [1, 8, 8]);
    let bare = named("cnn7", 3, BatchNorm::None, [1, 8, 8]);
    for init in [ImageInit::Default, ImageInit::Ibp, ImageInit::Orthogonal] {
        let (a, b, other) = (weights(&narrow, init, 1), weights(&narrow, init, 1), weights(&narrow, init, 2));
        assert_eq!(a, b);
        for (name, values) in weights(&bare, init, 1) {
            assert_eq!(a[&name], values, "{init:?} {name}: batch norms change nothing");
            assert_ne!(other[&name], values, "{init:?} {name}");
        }
        assert_ne!(a["conv4.weight"], a["conv5.weight"]);
    }
    // Uniform values around the pieces that threads take.
    let long = uniform(1, "w", 1.0, 40_000);
    assert!(long.iter().all(|v| v.abs() <= 1.0));
    for len in [0, 1, 16_383, 16_385] {
        assert_eq!(uniform(1, "w", 1.0, len)[..], long[..len]);
    }
    let (mean, std) = moments(&long);
    assert!(mean.abs() < 0.015 && (std - 1.0 / 3f64.sqrt()).abs() < 0.01, "{mean} {std}");
}

/// A seed means the same weights in every version: numbers from an independent program (SplitMix64 over FNV-1a of the
/// name, `(2 u - 1) * bound` of the 53 bits u of a counter, in Python).
#[test]
fn a_seed_keeps_its_meaning() {
    let (w, bias) = (uniform(1, "w", 1.0, 3), uniform(7, "conv1.bias", 0.125, 40_000));
    for (found, expected) in [
        (w[0], 0.283_821_628_766_805_f64),
        (w[1], -0.808_723_704_359_243_7),
        (w[2], 0.454_898_339_189_833_8),
        (bias[0], -0.050_031_118_262_535_53),
        (bias[39_999], -0.000_477_556_614_055_935_1),
    ] {
        assert!((f64::from(found) - expected).abs() <= 1e-7 * expected.abs(), "{found}, expected {expected}");
    }
}

#[test]
fn stored_and_read_back() {
    let directory = tempfile::tempdir().unwrap();
    for (i, config) in zoo().into_iter().enumerate() {
        let channels = config.input[0];
        let net = used(&config).normalised(vec![0.25; channels], vec![0.5; channels]);
        let path = directory.path().join(format!("{i}.safetensors"));
        tensors::write(&path, stored::outgoing(&net)).unwrap();
        let again = stored::read(&path, config.clone(), &Device::flex()).unwrap();
        assert_eq!((&again.mean, &again.std), (&net.mean, &net.std));
        let everything = |net: &Classifier| {
            let values =
                stored::outgoing(net).into_iter().map(|(name, tensor)| (name, (tensor.shape, (tensor.values)())));
            values.collect::<BTreeMap<_, _>>()
        };
        assert_eq!(everything(&again), everything(&net));
    }
    // The names are those of the paper's code.
    let wide = net(&named("wide-resnet-8", 1, BatchNorm::Full, [1, 8, 8]), ImageInit::Default, 1);
    let names: Vec<String> = stored::outgoing(&wide).into_iter().map(|(name, _)| name).collect();
    for name in
        ["layer2.0.downsample.1.running_var", "layer1.0.conv2.weight", "dense_bn.bias", "fc.weight", "input.std"]
    {
        assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
    }
}

/// The tensors of `net` under other names, as a file would hold them.
fn renamed(net: &Classifier, rename: impl Fn(&str) -> Option<String>) -> Vec<(String, Stored)> {
    let stored = |(name, tensor): (String, Outgoing)| {
        Some((rename(&name)?, Stored { shape: tensor.shape, values: (tensor.values)(), dtype: Dtype::F32 }))
    };
    stored::outgoing(net).into_iter().filter_map(stored).collect()
}

#[test]
fn state_dicts_of_the_papers_code() {
    let device = Device::flex();
    // Its CNN-7 is an nn.Sequential: modules are numbered, those without tensors included.
    let config = named("cnn7", 2, BatchNorm::Full, [1, 8, 8]);
    let net = used(&config);
    let number = |layer: &str| config.nodes.iter().position(|node| node.name == layer).unwrap();
    let sequential = |name: &str| {
        let (layer, tensor) = name.split_once('.')?;
        (layer != "input").then(|| format!("module.{}.{tensor}", number(layer)))
    };
    let mut found = renamed(&net, sequential);
    assert!(found.iter().any(|(name, _)| name == "module.16.weight"), "two digits, which sort before 3");
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let counter = Stored { shape: vec![], values: vec![7.0], dtype: Dtype::F32 };
    found.push(("module.1.num_batches_tracked".into(), counter));
    let read = |config: &NetworkConfig, found: Vec<(String, Stored)>| {
        stored::from_stored(config.clone(), found, Path::new("cnn.safetensors"), &device)
    };
    let again = read(&config, found.clone()).unwrap();
    let x = stack(3, config.input, Some(0.01), 1);
    let margins = |net: &Classifier| floats(&net.margins(&net.trace(x.clone(), Statistics::Running), &[0, 1, 2]));
    assert_eq!(margins(&again), margins(&net));
    assert_eq!((again.mean, again.std), (vec![0.0], vec![1.0]));

    // Its residual networks have the names that ours have.
    let residual = named("resnext", 2, BatchNorm::Full, [1, 8, 8]);
    let net = used(&residual);
    let names = |name: &str| (!name.starts_with("input.")).then(|| format!("model.{name}"));
    assert_eq!(margins(&read(&residual, renamed(&net, names)).unwrap()), margins(&net));

    // What does not fit.
    let fail = |config: &NetworkConfig, found: Vec<(String, Stored)>, expected: &[&str]| {
        let problem = read(config, found).unwrap_err();
        check(&problem, &["cnn.safetensors", "width and batch norm"]);
        check(&problem, expected);
    };
    let wide = named("cnn7", 3, BatchNorm::Full, [1, 8, 8]);
    fail(&wide, found.clone(), &["conv1.weight has shape [2, 1, 3, 3]", "[3, 1, 3, 3]", "and 27 more"]);
    let bare = named("cnn7", 2, BatchNorm::Conv, [1, 8, 8]);
    fail(&bare, found.clone(), &["13 modules", "12 layers"]);
    fail(&residual, found.clone(), &["13 modules"]);
    let without = |part: &str| found.iter().filter(|(name, _)| !name.contains(part)).cloned().collect::<Vec<_>>();
    fail(&config, without("running_var"), &["module 1", "running_mean, weight", "bn1"]);
    fail(&config, vec![], &["conv1.weight is missing", "and 34 more"]);
    fail(&residual, renamed(&net, |name| (name != "conv1.bias").then(|| name.into())), &["conv1.bias is missing"]);
    fail(&residual, renamed(&net, |name| Some(name.replace("bn1", "norm1"))), &["bn1.weight is missing"]);
    fail(&residual, renamed(&net, |name| (name != "input.std").then(|| name.into())), &["input.mean and input.std"]);
    let mut negative = found.clone();
    negative.iter_mut().find(|(name, _)| name == "module.1.running_var").unwrap().1.values[0] = -1.0;
    fail(&config, negative, &["bn1.running_var", "below zero"]);
}

/// The networks of the golden files: configuration and weights, as an independent program wrote them.
#[test]
fn golden_networks_are_read() {
    for (name, parameters) in [("cnn7", 5_986), ("wide_resnet", 4_589), ("resnext", 2_936)] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/image_nets").join(name);
        let text = std::fs::read_to_string(directory.join("network.json")).unwrap();
        let config = NetworkConfig::from_json(&text, "network.json").unwrap();
        assert_eq!(config.parameters(), parameters, "{name}");
        let net = stored::read(&directory.join("model.safetensors"), config, &Device::flex()).unwrap();
        let logits = net.logits(&net.trace(stack(2, net.config.input, None, 1), Statistics::Running));
        assert!(logits.dims() == [2, net.config.classes] && floats(&logits).iter().all(|v| v.is_finite()));
    }
}

/// What `temper recipe layers` prints is what is read: every example, every option, every default.
#[test]
fn the_table_of_layers() {
    let parse = |line: &str| {
        let flat = line.starts_with("linear").then_some("flatten");
        let lines: Vec<&str> = flat.into_iter().chain([line, "flatten", "linear 2"]).collect();
        text::parse(&lines, "x", [4, 8, 8], 2).unwrap_or_else(|problem| panic!("{line}: {problem}"))
    };
    for layer in &text::LAYERS {
        assert!(layer.example.starts_with(layer.kind));
        parse(layer.example);
        let line = |argument: &str| match argument {
            "NAME" => "image".to_owned(),
            _ => "4".to_owned(),
        };
        let bare = [layer.kind.to_owned()].into_iter().chain(layer.arguments.iter().map(|argument| line(argument)));
        let bare = bare.collect::<Vec<_>>().join(" ");
        for (word, usual) in layer.options {
            let usual = if *usual == "KERNEL" { "4" } else { usual };
            assert_eq!(parse(&bare), parse(&format!("{bare} {word} {usual}")), "{bare} {word} {usual}");
        }
        assert!(layer.usage().starts_with(layer.kind) && !layer.about.is_empty() && !layer.shape.is_empty());
    }
    assert!(text::parse(&text::EXAMPLE, "x", MNIST, 10).is_ok());
    assert_eq!(text::batch_norm(&text::EXAMPLE), "conv");
    assert_eq!(text::batch_norm(&["flatten", "linear 3", "bn", "relu", "linear 2"]), "full");
    assert_eq!(text::batch_norm(&["conv 2 3", "n: bn", "flatten", "linear 3", "relu", "linear 2"]), "conv");
    assert_eq!(text::batch_norm(&["flatten", "linear 2"]), "none");
}
