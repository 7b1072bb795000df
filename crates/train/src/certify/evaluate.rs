//! How good a classifier is: standard, attacked and certified error, and the state of its ReLUs.
//!
//! An image is *certified* if every lower bound of its margins is above 0, strictly, by interval bounds with running
//! statistics; a NaN certifies nothing. Errors are in per cent of the images. An image that is certified and
//! misclassified all the same is an error that stops the run, unless the two differ by rounding only; so certified error
//! >= PGD error >= standard error holds in every evaluation.
//!
//! Only the first images are attacked (`pgd_images` says how many), and of them those that an attack can turn: classified
//! right and not certified. `pgd_error` is the standard error of the whole set, and of its images of that kind the part
//! that the attack turned among those it was tried on. With all images attacked it is the PGD error itself.

use burn::tensor::{Device, Tensor};
use temper_bounds::attack::{Attack, attack_images};
use temper_bounds::boxes::{self, Images};
use temper_bounds::ibp::{LayerState, layer_states};
use temper_bounds::losses;
use temper_bounds::verdict::{ROUNDING, check_order};
use temper_model::ImageNet;
use temper_model::image::Statistics;
use temper_record::event::Values;
use temper_record::{Problem, Result};

use super::step::Batch;

/// How an evaluation is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvalSettings {
    /// Images of one pass.
    pub rows: usize,
    /// The first so many images are attacked.
    pub attack_images: usize,
    /// Steps of the attack.
    pub attack_steps: usize,
    /// Random starts of the attack.
    pub attack_restarts: usize,
    /// Seed of these starts.
    pub seed: u64,
}

/// Evaluates `net` on `batches` of images at the radius `target`, and certifies also at the radius `current` of the
/// schedule where that is another one.
pub fn evaluate(
    net: &ImageNet,
    set: &str,
    batches: impl Iterator<Item = Batch>,
    target: f64,
    current: f64,
    settings: &EvalSettings,
    device: &Device,
) -> Result<Values> {
    let [c, h, w] = net.config.input;
    let mut layers: Vec<LayerState> = Vec::new();
    let (mut images, mut wrong, mut uncertified, mut uncertified_now) = (0usize, 0usize, 0usize, 0usize);
    let (mut clean_loss, mut robust_loss) = (0.0, 0.0);
    // Images that an attack can turn, those it was tried on, and those it turned.
    let (mut open, mut tried, mut turned) = (0usize, 0usize, 0usize);
    for batch in batches {
        let rows = batch.labels.len();
        let shape = [rows, c, h, w];
        let trace =
            net.trace(boxes::boxes(&batch.pixels, shape, target, &net.mean, &net.std, device), Statistics::Running);
        let logits = net.logits(&trace);
        let margins = net.margins(&trace, &batch.labels);
        clean_loss += rows as f64 * scalar(losses::cross_entropy(logits.clone(), &batch.labels));
        robust_loss += rows as f64 * scalar(losses::robust_loss(margins.clone()));
        let (logits, margins) = (matrix(logits), matrix(margins));
        let correct = correct(&logits, &batch.labels, net.config.classes);
        let mut certified = certified(&margins, &batch.labels, net.config.classes);
        for i in 0..rows {
            if certified[i] && !correct[i] {
                contradiction(&logits, &margins, i, batch.labels[i] as usize, net.config.classes, images, set)?;
                certified[i] = false;
            }
        }
        if current < target && current > 0.0 {
            let x = boxes::boxes(&batch.pixels, shape, current, &net.mean, &net.std, device);
            let margins = net.margins(&net.trace(x, Statistics::Running), &batch.labels);
            let certified = self::certified(&matrix(margins), &batch.labels, net.config.classes);
            uncertified_now += certified.iter().filter(|certified| !**certified).count();
        }
        let states = layer_states(net, &trace);
        match layers.is_empty() {
            true => layers = states,
            false => layers.iter_mut().zip(&states).for_each(|(sum, state)| sum.add(state)),
        }
        drop(trace);
        wrong += correct.iter().filter(|correct| !**correct).count();
        uncertified += certified.iter().filter(|certified| !**certified).count();
        let hopeful: Vec<usize> = (0..rows).filter(|&i| correct[i] && !certified[i]).collect();
        open += hopeful.len();
        let attacked = settings.attack_images.saturating_sub(images);
        let chosen: Vec<usize> = hopeful.into_iter().filter(|&i| i < attacked).collect();
        tried += chosen.len();
        turned += attack_some(net, &batch, &chosen, target, images, settings, device)?;
        images += rows;
    }
    for (name, loss) in [("clean loss", clean_loss), ("robust loss", robust_loss)] {
        if loss.is_nan() {
            return Err(Problem::training("evaluate", format!("{name} on {set}"), "is not a number")
                .hint("the last checkpoint is intact: go on from it with a lower lr.peak or a longer eps.length"));
        }
    }
    let share = |count: f64| 100.0 * count / images as f64;
    let percent = |count: usize| share(count as f64);
    let (standard, certified) = (percent(wrong), percent(uncertified));
    let mut values = Values::new().with("standard_error", standard);
    if settings.attack_images > 0 && (tried > 0 || open == 0) {
        // Scaled as a count: a sum of percentages could be above the certified error by its rounding.
        let pgd = share(wrong as f64 + (open * turned) as f64 / tried.max(1) as f64);
        check_order([standard, pgd, certified], set)?;
        values.set("pgd_error", pgd);
        values.set("pgd_images", settings.attack_images.min(images) as f64);
    }
    values.set("certified_error", certified);
    let now = if current >= target {
        uncertified
    } else if current > 0.0 {
        uncertified_now
    } else {
        wrong
    };
    values.set("certified_error_current", percent(now));
    values.set("clean_loss", clean_loss / images as f64);
    values.set("robust_loss", robust_loss / images as f64);
    values.set("eps", target);
    values.set("eps_current", current);
    values.set("images", images as f64);
    for layer in layers {
        let [active, unstable, inactive] = layer.shares();
        values.set(&format!("active.{}", layer.name), active);
        values.set(&format!("unstable.{}", layer.name), unstable);
        values.set(&format!("inactive.{}", layer.name), inactive);
        values.set(&format!("width.{}", layer.name), layer.width);
    }
    Ok(values)
}

