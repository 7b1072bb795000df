//! Lowered networks compute what the network computes, before and after merging.

use temper_base::random::Stream;
use temper_graph::computation::Order;
use temper_graph::{Affine, BatchNorm, Computation, Network, Node, Operation, Weights, Window, by_name};

fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let stream = Stream::named(seed, "computation");
    (0..n).map(|i| stream.at(i as u64) as f32 - 0.5).collect()
}

fn network(name: &str) -> Network {
    let config = by_name(name, Some(2), BatchNorm::Full, [3, 32, 32], 10).unwrap();
    let shapes = config.shapes().unwrap();
    let weights = config.nodes.iter().enumerate().map(|(i, node)| {
        let shape = node.op.weight_shape(shapes[node.inputs[0]][0]);
        let (size, seed) = (shape.iter().product::<usize>(), i as u64);
        match shape.len() {
            0 => Weights::None,
            1 => Weights::BatchNorm {
                weight: numbers(seed, size),
                bias: numbers(seed + 100, size),
                running_mean: numbers(seed + 200, size),
                running_var: numbers(seed + 300, size).iter().map(|v| v.abs() + 0.1).collect(),
            },
            _ => Weights::Affine {
                weight: numbers(seed, size).iter().map(|w| w / (size / shape[0]) as f32).collect(),
                bias: numbers(seed + 100, shape[0]),
            },
        }
    });
    let weights = weights.collect();
    Network::new(config, vec![0.4, 0.5, 0.6], vec![0.2, 0.3, 0.25], weights).unwrap()
}

#[test]
fn a_classifier_gives_its_logits() {
    for name in ["small", "wide-resnet-8"] {
        let network = network(name);
        let computation = network.computation().unwrap();
        let image: Vec<f32> = numbers(7, 3 * 32 * 32).iter().map(|x| x + 0.5).collect();
        let logits = network.logits(&image);
        let exact: Vec<f64> = image.iter().map(|x| f64::from(*x)).collect();
        let largest = logits.iter().fold(0.0f32, |max, x| max.max(x.abs()));
        for order in [Order::Forward, Order::Backward] {
            for (a, b) in computation.evaluate(&exact, order).iter().zip(&logits) {
                assert!((a - f64::from(*b)).abs() < 1e-4 * f64::from(largest), "{name}: {a} {b}");
            }
            for (a, b) in computation.evaluate(&image, order).iter().zip(&logits) {
                assert!((a - b).abs() < 1e-4 * largest, "{name}: {a} {b}");
            }
        }
        assert!(computation.nodes().iter().all(|node| !matches!(node.operation, Operation::Gather { .. })));
    }
}

/// Rectangles, steps, uneven padding, channels in groups, a pool, a residual, indices.
fn odd() -> Computation {
    let window = |input, kernel, stride, padding| Window { input, kernel, stride, padding, dilation: [1, 2] };
    let f64s = |seed, n| numbers(seed, n).iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let node = |name: &str, operation, inputs: &[usize], shape: &[usize]| Node {
        name: name.into(),
        operation,
        inputs: inputs.to_vec(),
        shape: shape.to_vec(),
    };
    let affine = |seed, w, b| Affine::exact(f64s(seed, w), f64s(seed + 1, b));
    let by_channel = |n: usize| (0..n).map(|i| (i / (n / 4)) as f64 + 0.5).collect::<Vec<f64>>();
    let conv = window([2, 7, 6], [3, 2], [2, 1], [1, 0, 0, 2]);
    assert_eq!(conv.output(), Some([3, 6]));
    let flip: Vec<Option<u32>> = (0..72).rev().map(Some).collect();
    let shift: Vec<Option<u32>> = (0..72u32).map(|i| i.checked_sub(1)).collect();
    let nodes = vec![
        node("conv", Operation::Conv { window: conv, groups: 2, affine: affine(1, 4 * 6, 4) }, &[0], &[4, 3, 6]),
        node("norm", Operation::Scale(Affine::exact(by_channel(72), by_channel(72))), &[1], &[4, 3, 6]),
        node("relu", Operation::Relu, &[2], &[4, 3, 6]),
        node("flip", Operation::Gather { from: flip, fill: vec![] }, &[3], &[72]),
        node("shift", Operation::Gather { from: shift, fill: vec![2.0; 72] }, &[4], &[72]),
        node("add", Operation::Add, &[5, 3], &[4, 3, 6]),
        node("pool", Operation::MaxPool(window([4, 3, 6], [2, 2], [1, 2], [0, 1, 1, 1])), &[6], &[4, 3, 3]),
        node("dense", Operation::Dense(affine(5, 36 * 3, 3)), &[7], &[3]),
        node("last", Operation::Scale(Affine::exact(vec![2.0, -1.0, 0.5], vec![1.0, 0.0, 0.25])), &[8], &[3]),
    ];
    Computation::new(vec![2, 7, 6], nodes).unwrap()
}

#[test]
fn merging_changes_no_answer() {
    let plain = odd();
    let merged = plain.merged();
    let names: Vec<&str> = merged.nodes().iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["norm", "relu", "shift", "add", "pool", "last"]);
    let input: Vec<f64> = numbers(3, 84).iter().map(|x| f64::from(*x)).collect();
    let (a, b) = (plain.evaluate(&input, Order::Forward), merged.evaluate(&input, Order::Backward));
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
    assert_eq!(plain.up_to(3).outputs(), 72);
}

#[test]
fn a_pool_is_made_of_relus() {
    let plain = odd();
    let relus = plain.max_pools_as_relus();
    assert!(!relus.nodes().iter().any(|node| matches!(node.operation, Operation::MaxPool(_))));
    for seed in 10..20 {
        let input: Vec<f64> = numbers(seed, 84).iter().map(|x| f64::from(*x)).collect();
        let (a, b) = (plain.evaluate(&input, Order::Forward), relus.evaluate(&input, Order::Forward));
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
    }
}

#[test]
fn graphs_that_cannot_be() {
    let node = |operation, inputs: &[usize], size: usize| Node {
        name: "n".into(),
        operation,
        inputs: inputs.to_vec(),
        shape: vec![size],
    };
    let why = |node: Node| Computation::new(vec![2], vec![node]).unwrap_err().to_string();
    assert!(why(node(Operation::Relu, &[1], 2)).contains("node n"));
    assert!(why(node(Operation::Relu, &[0], 3)).contains("2 numbers where 3 belong"));
    assert!(why(node(Operation::Add, &[0], 2)).contains("fewer than two"));
    let nan = Operation::Scale(Affine::exact(vec![1.0, f64::NAN], vec![0.0; 2]));
    assert!(why(node(nan, &[0], 2)).contains("a weight is NaN"));
    let from = vec![Some(0), Some(2)];
    assert!(why(node(Operation::Gather { from, fill: vec![] }, &[0], 2)).contains("index 2 of 2"));
}
