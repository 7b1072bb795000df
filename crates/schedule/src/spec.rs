//! What a recipe says about the learning rate, before lengths are turned into updates.

use serde::{Deserialize, Serialize};

use crate::length::Length;
use crate::phase::Shape;

/// A learning-rate schedule as written: `shape` and its fields.
///
/// Fractions of lengths are fractions of the horizon, except in the shapes that repeat (`wsd-s`, `rewarm-cosine`), where
/// `warmup`, `rewarm` and `decay` are fractions of the cycle they stand in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LrSpec {
    /// The maximum.
    pub peak: f64,
    /// The minimum, absolute. At most one of `min` and `min_ratio` is given; with neither, `min_ratio` is 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The minimum as a part of the maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ratio: Option<f64>,
    /// Linear warmup; zero starts at the maximum.
    #[serde(default = "no_warmup")]
    pub warmup: Length,
    /// Where the warmup starts.
    #[serde(default)]
    pub warmup_from: f64,
    /// Which update has which value at the ends of warmup and decay.
    #[serde(default)]
    pub convention: Convention,
    /// What comes after the warmup.
    #[serde(flatten)]
    pub shape: LrShape,
}

fn no_warmup() -> Length {
    Length::ZERO
}

/// What comes after the warmup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "shape", rename_all = "kebab-case")]
pub enum LrShape {
    /// The maximum for ever.
    Constant,
    /// Half a cosine to the minimum, which then stays.
    Cosine {
        /// Where the minimum is reached, counted from the first update; the horizon if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decay_end: Option<Length>,
    },
    /// A straight line to the minimum, which then stays.
    Linear {
        /// Where the minimum is reached, counted from the first update; the horizon if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decay_end: Option<Length>,
    },
    /// A straight line to zero (D2Z, arXiv 2502.15938). Has no minimum.
    LinearToZero,
    /// Warmup-stable-decay (arXiv 2404.06395): the maximum, then a decay that ends at the horizon.
    Wsd {
        /// Length of the decay.
        decay: Length,
        /// Its curve.
        #[serde(default)]
        decay_shape: DecayShape,
        /// The exponent of [`DecayShape::Power`].
        #[serde(default = "default_power")]
        power: f64,
    },
    /// WSD-S (arXiv 2410.05192): several periods, each the maximum and a decay; after a decay the value jumps back to the
    /// maximum and training continues from the decayed weights.
    WsdS {
        /// Length of each decay; a fraction is one of its period.
        decay: Length,
        /// Its curve.
        #[serde(default)]
        decay_shape: DecayShape,
        /// The exponent of [`DecayShape::Power`].
        #[serde(default = "default_power")]
        power: f64,
        /// This many periods of equal length; not together with `ends`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cycles: Option<u64>,
        /// Where each period ends, counted from the first update; one that ends at the horizon is added.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ends: Vec<Length>,
    },
    /// Infinite schedule (arXiv 2403.08763): cooldown to a constant, the constant, an exponential anneal to the minimum up
    /// to the horizon. The next data set starts from a checkpoint of before the anneal.
    Infinite {
        /// Length of the cooldown.
        cooldown: Length,
        /// Its curve.
        #[serde(default)]
        cooldown_shape: CooldownShape,
        /// `alpha` of the inverse square root.
        #[serde(default = "default_alpha")]
        alpha: f64,
        /// Length of the constant phase; the anneal has what is left.
        constant: Length,
        /// The constant; half way between maximum and minimum if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        constant_lr: Option<f64>,
    },
    /// The maximum, multiplied by `gamma` after each milestone.
    MultiStep {
        /// Points in training, rising, counted from the first update; the update after one is the first with the new value.
        milestones: Vec<Length>,
        /// The factor.
        gamma: f64,
    },
    /// `peak / sqrt(1 + (n - w) / timescale)`, with `timescale = w` the schedule of "Attention is all you need".
    InverseSqrt {
        /// The time scale; the warmup if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timescale: Option<Length>,
    },
    /// Repeated re-warming: several cycles of warmup and cosine.
    RewarmCosine {
        /// This many cycles of equal length; not together with `ends`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cycles: Option<u64>,
        /// Where each cycle ends, counted from the first update; one that ends at the horizon is added.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ends: Vec<Length>,
        /// Warmup of the second and later cycles, a fraction being one of the cycle; as `warmup` if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rewarm: Option<Length>,
        /// Where these warmups start; the minimum if absent. Zero is what a new run would do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rewarm_from: Option<f64>,
    },
}

