//! What a recipe of a language model does and costs, before anything starts.

use std::path::Path;

use burn::tensor::Device;
use temper_base::numbers::count;
use temper_base::{Problem, Problems, Result};
use temper_data::{Tokenizer, Vocabulary};
use temper_model::{GptNeoxConfig, hugging_face};
use temper_recipe::{Origin, Recipe};
use temper_record::{Checkpoint, RunDir};
use temper_train::lengths::Lengths;
use temper_train::plan::{Warnings, checkpoint_seconds, checkpoints, past_schedule};
use temper_train::spec::clocks::Clocks;
use temper_train::spec::{Spec, base_of, weights_from};
use temper_train::start::refuse_init;
use temper_train::{machine, run};

use crate::checkpoint::{self, State};
use crate::cost::{Memory, calibrate, checkpoint_bytes};
use crate::spec::{self, LmSpec};
use crate::survey::Survey;
use crate::{checks, shape, text};

/// What a recipe comes to.
pub struct Plan {
    /// The model.
    pub config: GptNeoxConfig,
    /// Its lengths in updates.
    pub lengths: Lengths,
    /// What it reads.
    pub survey: Survey,
    /// Tokens of one pass through the training data, as far as they are known.
    pub epoch: Option<u64>,
    /// Memory of the run.
    pub memory: Memory,
    /// Floating-point operations of all updates.
    pub flops: f64,
    /// Checkpoints on disk when the run is complete.
    pub kept: u64,
    /// How often the run evaluates.
    pub evaluations: u64,
    /// Tokens of all evaluations, where they are known.
    pub evaluated: Option<u64>,
    /// Checkpoints that the run writes, and how many more at most because a new one is the best.
    pub written: [u64; 2],
    /// What it takes, if that was measured.
    pub seconds: Option<Seconds>,
    spec: LmSpec,
}

/// Resolves a recipe, as a branch of the run `from` if it is given, and refuses what a start refuses. What weights, preset or base
/// decide is in the recipe afterwards.
///
/// # Errors
/// Everything that is wrong with the recipe, its data, its weights or the run it branches from.
pub fn resolve(recipe: &mut Recipe, from: Option<&str>, warnings: &mut Warnings) -> Result<Plan, Problems> {
    let base = from.map(|name| Base::open(name, recipe)).transpose()?;
    let config = configuration(recipe, base.as_ref(), warnings)?;
    let spec = LmSpec::read(recipe)?;
    let tokenizer = tokenizer(&spec, base.as_ref(), &config, warnings)?;
    let survey = Survey::of(&spec, base.as_ref().map(|base| &base.run), tokenizer.as_ref())?;
    let epoch = epoch_tokens(&spec, &survey);
    let lengths = spec.lengths(epoch, None)?;
    refuse(&spec, base.as_ref(), &survey, &lengths)?;
    let memory = Memory::of(&config, spec.seq_len, spec.pieces);
    let flops = config.flops_per_token(spec.seq_len) * (lengths.stop * lengths.tokens_per_step) as f64;
    let kept = kept(&spec, &lengths);
    look_for_trouble(&spec, &lengths, &memory, epoch, warnings)?;
    let evaluations = evaluations(&lengths);
    let evaluated = survey.evaluated(spec.max_tokens).map(|tokens| tokens * evaluations);
    // A new best one may come with every evaluation.
    let best = if spec.keep_best.is_some() { evaluations } else { 0 };
    let written = [checkpoints(&lengths), best];
    let seconds = None;
    Ok(Plan { config, lengths, survey, epoch, memory, flops, kept, evaluations, evaluated, written, seconds, spec })
}

impl Plan {
    /// The same run on a device that is not the processor.
    pub fn on_device(&mut self) {
        self.memory = Memory::composed(&self.config, self.spec.seq_len, self.spec.pieces);
    }

    /// Whether the run fits into this machine's memory, as far as that is known.
    pub fn fits_memory(&self) -> bool {
        machine::memory().is_none_or(|machine| self.memory.total() < machine.total)
    }

    /// Bytes of one checkpoint.
    pub fn checkpoint_bytes(&self) -> u64 {
        checkpoint_bytes(&self.config)
    }

    /// Times a few updates of the model on this device.
    pub fn measure(&mut self, device: &Device) {
        let (step, extrapolated) =
            calibrate(&self.config, self.spec.batch, self.spec.seq_len, self.spec.pieces, device);
        // An evaluation is the forward pass, a third of an update.
        let evaluated = self.evaluated.unwrap_or(0) as f64 / self.lengths.tokens_per_step as f64 / 3.0;
        self.seconds = Some(Seconds {
            step,
            extrapolated,
            updates: step * self.lengths.stop as f64,
            evaluations: step * evaluated,
            checkpoints: checkpoint_seconds(self.checkpoint_bytes()) * self.written.iter().sum::<u64>() as f64,
        });
    }
}

