//! ResNeXt of arXiv 2103.17268 (after Xie et al. 2017): bottleneck blocks with grouped convolutions, no pooling, a
//! hidden linear layer. Layers have the names of the paper's code (`ResNeXt_2_32`), so its state dicts fit.

use temper_base::Result;

use crate::builder::{Builder, conv};
use crate::config::{NetworkConfig, Op};
use crate::names::BatchNorm;

/// What the paper's networks differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResNext {
    /// Output channels of the first convolution.
    pub stem: usize,
    /// Blocks a stage.
    pub blocks: usize,
    /// Groups of the 3 x 3 convolutions.
    pub cardinality: usize,
    /// Channels a group in the first stage; every further stage has twice as many.
    pub bottleneck: usize,
}

/// The network for MNIST and CIFAR-10.
pub const PAPER: ResNext = ResNext { stem: 64, blocks: 1, cardinality: 2, bottleneck: 32 };
/// The network for TinyImageNet.
pub const TINY: ResNext = ResNext { stem: 16, blocks: 2, cardinality: 2, bottleneck: 8 };

/// Three stages of strides 1, 2, 2; a block gives twice the channels of its grouped convolution.
///
/// # Errors
/// If a number of the shape is of no use, or the network does not fit the image ([`NetworkConfig::shapes`]).
pub fn resnext(shape: ResNext, batch_norm: BatchNorm, input: [usize; 3], classes: usize) -> Result<NetworkConfig> {
    let norm = batch_norm != BatchNorm::None;
    let mut net = Builder::new();
    net.layer("conv1", conv(shape.stem, 3, 1, 1)).norm(norm, "bn1").layer("relu1", Op::Relu);
    let mut width = shape.stem;
    for stage in 1..=3 {
        let inner = (shape.cardinality * shape.bottleneck) << (stage - 1);
        for i in 0..shape.blocks {
            let name = |layer: &str| format!("layer{stage}.{i}.{layer}");
            let stride = if stage > 1 && i == 0 { 2 } else { 1 };
            let grouped = Op::Conv { out: inner, kernel: 3, stride, padding: 1, groups: shape.cardinality };
            let block = net.last_value();
            let mut shortcut = block;
            if (stride, width) != (1, 2 * inner) {
                net.layer(name("shortcut.0"), conv(2 * inner, 1, stride, 0)).norm(norm, name("shortcut.1"));
                shortcut = net.last_value();
            }
            net.read(block).layer(name("conv1"), conv(inner, 1, 1, 0)).norm(norm, name("bn1"));
            net.layer(name("relu1"), Op::Relu).layer(name("conv2"), grouped).norm(norm, name("bn2"));
            net.layer(name("relu2"), Op::Relu).layer(name("conv3"), conv(2 * inner, 1, 1, 0)).norm(norm, name("bn3"));
            net.add(name("add"), shortcut).layer(name("relu3"), Op::Relu);
            width = 2 * inner;
        }
    }
    net.layer("flatten", Op::Flatten).layer("linear1", Op::Linear { out: 512 });
    net.norm(batch_norm == BatchNorm::Full, "bn_dense").layer("relu_dense", Op::Relu);
    net.layer("linear2", Op::Linear { out: classes }).finish(input, classes)
}
