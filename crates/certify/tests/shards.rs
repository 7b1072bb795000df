//! A batch of images in shards: the same bits on any number of ranks and threads, and what the statistics of batch norms are.

use std::cell::Cell;
use std::sync::Arc;

use burn::tensor::Device;
use temper_bounds::boxes;
use temper_certify::method::Method;
use temper_certify::methods::{Ibp, Objective, Pgd};
use temper_certify::radius::EpsAt;
use temper_certify::step::{Accumulation, Batch, StepMetrics, Update, train_step};
use temper_graph::{BatchNorm, by_name};
use temper_model::image::{ImageInit, Statistics};
use temper_model::{Classifier, Parameter, Parameters};
use temper_train::group::{Alone, Group, threads};
use temper_train::optimizer::{Optimizer, Settings};
use temper_train::shards;
use temper_train::trainer::{MayBegin, NO_LIMIT};

const SETTINGS: Settings = Settings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, clip: 10.0 };
const RADIUS: EpsAt = EpsAt { eps: 0.03, target: 0.1, weight: 0.3 };

fn cut(shards: usize, pieces: usize, whole_batch_statistics: bool) -> Accumulation {
    Accumulation { shards, pieces, whole_batch_statistics }
}

fn method(objective: impl Objective + 'static, regularised: bool) -> Method {
    let (tightness, relu_balance) = (regularised, regularised);
    Method { objective: Arc::new(objective), tightness, relu_balance, lambda: 0.5, tau: 0.5, floor: 1e-6 }
}

fn net() -> Classifier {
    let config = by_name("small", Some(2), BatchNorm::Full, [1, 12, 12], 10).unwrap();
    Classifier::new(config, ImageInit::Ibp, 1, &Device::flex())
}

fn batch(images: usize, step: usize) -> Batch {
    let pixels = (0..images * 144).map(|i| ((i + 77 * step) * 7919 % 8191 % 101) as f32 / 100.0).collect();
    Batch { pixels, labels: (0..images).map(|i| ((i + step) % 10) as u32).collect() }
}

/// Metrics, and weights, running statistics and moments, after an update on 12 images and one on 7: the last one of an epoch.
#[derive(Debug, PartialEq)]
struct Trained(Vec<StepMetrics>, Vec<(String, Vec<f32>)>);

fn trained(method: &Method, accumulation: Accumulation, group: &dyn Group) -> Trained {
    let (mut net, device) = (net(), Device::flex());
    let mut optimizer = Optimizer::new(SETTINGS, &net, &device);
    let step = |(step, images): (usize, usize)| {
        let (batch, step) = (batch(images, step), step as u64 + 1);
        let update = Update { batch: &batch, method, radius: &RADIUS, accumulation, lr: 1e-3, step, seed: 1 };
        train_step(&mut net, &mut optimizer, update, group, NO_LIMIT, &device).unwrap().unwrap()
    };
    let metrics = [12, 7].into_iter().enumerate().map(step).collect();
    Trained(metrics, tensors(&mut net).into_iter().chain(moments(&optimizer)).collect())
}

fn tensors(net: &mut Classifier) -> Vec<(String, Vec<f32>)> {
    let mut tensors = Vec::new();
    let mut add = |name: &str, parameter: Parameter<'_>| tensors.push((name.to_owned(), parameter.to_vec()));
    net.visit(&mut add);
    net.visit_buffers(&mut add);
    tensors
}

fn moments(optimizer: &Optimizer) -> Vec<(String, Vec<f32>)> {
    optimizer.outgoing().into_iter().map(|(name, tensor)| (name, (tensor.values)())).collect()
}

fn running(trained: &Trained) -> Vec<&(String, Vec<f32>)> {
    trained.1.iter().filter(|(name, _)| name.contains("running")).collect()
}

#[test]
fn neither_ranks_nor_threads_matter() {
    let on = |threads: usize, method: &Method, cut: Accumulation| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| trained(method, cut, &Alone))
    };
    for method in [method(Ibp, true), method(Pgd { attack_steps: 2 }, false)] {
        for cut in [cut(4, 1, false), cut(2, 2, false), cut(4, 1, true), cut(2, 2, true), cut(1, 2, true)] {
            let alone = on(1, &method, cut);
            assert_eq!(on(2, &method, cut), alone, "{cut:?}");
            for ranks in [1, 2, 3, 4, 6] {
                for rank in threads::run(ranks, |rank| Ok(trained(&method, cut, rank))).unwrap() {
                    assert!(rank == alone, "{cut:?} on {ranks} ranks: {:?} instead of {:?}", rank.0, alone.0);
                }
            }
        }
    }
}

