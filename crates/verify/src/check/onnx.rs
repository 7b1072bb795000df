//! The checker's own reading of ONNX: the wire format, and the operations that make affine maps and ReLUs.

use std::collections::HashMap;

type Result<T> = std::result::Result<T, String>;

/// No value may have more numbers.
const MOST: usize = 1 << 24;

/// A network as values in order: 0 is the input, each other one is computed of earlier ones.
pub struct Net {
    /// The values.
    pub values: Vec<Value>,
    /// The number of the value that is the output.
    pub output: usize,
    /// Whether all numbers are single precision.
    pub single: bool,
}

/// A flat array and where it comes from.
pub struct Value {
    /// How many numbers it has.
    pub len: usize,
    /// What computes it.
    pub op: Op,
}

/// What computes a value.
pub enum Op {
    /// The network's input.
    Input,
    /// `map x + bias`. Each bias was summed from numbers with these magnitudes.
    Affine { from: usize, map: Map, bias: Vec<f64>, magnitude: Vec<f64> },
    /// Numbers in another order, 0 where nothing comes from; none comes twice.
    Gather { from: usize, index: Vec<Option<usize>> },
    /// `a + sign b`.
    Sum { of: [usize; 2], sign: f64 },
    /// `max(x, 0)`.
    Relu { from: usize },
}

/// A linear map, whose weights are right to 4 roundings in double precision: a convolution. With one place it is dense, and with a
/// channel a group it scales.
pub struct Map {
    /// `[input channels, taps, output channels / groups]`.
    pub weight: Vec<f64>,
    /// How many channels the input and the output have.
    pub channels: [usize; 2],
    /// In so many groups.
    pub groups: usize,
    /// How many weights go from a channel to another one.
    pub taps: usize,
    /// Of every place of the input what reads it: the tap and the place of the output.
    pub readers: Vec<Vec<(usize, usize)>>,
    /// How many places the output has.
    pub places: usize,
}

impl Map {
    /// A map of one place.
    fn flat(weight: Vec<f64>, channels: [usize; 2], groups: usize) -> Self {
        Self { weight, channels, groups: groups.max(1), taps: 1, readers: vec![vec![(0, 0)]], places: 1 }
    }

    /// One weight an element.
    fn diagonal(weight: Vec<f64>) -> Self {
        let len = weight.len();
        Self::flat(weight, [len, len], len)
    }

    /// Whether it is one weight an element.
    pub fn scales(&self) -> bool {
        self.fan_in() == 1 && self.fan_out() == 1 && self.places == 1 && self.readers == [[(0, 0)]]
    }

    /// At most so many terms has an output.
    pub fn fan_in(&self) -> usize {
        self.channels[0] / self.groups * self.taps
    }

    /// In at most so many outputs stands an input.
    pub fn fan_out(&self) -> usize {
        self.channels[1] / self.groups * self.taps
    }
}

/// A field of a message: a number or bytes.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or("the ONNX file is cut off")?;
        *bytes = rest;
        value |= u64::from(byte & 127) << shift;
        if *byte < 128 {
            return Ok(value);
        }
    }
    Err("a number of the ONNX file is too long".into())
}

fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, Field<'_>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let size = match key & 7 {
            0 => {
                found.push((key >> 3, Field::Number(varint(&mut bytes)?)));
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes)? as usize,
            5 => 4,
            kind => return Err(format!("the ONNX file has a field of type {kind}")),
        };
        let (field, rest) = bytes.split_at_checked(size).ok_or("the ONNX file is cut off")?;
        bytes = rest;
        found.push((key >> 3, Field::Bytes(field)));
    }
    Ok(found)
}

/// The messages in this field.
fn messages<'a>(fields: &'a [(u64, Field<'a>)], wanted: u64) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |(number, _)| *number == wanted).filter_map(|(_, field)| match field {
        Field::Bytes(bytes) => Some(*bytes),
        Field::Number(_) => None,
    })
}

fn strings(fields: &[(u64, Field)], wanted: u64) -> Vec<String> {
    messages(fields, wanted).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
}

fn text(fields: &[(u64, Field)], wanted: u64) -> String {
    strings(fields, wanted).pop().unwrap_or_default()
}

