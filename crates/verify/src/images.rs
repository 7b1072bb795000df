//! Labelled images in boxes: what the plain-slice bounds and the search prove of one of them. Everything here starts from the box over the
//! real numbers, formed in double precision and rounded outward, so that a proof covers the radius that was asked for.

use std::time::Duration;

use rayon::prelude::*;
use temper_base::{Problem, Result};
use temper_graph::computation::Order;
use temper_graph::{Affine, Ball, Computation, InputBox, Network, Node, Operation, Property};

use crate::cascade::{Answer, Arithmetic, Decision, Settings, Stage};
use crate::decide::Counterexample;
use crate::margins::Margins;
use crate::radius::{CertifiedRadius, bisect};
use crate::store::StageSeconds;
use crate::verdict::{ImageVerdict, Verdict, certifies};
use crate::verifier::Verifier;

/// Images that are bounded together, as rows of one product.
const TOGETHER: usize = 8;
/// How many times as many are bounded before anyone is asked whether to go on.
const PARALLEL: usize = 16;

/// All images whose pixels differ by at most `eps` from these, cut to [0, 1]. `eps` may be within a few roundings of what was meant, as
/// 8/255 is: the ends lie outside of it, the certain ones inside.
pub fn pixel_box(pixels: &[f32], eps: f64) -> InputBox {
    // A quotient of two decimals is within three roundings of what it says.
    let [most, least] = [eps * (1.0 + 4.0 * f64::EPSILON), eps * (1.0 - 4.0 * f64::EPSILON)];
    let ends = |sign: f64, eps: f64, round: fn(f64) -> f64| -> Vec<f64> {
        let end = |pixel: &f32| match f64::from(*pixel) + sign * eps {
            end if eps == 0.0 => end,
            end => round(end),
        };
        pixels.iter().map(|pixel| end(pixel).clamp(0.0, 1.0)).collect()
    };
    InputBox {
        lower: ends(-1.0, most, f64::next_down),
        upper: ends(1.0, most, f64::next_up),
        within: Some([ends(-1.0, least, f64::next_up), ends(1.0, least, f64::next_down)]),
    }
}

/// How the distance of two images is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Norm {
    /// By the pixel that changes most.
    #[default]
    Max,
    /// In the Euclidean norm.
    Two,
}

temper_base::names!(Norm { Max = "inf", Two = "2" });

/// That no image in [0, 1] within `eps` of these pixels has another class than `label`.
///
/// # Errors
/// A label that the network does not have.
pub fn robustness(pixels: &[f32], eps: f64, norm: Norm, label: u32, classes: usize) -> Result<Property> {
    let property = Property::robust(pixel_box(pixels, eps), label as usize, classes)?;
    match norm {
        Norm::Max => Ok(property),
        Norm::Two => property.in_ball(Ball {
            centre: pixels.iter().map(|pixel| f64::from(*pixel)).collect(),
            radius: eps * (1.0 + 4.0 * f64::EPSILON),
            certain: eps * (1.0 - 4.0 * f64::EPSILON),
        }),
    }
}

