//! The search for counterexamples: projected gradient descent in single precision from many starts, then along the axes. What it finds is
//! confirmed without tolerance ([`confirm`]) or not told.
//!
//! The objective of a point is that of one group of constraints, or of all at once by their soft minimum, which for the robustness of a
//! class is the cross-entropy. Every constraint of a group has to be met, so a group's objective is that of its worst constraint, softened.

mod confirm;
mod forward;

use std::time::Instant;

use temper_base::random::Stream;
use temper_graph::{Computation, LinearConstraint, Property};

use crate::cascade::Witness;
pub use confirm::{Thin, confirm};
pub use forward::Forward;
pub(crate) use forward::taps;

/// How hard to search.
#[derive(Debug, Clone, PartialEq)]
pub struct AttackSettings {
    /// Steps of descent from a start.
    pub steps: usize,
    /// Starts, at the centre, in corners, at random.
    pub restarts: usize,
    /// Of the starts.
    pub seed: u64,
    /// When to end.
    pub deadline: Option<Instant>,
    /// What sides without a number in single precision stand for.
    pub thin: Thin,
}

impl Default for AttackSettings {
    fn default() -> Self {
        Self { steps: 100, restarts: 32, seed: 0, deadline: None, thin: Thin::Nothing }
    }
}

/// Up to so many inputs are searched at random before any step.
const FEW: usize = 20;
/// Random points then.
const SAMPLES: usize = 4096;
/// Numbers of a batch of points, all values together.
const BATCH: usize = 1 << 24;
/// Up to so many inputs are tried one by one in the end.
const AXES: usize = 64;

/// Looks for a counterexample; the same one for the same seed, as long as time does not end the search. `stop` is asked between steps.
pub fn attack(
    computation: &Computation,
    property: &Property,
    settings: &AttackSettings,
    stop: &(dyn Fn() -> bool + Sync),
) -> Option<Witness> {
    if property.outputs() != computation.outputs() || property.input().lower.len() != computation.inputs() {
        return None;
    }
    // Nothing can be moved where there is nothing, and no pass is written for it.
    if (0..=computation.nodes().len()).any(|value| computation.len(value) == 0) {
        return None;
    }
    let [lower, upper] = confirm::certain(property, settings.thin)?;
    let free: Vec<usize> = (0..lower.len()).filter(|i| lower[*i] < upper[*i]).collect();
    let forward = Forward::new(computation);
    let batch = (BATCH / forward.numbers().max(1)).clamp(1, 64);
    let search = Search { computation, property, settings, stop, forward, lower, upper, free, batch };
    search.run()
}

struct Search<'a> {
    computation: &'a Computation,
    property: &'a Property,
    settings: &'a AttackSettings,
    stop: &'a (dyn Fn() -> bool + Sync),
    forward: Forward<'a>,
    lower: Vec<f32>,
    upper: Vec<f32>,
    /// Inputs that can be moved.
    free: Vec<usize>,
    /// Points in work at once.
    batch: usize,
}

/// A point and how far its outputs are from a violation: below 0 they are one.
#[derive(Clone)]
struct Scored {
    margin: f32,
    point: Vec<f32>,
}

