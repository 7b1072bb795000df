//! A network as a verifier needs it: a graph of a few kinds of nodes over flat arrays, batch of one, constants in place. Readers of any
//! format and [`Network`](crate::Network) are lowered into it, so that bounds, attacks and proofs know eight operations and not seventy.
//!
//! What has no operation of its own is made of those there are: a subtraction is a [`Scale`](Operation::Scale) by -1 and an
//! [`Add`](Operation::Add), a concatenation an addition of [`Gather`](Operation::Gather)s, an average pool a convolution in as many groups
//! as channels, a leaky ReLU `a x + (1 - a) relu(x)`.
//!
//! Numbers are doubles, so that those of a file stand here as they are. A merged layer (a batch norm in a convolution) is not the layer of
//! the file but within rounding of it; [`Affine`] says how far, and a sound bound charges it.

use temper_base::{Problem, Result};

/// The numbers of an affine node.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    /// The weight: `[O, I]` of a dense layer, `[O, I / groups, kh, kw]` of a convolution, `[N]` (one an element) of a scale.
    pub weight: Vec<f64>,
    /// What is added: `[O]`, or `[N]` of a scale.
    pub bias: Vec<f64>,
    /// How many roundings, in double precision, lie between these numbers and those that are meant: every weight is within
    /// `merged * 2^-52` of itself and every bias within `merged * 2^-52` of its `magnitude`. 0: they are what the file holds.
    pub merged: u32,
    /// Of every bias, the sum of the magnitudes that it was summed from; empty if that is its own magnitude.
    pub magnitude: Vec<f64>,
}

impl Affine {
    /// Numbers as a file holds them.
    pub fn exact(weight: Vec<f64>, bias: Vec<f64>) -> Self {
        Self { weight, bias, merged: 0, magnitude: Vec::new() }
    }

    /// The magnitude of bias `i`.
    pub fn bias_magnitude(&self, i: usize) -> f64 {
        self.magnitude.get(i).copied().unwrap_or_else(|| self.bias[i].abs())
    }
}

/// A window that is moved over rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Channels, height and width of what is read.
    pub input: [usize; 3],
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps between windows, down and to the right.
    pub stride: [usize; 2],
    /// What surrounds the input: top, left, bottom, right. Zeros for a convolution, nothing for a pool.
    pub padding: [usize; 4],
    /// Steps between the taps of a window.
    pub dilation: [usize; 2],
}

impl Window {
    /// Rows and columns of what is written; `None` if no window fits.
    pub fn output(&self) -> Option<[usize; 2]> {
        let size = |d: usize| {
            let reach = self.dilation[d] * (self.kernel[d].checked_sub(1)?) + 1;
            let room = (self.input[d + 1] + self.padding[d] + self.padding[d + 2]).checked_sub(reach)?;
            Some(room / self.stride[d] + 1)
        };
        Some([size(0)?, size(1)?])
    }

    /// The row (`d` 0) or column (`d` 1) of the input that `tap` of the window at `place` sees; `None` in the padding.
    pub fn sees(&self, d: usize, place: usize, tap: usize) -> Option<usize> {
        let at = (place * self.stride[d] + tap * self.dilation[d]).checked_sub(self.padding[d])?;
        (at < self.input[d + 1]).then_some(at)
    }
}

/// What a node computes of its inputs. Arrays are row-major; channels come first, then rows, then columns.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// `W x + b`.
    Dense(Affine),
    /// A convolution with zero padding.
    Conv {
        /// Sizes.
        window: Window,
        /// Groups of channels that do not see each other.
        groups: usize,
        /// The numbers; as many outputs as biases.
        affine: Affine,
    },
    /// `w x + b`, element by element.
    Scale(Affine),
    /// `max(x, 0)`.
    Relu,
    /// A smooth function of every number.
    Curve(Curve),
    /// The sum of two or more inputs of one size.
    Add,
    /// The largest value of every window, a channel at a time.
    MaxPool(Window),
    /// Output `i` is input `from[i]`, or `fill[i]` where that is `None` (`fill` is empty if it is 0 everywhere).
    Gather {
        /// Where each output comes from.
        from: Vec<Option<u32>>,
        /// What stands where nothing comes from.
        fill: Vec<f64>,
    },
}

