//! Sigmoid and tanh: intervals, lines and answers against points, in every arithmetic.

#[path = "common/random.rs"]
mod random;

use random::{Growing, Random};
use serde_json::Value;
use temper_graph::computation::Order;
use temper_graph::{Affine, Computation, Curve, InputBox, LinearConstraint, Operation, Property, Window};
use temper_verify::cascade::{Answer, Arithmetic, decide_properties};
use temper_verify::engine::*;
use temper_verify::{Settings, Stage};

const CURVES: [Curve; 2] = [Curve::Sigmoid, Curve::Tanh];

/// A node of a curve alone, over one number.
fn alone(curve: Curve) -> Computation {
    let mut net = Growing { input: vec![1], nodes: Vec::new() };
    net.then(Operation::Curve(curve), vec![1]);
    net.done()
}

fn line(computation: &Computation, l: f64, u: f64, claim: Arithmetic) -> [(f64, f64); 2] {
    let net = Prepared::<f64>::new(computation);
    let bounds = interval(&net, Ends { lower: vec![l], upper: vec![u] }, claim);
    let units = [(0, false), (0, true)];
    let keep = Keep { line: true, lambda: false };
    let pushed = backward(&net, &[Job::new(&bounds, 1, Rows::Units(&units))], keep).remove(0);
    [(pushed.line[0], pushed.constant[0]), (-pushed.line[1], -pushed.constant[1])]
}

#[test]
fn lines_lie_below_and_above() {
    let ends = [-1e300, -800.0, -30.0, -6.0, -2.0, -0.5, -1e-9, 0.0, 1e-300, 1e-9, 0.3, 2.0, 7.0, 40.0, 1e4, 1e300];
    for curve in CURVES {
        for (i, l) in ends.iter().enumerate() {
            for u in &ends[i..] {
                for claim in [Arithmetic::Sound, Arithmetic::Float32] {
                    let [below, above] = line(&alone(curve), *l, *u, claim);
                    for k in 0..=200 {
                        let z = l + (u - l) * (f64::from(k) / 200.0);
                        let y = curve.of(z.clamp(*l, *u));
                        let scale = 1e-15 * (below.0 * z).abs().max((above.0 * z).abs());
                        assert!(below.0 * z + below.1 <= y + scale, "{curve:?} [{l}, {u}] at {z}: {below:?}");
                        assert!(above.0 * z + above.1 >= y - scale, "{curve:?} [{l}, {u}] at {z}: {above:?}");
                    }
                }
            }
        }
    }
}

/// Between near ends, a line is off by the square of their distance.
#[test]
fn lines_are_tight() {
    for curve in CURVES {
        for at in [-5.0, -1.0, -0.01, 0.0, 0.02, 0.7, 4.0] {
            let (l, u) = (at - 0.05, at + 0.05);
            let [below, above] = line(&alone(curve), l, u, Arithmetic::Sound);
            for z in [l, at, u] {
                let gap = (above.0 - below.0) * z + above.1 - below.1;
                assert!((0.0..2.5e-3).contains(&gap), "{curve:?} at {z}: {gap}");
            }
        }
    }
}

/// A convolution and dense layers with curves and a ReLU between them.
fn network(seed: u64) -> Computation {
    let random = &mut Random(seed);
    let curve = |net: &mut Growing, curve: Curve| {
        let shape = net.shape();
        net.then(Operation::Curve(curve), shape);
    };
    let mut net = Growing { input: vec![1, 4, 4], nodes: Vec::new() };
    let window = Window { input: [1, 4, 4], kernel: [3, 3], stride: [1, 1], padding: [1; 4], dilation: [1, 1] };
    net.conv(random, 2, 1, window);
    curve(&mut net, CURVES[random.below(2)]);
    net.dense(random, 8);
    net.relu();
    net.dense(random, 6);
    curve(&mut net, CURVES[random.below(2)]);
    net.dense(random, 2);
    net.done()
}

#[test]
fn bounds_hold_at_points_and_are_tighter_than_intervals() {
    let mut tighter = 0;
    for seed in 0..20 {
        let computation = network(seed);
        let net = Prepared::<f64>::new(&computation);
        let random = &mut Random(seed + 100);
        let centre = random.numbers(16, 1.0);
        let ends = |sign: f64| centre.iter().map(|c| c + sign * 0.1).collect::<Vec<f64>>();
        let input = Ends { lower: ends(-1.0), upper: ends(1.0) };
        let units: Vec<(u32, bool)> = (0..2).flat_map(|i| [(i, false), (i, true)]).collect();
        let bound = |claim| {
            let bounds = intermediate(&net, input.clone(), claim, None, &|| false);
            let job = Job::new(&bounds, net.output(), Rows::Units(&units));
            (backward(&net, &[job], Keep::default()).remove(0).bound, bounds)
        };
        let [(real, _), (sound, bounds), (single, _)] =
            [Arithmetic::Real, Arithmetic::Sound, Arithmetic::Float32].map(bound);
        let plain = interval(&net, input.clone(), Arithmetic::Sound);
        for i in 0..4 {
            assert!(single[i] < sound[i] && sound[i] <= real[i] && real[i] - sound[i] < 1e-10, "{single:?} {sound:?}");
            let end = plain.ends(net.output());
            tighter += usize::from(sound[i] > if i % 2 == 0 { end.lower[i / 2] } else { -end.upper[i / 2] });
        }
        for _ in 0..100 {
            let x: Vec<f64> = centre.iter().map(|c| f64::from((c + 0.1 * random.number().signum()) as f32)).collect();
            let x: Vec<f64> =
                x.iter().zip(input.lower.iter().zip(&input.upper)).map(|(x, (l, u))| x.clamp(*l, *u)).collect();
            for (value, numbers) in computation.values(&x, Order::Forward).iter().enumerate() {
                let ends = bounds.ends(value);
                assert!(numbers.iter().zip(&ends.lower).all(|(y, l)| l <= y), "value {value}");
                assert!(numbers.iter().zip(&ends.upper).all(|(y, u)| y <= u), "value {value}");
            }
            let y = computation.evaluate(&x, Order::Forward);
            assert!((0..2).all(|i| sound[2 * i] <= y[i] && y[i] <= -sound[2 * i + 1]));
        }
    }
    assert!(tighter > 70, "{tighter} of 80 are tighter than intervals");
}

