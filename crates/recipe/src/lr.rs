//! The `lr` keys as a learning-rate spec and as a schedule.

use temper_base::{Problem, Result};
use temper_schedule::{
    Convention, CooldownShape, DecayShape, EpsSchedule, EpsShape, LrShape, LrSpec, Schedule, SpecError, Units,
};

use crate::recipe::Recipe;

impl Recipe {
    /// The learning-rate schedule as written.
    ///
    /// # Errors
    /// Keys that the shape needs and that are not set.
    pub fn lr_spec(&self) -> Result<LrSpec, Vec<Problem>> {
        let mut problems = Vec::new();
        let spec = self.read_lr(&mut problems);
        match spec {
            Some(spec) if problems.is_empty() => Ok(spec),
            _ => {
                if problems.is_empty() {
                    problems.push(self.problem("lr.shape", "the schedule cannot be read"));
                }
                Err(problems)
            }
        }
    }

    /// The schedule over `horizon_steps` updates.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with the place where it is written.
    pub fn schedule(&self, units: &Units, horizon_steps: u64) -> Result<Schedule, Vec<Problem>> {
        let spec = self.lr_spec()?;
        spec.resolve(units, horizon_steps).map_err(|errors| errors.iter().map(|e| self.spec_problem(e)).collect())
    }

    /// The radius by update over `horizon_steps` updates.
    ///
    /// # Errors
    /// A ramp that does not fit, with the place where it is written.
    pub fn eps_schedule(&self, units: &Units, horizon_steps: u64) -> Result<EpsSchedule, Vec<Problem>> {
        let length = |key: &str| {
            let length = self.length(key)?;
            length.steps(units, Some(horizon_steps)).map_err(|error| self.problem(key, error))
        };
        let shape = self.text("eps.shape").map(|name| EpsShape::from_name(&name).unwrap_or(EpsShape::Smoothed));
        match (shape, self.radius("eps.target"), length("eps.start"), length("eps.length")) {
            (Ok(shape), Ok(target), Ok(first), Ok(ramp)) => {
                let last = first.saturating_add(ramp);
                if last > horizon_steps && shape != EpsShape::Constant {
                    let why = format!("the ramp would end after {last} updates, and the schedule has {horizon_steps}");
                    return Err(vec![
                        self.problem("eps.length", why).hint("shorten eps.length, or lengthen run.horizon"),
                    ]);
                }
                Ok(EpsSchedule { shape, target, first, last })
            }
            (shape, target, first, ramp) => {
                Err([shape.err(), target.err(), first.err(), ramp.err()].into_iter().flatten().collect())
            }
        }
    }

    /// An error in the spec as a problem, at the place where the value is written.
    pub fn spec_problem(&self, error: &SpecError) -> Problem {
        let key = if error.field == "horizon" { "run.horizon".to_owned() } else { format!("lr.{}", error.field) };
        let problem = self.problem(&key, &error.why);
        match &error.hint {
            Some(hint) => problem.hint(hint.clone()),
            None => problem,
        }
    }

    fn read_lr(&self, problems: &mut Vec<Problem>) -> Option<LrSpec> {
        // Every key is read, so that all that are missing are named.
        let mut noted = |problem: Problem| problems.push(problem);
        macro_rules! need {
            ($getter:ident, $key:literal) => {
                self.$getter(concat!("lr.", $key)).map_err(&mut noted).ok()
            };
        }
        macro_rules! maybe {
            ($getter:ident, $key:literal) => {
                self.opt(concat!("lr.", $key), Recipe::$getter).map_err(&mut noted).ok().flatten()
            };
        }
        let peak = need!(f64, "peak");
        let warmup = need!(length, "warmup");
        let warmup_from = need!(f64, "warmup_from");
        let convention = need!(text, "convention").and_then(|name| Convention::from_name(&name));
        let decay_shape = || self.text("lr.decay_shape").ok().and_then(|name| DecayShape::from_name(&name));
        let cooldown_shape = || self.text("lr.cooldown_shape").ok().and_then(|name| CooldownShape::from_name(&name));
        let shape = match need!(text, "shape")?.as_str() {
            "constant" => LrShape::Constant,
            "cosine" => LrShape::Cosine { decay_end: maybe!(length, "decay_end") },
            "linear" => LrShape::Linear { decay_end: maybe!(length, "decay_end") },
            "linear-to-zero" => LrShape::LinearToZero,
            "wsd" => LrShape::Wsd {
                decay: need!(length, "decay")?,
                decay_shape: decay_shape()?,
                power: need!(f64, "power")?,
            },
            "wsd-s" => LrShape::WsdS {
                decay: need!(length, "decay")?,
                decay_shape: decay_shape()?,
                power: need!(f64, "power")?,
                cycles: maybe!(u64, "cycles"),
                ends: maybe!(lengths, "ends").unwrap_or_default(),
            },
            "infinite" => LrShape::Infinite {
                cooldown: need!(length, "cooldown")?,
                cooldown_shape: cooldown_shape()?,
                alpha: need!(f64, "alpha")?,
                constant: need!(length, "constant")?,
                constant_lr: maybe!(f64, "constant_lr"),
            },
            "multi-step" => {
                LrShape::MultiStep { milestones: need!(lengths, "milestones")?, gamma: need!(f64, "gamma")? }
            }
            "inverse-sqrt" => LrShape::InverseSqrt { timescale: maybe!(length, "timescale") },
            "rewarm-cosine" => LrShape::RewarmCosine {
                cycles: maybe!(u64, "cycles"),
                ends: maybe!(lengths, "ends").unwrap_or_default(),
                rewarm: maybe!(length, "rewarm"),
                rewarm_from: maybe!(f64, "rewarm_from"),
            },
            _ => return None,
        };
        Some(LrSpec {
            peak: peak?,
            min: maybe!(f64, "min"),
            min_ratio: maybe!(f64, "min_ratio"),
            warmup: warmup?,
            warmup_from: warmup_from?,
            convention: convention?,
            shape,
        })
    }
}
