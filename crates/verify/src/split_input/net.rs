//! A small computation laid out for bounds of many boxes: rows padded to whole vectors, weights in both orders, the rounding that each
//! node is charged for.

use temper_graph::{Computation, Node, Operation};

use crate::cascade::Arithmetic;

/// Numbers of a vector; rows are padded to multiples of it.
pub(super) const LANES: usize = 8;
/// Neurons of all values together at most.
const NEURONS: usize = 4096;
/// Weights of a layer at most, a convolution written out.
const WEIGHTS: usize = 1 << 22;
/// Half a unit in the last place of double and of single precision.
pub(super) const DOUBLE: f64 = f64::EPSILON / 2.0;
const SINGLE: f64 = f32::EPSILON as f64 / 2.0;

/// `n u / (1 - n u)`: the relative error of a sum of `n` products in any order, of the sum of their magnitudes.
pub(super) fn gamma(n: usize, unit: f64) -> f64 {
    let n = n as f64 * unit;
    if n < 0.5 { n / (1.0 - n) } else { f64::INFINITY }
}

/// The length of a padded row.
pub(super) fn padded(size: usize) -> usize {
    size.next_multiple_of(LANES)
}

/// Numbers in padded form.
pub(super) fn pad(numbers: &[f64]) -> Vec<f64> {
    let mut row = numbers.to_vec();
    row.resize(padded(row.len()), 0.0);
    row
}

/// What a node computes.
#[derive(Debug)]
pub(super) enum Step {
    /// `W x + c`.
    Dense {
        /// A row an output.
        weight: Vec<f64>,
        /// A row an input.
        transposed: Vec<f64>,
        bias: Vec<f64>,
        magnitude: Vec<f64>,
    },
    /// `w x + c`, element by element.
    Scale {
        weight: Vec<f64>,
        bias: Vec<f64>,
        magnitude: Vec<f64>,
    },
    Relu,
    Add,
    Gather {
        from: Vec<Option<u32>>,
        fill: Vec<f64>,
    },
}

#[derive(Debug)]
pub(super) struct Layer {
    pub step: Step,
    pub inputs: Vec<usize>,
    /// The rounding of an output, of `|W||x| + |c|`: of the bounds, of merging, of an execution in single precision where that counts.
    pub factor: f64,
    /// The rounding of a coefficient of this value, of its magnitude: of relaxations and of sums over its readers.
    pub carried: f64,
    /// The ReLU that alone reads this value.
    pub bent: Option<usize>,
    /// Whether intervals through it are exact up to rounding: nothing but one dense layer and scales lies before it.
    pub exact: bool,
}

/// The computation.
#[derive(Debug)]
pub(super) struct Compact {
    pub layers: Vec<Layer>,
    /// How many numbers each value has.
    pub sizes: Vec<usize>,
    /// Whether rounding is charged at all.
    pub sound: bool,
    /// The rounding of the input's coefficients.
    pub carried: f64,
}

