//! The linear layer of stacks.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use temper_kernels::dense as kernel;
use temper_kernels::linear::Dims;

use super::sizes;
use crate::composed;
use crate::fused::{Fused, Input, apply, matrix, on_cpu, tensor, values};

/// The linear layer of a stack, by the same rule as [`super::conv2d`]. `x` is `[S, N, I, 1, 1]`, `weight` `[O, I]`,
/// `bias` `[O]`; the result is `[S, N, O, 1, 1]`.
pub fn dense(x: Tensor<5>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<5> {
    if !on_cpu(&x) {
        return composed::dense(x, weight, bias);
    }
    apply(Dense, [Input::new(x), Input::new(weight), Input::new(bias)])
}

#[derive(Debug, Clone)]
struct Dense;

/// Slabs, and the sizes of one of them.
fn dims(x: &FlexTensor, weight: &FlexTensor) -> (usize, Dims) {
    let ([slabs, rows, inputs, height, width], [outputs, expected]) = (sizes(x), matrix(weight));
    assert_eq!([inputs, height, width], [expected, 1, 1], "dense: weight [{outputs}, {expected}]");
    (slabs, Dims { rows, inputs, outputs })
}

impl Fused<3> for Dense {
    /// Input and weight.
    type Saved = (FlexTensor, FlexTensor);

    fn forward(&self, [x, weight, bias]: [FlexTensor; 3], _: bool) -> (FlexTensor, Self::Saved) {
        let (slabs, dims) = dims(&x, &weight);
        let y = kernel::forward(values(&x), values(&weight), values(&bias), slabs, dims);
        (tensor(y, [slabs, dims.rows, dims.outputs, 1, 1]), (x, weight))
    }

    fn backward(&self, (x, weight): Self::Saved, gradient: FlexTensor, needed: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let (slabs, dims) = dims(&x, &weight);
        let g = values(&gradient);
        let dx = needed[0].then(|| {
            let dx = kernel::backward_input(g, values(&weight), slabs, dims);
            tensor(dx, sizes(&x))
        });
        let dw = needed[1].then(|| {
            let dw = kernel::backward_weight(values(&x), g, values(&weight), slabs, dims);
            tensor(dw, [dims.outputs, dims.inputs])
        });
        let db = needed[2].then(|| tensor(kernel::backward_bias(g, slabs, dims), [dims.outputs]));
        [dx, dw, db]
    }
}
