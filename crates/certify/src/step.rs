//! One update of certified training: clean pass and bounds in one, loss, backward, clipping, update.

use std::cell::RefCell;
use std::ops::{AddAssign, Range};

use burn::tensor::{Device, Tensor, TensorData};
use temper_base::Result;
use temper_base::numbers::counted;
use temper_bounds::attack::{Attack, AttackLoss, adversarial_images};
use temper_bounds::{boxes, losses};
use temper_model::image::{PooledMoments, Statistics};
use temper_model::{Classifier, Parameters};
use temper_ops::stack;
use temper_train::apply::{self, apply};
use temper_train::gradients::Gradients;
use temper_train::group::{Group, agree};
use temper_train::optimizer::Optimizer;
use temper_train::shards::{OwnShards, Tree, cut};
use temper_train::trainer::MayBegin;

use super::cost::{attack_passes_of_update, passes};
use super::method::Method;
use super::methods::Bounds;
use super::radius::EpsAt;

/// Images with their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Pixels in [0, 1], `[N, C, H, W]`.
    pub pixels: Vec<f32>,
    /// One class an image.
    pub labels: Vec<u32>,
}

/// How a batch is cut into pieces whose gradients are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accumulation {
    /// Parts of a batch, a power of two, whose gradients are added as a tree; the ranks of a group share them.
    pub shards: usize,
    /// Pieces of a shard.
    pub pieces: usize,
    /// Normalise each piece with the statistics of the whole batch, which a first pass without gradients takes; the
    /// gradient then does not go through them. Otherwise each piece is normalised for itself.
    pub whole_batch_statistics: bool,
}

impl Accumulation {
    /// Pieces of a batch.
    pub fn parts(&self) -> usize {
        self.shards * self.pieces.max(1)
    }

    /// The cut in words: "4 shards of 2 pieces".
    pub fn words(&self) -> String {
        let [shards, pieces] =
            [(self.shards, "shard"), (self.pieces, "piece")].map(|(n, what)| counted(n as u64, what));
        match (self.shards, self.pieces) {
            (1, _) => pieces,
            (_, 1) => shards,
            _ => format!("{shards} of {pieces}"),
        }
    }
}

/// What a step reports: means over the images of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StepMetrics {
    /// What was minimised.
    pub loss: f64,
    /// Cross-entropy of the clean images; of the attacked ones, where these are trained on.
    pub clean_loss: f64,
    /// Cross-entropy of the worst margins, where there are bounds.
    pub robust_loss: Option<f64>,
    /// The tightness regulariser, where it acts.
    pub tightness: Option<f64>,
    /// The ReLU-balance regulariser, where it acts.
    pub relu_balance: Option<f64>,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
}

/// What an update is made from.
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    /// The images.
    pub batch: &'a Batch,
    /// What is trained against.
    pub method: &'a Method,
    /// At which radius.
    pub radius: &'a EpsAt,
    /// How the batch is cut into pieces.
    pub accumulation: Accumulation,
    /// Its learning rate.
    pub lr: f64,
    /// Its number, from 1, which with the seed decides the random starts of an attack.
    pub step: u64,
    /// The seed of these starts.
    pub seed: u64,
}

impl AddAssign for StepMetrics {
    fn add_assign(&mut self, other: Self) {
        let add = |own: &mut Option<f64>, other: Option<f64>| {
            if let Some(other) = other {
                *own = Some(own.unwrap_or(0.0) + other);
            }
        };
        self.loss += other.loss;
        self.clean_loss += other.clean_loss;
        add(&mut self.robust_loss, other.robust_loss);
        add(&mut self.tightness, other.tightness);
        add(&mut self.relu_balance, other.relu_balance);
    }
}

/// How many numbers the losses of a shard are, as other ranks are told them.
const LOSSES: usize = 8;

impl StepMetrics {
    /// Its losses as numbers.
    fn to_numbers(self) -> [f64; LOSSES] {
        let [robust, tightness, balance] = [self.robust_loss, self.tightness, self.relu_balance]
            .map(|term| [f64::from(u8::from(term.is_some())), term.unwrap_or(0.0)]);
        [self.loss, self.clean_loss, robust[0], robust[1], tightness[0], tightness[1], balance[0], balance[1]]
    }

