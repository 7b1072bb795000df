//! What the starts of a language model's run add to those of any run: weights from a Hugging Face directory, text that is tokenised or
//! taken over from a base, the tokenizer and what belongs to it.
//!
//! `temper_train::start` calls these in this order: for a branch `inherit`; `draft`; the folder is made; `prepare`, behind which optimiser
//! and clocks are known; `lengths`; `settle`; the record begins; `announce`; `task`. A run that resumes: `read_model`, `reopen`, `lengths`, `task`.

use std::path::Path;

use burn::tensor::Device;
use temper_base::numbers::count;
use temper_base::numbers::counted;
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
use temper_train::spec::{Spec, weights_from};
use temper_train::start::{Base, New, Tower};

use crate::checkpoint;
use crate::cost::Memory;
use crate::evaluate::{EvalSet, EvalSettings};
use crate::reading;
use crate::spec::{self, LmSpec};
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
    const KIND: &'static Task = &spec::TASK;
    const OTHER_BASE: &'static str =
        "a recipe with task = \"certify\" branches from such a run; this one is for language models";
    const IMPORTED: &'static str = "hf";

    type Spec = LmSpec;
    type Model = GptNeox;
    type Draft = Draft;
    type Data = Data;

    fn inherit(recipe: &mut Recipe, base: &Recipe, name: &str) -> Result<(), Problems> {
        spec::inherit(recipe, base, name);
        Ok(())
    }

    fn draft(recipe: Recipe, base: Option<&Base>, session: Session) -> Result<(LmSpec, Draft), Problems> {
        let (spec, draft) = match base {
            None => draft_with_own_tokenizer(recipe, session)?,
            Some(base) => draft_of_branch(recipe, base, session)?,
        };
        checks::lengths_and_paths(&spec, session.limits)?;
        check_memory(&spec, &draft.config)?;
        Ok((spec, draft))
    }

    fn prepare(
        spec: &LmSpec,
        draft: Draft,
        base: Option<&Base>,
        run: &RunDir,
        session: Session,
    ) -> Result<(GptNeox, Data), Problems> {
        let Session { device, listener, .. } = session;
        let Draft { given, config, tokenizer, beside } = draft;
        let (stream, specs) = match base {
            None => {
                let (sources, sets) = text::sources_and_sets(spec, &tokenizer, run, listener)?;
                let replay = text::replay_spec(spec, None)?;
                (StreamSpec { seed: spec.run.seed, seq_len: spec.seq_len, sources, replay }, sets)
            }
            Some(base) => text_of_branch(spec, &tokenizer, base, run, listener)?,
        };
        let mut model = match given {
            Some(model) => with_positions(model, config.max_seq),
            None => GptNeox::new(config, spec.init, spec.run.seed, device),
        };
        let beside = base.map_or(Ok(beside), |base| beside::of_checkpoint(&base.checkpoint))?;
        // Its documents end with this token, whatever those of the directory that it comes from ended with.
        model.config.eos_token_id = tokenizer.eod();
        let (beside, warnings) = beside::complete_files(beside, &tokenizer, &model.config)?;
        let mut stream = Stream::open(&stream)?;
        stream.require(tokenizer.vocabulary())?;
        stream.ends_as(tokenizer.vocabulary())?;
        let sets = text::open_sets(&specs, &tokenizer)?;
        // The sets of a base are what they are.
        let mut new = specs.iter().zip(&sets).filter(|(spec, _)| !spec.old);
        new.try_for_each(|(_, set)| set.source.ends_as(tokenizer.vocabulary()))?;
        checks::keep_best(spec, &sets.iter().map(|set| set.name.as_str()).collect::<Vec<_>>())?;
        Ok((model, Data { stream, sets, specs, tokenizer, beside, warnings }))
    }

    fn lengths(spec: &LmSpec, data: &Data, stop: Option<u64>) -> Result<Lengths, Problems> {
        spec.lengths(Some(epoch_tokens(&data.stream)), stop)
    }

    fn settle(
        spec: &LmSpec,
        data: &mut Data,
        _: &Lengths,
        run: &RunDir,
        listener: &dyn Listener,
    ) -> Result<(), Problems> {
        warn_of_few(spec, &data.sets, listener);
        warn_of_cuts(spec, &data.sets, listener)?;
        data.stream.identify()?;
        text::identify_sets(&mut data.specs, &data.sets)?;
        text::Manifest { stream: data.stream.spec().clone(), sets: data.specs.clone() }.write(run)?;
        Ok(files::write_whole(&run.path().join("tokenizer.json"), data.tokenizer.to_json())?)
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
        spec: &LmSpec,
        model: GptNeox,
        optimizer: Optimizer,
        data: Data,
        _: &Lengths,
        _: u64,
        session: Session,
    ) -> Result<Self, Problems> {
        let Data { stream, sets, tokenizer, beside, .. } = data;
        let LmSpec { seq_len, pieces, max_tokens, .. } = *spec;
        let rows = spec.run.eval_batch.unwrap_or(pieces.micro);
        Ok(Self {
            model,
            optimizer,
            stream,
            batch: spec.batch,
            pieces,
            sets,
            eval: EvalSettings { seq_len, rows, max_tokens },
            keep_best: spec.keep_best.clone(),
            tokenizer: Some(tokenizer.to_json().to_vec()),
            beside,
            scores: Vec::new(),
            ranks: session.ranks.clone(),
        })
    }

    fn read_model(checkpoint: &Checkpoint, device: &Device) -> Result<GptNeox> {
        checkpoint::read_model(checkpoint, device)
    }

    fn reopen(
        spec: &LmSpec,
        run: &RunDir,
        checkpoint: &Checkpoint,
        model: &GptNeox,
        _: &str,
    ) -> Result<Data, Problems> {
        let tokenizer = Tokenizer::from_file(&checkpoint.file("tokenizer.json")?, spec.texts.eod.as_deref())?;
        // What older versions did not keep is made up for; the warnings were for the start.
        let (beside, _) = beside::complete_files(beside::of_checkpoint(checkpoint)?, &tokenizer, &model.config)?;
        let text::Manifest { stream, sets: mut specs } = text::Manifest::read(run)?;
        let mut stream = Stream::open(&stream)?;
        stream.require(tokenizer.vocabulary())?;
        let sets = text::open_sets(&specs, &tokenizer)?;
        // A run of the version before knows no hashes: its files are checked against their own headers alone.
        stream.identify()?;
        text::identify_sets(&mut specs, &sets)?;
        Ok(Data { stream, sets, specs, tokenizer, beside, warnings: Vec::new() })
    }
}

