//! The networks that have names.

use serde::{Deserialize, Serialize};
use temper_base::{Problem, Result};

use crate::cnn;
use crate::config::{LARGEST, NetworkConfig};
use crate::resnext::{PAPER, ResNext, TINY, resnext};
use crate::wide_resnet::wide_resnet_8;

/// Where a network normalises its activations (arXiv 2103.17268, section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchNorm {
    /// Nowhere.
    None,
    /// After the convolutions only, as in earlier work.
    Conv,
    /// After every layer with weights except the last, as in the paper.
    Full,
}

temper_base::names!(BatchNorm { Full = "full", Conv = "conv", None = "none" });

/// A network that has a name.
pub struct Named {
    /// Its name.
    pub name: &'static str,
    /// The width it has if none is asked for: channels of the first convolution; the widening factor of
    /// `wide-resnet-8`; channels a group of `resnext`.
    pub width: usize,
    /// What it is, in a line.
    pub about: &'static str,
}

/// The networks of [`by_name`].
#[rustfmt::skip]
pub const NETWORKS: [Named; 11] = [
    Named { name: "cnn7", width: 64, about: "the paper's CNN-7: five convolutions, linear 512" },
    Named { name: "cnn7-tiny", width: 64, about: "the same with stride 2 in the fifth convolution, for TinyImageNet" },
    Named { name: "cnn6", width: 32, about: "four convolutions, linear 256" },
    Named { name: "wide-resnet-8", width: 8, about: "the paper's Wide-ResNet" },
    Named { name: "wide-resnet-8-tiny", width: 10, about: "the same, wider, for TinyImageNet" },
    Named { name: "resnext", width: 32, about: "the paper's ResNeXt" },
    Named { name: "resnext-tiny", width: 8, about: "the same, deeper and narrower, for TinyImageNet" },
    Named { name: "small", width: 16, about: "two strided convolutions, linear 128: minutes on two processor cores" },
    Named { name: "dm-small", width: 16, about: "the small network of Gowal et al. 2018, there without batch norm" },
    Named { name: "dm-medium", width: 32, about: "their medium network, there without batch norm" },
    Named { name: "dm-large", width: 64, about: "their large network: CNN-7, there without batch norm" },
];

/// The network called `name` for images of the shape `input` `[C, H, W]`. A name may end in `-nobn` or `-convbn`,
/// which overrules `batch_norm`.
///
/// # Errors
/// If no network has that name, the width is 0 or over 2^20, or the network does not fit the image ([`NetworkConfig::shapes`]).
pub fn by_name(
    name: &str,
    width: Option<usize>,
    batch_norm: BatchNorm,
    input: [usize; 3],
    classes: usize,
) -> Result<NetworkConfig> {
    let (name, bn) = split_suffix(name, batch_norm);
    let Some(named) = NETWORKS.iter().find(|named| named.name == name) else { return Err(unknown(name)) };
    let width = width.unwrap_or(named.width);
    if width == 0 || width > LARGEST {
        let problem = Problem::input("build network", name, format!("its width is {width}"));
        return Err(problem.hint(format!("a width is at least 1 and at most {LARGEST}; {} is usual", named.width)));
    }
    match name {
        "cnn7" | "dm-large" => cnn::cnn7(width, 1, bn, input, classes),
        "cnn7-tiny" => cnn::cnn7(width, 2, bn, input, classes),
        "cnn6" => cnn::cnn6(width, bn, input, classes),
        "wide-resnet-8" | "wide-resnet-8-tiny" => wide_resnet_8(width, bn, input, classes),
        "resnext" => resnext(ResNext { bottleneck: width, ..PAPER }, bn, input, classes),
        "resnext-tiny" => resnext(ResNext { bottleneck: width, ..TINY }, bn, input, classes),
        "small" => cnn::small(width, bn, input, classes),
        "dm-small" => cnn::dm_small(width, bn, input, classes),
        "dm-medium" => cnn::dm_medium(width, bn, input, classes),
        _ => Err(unknown(name)),
    }
}

fn split_suffix(name: &str, batch_norm: BatchNorm) -> (&str, BatchNorm) {
    match (name.strip_suffix("-nobn"), name.strip_suffix("-convbn")) {
        (Some(name), _) => (name, BatchNorm::None),
        (_, Some(name)) => (name, BatchNorm::Conv),
        _ => (name, batch_norm),
    }
}

fn unknown(name: &str) -> Problem {
    let names = || NETWORKS.iter().map(|named| named.name);
    let distance = |known: &str| strsim::damerau_levenshtein(name, known);
    let nearest = names().min_by_key(|known| distance(known)).filter(|known| distance(known) <= 4);
    let hint = match nearest {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => format!("networks: {}; or give a list of layers", names().collect::<Vec<_>>().join(", ")),
    };
    Problem::input("build network", name, "is not the name of a network").hint(hint)
}
