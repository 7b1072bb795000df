//! An image classifier as the task of a run.

use burn::tensor::Device;
use temper_base::Result;
use temper_bounds::boxes;
use temper_data::images::{Augment, Epochs, Images};
use temper_model::image::PooledMoments;
use temper_model::image::Statistics;
use temper_model::{Classifier, parameter};
use temper_record::checkpoint::Checkpoint;
use temper_record::event::Values;
use temper_record::run::RunDir;
use temper_schedule::EpsSchedule;
use temper_train::checkpoint::State;
use temper_train::optimizer::Optimizer;
use temper_train::ranks::Ranks;
use temper_train::shards::cut;
use temper_train::trainer::{MayBegin, Task};

use super::cascade::{AtTheEnd, cascade};
use super::checkpoint;
use super::cost;
use super::evaluate::{EvalSettings, evaluate};
use super::method::Method;
use super::radius::EpsAt;
use super::step::{self, Accumulation, Batch, PieceMoments, Update, gather_moments, train_step};

/// The name of the test set.
pub(crate) const TEST: &str = "test";

/// Images that begin to say how fast this machine is, where nothing else does; batch norms need two.
const SAMPLED: usize = 2;

/// Everything that decides the updates of an image classifier.
pub struct CertifyTask {
    /// The network.
    pub net: Classifier,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// What is trained on.
    pub train: Images,
    /// Its order.
    pub epochs: Epochs,
    /// Images of one update.
    pub batch: usize,
    /// Augmentation: random flips.
    pub flip: bool,
    /// Augmentation: pixels of padding before a random crop; 0 for none.
    pub crop: usize,
    /// What is trained against.
    pub method: Method,
    /// Radius by update.
    pub eps: EpsSchedule,
    /// How batches are cut into pieces.
    pub accumulation: Accumulation,
    /// Take the running statistics anew over the training set before each evaluation.
    pub precise_batch_norm: bool,
    /// Sets to evaluate on, by name; the best checkpoint is chosen on the first.
    pub sets: Vec<(String, Images)>,
    /// How they are evaluated.
    pub eval: EvalSettings,
    /// The update after which all stages are run on the first images of the test set, and on how many; `None` if on none.
    pub at_the_end: Option<(u64, AtTheEnd)>,
    /// Of augmentation and of attacks that are trained against.
    pub seed: u64,
    /// Where it runs.
    pub device: Device,
    /// The ranks that make updates and evaluations together.
    pub ranks: Ranks,
    /// The step for which statistics were last taken anew.
    pub fresh_statistics: Option<u64>,
}

impl Task for CertifyTask {
    const RATE: &'static str = "images_per_s";

    fn sample(&self, state: &State, times: usize, interrupted: &dyn Fn() -> bool) -> Result<Option<f64>> {
        if interrupted() {
            return Ok(None);
        }
        let (batch, radius) = (self.next_batch(state), self.radius(state.step + 1));
        let piece = batch.labels.len().div_ceil(self.accumulation.parts());
        let images = times.saturating_mul(SAMPLED).min(piece);
        Ok(Some(step::sample(&self.net, &batch, &self.method, &radius, images, &self.device)))
    }

    fn update(&mut self, n: u64, lr: f64, state: &mut State, may_begin: &MayBegin) -> Result<Option<Values>> {
        let (batch, radius) = (self.next_batch(state), self.radius(n));
        let Self { ref method, accumulation, seed, .. } = *self;
        let update = Update { batch: &batch, method, radius: &radius, accumulation, lr, step: n, seed };
        let metrics =
            train_step(&mut self.net, &mut self.optimizer, update, self.ranks.group(), may_begin, &self.device)?;
        let Some(metrics) = metrics else { return Ok(None) };
        state.tokens += batch.labels.len() as u64;
        state.samples += 1;
        state.updates = self.optimizer.updates;
        let mut values = Values::new().with("loss", metrics.loss).with("lr", lr).with("eps", radius.eps);
        values.set("grad_norm", metrics.grad_norm);
        let attacked = self.method.attack_steps(&radius) > 0;
        values.set(if attacked { "adversarial_loss" } else { "clean_loss" }, metrics.clean_loss);
        let terms = [
            ("robust_loss", metrics.robust_loss),
            ("tightness", metrics.tightness),
            ("relu_balance", metrics.relu_balance),
        ];
        for (name, value) in terms {
            if let Some(value) = value {
                values.set(name, value);
            }
        }
        if self.method.regularised(&radius) {
            values.set("weight", radius.weight);
        }
        Ok(Some(values))
    }

