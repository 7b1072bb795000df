//! A graph with its weights as plain arrays, and its answer to one image.

use temper_base::{Problem, Result};

use crate::config::{NetworkConfig, Op};

/// Added to every variance before its root is taken.
pub const BATCH_NORM_EPS: f64 = 1e-5;

/// The arrays of one layer, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Weights {
    /// Of a convolution, `[O, I / groups, kernel, kernel]`, or of a linear layer, `[O, I]`.
    Affine {
        /// The weight.
        weight: Vec<f32>,
        /// `[O]`.
        bias: Vec<f32>,
    },
    /// Of a batch normalisation, each `[C]`.
    BatchNorm {
        /// gamma.
        weight: Vec<f32>,
        /// beta.
        bias: Vec<f32>,
        /// Mean for evaluation.
        running_mean: Vec<f32>,
        /// Unbiased variance for evaluation.
        running_var: Vec<f32>,
    },
    /// Of a layer without arrays.
    None,
}

/// An image classifier. Made by [`Network::new`], which checks it.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    config: NetworkConfig,
    mean: Vec<f32>,
    std: Vec<f32>,
    weights: Vec<Weights>,
    shapes: Vec<[usize; 3]>,
}

impl Network {
    /// A network of these weights, one entry a node of the graph. `mean` and `std` have one value a channel: pixels in [0, 1] are
    /// normalised with them before the first layer.
    ///
    /// # Errors
    /// A graph that cannot be, or arrays of other sizes than its layers have.
    pub fn new(config: NetworkConfig, mean: Vec<f32>, std: Vec<f32>, weights: Vec<Weights>) -> Result<Self> {
        let shapes = config.shapes()?;
        let fail = |place: &str, why: String| Err(Problem::input("build network", place, why));
        if [mean.len(), std.len()] != [config.input[0]; 2] {
            let why = format!("{} means and {} deviations for {} channels", mean.len(), std.len(), config.input[0]);
            return fail("normalisation", why);
        }
        if weights.len() != config.nodes.len() {
            return fail("weights", format!("{} entries for {} layers", weights.len(), config.nodes.len()));
        }
        for (node, weights) in config.nodes.iter().zip(&weights) {
            let shape = node.op.weight_shape(shapes[node.inputs[0]][0]);
            let (size, outputs) = (shape.iter().product::<usize>(), shape.first().copied().unwrap_or(0));
            let fits = match (node.op, weights) {
                (Op::Conv { .. } | Op::Linear { .. }, Weights::Affine { weight, bias }) => {
                    [weight.len(), bias.len()] == [size, outputs]
                }
                (Op::BatchNorm, Weights::BatchNorm { weight, bias, running_mean, running_var }) => {
                    [weight, bias, running_mean, running_var].iter().all(|array| array.len() == size)
                }
                (Op::Relu | Op::Add | Op::Flatten | Op::AvgPool { .. }, Weights::None) => true,
                (Op::Conv { .. } | Op::Linear { .. } | Op::BatchNorm, _)
                | (Op::Relu | Op::Add | Op::Flatten | Op::AvgPool { .. }, _) => false,
            };
            if !fits {
                return fail(&format!("layer {}", node.name), format!("its arrays are not those of {shape:?}"));
            }
        }
        Ok(Self { config, mean, std, weights, shapes })
    }

    /// What it is.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// Per channel, what is subtracted from pixels in [0, 1].
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Per channel, what they are then divided by.
    pub fn std(&self) -> &[f32] {
        &self.std
    }

    /// The arrays of every layer, one entry a node of the graph.
    pub fn weights(&self) -> &[Weights] {
        &self.weights
    }

    /// The shape `[C, H, W]` of every value: 0 is the image, i + 1 the output of node i.
    pub fn shapes(&self) -> &[[usize; 3]] {
        &self.shapes
    }

