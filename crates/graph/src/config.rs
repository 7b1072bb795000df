//! What a network is: a list of typed layers, each reading the output of earlier ones. Stored in a checkpoint as
//! `network.json`.

use serde::{Deserialize, Serialize};
use temper_base::{Problem, Result};

/// A classifier of images. Every function of this crate that makes one has checked it (see [`NetworkConfig::shapes`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// Channels, height and width of an image.
    pub input: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// The layers; each reads layers before it, and the last is the linear layer that gives the logits.
    pub nodes: Vec<NodeConfig>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Name; its tensors are called `name.weight`, `name.bias`, `name.running_mean` and `name.running_var`.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// What it reads: 0 is the image, i + 1 the output of `nodes[i]`. May be left out in JSON where it is the layer
    /// before.
    #[serde(default)]
    pub inputs: Vec<usize>,
}

/// What a layer does.
///
/// The set grows with what Temper can read and verify. A pass that computes shapes, answers or bounds names every operation and has no
/// arm for the rest, here and in the crates above. So the compiler lists the passes that a new operation is missing in, and none of them
/// takes it for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Convolution with a square kernel, zero padding and a bias.
    Conv {
        /// Output channels.
        out: usize,
        /// Height and width of the kernel.
        kernel: usize,
        /// Step between outputs.
        #[serde(default = "one")]
        stride: usize,
        /// Zeros around the input, on every side.
        #[serde(default)]
        padding: usize,
        /// Groups of channels that do not see each other.
        #[serde(default = "one")]
        groups: usize,
    },
    /// Linear layer with a bias, on flat input.
    Linear {
        /// Output features.
        out: usize,
    },
    /// Batch normalisation of every channel (of every feature, where the input is flat).
    BatchNorm,
    /// Rectified linear unit.
    Relu,
    /// The sum of two inputs of one shape: where a residual connection ends.
    Add,
    /// Channels, rows and columns as one row of features.
    Flatten,
    /// The mean over squares, without padding; rows and columns that no whole square reaches are left out.
    AvgPool {
        /// Height and width of a square.
        kernel: usize,
        /// Step between squares.
        stride: usize,
    },
}

fn one() -> usize {
    1
}

/// Why a network cannot be, and what to do about it.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The layer, unless it is the whole network.
    pub node: Option<usize>,
    pub why: String,
    pub hint: String,
}

/// Largest channels, features, sizes and kernels of a layer; larger ones are a slip of the pen.
pub(crate) const LARGEST: usize = 1 << 20;
/// Most parameters of a network.
const MOST: u128 = 1 << 36;

impl Op {
    /// The word that a list of layers uses for it; names of layers are made of it.
    pub fn kind(&self) -> &'static str {
        match self {
            Op::Conv { .. } => "conv",
            Op::Linear { .. } => "linear",
            Op::BatchNorm => "bn",
            Op::Relu => "relu",
            Op::Add => "add",
            Op::Flatten => "flatten",
            Op::AvgPool { .. } => "pool",
        }
    }

    /// The shape of its output for inputs of the given shapes, or why it does not fit them and a remedy.
    fn output(&self, inputs: &[[usize; 3]]) -> Result<[usize; 3], (String, &'static str)> {
        let [c, h, w] = inputs[0];
        let read = shape(inputs[0]);
        let fail = |why: String, hint| Err((why, hint));
        match *self {
            Op::Conv { out, kernel, stride, padding, groups } => {
                if let Some((name, value)) =
                    [("out", out), ("kernel", kernel), ("stride", stride), ("groups", groups)].iter().find(|n| n.1 == 0)
                {
                    return fail(format!("{name} is {value}"), "it is at least 1");
                }
                if !c.is_multiple_of(groups) || !out.is_multiple_of(groups) {
                    let why = format!("reads {read} and gives {out} channels, which {groups} groups do not divide");
                    return fail(why, "groups divides the channels of the input and of the output");
                }
                let size = |size: usize| Some((size + 2 * padding).checked_sub(kernel)? / stride + 1);
                match (size(h), size(w)) {
                    (Some(h), Some(w)) => Ok([out, h, w]),
                    _ => fail(
                        format!(
                            "reads {read}, where a kernel of {kernel} x {kernel} with padding {padding} does not fit"
                        ),
                        "the image is too small for the network: fewer strides, a smaller kernel or more padding",
                    ),
                }
            }
            Op::Linear { out: 0 } => fail("out is 0".into(), "it is at least 1"),
            Op::Linear { .. } if (h, w) != (1, 1) => {
                fail(format!("reads {read}, a linear layer needs flat input"), "put a flatten before it")
            }
            Op::Linear { out } => Ok([out, 1, 1]),
            Op::BatchNorm | Op::Relu => Ok(inputs[0]),
            Op::Add if inputs[0] != inputs[1] => fail(
                format!("reads {read} and {}, a sum needs equal shapes", shape(inputs[1])),
                "a convolution of kernel 1 on the shortcut changes its channels and stride",
            ),
            Op::Add => Ok(inputs[0]),
            Op::Flatten => Ok([c * h * w, 1, 1]),
            Op::AvgPool { kernel, stride } => {
                if kernel == 0 || stride == 0 {
                    return fail("kernel or stride is 0".into(), "they are at least 1");
                }
                let size = |size: usize| Some(size.checked_sub(kernel)? / stride + 1);
                match (size(h), size(w)) {
                    (Some(h), Some(w)) => Ok([c, h, w]),
                    _ => fail(
                        format!("reads {read}, where a square of {kernel} x {kernel} does not fit"),
                        "choose a smaller kernel",
                    ),
                }
            }
        }
    }

    /// The numbers a user may choose, for the check of their size.
    fn sizes(&self) -> Vec<usize> {
        match *self {
            Op::Conv { out, kernel, stride, padding, groups } => vec![out, kernel, stride, padding, groups],
            Op::Linear { out } => vec![out],
            Op::AvgPool { kernel, stride } => vec![kernel, stride],
            Op::BatchNorm | Op::Relu | Op::Add | Op::Flatten => vec![],
        }
    }

    /// How many values it reads.
    fn arity(&self) -> usize {
        match self {
            Op::Add => 2,
            Op::Conv { .. } | Op::Linear { .. } | Op::BatchNorm | Op::Relu | Op::Flatten | Op::AvgPool { .. } => 1,
        }
    }

    /// The shape of the weight of a layer of this kind that reads channels `channels`; empty if it has none.
    pub fn weight_shape(&self, channels: usize) -> Vec<usize> {
        match *self {
            Op::Conv { out, kernel, groups, .. } => vec![out, channels / groups, kernel, kernel],
            Op::Linear { out } => vec![out, channels],
            Op::BatchNorm => vec![channels],
            Op::Relu | Op::Add | Op::Flatten | Op::AvgPool { .. } => vec![],
        }
    }
}

