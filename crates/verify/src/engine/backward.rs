//! Linear bounds, pushed backwards from rows of coefficients at one value to the input (CROWN).
//!
//! What is carried is a row of coefficients per value and a constant, with *row at the target >= sum of rows at values + constant* for
//! every input of the set. The rows of many jobs, each with bounds, slopes and splits of its own, are stacked into one product a layer.

use std::ops::Range;

use rayon::prelude::*;

use super::interval::{Bounds, Ends};
use super::optimise::{Alpha, Beta};
use super::prepared::{Map, Prepared, Step};
use super::real::{Real, UNIT, above, dot, gamma};
use crate::cascade::Arithmetic;

/// The coefficients of what is bounded from below, at the target.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a, T> {
    /// `[rows, numbers of the target]`.
    Dense(&'a [T]),
    /// Of each row, the one number that it bounds, and whether it is the negative of that number.
    Units(&'a [(u32, bool)]),
}

impl<T> Rows<'_, T> {
    /// How many rows.
    pub fn count(&self, numbers: usize) -> usize {
        match self {
            Rows::Dense(rows) => rows.len() / numbers.max(1),
            Rows::Units(units) => units.len(),
        }
    }
}

/// The slope of the lower line of a ReLU of both signs that no [`Alpha`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lower {
    /// 1 where the upper line is steeper than a half, else 0.
    #[default]
    Adaptive,
    /// 0.
    Zero,
    /// 1.
    One,
    /// That of the upper line.
    Same,
}

/// Rows to be bounded from below.
#[derive(Debug, Clone)]
pub struct Job<'a, T> {
    /// Bounds of what the relaxed nodes read, and of the input.
    pub bounds: &'a Bounds<T>,
    /// The value that the rows are of: 0 is the input, `i + 1` the output of node `i`.
    pub target: usize,
    /// Coefficients.
    pub rows: Rows<'a, T>,
    /// What is added to every row; empty if nothing is.
    pub constants: &'a [f64],
    /// The rule for slopes.
    pub lower: Lower,
    /// Slopes.
    pub alpha: Option<&'a Alpha<T>>,
    /// Splits and their multipliers.
    pub beta: Option<&'a Beta<T>>,
}

impl<'a, T: Real> Job<'a, T> {
    /// Rows at a target, with slopes by the adaptive rule.
    pub fn new(bounds: &'a Bounds<T>, target: usize, rows: Rows<'a, T>) -> Self {
        Self { bounds, target, rows, constants: &[], lower: Lower::Adaptive, alpha: None, beta: None }
    }
}

/// What is returned besides the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// The linear form over the input.
    pub line: bool,
    /// The coefficients at the outputs of ReLUs and max pools.
    pub lambda: bool,
}

/// The lower bounds of a job's rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Pushed<T> {
    /// A lower bound of every row: minus infinity where nothing is known, never a NaN.
    pub bound: Vec<f64>,
    /// `[rows, inputs]`: with the constants, a linear form below every row; empty unless kept.
    pub line: Vec<T>,
    /// Its constants. In a sound claim they are charged, but for the rounding of the form's own sum.
    pub constant: Vec<f64>,
    /// Of every ReLU and max pool, `[rows, neurons]`; empty of other nodes and unless kept.
    pub lambda: Vec<Vec<T>>,
}

