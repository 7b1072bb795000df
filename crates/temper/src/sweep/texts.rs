//! What the runs of a sweep train on: text is known by the hash of its content, and tokenised once for all of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use temper_data::{Documents, Input, PrepareOptions, Tokenizer};
use temper_recipe::Recipe;
use temper_record::{Problem, Result};

use crate::lm::text;
use crate::printer::Printer;
use crate::problems::{Outcome, Problems};
use crate::sweep::store::Store;

/// Held-out documents are the same for every seed: runs of several seeds are judged by the same text.
const SPLIT_SEED: u64 = 1;

/// A text to be tokenised.
struct Text {
    name: String,
    inputs: Vec<Input>,
    tokenizer: String,
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
    pub fn prepared(
        &mut self,
        recipe: &Recipe,
        tokenizer: Option<&str>,
        store: &Store,
    ) -> Outcome<Vec<(String, String, String)>> {
        let own = recipe.opt("data.tokenizer", Recipe::text)?;
        let inside = recipe.opt("init.from", Recipe::text)?.map(|from| format!("{from}/tokenizer.json"));
        let Some(tokenizer) = own.or(tokenizer.map(str::to_owned)).or(inside) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for part in ["train", "validation"] {
            for name in recipe.names(&format!("data.{part}")) {
                let key = format!("data.{part}.{name}.path");
                let paths = recipe.texts(&key)?;
                let own_set = recipe.is_set(&format!("data.validation.{name}.path"));
                let fraction = if part == "train" && !own_set { recipe.f64("data.validation_fraction")? } else { 0.0 };
                let absent: Vec<&String> = paths.iter().filter(|path| !there(path)).collect();
                for path in &absent {
                    let problem = recipe.problem(&key, format!("{path}: no such file or directory"));
                    self.miss(problem.hint(match path.starts_with("corpus/") {
                        true => "scripts/corpora.py makes it: `temper recipe show rewarm/docs` has the commands",
                        false => "paths are relative to the current directory; --set replaces one of a variant, --set-base one of the base",
                    }));
                }
                if !absent.is_empty() {
                    found.push((key, String::new(), format!("text at {}", paths.join(" "))));
                    continue;
                }
                let inputs = match text::look(&paths)? {
                    text::Named::Text(inputs) => inputs,
                    // Tokens are used where they are.
                    text::Named::Tokens(train, _) => {
                        let tokens = self.hash_of_tokens(&train)?;
                        found.push((key, String::new(), tokens));
                        continue;
                    }
                };
                let mut options = text::options(recipe, fraction)?;
                options.seed = SPLIT_SEED;
                let hash = self.hash(&inputs, &tokenizer, &options)?;
                let folder = store.tokens(name, &hash);
                let path = format!("{key}={:?}", folder.display().to_string());
                self.texts.entry(folder).or_insert(Text {
                    name: name.to_owned(),
                    inputs,
                    tokenizer: tokenizer.clone(),
                    options,
                });
                found.push((key, path, format!("tokens {hash}")));
            }
        }
        Ok(found)
    }

    /// Tokenises what is not tokenised yet.
    pub fn tokenise(&self, printer: &Printer) -> Outcome<()> {
        for (folder, text) in &self.texts {
            if folder.exists() {
                continue;
            }
            let tokenizer = text::tokenizer(&text.tokenizer)?;
            // Under another name until it is whole: a kill leaves nothing that counts.
            let making = folder.with_file_name(format!(
                ".{}-{}",
                folder.file_name().unwrap_or_default().display(),
                std::process::id()
            ));
            _ = fs::remove_dir_all(&making);
            text::tokenise(&text.name, &text.inputs, &tokenizer, &making, &text.options, printer)?;
            match fs::rename(&making, folder) {
                Err(_) if folder.exists() => _ = fs::remove_dir_all(&making),
                Err(cause) => return Err(Problem::io("keep tokens", folder, &cause).into()),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn miss(&mut self, problem: Problem) {
        // Every seed and variant misses the same.
        if self.missing.iter().all(|known| known.why != problem.why) {
            self.missing.push(problem);
        }
    }

    /// What stands for the tokenizer in hashes.
    pub fn tokenizer(&mut self, name: &str) -> String {
        self.once(format!("tokenizer {name}"), || Ok(text::tokenizer(name)?.fingerprint().to_owned())).unwrap_or_else(
            |problem| {
                self.miss(problem.hint(
                    "`temper data train-tokenizer` makes one: `temper recipe show rewarm/docs` has the commands",
                ));
                name.to_owned()
            },
        )
    }

    fn once(&mut self, what: String, make: impl FnOnce() -> Result<String>) -> Result<String> {
        if let Some(known) = self.known.get(&what) {
            return Ok(known.clone());
        }
        let made = make()?;
        self.known.insert(what, made.clone());
        Ok(made)
    }

    fn hash(&mut self, inputs: &[Input], tokenizer: &str, options: &PrepareOptions) -> Outcome<String> {
        let mut all = Sha256::new();
        for input in inputs {
            all.update(match input {
                Input::Memory { name, .. } => name.clone(),
                Input::Path(path) => self.once(format!("file {}", path.display()), || content(path, options))?,
            });
        }
        all.update(self.tokenizer(tokenizer));
        all.update(format!("{:?} {} {}", options.read, options.validation_fraction, options.seed));
        Ok(short(all))
    }

    fn hash_of_tokens(&mut self, path: &Path) -> Outcome<String> {
        let size = fs::metadata(path).map_err(|cause| Problem::io("find data", path, &cause))?.len();
        Ok(format!("tokens at {}, {size} bytes", path.display()))
    }
}

/// The content of a file; of a folder or a pattern, its name and how much text there is.
fn content(path: &Path, options: &PrepareOptions) -> Result<String> {
    if path.is_file() {
        let bytes = fs::read(path).map_err(|cause| Problem::io("read text", path, &cause))?;
        return Ok(short(Sha256::new_with_prefix(bytes)));
    }
    let documents = Documents::open(&[Input::from(path)], &options.read)?;
    Ok(format!("{} {}", path.display(), documents.total_bytes()))
}

fn there(path: &str) -> bool {
    path.starts_with("builtin:")
        || path.contains(['*', '?', '['])
        || Path::new(path).exists()
        || Path::new(&format!("{path}.idx")).exists()
}

/// The first digits of a hash.
pub fn short(hash: Sha256) -> String {
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The tokenizer of a run, by its path.
pub fn tokenizer_of(run: &str) -> String {
    format!("{run}/tokenizer.json")
}

/// Whether the text could be tokenised; used to fail before anything starts.
pub fn require(missing: &[Problem]) -> Outcome<()> {
    if missing.is_empty() { Ok(()) } else { Err(Problems(missing.to_vec())) }
}

/// Opens a tokenizer that may not be here.
pub fn vocabulary(name: Option<&str>) -> Option<temper_data::Vocabulary> {
    name.and_then(|name| text::tokenizer(name).ok()).map(|tokenizer: Tokenizer| tokenizer.vocabulary().clone())
}
