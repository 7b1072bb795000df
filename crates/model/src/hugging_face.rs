//! Reads and writes a Hugging Face GPT-NeoX directory: `config.json`, `model.safetensors` (or shards with
//! their index), and the files of its tokenizer.

mod weights;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::Value;
use temper_base::files::{AtomicFile, UNFINISHED, sync_folder};
use temper_base::{Problem, Result};

use crate::config::GptNeoxConfig;
use crate::gpt_neox::GptNeox;
use crate::narrow::Losses;
use crate::parameter::Parameters;
use crate::tensors::{self, Dtype, Outgoing, Stored};
use weights::{Weights, read_text};

/// What a directory held besides the weights themselves.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The model, in f32.
    pub model: GptNeox,
    /// How its weights were stored; f32 if not all in one way.
    pub dtype: Dtype,
    /// Its tokenizer, if the directory has one.
    pub tokenizer: Option<PathBuf>,
    /// Where configuration and files contradict each other, and which of them Temper followed.
    pub warnings: Vec<Problem>,
}

const BELONG: &str = "weights and config.json must belong to the same GPT-NeoX model";
const EMBED_IN: &str = "gpt_neox.embed_in.weight";
const EMBED_OUT: &str = "embed_out.weight";

/// Reads a model.
///
/// # Errors
/// If `config.json` or the weights cannot be read, a tensor is missing, surplus or of another shape, or the configuration describes
/// another model than the weights.
pub fn read(directory: &Path, device: &Device) -> Result<Imported> {
    let (mut config, text) = stated_config(directory)?;
    let weights = Weights::find(directory)?;
    let mut found = weights.read(&|_| true)?;
    let mut warnings = weights.warnings;
    warnings.extend(settle_tie(&mut config, &mut found, directory));
    // Nothing of the announced size is allocated before the files turn out to hold about as much.
    let held: u64 = found.values().map(|stored| stored.values.len() as u64).sum();
    if config.parameters() / 16 > held {
        let why = format!("describes {} parameters, the weights are {held}", config.parameters());
        return Err(Problem::input("read model", directory.join("config.json").display(), why).hint(BELONG));
    }
    // Mixed types go out as f32, which holds them all exactly.
    let mut dtypes = found.values().map(|stored| stored.dtype);
    let dtype = dtypes.next().filter(|first| dtypes.all(|other| other == *first));
    warnings.extend(ignored(&text, dtype, directory));
    let mut model = GptNeox::zeros(config, device);
    assign(&mut model, found, directory, device)?;
    let tokenizer = Some(directory.join("tokenizer.json")).filter(|path| path.is_file());
    Ok(Imported { model, dtype: dtype.unwrap_or(Dtype::F32), tokenizer, warnings })
}

/// The configuration of a directory's model, as [`read`] finds it: where `config.json` ties the two tables and the files hold two
/// that differ, they are not tied. Without weights, what `config.json` says.
///
/// # Errors
/// If `config.json` cannot be read or is not that of a GPT-NeoX, or the tables of weights that are there cannot be read.
pub fn read_config(directory: &Path) -> Result<(GptNeoxConfig, Vec<Problem>)> {
    let (mut config, _) = stated_config(directory)?;
    let Ok(weights) = Weights::find(directory) else { return Ok((config, Vec::new())) };
    let mut warnings = Vec::new();
    if config.tie_embeddings && weights.has_tensor(EMBED_OUT) {
        let mut found = weights.read(&|name| name == EMBED_IN || name == EMBED_OUT)?;
        warnings.extend(settle_tie(&mut config, &mut found, directory));
    }
    Ok((config, warnings))
}

/// What `config.json` says, and its text.
fn stated_config(directory: &Path) -> Result<(GptNeoxConfig, String)> {
    let path = directory.join("config.json");
    let text = read_text(&path, "read model configuration")
        .map_err(|problem| problem.hint("a Hugging Face model directory holds config.json and model.safetensors"))?;
    Ok((GptNeoxConfig::from_json(&text, &path.display().to_string())?, text))
}

/// One table or two, where `config.json` says one: the file decides, as with transformers 5. A table stored twice is one, two that
/// differ stay two, and one that is stored under the other's name is the one.
fn settle_tie(config: &mut GptNeoxConfig, found: &mut BTreeMap<String, Stored>, directory: &Path) -> Option<Problem> {
    if !config.tie_embeddings {
        return None;
    }
    let second = found.remove(EMBED_OUT)?;
    let same = |a: &Stored, b: &Stored| {
        a.shape == b.shape && a.values.iter().map(|v| v.to_bits()).eq(b.values.iter().map(|v| v.to_bits()))
    };
    match found.get(EMBED_IN) {
        None => _ = found.insert(EMBED_IN.into(), second),
        Some(first) if same(first, &second) => {}
        Some(_) => {
            found.insert(EMBED_OUT.into(), second);
            config.tie_embeddings = false;
            let why = format!("says tie_word_embeddings, but {EMBED_OUT} is not {EMBED_IN}: both are kept, not tied");
            return Some(
                Problem::input("read model", directory.join("config.json").display(), why)
                    .hint("transformers 5 does the same; tie_word_embeddings = false in that file says what it holds"),
            );
        }
    }
    None
}

