//! Mean and variance of channels.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use temper_kernels::channel_moments as kernel;
use temper_kernels::scratch::unwritten;

use super::sizes;
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
        let [slabs, _, channels, height, width] = sizes(&x);
        let mut moments = vec![0.0; 2 * channels];
        let clean = &values(&x)[..values(&x).len() / slabs];
        kernel::forward(clean, &mut moments, channels, height * width);
        let moments = tensor(moments, [2, channels]);
        (moments.clone(), (x, moments))
    }

    fn backward(&self, (x, moments): Self::Saved, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let [slabs, _, channels, height, width] = sizes(&x);
        let mut dx = unwritten(values(&x).len());
        let (clean, intervals) = dx.split_at_mut(values(&x).len() / slabs);
        let x_clean = &values(&x)[..clean.len()];
        let (moments, g) = (values(&moments), values(&gradient));
        kernel::backward(x_clean, moments, g, clean, channels, height * width);
        intervals.fill(0.0);
        [Some(tensor(dx, sizes(&x)))]
    }
}
