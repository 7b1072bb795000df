//! Interval and linear bounds that hold whatever rounds: plain loops in double precision, every sum charged with what it may be off.
//!
//! `u` is 2^-53; a sum of `n` products is off by at most `gamma(n)` times the sum of their magnitudes, in any order. Charges are
//! themselves computed in floating point, so they are multiplied by [`SLACK`]; [`TINY`] covers what underflows. In the sense of
//! `float32` the network's own sums are charged as well, `2^-24` for `2^-53`, by the number of terms in the forward pass.

use std::sync::Arc;

use rayon::prelude::*;
use temper_kernels::arch::dispatch;

use super::onnx::{Map, Net, Op};
use super::vnnlib::Row;
use crate::proof::{Bounds, Combination, Rows as Given};

const SLACK: f64 = 1.0 + 1.0 / 1_048_576.0;
const TINY: f64 = 1e-300;

/// Rows that are pushed side by side.
const TOGETHER: usize = 16;

#[inline(always)]
fn gamma(n: usize) -> f64 {
    let nu = n as f64 * f64::EPSILON / 2.0;
    nu / (1.0 - nu)
}

/// The same of single precision; infinite where the sum is so long that nothing can be said.
fn gamma32(n: usize) -> f64 {
    let nu = n as f64 * f64::from(f32::EPSILON) / 2.0;
    if nu < 0.5 { nu / (1.0 - nu) } else { f64::INFINITY }
}

/// Below what was rounded to `x`. Plain arithmetic, since a loop of `next_down` stays one number at a time.
#[inline(always)]
fn down(x: f64) -> f64 {
    x - (x.abs() * (2.0 * f64::EPSILON) + TINY)
}

/// Above it.
#[inline(always)]
fn up(x: f64) -> f64 {
    x + (x.abs() * (2.0 * f64::EPSILON) + TINY)
}

/// Adds a sum to a lower bound: its terms have this magnitude in sum, there are `n` of them.
#[inline(always)]
fn settle(bound: &mut f64, sum: f64, magnitude: f64, n: usize) {
    let charge = magnitude * gamma(n + 2) * SLACK + TINY;
    *bound = down(*bound + down(sum - charge));
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
    #[inline(always)]
    fn height(&self, i: usize) -> f64 {
        // Not `max`, which would pass over a NaN.
        let (l, u) = (self.lower[i].abs(), self.upper[i].abs());
        if l > u { l } else { u + 0.0 * l }
    }

    /// Middle, radius and largest magnitude of number `i`.
    #[inline(always)]
    fn parts(&self, i: usize) -> [f64; 3] {
        let (l, u) = (self.lower[i], self.upper[i]);
        let middle = 0.5 * l + 0.5 * u;
        [middle, up((u - middle).max(middle - l)), self.height(i)]
    }
}

/// What is known in a node of a proof.
#[derive(Clone)]
pub struct State {
    /// Ends of every value.
    pub ends: Vec<Arc<Ends>>,
    /// Of every number of an affine value or a sum, what its row is charged for each unit of its coefficient.
    error: Vec<Arc<Vec<f64>>>,
    /// Of every ReLU and neuron the lower slope, where one is given.
    pub slopes: Vec<Arc<Vec<Option<f64>>>>,
    /// Of every ReLU the slopes that are given for bounds of its neurons.
    pub rows: Vec<Option<Arc<Given>>>,
    /// The splits: ReLU, neuron, and whether it is on.
    pub splits: Vec<(usize, usize, bool)>,
    /// Lines below combinations of rows. They hold as long as nothing changes but the inputs' ends, which only come closer.
    pub lines: Vec<(Combination, Arc<Lines<1>>)>,
    /// Of the first values, what a push has to know. The inputs' ends may have come closer since.
    reads: Vec<Arc<Read>>,
}

/// Linear lower bounds, `L` of them side by side: line `r` is the sum of `numbers[i][r] x[i]` and `constant[r]`.
pub struct Lines<const L: usize> {
    /// The coefficients.
    pub numbers: Vec<[f64; L]>,
    constant: [f64; L],
}

