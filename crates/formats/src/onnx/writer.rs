//! A classifier of ours as ONNX: operations of version 13, which every runtime and verifier of the last years reads, one picture
//! `[1, C, H, W]` in, logits `[1, K]` out, numbers in the file itself.

use temper_base::{Problem, Result};
use temper_graph::{BATCH_NORM_EPS, Network, Op, Weights};

use super::wire::Message;

const OPSET: i64 = 13;
const IR: i64 = 7;
/// What a file of protocol buffers may not be larger than.
const LARGEST: usize = i32::MAX as usize;
/// The types of tensors of single precision and of integers.
const FLOAT: i64 = 1;
const INT64: i64 = 7;

/// The bytes of an ONNX file that computes what the network does. Layers keep their names, and tensors those of a checkpoint. Where pixels
/// are normalised, `Sub` and `Div` stand in front. Batch norms are written as they are; [`Network::fold_batch_norms`] merges them before.
///
/// # Errors
/// A network whose file would be larger than protocol buffers can be.
pub fn write(network: &Network) -> Result<Vec<u8>> {
    let config = network.config();
    let [input, normalise] = ["input", "normalise"].map(|word| {
        let mut name = word.to_string();
        while config.nodes.iter().any(|node| node.name.starts_with(&name)) {
            name.push('_');
        }
        name
    });
    let [c, h, w] = config.input.map(|n| n as i64);
    let mut graph = Graph { message: Message::new().bytes(2, "temper"), size: 0, formed: 0 };
    let mut values = vec![Value { name: input.clone(), flat: false }];
    let plain = network.mean().iter().all(|mean| *mean == 0.0) && network.std().iter().all(|std| *std == 1.0);
    if !plain {
        let [mean, std, centred] = ["mean", "std", "centred"].map(|part| format!("{normalise}.{part}"));
        graph.tensor(&mean, &[1, c, 1, 1], network.mean());
        graph.tensor(&std, &[1, c, 1, 1], network.std());
        graph.node("Sub", &centred, &[&input, &mean], vec![]);
        graph.node("Div", &normalise, &[&centred, &std], vec![]);
        values[0].name = normalise;
    }
    for (node, weights) in config.nodes.iter().zip(network.weights()) {
        let name = node.name.as_str();
        let from = network.shapes()[node.inputs[0]];
        let x = &values[node.inputs[0]];
        let tensor = |array: &str| format!("{name}.{array}");
        let [weight_name, bias_name] = [tensor("weight"), tensor("bias")];
        let square = |size: usize| vec![size as i64; 2];
        let mut flat = x.flat;
        match (node.op, weights) {
            (Op::Conv { out, kernel, stride, padding, groups }, Weights::Affine { weight, bias }) => {
                let x = graph.formed(x, from, false);
                let sizes = [out, from[0] / groups, kernel, kernel].map(|n| n as i64);
                graph.tensor(&weight_name, &sizes, weight);
                graph.tensor(&bias_name, &[out as i64], bias);
                let attributes = vec![
                    ints("kernel_shape", &square(kernel)),
                    ints("strides", &square(stride)),
                    ints("pads", &[padding as i64; 4]),
                    int("group", groups as i64),
                ];
                graph.node("Conv", name, &[&x, &weight_name, &bias_name], attributes);
                flat = false;
            }
            (_, Weights::Affine { weight, bias }) => {
                let x = graph.formed(x, from, true);
                let out = bias.len();
                graph.tensor(&weight_name, &[out as i64, (weight.len() / out) as i64], weight);
                graph.tensor(&bias_name, &[out as i64], bias);
                graph.node("Gemm", name, &[&x, &weight_name, &bias_name], vec![int("transB", 1)]);
                flat = true;
            }
            (_, Weights::BatchNorm { weight, bias, running_mean, running_var }) => {
                let [mean, var] = [tensor("running_mean"), tensor("running_var")];
                let arrays = [(&weight_name, weight), (&bias_name, bias), (&mean, running_mean), (&var, running_var)];
                arrays.iter().for_each(|(name, array)| graph.tensor(name, &[array.len() as i64], array));
                let inputs = [&x.name, &weight_name, &bias_name, &mean, &var].map(String::as_str);
                let epsilon = attribute("epsilon", 1).float(2, BATCH_NORM_EPS as f32);
                graph.node("BatchNormalization", name, &inputs, vec![epsilon]);
            }
            (Op::Relu, Weights::None) => graph.node("Relu", name, &[&x.name], vec![]),
            (Op::Add, Weights::None) => {
                let other = graph.formed(&values[node.inputs[1]], from, x.flat);
                graph.node("Add", name, &[&x.name, &other], vec![]);
            }
            (Op::AvgPool { kernel, stride }, Weights::None) => {
                let x = graph.formed(x, from, false);
                let attributes = vec![ints("kernel_shape", &square(kernel)), ints("strides", &square(stride))];
                graph.node("AveragePool", name, &[&x], attributes);
                flat = false;
            }
            (Op::Flatten | Op::Conv { .. } | Op::Linear { .. } | Op::BatchNorm, Weights::None) => {
                graph.node("Flatten", name, &[&x.name], vec![int("axis", 1)]);
                flat = true;
            }
        }
        values.push(Value { name: name.into(), flat });
    }
    if graph.size > LARGEST {
        let why = format!("its tensors have {} bytes, and a file has at most {LARGEST}", graph.size);
        return Err(Problem::input("write ONNX", "network", why));
    }
    let last = values.last().expect("the input");
    let graph = graph
        .message
        .message(11, &declared(&input, &[1, c, h, w]))
        .message(12, &declared(&last.name, &[1, config.classes as i64]));
    let model = Message::new()
        .int(1, IR)
        .bytes(2, "temper")
        .bytes(3, env!("CARGO_PKG_VERSION"))
        .message(7, &graph)
        .message(8, &Message::new().bytes(1, "").int(2, OPSET));
    Ok(model.into_bytes())
}