fn default_power() -> f64 {
    2.0
}

fn default_alpha() -> f64 {
    1.0
}

/// The fields every shape has.
const ALWAYS: &[&str] = &["shape", "peak", "warmup", "warmup_from", "convention"];

/// Every shape and the fields it has besides those that all have.
const SHAPES: &[(&str, &[&str])] = &[
    ("constant", &[]),
    ("cosine", &["min", "min_ratio", "decay_end"]),
    ("linear", &["min", "min_ratio", "decay_end"]),
    ("linear-to-zero", &[]),
    ("wsd", &["min", "min_ratio", "decay", "decay_shape", "power"]),
    ("wsd-s", &["min", "min_ratio", "decay", "decay_shape", "power", "cycles", "ends"]),
    ("infinite", &["min", "min_ratio", "cooldown", "cooldown_shape", "alpha", "constant", "constant_lr"]),
    ("multi-step", &["milestones", "gamma"]),
    ("inverse-sqrt", &["timescale"]),
    ("rewarm-cosine", &["min", "min_ratio", "cycles", "ends", "rewarm", "rewarm_from"]),
];

/// The fields that the shape of this name has, as two lists (those of all shapes, its own); `None` for an unknown name.
pub fn shape_fields(shape: &str) -> Option<[&'static [&'static str]; 2]> {
    SHAPES.iter().find(|(name, _)| *name == shape).map(|(_, own)| [ALWAYS, own])
}

impl LrShape {
    /// The names of all shapes.
    pub const NAMES: &'static [&'static str] = &[
        "cosine",
        "constant",
        "linear",
        "linear-to-zero",
        "wsd",
        "wsd-s",
        "infinite",
        "multi-step",
        "inverse-sqrt",
        "rewarm-cosine",
    ];

    /// Its name in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            LrShape::Constant => "constant",
            LrShape::Cosine { .. } => "cosine",
            LrShape::Linear { .. } => "linear",
            LrShape::LinearToZero => "linear-to-zero",
            LrShape::Wsd { .. } => "wsd",
            LrShape::WsdS { .. } => "wsd-s",
            LrShape::Infinite { .. } => "infinite",
            LrShape::MultiStep { .. } => "multi-step",
            LrShape::InverseSqrt { .. } => "inverse-sqrt",
            LrShape::RewarmCosine { .. } => "rewarm-cosine",
        }
    }
}

impl LrSpec {
    /// The lowest value of the decay; 0 for shapes without a minimum.
    pub fn minimum(&self) -> f64 {
        let has_minimum = shape_fields(self.shape.name()).is_some_and(|[_, own]| own.contains(&"min"));
        if has_minimum { self.min.unwrap_or_else(|| self.peak * self.min_ratio.unwrap_or(0.1)) } else { 0.0 }
    }
}

/// The curve of a WSD decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecayShape {
    /// A straight line.
    Linear,
    /// Half a cosine.
    Cosine,
    /// `1 - sqrt(r)` (arXiv 2405.18392).
    #[default]
    #[serde(rename = "1-sqrt")]
    OneMinusSqrt,
    /// Geometric; the minimum must be above 0.
    Exponential,
    /// `2 * 0.5^r - 1`: Megatron-LM's "exponential", which can end at 0.
    HalfLife,
    /// Linear in 1/lr (arXiv 2410.05192); the minimum must be above 0.
    Inverse,
    /// `sqrt(1 - r)`.
    Sqrt,
    /// `(1 - r)^power`.
    Power,
}