/// `channels x height x width`, or `features` where it is flat.
fn shape([c, h, w]: [usize; 3]) -> String {
    if (h, w) == (1, 1) { format!("{c} features") } else { format!("{c} x {h} x {w}") }
}

impl NetworkConfig {
    /// Checks the network and gives the shape `[C, H, W]` of every value: 0 is the image, i + 1 the output of
    /// `nodes[i]`; flat outputs are `[F, 1, 1]`. The error names the layer, what it reads and what it needs.
    ///
    /// # Errors
    /// If an image or the number of classes is of no use, a layer does not fit what it reads, a name is taken or no name, a layer or the
    /// image is read by nothing, the last layer does not give one logit a class, or the network is too large.
    pub fn shapes(&self) -> Result<Vec<[usize; 3]>> {
        self.check().map_err(|Fault { node, why, hint }| {
            let place = node.map_or("network".into(), |i| format!("layer {}", self.nodes[i].name));
            Problem::input("build network", place, why).hint(hint)
        })
    }

    /// The same with the number of the layer that is wrong.
    pub(crate) fn check(&self) -> Result<Vec<[usize; 3]>, Fault> {
        let whole = |why: String, hint: &str| Err(Fault { node: None, why, hint: hint.into() });
        if self.input.iter().any(|size| *size == 0 || *size > LARGEST) {
            let [c, h, w] = self.input;
            return whole(format!("the image is {c} x {h} x {w}"), "channels, height and width are at least 1");
        }
        if self.classes < 2 {
            let why = format!("the number of classes is {}", self.classes);
            return whole(why, "a classifier tells at least 2 classes apart");
        }
        let mut shapes = vec![self.input];
        let mut used = vec![false; self.nodes.len() + 1];
        let mut parameters = 0u128;
        for (i, node) in self.nodes.iter().enumerate() {
            let fault = |why: String, hint: &str| Fault { node: Some(i), why, hint: hint.into() };
            self.check_place(i).map_err(|(why, hint)| fault(why, hint))?;
            node.inputs.iter().for_each(|input| used[*input] = true);
            let inputs: Vec<[usize; 3]> = node.inputs.iter().map(|input| shapes[*input]).collect();
            shapes.push(node.op.output(&inputs).map_err(|(why, hint)| fault(why, hint))?);
            parameters += node_parameters(&node.op, inputs[0][0]);
            if parameters > MOST {
                return Err(fault(format!("the network has {parameters} parameters up to here"), "2^36 are the most"));
            }
        }
        let Some(last) = self.nodes.last() else {
            return whole("has no layer".into(), "it has at least a linear layer");
        };
        let fault = |i: usize, why: String, hint: &str| Err(Fault { node: Some(i), why, hint: hint.into() });
        match last.op {
            Op::Linear { out } if out == self.classes => {}
            Op::Linear { out } => {
                let why = format!("gives {out} logits for {} classes", self.classes);
                return fault(self.nodes.len() - 1, why, "the last layer has one output a class");
            }
            _ => {
                let hint = "a network ends with the linear layer that gives the logits";
                return fault(self.nodes.len() - 1, "is the last layer and not linear".into(), hint);
            }
        }
        match used[..self.nodes.len()].iter().position(|used| !used) {
            Some(0) => whole("no layer reads the image".into(), "the first layer reads it"),
            Some(i) => fault(i - 1, "is read by no layer".into(), "leave it out or let a later layer read it"),
            None => Ok(shapes),
        }
    }

