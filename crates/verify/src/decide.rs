//! The engine: from bounds and attack to one verdict an image. It knows no tensors: an [`Engine`] has the network.

use std::time::Instant;

use temper_base::Result;
use temper_base::random::Stream;

use crate::cascade::{Arithmetic, Stage};
use crate::store::StageSeconds;
use crate::verdict::{Attacked, Evidence, ImageVerdict, Verdict, certifies, judge};

/// A batch of labelled images and a network, as far as verdicts need them. A function that may take long asks now and then whether
/// it is to stop, and gives `None` if so.
pub trait Engine {
    /// The N labels.
    fn labels(&self) -> &[u32];

    /// The N numbers of the images in their data set.
    fn indices(&self) -> &[u64];

    /// Of every image, the least lower bound of its margins in its box; NaN if one of them is NaN. An image that is not bounded has none.
    ///
    /// # Errors
    /// If the images do not fit the network.
    fn bounds(&self) -> Result<Option<Vec<Option<f64>>>>;

    /// The sense in which the bounds hold.
    fn arithmetic(&self) -> Arithmetic;

    /// Whether these pixels, which have another class than the label of the image at this place, speak against a bound that certifies it;
    /// without pixels, whether the image itself does. Only asked of bounds that are sound under rounding.
    fn refutes(&self, place: usize, found: Option<&[f32]>) -> bool;

    /// Of every image, margin and class without any attack.
    ///
    /// # Errors
    /// If the images do not fit the network.
    fn clean(&self) -> Result<Option<Vec<Attacked>>>;

    /// Attacks the images at these places of the batch: what was found, and the pixels of each smallest margin, one image behind the
    /// other; no pixels if nobody wants them.
    ///
    /// # Errors
    /// If the images do not fit the network.
    fn attack(&self, places: &[usize]) -> Result<Option<(Vec<Attacked>, Vec<f32>)>>;
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

temper_base::names!(AttackCertified { All = "all", Tenth = "tenth", None = "uncertified" });

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
    pub verdicts: Vec<ImageVerdict>,
    /// One for every [`Verdict::Attacked`], in the same order.
    pub counterexamples: Vec<Counterexample>,
    /// What bounds and attack took.
    pub seconds: StageSeconds,
}

impl AttackCertified {
    /// Whether an image is attacked, of which `clean` and the least lower bound `bound` of its margins are known. `seed` is the
    /// attack's, `index` the number of the image.
    pub fn attacks(self, clean: &Attacked, bound: Option<f64>, seed: u64, index: u64) -> bool {
        let uncertified = bound.is_none_or(|bound| bound <= 0.0);
        match self {
            AttackCertified::All => true,
            _ if clean.found() => false,
            AttackCertified::None => uncertified,
            AttackCertified::Tenth => uncertified || drawn(seed, index),
        }
    }
}

/// One in ten images, by seed and number.
fn drawn(seed: u64, index: u64) -> bool {
    let uniform = Stream::named(seed, &format!("attack certified.{index}")).at(0);
    (((2.0 * uniform - 1.0) * 0.5) as f32) < -0.4
}

/// Decides every image of a batch; those for which `attacks` says so, given place, clean image and bound, are attacked. `None` if the
/// engine was told to stop.
///
/// # Errors
/// If the images do not fit the network.
pub fn decide(engine: &dyn Engine, attacks: &dyn Fn(usize, &Attacked, Option<f64>) -> bool) -> Result<Option<Decided>> {
    let (labels, indices) = (engine.labels(), engine.indices());
    let n = labels.len();
    if n == 0 {
        return Ok(Some(Decided::default()));
    }
    let (mut seconds, clock) = (StageSeconds::default(), Instant::now());
    let Some(bounds) = engine.bounds()? else { return Ok(None) };
    seconds[Stage::Ibp as usize] = clock.elapsed().as_secs_f64();
    let Some(clean) = engine.clean()? else { return Ok(None) };
    let places: Vec<usize> = (0..n).filter(|&i| attacks(i, &clean[i], bounds[i])).collect();
    let mut attacked: Vec<Option<Attacked>> = vec![None; n];
    let mut turned: Vec<Vec<f32>> = vec![Vec::new(); n];
    if !places.is_empty() {
        let Some((found, pixels)) = engine.attack(&places)? else { return Ok(None) };
        let size = pixels.len() / places.len();
        for (row, (i, found)) in places.into_iter().zip(found).enumerate() {
            attacked[i] = Some(found);
            turned[i] = pixels[row * size..][..size].to_vec();
        }
    }
    seconds[Stage::Attack as usize] = clock.elapsed().as_secs_f64() - seconds[Stage::Ibp as usize];
    let arithmetic = engine.arithmetic();
    let verdict = |i: usize| {
        let (clean, bound, attacked) = (clean[i], bounds[i], attacked[i]);
        let by_attack = attacked.is_some_and(|found| found.found());
        let contradiction = bound.is_some_and(certifies) && (by_attack || clean.clean_margin <= 0.0);
        let refuted = contradiction && arithmetic != Arithmetic::Real && {
            let itself = clean.clean_margin <= 0.0 && engine.refutes(i, None);
            itself || (by_attack && engine.refutes(i, Some(&turned[i])))
        };
        judge(indices[i], labels[i], &Evidence { clean, bound, arithmetic, attacked, refuted })
    };
    let verdicts: Vec<ImageVerdict> = (0..n).map(verdict).collect();
    let counterexamples = verdicts.iter().zip(turned).filter(|(verdict, _)| verdict.verdict == Verdict::Attacked);
    let counterexamples = counterexamples.map(|(verdict, pixels)| Counterexample { index: verdict.index, pixels });
    let counterexamples = counterexamples.collect();
    Ok(Some(Decided { verdicts, counterexamples, seconds }))
}