    /// The other way.
    fn from_numbers(numbers: [f64; LOSSES]) -> Self {
        let term = |at: usize| (numbers[at] == 1.0).then_some(numbers[at + 1]);
        let [robust_loss, tightness, relu_balance] = [term(2), term(4), term(6)];
        Self { loss: numbers[0], clean_loss: numbers[1], robust_loss, tightness, relu_balance, grad_norm: 0.0 }
    }
}

/// One update. `None` if `may_begin` refused a part of it, on whichever rank; network, running statistics included, and optimiser are
/// then as they were.
///
/// # Errors
/// A loss or gradient that is not finite, a rank that has failed, and where attacked images are trained on, images that do not fit the
/// network. Weights and optimiser are then as they were.
///
/// # Panics
/// If the batch has fewer images than shards.
pub fn train_step(
    net: &mut Classifier,
    optimizer: &mut Optimizer,
    update: Update,
    group: &dyn Group,
    may_begin: &MayBegin,
    device: &Device,
) -> Result<Option<StepMetrics>> {
    let running = net.running();
    let Some((mut metrics, shards)) = loss_and_gradients(net, update, group, may_begin, device)? else {
        net.set_running(&running);
        return Ok(None);
    };
    let Update { lr, step, .. } = update;
    let number = apply::Update { step, lr, gentler: "eps.length" };
    metrics.grad_norm = apply(net, optimizer, group, shards, metrics.loss, number)?.grad_norm;
    Ok(Some(metrics))
}

/// The mean loss of the batch, in which every image weighs the same, and the gradients of this rank's shards. The running
/// statistics of batch norms move with every piece, as in PyTorch. `None` if `may_begin` refused a part of it, on whichever rank.
///
/// # Errors
/// A rank that has failed; images that do not fit the network, where attacked ones are trained on.
///
/// # Panics
/// If the batch has fewer images than shards.
pub fn loss_and_gradients(
    net: &mut Classifier,
    update: Update,
    group: &dyn Group,
    may_begin: &MayBegin,
    device: &Device,
) -> Result<Option<(StepMetrics, OwnShards)>> {
    let Update { batch, accumulation, .. } = update;
    let images = batch.labels.len();
    assert!(images >= accumulation.shards, "{images} images in {} shards", accumulation.shards);
    let part = |shard: usize| cut(images, accumulation.shards, shard);
    let own = group.own_shards(accumulation.shards);
    let whole = accumulation.whole_batch_statistics && accumulation.parts() > 1;
    let whole = whole.then(|| clean_moments(net, batch, accumulation.shards, group, device)).transpose()?;
    if let Some(moments) = &whole {
        net.update_running(moments, &net.batch_norm_counts(images));
    }
    // An attack sees running statistics: those of every shard begin here, since other ranks make the shards before it.
    let begun = net.running();
    let mut shards = OwnShards::none(net, accumulation.shards, group);
    let (mut losses, mut moments) = (Some(Vec::new()), Vec::new());
    let (own_images, mut done) = (own.clone().map(|shard| part(shard).len()).sum::<usize>(), 0.0);
    let mut begin = |next: f64| {
        let may = may_begin(done, next);
        done += next;
        may
    };
    let all = || {
        for shard in own {
            net.set_running(&begun);
            let shard = shard_loss(net, &update, part(shard), own_images, whole.as_deref(), &mut begin, device)?;
            let Some(shard) = shard else {
                losses = None;
                break;
            };
            losses.get_or_insert_default().push(shard.losses);
            moments.extend(shard.moments);
            shards.push(shard.gradients);
        }
        Ok(())
    };
    agree(group, all())?;
    let losses: Option<Vec<f64>> =
        losses.map(|shards| read_losses(shards).into_iter().flat_map(StepMetrics::to_numbers).collect());
    let Some(losses) = group.gather_numbers(losses.as_deref())? else { return Ok(None) };
    let mut metrics = StepMetrics::default();
    losses.as_chunks().0.iter().for_each(|losses| metrics += StepMetrics::from_numbers(*losses));
    net.set_running(&begun);
    if whole.is_none() && !begun.is_empty() {
        for piece in gather_moments(Some(moments), &begun, group)?.unwrap_or_default() {
            net.update_running(&piece.moments, &net.batch_norm_counts(piece.images));
        }
    }
    Ok(Some((metrics, shards)))
}