/// Pushes the rows of all jobs, which have one target in common, back to the input.
///
/// # Panics
/// If the targets differ, or bounds, rows, slopes and the network do not fit together.
pub fn backward<T: Real>(net: &Prepared<T>, jobs: &[Job<'_, T>], keep: Keep) -> Vec<Pushed<T>> {
    let Some(first) = jobs.first() else { return Vec::new() };
    assert!(jobs.iter().all(|job| job.target == first.target), "jobs with one target");
    let counts: Vec<usize> = jobs.iter().map(|job| job.rows.count(net.len[first.target])).collect();
    let all =
        counts.iter().enumerate().flat_map(|(job, rows)| (0..*rows).map(move |row| (job, row))).collect::<Vec<_>>();
    let tiles = all.chunks(tile_rows(net, first.target, all.len())).collect::<Vec<_>>();
    let tiles: Vec<Pushed<T>> = tiles.into_par_iter().map(|rows| push(net, jobs, rows, keep)).collect();
    let mut pushed: Vec<Pushed<T>> = counts.iter().map(|_| Pushed::none(net)).collect();
    let mut at = 0;
    for tile in tiles {
        // The rows of a tile, a job at a time.
        let end = at + tile.bound.len();
        for span in spans(&all[at..end]) {
            pushed[all[at + span.start].0].append(&tile, span);
        }
        at = end;
    }
    pushed
}

/// How many rows are pushed together. It depends on the sizes alone, never on the threads.
pub(crate) fn tile_rows<T>(net: &Prepared<T>, target: usize, rows: usize) -> usize {
    let largest = net.len[..=target].iter().copied().max().unwrap_or(1).max(1);
    // What stays in the second-level cache, yet enough rows for a product and few enough to share.
    let cached = ((1 << 19) / (largest * size_of::<T>())).clamp(8, 512);
    rows.div_ceil(8).clamp(4, cached)
}

/// The neighbouring rows that belong to one job.
pub(crate) fn spans(rows: &[(usize, usize)]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    rows.chunk_by(|a, b| a.0 == b.0).map(move |chunk| {
        at += chunk.len();
        at - chunk.len()..at
    })
}

impl<T: Real> Pushed<T> {
    pub(crate) fn none(net: &Prepared<T>) -> Self {
        let lambda = net.steps.iter().map(|_| Vec::new()).collect();
        Self { bound: Vec::new(), line: Vec::new(), constant: Vec::new(), lambda }
    }

    pub(crate) fn append(&mut self, tile: &Self, span: Range<usize>) {
        let rows = tile.bound.len();
        let part = |numbers: &[T]| {
            let row = numbers.len() / rows;
            numbers[span.start * row..span.end * row].to_vec()
        };
        self.bound.extend(&tile.bound[span.clone()]);
        self.constant.extend(&tile.constant[span.clone()]);
        self.line.extend(part(&tile.line));
        for (to, from) in self.lambda.iter_mut().zip(&tile.lambda) {
            to.extend(part(from));
        }
    }
}

/// The constants of rows. In a sound claim every sum is rounded downwards.
struct Constants {
    sums: Vec<f64>,
    sound: bool,
}

impl Constants {
    fn add(&mut self, row: usize, number: f64) {
        let sum = self.sums[row] + number;
        self.sums[row] = if self.sound { sum.next_down() } else { sum };
    }
}

/// The lines of a ReLU's neurons: `lower x` and `upper x + offset`.
pub(crate) struct Lines<T> {
    pub lower: Vec<T>,
    pub upper: Vec<T>,
    pub offset: Vec<T>,
}

impl<T: Real> Lines<T> {
    pub(crate) fn new(ends: &Ends<T>, rule: Lower, sound: bool) -> Self {
        let n = ends.lower.len();
        let [mut lower, mut upper, mut offset] = [0; 3].map(|_| Vec::with_capacity(n));
        for (l, u) in ends.lower.iter().zip(&ends.upper) {
            let (l, u) = (*l, *u);
            let [a, s, t] = if l >= T::ZERO {
                [T::ONE, T::ONE, T::ZERO]
            } else if u <= T::ZERO {
                [T::ZERO; 3]
            } else {
                // Any slope in [0, 1] is valid with an offset that is large enough. A width that underflows or overflows gives one.
                let s = u / (u - l);
                let s = if s >= T::ZERO { s.least(T::ONE) } else { T::ONE };
                let t = if sound {
                    let [l, u, s] = [l, u, s].map(T::double);
                    T::nearest((-s * l).next_up().max(((1.0 - s).next_up() * u).next_up()))
                } else {
                    -l * s
                };
                let a = match rule {
                    Lower::Adaptive if s > T::nearest(0.5) => T::ONE,
                    Lower::Adaptive | Lower::Zero => T::ZERO,
                    Lower::One => T::ONE,
                    Lower::Same => s,
                };
                [a, s, t]
            };
            lower.push(a);
            upper.push(s);
            offset.push(t);
        }
        Self { lower, upper, offset }
    }

    /// The lower slopes of one row of a job at the ReLU `node`.
    pub(crate) fn slopes(&self, job: &Job<'_, T>, node: usize, row: usize, to: &mut Vec<T>) {
        to.clear();
        to.extend_from_slice(&self.lower);
        let ends = job.bounds;
        let Some(alpha) = job.alpha else { return };
        let Some((layer, at)) = alpha.layer(node) else { return };
        let ends = ends.ends(layer.value);
        for (neuron, value) in layer.neurons.iter().zip(&alpha.row(row)[at..]) {
            let i = *neuron as usize;
            if ends.lower[i] < T::ZERO && ends.upper[i] > T::ZERO {
                to[i] = value.largest(T::ZERO).least(T::ONE);
            }
        }
    }
}

/// Of every window of a max pool, what bounds it.
pub(crate) struct Picks {
    /// The input with the largest lower bound.
    pub best: Vec<usize>,
    /// No other can be larger.
    pub only: Vec<bool>,
    /// The largest upper bound.
    pub upper: Vec<f64>,
    /// The largest magnitude.
    pub reach: Vec<f64>,
}

impl Picks {
    pub(crate) fn new<T: Real>(windows: &[Vec<usize>], ends: &Ends<T>) -> Self {
        let mut picks = Self { best: Vec::new(), only: Vec::new(), upper: Vec::new(), reach: Vec::new() };
        for window in windows {
            let larger = |a: usize, b: usize| if ends.lower[b] > ends.lower[a] { b } else { a };
            let best = window.iter().copied().reduce(larger).expect("a window sees something");
            picks.best.push(best);
            picks.only.push(window.iter().all(|i| *i == best || ends.upper[*i] <= ends.lower[best]));
            picks.upper.push(window.iter().map(|i| ends.upper[*i].double()).fold(f64::NEG_INFINITY, f64::max));
            picks.reach.push(window.iter().map(|i| ends.reach(*i)).fold(0.0, f64::max));
        }
        picks
    }
}

/// The rows of one tile on their way.
struct Tile<'a, 'b, T> {
    net: &'a Prepared<T>,
    jobs: &'a [Job<'b, T>],
    /// Job and row of each.
    rows: &'a [(usize, usize)],
    constants: Constants,
    /// Coefficients at values.
    at: Vec<Option<Vec<T>>>,
}

