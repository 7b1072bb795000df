//! A network without batch norms that gives the same answers in evaluation mode.

use temper_base::Result;

use crate::config::{NetworkConfig, NodeConfig, Op};
use crate::network::{BATCH_NORM_EPS, Network, Weights};

impl Network {
    /// The same network with every batch norm merged into the convolution or linear layer that it reads, where nothing else reads
    /// that layer; a batch norm that reads something else stays. Merged weights are formed in double precision and rounded once, so
    /// the answers are the same but for rounding.
    ///
    /// # Errors
    /// None that a network made by [`Network::new`] can give.
    pub fn fold_batch_norms(&self) -> Result<Network> {
        let nodes = &self.config().nodes;
        let readers = |value: usize| nodes.iter().filter(|node| node.inputs.contains(&value)).count();
        // Of every value, the one that stands for it in the folded network.
        let mut stands_for = vec![0];
        let (mut folded, mut weights): (Vec<NodeConfig>, Vec<Weights>) = (Vec::new(), Vec::new());
        for (node, own) in nodes.iter().zip(self.weights()) {
            let inputs: Vec<usize> = node.inputs.iter().map(|input| stands_for[*input]).collect();
            let last = weights.get_mut(inputs[0].wrapping_sub(1));
            match (node.op, own, last) {
                (
                    Op::BatchNorm,
                    Weights::BatchNorm { weight, bias, running_mean, running_var },
                    Some(Weights::Affine { weight: rows, bias: shifts }),
                ) if readers(node.inputs[0]) == 1 => {
                    let size = rows.len() / shifts.len();
                    let f64s = |array: &[f32], c: usize| f64::from(array[c]);
                    for (c, (row, shift)) in rows.chunks_mut(size).zip(shifts).enumerate() {
                        let scale = f64s(weight, c) / (f64s(running_var, c) + BATCH_NORM_EPS).sqrt();
                        row.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
                        *shift = ((f64::from(*shift) - f64s(running_mean, c)) * scale + f64s(bias, c)) as f32;
                    }
                    stands_for.push(inputs[0]);
                }
                _ => {
                    folded.push(NodeConfig { name: node.name.clone(), op: node.op, inputs });
                    weights.push(own.clone());
                    stands_for.push(folded.len());
                }
            }
        }
        let config = NetworkConfig { nodes: folded, ..self.config().clone() };
        Network::new(config, self.mean().to_vec(), self.std().to_vec(), weights)
    }
}