/// The same network, of pixels in [0, 1] with channels first: `(pixel - mean) / std`, a channel each, stands before it, and where it reads
/// channels last, their order. Both belong to what is verified.
///
/// # Errors
/// A network that reads something else than images of this shape (channels, height, width), and a deviation that is not above 0.
pub fn of_pixels(computation: &Computation, shape: [usize; 3], mean: &[f64], std: &[f64]) -> Result<Computation> {
    let fail = |why: String| Problem::input("verify", "network", why);
    let [channels, height, width] = shape;
    let reads: Vec<usize> = computation.input().iter().copied().filter(|n| *n != 1).collect();
    let without_ones = |shape: &[usize]| -> Vec<usize> { shape.iter().copied().filter(|n| *n != 1).collect() };
    let size = channels * height * width;
    let first = reads == without_ones(&shape) || reads == [size];
    if !first && reads != without_ones(&[height, width, channels]) {
        let why = format!("it reads inputs of the shape {:?}, and the images have {shape:?}", computation.input());
        return Err(fail(why).hint("images of another size need a network of their own"));
    }
    let number = |numbers: &[f64]| numbers.len() == channels && numbers.iter().all(|n| n.is_finite());
    if !number(mean) || !number(std) || std.iter().any(|std| *std <= 0.0) {
        return Err(fail(format!("mean {mean:?} and deviation {std:?} of images with {channels} channels")));
    }
    let mut nodes: Vec<Node> = Vec::new();
    let mut put = |name: &str, operation| {
        let inputs = vec![nodes.len()];
        nodes.push(Node { name: name.into(), operation, inputs, shape: shape.to_vec() });
    };
    if mean.iter().any(|mean| *mean != 0.0) || std.iter().any(|std| *std != 1.0) {
        let each = |of: &dyn Fn(usize) -> f64| (0..size).map(|i| of(i / (height * width))).collect();
        let (weight, bias) = (each(&|c| 1.0 / std[c]), each(&|c| -mean[c] / std[c]));
        // Decimals became doubles, and were divided: three halves of a unit in the last place.
        put("normalise", Operation::Scale(Affine { weight, bias, merged: 2, magnitude: Vec::new() }));
    }
    if !first {
        let from = |i: usize| Some((i % channels * height * width + i / channels) as u32);
        put("channels last", Operation::Gather { from: (0..size).map(from).collect(), fill: Vec::new() });
    }
    let before = nodes.len();
    let behind = computation.nodes().iter().cloned();
    nodes.extend(behind.map(|node| Node { inputs: node.inputs.iter().map(|i| i + before).collect(), ..node }));
    Computation::new(shape.to_vec(), nodes)
}

/// A network that reads pixels in [0, 1], ready to be asked about images.
pub struct Certifier {
    verifier: Verifier,
    margins: Margins,
}

/// What a search has come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Searched {
    /// The pixels of another class, if it found some.
    pub counterexample: Option<Counterexample>,
    /// Seconds of every stage.
    pub seconds: StageSeconds,
}

impl Certifier {
    /// Of this network.
    ///
    /// # Errors
    /// Weights that are not finite.
    pub fn new(network: &Network) -> Result<Self> {
        Ok(Self::of(&network.computation()?))
    }

    /// Of a computation that reads pixels in [0, 1], channels first.
    pub fn of(computation: &Computation) -> Self {
        Self { margins: Margins::new(&computation.merged()), verifier: Verifier::new(computation) }
    }

    /// The network.
    pub fn computation(&self) -> &Computation {
        self.verifier.computation()
    }

    /// Of every image, the least lower bound of its margins by interval bounds, in double precision, in this sense. `pixels` are
    /// `[N, C, H, W]` in [0, 1], `eps` has one radius an image. Asks `stop` now and then; `None` once it has said so.
    pub fn bounds(
        &self,
        pixels: &[f32],
        labels: &[u32],
        eps: &[f64],
        arithmetic: Arithmetic,
        stop: &dyn Fn() -> bool,
    ) -> Option<Vec<f64>> {
        let size = self.computation().inputs();
        let bound = |(first, labels): (usize, &[u32])| {
            let input = |i: usize| pixel_box(&pixels[i * size..][..size], eps[i]);
            let boxes: Vec<InputBox> = (first..first + labels.len()).map(input).collect();
            self.margins.least(&boxes, labels, arithmetic)
        };
        let mut bounds = Vec::with_capacity(labels.len());
        for (n, round) in labels.chunks(TOGETHER * PARALLEL).enumerate() {
            if stop() {
                return None;
            }
            let first = |i: usize| (n * PARALLEL + i) * TOGETHER;
            let found: Vec<Vec<f64>> =
                round.par_chunks(TOGETHER).enumerate().map(|(i, labels)| bound((first(i), labels))).collect();
            bounds.extend(found.into_iter().flatten());
        }
        Some(bounds)
    }

