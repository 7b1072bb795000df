//! Linear layers, alone and two with GELU between them. Weights are `[outputs, inputs]`, as checkpoints store them.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use temper_kernels::gelu::{self, Gelu};
use temper_kernels::linear::{self as kernel, Dims};

use crate::composed;
use crate::fused::{Fused, Input, apply, matrix, on_cpu, tensor, values};

/// `x wᵀ + b`; `x` is `[N, I]`, `weight` `[O, I]`, `bias` `[O]`; the result is `[N, O]`.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    if !on_cpu(&x) {
        return composed::linear(x, weight, bias);
    }
    apply(Linear, [Input::new(x), Input::new(weight), Input::new(bias)])
}

/// The feed-forward part of a block: `gelu(x w1ᵀ + b1) w2ᵀ + b2`; `x` is `[N, I]`, `first` `[F, I]` and `[F]`, `second` `[O, F]`
/// and `[O]`; the result is `[N, O]`.
///
/// What is saved is the input and the values before GELU. Those after it, as many again, are made once more in the
/// backward pass: an elementwise function of what is there.
pub fn mlp(x: Tensor<2>, first: (Tensor<2>, Tensor<1>), second: (Tensor<2>, Tensor<1>), kind: Gelu) -> Tensor<2> {
    if !on_cpu(&x) {
        return composed::mlp(x, first, second, kind);
    }
    let inputs = [Input::new(x), Input::new(first.0), Input::new(first.1), Input::new(second.0), Input::new(second.1)];
    apply(Mlp { kind }, inputs)
}

fn dims(x: &FlexTensor, weight: &FlexTensor) -> Dims {
    let ([rows, inputs], [outputs, width]) = (matrix(x), matrix(weight));
    assert_eq!(inputs, width, "linear: x is [{rows}, {inputs}], weight [{outputs}, {width}]");
    Dims { rows, inputs, outputs }
}

/// The gradients of input `x`, weight and bias for the gradient `g` of `x wᵀ + b`.
fn gradients(x: &[f32], weight: &FlexTensor, g: &[f32], dims: Dims, needed: [bool; 3]) -> [Option<FlexTensor>; 3] {
    let dx = needed[0].then(|| {
        let dx = kernel::backward_input(g, values(weight), dims);
        tensor(dx, [dims.rows, dims.inputs])
    });
    let dw = needed[1].then(|| {
        let dw = kernel::backward_weight(g, x, dims);
        tensor(dw, [dims.outputs, dims.inputs])
    });
    let db = needed[2].then(|| tensor(kernel::backward_bias(g, dims), [dims.outputs]));
    [dx, dw, db]
}

#[derive(Debug, Clone)]
struct Linear;

impl Fused<3> for Linear {
    type Saved = (FlexTensor, FlexTensor);

    fn forward(&self, [x, weight, bias]: [FlexTensor; 3], _: bool) -> (FlexTensor, Self::Saved) {
        let dims = dims(&x, &weight);
        let y = kernel::forward(values(&x), values(&weight), Some(values(&bias)), dims);
        (tensor(y, [dims.rows, dims.outputs]), (x, weight))
    }

    fn backward(&self, (x, weight): Self::Saved, gradient: FlexTensor, needed: [bool; 3]) -> [Option<FlexTensor>; 3] {
        gradients(values(&x), &weight, values(&gradient), dims(&x, &weight), needed)
    }
}

#[derive(Debug, Clone)]
struct Mlp {
    kind: Gelu,
}

/// The sizes of both layers of an [`mlp`].
fn layers(x: &FlexTensor, w1: &FlexTensor, w2: &FlexTensor) -> [Dims; 2] {
    let (first, [outputs, inputs]) = (dims(x, w1), matrix(w2));
    assert_eq!(first.outputs, inputs, "mlp: the second weight is [{outputs}, {inputs}], the first layer {first:?}");
    [first, Dims { rows: first.rows, inputs, outputs }]
}

impl Fused<5> for Mlp {
    /// Input, both weights, and the values before GELU.
    type Saved = ([FlexTensor; 3], Vec<f32>);

    fn forward(&self, [x, w1, b1, w2, b2]: [FlexTensor; 5], _: bool) -> (FlexTensor, Self::Saved) {
        let [first, second] = layers(&x, &w1, &w2);
        let [pre, hidden] = kernel::forward_gelu(values(&x), values(&w1), Some(values(&b1)), self.kind, first);
        let y = kernel::forward(&hidden, values(&w2), Some(values(&b2)), second);
        (tensor(y, [second.rows, second.outputs]), ([x, w1, w2], pre))
    }

    fn backward(
        &self,
        ([x, w1, w2], pre): Self::Saved,
        gradient: FlexTensor,
        [nx, nw1, nb1, nw2, nb2]: [bool; 5],
    ) -> [Option<FlexTensor>; 5] {
        let [first, second] = layers(&x, &w1, &w2);
        let g = values(&gradient);
        let hidden = gelu::forward(self.kind, &pre);
        let [_, dw2, db2] = gradients(&hidden, &w2, g, second, [false, nw2, nb2]);
        // Its gradient, which is as large, takes its memory.
        drop(hidden);
        let mut dhidden = kernel::backward_input(g, values(&w2), second);
        gelu::backward(self.kind, &pre, &mut dhidden);
        let [dx, dw1, db1] = gradients(values(&x), &w1, &dhidden, first, [nx, nw1, nb1]);
        [dx, dw1, db1, dw2, db2]
    }
}
