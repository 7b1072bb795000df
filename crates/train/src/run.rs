//! What every run has, whatever it trains: its directory, its lengths when it resumes, and how it ends.

use std::fs;
use std::time::Instant;

use burn::tensor::Device;
use temper_base::Listener;
use temper_base::problem::pasted;
use temper_base::{Problem, Problems, Result};
use temper_recipe::{Recipe, Schema};
use temper_record::begun;
use temper_record::checkpoint::Checkpoint;
use temper_record::run::{RunDir, RunLock, RunRef};
use temper_record::series::RunSeries;
use temper_schedule::Length;

use crate::checkpoint::State;
use crate::lengths::Lengths;
use crate::ranks::Ranks;
use crate::spec::RunSpec;
use crate::spec::expectation::Expectation;
use crate::trainer::{End, Settings, Task, Trainer, Watch};

/// What the command line adds to a recipe.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Stop after this many updates.
    pub max_steps: Option<u64>,
    /// Stop with a checkpoint by this moment.
    pub deadline: Option<Instant>,
}

/// What a start is given besides its recipe. It decides no weight, but a device other than the CPU computes with other roundings.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// When to stop.
    pub limits: Limits,
    /// Where tensors live and are computed.
    pub device: &'a Device,
    /// Who hears what happens.
    pub listener: &'a dyn Listener,
    /// The processes that train together; this one leads them.
    pub ranks: &'a Ranks,
}

/// A run that is ready to train. Holds the run's lock.
pub struct Started<T> {
    /// The loop.
    pub trainer: Trainer<T>,
    /// Where everything comes from.
    pub spec: RunSpec,
    /// Its lengths in updates.
    pub lengths: Lengths,
    /// The seed of the order of its data.
    pub seed: u64,
    /// Whether nothing has been recorded yet but the start.
    pub fresh: bool,
    /// Held while it lasts.
    #[allow(dead_code, reason = "dropping it gives the run free")]
    pub lock: RunLock,
}

/// The update at which a run is to end: `max_steps` and `until` may have moved it.
pub(crate) fn planned_end(run: &RunDir, series: &RunSeries) -> Result<u64> {
    match series.info.steps {
        0 => Err(Problem::input("resume", run.metrics().display(), "does not begin with the run's start")
            .hint("the file is damaged: restore it, or branch from the checkpoint")),
        steps => Ok(series.until.unwrap_or(steps)),
    }
}

/// The lengths of a run that resumes at `state`: to the end given last, or to `until`. `resolve` knows the units, and is asked
/// with the update at which the run is to end. The learning rate keeps its horizon whatever the end.
pub(crate) fn lengths_on(
    run: &RunDir,
    series: &RunSeries,
    state: &State,
    until: Option<Length>,
    resolve: impl Fn(Option<u64>) -> Result<Lengths, Problems>,
) -> Result<Lengths, Problems> {
    let Some(until) = until else { return resolve(Some(planned_end(run, series)?)) };
    let whole = resolve(None)?;
    let problem = |why: String| Problem::input("resume", format!("until {until}"), why);
    let stop = until.steps(&whole.units, Some(whole.horizon)).map_err(|error| problem(error.to_string()))?;
    if stop < state.step {
        let why = format!("the run has made {} updates already, more than {stop}", state.step);
        let back = format!("name an earlier checkpoint: {}", pasted(format_args!("{}@STEP", run.path().display())));
        return Err(problem(why).hint(back).into());
    }
    if stop > whole.stop {
        let why = format!("update {stop} is after the end of the recipe, update {}", whole.stop);
        let hint = "for a longer run, branch with a longer run.horizon";
        return Err(problem(why).hint(hint).into());
    }
    resolve(Some(stop))
}

/// What to print about a run that has reached its end.
///
/// # Errors
/// A record that cannot be read, or does not begin with the run's start.
pub fn nothing_left(name: &str, run: &RunDir) -> Result<String, Problems> {
    let series = RunSeries::without_steps(run)?;
    let (stop, end) = (planned_end(run, &series)?, series.info.end);
    Ok(if stop < end { until_hint(name, stop, end) } else { format!("{name}: complete, nothing left to do") })
}

/// How to continue a run that was asked to stop early.
pub fn until_hint(name: &str, stop: u64, end: u64) -> String {
    format!("stopped after step {stop} of {end}, as asked for; to continue, resume `{name}` until `{end}`")
}

/// An error if a run is over before it begins.
///
/// # Errors
/// An end that is not behind the clock of the schedule.
pub fn require_updates(spec: &RunSpec, lengths: &Lengths, state: &State) -> Result<()> {
    if lengths.stop > state.step {
        return Ok(());
    }
    let why = format!("the run is to end at step {}, but it begins at {}", lengths.stop, state.step);
    Err(spec.problem("run.stop", why).hint(match state.step {
        0 => "leave run.stop out, or give it at least \"1 steps\"",
        _ => "with clocks.schedule = \"keep\" the base run's updates count: give a longer run.horizon",
    }))
}

/// A run that is ready to train, whatever it trains.
pub trait Run {
    /// Its recipe.
    fn recipe(&self) -> &Recipe;

    /// What its recipe expects of it.
    fn expectation(&self) -> &Expectation;

