//! ReLU of stacks.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use temper_kernels::relu as kernel;

use super::sizes;
use crate::composed;
use crate::fused::{Fused, Input, apply, on_cpu, tensor, values};

/// ReLU of the clean activations and of both ends of the intervals.
pub fn relu(x: Tensor<5>) -> Tensor<5> {
    if !on_cpu(&x) {
        return composed::relu(x);
    }
    apply(Relu, [Input::new(x)])
}

#[derive(Debug, Clone)]
struct Relu;

impl Fused<1> for Relu {
    type Saved = FlexTensor;

    fn forward(&self, [x]: [FlexTensor; 1], _: bool) -> (FlexTensor, FlexTensor) {
        let mut y = vec![0.0; values(&x).len()];
        kernel::forward(values(&x), &mut y, sizes(&x)[0]);
        (tensor(y, sizes(&x)), x)
    }

    fn backward(&self, x: FlexTensor, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let mut dx = vec![0.0; values(&x).len()];
        kernel::backward(values(&x), values(&gradient), &mut dx, sizes(&x)[0]);
        [Some(tensor(dx, sizes(&x)))]
    }
}
