//! Bounds of what relaxed nodes read, by linear bounds through all nodes before.

use super::backward::{Job, Keep, Rows, backward};
use super::interval::{Bounds, Ends, Region, charge, start, through};
use super::optimise::Alpha;
use super::prepared::{Prepared, Step};
use super::real::Real;
use super::zonotope::Zonotope;
use crate::cascade::Arithmetic;

/// Bounds of every value: intervals, and for the numbers whose sign or place matters linear bounds besides; intersected with each other
/// and with `reference`, if there is one, which has to hold over the same inputs. `stop` is asked before every layer; the layers after
/// have intervals alone.
///
/// # Panics
/// As [`interval`](super::interval()).
pub fn intermediate<T: Real>(
    net: &Prepared<T>,
    input: impl Into<Region<T>>,
    claim: Arithmetic,
    reference: Option<&Bounds<T>>,
    stop: &(dyn Fn() -> bool + Sync),
) -> Bounds<T> {
    tightened(net, input, claim, reference, &[], stop)
}

/// Rows of one value with slopes of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct Tight<T> {
    /// The value.
    pub value: usize,
    /// The numbers that are bounded, and whether it is the negative of the number, from below.
    pub units: Vec<(u32, bool)>,
    /// Slopes of the ReLUs below, one set a unit.
    pub alpha: Alpha<T>,
}

/// As [`intermediate`], with slopes that were optimised: `layers` say which rows of which values are bounded with which slopes. Other
/// values are bounded by the adaptive rule.
///
/// # Panics
/// As [`interval`](super::interval()).
pub fn tightened<T: Real>(
    net: &Prepared<T>,
    input: impl Into<Region<T>>,
    claim: Arithmetic,
    reference: Option<&Bounds<T>>,
    layers: &[Tight<T>],
    stop: &(dyn Fn() -> bool + Sync),
) -> Bounds<T> {
    let references = reference.map(|reference| vec![reference]);
    walk(net, vec![input.into()], claim, references.as_deref(), layers, 0, stop).pop().expect("one")
}

/// As [`tightened`], of bounds that were just narrowed at `value` and nowhere else: values up to there keep what they have.
pub fn renewed<T: Real>(
    net: &Prepared<T>,
    bounds: &Bounds<T>,
    value: usize,
    layers: &[Tight<T>],
    stop: &(dyn Fn() -> bool + Sync),
) -> Bounds<T> {
    let input = Region { ends: bounds.ends(0).clone(), ball: bounds.ball.as_deref().cloned(), forms: bounds.forms };
    walk(net, vec![input], bounds.claim, Some(&[bounds]), layers, value, stop).pop().expect("one")
}

/// The same for several inputs at once.
///
/// # Panics
/// As [`interval`](super::interval()).
pub fn intermediates<T: Real>(
    net: &Prepared<T>,
    inputs: Vec<Region<T>>,
    claim: Arithmetic,
    references: Option<&[&Bounds<T>]>,
    stop: &(dyn Fn() -> bool + Sync),
) -> Vec<Bounds<T>> {
    walk(net, inputs, claim, references, &[], 0, stop)
}

/// Inputs that vary, at most, where forms over the input are pushed forwards; and numbers of all values, at least.
const FEW: usize = 20;
const LARGE: usize = 4096;

