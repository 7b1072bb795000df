//! From a spec to a schedule: lengths become updates, conventions become offsets, everything wrong is reported at once.
//!
//! *Position* counts updates as ours does: the warmup ends at position w, the horizon is position T. A convention that counts
//! from zero is one update late, so there position x is update x + 1.

use std::f64::consts::PI;

use crate::length::{Length, Units};
use crate::phase::{Name, Phase, Schedule, Shape};
use crate::spec::{Convention, CooldownShape, DecayShape, LrShape, LrSpec, SpecError};

/// More updates than this are a slip of the pen, and sums of lengths stay far from overflowing.
const LONGEST: u64 = 1 << 60;

impl LrSpec {
    /// The schedule over `horizon_steps` updates. It does not depend on where training stops.
    ///
    /// # Errors
    /// Everything that is wrong with the spec; at least one entry.
    pub fn resolve(&self, units: &Units, horizon_steps: u64) -> Result<Schedule, Vec<SpecError>> {
        let mut resolver =
            Resolver { spec: self, units, horizon: horizon_steps, min: self.minimum(), errors: Vec::new() };
        resolver.check_common();
        match resolver.phases() {
            Some(phases) if resolver.errors.is_empty() => Ok(Schedule::new(phases, horizon_steps)),
            _ => Err(resolver.errors),
        }
    }
}

struct Resolver<'a> {
    spec: &'a LrSpec,
    units: &'a Units,
    horizon: u64,
    min: f64,
    errors: Vec<SpecError>,
}

