//! The four starts of a run: fresh, from a Hugging Face directory, branch, resume. Each says what is
//! kept and what is reset, and shows plan and learning rate before the first update.

use std::path::Path;

use temper_base::numbers::count;
use temper_base::numbers::counted;
use temper_base::problem::pasted;
use temper_base::{Listener, Problem, Problems, Result, files};
use temper_data::{EvalWindows, Stream, StreamSpec, Tokenizer};
use temper_model::{GptNeox, GptNeoxConfig, hugging_face};
use temper_recipe::{Origin, Recipe, Task};
use temper_record::event::Parent;
use temper_record::run::{RunDir, RunRef};
use temper_record::series::RunSeries;
use temper_schedule::Length;
use temper_train::lengths::Lengths;
use temper_train::machine;
use temper_train::optimizer::Optimizer;
use temper_train::run::{self, About, Session, Started};
use temper_train::trainer::Trainer;

use crate::checkpoint::{self, State};
use crate::cost::Memory;
use crate::evaluate::{EvalSet, EvalSettings};
use crate::reading;
use crate::step::Pieces;
use crate::task::LmTask;
use crate::{beside, checks, shape, text};

/// Choosing a checkpoint by a set of fewer documents gives a warning.
const FEW_DOCUMENTS: u64 = 10;

/// `temper train`: fresh weights, or those of the directory that `init.from` names.
pub fn train(mut recipe: Recipe, out: &Path, session: Session) -> Result<Started<LmTask>, Problems> {
    let Session { limits, device, listener } = session;
    run::refuse_base(&recipe, out)?;
    let imported = recipe
        .opt("init.from", Recipe::text)?
        .map(|path| match hugging_face::read(Path::new(&path), device) {
            Ok(imported) => Ok((path, imported)),
            Err(problem) if Path::new(&path).join("metrics.jsonl").exists() => {
                let branch = format!("temper branch {} {}", pasted(&path), pasted(recipe.name()));
                Err(problem.hint(format!("{path} is a run: `{branch} --out DIR` branches from it")))
            }
            Err(problem) => Err(problem),
        })
        .transpose()?;
    if let Some((path, imported)) = &imported {
        listener.warnings(&imported.warnings);
        shape::adopt(&mut recipe, &imported.model.config, &Origin::Preset(path.clone()))?;
    } else {
        shape::fill_preset(&mut recipe)?;
    }
    let own = imported.as_ref().and_then(|(_, imported)| imported.tokenizer.as_deref());
    let (tokenizer, warning) = checks::tokenizer(&recipe, own)?;
    warning.inspect(|warning| listener.warn(&warning, None));
    reading::tell_notes(tokenizer.notes(), listener);
    let from = imported.as_ref().map(|(path, _)| path.as_str());
    let beside = beside::at_start(&tokenizer, recipe.opt("data.tokenizer", Recipe::text)?.as_deref(), from)?;
    let mut config = shape::config(&recipe, tokenizer.vocabulary())?;
    if let Some((path, imported)) = &imported {
        checks::positions(&recipe, imported.model.config.max_seq, path)?
            .inspect(|warning| listener.warn(&warning, None));
        config.max_seq = config.max_seq.max(imported.model.config.max_seq);
    }
    checks::lengths_and_paths(&recipe, limits)?;
    check_memory(&recipe, &config)?;

    let (run, lock) = RunDir::create(out)?;
    run::tidy_on_failure(&run, || {
        let (sources, sets) = text::sources(&recipe, &tokenizer, &run, listener)?;
        let replay = text::replay(&recipe, None)?;
        let stream = StreamSpec { seed: recipe.u64("seed")?, seq_len: recipe.usize("data.seq_len")?, sources, replay };
        let start = if imported.is_some() { "hf" } else { "fresh" };
        let model = match imported {
            Some((_, imported)) => with_positions(imported.model, config.max_seq),
            None => GptNeox::new(config, shape::init(&recipe)?, recipe.u64("seed")?, device),
        };
        let optimizer = Optimizer::new(run::optimizer_settings(&recipe)?, &model, device);
        let new = New { model, optimizer, stream, sets, beside, state: State::default(), start, parent: None };
        build(recipe.clone(), run.clone(), new, tokenizer, session)
    })
    .map(|(trainer, recipe, lengths)| Started { trainer, recipe, lengths, fresh: true, lock })
}

