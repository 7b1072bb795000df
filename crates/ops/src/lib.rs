//! The hot operations of training as tensor functions.
//!
//! Every operation has two bodies. On the CPU backend (Flex) it calls the slice kernels of
//! `temper-kernels` and registers a hand-written backward pass; on any other device it is the same
//! arithmetic composed of Burn operations, differentiated by Burn ([`composed`]). The tests hold the
//! two against each other.
//!
//! To add an operation: write its arithmetic in `temper-kernels`; here, one file with a struct that
//! implements `fused::Fused` (forward, what to save, backward), a public function that picks the
//! body, and its plain composition in [`composed`]. `layer_norm.rs` is the shortest complete example.

#![warn(clippy::missing_errors_doc)]

pub mod composed;
mod fused;

pub mod attack;
mod attention;
mod cross_entropy;
mod device_name;
mod embedding;
mod layer_norm;
mod linear;
mod optimizer;
mod own_gradient;
mod read;
pub mod stack;

pub use attention::{Rotary, Shape, causal_attention};
pub use cross_entropy::{cross_entropy, token_nll};
pub use device_name::device_name;
pub use embedding::embedding;
pub use layer_norm::layer_norm;
pub use linear::{linear, mlp};
pub use optimizer::{AdamW, adamw, first_non_finite, sums_of_squares};
pub use read::{DeviceFailed, read, read_numbers, readbacks};

pub use temper_kernels::gelu::Gelu;
