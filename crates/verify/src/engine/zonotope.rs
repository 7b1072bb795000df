//! Bounds of every value by forms over the input, pushed forwards: *centre + generators + rest*, a generator for each input that varies
//! (zonotopes, Singh et al. 2018, with an interval for what relaxation adds). Where few inputs vary they cost no more than some
//! evaluations, and are far tighter than intervals.

use super::curve;
use super::interval::{Bounds, Ends, LARGEST, constant_error, share, tiny};
use super::lines::Picks;
use super::prepared::{Map, Prepared, Step};
use super::real::{Real, UNIT, UNIT32, above, gamma};
use crate::cascade::Arithmetic;

/// Each number of a value is `rows[0] + sum of rows[g] e[g]` with every `e[g]` in [-1, 1], up to `rest`.
#[derive(Clone)]
struct Forms<T> {
    /// `[1 + generators, numbers]`.
    rows: Vec<T>,
    rest: Vec<f64>,
}

/// The forms of all values that are still read.
pub(crate) struct Zonotope<T>(Vec<Option<Forms<T>>>);

/// `bounds`, which hold over the box that is their input, intersected with what forms give.
pub fn zonotope<T: Real>(net: &Prepared<T>, mut bounds: Bounds<T>) -> Bounds<T> {
    let mut forms = Zonotope::new(bounds.ends(0));
    for node in 0..net.steps.len() {
        bounds = bounds.with(node + 1, &forms.through(net, node, &bounds));
    }
    bounds
}

impl<T: Real> Zonotope<T> {
    /// Begins at the input.
    pub fn new(input: &Ends<T>) -> Self {
        Self(vec![Some(Forms::input(input))])
    }

    /// What the next node's forms say. `bounds` hold at its inputs.
    pub fn through(&mut self, net: &Prepared<T>, node: usize, bounds: &Bounds<T>) -> Ends<T> {
        let forms = Forms::through(net, node, &self.0, bounds);
        let ends = forms.ends();
        self.0.push(Some(forms));
        let read_later = |value: &usize| net.inputs[node + 1..].iter().flatten().any(|input| input == value);
        net.inputs[node].iter().filter(|value| !read_later(value)).for_each(|value| self.0[*value] = None);
        ends
    }
}

impl<T: Real> Forms<T> {
    fn input(ends: &Ends<T>) -> Self {
        let both = || ends.lower.iter().zip(&ends.upper);
        let half = T::nearest(0.5);
        let mut rows: Vec<T> = both().map(|(l, u)| half * *l + half * *u).collect();
        let radii: Vec<f64> =
            both().zip(&rows).map(|((l, u), m)| radius([*l, *u].map(T::double), m.double())).collect();
        let n = radii.len();
        let varies = |i: usize| ends.lower[i].double().next_up() < ends.upper[i].double();
        for i in (0..n).filter(|i| varies(*i)) {
            rows.extend((0..n).map(|j| if i == j { -T::below(-radii[i]) } else { T::ZERO }));
        }
        let rest = (0..n).map(|i| if varies(i) { 0.0 } else { radii[i] }).collect();
        Self { rows, rest }
    }

    /// Centre and generators.
    fn count(&self) -> usize {
        self.rows.len() / self.rest.len().max(1)
    }

    /// How far each number may be from its centre.
    fn radii(&self) -> Vec<f64> {
        let mut sums = self.rest.clone();
        for row in self.rows.chunks(self.rest.len().max(1)).skip(1) {
            sums.iter_mut().zip(row).for_each(|(sum, g)| *sum += g.magnitude().double());
        }
        sums.into_iter().map(|sum| above(sum, self.count())).collect()
    }

    fn ends(&self) -> Ends<T> {
        let end = |(radius, centre): (f64, &T)| {
            let [l, u] = [(centre.double() - radius).next_down(), (centre.double() + radius).next_up()];
            // Not a number: nothing is known.
            if l <= u { (l, u) } else { (f64::NEG_INFINITY, f64::INFINITY) }
        };
        let (lower, upper): (Vec<f64>, Vec<f64>) = self.radii().into_iter().zip(&self.rows).map(end).unzip();
        Ends::outward(&lower, &upper)
    }

