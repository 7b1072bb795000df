//! Batch normalisation on the statistics of the batch.

use burn::backend::Flex;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use temper_kernels::{batch_norm as kernel, channel_affine};

use super::{channels, sizes};
use crate::composed;
use crate::fused::{Fused, Input, apply, on_cpu, tensor, values, values_mut};

/// Batch normalisation of a stack on the statistics of its *clean* activations: `moments` is what
/// [`channel_moments`](super::channel_moments) says of the same `x`, and the gradient goes through them, whether they are
/// on the tape or not. `weight` and `bias` are `[C]`.
pub fn batch_norm(x: Tensor<5>, weight: Tensor<1>, bias: Tensor<1>, moments: &Tensor<2>, eps: f32) -> Tensor<5> {
    if !on_cpu(&x) {
        return composed::batch_norm(x, weight, bias, eps);
    }
    let moments = if moments.is_autodiff() { moments.clone().inner() } else { moments.clone() };
    let moments = moments.try_into_primitive::<Flex>().expect("a CPU tensor off the tape");
    apply(BatchNorm { moments, eps }, [Input::new(x), Input::new(weight), Input::new(bias)])
}

#[derive(Debug, Clone)]
struct BatchNorm {
    moments: FlexTensor,
    eps: f32,
}

impl Fused<3> for BatchNorm {
    /// Input and weight.
    type Saved = (FlexTensor, FlexTensor);

    fn forward(&self, [x, weight, bias]: [FlexTensor; 3], _: bool) -> (FlexTensor, Self::Saved) {
        let [scale, shift] = kernel::scale_and_shift(values(&self.moments), values(&weight), values(&bias), self.eps);
        let y = channel_affine::forward(values(&x), &scale, &shift, channels(&x));
        (tensor(y, sizes(&x)), (x, weight))
    }

    fn backward(&self, (x, weight): Self::Saved, mut gradient: FlexTensor, _: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let dims = channels(&x);
        let (moments, g) = (values(&self.moments), values_mut(&mut gradient));
        let [dweight, dbias] = kernel::backward(values(&x), moments, values(&weight), self.eps, g, dims);
        [Some(gradient), Some(tensor(dweight, [dims.channels])), Some(tensor(dbias, [dims.channels]))]
    }
}
