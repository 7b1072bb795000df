//! Every length of a recipe in updates.

use temper_base::{Problem, Problems};
use temper_schedule::{Length, Schedule, Units};

use crate::spec::RunSpec;

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

impl Lengths {
    /// Resolves them, for updates of `tokens_per_step` tokens or images. `epoch` is how many the training data has, where known;
    /// `max_steps` stops earlier still.
    ///
    /// # Errors
    /// Every length that cannot be counted in updates, and what is wrong with the learning rate.
    pub fn resolve(
        spec: &RunSpec,
        tokens_per_step: u64,
        epoch: Option<u64>,
        max_steps: Option<u64>,
    ) -> Result<Self, Problems> {
        let units = Units { tokens_per_step, tokens_per_epoch: epoch };
        let mut problems: Vec<Problem> = Vec::new();
        let mut steps = |key: &str, length: Length, horizon: Option<u64>| {
            length.steps(&units, horizon).unwrap_or_else(|error| {
                problems.push(spec.problem(key, error).hint(match epoch {
                    Some(_) => "write for example \"2000 steps\", \"300 Mtok\", \"3 epochs\"",
                    None => "without the data, epochs cannot be counted: give steps or tokens",
                }));
                1
            })
        };
        let horizon = steps("run.horizon", spec.schedule_spec()?.horizon, None);
        let mut of_run = |key: &str, length: Length| steps(key, length, Some(horizon));
        let planned = spec.stop.map_or(horizon, |stop| of_run("run.stop", stop));
        let eval_every = of_run("eval.every", spec.eval_every);
        let checkpoint_every = of_run("checkpoint.every", spec.checkpoint_every);
        let keep_every = spec.keep_every.map_or(0, |every| of_run("checkpoint.keep_every", every));
        let log_every = of_run("log.every", spec.log_every);
        let keep_at = spec.keep_at.iter().map(|point| of_run("checkpoint.keep_at", *point)).collect();
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let schedule = spec.schedule(&units, horizon)?;
        let stop = max_steps.map_or(planned, |max| planned.min(max));
        Ok(Self {
            tokens_per_step,
            horizon,
            stop,
            planned,
            units,
            cut: stop < planned,
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
