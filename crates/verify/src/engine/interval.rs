//! Bounds of every value by intervals, and what linear bounds have to be charged for rounding.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::batch::{self, Batch};
use super::lines::Lines;
use super::prepared::{Map, Prepared};
use super::real::{Real, UNIT, UNIT32, above, gamma};
use crate::cascade::Arithmetic;

/// Least and largest values of an array of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Ends<T> {
    /// Least values.
    pub lower: Vec<T>,
    /// Largest values.
    pub upper: Vec<T>,
}

impl<T: Real> Ends<T> {
    /// The ends of a box, each rounded outwards.
    pub fn outward(lower: &[f64], upper: &[f64]) -> Self {
        Self {
            lower: lower.iter().map(|l| T::below(*l)).collect(),
            upper: upper.iter().map(|u| -T::below(-u)).collect(),
        }
    }

    /// The same in another kind of floats, rounded outwards.
    pub fn to<U: Real>(&self) -> Ends<U> {
        let doubles = |numbers: &[T]| numbers.iter().map(|n| n.double()).collect::<Vec<_>>();
        Ends::outward(&doubles(&self.lower), &doubles(&self.upper))
    }

    /// The numbers that may have either sign.
    pub fn unstable(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.lower.len()).filter(|i| self.is_unstable(*i))
    }

    /// Whether number `i` may have either sign.
    pub fn is_unstable(&self, i: usize) -> bool {
        self.lower[i] < T::ZERO && self.upper[i] > T::ZERO
    }

    /// The largest magnitude that number `i` may have.
    pub(crate) fn reach(&self, i: usize) -> f64 {
        self.lower[i].magnitude().largest(self.upper[i].magnitude()).double()
    }

    /// What both allow. Where rounding made them disagree, what lies between them.
    pub(crate) fn intersect(&mut self, other: &Self) {
        for (l, o) in self.lower.iter_mut().zip(&other.lower) {
            *l = l.largest(*o);
        }
        for (u, o) in self.upper.iter_mut().zip(&other.upper) {
            *u = u.least(*o);
        }
        for (l, u) in self.lower.iter_mut().zip(&mut self.upper) {
            if *l > *u {
                std::mem::swap(l, u);
            }
        }
    }
}

/// The inputs that bounds hold for: a box or, where `ball` says so, what it has in common with a ball.
#[derive(Debug, Clone, PartialEq)]
pub struct Region<T> {
    /// The box.
    pub ends: Ends<T>,
    /// Centre and radius of a ball in the Euclidean norm.
    pub ball: Option<(Vec<T>, f64)>,
    /// Whether forms over the inputs may tighten bounds: no proof tells of them.
    pub forms: bool,
}

impl<T: Real> Region<T> {
    /// All inputs between two ends.
    pub fn new(ends: Ends<T>) -> Self {
        Self { ends, ball: None, forms: true }
    }

    /// All inputs at most `radius` from a centre, in the Euclidean norm.
    pub fn ball(centre: Vec<T>, radius: f64) -> Self {
        let ends = |sign: f64| centre.iter().map(|c| (c.double() + sign * radius).next_up()).collect::<Vec<_>>();
        let lower: Vec<f64> = centre.iter().map(|c| (c.double() - radius).next_down()).collect();
        Self { ends: Ends::outward(&lower, &ends(1.0)), ball: Some((centre, radius)), forms: true }
    }
}

impl<T: Real> From<Ends<T>> for Region<T> {
    fn from(ends: Ends<T>) -> Self {
        Self::new(ends)
    }
}

/// What rounding may cost a linear bound at a node.
#[derive(Debug, PartialEq)]
pub(crate) struct Charge {
    /// For every output, to be multiplied by the magnitude of its coefficient.
    pub each: Vec<f64>,
    /// Besides, for products too small for a normal number.
    pub small: f64,
}

/// The ends of a value, with its lines once a ReLU has asked for them.
#[derive(Debug, Clone)]
struct Held<T> {
    ends: Ends<T>,
    lines: OnceLock<Lines<T>>,
}

impl<T: PartialEq> PartialEq for Held<T> {
    fn eq(&self, other: &Self) -> bool {
        self.ends == other.ends
    }
}

/// Bounds of every value of a computation, over a set of inputs. Cheap to clone: values share what they do not change.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds<T> {
    pub(crate) claim: Arithmetic,
    pub(crate) ball: Option<Arc<(Vec<T>, f64)>>,
    /// As in the [`Region`].
    pub(crate) forms: bool,
    ends: Vec<Arc<Held<T>>>,
    pub(crate) charges: Vec<Option<Arc<Charge>>>,
}

impl<T: Real> Bounds<T> {
    /// Bytes of the bounds of all values.
    pub fn bytes(&self) -> usize {
        self.ends.iter().map(|held| 2 * size_of::<T>() * held.ends.lower.len()).sum()
    }

