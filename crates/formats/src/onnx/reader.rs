//! The graph of a file as a [`Computation`]: constants are folded, what moves numbers becomes a gather or nothing, the rest affine nodes,
//! ReLUs and pools. What has no place there is refused by its name.
//!
//! | file | operations |
//! |---|---|
//! | `arithmetic` | Add, Sub, Mul, Div, Neg, Sum |
//! | `constants` | Constant, ConstantOfShape, Shape, Range, Gather, Cast |
//! | `convolution` | Conv |
//! | `normalisation` | BatchNormalization |
//! | `parts` | Slice, Split, Pad, Concat |
//! | `pooling` | AveragePool, MaxPool, GlobalAveragePool, ReduceMean, ReduceSum |
//! | `products` | Gemm, MatMul |
//! | `rectifiers` | LeakyRelu, PRelu, Clip, Max, Min, comparisons, Where |
//! | `shape` | Flatten, Reshape, Squeeze, Unsqueeze, Transpose, Expand |
//!
//! Relu, Sigmoid, Tanh, Identity and Dropout stand here.

mod arithmetic;
mod constants;
mod convolution;
mod normalisation;
mod parts;
mod pooling;
mod products;
mod rectifiers;
mod shape;

use std::collections::HashMap;

use temper_graph::computation::{Affine, Computation, Curve, Node, Operation};

use super::model::{self, Attribute, Data, Model, Tensor};
use super::tensor::{Moves, count, together};
use super::wire::Result;

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
            // Some runtimes find numbers where the standard leaves none, as in a slice backwards to the largest integer.
            if let Value::Active(active) = &value
                && active.shape.contains(&0)
            {
                return Err(format!("{place}: no numbers are left in {:?}", active.shape));
            }
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
    let computation = computation.up_to(last.value);
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
            "Constant" => constants::constant(call),
            "Identity" => call.value(0),
            "Dropout" => {
                if call.optional(2)?.is_some_and(|t| matches!(&t.data, Data::Int(data) if data.contains(&1))) {
                    return Err("training_mode 1".into());
                }
                call.value(0)
            }
            "Shape" => constants::shape(call),
            "Cast" => constants::cast(call),
            "ConstantOfShape" => self.constant_of_shape(call),
            "Range" => self.range(call),
            "Gather" => self.gather(call),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => self.reshape(op, call),
            "Transpose" => self.transpose(call),
            "Expand" => self.expand(call),
            "Slice" => self.slice(call),
            "Pad" => self.pad(call),
            "Concat" => self.concat(call),
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(op, call.value(0)?, call.value(1)?),
            "Neg" => self.negative(call),
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
            "Sigmoid" | "Tanh" => {
                let (x, curve) = (call.active(0)?, if op == "Tanh" { Curve::Tanh } else { Curve::Sigmoid });
                active(self.push(Operation::Curve(curve), vec![x.value], x.shape))
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
            "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" => rectifiers::compare(op, call),
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

    fn spread(&mut self, c: &Tensor, shape: &[usize]) -> Result<Tensor> {
        match self.broadcast(Value::Constant(c.clone()), shape)? {
            Value::Constant(c) => Ok(c),
            Value::Active(_) | Value::Sign(..) => Err("no constant".into()),
        }
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
