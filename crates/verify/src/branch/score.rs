//! Which neuron to split: scores from one backward pass, cheap enough for every neuron (BaBSR, Bunel et al. 2020; the two lists of
//! kFSB, De Palma et al. 2021).

use temper_graph::{Computation, Operation};

/// A neuron of a ReLU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Neuron {
    /// The node of the ReLU.
    pub node: usize,
    /// Its place there.
    pub at: usize,
}

/// Scores of a neuron; larger is better for both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// BaBSR: the change of the bound if the neuron were fixed on its worse side.
    pub change: f32,
    /// What the intercept of the upper line costs the bound.
    pub intercept: f32,
}

/// The score of an unstable neuron with pre-activation ends `lower < 0 < upper`; `bias` is the constant of the affine node before it, and
/// `lambda` the coefficients of its output in the rows that are pushed back.
pub fn score(lower: f32, upper: f32, bias: f32, lambda: impl Iterator<Item = f32>) -> Score {
    let slope = upper / (upper - lower);
    let offset = -lower * slope;
    let (mut change, mut intercept, mut rows) = (0.0, 0.0, 0.0f32);
    for a in lambda {
        let cost = a.min(0.0) * offset;
        change += ((bias * a * (slope - 1.0)).min(bias * a * slope) + cost).abs();
        intercept -= cost;
        rows += 1.0;
    }
    let rows = rows.max(1.0);
    Score { change: change / rows, intercept: intercept / rows }
}

/// Of every value, the constant that its last affine node adds; of what no affine node gives, zeros.
pub fn biases(computation: &Computation) -> Vec<Vec<f32>> {
    let mut biases: Vec<Vec<f32>> = vec![vec![0.0; computation.inputs()]];
    for (i, node) in computation.nodes().iter().enumerate() {
        let size = computation.len(i + 1);
        let narrow = |numbers: &[f64]| numbers.iter().map(|b| *b as f32).collect::<Vec<f32>>();
        let before = &biases[node.inputs[0]];
        biases.push(match &node.operation {
            Operation::Dense(affine) | Operation::Scale(affine) => narrow(&affine.bias),
            Operation::Conv { affine, .. } => {
                let plane = size / affine.bias.len();
                affine.bias.iter().flat_map(|b| std::iter::repeat_n(*b as f32, plane)).collect()
            }
            Operation::Relu | Operation::Curve(_) | Operation::MaxPool(_) => vec![0.0; size],
            Operation::Add => (0..size).map(|j| node.inputs.iter().map(|input| biases[*input][j]).sum()).collect(),
            Operation::Gather { from, fill } => from
                .iter()
                .enumerate()
                .map(|(j, at)| at.map_or_else(|| fill.get(j).copied().unwrap_or(0.0) as f32, |at| before[at as usize]))
                .collect(),
        });
    }
    biases
}

/// The best `k` neurons by one score and the best `k` by the other, each once; those without a score worth the name are left out.
pub fn candidates(scores: &[(Neuron, Score)], k: usize) -> Vec<Neuron> {
    let best = |value: &dyn Fn(&Score) -> f32| {
        let mut of: Vec<(f32, Neuron)> = scores.iter().map(|(neuron, score)| (value(score), *neuron)).collect();
        of.retain(|(value, _)| *value > 1e-4);
        let larger = |a: &(f32, Neuron), b: &(f32, Neuron)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if of.len() > k {
            of.select_nth_unstable_by(k, larger);
            of.truncate(k);
        }
        of.sort_by(larger);
        of.into_iter().map(|(_, neuron)| neuron).collect::<Vec<Neuron>>()
    };
    let mut chosen = best(&|score| score.change);
    for neuron in best(&|score| score.intercept) {
        if !chosen.contains(&neuron) {
            chosen.push(neuron);
        }
    }
    chosen
}

/// What a split is worth, by the bounds of its halves: first that the better half comes near to be closed, then the worse one. A half that
/// is closed leaves one domain for the domain that was split; two that are a little tighter are twice the work.
pub fn worth([one, other]: [f64; 2]) -> f64 {
    one.max(other).min(0.0) + 0.1 * one.min(other)
}
