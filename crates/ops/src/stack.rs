//! Operations on *stacks*: a batch of activations together with an interval around each of them.
//!
//! A stack is one tensor `[S, N, C, H, W]`. With S = 1 it holds clean activations only. With S = 3 it holds clean
//! activations, the centres `c` and the radii `r >= 0` of intervals `[c - r, c + r]`, so that a layer reads its weight
//! once for all three. Flat activations of width F are `[S, N, F, 1, 1]`. The rules are those of interval bound
//! propagation (Gowal et al. 2018; arXiv 2103.17268, section 3).

mod affine;
mod batch_norm;
mod boxes;
mod channel_affine;
mod channel_moments;
mod conv2d;
mod dense;
mod interval_moments;
mod margins;
mod relu;
mod running;

pub use affine::Affine;
pub use batch_norm::batch_norm;
pub use boxes::{boxes, clean, ends};
pub use channel_affine::channel_affine;
pub use channel_moments::channel_moments;
pub use conv2d::{Sums, conv2d, conv2d_adjoint};
pub use dense::dense;
pub use interval_moments::{interval_moments, interval_moments_after};
pub use margins::margins;
pub use relu::{relu, relu_after};
pub use running::running;

use burn_flex::FlexTensor;
use temper_kernels::channel_affine::Dims;

use crate::fused::values;

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

/// The sizes of a stack.
fn sizes(stack: &FlexTensor) -> [usize; 5] {
    stack.layout().shape().dims()
}

/// The sizes of a stack as maps per channel see them.
fn channels(stack: &FlexTensor) -> Dims {
    let [slabs, _, channels, height, width] = sizes(stack);
    Dims { slabs, channels, plane: height * width }
}

/// The values of a stack that has centres and radii.
fn with_intervals(stack: &FlexTensor) -> &[f32] {
    assert_eq!(sizes(stack)[0], 3, "a stack without intervals");
    values(stack)
}