impl Compact {
    /// `None` if the computation has operations or sizes that this is not for.
    pub fn new(computation: &Computation, arithmetic: Arithmetic) -> Option<Self> {
        let nodes = computation.nodes();
        let sizes: Vec<usize> = (0..=nodes.len()).map(|value| computation.len(value)).collect();
        if nodes.is_empty() || sizes.iter().sum::<usize>() > NEURONS || sizes.contains(&0) {
            return None;
        }
        let readers =
            |value: usize| nodes.iter().flat_map(|node| &node.inputs).filter(|input| **input == value).count();
        let sound = arithmetic != Arithmetic::Real;
        let deployed = |fan: usize| match arithmetic {
            Arithmetic::Float32 => gamma(fan + 9, SINGLE) * (1.0 + 1e-6),
            Arithmetic::Real | Arithmetic::Sound => 0.0,
        };
        let charged = |charge: f64| if sound { charge } else { 0.0 };
        let carry = |value: usize| charged(4.0 * (readers(value) + 2) as f64 * DOUBLE);
        let mut layers: Vec<Layer> = Vec::new();
        for (i, node) in nodes.iter().enumerate() {
            let from = sizes[node.inputs[0]];
            let before = |value: usize| if value == 0 { (true, false) } else { depth(&layers, value) };
            let (exact, dense) = before(node.inputs[0]);
            let (step, fan, merged, exact) = match &node.operation {
                Operation::Dense(affine) => (
                    dense_of(&affine.weight, &affine.bias, |o| affine.bias_magnitude(o), from),
                    from,
                    affine.merged,
                    exact && !dense,
                ),
                Operation::Conv { window, groups, affine } => {
                    let (to, [kh, kw]) = (sizes[i + 1], window.kernel);
                    if from * to > WEIGHTS {
                        return None;
                    }
                    let mut weight = vec![0.0; from * to];
                    let outputs = affine.bias.len();
                    let plane = to / outputs;
                    crate::attack::taps(window, *groups, outputs, |w, at, seen| {
                        weight[at * from + seen] = affine.weight[w];
                    });
                    let bias: Vec<f64> = (0..to).map(|o| affine.bias[o / plane]).collect();
                    let fan = window.input[0] / groups * kh * kw;
                    let step = dense_of(&weight, &bias, |o| affine.bias_magnitude(o / plane), from);
                    (step, fan, affine.merged, exact && !dense)
                }
                Operation::Scale(affine) => {
                    let magnitude: Vec<f64> = (0..from).map(|i| affine.bias_magnitude(i)).collect();
                    let (weight, bias) = (pad(&affine.weight), pad(&affine.bias));
                    (Step::Scale { weight, bias, magnitude: pad(&magnitude) }, 1, affine.merged, exact && !dense)
                }
                Operation::Relu => (Step::Relu, 0, 0, false),
                Operation::Add => (Step::Add, node.inputs.len(), 0, false),
                Operation::Gather { from, fill } => {
                    let fill = if fill.is_empty() { vec![0.0; from.len()] } else { fill.clone() };
                    (Step::Gather { from: from.clone(), fill }, 0, 0, exact)
                }
                Operation::MaxPool(_) | Operation::Curve(_) => return None,
            };
            // Twice what one direction of sums needs: it covers what the charges themselves are rounded by.
            let longest = from.max(sizes[i + 1]) + 20 + node.inputs.len();
            let affine = |charge: f64| if matches!(step, Step::Relu | Step::Gather { .. }) { 0.0 } else { charge };
            let merged = f64::from(merged) * f64::EPSILON;
            let factor = affine(charged(2.0 * gamma(longest, DOUBLE) + 2.0 * merged) + deployed(fan));
            // A gather may read one number many times.
            let repeated = if matches!(step, Step::Gather { .. }) { 2.0 * gamma(longest, DOUBLE) } else { 0.0 };
            let carried = carry(i + 1) + charged(repeated);
            let relu = |node: &Node| matches!(node.operation, Operation::Relu) && node.inputs[0] == i + 1;
            let bent = nodes.iter().position(relu).filter(|_| readers(i + 1) == 1).map(|node| node + 1);
            layers.push(Layer { step, inputs: node.inputs.clone(), factor, carried, bent, exact });
        }
        Some(Self { layers, carried: carry(0), sizes, sound })
    }
}

/// Whether intervals are exact up to this value, and whether a dense layer lies before it.
fn depth(layers: &[Layer], value: usize) -> (bool, bool) {
    let (mut at, mut dense) = (value, false);
    while at > 0 {
        dense |= matches!(layers[at - 1].step, Step::Dense { .. });
        at = layers[at - 1].inputs[0];
    }
    (layers[value - 1].exact, dense)
}

fn dense_of(weight: &[f64], bias: &[f64], magnitude: impl Fn(usize) -> f64, from: usize) -> Step {
    let to = bias.len();
    let rows: Vec<f64> = weight.chunks(from).flat_map(pad).collect();
    let columns: Vec<f64> =
        (0..from).flat_map(|i| pad(&(0..to).map(|o| weight[o * from + i]).collect::<Vec<f64>>())).collect();
    let magnitude: Vec<f64> = (0..to).map(magnitude).collect();
    Step::Dense { weight: rows, transposed: columns, bias: pad(bias), magnitude: pad(&magnitude) }
}