/// `temper branch`: a new run from the clocks of another that the recipe keeps.
pub fn branch(mut recipe: Recipe, base: &str, out: &Path, session: Session) -> Result<Started<LmTask>, Problems> {
    let Session { limits, device, listener } = session;
    let named = RunRef::parse(base)?;
    let (base_run, checkpoint) = (named.open()?, named.checkpoint()?);
    checkpoint.verify()?;
    let base_recipe = run::resolved(&base_run)?;
    if base_recipe.task() != Task::Lm {
        let why = format!("it is a run of task = \"{}\"", base_recipe.task().name());
        return Err(Problem::input("branch", base, why)
            .hint("a recipe with task = \"certify\" branches from such a run; this one is for language models")
            .into());
    }
    run::refuse_init(&recipe)?;
    let state = checkpoint::read_state(&checkpoint)?;
    inherit(&mut recipe, &base_recipe, base)?;
    let clocks = run::Clocks::read(&recipe)?;
    let base_model = checkpoint::read_model(&checkpoint, device)?;
    if clocks.weights {
        checks::positions(&recipe, base_model.config.max_seq, base)?.inspect(|warning| listener.warn(&warning, None));
        shape::adopt(&mut recipe, &base_model.config, &Origin::Base(base.into()))?;
    } else {
        recipe.inherit(&base_recipe, "model", base);
        shape::fill_preset(&mut recipe)?;
    }
    let tokenizer = checks::branch_tokenizer(&recipe, &checkpoint)?;
    let mut config = shape::config(&recipe, tokenizer.vocabulary())?;
    config.max_seq = config.max_seq.max(base_model.config.max_seq);
    checks::lengths_and_paths(&recipe, limits)?;
    check_memory(&recipe, &config)?;

    let (run, lock) = RunDir::create(out)?;
    run::tidy_on_failure(&run, || {
        let base_manifest = text::Manifest::read(&base_run)?;
        let seed = if clocks.rng { base_manifest.stream.seed } else { recipe.u64("seed")? };
        let seq_len = recipe.usize("data.seq_len")?;
        let (sources, new_sets, replay) = if recipe.names("data.train").is_empty() {
            // The same data continues, and with it the replay that it had, if any.
            (base_manifest.stream.sources.clone(), Vec::new(), base_manifest.stream.replay.clone())
        } else {
            let (sources, sets) = text::sources(&recipe, &tokenizer, &run, listener)?;
            (sources, sets, text::replay(&recipe, Some((&base_run, &checkpoint)))?)
        };
        let sets = text::join_sets(&base_run, &run, new_sets)?;
        let stream = StreamSpec { seed, seq_len, sources, replay };
        let model = if clocks.weights {
            with_positions(base_model, config.max_seq)
        } else {
            GptNeox::new(config, shape::init(&recipe)?, recipe.u64("seed")?, device)
        };
        let settings = run::optimizer_settings(&recipe)?;
        let optimizer = if clocks.moments {
            checkpoint::read_optimizer(&checkpoint, settings, &model, state.updates, device)?
        } else {
            Optimizer::new(settings, &model, device)
        };
        let begin = State {
            step: if clocks.schedule { state.step } else { 0 },
            tokens: if clocks.schedule { state.tokens } else { 0 },
            samples: if clocks.data { state.samples } else { 0 },
            updates: optimizer.updates,
            ..State::default()
        };
        listener.say(&format_args!("branch of {base} at step {}: {}", state.step, clocks.sentence()));
        let parent = Parent { run: named.dir.display().to_string(), step: state.step, tokens: state.tokens };
        let beside = beside::of_checkpoint(&checkpoint)?;
        let new = New { model, optimizer, stream, sets, beside, state: begin, start: "branch", parent: Some(parent) };
        build(recipe.clone(), run.clone(), new, tokenizer, session)
    })
    .map(|(trainer, recipe, lengths)| Started { trainer, recipe, lengths, fresh: true, lock })
}

