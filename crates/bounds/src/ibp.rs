//! Interval bound propagation (Gowal et al. 2018), and what its intervals say about the layers.
//!
//! The propagation itself is [`Classifier::trace`] on a stack with S = 3: one pass for the clean images and the
//! intervals, batch norms on clean statistics.

use burn::tensor::Tensor;
use temper_graph::Op;
use temper_model::Classifier;
use temper_model::image::Trace;
use temper_ops::stack;

use crate::crown::{LowerSlope, margins_with};
use crate::floats;

/// Which lower bound of the margins is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bound {
    /// Interval bound propagation.
    #[default]
    Ibp,
    /// The largest, margin by margin, of interval bound propagation and CROWN-IBP with both lower slopes. On networks
    /// trained with intervals the adaptive slope alone is often looser than the intervals (53 % against 10 % certified
    /// error on MNIST), slope 0 much tighter.
    Best,
}

impl Bound {
    /// Lower bounds of the margins `z_y - z_j`, 0 for j = y, `[N, K]`; the trace has S = 3.
    pub fn margins(self, net: &Classifier, trace: &Trace, labels: &[u32]) -> Tensor<2> {
        let ibp = net.margins(trace, labels);
        match self {
            Bound::Ibp => ibp,
            Bound::Best => {
                let adaptive = margins_with(net, trace, labels, LowerSlope::Adaptive);
                ibp.max_pair(adaptive).max_pair(margins_with(net, trace, labels, LowerSlope::Zero))
            }
        }
    }
}

/// The intervals before one ReLU, over a batch or several.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LayerState {
    /// Name of the ReLU.
    pub name: String,
    /// How many intervals there are: images times units.
    pub units: f64,
    /// How many have `l > 0`.
    pub active: f64,
    /// How many have `l <= 0 <= u`.
    pub unstable: f64,
    /// How many have `u < 0`.
    pub inactive: f64,
    /// Mean of `u - l`.
    pub width: f64,
}

impl LayerState {
    /// Counts the intervals of other images in.
    pub fn add(&mut self, other: &Self) {
        let units = self.units + other.units;
        self.width = (self.width * self.units + other.width * other.units) / units;
        self.units = units;
        self.active += other.active;
        self.unstable += other.unstable;
        self.inactive += other.inactive;
    }

    /// Active, unstable and inactive as shares of all.
    pub fn shares(&self) -> [f64; 3] {
        [self.active, self.unstable, self.inactive].map(|count| count / self.units)
    }
}

/// The state of every ReLU, in the order of the network; the trace has S = 3.
pub fn layer_states(net: &Classifier, trace: &Trace) -> Vec<LayerState> {
    let state = |(name, value): (String, usize)| {
        let value = &trace.values[value];
        let units: f64 = value.dims()[1..].iter().map(|n| *n as f64).product();
        let moments: Vec<f64> = floats(stack::interval_moments(value.clone())).into_iter().map(f64::from).collect();
        let (active, inactive) = (moments[5], moments[6]);
        LayerState { name, units, active, unstable: units - active - inactive, inactive, width: 2.0 * moments[0] }
    };
    net.config.relus().into_iter().map(state).collect()
}

/// The difference gain of every convolution and linear layer but the last (arXiv 2103.17268, section 4.1): the mean
/// width of its output, before its batch norm, over the mean width of the pre-activation that it reads through a ReLU
/// (of the image or of another layer's output, where there is none between). The trace has S = 3.
pub fn difference_gains(net: &Classifier, trace: &Trace) -> Vec<(String, f64)> {
    let nodes = &net.config.nodes;
    let width = |value: usize| {
        let radius = trace.values[value].clone().narrow(0, 2, 1);
        f64::from(floats(radius.mean())[0])
    };
    // Back through what changes neither sign nor scale, to the value before the ReLU.
    let before = |mut value: usize| {
        while let Some(node) = value.checked_sub(1).map(|i| &nodes[i]) {
            match node.op {
                Op::Relu => return node.inputs[0],
                Op::Flatten | Op::AvgPool { .. } => value = node.inputs[0],
                _ => break,
            }
        }
        value
    };
    let hidden = nodes[..nodes.len() - 1].iter().enumerate();
    let affine = hidden.filter(|(_, node)| matches!(node.op, Op::Conv { .. } | Op::Linear { .. }));
    affine.map(|(i, node)| (node.name.clone(), width(i + 1) / width(before(node.inputs[0])))).collect()
}
