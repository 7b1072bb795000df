//! Gradients of a linear bound by one pass of a point (no automatic differentiation).
//!
//! The point is the one where the row's linear form is least. It goes forward through the lines that the row chose: through the lower
//! line of a ReLU where the coefficient at its output is not negative, else the upper. While signs stay, the bound is linear in every
//! coefficient, so that what arrives at a line is the bound's derivative by what the line is made of.

use rayon::prelude::*;

use super::backward::{Job, Keep, Lines, Picks, Pushed, push, spans, tile_rows};
use super::prepared::{Prepared, Step};
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
    let mut all: Vec<_> = jobs.iter().map(|_| (Pushed::none(net), Gradients::none(net, weights.is_some()))).collect();
    let counts = jobs.iter().enumerate().map(|(job, of)| (job, of.rows.count(net.len[of.target])));
    let rows: Vec<(usize, usize)> = counts.flat_map(|(job, rows)| (0..rows).map(move |row| (job, row))).collect();
    let Some(first) = jobs.first() else { return all };
    let tiles = rows.chunks(tile_rows(net, first.target, rows.len())).collect::<Vec<_>>();
    let keep = Keep { line: true, lambda: true };
    let both = |rows: &[(usize, usize)]| {
        let pushed = push(net, jobs, rows, keep);
        let pulled = pull(net, jobs, rows, &pushed, weights);
        (pushed, pulled)
    };
    let made: Vec<_> = tiles.into_par_iter().map(both).collect();
    let mut at = 0;
    for (pushed, pulled) in made {
        let end = at + pushed.bound.len();
        for (span, ends) in spans(&rows[at..end]).zip(&pulled.ends) {
            let (to, gradients) = &mut all[rows[at + span.start].0];
            to.append(&pushed, span.clone());
            gradients.append(&pulled, span, ends);
        }
        at = end;
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

    fn append(&mut self, tile: &Pulled<T>, span: std::ops::Range<usize>, ends: &[[Vec<f64>; 2]]) {
        let rows = tile.alpha.len();
        let part = |numbers: &[T]| {
            let row = numbers.len() / rows;
            numbers[span.start * row..span.end * row].to_vec()
        };
        self.point.extend(part(&tile.point));
        self.output.extend(part(&tile.output));
        tile.alpha[span.clone()].iter().for_each(|row| self.alpha.extend(row));
        tile.beta[span].iter().for_each(|row| self.beta.extend(row));
        for (to, from) in self.ends.iter_mut().flatten().zip(ends.iter().flatten()) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }
}

/// What a tile's pass forward gives.
pub(crate) struct Pulled<T> {
    pub point: Vec<T>,
    pub output: Vec<T>,
    /// Of every row.
    pub alpha: Vec<Vec<T>>,
    /// Of every row.
    pub beta: Vec<Vec<T>>,
    /// Of every span of rows of one job, of every node.
    pub ends: Vec<Vec<[Vec<f64>; 2]>>,
}