    /// Its lengths in updates.
    fn lengths(&self) -> &Lengths;

    /// Where it lies.
    fn dir(&self) -> &RunDir;

    /// The updates made so far.
    fn step(&self) -> u64;

    /// Trains to the end or an interrupt. `watch` hears every event.
    ///
    /// # Errors
    /// A number that is not finite, a weight that is not, a file that cannot be written. The last checkpoint stays.
    fn train(&mut self, watch: &mut dyn Watch) -> Result<End>;

    /// Compares the result of a run that is complete with what its recipe expects.
    ///
    /// # Errors
    /// If the recipe expects a metric that the run does not record.
    fn expected(&self) -> Result<Expected, Problems> {
        Ok(match self.expectation().clone() {
            Expectation::None => Expected::Nothing,
            Expectation::Off(why) => Expected::NotChecked(why),
            Expectation::Check { .. } if self.lengths().cut => {
                Expected::NotChecked("not checked, since the run was stopped early, as asked for".into())
            }
            Expectation::Check { metric, mean, tolerance } => {
                let series = RunSeries::without_steps(self.dir())?;
                let (set, name) = metric.rsplit_once('/').unwrap_or(("mean:micro", &metric));
                // Where the best checkpoint was chosen by this very number, that is what is meant.
                let best = series.best.as_ref().filter(|best| best.set == set && best.metric == name);
                let last = series.eval_metric(set, name).last().map(|&(_, value)| value);
                let Some(found) = best.map(|best| best.value).or(last) else {
                    let hint = "SET/METRIC, for example web/perplexity or test/certified_error";
                    let problem = self.recipe().problem("expect.metric", format!("{metric} is not recorded"));
                    return Err(problem.hint(hint).into());
                };
                Expected::Compared { metric, found, mean, tolerance }
            }
        })
    }
}

/// How the result of a run compares with what its recipe expects.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// The recipe expects nothing.
    Nothing,
    /// It expects something, but not of this run; the text says why.
    NotChecked(String),
    /// The recipe's metric was compared.
    Compared {
        /// What was compared.
        metric: String,
        /// What the run came to.
        found: f64,
        /// What the recipe expects.
        mean: f64,
        /// By how much the two may differ.
        tolerance: f64,
    },
}

impl<T: Task> Run for Started<T> {
    fn recipe(&self) -> &Recipe {
        &self.spec.recipe
    }

    fn expectation(&self) -> &Expectation {
        &self.spec.expectation
    }

    fn lengths(&self) -> &Lengths {
        &self.lengths
    }

    fn dir(&self) -> &RunDir {
        &self.trainer.run
    }

    fn step(&self) -> u64 {
        self.trainer.state.step
    }

    fn train(&mut self, watch: &mut dyn Watch) -> Result<End> {
        self.trainer.assemble(self.fresh, self.seed, self.spec.recipe.task().name)?;
        self.trainer.train(self.fresh, watch)
    }
}

/// Runs `make`; if it fails before the run exists, the directory is left as it was found: empty.
pub(crate) fn tidy_on_failure<T>(run: &RunDir, make: impl FnOnce() -> Result<T, Problems>) -> Result<T, Problems> {
    make().inspect_err(|_| _ = leave_nothing(run))
}

/// Removes what Temper has written of a run that has not begun, and its directory if that is empty then.
pub fn leave_nothing(run: &RunDir) -> bool {
    let lock = run.path().join(".lock");
    let only_lock = || -> std::io::Result<bool> {
        fs::read_dir(run.path())?.try_fold(true, |only, entry| Ok(only && entry?.file_name() == ".lock"))
    };
    // Whatever fails here, the next start takes the directory for what it is: it knows it by the lock, which goes last.
    begun::clear(run).is_ok()
        && only_lock().is_ok_and(|only| only)
        && fs::remove_file(lock).is_ok()
        && fs::remove_dir(run.path()).is_ok()
}

/// When things happen in a run of this recipe.
pub(crate) fn settings(spec: &RunSpec, lengths: &Lengths, limits: Limits) -> Settings {
    Settings {
        stop: lengths.stop,
        eval_every: lengths.eval_every,
        checkpoint_every: lengths.checkpoint_every,
        keep_last: spec.keep_last,
        keep_every: lengths.keep_every,
        keep_at: lengths.keep_at.clone(),
        deadline: limits.deadline,
    }
}

/// The resolved recipe of a run.
///
/// # Errors
/// A run without its resolved recipe, or one that the schema does not read.
pub fn resolved_recipe(run: &RunDir, schema: &'static Schema) -> Result<Recipe, Problems> {
    let path = run.resolved();
    let text = std::fs::read_to_string(&path)
        .map_err(|cause| Problem::io("read resolved recipe", &path, &cause).hint("every run has one: restore it"))?;
    Ok(Recipe::from_resolved(&text, &path.display().to_string(), schema)?)
}

/// The checkpoint that a name means, for commands that only look.
///
/// # Errors
/// A folder that is no run, or has no such checkpoint.
pub fn checkpoint_of(name: &str) -> Result<(RunDir, Checkpoint)> {
    let named = RunRef::parse(name)?;
    Ok((named.open()?, named.checkpoint()?))
}
