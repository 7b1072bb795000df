//! Convolution of stacks of images, channels first, with a square kernel.
//!
//! One task makes one image of one slab: it copies what a block of output rows needs into a small window (`window.rs`), from
//! which the tiles (`tile.rs`) read every tap directly, and writes the output in its place. Memory sees one read of the
//! input and one write of the output; weights are put into the tiles' order once a call. Kernels of
//! 3 x 3 with a stride of 1 and channels enough are made at the points of Winograd (`winograd.rs`) where the caller lets them ([`Sums`]): half the
//! products, by the same tiles.
//!
//! A stack has one slab (clean activations) or three (clean, centre, radius); the radius is convolved with the
//! magnitudes of the weights and without bias (interval bound propagation, Gowal et al. 2018). The gradient of the
//! input is a correlation of the output's gradient with the mirrored kernel; with a stride of s, s x s of them, one
//! for each phase of the input. The gradient of the weight is summed over groups of images that depend on the shape
//! alone and added up in order.

mod correlate;
mod input_gradient;
mod shape;
mod tile;
mod weight_gradient;
mod weight_tile;
mod window;
mod winograd;

pub use correlate::forward;
pub use input_gradient::backward_input;
pub use shape::{Shape, Sums};
pub use weight_gradient::backward_weight;
