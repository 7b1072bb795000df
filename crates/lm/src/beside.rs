//! The files that belong to a tokenizer: what a Hugging Face directory holds beside `tokenizer.json`, kept from the start of a run
//! through every checkpoint, branch and export; and what is written where there was none.
//!
//! `transformers` does not take `tokenizer.json` as it is unless `tokenizer_config.json` names a class that does: for any other, or
//! none, it builds another tokenizer from the vocabulary, which can give other ids than the model was trained with.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value, json};
use temper_base::{Problem, Result};
use temper_data::Tokenizer;
use temper_model::GptNeoxConfig;
use temper_record::checkpoint::Checkpoint;

/// Names and contents.
pub type Files = Vec<(String, Vec<u8>)>;

const CONFIG: &str = "tokenizer_config.json";
const SPECIAL: &str = "special_tokens_map.json";
const GENERATION: &str = "generation_config.json";
/// What is kept of a directory. All other names are left where they are.
const NAMES: [&str; 13] = [
    CONFIG,
    SPECIAL,
    GENERATION,
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
];
/// The largest vocabularies are a third of it.
const LARGEST: u64 = 64 << 20;
/// The class that takes `tokenizer.json` as it is, under the name that every version of `transformers` knows.
const CLASS: &str = "PreTrainedTokenizerFast";
const AS_IT_IS: [&str; 2] = [CLASS, "TokenizersBackend"];
const WHAT: &str = "read tokenizer";

/// The files of a Hugging Face directory.
pub(crate) fn of_folder(folder: &Path) -> Result<Files> {
    let mut files = Files::new();
    for path in NAMES.iter().map(|name| folder.join(name)).filter(|path| path.is_file()) {
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
        read.map_err(|cause| Problem::io(WHAT, &path, &cause))?;
        if bytes.len() as u64 > LARGEST {
            let why = format!("is larger than {} MiB", LARGEST >> 20);
            return Err(
                Problem::input(WHAT, path.display(), why).hint("no tokenizer has a file of that size: remove it")
            );
        }
        files.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), bytes));
    }
    Ok(files)
}

/// The files beside the `tokenizer.json` of this path: none where it has another name, for then its folder may hold anything.
fn of_tokenizer(path: &Path) -> Result<Files> {
    match path.parent() {
        Some(folder) if path.file_name().is_some_and(|name| name == "tokenizer.json") => of_folder(folder),
        _ => Ok(Files::new()),
    }
}

/// The files of a run that begins with `tokenizer`: those of the Hugging Face directory `from` if that is its tokenizer, or those
/// beside the file that was `named`.
pub(crate) fn at_start(tokenizer: &Tokenizer, named: Option<&str>, from: Option<&str>) -> Result<Files> {
    if let Some(from) = from.map(Path::new)
        && fs::read(from.join("tokenizer.json")).is_ok_and(|own| own == tokenizer.to_json())
    {
        return of_folder(from);
    }
    match named {
        Some(name) if !name.starts_with("builtin:") => of_tokenizer(Path::new(name)),
        _ => Ok(Files::new()),
    }
}

/// The files of a checkpoint, compared with what was written. Checkpoints of older versions have none.
pub(crate) fn of_checkpoint(checkpoint: &Checkpoint) -> Result<Files> {
    let there = NAMES.iter().filter(|name| fs::symlink_metadata(checkpoint.path().join(name)).is_ok());
    there.map(|name| Ok((name.to_string(), checkpoint.read(name)?))).collect()
}

/// The files as `transformers` needs them to come to the ids of `tokenizer`: those that are missing are added, and what would
/// change ids is put right, with a warning each. A second time changes nothing.
///
/// # Errors
/// If one of the files is no JSON object.
pub fn complete_files(
    mut files: Files,
    tokenizer: &Tokenizer,
    config: &GptNeoxConfig,
) -> Result<(Files, Vec<Problem>)> {
    let known = Known::new(tokenizer, config);
    let mut warnings = Vec::new();
    let mut settings = object(&files, CONFIG)?.unwrap_or_default();
    let before = settings.clone();
    known.settle_class(&mut settings, &mut warnings);
    known.settle_tokens(&mut settings, object(&files, SPECIAL)?.as_ref(), &mut warnings);
    settings.entry("clean_up_tokenization_spaces").or_insert(json!(false));
    settings.entry("model_max_length").or_insert(json!(config.max_seq));
    if settings != before {
        put(&mut files, CONFIG, &settings);
    }
    if object(&files, SPECIAL)?.is_none() {
        let names = ["bos_token", "eos_token", "pad_token", "unk_token"];
        let named = names.iter().filter_map(|name| Some((name.to_string(), settings.get(*name)?.clone()))).collect();
        put(&mut files, SPECIAL, &named);
    }
    match object(&files, GENERATION)? {
        None => {
            let pad = settings.get("pad_token").and_then(content).and_then(|token| known.ids.get(token));
            let bos = config.bos_token_id.unwrap_or(tokenizer.eod());
            let generation = json!({ "bos_token_id": bos, "eos_token_id": tokenizer.eod(), "pad_token_id": pad });
            put(&mut files, GENERATION, generation.as_object().expect("written as one"));
        }
        Some(generation) => {
            warnings.extend(generation.get("eos_token_id").and_then(|stated| known.other_end(stated)));
        }
    }
    Ok((files, warnings))
}

