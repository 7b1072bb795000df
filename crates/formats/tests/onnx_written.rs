//! Networks that are written are read back with the same weights, and answer alike.

use temper_base::random::Stream;
use temper_formats::onnx::{OnnxModel, parse, write};
use temper_graph::computation::Order;
use temper_graph::{Affine, BatchNorm, Network, NetworkConfig, Node, NodeConfig, Op, Operation, Weights, by_name};

fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let stream = Stream::named(seed, "written");
    (0..n).map(|i| stream.at(i as u64) as f32 - 0.5).collect()
}

fn network(config: NetworkConfig, normalised: bool) -> Network {
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
    let (weights, channels) = (weights.collect(), config.input[0]);
    let std = numbers(2, channels).iter().map(|std| std.abs() + 0.1).collect();
    let (mean, std) = if normalised { (numbers(1, channels), std) } else { (vec![0.0; channels], vec![1.0; channels]) };
    Network::new(config, mean, std, weights).unwrap()
}

fn affines(operation: &Operation) -> Option<&Affine> {
    match operation {
        Operation::Dense(affine) | Operation::Conv { affine, .. } | Operation::Scale(affine) => Some(affine),
        Operation::Relu | Operation::Curve(_) | Operation::Add | Operation::MaxPool(_) | Operation::Gather { .. } => {
            None
        }
    }
}

/// Writes and reads; numbers that are nowhere rounded have to be the same, others equal within their roundings.
fn check(network: &Network) -> OnnxModel {
    let bytes = write(network).unwrap();
    let model = parse(&bytes, None, "written").unwrap();
    // The file has a subtraction and a division where the network has one layer.
    let [own, read] = [network.computation().unwrap().merged(), model.computation.merged()];
    let names =
        |nodes: &[Node]| nodes.iter().map(|node| node.name.trim_end_matches('_').into()).collect::<Vec<String>>();
    assert_eq!(names(own.nodes()), names(read.nodes()));
    assert_eq!(model.input_shape[1..], network.config().input);
    for (a, b) in own.nodes().iter().zip(read.nodes()) {
        assert_eq!((&a.inputs, a.shape.iter().product::<usize>()), (&b.inputs, b.shape.iter().product()), "{}", a.name);
        let (Some(x), Some(y)) = (affines(&a.operation), affines(&b.operation)) else {
            assert_eq!(a.operation, b.operation);
            continue;
        };
        let bits =
            |affine: &Affine| affine.weight.iter().chain(&affine.bias).map(|n| n.to_bits()).collect::<Vec<u64>>();
        if x.merged == 0 {
            assert_eq!((y.merged, bits(x)), (0, bits(y)), "{}", a.name);
        }
        // The epsilon of a batch norm is a float in a file.
        let close = |a: &f64, b: &f64| (a - b).abs() < 1e-6;
        assert!(x.weight.iter().zip(&y.weight).all(|(a, b)| close(a, b)), "{}", a.name);
        assert!(x.bias.iter().zip(&y.bias).all(|(a, b)| close(a, b)), "{}", a.name);
    }
    let image: Vec<f64> = numbers(7, own.inputs()).iter().map(|x| f64::from(x + 0.5)).collect();
    let [a, b] = [&own, &model.computation].map(|c| c.evaluate(&image, Order::Forward));
    let largest = a.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6 * largest), "{a:?} {b:?}");
    model
}

#[test]
fn a_written_network_is_read_with_the_same_bits() {
    for (name, normalised) in [("small", false), ("wide-resnet-8", true), ("resnext", true)] {
        let network = network(by_name(name, Some(2), BatchNorm::Full, [3, 16, 16], 10).unwrap(), normalised);
        check(&network);
        let model = check(&network.fold_batch_norms().unwrap());
        assert_eq!((model.opset, model.input_name.as_str(), model.output_shape), (13, "input", vec![1, 10]));
    }
}

#[test]
fn rows_become_pictures_where_a_layer_needs_one() {
    let node = |name: &str, op: Op, inputs: &[usize]| NodeConfig { name: name.into(), op, inputs: inputs.to_vec() };
    let conv = Op::Conv { out: 6, kernel: 1, stride: 1, padding: 0, groups: 2 };
    let nodes = vec![
        node("input", Op::Conv { out: 4, kernel: 3, stride: 2, padding: 1, groups: 1 }, &[0]),
        node("pool", Op::AvgPool { kernel: 2, stride: 1 }, &[1]),
        node("flat", Op::Flatten, &[2]),
        node("hidden", Op::Linear { out: 6 }, &[3]),
        node("norm", Op::BatchNorm, &[4]),
        node("normalise", conv, &[5]),
        node("sum", Op::Add, &[6, 4]),
        node("again", Op::Add, &[5, 7]),
        node("relu", Op::Relu, &[8]),
        node("logits", Op::Linear { out: 3 }, &[9]),
    ];
    let config = NetworkConfig { input: [2, 6, 6], classes: 3, nodes };
    let model = check(&network(config, true));
    assert_eq!((model.input_name.as_str(), model.output_name.as_str()), ("input_", "logits"));
}
