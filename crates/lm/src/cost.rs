//! What a run costs before it starts: memory by part, disk, and time from a short calibration.

use std::time::Instant;

use burn::tensor::Device;
use temper_model::init::Init;
use temper_model::{GptNeox, GptNeoxConfig};
use temper_train::group::Alone;
use temper_train::optimizer::{self, Optimizer};
use temper_train::shards::gradients_at_once;
use temper_train::trainer::{MayBegin, NO_LIMIT};

use crate::step::{Pieces, Update, train_step};

/// Memory of a training step in bytes, by part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Memory {
    /// The parameters.
    pub weights: u64,
    /// Their gradients, and those of shards that wait to be added.
    pub gradients: u64,
    /// The optimiser's two moments.
    pub moments: u64,
    /// What the backward pass of one micro-batch needs.
    pub activations: u64,
    /// A chunk of logits and scratch of the kernels.
    pub scratch: u64,
}

impl Memory {
    /// For sequences of `seq` tokens; counts what the operations of `temper-ops` save.
    pub fn of(config: &GptNeoxConfig, seq: usize, pieces: Pieces) -> Self {
        let Pieces { shards, micro, activation_checkpointing: checkpointing } = pieces;
        let parameters = config.parameters().saturating_mul(4);
        let rows = (micro * seq) as u64;
        let (d, f) = (config.d_model as u64, config.d_ff as u64);
        // Per block: its input, two normalised inputs, q k v, the attended values, the MLP before and
        // after GELU; log-sum-exp and row statistics are small beside them.
        let block = 4 * rows * (7 * d + 2 * f) + 4 * rows * (config.heads as u64 + 4);
        let layers = config.layers as u64;
        let kept = layers.saturating_mul(if checkpointing { 4 * rows * d } else { block });
        let kept = if checkpointing { kept.saturating_add(block) } else { kept };
        // Around the blocks: the last norm's input and output, the gradient of the head's input, and
        // the gradients that travel through a block.
        let around = 4 * rows * (4 * d + f);
        Memory {
            weights: parameters,
            gradients: parameters.saturating_mul(gradients_at_once(shards)),
            moments: parameters.saturating_mul(2),
            activations: kept.saturating_add(around),
            scratch: 4 * 512 * config.vocab_size as u64,
        }
    }

    /// The same on a device that is not the processor, where most operations are composed of others and keep what each of these
    /// needs. For each token two fifths more than the only peaks looked at (4 x 128, 1024 and 2048 tokens, a driver in software).
    pub fn composed(config: &GptNeoxConfig, seq: usize, pieces: Pieces) -> Self {
        let Pieces { micro, activation_checkpointing: checkpointing, .. } = pieces;
        let rows = (micro * seq) as u64;
        let (d, f) = (config.d_model as u64, config.d_ff as u64);
        // Per block: its input; of each norm the centred and the normalised rows, and its output; q k v and the attended values, these
        // twice; the MLP before and after GELU.
        let block = 4 * rows * (12 * d + 2 * f);
        let layers = config.layers as u64;
        let kept = layers.saturating_mul(if checkpointing { 4 * rows * d } else { block });
        let kept = if checkpointing { kept.saturating_add(block) } else { kept };
        // Around the blocks, and what GELU and its gradient make on their way.
        let around = 4 * rows * (4 * d + 5 * f);
        // A few tensors as large as a piece of logits or a tile of scores, and as the largest parameter while it is updated.
        let piece = |numbers: u64| 4 * numbers.min(temper_ops::composed::PIECE as u64);
        let logits = piece(rows.saturating_mul(config.vocab_size as u64));
        let scores = piece((micro * config.heads) as u64 * (seq * seq) as u64);
        let largest = 4 * d * (config.vocab_size as u64).max(f);
        let scratch = (4 * logits.max(scores)).max(5 * largest);
        Memory { activations: kept.saturating_add(around), scratch, ..Self::of(config, seq, pieces) }
    }

