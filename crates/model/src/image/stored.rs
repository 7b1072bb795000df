//! Weights of image classifiers in safetensors files: Temper's own, and PyTorch state dicts of the paper's code.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use temper_base::{Problem, Result};
use temper_graph::{NetworkConfig, Op};

use super::graph::Classifier;
use crate::parameter::{Parameter, Parameters};
use crate::tensors::{self, Dtype, Outgoing, Stored};

/// Tensors of the normalisation that a file of Temper's holds beside the network's own.
const NORMALISATION: [&str; 2] = ["input.mean", "input.std"];

/// Everything of a network that is not its configuration: parameters, running statistics, and the normalisation of
/// pixels as `input.mean` and `input.std` `[C]`.
pub fn outgoing(net: &Classifier) -> Vec<(String, Outgoing<'static>)> {
    let mut found = Vec::new();
    let mut push = |name: &str, parameter: Parameter<'_>| {
        let outgoing = Outgoing { shape: parameter.shape(), values: parameter.deferred(), dtype: Dtype::F32 };
        found.push((name.to_string(), outgoing));
    };
    // Cloning shares the weights: nothing is copied until a tensor is written.
    let mut net = net.clone();
    net.visit(&mut push);
    net.visit_buffers(&mut push);
    for (name, values) in NORMALISATION.into_iter().zip([net.mean, net.std]) {
        let shape = vec![values.len()];
        let values = Box::new(move || values.clone());
        found.push((name.to_string(), Outgoing { shape, values, dtype: Dtype::F32 }));
    }
    found
}

/// Reads a safetensors file into the network `config`, as [`from_stored`] does.
///
/// # Errors
/// If the file cannot be read, or its tensors are not the network's, as with [`from_stored`].
pub fn read(path: &Path, config: NetworkConfig, device: &Device) -> Result<Classifier> {
    // PyTorch counts the batches of every batch norm; nothing needs the count.
    let tensors = tensors::read(path, &|name| !name.ends_with("num_batches_tracked"))?;
    from_stored(config, tensors, path, device)
}

/// A network from stored tensors; `place` names their origin in errors. Three namings are understood:
///
/// * that of [`outgoing`], which for the residual networks is also that of the paper's code;
/// * the same without `input.mean` and `input.std`: pixels are then not normalised until [`Classifier::normalised`];
/// * that of a PyTorch `nn.Sequential`, as the paper's plain networks have it: `0.weight`, `1.running_mean`, ... . The
///   numbers' order is the layers'.
///
/// `module.` and `model.` before all names, and tensors called `num_batches_tracked`, are ignored. Any other tensor
/// that is missing, left over or of another shape is an error, and so is a running variance below zero.
///
/// # Errors
/// If the network is none ([`NetworkConfig::shapes`]), or its tensors are not those stored, as above.
pub fn from_stored(
    config: NetworkConfig,
    tensors: Vec<(String, Stored)>,
    place: &Path,
    device: &Device,
) -> Result<Classifier> {
    let fail = |why: String| {
        Problem::input("load weights", place.display(), why)
            .hint("weights and network do not belong together: check the network's name, width and batch norm")
    };
    let expected = expected(&config)?;
    let mut found: BTreeMap<String, Stored> =
        tensors.into_iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")).collect();
    for prefix in ["module.", "model.", "module."] {
        if !found.is_empty() && found.keys().all(|name| name.starts_with(prefix)) {
            found = found.into_iter().map(|(name, stored)| (name[prefix.len()..].to_string(), stored)).collect();
        }
    }
    let mut normalisation = NORMALISATION.map(|name| found.remove(name));
    let known = |name: &str| expected.iter().any(|(known, _)| known == name);
    if !found.keys().all(|name| known(name)) && found.keys().all(|name| sequential(name).is_some()) {
        found = renamed(&config, found).map_err(fail)?;
    }
    let mut faults = Vec::new();
    for (name, shape) in &expected {
        match found.get(name) {
            None => faults.push(format!("tensor {name} is missing")),
            Some(stored) if stored.shape != *shape => {
                faults.push(format!("tensor {name} has shape {:?}, the network asks for {shape:?}", stored.shape));
            }
            Some(stored) if name.ends_with(".running_var") && stored.values.iter().any(|v| *v < 0.0) => {
                faults.push(format!("tensor {name} holds a variance below zero"));
            }
            Some(_) => {}
        }
    }
    let surplus = found.keys().filter(|name| !known(name));
    faults.extend(surplus.map(|name| format!("tensor {name} is not part of the network")));
    let channels = config.input[0];
    if normalisation.iter().flatten().any(|stored| stored.shape != [channels])
        || normalisation.iter().flatten().count() == 1
    {
        faults.push(format!("input.mean and input.std are not {channels} values each"));
    }
    if !faults.is_empty() {
        return Err(fail(tensors::shortened(&faults)));
    }
    let mut net = Classifier::zeros(config, device);
    let mut put = |name: &str, mut parameter: Parameter<'_>| {
        let stored = found.remove(name).expect("every tensor was seen to be there");
        parameter.set(stored.values, device);
    };
    net.visit(&mut put);
    net.visit_buffers(&mut put);
    if let [Some(mean), Some(std)] = normalisation.each_mut().map(Option::take) {
        net = net.normalised(mean.values, std.values);
    }
    Ok(net)
}

