//! Where the weights of a Hugging Face directory lie: one file, or shards with an index that says which tensor is read from which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;
use temper_base::{Problem, Result};

use crate::tensors::{self, Stored};

const WHAT: &str = "read model";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Configurations and indexes are far smaller; a larger file is not one.
const LARGEST_JSON: u64 = 64 << 20;

/// The weights of a directory.
pub(super) struct Weights {
    /// Every file with the tensors that are read from it.
    files: Vec<(PathBuf, BTreeSet<String>)>,
    /// What a reader should know about what is not read.
    pub(super) warnings: Vec<Problem>,
}

/// Buffers that old checkpoints carry and every reader ignores.
fn is_old_buffer(name: &str) -> bool {
    [".attention.bias", ".attention.masked_bias", ".attention.rotary_emb.inv_freq"].iter().any(|s| name.ends_with(s))
        || name == "gpt_neox.rotary_emb.inv_freq"
}

/// Reads a small file of text.
pub(super) fn read_text(path: &Path, what: &'static str) -> Result<String> {
    let mut text = String::new();
    let io = |cause: std::io::Error| Problem::io(what, path, &cause);
    File::open(path).map_err(io)?.take(LARGEST_JSON + 1).read_to_string(&mut text).map_err(io)?;
    if text.len() as u64 > LARGEST_JSON {
        return Err(Problem::input(what, path.display(), format!("is larger than {} MiB", LARGEST_JSON >> 20))
            .hint("no Hugging Face model has a file of that name and size"));
    }
    Ok(text)
}

impl Weights {
    /// Looks at the headers of the files.
    pub(super) fn find(directory: &Path) -> Result<Self> {
        let single = directory.join(SINGLE);
        if !single.is_file() {
            return Self::sharded(directory);
        }
        let names = tensors::names(&single)?.into_iter().filter(|name| !is_old_buffer(name)).collect();
        let index = directory.join(INDEX);
        let unread = index.exists().then(|| {
            Problem::input(WHAT, directory.display(), format!("holds {SINGLE} and {INDEX}: the shards are not read"))
                .hint(format!("transformers does the same; remove {SINGLE} if the shards are the model"))
        });
        Ok(Self { files: vec![(single, names)], warnings: unread.into_iter().collect() })
    }

    /// The tensors that `weight_map` sends to a file are read from it, as `transformers` does: other copies of them are not.
    fn sharded(directory: &Path) -> Result<Self> {
        let place = directory.join(INDEX);
        let map = weight_map(directory, &place)?;
        let mut files: Vec<&String> = map.values().collect();
        files.sort_unstable();
        files.dedup();
        let mut holders: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (i, file) in files.iter().enumerate() {
            for name in tensors::names(&directory.join(file))?.into_iter().filter(|name| !is_old_buffer(name)) {
                holders.entry(name).or_default().push(i);
            }
        }
        let (mut copies, mut elsewhere) = (Vec::new(), Vec::new());
        let mut read: Vec<BTreeSet<String>> = vec![BTreeSet::new(); files.len()];
        for (name, holders) in &holders {
            let sent = map.get(name).and_then(|file| files.iter().position(|f| f == &file));
            let chosen = match (sent.filter(|sent| holders.contains(sent)), holders.as_slice()) {
                (Some(sent), _) => sent,
                (None, [only]) => *only,
                (None, several) => {
                    let several: Vec<&str> = several.iter().map(|&i| files[i].as_str()).collect();
                    let why =
                        format!("{INDEX} does not say which of {} tensor {name} is read from", several.join(", "));
                    return Err(Problem::input(WHAT, directory.display(), why)
                        .hint("the directory mixes two models: fetch it again"));
                }
            };
            if let Some(file) = map.get(name).filter(|_| sent != Some(chosen)) {
                elsewhere.push(format!("{name} from {}, not {file}", files[chosen]));
            }
            if holders.len() > 1 {
                let unread: Vec<&str> = holders.iter().filter(|&&i| i != chosen).map(|&i| files[i].as_str()).collect();
                copies.push(format!("{name} from {}, not {}", files[chosen], unread.join(", ")));
            }
            read[chosen].insert(name.clone());
        }
        let nowhere: Vec<String> =
            map.keys().filter(|name| !holders.contains_key(*name) && !is_old_buffer(name)).cloned().collect();
        let mut warnings = Vec::new();
        let mut warn = |found: Vec<String>, why: &str, hint: &str| {
            if !found.is_empty() {
                let why = format!("{why}: {}", tensors::shortened(&found));
                warnings.push(Problem::input(WHAT, place.display(), why).hint(hint));
            }
        };
        warn(
            copies,
            "several files hold the same tensors; as with transformers, weight_map decides",
            "right where shards were patched by a file beside them; the other copies are not read",
        );
        warn(elsewhere, "weight_map sends tensors to files that do not hold them", "fetch the directory again");
        warn(nowhere, "weight_map names tensors that no file holds", "fetch the directory again");
        let files = files.into_iter().map(|file| directory.join(file)).zip(read).collect();
        Ok(Self { files, warnings })
    }

