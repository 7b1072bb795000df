//! Image classifiers as graphs of typed layers, for training with interval bound propagation (arXiv 2103.17268).
//!
//! * [`config`]: what a network is; shapes, parameter and operation counts; the JSON form of a checkpoint.
//! * [`graph`]: the network with its weights, and its pass over a stack of activations.
//! * [`batch_norm`]: running statistics of batch normalisation, and statistics pooled over batches.
//! * [`init`]: fresh weights: the framework's, Xavier's, Kaiming's, orthogonal, and the paper's.
//! * [`cnn`], [`wide_resnet`], [`resnext`]: the paper's networks, one family a file; [`names`] finds them by name.

mod builder;

pub mod batch_norm;
pub mod cnn;
pub mod config;
pub mod graph;
pub mod init;
pub mod names;

pub use batch_norm::PooledMoments;
pub use config::{NetworkConfig, NodeConfig, Op};
pub use graph::{ImageNet, Layer, Statistics, Trace};
pub use init::ImageInit;
pub use names::{BatchNorm, by_name};
