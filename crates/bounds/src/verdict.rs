//! One outcome an image: what the bounds prove, what the attack finds, and whether the two can both be true.
//!
//! An image is certified only if a bound was computed and every margin's lower bound is above 0. A bound or a logit
//! that is not finite is a separate outcome.

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use temper_base::{Problem, Result};
use temper_model::image::{ImageNet, Statistics};
use temper_model::init;

use crate::attack::{Attack, Attacked, Goal, Target, constant, margins};
use crate::boxes::{Images, boxes};
use crate::floats;
use crate::ibp::Bound;
use crate::search::{Stop, search};

/// Below this size, both margins of a contradiction can be rounding: the last layer merged with the margins and the
/// plain forward pass differ in their last bits.
pub const ROUNDING: f32 = 1e-5;

/// What is known of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The clean image has another class than its label.
    Misclassified,
    /// An image of the box has another class.
    Attacked,
    /// No image of the box has another class.
    Certified,
    /// Neither was found.
    Unknown,
    /// A value was not finite, or bound and attack contradict each other.
    Error,
}

impl Outcome {
    /// The word for it in files.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Misclassified => "misclassified",
            Outcome::Attacked => "attacked",
            Outcome::Certified => "certified",
            Outcome::Unknown => "unknown",
            Outcome::Error => "error",
        }
    }
}

/// The outcome of one image and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The number of the image in its data set.
    pub index: u64,
    /// Its label.
    pub label: u32,
    /// The class of the clean image.
    pub predicted: u32,
    /// The outcome.
    pub outcome: Outcome,
    /// `z_y - max_{j != y} z_j` of the clean image.
    pub clean_margin: f32,
    /// The least of the lower bounds of the margins in the box.
    pub bound: f32,
    /// The smallest margin that the attack saw; `None` where it was not run.
    pub attack_margin: Option<f32>,
    /// The class at that margin.
    pub attack_class: Option<u32>,
    /// Bound and attack contradict each other by less than [`ROUNDING`]; the outcome is the attack's.
    pub rounding: bool,
    /// What is wrong, if the outcome is an error.
    pub error: Option<String>,
}

/// Which certified images are attacked all the same. Images that are classified right and not certified always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttackCertified {
    /// None.
    None,
    /// One in ten, drawn by the attack's seed and the image's number.
    #[default]
    Tenth,
    /// All; misclassified images are attacked as well.
    All,
}

/// What a verdict is asked about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Question {
    /// Radius of the box.
    pub eps: f64,
    /// The bound that may certify.
    pub bound: Bound,
    /// The attack.
    pub attack: Attack,
    /// Whom it is run on.
    pub attack_certified: AttackCertified,
}

/// An image in a box that has another class than the box's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Counterexample {
    /// The number of the image whose box it lies in.
    pub index: u64,
    /// Its pixels, `[C, H, W]` in [0, 1]: at these very numbers the network was asked once more.
    pub pixels: Vec<f32>,
}

/// What is known of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decided {
    /// One an image.
    pub verdicts: Vec<Verdict>,
    /// One for every [`Outcome::Attacked`], in the same order.
    pub counterexamples: Vec<Counterexample>,
}

/// Decides every image of a batch, in evaluation mode. Wrong images for the network are the user's error.
pub fn verify_batch(net: &ImageNet, images: Images, question: &Question, device: &Device) -> Result<Vec<Verdict>> {
    let decided = verify_until(net, images, question, &|| false, device)?;
    Ok(decided.expect("nothing stops it").verdicts)
}