/// A smooth function of one number, that grows, bends upwards below 0 and downwards above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// `1 / (1 + exp(-z))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
}

impl Curve {
    /// Its value, to some units in the last place.
    pub fn of(self, z: f64) -> f64 {
        match self {
            Curve::Sigmoid if z < 0.0 => z.exp() / (1.0 + z.exp()),
            Curve::Sigmoid => 1.0 / (1.0 + (-z).exp()),
            Curve::Tanh => z.tanh(),
        }
    }

    /// Its slope.
    pub fn slope(self, z: f64) -> f64 {
        match self {
            Curve::Sigmoid => Curve::Sigmoid.of(z) * Curve::Sigmoid.of(-z),
            // tanh(z) is 2 sigmoid(2 z) - 1.
            Curve::Tanh => 4.0 * Curve::Sigmoid.slope(2.0 * z),
        }
    }

    /// The place above 0, and below it with the other sign, where it has this slope: 0 where it is nowhere as steep.
    pub fn as_steep(self, slope: f64) -> f64 {
        match self {
            Curve::Tanh => 0.5 * Curve::Sigmoid.as_steep(slope / 4.0),
            Curve::Sigmoid if slope <= 0.0 => f64::INFINITY,
            Curve::Sigmoid if slope < 0.25 => {
                let root = (1.0 - 4.0 * slope).sqrt();
                if slope < 0.1 { 2.0 * root.ln_1p() - (4.0 * slope).ln() } else { 2.0 * root.atanh() }
            }
            Curve::Sigmoid => 0.0,
        }
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name, for messages.
    pub name: String,
    /// What it computes.
    pub operation: Operation,
    /// What it reads: 0 is the input, `i + 1` the output of node `i`.
    pub inputs: Vec<usize>,
    /// The shape of what it writes, without a batch.
    pub shape: Vec<usize>,
}

/// A checked graph. The last node gives the output; without nodes the input is the output.
#[derive(Debug, Clone, PartialEq)]
pub struct Computation {
    input: Vec<usize>,
    nodes: Vec<Node>,
}

impl Computation {
    /// A graph that reads an input of this shape (without a batch).
    ///
    /// # Errors
    /// A node that reads a later one, sizes that do not fit, a number that is not finite.
    pub fn new(input: Vec<usize>, nodes: Vec<Node>) -> Result<Self> {
        let mut sizes = vec![input.iter().product::<usize>()];
        for (i, node) in nodes.iter().enumerate() {
            let fail = |why: String| Err(Problem::input("build computation", format!("node {}", node.name), why));
            if node.inputs.is_empty() || node.inputs.iter().any(|input| *input > i) {
                return fail(format!("it reads {:?}, of which only 0 to {i} are there", node.inputs));
            }
            let size = node.shape.iter().product::<usize>();
            if let Err(why) = check(node, &node.inputs.iter().map(|input| sizes[*input]).collect::<Vec<_>>(), size) {
                return fail(why);
            }
            sizes.push(size);
        }
        Ok(Self { input, nodes })
    }

    /// The shape of the input.
    pub fn input(&self) -> &[usize] {
        &self.input
    }

    /// The nodes, each behind those that it reads.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The shape of value `i`: 0 is the input, `i + 1` the output of node `i`.
    pub fn shape(&self, value: usize) -> &[usize] {
        if value == 0 { &self.input } else { &self.nodes[value - 1].shape }
    }

    /// How many numbers value `i` has.
    pub fn len(&self, value: usize) -> usize {
        self.shape(value).iter().product()
    }

    /// How many numbers the input has.
    pub fn inputs(&self) -> usize {
        self.len(0)
    }

    /// How many numbers the output has.
    pub fn outputs(&self) -> usize {
        self.len(self.nodes.len())
    }

    /// Whether there is nothing to compute.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The same function of this output alone: the nodes that `value` does not need are gone.
    pub fn up_to(&self, value: usize) -> Self {
        let mut needed = vec![false; self.nodes.len() + 1];
        needed[value] = true;
        for i in (0..value).rev().filter(|i| *i < self.nodes.len()) {
            if needed[i + 1] {
                self.nodes[i].inputs.iter().for_each(|input| needed[*input] = true);
            }
        }
        let mut place = vec![0];
        let mut nodes = Vec::new();
        for (i, node) in self.nodes.iter().enumerate() {
            if needed[i + 1] {
                let inputs = node.inputs.iter().map(|input| place[*input]).collect();
                nodes.push(Node { inputs, ..node.clone() });
            }
            place.push(nodes.len());
        }
        Self { input: self.input.clone(), nodes }
    }

