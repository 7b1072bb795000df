//! What every recipe says, whatever it trains, as typed values: [`RunSpec`], and the keys that it is read from.
//!
//! A tower has a spec of its own with this one in it ([`Spec`]). After a spec is read nobody looks a key up by its name.

pub mod clocks;
pub mod expectation;
pub mod lr;

use std::fmt;
use std::time::Duration;

use temper_base::{Problem, Problems, Result};
use temper_recipe::Kind::{Float, Horizon, Int, Length as ALength, Lengths, Text};
use temper_recipe::Range::{AboveZero, AtLeastZero, ZeroToBelowOne};
use temper_recipe::{Check, Key, Recipe, Refers, Value};
use temper_schedule::{Length, LrSpec, Schedule, Units};

use crate::optimizer::Settings;

use clocks::Clocks;
use expectation::Expectation;

/// The keys of every recipe.
pub const KEYS: &[&[Key]] = &[OWN, lr::KEYS, clocks::KEYS, expectation::KEYS];

/// What `run.horizon` is.
const HORIZON: &str = "how long the schedule is";

/// The key of the number of shards. It has no default: a run of an earlier version, whose recipe has no such key, is the same run.
pub const SHARDS: &str = "batch.shards";

/// How long a rank waits for another one. No default either: it is nothing to a run of one process.
const TIMEOUT: &str = "parallel.timeout";

const OWN: &[Key] = &[
    Key::new("base", Text, "the recipe to train first; this one is for a branch from that run").free(),
    Key::new("seed", Int(0), "seed of the initial weights, of the order of the data and of every other random draw")
        .default("1"),
    Key::new(
        "init.from",
        Text,
        "first weights: a Hugging Face GPT-NeoX directory, or (certify) a state dict as a safetensors file",
    )
    .refers_to(Refers::Content),
    Key::new(
        SHARDS,
        Int(1),
        "parts of a batch, a power of two, whose gradients are added as a binary tree; decides the bits; 1 if not given",
    ),
    Key::new(
        TIMEOUT,
        Int(1),
        "with several ranks: seconds that one waits for another before all end; 1800 if not given",
    )
    .unit("seconds")
    .free(),
    Key::new("optimizer.beta1", Float(ZeroToBelowOne), "AdamW: decay of the mean of the gradients").default("0.9"),
    Key::new("optimizer.beta2", Float(ZeroToBelowOne), "AdamW: decay of the mean of their squares").default("0.95"),
    Key::new("optimizer.eps", Float(AboveZero), "AdamW: added to the root of that mean").default("1e-8"),
    Key::new(
        "optimizer.weight_decay",
        Float(AtLeastZero),
        "AdamW: decoupled decay of weights and embeddings (not of biases and LayerNorms)",
    )
    .default("0.1"),
    Key::new("optimizer.clip", Float(AtLeastZero), "largest global norm of the gradient; 0 does not clip")
        .default("1.0"),
    Key::new("run.horizon", Horizon, HORIZON),
    Key::new(
        "run.stop",
        ALength,
        "where training stops; the horizon if not given; stopping earlier does not bend the schedule",
    ),
    Key::new(
        "eval.every",
        ALength,
        "distance between evaluations; 0 evaluates only before the first and after the last update",
    )
    .default("\"5%\""),
    Key::new("eval.batch", Int(1), "sequences to evaluate at once; as many as training computes at once if not given")
        .unit("sequences")
        .free(),
    Key::new("checkpoint.every", ALength, "distance between checkpoints; 0 writes only the last")
        .default("\"10%\"")
        .free(),
    Key::new("checkpoint.keep_last", Int(1), "number of the latest checkpoints to keep").default("2").free(),
    Key::new("checkpoint.keep_every", ALength, "keep checkpoints at multiples of this for ever").free(),
    Key::new("checkpoint.keep_at", Lengths, "further points at which to take a checkpoint and keep it for ever").free(),
    Key::new("log.every", ALength, "distance between log lines").default("\"10 steps\"").free(),
];

/// Why a recipe may lack what decides its schedule.
const OF_BASE: &str =
    "clocks.schedule = \"keep\": the schedule is that of the run it branches from, whose recipe `base` can name";

