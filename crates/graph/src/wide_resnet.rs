//! Wide-ResNet-8 of arXiv 2103.17268 (after Zagoruyko and Komodakis 2016): one block a stage, no pooling, a hidden
//! linear layer. Layers have the names of the paper's code (`wide_resnet_8`), so its state dicts fit.

use temper_base::Result;

use crate::builder::{Builder, conv};
use crate::config::{NetworkConfig, Op};
use crate::names::BatchNorm;

/// `widen` is 8 in the paper, and 10 for TinyImageNet.
///
/// # Errors
/// If `widen` is of no use, or the network does not fit the image ([`NetworkConfig::shapes`]).
pub fn wide_resnet_8(widen: usize, batch_norm: BatchNorm, input: [usize; 3], classes: usize) -> Result<NetworkConfig> {
    let norm = batch_norm != BatchNorm::None;
    let mut net = Builder::new();
    net.layer("conv1", conv(16, 3, 1, 1)).norm(norm, "bn1").layer("relu1", Op::Relu);
    let mut width = 16;
    for (stage, stride) in [(1, 1), (2, 2), (3, 2)] {
        let out = (16 << (stage - 1)) * widen;
        let name = |layer: &str| format!("layer{stage}.0.{layer}");
        let block = net.last_value();
        let mut shortcut = block;
        if (stride, width) != (1, out) {
            net.layer(name("downsample.0"), conv(out, 1, stride, 0)).norm(norm, name("downsample.1"));
            shortcut = net.last_value();
        }
        net.read(block).layer(name("conv1"), conv(out, 3, stride, 1)).norm(norm, name("bn1"));
        net.layer(name("relu1"), Op::Relu).layer(name("conv2"), conv(out, 3, 1, 1)).norm(norm, name("bn2"));
        net.add(name("add"), shortcut).layer(name("relu2"), Op::Relu);
        width = out;
    }
    net.layer("flatten", Op::Flatten).layer("dense", Op::Linear { out: 512 });
    net.norm(batch_norm == BatchNorm::Full, "dense_bn").layer("dense_relu", Op::Relu);
    net.layer("fc", Op::Linear { out: classes }).finish(input, classes)
}
