//! From cheap to dear: the stages that try to decide a question, each only on what the ones before left open.

use std::time::Duration;

use temper_base::Result;
use temper_graph::{Computation, Property};

use crate::attack::Thin;
use crate::store::StageSeconds;
use crate::verifier::Verifier;

/// A way to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// A search for a counterexample.
    Attack,
    /// Interval bounds.
    Ibp,
    /// Linear bounds pushed backwards, with all intermediate bounds.
    Crown,
    /// The same with optimised slopes.
    Alpha,
    /// Branch and bound.
    Bab,
}

temper_base::names!(Stage { Attack = "attack", Ibp = "ibp", Crown = "crown", Alpha = "alpha", Bab = "bab" });

impl Stage {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Stage; 5] = [Stage::Attack, Stage::Ibp, Stage::Crown, Stage::Alpha, Stage::Bab];
}

/// In which sense a proof holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Arithmetic {
    /// Plain floating-point arithmetic; rounding is not accounted for.
    Real,
    /// Of the network as a function of real numbers, whatever the verifier rounds.
    #[default]
    Sound,
    /// Besides, of every execution in single precision, whatever the order of its sums.
    Float32,
}

temper_base::names!(Arithmetic { Real = "real", Sound = "sound", Float32 = "float32" });

/// What a verification may use, and what its proofs have to hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The stages that are tried, in the order of [`Stage`].
    pub stages: Vec<Stage>,
    /// The sense in which a proof has to hold.
    pub arithmetic: Arithmetic,
    /// Wall-clock time for the question; `None`: as long as it takes.
    pub timeout: Option<Duration>,
    /// Domains that branch and bound may visit: a budget that hangs on no clock.
    pub max_domains: Option<u64>,
    /// Bytes that branch and bound may keep.
    pub memory: u64,
    /// Of the attack's starts.
    pub seed: u64,
    /// What a side of the box stands for that has no number in single precision.
    pub thin: Thin,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stages: Stage::ALL.to_vec(),
            arithmetic: Arithmetic::Sound,
            timeout: None,
            max_domains: None,
            memory: 4 << 30,
            seed: 0,
            thin: Thin::Nothing,
        }
    }
}

/// A point of the input set whose outputs violate the property, checked as [`Property`] asks in f32 by two orders of summation and in f64.
#[derive(Debug, Clone, PartialEq)]
pub struct Witness {
    /// The input, as the network reads it.
    pub input: Vec<f32>,
    /// What the network answers, evaluated in double precision.
    pub output: Vec<f64>,
}

/// What is known in the end.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// No input violates the property.
    Unsat,
    /// One does.
    Sat(Witness),
    /// Neither was found, and why the search ended.
    Unknown(String),
    /// Neither was found in time.
    Timeout,
}

/// An answer and what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The answer.
    pub answer: Answer,
    /// The stage that gave it, or the last one that tried.
    pub stage: Stage,
    /// The sense in which an `Unsat` holds.
    pub arithmetic: Arithmetic,
    /// The least lower bound of what had to be shown positive, over everything that had to be shown.
    pub bound: Option<f64>,
    /// Domains that were bounded.
    pub domains: u64,
    /// Seconds.
    pub seconds: f64,
    /// Those of every stage.
    pub stages: StageSeconds,
}

/// Decides whether an input of any of these properties violates it. `stop` is asked between passes, and ends the search.
///
/// # Errors
/// Properties of another network.
pub fn decide_properties(
    computation: &Computation,
    properties: &[Property],
    settings: &Settings,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Decision> {
    Verifier::new(computation).decide(properties, settings, stop)
}
