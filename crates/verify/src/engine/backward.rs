//! Linear bounds, pushed backwards from rows of coefficients at one value to the input (CROWN).
//!
//! What is carried is a row of coefficients per value and a constant, with *row at the target >= sum of rows at values + constant* for
//! every input of the set. The rows of many jobs, each with bounds, slopes and splits of its own, are stacked into one product a layer.

use std::ops::Range;

use rayon::prelude::*;
use temper_graph::Curve;
use temper_kernels::arch::dispatch;
use temper_kernels::sums::LANES;

use super::curve;
use super::interval::{Bounds, constant_error};
pub use super::lines::Lower;
use super::lines::{Picks, Tile};
use super::optimise::{Alpha, Beta};
use super::patches::{Coefficients, Patch, Picture, add};
use super::prepared::{Map, Prepared, Step};
use super::real::{Real, UNIT, above, gamma};
use super::relu::{Relaxed, Relaxing, products};
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

impl<T> Job<'_, T> {
    /// Whether it has splits at a ReLU.
    fn has_splits(&self, relu: usize) -> bool {
        self.beta.is_some_and(|beta| beta.splits.iter().any(|split| split.node == relu))
    }
}

/// What is returned besides the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// The linear form over the input.
    pub line: bool,
    /// The coefficients at the outputs of max pools, and of ReLUs' neurons of both signs.
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
    /// Of every ReLU, curve and max pool, `[rows, neurons]`; 0 where a ReLU's neuron has one sign. Empty of other nodes and unless kept.
    pub lambda: Vec<Vec<T>>,
}