/// `temper resume`: everything as it was at the checkpoint. `None` if the run is complete; one that was killed
/// after its last update and before its record said so has no update left and is brought to its end.
pub fn resume(name: &str, until: Option<Length>, session: Session) -> Result<Option<Started<LmTask>>, Problems> {
    let Session { limits, device, listener } = session;
    let named = RunRef::parse(name)?;
    let run = named.open()?;
    let lock = run.lock()?;
    let checkpoint = named.checkpoint()?;
    checkpoint.verify()?;
    let recipe = run::resolved(&run)?;
    let state = checkpoint::read_state(&checkpoint)?;
    let model = checkpoint::read_model(&checkpoint, device)?;
    let settings = run::optimizer_settings(&recipe)?;
    let optimizer = checkpoint::read_optimizer(&checkpoint, settings, &model, state.updates, device)?;
    let eod = recipe.opt("data.eod", Recipe::text)?;
    let tokenizer = Tokenizer::from_file(&checkpoint.file("tokenizer.json")?, eod.as_deref())?;
    // What older versions did not keep is made up for; the warnings were for the start.
    let (beside, _) = beside::complete(beside::of_checkpoint(&checkpoint)?, &tokenizer, &model.config)?;
    let mut manifest = text::Manifest::read(&run)?;
    let mut stream = Stream::open(&manifest.stream)?;
    stream.require(tokenizer.vocabulary())?;
    let sets = text::open_sets(&manifest.sets, &tokenizer)?;
    // A run of the version before knows no hashes: its files are checked against their own headers alone.
    stream.identify()?;
    text::identify(&mut manifest.sets, &sets)?;
    let series = RunSeries::without_steps(&run)?;
    let epoch = epoch_tokens(&stream);
    let lengths = run::lengths_on(&run, &series, &state, until, |stop| Lengths::resolve(&recipe, Some(epoch), stop))?;
    if state.step >= lengths.stop && series.done.is_some() {
        return Ok(None);
    }
    let recorder = run::go_on(&run, &named, &state, &lengths, &series.info, &[], listener)?;
    let trainer = Trainer {
        settings: run::settings(&recipe, &lengths, limits)?,
        schedule: lengths.schedule.clone(),
        task: LmTask { beside, ..task(&recipe, model, optimizer, stream, sets, &tokenizer)? },
        run,
        state,
        recorder,
    };
    Ok(Some(Started { trainer, recipe, lengths, fresh: false, lock }))
}

/// What a branch takes over from the recipe of its base where its own says nothing: the model's shape
/// comes with the weights, data and learning rate only with their clocks.
pub fn inherit(recipe: &mut Recipe, base: &Recipe, name: &str) -> Result<(), Problems> {
    for key in [
        "data.tokenizer",
        "data.text_key",
        "data.eod",
        "data.seq_len",
        "data.bad_lines",
        "batch",
        "optimizer",
        "memory",
    ] {
        recipe.inherit(base, key, name);
    }
    let keeps = |recipe: &Recipe, clock: &str| Ok::<_, Problem>(recipe.text(&format!("clocks.{clock}"))? == "keep");
    if keeps(recipe, "schedule")? {
        for key in ["lr", "run.horizon", "run.stop"] {
            recipe.inherit(base, key, name);
        }
    }
    if keeps(recipe, "rng")? {
        recipe.inherit(base, "seed", name);
    }
    Ok(())
}

/// The parts of a new run that differ between the starts.
struct New {
    model: GptNeox,
    optimizer: Optimizer,
    stream: StreamSpec,
    sets: Vec<text::SetSpec>,
    beside: beside::Files,
    state: State,
    start: &'static str,
    parent: Option<Parent>,
}

