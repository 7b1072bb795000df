//! The networks that have names.

use serde::{Deserialize, Serialize};
use temper_record::{Problem, Result};

use super::cnn;
use super::config::NetworkConfig;

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

/// The network called `name` for images of the shape `input`.
pub fn by_name(
    name: &str,
    width: Option<usize>,
    batch_norm: BatchNorm,
    input: [usize; 3],
    classes: usize,
) -> Result<NetworkConfig> {
    match name {
        "cnn7" => cnn::cnn7(width.unwrap_or(64), 1, batch_norm, input, classes),
        "cnn7-tiny" => cnn::cnn7(width.unwrap_or(64), 2, batch_norm, input, classes),
        "small" => cnn::small(width.unwrap_or(16), batch_norm, input, classes),
        _ => Err(Problem::input("build network", name, "is not a network")),
    }
}
