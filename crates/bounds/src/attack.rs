//! Projected gradient descent in the box of an image (Madry et al. 2018): the other side of a certificate.
//!
//! Verdicts and evaluations attack with [`search`](crate::search), as hard as the budget allows. Adversarial training needs many
//! attacks and no strong one: [`adversarial_images`] goes plain steps of one length down from a random point.

use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use temper_base::Result;
use temper_model::image::{Classifier, Statistics};
use temper_model::parameter::{Parameter, Parameters};

use crate::boxes::{Images, clean, ends};
use crate::floats;
use crate::search::{Stop, search};

pub use temper_verify::Attacked;

/// What the attack climbs in the starts that go for any other class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttackLoss {
    /// The cross-entropy of the logits. Its gradient vanishes in single precision where a network is very sure.
    CrossEntropy,
    /// The margin itself, `max_j z_j - z_y`.
    #[default]
    Margin,
}

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attack {
    /// Gradient steps of one start.
    pub steps: usize,
    /// Number of starts; 0 checks only the clean image.
    pub restarts: usize,
    /// The first start of [`adversarial_images`] is from a random point too (Madry et al. 2018), not from the clean image.
    pub random_first: bool,
    /// Length of a step in units of eps, for [`adversarial_images`] alone; 2.5 / `steps` where it is not given.
    pub step_size: Option<f64>,
    /// What [`adversarial_images`] climbs.
    pub loss: AttackLoss,
    /// Of the random starts.
    pub seed: u64,
}

impl Default for Attack {
    /// 20 steps from one start: what a training log can afford.
    fn default() -> Self {
        Self { steps: 20, restarts: 1, random_first: false, step_size: None, loss: AttackLoss::Margin, seed: 0 }
    }
}

/// Margin and class of every image without an attack, from the logits `[N, K]`.
pub fn clean_margins(logits: Tensor<2>, labels: &[u32]) -> Vec<Attacked> {
    let clean = |(margin, class)| Attacked { clean_margin: margin, clean_class: class, margin, class };
    margins(&floats(logits), labels).into_iter().map(clean).collect()
}

/// When an image is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Once it is misclassified.
    Misclassify,
    /// After all steps of all starts.
    SmallestMargin,
}

/// Attacks every image of a batch in its box of radius `eps`, in evaluation mode (running statistics), until it is
/// misclassified. `pixels` is `[N, C, H, W]` in [0, 1]; the images are those numbered from `first_index` on in their
/// data set, which with the seed decides the random starts. Wrong images for the network are the user's error.
///
/// # Errors
/// If the images do not fit the network, as [`Images::check`] says.
pub fn attack(
    net: &Classifier,
    pixels: &[f32],
    labels: &[u32],
    eps: f64,
    attack: &Attack,
    first_index: u64,
    device: &Device,
) -> Result<Vec<Attacked>> {
    let indices: Vec<u64> = (first_index..).take(labels.len()).collect();
    attack_images(net, Images { pixels, shape: net.config.input, labels, indices: &indices }, eps, attack, device)
}

/// [`attack`] for images with any numbers.
///
/// # Errors
/// As [`attack`].
pub fn attack_images(
    net: &Classifier,
    images: Images,
    eps: f64,
    attack: &Attack,
    device: &Device,
) -> Result<Vec<Attacked>> {
    Ok(attack_images_until(net, images, eps, attack, &|| false, device)?.expect("nothing stops it"))
}

/// [`attack_images`], which asks `stop` between passes: `None` once it has said so.
///
/// # Errors
/// As [`attack`].
pub fn attack_images_until(
    net: &Classifier,
    images: Images,
    eps: f64,
    attack: &Attack,
    stop: Stop,
    device: &Device,
) -> Result<Option<Vec<Attacked>>> {
    Ok(search(net, images, eps, attack, Goal::Misclassify, stop, device)?.map(|(attacked, _)| attacked))
}

/// The same attack, but every image goes through all steps of all starts: the smallest margins that it finds.
///
/// # Errors
/// As [`attack`].
pub fn smallest_margins(
    net: &Classifier,
    images: Images,
    eps: f64,
    attack: &Attack,
    device: &Device,
) -> Result<Vec<Attacked>> {
    Ok(search(net, images, eps, attack, Goal::SmallestMargin, &|| false, device)?.expect("nothing stops it").0)
}

/// The images of the smallest margins, `[N, C, H, W]` in [0, 1]: what adversarial training trains on. Arguments as
/// those of [`attack`].
///
/// # Errors
/// As [`attack`].
pub fn adversarial_images(
    net: &Classifier,
    pixels: &[f32],
    labels: &[u32],
    eps: f64,
    attack: &Attack,
    first_index: u64,
    device: &Device,
) -> Result<Vec<f32>> {
    let indices: Vec<u64> = (first_index..).take(labels.len()).collect();
    let images = Images { pixels, shape: net.config.input, labels, indices: &indices };
    Ok(descend(net, images, eps, attack, device)?.1)
}

