//! `temper plan RECIPE`: what a recipe does and costs, before anything starts.

use std::fmt::Write;
use std::path::Path;

use burn::tensor::Device;
use serde_json::{Value, json};
use temper_base::numbers::{count, duration};
use temper_base::problem::pasted;
use temper_base::{Problem, Problems, Result};
use temper_data::{Tokenizer, Vocabulary};
use temper_model::{GptNeoxConfig, hugging_face};
use temper_recipe::{Entry, Origin, Recipe, Task};
use temper_record::metric;
use temper_record::{Checkpoint, RunDir};
use temper_report::Table;
use temper_train::checkpoint::{self, State};
use temper_train::cost::{Memory, calibrate, checkpoint_bytes};

use crate::args::Plan;
use crate::builtin::LIBRARY;
use crate::certify;
use crate::commands::machine;
use crate::lengths::Lengths;
use crate::lm::survey::Survey;
use crate::lm::{checks, shape, start, text};
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(args: &Plan, printer: &Printer) -> Outcome {
    let load = if args.from.is_some() { Recipe::load_branch } else { Recipe::load };
    let mut recipe = load(&args.recipe, &args.overrides.set, &LIBRARY)?;
    if recipe.task() == Task::Certify {
        return certify::plan::run(args, recipe, printer);
    }
    let mut warnings = Vec::new();
    let base = args.from.as_deref().map(|name| Base::open(name, &recipe)).transpose()?;
    let config = configuration(&mut recipe, base.as_ref(), &mut warnings)?;
    let tokenizer = tokenizer(&recipe, base.as_ref(), &config, &mut warnings)?;
    let survey = Survey::of(&recipe, base.as_ref().map(|base| &base.run), tokenizer.as_ref())?;
    let epoch = epoch_tokens(&recipe, &survey);
    let lengths = Lengths::resolve(&recipe, epoch, None)?;
    refuse(&recipe, base.as_ref(), &survey, &lengths)?;
    let (batch, seq) = (recipe.usize("batch.sequences")?, recipe.usize("data.seq_len")?);
    let pieces = start::pieces(&recipe)?;
    let memory = Memory::of(&config, pieces.micro, seq, pieces.activation_checkpointing);
    let flops = config.flops_per_token(seq) * (lengths.stop * lengths.tokens_per_step) as f64;
    let disk = checkpoint_bytes(&config);
    let kept = kept(&recipe, &lengths)?;
    look_for_trouble(&recipe, &lengths, &memory, epoch, &mut warnings)?;

    let evaluated = survey.evaluated(recipe.u64("eval.max_tokens")?).map(|tokens| tokens * evaluations(&lengths));

    // A model that does not fit is not timed.
    // A new best one may come with every evaluation.
    let best = if recipe.is_set("checkpoint.keep_best") { evaluations(&lengths) } else { 0 };
    let written = checkpoints(&lengths) + best;
    let fits = machine::memory().is_none_or(|machine| memory.total() < machine.total);
    let seconds = (!args.no_calibration && fits).then(|| {
        printer.say("timing a few updates of this model on this machine ...");
        let (step, extrapolated) = calibrate(&config, batch, seq, pieces, &Device::flex());
        // An evaluation is the forward pass, a third of an update.
        let evaluated = evaluated.unwrap_or(0) as f64 / lengths.tokens_per_step as f64 / 3.0;
        Seconds {
            step,
            extrapolated,
            updates: step * lengths.stop as f64,
            evaluations: step * evaluated,
            checkpoints: checkpoint_seconds(disk) * written as f64,
        }
    });

    if args.json {
        let phases: Vec<Value> = lengths
            .schedule
            .bands(lengths.stop)
            .into_iter()
            .map(|band| {
                json!({
                    "name": band.name.as_str(), "first_step": band.first, "last_step": band.last,
                    "tokens": (band.last - band.first + 1) * lengths.tokens_per_step,
                    "lr_first": band.start, "lr_last": band.end,
                })
            })
            .collect();
        let result = json!({
            "recipe": recipe.name(), "values": values_json(&recipe), "steps": lengths.stop, "horizon_steps": lengths.horizon,
            "tokens": lengths.stop * lengths.tokens_per_step, "tokens_per_step": lengths.tokens_per_step,
            "phases": phases, "parameters": config.parameters(),
            "non_embedding_parameters": config.non_embedding_parameters(), "flops": flops,
            "memory_bytes": {
                "weights": memory.weights, "gradients": memory.gradients, "moments": memory.moments,
                "activations": memory.activations, "scratch": memory.scratch, "total": memory.total(),
            },
            "checkpoint_bytes": disk, "checkpoints_kept": kept, "seconds_per_step": seconds.as_ref().map(|s| s.step),
            "seconds": seconds.as_ref().map(Seconds::total), "update_seconds": seconds.as_ref().map(|s| s.updates),
            "evaluation_seconds": seconds.as_ref().map(|s| s.evaluations),
            "checkpoint_seconds": seconds.as_ref().map(|s| s.checkpoints), "data": survey.json(),
            "evaluations": evaluations(&lengths), "evaluated_tokens": evaluated, "warnings": warnings.iter().map(|(text, _)| text).collect::<Vec<_>>(),
        });
        printer.data(serde_json::to_string_pretty(&result).expect("plain data"));
        return Ok(0);
    }

    let mut out = String::new();
    let _ = writeln!(out, "{}\n", values(&recipe));
    let mut phases = Table::new().text_column("phase");
    for name in ["updates", "tokens", "first lr", "last lr"] {
        phases = phases.number_column("", name);
    }
    for band in lengths.schedule.bands(lengths.stop) {
        let updates = band.last - band.first + 1;
        phases.row([
            band.name.to_string(),
            updates.to_string(),
            count((updates * lengths.tokens_per_step) as f64),
            metric::line("lr", band.start),
            metric::line("lr", band.end),
        ]);
    }
    let _ = writeln!(out, "{}\n", phases.to_text().trim_end());
    let bytes = |n: u64| format!("{}B", count(n as f64));
    let _ = writeln!(
        out,
        "model        {} parameters, {} without embeddings",
        count(config.parameters() as f64),
        count(config.non_embedding_parameters() as f64)
    );
    let _ = writeln!(
        out,
        "training     {} updates of {} tokens: {} tokens{}",
        lengths.stop,
        lengths.tokens_per_step,
        count((lengths.stop * lengths.tokens_per_step) as f64),
        epoch.map_or(String::new(), |epoch| format!(
            ", {:.2} epochs of the data",
            (lengths.stop * lengths.tokens_per_step) as f64 / epoch as f64
        ))
    );
    out += &survey.text();
    let _ = writeln!(out, "arithmetic   {flops:.2e} floating-point operations");
    let _ = writeln!(
        out,
        "memory       {}: weights {}, gradients {}, moments {}, activations {}, scratch {}",
        bytes(memory.total()),
        bytes(memory.weights),
        bytes(memory.gradients),
        bytes(memory.moments),
        bytes(memory.activations),
        bytes(memory.scratch)
    );
    let _ = writeln!(out, "disk         {} a checkpoint, {kept} kept at the end: {}", bytes(disk), bytes(disk * kept));
    let _ = match &seconds {
        Some(seconds) => writeln!(
            out,
            "time         about {}: updates {} ({} each, {}), {} evaluations {}, {}{written} checkpoints {}",
            duration(seconds.total()),
            duration(seconds.updates),
            duration(seconds.step),
            if seconds.extrapolated { "extrapolated from one sequence and two blocks" } else { "measured now" },
            evaluations(&lengths),
            if evaluated.is_some() { duration(seconds.evaluations) } else { "unknown".into() },
            if best > 0 { "up to " } else { "" },
            duration(seconds.checkpoints)
        ),
        None => writeln!(out, "time         not measured"),
    };
    printer.data(out.trim_end());
    printer.data(format_args!(
        "\n{}",
        temper_schedule::sparkline(&lengths.schedule, Some(lengths.stop), 64, 4).trim_end()
    ));
    for (what, remedy) in &warnings {
        printer.warn(what, Some(remedy));
    }
    Ok(0)
}

