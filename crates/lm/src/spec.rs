//! A recipe of a language model as typed values: [`LmSpec`], and the keys that it is read from. Those of `[model]` are in [`shape`].

use std::fmt;

use temper_base::{Problem, Problems, Result};
use temper_data::{BadLines, PrepareOptions, ReadOptions, ReplayOrder};
use temper_model::init::Init;
use temper_recipe::Kind::{Bool, Choice, Float, Int, Text, Texts};
use temper_recipe::Range::{AtLeastZero, ZeroToBelowOne};
use temper_recipe::Refers::{Run, Tokenizer};
use temper_recipe::{Check, Key, Kind, Origin, Recipe, Task};
use temper_train::lengths::Lengths;
use temper_train::spec::{self, RunSpec, Spec, clocks};

use crate::shape::{self, ModelSpec};
use crate::step::Pieces;

const NAME: &str = "lm";

/// What recipes of language models add to the rules of recipes.
pub static TASK: Task = Task { name: NAME, words: "language models", defaults: &[], check, check_sound };

/// The keys of language models.
pub const KEYS: &[&[Key]] = &[shape::KEYS, OWN];

/// A key of language models only.
pub(crate) const fn key(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key::new(path, kind, doc).of_task(NAME)
}

const OWN: &[Key] = &[
    key("data.tokenizer", Text, "path of a tokenizer.json, or \"builtin:demo\"").refers_to(Tokenizer),
    key(
        "data.eod",
        Text,
        "the token that ends a document [default: from config.json beside the tokenizer, otherwise <|endoftext|>]",
    ),
    key(
        "data.other_tokenizer",
        Bool,
        "init.from: use data.tokenizer although it differs from the tokenizer.json beside the weights",
    ),
    key("data.text_key", Text, "the key of a JSON line that holds the text; \"data.text\" is the key text inside data")
        .default("\"text\""),
    key("data.seq_len", Int(1), "tokens that a sequence predicts").default("512").unit("tokens"),
    key(
        "data.beyond_positions",
        Bool,
        "allow a data.seq_len beyond the positions that the weights of init.from were made for; adds positions",
    ),
    key(
        "data.bad_lines",
        Choice(BadLines::NAMES),
        "what to do with lines without usable text (not UTF-8, half an emoji, no such key, null): skip and count, or stop",
    )
    .default("\"skip\"").formerly("data.invalid_utf8"),
    key(
        "data.validation_fraction",
        Float(ZeroToBelowOne),
        "fraction of each training source's documents to hold out for validation",
    )
    .default("0.01"),
    key(
        "data.train.*.path",
        Texts,
        "a training source: files, folders or globs of text, JSON lines or token shards",
    )
    .needed("the source has no path"),
    key(
        "data.train.*.weight",
        Float(AtLeastZero),
        "share of the source in training, relative to the other weights; 0 leaves it out",
    )
    .default("1.0"),
    key("data.validation.*.path", Texts, "a further validation set, besides those held out of the training sources").needed("the source has no path"),
    key("data.replay.fraction", Float(ZeroToBelowOne), "fraction of the samples to take from the data of an earlier run")
        .default("0.0"),
    key("data.replay.from", Text, "directory of the run whose data to replay; the base of a branch if not given").refers_to(Run),
    key("data.replay.seen_only", Bool, "replay only samples that this earlier run has seen").default("true"),
    key("data.replay.order", Choice(ReplayOrder::NAMES), "replay in the order of that run, or shuffled anew")
        .default("\"original\""),
    key("batch.sequences", Int(1), "sequences in one update").default("8").unit("sequences"),
    key("batch.micro", Int(1), "sequences to compute at once; fewer need less memory; a whole shard if not given")
        .unit("sequences")
        .last_bits(),
    key("eval.max_tokens", Int(0), "evaluate at most this many tokens of each set; 0 takes all")
        .default("0")
        .unit("tokens"),
    key("checkpoint.keep_best", Text, "the validation set whose best checkpoint to keep").free(),
    key(
        "memory.activation_checkpointing",
        Bool,
        "recompute activations instead of keeping them: needs less memory, gives the same numbers",
    )
    .default("false")
    .free(),
];

/// Tokens of an update; a thousand times more than anyone has had.
const LARGEST: u64 = 1 << 36;

