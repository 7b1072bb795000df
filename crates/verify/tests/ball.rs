//! Properties over balls: what is decided holds there, and counterexamples lie there.

#[path = "common/random.rs"]
mod random;

use random::{Growing, Random, dense};
use serde_json::Value;
use temper_graph::computation::Order;
use temper_graph::{Affine, Ball, Computation, InputBox, LinearConstraint, Node, Operation, Property};
use temper_verify::cascade::{Answer, decide_properties};
use temper_verify::engine::{Job, Keep, Prepared, Region, Rows, backward, intermediate};
use temper_verify::{Arithmetic, Norm, Settings, Stage, robustness};

/// Outputs that may not be negative, over a ball in a box that holds it.
fn property(centre: &[f64], radius: f64, least: f64) -> Property {
    let ends = |sign: f64| centre.iter().map(|c| c + sign * radius * 1.001).collect();
    let violation = LinearConstraint::at_most(vec![(0, 1.0)], least);
    let property = Property::new(InputBox::exact(ends(-1.0), ends(1.0)), vec![vec![violation]], 1).unwrap();
    property.in_ball(Ball { centre: centre.to_vec(), radius, certain: radius }).unwrap()
}

fn answer(computation: &Computation, property: &Property, stages: &[Stage]) -> Answer {
    let settings = Settings { stages: stages.to_vec(), max_domains: Some(200), ..Settings::default() };
    decide_properties(computation, std::slice::from_ref(property), &settings, &|| false).unwrap().answer
}

/// Over a ball a line is least at `line(centre) - radius |weights|`: every stage but intervals knows it exactly.
#[test]
fn a_line_is_decided_where_it_ends() {
    for inputs in [3, 30] {
        let weight = Random(inputs as u64).numbers(inputs, 1.0);
        let norm = weight.iter().map(|w| w * w).sum::<f64>().sqrt();
        let dense = Operation::Dense(Affine::exact(weight, vec![0.0]));
        let node = Node { name: "line".into(), operation: dense, inputs: vec![0], shape: vec![1] };
        let line = Computation::new(vec![inputs], vec![node]).unwrap();
        let centre: Vec<f64> = Random(7).numbers(inputs, 1.0).iter().map(|c| f64::from(*c as f32)).collect();
        let least = line.evaluate(&centre, Order::Forward)[0] - 0.1 * norm;
        assert_eq!(answer(&line, &property(&centre, 0.1, least - 1e-6), &[Stage::Crown]), Answer::Unsat);
        assert!(matches!(answer(&line, &property(&centre, 0.1, least - 1e-6), &[Stage::Ibp]), Answer::Unknown(_)));
        assert_eq!(answer(&line, &property(&centre, 0.1, least - 1e-6), &Stage::ALL), Answer::Unsat);
        let violated = property(&centre, 0.1, least + 1e-4);
        let Answer::Sat(witness) = answer(&line, &violated, &[Stage::Attack]) else { panic!("no counterexample") };
        let point: Vec<f64> = witness.input.iter().map(|x| f64::from(*x)).collect();
        assert!(violated.contains(&point) && witness.output[0] < least + 1e-4);
    }
}

#[test]
fn what_is_proved_holds_at_points_and_what_is_found_lies_in_the_ball() {
    let (mut proved, mut found) = (0, 0);
    for seed in 0..24 {
        let net = dense(seed, &[8, 10, 10, 1]);
        let random = &mut Random(seed);
        let centre: Vec<f64> = random.numbers(8, 1.0).iter().map(|c| f64::from(*c as f32)).collect();
        let points: Vec<Vec<f64>> = (0..300)
            .map(|_| {
                let step = random.numbers(8, 1.0);
                let norm = step.iter().map(|s| s * s).sum::<f64>().sqrt();
                centre.iter().zip(&step).map(|(c, s)| c + 0.2999 * s / norm).collect()
            })
            .collect();
        let lowest = points.iter().map(|x| net.evaluate(x, Order::Forward)[0]).fold(f64::INFINITY, f64::min);
        for threshold in [lowest - 0.2, lowest - 0.05, lowest + 0.05] {
            let property = property(&centre, 0.3, threshold);
            match answer(&net, &property, &Stage::ALL) {
                Answer::Unsat => {
                    proved += 1;
                    assert!(lowest > threshold);
                }
                Answer::Sat(witness) => {
                    found += 1;
                    let point: Vec<f64> = witness.input.iter().map(|x| f64::from(*x)).collect();
                    assert!(property.contains(&point));
                }
                Answer::Unknown(_) | Answer::Timeout => {}
            }
        }
    }
    assert!(proved > 20 && found > 20, "{proved} proved, {found} found");
}

