//! A language model as the task of a run.

use temper_base::{Problem, Result};
use temper_data::Stream;
use temper_model::{GptNeox, parameter};
use temper_record::checkpoint::Checkpoint;
use temper_record::event::Values;
use temper_record::run::RunDir;
use temper_train::optimizer::Optimizer;
use temper_train::ranks::Ranks;
use temper_train::trainer::{MayBegin, Task};

use crate::checkpoint::{self, State};
use crate::cost;
use crate::cost::flops_of_update;
use crate::evaluate::{EvalSet, EvalSettings, Score, evaluate_with, means_of_sets};
use crate::step::{Pieces, Update, train_step};

/// Tokens that begin to say how fast this machine is, where nothing else does.
const SAMPLED: usize = 256;

/// Everything that decides the updates of a language model.
pub struct LmTask {
    /// The model.
    pub model: GptNeox,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// Samples by number.
    pub stream: Stream,
    /// Sequences of one update.
    pub batch: usize,
    /// How an update is cut into pieces.
    pub pieces: Pieces,
    /// Validation sets.
    pub sets: Vec<EvalSet>,
    /// How to evaluate them; training has the same `seq_len`.
    pub eval: EvalSettings,
    /// Keep the checkpoint with the lowest loss on the validation set of this name.
    pub keep_best: Option<String>,
    /// Copied into every checkpoint.
    pub tokenizer: Option<Vec<u8>>,
    /// Names and contents of what else is copied into every checkpoint: the files that belong to the tokenizer.
    pub beside: Vec<(String, Vec<u8>)>,
    /// What the sets scored last.
    pub scores: Vec<Score>,
    /// The ranks that make updates and evaluations together.
    pub ranks: Ranks,
}

impl Task for LmTask {
    const RATE: &'static str = "tokens_per_s";

    fn sample(&self, state: &State, times: usize, interrupted: &dyn Fn() -> bool) -> Result<Option<f64>> {
        let (config, seq) = (&self.model.config, self.eval.seq_len);
        let tokens = times.saturating_mul(SAMPLED);
        // A part of one sequence, or several.
        let (cols, rows) = (seq.min(tokens), (tokens / seq).clamp(1, self.pieces.micro.clamp(1, self.batch)));
        let batch = self.stream.batch(state.samples, rows)?;
        let of_rows = |from: usize| -> Vec<u32> {
            batch.tokens.chunks(seq + 1).flat_map(|row| &row[from..from + cols]).copied().collect()
        };
        if self.model.token_nll_until(&of_rows(0), &of_rows(1), rows, interrupted).is_none() {
            return Ok(None);
        }
        // A backward pass is twice the arithmetic of the forward pass.
        let sampled = config.flops_per_token(cols) / 3.0 * (rows * cols) as f64;
        let flops = flops_of_update(config, seq, self.pieces.activation_checkpointing);
        Ok(Some(sampled / (flops * (self.batch * seq) as f64)))
    }

    fn update(&mut self, n: u64, lr: f64, state: &mut State, may_begin: &MayBegin) -> Result<Option<Values>> {
        let seq = self.eval.seq_len;
        let batch = self.ranks.agree(self.stream.batch(state.samples, self.batch))?;
        let update = Update { rows: &batch.tokens, seq, pieces: self.pieces, lr, step: n };
        let metrics = train_step(&mut self.model, &mut self.optimizer, update, self.ranks.group(), may_begin)?;
        let Some(metrics) = metrics else { return Ok(None) };
        state.tokens += (self.batch * seq) as u64;
        state.samples += self.batch as u64;
        state.updates = self.optimizer.updates;
        Ok(Some(Values::new().with("loss", metrics.loss).with("lr", lr).with("grad_norm", metrics.grad_norm)))
    }

    fn sets(&self) -> Vec<String> {
        self.sets.iter().map(|set| set.name.clone()).collect()
    }

    fn evaluate(&mut self, index: usize, state: &State, interrupted: &dyn Fn() -> bool) -> Result<Option<Values>> {
        let set = &self.sets[index];
        let Some(score) = evaluate_with(&self.model, &set.source, self.eval, self.ranks.group(), interrupted, &|_| {})?
        else {
            return Ok(None);
        };
        if !score.nats.is_finite() {
            let place = format!("loss on {} at step {}", set.name, state.step);
            return Err(Problem::training("evaluate", place, format!("is {}", score.loss()))
                .hint("the last checkpoint is intact: branch from it with a lower lr.peak"));
        }
        self.scores.truncate(index);
        self.scores.push(score);
        Ok(Some(score.values()))
    }

    fn averages(&self) -> Vec<(&'static str, Values)> {
        if self.scores.len() > 1 { means_of_sets(&self.scores).into() } else { Vec::new() }
    }

    fn judged_by(&self, _: &State) -> Option<(String, &'static str)> {
        self.keep_best.clone().map(|set| (set, "loss"))
    }

    fn checkpoint_bytes(&self) -> u64 {
        cost::checkpoint_bytes(&self.model.config)
    }

    fn save(&self, run: &RunDir, state: &State) -> Result<Checkpoint> {
        checkpoint::write(run, state, &self.model, &self.optimizer, self.tokenizer.as_deref(), &self.beside)
    }

    fn first_bad_weight(&self) -> Option<(String, usize, f32)> {
        parameter::first_non_finite(&self.model)
    }
}
