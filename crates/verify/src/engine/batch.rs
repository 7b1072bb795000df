//! Intervals of several inputs at once, their numbers side by side in vectors; and what linear bounds are charged for rounding.

use std::sync::Arc;

use temper_kernels::arch::dispatch;
use temper_kernels::sums::LANES;

use super::buffer::Buffer;
use super::curve;
use super::interval::{Bounds, Charge, Ends, constant_error, deployed, executed, share, tiny};
use super::patches::{Coefficients, Picture, place};
use super::prepared::{Map, Prepared, Step};
use super::real::{Real, UNIT, UNIT32, above, gamma};
use crate::cascade::Arithmetic;

/// The ends of a value for some inputs: `[height, width, channels, rows]`, a row an input. The first input fills the rows that are left.
pub(crate) struct Batch<T: Real> {
    picture: Picture,
    rows: usize,
    lower: Buffer<T>,
    upper: Buffer<T>,
}

impl<T: Real> Batch<T> {
    /// Inputs at most: two vectors of the widest kind.
    pub const MOST: usize = 128 / size_of::<T>();

    /// A value of all of them.
    pub fn new(net: &Prepared<T>, all: &[Bounds<T>], value: usize) -> Self {
        let mut batch = Self::room(net.picture[value], all.len().next_multiple_of(LANES));
        for (row, bounds) in (0..batch.rows).zip(all.iter().chain(std::iter::repeat(&all[0]))) {
            let ends = bounds.ends(value);
            for (to, from) in [(&mut batch.lower, &ends.lower), (&mut batch.upper, &ends.upper)] {
                let to = to.iter_mut().skip(row).step_by(batch.rows);
                to.zip(neurons(batch.picture)).for_each(|(to, neuron)| *to = from[neuron]);
            }
        }
        batch
    }

    fn room(picture: Picture, rows: usize) -> Self {
        let mut batch = Self { picture, rows, lower: Buffer::new(), upper: Buffer::new() };
        let numbers = picture.iter().product::<usize>() * rows;
        batch.lower.more(numbers);
        batch.upper.more(numbers);
        batch
    }

    /// The ends for every input.
    pub fn apart(&self, inputs: usize) -> Vec<Ends<T>> {
        let zeros = || vec![T::ZERO; self.lower.len() / self.rows];
        let mut all: Vec<Ends<T>> = (0..inputs).map(|_| Ends { lower: zeros(), upper: zeros() }).collect();
        for (neuron, (lower, upper)) in neurons(self.picture).zip(self.runs()) {
            for ((ends, l), u) in all.iter_mut().zip(lower).zip(upper) {
                (ends.lower[neuron], ends.upper[neuron]) = (*l, *u);
            }
        }
        all
    }

    /// Makes every number, at both ends, of the numbers of another value.
    fn each(&mut self, from: &Self, make: impl Fn(usize, &[T], &mut [T])) {
        for (to, from) in [(&mut self.lower, &from.lower), (&mut self.upper, &from.upper)] {
            let to = neurons(self.picture).zip(to.chunks_exact_mut(self.rows));
            to.for_each(|(neuron, to)| make(neuron, from, to));
        }
    }

    /// The numbers of every place.
    fn runs(&self) -> impl Iterator<Item = (&[T], &[T])> {
        self.lower.chunks_exact(self.rows).zip(self.upper.chunks_exact(self.rows))
    }

    /// The largest magnitude of a number.
    fn reach(&self, i: usize) -> f64 {
        self.lower[i].magnitude().largest(self.upper[i].magnitude()).double()
    }
}

/// The neurons of a picture, pixel by pixel.
fn neurons([channels, height, width]: Picture) -> impl Iterator<Item = usize> {
    let plane = height * width;
    (0..plane).flat_map(move |pixel| (0..channels).map(move |c| c * plane + pixel))
}

