//! Plain convolutional networks: convolutions, one or two hidden linear layers, the logits; batch norm and ReLU
//! after every one but the last.

use temper_base::Result;

use crate::builder::{Builder, conv};
use crate::config::{NetworkConfig, Op};
use crate::names::BatchNorm;

/// Writes `convs` (output channels, kernel, stride, padding) and `linears` (features), and the layer that gives the
/// logits. Layers are numbered: `conv1`, `bn1`, `relu1`, ..., `flatten1`, `linear1`, ...
fn plain(
    convs: &[[usize; 4]],
    linears: &[usize],
    batch_norm: BatchNorm,
    input: [usize; 3],
    classes: usize,
) -> Result<NetworkConfig> {
    let mut net = Builder::new();
    for [out, kernel, stride, padding] in convs.iter().copied() {
        net.next(conv(out, kernel, stride, padding));
        if batch_norm != BatchNorm::None {
            net.next(Op::BatchNorm);
        }
        net.next(Op::Relu);
    }
    net.next(Op::Flatten);
    for out in linears.iter().copied() {
        net.next(Op::Linear { out });
        if batch_norm == BatchNorm::Full {
            net.next(Op::BatchNorm);
        }
        net.next(Op::Relu);
    }
    net.next(Op::Linear { out: classes }).finish(input, classes)
}

/// CNN-7 of arXiv 2103.17268 (`cnn_7layer_bn2` of its code); `width` is 64 there. `last_stride` is the stride of the
/// fifth convolution: 1, and 2 for TinyImageNet.
///
/// # Errors
/// If the image is too small for the convolutions, or the network is no classifier ([`NetworkConfig::shapes`]).
pub fn cnn7(
    width: usize,
    last_stride: usize,
    batch_norm: BatchNorm,
    input: [usize; 3],
    classes: usize,
) -> Result<NetworkConfig> {
    let (w, w2) = (width, 2 * width);
    let convs = [[w, 3, 1, 1], [w, 3, 1, 1], [w2, 3, 2, 1], [w2, 3, 1, 1], [w2, 3, last_stride, 1]];
    plain(&convs, &[512], batch_norm, input, classes)
}

/// CNN-6 of the same code (`cnn_6layer_bn2`); `width` is 32 there.
///
/// # Errors
/// As [`cnn7`].
pub fn cnn6(width: usize, batch_norm: BatchNorm, input: [usize; 3], classes: usize) -> Result<NetworkConfig> {
    let (w, w2) = (width, 2 * width);
    plain(&[[w, 3, 1, 1], [w, 3, 1, 1], [w2, 3, 2, 1], [w2, 3, 1, 1]], &[256], batch_norm, input, classes)
}

/// A network of 0.2 million parameters at `width` 16 that two processor cores train in minutes: two strided
/// convolutions and one hidden linear layer.
///
/// # Errors
/// As [`cnn7`].
pub fn small(width: usize, batch_norm: BatchNorm, input: [usize; 3], classes: usize) -> Result<NetworkConfig> {
    plain(&[[width, 4, 2, 1], [2 * width, 4, 2, 1]], &[128], batch_norm, input, classes)
}

/// The small network of Gowal et al. 2018; `width` is 16 there, and there is no batch norm.
///
/// # Errors
/// As [`cnn7`].
pub fn dm_small(width: usize, batch_norm: BatchNorm, input: [usize; 3], classes: usize) -> Result<NetworkConfig> {
    plain(&[[width, 4, 2, 0], [2 * width, 4, 1, 0]], &[100], batch_norm, input, classes)
}

/// Their medium network; `width` is 32 there, and there is no batch norm.
///
/// # Errors
/// As [`cnn7`].
pub fn dm_medium(width: usize, batch_norm: BatchNorm, input: [usize; 3], classes: usize) -> Result<NetworkConfig> {
    let (w, w2) = (width, 2 * width);
    plain(&[[w, 3, 1, 0], [w, 4, 2, 0], [w2, 3, 1, 0], [w2, 4, 2, 0]], &[512, 512], batch_norm, input, classes)
}
