//! An affine map per channel.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use temper_kernels::channel_affine as kernel;

use super::{channels, sizes};
use crate::composed;
use crate::fused::{Fused, Input, apply, on_cpu, tensor, values, values_mut};

/// `scale * x + shift` per channel for clean and centre, `|scale| * r` for the radius; scale and shift are `[C]`.
pub fn channel_affine(x: Tensor<5>, scale: Tensor<1>, shift: Tensor<1>) -> Tensor<5> {
    if !on_cpu(&x) {
        return composed::channel_affine(x, scale, shift);
    }
    apply(ChannelAffine, [Input::new(x), Input::new(scale), Input::new(shift)])
}

#[derive(Debug, Clone)]
struct ChannelAffine;

impl Fused<3> for ChannelAffine {
    /// Input and scale.
    type Saved = (FlexTensor, FlexTensor);

    fn forward(&self, [x, scale, shift]: [FlexTensor; 3], _: bool) -> (FlexTensor, Self::Saved) {
        let y = kernel::forward(values(&x), values(&scale), values(&shift), channels(&x));
        (tensor(y, sizes(&x)), (x, scale))
    }

    fn backward(&self, (x, scale): Self::Saved, mut gradient: FlexTensor, _: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let dims = channels(&x);
        let [dscale, dshift] = kernel::backward(values(&x), values(&scale), values_mut(&mut gradient), dims);
        [Some(gradient), Some(tensor(dscale, [dims.channels])), Some(tensor(dshift, [dims.channels]))]
    }
}
