//! Certified training of image classifiers (arXiv 2103.17268), as a task of the training loop.
//!
//! Reading order: [`method`], [`step`], [`evaluate`], [`task`], [`checkpoint`], [`cost`].

pub mod checkpoint;
pub mod cost;
pub mod evaluate;
pub mod method;
pub mod step;
pub mod task;
