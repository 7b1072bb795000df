//! The same operations made of Burn operations: the body for every device that is not the CPU, and the oracle of the fused bodies in
//! tests. Burn differentiates them, but for three whose gradients are written by hand (`own_gradient`): GELU, where Burn's is wrong, and
//! attention and cross-entropy, where it would keep what is larger than a device can hold.

mod attention;
mod cross_entropy;
mod gelu;

use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{Bool, Int, Tensor, TensorData, activation, module};
use temper_kernels::adamw::AdamW;
use temper_kernels::gelu::Gelu;

use crate::attack::Ends;
use crate::stack::Conv;

/// Most numbers of a piece of logits or a tile of scores: 32 MiB, of which a few are in memory at once. Devices bind no more than 128 MiB
/// as one tensor, some of them.
pub const PIECE: usize = 8 << 20;

pub(crate) use attention::Tables;
pub use attention::{causal_attention, causal_attention_in_tiles};
pub use cross_entropy::{cross_entropy, cross_entropy_in_pieces, token_nll};
pub use gelu::gelu;

/// See [`crate::layer_norm`].
pub fn layer_norm(x: Tensor<2>, weight: Tensor<1>, bias: Tensor<1>, eps: f32) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    centred / (variance + eps).sqrt() * weight.unsqueeze() + bias.unsqueeze()
}

/// See [`crate::linear`].
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    x.matmul(weight.transpose()) + bias.unsqueeze()
}

/// See [`crate::mlp`].
pub fn mlp(x: Tensor<2>, first: (Tensor<2>, Tensor<1>), second: (Tensor<2>, Tensor<1>), kind: Gelu) -> Tensor<2> {
    linear(gelu(linear(x, first.0, first.1), kind), second.0, second.1)
}

fn indices<const D: usize>(ids: &[u32], like: &Tensor<D>) -> Tensor<1, Int> {
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    Tensor::from_data(TensorData::from(ids.as_slice()), &like.device())
}

/// See [`crate::embedding`].
pub fn embedding(weight: Tensor<2>, ids: &[u32]) -> Tensor<2> {
    let ids = indices(ids, &weight);
    weight.select(0, ids)
}

/// See [`crate::adamw`].
pub fn adamw<const D: usize>(
    p: Tensor<D>,
    g: Tensor<D>,
    m: Tensor<D>,
    v: Tensor<D>,
    settings: &AdamW,
) -> [Tensor<D>; 3] {
    let AdamW { lr, beta1, beta2, eps, weight_decay, step, grad_scale } = *settings;
    let (lr, beta1, beta2) = (f64::from(lr), f64::from(beta1), f64::from(beta2));
    let g = g * grad_scale;
    let m = m * beta1 + g.clone() * (1.0 - beta1);
    let v = v * beta2 + g.square() * (1.0 - beta2);
    let (correction1, correction2) = (1.0 - beta1.powf(step as f64), 1.0 - beta2.powf(step as f64));
    let denominator = v.clone().sqrt() / correction2.sqrt() + eps;
    let p = p * (1.0 - lr * f64::from(weight_decay)) - m.clone() / denominator * (lr / correction1);
    [p, m, v]
}

/// The parts of a stack `[S, N, C, H, W]`: clean activations, and centre and radius if it has them.
fn parts(x: Tensor<5>) -> (Tensor<4>, Option<[Tensor<4>; 2]>) {
    let slabs = x.dims()[0];
    let part = |i: usize| x.clone().narrow(0, i, 1).squeeze_dim::<4>(0);
    (part(0), (slabs == 3).then(|| [part(1), part(2)]))
}

fn stacked(clean: Tensor<4>, interval: Option<[Tensor<4>; 2]>) -> Tensor<5> {
    let mut parts = vec![clean];
    parts.extend(interval.into_iter().flatten());
    Tensor::stack(parts, 0)
}

