//! Interval and linear bounds that hold whatever rounds: plain loops in double precision, every sum charged with what it may be off.
//!
//! `u` is 2^-53; a sum of `n` products is off by at most `gamma(n)` times the sum of their magnitudes, in any order. Charges are
//! themselves computed in floating point, so they are multiplied by [`SLACK`]; [`TINY`] covers what underflows. In the sense of
//! `float32` the network's own sums are charged as well, `2^-24` for `2^-53`, by the number of terms in the forward pass.

use std::sync::Arc;

use rayon::prelude::*;

use super::onnx::{Map, Net, Op};
use super::vnnlib::Row;
use crate::proof::{Bounds, Rows as Given};

const SLACK: f64 = 1.0 + 1.0 / 1_048_576.0;
const TINY: f64 = 1e-300;

fn gamma(n: usize) -> f64 {
    let nu = n as f64 * f64::EPSILON / 2.0;
    nu / (1.0 - nu)
}

/// The same of single precision; infinite where the sum is so long that nothing can be said.
fn gamma32(n: usize) -> f64 {
    let nu = n as f64 * f64::from(f32::EPSILON) / 2.0;
    if nu < 0.5 { nu / (1.0 - nu) } else { f64::INFINITY }
}

/// Adds a sum to a lower bound: its terms have this magnitude in sum, there are `n` of them.
fn settle(bound: &mut f64, sum: f64, magnitude: f64, n: usize) {
    let charge = magnitude * gamma(n + 2) * SLACK + TINY;
    *bound = (*bound + (sum - charge).next_down()).next_down();
}

/// Ends of every number of a value.
#[derive(Clone)]
pub struct Ends {
    /// The lower ones.
    pub lower: Vec<f64>,
    /// The upper ones.
    pub upper: Vec<f64>,
}

impl Ends {
    /// Leaves of number `i` what is above this point, or below it.
    pub fn split(&mut self, i: usize, above: bool, at: f64) {
        if above {
            self.lower[i] = self.lower[i].max(at);
        } else {
            self.upper[i] = self.upper[i].min(at);
        }
    }

    /// The largest magnitude of number `i`.
    fn height(&self, i: usize) -> f64 {
        // Not `max`, which would pass over a NaN.
        let (l, u) = (self.lower[i].abs(), self.upper[i].abs());
        if l > u { l } else { u + 0.0 * l }
    }
}

/// Of every ReLU and neuron the lower slope, where one is given.
pub type Slopes = Vec<Arc<Vec<Option<f64>>>>;

/// What is known in a node of a proof.
#[derive(Clone)]
pub struct State {
    /// Ends of every value.
    pub ends: Vec<Arc<Ends>>,
    /// Of every number of an affine value or a sum, what its row is charged for each unit of its coefficient.
    error: Vec<Arc<Vec<f64>>>,
    /// Of every ReLU the lower slopes that are given.
    pub slopes: Slopes,
    /// Of every ReLU the slopes that are given for bounds of its neurons.
    pub rows: Vec<Option<Arc<Given>>>,
    /// The splits: ReLU, neuron, and whether it is on.
    pub splits: Vec<(usize, usize, bool)>,
}

/// Rows that are pushed backwards, those of one number side by side: `[numbers, rows]`.
struct Rows {
    count: usize,
    numbers: Vec<f64>,
}

impl Rows {
    fn zeros(len: usize, count: usize) -> Self {
        Self { count, numbers: vec![0.0; len * count] }
    }

    fn of(&self, i: usize) -> &[f64] {
        &self.numbers[i * self.count..][..self.count]
    }

    fn of_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.numbers[i * self.count..][..self.count]
    }
}

/// Linear lower bounds: line `r` is `numbers[.., r] x + constant[r]`.
pub struct Lines {
    rows: Rows,
    /// The constants.
    pub constant: Vec<f64>,
}

impl Lines {
    /// The coefficient of input `i` in the first line.
    pub fn coefficient(&self, i: usize) -> f64 {
        self.rows.of(i)[0]
    }