/// What a shard comes to.
struct Shard {
    /// Of its pieces, still on the device.
    losses: Vec<PieceLosses>,
    gradients: Gradients,
    /// Of its pieces, where they are normalised for themselves.
    moments: Vec<PieceMoments>,
}

/// The losses of a piece, off the tape, and the share of the batch that it is.
struct PieceLosses {
    share: f64,
    loss: Tensor<1>,
    clean: Tensor<1>,
    robust: Option<Tensor<1>>,
    tightness: Option<Tensor<1>>,
    relu_balance: Option<Tensor<1>>,
}

/// The losses of shards, all read at once.
fn read_losses(shards: Vec<Vec<PieceLosses>>) -> Vec<StepMetrics> {
    let tensors = shards.iter().flatten().flat_map(|piece| {
        let terms = [&piece.robust, &piece.tightness, &piece.relu_balance];
        [&piece.loss, &piece.clean].into_iter().chain(terms.into_iter().flatten()).cloned()
    });
    let mut numbers = temper_ops::read_numbers(tensors.collect()).into_iter();
    let mut of_shard = |pieces: Vec<PieceLosses>| {
        let mut losses = StepMetrics::default();
        for piece in pieces {
            let mut number = || piece.share * f64::from(numbers.next().expect("one number a loss"));
            losses += StepMetrics {
                loss: number(),
                clean_loss: number(),
                robust_loss: piece.robust.map(|_| number()),
                tightness: piece.tightness.map(|_| number()),
                relu_balance: piece.relu_balance.map(|_| number()),
                grad_norm: 0.0,
            };
        }
        losses
    };
    shards.into_iter().map(&mut of_shard).collect()
}

/// What the batch norms of a piece have seen.
pub(crate) struct PieceMoments {
    pub images: usize,
    /// Per batch norm, mean and biased variance `[2, C]`.
    pub moments: Vec<Tensor<2>>,
}

/// Loss and gradients of the shard that consists of these images of the batch. `begin` says whether a part of the work may begin that is
/// this share of all that this rank does, for `own_images` images. Running statistics move on from piece to piece.
fn shard_loss(
    net: &mut Classifier,
    update: &Update,
    shard: Range<usize>,
    own_images: usize,
    whole: Option<&[Tensor<2>]>,
    begin: &mut dyn FnMut(f64) -> bool,
    device: &Device,
) -> Result<Option<Shard>> {
    let Update { batch, method, radius, accumulation, step, seed, .. } = *update;
    let images = batch.labels.len();
    let size = batch.pixels.len() / images;
    let piece = shard.len().div_ceil(accumulation.pieces.max(1));
    let mut gradients = Gradients::none(net);
    let (mut losses, mut moments) = (Vec::new(), Vec::new());
    // A piece is an attack, where these are trained on, a forward pass, and a backward pass of twice its arithmetic.
    let passes = passes(method, radius, net.config.classes) as f64;
    let attack_part = attack_passes_of_update(method, radius) as f64 / passes;
    let forward_part = (1.0 - attack_part) / 3.0;
    for (index, labels) in batch.labels[shard.clone()].chunks(piece).enumerate() {
        let first = shard.start + index * piece;
        let pixels = &batch.pixels[first * size..(first + labels.len()) * size];
        let share = labels.len() as f64 / images as f64;
        let work = labels.len() as f64 / own_images as f64;
        if attack_part > 0.0 && !begin(attack_part * work) {
            return Ok(None);
        }
        let steps = method.attack_steps(radius);
        let attacked_or_clean = if steps > 0 {
            // The network as it is evaluated, with running statistics; every update draws other random starts.
            let seed = seed ^ (step << 20);
            let attack =
                Attack { steps, seed, random_first: true, loss: AttackLoss::CrossEntropy, ..Attack::default() };
            adversarial_images(net, pixels, labels, radius.eps, &attack, first as u64, device)?
        } else {
            piece_images(net, pixels, labels, device)
        };
        if !begin(forward_part * work) {
            return Ok(None);
        }
        let mut leaves = net.leaves();
        let statistics = whole.map_or(Statistics::Batch, Statistics::Given);
        let parts = piece_loss(&leaves, attacked_or_clean, labels, method, radius, statistics);
        if !begin(2.0 * forward_part * work) {
            return Ok(None);
        }
        let mut tape = (parts.loss.clone() * share).backward();
        gradients.collect(&mut leaves, &mut tape);
        losses.push(PieceLosses {
            share,
            loss: parts.loss.inner(),
            clean: parts.clean.inner(),
            robust: parts.robust.map(Tensor::inner),
            tightness: parts.tightness.map(Tensor::inner),
            relu_balance: parts.relu_balance.map(Tensor::inner),
        });
        if whole.is_none() {
            let own: Vec<_> = parts.moments.into_iter().map(Tensor::inner).collect();
            net.update_running(&own, &net.batch_norm_counts(labels.len()));
            moments.push(PieceMoments { images: labels.len(), moments: own });
        }
    }
    Ok(Some(Shard { losses, gradients, moments }))
}

