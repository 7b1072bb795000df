//! Mean and variance of channels.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use temper_kernels::channel_moments as kernel;

use super::{channels, sizes};
use crate::composed;
use crate::fused::{Fused, Input, apply, on_cpu, tensor, values};

/// Mean and biased variance of every channel of the *clean* activations, `[2, C]`, with gradient.
pub fn channel_moments(x: Tensor<5>) -> Tensor<2> {
    if !on_cpu(&x) {
        return composed::channel_moments(x);
    }
    apply(ChannelMoments, [Input::new(x)])
}

#[derive(Debug, Clone)]
struct ChannelMoments;

impl Fused<1> for ChannelMoments {
    /// Input and moments.
    type Saved = (FlexTensor, FlexTensor);

    fn forward(&self, [x]: [FlexTensor; 1], _: bool) -> (FlexTensor, Self::Saved) {
        let dims = channels(&x);
        let moments = tensor(kernel::forward(values(&x), dims), [2, dims.channels]);
        (moments.clone(), (x, moments))
    }

    fn backward(&self, (x, moments): Self::Saved, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let dx = kernel::backward(values(&x), values(&moments), values(&gradient), channels(&x));
        [Some(tensor(dx, sizes(&x)))]
    }
}