impl DecayShape {
    /// The names of all.
    pub const NAMES: &'static [&'static str] =
        &["linear", "cosine", "1-sqrt", "exponential", "half-life", "inverse", "sqrt", "power"];

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "linear" => Self::Linear,
            "cosine" => Self::Cosine,
            "1-sqrt" => Self::OneMinusSqrt,
            "exponential" => Self::Exponential,
            "half-life" => Self::HalfLife,
            "inverse" => Self::Inverse,
            "sqrt" => Self::Sqrt,
            "power" => Self::Power,
            _ => return None,
        })
    }

    /// The curve it stands for.
    pub(crate) fn curve(self, power: f64) -> Shape {
        match self {
            Self::Linear => Shape::Linear,
            Self::Cosine => Shape::Cosine,
            Self::OneMinusSqrt => Shape::OneMinusSqrt,
            Self::Exponential => Shape::Exponential,
            Self::HalfLife => Shape::HalfLife,
            Self::Inverse => Shape::Inverse,
            Self::Sqrt => Shape::Power(0.5),
            Self::Power => Shape::Power(power),
        }
    }
}

/// The curve of an infinite schedule's cooldown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CooldownShape {
    /// Half a cosine.
    #[default]
    Cosine,
    /// Inverse square root with `alpha`.
    InverseSqrt,
}

impl CooldownShape {
    /// The names of all.
    pub const NAMES: &'static [&'static str] = &["cosine", "inverse-sqrt"];

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "cosine" => Some(Self::Cosine),
            "inverse-sqrt" => Some(Self::InverseSqrt),
            _ => None,
        }
    }
}

/// Which update has which value at the ends of warmup and decay.
///
/// With n the number of the update from 1, i = n - 1, w warmup updates, T the horizon, M the maximum, m the minimum and
/// c(x) = (1 + cos(pi x)) / 2, here for a cosine; the other shapes follow the same counting.
///
/// | name | warmup | after it |
/// |---|---|---|
/// | `ours`, `olmo-core` | n <= w: M n/w | m + (M-m) c((n-w)/(T-w)) |
/// | `neox` | i <= w: M max(1,i)/w | m + (M-m) c((i-w)/(T-w)) |
/// | `neox-2023` | i <= w: M i/w | max(m, M c((min(i, T-w) - w)/T)); cosine only |
/// | `nanogpt` | i < w: M (i+1)/(w+1) | m + (M-m) c((i-w)/(T-w)) |
/// | `llm.c` | i < w: M (i+1)/w | the same |
/// | `hf` | i < w: M i/w | the same |
///
/// `neox-2023` is the cosine that GPT-NeoX had until August 2023, which Pythia and arXiv 2308.04014 ran: it aims at zero,
/// is clamped at the minimum and so gets there after about 80 % of the horizon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Convention {
    /// The warmup reaches the maximum at update w, the decay the minimum at update T.
    #[default]
    Ours,
    /// GPT-NeoX since 2026.
    Neox,
    /// GPT-NeoX until August 2023.
    #[serde(rename = "neox-2023")]
    Neox2023,
    /// nanoGPT.
    #[serde(rename = "nanogpt")]
    NanoGpt,
    /// llm.c.
    #[serde(rename = "llm.c")]
    LlmC,
    /// Hugging Face transformers.
    Hf,
    /// OLMo-core (the same as ours).
    OlmoCore,
}

impl Convention {
    /// The names of all.
    pub const NAMES: &'static [&'static str] = &["ours", "neox", "neox-2023", "nanogpt", "llm.c", "hf", "olmo-core"];

    /// Its name in a recipe.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Neox => "neox",
            Self::Neox2023 => "neox-2023",
            Self::NanoGpt => "nanogpt",
            Self::LlmC => "llm.c",
            Self::Hf => "hf",
            Self::OlmoCore => "olmo-core",
        }
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "ours" => Self::Ours,
            "neox" => Self::Neox,
            "neox-2023" => Self::Neox2023,
            "nanogpt" => Self::NanoGpt,
            "llm.c" => Self::LlmC,
            "hf" => Self::Hf,
            "olmo-core" => Self::OlmoCore,
            _ => return None,
        })
    }
}

/// Why a schedule cannot be made of a spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct SpecError {
    /// The field of [`LrSpec`] or of its shape.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
    /// What to do about it.
    pub hint: Option<String>,
}