/// The pass forward of rows that were pushed, with their lines and coefficients kept.
pub(crate) fn pull<T: Real>(
    net: &Prepared<T>,
    jobs: &[Job<'_, T>],
    rows: &[(usize, usize)],
    pushed: &Pushed<T>,
    weights: Option<&[Vec<f64>]>,
) -> Pulled<T> {
    let target = jobs[rows[0].0].target;
    let needed = net.needed(target);
    let spans: Vec<_> = spans(rows).collect();
    let mut pulled = Pulled {
        point: points(net, jobs, rows, &pushed.line),
        output: Vec::new(),
        alpha: rows.iter().map(|(job, _)| vec![T::ZERO; jobs[*job].alpha.map_or(0, |alpha| alpha.width())]).collect(),
        beta: rows.iter().map(|(job, _)| vec![T::ZERO; jobs[*job].beta.map_or(0, |beta| beta.splits.len())]).collect(),
        ends: spans.iter().map(|_| net.steps.iter().map(|_| [Vec::new(), Vec::new()]).collect()).collect(),
    };
    let mut values: Vec<Option<Vec<T>>> = vec![None; target + 1];
    values[0] = Some(pulled.point.clone());
    for node in (0..target).filter(|node| needed[node + 1]) {
        let read = |i: usize| values[net.inputs[node][i]].as_deref().expect("a needed value");
        let x = read(0);
        let (from, to) = (net.len[net.inputs[node][0]], net.len[node + 1]);
        let value = match &net.steps[node] {
            Step::Affine(map) => {
                let mut y = map.forward(rows.len(), x, false);
                for (plane, i) in y.chunks_mut(map.plane.max(1)).zip(0..) {
                    let bias = map.bias[i % map.bias.len()];
                    plane.iter_mut().for_each(|y| *y += bias);
                }
                y
            }
            Step::Relu => relu(net, jobs, rows, &spans, node, x, pushed, weights, &mut pulled),
            Step::Add => {
                let mut sum = x.to_vec();
                for i in 1..net.inputs[node].len() {
                    sum.iter_mut().zip(read(i)).for_each(|(sum, more)| *sum += *more);
                }
                sum
            }
            Step::MaxPool(windows) => {
                let mut y = Vec::with_capacity(rows.len() * to);
                for span in &spans {
                    let picks = Picks::new(windows, jobs[rows[span.start].0].bounds.ends(net.inputs[node][0]));
                    for row in span.clone() {
                        let lambda = pushed.lambda[node].get(row * to..(row + 1) * to);
                        let number = |i: usize| {
                            let negative = lambda.is_some_and(|lambda| lambda[i] < T::ZERO);
                            let constant = negative && !picks.only[i];
                            if constant { T::nearest(picks.upper[i]) } else { x[row * from + picks.best[i]] }
                        };
                        y.extend((0..to).map(number));
                    }
                }
                y
            }
            Step::Gather { from: places, fill, .. } => {
                let constant = |i: usize| fill.get(i).copied().unwrap_or(T::ZERO);
                let row = |x: &[T]| -> Vec<T> {
                    let number = |(i, at): (usize, &Option<u32>)| at.map_or_else(|| constant(i), |at| x[at as usize]);
                    places.iter().enumerate().map(number).collect()
                };
                (0..rows.len()).flat_map(|r| row(&x[r * from..][..from])).collect()
            }
        };
        values[node + 1] = Some(value);
    }
    pulled.output = values[target].take().expect("the target");
    pulled
}

/// Where the linear form of each row is least.
fn points<T: Real>(net: &Prepared<T>, jobs: &[Job<'_, T>], rows: &[(usize, usize)], line: &[T]) -> Vec<T> {
    let n = net.len[0];
    let mut points = Vec::with_capacity(rows.len() * n);
    for (i, (job, _)) in rows.iter().enumerate() {
        let (bounds, line) = (jobs[*job].bounds, &line[i * n..][..n]);
        if let Some(ball) = &bounds.ball {
            let norm = line.iter().map(|l| l.double() * l.double()).sum::<f64>().sqrt();
            let step = if norm > 0.0 { ball.1 / norm } else { 0.0 };
            points.extend(ball.0.iter().zip(line).map(|(c, l)| *c - *l * T::nearest(step)));
        } else {
            let ends = bounds.ends(0);
            let corner = |j: usize| if line[j] >= T::ZERO { ends.lower[j] } else { ends.upper[j] };
            points.extend((0..n).map(corner));
        }
    }
    points
}

/// The lines of a ReLU, and derivatives by what they are made of.
#[allow(clippy::too_many_arguments)]
fn relu<T: Real>(
    net: &Prepared<T>,
    jobs: &[Job<'_, T>],
    rows: &[(usize, usize)],
    spans: &[std::ops::Range<usize>],
    node: usize,
    x: &[T],
    pushed: &Pushed<T>,
    weights: Option<&[Vec<f64>]>,
    pulled: &mut Pulled<T>,
) -> Vec<T> {
    let value = net.inputs[node][0];
    let n = net.len[value];
    let mut y = Vec::with_capacity(rows.len() * n);
    let mut slopes = Vec::new();
    for (span, place) in spans.iter().zip(0..) {
        let (job, sound) = (rows[span.start].0, jobs[rows[span.start].0].bounds.claim != Arithmetic::Real);
        let (number, job) = (job, &jobs[job]);
        let ends = job.bounds.ends(value);
        let lines = Lines::new(ends, job.lower, sound);
        if weights.is_some() {
            pulled.ends[place][node] = [0; 2].map(|_| vec![0.0; n]);
        }
        for row in span.clone() {
            lines.slopes(job, node, rows[row].1, &mut slopes);
            let x = &x[row * n..][..n];
            // A ReLU that the rows do not reach has no coefficients.
            let none = pushed.lambda[node].is_empty();
            let lambda = if none { &[][..] } else { &pushed.lambda[node][row * n..][..n] };
            for i in 0..n {
                let negative = !none && lambda[i] < T::ZERO;
                y.push(if negative { lines.upper[i] * x[i] + lines.offset[i] } else { slopes[i] * x[i] });
            }
            if none {
                continue;
            }
            if let Some((layer, at)) = job.alpha.and_then(|alpha| alpha.layer(node)) {
                let to = &mut pulled.alpha[row][at..at + layer.neurons.len()];
                for (to, neuron) in to.iter_mut().zip(layer.neurons.iter()) {
                    let i = *neuron as usize;
                    let unstable = ends.lower[i] < T::ZERO && ends.upper[i] > T::ZERO;
                    if unstable && lambda[i] > T::ZERO {
                        *to = lambda[i] * x[i];
                    }
                }
            }
            if let Some(beta) = job.beta {
                for (to, split) in pulled.beta[row].iter_mut().zip(beta.splits.iter()).filter(|(_, s)| s.node == node) {
                    let x = x[split.neuron as usize];
                    *to = if split.active { -x } else { x };
                }
            }
            if let Some(weights) = weights {
                let weight = weights[number][rows[row].1];
                let [by_lower, by_upper] = &mut pulled.ends[place][node];
                for i in ends.unstable().filter(|i| lambda[*i] < T::ZERO) {
                    let [c, x, l, u] = [lambda[i], x[i], ends.lower[i], ends.upper[i]].map(T::double);
                    let square = (u - l) * (u - l);
                    by_lower[i] += weight * c * u * (x - u) / square;
                    by_upper[i] += weight * c * l * (l - x) / square;
                }
            }
        }
    }
    y
}
