//! The networks and numbers of golden/image_nets (golden/README.md says how they were made).
#![allow(dead_code)] // every test file uses a part of it

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use temper_bounds::boxes::boxes;
use temper_graph::NetworkConfig;
use temper_model::image::{ImageNet, Statistics, Trace};
use temper_model::parameter::{Parameter, Parameters};

/// The golden networks.
pub const NETS: [&str; 3] = ["cnn7", "wide_resnet", "resnext"];

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/image_nets").join(name)
}

pub fn json(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(golden(name)).unwrap()).unwrap()
}

/// The tensors of a file: floats as they are, pixels (bytes) in [0, 1], labels (integers) as floats.
pub fn tensors(name: &str) -> BTreeMap<String, Vec<f32>> {
    let bytes = fs::read(golden(name)).unwrap();
    let read = |(name, view): (String, safetensors::tensor::TensorView)| {
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::U8 => data.iter().map(|b| f32::from(*b) / 255.0).collect(),
            Dtype::I64 => data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f32).collect(),
            other => panic!("{name}: {other:?}"),
        };
        (name, values)
    };
    SafeTensors::deserialize(&bytes).unwrap().tensors().into_iter().map(read).collect()
}

pub fn labels(values: &[f32]) -> Vec<u32> {
    values.iter().map(|label| *label as u32).collect()
}

/// A golden network with its weights and running statistics.
pub fn load(name: &str) -> ImageNet {
    let text = fs::read_to_string(golden(name).join("network.json")).unwrap();
    let numbers = json(&format!("{name}/numbers.json"));
    let list = |key: &str| numbers[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
    let config = NetworkConfig::from_json(&text, name).unwrap();
    let mut net = ImageNet::zeros(config, &Device::flex()).normalised(list("mean"), list("std"));
    let weights = tensors(&format!("{name}/model.safetensors"));
    let mut set = 0;
    let fill = &mut |name: &str, mut parameter: Parameter| {
        parameter.set(weights[name].clone(), &Device::flex());
        set += 1;
    };
    net.visit(fill);
    net.visit_buffers(fill);
    assert_eq!(set, weights.len(), "{name}: tensors of the file that were used");
    net
}

pub fn shape(net: &ImageNet, images: usize) -> [usize; 4] {
    let [c, h, w] = net.config.input;
    [images, c, h, w]
}

/// The pass over the boxes of radius `eps` around `pixels`.
pub fn trace(net: &ImageNet, pixels: &[f32], eps: f64, statistics: Statistics) -> Trace {
    let images = pixels.len() / net.config.input.iter().product::<usize>();
    net.trace(boxes(pixels, shape(net, images), eps, &net.mean, &net.std, &Device::flex()), statistics)
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// Clean values, centres and radii of one value of a trace, or the clean ones alone.
pub fn slabs(trace: &Trace, value: usize) -> Vec<Vec<f32>> {
    let value = &trace.values[value];
    (0..value.dims()[0]).map(|slab| values(value.clone().narrow(0, slab, 1))).collect()
}

/// Largest difference as a part of the largest expected entry.
pub fn difference(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().all(|value| value.is_finite()));
    let largest = expected.iter().fold(1e-12f32, |a, b| a.max(b.abs()));
    found.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs() / largest)).fold(0.0, f64::max)
}
