//! The algorithm: one step, the loop around it, validation, checkpoints.

pub mod optimizer;
pub mod step;
