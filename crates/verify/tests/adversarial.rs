//! The checker is not fooled by rounding: networks built for it, and random ones held against exact arithmetic.

#[path = "common/adversarial.rs"]
mod adversarial;
#[path = "common/exact.rs"]
mod exact;
#[path = "common/files.rs"]
mod files;

use std::cmp::Ordering;

use adversarial::{above, all, chain};
use exact::{Exact, intervals};
use temper_base::random::Stream;
use temper_graph::computation::Order;
use temper_graph::{Computation, InputBox, LinearConstraint, Operation, Property};
use temper_verify::cascade::Arithmetic;
use temper_verify::proof::{Bounds, Header, Step, write};
use temper_verify::{ProofVerdict, check};

/// One leaf a group, with linear bounds.
fn plain(computation: &Computation, property: &Property, claim: Arithmetic) -> ProofVerdict {
    let (onnx, vnnlib) = (files::onnx(computation), files::vnnlib(property));
    let mut steps = vec![Step::Box(0), Step::Bounds(Bounds::Crown)];
    for group in 0..property.violations().len() {
        steps.extend([Step::Group(group), Step::Leaf(vec![(0, 1.0)], vec![])]);
    }
    check(&write(&Header::new(claim, &onnx, vnnlib.as_bytes()), &steps), &onnx, &vnnlib)
}

fn holds(verdict: &ProofVerdict) -> bool {
    matches!(verdict, ProofVerdict::Holds(_))
}

#[test]
fn no_network_built_for_it_is_verified() {
    for case in all() {
        for claim in [Arithmetic::Real, Arithmetic::Sound, Arithmetic::Float32] {
            let verdict = plain(&case.computation, &case.property, claim);
            let expected = case.real && (claim != Arithmetic::Float32 || case.float32);
            assert_eq!(holds(&verdict), expected, "{} {claim:?}: {verdict:?}", case.name);
        }
    }
}

#[test]
fn what_the_cases_say_is_so() {
    for case in all() {
        let input = case.property.input();
        // All corners of few inputs, evaluated exactly.
        let corners = if input.lower.len() > 4 { 1 } else { 1 << input.lower.len() };
        let violated = (0..corners).any(|corner: usize| {
            let x = input.lower.iter().zip(&input.upper).enumerate();
            let x: Vec<f64> = x.map(|(i, (l, u))| if corner >> (i % 32) & 1 == 0 { *l } else { *u }).collect();
            let y = intervals(&case.computation, &x, &x).pop().unwrap();
            case.property.violations().iter().any(|group| {
                group.iter().all(|LinearConstraint { terms, bound, .. }| {
                    let sum = terms.iter().fold(Exact::zero(), |sum, (i, c)| sum.plus(&Exact::of(*c).times(&y[*i][0])));
                    sum.order(&Exact::of(*bound)) != Ordering::Greater
                })
            })
        });
        assert_eq!(violated, !case.real, "{}", case.name);
    }
}

/// A small random network with weights of very different sizes, doubles if `double`.
fn random(seed: u64, double: bool) -> Computation {
    let stream = Stream::named(seed, "adversarial");
    let mut next = 0;
    let mut draw = || {
        next += 2;
        let (size, sign) = (stream.at(next) * 40.0 - 20.0, stream.at(next + 1) - 0.5);
        let weight = sign * if stream.at(next) < 0.3 { size.exp2() } else { 2.0 };
        if double { weight } else { f64::from(weight as f32) }
    };
    let sizes = [2, 4, 4, 1];
    let layers = sizes.windows(2).map(|pair| {
        let weight = (0..pair[0] * pair[1]).map(|_| draw()).collect();
        (weight, (0..pair[1]).map(|_| draw()).collect())
    });
    chain(2, &layers.collect::<Vec<_>>())
}

/// The network with all weights made positive.
fn magnitudes(computation: &Computation) -> Computation {
    let mut nodes = computation.nodes().to_vec();
    for node in &mut nodes {
        if let Operation::Dense(affine) = &mut node.operation {
            affine.weight.iter_mut().chain(&mut affine.bias).for_each(|number| *number = number.abs());
        }
    }
    Computation::new(computation.input().to_vec(), nodes).unwrap()
}

#[test]
fn random_networks_are_not_verified_beyond_their_least_value() {
    let (mut thin, mut wide) = (0, 0);
    for seed in 0..2000 {
        let computation = random(seed, seed % 2 == 0);
        let stream = Stream::named(seed, "box");
        let lower: Vec<f64> = (0..2).map(|i| f64::from((stream.at(i) * 2.0 - 1.0) as f32)).collect();
        // A point, or a small box.
        let width = if seed % 3 == 0 { 0.0 } else { 0.25 };
        let upper: Vec<f64> = lower.iter().map(|l| l + width).collect();
        let value = |x: &[f64]| intervals(&computation, x, x).pop().unwrap().remove(0)[0].clone();
        let corners = [[lower[0], lower[1]], [lower[0], upper[1]], [upper[0], lower[1]], [upper[0], upper[1]]];
        let least = corners.iter().map(|x| value(x)).reduce(|a, b| if a.order(&b) == Ordering::Less { a } else { b });
        let least = least.unwrap();
        // The smallest double that is not below the value: a bound there is violated.
        let bound = least.above();
        let verify = |bound, claim| holds(&plain(&computation, &above(lower.clone(), upper.clone(), bound), claim));
        assert!(!verify(bound, Arithmetic::Sound), "seed {seed}: {bound}");
        if width == 0.0 {
            // How much is lost: what the magnitudes of all products add up to.
            let size = magnitudes(&computation)
                .evaluate(&lower.iter().map(|x| x.abs()).collect::<Vec<_>>(), Order::Forward)[0];
            thin += usize::from(verify(bound - size * 1e-12, Arithmetic::Sound));
            wide += 1;
        }
    }
    assert_eq!(thin, wide, "a point is bounded by little less than its value");
}

#[test]
fn single_precision_stays_within_what_is_verified() {
    for seed in 0..500 {
        let computation = random(seed, false);
        let stream = Stream::named(seed, "box");
        let x: Vec<f32> = (0..2).map(|i| (stream.at(i) * 2.0 - 1.0) as f32).collect();
        let exact: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        for order in [Order::Forward, Order::Backward] {
            let found = f64::from(computation.evaluate(&x, order)[0]);
            let input = InputBox::exact(exact.clone(), exact.clone());
            let rows = vec![vec![LinearConstraint::at_most(vec![(0, 1.0)], found)]];
            let property = Property::new(input, rows, 1).unwrap();
            assert!(!holds(&plain(&computation, &property, Arithmetic::Float32)), "seed {seed}: {found}");
        }
    }
}
