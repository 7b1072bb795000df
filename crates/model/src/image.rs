//! Image classifiers for training with interval bound propagation (arXiv 2103.17268): a graph of typed layers (`temper_graph`) with
//! its weights as tensors.
//!
//! * [`graph`]: the network with its weights, and its pass over a stack of activations.
//! * [`batch_norm`]: running statistics of batch normalisation, and statistics pooled over batches.
//! * [`init`]: fresh weights: the framework's, Xavier's, Kaiming's, orthogonal, and the paper's.
//! * [`stored`]: safetensors files in and out, those of the paper's code included.
//! * [`plain`]: the same network with plain arrays, and back.

pub mod batch_norm;
pub mod graph;
pub mod init;
pub mod plain;
pub mod stored;

pub use batch_norm::PooledMoments;
pub use graph::{ImageNet, Layer, Statistics, Trace};
pub use init::{ImageInit, vanilla_init};
