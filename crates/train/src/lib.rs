//! The algorithm: one step, the loop around it, validation, checkpoints, and what they cost.
//!
//! Reading order: [`trainer`], [`lm`], [`step`], [`optimizer`], [`evaluate`], [`checkpoint`]. Nothing here knows
//! recipes or command lines.

pub mod certify;
pub mod checkpoint;
pub mod cost;
pub mod evaluate;
pub mod lm;
pub mod optimizer;
pub mod sample;
pub mod step;
pub mod trainer;
