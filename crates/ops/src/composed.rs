//! The same operations made of Burn operations, differentiated by Burn: the body for every device
//! that is not the CPU, and the oracle of the fused bodies in tests.

use burn::tensor::{Int, Tensor, TensorData, activation};
use temper_kernels::adamw::AdamW;
use temper_kernels::attention::Shape;
use temper_kernels::gelu::Gelu;

use crate::attention::Rotary;

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

/// GELU, exact or in the tanh approximation.
pub fn gelu(x: Tensor<2>, kind: Gelu) -> Tensor<2> {
    match kind {
        Gelu::Erf => activation::gelu(x),
        Gelu::Tanh => {
            let inner = (x.clone() + x.clone().powi_scalar(3) * 0.044715) * (2.0 / std::f64::consts::PI).sqrt();
            x * 0.5 * (inner.tanh() + 1.0)
        }
    }
}

/// See [`crate::causal_attention`].
pub fn causal_attention(qkv: Tensor<2>, rotary: &Rotary, shape: Shape) -> Tensor<2> {
    let Shape { batch, seq, heads, head_dim } = shape;
    let device = qkv.device();
    let heads_first = qkv.reshape([batch, seq, heads, 3 * head_dim]).swap_dims(1, 2); // [B, H, T, 3*dh]
    let part = |i: usize| heads_first.clone().slice([0..batch, 0..heads, 0..seq, i * head_dim..(i + 1) * head_dim]);

    let half = rotary.dims / 2;
    let angle = |f: fn(f64) -> f64| {
        let table: Vec<f32> = (0..seq * half)
            .map(|i| {
                let (position, pair) = ((i / half) as f64, (i % half) as f64);
                f(position * rotary.base.powf(-2.0 * pair / rotary.dims as f64)) as f32
            })
            .collect();
        Tensor::<4>::from_data(TensorData::new(table, [1, 1, seq, half]), &device)
    };
    let rotate = |x: Tensor<4>| {
        if half == 0 {
            return x;
        }
        let piece = |from: usize, to: usize| x.clone().slice([0..batch, 0..heads, 0..seq, from..to]);
        let (x1, x2, rest) = (piece(0, half), piece(half, 2 * half), piece(2 * half, head_dim));
        let (cos, sin) = (angle(f64::cos), angle(f64::sin));
        let y1 = x1.clone() * cos.clone() - x2.clone() * sin.clone();
        let y2 = x2 * cos + x1 * sin;
        if 2 * half == head_dim { Tensor::cat(vec![y1, y2], 3) } else { Tensor::cat(vec![y1, y2, rest], 3) }
    };
    let scores = rotate(part(0)).matmul(rotate(part(1)).transpose()) / (head_dim as f64).sqrt(); // [B, H, T, T]
    let mask: Vec<f32> = (0..seq * seq).map(|i| if i % seq > i / seq { -1e30 } else { 0.0 }).collect();
    let scores = scores + Tensor::<4>::from_data(TensorData::new(mask, [1, 1, seq, seq]), &device);
    let mixed = activation::softmax(scores, 3).matmul(part(2)); // [B, H, T, dh]
    mixed.swap_dims(1, 2).reshape([batch * seq, heads * head_dim])
}

fn indices<const D: usize>(ids: &[u32], like: &Tensor<D>) -> Tensor<1, Int> {
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    Tensor::from_data(TensorData::from(ids.as_slice()), &like.device())
}

/// `-log softmax(x wᵀ)[target]` of every row, `[N]`.
pub fn token_nll(x: Tensor<2>, weight: Tensor<2>, targets: &[u32]) -> Tensor<1> {
    let targets = indices(targets, &x).unsqueeze_dim::<2>(1);
    let log_p = activation::log_softmax(x.matmul(weight.transpose()), 1);
    -log_p.gather(1, targets).squeeze_dim::<1>(1)
}

/// See [`crate::cross_entropy`].
pub fn cross_entropy(x: Tensor<2>, weight: Tensor<2>, targets: &[u32], scale: f32) -> Tensor<1> {
    token_nll(x, weight, targets).sum() * scale
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
