//! Which batch norms are merged, and that the answers stay.

use temper_graph::{Network, NetworkConfig, Op, Weights};

/// A convolution of one channel to two, a batch norm of it, `middle`, and a linear layer on two pixels of `channels` channels.
fn network(middle: &str) -> Network {
    let text = format!(
        r#"{{"input": [1, 1, 2], "classes": 2, "nodes": [
            {{"name": "conv", "op": {{"conv": {{"out": 2, "kernel": 1}}}}}},
            {{"name": "norm", "op": "batch_norm"}}{middle},
            {{"name": "flatten", "op": "flatten"}},
            {{"name": "head", "op": {{"linear": {{"out": 2}}}}}}]}}"#
    );
    let config = NetworkConfig::from_json(&text, "network.json").unwrap();
    let norm = |weight: [f32; 2], bias: [f32; 2], mean: [f32; 2], var: [f32; 2]| Weights::BatchNorm {
        weight: weight.to_vec(),
        bias: bias.to_vec(),
        running_mean: mean.to_vec(),
        running_var: var.to_vec(),
    };
    let mut norms = [
        norm([1.5, -0.5], [0.25, 0.75], [0.1, -0.3], [0.04, 2.0]),
        norm([0.7, 3.0], [-1.0, 0.5], [0.6, 0.2], [0.5, 0.09]),
    ]
    .into_iter();
    let weights = config.nodes.iter().map(|node| match node.op {
        Op::Conv { .. } => Weights::Affine { weight: vec![0.8, -1.2], bias: vec![0.3, 0.05] },
        Op::Linear { .. } => {
            Weights::Affine { weight: vec![0.3, -0.7, 1.1, 0.2, -0.4, 0.9, 0.6, -1.3], bias: vec![0.1, -0.2] }
        }
        Op::BatchNorm => norms.next().expect("two are enough"),
        Op::Relu | Op::Add | Op::Flatten | Op::AvgPool { .. } => Weights::None,
    });
    Network::new(config.clone(), vec![0.5], vec![0.25], weights.collect()).unwrap()
}

#[test]
fn only_what_nothing_else_reads_takes_up_a_batch_norm() {
    let norm = r#", {"name": "norm2", "op": "batch_norm"}"#;
    let add = r#", {"name": "add", "op": "add", "inputs": [1, 2]}"#;
    let late = r#", {"name": "relu", "op": "relu"}, {"name": "norm2", "op": "batch_norm"}"#;
    let shared = r#", {"name": "norm2", "op": "batch_norm"}, {"name": "add", "op": "add", "inputs": [2, 3]}"#;
    // Its convolution is not the layer before it.
    let apart = r#", {"name": "conv2", "op": {"conv": {"out": 2, "kernel": 1}}, "inputs": [0]},
        {"name": "relu", "op": "relu", "inputs": [2]}, {"name": "norm2", "op": "batch_norm", "inputs": [3]},
        {"name": "add", "op": "add", "inputs": [4, 5]}"#;
    for (middle, left) in [
        ("", vec!["conv", "flatten", "head"]),
        // One after the other, both into the convolution.
        (norm, vec!["conv", "flatten", "head"]),
        // The sum reads the convolution too, as it is.
        (add, vec!["conv", "norm", "add", "flatten", "head"]),
        // A ReLU takes up nothing.
        (late, vec!["conv", "relu", "norm2", "flatten", "head"]),
        // The sum reads the first batch norm too: that one is merged, the second is not.
        (shared, vec!["conv", "norm2", "add", "flatten", "head"]),
        (apart, vec!["conv", "conv2", "relu", "add", "flatten", "head"]),
    ] {
        let network = network(middle);
        let folded = network.fold_batch_norms().unwrap();
        let names: Vec<&str> = folded.config().nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, left);
        for image in [[0.0, 1.0], [0.25, 0.6], [0.9, 0.9]] {
            let (found, expected) = (folded.logits(&image), network.logits(&image));
            let size = expected.iter().fold(1.0f32, |size, logit| size.max(logit.abs()));
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() <= 1e-5 * size, "{middle}: {found} and {expected}");
            }
        }
    }
}

#[test]
fn the_merged_numbers() {
    let folded = network("").fold_batch_norms().unwrap();
    let Weights::Affine { weight, bias } = &folded.weights()[0] else { panic!("a convolution") };
    // w gamma / sqrt(var + 1e-5) and (b - mean) gamma / sqrt(var + 1e-5) + beta, of the second channel by hand in decimals:
    // gamma / sqrt(2.00001) = -0.3535525...
    assert!((weight[1] - 0.424263).abs() < 1e-6, "{}", weight[1]);
    assert!((bias[1] - 0.6262566).abs() < 1e-6, "{}", bias[1]);
}
