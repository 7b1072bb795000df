//! What the starts of a language model's run add to those of any run: weights from a Hugging Face directory, text that is tokenised or
//! taken over from a base, the tokenizer and what belongs to it.

use std::path::Path;

use burn::tensor::Device;
use temper_base::numbers::count;
use temper_base::numbers::counted;
use temper_base::problem::pasted;
use temper_base::{Listener, Problem, Problems, Result, files};
use temper_data::{EvalWindows, Stream, StreamSpec, Tokenizer};
use temper_model::{GptNeox, GptNeoxConfig, hugging_face};
use temper_recipe::{Origin, Recipe, Task};
use temper_record::checkpoint::Checkpoint;
use temper_record::run::RunDir;
use temper_train::lengths::Lengths;
use temper_train::machine;
use temper_train::optimizer::Optimizer;
use temper_train::run::Session;
use temper_train::start::{Base, New, Tower};

use crate::checkpoint;
use crate::cost::Memory;
use crate::evaluate::{EvalSet, EvalSettings};
use crate::reading;
use crate::step::Pieces;
use crate::task::LmTask;
use crate::{beside, checks, shape, text};

/// Choosing a checkpoint by a set of fewer documents gives a warning.
const FEW_DOCUMENTS: u64 = 10;

/// A new run before its directory exists.
pub struct Draft {
    /// Weights of a directory or of the base; without them they are drawn.
    given: Option<GptNeox>,
    config: GptNeoxConfig,
    tokenizer: Tokenizer,
    /// What belongs to the tokenizer. A branch takes it from its base's checkpoint.
    beside: beside::Files,
}

/// The text of a new run, in token files that are not opened yet.
pub struct Sources {
    stream: StreamSpec,
    sets: Vec<text::SetSpec>,
    tokenizer: Tokenizer,
    beside: beside::Files,
}

/// The text of a run, and the tokenizer that it is in.
pub struct Data {
    stream: Stream,
    sets: Vec<EvalSet>,
    /// What the manifest says of the sets.
    specs: Vec<text::SetSpec>,
    tokenizer: Tokenizer,
    beside: beside::Files,
    /// What to warn of in the files beside the tokenizer.
    warnings: Vec<Problem>,
}

impl Tower for LmTask {
    const KIND: Task = Task::Lm;
    const OTHER_BASE: &'static str =
        "a recipe with task = \"certify\" branches from such a run; this one is for language models";
    const IMPORTED: &'static str = "hf";

    type Model = GptNeox;
    type Draft = Draft;
    type Sources = Sources;
    type Data = Data;

    fn inherit(recipe: &mut Recipe, base: &Recipe, name: &str) -> Result<(), Problems> {
        inherit(recipe, base, name)
    }

    fn draft(recipe: &mut Recipe, base: Option<&Base>, session: Session) -> Result<Draft, Problems> {
        let draft = match base {
            None => draft_with_own_tokenizer(recipe, session)?,
            Some(base) => draft_of_branch(recipe, base, session)?,
        };
        checks::lengths_and_paths(recipe, session.limits)?;
        check_memory(recipe, &draft.config)?;
        Ok(draft)
    }

    fn weights(
        recipe: &Recipe,
        draft: Draft,
        base: Option<&Base>,
        run: &RunDir,
        session: Session,
    ) -> Result<(GptNeox, Sources), Problems> {
        let Session { device, listener, .. } = session;
        let Draft { given, config, tokenizer, beside } = draft;
        let (stream, sets) = match base {
            None => {
                let (sources, sets) = text::sources(recipe, &tokenizer, run, listener)?;
                let replay = text::replay(recipe, None)?;
                let (seed, seq_len) = (recipe.u64("seed")?, recipe.usize("data.seq_len")?);
                (StreamSpec { seed, seq_len, sources, replay }, sets)
            }
            Some(base) => text_of_branch(recipe, &tokenizer, base, run, listener)?,
        };
        let model = match given {
            Some(model) => with_positions(model, config.max_seq),
            None => GptNeox::new(config, shape::init(recipe)?, recipe.u64("seed")?, device),
        };
        Ok((model, Sources { stream, sets, tokenizer, beside }))
    }