    /// The bounds of a value: 0 is the input, `i + 1` the output of node `i`.
    pub fn ends(&self, value: usize) -> &Ends<T> {
        &self.ends[value].ends
    }

    /// The lines of a ReLU that reads a value.
    pub(crate) fn lines(&self, value: usize) -> &Lines<T> {
        let held = &self.ends[value];
        held.lines.get_or_init(|| Lines::new(&held.ends, self.claim != Arithmetic::Real))
    }

    /// Whether both are bounds of one box, perhaps with other splits.
    pub(crate) fn related(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.ends[0], &other.ends[0])
    }

    /// Adds the next value's.
    pub(crate) fn add(&mut self, ends: Ends<T>) {
        self.ends.push(Arc::new(Held { ends, lines: OnceLock::new() }));
    }

    /// The largest magnitudes of a value's numbers.
    pub(crate) fn reach(&self, value: usize) -> Vec<T> {
        let ends = self.ends(value);
        (0..ends.lower.len()).map(|i| T::nearest(ends.reach(i))).collect()
    }

    /// In which sense they hold.
    pub fn claim(&self) -> Arithmetic {
        self.claim
    }

    /// The same with a value's bounds intersected with others, which have to hold in the same sense.
    pub fn with(&self, value: usize, ends: &Ends<T>) -> Self {
        let mut bounds = self.clone();
        let held = Arc::make_mut(&mut bounds.ends[value]);
        held.lines = OnceLock::new();
        held.ends.intersect(ends);
        bounds
    }

    /// The same where number `neuron` of a value is not negative (`active`) or not positive.
    pub fn split(&self, value: usize, neuron: usize, active: bool) -> Self {
        let mut bounds = self.clone();
        bounds.cut(value, neuron, active);
        bounds
    }

    /// [`split`](Self::split) in place.
    pub(crate) fn cut(&mut self, value: usize, neuron: usize, active: bool) {
        let sound = self.claim != Arithmetic::Real;
        let held = Arc::make_mut(&mut self.ends[value]);
        let end = if active { &mut held.ends.lower[neuron] } else { &mut held.ends.upper[neuron] };
        *end = if active { end.largest(T::ZERO) } else { end.least(T::ZERO) };
        if let Some(lines) = held.lines.get_mut() {
            lines.change(&held.ends, neuron, sound);
        }
    }

    /// The same in another kind of floats, every end rounded outwards; rounding is not charged there.
    pub fn to<U: Real>(&self) -> Bounds<U> {
        let ball = |(centre, radius): &(Vec<T>, f64)| {
            let moved: Vec<U> = centre.iter().map(|c| U::nearest(c.double())).collect();
            // Around a centre that was moved by rounding, it has to be larger.
            let by = centre.iter().zip(&moved).map(|(c, m)| (c.double() - m.double()).powi(2)).sum::<f64>().sqrt();
            Arc::new((moved, if by > 0.0 { above(radius + above(by, centre.len() + 2), 1) } else { *radius }))
        };
        Bounds {
            claim: Arithmetic::Real,
            ball: self.ball.as_deref().map(ball),
            forms: self.forms,
            ends: self
                .ends
                .iter()
                .map(|held| Arc::new(Held { ends: held.ends.to(), lines: OnceLock::new() }))
                .collect(),
            charges: self.charges.iter().map(|_| None).collect(),
        }
    }

    /// The same over a smaller box, with bounds that held for the larger one.
    pub fn narrowed(&self, ends: Ends<T>) -> Self {
        let mut bounds = self.clone();
        bounds.ends[0] = Arc::new(Held { ends, lines: OnceLock::new() });
        bounds
    }
}

/// How far a constant may be from what an execution in single precision has in its place.
pub(crate) fn constant_error(number: f64, single: bool) -> f64 {
    if single && number != 0.0 { 2.0 * UNIT32 * number.abs() + f64::from(f32::MIN_POSITIVE) } else { 0.0 }
}

/// Bounds of every value by intervals.
///
/// # Panics
/// If a claim that charges rounding is asked for in single precision, or the input has another size.
pub fn interval<T: Real>(net: &Prepared<T>, input: impl Into<Region<T>>, claim: Arithmetic) -> Bounds<T> {
    intervals(net, vec![input.into()], claim).pop().expect("one")
}