    /// The least value of each line in a box.
    pub fn least(&self, input: &Ends) -> Vec<f64> {
        let (mut sum, mut magnitude) = (vec![0.0; self.rows.count], vec![0.0; self.rows.count]);
        for (i, (l, u)) in input.lower.iter().zip(&input.upper).enumerate() {
            for (r, a) in self.rows.of(i).iter().enumerate() {
                let term = if *a >= 0.0 { a * l } else { a * u };
                sum[r] += term;
                magnitude[r] += term.abs();
            }
        }
        let mut least = self.constant.clone();
        least.iter_mut().enumerate().for_each(|(r, b)| settle(b, sum[r], magnitude[r], input.lower.len()));
        least
    }
}

/// A network with what its bounds need.
pub struct Bounder<'a> {
    net: &'a Net,
    single: bool,
    /// The value that each ReLU reads.
    pub relus: Vec<usize>,
    /// Of every value, the number of the ReLU that gives it.
    gives: Vec<usize>,
    /// Of every value, whether intervals of it are as good as any bounds: one map of the input, and no ReLU.
    simple: Vec<bool>,
}

impl<'a> Bounder<'a> {
    /// Bounds of this network; in the sense of `float32` if `single`.
    pub fn new(net: &'a Net, single: bool) -> Self {
        let (mut relus, mut gives) = (Vec::new(), Vec::new());
        for value in &net.values {
            gives.push(relus.len());
            relus.extend(if let Op::Relu { from } = value.op { Some(from) } else { None });
        }
        let mut maps: Vec<usize> = Vec::new();
        for value in &net.values {
            maps.push(match &value.op {
                Op::Input => 0,
                Op::Affine { from, map: Map::Diagonal(_), .. } | Op::Gather { from, .. } => maps[*from],
                Op::Affine { from, .. } => maps[*from] + 1,
                Op::Sum { .. } | Op::Relu { .. } => 2,
            });
        }
        Self { net, single, relus, gives, simple: maps.iter().map(|maps| *maps < 2).collect() }
    }

    /// Interval bounds of a box.
    pub fn begin(&self, input: Ends) -> State {
        let slopes = self.relus.iter().map(|value| Arc::new(vec![None; self.net.values[*value].len]));
        let mut state = State {
            ends: vec![Arc::new(input)],
            error: vec![Arc::default()],
            slopes: slopes.collect(),
            rows: vec![None; self.relus.len()],
            splits: Vec::new(),
        };
        for value in 1..self.net.values.len() {
            let (ends, error) = self.interval(&state, value);
            state.ends.push(Arc::new(ends));
            state.error.push(Arc::new(error));
        }
        state
    }

    /// Bounds neurons anew as a step of a proof asks.
    pub fn bound(&self, state: &mut State, how: Bounds) {
        for value in 1..self.net.values.len() {
            let (mut new, error) = self.interval(state, value);
            state.error[value] = Arc::new(error);
            if how != Bounds::Fresh {
                let old = &state.ends[value];
                new.lower.iter_mut().zip(&old.lower).for_each(|(new, old)| *new = new.max(*old));
                new.upper.iter_mut().zip(&old.upper).for_each(|(new, old)| *new = new.min(*old));
            }
            for (_, neuron, on) in state.splits.iter().filter(|split| self.relus[split.0] == value) {
                new.split(*neuron, *on, 0.0);
            }
            state.ends[value] = Arc::new(new);
            let relu = self.relus.iter().position(|from| *from == value);
            if let Some(relu) = relu.filter(|_| how != Bounds::Interval && !self.simple[value]) {
                self.crown(state, relu);
            }
        }
    }