    /// The logits of one image, `[C, H, W]` in [0, 1], in evaluation mode: plain sums in single precision, one after the other.
    ///
    /// # Panics
    /// If the image has another size.
    pub fn logits(&self, image: &[f32]) -> Vec<f32> {
        let [c, h, w] = self.config.input;
        assert_eq!(image.len(), c * h * w, "an image of the network's size");
        let normalised = image.chunks(h * w).zip(self.mean.iter().zip(&self.std));
        let normalised =
            normalised.flat_map(|(plane, (mean, std))| plane.iter().map(move |pixel| (pixel - mean) / std));
        let mut values: Vec<Vec<f32>> = vec![normalised.collect()];
        for (i, (node, weights)) in self.config.nodes.iter().zip(&self.weights).enumerate() {
            let (x, from, to) = (&values[node.inputs[0]], self.shapes[node.inputs[0]], self.shapes[i + 1]);
            let y = match (node.op, weights) {
                (Op::Conv { kernel, stride, padding, groups, .. }, Weights::Affine { weight, bias }) => {
                    conv(x, from, to, weight, bias, [kernel, stride, padding, groups])
                }
                (_, Weights::Affine { weight, bias }) => {
                    let row = |(row, bias): (&[f32], &f32)| row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>() + bias;
                    weight.chunks(x.len()).zip(bias).map(row).collect()
                }
                (_, Weights::BatchNorm { weight, bias, running_mean, running_var }) => {
                    let plane = from[1] * from[2];
                    let channel = |(c, plane): (usize, &[f32])| {
                        let scale = weight[c] / (running_var[c] + BATCH_NORM_EPS as f32).sqrt();
                        let shift = bias[c] - running_mean[c] * scale;
                        plane.iter().map(|x| x * scale + shift).collect::<Vec<f32>>()
                    };
                    x.chunks(plane).enumerate().flat_map(channel).collect()
                }
                (Op::Relu, Weights::None) => x.iter().map(|x| if *x < 0.0 { 0.0 } else { *x }).collect(),
                (Op::Add, Weights::None) => x.iter().zip(&values[node.inputs[1]]).map(|(a, b)| a + b).collect(),
                (Op::AvgPool { kernel, stride }, Weights::None) => pool(x, from, to, kernel, stride),
                (Op::Flatten | Op::Conv { .. } | Op::Linear { .. } | Op::BatchNorm, Weights::None) => x.clone(),
            };
            values.push(y);
        }
        values.pop().expect("a network has a layer")
    }
}

/// A convolution; `numbers` are kernel, stride, padding and groups.
fn conv(
    x: &[f32],
    [channels, height, width]: [usize; 3],
    [outputs, rows, columns]: [usize; 3],
    weight: &[f32],
    bias: &[f32],
    [kernel, stride, padding, groups]: [usize; 4],
) -> Vec<f32> {
    let (inside, outside) = (channels / groups, outputs / groups);
    let mut y = Vec::with_capacity(outputs * rows * columns);
    for output in 0..outputs {
        let first = output / outside * inside;
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let mut sum = 0.0;
            for channel in 0..inside {
                for (i, j) in (0..kernel).flat_map(|i| (0..kernel).map(move |j| (i, j))) {
                    let at = [row * stride + i, column * stride + j].map(|at| at.checked_sub(padding));
                    if let [Some(r), Some(c)] = at
                        && r < height
                        && c < width
                    {
                        let w = weight[((output * inside + channel) * kernel + i) * kernel + j];
                        sum += w * x[((first + channel) * height + r) * width + c];
                    }
                }
            }
            y.push(sum + bias[output]);
        }
    }
    y
}

/// The mean over squares.
fn pool(
    x: &[f32],
    [_, height, width]: [usize; 3],
    [channels, rows, columns]: [usize; 3],
    kernel: usize,
    stride: usize,
) -> Vec<f32> {
    let mut y = Vec::with_capacity(channels * rows * columns);
    for (channel, row) in (0..channels).flat_map(|channel| (0..rows).map(move |row| (channel, row))) {
        for column in 0..columns {
            let square = (0..kernel).flat_map(|i| (0..kernel).map(move |j| (row * stride + i, column * stride + j)));
            let sum: f32 = square.map(|(r, c)| x[(channel * height + r) * width + c]).sum();
            y.push(sum / (kernel * kernel) as f32);
        }
    }
    y
}
