//! Layer normalisation over the last dimension.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use temper_kernels::layer_norm as kernel;

use crate::composed;
use crate::fused::{Fused, Input, apply, matrix, on_cpu, tensor, values};

/// `(x - mean) / sqrt(variance + eps) * weight + bias` per row; `x` is `[N, D]`, weight and bias `[D]`.
pub fn layer_norm(x: Tensor<2>, weight: Tensor<1>, bias: Tensor<1>, eps: f32) -> Tensor<2> {
    if !on_cpu(&x) {
        return composed::layer_norm(x, weight, bias, eps);
    }
    apply(LayerNorm { eps }, [Input::new(x), Input::new(weight), Input::new(bias)])
}

#[derive(Debug, Clone)]
struct LayerNorm {
    eps: f32,
}

#[derive(Debug, Clone)]
struct Saved {
    x: FlexTensor,
    weight: FlexTensor,
    mean: Vec<f32>,
    rstd: Vec<f32>,
}

impl Fused<3> for LayerNorm {
    type Saved = Saved;

    fn forward(&self, [x, weight, bias]: [FlexTensor; 3], _: bool) -> (FlexTensor, Saved) {
        let [rows, width] = matrix(&x);
        let [y, mean, rstd] = kernel::forward(values(&x), values(&weight), values(&bias), self.eps);
        (tensor(y, [rows, width]), Saved { x, weight, mean, rstd })
    }

    fn backward(&self, saved: Saved, gradient: FlexTensor, _: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let Saved { x, weight, mean, rstd } = saved;
        let [rows, width] = matrix(&x);
        let [dx, dw, db] = kernel::backward(values(&x), values(&weight), &mean, &rstd, values(&gradient));
        [Some(tensor(dx, [rows, width])), Some(tensor(dw, [width])), Some(tensor(db, [width]))]
    }
}
