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
use temper_data::images::Images as Set;
use temper_model::Classifier;
use temper_model::image::Statistics;
use temper_record::event::Values;
use temper_train::group::{Group, agree};
use temper_train::shards::cut;
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

/// Evaluates `net` on the images of a set at the radius `target`, and also at the radius `current` of the schedule where that is another one. Each
/// rank of `group` takes neighbouring batches, and what they come to is added in their order. It calls `interrupted` between batches and between
/// the passes of an attack, and returns `None` once that is true, on whichever rank.
///
/// # Errors
/// A loss that is no number, errors that are not in their order, images that do not fit the network; a rank that has failed.
#[allow(clippy::too_many_arguments)]
pub fn evaluate(
    net: &Classifier,
    set: &str,
    images: &Set,
    target: f64,
    current: f64,
    settings: &EvalSettings,
    group: &dyn Group,
    interrupted: &dyn Fn() -> bool,
    device: &Device,
) -> Result<Option<Values>> {
    let radii: Vec<f64> =
        std::iter::once(target).chain((current > 0.0 && current < target).then_some(current)).collect();
    let batches = images.len().div_ceil(settings.rows);
    let own = cut(batches, group.size(), group.rank()).map(|number| {
        if interrupted() {
            return Ok(None);
        }
        let first = number * settings.rows;
        let indices: Vec<u32> = (first..images.len().min(first + settings.rows)).map(|i| i as u32).collect();
        let (pixels, labels) = images.batch(&indices, None);
        let batch = Batch { pixels, labels };
        Ok(counts(net, set, &batch, first, &radii, settings, interrupted, device)?.map(|counts| counts.to_numbers()))
    });
    let own = agree(group, own.collect::<Result<Option<Vec<Vec<f64>>>>>())?;
    let Some(all) = group.gather_numbers(own.map(|own| own.concat()).as_deref())? else { return Ok(None) };
    let relus = net.config.relus();
    let mut sum = Counts::none(radii.len(), relus.len());
    let length = sum.to_numbers().len();
    all.chunks(length).for_each(|numbers| sum.add(numbers));
    let Counts { images, wrong, clean_loss, robust_loss, at, layers } = sum;
    let at_target = at[0];
    for (name, loss) in [("clean loss", clean_loss), ("robust loss", robust_loss)] {
        if loss.is_nan() {
            return Err(Problem::training("evaluate", format!("{name} on {set}"), "is not a number")
                .hint("the last checkpoint is intact: branch from it with a lower lr.peak or a longer eps.length"));
        }
    }
    let standard = 100.0 * wrong as f64 / images as f64;
    let [pgd, certified] = at_target.errors(wrong, images, settings, set)?;
    let [pgd_current, certified_current] = match at.get(1) {
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
    for (layer, (name, _)) in layers.iter().zip(&relus) {
        let [active, unstable, inactive] = layer.shares();
        values.set(&format!("active.{name}"), active);
        values.set(&format!("unstable.{name}"), unstable);
        values.set(&format!("inactive.{name}"), inactive);
        values.set(&format!("width.{name}"), layer.width);
    }
    Ok(Some(values))
}

/// What a batch comes to at these radii, whose images have the numbers from `first` on in their set. `None` if it was interrupted.
#[allow(clippy::too_many_arguments)]
fn counts(
    net: &Classifier,
    set: &str,
    batch: &Batch,
    first: usize,
    radii: &[f64],
    settings: &EvalSettings,
    interrupted: &dyn Fn() -> bool,
    device: &Device,
) -> Result<Option<Counts>> {
    let rows = batch.labels.len();
    let [c, h, w] = net.config.input;
    let bounds = |eps| {
        let x = boxes::boxes(&batch.pixels, [rows, c, h, w], eps, &net.mean, &net.std, device);
        let trace = net.trace_plain(x, Statistics::Running);
        let margins = net.margins(&trace, &batch.labels);
        (trace, margins)
    };
    let (trace, margins) = bounds(radii[0]);
    let logits = net.logits(&trace);
    let clean_loss = rows as f64 * scalar(losses::cross_entropy(logits.clone(), &batch.labels));
    let robust_loss = rows as f64 * scalar(losses::robust_loss(margins.clone()));
    let layers = layer_states(net, &trace);
    drop(trace);
    let clean = clean_margins(logits, &batch.labels);
    let indices = (first as u64..).take(rows).collect();
    let wrong = clean.iter().filter(|clean| clean.clean_margin.is_nan() || clean.clean_margin <= 0.0).count();
    let seen = Seen { net, set, batch, indices, clean, settings, interrupted, device };
    let mut at = Vec::new();
    for (i, eps) in radii.iter().enumerate() {
        let later = (i > 0).then(|| bounds(*eps).1);
        let Some(found) = AtRadius::of(&seen, *eps, later.as_ref().unwrap_or(&margins))? else { return Ok(None) };
        at.push(found);
    }
    Ok(Some(Counts { images: rows, wrong, clean_loss, robust_loss, at, layers }))
}

/// What images come to.
struct Counts {
    images: usize,
    wrong: usize,
    /// Sums over images.
    clean_loss: f64,
    robust_loss: f64,
    /// At every radius.
    at: Vec<AtRadius>,
    /// Of every ReLU.
    layers: Vec<LayerState>,
}

impl Counts {
    /// Those of no images.
    fn none(radii: usize, relus: usize) -> Self {
        let layers = vec![LayerState::default(); relus];
        Self { images: 0, wrong: 0, clean_loss: 0.0, robust_loss: 0.0, at: vec![AtRadius::default(); radii], layers }
    }

    /// As numbers, which other ranks are told.
    fn to_numbers(&self) -> Vec<f64> {
        let mut numbers = vec![self.images as f64, self.wrong as f64, self.clean_loss, self.robust_loss];
        for AtRadius { uncertified, open, tried, turned, rounding } in &self.at {
            numbers.extend([uncertified, open, tried, turned, rounding].map(|count| *count as f64));
        }
        for LayerState { units, active, unstable, inactive, width, .. } in &self.layers {
            numbers.extend([units, active, unstable, inactive, width]);
        }
        numbers
    }

    /// Adds other images, told as numbers.
    fn add(&mut self, numbers: &[f64]) {
        let (sums, rest) = numbers.split_at(4);
        self.images += sums[0] as usize;
        self.wrong += sums[1] as usize;
        self.clean_loss += sums[2];
        self.robust_loss += sums[3];
        let (at, layers) = rest.split_at(5 * self.at.len());
        for (own, other) in self.at.iter_mut().zip(at.as_chunks::<5>().0) {
            let own = [&mut own.uncertified, &mut own.open, &mut own.tried, &mut own.turned, &mut own.rounding];
            own.into_iter().zip(other).for_each(|(own, other)| *own += *other as usize);
        }
        for (own, &[units, active, unstable, inactive, width]) in self.layers.iter_mut().zip(layers.as_chunks().0) {
            let other = LayerState { name: String::new(), units, active, unstable, inactive, width };
            if own.units == 0.0 { *own = other } else { own.add(&other) }
        }
    }
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

/// Images in boxes of one radius.
#[derive(Debug, Clone, Copy, Default)]
struct AtRadius {
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
    /// A batch with these margins. `None` if it was interrupted.
    fn of(seen: &Seen, eps: f64, margins: &Tensor<2>) -> Result<Option<Self>> {
        let mut found = Self::default();
        let bounds = least_margins(margins, &seen.batch.labels);
        let proved = |bound: Option<f64>| bound.is_some_and(certifies);
        let open = |clean: &Attacked, bound| clean.clean_margin > 0.0 && !proved(bound);
        let attacked = seen.settings.attack_images as u64;
        let attacks = |i: usize, clean: &Attacked, bound| open(clean, bound) && seen.indices[i] < attacked;
        let Some(decided) = decide(&Bounded { seen, eps, bounds }, &attacks)? else { return Ok(None) };
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
            found.rounding += usize::from(verdict.rounding);
            found.uncertified += usize::from(verdict.verdict != Verdict::Certified);
            found.open += usize::from(open(clean, bound));
            found.tried += usize::from(verdict.attack_margin.is_some());
            found.turned += usize::from(verdict.attack_margin.is_some_and(|margin| margin <= 0.0));
        }
        Ok(Some(found))
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