/// The run that the recipe is to branch from.
pub struct Base {
    name: String,
    run: RunDir,
    checkpoint: Checkpoint,
}

impl Base {
    fn open(name: &str, recipe: &Recipe) -> Result<Self, Problems> {
        let (run, checkpoint) = run::checkpoint_of(name)?;
        refuse_init(recipe)?;
        Ok(Self { name: name.into(), run, checkpoint })
    }
}

/// The model's configuration, from wherever it will come.
///
/// # Errors
/// A model that the recipe does not describe, one that its base, directory or tokenizer contradicts, a base of another task, and
/// files of these that cannot be read.
pub fn configuration(
    recipe: &mut Recipe,
    base: Option<&Base>,
    warnings: &mut Warnings,
) -> Result<GptNeoxConfig, Problems> {
    if let Some(Base { name, run, checkpoint }) = base {
        let base = run::resolved_recipe(run, recipe.schema())?;
        if *base.task() != spec::TASK {
            let problem = Problem::input("plan", Origin::Base(name.clone()), "it is a run of certified training");
            return Err(problem.hint("a recipe of a language model branches from a run of a language model").into());
        }
        spec::inherit(recipe, &base, name);
        Clocks::of_branch(recipe)?;
        let config = checkpoint::read_config(checkpoint)?;
        let spec = LmSpec::read(recipe)?;
        if spec.run.clocks.weights {
            warnings.extend(checks::check_positions(&spec, config.max_seq, name)?.map(meant));
            shape::adopt_shape(recipe, &config, &Origin::Base(name.clone()))?;
            return Ok(config);
        }
        recipe.inherit(&base, "model", name);
        shape::fill_preset(recipe)?;
        let spec = LmSpec::read(recipe)?;
        return shape::config(&spec, checks::branch_tokenizer(&spec, checkpoint)?.vocabulary());
    }
    if let Some(base) = base_of(recipe)? {
        warnings.push((
            format!("this recipe branches from a run of {base}"),
            format!("planning `{}` from a run shows it as a branch of that run", recipe.name()),
        ));
    }
    if let Some(directory) = weights_from(recipe)? {
        let here = Path::new(&directory).join("config.json").exists();
        if let Some(preset) = temper_model::config::Preset::find(&directory).filter(|_| !here) {
            // The directory is not here yet, but its name says what will be in it.
            warnings.push((
                format!("init.from = {directory:?}: there is no such directory yet"),
                format!("planned with the shape of {}; put its Hugging Face directory there", preset.name),
            ));
            return Ok(preset.config());
        }
        let (config, found) = hugging_face::read_config(Path::new(&directory))?;
        warnings.extend(found.into_iter().map(|found| (found.to_string(), found.hint.unwrap_or_default())));
        shape::adopt_shape(recipe, &config, &Origin::Preset(directory.clone()))?;
        warnings.extend(checks::check_positions(&LmSpec::read(recipe)?, config.max_seq, &directory)?.map(meant));
        return Ok(config);
    }
    shape::fill_preset(recipe)?;
    let spec = LmSpec::read(recipe)?;
    let vocabulary = match &spec.texts.tokenizer {
        Some(name) => match text::tokenizer(name, spec.texts.eod.as_deref()) {
            Ok(tokenizer) => tokenizer.vocabulary().clone(),
            Err(problem) if spec.model.vocab_size.is_none() => return Err(problem.into()),
            Err(problem) => {
                warnings.push((problem.to_string(), problem.hint.unwrap_or_default()));
                Vocabulary { size: 0, fingerprint: String::new(), eod: 0 }
            }
        },
        None => Vocabulary { size: 0, fingerprint: String::new(), eod: 0 },
    };
    shape::config(&spec, &vocabulary)
}

/// The tokenizer that will cut the text, which must fit the model. None if it is that of a built-in recipe, or of a directory,
/// that is not here yet: that is a warning already.
fn tokenizer(
    spec: &LmSpec,
    base: Option<&Base>,
    config: &GptNeoxConfig,
    warnings: &mut Warnings,
) -> Result<Option<Tokenizer>, Problems> {
    if let Some(base) = base {
        return Ok(Some(checks::branch_tokenizer(spec, &base.checkpoint)?));
    }
    let (named, directory) = (&spec.texts.tokenizer, &spec.run.from);
    let to_come = match named {
        Some(name) => matches!(spec.tokenizer_origin(), Origin::Recipe(_)) && !Path::new(name).exists(),
        None => directory.as_ref().is_some_and(|directory| !Path::new(directory).exists()),
    };
    if to_come && !named.as_ref().is_some_and(|name| name.starts_with("builtin:")) {
        return Ok(None);
    }
    let own =
        directory.as_ref().map(|directory| Path::new(directory).join("tokenizer.json")).filter(|path| path.is_file());
    let (tokenizer, warning) = checks::tokenizer(spec, own.as_deref())?;
    warnings.extend(warning.map(meant));
    if tokenizer.vocab_size() as usize > config.vocab_size {
        // Says why.
        shape::config(spec, tokenizer.vocabulary())?;
    }
    Ok(Some(tokenizer))
}