/// An image's ball is cut to pictures; its radius covers what was meant, and its counterexamples lie within what was meant.
#[test]
fn the_ball_of_an_image() {
    let eps = 8.0 / 255.0;
    let property = robustness(&[0.0, 0.5, 1.0], eps, Norm::Two, 0, 2).unwrap();
    let ball = property.ball().unwrap();
    assert!(ball.certain * 255.0 <= 8.0 && 8.0 <= ball.radius * 255.0 && ball.radius - ball.certain < 1e-15);
    assert_eq!((property.input().lower[0], property.input().upper[2]), (0.0, 1.0));
    let side = 0.5 + 0.9 * eps;
    assert!(property.contains(&[0.0, side, 1.0]) && !property.contains(&[0.5 * eps, side, 1.0]));
    assert!(!property.contains(&[-0.001, 0.5, 1.0]) && !property.contains(&[f64::NAN, 0.5, 1.0]));
    let still = robustness(&[0.25], 0.0, Norm::Two, 0, 2).unwrap();
    assert!(still.contains(&[0.25]) && !still.contains(&[0.25f64.next_up()]));
    for (radius, certain) in [(-1.0, -1.0), (f64::NAN, 0.0), (f64::INFINITY, 1.0), (1.0, 1.5), (1.0, f64::NAN)] {
        let ball = Ball { centre: vec![0.25], radius, certain };
        assert!(still.clone().in_ball(ball).is_err());
    }
    assert!(robustness(&[0.25], 0.1, Norm::Max, 0, 2).unwrap().ball().is_none());
}

/// CROWN over a ball, without the pixel box, is auto_LiRPA's.
#[test]
fn bounds_are_those_of_auto_lirpa() {
    let mut equal = 0;
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().expect("numbers").iter().map(|n| n.as_f64().expect("a number")).collect()
    };
    for case in serde_json::from_str::<Vec<Value>>(include_str!("../../../golden/ball_bounds.json")).expect("JSON") {
        let mut net = Growing { input: vec![6], nodes: Vec::new() };
        for (i, layer) in case["layers"].as_array().expect("layers").iter().enumerate() {
            if i > 0 {
                net.relu();
            }
            let [weight, bias] = [&layer[0], &layer[1]].map(numbers);
            let outputs = bias.len();
            net.then(Operation::Dense(Affine::exact(weight, bias)), vec![outputs]);
        }
        let net = Prepared::<f64>::new(&net.done());
        let region = Region::ball(numbers(&case["centre"]), case["radius"].as_f64().expect("a radius"));
        let bounds = intermediate(&net, region, Arithmetic::Real, None, &|| false);
        let rows = numbers(&case["rows"]);
        let found = backward(&net, &[Job::new(&bounds, net.output(), Rows::Dense(&rows))], Keep::default()).remove(0);
        let wanted = numbers(&case["bound"]);
        let most = wanted.iter().fold(0.0f64, |most, bound| most.max(bound.abs()));
        for (found, wanted) in found.bound.iter().zip(&wanted) {
            // Intermediate bounds are intersected with intervals, which helps a row here and there.
            assert!((-1e-4..3e-2).contains(&((found - wanted) / most)), "{}: {found}, not {wanted}", case["seed"]);
            equal += usize::from((found - wanted).abs() < 1e-4 * most);
        }
    }
    assert!(equal > 6, "{equal} of 9");
}
