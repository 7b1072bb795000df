//! The training loop: the algorithm of a run on one screen; events report everything else.
//!
//! What is trained, and how one update is made, is a [`Task`]; this is the rest: when to evaluate, to take a checkpoint,
//! to stop.

use std::cell::{Cell, OnceCell};
use std::collections::VecDeque;
use std::path::absolute;
use std::time::{Duration, Instant};

use temper_base::files::time_of_writing;
use temper_base::{Problem, Result};
use temper_record::RunSeries;
use temper_record::checkpoint::{Best, Checkpoint, prune};
use temper_record::event::{Event, Values};
use temper_record::metric;
use temper_record::run::RunDir;
use temper_record::series::each_event;
use temper_record::sink::Recorder;
use temper_schedule::Schedule;

use crate::checkpoint::State;
use crate::ranks::{Opening, Order, Ranks};

/// Asked by a task before every part of an update that it cannot interrupt: may it begin? The first number is the share of the
/// update's arithmetic that is done, the second that of the part.
pub type MayBegin<'a> = dyn Fn(f64, f64) -> bool + 'a;

/// The answer where no time limit is: every part may begin.
pub const NO_LIMIT: &MayBegin = &|_, _| true;

/// What a run trains: a model with its optimiser and data.
pub trait Task {
    /// The name of the metric that says how many tokens or images a second are trained on.
    const RATE: &'static str;

    /// Makes a part of the next update for the time that it takes, and changes nothing: the smallest part worth a measurement, or
    /// `times` as much, but no more than can be in memory. Which share of an update's arithmetic it was. Asks `interrupted` now and
    /// then; `None` if it gave up because of the answer.
    ///
    /// # Errors
    /// Data that cannot be read.
    fn sample(&self, state: &State, times: usize, interrupted: &dyn Fn() -> bool) -> Result<Option<f64>>;

    /// Makes update `n` with learning rate `lr`, and moves every clock of `state` but `step`. Metrics of the update; `None` if
    /// `may_begin` refused a part of it, and then nothing has changed.
    ///
    /// # Errors
    /// Data that cannot be read; a loss or gradient that is not finite, and then weights and moments are as they were.
    fn update(&mut self, n: u64, lr: f64, state: &mut State, may_begin: &MayBegin) -> Result<Option<Values>>;

    /// The names of the validation sets, in their order.
    fn sets(&self) -> Vec<String>;

    /// The metrics of validation set `index`. Asks `interrupted` now and then; `None` if it gave up because of the answer.
    ///
    /// # Errors
    /// Data that cannot be read; a loss that is no number.
    fn evaluate(&mut self, index: usize, state: &State, interrupted: &dyn Fn() -> bool) -> Result<Option<Values>>;

    /// Averages over all sets, if there is more than one: their names and metrics.
    fn averages(&self) -> Vec<(&'static str, Values)> {
        Vec::new()
    }

    /// The set and metric whose best value marks the best checkpoint, if one is to be kept at this point of the run.
    fn judged_by(&self, state: &State) -> Option<(String, &'static str)>;

    /// Bytes of a checkpoint, or not much less.
    fn checkpoint_bytes(&self) -> u64;

    /// Writes a checkpoint.
    ///
    /// # Errors
    /// A file that cannot be written.
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
    /// How many of the latest checkpoints to keep.
    pub keep_last: usize,
    /// Keep checkpoints at multiples of this many updates; 0 for none.
    pub keep_every: u64,
    /// Take checkpoints after these updates, and keep them.
    pub keep_at: Vec<u64>,
    /// Stop with a checkpoint by this moment: no update begins that would end later, and an update or an evaluation that
    /// turns out to is abandoned.
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
    /// A checkpoint was taken; `temper resume` continues.
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
    /// Whether a checkpoint was asked for since the last call.
    fn checkpoint_asked(&self) -> bool {
        false
    }
    /// The signal that arrived, if one did.
    fn signal(&self) -> Option<i32>;
}

/// Nobody looks on: the run trains to its end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unattended;

impl Watch for Unattended {
    fn event(&mut self, _: &Event) {}

