//! Training on CROWN-IBP bounds, which give way to interval bounds as the radius grows (arXiv 1906.06316).

use std::sync::Arc;

use burn::tensor::Tensor;
use temper_bounds::{crown, losses};
use temper_recipe::{Key, Kind, Range};

use super::{BoundedObjective, Bounds, Named, Objective};
use crate::network::FirstWeights;
use crate::radius::EpsAt;
use crate::spec::key;

/// The robust loss of a mixture of CROWN-IBP bounds and interval bounds.
#[derive(Debug)]
pub struct CrownIbp {
    /// Bound the loss instead of every margin.
    pub loss_fusion: bool,
    /// How it gives way.
    pub mixing: Mixing,
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

/// What falls from 1 at radius 0 to `end` at the target.
fn falls_to(end: f64, radius: &EpsAt) -> f64 {
    (radius.target - radius.eps * (1.0 - end)) / radius.target
}

impl CrownIbp {
    /// The part of CROWN-IBP in the bounds.
    fn part(&self, radius: &EpsAt) -> f64 {
        let part = match self.mixing {
            Mixing::Ramp => falls_to(0.0, radius),
            Mixing::Zhang { beta_end, .. } => falls_to(beta_end, radius),
        };
        // As in the reference: a part without effect is not computed.
        if part < 1e-5 { 0.0 } else { part }
    }
}

impl Objective for CrownIbp {
    fn bounded(&self) -> Option<&dyn BoundedObjective> {
        Some(self)
    }

    fn idle_keys(&self) -> Option<(&'static str, &'static [&'static str])> {
        (self.mixing == Mixing::Ramp).then_some(("method.mixing is \"ramp\"", &["method.beta_end", "method.kappa_end"]))
    }
}

impl BoundedObjective for CrownIbp {
    fn robust_loss(&self, bounds: &Bounds) -> Tensor<1> {
        let Bounds { net, trace, labels, radius } = *bounds;
        let part = self.part(radius);
        if part > 0.0 && self.loss_fusion {
            return crown::fused_loss(net, trace, labels, part);
        }
        let margins = net.margins(trace, labels);
        losses::robust_loss(if part > 0.0 {
            crown::margins(net, trace, labels) * part + margins * (1.0 - part)
        } else {
            margins
        })
    }

    fn clean_part(&self, radius: &EpsAt) -> f64 {
        match self.mixing {
            Mixing::Ramp => 0.0,
            Mixing::Zhang { kappa_end, .. } => falls_to(kappa_end, radius),
        }
    }

    fn linear_passes(&self, radius: &EpsAt, classes: usize) -> u64 {
        if self.part(radius) > 0.0 { 3 * self.kept_again(classes) } else { 0 }
    }

    fn kept_again(&self, classes: usize) -> u64 {
        if self.loss_fusion { 1 } else { classes as u64 }
    }
}

pub(super) const CROWN_IBP: Named = Named {
    name: "crown-ibp",
    keys: KEYS,
    regularised: false,
    first_weights: FirstWeights::Default,
    read: |recipe| {
        let (beta_end, kappa_end) = (recipe.f64("method.beta_end")?, recipe.f64("method.kappa_end")?);
        let mixing = recipe.choice("method.mixing", |word| match word {
            "ramp" => Some(Mixing::Ramp),
            "zhang" => Some(Mixing::Zhang { beta_end, kappa_end }),
            _ => None,
        })?;
        Ok(Arc::new(CrownIbp { loss_fusion: recipe.bool("method.loss_fusion")?, mixing }))
    },
};

const KEYS: &[Key] = &[
    key(
        "method.loss_fusion",
        Kind::Bool,
        "crown-ibp: bound the loss instead of each margin, so that the cost does not grow with the number of classes",
    )
    .default("true")
    .anew(),
    key(
        "method.mixing",
        Kind::Choice(&["ramp", "zhang"]),
        "crown-ibp: how IBP replaces it: as in arXiv 2103.17268 (\"ramp\"), or as in arXiv 1906.06316 (\"zhang\")",
    )
    .default("\"ramp\"")
    .anew(),
    key(
        "method.beta_end",
        Kind::Float(Range::ZeroToOne),
        "mixing = \"zhang\": weight of CROWN-IBP at the end of the ramp",
    )
    .default("0.0")
    .anew(),
    key(
        "method.kappa_end",
        Kind::Float(Range::ZeroToOne),
        "mixing = \"zhang\": weight of the clean loss at the end of the ramp",
    )
    .default("0.0")
    .anew(),
];