/// The same for several inputs at once.
///
/// # Panics
/// As [`interval`].
pub fn intervals<T: Real>(net: &Prepared<T>, inputs: Vec<Region<T>>, claim: Arithmetic) -> Vec<Bounds<T>> {
    let mut all: Vec<Bounds<T>> = inputs.into_iter().map(|input| start(net, input, claim)).collect();
    all.par_chunks_mut(Batch::<T>::MOST).for_each(|some| {
        let (inputs, mut values) = (some.len(), vec![Batch::new(net, some, 0)]);
        for node in 0..net.steps.len() {
            let of = |value: usize| &values[value];
            let charges = batch::charges(net, node, inputs, claim, of);
            let ends = batch::through(net, node, claim, of);
            for ((bounds, charge), ends) in some.iter_mut().zip(charges).zip(ends.apart(inputs)) {
                bounds.charges.push(charge);
                bounds.add(ends);
            }
            values.push(ends);
        }
    });
    all
}

/// Of several inputs at once, the intervals of the output alone: nothing else is kept, and nothing is worked out that linear bounds need.
///
/// # Panics
/// As [`interval`].
pub fn output_intervals<T: Real>(net: &Prepared<T>, inputs: Vec<Region<T>>, claim: Arithmetic) -> Vec<Ends<T>> {
    let all: Vec<Bounds<T>> = inputs.into_iter().map(|input| start(net, input, claim)).collect();
    let outputs = |some: &[Bounds<T>]| batch::output(net, claim, Batch::new(net, some, 0)).apart(some.len());
    all.par_chunks(Batch::<T>::MOST).flat_map_iter(outputs).collect()
}

/// Bounds of the input alone.
pub(crate) fn start<T: Real>(net: &Prepared<T>, input: Region<T>, claim: Arithmetic) -> Bounds<T> {
    assert!(claim == Arithmetic::Real || T::CHARGES, "a claim of {} in single precision", claim.name());
    let Region { ends, ball, forms } = input;
    assert!(ends.lower.len() == net.inputs() && ends.upper.len() == net.inputs(), "an input of the network's size");
    let mut bounds = Bounds { claim, ball: ball.map(Arc::new), forms, ends: Vec::new(), charges: Vec::new() };
    bounds.add(ends);
    bounds
}

/// The intervals of a node's output, for several inputs at once.
pub(crate) fn through<T: Real>(net: &Prepared<T>, node: usize, all: &[Bounds<T>]) -> Vec<Ends<T>> {
    let some = |some: &[Bounds<T>]| {
        let values = read(net, node, some);
        batch::through(net, node, some[0].claim, |value| &values[&value]).apart(some.len())
    };
    all.par_chunks(Batch::<T>::MOST).flat_map_iter(some).collect()
}

/// Adds what linear bounds are charged at a node, worked out from the bounds of what it reads.
pub(crate) fn charge<T: Real>(net: &Prepared<T>, node: usize, all: &mut [Bounds<T>]) {
    all.par_chunks_mut(Batch::<T>::MOST).for_each(|some| {
        let values = read(net, node, some);
        let charges = batch::charges(net, node, some.len(), some[0].claim, |value| &values[&value]);
        some.iter_mut().zip(charges).for_each(|(bounds, charge)| bounds.charges.push(charge));
    });
}

/// The values that a node reads.
fn read<T: Real>(net: &Prepared<T>, node: usize, all: &[Bounds<T>]) -> HashMap<usize, Batch<T>> {
    net.inputs[node].iter().map(|value| (*value, Batch::new(net, all, *value))).collect()
}

/// How far a layer's sums may be from those that are meant, as a share of the sum of the magnitudes of their terms.
pub(crate) fn share<T>(map: &Map<T>, claim: Arithmetic) -> f64 {
    let merged = map.merged as usize;
    match claim {
        Arithmetic::Real => 0.0,
        Arithmetic::Sound => gamma(map.fan_in + 1 + 2 * merged, UNIT),
        Arithmetic::Float32 => gamma(map.fan_in + 1 + 2 * merged, UNIT) + deployed(map),
    }
}

/// What the layer is off by where it is executed in single precision, with the layers unmerged.
pub(super) fn deployed<T>(map: &Map<T>) -> f64 {
    // The sum and the bias; one for weights that are no single floats; those of the layers that were merged. Six more, since an
    // operation may be several roundings elsewhere: as many as the checker of proofs charges.
    gamma(map.fan_in + 9 + map.merged as usize, UNIT32)
}

/// What numbers too small for a normal single float may add to that.
pub(crate) fn tiny<T>(map: &Map<T>, claim: Arithmetic) -> f64 {
    let flushed = (map.fan_in + 8 + map.merged as usize) as f64 * f64::from(f32::MIN_POSITIVE);
    if claim == Arithmetic::Float32 { flushed } else { 0.0 }
}

/// Where magnitudes in single precision add up to no more, no order of summation overflows.
pub(crate) const LARGEST: f64 = 1e38;

/// What an execution is off by, or without limit where its sums, of terms with these magnitudes, may overflow.
pub(super) fn executed(off: f64, magnitudes: f64, single: bool) -> f64 {
    if single && magnitudes > LARGEST { f64::INFINITY } else { off }
}
