//! The arithmetic of the hot operations of a training step, on plain slices: fused, threaded, forward and backward.
//!
//! One idea a file. Everything but [`double`], [`ends`] and [`sums`] is `f32`, row-major and contiguous; shapes are checked by assertions, because a wrong
//! shape is a defect of the caller and not an input of the user. Nothing here knows a tensor library. A function allocates
//! and fills what it returns; the gradient of an elementwise operation replaces the one that it is given.
//!
//! Four promises hold for every function:
//!
//! * **The result does not depend on the number of threads.** Work is cut into pieces whose size depends on the shape
//!   alone, and partial results are combined in the order of the pieces, whichever thread computed them.
//! * **A NaN that goes in comes out**, so that the training loop can see it.
//! * **No number is handed out that was not written.** Outputs are not cleared first: they are slots (`output.rs`), which cannot
//!   be read, until a kernel has shown that it filled them. Raw addresses (`extent.rs`) are checked in debug builds.
//! * **No large temporary allocation in the steady state**: such memory comes from a pool (`scratch.rs`) and goes back there; the logits
//!   of [`cross_entropy`] alone are given back.
//!
//! The instruction set is found at run time ([`arch`]); results are the same bits for the same instruction set.

#![warn(clippy::missing_errors_doc)]
#![allow(unsafe_code)]

pub mod adamw;
pub mod arch;
pub mod attack;
pub mod attention;
pub mod batch_norm;
pub mod boxes;
pub mod channel_affine;
pub mod channel_moments;
pub mod conv;
pub mod cross_entropy;
pub mod dense;
pub mod double;
pub mod embedding;
pub mod ends;
mod extent;
pub mod gelu;
pub mod gemm;
pub mod interval_moments;
mod lanes;
pub mod layer_norm;
pub mod linear;
pub mod margins;
pub mod math;
pub mod norm;
mod output;
pub mod relu;
mod scratch;
pub mod sums;

pub use output::poison_outputs;

/// The code of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
