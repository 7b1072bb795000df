//! Sound enclosures of what an image classifier can answer when every pixel may move by eps, and what follows from
//! them.
//!
//! * [`boxes`]: the input: a batch and the box around every image of it.
//! * [`ibp`]: interval bound propagation, and what its intervals say of every layer.
//! * [`crown`]: CROWN-IBP: one backward pass of linear bounds over those intervals; loss fusion.
//! * [`losses`]: the robust loss and the warmup regularisers.
//! * [`attack`]: projected gradient descent in the box: the other side of a certificate; [`search`] does it for verdicts.
//! * [`verdict`]: bound and attack together, one outcome an image, counted.
//! * [`radius`]: the largest certified eps of an image.
//!
//! Bounds on tensors, of losses and of evaluations during training, are computed in single precision, rounded to nearest, and nothing accounts
//! for that rounding: where weights or biases are large enough to swallow a radius, a bound can be wrong. On trained networks the error is
//! 1e-7 to 1e-6 of the margins. Verdicts and radii rest on bounds in double precision that account for it ([`temper_verify`]).

#![warn(clippy::missing_errors_doc)]

pub mod attack;
pub mod boxes;
pub mod crown;
pub mod ibp;
pub mod losses;
pub mod radius;
pub mod search;
pub mod verdict;

use burn::tensor::Tensor;

/// The values of a tensor, row-major.
fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    temper_ops::read(tensor)
}

/// The code of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
