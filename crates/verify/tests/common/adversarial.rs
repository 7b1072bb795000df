//! Networks built to fool a verifier that forgets rounding.

use temper_graph::{Affine, Computation, InputBox, LinearConstraint, Node, Operation, Property};

/// A network, a property, and whether it holds.
pub struct Adversarial {
    /// What it is.
    pub name: String,
    /// The network.
    pub computation: Computation,
    /// The property.
    pub property: Property,
    /// Whether it holds of the network over the reals.
    pub real: bool,
    /// Whether it holds of every execution in single precision.
    pub float32: bool,
}

/// A chain of dense layers `(weight, bias)` with ReLUs between them.
pub fn chain(inputs: usize, layers: &[(Vec<f64>, Vec<f64>)]) -> Computation {
    let mut nodes: Vec<Node> = Vec::new();
    for (i, (weight, bias)) in layers.iter().enumerate() {
        let mut add = |name: String, operation: Operation| {
            let inputs = vec![nodes.len()];
            nodes.push(Node { name, operation, inputs, shape: vec![bias.len()] });
        };
        add(format!("dense {i}"), Operation::Dense(Affine::exact(weight.clone(), bias.clone())));
        if i + 1 < layers.len() {
            add(format!("relu {i}"), Operation::Relu);
        }
    }
    Computation::new(vec![inputs], nodes).unwrap()
}

/// Output 0 is above `bound` in the box.
pub fn above(lower: Vec<f64>, upper: Vec<f64>, bound: f64) -> Property {
    Property::new(InputBox::exact(lower, upper), vec![vec![LinearConstraint::at_most(vec![(0, 1.0)], bound)]], 1)
        .unwrap()
}

/// All of them.
pub fn all() -> Vec<Adversarial> {
    let single = |x: f64| f64::from(x as f32);
    let mut all = Vec::new();
    for bits in [24, 53] {
        let big = f64::from(bits).exp2();
        // relu(x + big) - big is x, or 0 where big swallows it: 0.75 - x is below 0 in the box, and 0.75 in floating point.
        all.push(Adversarial {
            name: format!("a weight of 2^{bits} that cancels"),
            computation: chain(1, &[(vec![1.0, 0.0], vec![big, big]), (vec![-1.0, 1.0], vec![0.75])]),
            property: above(vec![0.0], vec![1.0], 0.0),
            real: false,
            float32: true,
        });
        // The same sum of an input of 1 times a weight: nothing is a bias.
        all.push(Adversarial {
            name: format!("products of 2^{bits} that cancel"),
            computation: chain(2, &[(vec![1.0, big, 0.0, big], vec![0.0, 0.0]), (vec![-1.0, 1.0], vec![0.75])]),
            property: above(vec![0.0, 1.0], vec![1.0, 1.0], 0.0),
            real: false,
            float32: true,
        });
        // In the manner of Zombori et al. (ICLR 2021): a good classifier, and a trigger in the last input that only shows without rounding.
        let open = vec![0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 1.0];
        all.push(Adversarial {
            name: format!("a back door behind 2^{bits}"),
            computation: chain(
                4,
                &[
                    (open, vec![0.0, -0.875]),
                    (vec![1.0, 0.0, 0.0, 1.0, 0.0, 0.0], vec![0.0, big, big]),
                    (vec![1.0, -100.0, 100.0, -1.0, 0.0, 0.0], vec![0.0, 1.0]),
                ],
            ),
            property: Property::robust(InputBox::exact(vec![0.75, 0.75, 0.75, 0.0], vec![1.0; 4]), 0, 2).unwrap(),
            real: false,
            float32: true,
        });
    }
    // The error of a sum grows with its length, whatever the result.
    let n = 32_768;
    let ones: Vec<f64> = (0..n).map(|i| single(1.0 + (i % 97) as f64 / 97.0)).collect();
    let exact: f64 = ones.iter().sum::<f64>() * 0.75;
    for (below, float32) in [(1e-5, false), (4e-3, true)] {
        all.push(Adversarial {
            name: format!("a sum of {n} products within {below}"),
            computation: chain(n, &[(ones.clone(), vec![0.0])]),
            property: above(vec![0.75; n], vec![0.75; n], exact * (1.0 - below)),
            real: true,
            float32,
        });
    }
    // Deployment rounds both logits: their difference is right only over the reals.
    for (margin, float32) in [(1e-4, false), (1.0, true)] {
        all.push(Adversarial {
            name: format!("logits 10000 x apart by {margin}"),
            computation: chain(1, &[(vec![1e4, 1e4], vec![single(margin), 0.0])]),
            property: Property::robust(InputBox::exact(vec![0.5], vec![1.0]), 0, 2).unwrap(),
            real: true,
            float32,
        });
    }
    all
}
