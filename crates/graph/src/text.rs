//! A network as a list of layers, one line each, as recipes hold it.
//!
//! The kinds of layers are in [`LAYERS`], from which `temper recipe layers` prints the grammar. A line may begin with a name,
//! `skip: conv 32 1 stride 2`, for others to refer to, and end with `from NAME`: then it reads that layer instead of the
//! one before; `image` is the image. The first line reads the image; the last is `linear` with one output a class. Layers
//! without a name are called by kind and number: `conv1`, `conv2`, `bn1`. A block with a residual connection:
//!
//! ```text
//! start: relu
//! conv 32 3 padding 1
//! bn
//! add start
//! relu
//! ```

use temper_base::{Problem, Result};

use crate::builder::Builder;
use crate::config::{Fault, NetworkConfig, Op};

/// A kind of layer, as a line names it.
pub struct Layer {
    /// The first word.
    pub kind: &'static str,
    /// What follows it, in this order.
    pub arguments: &'static [&'static str],
    /// What may follow: a word, and the number behind it where it is not given.
    pub options: &'static [(&'static str, &'static str)],
    /// What it reads and gives.
    pub shape: &'static str,
    /// What it is.
    pub about: &'static str,
    /// A line with it.
    pub example: &'static str,
}

/// Every kind of layer.
#[rustfmt::skip]
pub const LAYERS: [Layer; 7] = [
    Layer { kind: "conv", arguments: &["CHANNELS", "KERNEL"], options: &[("stride", "1"), ("padding", "0"), ("groups", "1")],
        shape: "[C, H, W] -> [CHANNELS, (H + 2 padding - KERNEL) / stride + 1, the same of W]",
        about: "convolution with a square kernel, zero padding and a bias", example: "conv 16 3 stride 2 padding 1" },
    Layer { kind: "linear", arguments: &["FEATURES"], options: &[], shape: "[F] -> [FEATURES]",
        about: "linear layer with a bias; what it reads is flat", example: "linear 100" },
    Layer { kind: "bn", arguments: &[], options: &[], shape: "as what it reads",
        about: "batch normalisation of every channel, or of every feature where its input is flat", example: "bn" },
    Layer { kind: "relu", arguments: &[], options: &[], shape: "as what it reads",
        about: "rectified linear unit", example: "relu" },
    Layer { kind: "flatten", arguments: &[], options: &[], shape: "[C, H, W] -> [C H W]",
        about: "channels, rows and columns as one row of features", example: "flatten" },
    Layer { kind: "pool", arguments: &["KERNEL"], options: &[("stride", "KERNEL")],
        shape: "[C, H, W] -> [C, (H - KERNEL) / stride + 1, the same of W]",
        about: "average over squares, without padding", example: "pool 2" },
    Layer { kind: "add", arguments: &["NAME"], options: &[], shape: "as what it reads; both of one shape",
        about: "the layer before plus the layer called NAME: where a residual connection ends", example: "add image" },
];

/// What holds of every line.
pub const LINES: &str = "A line is one layer. The first line reads the image; the last is `linear` with one output a class. `NAME: layer` gives a \
    layer a name, and `from NAME` at the end of a line reads that layer instead of the one before; `image` is the image. \
    Layers without a name are called by kind and number: conv1, conv2, bn1.";

/// A small network with a residual connection.
pub const EXAMPLE: [&str; 12] = [
    "conv 16 3 padding 1",
    "bn",
    "start: relu",
    "conv 16 3 padding 1",
    "bn",
    "add start",
    "relu",
    "pool 2",
    "flatten",
    "linear 100",
    "relu",
    "linear 10",
];

impl Layer {
    /// How a line is written: `conv CHANNELS KERNEL [stride N] [padding N] [groups N]`.
    pub fn usage(&self) -> String {
        let arguments = self.arguments.iter().map(|argument| format!(" {argument}"));
        let options = self.options.iter().map(|(word, _)| format!(" [{word} N]"));
        arguments.chain(options).fold(self.kind.to_owned(), |line, part| line + &part)
    }
}

