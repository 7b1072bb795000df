//! Training on interval bounds (Gowal et al. 2018), as it was and with the warmup of arXiv 2103.17268.

use std::sync::Arc;

use burn::tensor::Tensor;
use temper_bounds::losses;

use super::{BoundedObjective, Bounds, Named, Objective};
use crate::network::FirstWeights;

/// The robust loss of bounds by interval propagation.
#[derive(Debug)]
pub struct Ibp;

impl Objective for Ibp {
    fn bounded(&self) -> Option<&dyn BoundedObjective> {
        Some(self)
    }
}

impl BoundedObjective for Ibp {
    fn robust_loss(&self, bounds: &Bounds) -> Tensor<1> {
        losses::robust_loss(bounds.net.margins(bounds.trace, bounds.labels))
    }
}

pub(super) const VANILLA: Named = Named {
    name: "vanilla-ibp",
    keys: &[],
    regularised: false,
    first_weights: FirstWeights::Default,
    read: |_| Ok(Arc::new(Ibp)),
};

/// The same objective with the initialisation and the regularisers of the paper.
pub(super) const FAST: Named = Named { name: "fast", regularised: true, first_weights: FirstWeights::Ibp, ..VANILLA };