/// Results, and the image at the smallest margin of each.
fn descend(
    net: &Classifier,
    images: Images,
    eps: f64,
    attack: &Attack,
    device: &Device,
) -> Result<(Vec<Attacked>, Vec<f32>)> {
    let shape = images.check(net.config.input, net.config.classes)?;
    if shape[0] == 0 {
        return Ok((Vec::new(), Vec::new()));
    }
    let target = Target { net: &constant(net), device, plain: false };
    let logits = target.classify(images.pixels, images.labels.len());
    let result = |(margin, class)| Attacked { clean_margin: margin, clean_class: class, margin, class };
    let results = margins(&logits, images.labels).into_iter().map(result).collect();
    let mut best = Best { results, images: images.pixels.to_vec() };
    let (lower, upper) = inside(images.pixels, eps);
    let all: Vec<usize> = (0..shape[0]).collect();
    for start in 0..attack.restarts {
        let (lower, upper) = (lower.clone(), upper.clone());
        let mut walk = Walk { places: all.clone(), x: images.pixels.to_vec(), lower, upper };
        walk.drop_done(&best);
        if start > 0 || attack.random_first {
            walk.scatter(attack.seed, start, images.indices);
        }
        for _ in 0..attack.steps {
            if walk.places.is_empty() {
                break;
            }
            let labels = walk.of(images.labels);
            let (seen, gradient) = target.gradient(&walk.x, &labels, attack.loss);
            best.see(&walk, seen);
            walk.step(&gradient, (attack.step() * eps) as f32);
            walk.drop_done(&best);
        }
        if !walk.places.is_empty() {
            let labels = walk.of(images.labels);
            best.see(&walk, margins(&target.classify(&walk.x, labels.len()), &labels));
        }
    }
    Ok((best.results, best.images))
}

impl Attack {
    /// Length of a step in units of eps.
    fn step(&self) -> f64 {
        self.step_size.unwrap_or(2.5 / self.steps as f64)
    }
}

/// Of every image, the class other than its label that is `rank`-th nearest to it by the clean logits.
pub(crate) fn nearest_rivals(logits: &[f32], labels: &[u32], rank: usize) -> Vec<u32> {
    let classes = logits.len() / labels.len();
    let rival = |(row, label): (&[f32], &u32)| {
        let mut others: Vec<u32> = (0..classes as u32).filter(|class| class != label).collect();
        others.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
        others[rank % others.len()]
    };
    logits.chunks(classes).zip(labels).map(rival).collect()
}

/// The best that was seen of every image.
struct Best {
    results: Vec<Attacked>,
    images: Vec<f32>,
}

impl Best {
    fn see(&mut self, walk: &Walk, seen: Vec<(f32, u32)>) {
        let len = self.images.len() / self.results.len();
        for (row, (place, (margin, class))) in walk.places.iter().zip(seen).enumerate() {
            let best = &mut self.results[*place];
            if margin < best.margin || margin.is_nan() {
                (best.margin, best.class) = (margin, class);
                self.images[place * len..][..len].copy_from_slice(&walk.x[row * len..][..len]);
            }
        }
    }
}

/// The images that are under attack.
struct Walk {
    /// Their places in the batch.
    places: Vec<usize>,
    /// Where they are, in pixels.
    x: Vec<f32>,
    /// The ends of their boxes.
    lower: Vec<f32>,
    upper: Vec<f32>,
}

impl Walk {
    /// One value an image of those under attack.
    fn of(&self, values: &[u32]) -> Vec<u32> {
        self.places.iter().map(|place| values[*place]).collect()
    }

    /// Puts every image somewhere into its box, uniformly: a function of seed, number of the image and of the start.
    fn scatter(&mut self, seed: u64, start: usize, indices: &[u64]) {
        let len = self.x.len() / self.places.len().max(1);
        for (row, place) in self.places.iter().enumerate() {
            let at = temper_model::init::uniform(seed, &format!("attack.{}.{start}", indices[*place]), 0.5, len);
            for (i, at) in (row * len..).zip(at) {
                let (l, u) = (self.lower[i], self.upper[i]);
                self.x[i] = (l + (u - l) * (at + 0.5)).clamp(l, u);
            }
        }
    }

    /// A step along the sign of the gradient (0 for a gradient of 0), and back into the box.
    fn step(&mut self, gradient: &[f32], step: f32) {
        let ends = self.lower.iter().zip(&self.upper);
        for ((x, g), (lower, upper)) in self.x.iter_mut().zip(gradient).zip(ends) {
            let sign = f32::from(*g > 0.0) - f32::from(*g < 0.0);
            *x = (*x + step * sign).clamp(*lower, *upper);
        }
    }

    /// Drops the images for which nothing is left to find.
    fn drop_done(&mut self, best: &Best) {
        let done = |result: &Attacked| result.margin.is_nan();
        let keep: Vec<usize> = (0..self.places.len()).filter(|row| !done(&best.results[self.places[*row]])).collect();
        if keep.len() == self.places.len() {
            return;
        }
        let len = self.x.len() / self.places.len();
        for values in [&mut self.lower, &mut self.upper, &mut self.x] {
            *values = keep.iter().flat_map(|row| &values[row * len..][..len]).copied().collect();
        }
        self.places = keep.iter().map(|row| self.places[*row]).collect();
    }
}

