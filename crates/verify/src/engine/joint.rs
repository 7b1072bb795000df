//! Slopes of intermediate bounds, optimised for the rows at the end: their gradients arrive through the ends of intervals.

use super::backward::{Job, Rows, backward};
use super::forward::gradients;
use super::intermediate::{Tight, cut};
use super::interval::Bounds;
use super::optimise::{Alpha, Ascent, Moments, Optimised, optimise};
use super::prepared::Prepared;
use super::real::Real;

/// Slopes of all layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Joint<T> {
    /// The best bounds of intermediate values, in the job's sense.
    pub bounds: Bounds<T>,
    /// What the rows came to over them.
    pub margins: Optimised<T>,
    /// The slopes that gave the bounds: [`tightened`](super::tightened) makes them again, with those of the root as reference: much the
    /// same, as each row's slopes are those of the step where its own bound was best.
    pub layers: Vec<Tight<T>>,
}

/// Slopes of intermediate rows, of one value, at most; a value with more keeps its bounds.
const MOST: usize = 1 << 25;

/// A value whose bounds are optimised.
struct Layer<T> {
    tight: Tight<T>,
    moments: Vec<Moments>,
    best: Vec<f64>,
    best_alpha: Vec<T>,
    /// Of the current step.
    bound: Vec<f64>,
}

/// Optimises the slopes of a job's rows together with those of all intermediate bounds, which begin with the job's.
/// `stop` is asked before every step.
///
/// # Panics
/// As [`backward`].
pub fn optimise_jointly<T: Real>(
    net: &Prepared<T>,
    job: &Job<'_, T>,
    settings: &Ascent,
    stop: &(dyn Fn() -> bool + Sync),
) -> Joint<T> {
    let root = job.bounds;
    let rows = job.rows.count(net.len[job.target]);
    let mut layers = layers(net, job);
    let mut alpha = job.alpha.cloned().unwrap_or_else(|| Alpha::new(net, root, job.target, rows, job.lower));
    let mut moments: Vec<Moments> = (0..rows).map(|_| Moments::new(alpha.width())).collect();
    let (mut best, mut best_alpha) = (vec![f64::NEG_INFINITY; rows], alpha.values.clone());
    for step in 0..settings.iterations {
        if (step > 0 && stop()) || best.iter().all(|bound| *bound > settings.threshold) {
            break;
        }
        let mut bounds = root.clone();
        for layer in &mut layers {
            layer.bound = backward(net, &[layer.tight.job(&bounds)], Default::default()).remove(0).bound;
            layer.keep(step == 0);
            let mut ends = root.ends(layer.tight.value).clone();
            cut(&mut ends, &layer.tight.units, &layer.bound);
            bounds = bounds.with(layer.tight.value, &ends);
        }
        let weights: Vec<f64> = best.iter().map(|bound| if *bound > settings.threshold { 0.0 } else { 1.0 }).collect();
        let current = Job { bounds: &bounds, alpha: Some(&alpha), ..job.clone() };
        let (pushed, by) = gradients(net, &[current], Some(&[weights])).remove(0);
        let width = alpha.width();
        for row in 0..rows {
            if pushed.bound[row] > best[row] || step == 0 {
                best[row] = pushed.bound[row];
                best_alpha[row * width..][..width].copy_from_slice(alpha.row(row));
            }
        }
        if step + 1 == settings.iterations {
            break;
        }
        let rate = settings.alpha_rate * settings.decay.powi(step as i32);
        let count = step as i32 + 1;
        for (row, moments) in moments.iter_mut().enumerate() {
            let part = row * width..(row + 1) * width;
            moments.step(&mut alpha.values[part.clone()], &by.alpha[part], rate, count, 1.0);
        }
        let mut ends = by.ends;
        for layer in layers.iter_mut().rev() {
            let more = layer.step(net, root, &bounds, &ends, rate, count);
            for (to, from) in ends.iter_mut().flatten().zip(more.iter().flatten()) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            }
        }
    }
    // All that was found holds together; with it, the rows once more.
    let mut bounds = root.clone();
    for layer in &layers {
        let mut ends = root.ends(layer.tight.value).clone();
        cut(&mut ends, &layer.tight.units, &layer.best);
        bounds = bounds.with(layer.tight.value, &ends);
    }
    let found = layers
        .into_iter()
        .map(|layer| Tight { alpha: Alpha { values: layer.best_alpha, ..layer.tight.alpha }, ..layer.tight });
    let layers: Vec<Tight<T>> = found.collect();
    let alpha = Alpha { values: best_alpha, ..alpha };
    let last = Job { bounds: &bounds, alpha: Some(&alpha), ..job.clone() };
    let settings = Ascent { iterations: settings.iterations.min(2), ..*settings };
    let margins = optimise(net, &[last], &settings, stop).remove(0);
    Joint { bounds, margins, layers }
}

