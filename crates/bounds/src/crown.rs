//! CROWN-IBP (Zhang et al. 2020): linear bounds, pushed backwards from the margins to the image in one pass, over
//! intermediate intervals that come from interval bound propagation.
//!
//! `A` are the coefficients of a linear function of some value of the network, one a row of the specification. A ReLU
//! with `l < 0 < u` lies under the line through `(l, 0)` and `(u, u)` and over a line of slope 0 or 1 through the
//! origin; for a lower bound the positive coefficients take the lower line and the negative ones the upper.
//! Everything is a Burn operation, and gradients flow through the intervals, the statistics of batch norms and the
//! weights.

use burn::tensor::{Int, Tensor, TensorData, activation};
use temper_graph::Op;
use temper_model::ImageNet;
use temper_model::image::{Layer, Trace};
use temper_ops::stack;

/// The slope of the line under a ReLU with `l < 0 < u`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LowerSlope {
    /// 1 where `u > -l`, else 0: the smaller area.
    Adaptive,
    /// 0 always: the line that interval bounds take.
    Zero,
}

/// CROWN-IBP lower bounds of the margins `z_y - z_j`, 0 for j = y, `[N, K]`. The trace has S = 3.
pub fn margins(net: &ImageNet, trace: &Trace, labels: &[u32]) -> Tensor<2> {
    margins_with(net, trace, labels, LowerSlope::Adaptive)
}

/// [`margins`] with the lower line of choice.
pub fn margins_with(net: &ImageNet, trace: &Trace, labels: &[u32], slope: LowerSlope) -> Tensor<2> {
    let (rows, constant) = specification(net, labels);
    lower_bound(net, trace, rows, constant, slope)
}

/// The robust loss by CROWN-IBP with loss fusion (auto_LiRPA, Xu et al. 2020), mean over the batch, `[1]`. The
/// exponentials of the cross-entropy are bounded by chords over the interval bounds of `d_j = z_j - z_y`, so that one
/// row is pushed back instead of one a class. `beta` is the share of that bound, 1 - `beta` that of the intervals.
pub fn fused_loss(net: &ImageNet, trace: &Trace, labels: &[u32], beta: f64) -> Tensor<1> {
    let (rows, constant) = specification(net, labels); // of z_y - z_j: the bounds of d are the other way round
    let [n, _, d] = rows.dims();
    let last = trace.values[net.config.head_input()].clone();
    let part = |slab: usize| last.clone().narrow(0, slab, 1).reshape([n, 1, d]);
    let centre = (rows.clone() * part(1)).sum_dim(2).squeeze_dim::<2>(2) + constant.clone();
    let radius = (rows.clone().abs() * part(2)).sum_dim(2).squeeze_dim::<2>(2);
    let (lower, upper) = (-centre.clone() - radius.clone(), radius - centre); // [N, K], of d
    // Subtracted before the exponential and added after the logarithm: no gradient is owed to it.
    let highest = upper.clone().max_dim(1).detach(); // [N, 1]
    let exp_upper = (upper.clone() - highest.clone()).exp();
    let by_intervals = exp_upper.clone().sum_dim(1);
    let total = if beta == 0.0 {
        by_intervals
    } else {
        let exp_lower = (lower.clone() - highest.clone()).exp();
        let chord = ((exp_upper - exp_lower.clone()) / (upper - lower.clone()).clamp_min(1e-8)).clamp_min(1e-8);
        // sum_j chord_j (d_j - L_j) + exp(L_j - s), from above: minus the lower bound of its negative.
        let row = chord.clone().unsqueeze_dim::<3>(1).matmul(rows); // [N, 1, D]
        let rest = (exp_lower - chord.clone() * lower - chord * constant).sum_dim(1); // [N, 1]
        let by_lines = -lower_bound(net, trace, row, -rest, LowerSlope::Adaptive);
        by_lines * beta + by_intervals * (1.0 - beta)
    };
    (total.log() + highest).mean()
}

/// Rows `[N, K, D]` and constants `[N, K]` of the margins `z_y - z_j` as functions of the last layer's input.
fn specification(net: &ImageNet, labels: &[u32]) -> (Tensor<3>, Tensor<2>) {
    let (weight, bias) = net.head();
    let labels: Vec<i32> = labels.iter().map(|label| *label as i32).collect();
    let own = Tensor::<1, Int>::from_data(TensorData::from(labels.as_slice()), &weight.device());
    let rows = weight.clone().select(0, own.clone()).unsqueeze_dim::<3>(1) - weight.unsqueeze::<3>();
    let constant = bias.clone().select(0, own).unsqueeze_dim::<2>(1) - bias.unsqueeze::<2>();
    (rows, constant)
}

