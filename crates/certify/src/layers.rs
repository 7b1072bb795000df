//! What the intervals do, layer by layer.

use burn::tensor::Device;
use temper_bounds::boxes::boxes;
use temper_bounds::ibp::{LayerState, difference_gains, layer_states};
use temper_data::images::Images;
use temper_graph::Op;
use temper_model::Classifier;
use temper_model::image::Statistics;

/// What is known of one layer.
#[derive(Debug, Clone)]
pub struct Row {
    /// The layer with weights.
    pub layer: String,
    /// Mean width of its output before its batch norm, over the mean width of the pre-activation that it reads.
    pub gain: f64,
    /// The same after its batch norm, where it has one.
    pub gain_after: f64,
    /// The intervals before its ReLU.
    pub state: LayerState,
}

/// Looks at the first `count` images.
pub fn look_at_layers(
    net: &Classifier,
    images: &Images,
    count: usize,
    eps: f64,
    statistics: Statistics,
    device: &Device,
) -> Vec<Row> {
    let indices: Vec<u32> = (0..images.len().min(count) as u32).collect();
    let (pixels, labels) = images.batch(&indices, None);
    let [c, h, w] = net.config.input;
    let x = boxes(&pixels, [labels.len(), c, h, w], eps, &net.mean, &net.std, device);
    let trace = net.trace_plain(x, statistics);
    let states = layer_states(net, &trace);
    let nodes = &net.config.nodes;
    let width = |value: usize| f64::from(trace.values[value].clone().narrow(0, 2, 1).mean().into_scalar::<f32>());
    let gains = difference_gains(net, &trace);
    let rows = gains.into_iter().map(|(layer, gain)| {
        let node = nodes.iter().position(|node| node.name == layer).expect("the layer of a gain");
        // Forward to the batch norm and the ReLU behind the layer, if they follow it directly.
        let reader = |value: usize, op: Op| nodes.iter().position(|node| node.op == op && node.inputs == [value]);
        let norm = reader(node + 1, Op::BatchNorm);
        let last = norm.map_or(node + 1, |norm| norm + 1);
        let state = reader(last, Op::Relu).map(|relu| nodes[relu].name.as_str());
        let state = states.iter().find(|found| Some(found.name.as_str()) == state).cloned();
        let gain_after = gain * width(last) / width(node + 1);
        let nothing = LayerState {
            name: String::new(),
            units: 0.0,
            active: 0.0,
            unstable: 0.0,
            inactive: 0.0,
            width: 2.0 * width(last),
        };
        Row { layer, gain, gain_after, state: state.unwrap_or(nothing) }
    });
    rows.collect()
}