/// Where Temper does not do what `config.json` says.
fn ignored(text: &str, dtype: Option<Dtype>, directory: &Path) -> Vec<Problem> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let place = directory.join("config.json");
    let warn = |why: String, hint: &str| Problem::input("read model", place.display(), why).hint(hint);
    let mut warnings = Vec::new();
    for key in ["attention_dropout", "hidden_dropout"] {
        if let Some(rate) = value[key].as_f64().filter(|rate| *rate > 0.0) {
            warnings.push(warn(format!("{key} is {rate}: there is no dropout here"), "training does without it"));
        }
    }
    let said = value["dtype"].as_str().or(value["torch_dtype"].as_str()).map(|name| name.trim_start_matches("torch."));
    if let (Some(said), Some(dtype)) = (said, dtype)
        && said != dtype.name()
    {
        let why = format!("says {said}, the weights are stored as {}: they are read as stored", dtype.name());
        warnings.push(warn(why, "transformers 5 rounds them to what config.json says unless dtype is given"));
    }
    warnings
}

/// Puts tensors into the model; `place` names their origin in errors.
///
/// # Errors
/// If a tensor is missing, of another shape or not part of the model: all of them at once.
pub fn assign(model: &mut GptNeox, mut found: BTreeMap<String, Stored>, place: &Path, device: &Device) -> Result<()> {
    let mut faults = Vec::new();
    model.visit(&mut |name, mut parameter| match found.remove(name) {
        None if name == EMBED_OUT => {
            faults.push(format!("tensor {name} is missing, and tie_word_embeddings is not set"));
        }
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

/// Writes a directory that `transformers` loads, with `files` (names and contents: those of the tokenizer) beside the weights.
/// The directory must be new or empty, or hold what a writer that was killed left, which is replaced. Every file is whole or absent, and `config.json`, without which no reader takes the
/// directory for a model, comes last.
///
/// # Errors
/// If something is there already, the machine fails, or `dtype` cannot hold a weight; what was begun is then removed.
pub fn write(directory: &Path, model: &GptNeox, dtype: Dtype, files: &[(String, Vec<u8>)]) -> Result<Losses> {
    let io = |path: &Path, cause: &std::io::Error| Problem::io(WRITE, path, cause);
    fs::create_dir_all(directory).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => {
            Problem::input(WRITE, directory.display(), "a file is in the way").hint("choose another directory")
        }
        _ => io(directory, &cause),
    })?;
    let mark = directory.join(MARK);
    if mark.exists() {
        let _lock = claim(directory, &mark)?;
        clear(directory, files).map_err(|cause| io(directory, &cause))?;
    }
    if entries(directory).map_err(|cause| io(directory, &cause))?.iter().any(|name| name != MARK) {
        return Err(not_empty(directory));
    }
    let lock = claim(directory, &mark)?;
    let mut written = Vec::new();
    let done = write_files(directory, model, dtype, files, &mut written);
    drop(lock);
    let _ = fs::remove_file(&mark);
    if done.is_err() {
        // Half a model helps nobody; the directory was empty.
        for path in &written {
            let _ = fs::remove_file(path);
        }
        let _ = fs::remove_dir(directory);
    }
    done
}

const WRITE: &str = "write model";
/// Lies in a directory while it is written, locked: where it lies without a lock, a kill has left what is there.
pub const MARK: &str = ".writing-model";

/// Marks a directory as one that is being written.
fn claim(directory: &Path, mark: &Path) -> Result<File> {
    let open = File::options().create(true).truncate(false).write(true).open(mark);
    let file = open.map_err(|cause| Problem::io(WRITE, mark, &cause))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(Problem::input(WRITE, directory.display(), "another process is writing into this directory")
                .hint("choose another directory, or wait until it has ended"))
        }
        // A file system without locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// The names in a directory.
fn entries(directory: &Path) -> std::io::Result<Vec<OsString>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
}

/// Removes what a killed writer of these files left, unless something else lies there too: then all of it stays.
fn clear(directory: &Path, files: &[(String, Vec<u8>)]) -> std::io::Result<()> {
    let own: Vec<&str> =
        files.iter().map(|(name, _)| name.as_str()).chain(["model.safetensors", "config.json"]).collect();
    let ours = |name: &str| {
        let unfinished = name.ends_with(UNFINISHED) && own.iter().any(|own| name.starts_with(&format!(".{own}.")));
        unfinished || own.contains(&name)
    };
    let mut names = entries(directory)?;
    names.retain(|name| name != MARK);
    if names.iter().all(|name| name.to_str().is_some_and(ours)) {
        names.iter().try_for_each(|name| fs::remove_file(directory.join(name)))?;
    }
    Ok(())
}

fn write_files(
    directory: &Path,
    model: &GptNeox,
    dtype: Dtype,
    files: &[(String, Vec<u8>)],
    written: &mut Vec<PathBuf>,
) -> Result<Losses> {
    let weights = directory.join("model.safetensors");
    let losses = tensors::write_whole(&weights, outgoing(model, dtype))?;
    written.push(weights);
    let config = ("config.json".to_string(), model.config.to_json(dtype.name()).into_bytes());
    for (name, bytes) in files.iter().chain([&config]) {
        let path = directory.join(name);
        let mut file = AtomicFile::create(&path)?;
        file.write(bytes)?;
        file.finish_new()?;
        written.push(path);
    }
    if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync_folder(parent);
    }
    Ok(losses)
}

fn not_empty(directory: &Path) -> Problem {
    let problem = Problem::input(WRITE, directory.display(), "is not empty");
    let begun = directory.join("model.safetensors").exists() && !directory.join("config.json").exists();
    problem.hint(if begun {
        "it has weights and no config.json, as an export that was ended leaves it: remove it if so"
    } else {
        "choose another directory: nothing is ever overwritten"
    })
}