/// The draft of a run that is no branch: with weights of its own or of the directory that `init.from` names.
fn draft_with_own_tokenizer(mut recipe: Recipe, session: Session) -> Result<(LmSpec, Draft), Problems> {
    let Session { device, listener, .. } = session;
    let imported = weights_from(&recipe)?
        .map(|path| match hugging_face::read(Path::new(&path), device) {
            Ok(imported) => Ok((path, imported)),
            Err(problem) if Path::new(&path).join("metrics.jsonl").exists() => {
                let hint = format!("{path} is a run: branch from `{path}` with `{}`", recipe.name());
                Err(problem.hint(hint))
            }
            Err(problem) => Err(problem),
        })
        .transpose()?;
    if let Some((path, imported)) = &imported {
        listener.warnings(&imported.warnings);
        shape::adopt_shape(&mut recipe, &imported.model.config, &Origin::Preset(path.clone()))?;
    } else {
        shape::fill_preset(&mut recipe)?;
    }
    let spec = LmSpec::read(&recipe)?;
    let own = imported.as_ref().and_then(|(_, imported)| imported.tokenizer.as_deref());
    let (tokenizer, warning) = checks::tokenizer(&spec, own)?;
    warning.inspect(|warning| listener.warn(&warning, None));
    reading::tell_notes(tokenizer.notes(), listener);
    let from = imported.as_ref().map(|(path, _)| path.as_str());
    let beside = beside::at_start(&tokenizer, spec.texts.tokenizer.as_deref(), from)?;
    let mut config = shape::config(&spec, tokenizer.vocabulary())?;
    if let Some((path, imported)) = &imported {
        checks::check_positions(&spec, imported.model.config.max_seq, path)?
            .inspect(|warning| listener.warn(&warning, None));
        config.max_seq = config.max_seq.max(imported.model.config.max_seq);
    }
    let given = imported.map(|(_, imported)| imported.model);
    Ok((spec, Draft { given, config, tokenizer, beside }))
}

/// The draft of a branch, whose tokenizer is its base's.
fn draft_of_branch(mut recipe: Recipe, base: &Base, session: Session) -> Result<(LmSpec, Draft), Problems> {
    let Session { device, listener, .. } = session;
    let given = checkpoint::read_model(&base.checkpoint, device)?;
    let positions = given.config.max_seq;
    if base.clocks.weights {
        let spec = LmSpec::read(&recipe)?;
        checks::check_positions(&spec, positions, base.name)?.inspect(|warning| listener.warn(&warning, None));
        shape::adopt_shape(&mut recipe, &given.config, &Origin::Base(base.name.into()))?;
    } else {
        recipe.inherit(&base.recipe, "model", base.name);
        shape::fill_preset(&mut recipe)?;
    }
    let spec = LmSpec::read(&recipe)?;
    let tokenizer = checks::branch_tokenizer(&spec, &base.checkpoint)?;
    let mut config = shape::config(&spec, tokenizer.vocabulary())?;
    config.max_seq = config.max_seq.max(positions);
    let given = base.clocks.weights.then_some(given);
    Ok((spec, Draft { given, config, tokenizer, beside: Vec::new() }))
}