/// An error where image `i` of a batch is certified although its largest logit is another class's, by more than rounding.
fn contradiction(
    logits: &[f32],
    margins: &[f32],
    i: usize,
    label: usize,
    classes: usize,
    before: usize,
    set: &str,
) -> Result<()> {
    let row = |values: &[f32]| -> Vec<f32> { values[i * classes..(i + 1) * classes].to_vec() };
    let least = |values: Vec<f32>| {
        values.into_iter().enumerate().filter(|(j, _)| *j != label).fold(f32::INFINITY, |least, (_, v)| least.min(v))
    };
    let own = logits[i * classes + label];
    let (clean, bound) = (least(row(logits).into_iter().map(|logit| own - logit).collect()), least(row(margins)));
    if clean.abs() < ROUNDING && bound.abs() < ROUNDING {
        return Ok(());
    }
    let place = format!("image {} of {set}", before + i);
    let why = format!("it is certified with a margin of at least {bound}, but its clean margin is {clean}");
    Err(Problem::training("evaluate", place, why).hint("a bound is wrong: please report this with the run directory"))
}

/// How many of the images `chosen` of a batch an attack turns; `before` images of the set came before the batch.
fn attack_some(
    net: &ImageNet,
    batch: &Batch,
    chosen: &[usize],
    eps: f64,
    before: usize,
    settings: &EvalSettings,
    device: &Device,
) -> Result<usize> {
    if chosen.is_empty() {
        return Ok(0);
    }
    let size = net.config.input.iter().product::<usize>();
    let pixels: Vec<f32> = chosen.iter().flat_map(|&i| &batch.pixels[i * size..(i + 1) * size]).copied().collect();
    let labels: Vec<u32> = chosen.iter().map(|&i| batch.labels[i]).collect();
    let indices: Vec<u64> = chosen.iter().map(|&i| (before + i) as u64).collect();
    let images = Images { pixels: &pixels, shape: net.config.input, labels: &labels, indices: &indices };
    let EvalSettings { attack_steps: steps, attack_restarts: restarts, seed, .. } = *settings;
    let found = attack_images(net, images, eps, &Attack { steps, restarts, seed, ..Attack::default() }, device)?;
    Ok(found.iter().filter(|result| result.found()).count())
}

/// Whether the largest logit of each row is its label's; NaN is not.
pub fn correct(logits: &[f32], labels: &[u32], classes: usize) -> Vec<bool> {
    let rows = logits.chunks(classes).zip(labels);
    rows.map(|(row, &label)| {
        let own = row[label as usize];
        row.iter().enumerate().all(|(j, &value)| j == label as usize || value < own)
    })
    .collect()
}

/// Whether every margin of each row but its label's is above 0; NaN is not.
pub fn certified(margins: &[f32], labels: &[u32], classes: usize) -> Vec<bool> {
    let rows = margins.chunks(classes).zip(labels);
    rows.map(|(row, &label)| {
        row.iter().enumerate().all(|(j, &bound)| j == label as usize || (bound > 0.0 && bound.is_finite()))
    })
    .collect()
}

fn matrix(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("f32 values")
}

fn scalar(tensor: Tensor<1>) -> f64 {
    f64::from(tensor.into_scalar::<f32>())
}
