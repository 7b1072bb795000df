//! The lines that a ReLU's neurons are bounded by, and the neurons that need some.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use temper_kernels::arch::dispatch;
use temper_kernels::sums::LANES;

use super::backward::Job;
use super::interval::Ends;
use super::optimise::Layer;
use super::prepared::{Prepared, Step};
use super::real::Real;
use crate::cascade::Arithmetic;

/// The slope of the lower line of a ReLU of both signs that no [`Alpha`](super::Alpha) gives.
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

impl Lower {
    /// The slope below an upper line of slope `s`, for a neuron of both signs.
    #[inline(always)]
    pub(crate) fn slope<T: Real>(self, s: T) -> T {
        match self {
            // Not at the tie, which symmetric boxes have: rounding would decide there.
            Self::Adaptive if s > T::nearest(0.500_001) => T::ONE,
            Self::Adaptive | Self::Zero => T::ZERO,
            Self::One => T::ONE,
            Self::Same => s,
        }
    }
}

/// Never positive: the output is 0.
pub(crate) const DEAD: u8 = 1;
/// Never negative: the output is the input.
pub(crate) const ACTIVE: u8 = 2;
/// Of both signs.
pub(crate) const BOTH: u8 = 4;
/// Not the same for all rows of a tile.
const DIFFERS: u8 = 8;
/// Split by a row of a tile.
const SPLIT: u8 = 16;

/// The upper lines of a ReLU's neurons: `upper x + offset`.
#[derive(Debug, Clone)]
pub(crate) struct Lines<T> {
    pub kinds: Vec<u8>,
    pub upper: Vec<T>,
    pub offset: Vec<T>,
    /// In a sound claim, the sum of the largest magnitudes that neurons of both signs may have.
    pub reach: f64,
}

/// The upper line of a neuron.
fn line<T: Real>(l: T, u: T, sound: bool) -> (u8, T, T) {
    if l >= T::ZERO {
        return (ACTIVE, T::ONE, T::ZERO);
    }
    if u <= T::ZERO {
        return (DEAD, T::ZERO, T::ZERO);
    }
    // Any slope in [0, 1] is valid with an offset that is large enough. A width that underflows or overflows gives one.
    let s = u / (u - l);
    let s = if s >= T::ZERO { s.least(T::ONE) } else { T::ONE };
    let t = if sound {
        let [l, u, s] = [l, u, s].map(T::double);
        T::nearest((-s * l).next_up().max(((1.0 - s).next_up() * u).next_up()))
    } else {
        -l * s
    };
    (BOTH, s, t)
}

impl<T: Real> Lines<T> {
    pub fn new(ends: &Ends<T>, sound: bool) -> Self {
        let n = ends.lower.len();
        let mut lines = Self { kinds: vec![0; n], upper: vec![T::ZERO; n], offset: vec![T::ZERO; n], reach: 0.0 };
        for i in 0..n {
            (lines.kinds[i], lines.upper[i], lines.offset[i]) = line(ends.lower[i], ends.upper[i], sound);
        }
        lines.reach = lines.reach(ends, sound);
        lines
    }

    fn reach(&self, ends: &Ends<T>, sound: bool) -> f64 {
        let both = (0..self.kinds.len()).filter(|i| sound && self.kinds[*i] == BOTH);
        both.map(|i| ends.reach(i)).sum()
    }

    /// The lines where the ends of one neuron have been drawn in.
    pub fn change(&mut self, ends: &Ends<T>, i: usize, sound: bool) {
        (self.kinds[i], self.upper[i], self.offset[i]) = line(ends.lower[i], ends.upper[i], sound);
        self.reach = self.reach(ends, sound);
    }
}

/// What the rows of a tile have in common: whose they are, and what is known of the neurons of ReLUs for all of them.
pub(crate) struct Tile<'a, 'b, T> {
    pub net: &'a Prepared<T>,
    pub jobs: &'a [Job<'b, T>],
    /// Job and row of each.
    pub rows: &'a [(usize, usize)],
    /// Numbers of a run: one a row, and zeros up to whole vectors.
    pub width: usize,
    /// The rows of each job.
    pub spans: Vec<Range<usize>>,
    pub target: usize,
    pub sound: bool,
    /// The rule for slopes, if all jobs have the same.
    rule: Option<Lower>,
    /// Of every value that a ReLU reads.
    seen: Vec<Option<Seen<'a, T>>>,
}

