//! One verdict an image: what the bounds prove, what the attack finds, and whether the two can both be true.
//!
//! An image is certified only if a bound was computed and every margin's lower bound is above 0. A bound or a logit
//! that is not finite is a separate verdict.

use serde::{Deserialize, Serialize};
use temper_base::{Problem, Result};

/// Below this size, both margins of a contradiction can be rounding: the last layer merged with the margins and the
/// plain forward pass differ in their last bits.
pub const ROUNDING: f32 = 1e-5;

/// Whether the least lower bound of the margins of an image proves that no image of its box has another class. A bound that is not
/// finite proves nothing.
pub fn certifies(bound: f32) -> bool {
    bound.is_finite() && bound > 0.0
}

/// What was found for one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attacked {
    /// `z_y - max_{j != y} z_j` of the clean image.
    pub clean_margin: f32,
    /// The class of the clean image.
    pub clean_class: u32,
    /// The smallest margin seen in the box, the clean image's included; NaN once a logit was not finite.
    pub margin: f32,
    /// The class at the smallest margin.
    pub class: u32,
}

impl Attacked {
    /// Another class was found in the box, or one with as large a logit.
    pub fn found(&self) -> bool {
        self.margin <= 0.0
    }
}

/// What is known of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
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

impl Verdict {
    /// All of them.
    pub const ALL: [Verdict; 5] =
        [Verdict::Misclassified, Verdict::Attacked, Verdict::Certified, Verdict::Unknown, Verdict::Error];

    /// The word for it in files.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Misclassified => "misclassified",
            Verdict::Attacked => "attacked",
            Verdict::Certified => "certified",
            Verdict::Unknown => "unknown",
            Verdict::Error => "error",
        }
    }

    /// The verdict that a word in a file means.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.name() == name)
    }
}

/// The verdict on one image and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageVerdict {
    /// The number of the image in its data set.
    pub index: u64,
    /// Its label.
    pub label: u32,
    /// The class of the clean image.
    pub predicted: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// `z_y - max_{j != y} z_j` of the clean image.
    pub clean_margin: f32,
    /// The least of the lower bounds of the margins in the box.
    pub bound: f32,
    /// The smallest margin that the attack saw; `None` where it was not run.
    pub attack_margin: Option<f32>,
    /// The class at that margin.
    pub attack_class: Option<u32>,
    /// Bound and attack contradict each other by less than [`ROUNDING`]; the verdict is the attack's.
    pub rounding: bool,
    /// What is wrong, if the verdict is an error.
    pub error: Option<String>,
}

/// The verdict on one image: `clean` holds what is known of the clean image, `bound` the least lower bound of its
/// margins, `attacked` the result of the attack, where there was one.
pub fn judge(index: u64, label: u32, clean: Attacked, bound: f32, attacked: Option<Attacked>) -> ImageVerdict {
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
    let verdict = if error.is_some() {
        Verdict::Error
    } else if clean_margin <= 0.0 {
        Verdict::Misclassified
    } else if smallest <= 0.0 {
        Verdict::Attacked
    } else if certifies(bound) {
        Verdict::Certified
    } else {
        Verdict::Unknown
    };
    let attack_class = attacked.map(|found| found.class);
    let predicted = clean.clean_class;
    ImageVerdict { index, label, predicted, verdict, clean_margin, bound, attack_margin, attack_class, rounding, error }
}

/// Counts of verdicts.
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
    pub fn of<'a>(verdicts: impl IntoIterator<Item = &'a ImageVerdict>) -> Self {
        let mut summary = Self::default();
        verdicts.into_iter().for_each(|verdict| summary.add(verdict));
        summary
    }

    /// Counts one more.
    pub fn add(&mut self, verdict: &ImageVerdict) {
        self.count(verdict.verdict, verdict.rounding);
    }

    /// Counts one more image; `rounding` says whether bound and attack disagree by rounding.
    pub fn count(&mut self, verdict: Verdict, rounding: bool) {
        self.images += 1;
        *match verdict {
            Verdict::Misclassified => &mut self.misclassified,
            Verdict::Attacked => &mut self.attacked,
            Verdict::Certified => &mut self.certified,
            Verdict::Unknown => &mut self.unknown,
            Verdict::Error => &mut self.errors,
        } += 1;
        self.rounding += u64::from(rounding);
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

    /// Checks the counts of a whole verification; `place` says what was verified.
    ///
    /// # Errors
    /// An image without exactly one verdict, errors that do not stand in their order ([`check_order`]), an image whose verdict is
    /// [`Verdict::Error`].
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
///
/// # Errors
/// If they do not, or one of them is NaN.
pub fn check_order([standard, pgd, certified]: [f64; 3], place: &str) -> Result<()> {
    if standard <= pgd && pgd <= certified {
        return Ok(());
    }
    let why = format!(
        "standard error {standard} %, PGD error {pgd} % and certified error {certified} % are not in this order"
    );
    Err(Problem::training("verify", place, why).hint("one of the three is computed wrongly: please report this"))
}
