//! Bounds, losses and their gradients against the formulas in double precision and auto_LiRPA (golden/README.md).

mod common;

use burn::tensor::{Device, Tensor, TensorData};
use common::{NETS, difference, json, labels, load, slabs, tensors, trace, values};
use temper_bounds::crown::{self, LowerSlope};
use temper_bounds::losses::{cross_entropy, relu_balance, robust_loss, tightness};
use temper_model::image::{Classifier, Statistics, Trace};
use temper_model::parameter::{Parameter, Parameters};
use temper_ops::stack;

const TAU: f64 = 0.5;
const CASES: [(&str, f64); 4] = [("train.0.1", 0.1), ("train.0.001", 1e-3), ("eval.0.1", 0.1), ("eval.0.001", 1e-3)];

fn statistics(case: &str) -> Statistics<'static> {
    if case.starts_with("train") { Statistics::Batch } else { Statistics::Running }
}

fn moments(net: &Classifier, trace: &Trace) -> Vec<Tensor<1>> {
    net.config.relus().iter().map(|(_, value)| trace.interval_moments(*value)).collect()
}

fn input_radius(trace: &Trace) -> f64 {
    let radii = &slabs(trace, 0)[2];
    radii.iter().map(|r| f64::from(*r)).sum::<f64>() / radii.len() as f64
}

fn tensor(number: f64) -> Tensor<1> {
    Tensor::from_floats([number as f32], &Device::flex())
}

fn number(tensor: Tensor<1>) -> f64 {
    f64::from(values(tensor)[0])
}

/// Holds a number against the golden one, relative to it.
fn close(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * expected.abs().max(1e-3), "{what}: {found}, expected {expected}");
}

#[test]
fn intervals_and_margins() {
    for name in NETS {
        let (net, golden) = (load(name), tensors(&format!("{name}/bounds.safetensors")));
        let labels = labels(&golden["labels"]);
        for (case, eps) in CASES {
            let trace = trace(&net, &golden["pixels"], eps, statistics(case));
            let check = |what: &str, found: &[f32], tolerance: f64| {
                let d = difference(found, &golden[&format!("{case}.{what}")]);
                assert!(d <= tolerance, "{name} {case}: {what} differs by {d} of its largest entry");
            };
            let mut compared = 0;
            for (relu, value) in net.config.relus() {
                if golden.contains_key(&format!("{case}.{relu}.centre")) {
                    let slabs = slabs(&trace, value);
                    check(&format!("{relu}.centre"), &slabs[1], 2e-5);
                    check(&format!("{relu}.radius"), &slabs[2], 2e-5);
                    compared += 2;
                }
            }
            let stored = golden.keys().filter(|key| key.starts_with(case) && key.contains("relu")).count();
            assert_eq!(compared, stored, "{name} {case}: intervals compared");
            check("logits", &values(net.logits(&trace)), 2e-5);
            check("margins", &values(net.margins(&trace, &labels)), 2e-5);
            check("crown", &values(crown::margins(&net, &trace, &labels)), 5e-5);
            check("crown_zero", &values(crown::margins_with(&net, &trace, &labels, LowerSlope::Zero)), 5e-5);
        }
    }
}

#[test]
fn losses() {
    for name in NETS {
        let (net, golden) = (load(name), tensors(&format!("{name}/bounds.safetensors")));
        let numbers = &json(&format!("{name}/numbers.json"))["cases"];
        let labels = labels(&golden["labels"]);
        let floor = ("train.floor", 1e-6);
        for (case, eps) in CASES.into_iter().chain([floor]) {
            let trace = trace(&net, &golden["pixels"], eps, statistics(case));
            let expected = |what: &str| numbers[case][what].as_f64().unwrap();
            let check = |what: &str, found: f64, tolerance: f64| {
                close(&format!("{name} {case}: {what}"), found, expected(what), tolerance);
            };
            let moments = moments(&net, &trace);
            check("input_width", input_radius(&trace), 1e-6);
            check("clean_loss", number(cross_entropy(net.logits(&trace), &labels)), 1e-5);
            // At the floor a width of 1e-6 stands beside values of 1: single precision keeps some per cents of it.
            let tolerance = if case == floor.0 { 1e-2 } else { 1e-4 };
            check("tightness", number(tightness(&moments, tensor(input_radius(&trace)), TAU)), tolerance);
            check("relu_balance", number(relu_balance(&moments, TAU, &Device::flex())), tolerance);
            if case == floor.0 {
                continue;
            }
            let (ibp, crown) = (net.margins(&trace, &labels), crown::margins(&net, &trace, &labels));
            check("robust_loss", number(robust_loss(ibp.clone())), 2e-5);
            for mix in [0.0, 0.5, 1.0] {
                let mixed = crown.clone() * mix + ibp.clone() * (1.0 - mix);
                check(&format!("crown_loss_{mix:.1}"), number(robust_loss(mixed)), 5e-5);
                let fused = crown::fused_loss(&net, &trace, &labels, mix);
                check(&format!("fused_loss_{mix:.1}"), number(fused), 5e-5);
            }
        }
    }
}