/// What a recipe says of its run, whatever it trains.
#[derive(Debug, Clone)]
pub struct RunSpec {
    /// Parts of a batch.
    pub shards: usize,
    /// How long a rank waits for another one.
    pub timeout: Duration,
    /// Where it is written: for messages, and for the record of the run.
    pub recipe: Recipe,
    /// The seed of every random draw.
    pub seed: u64,
    /// Where the first weights come from, if they are not drawn.
    pub from: Option<String>,
    /// The update rule.
    pub optimizer: Settings,
    /// The learning rate and its horizon; a branch may have them from its base.
    schedule: Option<ScheduleSpec>,
    /// Where training stops, if not at the horizon.
    pub stop: Option<Length>,
    /// Between evaluations.
    pub eval_every: Length,
    /// Sequences or images to evaluate at once, if not as many as training computes.
    pub eval_batch: Option<usize>,
    /// Between checkpoints.
    pub checkpoint_every: Length,
    /// How many of the latest checkpoints stay.
    pub keep_last: usize,
    /// Checkpoints at multiples of it stay.
    pub keep_every: Option<Length>,
    /// Points of further checkpoints that stay.
    pub keep_at: Vec<Length>,
    /// Between lines on the console.
    pub log_every: Length,
    /// What a branch keeps of its base.
    pub clocks: Clocks,
    /// What the run should end with.
    pub expectation: Expectation,
}

/// What a recipe says of the learning rate.
#[derive(Debug, Clone)]
pub struct ScheduleSpec {
    /// The learning rate.
    pub lr: LrSpec,
    /// How long the schedule is.
    pub horizon: Length,
}

impl ScheduleSpec {
    /// Reads it. A branch that keeps its base's position in the schedule is told where it comes from.
    fn read(recipe: &Recipe) -> Result<Self, Problems> {
        match (lr::read(recipe), recipe.length("run.horizon")) {
            (Ok(lr), Ok(horizon)) => Ok(Self { lr, horizon }),
            (lr, horizon) => {
                let missing = horizon.err().into_iter().chain(lr.err().unwrap_or_default());
                let kept = clocks::keeps_clock(recipe, clocks::SCHEDULE);
                let hinted = |problem: Problem| if kept { problem.hint(OF_BASE) } else { problem };
                Err(missing.map(hinted).collect::<Vec<_>>().into())
            }
        }
    }
}

/// A recipe of a task as typed values.
pub trait Spec: Sized {
    /// Reads it. What a start still fills in may be missing.
    ///
    /// # Errors
    /// Every key that is needed and not set.
    fn read(recipe: &Recipe) -> Result<Self, Problems>;

    /// What every recipe says.
    fn run(&self) -> &RunSpec;
}

impl RunSpec {
    /// Reads it.
    ///
    /// # Errors
    /// Every key that is needed and not set.
    pub fn read(recipe: &Recipe) -> Result<Self, Problems> {
        let schedule = match ScheduleSpec::read(recipe) {
            Err(_) if clocks::keeps_clock(recipe, clocks::SCHEDULE) => None,
            schedule => Some(schedule?),
        };
        Ok(Self {
            shards: recipe.opt(SHARDS, Recipe::usize)?.unwrap_or(1),
            timeout: Duration::from_secs(recipe.opt(TIMEOUT, Recipe::u64)?.unwrap_or(1800)),
            seed: recipe.u64("seed")?,
            from: recipe.opt("init.from", Recipe::text)?,
            optimizer: Settings {
                beta1: recipe.f64("optimizer.beta1")?,
                beta2: recipe.f64("optimizer.beta2")?,
                eps: recipe.f64("optimizer.eps")?,
                weight_decay: recipe.f64("optimizer.weight_decay")?,
                clip: recipe.f64("optimizer.clip")?,
            },
            schedule,
            stop: recipe.opt("run.stop", Recipe::length)?,
            eval_every: recipe.length("eval.every")?,
            eval_batch: recipe.opt("eval.batch", Recipe::usize)?,
            checkpoint_every: recipe.length("checkpoint.every")?,
            keep_last: recipe.usize("checkpoint.keep_last")?,
            keep_every: recipe.opt("checkpoint.keep_every", Recipe::length)?,
            keep_at: recipe.opt("checkpoint.keep_at", Recipe::lengths)?.unwrap_or_default(),
            log_every: recipe.length("log.every")?,
            clocks: Clocks::read(recipe)?,
            expectation: Expectation::read(recipe),
            recipe: recipe.clone(),
        })
    }

    /// A problem with the value of `key`, which says where it is written.
    pub fn problem(&self, key: &str, why: impl fmt::Display) -> Problem {
        self.recipe.problem(key, why)
    }

