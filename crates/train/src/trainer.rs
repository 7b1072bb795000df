//! The training loop of a language model: the algorithm on one screen, everything else told by events.

use std::time::{Duration, Instant};

use temper_data::Stream;
use temper_model::GptNeox;
use temper_record::checkpoint::{Best, prune};
use temper_record::event::{Event, Values};
use temper_record::run::RunDir;
use temper_record::sink::Recorder;
use temper_record::{Problem, Result};
use temper_schedule::Schedule;

use crate::checkpoint::{self, State};
use crate::evaluate::{EvalSet, EvalSettings, evaluate, means};
use crate::optimizer::Optimizer;
use crate::step::{Pieces, train_step};

/// Everything that decides a run besides model, data and schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Sequences of one update.
    pub batch: usize,
    /// How an update is cut into pieces.
    pub pieces: Pieces,
    /// The update after which the run is complete.
    pub stop: u64,
    /// Updates between evaluations; there is one before the first update and one at the end.
    pub eval_every: u64,
    /// How validation sets are walked through; `seq_len` is that of training too.
    pub eval: EvalSettings,
    /// Updates between checkpoints; there is one before the first update and one at the end.
    pub checkpoint_every: u64,
    /// Keep the last so many checkpoints.
    pub keep_last: usize,
    /// Keep checkpoints at multiples of this many updates; 0 for none.
    pub keep_every: u64,
    /// Keep the checkpoint with the lowest loss on the validation set of this name.
    pub keep_best: Option<String>,
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
    /// The signal that arrived, if one did.
    fn signal(&self) -> Option<i32>;
}

/// A run in memory. The caller holds the run's lock.
pub struct Trainer {
    /// Where it is written.
    pub run: RunDir,
    /// The model.
    pub model: GptNeox,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// Learning rate by update.
    pub schedule: Schedule,
    /// Samples by number.
    pub stream: Stream,
    /// Validation sets.
    pub sets: Vec<EvalSet>,
    /// Copied into every checkpoint.
    pub tokenizer: Option<Vec<u8>>,
    /// The clocks.
    pub state: State,
    /// The rest.
    pub settings: Settings,
    /// Where events go.
    pub recorder: Recorder,
}