/// What is known of a tokenizer.
struct Known {
    ids: HashMap<String, u32>,
    /// Added tokens of `tokenizer.json`.
    added: Vec<String>,
    end: (String, u32),
    /// The unknown token of its model.
    unknown: Option<String>,
    rows: usize,
}

impl Known {
    fn new(tokenizer: &Tokenizer, config: &GptNeoxConfig) -> Self {
        let token = |id: u32| Some((tokenizer.token(id)?, id));
        let json: Value = serde_json::from_slice(tokenizer.to_json()).unwrap_or_default();
        let added = json["added_tokens"].as_array().into_iter().flatten();
        let model = &json["model"];
        let by_id = model["unk_id"].as_u64().and_then(|id| tokenizer.token(u32::try_from(id).ok()?)); // Unigram's
        Self {
            ids: (0..tokenizer.vocab_size() as u32).filter_map(token).collect(),
            added: added.filter_map(|token| token["content"].as_str().map(str::to_owned)).collect(),
            end: (tokenizer.token(tokenizer.eod()).unwrap_or_default(), tokenizer.eod()),
            unknown: model["unk_token"].as_str().map(str::to_owned).or(by_id),
            rows: config.vocab_size,
        }
    }

    /// The class must take `tokenizer.json` as it is.
    fn settle_class(&self, settings: &mut Map<String, Value>, warnings: &mut Vec<Problem>) {
        let class = settings.insert("tokenizer_class".into(), CLASS.into());
        let code = settings.remove("auto_map");
        match class.as_ref().and_then(Value::as_str) {
            None => {}
            Some(name) if AS_IT_IS.contains(&name) => settings["tokenizer_class"] = name.into(),
            Some(name) => warnings.push(
                Problem::input("keep tokenizer", CONFIG, format!("tokenizer_class {name} is now {CLASS}")).hint(
                    "that class uses tokenizer.json unchanged; others rebuild the tokenizer and can give other ids",
                ),
            ),
        }
        if code.is_some() {
            let why = "auto_map is left out: the code that it names is not part of a run";
            warnings.push(Problem::input("keep tokenizer", CONFIG, why));
        }
    }

    /// Every named token must be one of the vocabulary: `transformers` would add it behind, where the model has no row.
    fn settle_tokens(
        &self,
        settings: &mut Map<String, Value>,
        map: Option<&Map<String, Value>>,
        warnings: &mut Vec<Problem>,
    ) {
        let stated = |settings: &Map<String, Value>, key: &str| {
            let token = settings.get(key).or_else(|| map?.get(key)).filter(|token| !token.is_null());
            token.and_then(content).map(str::to_owned)
        };
        let mut name = |settings: &mut Map<String, Value>, key: &str, token: &str| {
            if let Some(other) = stated(settings, key) {
                if self.within(&other) {
                    return;
                }
                let why = format!("{key} {other} is now {token}: the model has no row for it");
                warnings.push(Problem::input("keep tokenizer", CONFIG, why).hint("a padded batch would fail with it"));
            }
            settings.insert(key.into(), token.into());
        };
        let end = self.end.0.as_str();
        if stated(settings, "eos_token").is_none() && stated(settings, "bos_token").is_none() {
            name(settings, "bos_token", end);
        }
        name(settings, "eos_token", end);
        let pad = ["<|padding|>", "<pad>", "[PAD]", "<|pad|>"].into_iter();
        let pad = pad.into_iter().find(|pad| self.added.iter().any(|token| token == pad) && self.within(pad));
        name(settings, "pad_token", pad.unwrap_or(end));
        // Only where it is found in texts already: naming it would make it so.
        if let Some(unknown) = self.unknown.as_ref().filter(|unknown| self.added.contains(unknown)) {
            name(settings, "unk_token", unknown);
        }
    }

    /// Whether a token has a row of the model.
    fn within(&self, token: &str) -> bool {
        self.ids.get(token).is_some_and(|&id| (id as usize) < self.rows)
    }

    /// A word where generation ends at other tokens than the documents of the run.
    fn other_end(&self, stated: &Value) -> Option<Problem> {
        let (token, id) = &self.end;
        let ends = stated.as_array().map_or(std::slice::from_ref(stated), Vec::as_slice);
        if stated.is_null() || ends.iter().any(|end| end.as_u64() == Some(u64::from(*id))) {
            return None;
        }
        let why = format!("eos_token_id is {stated}, but documents end with {token} ({id})");
        let hint = "kept as it is: generate() stops at the former; data.eod chooses the latter";
        Some(Problem::input("keep tokenizer", GENERATION, why).hint(hint))
    }
}

/// The text of a token: a string, or an object with its `content`.
fn content(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// One of the files as a JSON object.
fn object(files: &Files, name: &str) -> Result<Option<Map<String, Value>>> {
    let Some((_, bytes)) = files.iter().find(|(own, _)| own == name) else { return Ok(None) };
    let fail = |why: String| {
        Problem::input(WHAT, name, why).hint("the file beside tokenizer.json is damaged: repair or remove it")
    };
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(Some(object)),
        Ok(_) => Err(fail("is not a JSON object".into())),
        Err(cause) => Err(fail(cause.to_string())),
    }
}

fn put(files: &mut Files, name: &str, value: &Map<String, Value>) {
    let bytes = (serde_json::to_string_pretty(value).expect("plain values") + "\n").into_bytes();
    match files.iter_mut().find(|(own, _)| own == name) {
        Some((_, own)) => *own = bytes,
        None => files.push((name.into(), bytes)),
    }
}
