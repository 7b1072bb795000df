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
use temper_base::{Problem, Result};
use temper_bounds::attack::{Attack, attack_images_until, clean_margins};
use temper_bounds::boxes::{self, Images};
use temper_bounds::ibp::{LayerState, layer_states};
use temper_bounds::losses;
use temper_bounds::verdict::least_margins;
use temper_model::Classifier;
use temper_model::image::Statistics;
use temper_record::event::Values;
use temper_verify::{Arithmetic, Attacked, Engine, Verdict, certifies, check_order, decide};

use super::step::Batch;

/// How an evaluation is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvalSettings {
    /// Images of one pass.
    pub rows: usize,
    /// How many images to attack, the first ones.
    pub attack_images: usize,
    /// Steps of the attack.
    pub attack_steps: usize,
    /// Random starts of the attack.
    pub attack_restarts: usize,
    /// Seed of these starts.
    pub seed: u64,
}

/// Evaluates `net` on `batches` of images at the radius `target`, and also at the radius `current` of the schedule where
/// that is another one. It calls `interrupted` between batches and between the passes of an attack, and returns `None` once that is true.
///
/// # Errors
/// A loss that is no number, errors that are not in their order, images that do not fit the network.
#[allow(clippy::too_many_arguments)]
pub fn evaluate(
    net: &Classifier,
    set: &str,
    batches: impl Iterator<Item = Batch>,
    target: f64,
    current: f64,
    settings: &EvalSettings,
    interrupted: &dyn Fn() -> bool,
    device: &Device,
) -> Result<Option<Values>> {
    let [c, h, w] = net.config.input;
    let mut layers: Vec<LayerState> = Vec::new();
    let (mut images, mut wrong) = (0usize, 0usize);
    let (mut clean_loss, mut robust_loss) = (0.0, 0.0);
    let mut at_target = AtRadius::new(target);
    let mut at_current = (current > 0.0 && current < target).then(|| AtRadius::new(current));
    for batch in batches {
        if interrupted() {
            return Ok(None);
        }
        let rows = batch.labels.len();
        let shape = [rows, c, h, w];
        let bounds = |eps| {
            let x = boxes::boxes(&batch.pixels, shape, eps, &net.mean, &net.std, device);
            let trace = net.trace_plain(x, Statistics::Running);
            let margins = net.margins(&trace, &batch.labels);
            (trace, margins)
        };
        let (trace, margins) = bounds(target);
        let logits = net.logits(&trace);
        clean_loss += rows as f64 * scalar(losses::cross_entropy(logits.clone(), &batch.labels));
        robust_loss += rows as f64 * scalar(losses::robust_loss(margins.clone()));
        let states = layer_states(net, &trace);
        if layers.is_empty() {
            layers = states
        } else {
            layers.iter_mut().zip(&states).for_each(|(sum, state)| sum.add(state))
        }
        drop(trace);
        let clean = clean_margins(logits, &batch.labels);
        let indices = (images as u64..).take(rows).collect();
        wrong += clean.iter().filter(|clean| clean.clean_margin.is_nan() || clean.clean_margin <= 0.0).count();
        let seen = Seen { net, set, batch: &batch, indices, clean, settings, interrupted, device };
        if !at_target.add(&seen, &margins)? {
            return Ok(None);
        }
        if let Some(at_current) = &mut at_current
            && !at_current.add(&seen, &bounds(current).1)?
        {
            return Ok(None);
        }
        images += rows;
    }
    for (name, loss) in [("clean loss", clean_loss), ("robust loss", robust_loss)] {
        if loss.is_nan() {
            return Err(Problem::training("evaluate", format!("{name} on {set}"), "is not a number")
                .hint("the last checkpoint is intact: branch from it with a lower lr.peak or a longer eps.length"));
        }
    }
    let standard = 100.0 * wrong as f64 / images as f64;
    let [pgd, certified] = at_target.errors(wrong, images, settings, set)?;
    let [pgd_current, certified_current] = match &at_current {
        Some(at_current) => at_current.errors(wrong, images, settings, set)?,
        None if current >= target => [pgd, certified],
        None => [pgd.map(|_| standard), Some(standard)],
    };
    let mut values = Values::new().with("standard_error", standard);
    let errors = [
        ("pgd_error", pgd),
        ("certified_error", certified),
        ("pgd_error_current", pgd_current),
        ("certified_error_current", certified_current),
        ("pgd_images", pgd.map(|_| settings.attack_images.min(images) as f64)),
        ("rounding", Some(at_target.rounding as f64)),
    ];
    errors
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .for_each(|(name, value)| values.set(name, value));
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
    Ok(Some(values))
}

/// A batch of the evaluation, after its clean pass.
struct Seen<'a> {
    net: &'a Classifier,
    set: &'a str,
    batch: &'a Batch,
    /// The numbers of the images in their set.
    indices: Vec<u64>,
    /// Margin and class of every image.
    clean: Vec<Attacked>,
    settings: &'a EvalSettings,
    interrupted: &'a dyn Fn() -> bool,
    device: &'a Device,
}

