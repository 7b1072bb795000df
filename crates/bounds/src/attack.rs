//! Projected gradient descent in the box of an image (Madry et al. 2018): the other side of a certificate.
//!
//! Images stay on the device (`Batch`, `Walk`); one pass of the network reads back a margin and a class of each, which are its
//! results and say who is left alone.
//!
//! Verdicts and evaluations attack with [`search`](crate::search), as hard as the budget allows. Adversarial training needs many
//! attacks and no strong one: [`adversarial_images`] goes plain steps of one length down from a random point.

use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use temper_base::Result;
use temper_model::image::{Classifier, Statistics};
use temper_model::parameter::{Parameter, Parameters};
use temper_ops::attack::{self as ops, Ends};
use temper_ops::stack;

use crate::boxes::{Images, ends};
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
    margins(ops::margins(logits, labels)).map(clean).collect()
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
/// data set, which with the seed decides the random starts.
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
) -> Result<Tensor<4>> {
    let indices: Vec<u64> = (first_index..).take(labels.len()).collect();
    let images = Images { pixels, shape: net.config.input, labels, indices: &indices };
    let shape = images.check(net.config.input, net.config.classes)?;
    if shape[0] == 0 {
        return Ok(Tensor::zeros(shape, device));
    }
    Ok(descend(net, images, eps, attack, device).reshape(shape))
}

/// The image at the smallest margin of each, `[N, D]`.
fn descend(net: &Classifier, images: Images, eps: f64, attack: &Attack, device: &Device) -> Tensor<2> {
    let target = Target { net: &constant(net), plain: false };
    let mut batch = Batch::new(&target, images, eps, Goal::SmallestMargin, device);
    for start in 0..attack.restarts {
        let mut walk = batch.walk();
        if walk.places.is_empty() {
            break;
        }
        if start > 0 || attack.random_first {
            walk.scatter(&batch, attack.seed, &start.to_string());
        }
        for _ in 0..attack.steps {
            let (logits, _, gradient) = target.climbed(walk.x.clone(), |logits| match attack.loss {
                AttackLoss::CrossEntropy => -picked(activation::log_softmax(logits, 1), &walk.labels),
                AttackLoss::Margin => -ops::margins(logits, &walk.labels).narrow(0, 0, 1).squeeze_dim::<1>(0),
            });
            let (x, seen) = (walk.x.clone(), ops::margins(logits, &walk.labels));
            walk = walk.see(&mut batch, x, seen);
            walk.x = ops::step(walk.x, gradient, &walk.ends, (attack.step() * eps) as f32);
            walk.drop_done(&mut batch);
            if walk.places.is_empty() {
                break;
            }
        }
        if !walk.places.is_empty() {
            walk.end(&target, &mut batch);
        }
    }
    batch.best
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

/// A batch under attack, and the best that was seen of every image. An image is a row, `[N, D]`.
pub(crate) struct Batch<'a> {
    pub images: Images<'a>,
    pub results: Vec<Attacked>,
    /// The images at the smallest margins.
    pub best: Tensor<2>,
    /// Logits of the clean images, `[N, K]`.
    pub logits: Vec<f32>,
    clean: Tensor<2>,
    ends: Ends,
    goal: Goal,
}

impl<'a> Batch<'a> {
    /// The clean images, of which there is one at least.
    pub fn new(target: &Target, images: Images<'a>, eps: f64, goal: Goal, device: &Device) -> Self {
        let (n, len) = (images.labels.len(), images.pixels.len() / images.labels.len());
        let rows = |pixels: Vec<f32>| Tensor::<2>::from_data(TensorData::new(pixels, [n, len]), device);
        let (lower, upper) = inside(images.pixels, eps);
        let (clean, ends) = (rows(images.pixels.to_vec()), Ends { lower: rows(lower), upper: rows(upper) });
        let logits = target.classify(clean.clone());
        let results = clean_margins(logits.clone(), images.labels);
        Self { images, results, best: clean.clone(), logits: floats(logits), clean, ends, goal }
    }