/// The neurons of a ReLU, for all rows of a tile.
pub(crate) struct Seen<'a, T> {
    /// Of every span of rows.
    pub lines: Vec<&'a Lines<T>>,
    kinds: Cow<'a, [u8]>,
}

impl<T> Seen<'_, T> {
    /// Whether the neuron puts out 0 for all rows.
    #[inline(always)]
    pub fn is_dead(&self, neuron: usize) -> bool {
        self.kinds[neuron] & !SPLIT == DEAD
    }

    /// Whether nobody asks what the neuron reads.
    #[inline(always)]
    pub fn is_idle(&self, neuron: usize) -> bool {
        self.kinds[neuron] == DEAD
    }

    /// Whether the neuron puts out what it reads for all rows.
    #[inline(always)]
    pub fn is_active(&self, neuron: usize) -> bool {
        self.kinds[neuron] & !SPLIT == ACTIVE
    }

    /// Whether the neuron has the same lines of both signs for all rows.
    #[inline(always)]
    pub fn is_alike(&self, neuron: usize) -> bool {
        self.kinds[neuron] & !SPLIT == BOTH
    }
}

impl<'a, 'b, T: Real> Tile<'a, 'b, T> {
    pub fn new(net: &'a Prepared<T>, jobs: &'a [Job<'b, T>], rows: &'a [(usize, usize)]) -> Self {
        let first = &jobs[rows[0].0];
        let mut at = 0;
        let span = |chunk: &[(usize, usize)]| {
            at += chunk.len();
            at - chunk.len()..at
        };
        let spans = rows.chunk_by(|a, b| a.0 == b.0).map(span).collect();
        let (target, sound) = (first.target, first.bounds.claim() != Arithmetic::Real);
        let rule = rows.iter().all(|(job, _)| jobs[*job].lower == first.lower).then_some(first.lower);
        let width = rows.len().next_multiple_of(LANES);
        let mut tile = Self { net, jobs, rows, width, spans, target, sound, rule, seen: Vec::new() };
        let needed = net.needed(target);
        let mut seen: Vec<Option<Seen<'a, T>>> = net.len.iter().map(|_| None).collect();
        for node in (0..target).filter(|node| needed[node + 1] && matches!(net.steps[*node], Step::Relu)) {
            let value = net.reads(node);
            if seen[value].is_none() {
                seen[value] = Some(tile.see(value));
            }
        }
        tile.seen = seen;
        tile
    }

    /// The job of a span of rows.
    pub fn job(&self, span: &Range<usize>) -> &'a Job<'b, T> {
        &self.jobs[self.rows[span.start].0]
    }

    /// What is known of the neurons of the ReLU that reads a value.
    pub fn seen(&self, value: usize) -> &Seen<'a, T> {
        self.seen[value].as_ref().expect("a value that a ReLU reads")
    }

