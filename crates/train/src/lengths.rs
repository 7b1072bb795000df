//! Every length of a recipe in updates.

use temper_base::{Problem, Problems, Result};
use temper_recipe::{Recipe, Task};
use temper_schedule::{Length, Schedule, Units};

/// The lengths of a run, in updates; 0 where the recipe says "never".
#[derive(Debug, Clone)]
pub struct Lengths {
    /// Tokens of one update; images, where there are no tokens.
    pub tokens_per_step: u64,
    /// How long the schedule is.
    pub horizon: u64,
    /// Where training stops.
    pub stop: u64,
    /// Where the recipe has it stop.
    pub planned: u64,
    /// What an update and an epoch are worth.
    pub units: Units,
    /// Whether `--max-steps` or `--until` made that earlier than the recipe says.
    pub cut: bool,
    /// The update of `--max-steps`, where it is behind the end of the recipe.
    pub beyond: Option<u64>,
    /// Between evaluations.
    pub eval_every: u64,
    /// Between checkpoints.
    pub checkpoint_every: u64,
    /// Checkpoints at multiples of it are kept.
    pub keep_every: u64,
    /// Checkpoints after these updates are taken and kept.
    pub keep_at: Vec<u64>,
    /// Between lines on the console.
    pub log_every: u64,
    /// The learning rate.
    pub schedule: Schedule,
}

/// Tokens of an update; a thousand times more than anyone has had.
const LARGEST: u64 = 1 << 36;

impl Lengths {
    /// Resolves them. `epoch` is the number of tokens of the training data, where known; `max_steps`
    /// stops earlier still.
    pub fn resolve(recipe: &Recipe, epoch: Option<u64>, max_steps: Option<u64>) -> Result<Self, Problems> {
        let tokens_per_step = match recipe.task() {
            Task::Lm => {
                let (sequences, seq_len) = (recipe.u64("batch.sequences")?, recipe.u64("data.seq_len")?);
                let tokens = sequences.saturating_mul(seq_len);
                if tokens > LARGEST {
                    let why = format!("{sequences} sequences of {seq_len} tokens are more than an update can have");
                    return Err(recipe.problem("batch.sequences", why).into());
                }
                tokens
            }
            Task::Certify => recipe.u64("batch.images")?,
        };
        let units = Units { tokens_per_step, tokens_per_epoch: epoch };
        let mut problems: Vec<Problem> = Vec::new();
        let mut steps = |key: &str, length: temper_base::Result<Length>, horizon: Option<u64>| {
            let resolved = length.and_then(|length| {
                length.steps(&units, horizon).map_err(|error| {
                    recipe.problem(key, error).hint(match epoch {
                        Some(_) => "write for example \"2000 steps\", \"300 Mtok\", \"3 epochs\"",
                        None => "without the data, epochs cannot be counted: give steps or tokens",
                    })
                })
            });
            resolved.unwrap_or_else(|problem| {
                problems.push(problem);
                1
            })
        };
        let horizon = steps("run.horizon", recipe.length("run.horizon"), None);
        let mut every = |key: &str| match recipe.opt(key, Recipe::length).transpose() {
            None => 0,
            Some(length) => steps(key, length, Some(horizon)),
        };
        let stop = if recipe.is_set("run.stop") { every("run.stop") } else { horizon };
        let (eval_every, checkpoint_every) = (every("eval.every"), every("checkpoint.every"));
        let (keep_every, log_every) = (every("checkpoint.keep_every"), every("log.every"));
        let points = recipe.opt("checkpoint.keep_at", Recipe::lengths)?.unwrap_or_default();
        let keep_at = points.into_iter().map(|point| steps("checkpoint.keep_at", Ok(point), Some(horizon))).collect();
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let schedule = recipe.schedule(&units, horizon)?;
        let planned = stop;
        let stop = max_steps.map_or(planned, |max| planned.min(max));
        let cut = stop < planned;
        Ok(Self {
            tokens_per_step,
            horizon,
            stop,
            planned,
            units,
            cut,
            beyond: max_steps.filter(|max| *max > planned),
            eval_every,
            checkpoint_every,
            keep_every,
            keep_at,
            log_every,
            schedule,
        })
    }
}
