//! The largest eps at which an image is certified, by bisection, a whole batch at a time.

use burn::tensor::Device;
use temper_base::Result;
use temper_model::image::{Classifier, Statistics};
use temper_verify::{bisect, certifies};

use crate::boxes::{Images, boxes_each};
use crate::ibp::Bound;
use crate::search::Stop;
use crate::verdict::least_margins;

pub use temper_verify::CertifiedRadius;

/// The certified radius of every image of a batch between 0 and `largest`, to within `largest / 2^halvings`. Interval
/// bounds only grow with eps, so that with [`Bound::Ibp`] the radius is the largest up to that; with any bound the
/// image is certified at the value given.
///
/// # Errors
/// If the images do not fit the network, as [`Images::check`] says.
pub fn radii(
    net: &Classifier,
    images: Images,
    largest: f64,
    halvings: usize,
    bound: Bound,
    device: &Device,
) -> Result<Vec<CertifiedRadius>> {
    let found = radii_until(net, images, largest, halvings, bound, &|| false, device)?;
    Ok(found.expect("nothing stops it"))
}

/// The same; `stop` is asked between passes, and `None` comes back once it has said so.
///
/// # Errors
/// As [`radii`].
pub fn radii_until(
    net: &Classifier,
    images: Images,
    largest: f64,
    halvings: usize,
    bound: Bound,
    stop: Stop,
    device: &Device,
) -> Result<Option<Vec<CertifiedRadius>>> {
    let shape = images.check(net.config.input, net.config.classes)?;
    let n = shape[0];
    if n == 0 {
        return Ok(Some(Vec::new()));
    }
    let certified = |eps: &[f64]| {
        let x = boxes_each(images.pixels, shape, eps, &net.mean, &net.std, device);
        let trace = net.trace_plain(x, Statistics::Running);
        let least = least_margins(&bound.margins(net, &trace, images.labels), images.labels);
        least.into_iter().map(certifies).collect::<Vec<bool>>()
    };
    bisect(n, largest, halvings, &|eps| Ok(certified(eps)), stop)
}
