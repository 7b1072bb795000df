//! Bounds that are reported are as exact as plain sums are, whatever lies beside what they read.

use burn::tensor::Device;
use serde_json::json;
use temper_bounds::attack::Attack;
use temper_bounds::boxes::Images;
use temper_bounds::radius::radii;
use temper_bounds::verdict::{AttackCertified, Question, Settings, verify_batch};
use temper_graph::NetworkConfig;
use temper_model::image::Classifier;
use temper_model::init::uniform;
use temper_model::parameter::Parameters;
use temper_verify::Arithmetic;

const SIDE: usize = 16;
const CHANNELS: usize = 16;
/// The bright row; what the classifier reads lies two rows away, in the same tile of Winograd's.
const BRIGHT: usize = 2;
const READ: usize = 0;

/// conv 1 x 1, ReLU, conv 3 x 3, flatten, linear: the two logits are the sum over one row of all channels, and nothing.
fn net() -> (Classifier, Vec<f32>, Vec<f32>) {
    let config = json!({
        "input": [1, SIDE, SIDE], "classes": 2,
        "nodes": [
            {"name": "conv1", "op": {"conv": {"out": CHANNELS, "kernel": 1, "stride": 1, "padding": 0, "groups": 1}}},
            {"name": "relu1", "op": "relu"},
            {"name": "conv2", "op": {"conv": {"out": CHANNELS, "kernel": 3, "stride": 1, "padding": 1, "groups": 1}}},
            {"name": "flatten", "op": "flatten"},
            {"name": "linear", "op": {"linear": {"out": 2}}},
        ]
    });
    let config = NetworkConfig::from_json(&config.to_string(), "a bright row").unwrap();
    let first: Vec<f32> = uniform(1, "conv1", 1.0, CHANNELS).into_iter().map(f32::abs).collect();
    let second = uniform(2, "conv2", 1.0, CHANNELS * CHANNELS * 9);
    let mut net = Classifier::zeros(config, &Device::flex());
    net.visit(&mut |name, mut parameter| {
        let values = match name {
            "conv1.weight" => first.clone(),
            "conv2.weight" => second.clone(),
            "linear.weight" => (0..2 * CHANNELS * SIDE * SIDE)
                .map(|i| f32::from(i < CHANNELS * SIDE * SIDE && i / SIDE % SIDE == READ))
                .collect(),
            _ => return,
        };
        parameter.set(values, &Device::flex());
    });
    (net, first, second)
}

/// In the row that is read pixels are about 1e-5, in the bright one 1.
#[test]
fn a_bright_row_does_not_blur_the_bound() {
    let (net, first, second) = net();
    let pixels: Vec<f32> = uniform(3, "pixels", 0.5, SIDE * SIDE)
        .into_iter()
        .enumerate()
        .map(|(i, at)| (at + 0.5) * if i / SIDE == BRIGHT { 1.0 } else { 1e-5 })
        .collect();
    // The margin of class 0 in double precision; all of it is linear, as no pixel and no first weight is negative.
    let mut margin = 0.0;
    for (o, c) in (0..CHANNELS * CHANNELS).map(|i| (i / CHANNELS, i % CHANNELS)) {
        for (x, tap) in (0..SIDE * 9).map(|i| (i / 9, i % 9)) {
            let (row, column) = ((READ + tap / 3).checked_sub(1), (x + tap % 3).checked_sub(1));
            let (Some(row), Some(column)) = (row, column.filter(|column| *column < SIDE)) else { continue };
            let weight = f64::from(second[(o * CHANNELS + c) * 9 + tap]) * f64::from(first[c]);
            margin += weight * f64::from(pixels[row * SIDE + column]);
        }
    }
    let label = u32::from(margin < 0.0);
    let images = Images { pixels: &pixels, shape: [1, SIDE, SIDE], labels: &[label], indices: &[0] };
    let attack = Attack { steps: 2, ..Attack::default() };
    let (settings, attack_certified) = (Settings::default(), AttackCertified::All);
    let question = Question { eps: 0.0, settings, attack, attack_certified };
    let verdict = verify_batch(&net, images, &question, &Device::flex()).unwrap().remove(0);
    for (what, found) in [("bound", verdict.bound.unwrap()), ("clean margin", verdict.clean_margin.into())] {
        let off = (found - margin.abs()).abs() / margin.abs();
        assert!(off < 1e-4, "the {what} is {found}, in double precision {}", margin.abs());
    }
    assert!(radii(&net, images, 0.1, 4, Arithmetic::Sound).unwrap()[0].certified.is_some());
}