    /// What the recipe says of the learning rate.
    ///
    /// # Errors
    /// A recipe that leaves it to its base.
    pub fn schedule_spec(&self) -> Result<&ScheduleSpec, Problems> {
        self.schedule.as_ref().ok_or_else(|| {
            let missing = ScheduleSpec::read(&self.recipe).err();
            missing.unwrap_or_else(|| self.problem("run.horizon", "it is not set").hint(OF_BASE).into())
        })
    }

    /// The learning rate by update.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with the place where it is written.
    pub fn schedule(&self, units: &Units, horizon_steps: u64) -> Result<Schedule, Problems> {
        Ok(lr::schedule(&self.recipe, &self.schedule_spec()?.lr, units, horizon_steps)?)
    }
}

/// The recipe that is to be trained first, if this one continues another.
///
/// # Errors
/// A value of another kind.
pub fn base_of(recipe: &Recipe) -> Result<Option<String>> {
    recipe.opt("base", Recipe::text)
}

/// The folder or file that a recipe's first weights come from, if they are not drawn.
///
/// # Errors
/// A value of another kind.
pub fn weights_from(recipe: &Recipe) -> Result<Option<String>> {
    recipe.opt("init.from", Recipe::text)
}

/// The number of shards that batches of `batch` are cut into; `key` is the key of that size.
///
/// # Errors
/// A number that is no power of two, or does not divide the batch.
pub fn shards(recipe: &Recipe, batch: usize, key: &str) -> Result<usize> {
    let shards = recipe.opt(SHARDS, Recipe::usize)?.unwrap_or(1);
    if !shards.is_power_of_two() {
        let below = 1usize << shards.ilog2();
        let hint = format!("{below} or {} is one", below.saturating_mul(2));
        return Err(recipe.problem(SHARDS, format!("{shards} is no power of two")).hint(hint));
    }
    if !batch.is_multiple_of(shards) {
        let why = format!("a batch of {batch} cannot be cut into {shards} equal shards");
        let most = 1usize << batch.trailing_zeros();
        return Err(recipe.problem(SHARDS, why).hint(format!("at most {most}, or another {key}")));
    }
    Ok(shards)
}

/// Where the recipe has checkpoints taken and kept, beside the regular ones.
///
/// # Errors
/// A value of another kind.
pub fn keep_at(recipe: &Recipe) -> Result<Vec<Length>> {
    Ok(recipe.opt("checkpoint.keep_at", Recipe::lengths)?.unwrap_or_default())
}

/// What a branch of any task takes over from the recipe of its base with the clocks that it keeps; `with_schedule` are the tables that
/// belong to the schedule beside `lr`.
pub fn inherit(recipe: &mut Recipe, base: &Recipe, name: &str, with_schedule: &[&str]) {
    if clocks::keeps_clock(recipe, clocks::SCHEDULE) {
        for key in ["lr", "run.horizon", "run.stop"].iter().chain(with_schedule) {
            recipe.inherit(base, key, name);
        }
    }
    if clocks::keeps_clock(recipe, clocks::RNG) {
        recipe.inherit(base, "seed", name);
    }
}

/// What is missing in a recipe of any task. What a branch keeps of its base's schedule comes from there.
pub fn check(check: &mut Check) {
    if !clocks::keeps_clock(check.recipe, clocks::SCHEDULE) {
        for (key, doc) in [("lr.peak", lr::PEAK), ("run.horizon", HORIZON)] {
            if check.missing(key) {
                check.problem(key, "it is not set", format!("{key} is {doc}"));
            }
        }
    }
    if check.recipe.length("log.every").is_ok_and(|every| every.is_zero()) {
        check.problem("log.every", "must be at least one step", "\"1 steps\" shows every update");
    }
    expectation::check(check);
}

/// What is wrong with the learning rate, as far as that can be said before the data is known: all of it, unless a length is in epochs.
pub fn check_schedule(recipe: &Recipe, tokens_per_step: u64) -> Vec<Problem> {
    let units = Units { tokens_per_step: tokens_per_step.max(1), tokens_per_epoch: None };
    let in_epochs = |value: &Value| value.lengths().iter().any(|length| matches!(length, Length::Epochs(_)));
    let of_lr = |path: &str| path.starts_with("lr.");
    if recipe.entries().iter().any(|(path, entry)| of_lr(path) && in_epochs(&entry.value)) || !recipe.is_set("lr.peak")
    {
        return Vec::new();
    }
    let steps = recipe.length("run.horizon").ok().and_then(|horizon| horizon.steps(&units, None).ok());
    let Some(steps) = steps else { return Vec::new() };
    lr::read(recipe).and_then(|lr| lr::schedule(recipe, &lr, &units, steps)).err().unwrap_or_default()
}
