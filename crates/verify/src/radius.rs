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
    let radius = |i: usize| match (at_zero[i], at_largest[i]) {
        (false, _) => CertifiedRadius { certified: None, uncertified: Some(0.0) },
        (true, true) => CertifiedRadius { certified: Some(largest), uncertified: None },
        (true, false) => CertifiedRadius { certified: Some(ends[i][0]), uncertified: Some(ends[i][1]) },
    };
    Ok(Some((0..n).map(radius).collect()))
}
