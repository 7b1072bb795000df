//! The graph of a file as a [`Computation`]: constants are folded, what moves numbers becomes a gather or nothing, the rest affine nodes,
//! ReLUs and pools. What has no place there is refused by its name.

use std::collections::HashMap;

use temper_graph::computation::{Affine, Computation, Node, Operation, Window};

use super::model::{self, Attribute, Data, Model, Tensor};
use super::tensor::{Moves, count, strides, together};
use super::wire::Result;

/// The largest bound or slope of what is made of a ReLU, as `c + relu(x - c)`: beyond, even doubles may lose `x` beside `c`.
const LARGEST: f64 = 16_777_216.0;

/// A value of the file's graph.
#[derive(Debug, Clone)]
enum Value {
    Constant(Tensor),
    /// Value of the computation, in the shape that the file gives it, its batch included.
    Active(Active),
    /// Whether a value is above 0 (`true`), or below.
    Sign(Active, bool),
}

#[derive(Debug, Clone)]
struct Active {
    value: usize,
    shape: Vec<usize>,
}

pub(super) struct Lowered {
    pub(super) computation: Computation,
    pub(super) input: String,
    pub(super) output: String,
    pub(super) input_shape: Vec<usize>,
    pub(super) output_shape: Vec<usize>,
    pub(super) double: bool,
}

pub(super) fn lower(model: Model, size: usize, output: Option<&str>) -> Result<Lowered> {
    let inputs: Vec<_> = model.inputs.iter().filter(|input| !model.constants.contains_key(&input.name)).collect();
    let [input] = inputs.as_slice() else {
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        return Err(format!("{} inputs ({}), where one is read", names.len(), names.join(", ")));
    };
    let double = match input.kind {
        Some(1) => false,
        Some(11) => true,
        Some(10 | 16) => return Err(format!("input {} is float16; convert the model to float32", input.name)),
        _ => return Err(format!("input {} is no tensor of floats", input.name)),
    };
    let declared = input.shape.clone().ok_or_else(|| format!("input {} has no shape", input.name))?;
    if declared.iter().skip(1).any(Option::is_none) {
        return Err(format!("input {}: its shape is open in more than the batch", input.name));
    }
    let shape: Vec<usize> = declared.iter().map(|size| size.unwrap_or(1)).collect();
    let names: Vec<&str> = model.outputs.iter().map(|output| output.name.as_str()).collect();
    let wanted = match (output, names.as_slice()) {
        (Some(wanted), names) if names.contains(&wanted) => wanted,
        (Some(wanted), names) => return Err(format!("no output {wanted}; there are: {}", names.join(", "))),
        (None, [one]) => one,
        (None, names) => {
            return Err(format!("{} outputs ({}), of which none is asked for", names.len(), names.join(", ")));
        }
    };
    let mut reader = Reader {
        opset: model.opset,
        nodes: Vec::new(),
        values: HashMap::new(),
        padded: HashMap::new(),
        budget: (size.saturating_mul(64)).saturating_add(1 << 24).min(1 << 28),
        name: String::new(),
    };
    reader.spend(count(&shape)?)?;
    if shape.contains(&0) {
        return Err(format!("input {} of shape {shape:?} is empty", input.name));
    }
    for (name, constant) in model.constants {
        if let Data::Float(data) = &constant.data
            && let Some(number) = data.iter().find(|number| !number.is_finite())
        {
            return Err(format!("tensor {name}: a weight is {number}"));
        }
        reader.values.insert(name, Value::Constant(constant));
    }
    let first = Active { value: 0, shape: shape.clone() };
    reader.values.insert(input.name.clone(), Value::Active(first));
    // What the output does not need is not read: another output may end in a softmax.
    let needed = needed(&model.nodes, wanted);
    for (i, node) in model.nodes.iter().enumerate().filter(|(i, _)| needed[*i]) {
        let label = if node.name.is_empty() { String::new() } else { format!(" ({})", node.name) };
        let place = format!("{} at node {i}{label}", node.op);
        reader.name = if node.name.is_empty() { format!("{}_{i}", node.op) } else { node.name.clone() };
        let outputs = reader.node(node).map_err(|why| format!("{place}: {why}"))?;
        if outputs.len() < node.outputs.iter().filter(|name| !name.is_empty()).count() && node.op != "Dropout" {
            return Err(format!("{place}: {} outputs", node.outputs.len()));
        }
        for (name, value) in node.outputs.iter().zip(outputs) {
            reader.values.insert(name.clone(), value);
        }
    }
    let last = match reader.values.get(wanted) {
        Some(Value::Active(last)) => last.clone(),
        Some(Value::Constant(_)) => return Err(format!("output {wanted} does not depend on the input")),
        Some(Value::Sign(..)) => return Err(format!("output {wanted} is a comparison")),
        None => return Err(format!("output {wanted} is given by no node")),
    };
    let computation = Computation::new(batchless(&shape), reader.nodes)
        .map_err(|problem| format!("{}: {}", problem.place, problem.why))?;
    let computation = computation.up_to(last.value).merged();
    let (input, output) = (input.name.clone(), wanted.to_string());
    Ok(Lowered { computation, input, output, input_shape: shape, output_shape: last.shape, double })
}

/// Which nodes an output needs; nodes that stand out of order are needed too, and refused when they are met.
fn needed(nodes: &[model::Node], output: &str) -> Vec<bool> {
    let makers: HashMap<&str, usize> = nodes
        .iter()
        .enumerate()
        .flat_map(|(i, node)| node.outputs.iter().map(move |name| (name.as_str(), i)))
        .collect();
    let mut needed = vec![false; nodes.len()];
    let mut open: Vec<&str> = vec![output];
    while let Some(name) = open.pop() {
        if let Some(i) = makers.get(name).filter(|_| !name.is_empty())
            && !std::mem::replace(&mut needed[*i], true)
        {
            open.extend(nodes[*i].inputs.iter().map(String::as_str));
        }
    }
    needed
}

fn batchless(shape: &[usize]) -> Vec<usize> {
    match shape {
        [1, rest @ ..] if !rest.is_empty() => rest.to_vec(),
        _ => shape.to_vec(),
    }
}

struct Reader {
    opset: i64,
    nodes: Vec<Node>,
    values: HashMap<String, Value>,
    /// Of values that are others with zeros around them: those, and what is around: top, left, bottom, right.
    padded: HashMap<usize, (Active, [usize; 4])>,
    /// How many more numbers may be made.
    budget: usize,
    name: String,
}

impl Reader {
    fn spend(&mut self, numbers: usize) -> Result<()> {
        self.budget = self
            .budget
            .checked_sub(numbers)
            .ok_or("the network is too large for its file: more numbers than can be held")?;
        Ok(())
    }

    fn push(&mut self, operation: Operation, inputs: Vec<usize>, shape: Vec<usize>) -> Result<Active> {
        self.spend(count(&shape)?)?;
        self.nodes.push(Node { name: self.name.clone(), operation, inputs, shape: batchless(&shape) });
        Ok(Active { value: self.nodes.len(), shape })
    }

    fn rearranged(&mut self, x: &Active, moves: Moves, fill: f64) -> Result<Active> {
        if moves.nothing(x.shape.iter().product()) {
            return Ok(Active { value: x.value, shape: moves.shape });
        }
        let fills = match fill {
            0.0 => Vec::new(),
            _ => moves.from.iter().map(|from| if from.is_none() { fill } else { 0.0 }).collect(),
        };
        self.push(Operation::Gather { from: moves.from, fill: fills }, vec![x.value], moves.shape)
    }

    /// A value or a constant, rearranged.
    fn moved(&mut self, x: Value, moves: Moves, fill: f64) -> Result<Value> {
        match x {
            Value::Constant(tensor) => {
                self.spend(moves.from.len())?;
                Ok(Value::Constant(moves.constant(&tensor, fill)))
            }
            Value::Active(x) => Ok(Value::Active(self.rearranged(&x, moves, fill)?)),
            Value::Sign(..) => Err("it moves the outcome of a comparison".into()),
        }
    }