    fn open(recipe: &Recipe, sources: Sources, model: &mut GptNeox, base: Option<&Base>) -> Result<Data, Problems> {
        let Sources { stream, sets: specs, tokenizer, beside } = sources;
        let beside = base.map_or(Ok(beside), |base| beside::of_checkpoint(&base.checkpoint))?;
        // Its documents end with this token, whatever those of the directory that it comes from ended with.
        model.config.eos_token_id = tokenizer.eod();
        let (beside, warnings) = beside::complete(beside, &tokenizer, &model.config)?;
        let mut stream = Stream::open(&stream)?;
        stream.require(tokenizer.vocabulary())?;
        stream.ends_as(tokenizer.vocabulary())?;
        let sets = text::open_sets(&specs, &tokenizer)?;
        // The sets of a base are what they are.
        let mut new = specs.iter().zip(&sets).filter(|(spec, _)| !spec.old);
        new.try_for_each(|(_, set)| set.source.ends_as(tokenizer.vocabulary()))?;
        checks::keep_best(recipe, &sets.iter().map(|set| set.name.as_str()).collect::<Vec<_>>())?;
        Ok(Data { stream, sets, specs, tokenizer, beside, warnings })
    }

    fn lengths(recipe: &Recipe, data: &Data, stop: Option<u64>) -> Result<Lengths, Problems> {
        Lengths::resolve(recipe, Some(epoch_tokens(&data.stream)), stop)
    }

    fn check(recipe: &Recipe, data: &mut Data, _: &Lengths, listener: &dyn Listener) -> Result<(), Problems> {
        warn_of_few(recipe, &data.sets, listener)?;
        warn_of_cuts(recipe, &data.sets, listener)?;
        data.stream.identify()?;
        Ok(text::identify(&mut data.specs, &data.sets)?)
    }

    fn write_manifest(data: &Data, run: &RunDir) -> Result<()> {
        text::Manifest { stream: data.stream.spec().clone(), sets: data.specs.clone() }.write(run)?;
        files::write_whole(&run.path().join("tokenizer.json"), data.tokenizer.to_json())
    }

    fn parameters(model: &GptNeox) -> u64 {
        model.config.parameters()
    }

    fn announce(new: &New<'_, Self>, listener: &dyn Listener) -> Result<(), Problems> {
        listener.warnings(&new.data.warnings);
        announce(new, listener);
        Ok(())
    }

    fn task(
        recipe: &Recipe,
        model: GptNeox,
        optimizer: Optimizer,
        data: Data,
        _: &Lengths,
        _: u64,
        _: &Device,
    ) -> Result<Self, Problems> {
        let Data { stream, sets, tokenizer, beside, .. } = data;
        let pieces = pieces(recipe)?;
        let eval = EvalSettings {
            seq_len: recipe.usize("data.seq_len")?,
            rows: recipe.opt("eval.batch", Recipe::usize)?.unwrap_or(pieces.micro),
            max_tokens: Some(recipe.u64("eval.max_tokens")?).filter(|&n| n > 0),
        };
        Ok(Self {
            model,
            optimizer,
            stream,
            batch: recipe.usize("batch.sequences")?,
            pieces,
            sets,
            eval,
            keep_best: recipe.opt("checkpoint.keep_best", Recipe::text)?,
            tokenizer: Some(tokenizer.to_json().to_vec()),
            beside,
            scores: Vec::new(),
        })
    }

    fn read_model(checkpoint: &Checkpoint, device: &Device) -> Result<GptNeox> {
        checkpoint::read_model(checkpoint, device)
    }

    fn reopen(
        recipe: &Recipe,
        run: &RunDir,
        checkpoint: &Checkpoint,
        model: &GptNeox,
        _: &str,
    ) -> Result<Data, Problems> {
        let eod = recipe.opt("data.eod", Recipe::text)?;
        let tokenizer = Tokenizer::from_file(&checkpoint.file("tokenizer.json")?, eod.as_deref())?;
        // What older versions did not keep is made up for; the warnings were for the start.
        let (beside, _) = beside::complete(beside::of_checkpoint(checkpoint)?, &tokenizer, &model.config)?;
        let text::Manifest { stream, sets: mut specs } = text::Manifest::read(run)?;
        let mut stream = Stream::open(&stream)?;
        stream.require(tokenizer.vocabulary())?;
        let sets = text::open_sets(&specs, &tokenizer)?;
        // A run of the version before knows no hashes: its files are checked against their own headers alone.
        stream.identify()?;
        text::identify(&mut specs, &sets)?;
        Ok(Data { stream, sets, specs, tokenizer, beside, warnings: Vec::new() })
    }
}

