//! The messages of ONNX, read from the wire. Fields that are not needed are skipped.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use super::wire::{Fields, Result, Value};

/// Numbers of a tensor: floats as doubles, all kinds of integers and booleans as 64-bit integers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Data {
    Float(Vec<f64>),
    Int(Vec<i64>),
}

/// A constant tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    pub(super) shape: Vec<usize>,
    pub(super) data: Data,
    /// Roundings, relative to each number, since the file.
    pub(super) merged: u32,
    /// Whether the file holds doubles.
    pub(super) double: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Attribute {
    pub(super) float: f32,
    pub(super) int: i64,
    pub(super) text: String,
    pub(super) tensor: Option<Tensor>,
    pub(super) floats: Vec<f64>,
    pub(super) ints: Vec<i64>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) name: String,
    pub(super) op: String,
    pub(super) domain: String,
    pub(super) attributes: HashMap<String, Attribute>,
    /// What forbids the node, found while it was read.
    pub(super) refused: Option<String>,
}

/// An input or output: its name, element type and dimensions (`None`: symbolic). Without a type it is no tensor.
#[derive(Debug, Clone, Default)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) kind: Option<i64>,
    pub(super) shape: Option<Vec<Option<usize>>>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) ir: i64,
    pub(super) producer: String,
    pub(super) opset: i64,
    pub(super) nodes: Vec<Node>,
    pub(super) constants: HashMap<String, Tensor>,
    pub(super) inputs: Vec<Declared>,
    pub(super) outputs: Vec<Declared>,
}

/// More nodes than this no network has that is verified; each costs memory.
const MOST_NODES: usize = 10_000;

pub(super) fn model(bytes: &[u8], folder: Option<&Path>) -> Result<Model> {
    let mut model = Model::default();
    let (mut version, mut graph) = (String::new(), None);
    for field in Fields(bytes) {
        let (number, value) = field?;
        match number {
            1 => model.ir = value.int()?,
            2 => model.producer = value.text()?,
            3 => version = value.text()?,
            7 => graph = Some(value.bytes()?),
            8 => {
                let (mut domain, mut opset) = (String::new(), 0);
                for field in Fields(value.bytes()?) {
                    match field? {
                        (1, value) => domain = value.text()?,
                        (2, value) => opset = value.int()?,
                        _ => {}
                    }
                }
                if domain.is_empty() || domain == "ai.onnx" {
                    model.opset = opset;
                }
            }
            _ => {}
        }
    }
    model.producer = format!("{} {version}", model.producer).trim().to_string();
    if !(8..=23).contains(&model.opset) {
        return Err(format!("opset {}, where 8 to 23 are read", model.opset));
    }
    let graph = graph.ok_or("there is no graph in it")?;
    for field in Fields(graph) {
        let (number, value) = field?;
        match number {
            1 if model.nodes.len() == MOST_NODES => return Err(format!("more than {MOST_NODES} nodes")),
            1 => model.nodes.push(node(value.bytes()?, folder)?),
            5 => {
                let (name, constant) = tensor(value.bytes()?, folder)?;
                model.constants.insert(name, constant);
            }
            11 => model.inputs.push(declared(value.bytes()?)?),
            12 => model.outputs.push(declared(value.bytes()?)?),
            15 => return Err("a sparse initialiser".into()),
            _ => {}
        }
    }
    Ok(model)
}

fn node(bytes: &[u8], folder: Option<&Path>) -> Result<Node> {
    let mut node = Node::default();
    for field in Fields(bytes) {
        let (number, value) = field?;
        match number {
            1 => node.inputs.push(value.text()?),
            2 => node.outputs.push(value.text()?),
            3 => node.name = value.text()?,
            4 => node.op = value.text()?,
            5 => attribute(value.bytes()?, folder, &mut node)?,
            7 => node.domain = value.text()?,
            _ => {}
        }
    }
    Ok(node)
}