    fn scale(&mut self, x: &Active, affine: Affine) -> Result<Active> {
        self.spend(2 * affine.weight.len())?;
        self.push(Operation::Scale(affine), vec![x.value], x.shape.clone())
    }

    /// `weight x + bias` with two numbers that are within `merged` roundings.
    fn line(&mut self, x: &Active, weight: f64, bias: f64, merged: u32) -> Result<Active> {
        let n = x.shape.iter().product();
        self.spend(2 * n)?;
        self.scale(x, Affine { merged, ..Affine::exact(vec![weight; n], vec![bias; n]) })
    }

    fn relu(&mut self, x: &Active) -> Result<Active> {
        self.push(Operation::Relu, vec![x.value], x.shape.clone())
    }

    fn add(&mut self, a: &Active, b: &Active) -> Result<Active> {
        if a.shape != b.shape {
            return Err(format!("two variables of different shapes, {:?} and {:?}", a.shape, b.shape));
        }
        self.push(Operation::Add, vec![a.value, b.value], a.shape.clone())
    }

    fn node(&mut self, node: &model::Node) -> Result<Vec<Value>> {
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return Err(format!("operations of {} are not read", node.domain));
        }
        if let Some(why) = &node.refused {
            return Err(why.clone());
        }
        let mut inputs = Vec::new();
        for name in &node.inputs {
            inputs.push(match self.values.get(name) {
                _ if name.is_empty() => None,
                Some(value) => Some(value.clone()),
                None => return Err(format!("it reads {name}, which no node before it gives: nodes are out of order")),
            });
            // A value is copied where it is read.
            if let Some(Some(Value::Constant(tensor))) = inputs.last() {
                self.spend(tensor.len())?;
            }
        }
        let call = Call { inputs, attributes: &node.attributes };
        if node.op == "Split" {
            return self.split(&call, node.outputs.len());
        }
        Ok(vec![self.operation(&node.op, &call)?])
    }

    fn operation(&mut self, op: &str, call: &Call<'_>) -> Result<Value> {
        let active = |active: Result<Active>| active.map(Value::Active);
        match op {
            "Constant" => constant(call),
            "Identity" => call.value(0),
            "Dropout" => {
                if call.optional(2)?.is_some_and(|t| matches!(&t.data, Data::Int(data) if data.contains(&1))) {
                    return Err("training_mode 1".into());
                }
                call.value(0)
            }
            "Shape" => shape(call),
            "Cast" => cast(call),
            "ConstantOfShape" => self.constant_of_shape(call),
            "Range" => self.range(call),
            "Gather" => self.gather(call),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => self.reshape(op, call),
            "Transpose" => {
                let shape = call.shape(0)?;
                let order = match call.ints("perm") {
                    Some(order) => axes(order, shape.len())?,
                    None => (0..shape.len()).rev().collect(),
                };
                let mut seen = order.clone();
                seen.sort_unstable();
                if seen != (0..shape.len()).collect::<Vec<_>>() {
                    return Err(format!("perm {order:?} of {} dimensions", shape.len()));
                }
                self.spend(count(&shape)?)?;
                self.moved(call.value(0)?, Moves::transpose(&shape, &order), 0.0)
            }
            "Expand" => {
                let wanted = sizes(call.constant(1)?.ints()?)?;
                let shape = together(&call.shape(0)?, &wanted)?;
                self.broadcast(call.value(0)?, &shape)
            }
            "Slice" => self.slice(call),
            "Pad" => self.pad(call),
            "Concat" => self.concat(call),
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(op, call.value(0)?, call.value(1)?),
            "Neg" => match call.value(0)? {
                Value::Constant(Tensor { data: Data::Float(data), shape, merged, double }) => {
                    let data = Data::Float(data.iter().map(|x| -x).collect());
                    Ok(Value::Constant(Tensor { data, shape, merged, double }))
                }
                _ => {
                    let x = call.active(0)?;
                    active(self.line(&x, -1.0, 0.0, 0))
                }
            },
            "Sum" if call.inputs.len() == 1 => call.value(0),
            "Sum" => {
                let first = call.value(0)?;
                (1..call.inputs.len()).try_fold(first, |sum, i| self.arithmetic("Add", sum, call.value(i)?))
            }
            "Gemm" => self.gemm(call),
            "MatMul" => self.matmul(call),
            "Conv" => self.conv(call),
            "BatchNormalization" => self.batch_norm(call),
            "AveragePool" | "MaxPool" => self.pool(op, call),
            "GlobalAveragePool" | "ReduceMean" | "ReduceSum" => self.reduce(op, call),
            "Relu" => {
                let x = call.active(0)?;
                active(self.relu(&x))
            }
            "LeakyRelu" => {
                let (x, slope) = (call.active(0)?, f64::from(call.float("alpha", 0.01)));
                active(self.slopes(&x, slope, 1.0, 0))
            }
            "PRelu" => self.prelu(call),
            "Clip" => self.clip(call),
            "Max" | "Min" => {
                let first = call.value(0)?;
                (1..call.inputs.len()).try_fold(first, |so_far, i| self.extreme(op == "Max", so_far, call.value(i)?))
            }
            "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" => compare(op, call),
            "Where" => self.choose(call),
            _ => Err("this operation is not read".into()),
        }
    }

    fn broadcast(&mut self, x: Value, shape: &[usize]) -> Result<Value> {
        let old = shape_of(&x)?;
        if old == shape {
            return Ok(x);
        }
        if old.len() > shape.len() || together(&old, shape)? != shape {
            return Err(format!("{old:?} cannot be spread to {shape:?}"));
        }
        self.spend(count(shape)?)?;
        self.moved(x, Moves::broadcast(&old, shape), 0.0)
    }

    fn arithmetic(&mut self, op: &str, a: Value, b: Value) -> Result<Value> {
        let shape = together(&shape_of(&a)?, &shape_of(&b)?)?;
        if let (Value::Active(a), Value::Active(b)) = (&a, &b) {
            return match op {
                "Add" => Ok(Value::Active(self.add(a, b)?)),
                "Sub" => {
                    let negative = self.line(b, -1.0, 0.0, 0)?;
                    Ok(Value::Active(self.add(a, &negative)?))
                }
                _ => Err("two variables".into()),
            };
        }
        let (a, b) = (self.broadcast(a, &shape)?, self.broadcast(b, &shape)?);
        let (x, c, reversed) = match (a, b) {
            (Value::Constant(a), Value::Constant(b)) => return Ok(Value::Constant(folded(op, &a, &b)?)),
            (Value::Active(x), Value::Constant(c)) => (x, c, false),
            (Value::Constant(c), Value::Active(x)) => (x, c, true),
            _ => return Err("the outcome of a comparison is no number".into()),
        };
        let (numbers, merged) = (c.floats()?, c.merged);
        let (ones, zeros) = (vec![1.0; numbers.len()], vec![0.0; numbers.len()]);
        let negative = || numbers.iter().map(|c| -c).collect();
        let affine = match (op, reversed) {
            ("Add", _) => Affine { merged, ..Affine::exact(ones, numbers.to_vec()) },
            ("Sub", false) => Affine { merged, ..Affine::exact(ones, negative()) },
            ("Sub", true) => Affine { merged, ..Affine::exact(vec![-1.0; numbers.len()], numbers.to_vec()) },
            ("Mul", _) => Affine { merged, ..Affine::exact(numbers.to_vec(), zeros) },
            ("Div", false) if numbers.contains(&0.0) => return Err("a division by 0".into()),
            ("Div", false) => {
                // A quotient that underflows is not within a rounding of itself.
                let inverse: Vec<f64> = numbers.iter().map(|c| 1.0 / c).collect();
                if inverse.iter().any(|n| !n.is_normal()) {
                    return Err("a division by a number that is too large or too small".into());
                }
                Affine { merged: merged + 1, ..Affine::exact(inverse, zeros) }
            }
            _ => return Err("a division by a variable".into()),
        };
        Ok(Value::Active(self.scale(&x, affine)?))
    }

    /// `below x` under 0, `above x` over it; the slopes are within `merged` roundings.
    fn slopes(&mut self, x: &Active, below: f64, above: f64, merged: u32) -> Result<Active> {
        let positive = self.relu(x)?;
        let step = above - below;
        if [below, above].iter().any(|slope| slope.abs() > LARGEST) {
            return Err("a slope in whose sum with another the other would be lost".into());
        }
        if merged > 0 && below != 0.0 && above != 0.0 {
            return Err("a slope that is computed".into());
        }
        let positive = if step == 1.0 { positive } else { self.line(&positive, step, 0.0, merged + 1)? };
        if below == 0.0 {
            return Ok(positive);
        }
        let line = if below == 1.0 { x.clone() } else { self.line(x, below, 0.0, merged)? };
        self.add(&line, &positive)
    }

    fn prelu(&mut self, call: &Call<'_>) -> Result<Value> {
        let x = call.active(0)?;
        let slope = self.spread(call.constant(1)?, &x.shape)?;
        if slope.merged > 0 {
            return Err("a slope that is computed".into());
        }
        let below = slope.floats()?;
        if below.iter().any(|slope| slope.abs() > LARGEST) {
            return Err("a slope in whose sum with another the other would be lost".into());
        }
        let zeros = vec![0.0; below.len()];
        let above = below.iter().map(|slope| 1.0 - slope).collect();
        let line = self.scale(&x, Affine::exact(below.to_vec(), zeros.clone()))?;
        let positive = self.relu(&x)?;
        let positive = self.scale(&positive, Affine { merged: 1, ..Affine::exact(above, zeros) })?;
        Ok(Value::Active(self.add(&line, &positive)?))
    }

    fn spread(&mut self, c: &Tensor, shape: &[usize]) -> Result<Tensor> {
        match self.broadcast(Value::Constant(c.clone()), shape)? {
            Value::Constant(c) => Ok(c),
            Value::Active(_) | Value::Sign(..) => Err("no constant".into()),
        }
    }

    fn clip(&mut self, call: &Call<'_>) -> Result<Value> {
        let x = call.value(0)?;
        let (low, high) = if self.opset < 11 {
            (
                call.attributes.get("min").map(|a| f64::from(a.float)),
                call.attributes.get("max").map(|a| f64::from(a.float)),
            )
        } else {
            let bound = |i| match call.optional(i)? {
                None => Ok(None),
                Some(c) if c.len() == 1 => Ok(Some(c.floats()?[0])),
                Some(_) => Err::<_, String>("a bound that is no scalar".into()),
            };
            (bound(1)?, bound(2)?)
        };
        let scalar = |number: f64| {
            Value::Constant(Tensor { shape: vec![], data: Data::Float(vec![number]), merged: 0, double: false })
        };
        let unlimited = f64::from(f32::MAX);
        let x = match low.filter(|low| *low > -unlimited) {
            Some(low) => self.extreme(true, x, scalar(low))?,
            None => x,
        };
        // Where the lower bound is above the upper one, it is the upper one that holds.
        match high.filter(|high| *high < unlimited) {
            Some(high) => self.extreme(false, x, scalar(high)),
            None => Ok(x),
        }
    }

    /// The larger (or smaller) of two: `c + relu(x - c)`, `c - relu(c - x)`.
    fn extreme(&mut self, larger: bool, a: Value, b: Value) -> Result<Value> {
        let sign = if larger { 1.0 } else { -1.0 };
        let (x, c) = match (a, b) {
            (Value::Active(x), Value::Active(y)) => {
                // max(x, y) = y + relu(x - y), min(x, y) = x - relu(x - y).
                let negative = self.line(&y, -1.0, 0.0, 0)?;
                let difference = self.add(&x, &negative)?;
                let above = self.relu(&difference)?;
                if larger {
                    return Ok(Value::Active(self.add(&y, &above)?));
                }
                let above = self.line(&above, -1.0, 0.0, 0)?;
                return Ok(Value::Active(self.add(&x, &above)?));
            }
            (Value::Active(x), Value::Constant(c)) | (Value::Constant(c), Value::Active(x)) => (x, c),
            _ => return Err("two constants".into()),
        };
        let shape = together(&x.shape, &c.shape)?;
        let Value::Active(x) = self.broadcast(Value::Active(x), &shape)? else { return Err("no variable".into()) };
        let c = self.spread(&c, &shape)?;
        let (numbers, merged) = (c.floats()?, c.merged);
        if numbers.iter().any(|n| !n.is_finite()) {
            return Err("a bound that is not finite".into());
        }
        if let Some(n) = numbers.iter().find(|n| n.abs() > LARGEST) {
            return Err(format!("a bound of {n:e}, in whose sum with a value the value would be lost"));
        }
        let plain = numbers.iter().all(|c| *c == 0.0);
        let n = numbers.len();
        let shifted = if plain && larger {
            x
        } else {
            let bias = numbers.iter().map(|c| -sign * c).collect();
            self.scale(&x, Affine { merged, ..Affine::exact(vec![sign; n], bias) })?
        };
        let above = self.relu(&shifted)?;
        if plain && larger {
            return Ok(Value::Active(above));
        }
        Ok(Value::Active(self.scale(&above, Affine { merged, ..Affine::exact(vec![sign; n], numbers.to_vec()) })?))
    }

    /// What is chosen by the sign of a value, if both choices are multiples of it.
    fn choose(&mut self, call: &Call<'_>) -> Result<Value> {
        let Value::Sign(x, positive) = call.value(0)? else {
            return Err("a condition that is no comparison of the chosen value with 0".into());
        };
        let (yes, no) = (self.slope(&call.value(1)?, &x)?, self.slope(&call.value(2)?, &x)?);
        let ((above, m), (below, n)) = if positive { (yes, no) } else { (no, yes) };
        Ok(Value::Active(self.slopes(&x, below, above, m.max(n))?))
    }

    /// The `a` and its roundings where `y = a x`.
    fn slope(&self, y: &Value, x: &Active) -> Result<(f64, u32)> {
        let fail = || Err("it chooses between values that are no multiples of the compared one".into());
        match y {
            Value::Active(y) if y.shape != x.shape => fail(),
            Value::Active(y) if y.value == x.value => Ok((1.0, 0)),
            Value::Active(y) => {
                let node = y.value.checked_sub(1).map(|i| &self.nodes[i]);
                match node.map(|node| (&node.operation, node.inputs.as_slice())) {
                    Some((Operation::Scale(affine), [from]))
                        if *from == x.value
                            && affine.bias.iter().all(|b| *b == 0.0)
                            && affine.weight.iter().all(|w| *w == affine.weight[0]) =>
                    {
                        Ok((affine.weight[0], affine.merged))
                    }
                    _ => fail(),
                }
            }
            Value::Constant(c) if c.floats()?.iter().all(|c| *c == 0.0) && together(&x.shape, &c.shape)? == x.shape => {
                Ok((0.0, 0))
            }
            Value::Constant(_) | Value::Sign(..) => fail(),
        }
    }

    /// `x` as rows of `n` numbers, each multiplied by `weight` `[m, n]`; the result has `shape`.
    fn rows(&mut self, x: &Active, rows: usize, affine: Affine, shape: Vec<usize>) -> Result<Active> {
        self.spend(affine.weight.len())?;
        if rows == 1 {
            return self.push(Operation::Dense(affine), vec![x.value], shape);
        }
        let (m, n) = (affine.bias.len(), affine.weight.len() / affine.bias.len().max(1));
        // A product of every row is a convolution of 1 x 1 whose channels are the columns.
        let turned = |rows: usize, columns: usize| Moves::transpose(&[rows, columns], &[1, 0]);
        let view = Active { value: x.value, shape: vec![rows, n] };
        let channels = self.rearranged(&view, turned(rows, n), 0.0)?;
        let window = Window { input: [n, rows, 1], kernel: [1; 2], stride: [1; 2], padding: [0; 4], dilation: [1; 2] };
        let product = self.push(Operation::Conv { window, groups: 1, affine }, vec![channels.value], vec![m, rows])?;
        let back = self.rearranged(&product, turned(m, rows), 0.0)?;
        Ok(Active { value: back.value, shape })
    }

    fn gemm(&mut self, call: &Call<'_>) -> Result<Value> {
        let mut x = call.active(0)?;
        let w = call.constant(1)?;
        let (&[a, b], &[h, k]) = (w.shape.as_slice(), x.shape.as_slice()) else {
            return Err("not two matrices".into());
        };
        let (alpha, beta) = (f64::from(call.float("alpha", 1.0)), f64::from(call.float("beta", 1.0)));
        if !alpha.is_finite() || !beta.is_finite() {
            return Err("alpha or beta is not finite".into());
        }
        if call.int("transA", 0) != 0 {
            if h != 1 && k != 1 {
                return Err("transA of a variable with more than one row".into());
            }
            x.shape = vec![k, h];
        }
        let (n, m) = if call.int("transB", 0) != 0 { (b, a) } else { (a, b) };
        let numbers = w.floats()?;
        if x.shape[1] != n || m == 0 || n == 0 {
            return Err(format!("{:?} times a weight of {:?}", x.shape, w.shape));
        }
        let entry = |o: usize, i: usize| {
            alpha * if call.int("transB", 0) != 0 { numbers[o * n + i] } else { numbers[i * m + o] }
        };
        let weight = (0..m).flat_map(|o| (0..n).map(move |i| (o, i))).map(|(o, i)| entry(o, i)).collect();
        let rows = x.shape[0];
        let shape = vec![rows, m];
        let mut affine = Affine { merged: w.merged + u32::from(alpha != 1.0), ..Affine::exact(weight, vec![0.0; m]) };
        let mut extra = None;
        if let Some(c) = call.optional(2)? {
            let spread = self.spread(c, &shape)?;
            let merged = spread.merged + u32::from(beta != 1.0);
            let numbers: Vec<f64> = spread.floats()?.iter().map(|c| beta * c).collect();
            if rows == 1 {
                affine.bias = numbers;
                affine.merged = affine.merged.max(merged);
            } else {
                extra = Some((numbers, merged));
            }
        }
        let product = self.rows(&x, rows, affine, shape)?;
        let Some((numbers, merged)) = extra else { return Ok(Value::Active(product)) };
        let affine = Affine { merged, ..Affine::exact(vec![1.0; numbers.len()], numbers) };
        Ok(Value::Active(self.scale(&product, affine)?))
    }

    fn matmul(&mut self, call: &Call<'_>) -> Result<Value> {
        match (call.value(0)?, call.value(1)?) {
            (Value::Active(x), Value::Constant(w)) => {
                let (n, m) = match *w.shape.as_slice() {
                    [n] => (n, None),
                    [n, m] => (n, Some(m)),
                    _ => return Err(format!("a weight of shape {:?}", w.shape)),
                };
                let columns = m.unwrap_or(1);
                let numbers = w.floats()?;
                if x.shape.last() != Some(&n) || n == 0 || columns == 0 {
                    return Err(format!("{:?} times a weight of {:?}", x.shape, w.shape));
                }
                let weight = (0..columns).flat_map(|o| (0..n).map(move |i| numbers[i * columns + o])).collect();
                let mut shape = x.shape.clone();
                shape.pop();
                let rows = shape.iter().product();
                shape.extend(m);
                let affine = Affine { merged: w.merged, ..Affine::exact(weight, vec![0.0; columns]) };
                Ok(Value::Active(self.rows(&x, rows, affine, shape)?))
            }
            (Value::Constant(w), Value::Active(x)) => {
                let (m, n) = match *w.shape.as_slice() {
                    [n] => (None, n),
                    [m, n] => (Some(m), n),
                    _ => return Err(format!("a weight of shape {:?}", w.shape)),
                };
                let (mut front, columns) = match x.shape.as_slice() {
                    [k] => (vec![*k], None),
                    [front @ .., c] => (front.to_vec(), Some(*c)),
                    [] => return Err("a product with a scalar".into()),
                };
                if front.pop() != Some(n) || n == 0 || m == Some(0) {
                    return Err(format!("a weight of {:?} times {:?}", w.shape, x.shape));
                }
                // Columns of x as rows, and back.
                let (batch, c) = (front.iter().product::<usize>(), columns.unwrap_or(1));
                let outputs = m.unwrap_or(1);
                let view = Active { value: x.value, shape: vec![batch, n, c] };
                let rows = self.rearranged(&view, Moves::transpose(&view.shape, &[0, 2, 1]), 0.0)?;
                let affine = Affine { merged: w.merged, ..Affine::exact(w.floats()?.to_vec(), vec![0.0; outputs]) };
                let product = self.rows(&rows, batch * c, affine, vec![batch, c, outputs])?;
                let moves = Moves::transpose(&product.shape, &[0, 2, 1]);
                let value = self.rearranged(&product, moves, 0.0)?.value;
                front.extend(m);
                front.extend(columns);
                Ok(Value::Active(Active { value, shape: front }))
            }
            _ => Err("two variables, or two constants".into()),
        }
    }

    fn conv(&mut self, call: &Call<'_>) -> Result<Value> {
        let (mut x, w) = (call.active(0)?, call.constant(1)?);
        let rank = x.shape.len();
        if !matches!(rank, 3 | 4) || w.shape.len() != rank || x.shape[0] != 1 {
            return Err(format!(
                "{:?} with a weight of {:?}: one picture or one row of them is read",
                x.shape, w.shape
            ));
        }
        if call
            .ints("kernel_shape")
            .is_some_and(|kernel| kernel.iter().map(|k| *k as usize).ne(w.shape[2..].iter().copied()))
        {
            return Err(format!("kernel_shape {:?} of a weight of {:?}", call.ints("kernel_shape"), w.shape));
        }
        let groups = usize::try_from(call.int("group", 1)).map_err(|_| "group below 0")?;
        let mut around = [0; 4];
        // Zeros around what is read are the padding of the convolution, which engines have at no cost.
        if let Some((inner, zeros)) = self.padded.get(&x.value).cloned()
            && call.text("auto_pad", "NOTSET") == "NOTSET"
            && around_gives(&inner.shape, zeros, &x.shape)
        {
            (x, around) = (inner, zeros);
        }
        let (mut window, _) = window(call, &x.shape, &w.shape[2..])?;
        window.padding.iter_mut().zip(around).for_each(|(padding, more)| *padding += more);
        let [rows, columns] = window.output().ok_or("the kernel is larger than what it is moved over")?;
        let outputs = w.shape[0];
        let (bias, merged) = match call.optional(2)? {
            Some(bias) => (bias.floats()?.to_vec(), bias.merged),
            None => (vec![0.0; outputs], 0),
        };
        if groups == 0 || bias.len() != outputs || w.shape[1].checked_mul(groups) != Some(x.shape[1]) {
            return Err(format!("group {groups}, weight {:?}, {} biases for {:?}", w.shape, bias.len(), x.shape));
        }
        let affine = Affine { merged: w.merged.max(merged), ..Affine::exact(w.floats()?.to_vec(), bias) };
        let shape = if rank == 3 { vec![1, outputs, columns] } else { vec![1, outputs, rows, columns] };
        Ok(Value::Active(self.push(Operation::Conv { window, groups, affine }, vec![x.value], shape)?))
    }

    fn batch_norm(&mut self, call: &Call<'_>) -> Result<Value> {
        if call.int("training_mode", 0) != 0 {
            return Err("training_mode 1".into());
        }
        if call.int("spatial", 1) != 1 {
            return Err("spatial 0".into());
        }
        let x = call.active(0)?;
        let channels = *x.shape.get(1).ok_or("no channels")?;
        let part = |i: usize| -> Result<&[f64]> {
            let c = call.constant(i)?;
            if c.len() == channels && c.merged == 0 {
                c.floats()
            } else {
                Err(format!("{} numbers for {channels} channels, or computed ones", c.len()))
            }
        };
        let (gamma, beta, mean, var) = (part(1)?, part(2)?, part(3)?, part(4)?);
        let epsilon = f64::from(call.float("epsilon", 1e-5));
        let plane: usize = x.shape[2..].iter().product();
        let at = |i: usize| i / plane % channels;
        let scale: Vec<f64> = (0..channels).map(|c| gamma[c] / (var[c] + epsilon).sqrt()).collect();
        if scale.iter().any(|s| !s.is_finite()) || var.iter().any(|v| v + epsilon <= 0.0) {
            return Err("a variance that is not positive".into());
        }
        let n = x.shape.iter().product::<usize>();
        self.spend(3 * n)?;
        let shift = |c: usize| beta[c] - mean[c] * scale[c];
        // Sum, root, quotient; product and sum of the shift; the magnitudes themselves.
        let affine = Affine {
            weight: (0..n).map(|i| scale[at(i)]).collect(),
            bias: (0..n).map(|i| shift(at(i))).collect(),
            merged: 6,
            magnitude: (0..n).map(|i| beta[at(i)].abs() + (mean[at(i)] * scale[at(i)]).abs()).collect(),
        };
        Ok(Value::Active(self.scale(&x, affine)?))
    }

    fn pool(&mut self, op: &str, call: &Call<'_>) -> Result<Value> {
        let x = call.active(0)?;
        let kernel = sizes(call.ints("kernel_shape").ok_or("no kernel_shape")?)?;
        if !matches!(x.shape.len(), 3 | 4) || kernel.len() + 2 != x.shape.len() || x.shape[0] != 1 {
            return Err(format!("kernel_shape {kernel:?} on {:?}: one picture or one row of them is read", x.shape));
        }
        let (window, exact) = window(call, &x.shape, &kernel)?;
        if (0..4).any(|side| window.padding[side] >= window.kernel[side % 2]) || window.kernel.iter().any(|k| *k > 4096)
        {
            return Err("pads as wide as the window, or a window of more than 4096".into());
        }
        if call.int("ceil_mode", 0) != 0 && !exact {
            return Err("ceil_mode 1 with windows that leave the picture".into());
        }
        if call.int("storage_order", 0) != 0 {
            return Err("storage_order 1".into());
        }
        let [rows, columns] = window.output().ok_or("the window is larger than what it is moved over")?;
        let channels = x.shape[1];
        let shape = if x.shape.len() == 3 { vec![1, channels, columns] } else { vec![1, channels, rows, columns] };
        if op == "MaxPool" {
            return Ok(Value::Active(self.push(Operation::MaxPool(window), vec![x.value], shape)?));
        }
        let taps = window.kernel[0] * window.kernel[1];
        self.spend(channels.checked_mul(taps).ok_or("too large")?)?;
        let whole = call.int("count_include_pad", 0) != 0 || window.padding == [0; 4];
        let weight = if whole { 1.0 / taps as f64 } else { 1.0 };
        let affine =
            Affine { merged: u32::from(whole), ..Affine::exact(vec![weight; channels * taps], vec![0.0; channels]) };
        let pooled = self.push(Operation::Conv { window, groups: channels, affine }, vec![x.value], shape)?;
        if whole {
            return Ok(Value::Active(pooled));
        }
        let seen =
            |d: usize, place: usize| (0..window.kernel[d]).filter(|tap| window.sees(d, place, *tap).is_some()).count();
        let (high, wide): (Vec<_>, Vec<_>) =
            ((0..rows).map(|y| seen(0, y)).collect(), (0..columns).map(|x| seen(1, x)).collect());
        if high.contains(&0) || wide.contains(&0) {
            return Err("a window that lies in the padding alone".into());
        }
        let n = channels * rows * columns;
        self.spend(n)?;
        let weight = (0..n).map(|i| 1.0 / (high[i / columns % rows] * wide[i % columns]) as f64).collect();
        Ok(Value::Active(self.scale(&pooled, Affine { merged: 1, ..Affine::exact(weight, vec![0.0; n]) })?))
    }

    /// A mean or sum over dimensions: those are moved to the end, and what is left is a channel each.
    fn reduce(&mut self, op: &str, call: &Call<'_>) -> Result<Value> {
        let x = call.active(0)?;
        let rank = x.shape.len();
        let (over, kept) = if op == "GlobalAveragePool" {
            ((2..rank).collect(), true)
        } else {
            let from = match call.optional(1)? {
                Some(axes) => Some(axes.ints()?.to_vec()),
                None => call.ints("axes").map(<[i64]>::to_vec),
            };
            let over = match from {
                Some(from) if !from.is_empty() => axes(&from, rank)?,
                _ if call.int("noop_with_empty_axes", 0) != 0 => return Ok(Value::Active(x)),
                _ => (0..rank).collect(),
            };
            (over, call.int("keepdims", 1) != 0)
        };
        let stay: Vec<usize> = (0..rank).filter(|d| !over.contains(d)).collect();
        let order: Vec<usize> =
            stay.iter().chain((0..rank).collect::<Vec<_>>().iter().filter(|d| over.contains(d))).copied().collect();
        self.spend(count(&x.shape)?)?;
        let moved = self.rearranged(&x, Moves::transpose(&x.shape, &order), 0.0)?;
        let channels: usize = stay.iter().map(|d| x.shape[*d]).product();
        let taps = x.shape.iter().product::<usize>() / channels.max(1);
        let shape = (0..rank)
            .filter(|d| kept || stay.contains(d))
            .map(|d| if stay.contains(&d) { x.shape[d] } else { 1 })
            .collect();
        if taps == 0 {
            return Err("nothing to sum".into());
        }
        let mean = op != "ReduceSum";
        let weight = if mean { 1.0 / taps as f64 } else { 1.0 };
        let window =
            Window { input: [channels, 1, taps], kernel: [1, taps], stride: [1; 2], padding: [0; 4], dilation: [1; 2] };
        let affine =
            Affine { merged: u32::from(mean), ..Affine::exact(vec![weight; channels * taps], vec![0.0; channels]) };
        Ok(Value::Active(self.push(Operation::Conv { window, groups: channels, affine }, vec![moved.value], shape)?))
    }

    fn reshape(&mut self, op: &str, call: &Call<'_>) -> Result<Value> {
        let old = call.shape(0)?;
        let total = count(&old)?;
        let input_axes = |call: &Call<'_>| -> Result<Option<Vec<i64>>> {
            match call.optional(1)? {
                Some(axes) => Ok(Some(axes.ints()?.to_vec())),
                None => Ok(call.ints("axes").map(<[i64]>::to_vec)),
            }
        };
        let shape: Vec<usize> = match op {
            "Flatten" => {
                let axis = call.int("axis", 1);
                let axis = if axis == old.len() as i64 { old.len() } else { axes(&[axis], old.len())?[0] };
                vec![old[..axis].iter().product(), old[axis..].iter().product()]
            }
            "Squeeze" => match input_axes(call)? {
                Some(gone) => {
                    let gone = axes(&gone, old.len())?;
                    if gone.iter().any(|d| old[*d] != 1) {
                        return Err(format!("axes {gone:?} of {old:?}"));
                    }
                    (0..old.len()).filter(|d| !gone.contains(d)).map(|d| old[d]).collect()
                }
                None => old.iter().copied().filter(|size| *size != 1).collect(),
            },
            "Unsqueeze" => {
                let new = input_axes(call)?.ok_or("no axes")?;
                let rank = old.len() + new.len();
                let new = axes(&new, rank)?;
                let mut rest = old.iter();
                (0..rank)
                    .map(|d| if new.contains(&d) { Some(1) } else { rest.next().copied() })
                    .collect::<Option<_>>()
                    .ok_or("axes twice")?
            }
            _ => {
                let wanted = match call.optional(1).map_err(|_| "its shape depends on the input's numbers")? {
                    Some(wanted) => wanted.ints()?.to_vec(),
                    None => call.ints("shape").ok_or("no shape")?.to_vec(),
                };
                let copied = |(d, size): (usize, &i64)| match *size {
                    0 if call.int("allowzero", 0) == 0 => {
                        old.get(d).map(|size| *size as i64).ok_or("a 0 beyond the old shape")
                    }
                    size => Ok(size),
                };
                let mut wanted: Vec<i64> =
                    wanted.iter().enumerate().map(copied).collect::<std::result::Result<_, &str>>()?;
                let known = wanted
                    .iter()
                    .filter(|size| **size != -1)
                    .try_fold(1_i64, |product, size| product.checked_mul(*size));
                let known = known.filter(|known| *known > 0).ok_or_else(|| format!("shape {wanted:?} for {old:?}"))?;
                if let Some(rest) = wanted.iter_mut().find(|size| **size == -1) {
                    *rest = total as i64 / known;
                }
                sizes(&wanted)?
            }
        };
        if count(&shape)? != total {
            return Err(format!("shape {shape:?} for {old:?}"));
        }
        match call.value(0)? {
            Value::Constant(tensor) => Ok(Value::Constant(Tensor { shape, ..tensor })),
            Value::Active(x) => Ok(Value::Active(Active { value: x.value, shape })),
            Value::Sign(..) => Err("it reshapes the outcome of a comparison".into()),
        }
    }

    fn slice(&mut self, call: &Call<'_>) -> Result<Value> {
        let old = call.shape(0)?;
        let list = |name: &str, i: usize| -> Result<Option<Vec<i64>>> {
            match call.optional(i)? {
                Some(list) => Ok(Some(list.ints()?.to_vec())),
                None => Ok(call.ints(name).map(<[i64]>::to_vec)),
            }
        };
        let starts = list("starts", 1)?.ok_or("no starts")?;
        let ends = list("ends", 2)?.ok_or("no ends")?;
        let along = axes(&list("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect()), old.len())?;
        let steps = list("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
        if starts.len() != ends.len() || along.len() != ends.len() || steps.len() != ends.len() || steps.contains(&0) {
            return Err("starts, ends, axes and steps do not fit".into());
        }
        let mut shape = old.clone();
        let (mut first, mut step) = (vec![0_i64; old.len()], vec![1_i64; old.len()]);
        for (i, d) in along.into_iter().enumerate() {
            let size = old[d] as i64;
            let wrapped = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
            let (low, high) = if steps[i] > 0 { (0, size) } else { (-1, size - 1) };
            let start = wrapped(starts[i]).clamp(low.max(0), high.max(0));
            let end = wrapped(ends[i]).clamp(low, high);
            let span = if steps[i] > 0 { end - start } else { start - end };
            let width = steps[i].unsigned_abs();
            shape[d] = (span.max(0) as u64).div_ceil(width) as usize;
            (first[d], step[d]) = (start, steps[i]);
        }
        self.spend(count(&shape)?)?;
        let place = |at: &[usize]| {
            Some(at.iter().enumerate().map(|(d, i)| (first[d] + *i as i64 * step[d]) as usize).collect())
        };
        self.moved(call.value(0)?, Moves::new(&old, shape, place), 0.0)
    }

    fn split(&mut self, call: &Call<'_>, parts: usize) -> Result<Vec<Value>> {
        let old = call.shape(0)?;
        let axis = axes(&[call.int("axis", 0)], old.len())?[0];
        let given = match call.optional(1)? {
            Some(given) => Some(given.ints()?.to_vec()),
            None => call.ints("split").map(<[i64]>::to_vec),
        };
        let widths = match given {
            Some(given) => sizes(&given)?,
            None => {
                let width = old[axis].div_ceil(parts.max(1));
                (0..parts).map(|i| width.min(old[axis].saturating_sub(i * width))).collect()
            }
        };
        if widths.len() != parts || widths.iter().try_fold(0_usize, |sum, w| sum.checked_add(*w)) != Some(old[axis]) {
            return Err(format!("parts of {widths:?} along {} numbers", old[axis]));
        }
        let mut start = 0;
        let mut values = Vec::new();
        for width in widths {
            let mut shape = old.clone();
            shape[axis] = width;
            self.spend(count(&shape)?)?;
            let moves = Moves::new(&old, shape, |at| {
                Some(at.iter().enumerate().map(|(d, i)| if d == axis { i + start } else { *i }).collect())
            });
            values.push(self.moved(call.value(0)?, moves, 0.0)?);
            start += width;
        }
        Ok(values)
    }

    fn pad(&mut self, call: &Call<'_>) -> Result<Value> {
        let mode = call.text("mode", "constant");
        if mode != "constant" {
            return Err(format!("mode {mode}"));
        }
        let old = call.shape(0)?;
        let given = match call.optional(1)? {
            Some(pads) => pads.ints()?.to_vec(),
            None => call.ints("pads").ok_or("no pads")?.to_vec(),
        };
        let fill = match call.optional(2)? {
            Some(fill) if fill.merged == 0 && fill.len() == 1 => match &fill.data {
                Data::Float(fill) => fill[0],
                Data::Int(fill) => fill[0] as f64,
            },
            Some(_) => return Err("a constant that is no scalar of the file".into()),
            None => f64::from(call.float("value", 0.0)),
        };
        if !fill.is_finite() {
            return Err("pads with a number that is not finite".into());
        }
        let along = match call.optional(3)? {
            Some(along) => axes(along.ints()?, old.len())?,
            None => (0..old.len()).collect(),
        };
        if given.len() != 2 * along.len() || given.iter().any(|pad| pad.unsigned_abs() > 1 << 24) {
            return Err(format!("pads {given:?} of {old:?}"));
        }
        let (mut before, mut after) = (vec![0; old.len()], vec![0; old.len()]);
        for (i, d) in along.iter().enumerate() {
            (before[*d], after[*d]) = (given[i], given[along.len() + i]);
        }
        let wide: Vec<i64> = (0..old.len()).map(|d| old[d] as i64 + before[d] + after[d]).collect();
        let shape = sizes(&wide)?;
        self.spend(count(&shape)?)?;
        let place = |at: &[usize]| {
            let inner = at.iter().enumerate().map(|(d, i)| *i as i64 - before[d]);
            inner.zip(&old).map(|(i, size)| usize::try_from(i).ok().filter(|i| i < size)).collect()
        };
        let moves = Moves::new(&old, shape, place);
        let padded = self.moved(call.value(0)?, moves, fill)?;
        let around: Option<Vec<usize>> = before.iter().chain(&after).map(|pad| usize::try_from(*pad).ok()).collect();
        if let (Value::Active(x), Value::Active(y), Some(around)) = (call.value(0)?, &padded, around)
            && fill == 0.0
            && y.value != x.value
            && let [0, 0, top, left, 0, 0, bottom, right] = around[..]
        {
            self.padded.insert(y.value, (x, [top, left, bottom, right]));
        }
        Ok(padded)
    }

    fn concat(&mut self, call: &Call<'_>) -> Result<Value> {
        let first = call.shape(0)?;
        let axis = axes(&[call.attributes.get("axis").ok_or("no axis")?.int], first.len())?[0];
        let (mut shape, mut starts) = (first.clone(), Vec::new());
        shape[axis] = 0;
        let mut values = Vec::new();
        for i in 0..call.inputs.len() {
            let part = call.shape(i)?;
            if part.len() != first.len() || (0..part.len()).any(|d| d != axis && part[d] != first[d]) {
                return Err(format!("{part:?} behind {first:?}"));
            }
            starts.push(shape[axis]);
            shape[axis] = shape[axis].checked_add(part[axis]).ok_or("too large")?;
            values.push(call.value(i)?);
        }
        let total = count(&shape)?;
        self.spend(total)?;
        let moves = |part: &Value, start: usize| -> Result<Moves> {
            let old = shape_of(part)?;
            let inside = |i: usize| i >= start && i - start < old[axis];
            Ok(Moves::new(&old, shape.clone(), |at| {
                inside(at[axis])
                    .then(|| at.iter().enumerate().map(|(d, i)| if d == axis { i - start } else { *i }).collect())
            }))
        };
        let constants: Vec<&Tensor> =
            values.iter().filter_map(|v| if let Value::Constant(t) = v { Some(t) } else { None }).collect();
        let all_ints = constants.len() == values.len() && constants.iter().all(|t| matches!(t.data, Data::Int(_)));
        if all_ints {
            let mut data = vec![0; total];
            for (part, start) in values.iter().zip(&starts) {
                let Value::Constant(tensor) = part else { continue };
                let from = moves(part, *start)?.from;
                let numbers = tensor.ints()?;
                from.iter().enumerate().for_each(|(i, from)| data[i] = from.map_or(data[i], |at| numbers[at as usize]));
            }
            return Ok(Value::Constant(Tensor { shape, data: Data::Int(data), merged: 0, double: false }));
        }
        let merged = constants.iter().map(|t| t.merged).max().unwrap_or(0);
        let double = constants.iter().any(|t| t.double);
        let mut fill = vec![0.0; if constants.is_empty() { 0 } else { total }];
        let mut parts = Vec::new();
        for (part, start) in values.iter().zip(&starts) {
            self.spend(total)?;
            let from = moves(part, *start)?.from;
            match part {
                Value::Constant(tensor) => {
                    let numbers = tensor.floats()?;
                    from.iter()
                        .enumerate()
                        .for_each(|(i, from)| fill[i] = from.map_or(fill[i], |at| numbers[at as usize]));
                }
                Value::Active(x) => parts.push((x.value, from)),
                Value::Sign(..) => return Err("the outcome of a comparison is no number".into()),
            }
        }
        if parts.is_empty() {
            return Ok(Value::Constant(Tensor { shape, data: Data::Float(fill), merged, double }));
        }
        if merged > 0 {
            return Err("a constant that is computed".into());
        }
        let mut gathered = Vec::new();
        for (value, from) in parts {
            let fill = std::mem::take(&mut fill);
            gathered.push(self.push(Operation::Gather { from, fill }, vec![value], shape.clone())?);
        }
        if let [one] = gathered.as_slice() {
            return Ok(Value::Active(one.clone()));
        }
        let inputs = gathered.iter().map(|part| part.value).collect();
        Ok(Value::Active(self.push(Operation::Add, inputs, shape)?))
    }

    fn constant_of_shape(&mut self, call: &Call<'_>) -> Result<Value> {
        let shape = sizes(call.constant(0)?.ints()?)?;
        let total = count(&shape)?;
        self.spend(total)?;
        let zero = Tensor { shape: vec![1], data: Data::Float(vec![0.0]), merged: 0, double: false };
        let value = call.attributes.get("value").and_then(|a| a.tensor.clone()).unwrap_or(zero);
        if value.len() != 1 {
            return Err("a value that is no scalar".into());
        }
        Ok(Value::Constant(Moves { shape, from: vec![Some(0); total] }.constant(&value, 0.0)))
    }

    fn range(&mut self, call: &Call<'_>) -> Result<Value> {
        let number = |i: usize| -> Result<i64> {
            call.constant(i)?.ints()?.first().copied().ok_or_else(|| "an empty bound".into())
        };
        let (start, limit, step) = (number(0)?, number(1)?, number(2)?);
        let span = limit.checked_sub(start).ok_or("too large")?;
        if step == 0 {
            return Err("a step of 0".into());
        }
        let n = if (span > 0) == (step > 0) { span.unsigned_abs().div_ceil(step.unsigned_abs()) } else { 0 };
        self.spend(usize::try_from(n).map_err(|_| "too large")?)?;
        Ok(Value::Constant(Tensor::of_ints((0..n as i64).map(|i| start + i * step).collect())))
    }

    fn gather(&mut self, call: &Call<'_>) -> Result<Value> {
        let (Value::Constant(data), indices) = (call.value(0)?, call.constant(1)?) else {
            return Err("it gathers from a variable".into());
        };
        let axis = axes(&[call.int("axis", 0)], data.shape.len())?[0];
        let size = data.shape[axis] as i64;
        let wrap = |i: &i64| usize::try_from(if *i < 0 { *i + size } else { *i }).ok().filter(|i| (*i as i64) < size);
        let at: Vec<usize> =
            indices.ints()?.iter().map(wrap).collect::<Option<_>>().ok_or_else(|| format!("an index beyond {size}"))?;
        let mut shape = data.shape[..axis].to_vec();
        shape.extend(&indices.shape);
        shape.extend(&data.shape[axis + 1..]);
        self.spend(count(&shape)?)?;
        let (rank, steps) = (indices.shape.len(), strides(&indices.shape));
        let place = |i: &[usize]| {
            let index: usize = i[axis..axis + rank].iter().zip(&steps).map(|(i, step)| i * step).sum();
            let mut old = i[..axis].to_vec();
            old.push(at[index]);
            old.extend(&i[axis + rank..]);
            Some(old)
        };
        Ok(Value::Constant(Moves::new(&data.shape, shape, place).constant(&data, 0.0)))
    }
}

/// What a node is given.
struct Call<'a> {
    inputs: Vec<Option<Value>>,
    attributes: &'a HashMap<String, Attribute>,
}

impl Call<'_> {
    fn value(&self, i: usize) -> Result<Value> {
        self.inputs.get(i).cloned().flatten().ok_or_else(|| format!("input {i} is missing"))
    }

    fn active(&self, i: usize) -> Result<Active> {
        match self.value(i)? {
            Value::Active(x) => Ok(x),
            Value::Constant(_) => Err(format!("input {i} is a constant")),
            Value::Sign(..) => Err("the outcome of a comparison is no number".into()),
        }
    }

    fn constant(&self, i: usize) -> Result<&Tensor> {
        self.optional(i)?.ok_or_else(|| format!("input {i} is missing"))
    }

    fn optional(&self, i: usize) -> Result<Option<&Tensor>> {
        match self.inputs.get(i) {
            Some(Some(Value::Constant(tensor))) => Ok(Some(tensor)),
            Some(Some(Value::Active(_) | Value::Sign(..))) => {
                Err(format!("input {i} is a variable where a constant belongs: two variables"))
            }
            Some(None) | None => Ok(None),
        }
    }

    fn shape(&self, i: usize) -> Result<Vec<usize>> {
        shape_of(&self.value(i)?)
    }

    fn int(&self, name: &str, absent: i64) -> i64 {
        self.attributes.get(name).map_or(absent, |a| a.int)
    }

    fn float(&self, name: &str, absent: f32) -> f32 {
        self.attributes.get(name).map_or(absent, |a| a.float)
    }

    fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attributes.get(name).map(|a| a.ints.as_slice())
    }

    fn text(&self, name: &str, absent: &str) -> String {
        self.attributes.get(name).map_or_else(|| absent.to_string(), |a| a.text.clone())
    }
}

