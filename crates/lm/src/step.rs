//! One training step of a language model: forward, loss, backward, clipping, update.

use burn::tensor::Tensor;
use temper_base::Result;
use temper_model::{GptNeox, Parameters};
use temper_train::apply::{self, Applied, Loss, apply};
use temper_train::gradients::Gradients;
use temper_train::group::Group;
use temper_train::optimizer::Optimizer;
use temper_train::shards::{OwnShards, cut};
use temper_train::trainer::MayBegin;

use crate::cost::{Parts, Shares};

/// How a step is cut into pieces. None of it changes what the step computes, up to rounding for
/// `shards` and `micro`, and to the bit for `activation_checkpointing`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pieces {
    /// Parts of the batch, a power of two, whose gradients are added as a tree; the ranks of a group share them.
    pub shards: usize,
    /// Sequences of one forward and backward pass; a shard is their sum (gradient accumulation).
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

/// What an update is made from.
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    /// Sequences of `seq + 1` tokens one after the other; each token but the first of a row is a target.
    pub rows: &'a [u32],
    /// Targets of a row.
    pub seq: usize,
    /// How the rows are cut into pieces.
    pub pieces: Pieces,
    /// Its learning rate.
    pub lr: f64,
    /// Its number, from 1.
    pub step: u64,
}

/// One update. `None` if `may_begin` refused a part of it, on whichever rank; model and optimiser are then as they were.
///
/// # Errors
/// A loss or gradient that is not finite, or a rank that has failed. Model and optimiser are then as they were.
pub fn train_step(
    model: &mut GptNeox,
    optimizer: &mut Optimizer,
    update: Update,
    group: &dyn Group,
    may_begin: &MayBegin,
) -> Result<Option<StepMetrics>> {
    let Update { rows, seq, pieces, lr, step } = update;
    let Some((loss, shards)) = loss_and_gradients(model, rows, seq, pieces, group, may_begin)? else { return Ok(None) };
    let number = apply::Update { step, lr, gentler: "lr.warmup" };
    let Applied { loss, grad_norm } = apply(model, optimizer, group, shards, loss, number)?;
    Ok(Some(StepMetrics { loss, grad_norm }))
}

/// The token-mean loss of the batch, and the gradients of this rank's shards: every token weighs the same, whatever the cut. The loss of a
/// process by itself stays on the device until it is asked for. `None` if `may_begin` refused a part of it, on whichever rank.
///
/// # Errors
/// A rank that has failed.
pub fn loss_and_gradients(
    model: &GptNeox,
    rows: &[u32],
    seq: usize,
    pieces: Pieces,
    group: &dyn Group,
    may_begin: &MayBegin,
) -> Result<Option<(Loss, OwnShards)>> {
    let sequences = rows.len() / (seq + 1);
    let scale = 1.0 / (sequences * seq) as f32;
    let part = |shard: usize| cut(sequences, pieces.shards, shard);
    let own: usize = group.own_shards(pieces.shards).map(|shard| part(shard).len()).sum();
    let mut shards = OwnShards::none(model, pieces.shards, group);
    let mut done = 0.0;
    let losses = group.own_shards(pieces.shards).map(|shard| {
        let mut gradients = Gradients::none(model);
        let mut losses = Vec::new();
        let rows = &rows[part(shard).start * (seq + 1)..part(shard).end * (seq + 1)];
        for micro in rows.chunks(pieces.micro.max(1) * (seq + 1)) {
            let batch = micro.len() / (seq + 1);
            let ids: Vec<u32> = micro.chunks(seq + 1).flat_map(|row| &row[..seq]).copied().collect();
            let targets: Vec<u32> = micro.chunks(seq + 1).flat_map(|row| &row[1..]).copied().collect();
            let add = if pieces.activation_checkpointing { backward_by_blocks } else { backward };
            let share = batch as f64 / own as f64;
            // Of the piece: what is done of it, and what comes next.
            let may_begin = |part: f64, next: f64| may_begin(done + part * share, next * share);
            losses.push(add(model, &ids, &targets, batch, scale, &mut gradients, &may_begin)?);
            done += share;
        }
        shards.push(gradients);
        Some(losses)
    });
    let losses = losses.collect::<Option<Vec<Vec<_>>>>();
    if group.size() == 1 {
        return Ok(losses.map(|losses| (Loss::Unread(losses), shards)));
    }
    let losses: Option<Vec<f64>> =
        losses.map(|shards| shards.into_iter().map(|pieces| Loss::Unread(vec![pieces]).read()).collect());
    let losses = group.gather_numbers(losses.as_deref())?;
    Ok(losses.map(|losses| (Loss::Known(losses.iter().sum()), shards)))
}

fn backward(
    model: &GptNeox,
    ids: &[u32],
    targets: &[u32],
    batch: usize,
    scale: f32,
    gradients: &mut Gradients,
    may_begin: &MayBegin,
) -> Option<Tensor<1>> {
    let Shares { pass, head } = Shares::of(&model.config, ids.len() / batch, false);
    let mut parts = Parts { done: 0.0, may_begin };
    let mut leaves = model.leaves();
    let mut x = leaves.embed(ids);
    for i in 0..model.layers.len() {
        parts.begin(pass)?;
        x = leaves.block(i, x, batch);
    }
    parts.begin(head)?;
    let loss = leaves.head_loss(x, targets, scale);
    parts.begin(1.0 - parts.done)?;
    let mut tape = loss.backward();
    gradients.collect(&mut leaves, &mut tape);
    Some(loss.inner())
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
    may_begin: &MayBegin,
) -> Option<Tensor<1>> {
    let Shares { pass, head } = Shares::of(&model.config, ids.len() / batch, true);
    let mut parts = Parts { done: 0.0, may_begin };
    let mut leaves = model.leaves();
    let mut inputs = vec![model.embed(ids)];
    for i in 0..model.layers.len() {
        parts.begin(pass)?;
        inputs.push(model.block(i, inputs[i].clone(), batch));
    }
    let leaf = |x: Tensor<2>| x.autodiff().require_grad();
    parts.begin(head)?;
    let x = leaf(inputs.pop().expect("the output of the last block"));
    let loss = leaves.head_loss(x.clone(), targets, scale);
    let mut tape = loss.backward();
    let mut upstream = x.grad_remove(&mut tape).expect("the loss depends on it");
    gradients.collect(&mut leaves, &mut tape);
    for i in (0..model.layers.len()).rev() {
        parts.begin(3.0 * pass)?;
        let x = leaf(inputs.pop().expect("one input a block"));
        let mut tape = (leaves.block(i, x.clone(), batch) * upstream.autodiff()).sum().backward();
        upstream = x.grad_remove(&mut tape).expect("the block depends on it");
        gradients.collect(&mut leaves, &mut tape);
    }
    let mut tape = (leaves.embed(ids) * upstream.autodiff()).sum().backward();
    gradients.collect(&mut leaves, &mut tape);
    Some(loss.inner())
}