    fn sets(&self) -> Vec<String> {
        self.sets.iter().map(|(name, _)| name.clone()).collect()
    }

    fn evaluate(&mut self, index: usize, state: &State, interrupted: &dyn Fn() -> bool) -> Result<Option<Values>> {
        if self.precise_batch_norm && state.step > 0 && self.fresh_statistics != Some(state.step) {
            if !self.take_statistics(interrupted)? {
                return Ok(None);
            }
            self.fresh_statistics = Some(state.step);
        }
        let (name, images) = &self.sets[index];
        // The radius of the update that was made last: what the network has been trained for so far.
        let current = self.eps.at(state.step);
        let Self { net, eval, device, ranks, .. } = self;
        let group = ranks.group();
        let eps = self.eps.target;
        let values = evaluate(net, name, images, eps, current, eval, group, interrupted, device)?;
        let at_the_end = self.at_the_end.filter(|(step, _)| *step == state.step && name == TEST);
        let (Some(mut values), Some((_, asked))) = (values.clone(), at_the_end) else { return Ok(values) };
        let found = cascade(net, name, images, eps, asked, eval, group, interrupted, device)?;
        Ok(found.map(|found| {
            found.iter().for_each(|(name, value)| values.set(name, value));
            values
        }))
    }

    fn judged_by(&self, state: &State) -> Option<(String, &'static str)> {
        // Only checkpoints that were trained at the target can be the best.
        let ready = state.step > 0 && self.eps.at(state.step) >= self.eps.target;
        self.sets.first().filter(|_| ready).map(|(name, _)| (name.clone(), "certified_error"))
    }

    fn checkpoint_bytes(&self) -> u64 {
        cost::checkpoint_bytes(&self.net.config)
    }

    fn save(&self, run: &RunDir, state: &State) -> Result<Checkpoint> {
        checkpoint::write(run, state, &self.net, &self.optimizer)
    }

    fn first_bad_weight(&self) -> Option<(String, usize, f32)> {
        parameter::first_non_finite(&self.net)
    }
}

impl CertifyTask {
    /// The batch of the next update.
    fn next_batch(&self, state: &State) -> Batch {
        let step = state.samples;
        let (epoch, place) = self.epochs.locate(step);
        let augment = Augment { flip: self.flip, pad: self.crop, seed: self.seed, step };
        let (pixels, labels) = self.train.batch(&self.epochs.indices(epoch, place), Some(&augment));
        Batch { pixels, labels }
    }

    /// What update `n` is made at.
    fn radius(&self, n: u64) -> EpsAt {
        EpsAt { eps: self.eps.at(n), target: self.eps.target, weight: self.eps.weight(n, self.method.lambda) }
    }

    /// Running statistics over the whole training set, without augmentation (precise batch norm, Wu and Johnson 2021).
    /// False if it was interrupted; the statistics are then as they were. Each rank takes neighbouring batches, and those of all are pooled in
    /// their order.
    fn take_statistics(&mut self, interrupted: &dyn Fn() -> bool) -> Result<bool> {
        let ([c, h, w], group, like) = (self.net.config.input, self.ranks.group(), self.net.running());
        let indices: Vec<u32> = (0..self.train.len() as u32).collect();
        let batches: Vec<&[u32]> = indices.chunks(self.batch).collect();
        let own = batches[cut(batches.len(), group.size(), group.rank())].iter().map(|indices| {
            if interrupted() {
                return None;
            }
            let (pixels, labels) = self.train.batch(indices, None);
            let shape = [labels.len(), c, h, w];
            let x = boxes::clean(&pixels, shape, &self.net.mean, &self.net.std, &self.device);
            let moments = self.net.trace(x, Statistics::Batch).moments;
            Some(PieceMoments { images: labels.len(), moments })
        });
        let Some(pieces) = gather_moments(own.collect(), &like, group)? else { return Ok(false) };
        let mut pool = PooledMoments::default();
        pieces.iter().for_each(|piece| pool.add(&piece.moments, &self.net.batch_norm_counts(piece.images)));
        let moments = pool.moments(&self.device);
        if !moments.is_empty() {
            self.net.set_running(&moments);
        }
        Ok(true)
    }
}
