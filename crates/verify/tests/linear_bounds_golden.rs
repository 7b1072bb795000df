//! Bounds of small networks against those of auto_LiRPA (golden/linear_bounds.py).

use serde_json::Value;
use temper_graph::{Affine, Computation, Node, Operation, Window};
use temper_verify::cascade::Arithmetic::Real as Plain;
use temper_verify::engine::*;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("numbers").iter().map(|number| number.as_f64().expect("a number")).collect()
}

fn size(value: &Value) -> usize {
    value.as_u64().expect("a size") as usize
}

fn sizes(value: &Value) -> Vec<usize> {
    value.as_array().expect("sizes").iter().map(size).collect()
}

fn computation(case: &Value) -> Computation {
    let mut shapes = vec![sizes(&case["input"])];
    let mut nodes = Vec::new();
    for (i, node) in case["nodes"].as_array().expect("nodes").iter().enumerate() {
        let (inputs, shape) = (sizes(&node["inputs"]), sizes(&node["shape"]));
        let window = |kernel: usize, stride: usize, padding: usize| Window {
            input: shapes[inputs[0]].clone().try_into().expect("a picture"),
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 4],
            dilation: [1; 2],
        };
        let affine = || Affine::exact(numbers(&node["w"]), numbers(&node["b"]));
        let operation = match node["op"].as_str().expect("a name") {
            "dense" => Operation::Dense(affine()),
            "conv" => {
                let (affine, groups) = (affine(), size(&node["groups"]));
                let taps = affine.weight.len() / affine.bias.len() / (shapes[inputs[0]][0] / groups);
                let window = window(taps.isqrt(), size(&node["stride"]), size(&node["padding"]));
                Operation::Conv { window, groups, affine }
            }
            "average" => {
                let (kernel, channels) = (size(&node["kernel"]), shape[0]);
                let weight = vec![1.0 / (kernel * kernel) as f64; channels * kernel * kernel];
                let affine = Affine::exact(weight, vec![0.0; channels]);
                Operation::Conv { window: window(kernel, kernel, 0), groups: channels, affine }
            }
            "max" => Operation::MaxPool(window(size(&node["kernel"]), size(&node["kernel"]), 0)),
            "relu" => Operation::Relu,
            "add" => Operation::Add,
            other => panic!("{other}"),
        };
        shapes.push(shape.clone());
        nodes.push(Node { name: format!("n{i}"), operation, inputs, shape });
    }
    Computation::new(sizes(&case["input"]), nodes).expect("a network")
}

/// What each of these values lies between.
fn listed(bounds: &Value) -> Vec<(usize, Ends<f64>)> {
    let ends = |ends: &Value| Ends { lower: numbers(&ends[0]), upper: numbers(&ends[1]) };
    let bounds = bounds.as_object().expect("bounds").iter();
    bounds.map(|(value, both)| (value.parse().expect("a number"), ends(both))).collect()
}

/// Within 1e-4 of the largest.
fn near(what: &str, found: &[f64], wanted: &[f64]) {
    within(1e-4, what, found, wanted);
}

/// Within this part of the largest.
fn within(part: f64, what: &str, found: &[f64], wanted: &[f64]) {
    let most = wanted.iter().fold(0.0f64, |most, number| most.max(number.abs()));
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert!((found - wanted).abs() <= part * most, "{what}, {i}: {found}, not {wanted}");
    }
}

