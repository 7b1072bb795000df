//! The largest radius at which an image is certified, by bisection, a whole batch at a time.

use temper_base::Result;

/// What bisection leaves of the radius of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CertifiedRadius {
    /// The largest eps tried at which the image is certified; `None` where it is not certified at any, as when it is
    /// misclassified.
    pub certified: Option<f64>,
    /// The smallest eps tried, above that, at which it is not; `None` where it is certified at the largest asked for.
    pub uncertified: Option<f64>,
}

/// The certified radius of every image of a batch of `n` between 0 and `largest`, to within `largest / 2^halvings`. `certified` says
/// at which of these radii, one an image, each image is certified. `stop` is asked between passes; `None` once it has said so.
///
/// # Errors
/// Those of `certified`.
pub fn bisect(
    n: usize,
    largest: f64,
    halvings: usize,
    certified: &dyn Fn(&[f64]) -> Result<Vec<bool>>,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Vec<CertifiedRadius>>> {
    let (at_zero, at_largest) = (certified(&vec![0.0; n])?, certified(&vec![largest; n])?);
    if stop() {
        return Ok(None);
    }
    // Between a radius that holds and one that does not.
    let mut ends: Vec<[f64; 2]> = vec![[0.0, largest]; n];
    for _ in 0..halvings {
        if stop() {
            return Ok(None);
        }
        let middle: Vec<f64> = ends.iter().map(|[lower, upper]| 0.5 * (lower + upper)).collect();
        for ((ends, middle), holds) in ends.iter_mut().zip(&middle).zip(certified(&middle)?) {
            ends[usize::from(!holds)] = *middle;
        }
    }
    if stop() {
        return Ok(None);
    }
    let radius = |i: usize| match (at_zero[i], at_largest[i]) {
        (false, _) => CertifiedRadius { certified: None, uncertified: Some(0.0) },
        (true, true) => CertifiedRadius { certified: Some(largest), uncertified: None },
        (true, false) => CertifiedRadius { certified: Some(ends[i][0]), uncertified: Some(ends[i][1]) },
    };
    Ok(Some((0..n).map(radius).collect()))
}

/// How the certified radii of a set are spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RadiusSummary {
    /// Images.
    pub images: usize,
    /// The mean radius.
    pub mean: f64,
    /// The median: of an even number of images, the upper one of the two in the middle.
    pub median: f64,
    /// The radii a quarter and three quarters up.
    pub quartiles: [f64; 2],
    /// Images with a radius of 0: certified at no radius, or at 0 alone.
    pub none: usize,
}

impl RadiusSummary {
    /// That of these radii, one an image, 0 where an image is certified at none. All is 0 where there is no image.
    pub fn of(mut radii: Vec<f64>) -> Self {
        radii.sort_by(f64::total_cmp);
        let images = radii.len();
        let at = |part: f64| radii.get(((images as f64 - 1.0) * part).round() as usize).copied().unwrap_or(0.0);
        Self {
            images,
            // From the smallest radius up: the sum does not depend on the order of the images.
            mean: radii.iter().sum::<f64>() / images.max(1) as f64,
            median: at(0.5),
            quartiles: [at(0.25), at(0.75)],
            none: radii.iter().filter(|radius| **radius == 0.0).count(),
        }
    }
}