/// Repeated integers, packed or not.
fn integers(fields: &[(u64, Field)], wanted: u64) -> Result<Vec<i64>> {
    let mut found = Vec::new();
    for (_, field) in fields.iter().filter(|(number, _)| *number == wanted) {
        match field {
            Field::Number(number) => found.push(*number as i64),
            Field::Bytes(bytes) => {
                let mut bytes = *bytes;
                while !bytes.is_empty() {
                    found.push(varint(&mut bytes)? as i64);
                }
            }
        }
    }
    Ok(found)
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    bytes.chunks_exact(N).map(|word| word.try_into().expect("a chunk of N bytes"))
}

/// Numbers of a file. Integers are kept as doubles, which every shape fits.
#[derive(Clone)]
struct Tensor {
    shape: Vec<usize>,
    numbers: Vec<f64>,
    kind: i64,
}

fn tensor(bytes: &[u8]) -> Result<(String, Tensor)> {
    let fields = fields(bytes)?;
    let name = text(&fields, 8);
    let kind = integers(&fields, 2)?.pop().unwrap_or(0);
    if integers(&fields, 14)?.iter().any(|location| *location != 0) {
        return Err(format!("tensor {name} lies in another file"));
    }
    let raw: Vec<u8> = messages(&fields, 9).flatten().copied().collect();
    let packed = |field| messages(&fields, field).flatten().copied().collect::<Vec<u8>>();
    let whole = |field| Ok::<_, String>(integers(&fields, field)?.into_iter().map(|n| n as f64).collect::<Vec<_>>());
    let float = |bytes: &[u8]| words(bytes).map(|word| f64::from(f32::from_le_bytes(word))).collect::<Vec<_>>();
    let double = |bytes: &[u8]| words(bytes).map(f64::from_le_bytes).collect::<Vec<_>>();
    let numbers = match (kind, raw.is_empty()) {
        (1, true) => float(&packed(4)),
        (1, false) => float(&raw),
        (11, true) => double(&packed(10)),
        (11, false) => double(&raw),
        (7, true) => whole(7)?,
        (7, false) => words(&raw).map(|word| i64::from_le_bytes(word) as f64).collect(),
        (6, true) => whole(5)?,
        (6, false) => words(&raw).map(|word| f64::from(i32::from_le_bytes(word))).collect(),
        _ => return Err(format!("tensor {name} has the element type {kind}")),
    };
    let shape = shape(&integers(&fields, 1)?)?;
    let size = shape.iter().try_fold(1usize, |size, dim| size.checked_mul(*dim));
    if Some(numbers.len()) != size || numbers.iter().any(|number| !number.is_finite()) {
        return Err(format!("tensor {name}: {} numbers for the shape {shape:?}, or not all finite", numbers.len()));
    }
    Ok((name, Tensor { shape, numbers, kind }))
}

fn shape(dims: &[i64]) -> Result<Vec<usize>> {
    let size = |dim: &i64| usize::try_from(*dim).ok().filter(|dim| *dim <= MOST);
    dims.iter().map(size).collect::<Option<_>>().ok_or_else(|| format!("a shape {dims:?}"))
}

/// The size of a shape.
fn product(shape: &[usize]) -> Result<usize> {
    let size = shape.iter().try_fold(1usize, |size, dim| size.checked_mul(*dim));
    size.filter(|size| *size <= MOST).ok_or_else(|| format!("a shape {shape:?}"))
}

/// The name of a graph's input or output and its sizes; a size that is not said is 1.
fn declared(bytes: &[u8]) -> Result<(String, Vec<usize>)> {
    let fields_of = fields(bytes)?;
    let mut dims = Vec::new();
    for kind in messages(&fields_of, 2) {
        for tensor in messages(&fields(kind)?, 1) {
            for sizes in messages(&fields(tensor)?, 2) {
                for dim in messages(&fields(sizes)?, 1) {
                    dims.push(integers(&fields(dim)?, 1)?.pop().unwrap_or(1).max(1));
                }
            }
        }
    }
    Ok((text(&fields_of, 1), shape(&dims)?))
}

/// What stands behind a name.
#[derive(Clone)]
enum Item {
    Constant(Tensor),
    Value(usize, Vec<usize>),
}

