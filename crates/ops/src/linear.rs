//! Linear layers, alone and with GELU. Weights are `[outputs, inputs]`, as checkpoints store them.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use temper_kernels::gelu::{self, Gelu};
use temper_kernels::linear::{self as kernel, Dims};
use temper_kernels::scratch::unwritten;

use crate::composed;
use crate::fused::{Fused, Input, apply, matrix, on_cpu, tensor, values, values_mut};

/// `x wᵀ + b`; `x` is `[N, I]`, `weight` `[O, I]`, `bias` `[O]`; the result is `[N, O]`.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    if !on_cpu(&x) {
        return composed::linear(x, weight, bias);
    }
    apply(Linear, [Input::new(x), Input::new(weight), Input::new(bias)])
}

/// `gelu(x wᵀ + b)`, shapes as in [`linear`].
pub fn linear_gelu(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>, kind: Gelu) -> Tensor<2> {
    if !on_cpu(&x) {
        return composed::gelu(composed::linear(x, weight, bias), kind);
    }
    apply(LinearGelu { kind }, [Input::new(x), Input::new(weight), Input::new(bias)])
}

fn dims(x: &FlexTensor, weight: &FlexTensor) -> Dims {
    let ([rows, inputs], [outputs, width]) = (matrix(x), matrix(weight));
    assert_eq!(inputs, width, "linear: x is [{rows}, {inputs}], weight [{outputs}, {width}]");
    Dims { rows, inputs, outputs }
}

/// The gradients of input, weight and bias for the gradient `g` of `x wᵀ + b`.
fn gradients(x: &FlexTensor, weight: &FlexTensor, g: &[f32], needed: [bool; 3]) -> [Option<FlexTensor>; 3] {
    let dims = dims(x, weight);
    let dx = needed[0].then(|| {
        let mut dx = unwritten(dims.rows * dims.inputs);
        kernel::backward_input(g, values(weight), &mut dx, dims);
        tensor(dx, [dims.rows, dims.inputs])
    });
    let dw = needed[1].then(|| {
        let mut dw = unwritten(dims.outputs * dims.inputs);
        kernel::backward_weight(g, values(x), &mut dw, dims);
        tensor(dw, [dims.outputs, dims.inputs])
    });
    let db = needed[2].then(|| {
        let mut db = vec![0.0; dims.outputs];
        kernel::backward_bias(g, &mut db, dims);
        tensor(db, [dims.outputs])
    });
    [dx, dw, db]
}

#[derive(Debug, Clone)]
struct Linear;

impl Fused<3> for Linear {
    type Saved = (FlexTensor, FlexTensor);

    fn forward(&self, [x, weight, bias]: [FlexTensor; 3], _: bool) -> (FlexTensor, Self::Saved) {
        let dims = dims(&x, &weight);
        let mut y = unwritten(dims.rows * dims.outputs);
        kernel::forward(values(&x), values(&weight), Some(values(&bias)), &mut y, dims);
        (tensor(y, [dims.rows, dims.outputs]), (x, weight))
    }

    fn backward(&self, (x, weight): Self::Saved, gradient: FlexTensor, needed: [bool; 3]) -> [Option<FlexTensor>; 3] {
        gradients(&x, &weight, values(&gradient), needed)
    }
}

#[derive(Debug, Clone)]
struct LinearGelu {
    kind: Gelu,
}

impl Fused<3> for LinearGelu {
    /// Input, weight, and the values before GELU.
    type Saved = (FlexTensor, FlexTensor, Vec<f32>);

    fn forward(&self, [x, weight, bias]: [FlexTensor; 3], _: bool) -> (FlexTensor, Self::Saved) {
        let dims = dims(&x, &weight);
        let (mut pre, mut y) = (unwritten(dims.rows * dims.outputs), unwritten(dims.rows * dims.outputs));
        kernel::forward_gelu(values(&x), values(&weight), Some(values(&bias)), self.kind, &mut pre, &mut y, dims);
        (tensor(y, [dims.rows, dims.outputs]), (x, weight, pre))
    }

    fn backward(
        &self,
        (x, weight, pre): Self::Saved,
        mut gradient: FlexTensor,
        needed: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let g = values_mut(&mut gradient);
        gelu::backward(self.kind, &pre, g);
        gradients(&x, &weight, g, needed)
    }
}
