//! Image classifiers as graphs of typed layers, for training with interval bound propagation (arXiv 2103.17268).
//!
//! * [`config`]: what a network is; shapes, parameter and operation counts; the JSON form of a checkpoint.
//! * [`graph`]: the network with its weights, and its pass over a stack of activations.
//! * [`batch_norm`]: running statistics of batch normalisation, and statistics pooled over batches.
//! * [`init`]: fresh weights: the framework's, Xavier's, Kaiming's, orthogonal, and the paper's.
//! * [`text`]: a network as a list of layers.
//! * [`cnn`], [`wide_resnet`], [`resnext`]: the paper's networks, one family a file; [`names`] finds them by
//!   name.
//! * [`stored`]: safetensors files in and out, those of the paper's code included.

mod builder;

pub mod batch_norm;
pub mod cnn;
pub mod config;
pub mod graph;
pub mod init;
pub mod names;
pub mod resnext;
pub mod stored;
pub mod text;
pub mod wide_resnet;

pub use batch_norm::PooledMoments;
pub use config::{NetworkConfig, NodeConfig, Op};
pub use graph::{ImageNet, Layer, Statistics, Trace};
pub use init::ImageInit;
pub use names::{BatchNorm, NETWORKS, by_name, vanilla_init};
