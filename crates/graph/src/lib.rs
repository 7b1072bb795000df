//! Networks as graphs of typed layers, with weights as plain arrays, and properties to verify of them. No tensor library.
//!
//! * [`config`]: what a network is; shapes, parameter and operation counts; the JSON form of a checkpoint.
//! * [`text`]: a network as a list of layers.
//! * [`cnn`], [`wide_resnet`], [`resnext`]: the networks of arXiv 2103.17268, one family a file; [`names`] finds them by name.
//! * [`network`]: a graph with its weights, and the answer to one image.
//! * [`fold`]: a network without batch norms that gives the same answers.
//! * [`computation`]: a graph of eight operations, into which every network is lowered that is verified; [`lower`] does it for a classifier.
//! * [`property`]: a set of inputs, and what outputs may not be.

#![warn(clippy::missing_errors_doc)]

mod builder;
pub mod cnn;
pub mod computation;
pub mod config;
pub mod fold;
pub mod lower;
pub mod names;
pub mod network;
pub mod property;
pub mod resnext;
pub mod text;
pub mod wide_resnet;

pub use computation::{Affine, Computation, Curve, Node, Operation, Window};
pub use config::{NetworkConfig, NodeConfig, Op};
pub use names::{BatchNorm, NETWORKS, Named, by_name};
pub use network::{BATCH_NORM_EPS, Network, Weights};
pub use property::{Ball, InputBox, LinearConstraint, Property};

/// The code of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
