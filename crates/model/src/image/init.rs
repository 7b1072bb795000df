//! Fresh weights of image classifiers. Every value is a function of seed, tensor name and index.

use burn::tensor::Device;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use temper_graph::{NetworkConfig, Op};

use super::graph::{ImageNet, Layer};
use crate::init::{normal, uniform};
use crate::parameter::Parameter;

/// How the weights of a fresh network are drawn. Biases are always PyTorch's, uniform within `1 / sqrt(fan_in)`; batch
/// norms start with weight 1 and bias 0. The fan-in of a weight is what one output reads: `in / groups * kernel²`; the
/// fan-out `out * kernel²`, as PyTorch counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageInit {
    /// PyTorch's: uniform within `1 / sqrt(fan_in)`.
    Default,
    /// That of the paper's Wide-ResNet: convolutions normal with variance `2 / fan_out`, linear layers as in
    /// [`ImageInit::Default`].
    FanOut,
    /// Glorot and Bengio 2010: uniform within `sqrt(6 / (fan_in + fan_out))`.
    Xavier,
    /// He et al. 2015: normal with variance `2 / fan_in`.
    Kaiming,
    /// Saxe et al. 2014: rows (or columns, whichever are fewer) orthonormal; the last layer as in
    /// [`ImageInit::Default`].
    Orthogonal,
    /// arXiv 2103.17268, section 4.1: normal with std `sqrt(2 pi) / fan_in`, so that the mean width of intervals stays
    /// the same from layer to layer; half of that where the input is the ReLU of a sum, whose interval is twice as
    /// wide; the last layer as in [`ImageInit::Default`].
    Ibp,
}

/// A distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Draw {
    /// Normal of mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Uniform between -bound and bound.
    Uniform {
        /// Largest value.
        bound: f64,
    },
    /// Orthonormal rows, or columns where there are more rows than columns.
    Orthogonal,
}

impl ImageInit {
    /// The distribution of the weight of node `node`, a convolution or linear layer, given its shape.
    pub fn draw(self, config: &NetworkConfig, node: usize, shape: &[usize]) -> Draw {
        let receptive: usize = shape[2..].iter().product();
        let (fan_in, fan_out) = ((shape[1] * receptive) as f64, (shape[0] * receptive) as f64);
        let default = Draw::Uniform { bound: 1.0 / fan_in.sqrt() };
        let last = node + 1 == config.nodes.len();
        match self {
            ImageInit::FanOut if shape.len() == 4 => Draw::Normal { std: (2.0 / fan_out).sqrt() },
            ImageInit::Xavier => Draw::Uniform { bound: (6.0 / (fan_in + fan_out)).sqrt() },
            ImageInit::Kaiming => Draw::Normal { std: (2.0 / fan_in).sqrt() },
            ImageInit::Orthogonal if !last => Draw::Orthogonal,
            ImageInit::Ibp if !last => {
                let std = std::f64::consts::TAU.sqrt() / fan_in;
                Draw::Normal { std: if reads_relu_of_sum(config, node) { std / 2.0 } else { std } }
            }
            // The paper's code halves whatever reads the ReLU of a sum, the last layer included.
            ImageInit::Ibp if reads_relu_of_sum(config, node) => Draw::Uniform { bound: 0.5 / fan_in.sqrt() },
            ImageInit::Default | ImageInit::FanOut | ImageInit::Orthogonal | ImageInit::Ibp => default,
        }
    }

    /// Draws every parameter of `net` anew.
    pub(super) fn apply(self, net: &mut ImageNet, seed: u64, device: &Device) {
        let ImageNet { config, layers, .. } = net;
        for (i, (node, layer)) in config.nodes.iter().zip(layers).enumerate() {
            let (mut weight, bias) = match layer {
                Layer::Conv { weight, bias, .. } => (Parameter::Kernel(weight), bias),
                Layer::Linear { weight, bias } => (Parameter::Matrix(weight), bias),
                Layer::BatchNorm { weight, .. } => {
                    *weight = weight.ones_like();
                    continue;
                }
                Layer::Plain => continue,
            };
            let (shape, name) = (weight.shape(), format!("{}.weight", node.name));
            let (rows, columns) = (shape[0], shape[1..].iter().product::<usize>());
            let values = match self.draw(config, i, &shape) {
                Draw::Normal { std } => normal(seed, &name, std, rows * columns),
                Draw::Uniform { bound } => uniform(seed, &name, bound, rows * columns),
                Draw::Orthogonal => orthogonal(seed, &name, rows, columns),
            };
            weight.set(values, device);
            let bound = 1.0 / (columns as f64).sqrt();
            Parameter::Vector(bias).set(uniform(seed, &format!("{}.bias", node.name), bound, rows), device);
        }
    }
}

/// True if node `node` reads a ReLU that reads a sum. A flatten in between does not count: the paper's code leaves the
/// linear layer after the last block alone.
fn reads_relu_of_sum(config: &NetworkConfig, node: usize) -> bool {
    let reads = |node: usize, op: Op| {
        let read = config.nodes[node].inputs[0].checked_sub(1)?;
        (config.nodes[read].op == op).then_some(read)
    };
    reads(node, Op::Relu).and_then(|relu| reads(relu, Op::Add)).is_some()
}

/// A matrix of `rows` and `columns` whose rows are orthonormal, or its columns if those are fewer: the normal matrix of
/// seed and name after Gram and Schmidt, which is its QR decomposition with a positive diagonal and therefore uniform
/// over all such matrices.
fn orthogonal(seed: u64, name: &str, rows: usize, columns: usize) -> Vec<f32> {
    let (few, many) = (rows.min(columns), rows.max(columns));
    let mut q: Vec<f64> = normal(seed, name, 1.0, few * many).into_iter().map(f64::from).collect();
    // Vectors at a time: the finished ones stay in the cache while every later one is cleared of them.
    const BLOCK: usize = 16;
    let clear = |vector: &mut [f64], unit: &[f64]| {
        let along = dot(vector, unit);
        vector.iter_mut().zip(unit).for_each(|(v, u)| *v -= along * u);
    };
    for start in (0..few).step_by(BLOCK) {
        let (done, rest) = q[start * many..].split_at_mut(BLOCK.min(few - start) * many);
        for i in 0..done.len() / many {
            let (units, vector) = done.split_at_mut(i * many);
            let vector = &mut vector[..many];
            units.chunks(many).for_each(|unit| clear(vector, unit));
            let length = dot(vector, vector).sqrt();
            vector.iter_mut().for_each(|v| *v /= length);
        }
        rest.par_chunks_mut(many).for_each(|vector| done.chunks(many).for_each(|unit| clear(vector, unit)));
    }
    let value = |i: usize| {
        let (row, column) = (i / columns, i % columns);
        (if rows <= columns { q[row * many + column] } else { q[column * many + row] }) as f32
    };
    (0..rows * columns).map(value).collect()
}

/// The sum of products, in eight partial sums, so that it is fast.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        (0..8).for_each(|i| sums[i] += a[i] * b[i]);
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

/// The initialisation that the paper's code gives the network called `name` where its own is not asked for: the
/// "vanilla" rows of its tables.
pub fn vanilla_init(name: &str) -> ImageInit {
    if name.starts_with("wide-resnet-8") { ImageInit::FanOut } else { ImageInit::Default }
}
