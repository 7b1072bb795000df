//! An image classifier as a [`Computation`]: pixels in [0, 1] in, logits out.

use temper_base::Result;

use crate::computation::{Affine, Computation, Node, Operation, Window};
use crate::config::Op;
use crate::network::{BATCH_NORM_EPS, Network, Weights};

impl Network {
    /// The network as a verifier needs it, its normalisation included. Batch norms are merged into what they read where that is
    /// possible; the numbers say within how many roundings.
    ///
    /// # Errors
    /// Weights that are not finite.
    pub fn computation(&self) -> Result<Computation> {
        let plane = |value: usize| self.shapes()[value][1] * self.shapes()[value][2];
        // A pixel is divided by the deviation: one rounding of each number, and one of the shift.
        let mean = self.mean().iter().zip(self.std()).map(|(mean, std)| -f64::from(*mean) / f64::from(*std));
        let std = self.std().iter().map(|std| 1.0 / f64::from(*std));
        let normalise = by_channel(std.collect(), mean.collect(), 2, Vec::new(), plane(0));
        let plain = self.mean().iter().all(|mean| *mean == 0.0) && self.std().iter().all(|std| *std == 1.0);
        let mut nodes = Vec::new();
        if !plain {
            let operation = Operation::Scale(normalise);
            nodes.push(Node { name: "normalise".into(), operation, inputs: vec![0], shape: self.shapes()[0].to_vec() });
        }
        // Of every value of the graph, the one that stands for it.
        let mut stands_for = vec![nodes.len()];
        for (i, (node, weights)) in self.config().nodes.iter().zip(self.weights()).enumerate() {
            let from = self.shapes()[node.inputs[0]];
            let window = |kernel: usize, stride: usize, padding: usize| Window {
                input: from,
                kernel: [kernel; 2],
                stride: [stride; 2],
                padding: [padding; 4],
                dilation: [1; 2],
            };
            let f64s = |numbers: &[f32]| numbers.iter().map(|n| f64::from(*n)).collect::<Vec<f64>>();
            let operation = match (node.op, weights) {
                (Op::Conv { kernel, stride, padding, groups, .. }, Weights::Affine { weight, bias }) => {
                    Operation::Conv {
                        window: window(kernel, stride, padding),
                        groups,
                        affine: Affine::exact(f64s(weight), f64s(bias)),
                    }
                }
                (_, Weights::Affine { weight, bias }) => Operation::Dense(Affine::exact(f64s(weight), f64s(bias))),
                (_, Weights::BatchNorm { weight, bias, running_mean, running_var }) => {
                    let (mean, var) = (f64s(running_mean), f64s(running_var));
                    let scale = |c: usize| f64::from(weight[c]) / (var[c] + BATCH_NORM_EPS).sqrt();
                    let scales: Vec<f64> = (0..from[0]).map(scale).collect();
                    let shifts = (0..from[0]).map(|c| f64::from(bias[c]) - mean[c] * scales[c]);
                    let magnitudes = (0..from[0]).map(|c| f64::from(bias[c].abs()) + (mean[c] * scales[c]).abs());
                    // Sum, root, quotient; product and sum of the shift; the magnitudes themselves.
                    let (shifts, magnitudes) = (shifts.collect(), magnitudes.collect());
                    Operation::Scale(by_channel(scales, shifts, 6, magnitudes, from[1] * from[2]))
                }
                (Op::Relu, Weights::None) => Operation::Relu,
                (Op::Add, Weights::None) => Operation::Add,
                (Op::AvgPool { kernel, stride }, Weights::None) => {
                    let taps = kernel * kernel;
                    let weight = vec![1.0 / taps as f64; from[0] * taps];
                    let affine = Affine { merged: 1, ..Affine::exact(weight, vec![0.0; from[0]]) };
                    Operation::Conv { window: window(kernel, stride, 0), groups: from[0], affine }
                }
                (Op::Flatten | Op::Conv { .. } | Op::Linear { .. } | Op::BatchNorm, Weights::None) => {
                    stands_for.push(stands_for[node.inputs[0]]);
                    continue;
                }
            };
            let inputs = node.inputs.iter().map(|input| stands_for[*input]).collect();
            nodes.push(Node { name: node.name.clone(), operation, inputs, shape: self.shapes()[i + 1].to_vec() });
            stands_for.push(nodes.len());
        }
        Computation::new(self.config().input.to_vec(), nodes)
    }
}

/// A scale with one number a channel.
fn by_channel(weight: Vec<f64>, bias: Vec<f64>, merged: u32, magnitude: Vec<f64>, plane: usize) -> Affine {
    let spread = |numbers: Vec<f64>| numbers.into_iter().flat_map(|n| std::iter::repeat_n(n, plane)).collect();
    Affine { weight: spread(weight), bias: spread(bias), merged, magnitude: spread(magnitude) }
}
