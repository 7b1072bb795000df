//! What a run of certified training costs before it starts: arithmetic, memory by part, disk, and time from a short
//! calibration.

use std::time::Instant;

use burn::tensor::Device;
use temper_graph::{NetworkConfig, Op};
use temper_model::image::ImageInit;
use temper_model::{Classifier, init};
use temper_train::group::Alone;
use temper_train::optimizer::{self, Optimizer};
use temper_train::shards::gradients_at_once;
use temper_train::trainer::NO_LIMIT;

use super::evaluate::EvalSettings;
use super::method::Method;
use super::radius::EpsAt;
use super::step::{Accumulation, Batch, Update, train_step};

/// Passes through the convolutions and linear layers that an image takes in one update, each of
/// [`NetworkConfig::macs`] multiply-adds. A backward pass counts twice: for the input and for the weights.
pub fn passes(method: &Method, radius: &EpsAt, classes: usize) -> u64 {
    // Clean; with bounds, the centre and the radius with |W| as well.
    let slabs = if method.bounds(radius).is_some() { 3 } else { 1 };
    let attack = attack_passes_of_update(method, radius);
    let bounded = method.objective.bounded().filter(|_| method.bounds(radius).is_some());
    let linear = bounded.map_or(0, |bounded| bounded.linear_passes(radius, classes));
    3 * slabs + attack + linear
}

/// Of those, the attack's.
pub fn attack_passes_of_update(method: &Method, radius: &EpsAt) -> u64 {
    // Every step needs the gradient of its input only.
    2 * method.attack_steps(radius) as u64
}

/// Passes of one evaluation on that many images, attacks included, of which this is the most they can take. Within the
/// ramp, images are bounded at the radius of the schedule too.
pub fn evaluation_passes(images: usize, settings: &EvalSettings, in_ramp: bool) -> u64 {
    let bounds = if in_ramp { 6 } else { 3 };
    bounds * images as u64 + attack_passes(images, settings)
}

/// Of those, the attacks': forward and backward at every step of every restart.
pub fn attack_passes(images: usize, settings: &EvalSettings) -> u64 {
    let attacked = settings.attack_images.min(images) as u64;
    attacked.saturating_mul(2 * (settings.attack_steps * settings.attack_restarts) as u64)
}

/// Memory of a training step in bytes, by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// The parameters.
    pub weights: u64,
    /// Their gradients, and those of shards that wait to be added.
    pub gradients: u64,
    /// The optimiser's two moments.
    pub moments: u64,
    /// Every layer's output for one piece of a batch, kept for the backward pass, with what linear bounds add; or those of an
    /// evaluation, whichever takes more.
    pub activations: u64,
    /// What travels backwards: gradients around the largest layer, and those of the regularisers.
    pub scratch: u64,
    /// The images themselves, a byte a pixel.
    pub images: u64,
}

impl Memory {
    /// For so many shards a batch, in pieces of `rows` images, evaluations of `eval_rows` at once, and `images` in training, held-out and test set
    /// together. Agrees with the peaks of real runs to a tenth; CROWN-IBP takes up to a sixth more.
    ///
    /// # Errors
    /// Layers that do not fit together.
    pub fn of(
        config: &NetworkConfig,
        method: &Method,
        shards: usize,
        rows: usize,
        eval_rows: usize,
        images: usize,
    ) -> temper_base::Result<Self> {
        let parameters = config.parameters().saturating_mul(4);
        let shapes = config.shapes()?;
        let size = |shape: &[usize; 3]| shape.iter().fold(1, |product: u64, n| product.saturating_mul(*n as u64));
        // A flatten gives its input another shape; everything else allocates an output.
        let kept = config.nodes.iter().zip(&shapes[1..]).filter(|(node, _)| node.op != Op::Flatten);
        let kept = kept.fold(size(&shapes[0]), |sum, (_, shape)| sum.saturating_add(size(shape)));
        let largest = shapes.iter().map(size).max().unwrap_or(0);
        let relus: u64 = config.relus().iter().map(|(_, value)| size(&shapes[*value])).sum();

        let regularised = method.tightness || method.relu_balance;
        let bounded = method.objective.bounded();
        let bounds = regularised || bounded.is_some();
        let linear = bounded.map_or(0, |bounded| bounded.kept_again(config.classes));
        let bytes = |slabs: u64, rows: usize| move |values: u64| values.saturating_mul(4 * slabs * rows as u64);
        let stacks = bytes(if bounds { 3 } else { 1 }, rows);
        let training = [
            stacks(kept.saturating_mul(1 + linear)),
            stacks(largest.saturating_mul(4).saturating_add(u64::from(regularised) * relus)),
        ];
        let stacks = bytes(3, eval_rows);
        let evaluation = [stacks(kept), stacks(largest.saturating_mul(2))];
        let total = |parts: &[u64; 2]| parts[0].saturating_add(parts[1]);
        let [activations, scratch] = if total(&training) > total(&evaluation) { training } else { evaluation };
        Ok(Memory {
            weights: parameters,
            gradients: parameters.saturating_mul(gradients_at_once(shards)),
            moments: parameters.saturating_mul(2),
            activations,
            scratch,
            images: size(&config.input).saturating_mul(images as u64),
        })
    }

    /// The sum.
    pub fn total(&self) -> u64 {
        let parts = [self.weights, self.gradients, self.moments, self.activations, self.scratch, self.images];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

/// Bytes of one checkpoint: weights and two moments in f32; running statistics, headers and small files aside.
pub fn checkpoint_bytes(config: &NetworkConfig) -> u64 {
    12 * config.parameters()
}

/// Up to this many multiply-adds an update is measured as it is: some seconds on two cores.
const DIRECT: u64 = 100_000_000_000;

/// Seconds of one update of `rows` images at `radius`, from the production step on made-up images, and on how many
/// images it was measured: fewer than `rows` where those would take long; the time is then scaled.
pub fn calibrate(
    config: &NetworkConfig,
    method: &Method,
    radius: &EpsAt,
    rows: usize,
    accumulation: Accumulation,
    device: &Device,
) -> (f64, usize) {
    let cost = config.macs().saturating_mul(passes(method, radius, config.classes)).max(1);
    // Batch norms need two images.
    let measured = ((DIRECT / cost) as usize).max(2).min(rows);
    let accumulation =
        if measured == rows { accumulation } else { Accumulation { shards: 1, pieces: 1, ..accumulation } };
    let mut net = Classifier::new(config.clone(), ImageInit::Ibp, 0, device);
    let settings = optimizer::Settings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, clip: 10.0 };
    let mut optimizer = Optimizer::new(settings, &net, device);
    let size = measured * config.input.iter().product::<usize>();
    let pixels = init::uniform(0, "calibration", 0.5, size).into_iter().map(|x| x + 0.5).collect();
    let labels = (0..measured).map(|i| (i % config.classes) as u32).collect();
    let batch = Batch { pixels, labels };
    let timed = (0..3).map(|step| {
        let clock = Instant::now();
        // Only the time matters, not what a random network learns from made-up images.
        let update = Update { batch: &batch, method, radius, accumulation, lr: 1e-6, step: step + 1, seed: 0 };
        let _ = train_step(&mut net, &mut optimizer, update, &Alone, NO_LIMIT, device);
        clock.elapsed().as_secs_f64()
    });
    (timed.fold(f64::INFINITY, f64::min) * rows as f64 / measured as f64, measured)
}
