//! Slopes of intermediate bounds, optimised layer by layer.

use super::backward::Job;
use super::intermediate::{Tight, cut};
use super::interval::Bounds;
use super::optimise::{Alpha, Ascent, optimise};
use super::prepared::Prepared;
use super::real::Real;

/// Slopes of intermediate rows, of one value, at most; a value with more keeps its bounds.
const MOST: usize = 1 << 25;

/// Bounds of intermediate values, layer by layer, each row with slopes optimised for its own bound; and the slopes that gave them. That
/// helps too where the rows at the end are too loose to say which bound matters, unlike slopes that are all optimised for those rows. `stop` is
/// asked before every step.
///
/// # Panics
/// As [`backward`](super::backward::backward).
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
