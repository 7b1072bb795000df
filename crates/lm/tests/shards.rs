//! A batch in shards: the same bits on any number of ranks and threads, and the same numbers as without shards.

use std::cell::Cell;

use burn::tensor::Device;
use temper_lm::step::{Pieces, StepMetrics, Update, loss_and_gradients, train_step};
use temper_model::init::Init;
use temper_model::tensors::Outgoing;
use temper_model::{GptNeox, GptNeoxConfig, Parameters, config};
use temper_train::group::{Alone, Group, threads};
use temper_train::optimizer::{Optimizer, Settings};
use temper_train::trainer::NO_LIMIT;

const SEQ: usize = 16;
const SETTINGS: Settings = Settings { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, clip: 1.0 };

fn pieces(shards: usize, micro: usize) -> Pieces {
    Pieces { shards, micro, activation_checkpointing: false }
}

fn model() -> GptNeox {
    let small = config::Preset::find("pythia-14m").expect("the smallest").config();
    let small = GptNeoxConfig { layers: 2, d_model: 32, heads: 4, d_ff: 128, vocab_size: 97, max_seq: SEQ, ..small };
    GptNeox::new(small, Init::SmallWang, 1, &Device::flex())
}

/// Eight sequences.
fn rows(step: usize) -> Vec<u32> {
    (0..8 * (SEQ + 1)).map(|i| ((i + 31 * step) * 7919 % 8191 % 97) as u32).collect()
}

/// Metrics, weights and moments after three updates.
#[derive(Debug, PartialEq)]
struct Trained(Vec<StepMetrics>, Vec<Vec<u32>>);

fn trained(pieces: Pieces, group: &dyn Group) -> Trained {
    let mut model = model();
    let mut optimizer = Optimizer::new(SETTINGS, &model, &Device::flex());
    let step = |step: usize| {
        let update = Update { rows: &rows(step), seq: SEQ, pieces, lr: 1e-3, step: step as u64 + 1 };
        train_step(&mut model, &mut optimizer, update, group, NO_LIMIT).unwrap().unwrap()
    };
    let metrics = (0..3).map(step).collect();
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let mut tensors = Vec::new();
    model.visit(&mut |_, parameter| tensors.push(bits(parameter.to_vec())));
    tensors.extend(optimizer.outgoing().into_iter().map(|(_, Outgoing { values, .. })| bits(values())));
    Trained(metrics, tensors)
}

#[test]
fn neither_ranks_nor_threads_matter() {
    let on = |threads: usize, pieces: Pieces| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| trained(pieces, &Alone))
    };
    for pieces in [pieces(4, 2), pieces(4, 1), Pieces { activation_checkpointing: true, ..pieces(8, 1) }, pieces(1, 3)]
    {
        let alone = on(1, pieces);
        assert_eq!(on(2, pieces), alone, "{pieces:?}");
        for ranks in [1, 2, 3, 4, 6] {
            for rank in threads::run(ranks, |rank| Ok(trained(pieces, rank))).unwrap() {
                assert_eq!(rank, alone, "{pieces:?} on {ranks} ranks");
            }
        }
    }
    assert_ne!(on(1, pieces(4, 2)), on(1, pieces(1, 2)), "the tree has other bits than the order of the batch");
}

/// Two numbers have one sum, so two shards are two micro-batches to the bit; more are so up to rounding.
#[test]
fn shards_are_a_plain_sum_but_for_rounding() {
    assert_eq!(trained(pieces(2, 4), &Alone), trained(pieces(1, 4), &Alone));
    let (model, rows) = (model(), rows(0));
    let gradients = |pieces: Pieces| {
        let (loss, shards) = loss_and_gradients(&model, &rows, SEQ, pieces, &Alone, NO_LIMIT).unwrap().unwrap();
        (loss.read(), Alone.sum(shards).unwrap().with_names(&model))
    };
    let (loss, plain) = gradients(pieces(1, 8));
    for shards in [2, 4, 8] {
        let (sharded, found) = gradients(pieces(shards, 8 / shards));
        assert!((sharded - loss).abs() < 1e-6 * loss, "{shards} shards: {sharded} instead of {loss}");
        for ((name, plain), (_, found)) in plain.iter().zip(&found) {
            let largest = plain.iter().fold(1e-12f32, |a, b| a.max(b.abs()));
            let far = plain.iter().zip(found).map(|(a, b)| (a - b).abs() / largest).fold(0.0, f32::max);
            assert!(far < 1e-4, "{shards} shards: gradient of {name} differs by {far} of its largest entry");
        }
    }
}

/// One rank that may not begin a part gives the update up for all.
#[test]
fn a_part_that_one_rank_refuses_undoes_the_update() {
    let ends = threads::run(3, |rank| {
        let (mut model, before) = (model(), model());
        let mut optimizer = Optimizer::new(SETTINGS, &model, &Device::flex());
        let left = Cell::new(if rank.rank() == 1 { 2 } else { 1000 });
        let may_begin = |_: f64, _: f64| left.replace(left.get() - 1) > 0;
        let update = Update { rows: &rows(0), seq: SEQ, pieces: pieces(4, 1), lr: 1e-3, step: 1 };
        let made = train_step(&mut model, &mut optimizer, update, rank, &may_begin)?;
        let values = |mut model: GptNeox| {
            let mut values = Vec::new();
            model.visit(&mut |_, parameter| values.extend(parameter.to_vec()));
            values
        };
        Ok((made, optimizer.updates, values(model) == values(before)))
    });
    assert_eq!(ends.unwrap(), vec![(None, 0, true); 3]);
}
