//! Ten training steps of three image classifiers against the paper's formulas in PyTorch (golden/README.md says how the
//! numbers were made), gradient accumulation, and independence of the number of threads.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use safetensors::SafeTensors;
use serde_json::Value;
use temper_certify::method::Method;
use temper_certify::methods::{CrownIbp, Ibp, Mixing, Objective, Pgd, Plain};
use temper_certify::radius::EpsAt;
use temper_certify::step::{Accumulation, Batch, Update, loss_and_gradients, train_step};
use temper_graph::{NetworkConfig, Op};
use temper_model::{Classifier, Parameters};
use temper_train::group::{Alone, Group};
use temper_train::optimizer::{Optimizer, Settings};
use temper_train::trainer::NO_LIMIT;

const NETS: [&str; 3] = ["cnn7", "wide_resnet", "resnext"];
const SETTINGS: Settings = Settings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, clip: 10.0 };
const WHOLE: Accumulation = Accumulation { shards: 1, pieces: 1, whole_batch_statistics: false };

fn fast() -> Method {
    Method { objective: Arc::new(Ibp), tightness: true, relu_balance: true, lambda: 0.5, tau: 0.5, floor: 1e-6 }
}

/// The first update, with the whole batch at once.
fn first_update<'a>(batch: &'a Batch, method: &'a Method, radius: &'a EpsAt) -> Update<'a> {
    Update { batch, method, radius, accumulation: WHOLE, lr: 5e-4, step: 1, seed: 1 }
}

/// A method without the regularisers.
fn alone(objective: impl Objective + 'static) -> Method {
    Method { objective: Arc::new(objective), tightness: false, relu_balance: false, ..fast() }
}

type Tensors = BTreeMap<String, Vec<f32>>;

fn folder(net: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/image_nets").join(net)
}

fn tensors(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |view: &safetensors::tensor::TensorView| -> Vec<f32> {
        match view.dtype() {
            safetensors::Dtype::F32 => view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            safetensors::Dtype::I64 => {
                view.data().as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f32).collect()
            }
            safetensors::Dtype::U8 => view.data().iter().map(|b| f32::from(*b)).collect(),
            other => panic!("{other:?}"),
        }
    };
    file.tensors().into_iter().map(|(name, view)| (name, values(&view))).collect()
}

fn numbers(net: &str) -> Value {
    serde_json::from_slice(&fs::read(folder(net).join("numbers.json")).unwrap()).unwrap()
}

fn load(name: &str, device: &Device) -> Classifier {
    let dir = folder(name);
    let config = NetworkConfig::from_json(&fs::read_to_string(dir.join("network.json")).unwrap(), name).unwrap();
    let mut weights = tensors(&dir.join("model.safetensors"));
    let mut net = Classifier::zeros(config, device);
    let mut set = |name: &str, mut parameter: temper_model::Parameter<'_>| {
        parameter.set(weights.remove(name).unwrap_or_else(|| panic!("{name}")), device);
    };
    net.visit(&mut set);
    net.visit_buffers(&mut set);
    assert!(weights.is_empty(), "{:?}", weights.keys());
    let numbers = numbers(name);
    let channel = |key: &str| numbers[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
    net.normalised(channel("mean"), channel("std"))
}

fn batch(data: &Tensors, index: usize) -> Batch {
    let labels = data[&format!("batch.{index}.labels")].iter().map(|label| *label as u32).collect();
    // Stored as bytes, as image files have them.
    Batch { pixels: data[&format!("batch.{index}.pixels")].iter().map(|pixel| pixel / 255.0).collect(), labels }
}

/// The biases of layers that a batch norm follows.
fn before_batch_norms(net: &Classifier) -> BTreeSet<String> {
    let nodes = &net.config.nodes;
    let norms = nodes.iter().filter(|node| node.op == Op::BatchNorm);
    norms.map(|norm| format!("{}.bias", nodes[norm.inputs[0] - 1].name)).collect()
}

fn close(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * expected.abs().max(1e-3), "{what}: {found}, expected {expected}");
}