impl Search<'_> {
    fn ended(&self) -> bool {
        (self.stop)() || self.settings.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn run(&self) -> Option<Witness> {
        let inputs = self.lower.len();
        let stream = Stream::named(self.settings.seed, "attack");
        let mut best = Scored { margin: f32::INFINITY, point: self.centre() };
        // The smallest margin that was not confirmed, so that a tie is asked for once.
        let mut refused = f32::INFINITY;
        let samples = if self.free.len() <= FEW && !self.free.is_empty() { SAMPLES } else { 0 };
        let mut starts = vec![Scored { margin: f32::INFINITY, point: self.centre() }];
        starts.extend((0..samples).map(|k| Scored { margin: f32::INFINITY, point: self.start(stream, k) }));
        // The centre alone first: it often settles it.
        let (centre, others) = starts.split_at_mut(1);
        for chunk in std::iter::once(centre).chain(others.chunks_mut(self.batch * 8)) {
            let points = chunk.iter().flat_map(|start| start.point.iter().copied()).collect();
            let values = self.forward.values(points);
            let outputs = values.last().expect("the output").chunks(self.property.outputs().max(1));
            chunk.iter_mut().zip(outputs).for_each(|(start, outputs)| start.margin = self.margin(outputs));
            if let Some(witness) = self.found(chunk, &mut best, &mut refused) {
                return Some(witness);
            }
            if self.ended() {
                return None;
            }
        }
        let centre = starts[0].point.clone();
        let order = self.order(&centre);
        let mut promising = starts.split_off(1);
        promising.sort_by(|a, b| a.margin.total_cmp(&b.margin));
        let mut made = 0;
        while made < self.settings.restarts && !self.free.is_empty() {
            let many = self.batch.min(self.settings.restarts - made);
            let mut points = Vec::with_capacity(many * inputs);
            // All groups at once first, then one after the other.
            let target = |k: usize| (k % (order.len() + 1)).checked_sub(1).map(|rank| order[rank]);
            let targets: Vec<Option<usize>> = (made..made + many).map(target).collect();
            for k in made..made + many {
                match promising.get(k / 2).filter(|_| k.is_multiple_of(2)) {
                    Some(start) => points.extend_from_slice(&start.point),
                    // Without samples every target has the centre once.
                    None if k <= order.len() && promising.is_empty() => points.extend_from_slice(&centre),
                    None => points.extend(self.start(stream, samples + k)),
                }
            }
            if let Some(witness) = self.descend(points, &targets, made, &mut best, &mut refused) {
                return Some(witness);
            }
            if self.ended() {
                return None;
            }
            made += many;
        }
        self.along_axes(&mut best, &mut refused)
    }

    fn centre(&self) -> Vec<f32> {
        let Some(ball) = self.property.ball() else {
            return self.lower.iter().zip(&self.upper).map(|(l, u)| (l + (u - l) / 2.0).clamp(*l, *u)).collect();
        };
        let mut centre: Vec<f32> = ball.centre.iter().map(|c| *c as f32).collect();
        self.inside(&mut centre);
        centre
    }

    /// Moves a point into the ball, if there is one, and from there into the box, which a ball around one of its points keeps.
    fn inside(&self, point: &mut [f32]) {
        if let Some(ball) = self.property.ball() {
            confirm::into_ball(ball, point);
        }
        let ends = self.lower.iter().zip(&self.upper);
        point.iter_mut().zip(ends).for_each(|(x, (l, u))| *x = x.clamp(*l, *u));
    }

    /// Start `k`: every third in a corner, the others anywhere.
    fn start(&self, stream: Stream, k: usize) -> Vec<f32> {
        let inputs = self.lower.len() as u64;
        let ends = self.lower.iter().zip(&self.upper).enumerate();
        let place = |(i, (l, u)): (usize, (&f32, &f32))| {
            let at = stream.at(k as u64 * inputs + i as u64) as f32;
            let at = if k % 3 == 2 { at.round() } else { at };
            (l + (u - l) * at).clamp(*l, *u)
        };
        let mut point: Vec<f32> = ends.map(place).collect();
        self.inside(&mut point);
        point
    }

    /// How far these outputs are from a violation: of the nearest group, that of its worst constraint. A NaN is infinitely far.
    fn margin(&self, outputs: &[f32]) -> f32 {
        let far = |row: &LinearConstraint| {
            let margin = slack(row, outputs);
            if margin.is_nan() { f32::INFINITY } else { margin }
        };
        let group = |group: &Vec<LinearConstraint>| group.iter().map(far).fold(f32::NEG_INFINITY, f32::max);
        self.property.violations().iter().map(group).fold(f32::INFINITY, f32::min)
    }

    /// The groups, the one that the outputs of this point are nearest to first.
    fn order(&self, point: &[f32]) -> Vec<usize> {
        let values = self.forward.values(point.to_vec());
        let outputs = values.last().expect("the output");
        let groups = self.property.violations().iter();
        let far = groups.map(|rows| rows.iter().map(|row| slack(row, outputs)).fold(f32::NEG_INFINITY, f32::max));
        let mut order: Vec<(f32, usize)> = far.enumerate().map(|(g, far)| (far, g)).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        order.into_iter().map(|(_, g)| g).collect()
    }

    /// A confirmed one of these points; the best of all is kept.
    fn found(&self, points: &[Scored], best: &mut Scored, refused: &mut f32) -> Option<Witness> {
        let nearest = points.iter().min_by(|a, b| a.margin.total_cmp(&b.margin))?;
        if nearest.margin < best.margin {
            *best = nearest.clone();
        }
        if nearest.margin <= 0.0 && nearest.margin < *refused {
            let exact: Vec<f64> = nearest.point.iter().map(|x| f64::from(*x)).collect();
            if let Some(witness) = confirm(self.computation, self.property, &exact, self.settings.thin) {
                return Some(witness);
            }
            *refused = nearest.margin * 1.5;
        }
        None
    }

    /// Steps down from these points, each towards its group (`None`: towards all).
    fn descend(
        &self,
        mut points: Vec<f32>,
        targets: &[Option<usize>],
        number: usize,
        best: &mut Scored,
        refused: &mut f32,
    ) -> Option<Witness> {
        let (inputs, outputs) = (self.lower.len(), self.property.outputs());
        let mut momentum = vec![0.0f32; points.len()];
        for step in 0..=self.settings.steps {
            let values = self.forward.values(points.clone());
            let answers = values.last().expect("the output").chunks(outputs);
            let margins = answers.clone().map(|answer| self.margin(answer)).zip(points.chunks(inputs));
            let nearest = margins.min_by(|a, b| a.0.total_cmp(&b.0)).expect("a point");
            let scored = [Scored { margin: nearest.0, point: nearest.1.to_vec() }];
            if let Some(witness) = self.found(&scored, best, refused) {
                return Some(witness);
            }
            if step == self.settings.steps || self.ended() {
                return None;
            }
            let wanted = answers.zip(targets).flat_map(|(answer, target)| self.slope(answer, *target)).collect();
            let gradient = self.forward.gradient(&values, wanted);
            // A quarter of the radius, then less.
            let rate = 0.125 * (1.0 - step as f32 / self.settings.steps as f32) + 0.002;
            let rows = points.chunks_mut(inputs).zip(momentum.chunks_mut(inputs)).zip(gradient.chunks(inputs));
            for (k, ((point, momentum), gradient)) in rows.enumerate() {
                let width = |i: usize| self.upper[i] - self.lower[i];
                let total = self.free.iter().map(|i| gradient[*i].abs()).sum::<f32>();
                let scale = if total > 0.0 && total.is_finite() { self.free.len() as f32 / total } else { 0.0 };
                self.free.iter().for_each(|i| momentum[*i] = 0.75 * momentum[*i] + gradient[*i] * scale);
                if let Some(ball) = self.property.ball() {
                    let norm = self.free.iter().map(|i| momentum[*i] * momentum[*i]).sum::<f32>().sqrt();
                    if norm > 0.0 && norm.is_finite() {
                        let step = 2.0 * rate * ball.radius as f32 / norm;
                        self.free.iter().for_each(|i| point[*i] -= step * momentum[*i]);
                        self.inside(point);
                    }
                    continue;
                }
                let largest = self.free.iter().map(|i| (momentum[*i] * width(*i)).abs()).fold(0.0, f32::max);
                // With few inputs their proportions matter; with many the sign is enough.
                let sign = self.free.len() > FEW || (number + k).is_multiple_of(2);
                for &i in &self.free {
                    let direction = match momentum[i] * width(i) / largest {
                        slope if slope.is_nan() || slope == 0.0 => 0.0,
                        slope if sign => slope.signum(),
                        slope => slope,
                    };
                    point[i] = (point[i] - rate * width(i) * direction).clamp(self.lower[i], self.upper[i]);
                }
            }
        }
        None
    }

    /// The gradient of the objective by the outputs.
    fn slope(&self, outputs: &[f32], target: Option<usize>) -> Vec<f32> {
        let groups = self.property.violations();
        let mut slope = vec![0.0; outputs.len()];
        let mut towards = |group: &[LinearConstraint], weight: f32| {
            let slacks: Vec<f32> = group.iter().map(|row| slack(row, outputs)).collect();
            for (row, share) in group.iter().zip(soft_maximum(&slacks)) {
                row.terms.iter().for_each(|(output, c)| slope[*output] += weight * share * *c as f32);
            }
        };
        match target {
            Some(group) => towards(&groups[group], 1.0),
            None => {
                let far = |group: &Vec<LinearConstraint>| {
                    -group.iter().map(|row| slack(row, outputs)).fold(f32::NEG_INFINITY, f32::max)
                };
                let shares = soft_maximum(&groups.iter().map(far).collect::<Vec<f32>>());
                groups.iter().zip(shares).for_each(|(group, share)| towards(group, share));
            }
        }
        slope
    }

    /// From the best point, one input at a time, to other places of its side, as long as that helps.
    fn along_axes(&self, best: &mut Scored, refused: &mut f32) -> Option<Witness> {
        const PLACES: [f32; 8] = [-1.0, 1.0, -0.3, 0.3, -0.05, 0.05, -0.005, 0.005];
        if self.free.len() > AXES {
            return None;
        }
        for _ in 0..8 {
            let before = best.margin;
            for &i in &self.free {
                let moved = PLACES.map(|place| {
                    let mut point = best.point.clone();
                    let width = self.upper[i] - self.lower[i];
                    point[i] += place * width;
                    self.inside(&mut point);
                    point
                });
                let values = self.forward.values(moved.concat());
                let outputs = values.last().expect("the output").chunks(self.property.outputs().max(1));
                let scored: Vec<Scored> =
                    moved.into_iter().zip(outputs).map(|(point, y)| Scored { margin: self.margin(y), point }).collect();
                if let Some(witness) = self.found(&scored, best, refused) {
                    return Some(witness);
                }
                if self.ended() {
                    return None;
                }
            }
            if best.margin >= before {
                return None;
            }
        }
        None
    }
}

/// How far outputs are from meeting a constraint.
fn slack(row: &LinearConstraint, outputs: &[f32]) -> f32 {
    row.terms.iter().map(|(output, c)| *c as f32 * outputs[*output]).sum::<f32>() - row.certain as f32
}

/// Shares of the numbers in their maximum, softened by a tenth of their spread.
fn soft_maximum(numbers: &[f32]) -> Vec<f32> {
    let largest = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let least = numbers.iter().copied().fold(f32::INFINITY, f32::min);
    let spread = ((largest - least) * 0.1).max(f32::MIN_POSITIVE);
    let weights: Vec<f32> = numbers.iter().map(|number| ((number - largest) / spread).exp()).collect();
    let total: f32 = weights.iter().sum();
    weights.into_iter().map(|weight| if total > 0.0 { weight / total } else { 0.0 }).collect()
}