/// A value of the file's graph.
struct Value {
    name: String,
    /// Whether it is a row of features, `[1, F]`, and not `[1, C, H, W]`.
    flat: bool,
}

struct Graph {
    message: Message,
    /// Bytes of all tensors.
    size: usize,
    /// Values that were given the other form.
    formed: usize,
}

impl Graph {
    fn node(&mut self, op: &str, name: &str, inputs: &[&str], attributes: Vec<Message>) {
        let node = inputs.iter().fold(Message::new(), |node, input| node.bytes(1, input));
        let node = node.bytes(2, name).bytes(3, name).bytes(4, op);
        let node = attributes.iter().fold(node, |node, attribute| node.message(5, attribute));
        self.push(1, &node);
    }

    fn tensor(&mut self, name: &str, dims: &[i64], numbers: &[f32]) {
        self.raw(name, FLOAT, dims, &numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>());
    }

    fn raw(&mut self, name: &str, kind: i64, dims: &[i64], bytes: &[u8]) {
        self.size += bytes.len();
        if self.size > LARGEST {
            return; // The file is refused at the end.
        }
        let tensor = dims.iter().fold(Message::new(), |tensor, size| tensor.int(1, *size));
        self.push(5, &tensor.int(2, kind).bytes(8, name).bytes(9, bytes));
    }

    fn push(&mut self, field: u64, part: &Message) {
        self.message = std::mem::take(&mut self.message).message(field, part);
    }

    /// The value as a row of features or as a picture of this shape; a layer that needs the other form gets it from a node in between.
    fn formed(&mut self, value: &Value, shape: [usize; 3], flat: bool) -> String {
        if value.flat == flat {
            return value.name.clone();
        }
        // Several layers may need the same; no layer's name ends with a point.
        self.formed += 1;
        let name = format!("{}.{}.", value.name, self.formed);
        if flat {
            self.node("Flatten", &name, &[&value.name], vec![int("axis", 1)]);
        } else {
            let sizes = format!("{name}.shape");
            let dims = [1, shape[0], shape[1], shape[2]].map(|n| n as i64);
            self.raw(&sizes, INT64, &[4], &dims.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>());
            self.node("Reshape", &name, &[&value.name, &sizes], vec![]);
        }
        name
    }
}

/// An attribute of this type.
fn attribute(name: &str, kind: i64) -> Message {
    Message::new().bytes(1, name).int(20, kind)
}

fn int(name: &str, value: i64) -> Message {
    attribute(name, 2).int(3, value)
}

fn ints(name: &str, values: &[i64]) -> Message {
    values.iter().fold(attribute(name, 7), |attribute, value| attribute.int(8, *value))
}

fn declared(name: &str, shape: &[i64]) -> Message {
    let dims = shape.iter().fold(Message::new(), |dims, size| dims.message(1, &Message::new().int(1, *size)));
    let tensor = Message::new().int(1, FLOAT).message(2, &dims);
    Message::new().bytes(1, name).message(2, &Message::new().message(1, &tensor))
}
