//! A model to look at: of a run's checkpoint or of a Hugging Face directory.

use std::path::Path;

use burn::tensor::Device;
use temper_base::{Listener, Problem, Problems, Result};
use temper_data::{TokenSource, Tokenizer, Vocabulary};
use temper_model::tensors::Dtype;
use temper_model::{GptNeox, hugging_face};
use temper_recipe::Schema;
use temper_record::run::{RunDir, RunRef};
use temper_train::run;
use temper_train::spec::Spec;

use crate::beside;
use crate::checkpoint;
use crate::spec::{self, LmSpec};

/// A model with what belongs to it.
pub struct Opened {
    /// The model.
    pub model: GptNeox,
    /// Its tokenizer, if it has one.
    pub tokenizer: Option<Tokenizer>,
    /// The files that belong to the tokenizer.
    pub beside: beside::Files,
    /// How its weights are stored.
    pub dtype: Dtype,
    /// The run, its recipe and the step, if it is a run's.
    pub run: Option<(RunDir, LmSpec, u64)>,
}

impl Opened {
    /// Fails unless the ids of `source` are the model's: those of its tokenizer, or, if it has none, ids that it has rows for.
    ///
    /// # Errors
    /// Tokens of another vocabulary, or ids that the model has no rows for.
    pub fn require(&self, source: &mut TokenSource) -> Result<()> {
        match (&self.tokenizer, source.vocabulary()) {
            (Some(tokenizer), _) => source.require(tokenizer.vocabulary()),
            (None, Some(own)) if own.size > self.model.config.vocab_size as u64 => {
                let why = format!("{} ids, but the model has {} rows", own.size, self.model.config.vocab_size);
                Err(Problem::input("open token stream", source.path().display(), why)
                    .hint("these tokens were made for another model"))
            }
            (None, Some(_)) => Ok(()),
            (None, None) => {
                let size = self.model.config.vocab_size as u64;
                source.require(&Vocabulary { size, fingerprint: String::new(), eod: 0 })
            }
        }
    }
}

/// Opens `DIR`, `DIR@STEP`, `DIR@best` or a Hugging Face directory.
///
/// # Errors
/// A name of neither run nor Hugging Face directory, a run of an image classifier, files that are missing, damaged or do not
/// belong together.
pub fn open(name: &str, schema: &'static Schema, device: &Device, listener: &dyn Listener) -> Result<Opened, Problems> {
    let path = Path::new(name);
    if path.join("config.json").is_file() && !path.join("metrics.jsonl").exists() {
        let imported = hugging_face::read(path, device)?;
        listener.warnings(&imported.warnings);
        let tokenizer = imported.tokenizer.map(|path| Tokenizer::from_file(&path, None)).transpose()?;
        let beside = beside::of_folder(path)?;
        let (ids, rows) = (tokenizer.as_ref().map_or(0, Tokenizer::vocab_size), imported.model.config.vocab_size);
        if ids > rows as u64 {
            let why = format!("its tokenizer.json has {ids} ids, its model {rows} rows");
            return Err(Problem::input("open model", name, why)
                .hint("put the tokenizer.json of this model there")
                .into());
        }
        return Ok(Opened { model: imported.model, tokenizer, beside, dtype: imported.dtype, run: None });
    }
    let named = RunRef::parse(name)?;
    let run = named.open().map_err(|problem| match problem.hint {
        Some(_) if path.is_dir() => problem.hint("a run, or a Hugging Face directory with config.json"),
        _ => problem,
    })?;
    let recipe = run::resolved_recipe(&run, schema)?;
    if *recipe.task() != spec::TASK {
        let problem = Problem::input("open run", name, "it is an image classifier, not a language model");
        let hint = "it can be verified and inspected; each of its checkpoints holds the weights as \
            model.safetensors and the layers as network.json";
        return Err(problem.hint(hint).into());
    }
    let checkpoint = named.checkpoint()?;
    let model = checkpoint::read_model(&checkpoint, device)?;
    let spec = LmSpec::read(&recipe)?;
    let tokenizer = Some(Tokenizer::from_file(&checkpoint.file("tokenizer.json")?, spec.texts.eod.as_deref())?);
    let beside = beside::of_checkpoint(&checkpoint)?;
    Ok(Opened { model, tokenizer, beside, dtype: Dtype::F32, run: Some((run, spec, checkpoint.step())) })
}

/// The tokenizer, or what to do without one.
///
/// # Errors
/// A model without one.
pub fn need_tokenizer<'o>(opened: &'o Opened, name: &str) -> Result<&'o Tokenizer> {
    opened.tokenizer.as_ref().ok_or_else(|| {
        Problem::input("read tokenizer", name, "the directory has no tokenizer.json")
            .hint("put the tokenizer.json that belongs to the model beside config.json")
    })
}