/// Opens the data, resolves the lengths, writes what the run directory holds from the beginning, and
/// prints plan and learning rate.
fn build(
    recipe: Recipe,
    run: RunDir,
    new: New,
    tokenizer: Tokenizer,
    session: Session,
) -> Result<(Trainer<LmTask>, Recipe, Lengths), Problems> {
    let Session { limits, listener, .. } = session;
    let New { mut model, optimizer, stream: spec, sets: mut set_specs, beside, state, start, parent } = new;
    // Its documents end with this token, whatever those of the directory that it comes from ended with.
    model.config.eos_token_id = tokenizer.eod();
    let (beside, warnings) = beside::complete(beside, &tokenizer, &model.config)?;
    let mut stream = Stream::open(&spec)?;
    stream.require(tokenizer.vocabulary())?;
    stream.ends_as(tokenizer.vocabulary())?;
    let sets = text::open_sets(&set_specs, &tokenizer)?;
    // The sets of a base are what they are.
    let mut new = set_specs.iter().zip(&sets).filter(|(spec, _)| !spec.old);
    new.try_for_each(|(_, set)| set.source.ends_as(tokenizer.vocabulary()))?;
    checks::keep_best(&recipe, &sets.iter().map(|set| set.name.as_str()).collect::<Vec<_>>())?;
    let lengths =
        Lengths::resolve(&recipe, Some(epoch_tokens(&stream)), limits.max_steps.map(|n| state.step.saturating_add(n)))?;
    run::require_updates(&recipe, &lengths, &state)?;
    warn_of_few(&recipe, &sets, listener)?;
    warn_of_cuts(&recipe, &sets, listener)?;
    stream.identify()?;
    text::identify(&mut set_specs, &sets)?;
    text::Manifest { stream: stream.spec().clone(), sets: set_specs }.write(&run)?;
    files::write_whole(&run.path().join("tokenizer.json"), tokenizer.to_json())?;
    let trainer_settings = run::settings(&recipe, &lengths, limits)?;
    let about = About { task: "lm", seed: recipe.u64("seed")?, parameters: model.config.parameters(), start, parent };
    let recorder = run::begin(&run, &recipe, &lengths, &state, about, &[], listener)?;
    listener.warnings(&warnings);
    announce(&recipe, &model, &stream, &sets, &lengths, &state, listener);
    let task = LmTask { beside, ..task(&recipe, model, optimizer, stream, sets, &tokenizer)? };
    let trainer =
        Trainer { settings: trainer_settings, schedule: lengths.schedule.clone(), task, run, state, recorder };
    trainer.check_weights()?;
    Ok((trainer, recipe, lengths))
}

/// The plan in a few lines, and the learning rate, before the first update.
fn announce(
    recipe: &Recipe,
    model: &GptNeox,
    stream: &Stream,
    sets: &[EvalSet],
    lengths: &Lengths,
    state: &State,
    listener: &dyn Listener,
) {
    let config = &model.config;
    listener.say(&format_args!("recipe      {}", recipe.name()));
    listener.say(&format_args!(
        "model       GPT-NeoX {} x {}, {} heads, vocabulary {}, {} parameters",
        config.layers,
        config.d_model,
        config.heads,
        config.vocab_size,
        count(config.parameters() as f64)
    ));
    let updates = lengths.stop - state.step;
    let samples =
        stream.sample_counts(state.samples + updates * (lengths.tokens_per_step / stream.spec().seq_len as u64));
    let before = stream.sample_counts(state.samples);
    let total: u64 = samples.iter().sum::<u64>() - before.iter().sum::<u64>();
    for (i, name) in stream.names().iter().enumerate() {
        let share = (samples[i] - before[i]) as f64 / total.max(1) as f64;
        let tokens = (samples[i] - before[i]) * stream.spec().seq_len as u64;
        listener.say(&format_args!("data        {name}: {} tokens ({:.1} %)", count(tokens as f64), 100.0 * share));
    }
    let sets: Vec<_> =
        sets.iter().map(|set| format!("{} ({} tokens)", set.name, count(set.source.len() as f64))).collect();
    listener.say(&format_args!("validation  {}", if sets.is_empty() { "none".into() } else { sets.join(", ") }));
    listener.say(&format_args!(
        "updates     {} of {} tokens each: {} tokens",
        updates,
        lengths.tokens_per_step,
        count((updates * lengths.tokens_per_step) as f64)
    ));
    for dropped in recipe.dropped() {
        listener.say(&format_args!("left out    {dropped}: the chosen lr.shape does not have it"));
    }
    listener.say(&temper_schedule::sparkline(&lengths.schedule, Some(lengths.stop), listener.drawing(), 4).trim_end());
}