    /// The same function with fewer nodes: scales are merged into the affine node before them where nothing else reads it, and neighbouring
    /// scales and gathers into one. Values that nothing reads are dropped.
    pub fn merged(&self) -> Self {
        let readers = |nodes: &[Node], value: usize| -> usize {
            nodes.iter().flat_map(|node| &node.inputs).filter(|input| **input == value).count()
        };
        let kept = self.up_to(self.nodes.len());
        let (mut nodes, mut place): (Vec<Node>, Vec<usize>) = (Vec::new(), vec![0]);
        for node in &kept.nodes {
            let inputs: Vec<usize> = node.inputs.iter().map(|input| place[*input]).collect();
            let alone = readers(&kept.nodes, node.inputs[0]) == 1 && inputs[0] > 0;
            let before = if alone { nodes.get_mut(inputs[0] - 1) } else { None };
            if let Some(before) = before
                && let Some(operation) = both(&before.operation, &node.operation)
            {
                *before = Node { name: node.name.clone(), operation, shape: node.shape.clone(), ..before.clone() };
                place.push(inputs[0]);
                continue;
            }
            nodes.push(Node { inputs, ..node.clone() });
            place.push(nodes.len());
        }
        // A node that swallowed its reader stands where it stood, which may be before the last: then it is the output all the same.
        let last = *place.last().expect("the input");
        Self { input: kept.input, nodes }.up_to(last)
    }

    /// The same function with every max pool as ReLUs, `max(a, b) = b + relu(a - b)`, in a tree over each window: what splits ReLUs can
    /// then decide it.
    pub fn max_pools_as_relus(&self) -> Self {
        let (mut nodes, mut place): (Vec<Node>, Vec<usize>) = (Vec::new(), vec![0]);
        for node in &self.nodes {
            let inputs: Vec<usize> = node.inputs.iter().map(|input| place[*input]).collect();
            if let Operation::MaxPool(window) = &node.operation {
                place.push(pool_as_relus(window, node, inputs[0], &mut nodes));
            } else {
                nodes.push(Node { inputs, ..node.clone() });
                place.push(nodes.len());
            }
        }
        Self { input: self.input.clone(), nodes }
    }

    /// The output for one input, product by product, in this order of summation.
    ///
    /// # Panics
    /// If the input has another size.
    pub fn evaluate<T: Number>(&self, input: &[T], order: Order) -> Vec<T> {
        self.values(input, order).pop().expect("the input")
    }

    /// Every value for one input: 0 is the input, `i + 1` the output of node `i`.
    ///
    /// # Panics
    /// If the input has another size.
    pub fn values<T: Number>(&self, input: &[T], order: Order) -> Vec<Vec<T>> {
        assert_eq!(input.len(), self.inputs(), "an input of the network's size");
        let mut values = vec![input.to_vec()];
        for node in &self.nodes {
            let inputs: Vec<&[T]> = node.inputs.iter().map(|input| values[*input].as_slice()).collect();
            let value = apply(&node.operation, &inputs, order);
            values.push(value);
        }
        values
    }
}

/// In which order the products of a sum are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// From the first to the last, then the bias.
    Forward,
    /// Bias first, then from the last to the first.
    Backward,
}

/// A float that a computation can be evaluated in.
pub trait Number: Copy + PartialOrd + std::ops::Add<Output = Self> + std::ops::Mul<Output = Self> {
    /// Nothing.
    const ZERO: Self;
    /// The nearest number of this kind.
    fn nearest(value: f64) -> Self;
    /// What a curve makes of it.
    fn curved(self, curve: Curve) -> Self;
}

impl Number for f32 {
    const ZERO: Self = 0.0;
    #[inline(always)]
    fn nearest(value: f64) -> Self {
        value as f32
    }
    fn curved(self, curve: Curve) -> Self {
        curve.of(f64::from(self)) as f32
    }
}