    /// The forms of a node's output. `bounds` hold up to there.
    fn through(net: &Prepared<T>, node: usize, all: &[Option<Self>], bounds: &Bounds<T>) -> Self {
        let inputs = &net.inputs[node];
        let of = |input: usize| all[input].as_ref().expect("a value that is still read");
        let (first, ends) = (of(inputs[0]), bounds.ends(inputs[0]));
        let single = bounds.claim() == Arithmetic::Float32;
        match &net.steps[node] {
            Step::Affine(map) => first.affine(map, bounds.claim()),
            Step::Relu => first.relu(ends),
            Step::Add => {
                let mut sum = first.clone();
                for input in &inputs[1..] {
                    let more = of(*input);
                    sum.rows.iter_mut().zip(&more.rows).for_each(|(sum, more)| *sum += *more);
                    sum.rest.iter_mut().zip(&more.rest).for_each(|(sum, more)| *sum += more);
                }
                // What the sums of forms and of rests are off by, and an execution in single precision.
                let own = gamma(inputs.len() + 2, UNIT);
                let deployed = if single { gamma(inputs.len() - 1, UNIT32) } else { 0.0 };
                for input in inputs {
                    let (ends, more) = (bounds.ends(*input), of(*input));
                    for (i, (rest, radius)) in sum.rest.iter_mut().zip(more.radii()).enumerate() {
                        let off = own * (radius + more.rows[i].magnitude().double()) + deployed * ends.reach(i);
                        *rest = above(*rest + off, inputs.len() + 4);
                        if single && ends.reach(i) > LARGEST / inputs.len() as f64 {
                            *rest = f64::INFINITY;
                        }
                    }
                }
                sum
            }
            // Nothing but the interval is kept.
            Step::Curve(curve) => {
                let ends = curve::ends(*curve, ends, bounds.claim() != Arithmetic::Real, single);
                let none = std::iter::repeat_n(None, first.rest.len());
                first.gather(none, |i| [ends.lower[i], ends.upper[i]].map(T::double))
            }
            Step::MaxPool(windows) => {
                let picks = Picks::new(windows, ends);
                let from = (0..windows.len()).map(|i| picks.only[i].then_some(picks.best[i]));
                first.gather(from, |i| [ends.lower[picks.best[i]].double(), picks.upper[i]])
            }
            Step::Gather { from, fill, .. } => first.gather(from.iter().map(|at| at.map(|at| at as usize)), |i| {
                let number = fill.get(i).map_or(0.0, |number| number.double());
                let off = constant_error(number, single);
                [number - off, number + off]
            }),
        }
    }

    fn affine(&self, map: &Map<T>, claim: Arithmetic) -> Self {
        // What the sums of rows are off by, each of at most so much of the magnitudes of its terms; and those of the values.
        let share = share(map, claim) + gamma(map.fan_in + 4, UNIT);
        let radii = self.radii();
        let radius = |((rest, radius), centre): ((&f64, &f64), &T)| {
            let reach = radius + centre.magnitude().double();
            -T::below(-above(rest + share * reach, 4))
        };
        let rest: Vec<T> = self.rest.iter().zip(&radii).zip(&self.rows).map(radius).collect();
        let mut rows = map.forward(self.count(), &self.rows, false);
        let spread = map.forward(1, &rest, true);
        let rest = |(o, rest): (usize, &T)| {
            let channel = o / map.plane;
            rows[o] += map.bias[channel];
            let bias = share * map.magnitude[channel] + 2.0 * UNIT * rows[o].magnitude().double();
            let rest = above(rest.double() + bias + tiny(map, claim) + 1e-290, map.fan_in + 4);
            // As of intervals: sums in single precision may overflow.
            if claim == Arithmetic::Float32 && rest / share > LARGEST { f64::INFINITY } else { rest }
        };
        let rest = spread.iter().enumerate().map(rest).collect();
        Self { rows, rest }
    }

    /// The band between the lines of slope `u / (u - l)` through the ReLU's ends, and what that is rounded by.
    fn relu(&self, ends: &Ends<T>) -> Self {
        let n = self.rest.len();
        let mut after = self.clone();
        let radii = self.radii();
        for i in 0..n {
            let [l, u] = [ends.lower[i], ends.upper[i]].map(T::double);
            if l >= 0.0 {
                continue;
            }
            // Any slope in [0, 1] is valid with an offset that is large enough. A width that overflows gives the whole interval.
            let slope = if u > 0.0 && u - l < f64::INFINITY { T::nearest((u / (u - l)).min(1.0)) } else { T::ZERO };
            let s = slope.double();
            let half = if u > 0.0 { 0.5 * (-s * l).next_up().max((1.0 - s).next_up() * u).next_up() } else { 0.0 };
            for row in after.rows.chunks_mut(n) {
                row[i] = row[i] * slope;
            }
            if u <= 0.0 {
                after.rest[i] = 0.0;
                continue;
            }
            let centre = after.rows[i].magnitude().double();
            after.rows[i] += T::nearest(half);
            let rounded = 4.0 * UNIT * (s * radii[i] + centre + half);
            after.rest[i] = above(s * self.rest[i] + half + rounded + 1e-290, 6);
        }
        after
    }

    /// Numbers of other places; what has none lies between two ends.
    fn gather(&self, from: impl Iterator<Item = Option<usize>> + Clone, ends: impl Fn(usize) -> [f64; 2]) -> Self {
        let row = |(number, row): (usize, &[T])| {
            let of = |(i, at): (usize, Option<usize>)| match at {
                Some(at) => row[at],
                None if number == 0 => T::nearest(ends(i).map(|end| 0.5 * end).iter().sum()),
                None => T::ZERO,
            };
            from.clone().enumerate().map(of).collect::<Vec<T>>()
        };
        let rows: Vec<T> = self.rows.chunks(self.rest.len().max(1)).enumerate().flat_map(row).collect();
        let rest =
            |(i, at): (usize, Option<usize>)| at.map_or_else(|| radius(ends(i), rows[i].double()), |at| self.rest[at]);
        let rest = from.enumerate().map(rest).collect();
        Self { rows, rest }
    }
}

/// How far the ends of an interval are from a number in it, at most.
fn radius([lower, upper]: [f64; 2], middle: f64) -> f64 {
    (upper - middle).max(middle - lower).next_up()
}