    /// The sum.
    pub fn total(&self) -> u64 {
        let parts = [self.weights, self.gradients, self.moments, self.activations, self.scratch];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

/// Bytes of one checkpoint: weights and two moments in f32, headers and small files aside.
pub fn checkpoint_bytes(config: &GptNeoxConfig) -> u64 {
    12 * config.parameters()
}

/// Seconds of one update, from running the production step on made-up tokens. A step that would take
/// long is measured on one sequence with one and with two blocks, and extrapolated; the second value
/// says so.
pub fn calibrate(config: &GptNeoxConfig, batch: usize, seq: usize, pieces: Pieces, device: &Device) -> (f64, bool) {
    let direct = config.flops_per_token(seq) * (batch * seq) as f64 <= DIRECT_FLOPS;
    if direct {
        return (seconds(config, batch, seq, pieces, 4, device), false);
    }
    // One sequence is one shard; adding up shards takes next to no time.
    let pieces = Pieces { shards: 1, ..pieces };
    let blocks = |layers: usize| seconds(&GptNeoxConfig { layers, ..config.clone() }, 1, seq, pieces, 2, device);
    let (one, two) = (blocks(1), blocks(2));
    let block = (two - one).max(0.0);
    ((one + block * (config.layers as f64 - 1.0)) * batch as f64, true)
}

/// Up to this many floating-point operations a step is measured as it is: seconds on two cores.
const DIRECT_FLOPS: f64 = 3e11;

/// The fastest of `steps` updates of a fresh model.
fn seconds(config: &GptNeoxConfig, batch: usize, seq: usize, pieces: Pieces, steps: u64, device: &Device) -> f64 {
    let mut model = GptNeox::new(config.clone(), Init::SmallWang, 0, device);
    let settings = optimizer::Settings { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, clip: 1.0 };
    let mut optimizer = Optimizer::new(settings, &model, device);
    let vocab = config.vocab_size as u64;
    let tokens: Vec<u32> =
        (0..(batch * (seq + 1)) as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % vocab) as u32).collect();
    let timed = (0..steps).map(|step| {
        let clock = Instant::now();
        // A random model on made-up tokens has a finite loss: nothing can fail here.
        let update = Update { rows: &tokens, seq, pieces, lr: 1e-4, step: step + 1 };
        let _ = train_step(&mut model, &mut optimizer, update, &Alone, NO_LIMIT);
        clock.elapsed().as_secs_f64()
    });
    timed.fold(f64::INFINITY, f64::min)
}

/// What parts of a forward and backward pass take of its arithmetic.
pub(crate) struct Shares {
    /// A block forwards. Its backward pass takes twice as much, and once more where the block is computed again for it.
    pub pass: f64,
    /// Unembedding and loss, whose gradients are computed with them.
    pub head: f64,
}

impl Shares {
    pub(crate) fn of(config: &GptNeoxConfig, seq: usize, activation_checkpointing: bool) -> Self {
        let flops = flops_of_update(config, seq, activation_checkpointing);
        let head = config.flops_of_head() / flops;
        let passes = if activation_checkpointing { 4.0 } else { 3.0 };
        Shares { pass: (1.0 - head) / (passes * config.layers as f64), head }
    }
}

/// Floating-point operations of one token of an update: [`GptNeoxConfig::flops_per_token`], and another pass through the blocks where
/// they are computed again.
pub(crate) fn flops_of_update(config: &GptNeoxConfig, seq: usize, activation_checkpointing: bool) -> f64 {
    let flops = config.flops_per_token(seq);
    let again = (flops - config.flops_of_head()) / 3.0;
    if activation_checkpointing { flops + again } else { flops }
}

/// How far the passes of a piece are.
pub(crate) struct Parts<'a> {
    pub done: f64,
    pub may_begin: &'a MayBegin<'a>,
}

impl Parts<'_> {
    /// Begins the next part, which is that share of the piece; `None` if it may not.
    pub(crate) fn begin(&mut self, next: f64) -> Option<()> {
        let may = (self.may_begin)(self.done, next);
        self.done += next;
        may.then_some(())
    }
}