/// A set of few documents says little about a model, and less when the best checkpoint is chosen by it.
fn warn_of_few(recipe: &Recipe, sets: &[EvalSet], listener: &dyn Listener) -> Result<(), Problems> {
    let Some(best) = recipe.opt("checkpoint.keep_best", Recipe::text)? else { return Ok(()) };
    let few = sets.iter().find(|set| set.name == best && set.source.documents() < FEW_DOCUMENTS);
    if let Some(set) = few {
        let (documents, tokens) = (counted(set.source.documents(), "document"), counted(set.source.len(), "token"));
        listener.warn(
            &format_args!("checkpoint.keep_best chooses by {best}, which has {documents} ({tokens})"),
            Some("hold out more (data.validation_fraction), or name a separate validation set (data.validation.NAME.path)"),
        );
    }
    Ok(())
}

/// Says which sets the limit of an evaluation cuts inside of a document.
fn warn_of_cuts(recipe: &Recipe, sets: &[EvalSet], listener: &dyn Listener) -> Result<(), Problems> {
    let (seq_len, limit) = (recipe.usize("data.seq_len")?, recipe.u64("eval.max_tokens")?);
    for set in sets.iter().filter(|_| limit > 0) {
        let windows = EvalWindows::new(&set.source, seq_len, Some(limit))?;
        if windows.cut() {
            listener.warn(&text::cut_words(&set.name, windows.tokens()), None);
        }
    }
    Ok(())
}

/// Refuses a run that cannot fit into this machine's memory: the system would kill it without an error.
fn check_memory(recipe: &Recipe, config: &GptNeoxConfig) -> Result<()> {
    let (pieces, seq) = (pieces(recipe)?, recipe.usize("data.seq_len")?);
    let needed = Memory::of(config, pieces.micro, seq, pieces.activation_checkpointing).total();
    let Some(machine) = machine::memory().filter(|machine| needed > machine.total) else { return Ok(()) };
    let (needed, there) = (count(needed as f64), count(machine.total as f64));
    let why = format!("about {needed}B of memory are needed, this machine has {there}B");
    Err(recipe.problem("batch.micro", why).hint(
        "lower batch.micro (same result, less memory), or set memory.activation_checkpointing = true; `temper plan` \
         shows what the memory is for",
    ))
}

/// The model with rotary tables for `max_seq` positions.
fn with_positions(model: GptNeox, max_seq: usize) -> GptNeox {
    if model.config.max_seq >= max_seq { model } else { model.with_positions(max_seq) }
}

/// Tokens of one pass through the training data.
pub fn epoch_tokens(stream: &Stream) -> u64 {
    let own = stream.files().len();
    let windows: u64 = stream.windows()[..own].iter().sum();
    let replayed = stream.spec().replay.as_ref().map_or(0.0, |replay| replay.fraction);
    ((windows * stream.spec().seq_len as u64) as f64 / (1.0 - replayed)).round() as u64
}

/// How an update is cut into pieces.
pub fn pieces(recipe: &Recipe) -> Result<Pieces> {
    let batch = recipe.usize("batch.sequences")?;
    let micro = recipe.opt("batch.micro", Recipe::usize)?.unwrap_or(batch).min(batch);
    Ok(Pieces { micro, activation_checkpointing: recipe.bool("memory.activation_checkpointing")? })
}

/// What the loop trains, with everything of the recipe that decides its updates.
fn task(
    recipe: &Recipe,
    model: GptNeox,
    optimizer: Optimizer,
    stream: Stream,
    sets: Vec<EvalSet>,
    tokenizer: &Tokenizer,
) -> Result<LmTask> {
    let pieces = pieces(recipe)?;
    let eval = EvalSettings {
        seq_len: recipe.usize("data.seq_len")?,
        rows: recipe.opt("eval.batch", Recipe::usize)?.unwrap_or(pieces.micro),
        max_tokens: Some(recipe.u64("eval.max_tokens")?).filter(|&n| n > 0),
    };
    Ok(LmTask {
        model,
        optimizer,
        stream,
        batch: recipe.usize("batch.sequences")?,
        pieces,
        sets,
        eval,
        keep_best: recipe.opt("checkpoint.keep_best", Recipe::text)?,
        tokenizer: Some(tokenizer.to_json().to_vec()),
        beside: Vec::new(),
        scores: Vec::new(),
    })
}
