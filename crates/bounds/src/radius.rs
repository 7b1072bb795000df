//! The largest eps at which an image is certified, by bisection, a whole batch at a time.

use burn::tensor::Device;
use temper_base::Result;
use temper_model::image::{ImageNet, Statistics};

use crate::boxes::{Images, boxes_each};
use crate::ibp::Bound;
use crate::search::Stop;
use crate::verdict::least;

/// What bisection leaves of the radius of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Radius {
    /// The largest eps tried at which the image is certified; `None` where it is not certified at any, as when it is
    /// misclassified.
    pub certified: Option<f64>,
    /// The smallest eps tried, above that, at which it is not; `None` where it is certified at the largest asked for.
    pub uncertified: Option<f64>,
}

/// The certified radius of every image of a batch between 0 and `largest`, to within `largest / 2^halvings`. Interval
/// bounds only grow with eps, so that with [`Bound::Ibp`] the radius is the largest up to that; with any bound the
/// image is certified at the value given. Wrong images for the network are the user's error.
pub fn radii(
    net: &ImageNet,
    images: Images,
    largest: f64,
    halvings: usize,
    bound: Bound,
    device: &Device,
) -> Result<Vec<Radius>> {
    let found = radii_until(net, images, largest, halvings, bound, &|| false, device)?;
    Ok(found.expect("nothing stops it"))
}

/// The same; `stop` is asked between passes, and `None` comes back once it has said so.
pub fn radii_until(
    net: &ImageNet,
    images: Images,
    largest: f64,
    halvings: usize,
    bound: Bound,
    stop: Stop,
    device: &Device,
) -> Result<Option<Vec<Radius>>> {
    let shape = images.check(net.config.input, net.config.classes)?;
    let n = shape[0];
    if n == 0 {
        return Ok(Some(Vec::new()));
    }
    let certified = |eps: &[f64]| {
        let x = boxes_each(images.pixels, shape, eps, &net.mean, &net.std, device);
        let trace = net.trace_plain(x, Statistics::Running);
        let least = least(&bound.margins(net, &trace, images.labels), images.labels);
        // A bound that is not finite proves nothing.
        least.into_iter().map(|least| least.is_finite() && least > 0.0).collect::<Vec<bool>>()
    };
    let (at_zero, at_largest) = (certified(&vec![0.0; n]), certified(&vec![largest; n]));
    // Between a radius that holds and one that does not.
    let mut ends: Vec<[f64; 2]> = vec![[0.0, largest]; n];
    for _ in 0..halvings {
        if stop() {
            return Ok(None);
        }
        let middle: Vec<f64> = ends.iter().map(|[lower, upper]| 0.5 * (lower + upper)).collect();
        for ((ends, middle), holds) in ends.iter_mut().zip(&middle).zip(certified(&middle)) {
            ends[usize::from(!holds)] = *middle;
        }
    }
    let radius = |i: usize| match (at_zero[i], at_largest[i]) {
        (false, _) => Radius { certified: None, uncertified: Some(0.0) },
        (true, true) => Radius { certified: Some(largest), uncertified: None },
        (true, false) => Radius { certified: Some(ends[i][0]), uncertified: Some(ends[i][1]) },
    };
    Ok(Some((0..n).map(radius).collect()))
}