/// The moments of the pieces of all ranks in their order; `like` has a tensor for every batch norm. `None` if a rank has none to give, because it had to
/// give up.
///
/// # Errors
/// A rank that has failed.
pub(crate) fn gather_moments(
    own: Option<Vec<PieceMoments>>,
    like: &[Tensor<2>],
    group: &dyn Group,
) -> Result<Option<Vec<PieceMoments>>> {
    if group.size() == 1 {
        return Ok(own);
    }
    let of_piece = |piece: PieceMoments| std::iter::once(piece.images as f64).chain(numbers(&piece.moments));
    let own: Option<Vec<f64>> = own.map(|own| own.into_iter().flat_map(of_piece).collect());
    let length = 1 + like.iter().map(|moments| moments.shape().num_elements()).sum::<usize>();
    let piece = |piece: &[f64]| PieceMoments { images: piece[0] as usize, moments: tensors(&piece[1..], like) };
    Ok(group.gather_numbers(own.as_deref())?.map(|all| all.chunks(length).map(piece).collect()))
}

/// The values of moments, one after the other.
fn numbers(moments: &[Tensor<2>]) -> Vec<f64> {
    moments.iter().flat_map(|moments| temper_ops::read(moments.clone())).map(f64::from).collect()
}

/// The other way, for moments of the shapes of `like`.
fn tensors(numbers: &[f64], like: &[Tensor<2>]) -> Vec<Tensor<2>> {
    let mut rest = numbers.iter();
    let tensor = |like: &Tensor<2>| {
        let values: Vec<f32> = rest.by_ref().take(like.shape().num_elements()).map(|value| *value as f32).collect();
        Tensor::from_data(TensorData::new(values, like.dims()), &like.device())
    };
    like.iter().map(tensor).collect()
}

/// Forward and backward pass of the first `images` of a batch, whose results are dropped: a part of an update whose time says
/// how long one takes. Returns the share of the update's arithmetic.
pub(crate) fn sample(
    net: &Classifier,
    batch: &Batch,
    method: &Method,
    radius: &EpsAt,
    images: usize,
    device: &Device,
) -> f64 {
    let (all, images) = (batch.labels.len(), images.min(batch.labels.len()));
    let pixels = &batch.pixels[..batch.pixels.len() / all * images];
    let labels = &batch.labels[..images];
    let pixels = piece_images(net, pixels, labels, device);
    drop(piece_loss(&net.leaves(), pixels, labels, method, radius, Statistics::Batch).loss.backward());
    let passes = passes(method, radius, net.config.classes) as f64;
    (1.0 - attack_passes_of_update(method, radius) as f64 / passes) * images as f64 / all as f64
}

/// The losses of a piece, on the tape.
struct Parts {
    loss: Tensor<1>,
    clean: Tensor<1>,
    robust: Option<Tensor<1>>,
    tightness: Option<Tensor<1>>,
    relu_balance: Option<Tensor<1>>,
    moments: Vec<Tensor<2>>,
}

/// The images of a piece on the device.
fn piece_images(net: &Classifier, pixels: &[f32], labels: &[u32], device: &Device) -> Tensor<4> {
    let [c, h, w] = net.config.input;
    boxes::images(pixels, [labels.len(), c, h, w], device)
}