/// The intervals of the output, of those of the input.
pub(crate) fn output<T: Real>(net: &Prepared<T>, claim: Arithmetic, input: Batch<T>) -> Batch<T> {
    let last_reader = |value: usize| (0..net.steps.len()).rfind(|node| net.inputs[*node].contains(&value));
    let mut values = vec![Some(input)];
    while let node = values.len() - 1
        && node < net.steps.len()
    {
        let of = |value: usize| values[value].as_ref().expect("a value that is still read");
        // An affine node with the ReLU behind it, if nothing else reads what is between them.
        let (last, ends) = match (&net.steps[node], net.steps.get(node + 1)) {
            (Step::Affine(map), Some(Step::Relu)) if last_reader(node + 1) == Some(node + 1) => {
                (node + 1, affine(map, claim, of(net.inputs[node][0]), net.picture[node + 2], true))
            }
            _ => (node, through(net, node, claim, of)),
        };
        values.resize_with(last + 1, || None);
        let done = |value: &usize| last_reader(*value).is_none_or(|reader| reader <= last);
        (0..=last).filter(done).for_each(|value| values[value] = None);
        values.push(Some(ends));
    }
    values.pop().flatten().expect("the input")
}

/// The intervals of a node's output; `of` are those of what it reads.
pub(crate) fn through<'a, T: Real>(
    net: &Prepared<T>,
    node: usize,
    claim: Arithmetic,
    of: impl Fn(usize) -> &'a Batch<T>,
) -> Batch<T> {
    let (first, picture) = (of(net.inputs[node][0]), net.picture[node + 1]);
    let rows = first.rows;
    let mut to = match &net.steps[node] {
        Step::Affine(map) => return affine(map, claim, first, picture, false),
        _ => Batch::room(picture, rows),
    };
    let run = |i: usize| place(first.picture, i) * rows..(place(first.picture, i) + 1) * rows;
    match &net.steps[node] {
        Step::Affine(_) => unreachable!("made above"),
        Step::Relu => dispatch(
            #[inline(always)]
            |_| {
                for (to, from) in [(&mut to.lower, &first.lower), (&mut to.upper, &first.upper)] {
                    to.iter_mut().zip(from.iter()).for_each(|(to, from)| *to = from.largest(T::ZERO));
                }
            },
        ),
        Step::Curve(curve) => {
            let (sound, deployed) = (claim != Arithmetic::Real, claim == Arithmetic::Float32);
            let all = Ends { lower: first.lower.to_vec(), upper: first.upper.to_vec() };
            let ends = curve::ends(*curve, &all, sound, deployed);
            to.lower.copy_from_slice(&ends.lower);
            to.upper.copy_from_slice(&ends.upper);
        }
        Step::Add => sum(claim, &net.inputs[node].iter().map(|input| of(*input)).collect::<Vec<_>>(), &mut to),
        Step::MaxPool(windows) => to.each(first, |neuron, from, to| {
            let (first, more) = windows[neuron].split_first().expect("a window sees something");
            to.copy_from_slice(&from[run(*first)]);
            for i in more {
                to.iter_mut().zip(&from[run(*i)]).for_each(|(most, n)| *most = most.largest(*n));
            }
        }),
        Step::Gather { from: places, fill, .. } => {
            to.each(first, |neuron, from, to| match places[neuron] {
                Some(at) => to.copy_from_slice(&from[run(at as usize)]),
                None => to.fill(fill.get(neuron).copied().unwrap_or(T::ZERO)),
            });
            if claim == Arithmetic::Float32 {
                for (i, _) in places.iter().enumerate().filter(|(_, at)| at.is_none()) {
                    let run = place(picture, i) * rows..(place(picture, i) + 1) * rows;
                    let off = |number: T| constant_error(number.double(), true);
                    to.lower[run.clone()].iter_mut().for_each(|l| *l = T::nearest(l.double() - off(*l)));
                    to.upper[run].iter_mut().for_each(|u| *u = T::nearest(u.double() + off(*u)));
                }
            }
        }
    }
    to
}

