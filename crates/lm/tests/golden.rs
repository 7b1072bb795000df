//! Model, gradients and ten training steps against `transformers` and `torch` (golden/README.md says
//! how the numbers were made, and why each tolerance is what it is).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use safetensors::SafeTensors;
use temper_lm::step::{self, Pieces, Update, train_step};
use temper_model::{GptNeox, Parameters, hugging_face};
use temper_train::gradients::Gradients;
use temper_train::group::{Alone, Group};
use temper_train::optimizer::{Optimizer, Settings};
use temper_train::trainer::NO_LIMIT;

const WHOLE: Pieces = Pieces { shards: 1, micro: 1000, activation_checkpointing: false };
const SETTINGS: Settings = Settings { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, clip: 1.0 };

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/gpt_neox").join(name)
}

/// Floating-point and integer tensors of a golden file by name.
struct Numbers(BTreeMap<String, Vec<f32>>, BTreeMap<String, Vec<u32>>);

fn numbers(dir: &Path) -> Numbers {
    let bytes = fs::read(dir.join("golden.safetensors")).unwrap();
    let (mut floats, mut ids) = (BTreeMap::new(), BTreeMap::new());
    for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        match view.dtype() {
            safetensors::Dtype::F32 => {
                floats.insert(name, view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect());
            }
            safetensors::Dtype::I64 => {
                ids.insert(name, view.data().as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as u32).collect());
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    Numbers(floats, ids)
}

fn load(dir: &Path) -> GptNeox {
    hugging_face::read(dir, &Device::flex()).unwrap().model
}

fn loss_and_gradients(model: &GptNeox, rows: &[u32], seq: usize, pieces: Pieces) -> (f64, Gradients) {
    let (loss, shards) = step::loss_and_gradients(model, rows, seq, pieces, &Alone, NO_LIMIT).unwrap().unwrap();
    (loss.read(), Alone.sum(shards).unwrap())
}

/// Largest difference as a part of the largest expected entry.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1e-12f32, |a, b| a.max(b.abs()));
    found.iter().zip(expected).map(|(a, b)| (a - b).abs() / largest).fold(0.0, f32::max)
}

fn bits(model: &mut GptNeox) -> Vec<u32> {
    let mut bits = Vec::new();
    model.visit(&mut |_, values| bits.extend(values.to_vec().into_iter().map(f32::to_bits)));
    bits
}

fn configurations() -> impl Iterator<Item = (&'static str, PathBuf, usize)> {
    [("a", 32), ("b", 24), ("c", 40), ("d", 33)].into_iter().map(|(name, seq)| (name, golden(name), seq))
}

#[test]
fn logits_and_gradients() {
    for (name, dir, seq) in configurations() {
        let (model, Numbers(floats, ids)) = (load(&dir), numbers(&dir));
        let rows = &ids["input_ids"];
        let batch = rows.len() / (seq + 1);
        let inputs: Vec<u32> = rows.chunks(seq + 1).flat_map(|row| &row[..seq]).copied().collect();
        let logits: Vec<f32> = model.logits(&inputs, batch, 0..batch * seq).into_data().try_to_vec().unwrap();
        let d = difference(&logits, &floats["logits"]);
        assert!(d <= 1e-5, "{name}: logits differ by {d} of the largest");

        for pieces in [WHOLE, Pieces { micro: 1, ..WHOLE }, Pieces { activation_checkpointing: true, ..WHOLE }] {
            let (loss, gradients) = loss_and_gradients(&model, rows, seq, pieces);
            let expected = f64::from(floats["loss"][0]);
            assert!((loss - expected).abs() <= 1e-5 * expected, "{name}: loss {loss}, expected {expected}");
            let mut checked = 0;
            for (parameter, found) in gradients.with_names(&model) {
                let d = difference(&found, &floats[&format!("grad.{parameter}")]);
                assert!(d <= 1e-4, "{name}, {pieces:?}: gradient of {parameter} differs by {d} of its largest entry");
                checked += 1;
            }
            assert_eq!(checked, floats.keys().filter(|k| k.starts_with("grad.")).count(), "{name}: gradients compared");
        }
    }
}

#[test]
fn ten_updates() {
    for (name, dir, seq) in configurations() {
        let (mut model, Numbers(floats, ids)) = (load(&dir), numbers(&dir));
        let expected: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(dir.join("losses.json")).unwrap()).unwrap();
        let list =
            |key: &str| -> Vec<f64> { expected[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect() };
        let (lrs, losses, norms) = (list("learning_rates"), list("losses"), list("grad_norms"));
        let mut optimizer = Optimizer::new(SETTINGS, &model, &Device::flex());
        for k in 0..10 {
            let rows = &ids[&format!("batch.{k}")];
            let update = Update { rows, seq, pieces: WHOLE, lr: lrs[k], step: k as u64 + 1 };
            let found = train_step(&mut model, &mut optimizer, update, &Alone, NO_LIMIT).unwrap().unwrap();
            for (what, found, expected) in [("loss", found.loss, losses[k]), ("norm", found.grad_norm, norms[k])] {
                assert!(
                    (found - expected).abs() <= 1e-5 * expected,
                    "{name}: {what} {k}: {found}, expected {expected}"
                );
            }
        }
        let config = model.config.clone();
        model.clone().visit(&mut |parameter, values| {
            let (mut found, mut expected) = (values.to_vec(), floats[&format!("final.{parameter}")].clone());
            if parameter.ends_with("query_key_value.bias") {
                // The gradient of the keys' bias is zero but for rounding, which Adam turns into whole
                // steps: only its rotary entries can be compared (golden/README.md).
                let d = config.head_dim();
                for h in 0..config.heads {
                    for i in 3 * h * d + d + config.rotary_dims()..3 * h * d + 2 * d {
                        (found[i], expected[i]) = (0.0, 0.0);
                    }
                }
            }
            let d = difference(&found, &expected);
            assert!(d <= 1e-4, "{name}: {parameter} differs by {d} of its largest entry after ten updates");
        });
    }
}

