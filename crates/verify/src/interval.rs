//! Interval bounds in double precision.

use temper_graph::{Affine, Computation, InputBox, Operation, computation::windows};

use crate::cascade::Arithmetic;

/// A rounding to nearest in double precision.
const DOUBLE: f64 = f64::EPSILON / 2.0;
/// The same in single precision.
const SINGLE: f64 = f32::EPSILON as f64 / 2.0;

/// The least lower bound of `output label - other output` over the box; -infinity if a number is too large to be bounded.
pub(crate) fn least_margin(computation: &Computation, input: &InputBox, label: usize, arithmetic: Arithmetic) -> f64 {
    let mut values: Vec<[Vec<f64>; 2]> = vec![[input.lower.clone(), input.upper.clone()]];
    let nodes = computation.nodes();
    let last = nodes.len().checked_sub(1);
    let lower = |values: &[[Vec<f64>; 2]]| {
        let [l, u] = values.last().expect("the input");
        (0..l.len()).filter(|i| *i != label).map(|i| (l[label] - u[i]).next_down()).fold(f64::INFINITY, f64::min)
    };
    for (i, node) in nodes.iter().enumerate() {
        if let (true, Operation::Dense(affine)) = (Some(i) == last, &node.operation) {
            let [l, u] = &values[node.inputs[0]];
            let size = l.len();
            let row = |o: usize| &affine.weight[o * size..][..size];
            let margin = |o: usize| {
                let pairs = row(label).iter().zip(row(o)).zip(l.iter().zip(u));
                let terms = pairs.map(|((a, b), (l, u))| (a - b, a.abs() + b.abs(), *l, *u));
                let magnitude = affine.bias_magnitude(label) + affine.bias_magnitude(o);
                ends(terms, affine.bias[label] - affine.bias[o], magnitude, affine.merged + 1, arithmetic)[0]
            };
            return number((0..affine.bias.len()).filter(|o| *o != label).map(margin).fold(f64::INFINITY, least));
        }
        let of = |input: usize| &values[node.inputs[input]];
        let value = match &node.operation {
            Operation::Dense(affine) => {
                let [l, u] = of(0);
                let row = |o: usize| {
                    let row = &affine.weight[o * l.len()..][..l.len()];
                    let terms = row.iter().zip(l.iter().zip(u)).map(|(w, (l, u))| (*w, w.abs(), *l, *u));
                    ends(terms, affine.bias[o], affine.bias_magnitude(o), affine.merged, arithmetic)
                };
                pairs((0..affine.bias.len()).map(row))
            }
            Operation::Conv { window, groups, affine } => {
                let [l, u] = of(0);
                let [rows, columns] = window.output().expect("a window fits");
                let (inside, outside) = (window.input[0] / groups, affine.bias.len() / groups);
                let [kh, kw] = window.kernel;
                let taps = inside * kh * kw;
                let place = |i: usize| {
                    let (o, row, column) = (i / (rows * columns), i / columns % rows, i % columns);
                    let terms = (0..taps).filter_map(|t| {
                        let (c, a, b) = (o / outside * inside + t / (kh * kw), t / kw % kh, t % kw);
                        let at = c * window.input[1] + window.sees(0, row, a)?;
                        let at = at * window.input[2] + window.sees(1, column, b)?;
                        let w = affine.weight[o * taps + t];
                        Some((w, w.abs(), l[at], u[at]))
                    });
                    ends(terms, affine.bias[o], affine.bias_magnitude(o), affine.merged, arithmetic)
                };
                pairs((0..affine.bias.len() * rows * columns).map(place))
            }
            Operation::Scale(affine) => {
                let [l, u] = of(0);
                pairs((0..l.len()).map(|i| scaled(affine, i, l[i], u[i], arithmetic)))
            }
            Operation::Relu => {
                of(0).clone().map(|end| end.into_iter().map(|z| if z < 0.0 { 0.0 } else { z }).collect())
            }
            Operation::Add => {
                let terms = |i: usize| {
                    let inputs = (0..node.inputs.len()).map(|input| (1.0, 1.0, of(input)[0][i], of(input)[1][i]));
                    ends(inputs, 0.0, 0.0, 0, arithmetic)
                };
                pairs((0..of(0)[0].len()).map(terms))
            }
            Operation::MaxPool(window) => of(0).clone().map(|end| {
                let largest = |places: Vec<usize>| places.into_iter().map(|i| end[i]).fold(f64::NEG_INFINITY, f64::max);
                windows(window).map(largest).collect()
            }),
            Operation::Gather { from, fill } => of(0).clone().map(|end| {
                let constant = |i: usize| fill.get(i).copied().unwrap_or(0.0);
                let at = |(i, at): (usize, &Option<u32>)| at.map_or_else(|| constant(i), |at| end[at as usize]);
                from.iter().enumerate().map(at).collect()
            }),
        };
        values.push(value);
    }
    number(lower(&values))
}

/// A sum that overflowed proves nothing.
fn number(bound: f64) -> f64 {
    if bound.is_nan() { f64::NEG_INFINITY } else { bound }
}

fn least(a: f64, b: f64) -> f64 {
    if a <= b { a } else { b }
}

fn scaled(affine: &Affine, i: usize, l: f64, u: f64, arithmetic: Arithmetic) -> [f64; 2] {
    let w = affine.weight[i];
    ends(std::iter::once((w, w.abs(), l, u)), affine.bias[i], affine.bias_magnitude(i), affine.merged, arithmetic)
}

fn pairs(ends: impl Iterator<Item = [f64; 2]>) -> [Vec<f64>; 2] {
    let (lower, upper) = ends.map(|[l, u]| (l, u)).unzip();
    [lower, upper]
}

/// The ends of `sum of w x + bias` over `l <= x <= u`; terms are w, its magnitude, l and u.
fn ends(
    terms: impl Iterator<Item = (f64, f64, f64, f64)>,
    bias: f64,
    bias_magnitude: f64,
    merged: u32,
    arithmetic: Arithmetic,
) -> [f64; 2] {
    let (mut lower, mut upper, mut magnitude, mut n) = (bias, bias, bias_magnitude, 0.0);
    for (w, size, l, u) in terms {
        let [low, high] = if w >= 0.0 { [l, u] } else { [u, l] };
        lower += w * low;
        upper += w * high;
        magnitude += size * l.abs().max(u.abs());
        n += 1.0;
    }
    let unit = match arithmetic {
        Arithmetic::Real => return [lower, upper],
        Arithmetic::Sound => (2.0 * n + 8.0 + 2.0 * f64::from(merged)) * DOUBLE,
        Arithmetic::Float32 => (n + 8.0 + f64::from(merged)) * SINGLE * 1.01,
    };
    // Products below the smallest normal number lose more than a unit of themselves.
    let smallest = if arithmetic == Arithmetic::Float32 { f32::MIN_POSITIVE.into() } else { f64::MIN_POSITIVE };
    let error = magnitude * unit * 1.01 + (n + 2.0) * smallest;
    [lower - error, upper + error]
}
