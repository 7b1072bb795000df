//! Verdicts on tensors: the engine of [`temper_verify`] for a network and a batch of images. The attack computes on tensors; what
//! certifies is computed in double precision on plain numbers.

use burn::tensor::{Device, Tensor};
use temper_base::Result;
use temper_model::image::Classifier;
use temper_ops::attack as ops;
use temper_verify::{Arithmetic, Certifier, Engine, Stage, decide};

use crate::attack::{Attack, Goal, Target, constant, margins};
use crate::boxes::Images;
use crate::floats;
use crate::search::{Stop, search};

pub use temper_verify::{
    AttackCertified, Attacked, Counterexample, Decided, ImageVerdict, ROUNDING, Settings, Summary, Verdict,
    check_order, judge,
};

/// What a verdict is asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Radius of the box.
    pub eps: f64,
    /// The stages, and the sense in which a proof has to hold. Attack and interval bounds are run here, a batch at a time.
    pub settings: Settings,
    /// The attack.
    pub attack: Attack,
    /// Whom it is run on.
    pub attack_certified: AttackCertified,
}

impl Question {
    /// Whether this stage is one of those that are tried.
    pub fn has(&self, stage: Stage) -> bool {
        self.settings.stages.contains(&stage)
    }
}

/// Decides every image of a batch, in evaluation mode, by attack and interval bounds.
///
/// # Errors
/// If the images do not fit the network, as [`Images::check`] says, and weights that are not finite.
pub fn verify_batch(
    net: &Classifier,
    images: Images,
    question: &Question,
    device: &Device,
) -> Result<Vec<ImageVerdict>> {
    let certifier = Certifier::new(&net.to_network())?;
    let decided = verify_until(net, &certifier, images, question, &|| false, device)?;
    Ok(decided.expect("nothing stops it").verdicts)
}

/// The same with counterexamples; `certifier` is of the same network. `stop` is asked between passes; `None` once it has said so: the batch is abandoned.
///
/// # Errors
/// As [`verify_batch`].
pub fn verify_until(
    net: &Classifier,
    certifier: &Certifier,
    images: Images,
    question: &Question,
    stop: Stop,
    device: &Device,
) -> Result<Option<Decided>> {
    images.check(net.config.input, net.config.classes)?;
    let Question { attack, attack_certified, .. } = *question;
    let attacks = |i: usize, clean: &Attacked, bound: Option<f64>| {
        question.has(Stage::Attack) && attack_certified.attacks(clean, bound, attack.seed, images.indices[i])
    };
    decide(&Asked { net, certifier, images, question, stop, device }, &attacks)
}

/// A question about a batch of images.
struct Asked<'a> {
    net: &'a Classifier,
    certifier: &'a Certifier,
    images: Images<'a>,
    question: &'a Question,
    stop: Stop<'a>,
    device: &'a Device,
}

impl Engine for Asked<'_> {
    fn labels(&self) -> &[u32] {
        self.images.labels
    }

    fn indices(&self) -> &[u64] {
        self.images.indices
    }

    fn bounds(&self) -> Result<Option<Vec<Option<f64>>>> {
        let Self { certifier, images, question, stop, .. } = *self;
        let n = images.labels.len();
        if !question.has(Stage::Ibp) {
            return Ok(Some(vec![None; n]));
        }
        let eps = vec![question.eps; n];
        let bounds = certifier.bounds(images.pixels, images.labels, &eps, self.arithmetic(), stop);
        Ok(bounds.map(|bounds| bounds.into_iter().map(Some).collect()))
    }

    fn arithmetic(&self) -> Arithmetic {
        self.question.settings.arithmetic
    }

    fn refutes(&self, place: usize, found: Option<&[f32]>) -> bool {
        let Self { certifier, images, question, .. } = *self;
        let size = images.shape.iter().product::<usize>();
        let image = &images.pixels[place * size..][..size];
        certifier.refutes(found.unwrap_or(image), image, question.eps, images.labels[place], self.arithmetic())
    }

    fn clean(&self) -> Result<Option<Vec<Attacked>>> {
        let Self { net, images, question, stop, device, .. } = *self;
        // Without a start: margin and class of the clean images.
        let none = Attack { restarts: 0, ..question.attack };
        let found = search(net, images, question.eps, &none, Goal::Misclassify, stop, device)?;
        Ok(found.filter(|_| !stop()).map(|(clean, _)| clean))
    }

    fn attack(&self, places: &[usize]) -> Result<Option<(Vec<Attacked>, Vec<f32>)>> {
        let Self { net, images, question, stop, device, .. } = *self;
        let (pixels, labels, indices) = images.choose(places);
        let chosen = Images { pixels: &pixels, labels: &labels, indices: &indices, ..images };
        let found = search(net, chosen, question.eps, &question.attack, Goal::Misclassify, stop, device)?;
        Ok(found.map(|(mut found, best)| {
            ask_again(net, &mut found, &best, &labels);
            (found, floats(best))
        }))
    }
}

/// Asks the network once more at the images that an attack found, each by itself: what counts is the answer to the numbers that are
/// kept, not that in the batch of the attack, whose last bits may differ.
fn ask_again(net: &Classifier, found: &mut [Attacked], images: &Tensor<2>, labels: &[u32]) {
    let target = Target { net: &constant(net), plain: true };
    for (row, (found, label)) in found.iter_mut().zip(labels).enumerate().filter(|(_, (found, _))| found.found()) {
        let logits = target.classify(images.clone().narrow(0, row, 1));
        (found.margin, found.class) = margins(ops::margins(logits, &[*label])).next().expect("one image");
    }
}

/// The least lower bound of every row of margins `[N, K]` but that of the label; NaN if one of them is NaN.
pub fn least_margins(margins: &Tensor<2>, labels: &[u32]) -> Vec<f32> {
    let classes = margins.dims()[1];
    let values = floats(margins.clone());
    let row = |(row, label): (&[f32], &u32)| {
        let others = row.iter().enumerate().filter(|(class, _)| *class != *label as usize);
        others.fold(f32::INFINITY, |least, (_, m)| if *m < least || m.is_nan() { *m } else { least })
    };
    values.chunks(classes).zip(labels).map(row).collect()
}