/// The text that a branch trains on, its own or its base's, and the validation sets of both.
fn text_of_branch(
    spec: &LmSpec,
    tokenizer: &Tokenizer,
    base: &Base,
    run: &RunDir,
    listener: &dyn Listener,
) -> Result<(StreamSpec, Vec<text::SetSpec>), Problems> {
    let manifest = text::Manifest::read(&base.run)?;
    let seed = if base.clocks.rng { manifest.stream.seed } else { spec.run.seed };
    let (sources, new_sets, replay) = if spec.texts.sources.is_empty() {
        // The same data continues, and with it the replay that it had, if any.
        (manifest.stream.sources.clone(), Vec::new(), manifest.stream.replay.clone())
    } else {
        let (sources, sets) = text::sources_and_sets(spec, tokenizer, run, listener)?;
        (sources, sets, text::replay_spec(spec, Some((&base.run, &base.checkpoint)))?)
    };
    let sets = text::join_sets(&base.run, run, new_sets)?;
    Ok((StreamSpec { seed, seq_len: spec.seq_len, sources, replay }, sets))
}

/// The plan in a few lines, and the learning rate, before the first update.
fn announce(new: &New<'_, LmTask>, listener: &dyn Listener) {
    let New { spec, model, data: Data { stream, sets, .. }, lengths, state, .. } = new;
    let config = &model.config;
    listener.say(&format_args!("recipe      {}", spec.run.recipe.name()));
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
    if spec.pieces.shards > 1 {
        let sequences = counted((spec.batch / spec.pieces.shards) as u64, "sequence");
        listener.say(&format_args!("batches     in {} shards of {sequences} each", spec.pieces.shards));
    }
    for dropped in spec.run.recipe.dropped() {
        listener.say(&format_args!("left out    {dropped}: the chosen lr.shape does not have it"));
    }
    listener.say(&temper_schedule::sparkline(&lengths.schedule, Some(lengths.stop), listener.drawing(), 4).trim_end());
}

/// A set of few documents says little about a model, and less when the best checkpoint is chosen by it.
fn warn_of_few(spec: &LmSpec, sets: &[EvalSet], listener: &dyn Listener) {
    let Some(best) = &spec.keep_best else { return };
    let few = sets.iter().find(|set| set.name == *best && set.source.documents() < FEW_DOCUMENTS);
    if let Some(set) = few {
        let (documents, tokens) = (counted(set.source.documents(), "document"), counted(set.source.len(), "token"));
        listener.warn(
            &format_args!("checkpoint.keep_best chooses by {best}, which has {documents} ({tokens})"),
            Some("hold out more (data.validation_fraction), or name a separate validation set (data.validation.NAME.path)"),
        );
    }
}

/// Says which sets the limit of an evaluation cuts inside of a document.
fn warn_of_cuts(spec: &LmSpec, sets: &[EvalSet], listener: &dyn Listener) -> Result<(), Problems> {
    for set in sets.iter().filter(|_| spec.max_tokens.is_some()) {
        let windows = EvalWindows::new(&set.source, spec.seq_len, spec.max_tokens)?;
        if windows.is_cut() {
            listener.warn(&text::cut_words(&set.name, windows.tokens()), None);
        }
    }
    Ok(())
}

/// Refuses a run that cannot fit into this machine's memory: the system would kill it without an error.
fn check_memory(spec: &LmSpec, config: &GptNeoxConfig) -> Result<()> {
    let needed = Memory::of(config, spec.seq_len, spec.pieces).total();
    let Some(machine) = machine::memory().filter(|machine| needed > machine.total) else { return Ok(()) };
    let (needed, there) = (count(needed as f64), count(machine.total as f64));
    let why = format!("about {needed}B of memory are needed, this machine has {there}B");
    Err(spec.problem("batch.micro", why).hint(
        "lower batch.micro (same result, less memory), or set memory.activation_checkpointing = true; a plan shows \
         what the memory is for",
    ))
}

/// The model with rotary tables for `max_seq` positions.
fn with_positions(model: GptNeox, max_seq: usize) -> GptNeox {
    if model.config.max_seq >= max_seq { model } else { model.with_positions(max_seq) }
}

/// Tokens of one pass through the training data.
pub(crate) fn epoch_tokens(stream: &Stream) -> u64 {
    let own = stream.files().len();
    let windows: u64 = stream.windows()[..own].iter().sum();
    let replayed = stream.spec().replay.as_ref().map_or(0.0, |replay| replay.fraction);
    ((windows * stream.spec().seq_len as u64) as f64 / (1.0 - replayed)).round() as u64
}