/// Where a network of these layers has batch norms, in the words of `model.batch_norm`: nowhere, before the first linear
/// layer only, or behind linear layers too.
pub fn batch_norm<S: AsRef<str>>(lines: &[S]) -> &'static str {
    let kind = |line: &S| {
        let line = line.as_ref();
        line.split_once(':').map_or(line, |(_, layer)| layer).split_whitespace().next().unwrap_or_default().to_owned()
    };
    let kinds: Vec<String> = lines.iter().map(kind).collect();
    let flat = kinds.iter().position(|kind| kind == "linear").unwrap_or(kinds.len());
    match kinds.iter().rposition(|kind| kind == "bn") {
        None => "none",
        Some(last) if last < flat && kinds[flat..].iter().filter(|kind| *kind == "linear").count() > 1 => "conv",
        Some(_) => "full",
    }
}

/// The name of the image in a list of layers.
const IMAGE: &str = "image";

/// The network that `lines` describe, for images of the shape `input` `[C, H, W]`; `place` names their origin in
/// errors, which also give the number and the text of the line.
///
/// # Errors
/// If a line is no layer, or the layers together are no network ([`NetworkConfig::shapes`]).
pub fn parse<S: AsRef<str>>(lines: &[S], place: &str, input: [usize; 3], classes: usize) -> Result<NetworkConfig> {
    let problem = |line: Option<usize>, why: String, hint: String| {
        let place = match line {
            Some(i) => format!("{place}, line {} ({})", i + 1, lines[i].as_ref().trim()),
            None => place.to_string(),
        };
        Err(Problem::input("build network", place, why).hint(hint))
    };
    let mut net = Builder::new();
    for (i, line) in lines.iter().enumerate() {
        if let Err((why, hint)) = add_line(&mut net, line.as_ref()) {
            return problem(Some(i), why, hint);
        }
    }
    match net.checked(input, classes) {
        Ok(config) => Ok(config),
        Err(Fault { node, why, hint }) => problem(node, why, hint),
    }
}

/// The list of layers that [`parse`] reads this network from.
pub fn lines(config: &NetworkConfig) -> Vec<String> {
    let name = |value: usize| if value == 0 { IMAGE } else { &config.nodes[value - 1].name };
    let line = |(i, node): (usize, &crate::NodeConfig)| {
        let kind = node.op.kind();
        let number = 1 + config.nodes[..i].iter().filter(|earlier| earlier.op.kind() == kind).count();
        let mut line = if node.name == format!("{kind}{number}") { String::new() } else { format!("{}: ", node.name) };
        line += kind;
        let mut say = |words: String| line += &words;
        match node.op {
            Op::Conv { out, kernel, stride, padding, groups } => {
                say(format!(" {out} {kernel}"));
                for (key, value, usual) in [("stride", stride, 1), ("padding", padding, 0), ("groups", groups, 1)] {
                    if value != usual {
                        say(format!(" {key} {value}"));
                    }
                }
            }
            Op::Linear { out } => say(format!(" {out}")),
            Op::AvgPool { kernel, stride } if kernel == stride => say(format!(" {kernel}")),
            Op::AvgPool { kernel, stride } => say(format!(" {kernel} stride {stride}")),
            Op::Add => say(format!(" {}", name(node.inputs[1]))),
            Op::BatchNorm | Op::Relu | Op::Flatten => {}
        }
        if node.inputs[0] != i {
            say(format!(" from {}", name(node.inputs[0])));
        }
        line
    };
    config.nodes.iter().enumerate().map(line).collect()
}