    /// The images that are not done, where they are clean.
    pub fn walk(&self) -> Walk {
        let places: Vec<usize> = (0..self.results.len()).filter(|place| !self.done(*place)).collect();
        let margins: Vec<f32> = self.results.iter().map(|result| result.margin).collect();
        let margins = Tensor::from_floats(margins.as_slice(), &self.best.device());
        let labels = self.images.labels.to_vec();
        let (x, best, ends) = (self.clean.clone(), self.best.clone(), self.ends.clone());
        let mut walk = Walk { places: (0..labels.len()).collect(), labels, x, ends, best, margins };
        walk.keep(&places);
        walk
    }

    /// Whether nothing more is to be found of an image.
    fn done(&self, place: usize) -> bool {
        let result = &self.results[place];
        result.margin.is_nan() || (self.goal == Goal::Misclassify && result.found())
    }

    /// Takes over the best of these images.
    fn put(&mut self, places: &[usize], best: Tensor<2>) {
        let mut from: Vec<usize> = (0..self.results.len()).collect();
        places.iter().enumerate().for_each(|(row, place)| from[*place] = self.results.len() + row);
        self.best = Tensor::cat(vec![self.best.clone(), best], 0).select(0, numbers(&from, &self.best.device()));
    }
}

/// Those images of a batch that are on their way.
pub(crate) struct Walk {
    /// Their places in the batch.
    pub places: Vec<usize>,
    pub labels: Vec<u32>,
    /// Where they are.
    pub x: Tensor<2>,
    pub ends: Ends,
    /// The images at the smallest margins, and these, `[N]`.
    best: Tensor<2>,
    margins: Tensor<1>,
}

impl Walk {
    /// Puts every image somewhere into its box, uniformly: a function of seed, number of the image and what it is for.
    pub fn scatter(&mut self, batch: &Batch, seed: u64, purpose: &str) {
        let shape = self.x.dims();
        let numbers = |place: &usize| random(seed, batch.images.indices[*place], purpose, shape[1]);
        let at: Vec<f32> = self.places.iter().flat_map(numbers).collect();
        let at = Tensor::from_data(TensorData::new(at, shape), &self.x.device());
        let Ends { lower, upper } = self.ends.clone();
        self.x = ((upper.clone() - lower.clone()) * at + lower.clone()).max_pair(lower).min_pair(upper);
    }

    /// Keeps of `x` what is better than everything before; `seen` are its margins and classes.
    pub fn see(mut self, batch: &mut Batch, x: Tensor<2>, seen: Tensor<2>) -> Self {
        let margin = margin(&seen);
        // A margin that is not a number counts as better.
        let better = margin.clone().greater_equal(self.margins.clone()).bool_not();
        self.best = ops::replace(self.best, &x, &better);
        self.margins = self.margins.mask_where(better, margin);
        for (place, (margin, class)) in self.places.iter().zip(margins(seen)) {
            let result = &mut batch.results[*place];
            if margin < result.margin || margin.is_nan() {
                (result.margin, result.class) = (margin, class);
            }
        }
        self
    }

    /// Drops the images that are done; returns the rows that stay, where those are fewer than before and not none.
    pub fn drop_done(&mut self, batch: &mut Batch) -> Option<Vec<usize>> {
        let stays = |row: &usize| !batch.done(self.places[*row]);
        let rows: Vec<usize> = (0..self.places.len()).filter(stays).collect();
        if rows.len() == self.places.len() {
            return None;
        }
        batch.put(&self.places, self.best.clone());
        self.keep(&rows);
        (!rows.is_empty()).then_some(rows)
    }

