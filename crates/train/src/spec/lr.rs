//! The learning rate: its keys, as written ([`LrSpec`]), and by update ([`Schedule`]).

use temper_base::{Problem, Result};
use temper_recipe::Kind::{Choice, Float, Int, Length, Lengths};
use temper_recipe::Range::{AboveZero, AboveZeroToOne, AtLeastZero, ZeroToOne};
use temper_recipe::{Key, Recipe};
use temper_schedule::{
    Convention, CooldownShape, DecayShape, LrShape, LrSpec, Schedule, SpecError, Units, shape_fields,
};

/// What `lr.peak` is.
pub(super) const PEAK: &str = "the maximum of the learning rate";

/// The keys.
pub const KEYS: &[Key] = &[
    Key::new("lr.shape", Choice(LrShape::NAMES), "the curve after the warmup").chooses(fields_of).default("\"cosine\""),
    Key::new(
        "lr.convention",
        Choice(Convention::NAMES),
        "whose way of counting updates (\"neox-2023\": Pythia's cosine; \"neox\": \"linear\" aims at 0, ends at the minimum)",
    )
    .default("\"ours\""),
    Key::new("lr.peak", Float(AboveZero), PEAK),
    Key::new("lr.min", Float(AtLeastZero), "the minimum of the learning rate; instead of min_ratio").instead_of("lr.min_ratio"),
    Key::new("lr.min_ratio", Float(ZeroToOne), "the minimum as a fraction of the maximum").default("0.1"),
    Key::new("lr.warmup", Length, "length of the linear warmup; 0 starts at the maximum").default("\"1%\""),
    Key::new(
        "lr.warmup_from",
        Float(AtLeastZero),
        "where the warmup starts (transformers' warmup-stable-decay starts at the minimum)",
    )
    .default("0.0"),
    Key::new(
        "lr.decay_end",
        Length,
        "cosine, linear: where the curve reaches the minimum, counted from the first update; the horizon if not given",
    ),
    Key::new("lr.decay", Length, "wsd, wsd-s: length of the decay (wsd-s: of each decay, a fraction being one of its period)")
        .default("\"10%\""),
    Key::new("lr.decay_shape", Choice(DecayShape::NAMES), "wsd, wsd-s: curve of the decay").default("\"1-sqrt\""),
    Key::new("lr.power", Float(AboveZero), "wsd, wsd-s: exponent of the \"power\" decay").default("2.0"),
    Key::new("lr.cycles", Int(1), "wsd-s, rewarm-cosine: number of equal cycles; instead of ends").instead_of("lr.ends"),
    Key::new("lr.ends", Lengths, "wsd-s, rewarm-cosine: where the cycles end, counted from the first update"),
    Key::new(
        "lr.rewarm",
        Length,
        "rewarm-cosine: warmup of the later cycles, a fraction being one of the cycle; as lr.warmup if not given",
    ),
    Key::new("lr.rewarm_from", Float(AtLeastZero), "rewarm-cosine: learning rate at which those warmups start; the minimum if not given"),
    Key::new("lr.cooldown", Length, "infinite: length of the cooldown to the constant").default("\"60%\""),
    Key::new("lr.cooldown_shape", Choice(CooldownShape::NAMES), "infinite: curve of the cooldown").default("\"cosine\""),
    Key::new("lr.alpha", Float(AboveZero), "infinite: time scale of the \"inverse-sqrt\" cooldown").default("1.0"),
    Key::new("lr.constant", Length, "infinite: length of the constant phase; an exponential anneal fills the rest")
        .default("\"25%\""),
    Key::new("lr.constant_lr", Float(AtLeastZero), "infinite: the constant learning rate; halfway from minimum to maximum if not given"),
    Key::new("lr.milestones", Lengths, "multi-step: points after which the learning rate is multiplied by gamma"),
    Key::new("lr.gamma", Float(AboveZeroToOne), "multi-step: the factor").default("0.1"),
    Key::new("lr.timescale", Length, "inverse-sqrt: updates after which the learning rate falls noticeably; the warmup if not given"),
];

/// The keys of `lr` that a shape has.
fn fields_of(shape: &str) -> Option<Vec<&'static str>> {
    shape_fields(shape).map(|lists| lists.concat())
}

/// The learning rate as written.
///
/// # Errors
/// Keys that the shape needs and that are not set.
pub fn read(recipe: &Recipe) -> Result<LrSpec, Vec<Problem>> {
    let mut problems = Vec::new();
    let spec = read_keys(recipe, &mut problems);
    if spec.is_none() && problems.is_empty() {
        problems.push(recipe.problem("lr.shape", "the schedule cannot be read"));
    }
    spec.filter(|_| problems.is_empty()).ok_or(problems)
}

/// The learning rate by update, over `horizon_steps` of them.
///
/// # Errors
/// Everything that is wrong with it, each with the place where it is written.
pub fn schedule(recipe: &Recipe, lr: &LrSpec, units: &Units, horizon_steps: u64) -> Result<Schedule, Vec<Problem>> {
    lr.resolve(units, horizon_steps).map_err(|errors| errors.iter().map(|error| problem(recipe, error)).collect())
}

/// An error in the spec as a problem, at the place where the value is written.
pub fn problem(recipe: &Recipe, error: &SpecError) -> Problem {
    let key = if error.field == "horizon" { "run.horizon".to_owned() } else { format!("lr.{}", error.field) };
    let problem = recipe.problem(&key, &error.why);
    match &error.hint {
        Some(hint) => problem.hint(hint.clone()),
        None => problem,
    }
}

fn read_keys(recipe: &Recipe, problems: &mut Vec<Problem>) -> Option<LrSpec> {
    // Every key is read, so that all that are missing are named.
    let mut noted = |problem: Problem| problems.push(problem);
    macro_rules! need {
        ($getter:ident, $key:literal) => {
            recipe.$getter(concat!("lr.", $key)).map_err(&mut noted).ok()
        };
    }
    macro_rules! maybe {
        ($getter:ident, $key:literal) => {
            recipe.opt(concat!("lr.", $key), Recipe::$getter).map_err(&mut noted).ok().flatten()
        };
    }
    let peak = need!(f64, "peak");
    let warmup = need!(length, "warmup");
    let warmup_from = need!(f64, "warmup_from");
    let convention = need!(text, "convention").and_then(|name| Convention::from_name(&name));
    let decay_shape = || recipe.text("lr.decay_shape").ok().and_then(|name| DecayShape::from_name(&name));
    let cooldown_shape = || recipe.text("lr.cooldown_shape").ok().and_then(|name| CooldownShape::from_name(&name));
    let shape = match need!(text, "shape")?.as_str() {
        "constant" => LrShape::Constant,
        "cosine" => LrShape::Cosine { decay_end: maybe!(length, "decay_end") },
        "linear" => LrShape::Linear { decay_end: maybe!(length, "decay_end") },
        "linear-to-zero" => LrShape::LinearToZero,
        "wsd" => {
            LrShape::Wsd { decay: need!(length, "decay")?, decay_shape: decay_shape()?, power: need!(f64, "power")? }
        }
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
        "multi-step" => LrShape::MultiStep { milestones: need!(lengths, "milestones")?, gamma: need!(f64, "gamma")? },
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