/// The tensors of a layer that has any.
fn kinds(op: &Op) -> &'static [&'static str] {
    match op {
        Op::Conv { .. } | Op::Linear { .. } => &["weight", "bias"],
        Op::BatchNorm => &["weight", "bias", "running_mean", "running_var"],
        Op::Relu | Op::Add | Op::Flatten | Op::AvgPool { .. } => &[],
    }
}

/// Names and shapes of a network's tensors, layer by layer.
fn expected(config: &NetworkConfig) -> Result<Vec<(String, Vec<usize>)>> {
    let shapes = config.shapes()?;
    let mut expected = Vec::new();
    for node in &config.nodes {
        let weight = node.op.weight_shape(shapes[node.inputs[0]][0]);
        for kind in kinds(&node.op) {
            let shape = if *kind == "weight" { weight.clone() } else { weight[..1].to_vec() };
            expected.push((format!("{}.{kind}", node.name), shape));
        }
    }
    Ok(expected)
}

/// Number and tensor of a name like `12.weight`.
fn sequential(name: &str) -> Option<(usize, &str)> {
    let (number, tensor) = name.split_once('.')?;
    Some((number.parse().ok()?, tensor)).filter(|(_, tensor)| !tensor.contains('.'))
}

/// Gives the tensors of an `nn.Sequential` the names of the layers they stand for.
fn renamed(config: &NetworkConfig, found: BTreeMap<String, Stored>) -> Result<BTreeMap<String, Stored>, String> {
    let mut modules: BTreeMap<usize, BTreeMap<String, Stored>> = BTreeMap::new();
    for (name, stored) in found {
        let (number, tensor) = sequential(&name).expect("the caller has seen to it");
        let tensor = tensor.to_string();
        modules.entry(number).or_default().insert(tensor, stored);
    }
    let layers: Vec<_> = config.nodes.iter().filter(|node| !kinds(&node.op).is_empty()).collect();
    if modules.len() != layers.len() {
        return Err(format!("{} modules have tensors, {} layers of the network do", modules.len(), layers.len()));
    }
    let mut renamed = BTreeMap::new();
    for ((number, module), node) in modules.into_iter().zip(layers) {
        let mut names: Vec<&str> = kinds(&node.op).to_vec();
        names.sort_unstable();
        if !module.keys().eq(names) {
            let names: Vec<&str> = module.keys().map(String::as_str).collect();
            let why =
                format!("module {number} has {}, which is no {} ({})", names.join(", "), node.op.kind(), node.name);
            return Err(why);
        }
        renamed.extend(module.into_iter().map(|(tensor, stored)| (format!("{}.{tensor}", node.name), stored)));
    }
    Ok(renamed)
}
