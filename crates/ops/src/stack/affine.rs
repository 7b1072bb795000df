//! How a value was made out of another that is kept anyway, so that it need not be kept itself.

use std::sync::Arc;

use burn::backend::Flex;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use temper_kernels::channel_affine::Dims;

use super::channels;
use crate::fused::{contiguous, on_cpu, values};

/// An affine map per channel of a stack that is kept: what [`relu_after`](super::relu_after) and
/// [`interval_moments_after`](super::interval_moments_after) save instead of its output, which they make again.
#[derive(Debug, Clone)]
pub struct Affine(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    x: FlexTensor,
    scale: FlexTensor,
    shift: FlexTensor,
}

/// Numbers of a plane below which making it again costs more than it is worth.
const LEAST: usize = 16;

impl Affine {
    /// The map that [`channel_affine`](super::channel_affine) of these makes; `None` where its output is to be kept: on
    /// other backends, and where planes are small.
    pub fn new(x: &Tensor<5>, scale: &Tensor<1>, shift: &Tensor<1>) -> Option<Self> {
        let [_, _, _, height, width] = x.dims();
        if !on_cpu(x) || height * width < LEAST {
            return None;
        }
        let [scale, shift] = [scale, shift].map(|tensor| plain(tensor.clone()));
        Some(Self(Arc::new(Parts { x: plain(x.clone()), scale, shift })))
    }

    pub(super) fn x(&self) -> &[f32] {
        values(&self.0.x)
    }

    pub(super) fn scale(&self) -> &[f32] {
        values(&self.0.scale)
    }

    pub(super) fn shift(&self) -> &[f32] {
        values(&self.0.shift)
    }

    pub(super) fn dims(&self) -> Dims {
        channels(&self.0.x)
    }
}

/// The values, off the tape.
fn plain<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    let tensor = if tensor.is_autodiff() { tensor.inner() } else { tensor };
    contiguous(tensor.try_into_primitive::<Flex>().expect("a CPU tensor off the tape"))
}