/// Of an affine node and, if `positive`, the ReLU behind it.
fn affine<T: Real>(map: &Map<T>, claim: Arithmetic, ends: &Batch<T>, picture: Picture, positive: bool) -> Batch<T> {
    let (rows, [read, made]) = (ends.rows, map.pictures());
    let rounding = (claim != Arithmetic::Real).then(|| share(map, claim));
    // Most numbers behind a ReLU are 0 in all inputs.
    let zero = |numbers: &[T]| numbers.iter().all(|n| *n == T::ZERO);
    let live: Vec<bool> = ends.runs().map(|(lower, upper)| !(zero(upper) && zero(lower))).collect();
    let [mut centres, mut radii] = [0; 2].map(|_| Coefficients::room(ends.picture, rows, &live));
    let to = centres.numbers.chunks_exact_mut(rows).zip(radii.numbers.chunks_exact_mut(rows));
    for ((m, r), ((l, u), _)) in to.zip(ends.runs().zip(&live).filter(|(_, live)| **live)) {
        T::middles(l, u, m, r);
    }
    if let Some(share) = rounding {
        // What sums of such numbers are off by.
        for (m, r) in centres.numbers.iter().zip(radii.numbers.iter_mut()) {
            let reach = r.double().next_up();
            *r = T::nearest((reach + share * (m.magnitude().double() + reach)) * (1.0 + 8.0 * UNIT));
        }
    }
    let [centres, radii] = [centres, radii].map(|numbers| numbers.shaped(ends.picture, read, rows));
    let mut lower = map.apply(rows, &centres, false, |_, _, _| ());
    let [least, lowest] = [if positive { 0.0 } else { f64::NEG_INFINITY }, f64::NEG_INFINITY].map(T::nearest);
    let (mut at, plane) = (0, made[1] * made[2]);
    let upper = map.apply(rows, &radii, true, |pixel, channels, radii| {
        let centres = &mut lower.numbers[at..at + radii.len()];
        at += radii.len();
        for ((channel, m), r) in channels.iter().zip(centres.chunks_exact_mut(rows)).zip(radii.chunks_exact_mut(rows)) {
            let place = map.bias_of(plane, *channel, pixel);
            let Some(share) = rounding else {
                T::meet(m, r, map.bias[place], least);
                continue;
            };
            // Rounding of the sum with the bias: a share of the sum of all terms, which the radii hold but for the bias.
            let more = share * map.magnitude[place] + tiny(map, claim) + 1e-300;
            for r in r.iter_mut() {
                let sum = above(r.double() + more, map.fan_in);
                // The magnitudes of all terms are at most this over their share.
                *r = T::nearest(executed(sum, sum / share, claim == Arithmetic::Float32));
            }
            T::meet(m, r, map.bias[place], lowest);
            m.iter_mut().for_each(|l| *l = T::nearest(l.double().next_down()).largest(least));
            r.iter_mut().for_each(|u| *u = T::nearest(u.double().next_up()).largest(least));
        }
    });
    let [lower, upper] = [lower, upper].map(|ends| ends.shaped(made, picture, rows).numbers);
    Batch { picture, rows, lower, upper }
}

fn sum<T: Real>(claim: Arithmetic, all: &[&Batch<T>], to: &mut Batch<T>) {
    let real = claim == Arithmetic::Real;
    to.lower.copy_from_slice(&all[0].lower);
    to.upper.copy_from_slice(&all[0].upper);
    let mut reach: Vec<f64> = (0..to.lower.len()).map(|i| to.reach(i)).collect();
    for more in &all[1..] {
        for (i, reach) in reach.iter_mut().enumerate() {
            *reach = (*reach + more.reach(i)).next_up();
            let [l, u] = [to.lower[i] + more.lower[i], to.upper[i] + more.upper[i]];
            [to.lower[i], to.upper[i]] =
                if real { [l, u] } else { [l.double().next_down(), u.double().next_up()].map(T::nearest) };
        }
    }
    for (i, reach) in reach.into_iter().enumerate() {
        if claim == Arithmetic::Float32 {
            let off = executed(above(reach * gamma(all.len() - 1, UNIT32), 1), reach, true);
            to.lower[i] = T::nearest((to.lower[i].double() - off).next_down());
            to.upper[i] = T::nearest((to.upper[i].double() + off).next_up());
        }
        // Infinities that cancel: nothing is known.
        let known = to.lower[i] <= to.upper[i];
        if !known {
            to.lower[i] = T::nearest(f64::NEG_INFINITY);
            to.upper[i] = T::nearest(f64::INFINITY);
        }
    }
}

