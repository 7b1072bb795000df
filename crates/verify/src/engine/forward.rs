//! Gradients of a linear bound by one pass of a point (no automatic differentiation).
//!
//! The point is the one where the row's linear form is least. It goes forward through the lines that the row chose: through the lower
//! line of a ReLU where the coefficient at its output is not negative, else the upper. While signs stay, the bound is linear in every
//! coefficient, so that what arrives at a line is the bound's derivative by what the line is made of.

use std::ops::Range;

use rayon::prelude::*;

use super::backward::{Job, Keep, Lines, Picks, Pushed, Trail, all_rows, push, rows_first, spans, tiles};
use super::curve;
use super::patches::{Coefficients, Patch, Picture};
use super::prepared::{Kind, Prepared, Step};
use super::real::Real;
use crate::cascade::Arithmetic;

/// Derivatives of a job's bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients<T> {
    /// `[rows, inputs]`: where each row's linear form is least; a candidate for a counterexample.
    pub point: Vec<T>,
    /// `[rows, numbers of the target]`: by the rows' coefficients.
    pub output: Vec<T>,
    /// By the slopes, laid out as they are.
    pub alpha: Vec<T>,
    /// By the multipliers of splits, laid out as they are.
    pub beta: Vec<T>,
    /// Of every node that is a ReLU, by the lower and the upper bounds of what it reads, summed over the rows with their weights.
    pub ends: Vec<[Vec<f64>; 2]>,
}

/// The bounds of all jobs, as [`backward`](super::backward::backward) gives them, with their gradients. `weights`, one a row of every
/// job, asks for the gradients by the bounds.
///
/// # Panics
/// As [`backward`](super::backward::backward).
pub fn gradients<T: Real>(
    net: &Prepared<T>,
    jobs: &[Job<'_, T>],
    weights: Option<&[Vec<f64>]>,
) -> Vec<(Pushed<T>, Gradients<T>)> {
    let rows = all_rows(net, jobs);
    let keep = Keep { line: true, lambda: true };
    let both = |rows: &[(usize, usize)]| {
        let trail = push(net, jobs, rows, keep);
        let pulled = pull(net, jobs, rows, &trail, weights);
        (trail.rows_first(net, keep), pulled)
    };
    let made: Vec<_> = tiles(net, jobs, &rows).into_par_iter().map(both).collect();
    let mut all: Vec<_> = jobs.iter().map(|_| (Pushed::none(net), Gradients::none(net, weights.is_some()))).collect();
    let mut at = 0;
    for (pushed, pulled) in made {
        let tile = &rows[at..at + pushed.bound.len()];
        at += tile.len();
        let [point, output] = [&pulled.point, &pulled.output].map(|numbers| rows_first(numbers, tile.len()));
        for (span, ends) in spans(tile).zip(&pulled.ends) {
            let (to, gradients) = &mut all[tile[span.start].0];
            to.append(&pushed, span.clone());
            let part = |numbers: &[T]| {
                let row = numbers.len() / tile.len();
                numbers[span.start * row..span.end * row].to_vec()
            };
            gradients.point.extend(part(&point));
            gradients.output.extend(part(&output));
            pulled.alpha[span.clone()].iter().for_each(|row| gradients.alpha.extend(row));
            pulled.beta[span].iter().for_each(|row| gradients.beta.extend(row));
            for (to, from) in gradients.ends.iter_mut().flatten().zip(ends.iter().flatten()) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            }
        }
    }
    all
}

impl<T: Real> Gradients<T> {
    fn none(net: &Prepared<T>, ends: bool) -> Self {
        let zeros = |node: usize| {
            let wanted = ends && matches!(net.steps[node], Step::Relu);
            [0; 2].map(|_| vec![0.0; if wanted { net.len[node + 1] } else { 0 }])
        };
        let ends = (0..net.steps.len()).map(zeros).collect();
        Self { point: Vec::new(), output: Vec::new(), alpha: Vec::new(), beta: Vec::new(), ends }
    }
}