/// See [`crate::stack::conv2d`].
pub fn conv2d(x: Tensor<5>, weight: Tensor<4>, bias: Tensor<1>, conv: Conv) -> Tensor<5> {
    let options = || ConvOptions::new([conv.stride; 2], [conv.padding; 2], [1; 2], conv.groups);
    let plain = |x| module::conv2d(x, weight.clone(), Some(bias.clone()), options());
    let (clean, interval) = parts(x);
    stacked(plain(clean), interval.map(|[c, r]| [plain(c), module::conv2d(r, weight.clone().abs(), None, options())]))
}

/// See [`crate::stack::dense`].
pub fn dense(x: Tensor<5>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<5> {
    let [_, rows, _, _, _] = x.dims();
    let flat = |x: Tensor<4>| x.flatten::<2>(1, 3);
    let unflat = |x: Tensor<2>| x.unsqueeze_dims::<4>(&[-1, -1]);
    debug_assert!(rows > 0);
    let plain = |x| unflat(linear(flat(x), weight.clone(), bias.clone()));
    let (clean, interval) = parts(x);
    let radius = |r| unflat(flat(r).matmul(weight.clone().abs().transpose()));
    stacked(plain(clean), interval.map(|[c, r]| [plain(c), radius(r)]))
}

/// See [`crate::stack::channel_moments`].
pub fn channel_moments(x: Tensor<5>) -> Tensor<2> {
    let (clean, _) = parts(x);
    let channels = clean.dims()[1];
    let rows = clean.swap_dims(0, 1).reshape([channels as i32, -1]);
    let mean = rows.clone().mean_dim(1);
    let variance = (rows - mean.clone()).square().mean_dim(1);
    Tensor::cat(vec![mean, variance], 1).transpose()
}

/// See [`crate::stack::channel_affine`].
pub fn channel_affine(x: Tensor<5>, scale: Tensor<1>, shift: Tensor<1>) -> Tensor<5> {
    let channels = scale.dims()[0];
    let (scale, shift) = (scale.reshape([1, channels, 1, 1]), shift.reshape([1, channels, 1, 1]));
    let plain = |x: Tensor<4>| x * scale.clone() + shift.clone();
    let (clean, interval) = parts(x);
    stacked(plain(clean), interval.map(|[c, r]| [plain(c), r * scale.clone().abs()]))
}

/// See [`crate::stack::batch_norm`].
pub fn batch_norm(x: Tensor<5>, weight: Tensor<1>, bias: Tensor<1>, eps: f32) -> Tensor<5> {
    let moments = channel_moments(x.clone());
    let row = |i: usize| moments.clone().narrow(0, i, 1).squeeze_dim::<1>(0);
    let scale = weight / (row(1) + eps).sqrt();
    let shift = bias - row(0) * scale.clone();
    channel_affine(x, scale, shift)
}

/// See [`crate::stack::running`].
pub fn running(old: Tensor<1>, batch: Tensor<1>, momentum: f64, factor: f64) -> Tensor<1> {
    old.clone() + (batch * factor - old) * momentum
}

/// See [`crate::stack::relu`].
pub fn relu(x: Tensor<5>) -> Tensor<5> {
    let (clean, interval) = parts(x);
    let interval = interval.map(|[c, r]| {
        let (lower, upper) = (activation::relu(c.clone() - r.clone()), activation::relu(c + r));
        [(upper.clone() + lower.clone()) * 0.5, (upper - lower) * 0.5]
    });
    stacked(activation::relu(clean), interval)
}

/// See [`crate::stack::interval_moments`].
pub fn interval_moments(x: Tensor<5>) -> Tensor<1> {
    let (_, interval) = parts(x);
    let [c, r] = interval.expect("a stack with intervals");
    let active = (c.clone() - r.clone()).greater_elem(0.0).float();
    let inactive = (c.clone() + r.clone()).lower_elem(0.0).float();
    let spread = (c.clone() - c.clone().mean().unsqueeze()).square();
    let moments = vec![
        r.mean(),
        (c.clone() * active.clone()).mean(),
        -(c * inactive.clone()).mean(),
        (spread.clone() * active.clone()).sum(),
        (spread * inactive.clone()).sum(),
        active.sum(),
        inactive.sum(),
    ];
    Tensor::cat(moments, 0)
}

/// See [`crate::stack::margins`].
pub fn margins(x: Tensor<5>, weight: Tensor<2>, bias: Tensor<1>, labels: &[u32]) -> Tensor<2> {
    let (_, interval) = parts(x);
    let [c, r] = interval.expect("a stack with intervals").map(|part| part.flatten::<2>(1, 3).unsqueeze_dim::<3>(1));
    let own = indices(labels, &weight);
    // [N, K, D] and [N, K]: the rows of the merged layer.
    let rows = weight.clone().select(0, own.clone()).unsqueeze_dim::<3>(1) - weight.unsqueeze::<3>();
    let bias = bias.clone().select(0, own).unsqueeze_dim::<2>(1) - bias.unsqueeze::<2>();
    ((rows.clone() * c) - rows.abs() * r).sum_dim(2).squeeze_dim::<2>(2) + bias
}

/// See [`crate::stack::conv2d_adjoint`].
pub fn conv2d_adjoint(x: Tensor<4>, weight: Tensor<4>, conv: Conv, size: [usize; 2]) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let kernel = weight.dims()[2];
    // Rows and columns at the end that no output reaches further than.
    let rest = |size: usize, output: usize| size + 2 * conv.padding - ((output - 1) * conv.stride + kernel);
    let extra = [rest(size[0], height), rest(size[1], width)];
    let options = ConvTransposeOptions::new([conv.stride; 2], [conv.padding; 2], extra, [1; 2], conv.groups);
    module::conv_transpose2d(x, weight, None, options)
}

