//! A point that is claimed to be a counterexample, checked without tolerance.

use temper_graph::computation::Order;
use temper_graph::{Computation, Property};

use crate::cascade::Witness;

/// The least and the largest number in single precision that certainly belong to the box; `None` if one of its sides has none.
pub(super) fn certain(property: &Property) -> Option<[Vec<f32>; 2]> {
    let [lower, upper] = property.input().certain();
    let lower: Vec<f32> = lower.iter().map(|l| above(*l)).collect();
    let upper: Vec<f32> = upper.iter().map(|u| below(*u)).collect();
    let ordered = lower.iter().zip(&upper).all(|(l, u)| l <= u && l.is_finite() && u.is_finite());
    ordered.then_some([lower, upper])
}

/// The least `f32` that is not below `x`.
fn above(x: f64) -> f32 {
    let near = x as f32;
    if f64::from(near) < x { near.next_up() } else { near }
}

/// The largest `f32` that is not above `x`.
fn below(x: f64) -> f32 {
    let near = x as f32;
    if f64::from(near) > x { near.next_down() } else { near }
}

/// The counterexample beside this point: rounded to single precision within what certainly belongs to the box, and violating the property
/// strictly in single precision, summed forward and backward, and in double precision. `None` if it is none.
pub fn confirm(computation: &Computation, property: &Property, point: &[f64]) -> Option<Witness> {
    let [lower, upper] = certain(property)?;
    if point.len() != lower.len() || lower.len() != computation.inputs() || point.iter().any(|x| x.is_nan()) {
        return None;
    }
    let ends = lower.iter().zip(&upper);
    let input: Vec<f32> = point.iter().zip(ends).map(|(x, (l, u))| (*x as f32).clamp(*l, *u)).collect();
    let exact: Vec<f64> = input.iter().map(|x| f64::from(*x)).collect();
    let output = computation.evaluate(&exact, Order::Forward);
    let double = |outputs: Vec<f32>| outputs.into_iter().map(f64::from).collect::<Vec<f64>>();
    // An overflow proves nothing.
    let holds = |outputs: &[f64]| outputs.iter().all(|y| y.is_finite()) && strictly(property, outputs);
    let confirmed = property.input().contains(&exact)
        && holds(&output)
        && holds(&double(computation.evaluate(&input, Order::Forward)))
        && holds(&double(computation.evaluate(&input, Order::Backward)));
    confirmed.then_some(Witness { input, output })
}

/// Whether these outputs violate the property, and not by equality alone.
fn strictly(property: &Property, outputs: &[f64]) -> bool {
    let sum = |terms: &[(usize, f64)]| terms.iter().map(|(output, c)| c * outputs[*output]).sum::<f64>();
    property.violations().iter().any(|group| group.iter().all(|row| sum(&row.terms) < row.certain))
}