/// What a user should know before starting, each with the remedy.
pub type Warnings = Vec<(String, String)>;

/// Every value of the recipe and where it comes from.
pub fn values(recipe: &Recipe) -> String {
    let mut values = Table::new().text_column("key").text_column("value").text_column("from");
    for (key, entry) in recipe.entries() {
        values.row([key.to_string(), entry.value.to_string(), entry.origin.to_string()]);
    }
    values.to_text().trim_end().to_string()
}

/// The same as JSON.
pub fn values_json(recipe: &Recipe) -> Value {
    let value = |(key, entry): (&str, &Entry)| {
        (key.to_string(), json!({ "value": entry.value.to_string(), "origin": entry.origin.to_string() }))
    };
    Value::Object(recipe.entries().into_iter().map(value).collect())
}

/// The run that the recipe is to branch from.
pub struct Base {
    name: String,
    run: RunDir,
    checkpoint: Checkpoint,
}

impl Base {
    fn open(name: &str, recipe: &Recipe) -> Result<Self, Problems> {
        let (run, checkpoint) = crate::run::checkpoint_of(name)?;
        crate::run::refuse_init(recipe, recipe.name())?;
        Ok(Self { name: name.into(), run, checkpoint })
    }
}

/// The model's configuration, from wherever it will come.
pub fn configuration(
    recipe: &mut Recipe,
    base: Option<&Base>,
    warnings: &mut Warnings,
) -> Result<GptNeoxConfig, Problems> {
    if let Some(Base { name, run, checkpoint }) = base {
        let base = crate::run::resolved(run)?;
        if base.task() != Task::Lm {
            let problem = Problem::input("plan", format!("--from {name}"), "it is a run of certified training");
            return Err(problem.hint("a recipe of a language model branches from a run of a language model").into());
        }
        start::inherit(recipe, &base, name)?;
        let config = checkpoint::read_config(checkpoint)?;
        if recipe.text("clocks.weights")? == "keep" {
            warnings.extend(checks::positions(recipe, config.max_seq, name)?.map(meant));
            shape::adopt(recipe, &config, &Origin::Base(name.clone()))?;
            return Ok(config);
        }
        recipe.inherit(&base, "model", name);
        shape::fill_preset(recipe)?;
        return shape::config(recipe, checks::branch_tokenizer(recipe, checkpoint)?.vocabulary());
    }
    if let Some(base) = recipe.opt("base", Recipe::text)? {
        warnings.push((
            format!("this recipe branches from a run of {base}"),
            format!("temper plan {} --from RUN plans it as a branch of that run", pasted(recipe.name())),
        ));
    }
    if let Some(directory) = recipe.opt("init.from", Recipe::text)? {
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
        shape::adopt(recipe, &config, &Origin::Preset(directory.clone()))?;
        warnings.extend(checks::positions(recipe, config.max_seq, &directory)?.map(meant));
        return Ok(config);
    }
    shape::fill_preset(recipe)?;
    let vocabulary = match recipe.opt("data.tokenizer", Recipe::text)? {
        Some(name) => match text::tokenizer(&name, recipe.opt("data.eod", Recipe::text)?.as_deref()) {
            Ok(tokenizer) => tokenizer.vocabulary().clone(),
            Err(problem) if recipe.usize_or_auto("model.vocab_size")?.is_none() => return Err(problem.into()),
            Err(problem) => {
                warnings.push((problem.to_string(), problem.hint.unwrap_or_default()));
                Vocabulary { size: 0, fingerprint: String::new(), eod: 0 }
            }
        },
        None => Vocabulary { size: 0, fingerprint: String::new(), eod: 0 },
    };
    shape::config(recipe, &vocabulary)
}