/// A node, and the items that it reads; an input that is left out is `None`.
struct Node<'a> {
    attributes: HashMap<String, Vec<(u64, Field<'a>)>>,
    inputs: Vec<Option<Item>>,
}

impl Node<'_> {
    fn ints(&self, name: &str, default: &[i64]) -> Result<Vec<i64>> {
        self.attributes.get(name).map_or(Ok(default.to_vec()), |fields| integers(fields, 8))
    }

    fn int(&self, name: &str, default: i64) -> Result<i64> {
        self.attributes.get(name).map_or(Ok(default), |fields| Ok(integers(fields, 3)?.pop().unwrap_or(0)))
    }

    fn float(&self, name: &str, default: f32) -> f64 {
        let Some(fields) = self.attributes.get(name) else { return f64::from(default) };
        f64::from(messages(fields, 2).flat_map(words).last().map_or(0.0, f32::from_le_bytes))
    }

    fn string(&self, name: &str) -> String {
        self.attributes.get(name).map(|fields| text(fields, 4)).unwrap_or_default()
    }

    fn value(&self, i: usize) -> Result<(usize, &[usize])> {
        match self.inputs.get(i) {
            Some(Some(Item::Value(value, shape))) => Ok((*value, shape)),
            _ => Err(format!("input {i} is not computed from the network's input")),
        }
    }

    fn constant(&self, i: usize) -> Result<&Tensor> {
        match self.inputs.get(i) {
            Some(Some(Item::Constant(tensor))) => Ok(tensor),
            _ => Err(format!("input {i} is no constant")),
        }
    }

    /// Two sizes that an attribute gives, each at least `least`.
    fn pair(&self, name: &str, default: [i64; 2], least: usize) -> Result<[usize; 2]> {
        let sizes = shape(&self.ints(name, &default)?)?;
        sizes
            .try_into()
            .ok()
            .filter(|pair: &[usize; 2]| *pair.iter().min().unwrap_or(&0) >= least)
            .ok_or_else(|| format!("{name} has other than two sizes"))
    }
}

/// Reads a network of one input and one output.
pub fn read(bytes: &[u8]) -> Result<Net> {
    let model = fields(bytes)?;
    let graph = fields(messages(&model, 7).last().ok_or("the ONNX file has no graph")?)?;
    let mut items = HashMap::new();
    let mut net = Net { values: Vec::new(), output: 0, single: true };
    for bytes in messages(&graph, 5) {
        let (name, tensor) = tensor(bytes)?;
        net.single &= tensor.kind != 11;
        items.insert(name, Item::Constant(tensor));
    }
    let inputs = messages(&graph, 11).map(declared).collect::<Result<Vec<_>>>()?;
    let free: Vec<_> = inputs.into_iter().filter(|(name, _)| !items.contains_key(name)).collect();
    let outputs = messages(&graph, 12).map(declared).collect::<Result<Vec<_>>>()?;
    let ([(input, sizes)], [(output, _)]) = (free.as_slice(), outputs.as_slice()) else {
        return Err(format!("the network has {} inputs and {} outputs", free.len(), outputs.len()));
    };
    net.values.push(Value { len: product(sizes)?, op: Op::Input });
    items.insert(input.clone(), Item::Value(0, sizes.clone()));
    for (number, bytes) in messages(&graph, 1).enumerate() {
        let found = fields(bytes)?;
        let (op, domain) = (text(&found, 4), text(&found, 7));
        let fail = |why: String| format!("{op} at node {number} of the ONNX file: {why}");
        if !domain.is_empty() && domain != "ai.onnx" {
            return Err(fail(format!("the domain {domain}")));
        }
        let read: Vec<String> = strings(&found, 1);
        let known =
            |name: &String| items.get(name).cloned().ok_or_else(|| fail(format!("nothing before it gives {name}")));
        let inputs = read.iter().map(|name| if name.is_empty() { Ok(None) } else { known(name).map(Some) });
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let mut attributes = HashMap::new();
        for bytes in messages(&found, 5) {
            let attribute = fields(bytes)?;
            attributes.insert(text(&attribute, 1), attribute);
        }
        let item = operation(&mut net, &op, &Node { attributes, inputs }).map_err(fail)?;
        if let Item::Constant(tensor) = &item {
            net.single &= tensor.kind != 11;
        }
        let name = strings(&found, 2).into_iter().next().unwrap_or_default();
        if items.insert(name.clone(), item).is_some() {
            return Err(fail(format!("{name} is given twice")));
        }
    }
    match items.get(output) {
        Some(Item::Value(value, _)) => net.output = *value,
        _ => return Err(format!("nothing computes the output {output}")),
    }
    Ok(net)
}

