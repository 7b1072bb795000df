//! The training loop: the algorithm of a run on one screen, everything else told by events.
//!
//! What is trained, and how one update is made, is a [`Task`]; this is the rest: when to evaluate, to take a checkpoint,
//! to stop.

use std::time::{Duration, Instant};

use temper_record::checkpoint::{Best, Checkpoint, prune};
use temper_record::event::{Event, Values};
use temper_record::run::RunDir;
use temper_record::sink::Recorder;
use temper_record::{Problem, Result, RunSeries};
use temper_schedule::Schedule;

use crate::checkpoint::State;

/// What a run trains: a model with its optimiser and data.
pub trait Task {
    /// The name of the metric that says how many tokens or images a second are trained on.
    const RATE: &'static str;

    /// Makes update `n` with learning rate `lr`, and moves every clock of `state` but `step`. Metrics of the update.
    fn update(&mut self, n: u64, lr: f64, state: &mut State) -> Result<Values>;

    /// The names of the validation sets, in their order.
    fn sets(&self) -> Vec<String>;

    /// The metrics of validation set `index`.
    fn evaluate(&mut self, index: usize, state: &State) -> Result<Values>;

    /// Averages over all sets, if there is more than one: their names and metrics.
    fn averages(&self) -> Vec<(&'static str, Values)> {
        Vec::new()
    }

    /// The set and metric whose lowest value marks the best checkpoint, if one is to be kept at this point of the run.
    fn judged_by(&self, state: &State) -> Option<(String, &'static str)>;

    /// Writes a checkpoint.
    fn save(&self, run: &RunDir, state: &State) -> Result<Checkpoint>;

    /// The first entry of a weight that is not finite: tensor, index, value.
    fn first_bad_weight(&self) -> Option<(String, usize, f32)>;
}

/// When things happen in a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The update after which the run is complete.
    pub stop: u64,
    /// Updates between evaluations; there is one before the first update and one at the end.
    pub eval_every: u64,
    /// Updates between checkpoints; there is one before the first update and one at the end.
    pub checkpoint_every: u64,
    /// Keep the last so many checkpoints.
    pub keep_last: usize,
    /// Keep checkpoints at multiples of this many updates; 0 for none.
    pub keep_every: u64,
    /// Take checkpoints after these updates, and keep them.
    pub keep_at: Vec<u64>,
    /// Stop with a checkpoint before this moment.
    pub deadline: Option<Instant>,
}

/// Why a run stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// A signal of this number.
    Signal(i32),
    /// The time that was given is over.
    TimeLimit,
}

/// How the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All updates are made.
    Done,
    /// A checkpoint was taken; `temper resume` goes on.
    Stopped(Interrupt),
}

/// Whoever looks on: hears every event, may ask the loop to stop.
pub trait Watch {
    /// Something happened.
    fn event(&mut self, event: &Event);
    /// A part of the evaluation before or between updates begins: the set's name.
    fn evaluating(&mut self, _set: &str) {}
    /// Updates whose checkpoints are to be kept besides [`Settings::keep_at`]; asked after every update.
    fn keep_at(&self) -> Vec<u64> {
        Vec::new()
    }
    /// The signal that arrived, if one did.
    fn signal(&self) -> Option<i32>;
}

/// The time that a run has taken, all sessions together.
#[derive(Clone, Copy)]
struct Clock {
    begun: Instant,
    /// Seconds of the sessions before.
    earlier: f64,
}

impl Clock {
    fn seconds(self) -> f64 {
        self.earlier + self.begun.elapsed().as_secs_f64()
    }
}

/// A run in memory. The caller holds the run's lock.
pub struct Trainer<T> {
    /// Where it is written.
    pub run: RunDir,
    /// What is trained.
    pub task: T,
    /// Learning rate by update.
    pub schedule: Schedule,
    /// The clocks.
    pub state: State,
    /// When things happen.
    pub settings: Settings,
    /// Where events go.
    pub recorder: Recorder,
}

impl<T: Task> Trainer<T> {
    /// Trains until the end or an interrupt. `fresh` runs are evaluated and checkpointed before the
    /// first update.
    pub fn train(&mut self, fresh: bool, watch: &mut dyn Watch) -> Result<End> {
        let clock = Clock { begun: Instant::now(), earlier: self.state.seconds };
        // What a stop needs: one more update and one checkpoint, at the slowest seen.
        let (mut slowest_step, mut slowest_save) = (Duration::ZERO, Duration::ZERO);
        if fresh {
            self.evaluate(watch, clock)?;
            slowest_save = self.save(watch, clock)?;
        } else {
            self.mark_again()?;
        }
        while self.state.step < self.settings.stop {
            let begun = Instant::now();
            self.update(watch, clock)?;
            let step = self.state.step;
            let last = step == self.settings.stop;
            if last || step.is_multiple_of(self.settings.eval_every) {
                self.evaluate(watch, clock)?;
            }
            slowest_step = slowest_step.max(begun.elapsed());
            let margin = 2 * (slowest_step + slowest_save) + Duration::from_secs(1);
            let late = self.settings.deadline.is_some_and(|deadline| Instant::now() + margin >= deadline);
            let interrupt = watch.signal().map(Interrupt::Signal).or(late.then_some(Interrupt::TimeLimit));
            let interrupt = interrupt.filter(|_| !last);
            for wanted in watch.keep_at() {
                if !self.settings.keep_at.contains(&wanted) {
                    self.settings.keep_at.push(wanted);
                }
            }
            let due = step.is_multiple_of(self.settings.checkpoint_every) || self.settings.keep_at.contains(&step);
            if last || interrupt.is_some() || due {
                slowest_save = slowest_save.max(self.save(watch, clock)?);
            }
            if let Some(interrupt) = interrupt {
                let reason = match interrupt {
                    Interrupt::Signal(2) => "interrupted (SIGINT)".to_string(),
                    Interrupt::Signal(15) => "terminated (SIGTERM)".to_string(),
                    Interrupt::Signal(n) => format!("signal {n}"),
                    Interrupt::TimeLimit => "time limit".to_string(),
                };
                self.tell(watch, Event::Stop { step, reason })?;
                return Ok(End::Stopped(interrupt));
            }
        }
        self.tell(watch, Event::Done { step: self.state.step, tokens: self.state.tokens, seconds: clock.seconds() })?;
        Ok(End::Done)
    }

