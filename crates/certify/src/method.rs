//! What a step of certified training computes: the methods by name, and every ingredient of them as a switch.

use temper_base::Result;
use temper_recipe::Kind::{Bool, Choice, Float, Int};
use temper_recipe::Range::{AboveZeroToOne, AtLeastZero, ZeroToOne};
use temper_recipe::{Key, Recipe};

use crate::network::FirstWeights;
use crate::radius;
use crate::spec::key;

/// The keys.
pub(crate) const KEYS: &[Key] = &[
    key(
        "method.name",
        Choice(MethodName::NAMES),
        "the method of training; \"fast\" is arXiv 2103.17268; sets the keys of [method] that the recipe leaves out",
    )
    .default("\"fast\"")
    .anew(),
    key("method.tightness", Bool, "use the warmup regulariser against loose bounds").anew(),
    key("method.relu_balance", Bool, "use the warmup regulariser against too many inactive or active ReLUs").anew(),
    key("method.lambda", Float(AtLeastZero), "weight of the warmup regularisers at eps = 0").default("0.5").anew(),
    key("method.tau", Float(AboveZeroToOne), "tolerance of the warmup regularisers").default("0.5").anew(),
    key(
        "method.loss_fusion",
        Bool,
        "crown-ibp: bound the loss instead of each margin, so that the cost does not grow with the number of classes",
    )
    .default("true")
    .anew(),
    key(
        "method.mixing",
        Choice(&["ramp", "zhang"]),
        "crown-ibp: how IBP replaces it: as in arXiv 2103.17268 (\"ramp\"), or as in arXiv 1906.06316 (\"zhang\")",
    )
    .default("\"ramp\"")
    .anew(),
    key("method.beta_end", Float(ZeroToOne), "mixing = \"zhang\": weight of CROWN-IBP at the end of the ramp")
        .default("0.0")
        .anew(),
    key("method.kappa_end", Float(ZeroToOne), "mixing = \"zhang\": weight of the clean loss at the end of the ramp")
        .default("0.0")
        .anew(),
    key("method.attack_steps", Int(1), "pgd: steps of the attack during training").default("7").anew(),
    key(
        "method.precise_batch_norm",
        Bool,
        "before each evaluation, compute the running statistics anew over the training set",
    )
    .default("false")
    .anew(),
];

/// A method as recipes name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodName {
    /// On clean images.
    Plain,
    /// On attacked images.
    Pgd,
    /// On interval bounds.
    VanillaIbp,
    /// On CROWN-IBP bounds.
    CrownIbp,
    /// On interval bounds, with the initialisation and the warmup regularisers of arXiv 2103.17268.
    Fast,
}

temper_base::names!(MethodName {
    Plain = "plain",
    Pgd = "pgd",
    VanillaIbp = "vanilla-ibp",
    CrownIbp = "crown-ibp",
    Fast = "fast",
});

impl MethodName {
    /// That of a recipe.
    pub(crate) fn of_recipe(recipe: &Recipe) -> Result<Self> {
        recipe.choice("method.name", Self::from_name)
    }

    /// What the images are trained against.
    pub fn objective(self) -> Objective {
        match self {
            Self::Plain => Objective::Plain,
            Self::Pgd => Objective::Pgd,
            Self::CrownIbp => Objective::CrownIbp,
            Self::VanillaIbp | Self::Fast => Objective::Ibp,
        }
    }

    /// Whether the warmup regularisers act, where a recipe does not say.
    pub(crate) fn usual_regularisers(self) -> bool {
        self == Self::Fast
    }

    /// How first weights are drawn, where a recipe does not say.
    pub(crate) fn usual_weights(self) -> FirstWeights {
        if self == Self::Fast { FirstWeights::Ibp } else { FirstWeights::Default }
    }
}

/// What the images are trained against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// Cross-entropy of the clean images.
    Plain,
    /// Cross-entropy of attacked images (Madry et al. 2018).
    Pgd,
    /// The robust loss of bounds by interval propagation.
    Ibp,
    /// The robust loss of CROWN-IBP bounds, which give way to interval bounds as the radius grows (arXiv 1906.06316).
    CrownIbp,
}