/// The same with counterexamples. `stop` is asked between passes; `None` once it has said so: the batch is abandoned.
pub fn verify_until(
    net: &ImageNet,
    images: Images,
    question: &Question,
    stop: Stop,
    device: &Device,
) -> Result<Option<Decided>> {
    let shape = images.check(net.config.input, net.config.classes)?;
    if shape[0] == 0 {
        return Ok(Some(Decided::default()));
    }
    let Question { eps, bound, attack, attack_certified } = *question;
    let trace = net.trace_plain(boxes(images.pixels, shape, eps, &net.mean, &net.std, device), Statistics::Running);
    let bounds = least(&bound.margins(net, &trace, images.labels), images.labels);
    // Without a start: margin and class of the clean images.
    let none = Attack { restarts: 0, ..attack };
    let Some((clean, _)) = search(net, images, eps, &none, Goal::Misclassify, stop, device)? else { return Ok(None) };
    if stop() {
        return Ok(None);
    }

    let is_attacked = |i: &usize| match attack_certified {
        AttackCertified::All => true,
        _ if clean[*i].found() => false,
        AttackCertified::None => bounds[*i] <= 0.0,
        AttackCertified::Tenth => bounds[*i] <= 0.0 || drawn(attack.seed, images.indices[*i]),
    };
    let places: Vec<usize> = (0..shape[0]).filter(is_attacked).collect();
    let mut attacks: Vec<Option<Attacked>> = vec![None; shape[0]];
    let mut turned: Vec<Vec<f32>> = vec![Vec::new(); shape[0]];
    if !places.is_empty() {
        let (pixels, labels, indices) = images.choose(&places);
        let chosen = Images { pixels: &pixels, labels: &labels, indices: &indices, ..images };
        let found = search(net, chosen, eps, &attack, Goal::Misclassify, stop, device)?;
        let Some((mut found, best)) = found else { return Ok(None) };
        ask_again(net, &mut found, &best, &labels, device);
        let size = best.len() / places.len();
        for (row, (i, found)) in places.into_iter().zip(found).enumerate() {
            attacks[i] = Some(found);
            turned[i] = best[row * size..][..size].to_vec();
        }
    }
    let judge = |i: usize| judge(images.indices[i], images.labels[i], clean[i], bounds[i], attacks[i]);
    let verdicts: Vec<Verdict> = (0..shape[0]).map(judge).collect();
    let counterexamples = verdicts.iter().zip(turned).filter(|(verdict, _)| verdict.outcome == Outcome::Attacked);
    let counterexample = |(verdict, pixels): (&Verdict, Vec<f32>)| Counterexample { index: verdict.index, pixels };
    let counterexamples = counterexamples.map(counterexample).collect();
    Ok(Some(Decided { verdicts, counterexamples }))
}

/// Asks the network once more at the images that an attack found, each by itself: what counts is the answer to the numbers that are
/// kept, not that in the batch of the attack, whose last bits may differ.
fn ask_again(net: &ImageNet, found: &mut [Attacked], images: &[f32], labels: &[u32], device: &Device) {
    let target = Target { net: &constant(net), device, plain: true };
    let size = images.len() / found.len();
    for ((found, image), label) in found.iter_mut().zip(images.chunks(size)).zip(labels) {
        if found.found() {
            (found.margin, found.class) = margins(&target.classify(image, 1), &[*label])[0];
        }
    }
}

/// The least lower bound of every row of margins `[N, K]` but that of the label; NaN if one of them is NaN.
pub(crate) fn least(margins: &Tensor<2>, labels: &[u32]) -> Vec<f32> {
    let classes = margins.dims()[1];
    let values = floats(margins.clone());
    let row = |(row, label): (&[f32], &u32)| {
        let others = row.iter().enumerate().filter(|(class, _)| *class != *label as usize);
        others.fold(f32::INFINITY, |least, (_, m)| if *m < least || m.is_nan() { *m } else { least })
    };
    values.chunks(classes).zip(labels).map(row).collect()
}

/// One in ten images, by seed and number.
fn drawn(seed: u64, index: u64) -> bool {
    init::uniform(seed, &format!("attack certified.{index}"), 0.5, 1)[0] < -0.4
}

