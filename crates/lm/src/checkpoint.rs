//! What a checkpoint of a language model holds: `model.safetensors`, `config.json`, `tokenizer.json` and what lies beside it
//! (`tokenizer_config.json` and the like), which are a valid Hugging Face GPT-NeoX directory, and the optimiser and clocks every run has.

use burn::tensor::Device;
use temper_base::Result;
use temper_model::tensors::Dtype;
use temper_model::{GptNeox, GptNeoxConfig, hugging_face};
use temper_record::checkpoint::Checkpoint;
use temper_record::run::RunDir;
use temper_train::checkpoint::write_with;
use temper_train::optimizer::Optimizer;

pub use temper_train::checkpoint::{State, read_state};

/// Writes a checkpoint of a language model's `run` after `state.step` updates. `beside` are the files that belong to the tokenizer.
pub(crate) fn write(
    run: &RunDir,
    state: &State,
    model: &GptNeox,
    optimizer: &Optimizer,
    tokenizer: Option<&[u8]>,
    beside: &[(String, Vec<u8>)],
) -> Result<Checkpoint> {
    write_with(run, state, hugging_face::outgoing(model, Dtype::F32), optimizer, |writer| {
        let config = model.config.to_json(Dtype::F32.name());
        writer.write("config.json", |out| out.write_all(config.as_bytes()))?;
        if let Some(tokenizer) = tokenizer {
            writer.write("tokenizer.json", |out| out.write_all(tokenizer))?;
        }
        beside.iter().try_for_each(|(name, bytes)| writer.write(name, |out| out.write_all(bytes)))
    })
}

/// The model of a checkpoint, after comparing its file with what was written.
pub(crate) fn read_model(checkpoint: &Checkpoint, device: &Device) -> Result<GptNeox> {
    for name in ["config.json", "model.safetensors"] {
        checkpoint.verify_file(name)?;
    }
    Ok(hugging_face::read(checkpoint.path(), device)?.model)
}

/// The shape of a checkpoint's model.
pub(crate) fn read_config(checkpoint: &Checkpoint) -> Result<GptNeoxConfig> {
    let text = String::from_utf8_lossy(&checkpoint.read("config.json")?).into_owned();
    GptNeoxConfig::from_json(&text, &checkpoint.path().join("config.json").display().to_string())
}
