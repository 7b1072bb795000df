//! What a recipe of a language model reads, looked at before anything starts: sources and validation sets with their documents and
//! tokens. Token files say them exactly; of text, a part is tokenised and the rest estimated by its size.

use std::path::Path;

use serde_json::{Value, json};
use temper_base::numbers::count;
use temper_base::{Problem, Problems, Result};
use temper_data::{Documents, Input, TokenSource, Tokenizer};
use temper_record::run::RunDir;
use temper_train::run::Limits;

use crate::checks;
use crate::spec::{LmSpec, ValidationSet};
use crate::text::{self, Manifest, Named};

/// Bytes of text that are tokenised to estimate the rest.
const SAMPLE: usize = 1 << 20;

/// A source or a validation set.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// What it is called.
    pub name: String,
    /// Documents.
    pub documents: u64,
    /// Tokens; `None` without a tokenizer to count them with.
    pub tokens: Option<u64>,
    /// Whether the numbers are estimated from a sample.
    pub estimated: bool,
}

/// Everything that a recipe reads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Survey {
    /// What is trained on, without what is held out.
    pub train: Vec<Part>,
    /// The validation sets, held out and separate; those of the run it branches from come first.
    pub validation: Vec<Part>,
}

impl Survey {
    /// Looks at the data of a recipe; `base` is the run it branches from. What is missing is an error, all of it at once.
    pub(crate) fn of(spec: &LmSpec, base: Option<&RunDir>, tokenizer: Option<&Tokenizer>) -> Result<Self, Problems> {
        checks::lengths_and_paths(spec, Limits::default())?;
        let mut survey = Self::default();
        if let Some(base) = base {
            for set in Manifest::read(base)?.sets {
                survey.validation.push(Part::of_tokens(&set.name, &set.path, tokenizer)?);
            }
        }
        for source in &spec.texts.sources {
            let name = &source.name;
            let held_out = match text::find_data(&source.paths)? {
                Named::Tokens(train, validation) => {
                    survey.train.push(Part::of_tokens(name, &train, tokenizer)?);
                    validation.map(|path| Part::of_tokens(name, &path, tokenizer)).transpose()?
                }
                Named::Text(inputs) => {
                    let whole = Part::of_text(name, &inputs, spec, tokenizer)?;
                    let (train, held_out) = whole.split(spec.texts.held_out_of(source));
                    survey.train.push(train);
                    held_out
                }
            };
            survey.join(held_out.filter(|_| !spec.texts.has_own_set(name)));
        }
        for ValidationSet { name, paths } in &spec.texts.validation {
            let part = match text::find_data(paths)? {
                Named::Tokens(train, validation) => Part::of_tokens(name, &validation.unwrap_or(train), tokenizer)?,
                Named::Text(inputs) => Part::of_text(name, &inputs, spec, tokenizer)?,
            };
            survey.join(Some(part));
        }
        Ok(survey)
    }

    /// Adds a set, unless the base has one of that name already.
    fn join(&mut self, set: Option<Part>) {
        self.validation.extend(set.filter(|set| self.validation.iter().all(|other| other.name != set.name)));
    }

    /// Tokens of one pass through the training data, where all are known.
    pub(crate) fn train_tokens(&self) -> Option<u64> {
        self.train.iter().map(|part| part.tokens).sum::<Option<u64>>().filter(|&tokens| tokens > 0)
    }

    /// Tokens of one evaluation, at most `max` of each set.
    pub(crate) fn evaluated(&self, max: Option<u64>) -> Option<u64> {
        let limit = max.unwrap_or(u64::MAX);
        self.validation.iter().map(|part| Some(part.tokens?.min(limit))).sum()
    }

    /// The lines of a plan.
    pub fn text(&self) -> String {
        let mut lines = String::new();
        for (title, parts) in [("data", &self.train), ("validation", &self.validation)] {
            for part in parts {
                lines += &format!("{title:12} {}\n", part.text());
            }
            if parts.is_empty() {
                lines += &format!("{title:12} none\n");
            }
        }
        lines
    }

    /// The same for other programs.
    pub fn json(&self) -> Value {
        let parts = |parts: &[Part]| -> Vec<Value> {
            let part = |part: &Part| {
                json!({
                    "name": part.name, "documents": part.documents, "tokens": part.tokens, "estimated": part.estimated,
                })
            };
            parts.iter().map(part).collect()
        };
        json!({ "train": parts(&self.train), "validation": parts(&self.validation) })
    }
}

impl Part {
    /// Of a token file, from its header. One that was made with another tokenizer is refused.
    fn of_tokens(name: &str, path: &Path, tokenizer: Option<&Tokenizer>) -> Result<Self> {
        let mut source = TokenSource::open(path)?;
        tokenizer.map_or(Ok(()), |tokenizer| source.require(tokenizer.vocabulary()))?;
        Ok(Self { name: name.into(), documents: source.documents(), tokens: Some(source.len()), estimated: false })
    }

    /// Of text: exactly if it is short, by its size if it is not.
    fn of_text(name: &str, inputs: &[Input], spec: &LmSpec, tokenizer: Option<&Tokenizer>) -> Result<Self> {
        let mut all = Documents::open(inputs, &spec.texts.read)?;
        let (total, counts) = (all.total_bytes(), all.counts());
        let (mut documents, mut bytes, mut tokens, mut whole) = (0u64, 0, 0u64, true);
        for document in all.by_ref() {
            let document = document?;
            documents += 1;
            bytes += document.text.len();
            if let Some(tokenizer) = tokenizer {
                // One more ends the document.
                tokens += tokenizer.encode_plainly(&document.text)?.len() as u64 + 1;
            }
            if bytes >= SAMPLE {
                whole = false;
                break;
            }
        }
        if documents == 0 {
            return Err(Problem::input("look at data", name, "there is no text in it")
                .hint("text is .txt or .jsonl, also as .gz or .zst, or a folder of such files"));
        }
        let read = counts.input.load(std::sync::atomic::Ordering::Relaxed).clamp(1, total.max(1));
        let share = if whole { 1.0 } else { total as f64 / read as f64 };
        let grown = |number: u64| (number as f64 * share).round() as u64;
        Ok(Self {
            name: name.into(),
            documents: grown(documents),
            tokens: tokenizer.map(|_| grown(tokens)),
            estimated: !whole,
        })
    }

    /// What is left for training, and what is held out. Which documents those are is not known before they are tokenised.
    fn split(self, fraction: f64) -> (Self, Option<Self>) {
        if fraction <= 0.0 {
            return (self, None);
        }
        let share = |number: u64, part: f64| (number as f64 * part).round() as u64;
        let part = |part: f64| Self {
            documents: share(self.documents, part),
            tokens: self.tokens.map(|tokens| share(tokens, part)),
            estimated: true,
            ..self.clone()
        };
        (part(1.0 - fraction), Some(Self { documents: part(fraction).documents.max(1), ..part(fraction) }))
    }

    fn text(&self) -> String {
        let about = if self.estimated { "about " } else { "" };
        let estimated = if self.estimated { " (estimated)" } else { "" };
        let tokens = self.tokens.map_or("an unknown number of".to_owned(), |tokens| count(tokens as f64));
        let documents = count(self.documents as f64);
        format!("{}: {about}{tokens} tokens in {about}{documents} documents{estimated}", self.name)
    }
}
