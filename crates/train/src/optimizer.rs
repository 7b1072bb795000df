//! AdamW over all parameters of a model, with the gradient norm that clipping needs.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use temper_model::Parameters;
use temper_model::tensors::{Dtype, Outgoing, Stored};
use temper_ops as ops;

use crate::gradients::{Gradients, shapes};

/// Settings of the update rule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay; biases and LayerNorm parameters are exempt, embeddings are not.
    pub weight_decay: f64,
    /// Largest global gradient norm; larger ones are scaled down to it. 0 turns clipping off.
    pub clip: f64,
}

impl Settings {
    /// What every gradient is multiplied by when their global norm is `norm`.
    pub fn grad_scale(&self, norm: f64) -> f64 {
        // torch.nn.utils.clip_grad_norm_: the coefficient has 1e-6 in its denominator.
        if self.clip > 0.0 { (self.clip / (norm + 1e-6)).min(1.0) } else { 1.0 }
    }
}

/// The moments of one parameter, flat.
#[derive(Debug, Clone)]
struct Moments {
    name: String,
    shape: Vec<usize>,
    decays: bool,
    mean: Tensor<1>,
    square: Tensor<1>,
}

/// Moments and update counter.
#[derive(Debug, Clone)]
pub struct Optimizer {
    /// The update rule.
    pub settings: Settings,
    /// Updates made with these moments: the bias correction's counter.
    pub updates: u64,
    moments: Vec<Moments>,
}

/// GPT-NeoX's mask: LayerNorm parameters and every bias are not decayed.
fn decays(name: &str) -> bool {
    !name.ends_with(".bias") && !name.contains("layernorm") && !name.contains("layer_norm")
}

impl Optimizer {
    /// Zero moments for `model`.
    pub fn new(settings: Settings, model: &impl Parameters, device: &Device) -> Self {
        let zeros = |shape: &[usize]| {
            let len = shape.iter().product();
            Tensor::<1>::from_data(TensorData::new(vec![0.0f32; len], [len]), device)
        };
        let moments = shapes(model).into_iter().map(|(name, shape)| Moments {
            // Of batch norms too, whatever they are called.
            decays: decays(&name) && shape.len() > 1,
            mean: zeros(&shape),
            square: zeros(&shape),
            name,
            shape,
        });
        Self { settings, updates: 0, moments: moments.collect() }
    }

    /// One update of `model` with learning rate `lr`; every gradient is multiplied by `grad_scale`.
    pub fn update(&mut self, model: &mut impl Parameters, gradients: Gradients, lr: f64, grad_scale: f64) {
        self.updates += 1;
        let Settings { beta1, beta2, eps, weight_decay, .. } = self.settings;
        let step = self.updates;
        let mut rest = self.moments.iter_mut().zip(gradients.0);
        model.visit(&mut |_, parameter| {
            let (moments, gradient) = rest.next().expect("as many moments and gradients as parameters");
            let Some(gradient) = gradient else { return };
            let rule = ops::AdamW {
                lr: lr as f32,
                beta1: beta1 as f32,
                beta2: beta2 as f32,
                eps: eps as f32,
                weight_decay: if moments.decays { weight_decay as f32 } else { 0.0 },
                step,
                grad_scale: grad_scale as f32,
            };
            parameter.update(|values| {
                let [values, mean, square] =
                    ops::adamw(values, gradient, take(&mut moments.mean), take(&mut moments.square), &rule);
                (moments.mean, moments.square) = (mean, square);
                values
            });
        });
    }

    /// The moments as tensors to be written, under the names PyTorch gives them.
    pub fn outgoing(&self) -> Vec<(String, Outgoing<'_>)> {
        let mut tensors = Vec::new();
        for moments in &self.moments {
            for (kind, tensor) in [("exp_avg", &moments.mean), ("exp_avg_sq", &moments.square)] {
                let values = Box::new(|| ops::read(tensor.clone()));
                let shape = moments.shape.clone();
                tensors.push((format!("{kind}.{}", moments.name), Outgoing { shape, values, dtype: Dtype::F32 }));
            }
        }
        tensors
    }

    /// Puts stored moments in place; names what is missing.
    pub(crate) fn assign_moments(
        &mut self,
        mut stored: BTreeMap<String, Stored>,
        device: &Device,
    ) -> Result<(), String> {
        for moments in &mut self.moments {
            for (kind, tensor) in [("exp_avg", &mut moments.mean), ("exp_avg_sq", &mut moments.square)] {
                let name = format!("{kind}.{}", moments.name);
                let found = stored.remove(&name).filter(|found| found.shape == moments.shape);
                let values = found.ok_or_else(|| format!("tensor {name} is missing or has another shape"))?.values;
                *tensor = Tensor::from_data(TensorData::new(values, tensor.dims()), device);
            }
        }
        match stored.keys().next() {
            Some(name) => Err(format!("tensor {name} is not a moment of this model")),
            None => Ok(()),
        }
    }
}

/// Takes a tensor out, so that it can be written in place.
fn take(tensor: &mut Tensor<1>) -> Tensor<1> {
    let device = tensor.device();
    std::mem::replace(tensor, Tensor::from_data(TensorData::new(Vec::<f32>::new(), [0]), &device))
}
