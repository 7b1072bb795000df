//! A point that is claimed to be a counterexample, checked without tolerance.

use temper_graph::computation::Order;
use temper_graph::{Ball, Computation, Property};

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

/// Moves a point that is outside of a ball onto it, so far inside that rounding to single precision does not move it out again.
pub(super) fn into_ball(ball: &Ball, point: &mut [f32]) {
    let squares = point.iter().zip(&ball.centre).map(|(x, c)| (f64::from(*x) - c) * (f64::from(*x) - c));
    let distance = squares.sum::<f64>().sqrt();
    let largest = ball.centre.iter().fold(ball.radius, |most, c| most.max(c.abs() + ball.radius));
    let rounding = largest * f64::from(f32::EPSILON) * (point.len() as f64).sqrt();
    let room = (ball.certain * (1.0 - 1e-9) - rounding).max(0.0);
    if distance > room {
        let nearer = |x: f32, c: f64| (c + (f64::from(x) - c) * (room / distance)) as f32;
        point.iter_mut().zip(&ball.centre).for_each(|(x, c)| *x = nearer(*x, *c));
    }
}

/// The counterexample beside this point: rounded to single precision within what certainly belongs to the inputs, and violating the property
/// strictly in single precision, summed forward and backward, and in double precision. `None` if it is none.
pub fn confirm(computation: &Computation, property: &Property, point: &[f64], thin: Thin) -> Option<Witness> {
    let [lower, upper] = certain(property, thin)?;
    if point.len() != lower.len() || lower.len() != computation.inputs() || point.iter().any(|x| x.is_nan()) {
        return None;
    }
    let ends = lower.iter().zip(&upper);
    let mut input: Vec<f32> = point.iter().map(|x| *x as f32).collect();
    if let Some(ball) = property.ball() {
        into_ball(ball, &mut input);
    }
    input.iter_mut().zip(ends).for_each(|(x, (l, u))| *x = x.clamp(*l, *u));
    let exact: Vec<f64> = input.iter().map(|x| f64::from(*x)).collect();
    let output = computation.evaluate(&exact, Order::Forward);
    let double = |outputs: Vec<f32>| outputs.into_iter().map(f64::from).collect::<Vec<f64>>();
    // An overflow proves nothing.
    let holds = |outputs: &[f64]| outputs.iter().all(|y| y.is_finite()) && strictly(property, outputs);
    let in_ball = property.ball().is_none_or(|ball| ball.contains(&exact));
    let inside = in_ball && (thin == Thin::Nearest || property.input().contains(&exact));
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