impl Number for f64 {
    const ZERO: Self = 0.0;
    #[inline(always)]
    fn nearest(value: f64) -> Self {
        value
    }
    fn curved(self, curve: Curve) -> Self {
        curve.of(self)
    }
}

/// Why these sizes and numbers cannot be a node.
fn check(node: &Node, inputs: &[usize], size: usize) -> Result<(), String> {
    let fits = |what: &str, found: usize, wanted: usize| {
        if found == wanted { Ok(()) } else { Err(format!("{what}: {found} numbers where {wanted} belong")) }
    };
    let finite = |affine: &Affine| {
        let numbers = || affine.weight.iter().chain(&affine.bias).chain(&affine.magnitude);
        match numbers().find(|number| !number.is_finite()) {
            Some(number) => Err(format!("a weight is {number}")),
            None if affine.magnitude.is_empty() => Ok(()),
            None => fits("magnitudes", affine.magnitude.len(), affine.bias.len()),
        }
    };
    let one = || {
        let count = inputs.len();
        if count == 1 { Ok(inputs[0]) } else { Err(format!("it reads {count} values, not one")) }
    };
    match &node.operation {
        Operation::Dense(affine) => {
            finite(affine)?;
            fits("bias", affine.bias.len(), size)?;
            fits("weight", affine.weight.len(), size * one()?)
        }
        Operation::Conv { window, groups, affine } => {
            finite(affine)?;
            let outputs = affine.bias.len();
            let [rows, columns] = whole(window)?;
            if *groups == 0 || !window.input[0].is_multiple_of(*groups) || !outputs.is_multiple_of(*groups) {
                return Err(format!("{groups} groups of {} and {outputs} channels", window.input[0]));
            }
            fits("input", one()?, window.input.iter().product())?;
            fits("output", size, outputs * rows * columns)?;
            let taps = window.input[0] / groups * window.kernel[0] * window.kernel[1];
            fits("weight", affine.weight.len(), outputs * taps)
        }
        Operation::Scale(affine) => {
            finite(affine)?;
            fits("input", one()?, size)?;
            fits("weight", affine.weight.len(), size)?;
            fits("bias", affine.bias.len(), size)
        }
        Operation::Relu | Operation::Curve(_) => fits("input", one()?, size),
        Operation::Add if inputs.len() < 2 => Err("it adds fewer than two values".into()),
        Operation::Add => inputs.iter().try_for_each(|input| fits("input", *input, size)),
        Operation::MaxPool(window) => {
            let [rows, columns] = whole(window)?;
            fits("input", one()?, window.input.iter().product())?;
            let sees = |d: usize, places: usize| {
                (0..places).all(|place| (0..window.kernel[d]).any(|tap| window.sees(d, place, tap).is_some()))
            };
            if !sees(0, rows) || !sees(1, columns) {
                return Err("a window of the pool lies in the padding alone".into());
            }
            fits("output", size, window.input[0] * rows * columns)
        }
        Operation::Gather { from, fill } => {
            let input = one()?;
            fits("indices", from.len(), size)?;
            if !fill.is_empty() {
                fits("fill", fill.len(), size)?;
            }
            if fill.iter().any(|number| !number.is_finite()) {
                return Err("a constant is not finite".into());
            }
            match from.iter().flatten().find(|index| **index as usize >= input) {
                Some(index) => Err(format!("index {index} of {input} numbers")),
                None => Ok(()),
            }
        }
    }
}

/// Adds the nodes of a pool that reads `value`; gives the value of its output.
fn pool_as_relus(window: &Window, node: &Node, value: usize, nodes: &mut Vec<Node>) -> usize {
    let mut push = |operation: Operation, inputs: Vec<usize>| {
        nodes.push(Node { name: node.name.clone(), operation, inputs, shape: node.shape.clone() });
        nodes.len()
    };
    let seen: Vec<Vec<usize>> = windows(window).collect();
    let (outputs, taps) = (seen.len(), seen.iter().map(Vec::len).max().unwrap_or(0));
    // A window that sees less, at the border, sees its first value again.
    let tap = |t: usize| seen.iter().map(|window| Some(*window.get(t).unwrap_or(&window[0]) as u32)).collect();
    let mut level: Vec<usize> =
        (0..taps).map(|t| push(Operation::Gather { from: tap(t), fill: Vec::new() }, vec![value])).collect();
    while level.len() > 1 {
        let pair = |pair: &[usize]| {
            let [a, b] = *pair else { return pair[0] };
            let negative = push(Operation::Scale(Affine::exact(vec![-1.0; outputs], vec![0.0; outputs])), vec![b]);
            let difference = push(Operation::Add, vec![a, negative]);
            let above = push(Operation::Relu, vec![difference]);
            push(Operation::Add, vec![b, above])
        };
        level = level.chunks(2).map(pair).collect();
    }
    level[0]
}