/// Adds the layer of one line, or says why it is none, with a remedy.
fn add_line(net: &mut Builder, line: &str) -> Result<(), (String, String)> {
    let (name, layer) = match line.split_once(':') {
        Some((name, layer)) => (Some(name.trim()), layer),
        None => (None, line),
    };
    if name == Some(IMAGE) {
        return Err((format!("{IMAGE} is the name of the image"), "choose another name".into()));
    }
    let mut words = Words(layer.split_whitespace().collect());
    let value = |net: &Builder, name: &str| match name {
        IMAGE => Ok(0),
        _ => net.value(name).ok_or_else(|| {
            (format!("no layer before it is called {name}"), "write `name: layer` to give a layer a name".into())
        }),
    };
    if let Some(from) = words.keyed("from")? {
        let from = value(net, from)?;
        net.read(from);
    }
    let kind = words.first().unwrap_or_default();
    let mut other = None;
    let op = match kind {
        "conv" => Op::Conv {
            stride: words.number("stride", Some(1))?,
            padding: words.number("padding", Some(0))?,
            groups: words.number("groups", Some(1))?,
            out: words.number("output channels", None)?,
            kernel: words.number("kernel", None)?,
        },
        "linear" => Op::Linear { out: words.number("output features", None)? },
        "bn" => Op::BatchNorm,
        "relu" => Op::Relu,
        "flatten" => Op::Flatten,
        "pool" => {
            let stride = words.number("stride", Some(0))?;
            let kernel = words.number("kernel", None)?;
            Op::AvgPool { kernel, stride: if stride == 0 { kernel } else { stride } }
        }
        "add" => {
            let name =
                words.first().ok_or_else(|| ("add names no layer".to_string(), "write `add name`".to_string()))?;
            other = Some(value(net, name)?);
            Op::Add
        }
        _ => {
            let why = if kind.is_empty() { "holds no layer".into() } else { format!("{kind} is not a kind of layer") };
            let kinds = LAYERS.map(|layer| layer.kind);
            let (last, others) = kinds.split_last().expect("layers");
            let hint =
                format!("layers are {} and {last}; the grammar of layers shows how each is written", others.join(", "));
            return Err((why, hint));
        }
    };
    if let Some(word) = words.first() {
        return Err((format!("{word} is not understood here"), usage(kind)));
    }
    let name = name.map_or_else(|| net.numbered(&op), str::to_string);
    match other {
        Some(other) => net.add(name, other),
        None => net.layer(name, op),
    };
    Ok(())
}

/// How a layer of a kind is written, as a hint.
fn usage(kind: &str) -> String {
    let layer = LAYERS.iter().find(|layer| layer.kind == kind);
    let usage = layer.map_or_else(String::new, Layer::usage);
    format!("write `{usage} [from NAME]`; the grammar of layers shows every layer")
}

/// The words of a line that are not yet read.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn first(&mut self) -> Option<&'a str> {
        if self.0.is_empty() { None } else { Some(self.0.remove(0)) }
    }

    /// The word after `key`, if the line has it.
    fn keyed(&mut self, key: &str) -> Result<Option<&'a str>, (String, String)> {
        let Some(at) = self.0.iter().position(|word| *word == key) else { return Ok(None) };
        self.0.remove(at);
        if at == self.0.len() {
            return Err((format!("nothing follows {key}"), format!("write `{key}` and what it is")));
        }
        Ok(Some(self.0.remove(at)))
    }

    /// The number after the word `what`, or `usual` without that word; where nothing is usual, the next word is the
    /// number.
    fn number(&mut self, what: &str, usual: Option<usize>) -> Result<usize, (String, String)> {
        let word = match usual {
            Some(_) => self.keyed(what)?,
            None => self.first(),
        };
        match (word, usual) {
            (Some(word), _) => {
                word.parse().map_err(|_| (format!("{what} is {word}"), "it is a whole number".to_string()))
            }
            (None, Some(usual)) => Ok(usual),
            (None, None) => {
                let hint = "it is a whole number; the grammar of layers shows how every layer is written";
                Err((format!("{what} is missing"), hint.to_string()))
            }
        }
    }
}
