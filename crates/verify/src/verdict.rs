//! One verdict an image: what the bounds prove, what the attack finds, and whether the two can both be true.
//!
//! An image is certified only if a bound was computed and every margin's lower bound is above 0. A bound or a logit
//! that is not finite is a separate verdict.

use temper_base::{Problem, Result};

use crate::cascade::{Arithmetic, Stage};

/// Below this size, both margins of a contradiction in plain arithmetic can be rounding: the last layer merged with the margins and the
/// plain forward pass differ in their last bits.
pub const ROUNDING: f32 = 1e-5;

/// Whether the least lower bound of the margins of an image proves that no image of its box has another class. A bound that is not
/// finite proves nothing.
pub fn certifies(bound: f64) -> bool {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The clean image has another class than its label.
    Misclassified,
    /// An image of the box has another class.
    Attacked,
    /// No image of the box has another class.
    Certified,
    /// Neither was found; the reason says why the search ended.
    Unknown,
    /// Neither was found in time.
    Timeout,
    /// A value was not finite, or bound and attack contradict each other.
    Error,
}

temper_base::names!(Verdict {
    Misclassified = "misclassified",
    Attacked = "attacked",
    Certified = "certified",
    Unknown = "unknown",
    Timeout = "timeout",
    Error = "error",
});

impl Verdict {
    /// All of them.
    pub const ALL: [Verdict; 6] = [
        Verdict::Misclassified,
        Verdict::Attacked,
        Verdict::Certified,
        Verdict::Unknown,
        Verdict::Timeout,
        Verdict::Error,
    ];
}

/// The verdict on one image and what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageVerdict {
    /// The number of the image in its data set.
    pub index: u64,
    /// Its label.
    pub label: u32,
    /// The class of the clean image.
    pub predicted: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// The stage that gave it, or the last one that tried; `None` where the clean image decided.
    pub stage: Option<Stage>,
    /// The sense in which a certificate holds.
    pub arithmetic: Option<Arithmetic>,
    /// `z_y - max_{j != y} z_j` of the clean image.
    pub clean_margin: f32,
    /// The least of the lower bounds of the margins in the box; `None` where nothing was bounded.
    pub bound: Option<f64>,
    /// The smallest margin that an attack saw; `None` where none was run.
    pub attack_margin: Option<f32>,
    /// The class at that margin.
    pub attack_class: Option<u32>,
    /// Bound and attack contradict each other, and it is rounding that parts them: see [`judge`].
    pub rounding: bool,
    /// What is wrong, if the verdict is an error; why the search ended, if it is unknown.
    pub reason: Option<String>,
}

impl ImageVerdict {
    /// Whether a search may still decide it.
    pub fn is_open(&self) -> bool {
        self.verdict == Verdict::Unknown
    }
}

/// What is known of one image, before any search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Of the clean image.
    pub clean: Attacked,
    /// The least lower bound of its margins in the box; `None` where nothing was bounded.
    pub bound: Option<f64>,
    /// The sense in which the bound holds.
    pub arithmetic: Arithmetic,
    /// The result of the attack, where there was one.
    pub attacked: Option<Attacked>,
    /// Where a bound that is sound under rounding and an attack contradict each other: whether what was found speaks against the bound all
    /// the same.
    pub refuted: bool,
}

