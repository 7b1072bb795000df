//! What a run leaves behind: its directory, its events, its checkpoints, and the one shape of every error.

pub mod problem;

pub use problem::{Kind, Problem, Result};
