//! The optimiser's arithmetic, in place and off the tape.

use burn::backend::Flex;
use burn::tensor::Tensor;
pub use temper_kernels::adamw::AdamW;
use temper_kernels::norm;

use crate::composed;
use crate::fused::{on_cpu, values};
use crate::read::{read, read_numbers};

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

/// The sum of squares of each tensor, and beside them the values of tensors of one number each. On the processor the sums are in double
/// precision; elsewhere they are as exact as the device's own sums, and everything is read at once.
///
/// # Panics
/// As [`read`].
pub fn sums_of_squares(tensors: &[&Tensor<1>], numbers: Vec<Tensor<1>>) -> (Vec<f64>, Vec<f64>) {
    let doubles = |values: &[f32]| values.iter().copied().map(f64::from).collect();
    if tensors.iter().all(|tensor| on_cpu(*tensor)) {
        let plain = |x: &&Tensor<1>| (*x).clone().try_into_primitive::<Flex>().expect("off the tape");
        let sums = tensors.iter().map(|x| norm::sum_of_squares(values(&plain(x))));
        return (sums.collect(), doubles(&read_numbers(numbers)));
    }
    let sums = tensors.iter().map(|x| (*x).clone().square().sum());
    let all = read_numbers(sums.chain(numbers).collect());
    let (sums, numbers) = all.split_at(tensors.len());
    (doubles(sums), doubles(numbers))
}

/// The index of the first entry that is NaN or infinite.
pub fn first_non_finite<const D: usize>(x: &Tensor<D>) -> Option<usize> {
    if !on_cpu(x) {
        return norm::first_non_finite(&read(x.clone()));
    }
    norm::first_non_finite(values(&x.clone().try_into_primitive::<Flex>().expect("off the tape")))
}
