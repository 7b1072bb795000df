//! Statistics of intervals for the warmup regularisers.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use temper_kernels::interval_moments::{self as kernel, Sums};

use super::{Affine, sizes, with_intervals};
use crate::composed;
use crate::fused::{Fused, Input, apply, on_cpu, tensor, values};

/// What the warmup regularisers need to know of the intervals before a ReLU (arXiv 2103.17268, section 4.2), means
/// and sums over the whole batch and all units; `x` has S = 3. `[7]`: mean radius; `m+` and `-m-`, the means over all
/// units of `c` where the interval is active (`l > 0`) and of `-c` where it is inactive (`u < 0`); `v+` and `v-`, the
/// sums of `(c - mean c)²` over the active and the inactive; how many are active; how many inactive. The two counts
/// have no gradient.
pub fn interval_moments(x: Tensor<5>) -> Tensor<1> {
    if !on_cpu(&x) {
        return composed::interval_moments(x);
    }
    apply(IntervalMoments, [Input::new(x)])
}

/// [`interval_moments`] of a stack that `made` makes again in the backward pass, so that `x` itself need not be kept.
pub fn interval_moments_after(x: Tensor<5>, made: &Affine) -> Tensor<1> {
    apply(IntervalMomentsAfter(made.clone()), [Input::new(x)])
}

#[derive(Debug, Clone)]
struct IntervalMoments;

impl Fused<1> for IntervalMoments {
    type Saved = (FlexTensor, Sums);

    fn forward(&self, [x]: [FlexTensor; 1], _: bool) -> (FlexTensor, Self::Saved) {
        let sums = kernel::forward(with_intervals(&x));
        (tensor(sums.moments().to_vec(), [7]), (x, sums))
    }

    fn backward(&self, (x, sums): Self::Saved, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let dx = kernel::backward(values(&x), &sums, values(&gradient));
        [Some(tensor(dx, sizes(&x)))]
    }
}

#[derive(Debug, Clone)]
struct IntervalMomentsAfter(Affine);

impl Fused<1> for IntervalMomentsAfter {
    /// The sizes of the stack.
    type Saved = ([usize; 5], Sums);

    fn forward(&self, [x]: [FlexTensor; 1], tracked: bool) -> (FlexTensor, Self::Saved) {
        let (moments, (x, sums)) = IntervalMoments.forward([x], tracked);
        (moments, (sizes(&x), sums))
    }

    fn backward(&self, (sizes, sums): Self::Saved, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let Self(made) = self;
        let (x, scale, shift) = (made.x(), made.scale(), made.shift());
        let dx = kernel::backward_after(x, scale, shift, &sums, values(&gradient), made.dims());
        [Some(tensor(dx, sizes))]
    }
}
