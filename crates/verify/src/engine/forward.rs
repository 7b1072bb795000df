//! Gradients of a linear bound by one pass of a point (no automatic differentiation).
//!
//! The point is the one where the row's linear form is least. It goes forward through the lines that the row chose: through the lower
//! line of a ReLU where the coefficient at its output is not negative, else the upper. While signs stay, the bound is linear in every
//! coefficient, so that what arrives at a line is the bound's derivative by what the line is made of.

use std::collections::HashSet;

use rayon::prelude::*;
use temper_kernels::arch::dispatch;
use temper_kernels::sums::LANES;

use super::backward::{Job, Keep, Kept, Pushed, Trail, all_rows, push, tiles};
use super::curve;
use super::lines::{BOTH, Picks, Row, Tile};
use super::patches::{Coefficients, Patch};
use super::prepared::{Prepared, Step};
use super::real::Real;

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
    let keep = Keep { line: true, lambda: true };
    let tiles = tiles(net, jobs, all_rows(net, jobs));
    let both = |rows: &Vec<(usize, usize)>| {
        let tile = Tile::new(net, jobs, rows);
        let trail = push(&tile, keep);
        let pulled = pull(&tile, &trail, weights);
        (trail, pulled)
    };
    let made: Vec<_> = tiles.par_iter().map(both).collect();
    let none = |job: &Job<'_, T>| (Pushed::none(net, job, keep), Gradients::none(net, job, weights.is_some()));
    let mut all: Vec<_> = jobs.iter().map(none).collect();
    for (rows, (trail, pulled)) in tiles.iter().zip(made) {
        for (i, (job, row)) in rows.iter().enumerate() {
            let (to, gradients) = &mut all[*job];
            trail.hand_over(net, i, rows, jobs[*job].bounds, to);
            let to = gradients;
            for (to, from) in [(&mut to.point, &pulled.point), (&mut to.output, &pulled.output)] {
                let width = rows.len().next_multiple_of(LANES);
                let n = from.len() / width;
                let from = from.iter().skip(i).step_by(width);
                to[row * n..][..n].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
            for (to, from) in [(&mut to.alpha, &pulled.alpha[i]), (&mut to.beta, &pulled.beta[i])] {
                to[row * from.len()..][..from.len()].copy_from_slice(from);
            }
        }
        let jobs = rows.chunk_by(|a, b| a.0 == b.0).map(|span| span[0].0);
        for (job, ends) in jobs.zip(&pulled.ends) {
            for (to, from) in all[job].1.ends.iter_mut().flatten().zip(ends.iter().flatten()) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            }
        }
    }
    all
}

impl<T: Real> Gradients<T> {
    fn none(net: &Prepared<T>, job: &Job<'_, T>, ends: bool) -> Self {
        let zeros = |node: usize| {
            let wanted = ends && matches!(net.steps[node], Step::Relu);
            [0; 2].map(|_| vec![0.0; if wanted { net.len[node + 1] } else { 0 }])
        };
        let of_rows = |numbers: usize| vec![T::ZERO; job.rows.count(net.len[job.target]) * numbers];
        Self {
            point: of_rows(net.len[0]),
            output: of_rows(net.len[job.target]),
            alpha: of_rows(job.alpha.map_or(0, |alpha| alpha.width())),
            beta: of_rows(job.beta.map_or(0, |beta| beta.splits.len())),
            ends: (0..net.steps.len()).map(zeros).collect(),
        }
    }
}

