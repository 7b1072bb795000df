//! The methods of training: each is a file here and a line of [`METHODS`].

mod crown_ibp;
mod ibp;
mod pgd;
mod plain;

use std::fmt;
use std::sync::Arc;

use burn::tensor::Tensor;
use temper_base::Result;
use temper_model::Classifier;
use temper_model::image::Trace;
use temper_recipe::{Key, Recipe};

use crate::network::FirstWeights;
use crate::radius::EpsAt;

pub use crown_ibp::{CrownIbp, Mixing};
pub use ibp::Ibp;
pub use pgd::Pgd;
pub use plain::Plain;

/// What the images of a batch are trained against. Regularisers and radius come from outside.
pub trait Objective: fmt::Debug + Send + Sync {
    /// Steps of the attack that an update of a radius above 0 begins with, to train on the attacked images; 0 leaves them as they are.
    fn attack_steps(&self) -> usize {
        0
    }

    /// The loss of the bounds, where the radius is above 0; `None` trains on the cross-entropy of the images.
    fn bounded(&self) -> Option<&dyn BoundedObjective> {
        None
    }

    /// The keys that count for nothing beside others of the method, and why.
    fn idle_keys(&self) -> Option<(&'static str, &'static [&'static str])> {
        None
    }
}

/// An objective on bounds.
pub trait BoundedObjective {
    /// The robust loss.
    fn robust_loss(&self, bounds: &Bounds) -> Tensor<1>;

    /// The part of the clean loss in what is minimised.
    fn clean_part(&self, _radius: &EpsAt) -> f64 {
        0.0
    }

    /// Passes through the network for an image that linear bounds add at this radius.
    fn linear_passes(&self, _radius: &EpsAt, _classes: usize) -> u64 {
        0
    }

    /// How often linear bounds keep every layer's output again for the backward pass.
    fn kept_again(&self, _classes: usize) -> u64 {
        0
    }
}

/// What a robust loss is made of.
pub struct Bounds<'a> {
    /// The network, on the tape.
    pub net: &'a Classifier,
    /// Its pass over images and boxes.
    pub trace: &'a Trace,
    /// The classes of the images.
    pub labels: &'a [u32],
    /// The radius of the update.
    pub radius: &'a EpsAt,
}

/// A method as recipes name it.
#[derive(Debug)]
pub struct Named {
    /// Its name.
    pub name: &'static str,
    /// The keys that it has alone.
    pub keys: &'static [Key],
    /// Whether the warmup regularisers act, where a recipe does not say.
    pub regularised: bool,
    /// How first weights are drawn, where a recipe does not say.
    pub first_weights: FirstWeights,
    /// Reads its objective.
    pub read: fn(&Recipe) -> Result<Arc<dyn Objective>>,
}

/// The methods, in the order in which they are named to users.
pub const METHODS: [&Named; 5] = [&plain::PLAIN, &pgd::PGD, &ibp::VANILLA, &crown_ibp::CROWN_IBP, &ibp::FAST];

/// Their names.
pub const NAMES: [&str; METHODS.len()] = {
    let mut names = [""; METHODS.len()];
    let mut i = 0;
    while i < METHODS.len() {
        names[i] = METHODS[i].name;
        i += 1;
    }
    names
};

/// Their keys, those of the later methods first.
pub(crate) const KEYS: [&[Key]; METHODS.len()] = {
    let mut keys: [&[Key]; METHODS.len()] = [&[]; METHODS.len()];
    let mut i = 0;
    while i < METHODS.len() {
        keys[i] = METHODS[METHODS.len() - 1 - i].keys;
        i += 1;
    }
    keys
};

/// The method of this name.
pub fn find_method(name: &str) -> Option<&'static Named> {
    METHODS.into_iter().find(|method| method.name == name)
}