    /// Linear bounds of the neurons of a ReLU.
    fn crown(&self, state: &mut State, relu: usize) {
        let value = self.relus[relu];
        let ends = &state.ends[value];
        let unstable = |end: usize| ends.lower[end / 2] < 0.0 && ends.upper[end / 2] > 0.0;
        // Bounds, each with the number of its slopes.
        let bounds: Vec<(usize, usize)> = match &state.rows[relu] {
            Some(given) => given.1.iter().copied().zip(0..).filter(|(end, _)| unstable(*end)).collect(),
            None => (0..2 * ends.lower.len()).filter(|end| unstable(*end)).map(|end| (end, 0)).collect(),
        };
        // Of every ReLU and neuron, the place of its slope.
        let mut places: Vec<Vec<Option<usize>>> = vec![Vec::new(); self.relus.len()];
        let mut place = 0..;
        for (layer, neurons) in state.rows[relu].iter().flat_map(|given| &given.2) {
            places[*layer].resize(self.net.values[self.relus[*layer]].len, None);
            neurons.iter().for_each(|neuron| places[*layer][*neuron] = place.next());
        }
        let least = |chunk: &[(usize, usize)]| {
            let mut rows = Rows::zeros(self.net.values[value].len, chunk.len());
            for (r, (end, _)) in chunk.iter().enumerate() {
                rows.of_mut(end / 2)[r] = if end % 2 == 0 { 1.0 } else { -1.0 };
            }
            let slopes: Vec<&[f64]> = match &state.rows[relu] {
                Some(given) => chunk.iter().map(|(_, number)| given.3[*number].as_slice()).collect(),
                None => Vec::new(),
            };
            let slope = |relu: usize, i: usize, r: usize| Some(slopes.get(r)?[(*places[relu].get(i)?)?]);
            self.push(state, value, rows, vec![0.0; chunk.len()], slope, &[]).least(&state.ends[0])
        };
        let found: Vec<f64> = bounds.par_chunks(64).flat_map_iter(least).collect();
        let ends = Arc::make_mut(&mut state.ends[value]);
        for ((end, _), least) in bounds.into_iter().zip(found) {
            let i = end / 2;
            if end % 2 == 0 {
                ends.lower[i] = ends.lower[i].max(least);
            } else {
                ends.upper[i] = ends.upper[i].min(-least);
            }
        }
    }

    /// Whether no point is left.
    pub fn empty(&self, state: &State) -> bool {
        state.ends.iter().any(|ends| ends.lower.iter().zip(&ends.upper).any(|(l, u)| l > u))
    }

    /// The line below `sum of terms * output - bound`, with multipliers of splits (ReLU, neuron, beta with the sign of its side).
    pub fn line(&self, state: &State, rows: &[(&Row, f64)], beta: &[(usize, usize, f64)]) -> Lines {
        let (output, mut start, mut constant) =
            (self.net.output, Rows::zeros(self.net.values[self.net.output].len, 1), 0.0);
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for (Row { terms, bound }, weight) in rows {
            for (i, coefficient) in terms {
                start.numbers[*i] += weight * coefficient;
                magnitude += (weight * coefficient).abs() * state.ends[output].height(*i);
            }
            sum -= weight * bound;
            magnitude += (weight * bound).abs();
        }
        settle(&mut constant, sum, magnitude, 2 * rows.iter().map(|(row, _)| row.terms.len() + 1).sum::<usize>());
        self.push(state, output, start, vec![constant], |relu, i, _| state.slopes[relu][i], beta)
    }