impl Trainer {
    /// Trains until the end or an interrupt. `fresh` runs are evaluated and checkpointed before the
    /// first update.
    pub fn train(&mut self, fresh: bool, watch: &mut dyn Watch) -> Result<End> {
        let (begun, earlier) = (Instant::now(), self.state.seconds);
        // What a stop needs: one more update and one checkpoint, at the slowest seen.
        let (mut slowest_step, mut slowest_save) = (Duration::ZERO, Duration::ZERO);
        if fresh {
            self.evaluate(watch)?;
            slowest_save = self.save(watch)?;
        }
        while self.state.step < self.settings.stop {
            let clock = Instant::now();
            self.update(watch, begun, earlier)?;
            let step = self.state.step;
            let last = step == self.settings.stop;
            if last || step.is_multiple_of(self.settings.eval_every) {
                self.evaluate(watch)?;
            }
            slowest_step = slowest_step.max(clock.elapsed());
            let margin = 2 * (slowest_step + slowest_save) + Duration::from_secs(1);
            let late = self.settings.deadline.is_some_and(|deadline| Instant::now() + margin >= deadline);
            let interrupt = watch.signal().map(Interrupt::Signal).or(late.then_some(Interrupt::TimeLimit));
            let interrupt = interrupt.filter(|_| !last);
            if last || interrupt.is_some() || step.is_multiple_of(self.settings.checkpoint_every) {
                self.state.seconds = earlier + begun.elapsed().as_secs_f64();
                slowest_save = slowest_save.max(self.save(watch)?);
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
        let seconds = earlier + begun.elapsed().as_secs_f64();
        self.tell(watch, Event::Done { step: self.state.step, tokens: self.state.tokens, seconds })?;
        Ok(End::Done)
    }

    /// One update, with the batch and the learning rate that its number decides.
    fn update(&mut self, watch: &mut dyn Watch, begun: Instant, earlier: f64) -> Result<()> {
        let clock = Instant::now();
        let (n, seq) = (self.state.step + 1, self.settings.eval.seq_len);
        let lr = self.schedule.at(n);
        let batch = self.stream.batch(self.state.samples, self.settings.batch)?;
        let outcome =
            train_step(&mut self.model, &mut self.optimizer, &batch.tokens, seq, lr, self.settings.pieces, n)?;
        let tokens = (self.settings.batch * seq) as u64;
        self.state.step = n;
        self.state.tokens += tokens;
        self.state.samples += self.settings.batch as u64;
        self.state.updates = self.optimizer.updates;
        let values = Values::new()
            .with("loss", outcome.loss)
            .with("lr", lr)
            .with("grad_norm", outcome.grad_norm)
            .with("tokens_per_s", tokens as f64 / clock.elapsed().as_secs_f64())
            .with("seconds", earlier + begun.elapsed().as_secs_f64());
        self.tell(watch, Event::Step { step: n, tokens: self.state.tokens, values })
    }

    /// Every validation set, and the two averages if there are several.
    fn evaluate(&mut self, watch: &mut dyn Watch) -> Result<()> {
        let (step, tokens) = (self.state.step, self.state.tokens);
        let mut scores = Vec::with_capacity(self.sets.len());
        for i in 0..self.sets.len() {
            let set = self.sets[i].name.clone();
            watch.evaluating(&set);
            let score = evaluate(&self.model, &self.sets[i].source, self.settings.eval)?;
            if !score.nats.is_finite() {
                return Err(Problem::training(
                    "evaluate",
                    format!("loss on {set} at step {step}"),
                    format!("is {}", score.loss()),
                )
                .hint("the last checkpoint is intact; look at its weights with `temper inspect`, or lower lr.peak"));
            }
            scores.push(score);
            self.tell(watch, Event::Eval { step, tokens, set, values: score.values() })?;
        }
        if scores.len() > 1 {
            for (set, values) in means(&scores) {
                self.tell(watch, Event::Eval { step, tokens, set: set.into(), values })?;
            }
        }
        let judged = self.settings.keep_best.as_ref();
        if let Some(at) = judged.and_then(|name| self.sets.iter().position(|set| set.name == *name)) {
            let best = Best::read(&self.run)?;
            if best.is_none_or(|best| scores[at].loss() < best.value) {
                // The mark must never point at nothing: first the checkpoint, then the mark.
                self.save(watch)?;
                let set = self.sets[at].name.clone();
                Best { step, set, metric: "loss".into(), value: scores[at].loss() }.write(&self.run)?;
            }
        }
        Ok(())
    }

    /// A checkpoint of this moment, and the removal of those no longer kept. Returns how long it took.
    fn save(&mut self, watch: &mut dyn Watch) -> Result<Duration> {
        let clock = Instant::now();
        let step = self.state.step;
        self.state.metrics_bytes = self.recorder.sync()?;
        let written =
            checkpoint::write(&self.run, &self.state, &self.model, &self.optimizer, self.tokenizer.as_deref())?;
        let path = written.path().strip_prefix(self.run.path()).unwrap_or(written.path()).display().to_string();
        self.tell(watch, Event::Checkpoint { step, path })?;
        prune(&self.run, self.settings.keep_last, self.settings.keep_every, &[])?;
        Ok(clock.elapsed())
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
        let mut bad = None;
        self.model.clone().visit(&mut |name, parameter| {
            if bad.is_none()
                && let Some((i, value)) = parameter.to_vec().iter().enumerate().find(|(_, value)| !value.is_finite())
            {
                bad = Some((name.to_string(), i, *value));
            }
        });
        match bad {
            None => Ok(()),
            Some((name, i, value)) => {
                let place = format!("{name} before step {}", self.state.step + 1);
                Err(Problem::training("check weights", place, format!("entry {i} is {value}"))
                    .hint("the model that the run starts from is damaged: load another checkpoint of it"))
            }
        }
    }
}