/// What else a start refuses before it trains.
fn refuse(spec: &LmSpec, base: Option<&Base>, survey: &Survey, lengths: &Lengths) -> Result<(), Problems> {
    let sets: Vec<&str> = survey.validation.iter().map(|set| set.name.as_str()).collect();
    checks::keep_best(spec, &sets)?;
    let state = match base {
        Some(base) if spec.run.clocks.schedule => checkpoint::read_state(&base.checkpoint)?,
        _ => State::default(),
    };
    run::require_updates(&spec.run, lengths, &state)?;
    // A recipe that continues a run is planned without it too.
    if base.is_some() || base_of(&spec.run.recipe)?.is_none() {
        text::replay_spec(spec, base.map(|base| (&base.run, &base.checkpoint)))?;
    }
    Ok(())
}

/// A warning of what the recipe says that it means.
fn meant(what: String) -> (String, String) {
    (what, "the recipe allows it".into())
}

/// Tokens of one epoch, as far as they are known.
fn epoch_tokens(spec: &LmSpec, survey: &Survey) -> Option<u64> {
    Some((survey.train_tokens()? as f64 / (1.0 - spec.replay.fraction)) as u64)
}

/// Seconds of a run, by what they are for.
#[derive(Debug, Clone)]
pub struct Seconds {
    /// Of one update.
    pub step: f64,
    /// Whether that is extrapolated from a smaller model.
    pub extrapolated: bool,
    /// Of all updates.
    pub updates: f64,
    /// Of all evaluations.
    pub evaluations: f64,
    /// Of all checkpoints.
    pub checkpoints: f64,
}

impl Seconds {
    /// The sum.
    pub fn total(&self) -> f64 {
        self.updates + self.evaluations + self.checkpoints
    }
}

/// How often a run evaluates: before the first update, at regular distances, and at the end.
fn evaluations(lengths: &Lengths) -> u64 {
    1 + if lengths.eval_every == 0 { 1 } else { lengths.stop.div_ceil(lengths.eval_every) }
}

/// Checkpoints on disk when the run is complete.
fn kept(spec: &LmSpec, lengths: &Lengths) -> u64 {
    let last = spec.run.keep_last as u64;
    let periodic = lengths.stop.checked_div(lengths.keep_every).unwrap_or(0);
    last + periodic + lengths.keep_at.len() as u64 + u64::from(spec.keep_best.is_some())
}

fn look_for_trouble(
    spec: &LmSpec,
    lengths: &Lengths,
    memory: &Memory,
    epoch: Option<u64>,
    warnings: &mut Warnings,
) -> Result<(), Problems> {
    let mut warn = |what: String, remedy: &str| warnings.push((what, remedy.into()));
    if let Some(machine::Memory { total, .. }) = machine::memory()
        && memory.total() > total / 10 * 9
    {
        let what = format!(
            "about {}B of memory are needed, this machine has {}B",
            count(memory.total() as f64),
            count(total as f64)
        );
        warn(what, "lower batch.micro (same result, less memory), or set memory.activation_checkpointing = true");
    }
    let tokens = lengths.stop * lengths.tokens_per_step;
    if let Some(epoch) = epoch
        && tokens > 4 * epoch
    {
        let what = format!("the data is read {:.1} times", tokens as f64 / epoch as f64);
        warn(
            what,
            "beyond about four epochs repeated text adds little (Muennighoff et al. 2023): more data, or a shorter run",
        );
    }
    let bands = lengths.schedule.bands(lengths.stop);
    if let Some(warmup) = bands.iter().find(|band| band.name.as_str() == "warmup")
        && warmup.last - warmup.first + 1 < 10
    {
        let what = format!("the warmup is {} updates long", warmup.last - warmup.first + 1);
        warn(what, "with fresh moments a few dozen updates are safer: lr.warmup = \"50 steps\"");
    }
    if let Some((what, remedy)) = past_schedule(lengths) {
        warn(what, remedy);
    }
    if lengths.eval_every > lengths.stop || lengths.eval_every == 0 {
        warn(
            "validation happens only before the first and after the last update".into(),
            "eval.every = \"5%\" shows the course of the run",
        );
    }
    let clocks = spec.run.clocks;
    if clocks.moments && !clocks.schedule && base_of(&spec.run.recipe)?.is_some() {
        warn(
            "moments are kept while the schedule starts again".into(),
            "clocks.moments = \"reset\" is what arXiv 2403.08763 does; the difference fades after some hundred updates",
        );
    }
    Ok(())
}