/// The tokenizer that will cut the text, which must fit the model. None if it is that of a built-in recipe, or of a directory,
/// that is not here yet: that is a warning already.
fn tokenizer(
    recipe: &Recipe,
    base: Option<&Base>,
    config: &GptNeoxConfig,
    warnings: &mut Warnings,
) -> Result<Option<Tokenizer>, Problems> {
    if let Some(base) = base {
        return Ok(Some(checks::branch_tokenizer(recipe, &base.checkpoint)?));
    }
    let named = recipe.opt("data.tokenizer", Recipe::text)?;
    let directory = recipe.opt("init.from", Recipe::text)?;
    let to_come = match &named {
        Some(name) => matches!(recipe.origin("data.tokenizer"), Origin::Recipe(_)) && !Path::new(name).exists(),
        None => directory.as_ref().is_some_and(|directory| !Path::new(directory).exists()),
    };
    if to_come && !named.as_ref().is_some_and(|name| name.starts_with("builtin:")) {
        return Ok(None);
    }
    let own = directory.map(|directory| Path::new(&directory).join("tokenizer.json")).filter(|path| path.is_file());
    let (tokenizer, warning) = checks::tokenizer(recipe, own.as_deref())?;
    warnings.extend(warning.map(meant));
    if tokenizer.vocab_size() as usize > config.vocab_size {
        // Says why.
        shape::config(recipe, tokenizer.vocabulary())?;
    }
    Ok(Some(tokenizer))
}

