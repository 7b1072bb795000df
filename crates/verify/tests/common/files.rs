//! Networks and properties as files for the checker, by the shortest code that writes them.

use std::fmt::Write;

use temper_graph::{Computation, Operation, Property};

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 127 {
        bytes.push(number as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

/// A tensor of doubles if `double`, else of floats.
pub fn tensor(name: &str, dims: &[usize], numbers: &[f64], double: bool) -> Vec<u8> {
    let raw: Vec<u8> = if double {
        numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
    } else {
        numbers.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect()
    };
    let mut out: Vec<u8> = dims.iter().flat_map(|dim| number(1, *dim as u64)).collect();
    out.extend([number(2, if double { 11 } else { 1 }), bytes(8, name.as_bytes()), bytes(9, &raw)].concat());
    out
}

/// A tensor of integers.
#[allow(dead_code)]
pub fn integers(name: &str, numbers: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    [number(1, numbers.len() as u64), number(2, 7), bytes(8, name.as_bytes()), bytes(9, &raw)].concat()
}

/// A node with attributes that are integers.
pub fn node(op: &str, inputs: &[&str], output: &str, attributes: &[(&str, &[i64])]) -> Vec<u8> {
    let mut out: Vec<u8> = inputs.iter().flat_map(|name| bytes(1, name.as_bytes())).collect();
    out.extend([bytes(2, output.as_bytes()), bytes(4, op.as_bytes())].concat());
    for (name, values) in attributes {
        let mut attribute = bytes(1, name.as_bytes());
        // One is a number for `i` and a list for `ints`: readers know which they want.
        attribute.extend(number(3, values[0] as u64));
        attribute.extend(values.iter().flat_map(|value| number(8, *value as u64)));
        out.extend(bytes(5, &attribute));
    }
    out
}

fn declared(name: &str, shape: &[usize]) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|dim| bytes(1, &number(1, *dim as u64))).collect();
    let kind = [number(1, 1), bytes(2, &dims)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &kind))].concat()
}

/// A file of these nodes and constants; input and output with their shapes.
pub fn model(nodes: &[Vec<u8>], constants: &[Vec<u8>], input: (&str, &[usize]), output: (&str, &[usize])) -> Vec<u8> {
    let mut graph: Vec<u8> = nodes.iter().flat_map(|node| bytes(1, node)).collect();
    graph.extend(constants.iter().flat_map(|tensor| bytes(5, tensor)));
    graph.extend([bytes(11, &declared(input.0, input.1)), bytes(12, &declared(output.0, output.1))].concat());
    [number(1, 8), bytes(7, &graph), bytes(8, &number(2, 13))].concat()
}