/// See [`crate::stack::clean`] and [`crate::stack::boxes`]. In single precision the distances to the ends of a box are exact, the ends
/// are not.
pub fn boxes(pixels: Tensor<4>, eps: Option<&[f64]>, mean: &[f32], std: &[f32]) -> Tensor<5> {
    let device = pixels.device();
    let channel = |values: &[f32]| Tensor::<1>::from_floats(values, &device).reshape([1, values.len(), 1, 1]);
    let (mean, std) = (channel(mean), channel(std));
    let normalised = |x: Tensor<4>| (x - mean.clone()) / std.clone();
    let interval = eps.map(|eps| {
        let eps: Vec<f32> = eps.iter().map(|eps| *eps as f32).collect();
        let eps = Tensor::<1>::from_floats(eps.as_slice(), &device).reshape([eps.len(), 1, 1, 1]);
        let eps = eps.expand(pixels.shape());
        let (down, up) = (pixels.clone().min_pair(eps.clone()), (-pixels.clone() + 1.0).min_pair(eps));
        [normalised(pixels.clone() + (up.clone() - down.clone()) * 0.5), (up + down) * 0.5 / std.clone()]
    });
    stacked(normalised(pixels), interval)
}

/// One logit a row, `[N]`.
fn pick(logits: &Tensor<2>, classes: Tensor<1, Int>) -> Tensor<1> {
    logits.clone().gather(1, classes.unsqueeze_dim::<2>(1)).squeeze_dim::<1>(1)
}

