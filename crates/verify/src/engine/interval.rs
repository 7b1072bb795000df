//! Bounds of every value by intervals, and what linear bounds have to be charged for rounding.

use std::sync::{Arc, OnceLock};

use super::curve;
use super::lines::Lines;
use super::prepared::{Map, Prepared, Step};
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
}

impl<T: Real> Region<T> {
    /// All inputs between two ends.
    pub fn new(ends: Ends<T>) -> Self {
        Self { ends, ball: None }
    }

    /// All inputs at most `radius` from a centre, in the Euclidean norm.
    pub fn ball(centre: Vec<T>, radius: f64) -> Self {
        let ends = |sign: f64| centre.iter().map(|c| (c.double() + sign * radius).next_up()).collect::<Vec<_>>();
        let lower: Vec<f64> = centre.iter().map(|c| (c.double() - radius).next_down()).collect();
        Self { ends: Ends::outward(&lower, &ends(1.0)), ball: Some((centre, radius)) }
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
    for node in 0..net.steps.len() {
        let ends = through(net, node, &all);
        for (bounds, ends) in all.iter_mut().zip(ends) {
            bounds.charge(net, node);
            bounds.add(ends);
        }
    }
    all
}

/// Of several inputs at once, the intervals of the output alone: nothing else is kept, and nothing is worked out that linear bounds need.
///
/// # Panics
/// As [`interval`].
pub fn output_intervals<T: Real>(net: &Prepared<T>, inputs: Vec<Region<T>>, claim: Arithmetic) -> Vec<Ends<T>> {
    let mut all: Vec<Bounds<T>> = inputs.into_iter().map(|input| start(net, input, claim)).collect();
    let none = Held { ends: Ends { lower: Vec::new(), upper: Vec::new() }, lines: OnceLock::new() };
    let none = Arc::new(none);
    for node in 0..net.steps.len() {
        let ends = through(net, node, &all);
        let read_later = |value: &usize| net.inputs[node + 1..].iter().flatten().any(|input| input == value);
        for (bounds, ends) in all.iter_mut().zip(ends) {
            net.inputs[node]
                .iter()
                .filter(|value| !read_later(value))
                .for_each(|value| bounds.ends[*value] = none.clone());
            bounds.add(ends);
        }
    }
    let last = |mut bounds: Bounds<T>| Arc::unwrap_or_clone(bounds.ends.pop().expect("the input")).ends;
    all.into_iter().map(last).collect()
}

/// Bounds of the input alone.
pub(crate) fn start<T: Real>(net: &Prepared<T>, input: Region<T>, claim: Arithmetic) -> Bounds<T> {
    assert!(claim == Arithmetic::Real || T::CHARGES, "a claim of {} in single precision", claim.name());
    let Region { ends, ball } = input;
    assert!(ends.lower.len() == net.inputs() && ends.upper.len() == net.inputs(), "an input of the network's size");
    let mut bounds = Bounds { claim, ball: ball.map(Arc::new), ends: Vec::new(), charges: Vec::new() };
    bounds.add(ends);
    bounds
}

/// The intervals of a node's output, for several inputs at once.
pub(crate) fn through<T: Real>(net: &Prepared<T>, node: usize, all: &[Bounds<T>]) -> Vec<Ends<T>> {
    let inputs = &net.inputs[node];
    match &net.steps[node] {
        Step::Affine(map) => affine(map, all, inputs[0]),
        step => all.iter().map(|bounds| plain(step, bounds, inputs)).collect(),
    }
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
fn deployed<T>(map: &Map<T>) -> f64 {
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
fn executed(off: f64, magnitudes: f64, single: bool) -> f64 {
    if single && magnitudes > LARGEST { f64::INFINITY } else { off }
}

fn affine<T: Real>(map: &Map<T>, all: &[Bounds<T>], input: usize) -> Vec<Ends<T>> {
    let half = T::nearest(0.5);
    let (mut centres, mut radii) = (Vec::new(), Vec::new());
    for bounds in all {
        let (claim, share) = (bounds.claim, share(map, bounds.claim));
        let ends = bounds.ends(input);
        for (l, u) in ends.lower.iter().zip(&ends.upper) {
            let m = half * *l + half * *u;
            let r = (*u - m).largest(m - *l);
            centres.push(m);
            radii.push(if claim == Arithmetic::Real {
                r
            } else {
                let r = r.double().next_up();
                T::nearest((r + share * (m.magnitude().double() + r)) * (1.0 + 8.0 * UNIT))
            });
        }
    }
    let centres = map.forward(all.len(), &centres, false);
    let radii = map.forward(all.len(), &radii, true);
    let outputs = map.size[1];
    let ends = |(bounds, i): (&Bounds<T>, usize)| {
        let (claim, share) = (bounds.claim, share(map, bounds.claim));
        let mut ends = Ends { lower: Vec::with_capacity(outputs), upper: Vec::with_capacity(outputs) };
        for (o, (m, r)) in centres[i * outputs..][..outputs].iter().zip(&radii[i * outputs..][..outputs]).enumerate() {
            let channel = o / map.plane;
            let m = *m + map.bias[channel];
            let [lower, upper] = if claim == Arithmetic::Real {
                [m - *r, m + *r]
            } else {
                // Rounding of the sum with the bias: a share of the sum of all terms, which the radii hold but for the bias.
                let r = r.double() + share * map.magnitude[channel];
                let r = above(r + tiny(map, claim) + 1e-300, map.fan_in);
                // The magnitudes of all terms are at most this over their share.
                let r = executed(r, r / share, claim == Arithmetic::Float32);
                [(m.double() - r).next_down(), (m.double() + r).next_up()].map(T::nearest)
            };
            // Not a number: nothing is known.
            let known = lower <= upper;
            ends.lower.push(if known { lower } else { T::nearest(f64::NEG_INFINITY) });
            ends.upper.push(if known { upper } else { T::nearest(f64::INFINITY) });
        }
        ends
    };
    all.iter().zip(0..).map(ends).collect()
}

/// The intervals of a node that is not affine.
fn plain<T: Real>(step: &Step<T>, bounds: &Bounds<T>, inputs: &[usize]) -> Ends<T> {
    let first = bounds.ends(inputs[0]);
    match step {
        Step::Affine(_) => unreachable!("affine nodes take a batch"),
        Step::Relu => {
            let positive = |numbers: &[T]| numbers.iter().map(|n| n.largest(T::ZERO)).collect();
            Ends { lower: positive(&first.lower), upper: positive(&first.upper) }
        }
        Step::Curve(curve) => {
            let (sound, deployed) = (bounds.claim != Arithmetic::Real, bounds.claim == Arithmetic::Float32);
            curve::ends(*curve, first, sound, deployed)
        }
        Step::Add => sum(bounds, inputs),
        Step::MaxPool(windows) => {
            let largest = |numbers: &[T]| {
                let of = |window: &Vec<usize>| window.iter().map(|i| numbers[*i]).reduce(T::largest);
                windows.iter().map(|window| of(window).expect("a window sees something")).collect()
            };
            Ends { lower: largest(&first.lower), upper: largest(&first.upper) }
        }
        Step::Gather { from, fill, .. } => {
            let gathered = |numbers: &[T], sign: f64| {
                let constant = |i: usize| {
                    let number = fill.get(i).copied().unwrap_or(T::ZERO).double();
                    T::nearest(number + sign * constant_error(number, bounds.claim == Arithmetic::Float32))
                };
                let number = |(i, at): (usize, &Option<u32>)| at.map_or_else(|| constant(i), |at| numbers[at as usize]);
                from.iter().enumerate().map(number).collect()
            };
            Ends { lower: gathered(&first.lower, -1.0), upper: gathered(&first.upper, 1.0) }
        }
    }
}

fn sum<T: Real>(bounds: &Bounds<T>, inputs: &[usize]) -> Ends<T> {
    let real = bounds.claim == Arithmetic::Real;
    let deployed = if bounds.claim == Arithmetic::Float32 { gamma(inputs.len() - 1, UNIT32) } else { 0.0 };
    let mut ends = bounds.ends(inputs[0]).clone();
    let mut reach: Vec<f64> = (0..ends.lower.len()).map(|i| ends.reach(i)).collect();
    for input in &inputs[1..] {
        let more = bounds.ends(*input);
        for (i, reach) in reach.iter_mut().enumerate() {
            *reach = (*reach + more.reach(i)).next_up();
            let [l, u] = [ends.lower[i] + more.lower[i], ends.upper[i] + more.upper[i]];
            [ends.lower[i], ends.upper[i]] =
                if real { [l, u] } else { [l.double().next_down(), u.double().next_up()].map(T::nearest) };
        }
    }
    for (i, reach) in reach.into_iter().enumerate() {
        if deployed > 0.0 {
            let off = executed(above(reach * deployed, 1), reach, true);
            ends.lower[i] = T::nearest((ends.lower[i].double() - off).next_down());
            ends.upper[i] = T::nearest((ends.upper[i].double() + off).next_up());
        }
        // Infinities that cancel: nothing is known.
        let known = ends.lower[i] <= ends.upper[i];
        if !known {
            ends.lower[i] = T::nearest(f64::NEG_INFINITY);
            ends.upper[i] = T::nearest(f64::INFINITY);
        }
    }
    ends
}

impl<T: Real> Bounds<T> {
    /// Works out what a linear bound is charged at a node, from the bounds of what it reads.
    pub(crate) fn charge(&mut self, net: &Prepared<T>, node: usize) {
        let charge = match &net.steps[node] {
            _ if self.claim == Arithmetic::Real => None,
            Step::Affine(map) => Some(self.affine_charge(map, net.inputs[node][0])),
            Step::Add if self.claim == Arithmetic::Float32 => {
                let deployed = gamma(net.inputs[node].len() - 1, UNIT32);
                let of = |i: usize| net.inputs[node].iter().map(|input| self.ends(*input).reach(i)).sum::<f64>();
                let each = |i: usize| executed(above(of(i) * deployed, net.inputs[node].len()), of(i), true);
                Some(Charge { each: (0..net.len[node + 1]).map(each).collect(), small: 0.0 })
            }
            Step::Curve(_) if self.claim == Arithmetic::Float32 => {
                Some(Charge { each: vec![curve::DEPLOYED; net.len[node + 1]], small: 0.0 })
            }
            Step::Add | Step::Relu | Step::Curve(_) | Step::MaxPool(_) | Step::Gather { .. } => None,
        };
        self.charges.push(charge.map(Arc::new));
    }

    fn affine_charge(&self, map: &Map<T>, input: usize) -> Charge {
        let reach = self.reach(input);
        // Terms of a coefficient at the input, of the product with the bias, and of the charge itself.
        let terms = map.fan_out.max(map.size[1] + 1) + 16 + 2 * map.merged as usize;
        let deployed = if self.claim == Arithmetic::Float32 { deployed(map) } else { 0.0 };
        let share = gamma(terms, UNIT) + deployed;
        let charge = |(o, product): (usize, &T)| {
            let sum = above(product.double() + map.magnitude[o / map.plane] + 1e-290, map.fan_in + 2);
            executed(above(sum * share + tiny(map, self.claim), 2), sum, self.claim == Arithmetic::Float32)
        };
        let each = map.forward(1, &reach, true).iter().enumerate().map(charge).collect();
        let all = reach.iter().map(|reach| reach.double()).sum::<f64>();
        Charge { each, small: 1e-300 + above(map.fan_out as f64 * 1e-322 * all, map.size[0]) }
    }
}
