//! The optimiser's arithmetic, in place and off the tape.

use burn::backend::Flex;
use burn::tensor::Tensor;
pub use temper_kernels::adamw::AdamW;
use temper_kernels::norm;

use crate::composed;
use crate::fused::{on_cpu, values};

/// One AdamW update (decoupled weight decay, Loshchilov and Hutter; the arithmetic of
/// `torch.optim.AdamW`). Consumes parameter and moments so that they are written in place.
pub fn adamw<const D: usize>(
    p: Tensor<D>,
    g: Tensor<D>,
    m: Tensor<D>,
    v: Tensor<D>,
    settings: &AdamW,
) -> [Tensor<D>; 3] {
    if !on_cpu(&p) {
        return composed::adamw(p, g, m, v, settings);
    }
    let [mut p, g, mut m, mut v] = [p, g, m, v].map(|t| t.try_into_primitive::<Flex>().expect("off the tape"));
    temper_kernels::adamw::update(p.storage_mut(), values(&g), m.storage_mut(), v.storage_mut(), settings);
    [p, m, v].map(Tensor::from_primitive::<Flex>)
}

/// The sum of squares in double precision.
pub fn sum_of_squares<const D: usize>(x: &Tensor<D>) -> f64 {
    if !on_cpu(x) {
        return f64::from(x.clone().square().sum().into_scalar::<f32>());
    }
    norm::sum_of_squares(values(&x.clone().try_into_primitive::<Flex>().expect("off the tape")))
}

/// The index of the first entry that is NaN or infinite.
pub fn first_non_finite<const D: usize>(x: &Tensor<D>) -> Option<usize> {
    if !on_cpu(x) {
        let data = x.to_data();
        return norm::first_non_finite(data.as_slice().expect("f32 values"));
    }
    norm::first_non_finite(values(&x.clone().try_into_primitive::<Flex>().expect("off the tape")))
}