    /// The certified radius of every image between 0 and `largest`, to within `largest / 2^halvings`, by interval bounds and those stages
    /// of the settings that come after them. Interval bounds only grow with the radius, so that with them alone it is the largest up to
    /// that; with any stage the image is certified at the value given. `stop` is asked between passes, and `None` comes back once it has
    /// said so.
    ///
    /// # Errors
    /// A label that the network does not have.
    pub fn radii(
        &self,
        pixels: &[f32],
        labels: &[u32],
        largest: f64,
        halvings: usize,
        settings: &Settings,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Vec<CertifiedRadius>>> {
        let size = self.computation().inputs();
        let left = remaining(settings, Duration::ZERO);
        let certified = |eps: &[f64]| -> Result<Vec<bool>> {
            let Some(bounds) = self.bounds(pixels, labels, eps, settings.arithmetic, stop) else {
                return Ok(vec![false; labels.len()]);
            };
            let holds = |i: usize| {
                if certifies(bounds[i]) || left.stages.is_empty() || stop() {
                    return Ok(certifies(bounds[i]));
                }
                let input = pixel_box(&pixels[i * size..][..size], eps[i]);
                let property = Property::robust(input, labels[i] as usize, self.computation().outputs())?;
                Ok(self.verifier.decide(&[property], &left, stop)?.answer == Answer::Unsat)
            };
            (0..labels.len()).map(holds).collect()
        };
        bisect(labels.len(), largest, halvings, &certified, stop)
    }

    /// Whether an image that an attack found speaks against a proof in this sense: it certainly lies in the box around `pixels`, and the
    /// network over the real numbers, as far as double precision says, gives it another class than `label`. A proof of every execution
    /// in single precision is refuted by any of them, so that the place alone decides.
    pub fn refutes(&self, found: &[f32], pixels: &[f32], eps: f64, label: u32, arithmetic: Arithmetic) -> bool {
        let found: Vec<f64> = found.iter().map(|pixel| f64::from(*pixel)).collect();
        if !pixel_box(pixels, eps).contains(&found) {
            return false;
        }
        match arithmetic {
            Arithmetic::Float32 => true,
            Arithmetic::Real | Arithmetic::Sound => {
                let logits = self.computation().evaluate::<f64>(&found, Order::Forward);
                logits.iter().enumerate().any(|(class, z)| class != label as usize && *z >= logits[label as usize])
            }
        }
    }

    /// Goes on with an image that is neither attacked nor certified within a radius, and writes what it finds into the verdict. `stages` of the settings
    /// are those that are left; without one, it only says so. `None` once `stop` has said so.
    ///
    /// # Errors
    /// A label that the network does not have.
    pub fn search(
        &self,
        pixels: &[f32],
        (eps, norm): (f64, Norm),
        verdict: &mut ImageVerdict,
        settings: &Settings,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Searched>> {
        let property = robustness(pixels, eps, norm, verdict.label, self.computation().outputs())?;
        let decision = self.verifier.decide(&[property], settings, stop)?;
        let Decision { answer, stage, arithmetic, bound, stages, .. } = decision;
        if stop() && matches!(answer, Answer::Unknown(_) | Answer::Timeout) {
            return Ok(None);
        }
        if bound.is_some_and(|bound| verdict.bound.is_none_or(|before| before < bound)) {
            verdict.bound = bound;
        }
        verdict.stage = Some(stage);
        let mut counterexample = None;
        match answer {
            Answer::Unsat => (verdict.verdict, verdict.arithmetic) = (Verdict::Certified, Some(arithmetic)),
            Answer::Sat(witness) => {
                let label = verdict.label as usize;
                let rivals = witness.output.iter().enumerate().filter(|(class, _)| *class != label);
                let rival = rivals.max_by(|(_, a), (_, b)| a.total_cmp(b));
                verdict.attack_margin = rival.map(|(_, logit)| (witness.output[label] - logit) as f32);
                verdict.attack_class = rival.map(|(class, _)| class as u32);
                verdict.verdict = Verdict::Attacked;
                counterexample = Some(Counterexample { index: verdict.index, pixels: witness.input });
            }
            Answer::Unknown(reason) => (verdict.verdict, verdict.reason) = (Verdict::Unknown, Some(reason)),
            Answer::Timeout => verdict.verdict = Verdict::Timeout,
        }
        Ok(Some(Searched { counterexample, seconds: stages }))
    }
}

/// The settings of a search for one image of which this much time is gone already.
pub fn remaining(settings: &Settings, gone: Duration) -> Settings {
    let timeout = settings.timeout.map(|timeout| timeout.saturating_sub(gone));
    let stages = settings.stages.iter().copied().filter(|stage| *stage >= Stage::Crown).collect();
    Settings { stages, timeout, ..settings.clone() }
}
