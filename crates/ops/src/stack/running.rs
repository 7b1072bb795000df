//! The running statistics of batch norms.

use burn::backend::Flex;
use burn::tensor::Tensor;

use crate::composed;
use crate::fused::{contiguous, on_cpu, tensor, values};

/// Running values moved by the share `momentum` towards those of a batch times `factor`, `[C]`; off the tape. On the processor in double
/// precision, rounded once.
pub fn running(old: Tensor<1>, batch: Tensor<1>, momentum: f64, factor: f64) -> Tensor<1> {
    if !on_cpu(&old) {
        return composed::running(old, batch, momentum, factor);
    }
    let [old, batch] = [old, batch].map(|x| contiguous(x.try_into_primitive::<Flex>().expect("off the tape")));
    let step = |(old, batch): (&f32, &f32)| {
        let old = f64::from(*old);
        (old + momentum * (f64::from(*batch) * factor - old)) as f32
    };
    let moved: Vec<f32> = values(&old).iter().zip(values(&batch)).map(step).collect();
    let length = moved.len();
    Tensor::from_primitive::<Flex>(tensor(moved, [length]))
}
