//! What every run has, whatever it trains: its directory, its record from the first moment on, and how it ends.

use std::fs;
use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;
use temper_base::files::write_whole;
use temper_base::listener::{Caller, Listener};
use temper_base::problem::pasted;
use temper_base::{Problem, Problems, Result};
use temper_recipe::{Origin, Recipe, Schema};
use temper_record::begun;
use temper_record::checkpoint::{Checkpoint, discard_after};
use temper_record::env::{Env, now};
use temper_record::event::{Event, Parent, RunInfo};
use temper_record::run::{At, RunDir, RunLock, RunRef};
use temper_record::series::RunSeries;
use temper_record::sink::Recorder;
use temper_schedule::Length;

use crate::checkpoint::State;
use crate::lengths::Lengths;
use crate::spec::expectation::Expectation;
use crate::spec::{self, RunSpec};
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
}

/// A run that is ready to train. Holds the run's lock.
pub struct Started<T> {
    /// The loop.
    pub trainer: Trainer<T>,
    /// Where everything comes from.
    pub spec: RunSpec,
    /// Its lengths in updates.
    pub lengths: Lengths,
    /// Whether nothing has been recorded yet but the start.
    pub fresh: bool,
    /// Held while it lasts.
    #[allow(dead_code, reason = "dropping it gives the run free")]
    pub lock: RunLock,
}

/// What the first line of a run's record says beyond its recipe.
pub(crate) struct About {
    /// `lm` or `certify`.
    pub task: &'static str,
    /// Seed of the order of the data.
    pub seed: u64,
    /// Trainable parameters.
    pub parameters: u64,
    /// How the weights came to be: `fresh`, `branch`, `hf` or `state-dict`.
    pub start: &'static str,
    /// The run it branches from.
    pub parent: Option<Parent>,
}

/// An error if the recipe is one that continues another run: `temper train` starts one.
pub(crate) fn refuse_base(recipe: &Recipe, out: &Path) -> Result<()> {
    let Some(base) = spec::base_of(recipe)? else { return Ok(()) };
    let why = format!("this recipe continues a run of {base}; it does not start one");
    let (name, out) = (recipe.name(), out.display());
    let hint = format!("train `{base}` first, then branch `{name}` from that run into `{out}`");
    Err(recipe.problem("base", why).hint(hint))
}

/// An error if the recipe of a branch says where first weights come from: they are the base's.
///
/// # Errors
/// A recipe with `init.from`, or one whose value cannot be read.
pub fn refuse_init(recipe: &Recipe) -> Result<()> {
    let Some(from) = spec::weights_from(recipe)? else { return Ok(()) };
    let why = format!("a branch begins with the weights of its base, not with those of {from}");
    let hint = format!("leave init.from out, or train `{}`, which begins there", recipe.name());
    Err(recipe.problem("init.from", why).hint(hint))
}

/// The record of a run that resumes from the checkpoint of `state`. It drops what came after that checkpoint.
/// `info` is how the run began, `phases` are as those of [`begin_record`]: if the run gets a later end, the record gets the phases up to it.
pub(crate) fn resume_record(
    run: &RunDir,
    named: &RunRef,
    state: &State,
    lengths: &Lengths,
    info: &RunInfo,
    phases: &[(&'static str, u64, u64)],
    listener: &dyn Listener,
) -> Result<Recorder> {
    if named.at != At::Last {
        for step in discard_after(run, state.step)? {
            listener.say(&format_args!("removed the checkpoint of step {step}, which comes after the one resumed"));
        }
    }
    let mut recorder = Recorder::resume(run, state.metrics_bytes)?;
    listener.keep_log(&run.log())?;
    // What the record says from here on: an end given before may have been cut off with what came after the checkpoint.
    let series = RunSeries::without_steps(run)?;
    let until = (planned_end(run, &series)? != lengths.stop).then_some(lengths.stop);
    recorder.record(&Event::Resume { step: state.step, tokens: state.tokens, time: now(), until })?;
    if until.is_some() {
        let known = series.phases.last().map_or(0, |phase| phase.last_step);
        record_phases(&mut recorder, lengths, phases, info.first_step, known)?;
    }
    listener.say(&format_args!("{}: resuming after step {} of {}", run.path().display(), state.step, lengths.stop));
    Ok(recorder)
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

/// Writes what a run directory holds from the beginning, and the first lines of its record. `phases` (name, first and last update) are
/// the phases of the run; if there are none, the learning rate's are.
#[allow(clippy::too_many_arguments)]
pub(crate) fn begin_record(
    run: &RunDir,
    recipe: &Recipe,
    lengths: &Lengths,
    state: &State,
    about: About,
    phases: &[(&'static str, u64, u64)],
    listener: &dyn Listener,
) -> Result<Recorder, Problems> {
    if let Some(max_steps) = lengths.beyond {
        let (end, more) = (lengths.planned, max_steps - lengths.planned);
        let why = format!("max_steps asks for {more} updates more than the recipe has: the run ends at update {end}");
        listener.warn(&why, Some("max_steps only ends a run earlier; run.horizon makes it longer"));
    }
    write_whole(&run.recipe(), source_text(recipe).as_bytes())?;
    write_whole(&run.resolved(), recipe.to_toml().as_bytes())?;
    let version = env!("CARGO_PKG_VERSION");
    let Caller { commit, command } = listener.caller();
    let environment = Env::collect(version, commit.as_deref(), rayon::current_num_threads(), command);
    environment.write(run)?;
    listener.keep_log(&run.log())?;
    let mut recorder = Recorder::create(run)?;
    let updates = lengths.stop - state.step;
    recorder.record(&Event::Start(RunInfo {
        task: about.task.into(),
        recipe: recipe.name().into(),
        seed: about.seed,
        steps: lengths.stop,
        end: if lengths.cut { lengths.planned } else { 0 },
        tokens: state.tokens + updates * lengths.tokens_per_step,
        first_step: state.step,
        first_tokens: state.tokens,
        parameters: about.parameters,
        start: about.start.into(),
        parent: about.parent,
        version: version.into(),
        commit,
        time: now(),
    }))?;
    record_phases(&mut recorder, lengths, phases, state.step, state.step)?;
    Ok(recorder)
}

/// Records the phases of a run that began at update `begin`, from the one on that ends behind update `known`.
fn record_phases(
    recorder: &mut Recorder,
    lengths: &Lengths,
    phases: &[(&'static str, u64, u64)],
    begin: u64,
    known: u64,
) -> Result<()> {
    let bands = lengths.schedule.bands(lengths.stop);
    let bands = bands.iter().map(|band| (band.name.as_str(), band.first, band.last));
    let bands: Vec<_> = if phases.is_empty() { bands.collect() } else { phases.to_vec() };
    for (name, first, last_step) in bands.into_iter().filter(|(_, _, last)| *last > known) {
        let first_step = first.max(begin + 1);
        recorder.record(&Event::Phase { name: name.to_string(), first_step, last_step })?;
    }
    Ok(())
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

/// The recipe as the user gave it, with the overrides ahead of it.
fn source_text(recipe: &Recipe) -> String {
    let overrides: Vec<_> = recipe
        .overridden()
        .into_iter()
        .filter_map(|key| Some(format!("# {} {key}={}\n", Origin::Set, recipe.get(key)?.value)))
        .collect();
    overrides.concat() + &recipe.text_as_written().map_or_else(|| recipe.to_toml(), str::to_owned)
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