impl Resolver<'_> {
    fn error(&mut self, field: &'static str, why: impl Into<String>, hint: Option<&str>) {
        self.errors.push(SpecError { field, why: why.into(), hint: hint.map(str::to_owned) });
    }

    /// Reports `why` unless `ok`.
    fn demand(&mut self, ok: bool, field: &'static str, why: impl Into<String>) -> Option<()> {
        if !ok {
            self.error(field, why, None);
        }
        ok.then_some(())
    }

    /// `length` in updates, a fraction being one of `whole`.
    fn steps(&mut self, field: &'static str, length: Length, whole: u64) -> Option<u64> {
        match length.steps(self.units, Some(whole)) {
            Ok(steps) if steps <= LONGEST => Some(steps),
            Ok(steps) => {
                self.error(field, format!("{steps} updates are too many"), None);
                None
            }
            Err(error) => {
                self.error(field, error.to_string(), None);
                None
            }
        }
    }

    fn check_common(&mut self) {
        let (spec, peak) = (self.spec, self.spec.peak);
        self.demand(peak.is_finite() && peak > 0.0, "peak", format!("the maximum must be above 0, not {peak}"));
        self.demand(self.horizon >= 1, "horizon", "a schedule needs at least one update");
        self.demand(self.horizon <= LONGEST, "horizon", format!("{} updates are too many", self.horizon));
        if spec.min.is_some() && spec.min_ratio.is_some() {
            self.error("min", "given together with min_ratio", Some("give one of them"));
        } else if let Some(ratio) = spec.min_ratio {
            self.demand((0.0..=1.0).contains(&ratio), "min_ratio", format!("must be between 0 and 1, not {ratio}"));
        } else if let Some(min) = spec.min {
            let why = format!("must be between 0 and the maximum ({peak}), not {min}");
            self.demand((0.0..=peak).contains(&min), "min", why);
        }
        let from = spec.warmup_from;
        let why = format!("must be between 0 and the maximum ({peak}), not {from}");
        self.demand((0.0..=peak).contains(&from), "warmup_from", why);
        if spec.convention == Convention::Neox2023 && !matches!(spec.shape, LrShape::Cosine { .. }) {
            self.error(
                "convention",
                format!("neox-2023 is a cosine, but the shape is {}", spec.shape.name()),
                Some("use shape = \"cosine\", or convention = \"neox\" for this shape"),
            );
        }
    }

    fn check_decay(&mut self, shape: DecayShape, power: f64) {
        if shape == DecayShape::Power {
            self.demand(power.is_finite() && power > 0.0, "power", format!("must be above 0, not {power}"));
        }
        if matches!(shape, DecayShape::Exponential | DecayShape::Inverse) && self.min <= 0.0 {
            self.error(
                "decay_shape",
                "this decay never reaches 0, and the minimum is 0",
                Some("set min or min_ratio, or use for example decay_shape = \"1-sqrt\""),
            );
        }
    }

    /// The phases of the whole schedule, or `None` after an error was noted.
    fn phases(&mut self) -> Option<Vec<Phase>> {
        let (spec, min, horizon) = (self.spec, self.min, self.horizon);
        let peak = spec.peak;
        let mut line = Line::new(spec);
        match &spec.shape {
            LrShape::Constant => {
                let warmup = self.warmup(horizon)?;
                line.warmup(warmup);
                Some(line.finish(peak))
            }
            LrShape::Cosine { decay_end } => {
                let (warmup, end) = self.warmup_and_end(*decay_end)?;
                if spec.convention == Convention::Neox2023 {
                    return self.cosine_neox_2023(line, warmup, end);
                }
                line.warmup(warmup);
                line.push(Name::Decay, Shape::Cosine, peak, min, warmup, end);
                Some(line.finish(min))
            }
            LrShape::Linear { decay_end } => {
                let (warmup, end) = self.warmup_and_end(*decay_end)?;
                line.warmup(warmup);
                match spec.convention {
                    Convention::Neox => line.linear_neox(peak, min, warmup, end),
                    _ => line.push(Name::Decay, Shape::Linear, peak, min, warmup, end),
                }
                Some(line.finish(min))
            }
            LrShape::LinearToZero => {
                let (warmup, end) = self.warmup_and_end(None)?;
                line.warmup(warmup);
                line.push(Name::Decay, Shape::Linear, peak, 0.0, warmup, end);
                Some(line.finish(0.0))
            }
            LrShape::Wsd { decay, decay_shape, power } => {
                self.check_decay(*decay_shape, *power);
                let (warmup, decay) = (self.warmup(horizon), self.steps("decay", *decay, horizon));
                let (warmup, decay) = (warmup?, decay?);
                self.fits("decay", warmup, decay, horizon)?;
                line.warmup(warmup);
                line.hold(peak, horizon - decay);
                line.push(Name::Decay, decay_shape.curve(*power), peak, min, horizon - decay, horizon);
                Some(line.finish(if decay > 0 { min } else { peak }))
            }
            LrShape::WsdS { decay, decay_shape, power, cycles, ends } => {
                self.check_decay(*decay_shape, *power);
                let mut start = 0;
                for end in self.cycle_ends(*cycles, ends)? {
                    let length = end - start;
                    let warmup = if start == 0 { self.steps("warmup", spec.warmup, length)? } else { 0 };
                    let decay = self.steps("decay", *decay, length)?;
                    self.fits("decay", warmup, decay, length)?;
                    if start == 0 {
                        line.warmup(warmup);
                    }
                    line.hold(peak, end - decay);
                    line.push(Name::Decay, decay_shape.curve(*power), peak, min, end - decay, end);
                    start = end;
                }
                Some(line.finish(if decay.is_zero() { peak } else { min }))
            }
            LrShape::RewarmCosine { cycles, ends, rewarm, rewarm_from } => {
                let from = rewarm_from.unwrap_or(min);
                let why = format!("must be between 0 and the maximum ({peak}), not {from}");
                self.demand((0.0..=peak).contains(&from), "rewarm_from", why);
                let mut start = 0;
                for end in self.cycle_ends(*cycles, ends)? {
                    let (field, warmup) = match rewarm {
                        Some(rewarm) if start > 0 => ("rewarm", *rewarm),
                        _ => ("warmup", spec.warmup),
                    };
                    let warmup = self.steps(field, warmup, end - start)?;
                    self.leaves_room(field, warmup, end - start)?;
                    match start {
                        0 => line.warmup(warmup),
                        _ => line.push(Name::Warmup, Shape::Linear, from, peak, start, start + warmup),
                    }
                    line.push(Name::Decay, Shape::Cosine, peak, min, start + warmup, end);
                    start = end;
                }
                Some(line.finish(min))
            }
            LrShape::Infinite { cooldown, cooldown_shape, alpha, constant, constant_lr } => {
                let level = constant_lr.unwrap_or((peak + min) / 2.0);
                let why = format!("must be between the minimum ({min}) and the maximum ({peak}), not {level}");
                self.demand((min..=peak).contains(&level), "constant_lr", why);
                let curve = match cooldown_shape {
                    CooldownShape::Cosine => Shape::Cosine,
                    CooldownShape::InverseSqrt => {
                        let ok = alpha.is_finite() && *alpha > 0.0;
                        self.demand(ok, "alpha", format!("must be above 0, not {alpha}"));
                        Shape::InvSqrt(*alpha)
                    }
                };
                let warmup = self.warmup(horizon);
                let cooldown = self.steps("cooldown", *cooldown, horizon);
                let constant = self.steps("constant", *constant, horizon);
                let (warmup, cooldown, constant) = (warmup?, cooldown?, constant?);
                self.fits("constant", warmup, cooldown + constant, horizon)?;
                let (cooled, anneal) = (warmup + cooldown, warmup + cooldown + constant);
                if anneal < horizon && min <= 0.0 {
                    let hint = "set min or min_ratio above 0, or make cooldown and constant fill the horizon";
                    self.error("min", "the anneal is exponential and never reaches 0", Some(hint));
                }
                line.warmup(warmup);
                line.push(Name::Cooldown, curve, peak, level, warmup, cooled);
                line.hold(level, anneal);
                line.push(Name::Anneal, Shape::Exponential, level, min, anneal, horizon);
                Some(line.finish(if anneal < horizon { min } else { level }))
            }
            LrShape::MultiStep { milestones, gamma } => {
                let why = format!("must be above 0 and at most 1, not {gamma}");
                self.demand(*gamma > 0.0 && *gamma <= 1.0, "gamma", why);
                let warmup = self.warmup(horizon)?;
                let milestones = self.points("milestones", milestones, warmup)?;
                line.warmup(warmup);
                let mut value = peak;
                for milestone in milestones {
                    // In every convention a milestone is a number of updates done, so it is not shifted.
                    line.hold_to(value, milestone);
                    value *= gamma;
                }
                Some(line.finish(value))
            }
            LrShape::InverseSqrt { timescale } => {
                let (warmup, end) = self.warmup_and_end(None)?;
                let scale = match timescale {
                    Some(timescale) => self.steps("timescale", *timescale, horizon)?,
                    None => warmup,
                };
                if scale == 0 {
                    let hint = "set lr.timescale (without it, the length of the warmup is used if it is not zero)";
                    self.error("timescale", "must be at least one update", Some(hint));
                    return None;
                }
                // 1/sqrt is scale-free, so this piece of it is the same curve whatever the horizon.
                let alpha = (end - warmup) as f64 / scale as f64;
                let last = peak / (1.0 + alpha).sqrt();
                line.warmup(warmup);
                line.push(Name::Decay, Shape::InvSqrt(alpha), peak, last, warmup, end);
                Some(line.finish(last))
            }
        }
    }

    /// The warmup; may be the whole of `whole` but not more.
    fn warmup(&mut self, whole: u64) -> Option<u64> {
        let warmup = self.steps("warmup", self.spec.warmup, whole)?;
        let why = format!("{warmup} updates do not fit into the {whole} of the schedule");
        self.demand(warmup <= whole, "warmup", why)?;
        Some(warmup)
    }

    /// The warmup and where the decay ends, with at least one update between them.
    fn warmup_and_end(&mut self, decay_end: Option<Length>) -> Option<(u64, u64)> {
        let horizon = self.horizon;
        let warmup = self.steps("warmup", self.spec.warmup, horizon);
        let end = match decay_end {
            None => Some(horizon),
            Some(length) => self.steps("decay_end", length, horizon),
        };
        let (warmup, end) = (warmup?, end?);
        let why = format!("update {end} is after the horizon, update {horizon}");
        self.demand(end <= horizon, "decay_end", why)?;
        self.leaves_room("warmup", warmup, end)?;
        Some((warmup, end))
    }

    fn leaves_room(&mut self, field: &'static str, warmup: u64, whole: u64) -> Option<()> {
        let why = format!("{warmup} updates leave nothing of {whole} for the decay");
        self.demand(warmup < whole, field, why)
    }

    fn fits(&mut self, field: &'static str, warmup: u64, rest: u64, whole: u64) -> Option<()> {
        let why = format!("{warmup} updates of warmup and {rest} after it do not fit into {whole}");
        self.demand(warmup <= whole && rest <= whole - warmup, field, why)
    }

    /// Rising points inside (`after`, horizon).
    fn points(&mut self, field: &'static str, lengths: &[Length], after: u64) -> Option<Vec<u64>> {
        let mut points = Vec::new();
        let mut last = after;
        for length in lengths {
            let point = self.steps(field, *length, self.horizon)?;
            let why = format!("{length} is update {point}, which is not after update {last}");
            self.demand(point > last, field, why)?;
            let why = format!("{length} is update {point}, which is after the horizon, update {}", self.horizon);
            self.demand(point <= self.horizon, field, why)?;
            points.push(point);
            last = point;
        }
        Some(points)
    }

    /// Where the cycles of a repeating shape end; the last one at the horizon.
    fn cycle_ends(&mut self, cycles: Option<u64>, ends: &[Length]) -> Option<Vec<u64>> {
        let horizon = self.horizon;
        match (cycles, ends) {
            (Some(_), [_, ..]) => {
                self.error("cycles", "given together with ends", Some("give one of them"));
                None
            }
            (None, []) => {
                self.error("cycles", "a schedule that repeats needs cycles or ends", Some("for example cycles = 3"));
                None
            }
            (Some(cycles), []) => {
                let why = format!("must be between 1 and the {horizon} updates of the horizon, not {cycles}");
                self.demand((1..=horizon).contains(&cycles), "cycles", why)?;
                let end = |cycle: u64| (u128::from(horizon) * u128::from(cycle) / u128::from(cycles)) as u64;
                Some((1..=cycles).map(end).collect())
            }
            (None, ends) => {
                let mut ends = self.points("ends", ends, 0)?;
                if ends.last() != Some(&horizon) {
                    ends.push(horizon);
                }
                Some(ends)
            }
        }
    }

    /// GPT-NeoX before August 2023: the cosine aims at zero with the whole horizon as its half period, is clamped at the
    /// minimum, and its argument stops at T - w.
    fn cosine_neox_2023(&mut self, mut line: Line<'_>, warmup: u64, end: u64) -> Option<Vec<Phase>> {
        let (peak, min) = (self.spec.peak, self.min);
        let why = format!("neox-2023 is only defined up to half the schedule, not for {warmup} updates of {end}");
        self.demand(warmup <= end / 2, "warmup", why)?;
        line.warmup(warmup);
        // The clamp bites where (1 + cos(pi r)) / 2 = min / peak. Splitting there shows the tail as a separate phase.
        let clamped = warmup + ((2.0 * min / peak - 1.0).acos() / PI * end as f64).ceil() as u64;
        let last = (end - warmup).min(clamped);
        line.push(Name::Decay, Shape::Cosine, peak, 0.0, warmup, last);
        if let Some(decay) = line.phases.last_mut().filter(|phase| phase.name == Name::Decay) {
            (decay.span, decay.floor) = (end, min);
        }
        let value = line.phases.last().map_or(peak, |phase| phase.at(phase.last));
        Some(line.finish(value))
    }
}