/// Adam turns the rounding noise in the gradient of a bias before a batch norm, which is zero in exact arithmetic, into
/// steps of the learning rate, and the running means go with it. The numbers were made with these biases held fixed, so
/// they are put back after every update here.
#[test]
fn ten_steps() {
    let device = Device::flex();
    for name in NETS {
        let mut net = load(name, &device);
        let before_norms = before_batch_norms(&net);
        let mut fixed = Tensors::new();
        net.visit(&mut |name, values| {
            if before_norms.contains(name) {
                fixed.insert(name.into(), values.to_vec());
            }
        });
        let mut optimizer = Optimizer::new(SETTINGS, &net, &device);
        let (data, numbers) = (tensors(&folder(name).join("training.safetensors")), numbers(name));
        let steps = numbers["training"]["steps"].as_array().unwrap();
        assert_eq!(steps.len(), 10);
        for (i, step) in steps.iter().enumerate() {
            let number = |key: &str| step[key].as_f64().unwrap();
            let radius = EpsAt { eps: number("eps"), target: 0.1, weight: number("weight") };
            let (batch, method) = (batch(&data, i), fast());
            let update = Update { step: i as u64 + 1, ..first_update(&batch, &method, &radius) };
            let found = train_step(&mut net, &mut optimizer, update, &Alone, NO_LIMIT, &device).unwrap().unwrap();
            net.visit(&mut |name, mut values| {
                if let Some(bias) = fixed.get(name) {
                    values.set(bias.clone(), &device);
                }
            });
            // f32 sums in another order, and ten updates by Adam: 1e-4 of the value.
            for (key, found) in [
                ("loss", found.loss),
                ("clean_loss", found.clean_loss),
                ("robust_loss", found.robust_loss.unwrap()),
                ("grad_norm", found.grad_norm),
            ] {
                close(&format!("{name} step {i} {key}"), found, number(key), 1e-4);
            }
            if radius.weight > 0.0 {
                close(&format!("{name} step {i} tightness"), found.tightness.unwrap(), number("tightness"), 1e-4);
                close(&format!("{name} step {i} balance"), found.relu_balance.unwrap(), number("relu_balance"), 1e-3);
            }
        }
        let mut compared = 0;
        net.visit_buffers(&mut |buffer, values| {
            let expected = &data[&format!("final.{buffer}")];
            let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
            // A weight whose gradient is as small as its rounding moves by a whole step of Adam either way: 5e-4 here. Means
            // feel it once an update, at a tenth; variances do not at this size.
            let tolerance = if buffer.ends_with("running_mean") { 5e-4 } else { 1e-4 };
            for (a, b) in values.to_vec().iter().zip(expected) {
                assert!((a - b).abs() <= tolerance * largest, "{name} {buffer}: {a}, expected {b}");
            }
            compared += 1;
        });
        assert!(compared >= 12, "{name}: {compared}");
    }
}

/// The gradient of a batch in pieces is that of the sum over pieces, each normalised for itself; with the statistics of
/// the whole batch its loss is the whole batch's.
#[test]
fn accumulation() {
    let device = Device::flex();
    let data = tensors(&folder("cnn7").join("training.safetensors"));
    let radius = EpsAt { eps: 0.05, target: 0.1, weight: 0.25 };
    let run = |batch: &Batch, accumulation: Accumulation| {
        let mut net = load("cnn7", &device);
        let method = fast();
        let update = Update { accumulation, ..first_update(batch, &method, &radius) };
        let (metrics, shards) = loss_and_gradients(&mut net, update, &Alone, NO_LIMIT, &device).unwrap().unwrap();
        (metrics, Alone.sum(shards).unwrap().with_names(&net))
    };
    let whole = batch(&data, 0);
    let half = whole.labels.len() / 2;
    let size = whole.pixels.len() / whole.labels.len();
    let part = |from: usize, to: usize| Batch {
        pixels: whole.pixels[from * size..to * size].to_vec(),
        labels: whole.labels[from..to].to_vec(),
    };
    let (first, second) = (run(&part(0, half), WHOLE), run(&part(half, 2 * half), WHOLE));
    let pieces = run(&whole, Accumulation { pieces: 2, ..WHOLE });
    close("loss", pieces.0.loss, 0.5 * (first.0.loss + second.0.loss), 1e-5);
    for ((name, found), ((_, a), (_, b))) in pieces.1.iter().zip(first.1.iter().zip(&second.1)) {
        let largest = found.iter().fold(1e-4f32, |a, b| a.max(b.abs()));
        for (found, (a, b)) in found.iter().zip(a.iter().zip(b)) {
            assert!((found - 0.5 * (a + b)).abs() <= 1e-4 * largest, "{name}: {found}");
        }
    }
    let statistics = run(&whole, Accumulation { pieces: 2, whole_batch_statistics: true, ..WHOLE });
    let (one, _) = run(&whole, WHOLE);
    close("robust loss", statistics.0.robust_loss.unwrap(), one.robust_loss.unwrap(), 1e-5);
    assert!((pieces.0.robust_loss.unwrap() - one.robust_loss.unwrap()).abs() > 1e-3);
}

