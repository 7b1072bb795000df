//! ONNX: a file into a [`Computation`], and a [`Network`](temper_graph::Network) into a file. The wire format is read by a few lines of our own; what is not understood is refused by the name
//! of its operation and node, and never skipped.

mod model;
mod reader;
mod tensor;
pub mod wire;
mod writer;

use std::io::Read;
use std::path::Path;

use temper_base::{Problem, Result};
use temper_graph::Computation;

pub use writer::write;

/// A network that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct OnnxModel {
    /// What it computes, from the one input to the one output.
    pub computation: Computation,
    /// The name of the input.
    pub input_name: String,
    /// The name of the output.
    pub output_name: String,
    /// The shape of the input as the file has it, a batch of one for an open batch.
    pub input_shape: Vec<usize>,
    /// The shape of the output.
    pub output_shape: Vec<usize>,
    /// Whether it computes in doubles.
    pub float64: bool,
    /// The version of the operations.
    pub opset: i64,
    /// The program that wrote the file, and its version.
    pub producer: String,
}

/// No file that is verified is larger; a larger one is refused before it is read.
const LARGEST_FILE: u64 = 2 << 30;

/// Reads a network with one output (`.gz` is unpacked).
///
/// # Errors
/// A file that cannot be read or is no ONNX; what is not supported, by operation and node; several outputs.
pub fn read(path: &Path) -> Result<OnnxModel> {
    read_output(path, None)
}

/// Reads a network up to the output of this name; without a name it must have one output.
///
/// # Errors
/// As [`read`]; no such output.
pub fn read_output(path: &Path, output: Option<&str>) -> Result<OnnxModel> {
    let io = |cause| Problem::io("read ONNX", path, &cause);
    let size = std::fs::metadata(path).map_err(io)?.len();
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|end| end == "gz") {
        let file = std::fs::File::open(path).map_err(io)?;
        flate2::read::GzDecoder::new(file).take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(io)?;
    } else if size <= LARGEST_FILE {
        bytes = std::fs::read(path).map_err(io)?;
    }
    let size = size.max(bytes.len() as u64);
    if size > LARGEST_FILE {
        return Err(Problem::input("read ONNX", path.display(), format!("{size} bytes, more than {LARGEST_FILE}")));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    parsed(&bytes, Some(folder), &path.display().to_string(), output)
}

/// Reads a network from bytes; `folder` is where numbers beside the file would be, `place` stands in messages.
///
/// # Errors
/// As [`read`].
pub fn parse(bytes: &[u8], folder: Option<&Path>, place: &str) -> Result<OnnxModel> {
    parsed(bytes, folder, place, None)
}

fn parsed(bytes: &[u8], folder: Option<&Path>, place: &str, output: Option<&str>) -> Result<OnnxModel> {
    let read = || {
        let model = model::model(bytes, folder)?;
        let (opset, producer) = (model.opset, model.producer.clone());
        // Numbers beside the file count as its own.
        let outside: usize = model.constants.values().map(tensor_bytes).sum();
        let lowered = reader::lower(model, bytes.len().max(outside), output)?;
        Ok(OnnxModel {
            computation: lowered.computation,
            input_name: lowered.input,
            output_name: lowered.output,
            input_shape: lowered.input_shape,
            output_shape: lowered.output_shape,
            float64: lowered.double,
            opset,
            producer,
        })
    };
    let hint = "docs/verify.md lists what is read; an export in evaluation mode, in float32, without quantisation helps most often";
    read().map_err(|why: String| Problem::input("read ONNX", place, why).hint(hint))
}

fn tensor_bytes(tensor: &model::Tensor) -> usize {
    8 * tensor.len()
}
