//! A Hugging Face GPT-NeoX directory in and out: `config.json`, `model.safetensors` (or shards with
//! their index), `tokenizer.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::Value;
use temper_record::{Problem, Result};

use crate::config::GptNeoxConfig;
use crate::gpt_neox::GptNeox;
use crate::parameter::Parameters;
use crate::tensors::{self, Dtype, Outgoing, Stored};

/// What a directory held besides the weights themselves.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The model, in f32.
    pub model: GptNeox,
    /// How its weights were stored; f32 if not all in one way.
    pub dtype: Dtype,
    /// Its tokenizer, if the directory has one.
    pub tokenizer: Option<PathBuf>,
}

const BELONG: &str = "weights and config.json must belong to the same GPT-NeoX model";

/// Buffers that old checkpoints carry and every reader ignores.
fn is_old_buffer(name: &str) -> bool {
    [".attention.bias", ".attention.masked_bias", ".attention.rotary_emb.inv_freq"].iter().any(|s| name.ends_with(s))
        || name == "gpt_neox.rotary_emb.inv_freq"
}

/// Reads a model; a missing or surplus tensor and a wrong shape are errors.
pub fn read(directory: &Path, device: &Device) -> Result<Imported> {
    let config_path = directory.join("config.json");
    let text = fs::read_to_string(&config_path).map_err(|cause| {
        Problem::io("read model configuration", &config_path, &cause)
            .hint("a Hugging Face model directory holds config.json and model.safetensors")
    })?;
    let config = GptNeoxConfig::from_json(&text, &config_path.display().to_string())?;
    let mut found = BTreeMap::new();
    for path in weight_files(directory)? {
        for (name, stored) in tensors::read(&path, &|name| !is_old_buffer(name))? {
            if found.contains_key(&name) {
                return Err(Problem::input(
                    "read model",
                    path.display(),
                    format!("tensor {name} is in another file too"),
                )
                .hint("the directory mixes two models: fetch it again"));
            }
            found.insert(name, stored);
        }
    }
    // A tied model may store its one table under both names.
    if config.tie_embeddings {
        found.remove("embed_out.weight");
    }
    // Nothing of the announced size is allocated before the files are known to hold something like it.
    let held: u64 = found.values().map(|stored| stored.values.len() as u64).sum();
    if config.parameters() / 16 > held {
        let why = format!("describes {} parameters, the weights are {held}", config.parameters());
        return Err(Problem::input("read model", config_path.display(), why).hint(BELONG));
    }
    // Mixed types go out as f32, which holds them all exactly.
    let mut dtypes = found.values().map(|stored| stored.dtype);
    let dtype = dtypes.next().filter(|first| dtypes.all(|other| other == *first)).unwrap_or(Dtype::F32);
    let mut model = GptNeox::zeros(config, device);
    assign(&mut model, found, directory, device)?;
    let tokenizer = Some(directory.join("tokenizer.json")).filter(|path| path.is_file());
    Ok(Imported { model, dtype, tokenizer })
}

/// Puts tensors into the model; `place` names their origin in errors.
pub fn assign(model: &mut GptNeox, mut found: BTreeMap<String, Stored>, place: &Path, device: &Device) -> Result<()> {
    let mut faults = Vec::new();
    model.visit(&mut |name, mut parameter| match found.remove(name) {
        None => faults.push(format!("tensor {name} is missing")),
        Some(stored) if stored.shape != parameter.shape() => faults.push(format!(
            "tensor {name} has shape {:?}, the configuration asks for {:?}",
            stored.shape,
            parameter.shape()
        )),
        Some(stored) => parameter.set(stored.values, device),
    });
    faults.extend(found.into_keys().map(|name| format!("tensor {name} is not part of the model")));
    if faults.is_empty() {
        return Ok(());
    }
    Err(Problem::input("load weights", place.display(), tensors::shortened(&faults)).hint(BELONG))
}

/// The files that hold the weights: one, or the shards that the index names.
fn weight_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let single = directory.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index = directory.join("model.safetensors.index.json");
    let fail = |why: &str| Problem::input("read model", index.display(), why);
    let text = match fs::read_to_string(&index) {
        Ok(text) => text,
        Err(_) if directory.join("pytorch_model.bin").exists() => {
            return Err(Problem::input("read model", directory.display(), "holds pytorch_model.bin, not safetensors")
                .hint("convert it once: AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT)"));
        }
        Err(_) => {
            return Err(Problem::input("read model", directory.display(), "has no model.safetensors and no index")
                .hint("a Hugging Face model directory holds config.json and model.safetensors"));
        }
    };
    let value: Value = serde_json::from_str(&text).map_err(|cause| fail(&cause.to_string()))?;
    let map = value.get("weight_map").and_then(Value::as_object).ok_or_else(|| fail("weight_map is missing"))?;
    let mut names: Vec<&str> = map.values().filter_map(Value::as_str).collect();
    names.sort_unstable();
    names.dedup();
    if names.iter().any(|name| name.contains(['/', '\\'])) {
        return Err(fail("weight_map names a file outside the directory"));
    }
    let missing: Vec<&str> = names.iter().copied().filter(|name| !directory.join(name).is_file()).collect();
    if !missing.is_empty() {
        return Err(fail(&format!("names {}, which the directory does not hold", missing.join(", ")))
            .hint("fetch every file of the model"));
    }
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

/// The parameters as tensors to be written, in checkpoint order.
pub fn outgoing(model: &GptNeox, dtype: Dtype) -> Vec<(String, Outgoing<'static>)> {
    let mut tensors = Vec::new();
    // Cloning shares the weights: nothing is copied until a tensor is written.
    model.clone().visit(&mut |name, parameter| {
        let shape = parameter.shape();
        let values = parameter.deferred();
        tensors.push((name.to_string(), Outgoing { shape, values, dtype }));
    });
    tensors
}

/// Writes a directory that `transformers` loads. `tokenizer` is the text of `tokenizer.json`.
/// The directory must be new or empty.
pub fn write(directory: &Path, model: &GptNeox, dtype: Dtype, tokenizer: Option<&str>) -> Result<()> {
    let io = |path: &Path, cause: &std::io::Error| Problem::io("write model", path, cause);
    fs::create_dir_all(directory).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => {
            Problem::input("write model", directory.display(), "a file is in the way").hint("choose another directory")
        }
        _ => io(directory, &cause),
    })?;
    if fs::read_dir(directory).map_err(|cause| io(directory, &cause))?.next().is_some() {
        return Err(Problem::input("write model", directory.display(), "is not empty")
            .hint("choose another directory: nothing is ever overwritten"));
    }
    let mut files = vec![("config.json", model.config.to_json(dtype.name()))];
    files.extend(tokenizer.map(|text| ("tokenizer.json", text.to_string())));
    let written = || {
        tensors::write(&directory.join("model.safetensors"), outgoing(model, dtype))?;
        files.iter().try_for_each(|(name, text)| {
            let path = directory.join(name);
            fs::write(&path, text).map_err(|cause| io(&path, &cause))
        })
    };
    // Half a model helps nobody; the directory was empty.
    written().inspect_err(|_| {
        for name in files.iter().map(|(name, _)| *name).chain(["model.safetensors"]) {
            let _ = fs::remove_file(directory.join(name));
        }
        let _ = fs::remove_dir(directory);
    })
}
