//! Reading a run back: `metrics.jsonl` as series per metric, for tables and figures.
//!
//! A last line that was cut off by a kill is left out; anything else that is not an event is an error with its line number.
//!
//! The memory is bounded, however long the run: where there are more than [`MOST_STEPS`] updates, neighbours are merged (see
//! [`RunSeries::merged`]). Tables and claims are about evaluations, all of which are kept.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::checkpoint::Best;
use crate::env::Env;
use crate::event::{CERTIFY, Event, RunInfo, Values};
use crate::metric;
use crate::run::RunDir;
use temper_base::problem::{Problem, Result};

/// Points that the updates of a run are kept as, at most.
pub const MOST_STEPS: usize = 8192;

/// Everything a run has recorded, sorted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunSeries {
    /// Name of the run: the last component of its directory.
    pub name: String,
    /// What was known when it started.
    pub info: RunInfo,
    /// Where it ran, if `env.json` is there.
    pub env: Option<Env>,
    /// Which checkpoint is marked best, if one is.
    pub best: Option<Best>,
    /// Phases of the schedule, in order.
    pub phases: Vec<Phase>,
    /// One point an update, or one for every [`merged`](Self::merged) of them.
    pub steps: Vec<StepPoint>,
    /// Updates that a point of [`steps`](Self::steps) is made of, the last one aside: 0 or 1 unless the run is long.
    pub merged: u64,
    /// Evaluations by validation set, in order of first appearance.
    pub evals: Vec<(String, Vec<EvalPoint>)>,
    /// Warnings, in order.
    pub warnings: Vec<String>,
    /// Why it stopped early, if it did and was not resumed since.
    pub stopped: Option<String>,
    /// The update at which it is to end instead of [`RunInfo::steps`], if it was resumed with another end.
    pub until: Option<u64>,
    /// Seconds of training, once the run is complete.
    pub done: Option<f64>,
}

/// A phase of the schedule, both steps included.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// First update that belongs to it.
    pub first_step: u64,
    /// Last update that belongs to it.
    pub last_step: u64,
}

/// The metrics of one update, or of several that lie beside each other.
#[derive(Debug, Clone, PartialEq)]
pub struct StepPoint {
    /// Number of the update, from 1; of several, the last.
    pub step: u64,
    /// Tokens trained on, this update included.
    pub tokens: u64,
    /// The metrics.
    pub values: Values,
    /// How many updates the point is made of.
    pub updates: u64,
}

impl StepPoint {
    /// Takes in what follows: the point is then at the later update, with the mean of every metric over all its updates, but for
    /// the schedule's and the clocks', which are the later ones.
    fn merge(&mut self, later: Self) {
        let (n, m) = (self.updates as f64, later.updates as f64);
        let mut values = later.values;
        for (name, before) in self.values.iter() {
            match values.get(name) {
                None => values.set(name, before),
                Some(_) if metric::named(name).of_the_last => {}
                Some(after) => values.set(name, (before * n + after * m) / (n + m)),
            }
        }
        *self = Self { step: later.step, tokens: later.tokens, values, updates: self.updates + later.updates };
    }
}

/// The metrics of one set at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalPoint {
    /// Updates made before.
    pub step: u64,
    /// Tokens trained on before.
    pub tokens: u64,
    /// The metrics.
    pub values: Values,
}

impl RunSeries {
    /// Reads the record of a run.
    ///
    /// # Errors
    /// If `metrics.jsonl` cannot be read, one of its lines is damaged, or updates are out of order.
    pub fn read(run: &RunDir) -> Result<Self> {
        Self::read_where(run, true)
    }

