//! Phases with explicit end points, and the schedule they make up.
//!
//! A phase owns whole updates `first..=last`; its curve runs from `from` at position `origin` to `to` at `origin + span`.
//! Keeping the two apart is what lets every first/last-step convention of the field be the same few curves.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// How a value goes from `from` (progress r = 0) to `to` (r = 1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// `from`, whatever r.
    Hold,
    /// `from + (to - from) r`.
    Linear,
    /// `to + (from - to) (1 + cos(pi r)) / 2`.
    Cosine,
    /// Inverse square root, `from + (to - from) h(r) / h(1)` with `h(x) = 1/sqrt(1 + alpha x) - 1`
    /// (arXiv 2403.08763; `alpha` is that code's `timescale`, and must be above 0).
    InvSqrt(f64),
    /// `to + (from - to) (1 - sqrt(r))` (arXiv 2405.18392).
    OneMinusSqrt,
    /// Geometric, `from (to / from)^r`; both ends above 0.
    Exponential,
    /// `to + (from - to) (2 * 0.5^r - 1)`: Megatron-LM's "exponential", which can end at 0.
    HalfLife,
    /// `to + (from - to) (1 - r)^p`, p above 0; p = 0.5 is the "sqrt" decay.
    Power(f64),
    /// Linear in 1/value, `1 / (r / to + (1 - r) / from)`; both ends above 0 (WSD-S, arXiv 2410.05192).
    Inverse,
}

impl Shape {
    /// The value at progress `r`, which is clamped to 0..=1; the end points are met exactly.
    pub fn value(self, from: f64, to: f64, r: f64) -> f64 {
        if r <= 0.0 || self == Shape::Hold {
            return from;
        }
        if r >= 1.0 {
            return to;
        }
        // `left` is the part of the way that is still to go.
        let left = match self {
            Shape::Hold => 1.0,
            Shape::Linear => 1.0 - r,
            Shape::Cosine => 0.5 * (1.0 + (PI * r).cos()),
            Shape::InvSqrt(alpha) => {
                let h = |x: f64| 1.0 / (1.0 + alpha * x).sqrt() - 1.0;
                1.0 - h(r) / h(1.0)
            }
            Shape::OneMinusSqrt => 1.0 - r.sqrt(),
            Shape::HalfLife => 2.0 * 0.5_f64.powf(r) - 1.0,
            Shape::Power(p) => (1.0 - r).powf(p),
            Shape::Exponential => return from * (to / from).powf(r),
            Shape::Inverse => return 1.0 / (r / to + (1.0 - r) / from),
        };
        to + (from - to) * left
    }
}

/// What a phase is for; reports colour bands by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    /// The value rises.
    Warmup,
    /// The value stays.
    Constant,
    /// The value falls to its minimum.
    Decay,
    /// The value falls to a constant that will last (infinite schedules).
    Cooldown,
    /// The value falls from that constant to the minimum (infinite schedules).
    Anneal,
}

impl Name {
    /// The name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Name::Warmup => "warmup",
            Name::Constant => "constant",
            Name::Decay => "decay",
            Name::Cooldown => "cooldown",
            Name::Anneal => "anneal",
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A stretch of updates with one curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// What it is for.
    pub name: Name,
    /// Its first update, from 1.
    pub first: u64,
    /// Its last update, included; [`Phase::OPEN`] if it never ends.
    pub last: u64,
    /// The curve.
    pub shape: Shape,
    /// The value where the curve begins.
    pub from: f64,
    /// The value where it ends.
    pub to: f64,
    /// The (possibly virtual) update at which the curve begins.
    pub origin: u64,
    /// Updates from the beginning of the curve to its end. The phase may be over before the curve is.
    pub span: u64,
    /// Values below this are raised to it.
    pub floor: f64,
}

impl Phase {
    /// `last` of a phase that never ends.
    pub const OPEN: u64 = u64::MAX;

    /// The value at update `n`.
    pub fn at(&self, n: u64) -> f64 {
        let r = n.saturating_sub(self.origin) as f64 / self.span.max(1) as f64;
        self.shape.value(self.from, self.to, r).max(self.floor)
    }
}

/// A run of updates with one name, for bands in a figure and lines in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// What it is for.
    pub name: Name,
    /// Its first update, from 1.
    pub first: u64,
    /// Its last update, included.
    pub last: u64,
    /// The value at `first`.
    pub start: f64,
    /// The value at `last`.
    pub end: f64,
}

/// A value for every update: phases that follow one another without a gap, the last one open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    phases: Vec<Phase>,
    horizon: u64,
}

impl Schedule {
    /// A schedule of these phases. They must begin at update 1, follow one another without a gap and end with an open one;
    /// that is the caller's duty and is checked in debug builds.
    pub fn new(phases: Vec<Phase>, horizon: u64) -> Self {
        debug_assert!(phases.first().is_some_and(|p| p.first == 1), "{phases:?}");
        debug_assert!(phases.last().is_some_and(|p| p.last == Phase::OPEN), "{phases:?}");
        debug_assert!(phases.windows(2).all(|p| p[0].last + 1 == p[1].first), "{phases:?}");
        Self { phases, horizon }
    }

    /// The same value for ever.
    pub fn constant(value: f64, horizon: u64) -> Self {
        Self::new(vec![Phase::hold(Name::Constant, 1, Phase::OPEN, value)], horizon)
    }

    /// The value that update `n` uses, counted from 1 (0 is taken as 1). After the horizon the last value is kept.
    pub fn at(&self, n: u64) -> f64 {
        let n = n.max(1);
        let phase = self.phases.partition_point(|phase| phase.last < n).min(self.phases.len() - 1);
        self.phases[phase].at(n)
    }

    /// The phases in order; the last one is open.
    pub fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// The update at which the schedule ends.
    pub fn horizon(&self) -> u64 {
        self.horizon
    }

    /// The phases that begin at or before update `stop`, cut off there, neighbours of one name joined.
    pub fn bands(&self, stop: u64) -> Vec<Band> {
        let mut bands: Vec<Band> = Vec::new();
        for phase in self.phases.iter().take_while(|phase| phase.first <= stop) {
            let last = phase.last.min(stop);
            match bands.last_mut() {
                // Each step of a multi-step schedule is a separate constant.
                Some(band) if band.name == phase.name && (phase.shape != Shape::Hold || phase.from == band.end) => {
                    (band.last, band.end) = (last, phase.at(last))
                }
                _ => bands.push(Band {
                    name: phase.name,
                    first: phase.first,
                    last,
                    start: phase.at(phase.first),
                    end: phase.at(last),
                }),
            }
        }
        bands
    }

    /// The highest value any update up to `stop` uses. Every curve is monotone, so the ends of the phases tell.
    pub fn peak(&self, stop: u64) -> f64 {
        let ends = self.phases.iter().take_while(|phase| phase.first <= stop.max(1));
        ends.flat_map(|phase| [phase.at(phase.first), phase.at(phase.last.min(stop.max(1)))]).fold(0.0, f64::max)
    }
}

impl Phase {
    /// A phase that keeps `value`.
    pub fn hold(name: Name, first: u64, last: u64, value: f64) -> Self {
        Self { name, first, last, shape: Shape::Hold, from: value, to: value, origin: first, span: 0, floor: 0.0 }
    }
}
