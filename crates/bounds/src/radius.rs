//! The largest eps at which an image is certified, by bisection, a whole batch at a time.

use temper_base::Result;
use temper_model::image::Classifier;
use temper_verify::{Arithmetic, Certifier, Settings, Stage};

use crate::boxes::Images;

pub use temper_verify::CertifiedRadius;

/// The certified radius of every image of a batch between 0 and `largest`, to within `largest / 2^halvings`, by interval bounds, which
/// only grow with eps.
///
/// # Errors
/// If the images do not fit the network, as [`Images::check`] says, and weights that are not finite.
pub fn radii(
    net: &Classifier,
    images: Images,
    largest: f64,
    halvings: usize,
    arithmetic: Arithmetic,
) -> Result<Vec<CertifiedRadius>> {
    images.check(net.config.input, net.config.classes)?;
    let settings = Settings { stages: vec![Stage::Ibp], arithmetic, ..Settings::default() };
    let certifier = Certifier::new(&net.to_network())?;
    let found = certifier.radii(images.pixels, images.labels, largest, halvings, &settings, &|| false)?;
    Ok(found.expect("nothing stops it"))
}