    /// As [`read`](Self::read), but without the updates' metrics, which are most of a long record: [`steps`](Self::steps) is empty.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn without_steps(run: &RunDir) -> Result<Self> {
        Self::read_where(run, false)
    }

    fn read_where(run: &RunDir, steps: bool) -> Result<Self> {
        let path = run.metrics();
        let mut series = Self { name: run.name(), ..Self::default() };
        each_event(&path, |line, event| match event {
            Event::Step { .. } if !steps => Ok(()),
            event => series.add(line, event, &path),
        })?;
        series.env = Env::read(run).ok();
        series.best = Best::read(run).ok().flatten();
        Ok(series)
    }

    /// The series of a list of events, for a run that is not on disk.
    ///
    /// # Errors
    /// If updates are out of order.
    pub fn from_events(name: impl Into<String>, events: impl IntoIterator<Item = Event>) -> Result<Self> {
        let name = name.into();
        let place = PathBuf::from(&name);
        let mut series = Self { name, ..Self::default() };
        events.into_iter().zip(1..).try_for_each(|(event, line)| series.add(line, event, &place))?;
        Ok(series)
    }

    fn add(&mut self, line: usize, event: Event, path: &Path) -> Result<()> {
        let disorder = |what: &str, step: u64, last: u64| {
            let place = format!("{}:{line}", path.display());
            Problem::input("read metrics", place, format!("{what} {step} comes after {what} {last}"))
                .hint("metrics.jsonl has been changed, or two runs were written into one directory")
        };
        let run = self;
        {
            match event {
                Event::Start(info) => run.info = info,
                Event::Phase { name, first_step, last_step } => match run.phases.last_mut() {
                    // The run was given a later end: the phase that was cut continues.
                    Some(last) if last.name == name && last.first_step == first_step => last.last_step = last_step,
                    _ => run.phases.push(Phase { name, first_step, last_step }),
                },
                Event::Step { step, tokens, values } => {
                    if let Some(last) = run.steps.last().filter(|last| last.step >= step) {
                        return Err(disorder("step", step, last.step));
                    }
                    run.push(StepPoint { step, tokens, values, updates: 1 });
                }
                Event::Eval { step, tokens, set, values } => {
                    let at = run.evals.iter().position(|(name, _)| *name == set).unwrap_or_else(|| {
                        run.evals.push((set.clone(), Vec::new()));
                        run.evals.len() - 1
                    });
                    let points = &mut run.evals[at].1;
                    if let Some(last) = points.last().filter(|last| last.step >= step) {
                        return Err(disorder(&format!("evaluation of {set} at step"), step, last.step));
                    }
                    points.push(EvalPoint { step, tokens, values });
                }
                Event::Warning { message, .. } => run.warnings.push(message),
                Event::Stop { reason, .. } => run.stopped = Some(reason),
                Event::Resume { until, .. } => {
                    run.stopped = None;
                    run.until = until.or(run.until);
                }
                Event::Done { seconds, .. } => (run.done, run.stopped) = (Some(seconds), None),
                Event::Checkpoint { .. } => {}
            }
        }
        Ok(())
    }

    /// Adds an update. Once there are too many points, every two become one, and so do later ones.
    fn push(&mut self, point: StepPoint) {
        let every = self.merged.max(1);
        match self.steps.last_mut() {
            Some(last) if last.updates < every => last.merge(point),
            _ => self.steps.push(point),
        }
        if self.steps.len() > MOST_STEPS {
            let mut old = std::mem::take(&mut self.steps).into_iter();
            while let Some(mut point) = old.next() {
                if let Some(next) = old.next() {
                    point.merge(next);
                }
                self.steps.push(point);
            }
            self.merged = every * 2;
        }
    }

    /// Whether it trained an image classifier.
    pub fn is_certify(&self) -> bool {
        self.info.task == CERTIFY
    }

    /// The evaluations of one set; none if there is no such set.
    pub fn evals(&self, set: &str) -> &[EvalPoint] {
        self.evals.iter().find(|(name, _)| name == set).map_or(&[], |(_, points)| points)
    }

    /// Names of the validation sets, averages included, in order of first appearance.
    pub fn sets(&self) -> impl Iterator<Item = &str> {
        self.evals.iter().map(|(name, _)| name.as_str())
    }

    /// A metric of the evaluations of one set: `(tokens, value)`.
    pub fn eval_metric(&self, set: &str, metric: &str) -> Vec<(u64, f64)> {
        self.evals(set).iter().filter_map(|p| Some((p.tokens, p.values.get(metric)?))).collect()
    }

    /// A metric of the updates: `(tokens, value)`.
    pub fn step_metric(&self, metric: &str) -> Vec<(u64, f64)> {
        self.steps.iter().filter_map(|p| Some((p.tokens, p.values.get(metric)?))).collect()
    }

    /// Updates made so far, those before a branch included.
    pub fn last_step(&self) -> u64 {
        self.steps.last().map_or(self.info.first_step, |p| p.step)
    }

    /// Tokens trained on so far, those before a branch included.
    pub fn last_tokens(&self) -> u64 {
        self.steps.last().map_or(self.info.first_tokens, |p| p.tokens)
    }
}

/// All events of a `metrics.jsonl`, without a last line that was cut off.
///
/// # Errors
/// If the file cannot be read, or a line before the last is damaged.
pub fn read_events(path: &Path) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    each_event(path, |_, event| {
        events.push(event);
        Ok(())
    })?;
    Ok(events)
}

/// Hands over every event of a `metrics.jsonl` with its line number, one after the other, so that a long record is never in memory as a whole.
/// A last line that was cut off is left out.
///
/// # Errors
/// If the file cannot be read, or a line before the last is damaged; and whatever `each` answers.
pub fn each_event(path: &Path, mut each: impl FnMut(usize, Event) -> Result<()>) -> Result<()> {
    let io = |e: std::io::Error| Problem::io("read metrics", path, &e);
    let mut file = BufReader::with_capacity(1 << 18, File::open(path).map_err(io)?);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if file.read_until(b'\n', &mut line).map_err(io)? == 0 {
            break;
        }
        let event = std::str::from_utf8(&line).map_err(|e| e.to_string()).and_then(Event::from_line);
        match event {
            Ok(event) => each(number, event)?,
            // Only the last line can lack its end.
            Err(_) if !line.ends_with(b"\n") => {}
            Err(why) => {
                return Err(Problem::input("read metrics", format!("{}:{number}", path.display()), why)
                    .hint("only a cut last line is let pass; restore the file from a backup, or remove the line"));
            }
        }
    }
    Ok(())
}