/// What a recipe of a language model says.
#[derive(Debug, Clone)]
pub struct LmSpec {
    /// What every recipe says.
    pub run: RunSpec,
    /// The shape of the model, as far as the recipe gives it.
    pub model: ModelSpec,
    /// How fresh weights are drawn.
    pub init: Init,
    /// What is read.
    pub texts: TextSpec,
    /// Whether another tokenizer than that of the weights is meant.
    pub other_tokenizer: bool,
    /// Tokens that a sequence predicts.
    pub seq_len: usize,
    /// Whether sequences beyond the positions of the weights are meant.
    pub beyond_positions: bool,
    /// What is replayed of an earlier run.
    pub replay: Replay,
    /// Sequences in one update.
    pub batch: usize,
    /// How an update is cut into pieces.
    pub pieces: Pieces,
    /// Tokens of a set that an evaluation looks at, if not all.
    pub max_tokens: Option<u64>,
    /// The validation set whose best checkpoint is kept.
    pub keep_best: Option<String>,
}

/// What a recipe says of text and of how it becomes tokens.
#[derive(Debug, Clone)]
pub struct TextSpec {
    /// The tokenizer, if it is named.
    pub tokenizer: Option<String>,
    /// The token that ends a document, if it is named.
    pub eod: Option<String>,
    /// How text is read.
    pub read: ReadOptions,
    /// The part of a training source that is held out for validation.
    pub validation_fraction: f64,
    /// What is trained on, by name.
    pub sources: Vec<Source>,
    /// The validation sets that are named, by name.
    pub validation: Vec<ValidationSet>,
    seed: u64,
}

/// A training source.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Files, folders or globs.
    pub paths: Vec<String>,
    /// Its share, relative to the others'.
    pub weight: f64,
}

/// A validation set that the recipe names.
#[derive(Debug, Clone)]
pub struct ValidationSet {
    /// Its name.
    pub name: String,
    /// Files, folders or globs.
    pub paths: Vec<String>,
}

/// What is replayed of an earlier run.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The fraction of the samples; 0 replays nothing.
    pub fraction: f64,
    /// The run, if it is not the base.
    pub from: Option<String>,
    /// Whether only samples that it has seen.
    pub seen_only: bool,
    /// In which order.
    pub order: ReplayOrder,
}

impl Spec for LmSpec {
    fn read(recipe: &Recipe) -> Result<Self, Problems> {
        let run = RunSpec::read(recipe)?;
        let (batch, seq_len) = (recipe.usize("batch.sequences")?, recipe.usize("data.seq_len")?);
        if tokens_per_step(recipe)? > LARGEST {
            let why = format!("{batch} sequences of {seq_len} tokens are more than an update can have");
            let key = if seq_len > batch { "data.seq_len" } else { "batch.sequences" };
            return Err(recipe.problem(key, why).into());
        }
        Ok(Self {
            run,
            model: ModelSpec::read(recipe)?,
            init: shape::init(recipe)?,
            texts: TextSpec::read(recipe)?,
            other_tokenizer: recipe.opt("data.other_tokenizer", Recipe::bool)?.unwrap_or(false),
            seq_len,
            beyond_positions: recipe.opt("data.beyond_positions", Recipe::bool)?.unwrap_or(false),
            replay: Replay {
                fraction: recipe.f64("data.replay.fraction")?,
                from: recipe.opt("data.replay.from", Recipe::text)?,
                seen_only: recipe.bool("data.replay.seen_only")?,
                order: recipe.choice("data.replay.order", ReplayOrder::from_name)?,
            },
            batch,
            pieces: pieces(recipe, batch)?,
            max_tokens: Some(recipe.u64("eval.max_tokens")?).filter(|tokens| *tokens > 0),
            keep_best: keep_best(recipe)?,
        })
    }

    fn run(&self) -> &RunSpec {
        &self.run
    }
}

impl LmSpec {
    /// A problem with the value of `key`, which says where it is written.
    pub fn problem(&self, key: &str, why: impl fmt::Display) -> Problem {
        self.run.problem(key, why)
    }

    /// Tokens of one update.
    pub fn tokens_per_step(&self) -> u64 {
        self.batch as u64 * self.seq_len as u64
    }

    /// Every length in updates. `epoch` is the number of tokens of the training data, where known; `max_steps` stops earlier still.
    ///
    /// # Errors
    /// Every length that cannot be counted in updates.
    pub fn lengths(&self, epoch: Option<u64>, max_steps: Option<u64>) -> Result<Lengths, Problems> {
        Lengths::resolve(&self.run, self.tokens_per_step(), epoch, max_steps)
    }

    /// Who names the tokenizer.
    pub fn tokenizer_origin(&self) -> Origin {
        self.run.recipe.origin("data.tokenizer")
    }
}