#[test]
fn answers_are_true() {
    let (mut proved, mut found) = (0, 0);
    for seed in 0..12 {
        let computation = network(seed);
        let random = &mut Random(seed + 100);
        let centre = random.numbers(16, 1.0);
        let ends = |sign: f64| centre.iter().map(|c| c + sign * 0.05).collect::<Vec<f64>>();
        let at = |_| -> Vec<f64> { centre.iter().map(|c| c + 0.05 * random.number().signum()).collect() };
        let least = (0..200).map(at).map(|x| computation.evaluate(&x, Order::Forward)[0]).fold(f64::INFINITY, f64::min);
        for slack in [-0.02, 0.1, 0.3] {
            let row = LinearConstraint::at_most(vec![(0, 1.0)], least - slack);
            let property = Property::new(InputBox::exact(ends(-1.0), ends(1.0)), vec![vec![row]], 2).unwrap();
            let settings = Settings { stages: Stage::ALL.to_vec(), max_domains: Some(50), ..Settings::default() };
            match decide_properties(&computation, &[property], &settings, &|| false).unwrap().answer {
                Answer::Unsat => {
                    assert!(slack > 0.0);
                    proved += 1;
                }
                Answer::Sat(witness) => {
                    assert!(witness.output[0] < least - slack);
                    found += 1;
                }
                Answer::Unknown(_) | Answer::Timeout => {}
            }
        }
    }
    assert!(proved > 8 && found > 8, "{proved} proved, {found} found");
}

/// Intervals and lines are auto_LiRPA's.
#[test]
fn bounds_are_those_of_auto_lirpa() {
    let mut plain_cases = 0;
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().expect("numbers").iter().map(|n| n.as_f64().expect("a number")).collect()
    };
    for case in serde_json::from_str::<Vec<Value>>(include_str!("../../../golden/curve_bounds.json")).expect("JSON") {
        let curve = if case["name"] == "tanh" { Curve::Tanh } else { Curve::Sigmoid };
        let mut net = Growing { input: vec![5], nodes: Vec::new() };
        for (i, layer) in case["layers"].as_array().expect("layers").iter().enumerate() {
            if i > 0 {
                let shape = net.shape();
                net.then(Operation::Curve(curve), shape);
            }
            let [weight, bias] = [&layer[0], &layer[1]].map(numbers);
            let outputs = bias.len();
            net.then(Operation::Dense(Affine::exact(weight, bias)), vec![outputs]);
        }
        let net = Prepared::<f64>::new(&net.done());
        let input = || Ends { lower: numbers(&case["lower"]), upper: numbers(&case["upper"]) };
        let mut tighter = false;
        let plain = interval(&net, input(), Arithmetic::Real);
        let tight = intermediate(&net, input(), Arithmetic::Real, None, &|| false);
        for (i, (ibp, crown)) in
            case["ibp"].as_array().unwrap().iter().zip(case["crown"].as_array().unwrap()).enumerate()
        {
            let value = 2 * i + 1;
            for (side, ours) in [&plain.ends(value).lower, &plain.ends(value).upper].into_iter().enumerate() {
                let wanted = numbers(&ibp[side]);
                assert!(ours.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-8), "{ours:?} {wanted:?}");
            }
            // Ours are intersected with intervals; where that helps, lines are those of other ends.
            let [lower, upper] = [0, 1].map(|side| numbers(&crown[side]));
            tighter |= tight.ends(value).lower.iter().zip(&lower).any(|(ours, theirs)| *ours > theirs + 1e-2);
            tighter |= tight.ends(value).upper.iter().zip(&upper).any(|(ours, theirs)| *ours < theirs - 1e-2);
        }
        let rows = numbers(&case["rows"]);
        let found = backward(&net, &[Job::new(&tight, net.output(), Rows::Dense(&rows))], Keep::default()).remove(0);
        let wanted = numbers(&case["crown_rows"]);
        let most = wanted.iter().fold(1.0f64, |most, bound| most.max(bound.abs()));
        // Its tangents that meet the curve at an end come from a table in steps.
        let near = if tighter { 5e-2 } else { 1e-2 } * most;
        assert!(
            found.bound.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < near),
            "{}: {:?}, not {wanted:?}",
            case["name"],
            found.bound
        );
        plain_cases += usize::from(!tighter);
    }
    assert!(plain_cases > 2, "{plain_cases}");
}