/// What linear bounds are charged at a node, for every input; `of` are the bounds of what it reads.
pub(crate) fn charges<'a, T: Real>(
    net: &Prepared<T>,
    node: usize,
    inputs: usize,
    claim: Arithmetic,
    of: impl Fn(usize) -> &'a Batch<T>,
) -> Vec<Option<Arc<Charge>>> {
    let (first, picture, numbers) = (of(net.inputs[node][0]), net.picture[node + 1], net.len[node + 1]);
    let all = match &net.steps[node] {
        _ if claim == Arithmetic::Real => None,
        Step::Affine(map) => Some(affine_charges(map, claim, first)),
        Step::Add if claim == Arithmetic::Float32 => {
            let added = &net.inputs[node];
            let each = |(neuron, row): (usize, usize)| {
                let i = place(picture, neuron) * first.rows + row;
                let reach = added.iter().map(|input| of(*input).reach(i)).sum::<f64>();
                executed(above(reach * gamma(added.len() - 1, UNIT32), added.len()), reach, true)
            };
            let all = (0..numbers).flat_map(|neuron| (0..first.rows).map(move |row| (neuron, row)));
            Some((all.map(each).collect(), vec![0.0; first.rows]))
        }
        Step::Curve(_) if claim == Arithmetic::Float32 => {
            Some((vec![curve::DEPLOYED; numbers * first.rows], vec![0.0; first.rows]))
        }
        Step::Add | Step::Relu | Step::Curve(_) | Step::MaxPool(_) | Step::Gather { .. } => None,
    };
    let one = |row: usize| {
        let (each, small) = all.as_ref()?;
        let each = each.iter().skip(row).step_by(first.rows).copied().collect();
        Some(Arc::new(Charge { each, small: small[row] }))
    };
    (0..inputs).map(one).collect()
}

/// `[neurons, rows]` of an affine node, and of every row what small products are charged.
fn affine_charges<T: Real>(map: &Map<T>, claim: Arithmetic, ends: &Batch<T>) -> (Vec<f64>, Vec<f64>) {
    let (rows, [read, made]) = (ends.rows, map.pictures());
    let mut reach = Coefficients::room(ends.picture, rows, &vec![true; ends.lower.len() / rows]);
    reach.numbers.iter_mut().enumerate().for_each(|(i, reach)| *reach = T::nearest(ends.reach(i)));
    let mut all = vec![0.0; rows];
    for run in reach.numbers.chunks_exact(rows) {
        all.iter_mut().zip(run).for_each(|(sum, reach)| *sum += reach.double());
    }
    let small = all.into_iter().map(|sum| 1e-300 + above(map.fan_out as f64 * 1e-322 * sum, map.size[0])).collect();
    // Terms of a coefficient at the input, of the product with the bias, and of the charge itself.
    let terms = map.fan_out.max(map.size[1] + 1) + 16 + 2 * map.merged as usize;
    let single = claim == Arithmetic::Float32;
    let share = gamma(terms, UNIT) + if single { deployed(map) } else { 0.0 };
    let charge = |(i, product): (usize, T)| {
        let sum = above(product.double() + map.magnitude[i / rows / map.plane] + 1e-290, map.fan_in + 2);
        executed(above(sum * share + tiny(map, claim), 2), sum, single)
    };
    let products = map.apply(rows, &reach.shaped(ends.picture, read, rows), true, |_, _, _| ());
    (products.all(made, rows).into_iter().enumerate().map(charge).collect(), small)
}