/// The class of the largest logit but the label's, `[N]`.
fn rivals(logits: &Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1, Int> {
    let own = labels.one_hot::<2>(logits.dims()[1]).bool();
    logits.clone().inner().mask_fill(own, f32::NEG_INFINITY).argmax(1).squeeze_dim::<1>(1)
}

/// See [`crate::attack::margins`].
pub fn attack_margins(logits: Tensor<2>, labels: &[u32]) -> Tensor<2> {
    let labels = indices(labels, &logits);
    let rivals = rivals(&logits, labels.clone());
    let margins = pick(&logits, labels.clone()) - pick(&logits, rivals.clone());
    // A difference with what is not finite is not a number.
    let margins = margins + (logits.clone().inner() * 0.0).sum_dim(1).squeeze_dim::<1>(1);
    let classes = rivals.mask_where(margins.clone().inner().greater_elem(0.0), labels).float();
    Tensor::stack(vec![margins, classes], 0)
}

/// See [`crate::attack::heights`].
pub fn attack_heights(logits: Tensor<2>, labels: &[u32], goals: Option<&[u32]>, over_spread: bool) -> Tensor<1> {
    let labels = indices(labels, &logits);
    let goals = goals.map_or_else(|| rivals(&logits, labels.clone()), |goals| indices(goals, &logits));
    let rise = pick(&logits, goals) - pick(&logits, labels);
    if !over_spread || logits.dims()[1] < 4 {
        return rise;
    }
    let sorted = logits.sort_descending(1);
    let rank = |rank: usize| sorted.clone().narrow(1, rank, 1).squeeze_dim::<1>(1);
    rise / (rank(0) - (rank(2) + rank(3)) * 0.5 + 1e-12)
}

fn within(x: Tensor<2>, ends: &Ends) -> Tensor<2> {
    x.max_pair(ends.lower.clone()).min_pair(ends.upper.clone())
}

/// See [`crate::attack::step`].
pub fn attack_step(x: Tensor<2>, gradient: Tensor<2>, ends: &Ends, step: f32) -> Tensor<2> {
    within(x + gradient.sign() * step, ends)
}

/// See [`crate::attack::climb`].
pub fn attack_climb(
    x: Tensor<2>,
    before: Tensor<2>,
    gradient: Tensor<2>,
    ends: &Ends,
    steps: Tensor<1>,
    keep: f32,
) -> Tensor<2> {
    let there = within(x.clone() + gradient.sign() * steps.unsqueeze_dim::<2>(1), ends);
    within(x.clone() + (there - x.clone()) * keep + (x - before) * (1.0 - keep), ends)
}

/// See [`crate::attack::square`].
pub fn attack_square(x: Tensor<2>, ends: &Ends, draws: &[f32], side: usize, [c, h, w]: [usize; 3]) -> Tensor<2> {
    let (shape, device) = (x.dims(), x.device());
    let images = shape[0];
    let maps = |rows: Tensor<2>| rows.reshape([images, c, h, w]);
    let draws = Tensor::<2>::from_data(TensorData::new(draws.to_vec(), [images, 2 + c]), &device);
    // Which of `size` rows or columns are in the square.
    let inside = |draw: usize, size: usize| {
        let first =
            (draws.clone().narrow(1, draw, 1) * (size - side + 1) as f32).floor().clamp_max((size - side) as f32);
        let at = Tensor::<1, Int>::arange(0..size as i64, &device).float().unsqueeze::<2>() - first; // [N, size]
        at.clone().greater_equal_elem(0.0).bool_and(at.lower_elem(side as f32))
    };
    let rows = inside(0, h).reshape([images, 1, h, 1]).expand([images, c, h, w]);
    let columns = inside(1, w).reshape([images, 1, 1, w]).expand([images, c, h, w]);
    let down = draws.clone().narrow(1, 2, c).lower_elem(0.5).reshape([images, c, 1, 1]).expand([images, c, h, w]);
    let changed = maps(ends.upper.clone()).mask_where(down, maps(ends.lower.clone()));
    maps(x).mask_where(rows.bool_and(columns), changed).reshape(shape)
}

/// See [`crate::attack::replace`].
pub fn attack_replace(to: Tensor<2>, from: &Tensor<2>, which: &Tensor<1, Bool>) -> Tensor<2> {
    let shape = to.shape();
    to.mask_where(which.clone().unsqueeze_dim::<2>(1).expand(shape), from.clone())
}