#[test]
fn bounds_are_those_of_auto_lirpa() {
    let text = include_str!("../../../golden/linear_bounds.json");
    for case in serde_json::from_str::<Vec<Value>>(text).expect("JSON") {
        let name = case["name"].as_str().expect("a name");
        let net = Prepared::<f64>::new(&computation(&case));
        let rows = numbers(&case["rows"]);
        let count = rows.len() / net.len(net.output());
        let input = || Ends { lower: numbers(&case["lower"]), upper: numbers(&case["upper"]) };
        let by_intervals = interval(&net, input(), Plain);
        let tight = intermediate(&net, input(), Plain, None, &|| false);
        for (value, ends) in listed(&case["ibp"]) {
            near(&format!("{name}, lower ends of {value}"), &by_intervals.ends(value).lower, &ends.lower);
            near(&format!("{name}, upper ends of {value}"), &by_intervals.ends(value).upper, &ends.upper);
        }
        // Ours are intersected with the intervals of tightened values; auto_LiRPA's are rows alone where such an interval has both signs.
        for (value, ends) in listed(&case["crown"]) {
            let ours = tight.ends(value);
            let most = ends.lower.iter().chain(&ends.upper).fold(0.0f64, |most, end| most.max(end.abs()));
            for i in 0..ends.lower.len() {
                let close = 1e-4 * most;
                assert!(
                    ours.lower[i] >= ends.lower[i] - close,
                    "{name}, value {value}, {i}: {}, not {}",
                    ours.lower[i],
                    ends.lower[i]
                );
                assert!(
                    ours.upper[i] <= ends.upper[i] + close,
                    "{name}, value {value}, {i}: {}, not {}",
                    ours.upper[i],
                    ends.upper[i]
                );
            }
        }
        let given =
            listed(&case["crown"]).iter().fold(by_intervals.clone(), |all, (value, ends)| all.with(*value, ends));
        for (bounds, key) in [(&by_intervals, "crown_ibp_rows"), (&given, "crown_rows")] {
            let pushed = backward(&net, &[Job::new(bounds, net.output(), Rows::Dense(&rows))], Keep::default());
            near(&format!("{name}, {key}"), &pushed[0].bound, &numbers(&case[key]));
        }
        for (steps, wanted) in case["alpha"].as_object().into_iter().flatten() {
            let job = Job::new(&given, net.output(), Rows::Dense(&rows));
            let found = optimise(&net, &[job], &ascent(steps, 0.1), &|| false);
            within(drift(steps), &format!("{name}, alpha after {steps}"), &found[0].bound, &numbers(wanted));
        }
        if !case["joint"].is_null() {
            let job = Job::new(&given, net.output(), Rows::Dense(&rows));
            // auto_LiRPA optimises all slopes for the rows at the end; ours are at least as tight layer by layer.
            let (bounds, _) = optimise_layers(&net, &job, &ascent("20", 0.25), &|| false);
            let job = Job { bounds: &bounds, ..job };
            let found = optimise(&net, &[job], &ascent("20", 0.1), &|| false).remove(0).bound;
            let wanted = numbers(&case["joint"]["20"]);
            for (found, wanted) in found.iter().zip(&wanted) {
                assert!(*found > wanted - 1e-2 * wanted.abs(), "{name}, layers: {found}, not {wanted}");
            }
        }
        let splits: Vec<Split> = case["splits"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|split| {
                let (value, neuron) = (size(&split[0]), size(&split[1]) as u32);
                let node = net.relus().find(|node| net.reads(*node) == value).expect("a ReLU");
                Split { node, neuron, active: split[2].as_i64() == Some(1) }
            })
            .collect();
        let domain = splits
            .iter()
            .fold(given.clone(), |all, split| all.split(net.reads(split.node), split.neuron as usize, split.active));
        let beta = Beta::new(splits, count);
        for (steps, wanted) in case["beta"].as_object().into_iter().flatten() {
            let job = Job { beta: Some(&beta), ..Job::new(&domain, net.output(), Rows::Dense(&rows)) };
            let found = optimise(&net, &[job], &ascent(steps, 0.0), &|| false);
            within(drift(steps), &format!("{name}, beta after {steps}"), &found[0].bound, &numbers(wanted));
        }
    }
}

/// How far two searches may be apart: where a coefficient is 0 there are several gradients, and neither is wrong.
fn drift(steps: &str) -> f64 {
    if steps == "20" { 1e-2 } else { 1e-4 }
}

/// auto_LiRPA's steps, with this rate for slopes.
fn ascent(steps: &str, alpha: f64) -> Ascent {
    let iterations = steps.parse().expect("a number");
    Ascent { iterations, alpha_rate: alpha, beta_rate: 0.05, decay: 0.98, threshold: f64::INFINITY, any: false }
}
