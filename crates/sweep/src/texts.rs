//! What the runs of a sweep train on. A sweep identifies a text by the hash of its content and tokenises it once for all runs.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use temper_base::hash::{Digest, Sha256, feed_file, hex};
use temper_base::{Listener, Problem, Problems, Result};
use temper_data::{Documents, Input, PrepareOptions, ReadOptions, Tokenizer};
use temper_lm::spec::{Source, TextSpec};
use temper_lm::text;
use temper_recipe::Recipe;
use temper_train::spec::weights_from;

use crate::store::Store;

/// Held-out documents are the same for every seed: runs of several seeds are judged by the same text.
const SPLIT_SEED: u64 = 1;

/// A text to be tokenised.
struct Text {
    name: String,
    inputs: Vec<Input>,
    tokenizer: String,
    /// The token that ends a document, if the recipe names it.
    eod: Option<String>,
    options: PrepareOptions,
}

/// All texts of a sweep, by the folder of their tokens.
#[derive(Default)]
pub struct Texts {
    texts: BTreeMap<PathBuf, Text>,
    /// Hashes that were taken already, by what was hashed.
    known: BTreeMap<String, String>,
    /// What is not here.
    pub missing: Vec<Problem>,
}

impl Texts {
    /// Overrides that make a recipe train on prepared tokens instead of text, and what stands for those tokens in its hash.
    /// `tokenizer` is that of its base, if it has one.
    ///
    /// # Errors
    /// Texts that cannot be read or named, and keys that cannot be read.
    pub fn overrides_for_prepared(
        &mut self,
        recipe: &Recipe,
        tokenizer: Option<&str>,
        store: &Store,
    ) -> Result<Vec<(String, String, String)>, Problems> {
        let texts = TextSpec::read(recipe)?;
        let inside = weights_from(recipe)?.map(|from| format!("{from}/tokenizer.json"));
        let own = texts.tokenizer.clone();
        let Some(tokenizer) = own.or(tokenizer.map(str::to_owned)).or(inside) else { return Ok(Vec::new()) };
        let trained = texts.sources.iter().map(|it| (&it.name, &it.paths, it.key(), texts.held_out_of(it)));
        let judged = texts.validation.iter().map(|it| (&it.name, &it.paths, it.key(), 0.0));
        let mut found = Vec::new();
        for (name, paths, key, fraction) in trained.chain(judged) {
            let absent: Vec<&String> = paths.iter().filter(|path| !there(path)).collect();
            for path in &absent {
                let problem = recipe.problem(&key, format!("{path}: no such file or directory"));
                self.add_missing(problem.hint(if path.starts_with("corpus/") {
                        "scripts/corpora.py makes it: the recipe rewarm/docs has the commands"
                    } else {
                        "paths are relative to the current directory; set replaces one of a variant, set_base one of the base"
                    }));
            }
            if !absent.is_empty() {
                found.push((key, String::new(), format!("text at {}", paths.join(" "))));
                continue;
            }
            let inputs = match text::find_data(paths)? {
                text::Named::Text(inputs) => inputs,
                // Tokens are used where they are.
                text::Named::Tokens(train, validation) => {
                    let parts = std::iter::once(&train).chain(&validation).map(|path| of_tokens(path));
                    found.push((key, String::new(), parts.collect::<Result<Vec<_>>>()?.join(", ")));
                    continue;
                }
            };
            let mut options = texts.prepare(fraction);
            options.seed = SPLIT_SEED;
            let hash = self.hash(&inputs, &tokenizer, texts.eod.as_deref(), &options)?;
            let folder = store.tokens(name, &hash);
            let path = format!("{key}={:?}", folder.display().to_string());
            self.texts.entry(folder).or_insert(Text {
                name: name.to_owned(),
                inputs,
                tokenizer: tokenizer.clone(),
                eod: texts.eod.clone(),
                options,
            });
            found.push((key, path, format!("tokens {hash}")));
        }
        Ok(found)
    }

    /// Tokenises what is not tokenised yet.
    ///
    /// # Errors
    /// Texts or a tokenizer that cannot be read, and tokens that cannot be written.
    pub fn tokenise(&self, store: &Store, listener: &dyn Listener) -> Result<(), Problems> {
        for (folder, text) in &self.texts {
            // Another sweep may be at the same text.
            let _lock = store.wait_for_tokens(folder)?;
            if folder.exists() {
                continue;
            }
            let tokenizer = text::tokenizer(&text.tokenizer, text.eod.as_deref())?;
            // Under another name until it is whole, so that a kill leaves nothing that a sweep would use.
            let making = folder.with_file_name(format!(".{}", folder.file_name().unwrap_or_default().display()));
            if making.exists() {
                fs::remove_dir_all(&making).map_err(|cause| Problem::io("begin tokens again", &making, &cause))?;
            }
            text::tokenise(&text.name, &text.inputs, &tokenizer, &making, &text.options, listener)?;
            fs::rename(&making, folder).map_err(|cause| Problem::io("keep tokens", folder, &cause))?;
        }
        Ok(())
    }

    /// Notes what is not here.
    pub fn add_missing(&mut self, problem: Problem) {
        // Every seed and variant misses the same.
        if self.missing.iter().all(|known| known.why != problem.why) {
            self.missing.push(problem);
        }
    }