    /// The tensors that `wanted` accepts.
    pub(super) fn read(&self, wanted: &dyn Fn(&str) -> bool) -> Result<BTreeMap<String, Stored>> {
        let mut found = BTreeMap::new();
        for (path, names) in &self.files {
            found.extend(tensors::read(path, &|name| wanted(name) && names.contains(name))?);
        }
        Ok(found)
    }

    /// Whether a tensor is there.
    pub(super) fn has_tensor(&self, name: &str) -> bool {
        self.files.iter().any(|(_, names)| names.contains(name))
    }
}

/// The index: tensor to file, where every file lies in the directory.
fn weight_map(directory: &Path, place: &Path) -> Result<BTreeMap<String, String>> {
    let fail = |why: String| Problem::input(WHAT, place.display(), why);
    if !place.exists() {
        return Err(no_weights(directory));
    }
    let value: Value = serde_json::from_str(&read_text(place, WHAT)?).map_err(|cause| fail(cause.to_string()))?;
    let map = value.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| fail("weight_map is missing".into()))?;
    let mut files = BTreeMap::new();
    for (name, file) in map {
        let file = file.as_str().ok_or_else(|| fail(format!("weight_map sends tensor {name} to {file}, no name")))?;
        let inside = matches!(Path::new(file).components().collect::<Vec<_>>()[..], [Component::Normal(_)]);
        if !inside || file.contains(['/', '\\', ':']) {
            return Err(fail(format!("weight_map names a file outside the directory: {file:?}")));
        }
        files.insert(name.clone(), file.to_string());
    }
    let mut missing: Vec<&str> = files.values().map(String::as_str).collect();
    missing.sort_unstable();
    missing.dedup();
    missing.retain(|file| !directory.join(file).is_file());
    if missing.is_empty() {
        return Ok(files);
    }
    let missing: Vec<String> = missing.into_iter().map(str::to_owned).collect();
    let why = format!("names {}, which the directory does not hold", tensors::shortened(&missing));
    Err(fail(why).hint("fetch every file of the model"))
}

/// What the directory has instead of weights that can be read.
fn no_weights(directory: &Path) -> Problem {
    let fail = |why: String| Problem::input(WHAT, directory.display(), why);
    let names = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    let first = |ends: &[&str]| names.iter().find(|name| ends.iter().any(|end| name.ends_with(end)));
    if let Some(name) = first(&[".bin", ".pt", ".pth", ".ckpt", ".bin.index.json"]) {
        return fail(format!("holds {name}, not safetensors"))
            .hint("convert it once: AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT)");
    }
    if let Some(name) = first(&[".gguf", ".h5", ".msgpack", ".onnx"]) {
        return fail(format!("holds {name}, which Temper does not read")).hint("fetch the model's safetensors files");
    }
    if let Some(name) = first(&["adapter_model.safetensors"]) {
        return fail(format!("holds {name}, an adapter, not a model"))
            .hint("merge it into its model once: merge_and_unload() and save_pretrained(OUT) of peft");
    }
    match first(&[".safetensors"]) {
        Some(name) => fail(format!("has no {SINGLE} and no {INDEX}, but {name}"))
            .hint(format!("a single file must be called {SINGLE}; several need their index")),
        None => fail(format!("has no {SINGLE} and no index"))
            .hint("a Hugging Face model directory holds config.json and model.safetensors"),
    }
}