/// What a tile's pass forward gives.
pub(crate) struct Pulled<T> {
    /// `[inputs, width]`.
    pub point: Vec<T>,
    /// `[numbers of the target, width]`; 0 outside the windows of rows.
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
pub(crate) fn pull<T: Real>(tile: &Tile<'_, '_, T>, trail: &Trail<T>, weights: Option<&[Vec<f64>]>) -> Pulled<T> {
    let Tile { net, jobs, rows, target, .. } = *tile;
    let n = tile.width;
    let mut pulled = Pulled {
        point: points(tile, &trail.line),
        output: Vec::new(),
        alpha: rows.iter().map(|(job, _)| vec![T::ZERO; jobs[*job].alpha.map_or(0, |alpha| alpha.width())]).collect(),
        beta: rows.iter().map(|(job, _)| vec![T::ZERO; jobs[*job].beta.map_or(0, |beta| beta.splits.len())]).collect(),
        ends: tile.spans.iter().map(|_| net.steps.iter().map(|_| [Vec::new(), Vec::new()]).collect()).collect(),
    };
    let mut values: Vec<Option<Coefficients<T>>> = vec![None; target + 1];
    values[0] = Some(Coefficients::whole(net.picture[0], n, &pulled.point));
    for node in 0..target {
        let Some(patch) = trail.reached[node + 1] else { continue };
        let (picture, inputs) = (net.picture[node + 1], &net.inputs[node]);
        let first = inputs[0];
        let later = |value: usize| {
            (node + 1..target).any(|node| trail.reached[node + 1].is_some() && net.inputs[node].contains(&value))
        };
        // What the node reads of an input; nobody keeps what the last to read it has read.
        let mut read = |place: usize| {
            let value = inputs[place];
            let kept = later(value) || inputs[place + 1..].contains(&value);
            let read = if kept { values[value].clone() } else { values[value].take() };
            read.expect("a value with coefficients")
        };
        let alike = |read: Coefficients<T>, value: usize| {
            let same = net.picture[value] == picture;
            let read = read.to(n, if same { patch } else { Patch::whole(net.picture[value]) });
            read.shaped(net.picture[value], picture, n).to(n, patch)
        };
        let whole = |read: Coefficients<T>, value: usize| read.all(net.picture[value], n);
        let value = match &net.steps[node] {
            Step::Affine(map) => {
                let [from, to] = map.pictures();
                let x = values[first].take().expect("a value with coefficients");
                let x = x.shaped(net.picture[first], from, n);
                // Where the map's picture is another, the part is all of it.
                let part = if picture == to { patch } else { Patch::whole(to) };
                let relus = |reader: &usize| matches!(net.steps[*reader], Step::Relu);
                let readers = || (node + 1..target).filter(|reader| net.inputs[*reader].contains(&(node + 1)));
                let y = if node + 1 < target && readers().all(|reader| relus(&reader)) {
                    let seen = tile.seen(node + 1);
                    map.pull(n, &x, part, |neuron| !seen.is_idle(neuron))
                } else {
                    map.pull(n, &x, part, |_| true)
                };
                if later(first) {
                    values[first] = Some(x.shaped(from, net.picture[first], n));
                }
                y.shaped(to, picture, n)
            }
            Step::Relu => {
                let x = alike(read(0), first);
                relu(tile, node, x, trail.lambda[node].as_ref(), weights, &mut pulled)
            }
            Step::Curve(curve) => {
                let mut x = alike(read(0), first).all(picture, n);
                let lambda = trail.lambda[node].as_ref().map_or(&[][..], |lambda| &lambda.numbers);
                for span in &tile.spans {
                    let lines = curve::Lines::new(*curve, tile.job(span).bounds.ends(first), tile.sound);
                    for (i, row) in (0..net.len[node + 1]).flat_map(|i| span.clone().map(move |row| (i, row))) {
                        let [slope, offset] = lines.meets(i, lambda[i * n + row]);
                        x[i * n + row] = slope * x[i * n + row] + offset;
                    }
                }
                Coefficients::whole(picture, n, &x)
            }
            Step::Add => {
                let sum = alike(read(0), first);
                (1..inputs.len()).fold(sum, |sum, i| sum.plus(alike(read(i), inputs[i]), n))
            }
            Step::MaxPool(windows) => {
                let x = whole(read(0), first);
                let lambda = trail.lambda[node].as_ref().map_or(&[][..], |lambda| &lambda.numbers);
                let outputs = net.len[node + 1];
                let mut y = vec![T::ZERO; outputs * n];
                for span in &tile.spans {
                    let picks = Picks::new(windows, tile.job(span).bounds.ends(first));
                    for (i, row) in (0..outputs).flat_map(|i| span.clone().map(move |row| (i, row))) {
                        let constant = lambda[i * n + row] < T::ZERO && !picks.only[i];
                        let best = x[picks.best[i] * n + row];
                        y[i * n + row] = if constant { T::nearest(picks.upper[i]) } else { best };
                    }
                }
                Coefficients::whole(picture, n, &y)
            }
            Step::Gather { from, fill, .. } => {
                let x = whole(read(0), first);
                let mut y = vec![T::ZERO; net.len[node + 1] * n];
                for (i, (y, at)) in y.chunks_mut(n).zip(from).enumerate() {
                    match at {
                        Some(at) => y.copy_from_slice(&x[*at as usize * n..][..n]),
                        None => y.fill(fill.get(i).copied().unwrap_or(T::ZERO)),
                    }
                }
                Coefficients::whole(picture, n, &y)
            }
        };
        values[node + 1] = Some(value);
    }
    let picture = net.picture[target];
    pulled.output = values[target].take().expect("the target").all(picture, n);
    pulled
}

/// Where the linear form of each row is least, `[inputs, width]`.
pub(crate) fn points<T: Real>(tile: &Tile<'_, '_, T>, line: &Coefficients<T>) -> Vec<T> {
    let (net, n) = (tile.net, tile.width);
    let mut points = line.all(net.picture[0], n);
    for span in &tile.spans {
        let bounds = tile.job(span).bounds;
        if let Some(ball) = &bounds.ball {
            for row in span.clone() {
                let squares = points.iter().skip(row).step_by(n).map(|c| c.double().powi(2));
                let norm = squares.sum::<f64>().sqrt();
                let step = T::nearest(if norm > 0.0 { ball.1 / norm } else { 0.0 });
                for (at, centre) in points.iter_mut().skip(row).step_by(n).zip(&ball.0) {
                    *at = *centre - *at * step;
                }
            }
            continue;
        }
        let ends = bounds.ends(0);
        for (points, (l, u)) in points.chunks_mut(n).zip(ends.lower.iter().zip(&ends.upper)) {
            points[span.clone()].iter_mut().for_each(|at| *at = if *at >= T::ZERO { *l } else { *u });
        }
    }
    points
}

/// What leaves the lines of a ReLU, and derivatives by what these are made of.
fn relu<T: Real>(
    tile: &Tile<'_, '_, T>,
    node: usize,
    x: Coefficients<T>,
    kept: Option<&Kept<T>>,
    weights: Option<&[Vec<f64>]>,
    pulled: &mut Pulled<T>,
) -> Coefficients<T> {
    let Tile { net, jobs, rows, .. } = *tile;
    let (value, picture, n) = (net.inputs[node][0], net.picture[node + 1], tile.width);
    let (seen, slopes) = (tile.seen(value), tile.slopes(node));
    let kept = kept.expect("coefficients that were kept");
    by_multipliers(tile, node, &x, pulled);
    if weights.is_some() {
        pulled.ends.iter_mut().for_each(|ends| ends[node] = [0; 2].map(|_| vec![0.0; net.len[value]]));
    }
    let mut row = Row::new(n);
    let zeros = vec![T::ZERO; n];
    // A sum of what is never positive has no numbers here, but may have been given lines of both signs by rounding.
    let missing = |neuron: &&u32| x.find(picture, **neuron as usize).is_none();
    let missing: HashSet<usize> = kept.neurons.iter().filter(missing).map(|neuron| *neuron as usize).collect();
    let x = if missing.is_empty() {
        x
    } else {
        let more = Coefficients::new(picture, x.patch, n, |neuron| missing.contains(&neuron));
        x.plus(more, n)
    };
    let mut kept = kept.neurons.iter().zip(kept.numbers.chunks(n)).peekable();
    let mut x = x.some_neurons(picture, n, |neuron| !seen.is_dead(neuron));
    x.each(picture, n, |neuron, z| {
        if seen.is_active(neuron) {
            return;
        }
        let lambda = kept.next_if(|(at, _)| **at as usize == neuron).map_or(zeros.as_slice(), |(_, lambda)| lambda);
        row.set(tile, seen, &slopes, neuron);
        for (span, (place, lines)) in tile.spans.iter().zip(seen.lines.iter().enumerate()) {
            if lines.kinds[neuron] != BOTH {
                continue;
            }
            for i in span.clone().filter(|i| lambda[*i] > T::ZERO) {
                if let Some(at) = slopes.place(i, neuron) {
                    pulled.alpha[i][at] = lambda[i] * z[i];
                }
            }
            let Some(weights) = weights else { continue };
            let ends = tile.job(span).bounds.ends(value);
            let [l, u] = [ends.lower[neuron], ends.upper[neuron]].map(T::double);
            for i in span.clone().filter(|i| lambda[*i] < T::ZERO) {
                let (job, of) = rows[i];
                debug_assert!(std::ptr::eq(tile.job(span), &jobs[job]));
                let (c, z) = (lambda[i].double(), z[i].double());
                let by = weights[job][of] * c / ((u - l) * (u - l));
                pulled.ends[place][node][0][neuron] += by * u * (z - u);
                pulled.ends[place][node][1][neuron] += by * l * (l - z);
            }
        }
        dispatch(
            #[inline(always)]
            |_| {
                let lines = row.upper.iter().zip(&row.offset).zip(&row.lower);
                for ((z, c), ((s, t), a)) in z.iter_mut().zip(lambda).zip(lines) {
                    *z = if *c < T::ZERO { *s * *z + *t } else { *a * *z };
                }
            },
        );
    });
    assert!(kept.next().is_none(), "a number for every coefficient that was kept");
    x
}

fn by_multipliers<T: Real>(tile: &Tile<'_, '_, T>, node: usize, x: &Coefficients<T>, pulled: &mut Pulled<T>) {
    let Tile { net, jobs, rows, .. } = *tile;
    for (row, (job, _)) in rows.iter().enumerate() {
        let Some(beta) = jobs[*job].beta else { continue };
        for (to, split) in pulled.beta[row].iter_mut().zip(beta.splits.iter()).filter(|(_, split)| split.node == node) {
            let Some(at) = x.find(net.picture[node + 1], split.neuron as usize) else { continue };
            let z = x.numbers[at * tile.width + row];
            *to = if split.active { -z } else { z };
        }
    }
}
