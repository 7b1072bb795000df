//! Convolution of stacks, and its adjoint.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
pub use temper_kernels::conv::Sums;
use temper_kernels::conv::{self as kernel, Shape};

use super::{Conv, sizes};
use crate::composed;
use crate::fused::{Fused, Input, apply, on_cpu, tensor, values};

/// Convolution of a stack: clean and centre with weight and bias, radius with `|weight|` and no bias.
/// `x` is `[S, N, I, H, W]`, `weight` `[O, I / groups, K, K]`, `bias` `[O]`; the result is `[S, N, O, H', W']`. `sums` says how
/// they are made; gradients are made the fast way either way, as only training and attacks follow them.
pub fn conv2d(x: Tensor<5>, weight: Tensor<4>, bias: Tensor<1>, conv: Conv, sums: Sums) -> Tensor<5> {
    if !on_cpu(&x) {
        return composed::conv2d(x, weight, bias, conv);
    }
    apply(Conv2d { conv, sums }, [Input::new(x), Input::new(weight), Input::new(bias)])
}

/// The adjoint of [`conv2d`] for clean activations, which linear bounds are pushed backwards with: the gradient of a
/// convolution's input `[N, I, H, W]` of height and width `size` for the gradient `x` `[N, O, H', W']` of its output.
/// Differentiable in both arguments.
pub fn conv2d_adjoint(x: Tensor<4>, weight: Tensor<4>, conv: Conv, size: [usize; 2], sums: Sums) -> Tensor<4> {
    if !on_cpu(&x) {
        return composed::conv2d_adjoint(x, weight, conv, size);
    }
    apply(Adjoint { conv, size, sums }, [Input::new(x), Input::new(weight)])
}

/// The sizes of the convolution of a stack `[S, N, I, H, W]`.
fn shape([slabs, images, inputs, height, width]: [usize; 5], weight: &FlexTensor, conv: Conv) -> Shape {
    let [outputs, per_group, kernel, other]: [usize; 4] = weight.layout().shape().dims();
    assert_eq!(inputs, per_group * conv.groups, "conv2d: input of {inputs} channels, weight of {per_group} a group");
    assert_eq!(kernel, other, "conv2d: a kernel that is not square");
    let Conv { stride, padding, groups } = conv;
    Shape { slabs, images, inputs, outputs, groups, size: [height, width], kernel, stride, padding }
}

#[derive(Debug, Clone)]
struct Conv2d {
    conv: Conv,
    sums: Sums,
}

impl Fused<3> for Conv2d {
    /// Input and weight.
    type Saved = (FlexTensor, FlexTensor);

    fn forward(&self, [x, weight, bias]: [FlexTensor; 3], _: bool) -> (FlexTensor, Self::Saved) {
        let shape = shape(sizes(&x), &weight, self.conv);
        let y = kernel::forward(values(&x), values(&weight), Some(values(&bias)), shape, self.sums);
        let [height, width] = shape.output();
        (tensor(y, [shape.slabs, shape.images, shape.outputs, height, width]), (x, weight))
    }

    fn backward(&self, (x, weight): Self::Saved, gradient: FlexTensor, needed: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let shape = shape(sizes(&x), &weight, self.conv);
        let g = values(&gradient);
        let dx = needed[0].then(|| {
            let dx = kernel::backward_input(g, values(&weight), shape, Sums::Fast);
            tensor(dx, sizes(&x))
        });
        if !needed[1] && !needed[2] {
            return [dx, None, None];
        }
        let [dw, db] = kernel::backward_weight(values(&x), g, values(&weight), shape);
        [dx, Some(tensor(dw, weight.layout().shape().clone())), Some(tensor(db, [shape.outputs]))]
    }
}

#[derive(Debug, Clone)]
struct Adjoint {
    conv: Conv,
    size: [usize; 2],
    sums: Sums,
}

impl Adjoint {
    /// The sizes of the convolution that this is the adjoint of.
    fn shape(&self, x: &FlexTensor, weight: &FlexTensor) -> Shape {
        let [images, outputs, height, width]: [usize; 4] = x.layout().shape().dims();
        let [kernels, per_group, _, _]: [usize; 4] = weight.layout().shape().dims();
        let shape = shape([1, images, per_group * self.conv.groups, self.size[0], self.size[1]], weight, self.conv);
        assert_eq!((kernels, shape.output()), (outputs, [height, width]), "conv2d_adjoint: {shape:?}");
        shape
    }
}

impl Fused<2> for Adjoint {
    /// Input and weight.
    type Saved = (FlexTensor, FlexTensor);

    fn forward(&self, [x, weight]: [FlexTensor; 2], _: bool) -> (FlexTensor, Self::Saved) {
        let shape = self.shape(&x, &weight);
        let y = kernel::backward_input(values(&x), values(&weight), shape, self.sums);
        (tensor(y, [shape.images, shape.inputs, self.size[0], self.size[1]]), (x, weight))
    }

    fn backward(&self, (x, weight): Self::Saved, gradient: FlexTensor, needed: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let shape = self.shape(&x, &weight);
        let g = values(&gradient);
        let dx = needed[0].then(|| {
            let dx = kernel::forward(g, values(&weight), None, shape, Sums::Fast);
            tensor(dx, x.layout().shape().clone())
        });
        // Both are linear in the weight: its gradient is that of the convolution with input and output exchanged.
        let dw = needed[1].then(|| {
            let [dw, _] = kernel::backward_weight(g, values(&x), values(&weight), shape);
            tensor(dw, weight.layout().shape().clone())
        });
        [dx, dw]
    }
}