/// A batch whose bounds at one radius are known.
struct Bounded<'a> {
    seen: &'a Seen<'a>,
    eps: f64,
    bounds: Vec<f32>,
}

impl Engine for Bounded<'_> {
    fn labels(&self) -> &[u32] {
        &self.seen.batch.labels
    }

    fn indices(&self) -> &[u64] {
        &self.seen.indices
    }

    fn bounds(&self) -> Result<Option<Vec<Option<f64>>>> {
        Ok(Some(self.bounds.iter().map(|bound| Some(f64::from(*bound))).collect()))
    }

    fn arithmetic(&self) -> Arithmetic {
        Arithmetic::Real
    }

    fn refutes(&self, _: usize, _: Option<&[f32]>) -> bool {
        true
    }

    fn clean(&self) -> Result<Option<Vec<Attacked>>> {
        Ok(Some(self.seen.clean.clone()))
    }

    /// Without the images that were found: an evaluation keeps none.
    fn attack(&self, places: &[usize]) -> Result<Option<(Vec<Attacked>, Vec<f32>)>> {
        let Seen { net, batch, indices, settings, interrupted, device, .. } = self.seen;
        let size = net.config.input.iter().product::<usize>();
        let pixels: Vec<f32> = places.iter().flat_map(|&i| &batch.pixels[i * size..(i + 1) * size]).copied().collect();
        let labels: Vec<u32> = places.iter().map(|&i| batch.labels[i]).collect();
        let indices: Vec<u64> = places.iter().map(|&i| indices[i]).collect();
        let images = Images { pixels: &pixels, shape: net.config.input, labels: &labels, indices: &indices };
        let EvalSettings { attack_steps: steps, attack_restarts: restarts, seed, .. } = **settings;
        let attack = Attack { steps, restarts, seed, ..Attack::default() };
        Ok(attack_images_until(net, images, self.eps, &attack, interrupted, device)?.map(|found| (found, Vec::new())))
    }
}

/// The images so far, in boxes of one radius.
struct AtRadius {
    eps: f64,
    uncertified: usize,
    /// Classified right and not certified: what an attack can turn.
    open: usize,
    /// Of these, attacked.
    tried: usize,
    /// Of these, turned.
    turned: usize,
    /// Certified by their margins and misclassified, both by rounding; counted as not certified.
    rounding: usize,
}

impl AtRadius {
    fn new(eps: f64) -> Self {
        Self { eps, uncertified: 0, open: 0, tried: 0, turned: 0, rounding: 0 }
    }

    /// Adds a batch with these margins. False if it was interrupted.
    fn add(&mut self, seen: &Seen, margins: &Tensor<2>) -> Result<bool> {
        let bounds = least_margins(margins, &seen.batch.labels);
        let proved = |bound: Option<f64>| bound.is_some_and(certifies);
        let open = |clean: &Attacked, bound| clean.clean_margin > 0.0 && !proved(bound);
        let attacked = seen.settings.attack_images as u64;
        let attacks = |i: usize, clean: &Attacked, bound| open(clean, bound) && seen.indices[i] < attacked;
        let Some(decided) = decide(&Bounded { seen, eps: self.eps, bounds }, &attacks)? else { return Ok(false) };
        for (verdict, clean) in decided.verdicts.iter().zip(&seen.clean) {
            let (bound, margin) = (verdict.bound, verdict.clean_margin);
            if verdict.verdict == Verdict::Error && proved(bound) && margin <= 0.0 {
                let place = format!("image {} of {}", verdict.index, seen.set);
                let bound = bound.unwrap_or_default();
                let why =
                    format!("it is certified with a margin of at least {bound}, but its clean margin is {margin}");
                return Err(Problem::training("evaluate", place, why)
                    .hint("a bound is wrong: please report this with the run directory"));
            }
            self.rounding += usize::from(verdict.rounding);
            self.uncertified += usize::from(verdict.verdict != Verdict::Certified);
            self.open += usize::from(open(clean, bound));
            self.tried += usize::from(verdict.attack_margin.is_some());
            self.turned += usize::from(verdict.attack_margin.is_some_and(|margin| margin <= 0.0));
        }
        Ok(true)
    }

    /// PGD error, if images were attacked, and certified error, of `images` of which `wrong` are misclassified.
    fn errors(&self, wrong: usize, images: usize, settings: &EvalSettings, set: &str) -> Result<[Option<f64>; 2]> {
        let share = |count: f64| 100.0 * count / images as f64;
        let certified = share(self.uncertified as f64);
        // Scaled as a count: a sum of percentages could be above the certified error by its rounding.
        let pgd = share(wrong as f64 + (self.open * self.turned) as f64 / self.tried.max(1) as f64);
        let attacked = settings.attack_images > 0 && (self.tried > 0 || self.open == 0);
        if attacked {
            check_order([share(wrong as f64), pgd, certified], set)?;
        }
        Ok([attacked.then_some(pgd), Some(certified)])
    }
}

fn scalar(tensor: Tensor<1>) -> f64 {
    f64::from(tensor.into_scalar::<f32>())
}
