//! Training on attacked images (Madry et al. 2018).

use std::sync::Arc;

use temper_recipe::Kind;

use super::{Named, Objective};
use crate::network::FirstWeights;
use crate::spec::key;

/// Cross-entropy of images after this many steps of an attack.
#[derive(Debug)]
pub struct Pgd {
    /// Steps.
    pub attack_steps: usize,
}

impl Objective for Pgd {
    fn attack_steps(&self) -> usize {
        self.attack_steps
    }
}

const STEPS: &str = "method.attack_steps";

pub(super) const PGD: Named = Named {
    name: "pgd",
    keys: &[key(STEPS, Kind::Int(1), "pgd: steps of the attack during training").default("7").anew()],
    regularised: false,
    first_weights: FirstWeights::Default,
    read: |recipe| Ok(Arc::new(Pgd { attack_steps: recipe.usize(STEPS)? })),
};