/// How the CROWN-IBP objective gives way to the interval objective.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mixing {
    /// As in the code of arXiv 2103.17268: the part of CROWN-IBP is `(target - eps) / target`; no clean loss.
    Ramp,
    /// As in arXiv 1906.06316: the part of CROWN-IBP falls from 1 to `beta_end`, that of the clean loss from 1 to
    /// `kappa_end`.
    Zhang {
        /// Part of CROWN-IBP at the target radius.
        beta_end: f64,
        /// Part of the clean loss at the target radius.
        kappa_end: f64,
    },
}

/// A method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Method {
    /// What the images are trained against.
    pub objective: Objective,
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
    /// CROWN-IBP: bound the loss instead of every margin.
    pub loss_fusion: bool,
    /// CROWN-IBP: how it gives way.
    pub mixing: Mixing,
    /// Steps of the attack of [`Objective::Pgd`].
    pub attack_steps: usize,
}

/// The radius of one update and what depends on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpsAt {
    /// The radius, in pixel values.
    pub eps: f64,
    /// Where it is going.
    pub target: f64,
    /// Weight of the warmup regularisers; 0 after the ramp.
    pub weight: f64,
}

impl Method {
    /// Reads it.
    pub(crate) fn read(recipe: &Recipe) -> Result<Self> {
        let name = MethodName::of_recipe(recipe)?;
        let regulariser = |key: &str| Ok(recipe.opt(key, Recipe::bool)?.unwrap_or(name.usual_regularisers()));
        let (beta_end, kappa_end) = (recipe.f64("method.beta_end")?, recipe.f64("method.kappa_end")?);
        let mixing = recipe.choice("method.mixing", |word| match word {
            "ramp" => Some(Mixing::Ramp),
            "zhang" => Some(Mixing::Zhang { beta_end, kappa_end }),
            _ => None,
        })?;
        Ok(Self {
            objective: name.objective(),
            tightness: regulariser("method.tightness")?,
            relu_balance: regulariser("method.relu_balance")?,
            lambda: recipe.f64("method.lambda")?,
            tau: recipe.f64("method.tau")?,
            floor: radius::floor(recipe)?,
            loss_fusion: recipe.bool("method.loss_fusion")?,
            mixing,
            attack_steps: recipe.usize("method.attack_steps")?,
        })
    }

    /// Whether bounds are computed in an update of this radius.
    pub fn bounds(&self, radius: &EpsAt) -> bool {
        self.regularised(radius) || (radius.eps > 0.0 && matches!(self.objective, Objective::Ibp | Objective::CrownIbp))
    }

    /// Whether the regularisers act.
    pub fn regularised(&self, radius: &EpsAt) -> bool {
        (self.tightness || self.relu_balance) && radius.weight > 0.0
    }

    /// The radius of the bounds. The regularisers need one that survives f32 from the first batch of the ramp on; the
    /// robust loss at a radius below the floor is the one at the floor, which is the clean loss to five digits.
    pub fn bound_radius(&self, radius: &EpsAt) -> f64 {
        if self.regularised(radius) { radius.eps.max(self.floor) } else { radius.eps }
    }

    /// The parts of CROWN-IBP in the bounds and of the clean loss in the loss.
    pub fn mix(&self, radius: &EpsAt) -> (f64, f64) {
        let falls_to = |end: f64| (radius.target - radius.eps * (1.0 - end)) / radius.target;
        let (beta, kappa) = match (self.objective, self.mixing) {
            (Objective::CrownIbp, Mixing::Ramp) => (falls_to(0.0), 0.0),
            (Objective::CrownIbp, Mixing::Zhang { beta_end, kappa_end }) => (falls_to(beta_end), falls_to(kappa_end)),
            (Objective::Plain | Objective::Pgd | Objective::Ibp, _) => (0.0, 0.0),
        };
        // As in the reference: a part without effect is not computed.
        (if beta < 1e-5 { 0.0 } else { beta }, kappa)
    }
}
