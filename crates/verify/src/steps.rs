//! What a search found, as steps of a proof: slopes and multipliers of leaves, slopes of intermediate bounds, trees of split ReLUs.

use std::sync::Arc;

use crate::engine::{Alpha, Beta, Bounds, Prepared, Split, Tight};
use crate::proof::{Rows, Step};

/// A domain that holds nothing, with the steps that show it.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// The signs that are known in it.
    pub splits: Arc<Vec<Split>>,
    /// Slopes, and the end.
    pub steps: Vec<Step>,
}

/// The number of a ReLU in a proof.
pub(crate) fn relu(net: &Prepared<f64>, node: usize) -> usize {
    net.relus().take_while(|relu| *relu < node).count()
}

/// Slopes with few digits. Any are valid, and they decide how long a proof is.
pub(crate) fn short(slopes: Alpha<f64>) -> Alpha<f64> {
    let values = slopes.values.iter().map(|slope| (slope * 1000.0).round() / 1000.0).collect();
    Alpha { values, ..slopes }
}

/// Multipliers with few digits.
pub(crate) fn short_multipliers(beta: Beta<f64>) -> Beta<f64> {
    let values = beta.values.iter().map(|beta| format!("{beta:.4e}").parse().unwrap_or(*beta)).collect();
    Beta { values, ..beta }
}

/// Closes a node by one row, with the slopes and multipliers of that row.
pub(crate) fn leaf(
    net: &Prepared<f64>,
    bounds: &Bounds<f64>,
    row: usize,
    alpha: &Alpha<f64>,
    beta: Option<&Beta<f64>>,
) -> Vec<Step> {
    let mut slopes = Vec::new();
    let mut row_slopes = alpha.row(row).iter();
    for layer in alpha.layers.iter() {
        let ends = bounds.ends(layer.value);
        let given = layer.neurons.iter().map(|neuron| *neuron as usize).zip(row_slopes.by_ref());
        // What the rule gives is left out, unless that is a close call.
        let needed = |(neuron, slope): &(usize, &f64)| {
            let (l, u) = (ends.lower[*neuron], ends.upper[*neuron]);
            let share = u / (u - l);
            let rule = if share > 0.500_001 { 1.0 } else { 0.0 };
            ends.is_unstable(*neuron) && (**slope != rule || (share - 0.500_001).abs() < 1e-7)
        };
        let (neurons, values): (Vec<usize>, Vec<f64>) = given.filter(needed).unzip();
        if !neurons.is_empty() {
            slopes.push((relu(net, layer.node), neurons, values));
        }
    }
    let multiplier = |(split, beta): (&Split, f64)| (relu(net, split.node), split.neuron as usize, beta);
    let beta = beta.into_iter().flat_map(|beta| beta.row(row)).filter(|(_, beta)| *beta > 0.0).map(multiplier);
    let end = Step::Leaf(vec![(row, 1.0)], beta.collect());
    if slopes.is_empty() { vec![end] } else { vec![Step::Alpha(slopes), end] }
}

/// Closes a node by one row with the slope 0 everywhere.
pub(crate) fn flat_leaf(net: &Prepared<f64>, row: usize) -> Vec<Step> {
    let flat = (0..net.relus().count()).map(|relu| (relu, Vec::new(), vec![0.0])).collect();
    vec![Step::Alpha(flat), Step::Leaf(vec![(row, 1.0)], Vec::new())]
}

/// The slopes of the bounds of what a ReLU reads.
pub(crate) fn layer_rows(net: &Prepared<f64>, tight: &Tight<f64>) -> Option<Step> {
    let of = net.relus().find(|node| net.reads(*node) == tight.value)?;
    let ends = tight.units.iter().map(|(neuron, upper)| 2 * *neuron as usize + usize::from(*upper)).collect();
    let neurons = |layer: &crate::engine::Layer| layer.neurons.iter().map(|neuron| *neuron as usize).collect();
    let layers = tight.alpha.layers.iter().map(|layer| (relu(net, layer.node), neurons(layer))).collect();
    let slopes = (0..tight.units.len()).map(|row| tight.alpha.row(row).to_vec()).collect();
    Some(Step::Rows(Rows(relu(net, of), ends, layers, slopes)))
}

/// The tree of a group whose leaves these are: their first splits, so many, are those of the node that it is in. Each domain was split at
/// one neuron, so at every depth the leaves agree on it.
pub(crate) fn tree(net: &Prepared<f64>, group: usize, leaves: Vec<Leaf>, depth: usize) -> Vec<Step> {
    let mut steps = vec![Step::Group(group)];
    let mut open = vec![(leaves, depth)];
    while let Some((leaves, depth)) = open.pop() {
        let Some(split) = leaves.first().and_then(|leaf| leaf.splits.get(depth).copied()) else {
            steps.extend(leaves.into_iter().flat_map(|leaf| leaf.steps));
            continue;
        };
        steps.push(Step::Split(relu(net, split.node), split.neuron as usize));
        let (on, off): (Vec<Leaf>, Vec<Leaf>) = leaves.into_iter().partition(|leaf| leaf.splits[depth].active);
        open.extend([(on, depth + 1), (off, depth + 1)]);
    }
    steps
}
