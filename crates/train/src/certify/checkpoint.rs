//! What a checkpoint of an image classifier holds: `model.safetensors` with parameters and running statistics,
//! `network.json` with the layers and the normalisation of pixels, and the optimiser and clocks every run has.

use std::collections::BTreeMap;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use temper_model::image::config::NetworkConfig;
use temper_model::{ImageNet, tensors};
use temper_record::checkpoint::Checkpoint;
use temper_record::run::RunDir;
use temper_record::{Problem, Result};

use crate::checkpoint::{State, write_with};
use crate::optimizer::Optimizer;

/// The content of `network.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkFile {
    /// The layers.
    pub network: NetworkConfig,
    /// Per channel, what is subtracted from pixels in [0, 1].
    pub mean: Vec<f32>,
    /// Per channel, what they are then divided by.
    pub std: Vec<f32>,
}

/// Writes a checkpoint of `run` after `state.step` updates.
pub fn write(run: &RunDir, state: &State, net: &ImageNet, optimizer: &Optimizer) -> Result<Checkpoint> {
    let file = NetworkFile { network: net.config.clone(), mean: net.mean.clone(), std: net.std.clone() };
    let text = serde_json::to_string_pretty(&file).expect("plain numbers and names") + "\n";
    write_with(run, state, net.outgoing(), optimizer, |writer| {
        writer.write("network.json", |out| out.write_all(text.as_bytes()))
    })
}

/// The network of a checkpoint, after comparing its files with what was written.
pub fn read_net(checkpoint: &Checkpoint, device: &Device) -> Result<ImageNet> {
    checkpoint.verify_file("model.safetensors")?;
    let place = checkpoint.path().join("network.json");
    let file: NetworkFile = serde_json::from_slice(&checkpoint.read("network.json")?)
        .map_err(|cause| Problem::input("read checkpoint", place.display(), cause))?;
    file.network.shapes()?;
    let path = checkpoint.path().join("model.safetensors");
    let stored: BTreeMap<_, _> = tensors::read(&path, &|_| true)?.into_iter().collect();
    let net = ImageNet::from_stored(file.network, stored, device)
        .map_err(|why| Problem::input("read checkpoint", path.display(), why))?;
    Ok(net.normalised(file.mean, file.std))
}