/// The single precision pixels next to the ends of the box of each, inside it.
pub(crate) fn inside(pixels: &[f32], eps: f64) -> (Vec<f32>, Vec<f32>) {
    let end = |pixel: &f32| {
        let [lower, upper] = ends(*pixel, eps);
        let (l, u) = (lower as f32, upper as f32);
        let l = if f64::from(l) < lower { l.next_up() } else { l };
        let u = if f64::from(u) > upper { u.next_down() } else { u };
        // A box narrower than single precision holds its pixel alone.
        (l.min(*pixel), u.max(*pixel))
    };
    pixels.iter().map(end).unzip()
}

/// The network off any gradient tape: a gradient is asked for the image and for nothing else.
pub(crate) fn constant(net: &Classifier) -> Classifier {
    let mut net = net.clone();
    let off_tape = &mut |_: &str, parameter: Parameter| match parameter {
        Parameter::Vector(tensor) => *tensor = tensor.clone().without_autodiff(),
        Parameter::Matrix(tensor) => *tensor = tensor.clone().without_autodiff(),
        Parameter::Kernel(tensor) => *tensor = tensor.clone().without_autodiff(),
    };
    net.visit(off_tape);
    net.visit_buffers(off_tape);
    net
}

/// The network under attack.
pub(crate) struct Target<'a> {
    pub net: &'a Classifier,
    pub device: &'a Device,
    /// Logits by plain sums: what is reported rests on them.
    pub plain: bool,
}

impl Target<'_> {
    /// Logits of `count` images, `[N, K]`.
    pub fn classify(&self, pixels: &[f32], count: usize) -> Vec<f32> {
        floats(self.logits(self.images(pixels, count)))
    }

    /// Margin and class of every image, and the gradient of what is climbed for the pixels, up to the scale of each
    /// channel. Every image has its own: what the others of the batch do is nothing to it.
    fn gradient(&self, pixels: &[f32], labels: &[u32], loss: AttackLoss) -> (Vec<(f32, u32)>, Vec<f32>) {
        let x = self.images(pixels, labels.len()).autodiff().require_grad();
        let logits = self.logits(x.clone());
        let values = floats(logits.clone());
        let climbed = match loss {
            AttackLoss::CrossEntropy => -pick(activation::log_softmax(logits, 1), labels),
            AttackLoss::Margin => {
                let rows = values.chunks(self.net.config.classes).zip(labels);
                let rivals: Vec<u32> = rows.map(|(row, label)| rival(row, *label)).collect();
                pick(logits.clone(), &rivals) - pick(logits, labels)
            }
        };
        let mut tape = climbed.backward();
        let gradient = x.grad_remove(&mut tape).expect("the logits depend on the image");
        (margins(&values, labels), floats(gradient))
    }

    pub fn images(&self, pixels: &[f32], count: usize) -> Tensor<5> {
        let [c, h, w] = self.net.config.input;
        clean(pixels, [count, c, h, w], &self.net.mean, &self.net.std, self.device)
    }

    pub fn logits(&self, x: Tensor<5>) -> Tensor<2> {
        let trace = if self.plain {
            self.net.trace_plain(x, Statistics::Running)
        } else {
            self.net.trace(x, Statistics::Running)
        };
        self.net.logits(&trace)
    }
}

/// The sum of one value a row.
fn pick(rows: Tensor<2>, classes: &[u32]) -> Tensor<1> {
    picked(rows, classes).sum()
}

/// One value a row, `[N]`.
pub(crate) fn one_a_row(rows: Tensor<2>, classes: &[u32]) -> Tensor<1> {
    picked(rows, classes).squeeze_dim::<1>(1)
}

fn picked(rows: Tensor<2>, classes: &[u32]) -> Tensor<2> {
    let classes: Vec<i32> = classes.iter().map(|class| *class as i32).collect();
    let classes = Tensor::<1, Int>::from_data(TensorData::from(classes.as_slice()), &rows.device());
    rows.gather(1, classes.unsqueeze_dim::<2>(1))
}

/// The class with the largest logit but the label's.
fn rival(logits: &[f32], label: u32) -> u32 {
    let others = (0..logits.len() as u32).filter(|class| *class != label);
    let larger = |a: u32, b: u32| if logits[b as usize] > logits[a as usize] { b } else { a };
    others.reduce(larger).expect("a classifier tells two classes apart")
}

/// Margin and class of every row of `logits` `[N, K]`. A logit that is not finite makes the margin NaN.
pub(crate) fn margins(logits: &[f32], labels: &[u32]) -> Vec<(f32, u32)> {
    let rows = logits.chunks(logits.len() / labels.len().max(1)).zip(labels);
    let margin = |(row, label): (&[f32], &u32)| {
        let rival = rival(row, *label);
        let margin = row[*label as usize] - row[rival as usize];
        let finite = row.iter().all(|logit| logit.is_finite());
        (if finite { margin } else { f32::NAN }, if margin > 0.0 { *label } else { rival })
    };
    rows.map(margin).collect()
}