    fn signal(&self) -> Option<i32> {
        None
    }
}

/// Updates of earlier sittings that say how long one takes.
const LOOKED_AT: usize = 16;

/// An update is given up early only if less than this part of what it seems to need is left: early, that is a guess.
const SURELY: f64 = 0.5;

/// Up to this share of an update, the time of one is what was expected or what it now seems to be, whichever is less.
const EARLY: f64 = 0.2;

/// A part of an update that takes as long as this says how long one takes.
const SAMPLE: Duration = Duration::from_millis(200);

/// A checkpoint of so many bytes takes a while.
const LARGE: u64 = 1 << 25;

/// What one sitting knows of itself.
struct Sitting {
    begun: Instant,
    /// Seconds of the sittings before.
    earlier: f64,
    /// The slowest update and the slowest checkpoint so far: what the next one may take.
    slowest_update: Duration,
    slowest_save: Duration,
    /// The step whose checkpoint is on disk as it is now.
    saved: Option<u64>,
    /// Where the record of an abandoned evaluation begins: the next checkpoint is resumed from there, so that the
    /// evaluation is made again and stands in the record once.
    abandoned: Option<u64>,
}

impl Sitting {
    fn new(earlier: f64) -> Self {
        Self {
            begun: Instant::now(),
            earlier,
            slowest_update: Duration::ZERO,
            slowest_save: Duration::ZERO,
            saved: None,
            abandoned: None,
        }
    }

    /// The time that the run has taken, all sittings together.
    fn seconds(&self) -> f64 {
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
    /// The processes that make updates and evaluations together; this one leads them.
    pub ranks: Ranks,
}

impl<T: Task> Trainer<T> {
    /// Has the ranks that follow open the run, each with the weights of its checkpoint. Of a `fresh` run there is none yet: it is taken here,
    /// and again after the first evaluation, which says where the record then ends. `seed` is that of the order of the data, `task` what the
    /// recipe trains.
    ///
    /// # Errors
    /// A checkpoint that cannot be written; a rank that cannot open the run, or not be reached.
    pub(crate) fn assemble(&mut self, fresh: bool, seed: u64, task: &str) -> Result<()> {
        if self.ranks.size() == 1 {
            return Ok(());
        }
        if fresh {
            self.state.metrics_bytes = self.recorder.sync()?;
            self.task.save(&self.run, &self.state)?;
        }
        let path = self.run.path();
        let run = absolute(path).map_err(|cause| Problem::io("open run", path, &cause))?;
        let opening = Opening { run, step: self.state.step, stop: self.settings.stop, seed, task: task.into() };
        self.ranks.lead(&Order::Open(opening), || self.ranks.agree(Ok(())))
    }

    /// Trains until the end or an interrupt. `fresh` runs are evaluated and checkpointed before the
    /// first update; others are evaluated first if the evaluation of their step was abandoned.
    ///
    /// # Errors
    /// A number that is not finite, data that cannot be read, a file that cannot be written. The last checkpoint stays.
    pub fn train(&mut self, fresh: bool, watch: &mut dyn Watch) -> Result<End> {
        let mut sitting = Sitting::new(self.state.seconds);
        if self.settings.deadline.is_some() {
            if !fresh {
                sitting.slowest_update = self.usual_update()?;
            }
            // Smaller ones take no time worth a measurement.
            let bytes = self.task.checkpoint_bytes();
            if bytes >= LARGE {
                sitting.slowest_save = time_of_writing(self.run.path(), bytes)?;
            }
        }
        if fresh || self.take_up(watch, &mut sitting)? {
            let whole = self.evaluate(watch, &mut sitting)?;
            self.save(watch, &mut sitting)?;
            if !whole {
                return self.stop(watch, &sitting);
            }
        }
        while self.state.step < self.settings.stop {
            if self.interrupt(watch, &sitting, sitting.slowest_update).is_some() {
                self.save(watch, &mut sitting)?;
                return self.stop(watch, &sitting);
            }
            if !self.update(watch, &mut sitting)? {
                self.save(watch, &mut sitting)?;
                return self.stop(watch, &sitting);
            }
            let step = self.state.step;
            let last = step == self.settings.stop;
            let whole = if last || step.is_multiple_of(self.settings.eval_every) {
                self.evaluate(watch, &mut sitting)?
            } else {
                true
            };
            for wanted in watch.keep_at() {
                if !self.settings.keep_at.contains(&wanted) {
                    self.settings.keep_at.push(wanted);
                }
            }
            let due = step.is_multiple_of(self.settings.checkpoint_every) || self.settings.keep_at.contains(&step);
            if last || due || watch.checkpoint_asked() || !whole {
                self.save(watch, &mut sitting)?;
            }
            if !whole {
                return self.stop(watch, &sitting);
            }
        }
        let seconds = sitting.seconds();
        self.tell(watch, Event::Done { step: self.state.step, tokens: self.state.tokens, seconds })?;
        Ok(End::Done)
    }