    /// What stands for the tokenizer in hashes.
    pub fn tokenizer(&mut self, name: &str, eod: Option<&str>) -> String {
        self.once(format!("tokenizer {name}"), || Ok(text::tokenizer(name, eod)?.fingerprint().to_owned()))
            .unwrap_or_else(|problem| {
                self.add_missing(
                    problem.hint("training a tokenizer makes one: the recipe rewarm/docs has the commands"),
                );
                name.to_owned()
            })
    }

    fn once(&mut self, what: String, make: impl FnOnce() -> Result<String>) -> Result<String> {
        if let Some(known) = self.known.get(&what) {
            return Ok(known.clone());
        }
        let made = make()?;
        self.known.insert(what, made.clone());
        Ok(made)
    }

    fn hash(
        &mut self,
        inputs: &[Input],
        tokenizer: &str,
        eod: Option<&str>,
        options: &PrepareOptions,
    ) -> Result<String, Problems> {
        let mut all = Sha256::new();
        // A file that is named more than once is read once.
        let mut seen = HashSet::new();
        for input in inputs {
            all.update(match input {
                Input::Memory { name, .. } => name.clone(),
                // Of a file, a folder or a pattern, every file that is read.
                Input::Path(_) => {
                    let documents = Documents::open(std::slice::from_ref(input), &options.read)?;
                    let fresh = documents.files().filter(|path| seen.insert(path.canonicalize().ok()));
                    fresh.map(|path| self.content_of(path)).collect::<Result<String>>()?
                }
            });
        }
        all.update(self.tokenizer(tokenizer, eod));
        all.update(eod.unwrap_or_default());
        // As the first version wrote it: stores stay valid.
        let ReadOptions { text_key, bad_lines, .. } = &options.read;
        let read = format!("ReadOptions {{ text_key: {text_key:?}, invalid_utf8: {bad_lines:?} }}");
        all.update(format!("{read} {} {}", options.validation_fraction, options.seed));
        Ok(short_hash(all))
    }

    /// The content of a file or of everything below a folder; the path itself where there is nothing, and of what is built in.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn content_of(&mut self, path: &Path) -> Result<String> {
        if path.is_dir() {
            let entries = fs::read_dir(path).map_err(|cause| Problem::io("read folder", path, &cause))?;
            let mut inside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            inside.sort();
            let mut all = Sha256::new();
            for entry in inside {
                all.update(format!("{}\n", entry.file_name().unwrap_or_default().display()));
                all.update(self.content_of(&entry)?);
            }
            return Ok(short_hash(all));
        }
        if path.is_file() {
            self.once(format!("file {}", path.display()), || of_file(path))
        } else {
            Ok(path.display().to_string())
        }
    }
}

/// The hash of a file's bytes.
fn of_file(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    feed_file(&mut hash, path, 0).map_err(|cause| Problem::io("read file", path, &cause))?;
    Ok(short_hash(hash))
}

/// What stands for tokens, which may be too large to be read for a hash: their place, size and time.
fn of_tokens(path: &Path) -> Result<String> {
    let found = fs::metadata(path).and_then(|meta| Ok((meta.len(), meta.modified()?)));
    let (size, modified) = found.map_err(|cause| Problem::io("find data", path, &cause))?;
    let modified = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    Ok(format!("tokens at {}, {size} bytes of {modified}", path.display()))
}

/// The sets that a run of this recipe is evaluated on: its validation sets and what is held out of its training sets. Data that
/// is not here, or not tokenised yet, is taken to be text.
///
/// # Errors
/// A key that cannot be read.
pub fn validated(recipe: &Recipe) -> Result<Vec<String>, Problems> {
    let texts = TextSpec::read(recipe)?;
    let mut sets: Vec<String> = texts.validation.into_iter().map(|set| set.name).collect();
    for Source { name, paths, .. } in texts.sources {
        let looked = paths.iter().all(|path| there(path)).then(|| text::find_data(&paths)).transpose()?;
        let held_out = match looked {
            Some(text::Named::Tokens(_, validation)) => validation.is_some(),
            Some(text::Named::Text(_)) | None => texts.validation_fraction > 0.0,
        };
        if held_out && !sets.contains(&name) {
            sets.push(name);
        }
    }
    Ok(sets)
}

fn there(path: &str) -> bool {
    path.starts_with("builtin:")
        || path.contains(['*', '?', '['])
        || Path::new(path).exists()
        || Path::new(&format!("{path}.idx")).exists()
}

/// The first digits of a hash.
pub fn short_hash(hash: Sha256) -> String {
    hex(&hash.finalize()[..6])
}

/// The tokenizer of a run, by its path.
pub fn tokenizer_of(run: &str) -> String {
    format!("{run}/tokenizer.json")
}

/// Whether the text could be tokenised; used to fail before anything starts.
///
/// # Errors
/// If something is missing.
pub fn require(missing: &[Problem]) -> Result<(), Problems> {
    if missing.is_empty() { Ok(()) } else { Err(Problems(missing.to_vec())) }
}

/// Opens a tokenizer that may not be here.
pub fn vocabulary(name: Option<&str>) -> Option<temper_data::Vocabulary> {
    name.and_then(|name| text::tokenizer(name, None).ok()).map(|tokenizer: Tokenizer| tokenizer.vocabulary().clone())
}
