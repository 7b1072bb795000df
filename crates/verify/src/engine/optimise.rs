//! Slopes and multipliers that are optimised: every choice gives a valid bound, so the best of each row is kept (alpha- and
//! beta-CROWN, with the Adam optimiser).

use std::sync::Arc;

use rayon::prelude::*;
use temper_kernels::arch::dispatch;

use super::backward::{Job, Keep, push, rows_first, tiles};
use super::forward::{Pulled, points, pull};
use super::interval::Bounds;
use super::lines::Tile;
use super::prepared::Prepared;
use super::real::Real;

/// The neurons of a ReLU that have a slope of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The ReLU.
    pub node: usize,
    /// The value that it reads.
    pub value: usize,
    /// Neurons, in order.
    pub neurons: Vec<u32>,
}

/// Lower slopes of ReLUs, one set a row. Neurons whose bounds have one sign ignore theirs.
#[derive(Debug, Clone, PartialEq)]
pub struct Alpha<T> {
    /// Which neurons have one, in the order of nodes; shared by all that descend from one root.
    pub layers: Arc<Vec<Layer>>,
    /// `[rows, slopes of all layers]`.
    pub values: Vec<T>,
}

impl<T: Real> Alpha<T> {
    /// The slopes of a rule, for the neurons below `target` whose bounds have both signs.
    pub fn new(net: &Prepared<T>, bounds: &Bounds<T>, target: usize, rows: usize, rule: super::Lower) -> Self {
        let needed = net.needed(target);
        let (mut layers, mut row) = (Vec::new(), Vec::new());
        for node in net.relus().filter(|node| *node < target && needed[node + 1]) {
            let value = net.reads(node);
            let ends = bounds.ends(value);
            let neurons: Vec<u32> = ends.unstable().map(|i| i as u32).collect();
            let lines = bounds.lines(value);
            row.extend(neurons.iter().map(|i| rule.slope(lines.upper[*i as usize])));
            if !neurons.is_empty() {
                layers.push(Layer { node, value, neurons });
            }
        }
        let values = std::iter::repeat_n(row, rows).flatten().collect();
        Self { layers: Arc::new(layers), values }
    }

    /// Slopes of a row.
    pub fn width(&self) -> usize {
        self.layers.iter().map(|layer| layer.neurons.len()).sum()
    }

    /// The slopes of one row.
    pub fn row(&self, row: usize) -> &[T] {
        let width = self.width();
        &self.values[row * width..][..width]
    }

    /// A ReLU's neurons, and where their slopes begin in a row.
    pub fn layer(&self, node: usize) -> Option<(&Layer, usize)> {
        let mut at = 0;
        for layer in self.layers.iter() {
            if layer.node == node {
                return Some((layer, at));
            }
            at += layer.neurons.len();
        }
        None
    }

    /// These rows alone.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self { layers: self.layers.clone(), values: rows.iter().flat_map(|row| self.row(*row).to_vec()).collect() }
    }

    /// The same in another kind of floats.
    pub fn to<U: Real>(&self) -> Alpha<U> {
        Alpha { layers: self.layers.clone(), values: self.values.iter().map(|v| U::nearest(v.double())).collect() }
    }
}

/// A neuron of which one sign is assumed. The bounds of a domain say so too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Split {
    /// The ReLU.
    pub node: usize,
    /// The neuron.
    pub neuron: u32,
    /// Whether it is not negative; else it is not positive.
    pub active: bool,
}

/// Multipliers of splits, one set a row; each is at least 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Beta<T> {
    /// The splits.
    pub splits: Arc<Vec<Split>>,
    /// `[rows, splits]`.
    pub values: Vec<T>,
}

impl<T: Real> Beta<T> {
    /// Splits with multipliers of 0.
    pub fn new(splits: Vec<Split>, rows: usize) -> Self {
        let values = vec![T::ZERO; splits.len() * rows];
        Self { splits: Arc::new(splits), values }
    }

