//! Mean and deviation of pixels before the network sees them.

use temper_base::Result;
use temper_data::images::{Images, Known, known};

use crate::spec::CertifySpec;

/// Whose mean and deviation the recipe asks for.
#[derive(Debug, Clone, Copy)]
pub enum Normalise {
    /// Those of a known data set where the images are one, none otherwise.
    Auto,
    /// Pixels as they are.
    None,
    /// Those of the training images.
    Own,
    /// Those of this data set.
    As(&'static Known),
}

impl Normalise {
    /// The names of all.
    pub const NAMES: &'static [&'static str] = &["auto", "none", "own", "cifar-10", "tiny-imagenet"];

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "none" => Some(Self::None),
            "own" => Some(Self::Own),
            set => known(set).map(Self::As),
        }
    }
}

/// How pixels are normalised before the network sees them.
pub struct Normalisation {
    /// A channel each.
    pub mean: Vec<f32>,
    /// A channel each.
    pub std: Vec<f32>,
    /// The numbers and the reason for them, in a line.
    pub because: String,
}

impl Normalisation {
    fn new(mean: &[f32], std: &[f32], why: &str) -> Self {
        let list = |values: &[f32]| values.iter().map(|value| format!("{value:.4}")).collect::<Vec<_>>().join(", ");
        let because = if mean.iter().all(|mean| *mean == 0.0) && std.iter().all(|std| *std == 1.0) {
            format!("pixels from 0 to 1 as they are: {why}")
        } else {
            format!("mean {}, deviation {}: {why}", list(mean), list(std))
        };
        Self { mean: mean.to_vec(), std: std.to_vec(), because }
    }
}

/// That of a known data set.
pub(crate) fn of_known(known: &Known) -> Normalisation {
    Normalisation::new(known.mean, known.std, &format!("those of {}, which the images are", known.title))
}

/// Mean and deviation for training on these images: those of a known data set only where the content is that, or where the
/// recipe says so. What a folder is called proves nothing.
pub(crate) fn normalisation(spec: &CertifySpec, train: &Images) -> Result<Normalisation> {
    let channels = train.shape[0];
    let nothing = |why: &str| Normalisation::new(&vec![0.0; channels], &vec![1.0; channels], why);
    Ok(match spec.images.normalise {
        Normalise::None => nothing("data.normalise is \"none\""),
        Normalise::Own => {
            let (mean, std) = train.statistics();
            Normalisation::new(&mean, &std, "those of the training images, data.normalise is \"own\"")
        }
        Normalise::Auto => match train.known.and_then(known) {
            Some(known) => of_known(known),
            None => nothing("the images are of no known data set; data.normalise = \"own\" takes their own statistics"),
        },
        Normalise::As(known) => {
            if known.shape[0] != channels {
                let why = format!("{} has {} channels, the images have {channels}", known.title, known.shape[0]);
                return Err(spec.problem("data.normalise", why).hint("\"own\" takes the statistics of the images"));
            }
            Normalisation::new(known.mean, known.std, &format!("those of {}, by data.normalise", known.title))
        }
    })
}
