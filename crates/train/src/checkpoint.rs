//! What every checkpoint holds, and reading it back: `optimizer.safetensors` has the moments, `state.json` the clocks. What else
//! belongs to the kind of model.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use temper_base::{Problem, Result};
use temper_model::Parameters;
use temper_model::tensors::{self, Outgoing};
use temper_record::checkpoint::{Checkpoint, CheckpointWriter, way_on};
use temper_record::run::RunDir;

use crate::optimizer::{Optimizer, Settings};

/// The clocks of a run: everything but weights and moments.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The schedule's clock: updates made.
    pub step: u64,
    /// Tokens trained on; images, where the model sees images.
    pub tokens: u64,
    /// The data cursor: samples taken from the stream, or batches from the epochs of images.
    pub samples: u64,
    /// The optimiser's clock, which its bias correction uses.
    pub updates: u64,
    /// Seconds of training, all sessions together.
    pub seconds: f64,
    /// Length of `metrics.jsonl` when the checkpoint was taken; resuming cuts it there.
    pub metrics_bytes: u64,
}

impl State {
    /// Reads `state.json`. `path` is where it is, for messages.
    ///
    /// # Errors
    /// A text that does not hold every clock, and nothing else.
    pub fn from_json(text: &[u8], path: &Path) -> Result<Self> {
        serde_json::from_slice(text).map_err(|cause| Problem::input("read checkpoint", path.display(), cause))
    }

    /// The text that [`State::from_json`] reads.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain numbers") + "\n"
    }
}

/// Writes a checkpoint: `model`, moments and clocks, and what `rest` adds that belongs to the kind of model.
///
/// # Errors
/// Files that cannot be written, for want of room for example; what `rest` fails with.
pub fn write_with(
    run: &RunDir,
    state: &State,
    model: Vec<(String, Outgoing)>,
    optimizer: &Optimizer,
    rest: impl FnOnce(&mut CheckpointWriter) -> Result<()>,
) -> Result<Checkpoint> {
    let mut writer = CheckpointWriter::begin(run, state.step)?;
    let full = |problem: Problem| match problem.kind {
        temper_base::Kind::Machine => problem.hint(way_on(run, "make room")),
        _ => problem,
    };
    tensors::write(&writer.path("model.safetensors"), model).map_err(full)?;
    writer.adopt("model.safetensors")?;
    tensors::write(&writer.path("optimizer.safetensors"), optimizer.outgoing()).map_err(full)?;
    writer.adopt("optimizer.safetensors")?;
    rest(&mut writer)?;
    let state = state.to_json();
    writer.write("state.json", |out| out.write_all(state.as_bytes()))?;
    writer.commit()
}

/// The clocks of a checkpoint.
///
/// # Errors
/// A `state.json` that cannot be read, is not the one that was written, or does not hold every clock.
pub fn read_state(checkpoint: &Checkpoint) -> Result<State> {
    State::from_json(&checkpoint.read("state.json")?, &checkpoint.path().join("state.json"))
}

/// The optimiser of a checkpoint, with its counter.
pub(crate) fn read_optimizer(
    checkpoint: &Checkpoint,
    settings: Settings,
    model: &impl Parameters,
    updates: u64,
    device: &Device,
) -> Result<Optimizer> {
    checkpoint.verify_file("optimizer.safetensors")?;
    let path = checkpoint.path().join("optimizer.safetensors");
    let stored: BTreeMap<_, _> = tensors::read(Path::new(&path), &|_| true)?.into_iter().collect();
    let mut optimizer = Optimizer::new(settings, model, device);
    optimizer.updates = updates;
    optimizer.assign_moments(stored, device).map_err(|why| Problem::input("read checkpoint", path.display(), why))?;
    Ok(optimizer)
}