    /// What an update took in the sittings before: the median of the last ones in the record; nothing if there are none.
    fn usual_update(&self) -> Result<Duration> {
        let (mut before, mut last) = (0, VecDeque::new());
        each_event(&self.run.metrics(), |_, event| {
            match event {
                Event::Start(info) => before = info.first_tokens,
                Event::Step { tokens, values, .. } => {
                    let seconds = values.get(T::RATE).map(|rate| tokens.saturating_sub(before) as f64 / rate);
                    before = tokens;
                    last.extend(seconds.filter(|seconds| seconds.is_finite()));
                    if last.len() > LOOKED_AT {
                        last.pop_front();
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        let mut last = Vec::from(last);
        last.sort_by(f64::total_cmp);
        let median = last.get(last.len() / 2).copied().unwrap_or_default();
        Ok(Duration::try_from_secs_f64(median).unwrap_or(Duration::MAX / 4))
    }

    /// Why the loop has to stop now, if something that takes `next` and a checkpoint cannot be done first.
    fn interrupt(&self, watch: &dyn Watch, sitting: &Sitting, next: Duration) -> Option<Interrupt> {
        let late = |deadline: Instant| {
            let over = deadline.saturating_duration_since(Instant::now()) <= next.saturating_add(sitting.slowest_save);
            over.then_some(Interrupt::TimeLimit)
        };
        watch.signal().map(Interrupt::Signal).or_else(|| self.settings.deadline.and_then(late))
    }

    /// The last words of a sitting that was interrupted; its checkpoint is written.
    fn stop(&mut self, watch: &mut dyn Watch, sitting: &Sitting) -> Result<End> {
        let interrupt = self.interrupt(watch, sitting, sitting.slowest_update).unwrap_or(Interrupt::TimeLimit);
        let mut reason = match interrupt {
            Interrupt::Signal(2) => "interrupted (SIGINT)".to_string(),
            Interrupt::Signal(15) => "terminated (SIGTERM)".to_string(),
            Interrupt::Signal(n) => format!("signal {n}"),
            Interrupt::TimeLimit => "time limit".to_string(),
        };
        if sitting.abandoned.is_some() {
            reason += "; the evaluation was abandoned, and resuming repeats it";
        }
        self.tell(watch, Event::Stop { step: self.state.step, reason })?;
        Ok(End::Stopped(interrupt))
    }

    /// One update, with the learning rate that its number decides. False if it cannot end before the deadline: then it was not
    /// made, and nothing has changed.
    fn update(&mut self, watch: &mut dyn Watch, sitting: &mut Sitting) -> Result<bool> {
        let end = self.end_of_work(sitting);
        let expected = match end {
            Some(end) if sitting.slowest_update.is_zero() => self.sample(end)?,
            _ => Some(sitting.slowest_update.as_secs_f64()),
        };
        let Some(expected) = expected else { return Ok(false) };
        let begun = Instant::now();
        let asked = OnceCell::new();
        let may_begin = |done: f64, next: f64| {
            let Some(end) = end else { return true };
            let now = Instant::now();
            // Of the first part nothing is known: 0 over 0 is no number, and the smaller of it and `expected` is `expected`.
            let seems = (now - *asked.get_or_init(|| now)).as_secs_f64() / done;
            let whole = if done < EARLY { expected.min(seems) } else { seems };
            let left = end.saturating_duration_since(now).as_secs_f64();
            left > 0.0 && whole * next <= left && whole * (1.0 - done) * SURELY <= left
        };
        let (n, before) = (self.state.step + 1, self.state.tokens);
        let Self { ranks, task, schedule, state, .. } = self;
        let made = ranks.lead(&Order::Update(n), || task.update(n, schedule.at(n), state, &may_begin))?;
        let Some(values) = made else { return Ok(false) };
        self.state.step = n;
        let trained = (self.state.tokens - before) as f64;
        let values = values.with(T::RATE, trained / begun.elapsed().as_secs_f64()).with("seconds", sitting.seconds());
        sitting.slowest_update = sitting.slowest_update.max(begun.elapsed());
        self.tell(watch, Event::Step { step: n, tokens: self.state.tokens, values })?;
        Ok(true)
    }

    /// Seconds that an update should take, from parts of one that grow until they take long enough to tell. `None` if there is no
    /// time for that before `end`.
    fn sample(&self, end: Instant) -> Result<Option<f64>> {
        let (mut times, mut before) = (1, 0.0);
        loop {
            let begun = Instant::now();
            let Some(share) = self.task.sample(&self.state, times, &too_late(Some(end)))? else { return Ok(None) };
            let took = begun.elapsed();
            if took >= SAMPLE || share <= before {
                return Ok(Some(took.as_secs_f64() / share));
            }
            (times, before) = (times.saturating_mul(2), share);
        }
    }

    /// The moment from which only a checkpoint can be taken before the deadline.
    fn end_of_work(&self, sitting: &Sitting) -> Option<Instant> {
        let now = Instant::now();
        self.settings.deadline.map(|deadline| deadline.checked_sub(sitting.slowest_save).unwrap_or(now))
    }

    /// Every validation set, their averages, and the mark of the best checkpoint. False if it was abandoned.
    fn evaluate(&mut self, watch: &mut dyn Watch, sitting: &mut Sitting) -> Result<bool> {
        let (step, tokens) = (self.state.step, self.state.tokens);
        let begin = self.recorder.position();
        let judged_by = self.task.judged_by(&self.state);
        let mut judged = None;
        for (index, set) in self.task.sets().into_iter().enumerate() {
            watch.evaluating(&set);
            let late = too_late(self.end_of_work(sitting));
            let interrupted = || watch.signal().is_some() || late();
            let Self { ranks, task, state, .. } = self;
            let made = ranks.lead(&Order::Evaluate(index), || task.evaluate(index, state, &interrupted))?;
            let Some(values) = made else {
                sitting.abandoned = Some(begin);
                return Ok(false);
            };
            if let Some((name, metric)) = judged_by.as_ref().filter(|(name, _)| *name == set) {
                judged =
                    values.get(metric).map(|value| Best { step, set: name.clone(), metric: (*metric).into(), value });
            }
            self.tell(watch, Event::Eval { step, tokens, set, values })?;
        }
        for (set, values) in self.task.averages() {
            self.tell(watch, Event::Eval { step, tokens, set: set.into(), values })?;
        }
        // The weights may have new running statistics.
        sitting.saved = None;
        if let Some(judged) = judged
            && self.is_better(&judged)?
        {
            // The mark must never point at nothing: first the checkpoint, then the mark.
            self.save(watch, sitting)?;
            judged.write(&self.run)?;
        }
        Ok(true)
    }

    fn is_better(&self, judged: &Best) -> Result<bool> {
        Ok(Best::read(&self.run)?.is_none_or(|best| metric::improves(&judged.metric, judged.value, best.value)))
    }

    /// Puts right what an end at any moment left of the checkpoint that the run is resumed from: its event, which came after the
    /// length it knows, and its mark, if it is the best. True if the evaluation of its step is missing from the record.
    fn take_up(&mut self, watch: &mut dyn Watch, sitting: &mut Sitting) -> Result<bool> {
        let step = self.state.step;
        let series = RunSeries::without_steps(&self.run)?;
        let evaluated = |set: &str| series.evals(set).iter().rfind(|point| point.step == step);
        let due = step == series.info.first_step
            || step == self.settings.stop
            || step.is_multiple_of(self.settings.eval_every);
        if due && self.task.sets().iter().any(|set| evaluated(set).is_none()) {
            return Ok(true);
        }
        sitting.saved = Some(step);
        self.tell(watch, Event::Checkpoint { step, path: Checkpoint::relative(step) })?;
        if let Some((set, metric)) = self.task.judged_by(&self.state)
            && let Some(value) = evaluated(&set).and_then(|point| point.values.get(metric))
        {
            let judged = Best { step, set, metric: metric.into(), value };
            if self.is_better(&judged)? {
                judged.write(&self.run)?;
            }
        }
        Ok(false)
    }

    /// A checkpoint of this moment, unless there is one, and the removal of those no longer kept.
    fn save(&mut self, watch: &mut dyn Watch, sitting: &mut Sitting) -> Result<()> {
        let begun = Instant::now();
        let step = self.state.step;
        if sitting.saved != Some(step) {
            self.state.seconds = sitting.seconds();
            let length = self.recorder.sync()?;
            self.state.metrics_bytes = sitting.abandoned.unwrap_or(length);
            self.task.save(&self.run, &self.state)?;
            sitting.saved = Some(step);
            self.tell(watch, Event::Checkpoint { step, path: Checkpoint::relative(step) })?;
        }
        prune(&self.run, self.settings.keep_last, self.settings.keep_every, &self.settings.keep_at)?;
        sitting.slowest_save = sitting.slowest_save.max(begun.elapsed());
        Ok(())
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
    pub(crate) fn check_weights(&self) -> Result<()> {
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

/// Says whether what lies between two of its calls would end after `end` if it were begun once more: it takes as long as it took
/// at most so far.
fn too_late(end: Option<Instant>) -> impl Fn() -> bool {
    let (last, longest) = (Cell::new(Instant::now()), Cell::new(Duration::ZERO));
    move || {
        let now = Instant::now();
        longest.set(longest.get().max(now - last.replace(now)));
        end.is_some_and(|end| end.saturating_duration_since(now) <= longest.get())
    }
}
