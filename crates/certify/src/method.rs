//! What a step of certified training computes: the methods by name, and every ingredient of them as a switch.

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
            _ => (0.0, 0.0),
        };
        // As in the reference: a part without effect is not computed.
        (if beta < 1e-5 { 0.0 } else { beta }, kappa)
    }
}