/// Lays phases one after the other. Positions become updates here.
struct Line<'a> {
    spec: &'a LrSpec,
    phases: Vec<Phase>,
    /// By how many updates the convention is late after the warmup.
    late: u64,
}

impl<'a> Line<'a> {
    fn new(spec: &'a LrSpec) -> Self {
        let late = u64::from(!matches!(spec.convention, Convention::Ours | Convention::OlmoCore));
        Self { spec, phases: Vec::new(), late }
    }

    /// The first update that has no phase yet.
    fn next(&self) -> u64 {
        self.phases.last().map_or(1, |phase| phase.last + 1)
    }

    /// The first warmup, `steps` long in the convention's own counting.
    fn warmup(&mut self, steps: u64) {
        if steps == 0 {
            return;
        }
        let (from, to) = (self.spec.warmup_from, self.spec.peak);
        let first_value = Shape::Linear.value(from, to, 1.0 / steps as f64);
        let (last, origin, span, floor) = match self.spec.convention {
            Convention::Ours | Convention::OlmoCore | Convention::LlmC => (steps, 0, steps, 0.0),
            Convention::NanoGpt => (steps, 0, steps + 1, 0.0),
            Convention::Hf => (steps, 1, steps, 0.0),
            // The first update has the value of the second instead of zero.
            Convention::Neox => (steps + 1, 1, steps, first_value),
            Convention::Neox2023 => (steps + 1, 1, steps, 0.0),
        };
        let (name, shape) = (Name::Warmup, Shape::Linear);
        self.phases.push(Phase { name, first: 1, last, shape, from, to, origin, span, floor });
    }

