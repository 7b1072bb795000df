//! A network with its weights, and its pass over a stack of activations (see [`temper_ops::stack`]).
//!
//! Shapes: S slabs (1: clean; 3: clean, centre, radius), N images, C channels, H rows, W columns; flat activations of
//! F features are `[S, N, F, 1, 1]`. K classes.

use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{Device, Tensor, TensorData};
use temper_graph::{NetworkConfig, Op};
use temper_ops::stack::{self, Conv, Sums};

use super::init::ImageInit;
use crate::parameter::{Parameter, Parameters, Visitor};

pub use temper_graph::BATCH_NORM_EPS;

/// An image classifier. Cloning shares the weights.
#[derive(Debug, Clone)]
pub struct Classifier {
    /// What it is.
    pub config: NetworkConfig,
    /// Per channel, what is subtracted from pixels in [0, 1].
    pub mean: Vec<f32>,
    /// Per channel, what they are then divided by.
    pub std: Vec<f32>,
    /// The tensors of every layer, one entry a node of the configuration.
    pub layers: Vec<Layer>,
    /// Of every value: 0 is the image, i + 1 the output of node i.
    pub(super) shapes: Vec<[usize; 3]>,
}

/// The tensors of a layer.
#[expect(clippy::large_enum_variant, reason = "a network has a few dozen")]
#[derive(Debug, Clone)]
pub enum Layer {
    /// Convolution.
    Conv {
        /// `[O, I / groups, kernel, kernel]`.
        weight: Tensor<4>,
        /// `[O]`.
        bias: Tensor<1>,
        /// Its geometry.
        conv: Conv,
    },
    /// Linear layer.
    Linear {
        /// `[O, I]`.
        weight: Tensor<2>,
        /// `[O]`.
        bias: Tensor<1>,
    },
    /// Batch normalisation.
    BatchNorm {
        /// gamma, `[C]`.
        weight: Tensor<1>,
        /// beta, `[C]`.
        bias: Tensor<1>,
        /// Mean for evaluation, `[C]`.
        running_mean: Tensor<1>,
        /// Unbiased variance for evaluation, `[C]`.
        running_var: Tensor<1>,
    },
    /// A layer without tensors.
    Plain,
}

