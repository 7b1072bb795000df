//! The second half of an update: the order in which shards are added, and what is refused before anything moves.

use burn::tensor::{Device, Tensor, TensorData};
use temper_model::parameter::Visitor;
use temper_model::{Parameter, Parameters};
use temper_train::apply::{Update, apply};
use temper_train::gradients::Gradients;
use temper_train::group::{Alone, Group};
use temper_train::optimizer::{Optimizer, Settings};
use temper_train::shards::OwnShards;

const SETTINGS: Settings = Settings { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0, clip: 1.0 };
const UPDATE: Update = Update { step: 7, lr: 0.1, gentler: "lr.warmup" };

/// A model of one weight.
#[derive(Clone)]
struct Weight(Tensor<1>);

impl Parameters for Weight {
    fn visit(&mut self, f: &mut Visitor) {
        f("weight", Parameter::Vector(&mut self.0));
    }
}

impl Weight {
    fn new(value: f32) -> Self {
        Self(Tensor::from_data(TensorData::new(vec![value], [1]), &Device::flex()))
    }

    /// The gradients of a shard whose loss has this slope.
    fn slope(&self, slope: f32) -> Gradients {
        let mut leaves = self.leaves();
        let mut tape = (leaves.0.clone() * slope).sum().backward();
        let mut gradients = Gradients::none(self);
        gradients.collect(&mut leaves, &mut tape);
        gradients
    }

    /// Those of a batch of such shards.
    fn shards(&self, slopes: &[f32]) -> OwnShards {
        let mut shards = OwnShards::none(self, slopes.len(), &Alone);
        slopes.iter().for_each(|slope| shards.push(self.slope(*slope)));
        shards
    }

    fn value(&self) -> f32 {
        self.0.to_data().try_to_vec().expect("weights are f32")[0]
    }
}

/// In the order of the shards this sum would be 0, since 2^24 + 1 is 2^24 in f32.
#[test]
fn shards_are_added_as_a_tree() {
    let model = Weight::new(1.0);
    let large = (1 << 24) as f32;
    let sum = |slopes: &[f32]| Alone.sum(model.shards(slopes)).unwrap().with_names(&model).remove(0).1[0];
    let whole = [large, 1.0, 1.0, -large];
    assert_eq!(sum(&whole), 1.0);
    // Two processes with two shards each add up to the same bits.
    assert_eq!(sum(&whole), sum(&whole[..2]) + sum(&whole[2..]));
    assert_eq!(sum(&[0.3]), 0.3);
}

#[test]
fn the_norm_is_that_before_clipping() {
    let (mut model, device) = (Weight::new(1.0), Device::flex());
    let mut optimizer = Optimizer::new(SETTINGS, &model, &device);
    let shards = model.shards(&[3.0, 4.0]);
    assert_eq!(apply(&mut model, &mut optimizer, &Alone, shards, 0.5, UPDATE).unwrap().grad_norm, 7.0);
    assert_eq!(optimizer.updates, 1);
    // The first update of Adam is as long as the learning rate.
    assert!((model.value() - 0.9).abs() < 1e-6, "{}", model.value());
}

#[test]
fn what_is_not_finite_moves_nothing() {
    let device = Device::flex();
    for (slope, loss, place) in [
        (f32::NAN, 0.5, "gradient of weight at step 7"),
        (1.0, f64::NAN, "loss at step 7"),
        (f32::NAN, f64::INFINITY, "loss at step 7"),
    ] {
        let mut model = Weight::new(1.0);
        let mut optimizer = Optimizer::new(SETTINGS, &model, &device);
        let shards = model.shards(&[0.0, slope]);
        let problem = apply(&mut model, &mut optimizer, &Alone, shards, loss, UPDATE).unwrap_err();
        assert_eq!(problem.place, place);
        assert!(problem.hint.unwrap().contains("a longer lr.warmup"));
        assert_eq!((model.value(), optimizer.updates), (1.0, 0));
    }
}