    fn see(&self, value: usize) -> Seen<'a, T> {
        let lines: Vec<&Lines<T>> = self.spans.iter().map(|span| self.job(span).bounds.lines(value)).collect();
        let first = lines[0];
        let mut kinds = Cow::Borrowed(first.kinds.as_slice());
        let mut last = first;
        for other in &lines[1..] {
            if !std::ptr::eq(*other, first) && !std::ptr::eq(*other, last) {
                let pairs = kinds.to_mut().iter_mut().zip(&other.kinds);
                let upper = first.upper.iter().zip(&other.upper);
                let offset = first.offset.iter().zip(&other.offset);
                dispatch(
                    #[inline(always)]
                    |_| {
                        for (((kind, other), upper), offset) in pairs.zip(upper).zip(offset) {
                            let differs = (upper.0 != upper.1) | (offset.0 != offset.1);
                            *kind |= *other | (u8::from(differs) * DIFFERS);
                        }
                    },
                );
                last = other;
            }
        }
        for span in &self.spans {
            let splits = self.job(span).beta.into_iter().flat_map(|beta| beta.splits.iter());
            for split in splits.filter(|split| self.net.reads(split.node) == value) {
                kinds.to_mut()[split.neuron as usize] |= SPLIT;
            }
        }
        Seen { lines, kinds }
    }

    /// The slopes and the offset of a neuron of both signs, where they are the same for all rows.
    #[inline(always)]
    pub fn line(&self, seen: &Seen<'_, T>, slopes: &Slopes<'_, T>, neuron: usize) -> Option<[T; 3]> {
        let rule = self.rule.filter(|_| slopes.maps.is_empty() && seen.is_alike(neuron))?;
        let (s, t) = (seen.lines[0].upper[neuron], seen.lines[0].offset[neuron]);
        Some([rule.slope(s), s, t])
    }

    /// The slopes of every row's own at the ReLU `node`.
    pub fn slopes(&self, node: usize) -> Slopes<'a, T> {
        let mut slopes = Slopes { maps: Vec::new(), rows: Vec::with_capacity(self.rows.len()) };
        let mut known: Vec<*const Vec<Layer>> = Vec::new();
        for span in &self.spans {
            let job = self.job(span);
            let own = job.alpha.and_then(|alpha| Some((alpha, alpha.layer(node)?)));
            let Some((alpha, (layer, at))) = own else {
                slopes.rows.extend(span.clone().map(|_| None));
                continue;
            };
            let map = known.iter().position(|layers| *layers == Arc::as_ptr(&alpha.layers)).unwrap_or_else(|| {
                let mut places = vec![u32::MAX; self.net.len[layer.value]];
                layer.neurons.iter().zip(at as u32..).for_each(|(neuron, at)| places[*neuron as usize] = at);
                slopes.maps.push(places);
                known.push(Arc::as_ptr(&alpha.layers));
                known.len() - 1
            });
            slopes.rows.extend(span.clone().map(|row| Some((map, alpha.row(self.rows[row].1)))));
        }
        slopes
    }
}

/// The slopes of the rows of a tile at a ReLU.
pub(crate) struct Slopes<'a, T> {
    /// Of every neuron, the place of its slope in a row's; `u32::MAX` if it has none.
    maps: Vec<Vec<u32>>,
    /// Of every row that has some: which map, and its slopes.
    rows: Vec<Option<(usize, &'a [T])>>,
}

impl<T: Real> Slopes<'_, T> {
    /// The place of a neuron's slope in a row's.
    pub fn place(&self, row: usize, neuron: usize) -> Option<usize> {
        let (map, _) = self.rows[row]?;
        let place = self.maps[map][neuron];
        (place != u32::MAX).then_some(place as usize)
    }

    /// Sets the lower slopes of a neuron of both signs in the rows that have one of their own.
    #[inline(always)]
    pub fn fill(&self, neuron: usize, rows: Range<usize>, to: &mut [T]) {
        if self.maps.is_empty() {
            return;
        }
        for (to, row) in to.iter_mut().zip(&self.rows[rows]) {
            if let Some((map, slopes)) = row {
                let place = self.maps[*map][neuron];
                if place != u32::MAX {
                    *to = slopes[place as usize].largest(T::ZERO).least(T::ONE);
                }
            }
        }
    }
}

/// The lines of a neuron, row by row.
pub(crate) struct Row<T> {
    pub lower: Vec<T>,
    pub upper: Vec<T>,
    pub offset: Vec<T>,
}

impl<T: Real> Row<T> {
    pub fn new(rows: usize) -> Self {
        Self { lower: vec![T::ZERO; rows], upper: vec![T::ZERO; rows], offset: vec![T::ZERO; rows] }
    }

    /// Those of one neuron.
    #[inline(always)]
    pub fn set(&mut self, tile: &Tile<'_, '_, T>, seen: &Seen<'_, T>, slopes: &Slopes<'_, T>, neuron: usize) {
        if let (true, Some(rule)) = (seen.is_alike(neuron), tile.rule) {
            let s = seen.lines[0].upper[neuron];
            self.upper.fill(s);
            self.offset.fill(seen.lines[0].offset[neuron]);
            self.lower.fill(rule.slope(s));
            slopes.fill(neuron, 0..tile.rows.len(), &mut self.lower);
            return;
        }
        for (span, lines) in tile.spans.iter().zip(&seen.lines) {
            let (s, kind) = (lines.upper[neuron], lines.kinds[neuron]);
            self.upper[span.clone()].fill(s);
            self.offset[span.clone()].fill(lines.offset[neuron]);
            let lower = &mut self.lower[span.clone()];
            // Both lines of a neuron of one sign are the same.
            lower.fill(if kind == BOTH { tile.job(span).lower.slope(s) } else { s });
            if kind == BOTH {
                slopes.fill(neuron, span.clone(), lower);
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