    /// Ends of a value from those of what it reads, and its error.
    fn interval(&self, state: &State, value: usize) -> (Ends, Vec<f64>) {
        let len = self.net.values[value].len;
        let (mut ends, mut error) =
            (Ends { lower: Vec::with_capacity(len), upper: Vec::with_capacity(len) }, Vec::new());
        let mut put = |lower: f64, upper: f64| {
            ends.lower.push(lower);
            ends.upper.push(upper);
        };
        match &self.net.values[value].op {
            Op::Input => unreachable!("the input has ends"),
            Op::Affine { from, map, bias, magnitude } => {
                let x = &state.ends[*from];
                // Middle, radius and height side by side.
                let parts: Vec<[f64; 3]> = (0..x.lower.len())
                    .map(|i| {
                        let middle = 0.5 * x.lower[i] + 0.5 * x.upper[i];
                        let radius = (x.upper[i] - middle).max(middle - x.lower[i]).next_up();
                        [middle, radius, x.height(i)]
                    })
                    .collect();
                let terms = map.fan_in();
                // What a row is charged that is pushed through: its own sums, over outputs and over biases, and the weights.
                let pushed = gamma(map.fan_out().max(len + 1) + 16);
                // An operation that is one rounding for another writer may be several here, and a norm is about eight.
                let deployed = if self.single { gamma32(terms + 8) } else { 0.0 };
                let lost = if self.single { (terms + 8) as f64 * f64::from(f32::MIN_POSITIVE) } else { 0.0 };
                for o in 0..len {
                    let (mut y, mut r, mut v) = (0.0, 0.0, 0.0);
                    map.terms(o, |i, w| {
                        let [middle, radius, height] = parts[i];
                        y += w * middle;
                        r += w.abs() * radius;
                        v += w.abs() * height;
                    });
                    let (y, v) = (y + bias[o], v + magnitude[o]);
                    // In single precision a sum that may overflow can end as anything.
                    let v = if self.single && v > 1e38 { f64::INFINITY } else { v };
                    let radius = r + ((3.0 * gamma(terms + 16) + deployed) * v * SLACK + lost + TINY);
                    let radius = radius.next_up();
                    put((y - radius).next_down(), (y + radius).next_up());
                    error.push((pushed + deployed) * v * SLACK + lost);
                }
            }
            Op::Gather { from, index } => {
                let x = &state.ends[*from];
                index.iter().map(|i| i.map_or((0.0, 0.0), |i| (x.lower[i], x.upper[i]))).for_each(|(l, u)| put(l, u));
            }
            Op::Sum { of: [a, b], sign } => {
                let (a, b) = (&state.ends[*a], &state.ends[*b]);
                for i in 0..len {
                    let (l, u) = if *sign > 0.0 { (b.lower[i], b.upper[i]) } else { (-b.upper[i], -b.lower[i]) };
                    let height = (a.height(i) + b.height(i)) * SLACK;
                    let height = if height > 1e38 { f64::INFINITY } else { height };
                    let deployed =
                        if self.single { gamma32(1) * height * SLACK + f64::from(f32::MIN_POSITIVE) } else { 0.0 };
                    put(
                        ((a.lower[i] + l).next_down() - deployed).next_down(),
                        ((a.upper[i] + u).next_up() + deployed).next_up(),
                    );
                    error.push(deployed);
                }
            }
            // Not `max`: a NaN stays.
            Op::Relu { from } => {
                let (x, cut) = (&state.ends[*from], |end: f64| if end < 0.0 { 0.0 } else { end });
                (0..len).for_each(|i| put(cut(x.lower[i]), cut(x.upper[i])));
            }
        }
        (ends, error)
    }

