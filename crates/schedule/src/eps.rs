//! The radius that a certified training run trains against, by update, and the weight of its warmup regularisers.

/// How the radius grows from 0 to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpsShape {
    /// Fourth power for the first quarter of the ramp, then linear, with equal slopes where they meet (arXiv 2103.17268
    /// and auto_LiRPA's `SmoothedScheduler`).
    Smoothed,
    /// Linear all the way.
    Linear,
    /// The target from the first update on.
    Constant,
}

impl EpsShape {
    /// The names recipes use.
    pub const NAMES: &'static [&'static str] = &["smoothed", "linear", "constant"];

    /// Its name in a recipe.
    pub fn name(self) -> &'static str {
        match self {
            Self::Smoothed => "smoothed",
            Self::Linear => "linear",
            Self::Constant => "constant",
        }
    }

    /// The shape of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "smoothed" => Some(Self::Smoothed),
            "linear" => Some(Self::Linear),
            "constant" => Some(Self::Constant),
            _ => None,
        }
    }
}

/// Power of the smoothed beginning.
const BETA: i32 = 4;
/// Part of the ramp that it takes.
const MIDDLE: f64 = 0.25;

/// The radius by update.
///
/// The reference counts batches from 0, so that update n has its batch n - 1. The first batch of the ramp still has radius 0, and
/// update `last` + 1 is the first at the target. A ramp of length 0 is a jump to the target after update `first`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpsSchedule {
    /// How it grows.
    pub shape: EpsShape,
    /// Where it ends.
    pub target: f64,
    /// Updates before the ramp.
    pub first: u64,
    /// Updates before the radius is the target: `first` and the length of the ramp.
    pub last: u64,
}

impl EpsSchedule {
    /// The radius of update `n`, which counts from 1.
    pub fn at(&self, n: u64) -> f64 {
        let batch = n.saturating_sub(1);
        if self.shape == EpsShape::Constant {
            return self.target;
        }
        if batch >= self.last && batch >= self.first {
            return self.target;
        }
        if batch <= self.first {
            return 0.0;
        }
        let (done, length) = ((batch - self.first) as f64, (self.last - self.first) as f64);
        if self.shape == EpsShape::Linear {
            return self.target * done / length;
        }
        let middle = (MIDDLE * length).floor();
        let t = middle.powi(BETA - 1);
        if middle == 0.0 {
            // A ramp of fewer than four updates has no smoothed beginning.
            return self.target * done / length;
        }
        let alpha = self.target / ((length - middle) * f64::from(BETA) * t + middle * t);
        if done < middle {
            return alpha * done.powi(BETA);
        }
        let value = alpha * middle.powi(BETA);
        (value + (self.target - value) * (done - middle) / (length - middle)).min(self.target)
    }

    /// Whether update `n` is before the end of the ramp: the regularisers act.
    pub fn warming(&self, n: u64) -> bool {
        self.shape != EpsShape::Constant && n <= self.last
    }

    /// The weight of the warmup regularisers in update `n`: `lambda (1 - eps / target)` while the ramp lasts, then 0.
    pub fn weight(&self, n: u64, lambda: f64) -> f64 {
        if self.warming(n) { lambda * (1.0 - self.at(n) / self.target) } else { 0.0 }
    }

    /// The phases of a run of `stop` updates, each with its first and last update: `clean` while the radius is 0, `ramp`,
    /// `robust` at the target.
    pub fn bands(&self, stop: u64) -> Vec<(&'static str, u64, u64)> {
        let (first, last) = if self.shape == EpsShape::Constant { (0, 0) } else { (self.first, self.last) };
        let bands = [("clean", 1, first), ("ramp", first + 1, last), ("robust", last + 1, u64::MAX)];
        let cut = bands.map(|(name, first, last)| (name, first, last.min(stop)));
        cut.into_iter().filter(|(_, first, last)| first <= last).collect()
    }
}