fn attribute(bytes: &[u8], folder: Option<&Path>, node: &mut Node) -> Result<()> {
    let (mut name, mut attribute) = (String::new(), Attribute::default());
    let mut refused = None;
    for field in Fields(bytes) {
        let (number, value) = field?;
        match number {
            1 => name = value.text()?,
            2 => attribute.float = value.float()?,
            3 => attribute.int = value.int()?,
            4 => attribute.text = String::from_utf8_lossy(value.bytes()?).into_owned(),
            5 => match tensor(value.bytes()?, folder) {
                Ok((_, tensor)) => attribute.tensor = Some(tensor),
                // Only where the node is used is it known whether anyone misses it.
                Err(why) => refused = Some(why),
            },
            6 | 11 => refused = Some("a graph in it".into()),
            7 => value.floats(&mut attribute.floats)?,
            8 => value.ints(&mut attribute.ints)?,
            22 | 23 => refused = Some("a sparse tensor in it".into()),
            _ => {}
        }
    }
    node.refused = node.refused.take().or(refused.map(|why| format!("attribute {name}: {why}")));
    node.attributes.insert(name, attribute);
    Ok(())
}

fn declared(bytes: &[u8]) -> Result<Declared> {
    let mut declared = Declared::default();
    for field in Fields(bytes) {
        match field? {
            (1, value) => declared.name = value.text()?,
            (2, value) => {
                for field in Fields(value.bytes()?) {
                    if let (1, value) = field? {
                        tensor_type(value.bytes()?, &mut declared)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(declared)
}

fn tensor_type(bytes: &[u8], declared: &mut Declared) -> Result<()> {
    for field in Fields(bytes) {
        match field? {
            (1, value) => declared.kind = Some(value.int()?),
            (2, value) => {
                let mut shape = Vec::new();
                for field in Fields(value.bytes()?) {
                    let (1, value) = field? else { continue };
                    let mut size = None;
                    for field in Fields(value.bytes()?) {
                        if let (1, value) = field? {
                            size = usize::try_from(value.int()?).ok();
                        }
                    }
                    shape.push(size);
                }
                declared.shape = Some(shape);
            }
            _ => {}
        }
    }
    Ok(())
}

/// A tensor and its name.
pub(super) fn tensor(bytes: &[u8], folder: Option<&Path>) -> Result<(String, Tensor)> {
    let (mut name, mut kind, mut dims, mut raw, mut outside) = (String::new(), 0, Vec::new(), None, false);
    let (mut floats, mut ints, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for field in Fields(bytes) {
        let (number, value) = field?;
        match number {
            1 => value.ints(&mut dims)?,
            2 => kind = value.int()?,
            4 => value.floats(&mut floats)?,
            5 | 7 | 11 => value.ints(&mut ints)?,
            8 => name = value.text()?,
            9 => raw = Some(value.bytes()?),
            10 => value.doubles(&mut floats)?,
            13 => entries.push(entry(value)?),
            14 => outside = value.int()? == 1,
            _ => {}
        }
    }
    let fail = |why: String| Err(format!("tensor {name}: {why}"));
    let width = match kind {
        1 | 6 | 12 => 4,
        7 | 11 | 13 => 8,
        2 | 3 | 9 => 1,
        10 => return fail("float16 is not read; convert the model to float32".into()),
        16 => return fail("bfloat16 is not read; convert the model to float32".into()),
        8 => return fail("it holds strings".into()),
        _ => return fail(format!("elements of type {kind} are not read")),
    };
    let Some((shape, count)) = sized(&dims) else { return fail(format!("dimensions {dims:?}")) };
    let read;
    let raw = if outside {
        match count.checked_mul(width).ok_or("it is too large".into()).and_then(|size| external(&entries, size, folder))
        {
            Ok(bytes) => {
                read = bytes;
                Some(read.as_slice())
            }
            Err(why) => return fail(why),
        }
    } else {
        raw
    };
    if let Some(raw) = raw {
        if count.checked_mul(width) != Some(raw.len()) {
            return fail(format!("{} bytes for {dims:?} of {width} bytes each", raw.len()));
        }
        (floats, ints) = (Vec::new(), Vec::new());
        match kind {
            1 => Value::Bytes(raw).floats(&mut floats)?,
            11 => Value::Bytes(raw).doubles(&mut floats)?,
            6 | 12 => ints.extend(raw.as_chunks::<4>().0.iter().map(|b| i64::from(i32::from_le_bytes(*b)))),
            7 | 13 => ints.extend(raw.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b))),
            3 => ints.extend(raw.iter().map(|b| i64::from(*b as i8))),
            _ => ints.extend(raw.iter().map(|b| i64::from(*b))),
        }
    }
    let float = matches!(kind, 1 | 11);
    let found = if float { floats.len() } else { ints.len() };
    if found != count {
        return fail(format!("{found} numbers for {dims:?}"));
    }
    let data = if float { Data::Float(floats) } else { Data::Int(ints) };
    Ok((name, Tensor { shape, data, merged: 0, double: kind == 11 }))
}

fn entry(value: Value<'_>) -> Result<(String, String)> {
    let (mut key, mut text) = (String::new(), String::new());
    for field in Fields(value.bytes()?) {
        match field? {
            (1, value) => key = value.text()?,
            (2, value) => text = value.text()?,
            _ => {}
        }
    }
    Ok((key, text))
}

fn sized(dims: &[i64]) -> Option<(Vec<usize>, usize)> {
    let shape: Vec<usize> = dims.iter().map(|d| usize::try_from(*d).ok()).collect::<Option<_>>()?;
    let count = shape.iter().try_fold(1_usize, |product, d| product.checked_mul(*d))?;
    Some((shape, count))
}

/// Numbers in a file beside the model: in its own folder, a plain file and no link, and as many as the dimensions ask for.
fn external(entries: &[(String, String)], size: usize, folder: Option<&Path>) -> Result<Vec<u8>> {
    let get = |key: &str| entries.iter().find(|(name, _)| name == key).map(|(_, text)| text.as_str());
    let number = |key: &str, absent: u64| match get(key) {
        None => Ok(absent),
        Some(text) => text.parse::<u64>().map_err(|_| format!("external data: {key} {text}")),
    };
    let location = get("location").ok_or("external data without a location")?;
    let folder = folder.ok_or_else(|| format!("its numbers are in another file, {location}"))?;
    let parts: Vec<Component<'_>> =
        Path::new(location).components().filter(|part| *part != Component::CurDir).collect();
    if parts.is_empty() || parts.iter().any(|part| !matches!(part, Component::Normal(_))) || location.contains('\\') {
        return Err(format!("external data at {location}, outside the model's folder"));
    }
    let mut path = folder.to_path_buf();
    for part in parts {
        path.push(part);
        let kind = path.symlink_metadata().map_err(|e| format!("external data {}: {e}", path.display()))?;
        if kind.is_symlink() {
            return Err(format!("external data {} is a link", path.display()));
        }
    }
    let (offset, length) = (number("offset", 0)?, number("length", size as u64)?);
    let fail = |e: std::io::Error| format!("external data {}: {e}", path.display());
    let kind = path.metadata().map_err(fail)?;
    if !kind.is_file() {
        return Err(format!("external data {} is no file", path.display()));
    }
    if length != size as u64 {
        return Err(format!("external data of {length} bytes, where {size} belong"));
    }
    if offset.checked_add(length).is_none_or(|end| end > kind.len()) {
        return Err(format!("external data {}: {length} bytes from {offset} on, of {}", path.display(), kind.len()));
    }
    let mut file = std::fs::File::open(&path).map_err(fail)?;
    file.seek(SeekFrom::Start(offset)).map_err(fail)?;
    let mut bytes = vec![0; size];
    file.read_exact(&mut bytes).map_err(fail)?;
    Ok(bytes)
}