fn whole(window: &Window) -> Result<[usize; 2], String> {
    if window.kernel.contains(&0) || window.stride.contains(&0) || window.dilation.contains(&0) {
        return Err(format!("a window with a size of 0: {window:?}"));
    }
    window.output().ok_or_else(|| format!("no window fits: {window:?}"))
}

/// One operation for two, the second of which alone reads the first; `None` if they stay two.
fn both(first: &Operation, second: &Operation) -> Option<Operation> {
    match (first, second) {
        (Operation::Dense(affine), Operation::Scale(scale)) => Some(Operation::Dense(scaled(affine, scale, 1))),
        (Operation::Scale(affine), Operation::Scale(scale)) => Some(Operation::Scale(scaled(affine, scale, 1))),
        (Operation::Conv { window, groups, affine }, Operation::Scale(scale)) => {
            let [rows, columns] = window.output()?;
            // A scale that differs within a channel is no convolution.
            let channels =
                |numbers: &[f64]| numbers.chunks(rows * columns).all(|plane| plane.iter().all(|n| *n == plane[0]));
            let by_channel = channels(&scale.weight) && channels(&scale.bias) && channels(&scale.magnitude);
            by_channel.then(|| Operation::Conv {
                window: *window,
                groups: *groups,
                affine: scaled(affine, scale, rows * columns),
            })
        }
        (Operation::Gather { from: inner, fill: constants }, Operation::Gather { from: outer, fill }) => {
            let constant = |i: usize| match outer[i] {
                Some(at) if inner[at as usize].is_none() => constants.get(at as usize).copied().unwrap_or(0.0),
                Some(_) => 0.0,
                None => fill.get(i).copied().unwrap_or(0.0),
            };
            let from = outer.iter().map(|at| at.and_then(|at| inner[at as usize])).collect();
            let fill: Vec<f64> = (0..outer.len()).map(constant).collect();
            Some(Operation::Gather { from, fill: if fill.iter().all(|n| *n == 0.0) { Vec::new() } else { fill } })
        }
        (
            Operation::Dense(_)
            | Operation::Conv { .. }
            | Operation::Scale(_)
            | Operation::Relu
            | Operation::Curve(_)
            | Operation::Add
            | Operation::MaxPool(_)
            | Operation::Gather { .. },
            _,
        ) => None,
    }
}

/// `scale` behind `affine`; output `o` of `affine` meets entry `o * plane` of the scale.
fn scaled(affine: &Affine, scale: &Affine, plane: usize) -> Affine {
    let outputs = affine.bias.len();
    let size = affine.weight.len() / outputs.max(1);
    let weight = affine.weight.chunks(size.max(1)).enumerate();
    let weight = weight.flat_map(|(o, row)| row.iter().map(move |w| w * scale.weight[o * plane])).collect();
    let bias = (0..outputs).map(|o| affine.bias[o] * scale.weight[o * plane] + scale.bias[o * plane]).collect();
    let roundings = affine.merged + scale.merged;
    // A sign changes no number, nor does a sum with 0: a bias that stands in a node of its own is the bias of the layer.
    let exact =
        |o: usize| scale.weight[o * plane].abs() == 1.0 && (affine.bias[o] == 0.0 || scale.bias[o * plane] == 0.0);
    if roundings == 0 && (0..outputs).all(exact) {
        return Affine::exact(weight, bias);
    }
    let magnitude =
        |o: usize| affine.bias_magnitude(o) * scale.weight[o * plane].abs() + scale.bias_magnitude(o * plane);
    // One rounding of the product, one of the sum; a margin for the magnitudes themselves.
    let merged = roundings + 3;
    Affine { weight, bias, merged, magnitude: (0..outputs).map(magnitude).collect() }
}

