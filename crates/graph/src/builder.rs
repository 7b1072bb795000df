//! Writing down a network layer by layer.

use temper_base::Result;

use crate::config::{Fault, NetworkConfig, NodeConfig, Op};

/// A network in the making.
pub(crate) struct Builder {
    nodes: Vec<NodeConfig>,
    /// The value that the next layer reads.
    at: usize,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), at: 0 }
    }

    /// The value that the next layer reads: the image or the output of the last layer written.
    pub(crate) fn last_value(&self) -> usize {
        self.at
    }

    /// Lets the next layer read `value`.
    pub(crate) fn read(&mut self, value: usize) -> &mut Self {
        self.at = value;
        self
    }

    /// The value that the layer called `name` gives.
    pub(crate) fn value(&self, name: &str) -> Option<usize> {
        Some(self.nodes.iter().position(|node| node.name == name)? + 1)
    }

    /// A layer that reads the one before it and, if it is a sum, `others`.
    fn push(&mut self, name: String, op: Op, others: &[usize]) -> &mut Self {
        let inputs = [&[self.at], others].concat();
        self.nodes.push(NodeConfig { name, op, inputs });
        self.at = self.nodes.len();
        self
    }

    pub(crate) fn layer(&mut self, name: impl Into<String>, op: Op) -> &mut Self {
        self.push(name.into(), op, &[])
    }

    /// A batch norm, if `wanted`.
    pub(crate) fn norm(&mut self, wanted: bool, name: impl Into<String>) -> &mut Self {
        if wanted { self.layer(name, Op::BatchNorm) } else { self }
    }

    pub(crate) fn add(&mut self, name: impl Into<String>, other: usize) -> &mut Self {
        self.push(name.into(), Op::Add, &[other])
    }

    /// The name of a further layer of this kind: `conv1`, `conv2`, ...
    pub(crate) fn numbered(&self, op: &Op) -> String {
        let same = self.nodes.iter().filter(|node| node.op.kind() == op.kind()).count();
        format!("{}{}", op.kind(), same + 1)
    }

    /// A layer with a numbered name.
    pub(crate) fn next(&mut self, op: Op) -> &mut Self {
        let name = self.numbered(&op);
        self.layer(name, op)
    }

    /// The network, if it fits images of the shape `input`.
    pub(crate) fn checked(&mut self, input: [usize; 3], classes: usize) -> Result<NetworkConfig, Fault> {
        let config = NetworkConfig { input, classes, nodes: std::mem::take(&mut self.nodes) };
        config.check()?;
        Ok(config)
    }

    /// The same with the error that names the layer.
    pub(crate) fn finish(&mut self, input: [usize; 3], classes: usize) -> Result<NetworkConfig> {
        let config = NetworkConfig { input, classes, nodes: std::mem::take(&mut self.nodes) };
        config.shapes()?;
        Ok(config)
    }
}

/// A convolution without groups.
pub(crate) fn conv(out: usize, kernel: usize, stride: usize, padding: usize) -> Op {
    Op::Conv { out, kernel, stride, padding, groups: 1 }
}