/// What else a start refuses before it trains.
fn refuse(recipe: &Recipe, base: Option<&Base>, survey: &Survey, lengths: &Lengths) -> Result<(), Problems> {
    let sets: Vec<&str> = survey.validation.iter().map(|set| set.name.as_str()).collect();
    checks::keep_best(recipe, &sets)?;
    crate::run::optimizer_settings(recipe)?;
    let state = match base {
        Some(base) if recipe.text("clocks.schedule")? == "keep" => checkpoint::read_state(&base.checkpoint)?,
        _ => State::default(),
    };
    crate::run::require_updates(recipe, lengths, &state)?;
    // A recipe that continues a run is planned without it too.
    if base.is_some() || !recipe.is_set("base") {
        text::replay(recipe, base.map(|base| (&base.run, &base.checkpoint)))?;
    }
    Ok(())
}

/// A warning of what the recipe says that it means.
fn meant(what: String) -> (String, String) {
    (what, "the recipe allows it".into())
}

/// Tokens of one epoch, as far as they are known.
fn epoch_tokens(recipe: &Recipe, survey: &Survey) -> Option<u64> {
    let replayed = recipe.f64("data.replay.fraction").ok()?;
    Some((survey.train_tokens()? as f64 / (1.0 - replayed)) as u64)
}

/// Seconds of a run, by what they are for.
struct Seconds {
    /// Of one update.
    step: f64,
    /// Whether that is extrapolated from a smaller model.
    extrapolated: bool,
    updates: f64,
    evaluations: f64,
    checkpoints: f64,
}

impl Seconds {
    fn total(&self) -> f64 {
        self.updates + self.evaluations + self.checkpoints
    }
}

/// How often a run evaluates: before the first update, at regular distances, and at the end.
fn evaluations(lengths: &Lengths) -> u64 {
    1 + if lengths.eval_every == 0 { 1 } else { lengths.stop.div_ceil(lengths.eval_every) }
}

/// How often a run writes a checkpoint: before the first update, at regular distances, where the recipe says, and at the end.
pub fn checkpoints(lengths: &Lengths) -> u64 {
    let every = if lengths.checkpoint_every == 0 { 1 } else { lengths.stop.div_ceil(lengths.checkpoint_every) };
    let apart = |step: &&u64| lengths.checkpoint_every == 0 || !step.is_multiple_of(lengths.checkpoint_every);
    1 + every + lengths.keep_at.iter().filter(apart).count() as u64
}

/// Seconds to write a checkpoint of that many bytes: a few megabytes are written and synced, which is repeated by hashing.
pub fn checkpoint_seconds(bytes: u64) -> f64 {
    const PART: usize = 1 << 22;
    let begun = std::time::Instant::now();
    let written = tempfile::tempfile().and_then(|mut file| {
        std::io::Write::write_all(&mut file, &vec![1; PART])?;
        file.sync_all()
    });
    // A folder for temporary files that is full says nothing about the run's own.
    if written.is_err() { 0.0 } else { 2.0 * begun.elapsed().as_secs_f64() * bytes as f64 / PART as f64 }
}

/// Checkpoints on disk when the run is complete.
fn kept(recipe: &Recipe, lengths: &Lengths) -> Result<u64, Problems> {
    let last = recipe.u64("checkpoint.keep_last")?;
    let periodic = lengths.stop.checked_div(lengths.keep_every).unwrap_or(0);
    Ok(last + periodic + lengths.keep_at.len() as u64 + u64::from(recipe.is_set("checkpoint.keep_best")))
}

fn look_for_trouble(
    recipe: &Recipe,
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
    if lengths.stop > lengths.horizon {
        warn(
            format!("the run trains for {} updates after its schedule has ended", lengths.stop - lengths.horizon),
            "run.stop is where training ends, run.horizon how long the schedule is",
        );
    }
    if lengths.eval_every > lengths.stop || lengths.eval_every == 0 {
        warn(
            "validation happens only before the first and after the last update".into(),
            "eval.every = \"5%\" shows the course of the run",
        );
    }
    if recipe.text("clocks.moments")? == "keep" && recipe.text("clocks.schedule")? == "reset" && recipe.is_set("base") {
        warn(
            "moments are kept while the schedule starts again".into(),
            "clocks.moments = \"reset\" is what arXiv 2403.08763 does; the difference fades after some hundred updates",
        );
    }
    Ok(())
}
