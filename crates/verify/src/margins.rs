//! Least margins by intervals: the last layer is merged with the differences of logits, which is tighter than the difference of bounds.

use temper_graph::{Affine, Computation, InputBox, Operation};

use crate::cascade::Arithmetic;
use crate::engine::{Ends, LARGEST, Prepared, Region, output_intervals};

/// A rounding to nearest in double precision.
const DOUBLE: f64 = f64::EPSILON / 2.0;
/// The same in single precision.
const SINGLE: f64 = f32::EPSILON as f64 / 2.0;

/// A classifier cut before its last layer.
pub(crate) struct Margins {
    hidden: Prepared<f64>,
    /// None where the last node is no dense layer: then `hidden` ends with the logits.
    last: Option<Affine>,
}

impl Margins {
    pub(crate) fn new(computation: &Computation) -> Self {
        match computation.nodes().last() {
            Some(node) if let Operation::Dense(affine) = &node.operation => {
                let hidden = Prepared::new(&computation.up_to(node.inputs[0]));
                Self { hidden, last: Some(affine.clone()) }
            }
            _ => Self { hidden: Prepared::new(computation), last: None },
        }
    }

    /// Of every box with its label, the least lower bound of `logit of the label - other logit`; -infinity where a number is too large to
    /// be bounded.
    pub(crate) fn least(&self, boxes: &[InputBox], labels: &[u32], arithmetic: Arithmetic) -> Vec<f64> {
        let regions = boxes.iter().map(|input| Region::new(Ends::outward(&input.lower, &input.upper))).collect();
        let ends = output_intervals(&self.hidden, regions, arithmetic);
        let least = |(ends, label): (&Ends<f64>, &u32)| self.least_margin(ends, *label as usize, arithmetic);
        ends.iter().zip(labels).map(least).collect()
    }

    fn least_margin(&self, Ends { lower, upper }: &Ends<f64>, label: usize, arithmetic: Arithmetic) -> f64 {
        let least = |margin: &dyn Fn(usize) -> f64, classes: usize| {
            // A sum that overflowed proves nothing.
            let number = |bound: f64| if bound.is_nan() { f64::NEG_INFINITY } else { bound };
            (0..classes).filter(|o| *o != label).map(|o| number(margin(o))).fold(f64::INFINITY, f64::min)
        };
        match &self.last {
            None => least(&|o| (lower[label] - upper[o]).next_down(), lower.len()),
            Some(affine) => {
                let row = |o: usize| affine.weight[o * lower.len()..][..lower.len()].iter();
                let margin = |o: usize| {
                    let weights = row(label).zip(row(o)).map(|(a, b)| (a - b, a.abs() + b.abs()));
                    let magnitude = affine.bias_magnitude(label) + affine.bias_magnitude(o);
                    let bias = affine.bias[label] - affine.bias[o];
                    lower_end(weights.zip(lower.iter().zip(upper)), bias, magnitude, affine.merged, arithmetic)
                };
                least(&margin, affine.bias.len())
            }
        }
    }
}

/// The least value of `sum of w x + bias` over `l <= x <= u`; terms are w with the magnitude of what it was made of, l and u.
fn lower_end<'a>(
    terms: impl Iterator<Item = ((f64, f64), (&'a f64, &'a f64))>,
    bias: f64,
    bias_magnitude: f64,
    merged: u32,
    arithmetic: Arithmetic,
) -> f64 {
    let (mut lower, mut magnitude, mut n) = (bias, bias_magnitude, 0.0);
    for ((w, size), (l, u)) in terms {
        lower += w * if w >= 0.0 { l } else { u };
        magnitude += size * l.abs().max(u.abs());
        n += 1.0;
    }
    // A sum in single precision that may overflow has no end.
    if arithmetic == Arithmetic::Float32 && (magnitude > LARGEST || magnitude.is_nan()) {
        return f64::NEG_INFINITY;
    }
    // Of the sum, of the sum of magnitudes, of the difference of weights; in single precision, of both logits as they are executed.
    let double = (2.0 * n + 8.0 + 2.0 * f64::from(merged)) * DOUBLE;
    let (unit, smallest) = match arithmetic {
        Arithmetic::Real => return lower,
        Arithmetic::Sound => (double, f64::MIN_POSITIVE),
        Arithmetic::Float32 => (double + (n + 8.0 + f64::from(merged)) * SINGLE, f32::MIN_POSITIVE.into()),
    };
    // Products below the smallest normal number lose more than a unit of themselves. A hundredth for what is squared.
    lower - (magnitude * unit * 1.01 + 2.0 * (n + 8.0) * smallest)
}