impl<const L: usize> Lines<L> {
    /// The least value of each line in a box.
    pub fn least(&self, input: &Ends) -> [f64; L] {
        let (mut sum, mut magnitude, mut least) = ([0.0; L], [0.0; L], self.constant);
        for (a, (l, u)) in self.numbers.iter().zip(input.lower.iter().zip(&input.upper)) {
            for r in 0..L {
                let term = a[r] * if a[r] >= 0.0 { *l } else { *u };
                sum[r] += term;
                magnitude[r] += term.abs();
            }
        }
        for r in 0..L {
            settle(&mut least[r], sum[r], magnitude[r], self.numbers.len());
        }
        least
    }
}

/// What rows that are pushed through a value have to know of what it reads.
#[derive(Default)]
struct Read {
    /// Of a ReLU, the neurons that are off.
    off: Vec<usize>,
    /// Those of both signs: slope and height of the line above, the rule's slope of the one below, what rounding is charged for.
    unstable: Vec<(usize, [f64; 4])>,
    /// The sum of the largest magnitudes.
    heights: f64,
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
    /// Of every value, how many places its channels have, or those of what it reads.
    places: Vec<usize>,
}

impl<'a> Bounder<'a> {
    /// Bounds of this network; in the sense of `float32` if `single`.
    pub fn new(net: &'a Net, single: bool) -> Self {
        let (mut relus, mut gives) = (Vec::new(), Vec::new());
        for value in &net.values {
            gives.push(relus.len());
            relus.extend(if let Op::Relu { from } = value.op { Some(from) } else { None });
        }
        let (mut maps, mut places): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        for value in &net.values {
            let (number, place) = match &value.op {
                Op::Input => (0, 1),
                Op::Affine { from, map, .. } => {
                    (maps[*from] + usize::from(!map.scales()), if map.places > 1 { map.places } else { places[*from] })
                }
                Op::Gather { from, .. } => (maps[*from], places[*from]),
                Op::Sum { of: [from, _], .. } | Op::Relu { from } => (2, places[*from]),
            };
            maps.push(number);
            places.push(place);
        }
        Self { net, single, relus, gives, simple: maps.iter().map(|maps| *maps < 2).collect(), places }
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
            lines: Vec::new(),
            reads: Vec::new(),
        };
        for value in 1..self.net.values.len() {
            let (ends, error) = self.interval(&state, value);
            state.ends.push(Arc::new(ends));
            state.error.push(Arc::new(error));
        }
        state
    }

    /// Forgets what was derived from ends.
    pub fn forget(&self, state: &mut State) {
        state.lines.clear();
        state.reads.clear();
    }

    /// Bounds neurons anew as a step of a proof asks.
    pub fn bound(&self, state: &mut State, how: Bounds) {
        self.forget(state);
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
    fn crown(&self, state: &mut State, number: usize) {
        let value = self.relus[number];
        self.read_up_to(state, value);
        let ends = &state.ends[value];
        let unstable = |end: usize| ends.lower[end / 2] < 0.0 && ends.upper[end / 2] > 0.0;
        // Bounds, each with the number of its slopes.
        let mut bounds: Vec<(usize, usize)> = match &state.rows[number] {
            Some(given) => given.1.iter().copied().zip(0..).filter(|(end, _)| unstable(*end)).collect(),
            None => (0..2 * ends.lower.len()).filter(|end| unstable(*end)).map(|end| (end, 0)).collect(),
        };
        // Neurons of one place read the same numbers.
        bounds.sort_by_key(|(end, _)| end / 2 % self.places[value]);
        // Of every ReLU and neuron, the place of its slope.
        let mut places: Vec<Vec<Option<usize>>> = vec![Vec::new(); self.relus.len()];
        let mut place = 0..;
        for (layer, neurons) in state.rows[number].iter().flat_map(|given| &given.2) {
            places[*layer].resize(self.net.values[self.relus[*layer]].len, None);
            neurons.iter().for_each(|neuron| places[*layer][*neuron] = place.next());
        }
        let least = |chunk: &[(usize, usize)]| {
            let mut rows = vec![[0.0; TOGETHER]; ends.lower.len()];
            for (r, (end, _)) in chunk.iter().enumerate() {
                rows[end / 2][r] = if end % 2 == 0 { 1.0 } else { -1.0 };
            }
            let lower = |relu: usize, i: usize, slopes: &mut [f64; TOGETHER]| {
                if let (Some(given), Some(Some(place))) = (&state.rows[number], places[relu].get(i)) {
                    slopes.iter_mut().zip(chunk).for_each(|(slope, (_, row))| *slope = given.3[*row][*place]);
                }
            };
            self.push(state, value, rows, [0.0; TOGETHER], lower, &[]).least(&state.ends[0])
        };
        let found: Vec<f64> = bounds.par_chunks(TOGETHER).flat_map_iter(least).collect();
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
    pub fn line(&self, state: &mut State, rows: &[(&Row, f64)], beta: &[(usize, usize, f64)]) -> Lines<1> {
        let (output, mut constant) = (self.net.output, 0.0);
        self.read_up_to(state, output);
        let state = &*state;
        let mut start = vec![[0.0]; self.net.values[output].len];
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for (Row { terms, bound }, weight) in rows {
            for (i, coefficient) in terms {
                start[*i][0] += weight * coefficient;
                magnitude += (weight * coefficient).abs() * state.ends[output].height(*i);
            }
            sum -= weight * bound;
            magnitude += (weight * bound).abs();
        }
        settle(&mut constant, sum, magnitude, 2 * rows.iter().map(|(row, _)| row.terms.len() + 1).sum::<usize>());
        let lower = |relu: usize, i: usize, [slope]: &mut [f64; 1]| *slope = state.slopes[relu][i].unwrap_or(*slope);
        self.push(state, output, start, [constant], lower, beta)
    }

    /// Ends of a value from those of what it reads, and its error.
    fn interval(&self, state: &State, value: usize) -> (Ends, Vec<f64>) {
        dispatch(
            #[inline(always)]
            |_| self.interval_of(state, value),
        )
    }

    #[inline(always)]
    fn interval_of(&self, state: &State, value: usize) -> (Ends, Vec<f64>) {
        let len = self.net.values[value].len;
        let (mut ends, mut error) = (Ends { lower: vec![0.0; len], upper: vec![0.0; len] }, Vec::new());
        match &self.net.values[value].op {
            Op::Input => unreachable!("the input has ends"),
            Op::Affine { from, map, bias, magnitude } => {
                let x = &state.ends[*from];
                // Sums by place and channel.
                let (mut y, mut r, mut v) = (vec![0.0; len], vec![0.0; len], vec![0.0; len]);
                let [inside, each] = map.channels.map(|channels| channels / map.groups);
                for channel in 0..map.channels[0] {
                    for (at, readers) in map.readers.iter().enumerate() {
                        let [middle, radius, height] = x.parts(channel * map.readers.len() + at);
                        if height == 0.0 {
                            // What is always 0 adds nothing.
                            continue;
                        }
                        for (tap, place) in readers {
                            let weight = &map.weight[(channel * map.taps + tap) * each..][..each];
                            let to = place * map.channels[1] + channel / inside * each;
                            let sums = y[to..][..each].iter_mut().zip(&mut r[to..][..each]).zip(&mut v[to..][..each]);
                            for (w, ((y, r), v)) in weight.iter().zip(sums) {
                                *y += w * middle;
                                *r += w.abs() * radius;
                                *v += w.abs() * height;
                            }
                        }
                    }
                }
                let terms = map.fan_in();
                // What a row is charged that is pushed through: its own sums, over outputs and over biases, and the weights.
                let pushed = gamma(map.fan_out().max(len + 1) + 16);
                // An operation that is one rounding for another writer may be several here, and a norm is about eight.
                let deployed = if self.single { gamma32(terms + 8) } else { 0.0 };
                let lost = if self.single { (terms + 8) as f64 * f64::from(f32::MIN_POSITIVE) } else { 0.0 };
                error = vec![0.0; len];
                for o in 0..len {
                    // Not divided where there is one place.
                    let i = if map.places == 1 { o } else { o % map.places * map.channels[1] + o / map.places };
                    let (y, v) = (y[i] + bias[o], v[i] + magnitude[o]);
                    // In single precision a sum that may overflow can end as anything.
                    let v = if self.single && v > 1e38 { f64::INFINITY } else { v };
                    let radius = up(r[i] + ((3.0 * gamma(terms + 16) + deployed) * v * SLACK + lost + TINY));
                    (ends.lower[o], ends.upper[o]) = (down(y - radius), up(y + radius));
                    error[o] = (pushed + deployed) * v * SLACK + lost;
                }
            }
            Op::Gather { from, index } => {
                let x = &state.ends[*from];
                for (o, i) in index.iter().enumerate().filter_map(|(o, i)| Some((o, (*i)?))) {
                    (ends.lower[o], ends.upper[o]) = (x.lower[i], x.upper[i]);
                }
            }
            Op::Sum { of: [a, b], sign } => {
                let (a, b) = (&state.ends[*a], &state.ends[*b]);
                for i in 0..len {
                    let (l, u) = if *sign > 0.0 { (b.lower[i], b.upper[i]) } else { (-b.upper[i], -b.lower[i]) };
                    let height = (a.height(i) + b.height(i)) * SLACK;
                    let height = if height > 1e38 { f64::INFINITY } else { height };
                    let deployed =
                        if self.single { gamma32(1) * height * SLACK + f64::from(f32::MIN_POSITIVE) } else { 0.0 };
                    ends.lower[i] = down(down(a.lower[i] + l) - deployed);
                    ends.upper[i] = up(up(a.upper[i] + u) + deployed);
                    error.push(deployed);
                }
            }
            // Not `max`: a NaN stays.
            Op::Relu { from } => {
                let (x, cut) = (&state.ends[*from], |end: f64| if end < 0.0 { 0.0 } else { end });
                (0..len).for_each(|i| (ends.lower[i], ends.upper[i]) = (cut(x.lower[i]), cut(x.upper[i])));
            }
        }
        (ends, error)
    }

    /// Sees to what a push from this value has to know.
    fn read_up_to(&self, state: &mut State, top: usize) {
        for value in state.reads.len()..=top {
            let mut read = Read::default();
            for from in self.read(value) {
                let ends = &state.ends[from];
                for (i, (&l, &u)) in ends.lower.iter().zip(&ends.upper).enumerate() {
                    read.heights += ends.height(i);
                    match self.net.values[value].op {
                        Op::Relu { .. } if l >= 0.0 => {}
                        Op::Relu { .. } if u <= 0.0 => read.off.push(i),
                        Op::Relu { .. } => {
                            let [s, t] = upper_line(l, u);
                            let rule = if s > 0.500_001 { 1.0 } else { 0.0 };
                            read.unstable.push((i, [s, t, rule, ends.height(i) * f64::EPSILON]));
                        }
                        _ => {}
                    }
                }
            }
            state.reads.push(Arc::new(read));
        }
    }

    /// Pushes rows from a value down to the input: each `row * value + constant` is at least the line that comes out.
    /// `lower` is handed the rule's lower slopes of a ReLU and neuron, one for each row, to put in others.
    fn push<const L: usize>(
        &self,
        state: &State,
        top: usize,
        rows: Vec<[f64; L]>,
        constant: [f64; L],
        lower: impl Fn(usize, usize, &mut [f64; L]),
        beta: &[(usize, usize, f64)],
    ) -> Lines<L> {
        dispatch(
            #[inline(always)]
            |_| self.push_of(state, top, rows, constant, lower, beta),
        )
    }

    #[inline(always)]
    fn push_of<const L: usize>(
        &self,
        state: &State,
        top: usize,
        rows: Vec<[f64; L]>,
        mut constant: [f64; L],
        lower: impl Fn(usize, usize, &mut [f64; L]),
        beta: &[(usize, usize, f64)],
    ) -> Lines<L> {
        let mut waiting: Vec<Option<Vec<[f64; L]>>> = vec![None; top + 1];
        waiting[top] = Some(rows);
        // Values are in order, so all readers of one come before it.
        for value in (1..=top).rev() {
            let Some(mut rows) = waiting[value].take() else { continue };
            let read = &state.reads[value];
            let (mut sum, mut magnitude, mut charge) = ([0.0; L], [0.0; L], [0.0; L]);
            for (a, error) in rows.iter().zip(state.error[value].iter()) {
                for r in 0..L {
                    charge[r] += a[r].abs() * error;
                }
            }
            let below = match &self.net.values[value].op {
                Op::Input => unreachable!("values below the input"),
                Op::Affine { from, map, bias, .. } if map.scales() => {
                    for (row, (&w, &bias)) in rows.iter_mut().zip(map.weight.iter().zip(bias)) {
                        let old = *row;
                        for r in 0..L {
                            sum[r] += bias * old[r];
                            row[r] = w * old[r];
                        }
                    }
                    [Some((*from, rows)), None]
                }
                Op::Affine { from, map, bias, .. } => {
                    let under;
                    (under, sum) = through(map, bias, &rows, &state.ends[*from]);
                    [Some((*from, under)), None]
                }
                Op::Gather { from, index } => {
                    let mut under = vec![[0.0; L]; self.net.values[*from].len];
                    for (row, i) in rows.iter().zip(index) {
                        if let Some(i) = i {
                            under[*i] = *row;
                        }
                    }
                    [Some((*from, under)), None]
                }
                Op::Sum { of: [a, b], sign } => {
                    let mut second = rows.clone();
                    second.as_flattened_mut().iter_mut().for_each(|a| *a *= sign);
                    [Some((*a, rows)), Some((*b, second))]
                }
                Op::Relu { from } => {
                    let number = self.gives[value];
                    for i in &read.off {
                        for r in 0..L {
                            // 0, but for a NaN.
                            sum[r] += 0.0 * rows[*i][r];
                            rows[*i][r] = 0.0;
                        }
                    }
                    for (i, [s, t, rule, error]) in &read.unstable {
                        let (row, mut slopes) = (&mut rows[*i], [*rule; L]);
                        lower(number, *i, &mut slopes);
                        for r in 0..L {
                            let negative = row[r] < 0.0;
                            let term = if negative { row[r] * t } else { 0.0 };
                            sum[r] += term;
                            magnitude[r] += term.abs();
                            row[r] *= if negative { *s } else { slopes[r] };
                            charge[r] += row[r].abs() * error;
                        }
                    }
                    for (_, i, beta) in beta.iter().filter(|(relu, ..)| *relu == number) {
                        for r in 0..L {
                            rows[*i][r] -= beta;
                            charge[r] += rows[*i][r].abs() * state.ends[*from].height(*i) * f64::EPSILON;
                        }
                    }
                    [Some((*from, rows)), None]
                }
            };
            for r in 0..L {
                settle(&mut constant[r], sum[r], magnitude[r], self.net.values[value].len);
                // What may be lost by underflow is multiplied by what is read.
                constant[r] = down(constant[r] - (charge[r] * SLACK + TINY * (1.0 + read.heights)));
            }
            for (from, rows) in below.into_iter().flatten() {
                let Some(old) = &mut waiting[from] else {
                    waiting[from] = Some(rows);
                    continue;
                };
                let (ends, mut charge) = (&state.ends[from], [0.0; L]);
                for (i, (old, row)) in old.iter_mut().zip(&rows).enumerate() {
                    let height = ends.height(i);
                    for r in 0..L {
                        old[r] += row[r];
                        charge[r] += if old[r] == 0.0 { 0.0 } else { old[r].abs() * height };
                    }
                }
                for r in 0..L {
                    settle(&mut constant[r], 0.0, charge[r], 2);
                }
            }
        }
        let numbers = waiting[0].take().unwrap_or_else(|| vec![[0.0; L]; self.net.values[0].len]);
        Lines { numbers, constant }
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

/// What rows over the outputs of a map are over its inputs with these ends; and rows times biases.
#[inline(always)]
fn through<const L: usize>(map: &Map, bias: &[f64], rows: &[[f64; L]], ends: &Ends) -> (Vec<[f64; L]>, [f64; L]) {
    let (mut under, mut constant) = (vec![[0.0; L]; ends.lower.len()], [0.0; L]);
    let [inside, each] = map.channels.map(|channels| channels / map.groups);
    for (row, bias) in rows.iter().zip(bias) {
        for r in 0..L {
            constant[r] += bias * row[r];
        }
    }
    // Channels of a group and numbers that rows have, by group and place; where those of a place begin.
    let (mut used, mut starts) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len() + 1));
    starts.push(0);
    for group in 0..map.groups {
        for place in 0..map.places {
            for c in 0..each {
                let mut zero = true;
                let o = (group * each + c) * map.places + place;
                for a in &rows[o] {
                    zero &= *a == 0.0;
                }
                if !zero {
                    used.push((c, o));
                }
            }
            starts.push(used.len());
        }
    }
    let mut live = Vec::with_capacity(inside);
    for group in 0..map.groups {
        let starts = &starts[group * map.places..];
        for (at, readers) in map.readers.iter().enumerate() {
            if readers.iter().all(|(_, place)| starts[*place] == starts[place + 1]) {
                continue;
            }
            // What is always 0 needs no coefficient.
            live.clear();
            for channel in group * inside..(group + 1) * inside {
                let i = channel * map.readers.len() + at;
                if ends.lower[i] != 0.0 || ends.upper[i] != 0.0 {
                    live.push(channel);
                }
            }
            // Four at once, the last one again where fewer are left.
            for some in live.chunks(4) {
                let (mut sums, mut from) = ([[0.0; L]; 4], [0; 4]);
                for k in 0..4 {
                    from[k] = some[k.min(some.len() - 1)] * map.taps * each;
                }
                for (tap, place) in readers {
                    let weight = |k: usize| &map.weight[from[k] + tap * each..][..each];
                    let [a, b, c, d] = [weight(0), weight(1), weight(2), weight(3)];
                    if L == 1 && map.places == 1 {
                        for (sum, weight) in sums.iter_mut().zip([a, b, c, d]) {
                            sum[0] += dot(weight, rows[group * each..][..each].as_flattened());
                        }
                        continue;
                    }
                    for &(i, o) in &used[starts[*place]..starts[place + 1]] {
                        let (row, weight) = (&rows[o], [a[i], b[i], c[i], d[i]]);
                        for k in 0..4 {
                            for r in 0..L {
                                sums[k][r] += weight[k] * row[r];
                            }
                        }
                    }
                }
                for (channel, sum) in some.iter().zip(sums) {
                    under[channel * map.readers.len() + at] = sum;
                }
            }
        }
    }
    (under, constant)
}

/// The sum of products, in eight sums side by side.
#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, more), (b, other)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for k in 0..8 {
            sums[k] += a[k] * b[k];
        }
    }
    sums.iter().sum::<f64>() + more.iter().zip(other).map(|(a, b)| a * b).sum::<f64>()
}

/// Slope and height of the line above a ReLU of both signs: any slope between 0 and 1 is right with this height.
fn upper_line(l: f64, u: f64) -> [f64; 2] {
    // Infinite ends give NaN, and no proof.
    let s = (u / (u - l)).clamp(0.0, 1.0);
    let t = up(-s * l).max(up(up(1.0 - s) * u));
    [s, if s.is_nan() { s } else { t }]
}