/// Adds what a node computes.
fn operation(net: &mut Net, op: &str, node: &Node) -> Result<Item> {
    let mut add = |len: usize, op: Op, shape: Vec<usize>| {
        net.values.push(Value { len, op });
        Ok(Item::Value(net.values.len() - 1, shape))
    };
    match op {
        "Constant" => {
            let value = node.attributes.get("value").ok_or("it gives no tensor")?;
            Ok(Item::Constant(tensor(messages(value, 5).last().ok_or("it gives no tensor")?)?.1))
        }
        "Identity" => Ok(node.inputs.first().cloned().flatten().ok_or("it reads nothing")?),
        "Dropout" => {
            let (from, shape) = node.value(0)?;
            if node.inputs.get(2).is_some_and(Option::is_some) {
                return Err("a training mode".into());
            }
            Ok(Item::Value(from, shape.to_vec()))
        }
        "Flatten" => {
            let (from, shape) = node.value(0)?;
            let axis = node.int("axis", 1)?;
            let axis = if axis < 0 { axis + shape.len() as i64 } else { axis };
            let axis = usize::try_from(axis).ok().filter(|axis| *axis <= shape.len()).ok_or("an axis that is none")?;
            Ok(Item::Value(from, vec![product(&shape[..axis])?, product(&shape[axis..])?]))
        }
        "Reshape" => {
            let (from, old) = node.value(0)?;
            let (wanted, keep) = (&node.constant(1)?.numbers, node.int("allowzero", 0)? == 0);
            let size = product(old)?;
            let mut sizes = Vec::new();
            for (i, dim) in wanted.iter().enumerate() {
                let copied = if keep && *dim == 0.0 {
                    *old.get(i).ok_or("it copies a size that is not there")? as f64
                } else {
                    *dim
                };
                sizes.push(if copied == -1.0 { -1 } else { copied as i64 });
            }
            let known = product(&shape(&sizes.iter().copied().filter(|dim| *dim != -1).collect::<Vec<_>>())?)?.max(1);
            sizes.iter_mut().filter(|dim| **dim == -1).for_each(|dim| *dim = (size / known) as i64);
            let sizes = shape(&sizes)?;
            if product(&sizes)? != size {
                return Err(format!("{old:?} as {wanted:?}"));
            }
            Ok(Item::Value(from, sizes))
        }
        "Transpose" => {
            let (from, old) = node.value(0)?;
            let backwards: Vec<i64> = (0..old.len() as i64).rev().collect();
            let perm = shape(&node.ints("perm", &backwards)?)?;
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            if sorted != (0..old.len()).collect::<Vec<_>>() {
                return Err(format!("the permutation {perm:?} of {old:?}"));
            }
            let new: Vec<usize> = perm.iter().map(|axis| old[*axis]).collect();
            let place = |i| {
                let mut at = vec![0; old.len()];
                perm.iter().zip(places(i, &new)).for_each(|(axis, place)| at[*axis] = place);
                Some(at.iter().zip(old).fold(0, |i, (place, size)| i * size + place))
            };
            let index: Vec<_> = (0..product(&new)?).map(place).collect();
            add(index.len(), Op::Gather { from, index }, new)
        }
        "Pad" => {
            let (from, old) = node.value(0)?;
            let given = node.inputs.len() > 1;
            let pads = if given {
                node.constant(1)?.numbers.clone()
            } else {
                node.ints("pads", &[])?.iter().map(|n| *n as f64).collect()
            };
            let value = if node.inputs.get(2).is_some_and(Option::is_some) {
                node.constant(2)?.numbers.first().copied()
            } else {
                None
            };
            let zero = value.unwrap_or(0.0) == 0.0 && node.float("value", 0.0) == 0.0;
            if !zero || !matches!(node.string("mode").as_str(), "" | "constant") || node.inputs.len() > 3 {
                return Err("it pads with something else than zeros".into());
            }
            if pads.len() != 2 * old.len() || pads.iter().any(|pad| !(0.0..1e6).contains(pad)) {
                return Err(format!("the pads {pads:?} of {old:?}"));
            }
            let new: Vec<usize> = old
                .iter()
                .enumerate()
                .map(|(d, size)| size + pads[d] as usize + pads[old.len() + d] as usize)
                .collect();
            let place = |i| {
                places(i, &new).zip(old).zip(&pads).try_fold(0, |i, ((place, size), pad)| {
                    let at = place.checked_sub(*pad as usize).filter(|at| at < size)?;
                    Some(i * size + at)
                })
            };
            let index: Vec<_> = (0..product(&new)?).map(place).collect();
            add(index.len(), Op::Gather { from, index }, new)
        }
        "Relu" => {
            let (from, shape) = node.value(0)?;
            add(product(shape)?, Op::Relu { from }, shape.to_vec())
        }
        "Add" | "Sub" | "Mul" | "Div" => {
            if let (Ok((a, left)), Ok((b, right))) = (node.value(0), node.value(1)) {
                let sign = match op {
                    "Add" => 1.0,
                    "Sub" => -1.0,
                    _ => return Err("of two values that are computed".into()),
                };
                if left != right {
                    return Err(format!("of {left:?} and {right:?}"));
                }
                return add(product(left)?, Op::Sum { of: [a, b], sign }, left.to_vec());
            }
            let first = node.constant(0).is_ok();
            let ((from, old), constant) = (node.value(usize::from(first))?, node.constant(usize::from(!first))?);
            let (k, shape) = broadcast(constant, old)?;
            let (weight, bias) = match (op, first) {
                ("Add", _) => (vec![1.0; k.len()], k),
                ("Sub", false) => (vec![1.0; k.len()], k.iter().map(|k| -k).collect()),
                ("Sub", true) => (vec![-1.0; k.len()], k),
                ("Mul", _) => (k.clone(), vec![0.0; k.len()]),
                ("Div", false) => (k.iter().map(|k| 1.0 / k).collect(), vec![0.0; k.len()]),
                _ => return Err("it divides by what is computed".into()),
            };
            add(bias.len(), affine(from, Map::diagonal(weight), bias, None)?, shape)
        }
        "Gemm" | "MatMul" => {
            let ((from, old), b) = (node.value(0)?, node.constant(1)?);
            let [rows, columns] = b.shape[..] else { return Err(format!("a weight of {:?}", b.shape)) };
            let gemm = op == "Gemm";
            let turned = gemm && node.int("transB", 0)? != 0;
            let (inputs, outputs) = if turned { (columns, rows) } else { (rows, columns) };
            let factors =
                node.float("alpha", 1.0) != 1.0 || node.float("beta", 1.0) != 1.0 || node.int("transA", 0)? != 0;
            if product(old)? != inputs || old.last() != Some(&inputs) || (gemm && factors) {
                return Err(format!("of {old:?} and {:?}, or with a factor or the first factor transposed", b.shape));
            }
            let bias = match node.inputs.get(2) {
                Some(Some(_)) => broadcast(node.constant(2)?, &[1, outputs])?.0,
                _ => vec![0.0; outputs],
            };
            let turn = |i: usize| b.numbers[i % outputs * inputs + i / outputs];
            let weight = if turned { (0..inputs * outputs).map(turn).collect() } else { b.numbers.clone() };
            let shape = [&old[..old.len() - 1], &[outputs]].concat();
            add(outputs, affine(from, Map::flat(weight, [inputs, outputs], 1), bias, None)?, shape)
        }
        "BatchNormalization" => {
            let (from, old) = node.value(0)?;
            let parts = (1..5).map(|i| node.constant(i).map(|t| &t.numbers)).collect::<Result<Vec<_>>>()?;
            let channels = *old.get(1).ok_or("it has no channels")?;
            if node.int("training_mode", 0)? != 0
                || node.inputs.len() != 5
                || old[0] != 1
                || parts.iter().any(|part| part.len() != channels)
            {
                return Err(format!("of {old:?}, or in training mode"));
            }
            let (size, epsilon) = (product(old)?, node.float("epsilon", 1e-5));
            let channel = |i: usize| i / (size / channels);
            let w: Vec<f64> = (0..channels).map(|c| parts[0][c] / (parts[3][c] + epsilon).sqrt()).collect();
            let bias: Vec<f64> = (0..size).map(channel).map(|c| parts[1][c] - parts[2][c] * w[c]).collect();
            let summed = (0..size).map(channel).map(|c| parts[1][c].abs() + (parts[2][c] * w[c]).abs()).collect();
            let map = Map::diagonal((0..size).map(|i| w[channel(i)]).collect());
            add(size, affine(from, map, bias, Some(summed))?, old.to_vec())
        }
        "MaxPool" => max_pool(net, node),
        "Conv" | "AveragePool" => {
            let (from, old) = node.value(0)?;
            let [1, channels, height, width] = old[..] else { return Err(format!("of {old:?}")) };
            let pool = op == "AveragePool";
            let groups = if pool { channels } else { usize::try_from(node.int("group", 1)?).unwrap_or(0) };
            let pads = shape(&node.ints("pads", &[0; 4])?)?;
            let (kernel, outputs) = if pool {
                (node.pair("kernel_shape", [0, 0], 1)?, channels)
            } else {
                let [outputs, inside, kh, kw] = node.constant(1)?.shape[..] else {
                    return Err("a weight of other than four sizes".into());
                };
                if inside.checked_mul(groups) != Some(channels)
                    || node.pair("kernel_shape", [kh as i64, kw as i64], 1)? != [kh, kw]
                {
                    return Err(format!("a weight of {:?} for {channels} channels", node.constant(1)?.shape));
                }
                ([kh, kw], outputs)
            };
            let padded = pads.iter().any(|pad| *pad != 0);
            if groups == 0
                || channels == 0
                || pads.len() != 4
                || !matches!(node.string("auto_pad").as_str(), "" | "NOTSET")
                || outputs == 0
                || outputs % groups != 0
            {
                return Err("its groups or its padding".into());
            }
            if pool && (node.int("ceil_mode", 0)? != 0 || (padded && node.int("count_include_pad", 0)? == 0)) {
                return Err("ceil_mode, or windows of different sizes".into());
            }
            let (stride, dilation) = (node.pair("strides", [1, 1], 1)?, node.pair("dilations", [1, 1], 1)?);
            let room = |d: usize| {
                let reach = dilation[d].checked_mul(kernel[d] - 1)?.checked_add(1)?;
                Some(([height, width][d] + pads[d] + pads[d + 2]).checked_sub(reach)? / stride[d] + 1)
            };
            let output = [outputs, room(0).ok_or("no window fits")?, room(1).ok_or("no window fits")?];
            let taps = product(&[channels, kernel[0], kernel[1]])? / channels;
            let (inside, each) = (channels / groups, outputs / groups);
            let weight = if pool {
                vec![1.0 / taps as f64; channels * taps]
            } else {
                let given = &node.constant(1)?.numbers;
                let turn = |i: usize| {
                    let (channel, tap, to) = (i / each / taps, i / each % taps, i % each);
                    given[((channel / inside * each + to) * inside + channel % inside) * taps + tap]
                };
                (0..given.len()).map(turn).collect()
            };
            let bias = match node.inputs.get(2) {
                Some(Some(_)) if !pool => node.constant(2)?.numbers.clone(),
                _ => vec![0.0; outputs],
            };
            if bias.len() != outputs {
                return Err(format!("{} biases of {outputs} channels", bias.len()));
            }
            let sizes = vec![1, output[0], output[1], output[2]];
            let (len, plane) = (product(&sizes)?, output[1] * output[2]);
            let bias = (0..len).map(|i| bias[i / plane]).collect();
            let mut readers = vec![Vec::new(); height * width];
            for i in 0..product(&[taps, plane])? {
                let (tap, to) = (i / plane, i % plane);
                let at = |place: usize, tap: usize, d: usize| {
                    (place * stride[d] + tap * dilation[d]).checked_sub(pads[d]).filter(|at| *at < [height, width][d])
                };
                let [y, x] = [at(to / output[2], tap / kernel[1], 0), at(to % output[2], tap % kernel[1], 1)];
                if let (Some(y), Some(x)) = (y, x) {
                    readers[y * width + x].push((tap, to));
                }
            }
            let map = Map { weight, channels: [channels, outputs], groups, taps, readers, places: plane };
            add(len, affine(from, map, bias, None)?, sizes)
        }
        _ => Err("this operation is not among those that can be checked".into()),
    }
}