/// Pushes some rows of jobs back to the input.
pub(crate) fn push<T: Real>(net: &Prepared<T>, jobs: &[Job<'_, T>], rows: &[(usize, usize)], keep: Keep) -> Pushed<T> {
    let first = &jobs[rows[0].0];
    let (target, sound) = (first.target, jobs.iter().any(|job| job.bounds.claim != Arithmetic::Real));
    let constant = |(job, row): &(usize, usize)| jobs[*job].constants.get(*row).copied().unwrap_or(0.0);
    let constants = Constants { sums: rows.iter().map(constant).collect(), sound };
    let mut tile = Tile { net, jobs, rows, constants, at: vec![None; target + 1] };
    let mut lambda = vec![Vec::new(); net.steps.len()];
    tile.at[target] = Some(tile.begin(target));
    for node in (0..target).rev() {
        let Some(coefficients) = tile.at[node + 1].take() else { continue };
        match &net.steps[node] {
            Step::Affine(map) => tile.affine(node, map, &coefficients),
            Step::Relu => {
                if keep.lambda {
                    lambda[node] = coefficients.clone();
                }
                tile.relu(node, coefficients);
            }
            Step::Add => tile.add(node, coefficients),
            Step::MaxPool(windows) => {
                tile.max_pool(node, windows, &coefficients);
                if keep.lambda {
                    lambda[node] = coefficients;
                }
            }
            Step::Gather { from, fill, most } => tile.gather(node, from, fill, *most, &coefficients),
        }
    }
    let line = tile.at[0].take().unwrap_or_else(|| vec![T::ZERO; rows.len() * net.len[0]]);
    let bound = (0..rows.len()).map(|row| tile.concretise(row, &line[row * net.len[0]..][..net.len[0]])).collect();
    Pushed { bound, line: if keep.line { line } else { Vec::new() }, constant: tile.constants.sums, lambda }
}

impl<T: Real> Tile<'_, '_, T> {
    fn bounds(&self, row: usize) -> &Bounds<T> {
        self.jobs[self.rows[row].0].bounds
    }

    /// The rows at the target.
    fn begin(&self, target: usize) -> Vec<T> {
        let numbers = self.net.len[target];
        let mut begin = vec![T::ZERO; self.rows.len() * numbers];
        for (to, (job, row)) in begin.chunks_mut(numbers.max(1)).zip(self.rows) {
            match self.jobs[*job].rows {
                Rows::Dense(rows) => to.copy_from_slice(&rows[row * numbers..][..numbers]),
                Rows::Units(units) => {
                    let (number, negative) = units[*row];
                    to[number as usize] = if negative { -T::ONE } else { T::ONE };
                }
            }
        }
        begin
    }

    /// Adds coefficients to those that a value has.
    fn collect(&mut self, value: usize, more: Vec<T>) {
        let Some(mut sum) = self.at[value].take() else {
            self.at[value] = Some(more);
            return;
        };
        sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        if self.constants.sound {
            self.charge_reach(value, &sum, 2.0 * UNIT);
        }
        self.at[value] = Some(sum);
    }

    /// Charges a share of coefficients times the magnitudes of their value.
    fn charge_reach(&mut self, value: usize, coefficients: &[T], share: f64) {
        let numbers = self.net.len[value];
        for row in 0..self.rows.len() {
            let ends = self.bounds(row).ends(value);
            let reach = (0..numbers).map(|i| coefficients[row * numbers + i].magnitude().double() * ends.reach(i));
            let cost = above(above(reach.sum(), numbers + 1) * share, 1) + 1e-300;
            self.constants.add(row, -cost);
        }
    }

    /// Charges coefficients at a node's output for the node.
    fn charge(&mut self, node: usize, coefficients: &[T]) {
        let numbers = self.net.len[node + 1];
        for row in 0..self.rows.len() {
            let Some(charge) = &self.bounds(row).charges[node] else { continue };
            let terms = coefficients[row * numbers..][..numbers].iter().zip(&charge.each);
            let cost = terms.map(|(coefficient, each)| coefficient.magnitude().double() * each).sum::<f64>();
            let cost = above(cost, numbers + 1) + charge.small;
            self.constants.add(row, -cost);
        }
    }

    fn affine(&mut self, node: usize, map: &Map<T>, coefficients: &[T]) {
        let outputs = map.size[1];
        for (row, coefficients) in coefficients.chunks(outputs.max(1)).enumerate() {
            let product = if map.plane == 1 {
                dot(coefficients, &map.bias)
            } else {
                let planes = coefficients.chunks(map.plane).zip(&map.bias);
                planes.map(|(plane, bias)| plane.iter().map(|c| c.double()).sum::<f64>() * bias.double()).sum()
            };
            self.constants.add(row, product);
        }
        if self.constants.sound {
            self.charge(node, coefficients);
        }
        let more = map.backward(self.rows.len(), coefficients);
        self.collect(self.net.inputs[node][0], more);
    }

    fn relu(&mut self, node: usize, mut coefficients: Vec<T>) {
        let value = self.net.inputs[node][0];
        let numbers = self.net.len[value];
        let mut slopes = Vec::new();
        for span in spans(self.rows) {
            let job = &self.jobs[self.rows[span.start].0];
            let ends = job.bounds.ends(value);
            let lines = Lines::new(ends, job.lower, self.constants.sound);
            let reach: Vec<f64> =
                if self.constants.sound { (0..numbers).map(|i| ends.reach(i)).collect() } else { Vec::new() };
            let small = above(numbers as f64 * 1e-322 * reach.iter().sum::<f64>(), numbers) + 1e-300;
            for row in span {
                lines.slopes(job, node, self.rows[row].1, &mut slopes);
                let coefficients = &mut coefficients[row * numbers..][..numbers];
                let (sum, magnitudes) = relax(coefficients, &slopes, &lines);
                self.constants.add(row, sum);
                if self.constants.sound {
                    // The sum, and the slopes of the upper lines, which are those of the rounded products.
                    let reach =
                        coefficients.iter().zip(&reach).map(|(c, reach)| c.magnitude().double() * reach).sum::<f64>();
                    let cost = above(above(reach, numbers + 1) * 2.0 * UNIT, 1)
                        + above(above(magnitudes, numbers + 1) * gamma(numbers + 1, UNIT), 2);
                    self.constants.add(row, -(cost + small).next_up());
                }
                if let Some(beta) = job.beta {
                    // A rounded difference is that of a multiplier that is not negative either.
                    for (split, multiplier) in beta.row(self.rows[row].1).filter(|(split, _)| split.node == node) {
                        let at = &mut coefficients[split.neuron as usize];
                        *at += if split.active { -multiplier.largest(T::ZERO) } else { multiplier.largest(T::ZERO) };
                    }
                }
            }
        }
        self.collect(value, coefficients);
    }

    fn add(&mut self, node: usize, coefficients: Vec<T>) {
        if self.constants.sound {
            self.charge(node, &coefficients);
        }
        let inputs = &self.net.inputs[node];
        for input in &inputs[1..] {
            self.collect(*input, coefficients.clone());
        }
        self.collect(inputs[0], coefficients);
    }

    fn max_pool(&mut self, node: usize, windows: &[Vec<usize>], coefficients: &[T]) {
        let value = self.net.inputs[node][0];
        let (numbers, outputs) = (self.net.len[value], self.net.len[node + 1]);
        let mut more = vec![T::ZERO; self.rows.len() * numbers];
        for span in spans(self.rows) {
            let picks = Picks::new(windows, self.jobs[self.rows[span.start].0].bounds.ends(value));
            for row in span {
                let to = &mut more[row * numbers..][..numbers];
                let (mut sum, mut magnitudes, mut reach) = (0.0, 0.0, 0.0);
                for (i, coefficient) in coefficients[row * outputs..][..outputs].iter().enumerate() {
                    if *coefficient < T::ZERO && !picks.only[i] {
                        sum += coefficient.double() * picks.upper[i];
                        magnitudes += (coefficient.double() * picks.upper[i]).abs();
                    } else {
                        to[picks.best[i]] += *coefficient;
                        reach += coefficient.magnitude().double() * picks.reach[i];
                    }
                }
                self.constants.add(row, sum);
                if self.constants.sound {
                    // A number may be read by as many windows as a window has places.
                    let most = windows.iter().map(Vec::len).max().unwrap_or(0);
                    let cost = above(above(magnitudes, outputs + 1) * gamma(outputs + 1, UNIT), 2)
                        + above(above(reach, outputs + 1) * gamma(most + 1, UNIT), 2);
                    self.constants.add(row, -(cost + 1e-300).next_up());
                }
            }
        }
        self.collect(value, more);
    }

    fn gather(&mut self, node: usize, from: &[Option<u32>], fill: &[T], most: usize, coefficients: &[T]) {
        let value = self.net.inputs[node][0];
        let (numbers, outputs) = (self.net.len[value], self.net.len[node + 1]);
        let mut more = vec![T::ZERO; self.rows.len() * numbers];
        for row in 0..self.rows.len() {
            let to = &mut more[row * numbers..][..numbers];
            let claim = self.bounds(row).claim;
            let (mut sum, mut magnitudes, mut reach) = (0.0, 0.0, 0.0);
            for (i, coefficient) in coefficients[row * outputs..][..outputs].iter().enumerate() {
                match from[i] {
                    Some(at) => {
                        to[at as usize] += *coefficient;
                        reach += coefficient.magnitude().double() * self.bounds(row).ends(node + 1).reach(i);
                    }
                    None => {
                        let term = coefficient.double() * fill.get(i).copied().unwrap_or(T::ZERO).double();
                        sum += term;
                        magnitudes += term.abs();
                    }
                }
            }
            self.constants.add(row, sum);
            if self.constants.sound {
                let deployed = if claim == Arithmetic::Float32 { f64::from(f32::EPSILON) } else { 0.0 };
                let cost = above(above(magnitudes, outputs + 1) * (gamma(outputs + 1, UNIT) + deployed), 2)
                    + above(above(reach, outputs + 1) * gamma(most, UNIT), 2);
                self.constants.add(row, -(cost + 1e-300).next_up());
            }
        }
        self.collect(value, more);
    }

    /// The least value of a row's linear form over the inputs.
    fn concretise(&mut self, row: usize, line: &[T]) -> f64 {
        let ends = self.bounds(row).ends(0);
        let (mut sum, mut magnitudes) = (0.0, 0.0);
        if let Some(ball) = &self.bounds(row).ball {
            let (centre, radius) = (&ball.0, ball.1);
            let (mut inner, mut squares) = (0.0, 0.0);
            for (l, c) in line.iter().zip(centre) {
                inner += l.double() * c.double();
                magnitudes += (l.double() * c.double()).abs();
                squares += l.double() * l.double();
            }
            // A sum of squares and its root, rounded.
            let norm = if self.constants.sound {
                above(above(squares, line.len() + 1).sqrt(), 1) + 1e-150
            } else {
                squares.sqrt()
            };
            sum = inner - radius * norm;
            magnitudes += radius * norm;
        } else {
            for ((c, l), u) in line.iter().zip(&ends.lower).zip(&ends.upper) {
                let term = c.double() * if *c >= T::ZERO { l.double() } else { u.double() };
                sum += term;
                magnitudes += term.abs();
            }
        }
        let mut bound = self.constants.sums[row] + sum;
        if self.constants.sound {
            let terms = line.len() + 2;
            bound = (bound.next_down() - above(above(magnitudes, terms) * gamma(terms, UNIT), 2) - 1e-300).next_down();
        }
        // Never a bound from a NaN or an infinity.
        if bound.is_finite() { bound } else { f64::NEG_INFINITY }
    }
}

/// A ReLU's step: coefficients that are not negative meet the lower line, others the upper. Returns the sum of what goes into the
/// constant, and that of its magnitudes, which are the same but for the sign.
fn relax<T: Real>(coefficients: &mut [T], slopes: &[T], lines: &Lines<T>) -> (f64, f64) {
    let mut lanes = [T::ZERO; 16];
    let n = coefficients.len();
    let (slopes, upper, offset) = (&slopes[..n], &lines.upper[..n], &lines.offset[..n]);
    let step = |c: &mut T, a: T, s: T, t: T| {
        // Not `c >= 0`: a NaN goes on.
        let negative = *c < T::ZERO;
        let sum = if negative { *c * t } else { T::ZERO };
        *c = *c * if negative { s } else { a };
        sum
    };
    let whole = n / 16 * 16;
    for at in (0..whole).step_by(16) {
        let (c, a) = (&mut coefficients[at..at + 16], &slopes[at..at + 16]);
        let (s, t) = (&upper[at..at + 16], &offset[at..at + 16]);
        for i in 0..16 {
            lanes[i] += step(&mut c[i], a[i], s[i], t[i]);
        }
    }
    let mut sum = lanes.iter().map(|lane| lane.double()).sum::<f64>();
    for i in whole..n {
        sum += step(&mut coefficients[i], slopes[i], upper[i], offset[i]).double();
    }
    (sum, sum.abs())
}
