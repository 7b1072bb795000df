//! What a step of certified training computes: an objective ([`crate::methods`]), and the ingredients that any may have.

use std::sync::Arc;

use temper_base::Result;
use temper_recipe::Kind::{Bool, Choice, Float};
use temper_recipe::Range::{AboveZeroToOne, AtLeastZero};
use temper_recipe::{Key, Recipe};

use crate::methods::{self, Named, Objective};
use crate::radius::{self, EpsAt};
use crate::spec::key;

/// The keys that all methods have, before and behind those of single ones.
pub(crate) const KEYS: [&[Key]; 2] = [
    &[
        key(
            "method.name",
            Choice(&methods::NAMES),
            "the method of training; \"fast\" is arXiv 2103.17268; sets the keys of [method] that the recipe leaves out",
        )
        .default("\"fast\"")
        .anew(),
        key("method.tightness", Bool, "use the warmup regulariser against loose bounds").anew(),
        key("method.relu_balance", Bool, "use the warmup regulariser against too many inactive or active ReLUs").anew(),
        key("method.lambda", Float(AtLeastZero), "weight of the warmup regularisers at eps = 0").default("0.5").anew(),
        key("method.tau", Float(AboveZeroToOne), "tolerance of the warmup regularisers").default("0.5").anew(),
    ],
    &[
        key(
            "method.precise_batch_norm",
            Bool,
            "before each evaluation, compute the running statistics anew over the training set",
        )
        .default("false")
        .anew(),
    ],
];

/// A method.
#[derive(Debug, Clone)]
pub struct Method {
    /// What the images are trained against.
    pub objective: Arc<dyn Objective>,
    /// The warmup regulariser against loose bounds.
    pub tightness: bool,
    /// The warmup regulariser against unbalanced ReLUs.
    pub relu_balance: bool,
    /// Weight of the regularisers at radius 0.
    pub lambda: f64,
    /// Tolerance of the regularisers.
    pub tau: f64,
    /// Least radius of the bounds while the regularisers act.
    pub floor: f64,
}

/// The method that a recipe names.
pub(crate) fn named_method(recipe: &Recipe) -> Result<&'static Named> {
    recipe.choice("method.name", methods::find_method)
}

impl Method {
    /// Reads it.
    pub(crate) fn read(recipe: &Recipe) -> Result<Self> {
        let named = named_method(recipe)?;
        let regulariser = |key: &str| Ok(recipe.opt(key, Recipe::bool)?.unwrap_or(named.regularised));
        Ok(Self {
            objective: (named.read)(recipe)?,
            tightness: regulariser("method.tightness")?,
            relu_balance: regulariser("method.relu_balance")?,
            lambda: recipe.f64("method.lambda")?,
            tau: recipe.f64("method.tau")?,
            floor: radius::floor(recipe)?,
        })
    }

    /// The radius of the bounds of an update, if it computes any. The regularisers need one that survives f32 from the first batch of
    /// the ramp on; the robust loss at a radius below the floor is the one at the floor, which is the clean loss to five digits.
    pub fn bounds(&self, radius: &EpsAt) -> Option<f64> {
        let robust = radius.eps > 0.0 && self.objective.bounded().is_some();
        if self.regularised(radius) { Some(radius.eps.max(self.floor)) } else { robust.then_some(radius.eps) }
    }

    /// Whether the regularisers act.
    pub fn regularised(&self, radius: &EpsAt) -> bool {
        (self.tightness || self.relu_balance) && radius.weight > 0.0
    }

    /// Steps of the attack that an update of this radius begins with.
    pub fn attack_steps(&self, radius: &EpsAt) -> usize {
        if radius.eps > 0.0 { self.objective.attack_steps() } else { 0 }
    }
}