/// A max pool as ReLUs, `max(a, b) = b + relu(a - b)`, in a tree over the numbers of each window.
fn max_pool(net: &mut Net, node: &Node) -> Result<Item> {
    let (from, old) = node.value(0)?;
    let [1, channels, height, width] = old[..] else { return Err(format!("of {old:?}")) };
    let kernel = node.pair("kernel_shape", [0, 0], 1)?;
    let (stride, dilation) = (node.pair("strides", [1, 1], 1)?, node.pair("dilations", [1, 1], 1)?);
    let padded = node.ints("pads", &[0; 4])?.iter().any(|pad| *pad != 0);
    if padded || node.int("ceil_mode", 0)? != 0 || !matches!(node.string("auto_pad").as_str(), "" | "NOTSET" | "VALID")
    {
        return Err("its padding, or ceil_mode".into());
    }
    let room = |size: usize, d: usize| {
        let reach = dilation[d].checked_mul(kernel[d] - 1)?.checked_add(1)?;
        Some(size.checked_sub(reach)? / stride[d] + 1)
    };
    let [rows, columns] = [room(height, 0).ok_or("no window fits")?, room(width, 1).ok_or("no window fits")?];
    let len = product(&[channels, rows, columns])?;
    product(&[len, kernel[0], kernel[1]])?;
    let mut add = |op: Op| {
        net.values.push(Value { len, op });
        net.values.len() - 1
    };
    let mut level = Vec::new();
    for tap in 0..kernel[0] * kernel[1] {
        let (v, w) = (tap / kernel[1] * dilation[0], tap % kernel[1] * dilation[1]);
        let place = |i: usize| {
            let (c, y, x) = (i / (rows * columns), i / columns % rows, i % columns);
            Some((c * height + y * stride[0] + v) * width + x * stride[1] + w)
        };
        level.push(add(Op::Gather { from, index: (0..len).map(place).collect() }));
    }
    while level.len() > 1 {
        let mut pair = |pair: &[usize]| {
            let [a, b] = *pair else { return pair[0] };
            let difference = add(Op::Sum { of: [a, b], sign: -1.0 });
            let above = add(Op::Relu { from: difference });
            add(Op::Sum { of: [b, above], sign: 1.0 })
        };
        level = level.chunks(2).map(&mut pair).collect();
    }
    Ok(Item::Value(level[0], vec![1, channels, rows, columns]))
}