/// The verdict on one image. A bound and an attack that contradict each other are an error, unless it is rounding that parts them. In
/// plain arithmetic that is so where both margins are below [`ROUNDING`], and then the attack counts. A sound certificate is one of the
/// network over the real numbers: it stands where only the network in single precision has another class, and where the image that was
/// found lies beside the box by rounding.
pub fn judge(index: u64, label: u32, evidence: &Evidence) -> ImageVerdict {
    let Evidence { clean, bound, arithmetic, attacked, refuted } = *evidence;
    let clean_margin = clean.clean_margin;
    let attack_margin = attacked.map(|found| found.margin);
    let smallest = attack_margin.unwrap_or(clean_margin);
    let finite = |name: &str, value: f64| (!value.is_finite()).then(|| format!("{name} of image {index} is {value}"));
    let not_finite = finite("the clean margin", clean_margin.into())
        .or_else(|| finite("the bound", bound.unwrap_or(0.0)))
        .or_else(|| finite("the attack's margin", smallest.into()));
    // The clean image lies in the box as well.
    let against = smallest.min(clean_margin);
    let proved = bound.is_some_and(certifies);
    let contradiction = proved && against <= 0.0;
    let in_last_bits = bound.is_some_and(|bound| bound < ROUNDING.into()) && -against < ROUNDING;
    let sound = arithmetic != Arithmetic::Real;
    let rounding = not_finite.is_none() && contradiction && if sound { !refuted } else { in_last_bits };
    let error = not_finite.or_else(|| {
        let bound = bound.unwrap_or_default();
        (contradiction && !rounding).then(|| {
            format!(
                "image {index} is certified with a margin of at least {bound:e}, yet has one of {against:e} in its box"
            )
        })
    });
    let (verdict, stage) = if error.is_some() {
        (Verdict::Error, None)
    } else if clean_margin <= 0.0 {
        (Verdict::Misclassified, None)
    } else if smallest <= 0.0 && !(proved && sound) {
        (Verdict::Attacked, Some(Stage::Attack))
    } else if proved {
        (Verdict::Certified, Some(Stage::Ibp))
    } else {
        let last = bound.map(|_| Stage::Ibp).or(attacked.map(|_| Stage::Attack));
        (Verdict::Unknown, last)
    };
    ImageVerdict {
        index,
        label,
        predicted: clean.clean_class,
        verdict,
        stage,
        arithmetic: (verdict == Verdict::Certified).then_some(arithmetic),
        clean_margin,
        bound,
        attack_margin,
        attack_class: attacked.map(|found| found.class),
        rounding,
        reason: error,
    }
}

/// Counts of verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    /// Neither, in the time that there was.
    pub timeouts: u64,
    /// Not finite, or contradictory.
    pub errors: u64,
    /// Verdicts where bound and attack disagree by rounding; they are counted under their outcome too.
    pub rounding: u64,
    /// What every stage decided, in the order of [`Stage`].
    pub stages: [StageCount; Stage::NAMES.len()],
}

/// What a stage decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageCount {
    /// Images that it certified.
    pub certified: u64,
    /// Images of which it found another class.
    pub attacked: u64,
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
        self.count(verdict.verdict, verdict.stage, verdict.rounding);
    }

    /// Counts one more image, which this stage decided; `rounding` says whether bound and attack disagree by rounding.
    pub fn count(&mut self, verdict: Verdict, stage: Option<Stage>, rounding: bool) {
        self.images += 1;
        *match verdict {
            Verdict::Misclassified => &mut self.misclassified,
            Verdict::Attacked => &mut self.attacked,
            Verdict::Certified => &mut self.certified,
            Verdict::Unknown => &mut self.unknown,
            Verdict::Timeout => &mut self.timeouts,
            Verdict::Error => &mut self.errors,
        } += 1;
        self.rounding += u64::from(rounding);
        if let Some(stage) = stage {
            let count = &mut self.stages[stage as usize];
            count.certified += u64::from(verdict == Verdict::Certified);
            count.attacked += u64::from(verdict == Verdict::Attacked);
        }
    }

    fn per_cent(&self, count: u64) -> f64 {
        100.0 * count as f64 / self.images.max(1) as f64
    }

    /// Misclassified images in per cent.
    pub fn standard_error(&self) -> f64 {
        self.per_cent(self.misclassified)
    }

    /// Misclassified and attacked images in per cent.
    pub fn robust_error(&self) -> f64 {
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
        let sum = self.misclassified + self.attacked + self.certified + self.unknown + self.timeouts + self.errors;
        if sum != self.images {
            return Err(fail(format!("{} images have {sum} outcomes", self.images)));
        }
        check_order([self.standard_error(), self.robust_error(), self.certified_error()], place)?;
        if self.errors > 0 {
            let why = format!("{} of {} images have no verdict but an error", self.errors, self.images);
            return Err(
                fail(why).hint("the verdict of each says which value is wrong; none of them counts as certified")
            );
        }
        Ok(())
    }
}

/// Checks that certified error >= robust error (that of an attack) >= standard error; `errors` are given the other way round: standard,
/// robust, certified.
///
/// # Errors
/// If they do not, or one of them is NaN.
pub fn check_order([standard, robust, certified]: [f64; 3], place: &str) -> Result<()> {
    if standard <= robust && robust <= certified {
        return Ok(());
    }
    let why = format!(
        "standard error {standard} %, robust error {robust} % and certified error {certified} % are not in this order"
    );
    Err(Problem::training("verify", place, why).hint("one of the three is computed wrongly: please report this"))
}