/// The loss exactly as in arXiv 2103.17268, section 4: the robust loss where the radius is above 0 and the clean loss
/// where it is not, plus the regularisers with their weight.
fn piece_loss(
    net: &Classifier,
    pixels: Tensor<4>,
    labels: &[u32],
    method: &Method,
    radius: &EpsAt,
    statistics: Statistics,
) -> Parts {
    let x = match method.bounds(radius) {
        Some(eps) => stack::boxes(pixels, &vec![eps; labels.len()], &net.mean, &net.std),
        None => stack::clean(pixels, &net.mean, &net.std),
    };
    let trace = net.trace(x, statistics);
    let clean = losses::cross_entropy(net.logits(&trace), labels);
    let objective = method.objective.bounded().filter(|_| radius.eps > 0.0);
    let robust = objective.map(|objective| objective.robust_loss(&Bounds { net, trace: &trace, labels, radius }));
    let clean_part = objective.map_or(0.0, |objective| objective.clean_part(radius));
    let mut loss = match &robust {
        Some(robust) if clean_part > 0.0 => robust.clone() * (1.0 - clean_part) + clean.clone() * clean_part,
        Some(robust) => robust.clone(),
        None => clean.clone(),
    };
    let (mut tightness, mut relu_balance) = (None, None);
    if method.regularised(radius) {
        let radii = trace.values[0].clone().narrow(0, 2, 1);
        let moments: Vec<_> = net.config.relus().into_iter().map(|(_, value)| trace.interval_moments(value)).collect();
        tightness = method.tightness.then(|| losses::tightness(&moments, radii.clone().mean(), method.tau));
        relu_balance = method.relu_balance.then(|| losses::relu_balance(&moments, method.tau, &radii.device()));
        for term in [&tightness, &relu_balance].into_iter().flatten() {
            loss = loss + term.clone() * radius.weight;
        }
    }
    Parts { loss, clean, robust, tightness, relu_balance, moments: trace.moments }
}

/// Mean and biased variance of every batch norm for the clean images of the whole batch, off the tape. Those of several shards are joined
/// by the tree in which their gradients are added; every batch norm waits for all of them.
fn clean_moments(
    net: &Classifier,
    batch: &Batch,
    shards: usize,
    group: &dyn Group,
    device: &Device,
) -> Result<Vec<Tensor<2>>> {
    let [c, h, w] = net.config.input;
    let images = batch.labels.len();
    let size = batch.pixels.len() / images;
    let pass = |images: Range<usize>, statistics: Statistics| {
        let pixels = &batch.pixels[images.start * size..images.end * size];
        net.trace(boxes::clean(pixels, [images.len(), c, h, w], &net.mean, &net.std, device), statistics).moments
    };
    if shards == 1 {
        return Ok(pass(0..images, Statistics::Batch));
    }
    let part = |shard: usize| cut(images, shards, shard);
    // The moments of all images at a batch norm, from those of the shards of this rank there.
    let join = |own: &[Tensor<2>]| -> Result<Tensor<2>> {
        let all = group.gather_numbers(Some(&numbers(own)))?.unwrap_or_default();
        let mut tree = Tree::from(0);
        for (shard, values) in all.chunks(all.len() / shards).enumerate() {
            let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
            let shape = [2, values.len() / 2];
            // All images have equally many values of a channel.
            let count = part(shard).len();
            tree.push(PooledMoments::of(&[Tensor::from_data(TensorData::new(values, shape), device)], &[count]));
        }
        Ok(tree.root().moments(device).remove(0))
    };
    let own = group.own_shards(shards);
    if own.is_empty() {
        return net.running().iter().map(|_| join(&[])).collect();
    }
    let first = part(own.start).start;
    let failed = RefCell::new(None);
    let shared = |x: &Tensor<5>| {
        let of_shard = |shard: usize| {
            let part = part(shard);
            stack::channel_moments(x.clone().narrow(1, part.start - first, part.len()))
        };
        let own: Vec<_> = own.clone().map(of_shard).collect();
        join(&own).unwrap_or_else(|problem| {
            // The pass comes to its end, for nothing.
            failed.borrow_mut().get_or_insert(problem);
            own[0].clone()
        })
    };
    let moments = pass(first..part(own.end - 1).end, Statistics::Shared(&shared));
    match failed.into_inner() {
        Some(problem) => Err(problem),
        None => Ok(moments),
    }
}