    /// One update, with the learning rate that its number decides.
    fn update(&mut self, watch: &mut dyn Watch, clock: Clock) -> Result<()> {
        let begun = Instant::now();
        let (n, before) = (self.state.step + 1, self.state.tokens);
        let values = self.task.update(n, self.schedule.at(n), &mut self.state)?;
        self.state.step = n;
        let trained = (self.state.tokens - before) as f64;
        let values = values.with(T::RATE, trained / begun.elapsed().as_secs_f64()).with("seconds", clock.seconds());
        self.tell(watch, Event::Step { step: n, tokens: self.state.tokens, values })
    }

    /// Every validation set, their averages, and the mark of the best checkpoint.
    fn evaluate(&mut self, watch: &mut dyn Watch, clock: Clock) -> Result<()> {
        let (step, tokens) = (self.state.step, self.state.tokens);
        let judged_by = self.task.judged_by(&self.state);
        let mut judged = None;
        for (index, set) in self.task.sets().into_iter().enumerate() {
            watch.evaluating(&set);
            let values = self.task.evaluate(index, &self.state)?;
            if let Some((name, metric)) = judged_by.as_ref().filter(|(name, _)| *name == set) {
                judged =
                    values.get(metric).map(|value| Best { step, set: name.clone(), metric: (*metric).into(), value });
            }
            self.tell(watch, Event::Eval { step, tokens, set, values })?;
        }
        for (set, values) in self.task.averages() {
            self.tell(watch, Event::Eval { step, tokens, set: set.into(), values })?;
        }
        if let Some(judged) = judged
            && self.is_better(&judged)?
        {
            // The mark must never point at nothing: first the checkpoint, then the mark.
            self.save(watch, clock)?;
            judged.write(&self.run)?;
        }
        Ok(())
    }

    fn is_better(&self, judged: &Best) -> Result<bool> {
        Ok(Best::read(&self.run)?.is_none_or(|best| judged.value < best.value))
    }

    /// Marks the checkpoint that the run goes on from, if it is the best and the run was killed between the two.
    fn mark_again(&self) -> Result<()> {
        let Some((set, metric)) = self.task.judged_by(&self.state) else { return Ok(()) };
        let step = self.state.step;
        let series = RunSeries::read(&self.run)?;
        let value = series.evals(&set).iter().find(|point| point.step == step).and_then(|p| p.values.get(metric));
        let Some(value) = value else { return Ok(()) };
        let judged = Best { step, set, metric: metric.into(), value };
        if self.is_better(&judged)? { judged.write(&self.run) } else { Ok(()) }
    }

    /// A checkpoint of this moment, and the removal of those no longer kept. Returns how long it took.
    fn save(&mut self, watch: &mut dyn Watch, clock: Clock) -> Result<Duration> {
        let begun = Instant::now();
        let step = self.state.step;
        self.state.seconds = clock.seconds();
        self.state.metrics_bytes = self.recorder.sync()?;
        let written = self.task.save(&self.run, &self.state)?;
        let path = written.path().strip_prefix(self.run.path()).unwrap_or(written.path()).display().to_string();
        self.tell(watch, Event::Checkpoint { step, path })?;
        prune(&self.run, self.settings.keep_last, self.settings.keep_every, &self.settings.keep_at)?;
        Ok(begun.elapsed())
    }

    fn tell(&mut self, watch: &mut dyn Watch, event: Event) -> Result<()> {
        self.recorder.record(&event)?;
        watch.event(&event);
        if let Some(problem) = self.recorder.warning() {
            let warning = Event::Warning { step: self.state.step, message: problem.to_string(), hint: problem.hint };
            self.recorder.record(&warning)?;
            watch.event(&warning);
        }
        Ok(())
    }

    /// Checks that every weight is finite, before the first update.
    pub fn check_weights(&self) -> Result<()> {
        match self.task.first_bad_weight() {
            None => Ok(()),
            Some((name, i, value)) => {
                let place = format!("{name} before step {}", self.state.step + 1);
                Err(Problem::training("check weights", place, format!("entry {i} is {value}"))
                    .hint("the model that the run starts from is damaged: load another checkpoint of it"))
            }
        }
    }
}
