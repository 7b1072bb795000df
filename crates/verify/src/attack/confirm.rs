//! A point that is claimed to be a counterexample, checked without tolerance.

use temper_graph::computation::Order;
use temper_graph::{Ball, Computation, LinearConstraint, Property};

use crate::cascade::{Arithmetic, Witness};
use crate::engine::{Ends, Prepared, Region, output_intervals};

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
/// strictly in single precision, summed forward and backward, and in double precision, or with equality that no rounding undoes. `None` if it
/// is none.
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
    let single = |order: Order| computation.evaluate(&input, order).into_iter().map(f64::from).collect::<Vec<f64>>();
    let in_ball = property.ball().is_none_or(|ball| ball.contains(&exact));
    let inside = in_ball && (thin == Thin::Nearest || property.input().contains(&exact));
    if !inside || !property.violated_by(&output) {
        return None;
    }
    let outputs = [output.clone(), single(Order::Forward), single(Order::Backward)];
    // An overflow proves nothing.
    let finite = outputs.iter().flatten().all(|y| y.is_finite());
    let confirmed = finite
        && outputs.iter().all(|outputs| property.violated_by(outputs))
        && (outputs.iter().all(|outputs| strictly(property, outputs)) || certainly(computation, property, &exact));
    confirmed.then_some(Witness { input, output })
}

/// Whether the outputs at this point violate the property whatever is rounded, in the network over the real numbers and in any execution in
/// single precision: so equality counts where it is no accident, as between outputs that are ReLUs and off.
fn certainly(computation: &Computation, property: &Property, point: &[f64]) -> bool {
    let net = Prepared::<f64>::new(computation);
    let here = Region::new(Ends { lower: point.to_vec(), upper: point.to_vec() });
    let Some(Ends { lower, upper }) = output_intervals(&net, vec![here], Arithmetic::Float32).pop() else {
        return false;
    };
    let met = |row: &LinearConstraint| {
        let term = |(output, c): &(usize, f64)| if *c > 0.0 { (*c, upper[*output]) } else { (*c, lower[*output]) };
        // Zeros are exact; what is rounded is rounded upwards.
        let most = row.terms.iter().map(term).filter(|(c, end)| *c != 0.0 && *end != 0.0);
        let most = most.fold(0.0f64, |sum, (c, end)| (sum + (c * end).next_up()).next_up());
        if row.strict { most < row.certain } else { most <= row.certain }
    };
    property.violations().iter().any(|group| group.iter().all(met))
}

/// Whether these outputs violate the property, and not by equality alone.
fn strictly(property: &Property, outputs: &[f64]) -> bool {
    let sum = |terms: &[(usize, f64)]| terms.iter().map(|(output, c)| c * outputs[*output]).sum::<f64>();
    property.violations().iter().any(|group| group.iter().all(|row| sum(&row.terms) < row.certain))
}