/// Pushes the rows of all jobs, which have one target in common, back to the input.
///
/// # Panics
/// If the targets or the claims differ, or bounds, rows, slopes and the network do not fit together.
pub fn backward<T: Real>(net: &Prepared<T>, jobs: &[Job<'_, T>], keep: Keep) -> Vec<Pushed<T>> {
    let tiles = tiles(net, jobs, all_rows(net, jobs));
    let made: Vec<Trail<T>> = tiles.par_iter().map(|rows| push(&Tile::new(net, jobs, rows), keep)).collect();
    let mut pushed: Vec<Pushed<T>> = jobs.iter().map(|job| Pushed::none(net, job, keep)).collect();
    for (rows, trail) in tiles.iter().zip(made) {
        for (i, (job, _)) in rows.iter().enumerate() {
            trail.hand_over(net, i, rows, jobs[*job].bounds, &mut pushed[*job]);
        }
    }
    pushed
}

/// Every job's rows.
pub(crate) fn all_rows<T: Real>(net: &Prepared<T>, jobs: &[Job<'_, T>]) -> Vec<(usize, usize)> {
    let counts = jobs.iter().map(|job| job.rows.count(net.len[job.target])).enumerate();
    counts.flat_map(|(job, rows)| (0..rows).map(move |row| (job, row))).collect()
}

/// Rows of a tile at most: three vectors of 16.
const MOST: usize = 48;
/// Rows that are a tile of their own, rather than share one with those of another box, of which other neurons are dead.
const FEW: usize = 8;

/// Rows that are pushed together: of one box if they are not few, of neurons that are neighbours. How many does not depend on the threads.
pub(crate) fn tiles<T: Real>(
    net: &Prepared<T>,
    jobs: &[Job<'_, T>],
    mut rows: Vec<(usize, usize)>,
) -> Vec<Vec<(usize, usize)>> {
    let Some(first) = rows.first().map(|(job, _)| &jobs[*job]) else { return Vec::new() };
    let alike = |job: &Job<'_, T>| job.target == first.target && job.bounds.claim == first.bounds.claim;
    assert!(rows.iter().all(|(job, _)| alike(&jobs[*job])), "jobs with one target and one claim");
    let most = rows.len().div_ceil(8).next_multiple_of(16).min(MOST);
    neighbours(net.picture[first.target], jobs, &mut rows);
    let mut tiles: Vec<Vec<(usize, usize)>> = Vec::new();
    for row in rows {
        let joins = |tile: &&mut Vec<(usize, usize)>| {
            let related = || jobs[tile[0].0].bounds.related(jobs[row.0].bounds);
            tile.len() < most && (tile.len() < FEW || tile[0].0 == row.0 || related())
        };
        match tiles.last_mut().filter(joins) {
            Some(tile) => tile.push(row),
            None => tiles.push(vec![row]),
        }
    }
    tiles
}

/// Sorts the rows of every job that bounds single neurons of a picture: in bands as high as a tile is wide, to and fro.
fn neighbours<T>(picture: Picture, jobs: &[Job<'_, T>], rows: &mut [(usize, usize)]) {
    let [_, height, width] = picture;
    if height < 2 {
        return;
    }
    for rows in rows.chunk_by_mut(|a, b| a.0 == b.0) {
        let Rows::Units(units) = jobs[rows[0].0].rows else { continue };
        let area = MOST * height * width / rows.len();
        let band = (1..height).find(|band| band * band >= area).unwrap_or(height);
        rows.sort_by_cached_key(|(_, row)| {
            let (number, _) = units[*row];
            let [y, x] = [number as usize / width % height, number as usize % width];
            (y / band, if y / band % 2 == 0 { x } else { width - x }, y, number)
        });
    }
}

impl<T: Real> Pushed<T> {
    pub(crate) fn none(net: &Prepared<T>, job: &Job<'_, T>, keep: Keep) -> Self {
        let rows = job.rows.count(net.len[job.target]);
        let needed = net.needed(job.target);
        let kept = |node: usize| {
            let asked = keep.lambda && node < job.target && needed[node + 1];
            asked && matches!(net.steps[node], Step::Relu | Step::Curve(_) | Step::MaxPool(_))
        };
        let zeros = |kept: bool, numbers: usize| vec![T::ZERO; if kept { rows * numbers } else { 0 }];
        Self {
            bound: vec![0.0; rows],
            line: zeros(keep.line, net.len[0]),
            constant: vec![0.0; rows],
            lambda: (0..net.steps.len()).map(|node| zeros(kept(node), net.len[node + 1])).collect(),
        }
    }
}

/// Coefficients of some neurons alone.
#[derive(Debug, Clone)]
pub(crate) struct Kept<T> {
    /// Neurons, in the order of coefficients.
    pub neurons: Vec<u32>,
    /// `[neurons, rows]`.
    pub numbers: Vec<T>,
}

/// What the rows of a tile left on their way, rows last.
pub(crate) struct Trail<T: Real> {
    pub bound: Vec<f64>,
    pub constant: Vec<f64>,
    /// The linear form over the inputs, if kept.
    pub line: Coefficients<T>,
    /// At the outputs of max pools, and of ReLUs' neurons that are not of one sign in all rows, if kept.
    pub lambda: Vec<Option<Kept<T>>>,
    /// The values that have coefficients, and the part that they are in.
    pub reached: Vec<Option<Patch>>,
}

impl<T: Real> Trail<T> {
    /// Hands row `i` of a tile over to the results of its job.
    pub fn hand_over(
        &self,
        net: &Prepared<T>,
        i: usize,
        tile: &[(usize, usize)],
        bounds: &Bounds<T>,
        job: &mut Pushed<T>,
    ) {
        let (to, rows) = (tile[i].1, tile.len().next_multiple_of(LANES));
        job.bound[to] = self.bound[i];
        job.constant[to] = self.constant[i];
        if !job.line.is_empty() {
            let line = &mut job.line[to * net.len[0]..][..net.len[0]];
            for (neuron, numbers) in self.line.neurons(net.picture[0]).into_iter().zip(self.line.numbers.chunks(rows)) {
                line[neuron] = numbers[i];
            }
        }
        for (node, (lambda, kept)) in job.lambda.iter_mut().zip(&self.lambda).enumerate() {
            let Some(kept) = kept.as_ref().filter(|_| !lambda.is_empty()) else { continue };
            let (n, ends) = (net.len[node + 1], bounds.ends(net.reads(node)));
            let relu = matches!(net.steps[node], Step::Relu);
            for (neuron, numbers) in kept.neurons.iter().zip(kept.numbers.chunks(rows)) {
                // Those of one sign in this row were kept for others.
                if !relu || ends.is_unstable(*neuron as usize) {
                    lambda[to * n + *neuron as usize] = numbers[i];
                }
            }
        }
    }
}

/// `[rows, numbers]` of `[numbers, width]`, of which the first `rows` count.
pub(crate) fn rows_first<T: Real>(numbers: &[T], width: usize, rows: usize) -> Vec<T> {
    let n = numbers.len() / width;
    let mut to = vec![T::ZERO; n * rows];
    // Some numbers at a time, which a cache line holds.
    for (i, block) in numbers.chunks(16 * width).enumerate() {
        for row in 0..rows {
            let from = block[row..].iter().step_by(width);
            to[row * n + i * 16..].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }
    to
}

/// The rows of a tile on their way.
struct Pass<'t, 'a, 'b, T: Real> {
    tile: &'t Tile<'a, 'b, T>,
    /// The constants of the rows; in a sound claim every sum is rounded downwards.
    constants: Vec<f64>,
    /// Coefficients at values.
    at: Vec<Option<Coefficients<T>>>,
    /// Where there were some.
    reached: Vec<Option<Patch>>,
    /// Those at the outputs of nodes, if kept.
    keep: bool,
    lambda: Vec<Option<Kept<T>>>,
    /// The products of a value's coefficients with the bias of the map before, where a ReLU's step has found them.
    biases: Vec<Option<Vec<f64>>>,
}

/// Pushes the rows of a tile back to the input.
pub(crate) fn push<T: Real>(tile: &Tile<'_, '_, T>, keep: Keep) -> Trail<T> {
    let Tile { net, jobs, rows, target, .. } = *tile;
    let constant = |(job, row): &(usize, usize)| jobs[*job].constants.get(*row).copied().unwrap_or(0.0);
    let constants = rows.iter().map(constant).collect();
    let (at, lambda) = (vec![None; target + 1], vec![None; net.steps.len()]);
    let mut pass = Pass {
        tile,
        constants,
        at,
        reached: vec![None; target + 1],
        keep: keep.lambda,
        lambda,
        biases: vec![None; target + 1],
    };
    pass.at[target] = Some(pass.begin());
    for node in (0..target).rev() {
        let Some(coefficients) = pass.at[node + 1].take() else { continue };
        pass.reached[node + 1] = Some(coefficients.patch);
        match &net.steps[node] {
            Step::Affine(map) => pass.affine(node, map, coefficients),
            Step::Relu => pass.relu(node, coefficients),
            Step::Curve(curve) => pass.curve(node, *curve, coefficients),
            Step::Add => pass.add(node, coefficients),
            Step::MaxPool(windows) => pass.max_pool(node, windows, coefficients),
            Step::Gather { from, fill, most } => pass.gather(node, from, fill, *most, coefficients),
        }
    }
    let line = pass.at[0].take().unwrap_or_else(|| Coefficients::zeros(Patch::whole(net.picture[0])));
    pass.reached[0] = Some(line.patch);
    let bound = pass.concretise(&line);
    let line = if keep.line { line } else { Coefficients::zeros(line.patch) };
    Trail { bound, constant: pass.constants, line, lambda: pass.lambda, reached: pass.reached }
}

impl<'t, T: Real> Pass<'t, '_, '_, T> {
    fn bounds(&self, row: usize) -> &Bounds<T> {
        self.tile.jobs[self.tile.rows[row].0].bounds
    }

    /// Adds to the constant of a row.
    fn constant(&mut self, row: usize, number: f64) {
        let sum = self.constants[row] + number;
        self.constants[row] = if self.tile.sound { sum.next_down() } else { sum };
    }

    /// Takes from the constant of a row what rounding may cost.
    fn cost(&mut self, row: usize, cost: f64) {
        self.constant(row, -(cost + 1e-300).next_up());
    }

    /// The rows at the target.
    fn begin(&self) -> Coefficients<T> {
        let Tile { net, jobs, rows, target, .. } = *self.tile;
        let (n, picture) = (net.len[target], net.picture[target]);
        let unit = |(job, row): &(usize, usize)| match jobs[*job].rows {
            // Multipliers are of all neurons, also of those that the row does not see.
            Rows::Units(units) if jobs[*job].beta.is_none() => Some(units[*row]),
            _ => None,
        };
        let units = rows.iter().map(unit).collect::<Option<Vec<(u32, bool)>>>();
        let pixel = |(number, _): &(u32, bool)| {
            let at = *number as usize % (picture[1] * picture[2]);
            Patch { at: [at / picture[2], at % picture[2]], size: [1, 1] }
        };
        let part = units.and_then(|units| units.iter().map(pixel).reduce(Patch::around));
        let patch = part.unwrap_or(Patch::whole(picture));
        let mut counts = vec![false; n];
        for (job, row) in rows {
            match jobs[*job].rows {
                // A NaN goes on.
                Rows::Dense(dense) => {
                    counts.iter_mut().zip(&dense[row * n..][..n]).for_each(|(counts, c)| *counts |= *c != T::ZERO);
                }
                Rows::Units(units) => counts[units[*row].0 as usize] = true,
            }
        }
        let mut begin = Coefficients::new(picture, patch, self.tile.width, |neuron| counts[neuron]);
        begin.each(picture, self.tile.width, |neuron, numbers| {
            for (number, (job, row)) in numbers.iter_mut().zip(rows) {
                *number = match jobs[*job].rows {
                    Rows::Dense(dense) => dense[row * n + neuron],
                    Rows::Units(units) if units[*row].0 as usize != neuron => T::ZERO,
                    Rows::Units(units) => {
                        if units[*row].1 {
                            -T::ONE
                        } else {
                            T::ONE
                        }
                    }
                };
            }
        });
        begin
    }

    /// Adds coefficients to those that a value has.
    fn collect(&mut self, value: usize, more: Coefficients<T>) {
        let Some(sum) = self.at[value].take() else {
            self.at[value] = Some(more);
            return;
        };
        let sum = sum.plus(more, self.tile.width);
        if self.tile.sound {
            let reach = |span: &Range<usize>| {
                let ends = self.tile.job(span).bounds.ends(value);
                move |i: usize| ends.reach(i)
            };
            let costs = self.weighted(self.tile.net.picture[value], &sum, reach);
            for (row, reach) in costs.into_iter().enumerate() {
                self.cost(row, above(reach * 2.0 * UNIT, 1));
            }
        }
        self.at[value] = Some(sum);
    }

    /// Of every row, a number not below the sum of magnitudes of coefficients at a value times numbers of its job.
    fn weighted<F: Fn(usize) -> f64>(
        &self,
        picture: Picture,
        coefficients: &Coefficients<T>,
        numbers: impl Fn(&Range<usize>) -> F,
    ) -> Vec<f64> {
        let rows = self.tile.width;
        let each: Vec<(Range<usize>, F)> = self.tile.spans.iter().map(|span| (span.clone(), numbers(span))).collect();
        let mut sums = vec![0.0; rows];
        let neurons = coefficients.neurons(picture);
        dispatch(
            #[inline(always)]
            |_| {
                for (neuron, numbers) in neurons.into_iter().zip(coefficients.numbers.chunks_exact(rows)) {
                    for (span, each) in &each {
                        let (each, sums) = (each(neuron), sums[span.clone()].iter_mut());
                        sums.zip(&numbers[span.clone()]).for_each(|(sum, c)| *sum += c.magnitude().double() * each);
                    }
                }
            },
        );
        // Not those of the part, which depends on the other rows.
        let terms = picture.iter().product::<usize>();
        sums.into_iter().take(self.tile.rows.len()).map(|sum| above(sum, terms + 1)).collect()
    }

    /// Charges coefficients at a node's output for the node.
    fn charge(&mut self, node: usize, picture: Picture, coefficients: &Coefficients<T>) {
        let charge = |span: &Range<usize>| self.tile.job(span).bounds.charges[node].as_deref();
        if self.tile.spans.iter().any(|span| charge(span).is_none()) {
            return;
        }
        let each = |span: &Range<usize>| {
            let charge = charge(span).expect("a charge");
            move |i: usize| charge.each[i]
        };
        let costs = self.weighted(picture, coefficients, each);
        for span in &self.tile.spans {
            let small = self.tile.job(span).bounds.charges[node].as_ref().map_or(0.0, |charge| charge.small);
            span.clone().for_each(|row| self.cost(row, costs[row] + small));
        }
    }

    fn affine(&mut self, node: usize, map: &Map<T>, coefficients: Coefficients<T>) {
        let Tile { net, sound, .. } = *self.tile;
        let (n, input) = (self.tile.width, net.inputs[node][0]);
        let [from, to] = map.pictures();
        let mut y = coefficients.shaped(net.picture[node + 1], to, n);
        let biases = self.biases[node + 1].take().unwrap_or_else(|| products(map, &mut y, n));
        self.constants_of(&biases);
        if sound {
            self.charge(node, to, &y);
        }
        // What a ReLU puts out that is never positive has no coefficient.
        let relu = input.checked_sub(1).filter(|before| matches!(net.steps[*before], Step::Relu));
        let Some(relu) = relu else {
            let x = map.push(n, &y, |_| true, |_, _, _| ());
            return self.collect(input, x.shaped(from, net.picture[input], n));
        };
        let seen = self.tile.seen(net.reads(relu));
        if self.at[input].is_some() || net.inputs[input..node].iter().any(|inputs| inputs.contains(&input)) {
            let x = map.push(n, &y, |neuron| !seen.is_idle(neuron), |_, _, _| ());
            return self.collect(input, x.shaped(from, net.picture[input], n));
        }
        // Nobody else reads the ReLU: its step is made while coefficients are near.
        let mut step = Relaxing::new(self.tile, relu, self.keep, self.bias_below(relu));
        let x = map.push(
            n,
            &y,
            |neuron| !seen.is_idle(neuron),
            #[inline(always)]
            |pixel, channels, c| step.step(pixel, channels, c),
        );
        let x = x.shaped(from, net.picture[input], n);
        self.reached[input] = Some(x.patch);
        let relaxed = step.end();
        self.relaxed(relu, relaxed, x);
    }

    /// The map that a ReLU reads, if nobody else does and no multiplier changes what arrives there.
    fn bias_below(&self, relu: usize) -> Option<&'t Map<T>> {
        let Tile { net, jobs, rows, .. } = *self.tile;
        let value = net.reads(relu);
        let Step::Affine(map) = &net.steps[value.checked_sub(1)?] else { return None };
        let readers = net.inputs.iter().flatten().filter(|input| **input == value).count();
        let split = || self.tile.spans.iter().any(|span| jobs[rows[span.start].0].has_splits(relu));
        (readers == 1 && map.pictures()[1] == net.picture[relu + 1] && !split()).then_some(map)
    }

    /// Adds to the constants of all rows.
    fn constants_of(&mut self, sums: &[f64]) {
        (0..self.tile.rows.len()).for_each(|row| self.constant(row, sums[row]));
    }

    fn relu(&mut self, node: usize, coefficients: Coefficients<T>) {
        let (n, picture) = (self.tile.width, self.tile.net.picture[node + 1]);
        let step = Relaxing::new(self.tile, node, self.keep, None);
        let mut coefficients = coefficients.some_neurons(picture, n, |neuron| !step.seen.is_idle(neuron));
        let relaxed = step.all(&mut coefficients, picture);
        self.relaxed(node, relaxed, coefficients);
    }

    /// After the step of a ReLU.
    fn relaxed(&mut self, node: usize, relaxed: Relaxed<T>, coefficients: Coefficients<T>) {
        let Tile { net, rows, width, .. } = *self.tile;
        let (value, picture) = (net.reads(node), net.picture[node + 1]);
        self.constants_of(&relaxed.sums);
        self.biases[value] = relaxed.biases;
        relaxed.costs.iter().take(rows.len()).enumerate().for_each(|(row, cost)| self.cost(row, *cost));
        self.lambda[node] = relaxed.kept;
        let coefficients = self.multipliers(node, coefficients);
        self.collect(value, coefficients.shaped(picture, net.picture[value], width));
    }

    /// The multipliers of splits. A rounded difference is that of another multiplier that is not negative either.
    fn multipliers(&self, node: usize, mut coefficients: Coefficients<T>) -> Coefficients<T> {
        let Tile { net, jobs, rows, width, .. } = *self.tile;
        let picture = net.picture[node + 1];
        let mut missing = Vec::new();
        for (row, (job, of)) in rows.iter().enumerate() {
            let Some(beta) = jobs[*job].beta else { continue };
            for (split, multiplier) in beta.row(*of).filter(|(split, _)| split.node == node) {
                let multiplier = multiplier.largest(T::ZERO);
                let (neuron, by) = (split.neuron as usize, if split.active { -multiplier } else { multiplier });
                match coefficients.find(picture, neuron) {
                    Some(at) => coefficients.numbers[at * width + row] += by,
                    None => missing.push((neuron, row, by)),
                }
            }
        }
        if missing.is_empty() {
            return coefficients;
        }
        // Outside of the part nothing depends on the neuron: a multiplier there is left out, as if it were 0.
        let counts = |neuron| missing.iter().any(|(at, ..)| *at == neuron);
        let mut more = Coefficients::new(picture, coefficients.patch, width, counts);
        for (neuron, row, by) in &missing {
            if let Some(at) = more.find(picture, *neuron) {
                more.numbers[at * width + row] += *by;
            }
        }
        coefficients.plus(more, width)
    }

    fn curve(&mut self, node: usize, curve: Curve, coefficients: Coefficients<T>) {
        let Tile { net, sound, .. } = *self.tile;
        let (value, width, outputs) = (net.inputs[node][0], self.tile.width, net.len[node + 1]);
        let picture = net.picture[node + 1];
        if sound {
            self.charge(node, net.picture[node + 1], &coefficients);
        }
        let mut numbers = coefficients.all(picture, width);
        if self.keep {
            self.lambda[node] = Some(Kept { neurons: (0..outputs as u32).collect(), numbers: numbers.clone() });
        }
        let bounds = || self.tile.spans.iter().map(|span| self.tile.job(span).bounds);
        let lines: Vec<_> = bounds().map(|bounds| curve::Lines::new(curve, bounds.ends(value), sound)).collect();
        let reach: Vec<Vec<T>> = bounds().filter(|_| sound).map(|bounds| bounds.reach(value)).collect();
        let curve::Relaxed { sums, magnitudes, reaches } =
            curve::relax(&mut numbers, width, &self.tile.spans, &lines, &reach);
        for row in 0..self.tile.rows.len() {
            self.constant(row, sums[row]);
            if sound {
                let products = above(above(reaches[row], outputs + 1) * 2.0 * UNIT, 1);
                let sum = above(above(magnitudes[row], outputs + 1) * gamma(outputs + 1, UNIT), 2);
                // A product that is too small for a normal number, times what it meets.
                let all = reach.iter().flatten().fold(0.0f64, |most, reach| most.max(reach.double()));
                self.cost(row, above(products + sum + above(outputs as f64 * 1e-322 * all, 1), 2));
            }
        }
        self.collect(value, Coefficients::whole(picture, width, &numbers).shaped(picture, net.picture[value], width));
    }

    fn add(&mut self, node: usize, coefficients: Coefficients<T>) {
        let Tile { net, width, sound, .. } = *self.tile;
        if sound {
            self.charge(node, net.picture[node + 1], &coefficients);
        }
        let inputs = &net.inputs[node];
        let picture = net.picture[node + 1];
        for input in &inputs[1..] {
            self.collect(*input, coefficients.clone().shaped(picture, net.picture[*input], width));
        }
        self.collect(inputs[0], coefficients.shaped(picture, net.picture[inputs[0]], width));
    }

    fn max_pool(&mut self, node: usize, windows: &[Vec<usize>], coefficients: Coefficients<T>) {
        let net = self.tile.net;
        let (value, width, outputs) = (net.inputs[node][0], self.tile.width, net.len[node + 1]);
        let picture = net.picture[node + 1];
        let coefficients = coefficients.all(picture, width);
        let mut more = vec![T::ZERO; width * net.len[value]];
        let most = windows.iter().map(Vec::len).max().unwrap_or(0);
        for span in self.tile.spans.clone() {
            let picks = Picks::new(windows, self.bounds(span.start).ends(value));
            for row in span {
                let (mut sum, mut magnitudes, mut reach) = (0.0, 0.0, 0.0);
                for i in 0..outputs {
                    let coefficient = coefficients[i * width + row];
                    if coefficient < T::ZERO && !picks.only[i] {
                        sum += coefficient.double() * picks.upper[i];
                        magnitudes += (coefficient.double() * picks.upper[i]).abs();
                    } else {
                        more[picks.best[i] * width + row] += coefficient;
                        reach += coefficient.magnitude().double() * picks.reach[i];
                    }
                }
                self.constant(row, sum);
                if self.tile.sound {
                    // A number may be read by as many windows as a window has places.
                    let sum = above(above(magnitudes, outputs + 1) * gamma(outputs + 1, UNIT), 2);
                    self.cost(row, sum + above(above(reach, outputs + 1) * gamma(most + 1, UNIT), 2));
                }
            }
        }
        if self.keep {
            self.lambda[node] = Some(Kept { neurons: (0..outputs as u32).collect(), numbers: coefficients });
        }
        self.collect(value, Coefficients::whole(net.picture[value], width, &more));
    }

    fn gather(&mut self, node: usize, from: &[Option<u32>], fill: &[T], most: usize, coefficients: Coefficients<T>) {
        let Tile { net, sound, .. } = *self.tile;
        let (value, width, outputs) = (net.inputs[node][0], self.tile.width, net.len[node + 1]);
        let picture = net.picture[node + 1];
        let coefficients = coefficients.all(picture, width);
        let mut more = vec![T::ZERO; width * net.len[value]];
        let single = self.tile.jobs[self.tile.rows[0].0].bounds.claim == Arithmetic::Float32;
        let [mut sums, mut magnitudes, mut reaches, mut errors] = [0; 4].map(|_| vec![0.0; width]);
        for (i, coefficients) in coefficients.chunks(width).enumerate() {
            if let Some(at) = from[i] {
                add(&mut more[at as usize * width..][..width], coefficients);
                for row in 0..if sound { self.tile.rows.len() } else { 0 } {
                    let reach = self.bounds(row).ends(value).reach(at as usize);
                    reaches[row] += coefficients[row].magnitude().double() * reach;
                }
            } else if let Some(fill) = fill.get(i) {
                for (row, coefficient) in coefficients.iter().enumerate() {
                    let term = coefficient.double() * fill.double();
                    sums[row] += term;
                    magnitudes[row] += term.abs();
                    errors[row] += coefficient.magnitude().double() * constant_error(fill.double(), single);
                }
            }
        }
        for row in 0..self.tile.rows.len() {
            self.constant(row, sums[row]);
            if sound {
                let sum = above(above(magnitudes[row], outputs + 1) * gamma(outputs + 1, UNIT), 2);
                let sum = above(sum + above(errors[row], outputs + 2), 1);
                self.cost(row, sum + above(above(reaches[row], outputs + 1) * gamma(most, UNIT), 2));
            }
        }
        self.collect(value, Coefficients::whole(net.picture[value], width, &more));
    }

    /// The least values of the rows' linear forms over the inputs.
    fn concretise(&self, line: &Coefficients<T>) -> Vec<f64> {
        let Tile { net, sound, .. } = *self.tile;
        let rows = self.tile.width;
        let [mut sums, mut magnitudes, mut squares] = [0; 3].map(|_| vec![0.0; rows]);
        let ends = |span: &Range<usize>| {
            let bounds = self.tile.job(span).bounds;
            let ends = || (bounds.ends(0).lower.as_slice(), bounds.ends(0).upper.as_slice());
            bounds.ball.as_ref().map_or_else(ends, |ball| (ball.0.as_slice(), ball.0.as_slice()))
        };
        let ends: Vec<(&[T], &[T])> = self.tile.spans.iter().map(ends).collect();
        let balls = self.tile.spans.iter().any(|span| self.tile.job(span).bounds.ball.is_some());
        let (tile, neurons) = (self.tile, line.neurons(net.picture[0]));
        dispatch(
            #[inline(always)]
            |_| {
                for (neuron, numbers) in neurons.into_iter().zip(line.numbers.chunks_exact(rows)) {
                    for (span, (lower, upper)) in tile.spans.iter().zip(&ends) {
                        let (ends, part) = ([lower[neuron].double(), upper[neuron].double()], span.clone());
                        let numbers = &numbers[part.clone()];
                        let sums = sums[part.clone()].iter_mut().zip(numbers);
                        sums.for_each(|(sum, c)| *sum += least(*c, ends));
                        if sound {
                            let magnitudes = magnitudes[part.clone()].iter_mut().zip(numbers);
                            magnitudes.for_each(|(sum, c)| *sum += least(*c, ends).abs());
                        }
                        if balls {
                            squares[part].iter_mut().zip(numbers).for_each(|(sum, c)| *sum += c.double() * c.double());
                        }
                    }
                }
            },
        );
        let terms = net.len[0] + 2;
        let bound = |row: usize| {
            let (mut sum, mut magnitudes) = (sums[row], magnitudes[row]);
            if let Some(ball) = &self.bounds(row).ball {
                let norm =
                    if sound { above(above(squares[row], terms).sqrt(), 1) + 1e-150 } else { squares[row].sqrt() };
                sum -= ball.1 * norm;
                magnitudes += ball.1 * norm;
            }
            let mut bound = self.constants[row] + sum;
            if sound {
                bound =
                    (bound.next_down() - above(above(magnitudes, terms) * gamma(terms, UNIT), 2) - 1e-300).next_down();
            }
            // Never a bound from a NaN or an infinity.
            if bound.is_finite() { bound } else { f64::NEG_INFINITY }
        };
        (0..self.tile.rows.len()).map(bound).collect()
    }
}

/// The least value of a coefficient times an input between two ends.
#[inline(always)]
fn least<T: Real>(c: T, [l, u]: [f64; 2]) -> f64 {
    c.double() * if c >= T::ZERO { l } else { u }
}