fn apply<T: Number>(operation: &Operation, inputs: &[&[T]], order: Order) -> Vec<T> {
    let x = inputs[0];
    match operation {
        Operation::Dense(affine) => {
            let row = |(row, bias): (&[f64], &f64)| {
                sum(row.len(), |i| Some(T::nearest(row[i]) * x[i]), T::nearest(*bias), order)
            };
            if x.is_empty() {
                return affine.bias.iter().map(|bias| T::nearest(*bias)).collect();
            }
            affine.weight.chunks(x.len()).zip(&affine.bias).map(row).collect()
        }
        Operation::Conv { window, groups, affine } => conv(window, *groups, affine, x, order),
        Operation::Scale(affine) => {
            let scaled = x.iter().zip(affine.weight.iter().zip(&affine.bias));
            scaled.map(|(x, (w, b))| T::nearest(*w) * *x + T::nearest(*b)).collect()
        }
        // Not `x > 0`: a NaN goes on.
        Operation::Relu => x.iter().map(|x| if *x < T::ZERO { T::ZERO } else { *x }).collect(),
        Operation::Curve(curve) => x.iter().map(|x| x.curved(*curve)).collect(),
        Operation::Add => (0..x.len()).map(|i| inputs[1..].iter().fold(x[i], |sum, input| sum + input[i])).collect(),
        Operation::MaxPool(window) => {
            let largest =
                |places: Vec<usize>| places.into_iter().map(|i| x[i]).reduce(larger).expect("a window sees something");
            windows(window).map(largest).collect()
        }
        Operation::Gather { from, fill } => {
            let constant = |i: usize| T::nearest(fill.get(i).copied().unwrap_or(0.0));
            from.iter().enumerate().map(|(i, at)| at.map_or_else(|| constant(i), |at| x[at as usize])).collect()
        }
    }
}

/// The larger of two; a NaN wins.
#[allow(clippy::eq_op)]
fn larger<T: Number>(a: T, b: T) -> T {
    if a >= b || a != a { a } else { b }
}

/// Of every output of a pool, in order, the places that its window sees.
///
/// # Panics
/// If no window fits.
pub fn windows(window: &Window) -> impl Iterator<Item = Vec<usize>> + '_ {
    let [rows, columns] = window.output().expect("a window fits");
    let [channels, height, width] = window.input;
    (0..channels * rows * columns).map(move |i| {
        let (c, row, column) = (i / (rows * columns), i / columns % rows, i % columns);
        let taps = (0..window.kernel[0]).flat_map(|u| (0..window.kernel[1]).map(move |v| (u, v)));
        let place = |(u, v)| Some((c * height + window.sees(0, row, u)?) * width + window.sees(1, column, v)?);
        taps.filter_map(place).collect()
    })
}

fn conv<T: Number>(window: &Window, groups: usize, affine: &Affine, x: &[T], order: Order) -> Vec<T> {
    let [rows, columns] = window.output().expect("a window fits");
    let [channels, height, width] = window.input;
    let (inside, outside) = (channels / groups, affine.bias.len() / groups);
    let [kh, kw] = window.kernel;
    let mut y = Vec::with_capacity(affine.bias.len() * rows * columns);
    for (output, bias) in affine.bias.iter().enumerate() {
        let first = output / outside * inside;
        let weight = &affine.weight[output * inside * kh * kw..][..inside * kh * kw];
        for place in 0..rows * columns {
            let term = |i: usize| {
                let (c, u, v) = (i / (kh * kw), i / kw % kh, i % kw);
                let (row, column) = (window.sees(0, place / columns, u)?, window.sees(1, place % columns, v)?);
                Some(T::nearest(weight[i]) * x[((first + c) * height + row) * width + column])
            };
            y.push(sum(weight.len(), term, T::nearest(*bias), order));
        }
    }
    y
}

/// The sum of `n` terms and a bias.
fn sum<T: Number>(n: usize, term: impl Fn(usize) -> Option<T>, bias: T, order: Order) -> T {
    match order {
        Order::Forward => (0..n).filter_map(term).fold(T::ZERO, |sum, term| sum + term) + bias,
        Order::Backward => (0..n).rev().filter_map(term).fold(bias, |sum, term| sum + term),
    }
}