/// The verdict on one image: `clean` holds what is known of the clean image, `bound` the least lower bound of its
/// margins, `attacked` the result of the attack, where there was one.
pub fn judge(index: u64, label: u32, clean: Attacked, bound: f32, attacked: Option<Attacked>) -> Verdict {
    let clean_margin = clean.clean_margin;
    let attack_margin = attacked.map(|found| found.margin);
    let smallest = attack_margin.unwrap_or(clean_margin);
    let finite = |name: &str, value: f32| (!value.is_finite()).then(|| format!("{name} of image {index} is {value}"));
    let not_finite = finite("the clean margin", clean_margin)
        .or_else(|| finite("the bound", bound))
        .or_else(|| finite("the attack's margin", smallest));
    // The clean image lies in the box as well.
    let contradiction = bound > 0.0 && (smallest <= 0.0 || clean_margin <= 0.0);
    let against = smallest.min(clean_margin);
    let rounding = not_finite.is_none() && contradiction && bound < ROUNDING && -against < ROUNDING;
    let error = not_finite.or_else(|| {
        (contradiction && !rounding).then(|| {
            format!(
                "image {index} is certified with a margin of at least {bound:e}, yet has one of {against:e} in its box"
            )
        })
    });
    let outcome = if error.is_some() {
        Outcome::Error
    } else if clean_margin <= 0.0 {
        Outcome::Misclassified
    } else if smallest <= 0.0 {
        Outcome::Attacked
    } else if bound > 0.0 {
        Outcome::Certified
    } else {
        Outcome::Unknown
    };
    let attack_class = attacked.map(|found| found.class);
    let predicted = clean.clean_class;
    Verdict { index, label, predicted, outcome, clean_margin, bound, attack_margin, attack_class, rounding, error }
}

/// Counts of outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Images with a verdict.
    pub images: u64,
    /// Clean images with another class than their label.
    pub misclassified: u64,
    /// Images with another class in their box.
    pub attacked: u64,
    /// Images without one, proved.
    pub certified: u64,
    /// Neither.
    pub unknown: u64,
    /// Not finite, or contradictory.
    pub errors: u64,
    /// Verdicts where bound and attack disagree by rounding; they are counted under their outcome too.
    pub rounding: u64,
}

impl Summary {
    /// The counts of these verdicts.
    pub fn of<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>) -> Self {
        let mut summary = Self::default();
        verdicts.into_iter().for_each(|verdict| summary.add(verdict));
        summary
    }

    /// Counts one more.
    pub fn add(&mut self, verdict: &Verdict) {
        self.images += 1;
        *match verdict.outcome {
            Outcome::Misclassified => &mut self.misclassified,
            Outcome::Attacked => &mut self.attacked,
            Outcome::Certified => &mut self.certified,
            Outcome::Unknown => &mut self.unknown,
            Outcome::Error => &mut self.errors,
        } += 1;
        self.rounding += u64::from(verdict.rounding);
    }

    fn per_cent(&self, count: u64) -> f64 {
        100.0 * count as f64 / self.images.max(1) as f64
    }

    /// Misclassified images in per cent.
    pub fn standard_error(&self) -> f64 {
        self.per_cent(self.misclassified)
    }

    /// Misclassified and attacked images in per cent.
    pub fn pgd_error(&self) -> f64 {
        self.per_cent(self.misclassified + self.attacked)
    }

    /// Everything that is not certified, errors included, in per cent.
    pub fn certified_error(&self) -> f64 {
        self.per_cent(self.images - self.certified)
    }

    /// Checks that every image has one outcome, that certified error >= PGD error >= standard error, and that no
    /// image is an error. `place` says what was verified.
    pub fn check(&self, place: &str) -> Result<()> {
        let fail = |why: String| Problem::training("verify", place, why);
        let sum = self.misclassified + self.attacked + self.certified + self.unknown + self.errors;
        if sum != self.images {
            return Err(fail(format!("{} images have {sum} outcomes", self.images)));
        }
        check_order([self.standard_error(), self.pgd_error(), self.certified_error()], place)?;
        if self.errors > 0 {
            let why = format!("{} of {} images have no verdict but an error", self.errors, self.images);
            return Err(
                fail(why).hint("the verdict of each says which value is wrong; none of them counts as certified")
            );
        }
        Ok(())
    }
}

/// Checks that certified error >= PGD error >= standard error; `errors` are given the other way round: standard, PGD,
/// certified.
pub fn check_order([standard, pgd, certified]: [f64; 3], place: &str) -> Result<()> {
    if standard <= pgd && pgd <= certified {
        return Ok(());
    }
    let why = format!(
        "standard error {standard} %, PGD error {pgd} % and certified error {certified} % are not in this order"
    );
    Err(Problem::training("verify", place, why).hint("one of the three is computed wrongly: please report this"))
}