    /// The multipliers of one row.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (&Split, T)> + '_ {
        let width = self.splits.len();
        self.splits.iter().zip(self.values[row * width..][..width].iter().copied())
    }

    /// The same with one more split, its multipliers 0, for so many rows.
    pub fn and(&self, split: Split, rows: usize) -> Self {
        let width = self.splits.len();
        let mut splits = self.splits.to_vec();
        splits.push(split);
        let row = |row: usize| self.values[row * width..][..width].iter().copied().chain([T::ZERO]);
        Self { splits: Arc::new(splits), values: (0..rows).flat_map(row).collect() }
    }

    /// These rows alone.
    pub fn select(&self, rows: &[usize]) -> Self {
        let width = self.splits.len();
        let values = rows.iter().flat_map(|row| self.values[row * width..][..width].to_vec()).collect();
        Self { splits: self.splits.clone(), values }
    }

    /// The same in another kind of floats.
    pub fn to<U: Real>(&self) -> Beta<U> {
        Beta { splits: self.splits.clone(), values: self.values.iter().map(|v| U::nearest(v.double())).collect() }
    }
}

/// How slopes and multipliers are optimised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ascent {
    /// Bounds that are computed; one step fewer is made.
    pub iterations: usize,
    /// Learning rate of slopes.
    pub alpha_rate: f64,
    /// Learning rate of multipliers.
    pub beta_rate: f64,
    /// What both are multiplied by after a step.
    pub decay: f64,
    /// A row with a larger bound is left alone.
    pub threshold: f64,
    /// One row above it is enough: then the job's others are left alone too.
    pub any: bool,
}

impl Default for Ascent {
    /// Those of a root: 20 bounds, with all rows to be shown positive.
    fn default() -> Self {
        Self { iterations: 20, alpha_rate: 0.1, beta_rate: 0.05, decay: 0.98, threshold: 0.0, any: false }
    }
}

/// The best that was found for a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimised<T> {
    /// The bound of every row.
    pub bound: Vec<f64>,
    /// The slopes that gave it.
    pub alpha: Alpha<T>,
    /// The multipliers that gave it.
    pub beta: Beta<T>,
    /// `[rows, inputs]`: where the linear form of the last step was least; candidates for counterexamples.
    pub point: Vec<T>,
}

