//! One training step of a language model: forward, loss, backward, clipping, update.

use burn::tensor::Tensor;
use temper_base::Result;
use temper_model::{GptNeox, Parameters};
use temper_train::apply::{Update, apply};
use temper_train::group::Alone;
use temper_train::optimizer::{Gradients, Optimizer};

/// How a step is cut into pieces. None of it changes what the step computes, up to rounding for
/// `micro` and to the bit for `activation_checkpointing`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pieces {
    /// Sequences of one forward and backward pass; the batch is their sum (gradient accumulation).
    pub micro: usize,
    /// Keep only the input of every block, and compute the rest again in the backward pass.
    pub activation_checkpointing: bool,
}

/// What a step reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepMetrics {
    /// Mean loss of the batch's tokens in nats, before the update.
    pub loss: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
}

/// One update. `rows` holds sequences of `seq + 1` tokens one after the other; each token but the
/// first of a row is a target. A loss or gradient that is not finite is an error before the update.
pub fn train_step(
    model: &mut GptNeox,
    optimizer: &mut Optimizer,
    rows: &[u32],
    seq: usize,
    lr: f64,
    pieces: Pieces,
    step: u64,
) -> Result<StepMetrics> {
    let (loss, gradients) = loss_and_gradients(model, rows, seq, pieces);
    let update = Update { step, lr, gentler: "lr.warmup" };
    let grad_norm = apply(model, optimizer, &Alone, vec![gradients], loss, update)?;
    Ok(StepMetrics { loss, grad_norm })
}

/// The token-mean loss of the batch and its gradients, summed over micro-batches: every token weighs
/// the same, whatever the cut.
pub fn loss_and_gradients(model: &GptNeox, rows: &[u32], seq: usize, pieces: Pieces) -> (f64, Gradients) {
    let sequences = rows.len() / (seq + 1);
    let scale = 1.0 / (sequences * seq) as f32;
    let mut gradients = Gradients::none(model);
    let mut loss = 0.0;
    for micro in rows.chunks(pieces.micro.max(1) * (seq + 1)) {
        let batch = micro.len() / (seq + 1);
        let ids: Vec<u32> = micro.chunks(seq + 1).flat_map(|row| &row[..seq]).copied().collect();
        let targets: Vec<u32> = micro.chunks(seq + 1).flat_map(|row| &row[1..]).copied().collect();
        let add = if pieces.activation_checkpointing { backward_by_blocks } else { backward };
        loss += add(model, &ids, &targets, batch, scale, &mut gradients);
    }
    (loss, gradients)
}

fn backward(model: &GptNeox, ids: &[u32], targets: &[u32], batch: usize, scale: f32, gradients: &mut Gradients) -> f64 {
    let mut leaves = model.leaves();
    let loss = leaves.loss(ids, targets, batch, scale);
    let mut tape = loss.backward();
    gradients.collect(&mut leaves, &mut tape);
    scalar(loss)
}

/// Activation checkpointing: the forward pass runs off the tape and keeps the input of every block;
/// backwards, each block is rebuilt from that input on a separate tape. A gradient `g` arriving at
/// an output `y` enters as the loss `Σ y g`, whose gradient at `y` is exactly `g`.
fn backward_by_blocks(
    model: &GptNeox,
    ids: &[u32],
    targets: &[u32],
    batch: usize,
    scale: f32,
    gradients: &mut Gradients,
) -> f64 {
    let mut leaves = model.leaves();
    let mut inputs = vec![model.embed(ids)];
    for i in 0..model.layers.len() {
        inputs.push(model.block(i, inputs[i].clone(), batch));
    }
    let leaf = |x: Tensor<2>| x.autodiff().require_grad();
    let x = leaf(inputs.pop().expect("the output of the last block"));
    let loss = leaves.head_loss(x.clone(), targets, scale);
    let mut tape = loss.backward();
    let mut upstream = x.grad_remove(&mut tape).expect("the loss depends on it");
    gradients.collect(&mut leaves, &mut tape);
    for i in (0..model.layers.len()).rev() {
        let x = leaf(inputs.pop().expect("one input a block"));
        let mut tape = (leaves.block(i, x.clone(), batch) * upstream.autodiff()).sum().backward();
        upstream = x.grad_remove(&mut tape).expect("the block depends on it");
        gradients.collect(&mut leaves, &mut tape);
    }
    let mut tape = (leaves.embed(ids) * upstream.autodiff()).sum().backward();
    gradients.collect(&mut leaves, &mut tape);
    scalar(loss)
}

fn scalar(loss: Tensor<1>) -> f64 {
    f64::from(loss.inner().into_scalar::<f32>())
}