/// Activation checkpointing computes the same numbers to the bit.
#[test]
fn checkpointed_blocks_are_bitwise_equal() {
    for (name, dir, seq) in configurations() {
        let (model, Numbers(_, ids)) = (load(&dir), numbers(&dir));
        let rows = &ids["input_ids"];
        let (loss, plain) = loss_and_gradients(&model, rows, seq, WHOLE);
        let pieces = Pieces { activation_checkpointing: true, ..WHOLE };
        let (again, blocks) = loss_and_gradients(&model, rows, seq, pieces);
        assert_eq!(loss.to_bits(), again.to_bits(), "{name}: loss");
        for ((parameter, a), (_, b)) in plain.with_names(&model).into_iter().zip(blocks.with_names(&model)) {
            assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()), "{name}: gradient of {parameter}");
        }
    }
}

/// The number of threads changes no bit of ten updates.
#[test]
fn threads_do_not_matter() {
    let run = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let dir = golden("a");
            let (mut model, Numbers(_, ids)) = (load(&dir), numbers(&dir));
            let mut optimizer = Optimizer::new(SETTINGS, &model, &Device::flex());
            for k in 0..10 {
                let rows = &ids[&format!("batch.{k}")];
                let update = Update { rows, seq: 32, pieces: WHOLE, lr: 1e-3, step: k + 1 };
                train_step(&mut model, &mut optimizer, update, &Alone, NO_LIMIT).unwrap();
            }
            bits(&mut model)
        })
    };
    assert_eq!(run(1), run(2));
    assert_eq!(run(1), run(3));
}

/// An update is all or nothing: refused before any of its parts, it leaves weights, moments and their counter as they were, and the same
/// update afterwards is what it would have been.
#[test]
fn a_part_that_is_refused_undoes_the_update() {
    let dir = golden("a");
    let Numbers(_, ids) = numbers(&dir);
    for pieces in [WHOLE, Pieces { micro: 1, ..WHOLE }, Pieces { micro: 1, activation_checkpointing: true, ..WHOLE }] {
        let start = || {
            let mut model = load(&dir);
            let mut optimizer = Optimizer::new(SETTINGS, &model, &Device::flex());
            let update = Update { rows: &ids["batch.0"], seq: 32, pieces, lr: 1e-3, step: 1 };
            train_step(&mut model, &mut optimizer, update, &Alone, NO_LIMIT).unwrap();
            (model, optimizer)
        };
        let (mut model, mut optimizer) = start();
        let parts = RefCell::new(Vec::new());
        let step = |model: &mut _, optimizer: &mut _, refused: Option<usize>| {
            parts.borrow_mut().clear();
            let may_begin = |done: f64, next: f64| {
                parts.borrow_mut().push((done, next));
                Some(parts.borrow().len()) != refused
            };
            let update = Update { rows: &ids["batch.1"], seq: 32, pieces, lr: 1e-3, step: 2 };
            train_step(model, optimizer, update, &Alone, &may_begin).unwrap()
        };
        let made = step(&mut model, &mut optimizer, None);
        assert!(made.is_some());
        let (after, count) = (bits(&mut model), parts.borrow().len());
        // The shares are those of a whole: every part begins where the last one ends.
        let mut end = 0.0;
        for &(done, next) in parts.borrow().iter() {
            assert!((done - end).abs() < 1e-9 && next > 0.0, "{:?}", parts.borrow());
            end = done + next;
        }
        assert!((end - 1.0).abs() < 1e-9, "{:?}", parts.borrow());

        let (mut model, mut optimizer) = start();
        let before = bits(&mut model);
        for refused in 1..=count {
            assert_eq!(step(&mut model, &mut optimizer, Some(refused)), None);
            assert_eq!((bits(&mut model), optimizer.updates), (before.clone(), 1), "part {refused} of {count}");
        }
        assert_eq!(step(&mut model, &mut optimizer, None), made);
        assert_eq!(bits(&mut model), after);
    }
}

/// Weights that are not finite stop the step before the update, and the step is named.
#[test]
fn nan_stops_before_the_update() {
    let dir = golden("a");
    let (mut model, Numbers(_, ids)) = (load(&dir), numbers(&dir));
    model.visit(&mut |name, mut parameter| {
        if name.ends_with("layers.1.mlp.dense_h_to_4h.bias") {
            let mut values = parameter.to_vec();
            values[3] = f32::NAN;
            parameter.set(values, &Device::flex());
        }
    });
    let before = bits(&mut model);
    let mut optimizer = Optimizer::new(SETTINGS, &model, &Device::flex());
    let update = Update { rows: &ids["batch.0"], seq: 32, pieces: WHOLE, lr: 1e-3, step: 7 };
    let problem = train_step(&mut model, &mut optimizer, update, &Alone, NO_LIMIT).unwrap_err();
    assert_eq!(problem.kind.exit_code(), 3);
    assert!(problem.to_string().contains("step 7"), "{problem}");
    assert_eq!(before, bits(&mut model));
    assert_eq!(optimizer.updates, 0);
}