/// First and second moments of gradients.
pub(crate) struct Moments {
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Moments {
    pub fn new(numbers: usize) -> Self {
        Self { first: vec![0.0; numbers], second: vec![0.0; numbers] }
    }

    /// One step upwards; `step` counts from 1.
    pub fn step<T: Real>(&mut self, values: &mut [T], gradient: &[T], rate: f64, step: i32, most: f64) {
        let (first, second) = (1.0 - 0.9f64.powi(step), 1.0 - 0.999f64.powi(step));
        let moments = self.first.iter_mut().zip(&mut self.second);
        dispatch(
            #[inline(always)]
            |_| {
                for ((value, gradient), (m, v)) in values.iter_mut().zip(gradient).zip(moments) {
                    let g = gradient.double();
                    *m = 0.9 * *m + 0.1 * g;
                    *v = 0.999 * *v + 0.001 * g * g;
                    let by = rate * (*m / first) / ((*v / second).sqrt() + 1e-8);
                    let moved = (value.double() + by).max(0.0).min(most);
                    // A gradient that is no number moves nothing.
                    *value = if by.is_finite() { T::nearest(moved) } else { *value };
                }
            },
        );
    }
}

/// What one row has come to.
struct Row<T> {
    best: f64,
    best_alpha: Vec<T>,
    best_beta: Vec<T>,
    point: Vec<T>,
    moments: [Moments; 2],
}

/// What a step found for one row of a job.
struct Found<T> {
    row: usize,
    bound: f64,
    point: Vec<T>,
    /// The gradients by slopes and multipliers.
    by: Option<(Vec<T>, Vec<T>)>,
}

/// Optimises the slopes and multipliers of every job, starting with those that it has, or those of its rule. The bounds of intermediate
/// values stay as they are. `stop` is asked before every pass.
///
/// # Panics
/// As [`backward`](super::backward::backward).
pub fn optimise<T: Real>(
    net: &Prepared<T>,
    jobs: &[Job<'_, T>],
    settings: &Ascent,
    stop: &(dyn Fn() -> bool + Sync),
) -> Vec<Optimised<T>> {
    let counts: Vec<usize> = jobs.iter().map(|job| job.rows.count(net.len[job.target])).collect();
    let start = |(job, rows): (&Job<'_, T>, &usize)| match job.alpha {
        Some(alpha) => alpha.clone(),
        None => Alpha::new(net, job.bounds, job.target, *rows, job.lower),
    };
    let mut alphas: Vec<Alpha<T>> = jobs.iter().zip(&counts).map(start).collect();
    let start = |(job, rows): (&Job<'_, T>, &usize)| job.beta.cloned().unwrap_or_else(|| Beta::new(Vec::new(), *rows));
    let mut betas: Vec<Beta<T>> = jobs.iter().zip(&counts).map(start).collect();
    let row = |(alpha, beta): (&Alpha<T>, &Beta<T>)| Row {
        best: f64::NEG_INFINITY,
        best_alpha: Vec::new(),
        best_beta: Vec::new(),
        point: Vec::new(),
        moments: [Moments::new(alpha.width()), Moments::new(beta.splits.len())],
    };
    let pairs = || alphas.iter().zip(&betas).zip(&counts);
    let mut states: Vec<Vec<Row<T>>> = pairs().map(|(pair, rows)| (0..*rows).map(|_| row(pair)).collect()).collect();
    for step in 0..settings.iterations {
        if stop() && step > 0 {
            break;
        }
        let open = |best: f64| best <= settings.threshold;
        let mut active = Vec::new();
        for (job, rows) in states.iter().enumerate() {
            let done = settings.any && rows.iter().any(|row| !open(row.best));
            active.extend((0..rows.len()).filter(|row| !done && open(rows[*row].best)).map(|row| (job, row)));
        }
        if active.is_empty() {
            break;
        }
        let last = step + 1 == settings.iterations;
        let passes = {
            let pairs = alphas.iter().map(Some).zip(betas.iter().map(Some));
            let current: Vec<Job<'_, T>> =
                jobs.iter().zip(pairs).map(|(job, (alpha, beta))| Job { alpha, beta, ..*job }).collect();
            let tiles = tiles(net, &current, active);
            let pass = |rows: &Vec<(usize, usize)>| {
                let tile = Tile::new(net, &current, rows);
                let trail = push(&tile, Keep { line: true, lambda: !last });
                let none = || Pulled::at(points(&tile, &trail.line));
                let pulled = if last { none() } else { pull(&tile, &trail, None) };
                (trail.bound, Pulled { point: rows_first(&pulled.point, tile.width, rows.len()), ..pulled })
            };
            let passes = tiles.par_iter().map(pass).collect::<Vec<_>>();
            tiles.into_iter().zip(passes)
        };
        let rate = settings.decay.powi(step as i32);
        let mut found: Vec<Vec<Found<T>>> = jobs.iter().map(|_| Vec::new()).collect();
        let inputs = net.len[0];
        for (rows, (bounds, Pulled { point, alpha, beta, .. })) in passes {
            // There are no gradients of the last.
            let gradients = alpha.into_iter().zip(beta).map(Some).chain(std::iter::repeat_with(|| None));
            for (((job, row), (bound, point)), by) in
                rows.into_iter().zip(bounds.into_iter().zip(point.chunks(inputs.max(1)))).zip(gradients)
            {
                found[job].push(Found { row, bound, point: point.to_vec(), by });
            }
        }
        let all = alphas.par_iter_mut().zip(&mut betas).zip(&mut states).zip(found);
        all.for_each(|(((alpha, beta), states), found)| {
            let (width, splits) = (alpha.width(), beta.splits.len());
            for Found { row, bound, point, by } in found {
                let alpha = &mut alpha.values[row * width..][..width];
                let beta = &mut beta.values[row * splits..][..splits];
                let state = &mut states[row];
                // The first counts even where nothing is known.
                if bound > state.best || step == 0 {
                    state.best = bound;
                    state.best_alpha = alpha.to_vec();
                    state.best_beta = beta.to_vec();
                }
                state.point = point;
                if let Some((by_alpha, by_beta)) = by {
                    let step = step as i32 + 1;
                    state.moments[0].step(alpha, &by_alpha, settings.alpha_rate * rate, step, 1.0);
                    state.moments[1].step(beta, &by_beta, settings.beta_rate * rate, step, f64::MAX);
                }
            }
        });
    }
    let finish = |rows: Vec<Row<T>>, alpha: Alpha<T>, beta: Beta<T>| {
        let mut best = Optimised {
            bound: Vec::new(),
            alpha: Alpha { values: Vec::new(), ..alpha },
            beta: Beta { values: Vec::new(), ..beta },
            point: Vec::new(),
        };
        for row in rows {
            best.bound.push(row.best);
            best.alpha.values.extend(row.best_alpha);
            best.beta.values.extend(row.best_beta);
            best.point.extend(row.point);
        }
        best
    };
    let all = states.into_iter().zip(alphas).zip(betas);
    all.map(|((rows, alpha), beta)| finish(rows, alpha, beta)).collect()
}
