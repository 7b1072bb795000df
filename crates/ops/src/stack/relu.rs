//! ReLU of stacks.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use temper_kernels::relu as kernel;

use super::{Affine, sizes};
use crate::composed;
use crate::fused::{Fused, Input, apply, on_cpu, tensor, values, values_mut};

/// ReLU of the clean activations and of both ends of the intervals.
pub fn relu(x: Tensor<5>) -> Tensor<5> {
    if !on_cpu(&x) {
        return composed::relu(x);
    }
    apply(Relu, [Input::new(x)])
}

/// [`relu`] of a stack that `made` makes again in the backward pass, so that `x` itself need not be kept.
pub fn relu_after(x: Tensor<5>, made: &Affine) -> Tensor<5> {
    apply(ReluAfter(made.clone()), [Input::new(x)])
}

#[derive(Debug, Clone)]
struct Relu;

impl Fused<1> for Relu {
    type Saved = FlexTensor;

    fn forward(&self, [x]: [FlexTensor; 1], _: bool) -> (FlexTensor, FlexTensor) {
        let y = kernel::forward(values(&x), sizes(&x)[0]);
        (tensor(y, sizes(&x)), x)
    }

    fn backward(&self, x: FlexTensor, mut gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        kernel::backward(values(&x), values_mut(&mut gradient), sizes(&x)[0]);
        [Some(gradient)]
    }
}

#[derive(Debug, Clone)]
struct ReluAfter(Affine);

impl Fused<1> for ReluAfter {
    type Saved = ();

    fn forward(&self, inputs: [FlexTensor; 1], tracked: bool) -> (FlexTensor, ()) {
        (Relu.forward(inputs, tracked).0, ())
    }

    fn backward(&self, (): (), mut gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let Self(made) = self;
        kernel::backward_after(made.x(), made.scale(), made.shift(), values_mut(&mut gradient), made.dims());
        [Some(gradient)]
    }
}