    /// Only these rows. With none, the tensors stay as they were.
    fn keep(&mut self, rows: &[usize]) {
        let all = rows.len() == self.places.len();
        self.places = rows.iter().map(|row| self.places[*row]).collect();
        self.labels = rows.iter().map(|row| self.labels[*row]).collect();
        if !rows.is_empty() && !all {
            let rows = numbers(rows, &self.x.device());
            for tensor in [&mut self.x, &mut self.ends.lower, &mut self.ends.upper, &mut self.best] {
                *tensor = tensor.clone().select(0, rows.clone());
            }
            self.margins = self.margins.clone().select(0, rows);
        }
    }

    /// A last pass where the images are.
    pub fn end(self, target: &Target, batch: &mut Batch) {
        let (x, seen) = (self.x.clone(), ops::margins(target.classify(self.x.clone()), &self.labels));
        self.see(batch, x, seen).close(batch);
    }

    /// Hands the best over.
    pub fn close(self, batch: &mut Batch) {
        batch.put(&self.places, self.best);
    }
}

/// Uniform numbers from 0 to 1 for an image.
pub(crate) fn random(seed: u64, index: u64, purpose: &str, len: usize) -> Vec<f32> {
    let centred = temper_model::init::uniform(seed, &format!("attack.{index}.{purpose}"), 0.5, len);
    centred.into_iter().map(|at| at + 0.5).collect()
}

/// Numbers of rows, on the device.
pub(crate) fn numbers(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
    Tensor::from_data(TensorData::from(rows.as_slice()), device)
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
    /// Logits by plain sums: what is reported rests on them.
    pub plain: bool,
}

impl Target<'_> {
    /// Logits `[N, K]` of images `[N, D]`.
    pub fn classify(&self, x: Tensor<2>) -> Tensor<2> {
        self.logits(self.images(x))
    }

    /// The same, what is climbed, `[N]`, and its gradient for the pixels, up to the scale of each channel. Every image has its own: what the
    /// others of the batch do is nothing to it.
    pub fn climbed(
        &self,
        x: Tensor<2>,
        heights: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> (Tensor<2>, Tensor<1>, Tensor<2>) {
        let shape = x.dims();
        let x = self.images(x).autodiff().require_grad();
        let logits = self.logits(x.clone());
        let heights = heights(logits.clone());
        let mut tape = heights.clone().sum().backward();
        let gradient = x.grad_remove(&mut tape).expect("the logits depend on the image");
        (logits.inner(), heights.inner(), gradient.reshape(shape))
    }

    fn images(&self, x: Tensor<2>) -> Tensor<5> {
        let ([n, _], [c, h, w]) = (x.dims(), self.net.config.input);
        stack::clean(x.reshape([n, c, h, w]), &self.net.mean, &self.net.std)
    }

    fn logits(&self, x: Tensor<5>) -> Tensor<2> {
        let statistics = Statistics::Running;
        let trace = if self.plain { self.net.trace_plain(x, statistics) } else { self.net.trace(x, statistics) };
        self.net.logits(&trace)
    }
}

/// One value a row, `[N]`.
fn picked(rows: Tensor<2>, classes: &[u32]) -> Tensor<1> {
    let classes: Vec<usize> = classes.iter().map(|class| *class as usize).collect();
    let classes = numbers(&classes, &rows.device());
    rows.gather(1, classes.unsqueeze_dim::<2>(1)).squeeze_dim::<1>(1)
}

/// The first row of [`ops::margins`], `[N]`.
pub(crate) fn margin(seen: &Tensor<2>) -> Tensor<1> {
    seen.clone().narrow(0, 0, 1).squeeze_dim::<1>(0)
}

/// Margin and class of every image, read from [`ops::margins`].
pub(crate) fn margins(seen: Tensor<2>) -> impl Iterator<Item = (f32, u32)> {
    let seen = floats(seen);
    let classes = seen[seen.len() / 2..].iter().map(|class| *class as u32).collect::<Vec<_>>();
    seen.into_iter().zip(classes)
}