fn shape_of(value: &Value) -> Result<Vec<usize>> {
    match value {
        Value::Constant(tensor) => Ok(tensor.shape.clone()),
        Value::Active(x) => Ok(x.shape.clone()),
        Value::Sign(..) => Err("the outcome of a comparison is no number".into()),
    }
}

fn axes(given: &[i64], rank: usize) -> Result<Vec<usize>> {
    let wrap = |axis: &i64| {
        let at = if *axis < 0 { axis.checked_add(rank as i64)? } else { *axis };
        usize::try_from(at).ok().filter(|axis| *axis < rank)
    };
    given.iter().map(wrap).collect::<Option<_>>().ok_or_else(|| format!("axes {given:?} of {rank} dimensions"))
}

fn sizes(given: &[i64]) -> Result<Vec<usize>> {
    let size = |size: &i64| usize::try_from(*size).ok();
    given.iter().map(size).collect::<Option<_>>().ok_or_else(|| format!("sizes {given:?}"))
}

/// Whether a picture has this shape with so many numbers around it; what was reshaped since is another picture.
fn around_gives(inner: &[usize], [top, left, bottom, right]: [usize; 4], shape: &[usize]) -> bool {
    matches!((inner, shape), (&[n, c, h, w], wide) if wide == [n, c, h + top + bottom, w + left + right])
}

