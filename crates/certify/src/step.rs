//! One update of certified training: clean pass and bounds in one, loss, backward, clipping, update.

use burn::tensor::{Device, Tensor};
use temper_base::Result;
use temper_bounds::attack::{Attack, AttackLoss, adversarial_images};
use temper_bounds::{boxes, losses};
use temper_model::image::Statistics;
use temper_model::{Classifier, Parameters};
use temper_ops::stack;
use temper_train::apply::{self, apply};
use temper_train::gradients::Gradients;
use temper_train::group::Alone;
use temper_train::optimizer::Optimizer;
use temper_train::trainer::MayBegin;

use super::cost::{attack_passes_of_update, passes};
use super::method::Method;
use super::methods::Bounds;
use super::radius::EpsAt;

/// Images with their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Pixels in [0, 1], `[N, C, H, W]`.
    pub pixels: Vec<f32>,
    /// One class an image.
    pub labels: Vec<u32>,
}

/// How a batch is cut into pieces whose gradients are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accumulation {
    /// Pieces of a batch.
    pub pieces: usize,
    /// Normalise each piece with the statistics of the whole batch, which a first pass without gradients takes; the
    /// gradient then does not go through them. Otherwise each piece is normalised for itself.
    pub whole_batch_statistics: bool,
}

/// What a step reports: means over the images of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StepMetrics {
    /// What was minimised.
    pub loss: f64,
    /// Cross-entropy of the clean images; of the attacked ones, where these are trained on.
    pub clean_loss: f64,
    /// Cross-entropy of the worst margins, where there are bounds.
    pub robust_loss: Option<f64>,
    /// The tightness regulariser, where it acts.
    pub tightness: Option<f64>,
    /// The ReLU-balance regulariser, where it acts.
    pub relu_balance: Option<f64>,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
}

/// What an update is made from.
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    /// The images.
    pub batch: &'a Batch,
    /// What is trained against.
    pub method: &'a Method,
    /// At which radius.
    pub radius: &'a EpsAt,
    /// How the batch is cut into pieces.
    pub accumulation: Accumulation,
    /// Its learning rate.
    pub lr: f64,
    /// Its number, from 1, which with the seed decides the random starts of an attack.
    pub step: u64,
    /// The seed of these starts.
    pub seed: u64,
}

/// One update. `None` if `may_begin` refused a part of it; network, running statistics included, and optimiser are then as
/// they were.
///
/// # Errors
/// A loss or gradient that is not finite, and where attacked images are trained on, images that do not fit the network. Weights
/// and optimiser are then as they were.
pub fn train_step(
    net: &mut Classifier,
    optimizer: &mut Optimizer,
    update: Update,
    may_begin: &MayBegin,
    device: &Device,
) -> Result<Option<StepMetrics>> {
    let running = net.running();
    let Some((mut metrics, gradients)) = loss_and_gradients(net, update, may_begin, device)? else {
        net.set_running(&running);
        return Ok(None);
    };
    let Update { lr, step, .. } = update;
    let number = apply::Update { step, lr, gentler: "eps.length" };
    metrics.grad_norm = apply(net, optimizer, &Alone, vec![gradients], metrics.loss, number)?;
    Ok(Some(metrics))
}

/// The mean loss of the batch and its gradients, summed over pieces in which every image weighs the same. The running
/// statistics of batch norms move with every piece, as in PyTorch. `None` if `may_begin` refused a part of it.
///
/// # Errors
/// Images that do not fit the network, where attacked ones are trained on.
pub fn loss_and_gradients(
    net: &mut Classifier,
    update: Update,
    may_begin: &MayBegin,
    device: &Device,
) -> Result<Option<(StepMetrics, Gradients)>> {
    let Update { batch, method, radius, accumulation, step, seed, .. } = update;
    let images = batch.labels.len();
    let size = batch.pixels.len() / images;
    let piece = images.div_ceil(accumulation.pieces.max(1));
    let whole =
        (accumulation.whole_batch_statistics && accumulation.pieces > 1).then(|| clean_moments(net, batch, device));
    if let Some(moments) = &whole {
        net.update_running(moments, &net.batch_norm_counts(images));
    }
    let mut gradients = Gradients::none(net);
    let mut metrics = StepMetrics::default();
    // A piece is an attack, where these are trained on, a forward pass, and a backward pass of twice its arithmetic.
    let passes = passes(method, radius, net.config.classes) as f64;
    let attack_part = attack_passes_of_update(method, radius) as f64 / passes;
    let forward_part = (1.0 - attack_part) / 3.0;
    let mut done = 0.0;
    for (index, labels) in batch.labels.chunks(piece).enumerate() {
        let begin = index * piece * size;
        let pixels = &batch.pixels[begin..begin + labels.len() * size];
        let share = labels.len() as f64 / images as f64;
        if attack_part > 0.0 && !may_begin(done, attack_part * share) {
            return Ok(None);
        }
        let steps = method.attack_steps(radius);
        let attacked_or_clean = if steps > 0 {
            // The network as it is evaluated, with running statistics; every update draws other random starts.
            let seed = seed ^ (step << 20);
            let attack =
                Attack { steps, seed, random_first: true, loss: AttackLoss::CrossEntropy, ..Attack::default() };
            let first = (index * piece) as u64;
            adversarial_images(net, pixels, labels, radius.eps, &attack, first, device)?
        } else {
            piece_images(net, pixels, labels, device)
        };
        done += attack_part * share;
        if !may_begin(done, forward_part * share) {
            return Ok(None);
        }
        let mut leaves = net.leaves();
        let statistics = whole.as_deref().map_or(Statistics::Batch, Statistics::Given);
        let parts = piece_loss(&leaves, attacked_or_clean, labels, method, radius, statistics);
        done += forward_part * share;
        if !may_begin(done, 2.0 * forward_part * share) {
            return Ok(None);
        }
        let mut tape = (parts.loss.clone() * share).backward();
        gradients.collect(&mut leaves, &mut tape);
        done += 2.0 * forward_part * share;
        let number = |tensor: Tensor<1>| share * f64::from(tensor.inner().into_scalar::<f32>());
        let add = |sum: &mut Option<f64>, tensor: Option<Tensor<1>>| {
            if let Some(tensor) = tensor {
                *sum = Some(sum.unwrap_or(0.0) + number(tensor));
            }
        };
        metrics.loss += number(parts.loss);
        metrics.clean_loss += number(parts.clean);
        add(&mut metrics.robust_loss, parts.robust);
        add(&mut metrics.tightness, parts.tightness);
        add(&mut metrics.relu_balance, parts.relu_balance);
        if whole.is_none() {
            let moments: Vec<_> = parts.moments.into_iter().map(Tensor::inner).collect();
            net.update_running(&moments, &net.batch_norm_counts(labels.len()));
        }
    }
    Ok(Some((metrics, gradients)))
}

