//! What every crate above the arithmetic stands on: the one shape of every error ([`problem`]), files that are whole or absent
//! ([`files`]), content hashes ([`hash`]), how work reports what it does ([`listener`]), random numbers without a state ([`random`]) and numbers as people read them ([`numbers`]).
//!
//! This crate knows nothing of runs, tensors, tasks or the command line.

#![warn(clippy::missing_errors_doc)]

pub mod files;
pub mod hash;
pub mod listener;
mod names;
pub mod numbers;
pub mod problem;
pub mod random;

pub use listener::Listener;
pub use problem::{Kind, Problem, Problems, Result};

/// The code of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