/// The window of a convolution or pool over `[1, C, W]` or `[1, C, H, W]`, and whether its steps end at the border.
fn window(call: &Call<'_>, shape: &[usize], kernel: &[usize]) -> Result<(Window, bool)> {
    let dims = kernel.len();
    let list = |name: &str, n: usize, absent: usize| -> Result<Vec<usize>> {
        let list = match call.ints(name) {
            None | Some([]) => vec![absent; n],
            Some(list) => sizes(list).map_err(|why| format!("{name}: {why}"))?,
        };
        // What is larger than this is no picture; sums of a few cannot overflow.
        if list.len() == n && list.iter().all(|size| *size < 1 << 24) {
            Ok(list)
        } else {
            Err(format!("{name} {list:?}"))
        }
    };
    let (strides, dilations) = (list("strides", dims, 1)?, list("dilations", dims, 1)?);
    if strides.contains(&0) || dilations.contains(&0) || kernel.iter().any(|k| *k == 0 || *k >= 1 << 24) {
        return Err("a window with a size of 0, or beyond any picture".into());
    }
    let pads = list("pads", 2 * dims, 0)?;
    let auto = call.text("auto_pad", "NOTSET");
    let side = |d: usize| -> Result<(usize, usize)> {
        match auto.as_str() {
            "NOTSET" | "" => Ok((pads[d], pads[d + dims])),
            "VALID" => Ok((0, 0)),
            "SAME_UPPER" | "SAME_LOWER" => {
                let size = shape[d + 2];
                let reach = (kernel[d] - 1) * dilations[d] + 1;
                let total = ((size.div_ceil(strides[d]).max(1) - 1) * strides[d] + reach).saturating_sub(size);
                let (small, large) = (total / 2, total - total / 2);
                Ok(if auto == "SAME_UPPER" { (small, large) } else { (large, small) })
            }
            other => Err(format!("auto_pad {other}")),
        }
    };
    let mut window =
        Window { input: [shape[1], 1, 1], kernel: [1; 2], stride: [1; 2], padding: [0; 4], dilation: [1; 2] };
    let mut exact = true;
    for d in 0..dims {
        let to = d + 2 - dims;
        window.input[to + 1] = shape[d + 2];
        (window.kernel[to], window.stride[to], window.dilation[to]) = (kernel[d], strides[d], dilations[d]);
        (window.padding[to], window.padding[to + 2]) = side(d)?;
        let reach = (kernel[d] - 1) * dilations[d] + 1;
        let room = shape[d + 2] + window.padding[to] + window.padding[to + 2];
        exact &= room.checked_sub(reach).is_some_and(|room| room.is_multiple_of(strides[d]));
    }
    Ok((window, exact))
}