/// A computation of dense layers, convolutions, scales, ReLUs and sums.
pub fn onnx(computation: &Computation) -> Vec<u8> {
    let batched = |value: usize| [&[1], computation.shape(value)].concat();
    let (mut nodes, mut constants) = (Vec::new(), Vec::new());
    for (i, of) in computation.nodes().iter().enumerate() {
        let names: Vec<String> = of.inputs.iter().map(|input| format!("v{input}")).collect();
        let (from, out, w, b) = (names[0].as_str(), format!("v{}", i + 1), format!("w{i}"), format!("b{i}"));
        let mut constant = |name: &str, dims: &[usize], numbers: &[f64]| {
            let double = numbers.iter().any(|x| f64::from(*x as f32) != *x);
            constants.push(tensor(name, dims, numbers, double));
        };
        match &of.operation {
            Operation::Dense(affine) => {
                let outputs = affine.bias.len();
                constant(&w, &[outputs, affine.weight.len() / outputs], &affine.weight);
                constant(&b, &[outputs], &affine.bias);
                let flat = format!("{from}_{i}");
                nodes.push(node("Flatten", &[from], &flat, &[("axis", &[1])]));
                nodes.push(node("Gemm", &[&flat, &w, &b], &out, &[("transB", &[1])]));
            }
            Operation::Conv { window, groups, affine } => {
                let ([kh, kw], ints) =
                    (window.kernel, |list: &[usize]| list.iter().map(|n| *n as i64).collect::<Vec<_>>());
                constant(&w, &[affine.bias.len(), window.input[0] / groups, kh, kw], &affine.weight);
                constant(&b, &[affine.bias.len()], &affine.bias);
                let attributes = [
                    ("strides", ints(&window.stride)),
                    ("pads", ints(&window.padding)),
                    ("dilations", ints(&window.dilation)),
                    ("group", ints(&[*groups])),
                ];
                let attributes: Vec<(&str, &[i64])> = attributes.iter().map(|(n, v)| (*n, v.as_slice())).collect();
                nodes.push(node("Conv", &[from, &w, &b], &out, &attributes));
            }
            Operation::Scale(affine) => {
                constant(&w, &batched(i + 1), &affine.weight);
                constant(&b, &batched(i + 1), &affine.bias);
                let scaled = format!("{out}_scaled");
                nodes.push(node("Mul", &[from, &w], &scaled, &[]));
                nodes.push(node("Add", &[&scaled, &b], &out, &[]));
            }
            Operation::Relu => nodes.push(node("Relu", &[from], &out, &[])),
            Operation::Add => nodes.push(node("Add", &names.iter().map(String::as_str).collect::<Vec<_>>(), &out, &[])),
            Operation::MaxPool(_) | Operation::Curve(_) | Operation::Gather { .. } => unimplemented!("{}", of.name),
        }
    }
    let last = computation.nodes().len();
    model(&nodes, &constants, ("v0", &batched(0)), (&format!("v{last}"), &batched(last)))
}

/// A property of rows `Y_i <= Y_j` and `Y_i <= c`.
pub fn vnnlib(property: &Property) -> String {
    let (mut text, input) = (String::new(), property.input());
    (0..input.lower.len()).for_each(|i| writeln!(text, "(declare-const X_{i} Real)").unwrap());
    (0..property.outputs()).for_each(|i| writeln!(text, "(declare-const Y_{i} Real)").unwrap());
    for (i, (lower, upper)) in input.lower.iter().zip(&input.upper).enumerate() {
        writeln!(text, "(assert (>= X_{i} {lower}))\n(assert (<= X_{i} {upper}))").unwrap();
    }
    text += "(assert (or\n";
    for group in property.violations() {
        let row = |row: &temper_graph::LinearConstraint| match row.terms.as_slice() {
            [(i, 1.0)] => format!("(<= Y_{i} {})", row.bound),
            [(i, -1.0)] => format!("(>= Y_{i} {})", -row.bound),
            [(i, 1.0), (j, -1.0)] => format!("(<= Y_{i} Y_{j})"),
            other => unimplemented!("{other:?}"),
        };
        writeln!(text, "(and {})", group.iter().map(row).collect::<Vec<_>>().join(" ")).unwrap();
    }
    text + "))\n"
}

/// The same in version 2.0, of variables in single precision if `single`.
#[allow(dead_code)]
pub fn vnnlib_2(property: &Property, single: bool) -> String {
    let kind = if single { "float32" } else { "real" };
    let (inputs, outputs) = (property.input().lower.len(), property.outputs());
    let head = format!(
        "(vnnlib-version <2.0>)\n(declare-network net\n  (declare-input in {kind} [1, {inputs}])\n  (declare-output out {kind} [{outputs}])\n)\n"
    );
    let body = vnnlib(property).lines().filter(|line| !line.starts_with("(declare")).collect::<Vec<_>>().join("\n");
    // Names end where a blank or a parenthesis begins.
    let renamed = |text: String, from: &str, to: &str| {
        let mut parts = text.split(from);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            text + to + &part[..end] + "]" + &part[end..]
        })
    };
    head + &renamed(renamed(body, "X_", "in[0, "), "Y_", "out[") + "\n"
}