/// Lower bounds `[N, Q]` over the box of every image of `rows . x + constant`, where x is what the last layer reads;
/// `rows` is `[N, Q, D]`, `constant` `[N, Q]`.
fn lower_bound(
    net: &ImageNet,
    trace: &Trace,
    rows: Tensor<3>,
    mut constant: Tensor<2>,
    slope: LowerSlope,
) -> Tensor<2> {
    let nodes = &net.config.nodes;
    let [n, q, d] = rows.dims();
    // Coefficients of every value that something later reads, [N Q, C, H, W].
    let mut coefficients: Vec<Option<Tensor<4>>> = vec![None; nodes.len()];
    coefficients[net.config.head_input()] = Some(rows.reshape([n * q, d, 1, 1]));
    let mut norms = trace.scales.iter().rev();
    for (i, node) in nodes[..nodes.len() - 1].iter().enumerate().rev() {
        let Some(a) = coefficients[i + 1].take() else { continue };
        let input = node.inputs[0];
        let [c, h, w] = net.shapes()[input];
        let back = match (node.op, &net.layers[i]) {
            (_, Layer::Conv { weight, bias, conv }) => {
                constant = constant + per_channel(&a, bias).reshape([n, q]);
                stack::conv2d_adjoint(a, weight.clone(), *conv, [h, w], trace.sums)
            }
            (_, Layer::Linear { weight, bias }) => {
                constant = constant + per_channel(&a, bias).reshape([n, q]);
                let [_, out, _, _] = a.dims();
                a.reshape([n * q, out]).matmul(weight.clone()).reshape([n * q, c, 1, 1])
            }
            (_, Layer::BatchNorm { .. }) => {
                let [scale, shift] = norms.next().expect("scale and shift of every batch norm");
                constant = constant + per_channel(&a, shift).reshape([n, q]);
                a * scale.clone().reshape([1, c, 1, 1])
            }
            (Op::Relu, _) => {
                let relaxed = Relaxation::new(&trace.values[input], slope);
                let a = a.reshape([n, q, c * h * w]);
                let positive = activation::relu(a.clone());
                let negative = a - positive.clone();
                constant = constant + (negative.clone() * relaxed.intercept).sum_dim(2).squeeze_dim::<2>(2);
                (positive * relaxed.lower + negative * relaxed.upper).reshape([n * q, c, h, w])
            }
            (Op::Add, _) => {
                add(&mut coefficients[node.inputs[1]], a.clone());
                a
            }
            (Op::Flatten, _) => a.reshape([n * q, c, h, w]),
            (Op::AvgPool { kernel, stride }, _) => unpool(a, kernel, stride, [h, w]),
            (Op::Conv { .. } | Op::Linear { .. } | Op::BatchNorm, Layer::Plain) => {
                unreachable!("such a node has tensors")
            }
        };
        add(&mut coefficients[input], back);
    }
    let pixels = net.config.input.iter().product();
    let a = coefficients[0].take().expect("a network reads its image").reshape([n, q, pixels]);
    let image = |slab: usize| trace.values[0].clone().narrow(0, slab, 1).reshape([n, 1, pixels]);
    let least = (a.clone() * image(1) - a.abs() * image(2)).sum_dim(2).squeeze_dim::<2>(2);
    least + constant
}

/// Sums coefficients that reach a value on several ways.
fn add(slot: &mut Option<Tensor<4>>, a: Tensor<4>) {
    *slot = Some(match slot.take() {
        Some(other) => other + a,
        None => a,
    });
}

/// The sum of `a` `[R, C, H, W]` times one value a channel, `[R]`.
fn per_channel(a: &Tensor<4>, values: &Tensor<1>) -> Tensor<1> {
    let [rows, channels, _, _] = a.dims();
    let sums = a.clone().reshape([rows as i32, channels as i32, -1]).sum_dim(2).squeeze_dim::<2>(2);
    (sums * values.clone().unsqueeze::<2>()).sum_dim(1).squeeze_dim::<1>(1)
}

/// The lines around a ReLU over the intervals before it, `[N, 1, units]` each.
struct Relaxation {
    /// Slope of the line below.
    lower: Tensor<3>,
    /// Slope of the line above.
    upper: Tensor<3>,
    /// Where the line above meets x = 0.
    intercept: Tensor<3>,
}

impl Relaxation {
    fn new(before: &Tensor<5>, slope: LowerSlope) -> Self {
        let [_, n, c, h, w] = before.dims();
        let part = |slab: usize| before.clone().narrow(0, slab, 1).reshape([n, 1, c * h * w]);
        let (l, u) = (part(1) - part(2), part(1) + part(2));
        // Masks have no gradient.
        let below = l.clone().lower_elem(0.0);
        let unstable = below.clone().bool_and(u.clone().greater_elem(0.0)).float();
        let active = below.bool_not().float();
        // Stable units divide by 1, so that neither value nor gradient can be infinite; a NaN stays one.
        let chord =
            u.clone() * unstable.clone() / ((u.clone() - l.clone()) * unstable.clone() - unstable.clone() + 1.0);
        let lower = match slope {
            LowerSlope::Adaptive => active.clone() + unstable * (u + l.clone()).greater_elem(0.0).float(),
            LowerSlope::Zero => active.clone(),
        };
        Self { lower, intercept: -l * chord.clone(), upper: active + chord }
    }
}

/// The adjoint of average pooling: every coefficient, divided by the size of its square, for every input of it.
fn unpool(a: Tensor<4>, kernel: usize, stride: usize, size: [usize; 2]) -> Tensor<4> {
    let [rows, channels, h, w] = a.dims();
    let value = 1.0 / (kernel * kernel) as f32;
    let data = TensorData::new(vec![value; kernel * kernel], [1, 1, kernel, kernel]);
    let weight = Tensor::<4>::from_data(data, &a.device());
    let conv = stack::Conv { stride, padding: 0, groups: 1 };
    stack::conv2d_adjoint(a.reshape([rows * channels, 1, h, w]), weight, conv, size, stack::Sums::Plain)
        .reshape([rows, channels, size[0], size[1]])
}