/// Every method trains: the loss on one batch falls, and is finite.
#[test]
fn every_method_learns() {
    let device = Device::flex();
    let data = tensors(&folder("cnn7").join("training.safetensors"));
    let batch = batch(&data, 0);
    let zhang = Mixing::Zhang { beta_end: 0.5, kappa_end: 0.5 };
    for (name, method) in [
        ("plain", alone(Plain)),
        ("pgd", alone(Pgd { attack_steps: 7 })),
        ("vanilla", alone(Ibp)),
        ("fast", fast()),
        ("crown", alone(CrownIbp { loss_fusion: false, mixing: Mixing::Ramp })),
        ("fused", alone(CrownIbp { loss_fusion: true, mixing: Mixing::Ramp })),
        ("zhang", alone(CrownIbp { loss_fusion: false, mixing: zhang })),
    ] {
        let mut net = load("cnn7", &device);
        let mut optimizer = Optimizer::new(SETTINGS, &net, &device);
        let radius = EpsAt { eps: 0.02, target: 0.1, weight: 0.2 };
        let losses: Vec<f64> = (1..=8)
            .map(|n| {
                let update = Update { lr: 2e-3, step: n, ..first_update(&batch, &method, &radius) };
                let metrics = train_step(&mut net, &mut optimizer, update, &Alone, NO_LIMIT, &device).unwrap().unwrap();
                assert_eq!(metrics.robust_loss.is_some(), !["plain", "pgd"].contains(&name));
                metrics.loss
            })
            .collect();
        assert!(losses[7] < losses[0] - 0.05, "{name}: {losses:?}");
    }
}

/// An update is all or nothing: refused before any of its parts, it leaves weights, running statistics and moments as they were, and the
/// same update afterwards is what it would have been.
#[test]
fn a_part_that_is_refused_undoes_the_update() {
    let device = Device::flex();
    let data = tensors(&folder("wide_resnet").join("training.safetensors"));
    let (batch, radius) = (batch(&data, 0), EpsAt { eps: 0.03, target: 0.1, weight: 0.3 });
    for method in [fast(), alone(Pgd { attack_steps: 2 })] {
        for whole_batch_statistics in [false, true] {
            let accumulation = Accumulation { pieces: 2, whole_batch_statistics, ..WHOLE };
            let parts = RefCell::new(Vec::new());
            let step = |net: &mut Classifier, optimizer: &mut Optimizer, refused: Option<usize>| {
                parts.borrow_mut().clear();
                let may_begin = |done: f64, next: f64| {
                    parts.borrow_mut().push((done, next));
                    Some(parts.borrow().len()) != refused
                };
                let update = Update { accumulation, ..first_update(&batch, &method, &radius) };
                train_step(net, optimizer, update, &Alone, &may_begin, &device).unwrap()
            };
            let bits = |net: &mut Classifier| {
                let mut bits = Vec::new();
                let mut add = |_: &str, values: temper_model::Parameter<'_>| {
                    bits.extend(values.to_vec().iter().map(|v| v.to_bits()))
                };
                net.visit(&mut add);
                net.visit_buffers(&mut add);
                bits
            };
            let start = || {
                let net = load("wide_resnet", &device);
                let optimizer = Optimizer::new(SETTINGS, &net, &device);
                (net, optimizer)
            };
            let (mut net, mut optimizer) = start();
            let made = step(&mut net, &mut optimizer, None);
            let (after, count) = (bits(&mut net), parts.borrow().len());
            let mut end = 0.0;
            for &(done, next) in parts.borrow().iter() {
                assert!((done - end).abs() < 1e-9 && next > 0.0, "{:?}", parts.borrow());
                end = done + next;
            }
            assert!((end - 1.0).abs() < 1e-9, "{:?}", parts.borrow());

            let (mut net, mut optimizer) = start();
            let before = bits(&mut net);
            for refused in 1..=count {
                assert_eq!(step(&mut net, &mut optimizer, Some(refused)), None);
                assert!(bits(&mut net) == before && optimizer.updates == 0, "part {refused} of {count}");
            }
            assert_eq!(step(&mut net, &mut optimizer, None), made);
            assert!(bits(&mut net) == after);
        }
    }
}

/// Same numbers, whatever the number of threads.
#[test]
fn threads_do_not_matter() {
    let device = Device::flex();
    let data = tensors(&folder("wide_resnet").join("training.safetensors"));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut net = load("wide_resnet", &device);
            let mut optimizer = Optimizer::new(SETTINGS, &net, &device);
            for n in 0..3 {
                let radius = EpsAt { eps: 0.03, target: 0.1, weight: 0.3 };
                let (batch, method) = (batch(&data, n), fast());
                let update = Update { step: n as u64 + 1, ..first_update(&batch, &method, &radius) };
                train_step(&mut net, &mut optimizer, update, &Alone, NO_LIMIT, &device).unwrap().unwrap();
            }
            let mut bits = Vec::new();
            let mut add =
                |_: &str, values: temper_model::Parameter<'_>| bits.extend(values.to_vec().iter().map(|v| v.to_bits()));
            net.visit(&mut add);
            net.visit_buffers(&mut add);
            bits
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}