    /// A curve from position `start` to position `end`; nothing if they are the same.
    fn push(&mut self, name: Name, shape: Shape, from: f64, to: f64, start: u64, end: u64) {
        let (first, last) = (self.next(), end + self.late);
        if start < end && first <= last {
            let (origin, span) = (start + self.late, end - start);
            self.phases.push(Phase { name, first, last, shape, from, to, origin, span, floor: 0.0 });
        }
    }

    /// GPT-NeoX's linear decay aims at zero and is clamped at the minimum; where the clamp bites, a constant begins.
    fn linear_neox(&mut self, peak: f64, min: f64, start: u64, end: u64) {
        let span = end - start;
        let clamped = start + ((1.0 - min / peak) * span as f64).ceil() as u64;
        self.push(Name::Decay, Shape::Linear, peak, 0.0, start, clamped.min(end));
        if let Some(decay) = self.phases.last_mut().filter(|phase| phase.name == Name::Decay) {
            (decay.span, decay.floor) = (span, min);
        }
    }

    /// `value` up to position `end`.
    fn hold(&mut self, value: f64, end: u64) {
        self.hold_to(value, end + self.late);
    }

    /// `value` up to update `last`.
    fn hold_to(&mut self, value: f64, last: u64) {
        if self.next() <= last {
            self.phases.push(Phase::hold(Name::Constant, self.next(), last, value));
        }
    }

    /// `value` for ever after.
    fn finish(mut self, value: f64) -> Vec<Phase> {
        match self.phases.last_mut() {
            Some(phase) if phase.shape == Shape::Hold && phase.from == value => phase.last = Phase::OPEN,
            _ => self.phases.push(Phase::hold(Name::Constant, self.next(), Phase::OPEN, value)),
        }
        self.phases
    }
}
