//! What a checkpoint of an image classifier holds: `network.json` with its layers, `model.safetensors` with parameters,
//! running statistics and the normalisation of pixels, and the optimiser and clocks every run has.

use burn::tensor::Device;
use temper_base::Result;
use temper_graph::NetworkConfig;
use temper_model::Classifier;
use temper_model::image::stored;
use temper_record::checkpoint::Checkpoint;
use temper_record::run::RunDir;
use temper_train::checkpoint::{State, write_with};
use temper_train::optimizer::Optimizer;

/// Writes a checkpoint of `run` after `state.step` updates.
pub(crate) fn write(run: &RunDir, state: &State, net: &Classifier, optimizer: &Optimizer) -> Result<Checkpoint> {
    let network = net.config.to_json();
    write_with(run, state, stored::outgoing(net), optimizer, |writer| {
        writer.write("network.json", |out| out.write_all(network.as_bytes()))
    })
}

/// The network of a checkpoint, after comparing its files with what was written.
pub(crate) fn read_net(checkpoint: &Checkpoint, device: &Device) -> Result<Classifier> {
    checkpoint.verify_file("model.safetensors")?;
    let text = String::from_utf8_lossy(&checkpoint.read("network.json")?).into_owned();
    let place = checkpoint.path().join("network.json").display().to_string();
    let config = NetworkConfig::from_json(&text, &place)?;
    stored::read(&checkpoint.path().join("model.safetensors"), config, device)
}
