//! Training on clean images.

use std::sync::Arc;

use super::{Named, Objective};
use crate::network::FirstWeights;

/// Cross-entropy of the images as they are.
#[derive(Debug)]
pub struct Plain;

impl Objective for Plain {}

pub(super) const PLAIN: Named = Named {
    name: "plain",
    keys: &[],
    regularised: false,
    first_weights: FirstWeights::Default,
    read: |_| Ok(Arc::new(Plain)),
};
