//! A classifier with its weights as plain arrays, for whoever has no tensor library, and back. Every bit is kept.

use burn::tensor::{Device, Tensor, TensorData};
use temper_base::Result;
use temper_graph::{Network, Weights};

use super::graph::{Classifier, Layer};

fn array<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    temper_ops::read(tensor.clone())
}

impl Classifier {
    /// The same network with plain arrays.
    pub fn to_network(&self) -> Network {
        let weights = |layer: &Layer| match layer {
            Layer::Conv { weight, bias, .. } => Weights::Affine { weight: array(weight), bias: array(bias) },
            Layer::Linear { weight, bias } => Weights::Affine { weight: array(weight), bias: array(bias) },
            Layer::BatchNorm { weight, bias, running_mean, running_var } => Weights::BatchNorm {
                weight: array(weight),
                bias: array(bias),
                running_mean: array(running_mean),
                running_var: array(running_var),
            },
            Layer::Plain => Weights::None,
        };
        let weights = self.layers.iter().map(weights).collect();
        Network::new(self.config.clone(), self.mean.clone(), self.std.clone(), weights)
            .expect("a network that was checked when it was made")
    }

    /// The network of these arrays.
    ///
    /// # Errors
    /// None that a checked network can give.
    pub fn from_network(network: &Network, device: &Device) -> Result<Self> {
        let mut net = Self::zeros(network.config().clone(), device);
        fn put<const D: usize>(tensor: &mut Tensor<D>, values: &[f32], device: &Device) {
            *tensor = Tensor::from_data(TensorData::new(values.to_vec(), tensor.dims()), device);
        }
        for (layer, weights) in net.layers.iter_mut().zip(network.weights()) {
            match (layer, weights) {
                (Layer::Conv { weight, bias, .. }, Weights::Affine { weight: w, bias: b }) => {
                    put(weight, w, device);
                    put(bias, b, device);
                }
                (Layer::Linear { weight, bias }, Weights::Affine { weight: w, bias: b }) => {
                    put(weight, w, device);
                    put(bias, b, device);
                }
                (
                    Layer::BatchNorm { weight, bias, running_mean, running_var },
                    Weights::BatchNorm { weight: w, bias: b, running_mean: mean, running_var: var },
                ) => {
                    for (tensor, values) in [(weight, w), (bias, b), (running_mean, mean), (running_var, var)] {
                        put(tensor, values, device);
                    }
                }
                _ => {}
            }
        }
        Ok(net.normalised(network.mean().to_vec(), network.std().to_vec()))
    }
}