/// Values up to `from` have the intervals and references alone.
fn walk<T: Real>(
    net: &Prepared<T>,
    inputs: Vec<Region<T>>,
    claim: Arithmetic,
    references: Option<&[&Bounds<T>]>,
    layers: &[Tight<T>],
    from: usize,
    stop: &(dyn Fn() -> bool + Sync),
) -> Vec<Bounds<T>> {
    let mut all: Vec<Bounds<T>> = inputs.into_iter().map(|input| start(net, input, claim)).collect();
    let few = |bounds: &Bounds<T>| {
        let ends = bounds.ends(0).lower.iter().zip(&bounds.ends(0).upper);
        ends.filter(|(l, u)| l < u).count() <= FEW
    };
    // Cheap where few inputs vary, and in large networks worth it: most rows are then not needed.
    let large = net.len.iter().sum::<usize>() >= LARGE;
    let begin = |bounds: &Bounds<T>| (large && bounds.forms && few(bounds)).then(|| Zonotope::new(bounds.ends(0)));
    let mut forms: Vec<Option<Zonotope<T>>> = all.iter().map(begin).collect();
    for node in 0..net.steps.len() {
        let value = node + 1;
        let mut ends = through(net, node, &all);
        if let Some(references) = references {
            ends.iter_mut().zip(references).for_each(|(ends, reference)| ends.intersect(reference.ends(value)));
        }
        for ((forms, bounds), ends) in forms.iter_mut().zip(&all).zip(&mut ends) {
            if let Some(forms) = forms {
                ends.intersect(&forms.through(net, node, bounds));
            }
        }
        charge(net, node, &mut all);
        let ball = all.iter().any(|bounds| bounds.ball.is_some());
        if value > from && net.relaxed[value] && (ball || !net.exact(value)) && !stop() {
            match layers.iter().find(|layer| layer.value == value) {
                Some(layer) => {
                    let jobs = all.iter().map(|bounds| layer.job(bounds)).collect::<Vec<_>>();
                    let pushed = backward(net, &jobs, Keep::default());
                    ends.iter_mut().zip(pushed).for_each(|(ends, pushed)| cut(ends, &layer.units, &pushed.bound));
                }
                None => tighten(net, value, &all, &mut ends),
            }
        }
        all.iter_mut().zip(ends).for_each(|(bounds, ends)| bounds.add(ends));
    }
    all
}

/// Intersects the intervals of a value with its linear bounds, where they matter.
fn tighten<T: Real>(net: &Prepared<T>, value: usize, all: &[Bounds<T>], ends: &mut [Ends<T>]) {
    let units: Vec<Vec<(u32, bool)>> = ends.iter().map(|ends| units(net, value, ends)).collect();
    let job = |(bounds, units)| Job::new(bounds, value, Rows::Units(units));
    let jobs: Vec<Job<'_, T>> = all.iter().zip(units.iter().map(Vec::as_slice)).map(job).collect();
    let pushed = backward(net, &jobs, Keep::default());
    for ((ends, units), pushed) in ends.iter_mut().zip(&units).zip(pushed) {
        cut(ends, units, &pushed.bound);
    }
}

/// Intersects intervals with lower bounds of numbers and of their negatives.
pub(crate) fn cut<T: Real>(ends: &mut Ends<T>, units: &[(u32, bool)], bounds: &[f64]) {
    let mut other = ends.clone();
    for ((number, negative), bound) in units.iter().zip(bounds) {
        if *negative {
            other.upper[*number as usize] = -T::below(*bound);
        } else {
            other.lower[*number as usize] = T::below(*bound);
        }
    }
    ends.intersect(&other);
}

impl<T: Real> Tight<T> {
    /// Its rows, over these bounds.
    pub(crate) fn job<'a>(&'a self, bounds: &'a Bounds<T>) -> Job<'a, T> {
        Job { alpha: Some(&self.alpha), ..Job::new(bounds, self.value, Rows::Units(&self.units)) }
    }

    /// The same in another kind of floats.
    pub fn to<U: Real>(&self) -> Tight<U> {
        Tight { value: self.value, units: self.units.clone(), alpha: self.alpha.to() }
    }
}

/// The numbers of a value that linear bounds may help: those of both signs that a ReLU reads, and those that may be the largest of a
/// window of which it is open which is.
fn units<T: Real>(net: &Prepared<T>, value: usize, ends: &Ends<T>) -> Vec<(u32, bool)> {
    let mut wanted = vec![false; net.len[value]];
    for node in (0..net.steps.len()).filter(|node| net.inputs[*node].contains(&value)) {
        match &net.steps[node] {
            Step::Relu => ends.unstable().for_each(|i| wanted[i] = true),
            Step::Curve(_) => wanted.iter_mut().for_each(|wanted| *wanted = true),
            Step::MaxPool(windows) => {
                for window in windows {
                    let least =
                        window.iter().map(|i| ends.lower[*i]).reduce(T::largest).expect("a window sees something");
                    let able = window.iter().filter(|i| ends.upper[**i] > least);
                    if able.clone().count() > 1 {
                        able.for_each(|i| wanted[*i] = true);
                    }
                }
            }
            Step::Affine(_) | Step::Add | Step::Gather { .. } => {}
        }
    }
    let numbers = (0..wanted.len()).filter(|i| wanted[*i]).map(|i| i as u32);
    numbers.flat_map(|i| [(i, false), (i, true)]).collect()
}
