//! What an attack on images does beside passes of the network. Images are rows, `[N, D]`; logits are `[N, K]`. Only [`margins`] and
//! [`heights`] have gradients. An image that is replaced is written in place where nothing else holds it.

use burn::backend::Flex;
use burn::tensor::{Bool, Tensor};
use burn_flex::FlexTensor;
use temper_kernels::attack as kernel;

use crate::composed;
use crate::fused::{Fused, Input, apply, contiguous, matrix, on_cpu, tensor, values, values_mut};

/// `[2, N]`: the margin `z_y - max z_j` of every image, NaN where a logit is not finite, then its class: the label where the margin is
/// above 0, the largest other one where it is not. The gradient is that of the margins.
pub fn margins(logits: Tensor<2>, labels: &[u32]) -> Tensor<2> {
    if !on_cpu(&logits) {
        return composed::attack_margins(logits, labels);
    }
    apply(Margins { labels: labels.to_vec() }, [Input::new(logits)])
}

#[derive(Debug, Clone)]
struct Margins {
    labels: Vec<u32>,
}

impl Fused<1> for Margins {
    type Saved = FlexTensor;

    fn forward(&self, [logits]: [FlexTensor; 1], _: bool) -> (FlexTensor, FlexTensor) {
        (tensor(kernel::margins(values(&logits), &self.labels), [2, self.labels.len()]), logits)
    }

    fn backward(&self, logits: FlexTensor, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let of_margins = &values(&gradient)[..self.labels.len()];
        [Some(tensor(kernel::margins_backward(of_margins, values(&logits), &self.labels), matrix(&logits)))]
    }
}

/// How high every image is, `[N]`: the logit of its goal (of the largest other class, where there are no goals) less that of its label;
/// with `over_spread`, and from four classes on, over the largest logit less the mean of third and fourth.
pub fn heights(logits: Tensor<2>, labels: &[u32], goals: Option<&[u32]>, over_spread: bool) -> Tensor<1> {
    if !on_cpu(&logits) {
        return composed::attack_heights(logits, labels, goals, over_spread);
    }
    apply(Heights { labels: labels.to_vec(), goals: goals.map(Into::into), over_spread }, [Input::new(logits)])
}

#[derive(Debug, Clone)]
struct Heights {
    labels: Vec<u32>,
    goals: Option<Vec<u32>>,
    over_spread: bool,
}

impl Heights {
    fn aim(&self) -> kernel::Aim<'_> {
        kernel::Aim { labels: &self.labels, goals: self.goals.as_deref(), over_spread: self.over_spread }
    }
}

impl Fused<1> for Heights {
    type Saved = FlexTensor;

    fn forward(&self, [logits]: [FlexTensor; 1], _: bool) -> (FlexTensor, FlexTensor) {
        (tensor(kernel::heights(values(&logits), self.aim()), [self.labels.len()]), logits)
    }

    fn backward(&self, logits: FlexTensor, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let gradient = kernel::heights_backward(values(&gradient), values(&logits), self.aim());
        [Some(tensor(gradient, matrix(&logits)))]
    }
}

/// The ends of the boxes that images stay in.
#[derive(Debug, Clone)]
pub struct Ends {
    /// `[N, D]`.
    pub lower: Tensor<2>,
    /// `[N, D]`.
    pub upper: Tensor<2>,
}

/// `x` after a step of this length along the sign of the gradient (0 for a gradient of 0), and back in the box.
pub fn step(x: Tensor<2>, gradient: Tensor<2>, ends: &Ends, step: f32) -> Tensor<2> {
    if !on_cpu(&x) {
        return composed::attack_step(x, gradient, ends, step);
    }
    let [gradient, lower, upper] = [gradient, ends.lower.clone(), ends.upper.clone()].map(plain);
    changed(x, |x| kernel::step(x, values(&gradient), [values(&lower), values(&upper)], step))
}

/// `x` after a step of AutoPGD (Croce and Hein 2020): by a length of its own of `steps`, `[N]`, along the sign of the gradient, of which a
/// share `keep` is gone, and the rest as from `before` to `x`; back in the box.
pub fn climb(
    x: Tensor<2>,
    before: Tensor<2>,
    gradient: Tensor<2>,
    ends: &Ends,
    steps: Tensor<1>,
    keep: f32,
) -> Tensor<2> {
    if !on_cpu(&x) {
        return composed::attack_climb(x, before, gradient, ends, steps, keep);
    }
    let [x, gradient, lower, upper] = [x, gradient, ends.lower.clone(), ends.upper.clone()].map(plain);
    let (ends, steps) = ([values(&lower), values(&upper)], plain(steps));
    changed(before, |before| kernel::climb(before, values(&x), values(&gradient), ends, values(&steps), keep))
}

/// `x`, each image `shape` (C, H, W), with a square of every image at its lower ends in some channels and at the upper ones in the others.
/// `draws`, N rows of `2 + C` numbers from 0 to 1, say where it is, and below 0.5 that a channel gets its lower ends.
pub fn square(x: Tensor<2>, ends: &Ends, draws: &[f32], side: usize, shape: [usize; 3]) -> Tensor<2> {
    if !on_cpu(&x) {
        return composed::attack_square(x, ends, draws, side, shape);
    }
    let [lower, upper] = [ends.lower.clone(), ends.upper.clone()].map(plain);
    changed(x, |x| kernel::square(x, [values(&lower), values(&upper)], draws, side, shape))
}

/// The rows of `to`, but where `which` says so those of `from`.
pub fn replace(to: Tensor<2>, from: &Tensor<2>, which: &Tensor<1, Bool>) -> Tensor<2> {
    if !on_cpu(&to) {
        return composed::attack_replace(to, from, which);
    }
    let which = which.clone().try_into_primitive::<Flex>().expect("a CPU tensor");
    let (from, which) = (plain(from.clone()), which.to_contiguous());
    changed(to, |to| kernel::replace(to, values(&from), which.storage()))
}

/// The values, off the tape.
fn plain<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    contiguous(tensor.try_into_primitive::<Flex>().expect("off the tape"))
}

/// A tensor whose values `change` writes.
fn changed(x: Tensor<2>, change: impl FnOnce(&mut [f32])) -> Tensor<2> {
    let mut x = plain(x);
    change(values_mut(&mut x));
    Tensor::from_primitive::<Flex>(x)
}