/// What batch norms normalise with.
#[derive(Clone, Copy)]
pub enum Statistics<'a> {
    /// Mean and biased variance of the clean activations of this very batch; gradients flow through them.
    Batch,
    /// The running statistics: evaluation.
    Running,
    /// Given ones: per batch norm, in node order, mean and biased variance `[2, C]`. No gradient flows through them.
    Given(&'a [Tensor<2>]),
    /// Those that this makes of the activations at a batch norm, `[S, N, C, H, W]`, as statistics that others share. No gradient flows
    /// through them.
    Shared(&'a dyn Fn(&Tensor<5>) -> Tensor<2>),
}

/// Every activation of a pass, up to what the last layer reads.
#[derive(Debug, Clone)]
pub struct Trace {
    /// 0 is the input, i + 1 the output of node i, for all nodes but the last; `[S, N, C, H, W]`.
    pub values: Vec<Tensor<5>>,
    /// How a value is made again out of an earlier one, for those of batch norms where that is worth it.
    made: Vec<Option<stack::Affine>>,
    /// Per batch norm, in node order, the mean and the variance it used, `[2, C]`.
    pub moments: Vec<Tensor<2>>,
    /// Per batch norm, in node order, scale and shift `[C]` of the affine map that it is, with gradient.
    pub scales: Vec<[Tensor<1>; 2]>,
    /// How the sums of its convolutions were made, and are made where linear bounds go back through them.
    pub sums: Sums,
}

impl Trace {
    /// [`stack::interval_moments`] of a value.
    pub fn interval_moments(&self, value: usize) -> Tensor<1> {
        let x = self.values[value].clone();
        match &self.made[value] {
            Some(made) => stack::interval_moments_after(x, made),
            None => stack::interval_moments(x),
        }
    }
}

/// Layer by layer, a weight before its bias.
impl Parameters for Classifier {
    fn visit(&mut self, f: &mut Visitor) {
        for (node, layer) in self.config.nodes.iter().zip(&mut self.layers) {
            let name = |tensor: &str| format!("{}.{tensor}", node.name);
            match layer {
                Layer::Conv { weight, bias, .. } => {
                    f(&name("weight"), Parameter::Kernel(weight));
                    f(&name("bias"), Parameter::Vector(bias));
                }
                Layer::Linear { weight, bias } => {
                    f(&name("weight"), Parameter::Matrix(weight));
                    f(&name("bias"), Parameter::Vector(bias));
                }
                Layer::BatchNorm { weight, bias, .. } => {
                    f(&name("weight"), Parameter::Vector(weight));
                    f(&name("bias"), Parameter::Vector(bias));
                }
                Layer::Plain => {}
            }
        }
    }
}

impl Classifier {
    /// A fresh network; equal seeds give equal weights. `config` has been checked. Pixels are not normalised until
    /// [`Classifier::normalised`] says how.
    pub fn new(config: NetworkConfig, init: ImageInit, seed: u64, device: &Device) -> Self {
        let mut net = Self::zeros(config, device);
        init.apply(&mut net, seed, device);
        net
    }

    /// A network with every weight and bias zero and the statistics of batch norms 0 and 1. `config` has been checked.
    pub fn zeros(config: NetworkConfig, device: &Device) -> Self {
        let shapes = config.shapes().expect("a network that was checked when it was made");
        let vector = |n: usize, value: f32| Tensor::<1>::from_data(TensorData::new(vec![value; n], [n]), device);
        let layers = config.nodes.iter().map(|node| {
            let weight = node.op.weight_shape(shapes[node.inputs[0]][0]);
            let zeros = || TensorData::new(vec![0.0f32; weight.iter().product()], weight.clone());
            match node.op {
                Op::Conv { out, stride, padding, groups, .. } => Layer::Conv {
                    weight: Tensor::from_data(zeros(), device),
                    bias: vector(out, 0.0),
                    conv: Conv { stride, padding, groups },
                },
                Op::Linear { out } => {
                    Layer::Linear { weight: Tensor::from_data(zeros(), device), bias: vector(out, 0.0) }
                }
                Op::BatchNorm => Layer::BatchNorm {
                    weight: vector(weight[0], 0.0),
                    bias: vector(weight[0], 0.0),
                    running_mean: vector(weight[0], 0.0),
                    running_var: vector(weight[0], 1.0),
                },
                Op::Relu | Op::Add | Op::Flatten | Op::AvgPool { .. } => Layer::Plain,
            }
        });
        let layers = layers.collect();
        let channels = config.input[0];
        Self { mean: vec![0.0; channels], std: vec![1.0; channels], layers, shapes, config }
    }

    /// The same network for pixels that are normalised with `mean` and `std`, one value a channel.
    pub fn normalised(mut self, mean: Vec<f32>, std: Vec<f32>) -> Self {
        assert_eq!((mean.len(), std.len()), (self.config.input[0], self.config.input[0]), "one value a channel");
        (self.mean, self.std) = (mean, std);
        self
    }

    /// The shape `[C, H, W]` of every value: 0 is the image, i + 1 the output of node i, the last node included.
    pub fn shapes(&self) -> &[[usize; 3]] {
        &self.shapes
    }

    /// Visits what is kept beside the parameters: `running_mean` and `running_var` of every batch norm.
    pub fn visit_buffers(&mut self, f: &mut Visitor) {
        for (node, layer) in self.config.nodes.iter().zip(&mut self.layers) {
            if let Layer::BatchNorm { running_mean, running_var, .. } = layer {
                f(&format!("{}.running_mean", node.name), Parameter::Vector(running_mean));
                f(&format!("{}.running_var", node.name), Parameter::Vector(running_var));
            }
        }
    }

    /// Every activation for the normalised images `x`, `[S, N, C, H, W]`, up to the input of the last layer, as training
    /// needs it: as fast as may be.
    pub fn trace(&self, x: Tensor<5>, statistics: Statistics) -> Trace {
        self.trace_by(x, statistics, Sums::Fast)
    }

    /// The same with plain sums: what a number that is reported rests on.
    pub fn trace_plain(&self, x: Tensor<5>, statistics: Statistics) -> Trace {
        self.trace_by(x, statistics, Sums::Plain)
    }

    fn trace_by(&self, x: Tensor<5>, statistics: Statistics, sums: Sums) -> Trace {
        assert_eq!(x.dims()[2..], self.config.input, "images of the network's size");
        let mut trace = Trace { values: vec![x], made: vec![None], moments: Vec::new(), scales: Vec::new(), sums };
        let hidden = self.layers.len() - 1;
        for (node, layer) in self.config.nodes[..hidden].iter().zip(&self.layers) {
            let x = trace.values[node.inputs[0]].clone();
            let mut made = None;
            let output = match (node.op, layer) {
                (_, Layer::Conv { weight, bias, conv }) => stack::conv2d(x, weight.clone(), bias.clone(), *conv, sums),
                (_, Layer::Linear { weight, bias }) => stack::dense(x, weight.clone(), bias.clone()),
                (_, Layer::BatchNorm { weight, bias, running_mean, running_var }) => {
                    let moments = match statistics {
                        Statistics::Batch => stack::channel_moments(x.clone()),
                        Statistics::Running => Tensor::stack(vec![running_mean.clone(), running_var.clone()], 0),
                        Statistics::Given(moments) => moments[trace.moments.len()].clone(),
                        Statistics::Shared(moments) => moments(&x),
                    };
                    let row = |i: usize| moments.clone().narrow(0, i, 1).squeeze_dim::<1>(0);
                    let scale = weight.clone() / (row(1) + BATCH_NORM_EPS).sqrt();
                    let shift = bias.clone() - row(0) * scale.clone();
                    let output = match statistics {
                        Statistics::Batch => {
                            stack::batch_norm(x.clone(), weight.clone(), bias.clone(), &moments, BATCH_NORM_EPS as f32)
                        }
                        _ => stack::channel_affine(x.clone(), scale.clone(), shift.clone()),
                    };
                    made = stack::Affine::new(&x, &scale, &shift);
                    trace.moments.push(moments);
                    trace.scales.push([scale, shift]);
                    output
                }
                (Op::Relu, _) => match &trace.made[node.inputs[0]] {
                    Some(made) => stack::relu_after(x, made),
                    None => stack::relu(x),
                },
                // Lower and upper ends add up, so centres and radii do.
                (Op::Add, _) => x + trace.values[node.inputs[1]].clone(),
                (Op::Flatten, _) => {
                    let [s, n, c, h, w] = x.dims();
                    x.reshape([s, n, c * h * w, 1, 1])
                }
                (Op::AvgPool { kernel, stride }, _) => pool(x, kernel, stride),
                (Op::Conv { .. } | Op::Linear { .. } | Op::BatchNorm, Layer::Plain) => {
                    unreachable!("such a node has tensors")
                }
            };
            trace.values.push(output);
            trace.made.push(made);
        }
        trace
    }

    /// The logits of the clean images, `[N, K]`.
    pub fn logits(&self, trace: &Trace) -> Tensor<2> {
        let (weight, bias) = self.head();
        let clean = trace.values[self.config.head_input()].clone().narrow(0, 0, 1);
        let batch = clean.dims()[1];
        stack::dense(clean, weight, bias).reshape([batch, self.config.classes])
    }

    /// Lower bounds of the margins `z_y - z_j` over the box of every image, by interval bound propagation with the
    /// last layer merged into the margins; 0 for j = y. The trace has S = 3. `[N, K]`.
    pub fn margins(&self, trace: &Trace, labels: &[u32]) -> Tensor<2> {
        let (weight, bias) = self.head();
        stack::margins(trace.values[self.config.head_input()].clone(), weight, bias, labels)
    }

    /// Weight `[K, D]` and bias `[K]` of the last layer.
    pub fn head(&self) -> (Tensor<2>, Tensor<1>) {
        match self.layers.last() {
            Some(Layer::Linear { weight, bias }) => (weight.clone(), bias.clone()),
            _ => unreachable!("the last layer is linear"),
        }
    }
}

/// Average pooling. Its weights are not negative, so the centre's mean is the centre of the means and the radius's
/// mean their radius: every slab is pooled alike.
fn pool(x: Tensor<5>, kernel: usize, stride: usize) -> Tensor<5> {
    let [s, n, c, h, w] = x.dims();
    let options = AvgPoolOptions { kernel_size: [kernel; 2], stride: [stride; 2], ..AvgPoolOptions::new([kernel; 2]) };
    let pooled = avg_pool2d(x.reshape([s * n, c, h, w]), options);
    let [_, _, h, w] = pooled.dims();
    pooled.reshape([s, n, c, h, w])
}