/// The draft of a run that is no branch: with weights of its own or of the directory that `init.from` names.
fn draft_with_own_tokenizer(recipe: &mut Recipe, session: Session) -> Result<Draft, Problems> {
    let Session { device, listener, .. } = session;
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
        shape::adopt(recipe, &imported.model.config, &Origin::Preset(path.clone()))?;
    } else {
        shape::fill_preset(recipe)?;
    }
    let own = imported.as_ref().and_then(|(_, imported)| imported.tokenizer.as_deref());
    let (tokenizer, warning) = checks::tokenizer(recipe, own)?;
    warning.inspect(|warning| listener.warn(&warning, None));
    reading::tell_notes(tokenizer.notes(), listener);
    let from = imported.as_ref().map(|(path, _)| path.as_str());
    let beside = beside::at_start(&tokenizer, recipe.opt("data.tokenizer", Recipe::text)?.as_deref(), from)?;
    let mut config = shape::config(recipe, tokenizer.vocabulary())?;
    if let Some((path, imported)) = &imported {
        checks::positions(recipe, imported.model.config.max_seq, path)?
            .inspect(|warning| listener.warn(&warning, None));
        config.max_seq = config.max_seq.max(imported.model.config.max_seq);
    }
    Ok(Draft { given: imported.map(|(_, imported)| imported.model), config, tokenizer, beside })
}

/// The draft of a branch, whose tokenizer is its base's.
fn draft_of_branch(recipe: &mut Recipe, base: &Base, session: Session) -> Result<Draft, Problems> {
    let Session { device, listener, .. } = session;
    let given = checkpoint::read_model(&base.checkpoint, device)?;
    let positions = given.config.max_seq;
    if base.clocks.weights {
        checks::positions(recipe, positions, base.name)?.inspect(|warning| listener.warn(&warning, None));
        shape::adopt(recipe, &given.config, &Origin::Base(base.name.into()))?;
    } else {
        recipe.inherit(&base.recipe, "model", base.name);
        shape::fill_preset(recipe)?;
    }
    let tokenizer = checks::branch_tokenizer(recipe, &base.checkpoint)?;
    let mut config = shape::config(recipe, tokenizer.vocabulary())?;
    config.max_seq = config.max_seq.max(positions);
    Ok(Draft { given: base.clocks.weights.then_some(given), config, tokenizer, beside: Vec::new() })
}

/// The text that a branch trains on, its own or its base's, and the validation sets of both.
fn text_of_branch(
    recipe: &Recipe,
    tokenizer: &Tokenizer,
    base: &Base,
    run: &RunDir,
    listener: &dyn Listener,
) -> Result<(StreamSpec, Vec<text::SetSpec>), Problems> {
    let manifest = text::Manifest::read(&base.run)?;
    let seed = if base.clocks.rng { manifest.stream.seed } else { recipe.u64("seed")? };
    let seq_len = recipe.usize("data.seq_len")?;
    let (sources, new_sets, replay) = if recipe.names("data.train").is_empty() {
        // The same data continues, and with it the replay that it had, if any.
        (manifest.stream.sources.clone(), Vec::new(), manifest.stream.replay.clone())
    } else {
        let (sources, sets) = text::sources(recipe, tokenizer, run, listener)?;
        (sources, sets, text::replay(recipe, Some((&base.run, &base.checkpoint)))?)
    };
    let sets = text::join_sets(&base.run, run, new_sets)?;
    Ok((StreamSpec { seed, seq_len, sources, replay }, sets))
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

/// The plan in a few lines, and the learning rate, before the first update.
fn announce(new: &New<'_, LmTask>, listener: &dyn Listener) {
    let New { recipe, model, data: Data { stream, sets, .. }, lengths, state, .. } = new;
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
        if windows.is_cut() {
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
