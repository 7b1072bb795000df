//! Operations on *stacks*: a batch of activations together with an interval around each of them.
//!
//! A stack is one tensor `[S, N, C, H, W]`. With S = 1 it holds clean activations only. With S = 3 it holds clean
//! activations, the centres `c` and the radii `r >= 0` of intervals `[c - r, c + r]`, so that a layer reads its weight
//! once for all three. Flat activations of width F are `[S, N, F, 1, 1]`. The rules are those of interval bound
//! propagation (Gowal et al. 2018; arXiv 2103.17268, section 3).

use burn::tensor::Tensor;

use crate::composed;

/// Geometry of a convolution with a square kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Step between outputs.
    pub stride: usize,
    /// Zeros around the input, on every side.
    pub padding: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

impl Conv {
    /// The size of the output of an input of `size`, or `None` if the kernel does not fit.
    pub fn output(&self, size: usize, kernel: usize) -> Option<usize> {
        Some((size + 2 * self.padding).checked_sub(kernel)? / self.stride + 1)
    }
}

/// Convolution of a stack: clean and centre with weight and bias, radius with `|weight|` and no bias.
/// `x` is `[S, N, I, H, W]`, `weight` `[O, I / groups, K, K]`, `bias` `[O]`; the result is `[S, N, O, H', W']`.
pub fn conv2d(x: Tensor<5>, weight: Tensor<4>, bias: Tensor<1>, conv: Conv) -> Tensor<5> {
    composed::conv2d(x, weight, bias, conv)
}

/// The linear layer of a stack, by the same rule. `x` is `[S, N, I, 1, 1]`, `weight` `[O, I]`, `bias` `[O]`; the
/// result is `[S, N, O, 1, 1]`.
pub fn dense(x: Tensor<5>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<5> {
    composed::dense(x, weight, bias)
}

/// Mean and biased variance of every channel of the *clean* activations, `[2, C]`, with gradient.
pub fn channel_moments(x: Tensor<5>) -> Tensor<2> {
    composed::channel_moments(x)
}

/// `scale * x + shift` per channel for clean and centre, `|scale| * r` for the radius; scale and shift are `[C]`.
pub fn channel_affine(x: Tensor<5>, scale: Tensor<1>, shift: Tensor<1>) -> Tensor<5> {
    composed::channel_affine(x, scale, shift)
}

/// ReLU of the clean activations and of both ends of the intervals.
pub fn relu(x: Tensor<5>) -> Tensor<5> {
    composed::relu(x)
}

/// What the warmup regularisers need to know of the intervals before a ReLU (arXiv 2103.17268, section 4.2), means
/// and sums over the whole batch and all units; `x` has S = 3. `[7]`: mean radius; `m+` and `-m-`, the means over all
/// units of `c` where the interval is active (`l > 0`) and of `-c` where it is inactive (`u < 0`); `v+` and `v-`, the
/// sums of `(c - mean c)²` over the active and the inactive; how many are active; how many inactive. The two counts
/// have no gradient.
pub fn interval_moments(x: Tensor<5>) -> Tensor<1> {
    composed::interval_moments(x)
}

/// Lower bounds of the margins `z_y - z_j` through the last layer, merged with the specification before bounding:
/// `(W_y - W_j) c + b_y - b_j - |W_y - W_j| r`, and 0 for j = y. `x` is `[3, N, D, 1, 1]`, `weight` `[K, D]`, `bias`
/// `[K]`, one label a row; the result is `[N, K]`.
pub fn margins(x: Tensor<5>, weight: Tensor<2>, bias: Tensor<1>, labels: &[u32]) -> Tensor<2> {
    composed::margins(x, weight, bias, labels)
}

/// The adjoint of [`conv2d`] for clean activations, which linear bounds are pushed backwards with: the gradient of a
/// convolution's input `[N, I, H, W]` of height and width `size` for the gradient `x` `[N, O, H', W']` of its output.
/// Differentiable in both arguments.
pub fn conv2d_adjoint(x: Tensor<4>, weight: Tensor<4>, conv: Conv, size: [usize; 2]) -> Tensor<4> {
    composed::conv2d_adjoint(x, weight, conv, size)
}