    /// Checks what can be known of node `i` without shapes: its name, what it reads, the size of its numbers.
    fn check_place(&self, i: usize) -> Result<(), (String, &'static str)> {
        let NodeConfig { name, op, inputs } = &self.nodes[i];
        let letters = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || !name.chars().all(letters) || name.starts_with('.') || name.ends_with('.') {
            let why = format!("{name:?} is not a name");
            return Err((why, "names are made of letters, digits, `_`, `-` and, inside, `.`"));
        }
        if self.nodes[..i].iter().any(|earlier| earlier.name == *name) {
            return Err((format!("an earlier layer is called {name} too"), "names are unique"));
        }
        let (count, arity) = (inputs.len(), op.arity());
        if count != arity {
            return Err((format!("reads {count} layers"), "a sum reads 2 layers, every other layer 1"));
        }
        if let Some(later) = inputs.iter().find(|input| **input > i) {
            return Err((format!("reads value {later}, which is not there yet"), "a layer reads layers before it"));
        }
        match op.sizes().iter().find(|size| **size > LARGEST) {
            Some(size) => Err((format!("has the number {size}"), "no size is over 2^20")),
            None => Ok(()),
        }
    }

    /// The shapes of a network that has been checked.
    fn known_shapes(&self) -> Vec<[usize; 3]> {
        self.shapes().expect("a network that was checked when it was made")
    }

    /// The index into a trace's values of what the last layer reads.
    pub fn head_input(&self) -> usize {
        self.nodes[self.nodes.len() - 1].inputs[0]
    }

    /// Every ReLU: its name, and the index of its pre-activation in a trace's values.
    pub fn relus(&self) -> Vec<(String, usize)> {
        let relus = self.nodes.iter().filter(|node| node.op == Op::Relu);
        relus.map(|node| (node.name.clone(), node.inputs[0])).collect()
    }

    /// Whether any layer is a batch norm.
    pub fn has_batch_norm(&self) -> bool {
        self.nodes.iter().any(|node| node.op == Op::BatchNorm)
    }

    /// The number of parameters: weights and biases, those of batch norms included, running statistics not.
    pub fn parameters(&self) -> u64 {
        let shapes = self.known_shapes();
        let count = |node: &NodeConfig| node_parameters(&node.op, shapes[node.inputs[0]][0]) as u64;
        self.nodes.iter().map(count).sum()
    }

    /// Multiplications of one image's pass through the convolutions and linear layers.
    pub fn macs(&self) -> u64 {
        let shapes = self.known_shapes();
        let count = |(i, node): (usize, &NodeConfig)| {
            let weight = match node.op {
                Op::Conv { .. } | Op::Linear { .. } => node.op.weight_shape(shapes[node.inputs[0]][0]),
                Op::BatchNorm | Op::Relu | Op::Add | Op::Flatten | Op::AvgPool { .. } => return 0,
            };
            let [_, h, w] = shapes[i + 1];
            (weight.iter().product::<usize>() * h * w) as u64
        };
        self.nodes.iter().enumerate().map(count).sum()
    }

    /// The text of `network.json`.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("names and numbers") + "\n"
    }

    /// Reads and checks the text of a `network.json`; `place` names it in errors. Unknown keys are errors.
    ///
    /// # Errors
    /// If the text is not the JSON of a network, has an unknown key, or describes a network that [`shapes`](Self::shapes) refuses.
    pub fn from_json(text: &str, place: &str) -> Result<Self> {
        let mut config: Self =
            serde_json::from_str(text).map_err(|cause| Problem::input("read network", place, cause))?;
        for (i, node) in config.nodes.iter_mut().enumerate() {
            if node.inputs.is_empty() && node.op.arity() == 1 {
                node.inputs = vec![i];
            }
        }
        let within = |problem: Problem| Problem { place: format!("{place}: {}", problem.place), ..problem };
        config.shapes().map_err(within)?;
        Ok(config)
    }
}

/// Parameters of one layer that reads `channels` channels.
fn node_parameters(op: &Op, channels: usize) -> u128 {
    let weight = op.weight_shape(channels);
    let bias = weight.first().copied().unwrap_or(0);
    if weight.is_empty() { 0 } else { weight.iter().map(|n| *n as u128).product::<u128>() + bias as u128 }
}