/// Bounds of intermediate values, layer by layer, each row with slopes optimised for its own bound; and the slopes that gave them. Unlike
/// [`optimise_jointly`] it helps where the rows at the end are too loose to say which bound matters. `stop` is asked before every step.
///
/// # Panics
/// As [`backward`].
pub fn optimise_layers<T: Real>(
    net: &Prepared<T>,
    job: &Job<'_, T>,
    settings: &Ascent,
    stop: &(dyn Fn() -> bool + Sync),
) -> (Bounds<T>, Vec<Tight<T>>) {
    let (mut bounds, mut layers) = (job.bounds.clone(), Vec::new());
    for value in values(net, job) {
        if stop() {
            break;
        }
        let Some(tight) = Tight::new(net, job, &bounds, value) else { continue };
        let best = optimise(net, &[tight.job(&bounds)], settings, stop).remove(0);
        let mut ends = bounds.ends(value).clone();
        cut(&mut ends, &tight.units, &best.bound);
        bounds = bounds.with(value, &ends);
        layers.push(Tight { alpha: best.alpha, ..tight });
    }
    (bounds, layers)
}

/// The values before a job's rows that ReLUs read and of which intervals are not all there is to know, in order.
fn values<T: Real>(net: &Prepared<T>, job: &Job<'_, T>) -> Vec<usize> {
    let needed = net.needed(job.target);
    let relus = net.relus().filter(|node| *node < job.target && needed[node + 1]);
    let mut values: Vec<usize> = relus.map(|node| net.reads(node)).collect();
    values.retain(|value| !net.exact(*value) || job.bounds.ball.is_some());
    values.sort_unstable();
    values.dedup();
    values
}

impl<T: Real> Tight<T> {
    /// A value's numbers of both signs, with slopes by the job's rule; `None` if there are none, or too many.
    fn new(net: &Prepared<T>, job: &Job<'_, T>, bounds: &Bounds<T>, value: usize) -> Option<Self> {
        let unstable = bounds.ends(value).unstable();
        let units: Vec<(u32, bool)> = unstable.flat_map(|i| [(i as u32, false), (i as u32, true)]).collect();
        let one = Alpha::new(net, bounds, value, 1, job.lower);
        let few = !units.is_empty() && units.len() * one.width() <= MOST;
        few.then(|| Self { value, alpha: Alpha { values: one.values.repeat(units.len()), ..one }, units })
    }
}

/// The values whose bounds can be optimised, with the slopes of the adaptive rule.
fn layers<T: Real>(net: &Prepared<T>, job: &Job<'_, T>) -> Vec<Layer<T>> {
    let layer = |tight: Tight<T>| Layer {
        moments: tight.units.iter().map(|_| Moments::new(tight.alpha.width())).collect(),
        best: vec![f64::NEG_INFINITY; tight.units.len()],
        best_alpha: tight.alpha.values.clone(),
        bound: Vec::new(),
        tight,
    };
    values(net, job).into_iter().filter_map(|value| Tight::new(net, job, job.bounds, value)).map(layer).collect()
}

impl<T: Real> Layer<T> {
    /// Keeps the best of every row.
    fn keep(&mut self, first: bool) {
        let width = self.tight.alpha.width();
        for (row, bound) in self.bound.iter().enumerate() {
            if *bound > self.best[row] || first {
                self.best[row] = *bound;
                self.best_alpha[row * width..][..width].copy_from_slice(self.tight.alpha.row(row));
            }
        }
    }

    /// One step of its slopes, given the gradients by the ends of all intervals; what these come to by the ends below.
    fn step(
        &mut self,
        net: &Prepared<T>,
        root: &Bounds<T>,
        bounds: &Bounds<T>,
        by: &[[Vec<f64>; 2]],
        rate: f64,
        count: i32,
    ) -> Vec<[Vec<f64>; 2]> {
        let Tight { value, units, alpha } = &mut self.tight;
        let ends = root.ends(*value);
        let weight = |(row, (number, negative)): (usize, &(u32, bool))| {
            let (side, i) = (usize::from(*negative), *number as usize);
            let sum: f64 = net
                .relus()
                .filter(|node| net.reads(*node) == *value)
                .map(|node| by[node][side].get(i).copied().unwrap_or(0.0))
                .sum();
            // Where the root's bound is better by far, the slopes will have no part in it; where it is so by little, they may yet.
            let [l, u] = [ends.lower[i], ends.upper[i]].map(T::double);
            let root = if *negative { -u } else { l };
            let own = self.bound[row] > root - 0.1 * (u - l);
            let sum = if *negative { -sum } else { sum };
            (own && sum != 0.0 && sum.is_finite()).then_some((row, sum))
        };
        let (chosen, weights): (Vec<usize>, Vec<f64>) = units.iter().enumerate().filter_map(weight).unzip();
        if chosen.is_empty() {
            return Vec::new();
        }
        let some: Vec<(u32, bool)> = chosen.iter().map(|row| units[*row]).collect();
        let slopes = alpha.select(&chosen);
        let job = Job { alpha: Some(&slopes), ..Job::new(bounds, *value, Rows::Units(&some)) };
        let (_, found) = gradients(net, &[job], Some(std::slice::from_ref(&weights))).remove(0);
        let width = alpha.width();
        for ((row, weight), by) in chosen.iter().zip(&weights).zip(found.alpha.chunks(width.max(1))) {
            let by: Vec<T> = by.iter().map(|by| T::nearest(by.double() * weight)).collect();
            self.moments[*row].step(&mut alpha.values[row * width..][..width], &by, rate, count, 1.0);
        }
        found.ends
    }
}
