//! The stacks that a network reads.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use temper_kernels::boxes as kernel;

use crate::composed;
use crate::fused::{Fused, Input, apply, on_cpu, tensor, values};

pub use temper_kernels::boxes::ends;

/// The stack `[1, N, C, H, W]` of images `[N, C, H, W]` alone, normalised with one mean and deviation a channel. It has no gradient.
pub fn clean(pixels: Tensor<4>, mean: &[f32], std: &[f32]) -> Tensor<5> {
    stacked(pixels, None, mean, std)
}

/// The stack `[3, N, C, H, W]` of images in [0, 1] and of their boxes, all that is within `eps` (one radius an image) and in [0, 1],
/// normalised alike. It has no gradient.
pub fn boxes(pixels: Tensor<4>, eps: &[f64], mean: &[f32], std: &[f32]) -> Tensor<5> {
    stacked(pixels, Some(eps.to_vec()), mean, std)
}

fn stacked(pixels: Tensor<4>, eps: Option<Vec<f64>>, mean: &[f32], std: &[f32]) -> Tensor<5> {
    if !on_cpu(&pixels) {
        return composed::boxes(pixels, eps.as_deref(), mean, std);
    }
    apply(Boxes { eps, mean: mean.to_vec(), std: std.to_vec() }, [Input::new(pixels)])
}

#[derive(Debug, Clone)]
struct Boxes {
    eps: Option<Vec<f64>>,
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl Fused<1> for Boxes {
    type Saved = ();

    fn forward(&self, [pixels]: [FlexTensor; 1], _: bool) -> (FlexTensor, ()) {
        let [n, c, h, w]: [usize; 4] = pixels.layout().shape().dims();
        let (slabs, values) = match &self.eps {
            Some(eps) => (3, kernel::boxes(values(&pixels), eps, &self.mean, &self.std)),
            None => (1, kernel::clean(values(&pixels), n, &self.mean, &self.std)),
        };
        (tensor(values, [slabs, n, c, h, w]), ())
    }

    fn backward(&self, (): (), _: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [None]
    }
}