/// Compares the gradient of every parameter with the golden ones of a case.
fn compare_gradients(name: &str, case: &str, net: &Classifier, loss: Tensor<1>, tolerance: f64) {
    let golden = tensors(&format!("{name}/gradients.safetensors"));
    let mut tape = loss.backward();
    let mut found = Vec::new();
    net.clone().visit(&mut |name, parameter| {
        let gradient = match parameter {
            Parameter::Vector(tensor) => tensor.grad_remove(&mut tape).map(values),
            Parameter::Matrix(tensor) => tensor.grad_remove(&mut tape).map(values),
            Parameter::Kernel(tensor) => tensor.grad_remove(&mut tape).map(values),
        };
        found.push((name.to_string(), gradient));
    });
    let largest = found.iter().flat_map(|(_, g)| g.iter().flatten()).fold(0f32, |a, b| a.max(b.abs()));
    let mut worst = 0.0f64;
    for (parameter, gradient) in &found {
        let expected = &golden[&format!("{case}.{parameter}")];
        let gradient = gradient.clone().unwrap_or_else(|| vec![0.0; expected.len()]);
        if expected.iter().all(|value| *value == 0.0) {
            // A bias before a batch norm: only rounding is left.
            assert!(gradient.iter().all(|g| g.abs() <= 1e-4 * largest), "{name} {case}: gradient of {parameter}");
            continue;
        }
        let d = difference(&gradient, expected);
        worst = worst.max(d);
        assert!(d <= tolerance, "{name} {case}: gradient of {parameter} differs by {d} of its largest entry");
    }
    let stored = golden.keys().filter(|key| key.starts_with(&format!("{case}."))).count();
    assert_eq!(found.len(), stored, "{name} {case}: gradients compared");
    eprintln!("{name} {case}: {worst:.1e}");
}

#[test]
fn gradients() {
    for name in NETS {
        let golden = tensors(&format!("{name}/bounds.safetensors"));
        let labels = labels(&golden["labels"]);
        for (case, eps) in
            [("robust.0.1", 0.1), ("robust.0.001", 1e-3), ("crown.0.1", 0.1), ("fused.0.1", 0.1), ("floor", 1e-6)]
        {
            let net = load(name).leaves();
            let trace = trace(&net, &golden["pixels"], eps, Statistics::Batch);
            let regularisers = || {
                let moments = moments(&net, &trace);
                tightness(&moments, tensor(input_radius(&trace)), TAU) + relu_balance(&moments, TAU, &Device::flex())
            };
            let loss = match case.split('.').next().unwrap() {
                "robust" => robust_loss(net.margins(&trace, &labels)) + regularisers() * 0.45,
                "crown" => {
                    let crown = crown::margins(&net, &trace, &labels);
                    robust_loss((crown + net.margins(&trace, &labels)) * 0.5)
                }
                "fused" => crown::fused_loss(&net, &trace, &labels, 0.5),
                _ => cross_entropy(net.logits(&trace), &labels) + regularisers() * 0.5,
            };
            compare_gradients(name, case, &net, loss, if case == "floor" { 2e-2 } else { 1e-4 });
        }
    }
}

/// The regularisers on layers of a few units, the degenerate ones among them, with their gradients for the ends.
#[test]
fn regularisers_by_case() {
    for case in json("regularisers.json").as_array().unwrap() {
        let list = |value: &serde_json::Value| -> Vec<f32> {
            value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
        };
        let layers = case["layers"].as_array().unwrap();
        let input_width = case["input_width"].as_f64().unwrap();
        for loss in ["tightness", "relu_balance"] {
            let leaf = |values: Vec<f32>| {
                let shape = [1, 1, values.len(), 1, 1];
                Tensor::<5>::from_data(TensorData::new(values, shape), &Device::flex()).autodiff().require_grad()
            };
            let ends: Vec<[Tensor<5>; 2]> =
                layers.iter().map(|layer| [leaf(list(&layer["lower"])), leaf(list(&layer["upper"]))]).collect();
            let moments: Vec<Tensor<1>> = ends
                .iter()
                .map(|[l, u]| {
                    let (c, r) = ((l.clone() + u.clone()) * 0.5, (u.clone() - l.clone()) * 0.5);
                    stack::interval_moments(Tensor::cat(vec![c.clone(), c, r], 0))
                })
                .collect();
            let total = match loss {
                "tightness" => tightness(&moments, tensor(input_width), TAU),
                _ => relu_balance(&moments, TAU, &Device::flex()),
            };
            let what = format!("{loss} of {}", case["name"]);
            let expected = case[loss].as_f64().unwrap();
            assert!((number(total.clone()) - expected).abs() <= 1e-5, "{what}: {total}, expected {expected}");
            let mut tape = (total + (ends[0][0].clone() * 0.0).sum()).backward();
            let gradients = case[format!("{loss}_grad")].as_array().unwrap();
            for (end, expected) in ends.iter().flatten().zip(gradients) {
                let expected = list(expected);
                let found = end.grad_remove(&mut tape).map_or_else(|| vec![0.0; expected.len()], values);
                let largest = gradients.iter().flat_map(&list).fold(1e-3f32, |a, b| a.max(b.abs()));
                let d = found.iter().zip(&expected).fold(0f32, |a, (x, y)| a.max((x - y).abs()));
                assert!(d <= 1e-5 * largest, "{what}: gradient {found:?}, expected {expected:?}");
            }
        }
    }
}