fn constant(call: &Call<'_>) -> Result<Value> {
    let float = |data: Vec<f64>, shape| Tensor { shape, data: Data::Float(data), merged: 0, double: false };
    let Some((name, value)) = call.attributes.iter().next() else { return Err("no value".into()) };
    let tensor = match name.as_str() {
        "value" => value.tensor.clone().ok_or("no value")?,
        "value_float" => float(vec![f64::from(value.float)], vec![]),
        "value_floats" => float(value.floats.clone(), vec![value.floats.len()]),
        "value_int" => Tensor { shape: vec![], ..Tensor::of_ints(vec![value.int]) },
        "value_ints" => Tensor::of_ints(value.ints.clone()),
        other => return Err(format!("attribute {other}")),
    };
    if let Data::Float(data) = &tensor.data
        && let Some(number) = data.iter().find(|number| number.is_nan())
    {
        return Err(format!("its value is {number}"));
    }
    Ok(Value::Constant(tensor))
}

fn shape(call: &Call<'_>) -> Result<Value> {
    let shape: Vec<i64> = call.shape(0)?.iter().map(|size| *size as i64).collect();
    let rank = shape.len() as i64;
    let bound = |name: &str, absent: i64| {
        let at = call.int(name, absent);
        (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize
    };
    let (start, end) = (bound("start", 0), bound("end", rank));
    Ok(Value::Constant(Tensor::of_ints(shape.get(start..end).unwrap_or(&[]).to_vec())))
}

fn cast(call: &Call<'_>) -> Result<Value> {
    let to = call.int("to", 0);
    match (call.value(0)?, to) {
        (Value::Active(x), 1 | 11) => Ok(Value::Active(x)),
        (Value::Constant(t), 1 | 11) => {
            let data = match t.data {
                Data::Float(data) => data,
                Data::Int(data) if data.iter().all(|i| i.unsigned_abs() <= 1 << 24) => {
                    data.iter().map(|i| *i as f64).collect()
                }
                Data::Int(_) => return Err("an integer that a float does not hold".into()),
            };
            // A double that is no float is another number then.
            if to == 1 && t.merged == 0 && data.iter().any(|x| f64::from(*x as f32) != *x) {
                return Err("a double that a float does not hold".into());
            }
            Ok(Value::Constant(Tensor { data: Data::Float(data), double: to == 11, ..t }))
        }
        (Value::Constant(t), 6 | 7) => {
            let data = match t.data {
                Data::Int(data) => data,
                Data::Float(data) => data.iter().map(|x| *x as i64).collect(),
            };
            Ok(Value::Constant(Tensor { data: Data::Int(data), ..t }))
        }
        _ => Err(format!("to elements of type {to}")),
    }
}

/// Two constants of one shape. What is rounded is counted; a sum of what was rounded could cancel and is refused.
fn folded(op: &str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let data = match (&a.data, &b.data) {
        (Data::Int(a), Data::Int(b)) => {
            let both = a.iter().zip(b).map(|(a, b)| match op {
                "Add" => a.checked_add(*b),
                "Sub" => a.checked_sub(*b),
                "Mul" => a.checked_mul(*b),
                _ => a.checked_div(*b),
            });
            Data::Int(both.collect::<Option<_>>().ok_or("integers that overflow")?)
        }
        (Data::Float(x), Data::Float(y)) => {
            if matches!(op, "Add" | "Sub") && (a.merged > 0 || b.merged > 0) {
                return Err("a sum of constants that are computed".into());
            }
            let both = x.iter().zip(y).map(|(x, y)| match op {
                "Add" => x + y,
                "Sub" => x - y,
                "Mul" => x * y,
                _ => x / y,
            });
            let both: Vec<f64> = both.collect();
            // Below the normal numbers a rounding is not relative.
            if both.iter().any(|n| !n.is_finite() || (*n != 0.0 && !n.is_normal())) {
                return Err("constants that overflow or underflow".into());
            }
            Data::Float(both)
        }
        _ => return Err("an integer and a float".into()),
    };
    let merged = if matches!(data, Data::Int(_)) { 0 } else { a.merged + b.merged + 1 };
    Ok(Tensor { shape: a.shape.clone(), data, merged, double: a.double })
}

fn compare(op: &str, call: &Call<'_>) -> Result<Value> {
    // One that has more dimensions would add them to what is chosen.
    let zero = |c: &Tensor, x: &Active| {
        c.len() == 1 && c.shape.len() <= x.shape.len() && matches!(&c.data, Data::Float(data) if data[0] == 0.0)
    };
    let greater = op.starts_with("Greater");
    match (call.value(0)?, call.value(1)?) {
        (Value::Active(x), Value::Constant(c)) if zero(&c, &x) => Ok(Value::Sign(x, greater)),
        (Value::Constant(c), Value::Active(x)) if zero(&c, &x) => Ok(Value::Sign(x, !greater)),
        _ => Err("a comparison with something else than 0".into()),
    }
}