/// An affine map; the magnitudes that biases were summed from, where they are not their own.
fn affine(from: usize, map: Map, bias: Vec<f64>, magnitude: Option<Vec<f64>>) -> Result<Op> {
    if map.weight.iter().chain(&bias).any(|number| !number.is_finite()) {
        return Err("a weight is not finite".into());
    }
    let magnitude = magnitude.unwrap_or_else(|| bias.iter().map(|b| b.abs()).collect());
    Ok(Op::Affine { from, map, bias, magnitude })
}

/// Where element `i` of an array of this shape lies, axis by axis.
fn places(i: usize, shape: &[usize]) -> impl Iterator<Item = usize> + '_ {
    let mut rest = shape.iter().product::<usize>();
    shape.iter().map(move |size| {
        rest /= size;
        i / rest % size
    })
}

/// A constant for every element of a value of this shape, and the shape of the result, by NumPy's rules; the value itself may not grow.
fn broadcast(constant: &Tensor, shape: &[usize]) -> Result<(Vec<f64>, Vec<usize>)> {
    let rank = shape.len().max(constant.shape.len());
    let long = |shape: &[usize]| [vec![1; rank - shape.len()], shape.to_vec()].concat();
    let (own, other) = (long(&constant.shape), long(shape));
    if own.iter().zip(&other).any(|(own, size)| *own != 1 && own != size) {
        return Err(format!("of {shape:?} and {:?}", constant.shape));
    }
    let pick = |i| places(i, &other).zip(&own).fold(0, |at, (place, own)| at * own + if *own == 1 { 0 } else { place });
    Ok(((0..product(&other)?).map(|i| constant.numbers[pick(i)]).collect(), other))
}
