//! The radius of a recipe and its growth: the keys of `[eps]`, and the radius by update.

use temper_base::{Problem, Problems, Result};
use temper_recipe::Kind::{Choice, Float, Length as ALength, Radius};
use temper_recipe::Range::AboveZero;
use temper_recipe::{Check, Key, Recipe};
use temper_schedule::{EpsSchedule, EpsShape, Length, Units};

use crate::spec::{CertifySpec, key};

/// The keys.
pub(crate) const KEYS: &[Key] = &[
    key("eps.target", Radius, "L-infinity radius in pixel values of [0, 1], for example \"8/255\" or 0.3"),
    key("eps.shape", Choice(EpsShape::NAMES), "how the radius grows").default("\"smoothed\""),
    key("eps.start", ALength, "length of the training with radius 0, before the ramp").default("0"),
    key("eps.length", ALength, "length of the ramp").default("\"30%\""),
    key("eps.floor", Float(AboveZero), "radius of the bounds in the warmup regularisers while eps is smaller")
        .default("1e-6"),
];

/// What a recipe says of the radius.
#[derive(Debug, Clone)]
pub struct EpsSpec {
    /// How it grows.
    pub shape: EpsShape,
    /// Length of the training with radius 0, before the ramp.
    pub start: Length,
    /// Length of the ramp.
    pub length: Length,
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

impl EpsSpec {
    pub(crate) fn read(recipe: &Recipe) -> Result<Self> {
        Ok(Self {
            shape: recipe.choice("eps.shape", EpsShape::from_name)?,
            start: recipe.length("eps.start")?,
            length: recipe.length("eps.length")?,
        })
    }
}

/// The radius of the bounds in the warmup regularisers while eps is smaller.
pub(crate) fn floor(recipe: &Recipe) -> Result<f64> {
    recipe.f64("eps.floor")
}

impl CertifySpec {
    /// The radius that the recipe goes to, in pixel values.
    ///
    /// # Errors
    /// A recipe that does not give it.
    pub fn target(&self) -> Result<f64> {
        self.run.recipe.radius("eps.target")
    }

    /// The same as the recipe writes it, without quotes.
    pub fn target_as_written(&self) -> String {
        self.run.recipe.shown("eps.target")
    }

    /// The same as TOML.
    pub fn target_as_toml(&self) -> String {
        self.run.recipe.get("eps.target").map_or_else(String::new, |entry| entry.value.to_string())
    }

    /// The radius by update, over `horizon_steps` of them.
    ///
    /// # Errors
    /// A ramp that does not fit, with the place where it is written.
    pub fn eps_schedule(&self, units: &Units, horizon_steps: u64) -> Result<EpsSchedule, Problems> {
        let steps = |key: &str, length: Length| {
            length.steps(units, Some(horizon_steps)).map_err(|error| self.problem(key, error))
        };
        let shape = self.eps.shape;
        let first = steps("eps.start", self.eps.start);
        match (self.target(), first, steps("eps.length", self.eps.length)) {
            (Ok(target), Ok(first), Ok(ramp)) => {
                let last = first.saturating_add(ramp);
                if last > horizon_steps && shape != EpsShape::Constant {
                    let why = format!("the ramp would end after {last} updates, and the schedule has {horizon_steps}");
                    let problem = self.problem("eps.length", why);
                    return Err(problem.hint("shorten eps.length, or lengthen run.horizon").into());
                }
                Ok(EpsSchedule { shape, target, first, last })
            }
            (target, first, ramp) => {
                let problems: Vec<Problem> = [target.err(), first.err(), ramp.err()].into_iter().flatten().collect();
                Err(problems.into())
            }
        }
    }
}

/// Finds a floor above the radius that it is for.
pub(crate) fn check(check: &mut Check) {
    if let (Ok(floor), Ok(target)) = (floor(check.recipe), check.recipe.radius("eps.target"))
        && floor > target
    {
        let why = format!("{floor} is above eps.target, {target}");
        check.problem("eps.floor", why, "1e-6 is the paper's: just enough for bounds in single precision");
    }
}