impl TextSpec {
    /// Reads it.
    ///
    /// # Errors
    /// A value of another kind.
    pub fn read(recipe: &Recipe) -> Result<Self> {
        let paths = |part: &str, name: &str| recipe.texts(&format!("data.{part}.{name}.path"));
        let source = |name: &str| -> Result<Source> {
            let weight = recipe.f64(&format!("data.train.{name}.weight"))?;
            Ok(Source { name: name.to_owned(), paths: paths("train", name)?, weight })
        };
        let set = |name: &str| -> Result<ValidationSet> {
            Ok(ValidationSet { name: name.to_owned(), paths: paths("validation", name)? })
        };
        Ok(Self {
            tokenizer: tokenizer(recipe)?,
            eod: recipe.opt("data.eod", Recipe::text)?,
            read: ReadOptions {
                text_key: recipe.text("data.text_key")?,
                bad_lines: recipe.choice("data.bad_lines", BadLines::from_name)?,
                ..ReadOptions::default()
            },
            validation_fraction: recipe.f64("data.validation_fraction")?,
            sources: recipe.names("data.train").into_iter().map(source).collect::<Result<_>>()?,
            validation: recipe.names("data.validation").into_iter().map(set).collect::<Result<_>>()?,
            seed: recipe.u64("seed")?,
        })
    }

    /// How text is read and split, with this part of it held out.
    pub fn prepare(&self, validation_fraction: f64) -> PrepareOptions {
        PrepareOptions { validation_fraction, seed: self.seed, read: self.read.clone(), ..PrepareOptions::default() }
    }

    /// Whether a validation set of this name is given, which then stands for what would be held out of the source of that name.
    pub fn has_own_set(&self, name: &str) -> bool {
        self.validation.iter().any(|set| set.name == name)
    }

    /// The part of a source that is held out.
    pub fn held_out_of(&self, source: &Source) -> f64 {
        if self.has_own_set(&source.name) { 0.0 } else { self.validation_fraction }
    }
}

impl Source {
    /// The key of its paths.
    pub fn key(&self) -> String {
        format!("data.train.{}.path", self.name)
    }
}

impl ValidationSet {
    /// The key of its paths.
    pub fn key(&self) -> String {
        format!("data.validation.{}.path", self.name)
    }
}

/// The tokenizer that the recipe names.
///
/// # Errors
/// A value of another kind.
pub fn tokenizer(recipe: &Recipe) -> Result<Option<String>> {
    recipe.opt("data.tokenizer", Recipe::text)
}

/// The validation set whose best checkpoint the recipe keeps.
///
/// # Errors
/// A value of another kind.
pub fn keep_best(recipe: &Recipe) -> Result<Option<String>> {
    recipe.opt("checkpoint.keep_best", Recipe::text)
}

/// How a batch is cut.
fn pieces(recipe: &Recipe, batch: usize) -> Result<Pieces> {
    let shards = spec::shards(recipe, batch, "batch.sequences")?;
    let shard = batch / shards;
    let micro = recipe.opt("batch.micro", Recipe::usize)?.unwrap_or(shard);
    if shards > 1 && micro > shard {
        let why =
            format!("{micro} sequences at once are more than a shard has: {batch} in {shards} shards are {shard} each");
        return Err(recipe.problem("batch.micro", why).hint(format!("at most {shard}, or fewer batch.shards")));
    }
    let activation_checkpointing = recipe.bool("memory.activation_checkpointing")?;
    Ok(Pieces { shards, micro: micro.min(shard), activation_checkpointing })
}

/// Tokens of one update.
fn tokens_per_step(recipe: &Recipe) -> Result<u64> {
    Ok(recipe.u64("batch.sequences")?.saturating_mul(recipe.u64("data.seq_len")?))
}

/// What a branch takes over from the recipe of its base where its own says nothing: the model's shape
/// comes with the weights, data and learning rate only with their clocks.
pub fn inherit(recipe: &mut Recipe, base: &Recipe, name: &str) {
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
    spec::inherit(recipe, base, name, &[]);
}

fn check(check: &mut Check) {
    spec::check(check);
    if !check.any_under("data.train.") && !clocks::keeps_clock(check.recipe, clocks::DATA) {
        let why = "there is nothing to train on";
        check.problem("data.train", why, "for example data.train.docs.path = \"corpus/docs\"");
    }
    let names = check.recipe.names("data.train");
    let weight = |name: &str| format!("data.train.{name}.weight");
    if let Some(first) = names.first().map(|name| weight(name))
        && names.iter().all(|name| check.recipe.f64(&weight(name)) == Ok(0.0))
    {
        let why = "nothing is trained on: every source has weight 0";
        check.problem(&first, why, "a weight above 0, or another source");
    }
}

fn check_sound(recipe: &Recipe) -> Vec<Problem> {
    spec::check_schedule(recipe, tokens_per_step(recipe).unwrap_or(1))
}
