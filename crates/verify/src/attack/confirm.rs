//! A point that is claimed to be a counterexample, checked without tolerance.

use temper_graph::computation::Order;
use temper_graph::{Computation, Property};

use crate::cascade::Witness;

/// What a side of the box stands for that has no number in single precision, as one from 0.1 to 0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Thin {
    /// For nothing: a network in single precision has no counterexample there.
    #[default]
    Nothing,
    /// For the nearest number in single precision, which such a network is given in its place. It is outside the box, by less than the
    /// distance of two neighbours.
    Nearest,
}

/// The ends in single precision between which a counterexample has to lie; `None` if one of the sides has none.
pub(super) fn certain(property: &Property, thin: Thin) -> Option<[Vec<f32>; 2]> {
    let [lower, upper] = property.input().certain();
    let outside = property.input().lower.iter().zip(&property.input().upper);
    let side = |((l, u), (least, most)): ((&f64, &f64), (&f64, &f64))| match (above(*l), below(*u)) {
        (l, u) if l <= u => Some((l, u)),
        _ if thin == Thin::Nearest => {
            let nearest = (0.5 * least + 0.5 * most) as f32;
            Some((nearest, nearest))
        }
        _ => None,
    };
    let (lower, upper): (Vec<f32>, Vec<f32>) = lower.iter().zip(upper).zip(outside).map(side).collect::<Option<_>>()?;
    lower.iter().chain(&upper).all(|end| end.is_finite()).then_some([lower, upper])
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
pub fn confirm(computation: &Computation, property: &Property, point: &[f64], thin: Thin) -> Option<Witness> {
    let [lower, upper] = certain(property, thin)?;
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
    let inside = thin == Thin::Nearest || property.input().contains(&exact);
    let confirmed = inside
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