/// Without an attack, which sees running statistics, two shards are two pieces to the bit. More have another order of sums, and the same
/// statistics in the same order.
#[test]
fn shards_are_pieces_but_for_rounding() {
    let fast = method(Ibp, true);
    let on = |cut| trained(&fast, cut, &Alone);
    assert_eq!(on(cut(2, 1, false)), on(cut(1, 2, false)));
    let (shards, pieces) = (on(cut(4, 1, false)), on(cut(1, 4, false)));
    for (a, b) in shards.0.iter().zip(&pieces.0).take(1) {
        assert!((a.loss - b.loss).abs() < 1e-6 * b.loss, "{a:?} instead of {b:?}");
        assert!((a.grad_norm - b.grad_norm).abs() < 1e-5 * b.grad_norm, "{a:?} instead of {b:?}");
    }
    assert_ne!(shards, pieces);
}

/// With the statistics of the whole batch the loss is that of the whole batch, and so are the running statistics; with its own, each
/// shard has others.
#[test]
fn statistics_of_the_whole_batch() {
    let fast = method(Ibp, true);
    let whole = trained(&fast, cut(1, 1, false), &Alone);
    let close = |a: f64, b: f64| (a - b).abs() < 1e-5 * b.abs().max(1e-3);
    for shards in [2, 4] {
        let joined = trained(&fast, cut(shards, 1, true), &Alone);
        let own = trained(&fast, cut(shards, 1, false), &Alone);
        let loss = |trained: &Trained| trained.0[0].clean_loss;
        assert!(close(loss(&joined), loss(&whole)), "{} instead of {}", loss(&joined), loss(&whole));
        assert!(!close(loss(&own), loss(&whole)));
        // After one update the weights differ, since no gradient goes through these statistics.
        let first = |(name, values): &(String, Vec<f32>)| (name.clone(), values[0]);
        for (found, expected) in running(&joined).into_iter().map(first).zip(running(&whole).into_iter().map(first)) {
            assert!((found.1 - expected.1).abs() < 0.05 * expected.1.abs().max(0.1), "{found:?}, {expected:?}");
        }
    }
}

/// One rank that may not begin a part gives the update up for all, running statistics included.
#[test]
fn a_part_that_one_rank_refuses_undoes_the_update() {
    for whole in [false, true] {
        let ends = threads::run(3, |rank| {
            let (mut net, device, fast, batch) = (net(), Device::flex(), method(Ibp, true), batch(12, 0));
            let before = tensors(&mut net);
            let mut optimizer = Optimizer::new(SETTINGS, &net, &device);
            let left = Cell::new(if rank.rank() == 0 { 3 } else { 1000 });
            let may_begin: &MayBegin = &|_, _| left.replace(left.get() - 1) > 0;
            let accumulation = cut(4, 1, whole);
            let update =
                Update { batch: &batch, method: &fast, radius: &RADIUS, accumulation, lr: 1e-3, step: 1, seed: 1 };
            let made = train_step(&mut net, &mut optimizer, update, rank, may_begin, &device)?;
            Ok((made, optimizer.updates, tensors(&mut net) == before))
        });
        assert_eq!(ends.unwrap(), vec![(None, 0, true); 3]);
    }
}

/// What the statistics of the whole batch rest on: a pass in training makes the same bits of an image whatever images are beside it, so
/// that it does not matter how many shards a rank has.
#[test]
fn an_image_does_not_see_the_others() {
    let device = Device::flex();
    for (name, width) in [("small", 4), ("cnn7", 4), ("wide-resnet-8", 2), ("resnext", 4), ("cnn6", 3)] {
        let config = by_name(name, Some(width), BatchNorm::Full, [3, 32, 32], 10).unwrap();
        let net = Classifier::new(config, ImageInit::Ibp, 1, &device);
        let pixels: Vec<f32> = (0..24 * 3 * 1024).map(|i| (i * 7919 % 8191 % 101) as f32 / 100.0).collect();
        let pass = |images: std::ops::Range<usize>| -> Vec<Vec<f32>> {
            let pixels = &pixels[images.start * 3072..images.end * 3072];
            let x = boxes::clean(pixels, [images.len(), 3, 32, 32], &net.mean, &net.std, &device);
            let values = net.trace(x, Statistics::Running).values.into_iter();
            values.map(|value| value.into_data().try_into_vec().unwrap()).collect()
        };
        let whole = pass(0..24);
        for parts in [2, 4, 24] {
            let parts: Vec<_> = (0..parts).map(|part| pass(shards::cut(24, parts, part))).collect();
            for (layer, value) in whole.iter().enumerate() {
                let joined = parts.iter().flat_map(|part| &part[layer]).map(|value| value.to_bits());
                let same = joined.eq(value.iter().map(|value| value.to_bits()));
                assert!(same, "{name}: value {layer} in {} parts", parts.len());
            }
        }
    }
}
