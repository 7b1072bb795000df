//! Pure step -> value: lengths with units, phases with explicit end points, learning-rate schedules.
//!
//! Nothing here knows tensors or files, and nothing is stateful: the value of update `n` depends on the recipe and on `n` alone,
//! so resuming is a seek. How long the schedule is (the *horizon*) and where training stops are two settings, and only the
//! horizon is known here: stopping early does not bend the curve.
//!
//! **Ours, the default convention**: `n` counts optimiser updates from 1; the warmup reaches the maximum at update `w`
//! (its first update already has `1/w` of it); the value at update `T`, the horizon, is the minimum; later updates keep it.
//! [`Convention`] names the others.
//!
//! Reading order: [`length`] (what `1%` or `300 Mtok` mean), [`phase`] (what a phase computes), [`spec`] (what a recipe says),
//! [`resolve`] (from the one to the other), [`eps`] (the radius of certified training), [`sparkline`](mod@sparkline) (the curve as text).

#![warn(clippy::missing_errors_doc)]

pub mod eps;
pub mod length;
pub mod phase;
pub mod resolve;
pub mod sparkline;
pub mod spec;

pub use eps::{EpsSchedule, EpsShape};
pub use length::{Length, LengthError, Units};
pub use phase::{Band, Name, Phase, Schedule, Shape};
pub use sparkline::sparkline;
pub use spec::{Convention, CooldownShape, DecayShape, LrShape, LrSpec, SpecError, shape_fields};

/// The code of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
