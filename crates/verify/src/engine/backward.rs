//! Linear bounds, pushed backwards from rows of coefficients at one value to the input (CROWN).
//!
//! What is carried is a row of coefficients per value and a constant, with *row at the target >= sum of rows at values + constant* for
//! every input of the set. The rows of many jobs, each with bounds, slopes and splits of its own, are stacked into one product a layer.

use std::ops::Range;

use rayon::prelude::*;
use temper_kernels::arch::dispatch;

use super::interval::{Bounds, Ends};
use super::optimise::{Alpha, Beta};
use super::patches::{Coefficients, Patch, add};
use super::prepared::{Kind, Map, Prepared, Step};
use super::real::{Real, UNIT, above, gamma};
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
    /// Splits and their multipliers. Rows of single neurons of a convolution ignore those of neurons that they do not see.
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
/// If the targets or the claims differ, or bounds, rows, slopes and the network do not fit together.
pub fn backward<T: Real>(net: &Prepared<T>, jobs: &[Job<'_, T>], keep: Keep) -> Vec<Pushed<T>> {
    let rows = all_rows(net, jobs);
    let made = tiles(net, jobs, &rows).into_par_iter().map(|tile| push(net, jobs, tile, keep)).collect::<Vec<_>>();
    let mut pushed: Vec<Pushed<T>> = jobs.iter().map(|_| Pushed::none(net)).collect();
    let mut at = 0;
    for trail in made {
        let tile = &rows[at..at + trail.bound.len()];
        at += tile.len();
        let trail = trail.rows_first(net, keep);
        for span in spans(tile) {
            pushed[tile[span.start].0].append(&trail, span);
        }
    }
    pushed
}

/// Every job's rows.
pub(crate) fn all_rows<T: Real>(net: &Prepared<T>, jobs: &[Job<'_, T>]) -> Vec<(usize, usize)> {
    let counts = jobs.iter().map(|job| job.rows.count(net.len[job.target])).enumerate();
    counts.flat_map(|(job, rows)| (0..rows).map(move |row| (job, row))).collect()
}

/// Rows that are pushed together. How many depends on the sizes alone, never on the threads.
pub(crate) fn tiles<'a, T: Real>(
    net: &Prepared<T>,
    jobs: &[Job<'_, T>],
    rows: &'a [(usize, usize)],
) -> Vec<&'a [(usize, usize)]> {
    let Some(first) = rows.first().map(|(job, _)| &jobs[*job]) else { return Vec::new() };
    let alike = |job: &Job<'_, T>| job.target == first.target && job.bounds.claim == first.bounds.claim;
    assert!(rows.iter().all(|(job, _)| alike(&jobs[*job])), "jobs with one target and one claim");
    let largest = net.len[..=first.target].iter().copied().max().unwrap_or(1).max(1);
    // What stays in the second-level cache, yet enough rows for vectors and few enough to share. Windows are small.
    let small = net.picture[first.target][1] > 1 && matches!(first.rows, Rows::Units(_));
    let cached = ((1 << 20) / (largest * size_of::<T>()) / 16 * 16).clamp(if small { 64 } else { 16 }, 256);
    rows.chunks(rows.len().div_ceil(8).next_multiple_of(16).min(cached)).collect()
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

    /// Adds some rows of a tile.
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

/// What the rows of a tile left on their way, rows last.
pub(crate) struct Trail<T> {
    pub bound: Vec<f64>,
    pub constant: Vec<f64>,
    pub line: Coefficients<T>,
    /// At the outputs of ReLUs and max pools, if kept.
    pub lambda: Vec<Option<Coefficients<T>>>,
    /// The values that have coefficients, and the windows that they are in.
    pub reached: Vec<Option<Option<Patch>>>,
}

impl<T: Real> Trail<T> {
    /// The same for the caller.
    pub fn rows_first(&self, net: &Prepared<T>, keep: Keep) -> Pushed<T> {
        let rows = self.bound.len();
        let lambda = self.lambda.iter().enumerate().map(|(node, lambda)| {
            let whole = |lambda: &Coefficients<T>| lambda.to(net.picture[node + 1], rows, None).numbers;
            lambda.as_ref().map_or_else(Vec::new, |lambda| rows_first(&whole(lambda), rows))
        });
        let line = || rows_first(&self.line.to(net.picture[0], rows, None).numbers, rows);
        Pushed {
            bound: self.bound.clone(),
            line: if keep.line { line() } else { Vec::new() },
            constant: self.constant.clone(),
            lambda: lambda.collect(),
        }
    }
}

/// `[rows, numbers]` of `[numbers, rows]`.
pub(crate) fn rows_first<T: Real>(numbers: &[T], rows: usize) -> Vec<T> {
    (0..rows).flat_map(|row| numbers.iter().skip(row).step_by(rows).copied()).collect()
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
                    // Not at the tie, which symmetric boxes have: rounding would decide there.
                    Lower::Adaptive if s > T::nearest(0.500_001) => T::ONE,
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
    pub(crate) fn slopes(&self, job: &Job<'_, T>, node: usize, row: usize) -> Vec<T> {
        let mut slopes = self.lower.clone();
        let Some(alpha) = job.alpha else { return slopes };
        let Some((layer, at)) = alpha.layer(node) else { return slopes };
        let ends = job.bounds.ends(layer.value);
        for (neuron, value) in layer.neurons.iter().zip(&alpha.row(row)[at..]) {
            if ends.is_unstable(*neuron as usize) {
                slopes[*neuron as usize] = value.largest(T::ZERO).least(T::ONE);
            }
        }
        slopes
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
    /// The rows of each job.
    spans: Vec<Range<usize>>,
    /// The constants of the rows; in a sound claim every sum is rounded downwards.
    constants: Vec<f64>,
    sound: bool,
    /// Coefficients at values.
    at: Vec<Option<Coefficients<T>>>,
}

/// Pushes some rows of jobs back to the input.
pub(crate) fn push<T: Real>(net: &Prepared<T>, jobs: &[Job<'_, T>], rows: &[(usize, usize)], keep: Keep) -> Trail<T> {
    let target = jobs[rows[0].0].target;
    let sound = jobs[rows[0].0].bounds.claim != Arithmetic::Real;
    let constant = |(job, row): &(usize, usize)| jobs[*job].constants.get(*row).copied().unwrap_or(0.0);
    let constants = rows.iter().map(constant).collect();
    let spans = spans(rows).collect();
    let mut tile = Tile { net, jobs, rows, spans, constants, sound, at: vec![None; target + 1] };
    let mut lambda = vec![None; net.steps.len()];
    let mut reached = vec![None; target + 1];
    tile.at[target] = Some(tile.begin(target));
    for node in (0..target).rev() {
        let Some(mut coefficients) = tile.at[node + 1].take() else { continue };
        if !tile.windowed(node, &coefficients) {
            coefficients = coefficients.to(net.picture[node + 1], rows.len(), None);
        }
        reached[node + 1] = Some(coefficients.patch.clone());
        if keep.lambda && matches!(net.steps[node], Step::Relu | Step::MaxPool(_)) {
            lambda[node] = Some(coefficients.clone());
        }
        match &net.steps[node] {
            Step::Affine(map) => tile.affine(node, map, &coefficients),
            Step::Relu => tile.relu(node, coefficients),
            Step::Add => tile.add(node, coefficients),
            Step::MaxPool(windows) => tile.max_pool(node, windows, &coefficients.numbers),
            Step::Gather { from, fill, most } => tile.gather(node, from, fill, *most, &coefficients.numbers),
        }
    }
    let none = || Coefficients { numbers: vec![T::ZERO; rows.len() * net.len[0]], patch: None };
    let line = tile.at[0].take().unwrap_or_else(none);
    reached[0] = Some(line.patch.clone());
    let bound = tile.concretise(&line);
    Trail { bound, constant: tile.constants, line, lambda, reached }
}

/// Numbers of which each row of a tile has those of its job, or of its own.
struct Spread<'a> {
    spans: &'a [Range<usize>],
    rows: usize,
    /// The pixels of windows, and how many a channel has.
    table: Option<(&'a [i32], usize)>,
}

impl Spread<'_> {
    /// `[elements, rows]` of arrays, one a span.
    fn fill<T: Real>(&self, elements: Range<usize>, arrays: &[&[T]], to: &mut Vec<T>) {
        to.resize(elements.len() * self.rows, T::ZERO);
        let Some((table, plane)) = self.table else {
            if arrays.len() == self.rows {
                // One row a job: some elements of one array at a time, which lie side by side.
                for (row, array) in arrays.iter().enumerate() {
                    to[row..].iter_mut().step_by(self.rows).zip(&array[elements.clone()]).for_each(|(to, e)| *to = *e);
                }
                return;
            }
            for (to, e) in to.chunks_mut(self.rows).zip(elements) {
                self.spans.iter().zip(arrays).for_each(|(span, array)| to[span.clone()].fill(array[e]));
            }
            return;
        };
        let places = table.len() / self.rows;
        for (to, e) in to.chunks_mut(self.rows).zip(elements) {
            let (channel, table) = (e / places * plane, &table[e % places * self.rows..][..self.rows]);
            for (span, array) in self.spans.iter().zip(arrays) {
                for (to, at) in to[span.clone()].iter_mut().zip(&table[span.clone()]) {
                    *to = if *at < 0 { T::ZERO } else { array[channel + *at as usize] };
                }
            }
        }
    }
}

/// Elements that are worked on together.
const CHUNK: usize = 32;

impl<T: Real> Tile<'_, '_, T> {
    fn bounds(&self, row: usize) -> &Bounds<T> {
        self.jobs[self.rows[row].0].bounds
    }

    /// Of every span of rows, something of its bounds.
    fn of_spans<'s, R>(&'s self, of: impl Fn(&'s Job<'s, T>) -> R) -> Vec<R> {
        self.spans.iter().map(|span| of(&self.jobs[self.rows[span.start].0])).collect()
    }

    /// Adds to the constant of a row.
    fn constant(&mut self, row: usize, number: f64) {
        let sum = self.constants[row] + number;
        self.constants[row] = if self.sound { sum.next_down() } else { sum };
    }

    /// Takes from the constant of a row what rounding may cost.
    fn cost(&mut self, row: usize, cost: f64) {
        self.constant(row, -(cost + 1e-300).next_up());
    }

    /// The rows at the target.
    fn begin(&self, target: usize) -> Coefficients<T> {
        let (rows, picture) = (self.rows.len(), self.net.picture[target]);
        let plane = picture[1] * picture[2];
        let unit = |(job, row): &(usize, usize)| match self.jobs[*job].rows {
            Rows::Units(units) => Some(units[*row]),
            Rows::Dense(_) => None,
        };
        let units = self.rows.iter().map(unit).collect::<Option<Vec<(u32, bool)>>>();
        let one = |negative: bool| if negative { -T::ONE } else { T::ONE };
        if let Some(units) = units.as_ref().filter(|_| picture[1] > 1) {
            let place = |(number, _): &(u32, bool)| {
                let at = *number as usize % plane;
                [(at / picture[2]) as isize, (at % picture[2]) as isize]
            };
            let patch = Patch { size: [1, 1], at: units.iter().map(place).collect() };
            if patch.small(picture) {
                let mut numbers = vec![T::ZERO; picture[0] * rows];
                for (row, (number, negative)) in units.iter().enumerate() {
                    numbers[*number as usize / plane * rows + row] = one(*negative);
                }
                return Coefficients { numbers, patch: Some(patch) };
            }
        }
        let n = self.net.len[target];
        let mut numbers = vec![T::ZERO; n * rows];
        for (to, (job, row)) in self.rows.iter().enumerate() {
            match self.jobs[*job].rows {
                Rows::Dense(dense) => {
                    let from = &dense[row * n..][..n];
                    from.iter().enumerate().for_each(|(i, from)| numbers[i * rows + to] = *from);
                }
                Rows::Units(units) => {
                    let (number, negative) = units[*row];
                    numbers[number as usize * rows + to] = one(negative);
                }
            }
        }
        Coefficients { numbers, patch: None }
    }

    /// Whether windows at a node's output stay windows on the way through it.
    fn windowed(&self, node: usize, coefficients: &Coefficients<T>) -> bool {
        let Some(patch) = &coefficients.patch else { return true };
        let alike = || self.net.inputs[node].iter().all(|input| self.net.picture[*input] == self.net.picture[node + 1]);
        match &self.net.steps[node] {
            Step::Affine(map) => match &map.kind {
                Kind::Conv { window, .. } => {
                    let fits = self.net.picture[self.net.inputs[node][0]] == window.input;
                    fits && patch.before(window).0.small(window.input)
                }
                Kind::Scale => alike(),
                Kind::Dense => false,
            },
            Step::Relu | Step::Add => alike(),
            Step::MaxPool(_) | Step::Gather { .. } => false,
        }
    }

    /// Adds coefficients to those that a value has.
    fn collect(&mut self, value: usize, more: Coefficients<T>) {
        let Some(sum) = self.at[value].take() else {
            self.at[value] = Some(more);
            return;
        };
        let sum = sum.plus(more, self.net.picture[value], self.rows.len());
        if self.sound {
            let reach = self.of_spans(|job| job.bounds.reach(value));
            for (row, reach) in self.weighted(value, &sum, &reach).into_iter().enumerate() {
                self.cost(row, above(reach * 2.0 * UNIT, 1));
            }
        }
        self.at[value] = Some(sum);
    }

    /// Of every row, a number not below the sum of magnitudes of coefficients at a value times numbers of its job.
    fn weighted(&self, value: usize, coefficients: &Coefficients<T>, arrays: &[Vec<T>]) -> Vec<f64> {
        let (rows, arrays) = (self.rows.len(), arrays.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let mut sums = vec![0.0; rows];
        self.each_chunk(value, coefficients, |spread, elements, numbers| {
            let mut each = Vec::new();
            spread.fill(elements, &arrays, &mut each);
            for (numbers, each) in numbers.chunks(rows).zip(each.chunks(rows)) {
                for ((sum, number), each) in sums.iter_mut().zip(numbers).zip(each) {
                    *sum += number.magnitude().double() * each.double();
                }
            }
        });
        let terms = coefficients.numbers.len() / rows;
        sums.into_iter().map(|sum| above(sum, terms + 1)).collect()
    }

    /// Some elements of coefficients at a time.
    fn each_chunk(
        &self,
        value: usize,
        coefficients: &Coefficients<T>,
        mut each: impl FnMut(&Spread<'_>, Range<usize>, &[T]),
    ) {
        let (rows, picture) = (self.rows.len(), self.net.picture[value]);
        let table = coefficients.patch.as_ref().map(|patch| patch.table(picture));
        let table = table.as_deref().map(|table| (table, picture[1] * picture[2]));
        let spread = Spread { spans: &self.spans, rows, table };
        for (i, numbers) in coefficients.numbers.chunks(CHUNK * rows).enumerate() {
            each(&spread, i * CHUNK..i * CHUNK + numbers.len() / rows, numbers);
        }
    }

    /// Charges coefficients at a node's output for the node.
    fn charge(&mut self, node: usize, coefficients: &Coefficients<T>) {
        let charges = self.of_spans(|job| job.bounds.charges[node].clone());
        let Some(charges) = charges.into_iter().collect::<Option<Vec<_>>>() else { return };
        let each: Vec<Vec<T>> =
            charges.iter().map(|charge| charge.each.iter().map(|c| T::nearest(*c)).collect()).collect();
        let costs = self.weighted(node + 1, coefficients, &each);
        for (span, charge) in self.spans.clone().into_iter().zip(charges) {
            span.for_each(|row| self.cost(row, costs[row] + charge.small));
        }
    }

    fn affine(&mut self, node: usize, map: &Map<T>, coefficients: &Coefficients<T>) {
        let rows = self.rows.len();
        let mut sums = vec![0.0; rows];
        if let (Kind::Scale, Some(patch)) = (&map.kind, &coefficients.patch) {
            let (table, plane) = (patch.table(map.picture), map.picture[1] * map.picture[2]);
            for (i, number) in coefficients.numbers.iter().enumerate() {
                if let Ok(at) = usize::try_from(table[i % table.len()]) {
                    sums[i % rows] += number.double() * map.bias[i / table.len() * plane + at].double();
                }
            }
        } else {
            let plane = coefficients.patch.as_ref().map_or(map.plane, |patch| patch.size[0] * patch.size[1]);
            let mut plane_sums = vec![T::ZERO; rows];
            for (plane, bias) in coefficients.numbers.chunks((plane * rows).max(1)).zip(&map.bias) {
                for numbers in plane.chunks(CHUNK * rows) {
                    plane_sums.fill(T::ZERO);
                    numbers.chunks(rows).for_each(|numbers| add(&mut plane_sums, numbers));
                    sums.iter_mut().zip(&plane_sums).for_each(|(sum, plane)| *sum += plane.double() * bias.double());
                }
            }
        }
        sums.into_iter().enumerate().for_each(|(row, sum)| self.constant(row, sum));
        if self.sound {
            self.charge(node, coefficients);
        }
        let mut more = map.push(rows, &coefficients.numbers, coefficients.patch.as_ref());
        let input = self.net.inputs[node][0];
        more.cut(self.net.picture[input], rows);
        self.collect(input, more);
    }

    fn relu(&mut self, node: usize, mut coefficients: Coefficients<T>) {
        let (value, rows, sound) = (self.net.inputs[node][0], self.rows.len(), self.sound);
        let picture = self.net.picture[node + 1];
        let lines = self.of_spans(|job| Lines::new(job.bounds.ends(value), job.lower, sound));
        let upper: Vec<&[T]> = lines.iter().map(|lines| lines.upper.as_slice()).collect();
        let offset: Vec<&[T]> = lines.iter().map(|lines| lines.offset.as_slice()).collect();
        let reach = if sound { self.of_spans(|job| job.bounds.reach(value)) } else { Vec::new() };
        let reaches: Vec<&[T]> = reach.iter().map(Vec::as_slice).collect();
        let table = coefficients.patch.as_ref().map(|patch| patch.table(picture));
        let table = table.as_deref().map(|table| (table, picture[1] * picture[2]));
        let slopes = Slopes::new(self, node, &lines, table.is_some());
        let spread = Spread { spans: &self.spans, rows, table };
        let [mut a, mut s, mut t, mut h] = [0; 4].map(|_| Vec::new());
        let (mut sums, mut costs) = (vec![0.0; rows], vec![0.0; rows]);
        let (mut sum, mut cost) = (vec![T::ZERO; rows], vec![T::ZERO; rows]);
        for (i, numbers) in coefficients.numbers.chunks_mut(CHUNK * rows).enumerate() {
            let elements = i * CHUNK..i * CHUNK + numbers.len() / rows;
            slopes.fill(&spread, elements.clone(), &mut a);
            spread.fill(elements.clone(), &upper, &mut s);
            spread.fill(elements.clone(), &offset, &mut t);
            sum.fill(T::ZERO);
            relax(numbers, [&a, &s, &t], &mut sum);
            sums.iter_mut().zip(&sum).for_each(|(sums, sum)| *sums += sum.double());
            if sound {
                spread.fill(elements, &reaches, &mut h);
                cost.fill(T::ZERO);
                for (numbers, h) in numbers.chunks(rows).zip(h.chunks(rows)) {
                    cost.iter_mut().zip(numbers.iter().zip(h)).for_each(|(cost, (c, h))| *cost += c.magnitude() * *h);
                }
                costs.iter_mut().zip(&cost).for_each(|(costs, cost)| *costs += cost.double());
            }
        }
        let terms = coefficients.numbers.len() / rows;
        sums.iter().enumerate().for_each(|(row, sum)| self.constant(row, *sum));
        if sound {
            for (span, reach) in self.spans.clone().into_iter().zip(&reach) {
                let all = reach.iter().map(|reach| reach.double()).sum::<f64>();
                for row in span {
                    // The slopes of the upper lines, which are those of the rounded products; the sum, whose terms have one sign.
                    let products = above(above(costs[row], terms + 1) * 2.0 * UNIT, 1);
                    let sum = above(above(sums[row].abs(), terms + 1) * gamma(terms + 1, UNIT), 2);
                    let small = above(terms as f64 * 1e-322 * all, reach.len() + 1);
                    self.cost(row, above(products + sum + small, 2));
                }
            }
        }
        self.multipliers(node, &mut coefficients);
        self.collect(value, coefficients);
    }

    /// The multipliers of splits. A rounded difference is that of another multiplier that is not negative either.
    fn multipliers(&self, node: usize, coefficients: &mut Coefficients<T>) {
        let (rows, [_, _, width]) = (self.rows.len(), self.net.picture[node + 1]);
        let plane = self.net.picture[node + 1][1] * width;
        for (row, (job, of)) in self.rows.iter().enumerate() {
            let Some(beta) = self.jobs[*job].beta else { continue };
            for (split, multiplier) in beta.row(*of).filter(|(split, _)| split.node == node) {
                let neuron = split.neuron as usize;
                let at = match &coefficients.patch {
                    None => neuron,
                    Some(patch) => {
                        let place = [neuron % plane / width, neuron % width];
                        let place = [0, 1].map(|d| place[d] as isize - patch.at[row][d]);
                        // A multiplier outside the window is left out, as if it were 0.
                        if (0..2).any(|d| place[d] < 0 || place[d] >= patch.size[d] as isize) {
                            continue;
                        }
                        (neuron / plane * patch.size[0] + place[0] as usize) * patch.size[1] + place[1] as usize
                    }
                };
                let multiplier = multiplier.largest(T::ZERO);
                coefficients.numbers[at * rows + row] += if split.active { -multiplier } else { multiplier };
            }
        }
    }

    fn add(&mut self, node: usize, coefficients: Coefficients<T>) {
        if self.sound {
            self.charge(node, &coefficients);
        }
        let inputs = &self.net.inputs[node];
        for input in &inputs[1..] {
            self.collect(*input, coefficients.clone());
        }
        self.collect(inputs[0], coefficients);
    }

    fn max_pool(&mut self, node: usize, windows: &[Vec<usize>], coefficients: &[T]) {
        let (value, rows) = (self.net.inputs[node][0], self.rows.len());
        let outputs = self.net.len[node + 1];
        let mut more = vec![T::ZERO; rows * self.net.len[value]];
        let most = windows.iter().map(Vec::len).max().unwrap_or(0);
        for span in self.spans.clone() {
            let picks = Picks::new(windows, self.bounds(span.start).ends(value));
            for row in span {
                let (mut sum, mut magnitudes, mut reach) = (0.0, 0.0, 0.0);
                for i in 0..outputs {
                    let coefficient = coefficients[i * rows + row];
                    if coefficient < T::ZERO && !picks.only[i] {
                        sum += coefficient.double() * picks.upper[i];
                        magnitudes += (coefficient.double() * picks.upper[i]).abs();
                    } else {
                        more[picks.best[i] * rows + row] += coefficient;
                        reach += coefficient.magnitude().double() * picks.reach[i];
                    }
                }
                self.constant(row, sum);
                if self.sound {
                    // A number may be read by as many windows as a window has places.
                    let sum = above(above(magnitudes, outputs + 1) * gamma(outputs + 1, UNIT), 2);
                    self.cost(row, sum + above(above(reach, outputs + 1) * gamma(most + 1, UNIT), 2));
                }
            }
        }
        self.collect(value, Coefficients { numbers: more, patch: None });
    }

    fn gather(&mut self, node: usize, from: &[Option<u32>], fill: &[T], most: usize, coefficients: &[T]) {
        let (value, rows) = (self.net.inputs[node][0], self.rows.len());
        let outputs = self.net.len[node + 1];
        let mut more = vec![T::ZERO; rows * self.net.len[value]];
        let [mut sums, mut magnitudes, mut reaches] = [0; 3].map(|_| vec![0.0; rows]);
        for (i, coefficients) in coefficients.chunks(rows).enumerate() {
            if let Some(at) = from[i] {
                add(&mut more[at as usize * rows..][..rows], coefficients);
                for row in 0..if self.sound { rows } else { 0 } {
                    let reach = self.bounds(row).ends(node + 1).reach(i);
                    reaches[row] += coefficients[row].magnitude().double() * reach;
                }
            } else if let Some(fill) = fill.get(i) {
                for (row, coefficient) in coefficients.iter().enumerate() {
                    let term = coefficient.double() * fill.double();
                    sums[row] += term;
                    magnitudes[row] += term.abs();
                }
            }
        }
        for row in 0..rows {
            self.constant(row, sums[row]);
            if self.sound {
                let claim = self.bounds(row).claim;
                let deployed = if claim == Arithmetic::Float32 { f64::from(f32::EPSILON) } else { 0.0 };
                let sum = above(above(magnitudes[row], outputs + 1) * (gamma(outputs + 1, UNIT) + deployed), 2);
                self.cost(row, sum + above(above(reaches[row], outputs + 1) * gamma(most, UNIT), 2));
            }
        }
        self.collect(value, Coefficients { numbers: more, patch: None });
    }

    /// The least values of the rows' linear forms over the inputs.
    fn concretise(&self, line: &Coefficients<T>) -> Vec<f64> {
        let rows = self.rows.len();
        let [mut sums, mut magnitudes, mut squares] = [0; 3].map(|_| vec![0.0; rows]);
        let first =
            self.of_spans(|job| job.bounds.ball.as_ref().map_or(&job.bounds.ends(0).lower, |ball| &ball.0).as_slice());
        let second =
            self.of_spans(|job| job.bounds.ball.as_ref().map_or(&job.bounds.ends(0).upper, |ball| &ball.0).as_slice());
        let [mut l, mut u] = [Vec::new(), Vec::new()];
        self.each_chunk(0, line, |spread, elements, numbers| {
            spread.fill(elements.clone(), &first, &mut l);
            spread.fill(elements, &second, &mut u);
            for ((numbers, l), u) in numbers.chunks(rows).zip(l.chunks(rows)).zip(u.chunks(rows)) {
                for row in 0..rows {
                    let c = numbers[row];
                    let term = c.double() * if c >= T::ZERO { l[row] } else { u[row] }.double();
                    sums[row] += term;
                    magnitudes[row] += term.abs();
                    squares[row] += c.double() * c.double();
                }
            }
        });
        let terms = line.numbers.len() / rows + 2;
        let bound = |row: usize| {
            let (mut sum, mut magnitudes) = (sums[row], magnitudes[row]);
            if let Some(ball) = &self.bounds(row).ball {
                let norm =
                    if self.sound { above(above(squares[row], terms).sqrt(), 1) + 1e-150 } else { squares[row].sqrt() };
                sum -= ball.1 * norm;
                magnitudes += ball.1 * norm;
            }
            let mut bound = self.constants[row] + sum;
            if self.sound {
                bound =
                    (bound.next_down() - above(above(magnitudes, terms) * gamma(terms, UNIT), 2) - 1e-300).next_down();
            }
            // Never a bound from a NaN or an infinity.
            if bound.is_finite() { bound } else { f64::NEG_INFINITY }
        };
        (0..rows).map(bound).collect()
    }
}

/// The lower slopes of the rows of a tile at a ReLU.
struct Slopes<'a, T> {
    /// Those of the rules, one a span.
    rule: Vec<&'a [T]>,
    /// Those of every row, for all neurons; empty if they are worked out as they are needed.
    rows: Vec<Vec<T>>,
    /// Of every span: the neurons that have slopes of their own, and those of its rows.
    own: Vec<Option<Own<'a, T>>>,
}

/// Neurons, and the slopes of each row.
type Own<'a, T> = (Vec<usize>, Vec<&'a [T]>);

impl<'a, T: Real> Slopes<'a, T> {
    fn new(tile: &'a Tile<'_, '_, T>, node: usize, lines: &'a [Lines<T>], windows: bool) -> Self {
        let rule = lines.iter().map(|lines| lines.lower.as_slice()).collect();
        let any = tile.spans.iter().any(|span| tile.jobs[tile.rows[span.start].0].alpha.is_some());
        if windows && any {
            let row = |(span, lines): (&Range<usize>, &'a Lines<T>)| -> Vec<Vec<T>> {
                let rows = tile.rows[span.clone()].iter();
                rows.map(|(job, row)| lines.slopes(&tile.jobs[*job], node, *row)).collect()
            };
            return Self { rule, rows: tile.spans.iter().zip(lines).flat_map(row).collect(), own: Vec::new() };
        }
        let own = |span: &Range<usize>| {
            let job = &tile.jobs[tile.rows[span.start].0];
            let (layer, at) = job.alpha?.layer(node)?;
            let row = |(_, row): &(usize, usize)| Some(&job.alpha?.row(*row)[at..at + layer.neurons.len()]);
            let rows = tile.rows[span.clone()].iter().map(row).collect::<Option<_>>()?;
            let ends = job.bounds.ends(layer.value);
            let own = layer.neurons.iter().map(|neuron| *neuron as usize);
            // Neurons of one sign keep the slope of the rule: marked by a place that is none.
            let own = own.map(|i| if ends.is_unstable(i) { i } else { i | STABLE });
            Some((own.collect(), rows))
        };
        Self { rule, rows: Vec::new(), own: if any { tile.spans.iter().map(own).collect() } else { Vec::new() } }
    }

    fn fill(&self, spread: &Spread<'_>, elements: Range<usize>, to: &mut Vec<T>) {
        if !self.rows.is_empty() {
            let each: Vec<Range<usize>> = (0..spread.rows).map(|row| row..row + 1).collect();
            let arrays: Vec<&[T]> = self.rows.iter().map(Vec::as_slice).collect();
            return Spread { spans: &each, ..*spread }.fill(elements, &arrays, to);
        }
        spread.fill(elements.clone(), &self.rule, to);
        for (span, own) in spread.spans.iter().zip(&self.own) {
            let Some((neurons, rows)) = own else { continue };
            let first = neurons.partition_point(|i| i & !STABLE < elements.start);
            for (i, neuron) in neurons.iter().enumerate().skip(first).take_while(|(_, i)| **i & !STABLE < elements.end)
            {
                if neuron & STABLE == 0 {
                    let to = &mut to[(neuron - elements.start) * spread.rows..][span.clone()];
                    to.iter_mut().zip(rows).for_each(|(to, row)| *to = row[i].largest(T::ZERO).least(T::ONE));
                }
            }
        }
    }
}

/// Marks a neuron.
const STABLE: usize = 1 << (usize::BITS - 1);

/// A ReLU's step for `[elements, rows]`: coefficients that are not negative meet the lower line, others the upper, whose offsets go into
/// the sums, one a row.
fn relax<T: Real>(numbers: &mut [T], [a, s, t]: [&[T]; 3], sums: &mut [T]) {
    let rows = sums.len();
    dispatch(
        #[inline(always)]
        |_| {
            let lines = a.chunks_exact(rows).zip(s.chunks_exact(rows)).zip(t.chunks_exact(rows));
            for (numbers, ((a, s), t)) in numbers.chunks_exact_mut(rows).zip(lines) {
                for row in 0..rows {
                    // Not `c >= 0`: a NaN goes on.
                    let c = numbers[row];
                    let negative = c < T::ZERO;
                    sums[row] += if negative { c * t[row] } else { T::ZERO };
                    numbers[row] = c * if negative { s[row] } else { a[row] };
                }
            }
        },
    );
}