/// Forward and backward pass of the first `images` of a batch, whose results are dropped: a part of an update whose time says
/// how long one takes. Returns the share of the update's arithmetic.
pub(crate) fn sample(
    net: &Classifier,
    batch: &Batch,
    method: &Method,
    radius: &EpsAt,
    images: usize,
    device: &Device,
) -> f64 {
    let (all, images) = (batch.labels.len(), images.min(batch.labels.len()));
    let pixels = &batch.pixels[..batch.pixels.len() / all * images];
    let labels = &batch.labels[..images];
    let pixels = piece_images(net, pixels, labels, device);
    drop(piece_loss(&net.leaves(), pixels, labels, method, radius, Statistics::Batch).loss.backward());
    let passes = passes(method, radius, net.config.classes) as f64;
    (1.0 - attack_passes_of_update(method, radius) as f64 / passes) * images as f64 / all as f64
}

/// The losses of a piece, on the tape.
struct Parts {
    loss: Tensor<1>,
    clean: Tensor<1>,
    robust: Option<Tensor<1>>,
    tightness: Option<Tensor<1>>,
    relu_balance: Option<Tensor<1>>,
    moments: Vec<Tensor<2>>,
}

/// The images of a piece on the device.
fn piece_images(net: &Classifier, pixels: &[f32], labels: &[u32], device: &Device) -> Tensor<4> {
    let [c, h, w] = net.config.input;
    boxes::images(pixels, [labels.len(), c, h, w], device)
}

/// The loss exactly as in arXiv 2103.17268, section 4: the robust loss where the radius is above 0 and the clean loss
/// where it is not, plus the regularisers with their weight.
fn piece_loss(
    net: &Classifier,
    pixels: Tensor<4>,
    labels: &[u32],
    method: &Method,
    radius: &EpsAt,
    statistics: Statistics,
) -> Parts {
    let x = match method.bounds(radius) {
        Some(eps) => stack::boxes(pixels, &vec![eps; labels.len()], &net.mean, &net.std),
        None => stack::clean(pixels, &net.mean, &net.std),
    };
    let trace = net.trace(x, statistics);
    let clean = losses::cross_entropy(net.logits(&trace), labels);
    let objective = method.objective.bounded().filter(|_| radius.eps > 0.0);
    let robust = objective.map(|objective| objective.robust_loss(&Bounds { net, trace: &trace, labels, radius }));
    let clean_part = objective.map_or(0.0, |objective| objective.clean_part(radius));
    let mut loss = match &robust {
        Some(robust) if clean_part > 0.0 => robust.clone() * (1.0 - clean_part) + clean.clone() * clean_part,
        Some(robust) => robust.clone(),
        None => clean.clone(),
    };
    let (mut tightness, mut relu_balance) = (None, None);
    if method.regularised(radius) {
        let radii = trace.values[0].clone().narrow(0, 2, 1);
        let moments: Vec<_> = net.config.relus().into_iter().map(|(_, value)| trace.interval_moments(value)).collect();
        tightness = method.tightness.then(|| losses::tightness(&moments, radii.clone().mean(), method.tau));
        relu_balance = method.relu_balance.then(|| losses::relu_balance(&moments, method.tau, &radii.device()));
        for term in [&tightness, &relu_balance].into_iter().flatten() {
            loss = loss + term.clone() * radius.weight;
        }
    }
    Parts { loss, clean, robust, tightness, relu_balance, moments: trace.moments }
}

/// Mean and biased variance of every batch norm for the clean images of the whole batch, off the tape.
fn clean_moments(net: &Classifier, batch: &Batch, device: &Device) -> Vec<Tensor<2>> {
    let [c, h, w] = net.config.input;
    let x = boxes::clean(&batch.pixels, [batch.labels.len(), c, h, w], &net.mean, &net.std, device);
    net.trace(x, Statistics::Batch).moments
}