/// What a tile's pass forward gives.
pub(crate) struct Pulled<T> {
    /// `[inputs, rows]`.
    pub point: Vec<T>,
    /// `[numbers of the target, rows]`; 0 outside the windows of rows.
    pub output: Vec<T>,
    /// Of every row.
    pub alpha: Vec<Vec<T>>,
    /// Of every row.
    pub beta: Vec<Vec<T>>,
    /// Of every span of rows of one job, of every node.
    pub ends: Vec<Vec<[Vec<f64>; 2]>>,
}

impl<T> Pulled<T> {
    /// Points alone.
    pub fn at(point: Vec<T>) -> Self {
        Self { point, output: Vec::new(), alpha: Vec::new(), beta: Vec::new(), ends: Vec::new() }
    }
}

/// The pass forward of rows that were pushed, with their coefficients kept.
pub(crate) fn pull<T: Real>(
    net: &Prepared<T>,
    jobs: &[Job<'_, T>],
    tile: &[(usize, usize)],
    trail: &Trail<T>,
    weights: Option<&[Vec<f64>]>,
) -> Pulled<T> {
    let (rows, target) = (tile.len(), jobs[tile[0].0].target);
    let spans: Vec<_> = spans(tile).collect();
    let mut pulled = Pulled {
        point: points(net, jobs, tile, &trail.line),
        output: Vec::new(),
        alpha: tile.iter().map(|(job, _)| vec![T::ZERO; jobs[*job].alpha.map_or(0, |alpha| alpha.width())]).collect(),
        beta: tile.iter().map(|(job, _)| vec![T::ZERO; jobs[*job].beta.map_or(0, |beta| beta.splits.len())]).collect(),
        ends: spans.iter().map(|_| net.steps.iter().map(|_| [Vec::new(), Vec::new()]).collect()).collect(),
    };
    let whole = |numbers: Vec<T>| Coefficients { numbers, patch: None };
    let mut values: Vec<Option<Coefficients<T>>> = vec![None; target + 1];
    values[0] =
        Some(whole(pulled.point.clone()).to(net.picture[0], rows, trail.reached[0].as_ref().and_then(Option::as_ref)));
    for node in 0..target {
        let Some(patch) = &trail.reached[node + 1] else { continue };
        let (picture, to) = (net.picture[node + 1], net.len[node + 1]);
        // What the node reads of an input, in windows of its own.
        let read = |i: usize, picture: Picture, patch: Option<&Patch>| {
            let value = values[net.inputs[node][i]].as_ref().expect("a value with coefficients");
            value.to(picture, rows, patch).numbers
        };
        let first = net.inputs[node][0];
        let numbers = match &net.steps[node] {
            Step::Affine(map) => {
                let before = |patch: &Patch| match &map.kind {
                    Kind::Conv { window, .. } => patch.before(window).0,
                    Kind::Scale | Kind::Dense => patch.clone(),
                };
                let before = patch.as_ref().map(before);
                let x = read(0, net.picture[first], before.as_ref());
                map.pull(rows, &x, patch.as_ref())
            }
            Step::Relu => {
                let x = read(0, picture, patch.as_ref());
                let relu =
                    Relu { jobs, tile, spans: &spans, node, value: first, picture, patch: patch.as_ref(), weights };
                relu.pull(x, trail.lambda[node].as_ref(), &mut pulled)
            }
            Step::Curve(curve) => {
                let mut x = read(0, picture, None);
                let lambda = trail.lambda[node].as_ref().map_or(&[][..], |lambda| &lambda.numbers);
                for span in &spans {
                    let job = &jobs[tile[span.start].0];
                    let sound = job.bounds.claim != Arithmetic::Real;
                    let lines = curve::Lines::new(*curve, job.bounds.ends(first), sound);
                    for (i, row) in (0..to).flat_map(|i| span.clone().map(move |row| (i, row))) {
                        let [slope, offset] = lines.meets(i, lambda[i * rows + row]);
                        x[i * rows + row] = slope * x[i * rows + row] + offset;
                    }
                }
                x
            }
            Step::Add => {
                let mut sum = read(0, picture, patch.as_ref());
                for i in 1..net.inputs[node].len() {
                    let more = read(i, picture, patch.as_ref());
                    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                }
                sum
            }
            Step::MaxPool(windows) => {
                let x = read(0, net.picture[first], None);
                let lambda = trail.lambda[node].as_ref().map_or(&[][..], |lambda| &lambda.numbers);
                let mut y = vec![T::ZERO; to * rows];
                for span in &spans {
                    let picks = Picks::new(windows, jobs[tile[span.start].0].bounds.ends(first));
                    for (i, row) in (0..to).flat_map(|i| span.clone().map(move |row| (i, row))) {
                        let constant = lambda[i * rows + row] < T::ZERO && !picks.only[i];
                        let best = x[picks.best[i] * rows + row];
                        y[i * rows + row] = if constant { T::nearest(picks.upper[i]) } else { best };
                    }
                }
                y
            }
            Step::Gather { from, fill, .. } => {
                let x = read(0, net.picture[first], None);
                let mut y = vec![T::ZERO; to * rows];
                for (i, (y, at)) in y.chunks_mut(rows).zip(from).enumerate() {
                    match at {
                        Some(at) => y.copy_from_slice(&x[*at as usize * rows..][..rows]),
                        None => y.fill(fill.get(i).copied().unwrap_or(T::ZERO)),
                    }
                }
                y
            }
        };
        let mut value = Coefficients { numbers, patch: patch.clone() };
        value.cut(picture, rows);
        values[node + 1] = Some(value);
    }
    let output = values[target].take().expect("the target");
    pulled.output = output.to(net.picture[target], rows, None).numbers;
    pulled
}

/// Where the linear form of each row is least, `[inputs, rows]`.
pub(crate) fn points<T: Real>(
    net: &Prepared<T>,
    jobs: &[Job<'_, T>],
    tile: &[(usize, usize)],
    line: &Coefficients<T>,
) -> Vec<T> {
    let (n, rows) = (net.len[0], tile.len());
    let mut points = line.to(net.picture[0], rows, None).numbers;
    for (row, (job, _)) in tile.iter().enumerate() {
        let bounds = jobs[*job].bounds;
        if let Some(ball) = &bounds.ball {
            let norm = (0..n).map(|i| points[i * rows + row].double().powi(2)).sum::<f64>().sqrt();
            let step = T::nearest(if norm > 0.0 { ball.1 / norm } else { 0.0 });
            for (i, centre) in ball.0.iter().enumerate() {
                let line = points[i * rows + row];
                points[i * rows + row] = *centre - line * step;
            }
        } else {
            let ends = bounds.ends(0);
            for i in 0..n {
                let at = &mut points[i * rows + row];
                *at = if *at >= T::ZERO { ends.lower[i] } else { ends.upper[i] };
            }
        }
    }
    points
}

/// A ReLU on the way forward.
struct Relu<'a, 'b, T> {
    jobs: &'a [Job<'b, T>],
    tile: &'a [(usize, usize)],
    spans: &'a [Range<usize>],
    node: usize,
    value: usize,
    picture: Picture,
    patch: Option<&'a Patch>,
    weights: Option<&'a [Vec<f64>]>,
}

impl<T: Real> Relu<'_, '_, T> {
    /// What leaves the lines, and derivatives by what these are made of.
    fn pull(&self, mut x: Vec<T>, lambda: Option<&Coefficients<T>>, pulled: &mut Pulled<T>) -> Vec<T> {
        let (rows, node) = (self.tile.len(), self.node);
        let lambda = &lambda.expect("coefficients that were kept").numbers;
        let table = self.patch.map(|patch| patch.table(self.picture));
        let plane = self.picture[1] * self.picture[2];
        // The neuron of an element of a row; there is none outside the picture.
        let neuron = |i: usize, row: usize| match &table {
            None => Some(i),
            Some(table) => {
                let places = table.len() / rows;
                let at = table[i % places * rows + row];
                (at >= 0).then(|| i / places * plane + at as usize)
            }
        };
        let elements = x.len() / rows;
        for (place, span) in self.spans.iter().enumerate() {
            let number = self.tile[span.start].0;
            let job = &self.jobs[number];
            let ends = job.bounds.ends(self.value);
            let lines = Lines::new(ends, job.lower, job.bounds.claim != Arithmetic::Real);
            let layer = job.alpha.and_then(|alpha| Some((alpha.layer(node)?, alpha.width())));
            // Of every neuron, the place of its slope.
            let mut slope = vec![u32::MAX; if layer.is_some() { ends.lower.len() } else { 0 }];
            if let Some(((layer, at), _)) = layer {
                let unstable =
                    layer.neurons.iter().enumerate().filter(|(_, neuron)| ends.is_unstable(**neuron as usize));
                unstable.for_each(|(i, neuron)| slope[*neuron as usize] = (at + i) as u32);
            }
            if self.weights.is_some() {
                pulled.ends[place][node] = [0; 2].map(|_| vec![0.0; ends.lower.len()]);
            }
            for row in span.clone() {
                if let Some(beta) = job.beta {
                    self.by_beta(&x, row, beta, &mut pulled.beta[row]);
                }
            }
            let weights: Vec<f64> =
                span.clone().map(|row| self.weights.map_or(0.0, |weights| weights[number][self.tile[row].1])).collect();
            let slopes: Vec<&[T]> =
                span.clone().map(|row| job.alpha.map_or(&[][..], |alpha| alpha.row(self.tile[row].1))).collect();
            let plain = self.weights.is_none() && table.is_none();
            for i in 0..elements {
                // Most neurons have no slope of their own, and no gradient is asked for by their ends.
                if plain && slope.get(i).is_none_or(|at| *at == u32::MAX) {
                    let [a, s, t] = [lines.lower[i], lines.upper[i], lines.offset[i]];
                    let part = i * rows + span.start..i * rows + span.end;
                    for (z, c) in x[part.clone()].iter_mut().zip(&lambda[part]) {
                        *z = if *c < T::ZERO { s * *z + t } else { a * *z };
                    }
                    continue;
                }
                for row in span.clone() {
                    let Some(neuron) = neuron(i, row) else { continue };
                    let (at, c) = (i * rows + row, lambda[i * rows + row]);
                    let z = x[at];
                    if c < T::ZERO {
                        x[at] = lines.upper[neuron] * z + lines.offset[neuron];
                        if self.weights.is_some() && ends.is_unstable(neuron) {
                            let [c, z, l, u] = [c, z, ends.lower[neuron], ends.upper[neuron]].map(T::double);
                            let by = weights[row - span.start] * c / ((u - l) * (u - l));
                            pulled.ends[place][node][0][neuron] += by * u * (z - u);
                            pulled.ends[place][node][1][neuron] += by * l * (l - z);
                        }
                        continue;
                    }
                    let mut a = lines.lower[neuron];
                    if let Some(at) = slope.get(neuron).filter(|at| **at != u32::MAX) {
                        a = slopes[row - span.start][*at as usize].largest(T::ZERO).least(T::ONE);
                        if c > T::ZERO {
                            pulled.alpha[row][*at as usize] = c * z;
                        }
                    }
                    x[at] = a * z;
                }
            }
        }
        x
    }

    fn by_beta(&self, x: &[T], row: usize, beta: &super::Beta<T>, to: &mut [T]) {
        let (rows, width, plane) = (self.tile.len(), self.picture[2], self.picture[1] * self.picture[2]);
        for (to, split) in to.iter_mut().zip(beta.splits.iter()).filter(|(_, split)| split.node == self.node) {
            let neuron = split.neuron as usize;
            let at = match self.patch {
                None => neuron,
                Some(patch) => {
                    let place = [neuron % plane / width, neuron % width];
                    let place = [0, 1].map(|d| place[d] as isize - patch.at[row][d]);
                    if (0..2).any(|d| place[d] < 0 || place[d] >= patch.size[d] as isize) {
                        continue;
                    }
                    (neuron / plane * patch.size[0] + place[0] as usize) * patch.size[1] + place[1] as usize
                }
            };
            let z = x[at * rows + row];
            *to = if split.active { -z } else { z };
        }
    }
}