    /// Pushes rows from a value down to the input: each `row * value + constant` is at least the line that comes out. `slope` gives the
    /// lower slope of a ReLU and neuron for a row.
    fn push(
        &self,
        state: &State,
        top: usize,
        rows: Rows,
        mut constant: Vec<f64>,
        slope: impl Fn(usize, usize, usize) -> Option<f64>,
        beta: &[(usize, usize, f64)],
    ) -> Lines {
        let count = rows.count;
        let mut waiting: Vec<Option<Rows>> = (0..=top).map(|_| None).collect();
        waiting[top] = Some(rows);
        // Values are in order, so all readers of one come before it.
        for value in (1..=top).rev() {
            let Some(rows) = waiting[value].take() else { continue };
            let error = &state.error[value];
            let (mut sum, mut magnitude, mut charge) = (vec![0.0; count], vec![0.0; count], vec![0.0; count]);
            for (i, error) in error.iter().enumerate() {
                for (r, a) in rows.of(i).iter().enumerate() {
                    charge[r] += a.abs() * error;
                }
            }
            let mut below = |from: usize, rows: Rows, constant: &mut [f64]| {
                let ends = &state.ends[from];
                let Some(old) = &mut waiting[from] else {
                    waiting[from] = Some(rows);
                    return;
                };
                let mut charge = vec![0.0; count];
                for i in 0..ends.lower.len() {
                    let height = ends.height(i);
                    for (r, (a, b)) in old.of_mut(i).iter_mut().zip(rows.of(i)).enumerate() {
                        *a += b;
                        if *a != 0.0 {
                            charge[r] += a.abs() * height;
                        }
                    }
                }
                constant.iter_mut().zip(charge).for_each(|(b, charge)| settle(b, 0.0, charge, 2));
            };
            match &self.net.values[value].op {
                Op::Input => unreachable!("values below the input"),
                Op::Affine { from, map, bias, .. } => {
                    let (ends, mut under) = (&state.ends[*from], Rows::zeros(self.net.values[*from].len, count));
                    for (o, bias) in bias.iter().enumerate() {
                        let row = rows.of(o);
                        if row.iter().all(|a| *a == 0.0) {
                            continue;
                        }
                        for (r, a) in row.iter().enumerate() {
                            sum[r] += a * bias;
                        }
                        match row {
                            [a] => map.terms(o, |i, w| under.numbers[i] += w * a),
                            // What is always 0 needs no coefficient.
                            _ => map.terms(o, |i, w| {
                                if ends.lower[i] != 0.0 || ends.upper[i] != 0.0 {
                                    under.of_mut(i).iter_mut().zip(row).for_each(|(under, a)| *under += w * a);
                                }
                            }),
                        }
                    }
                    below(*from, under, &mut constant);
                }
                Op::Gather { from, index } => {
                    let mut under = Rows::zeros(self.net.values[*from].len, count);
                    for (o, i) in index.iter().enumerate() {
                        if let Some(i) = i {
                            under.of_mut(*i).copy_from_slice(rows.of(o));
                        }
                    }
                    below(*from, under, &mut constant);
                }
                Op::Sum { of: [a, b], sign } => {
                    let second = Rows { count, numbers: rows.numbers.iter().map(|a| a * sign).collect() };
                    below(*a, rows, &mut constant);
                    below(*b, second, &mut constant);
                }
                Op::Relu { from } => {
                    let (ends, number) = (&state.ends[*from], self.gives[value]);
                    let mut under = rows;
                    for i in 0..ends.lower.len() {
                        let (l, u, height) = (ends.lower[i], ends.upper[i], ends.height(i));
                        if l >= 0.0 {
                            continue;
                        }
                        if u <= 0.0 {
                            for (r, lambda) in under.of_mut(i).iter_mut().enumerate() {
                                sum[r] += if lambda.is_nan() { f64::NAN } else { 0.0 };
                                *lambda = 0.0;
                            }
                            continue;
                        }
                        let [s, t] = upper_line(l, u);
                        let rule = if s > 0.500_001 { 1.0 } else { 0.0 };
                        for (r, lambda) in under.of_mut(i).iter_mut().enumerate() {
                            if *lambda < 0.0 {
                                sum[r] += *lambda * t;
                                magnitude[r] += (*lambda * t).abs();
                                *lambda *= s;
                                charge[r] += lambda.abs() * height * f64::EPSILON;
                            } else if *lambda > 0.0 {
                                *lambda *= slope(number, i, r).unwrap_or(rule);
                                charge[r] += *lambda * height * f64::EPSILON;
                            } else if lambda.is_nan() {
                                sum[r] = f64::NAN;
                            }
                        }
                    }
                    for (_, i, beta) in beta.iter().filter(|(relu, ..)| *relu == number) {
                        let height = ends.height(*i);
                        under.of_mut(*i).iter_mut().enumerate().for_each(|(r, lambda)| {
                            *lambda -= beta;
                            charge[r] += lambda.abs() * height * f64::EPSILON;
                        });
                    }
                    below(*from, under, &mut constant);
                }
            }
            // What may be lost by underflow is multiplied by what is read.
            let heights: f64 = self
                .read(value)
                .map(|from| (0..state.ends[from].lower.len()).map(|i| state.ends[from].height(i)).sum::<f64>())
                .sum();
            for (r, b) in constant.iter_mut().enumerate() {
                settle(b, sum[r], magnitude[r], self.net.values[value].len);
                *b = (*b - (charge[r] * SLACK + TINY * (1.0 + heights))).next_down();
            }
        }
        let rows = waiting[0].take().unwrap_or_else(|| Rows::zeros(self.net.values[0].len, count));
        Lines { rows, constant }
    }

    /// The values that a value reads.
    fn read(&self, value: usize) -> impl Iterator<Item = usize> {
        let (a, b) = match self.net.values[value].op {
            Op::Input => (None, None),
            Op::Affine { from, .. } | Op::Gather { from, .. } | Op::Relu { from } => (Some(from), None),
            Op::Sum { of: [a, b], .. } => (Some(a), Some(b)),
        };
        a.into_iter().chain(b)
    }
}

/// Slope and height of the line above a ReLU of both signs: any slope between 0 and 1 is right with this height.
fn upper_line(l: f64, u: f64) -> [f64; 2] {
    // Infinite ends give NaN, and no proof.
    let s = (u / (u - l)).clamp(0.0, 1.0);
    let t = (-s * l).next_up().max(((1.0 - s).next_up() * u).next_up());
    [s, if s.is_nan() { s } else { t }]
}
