//! safetensors files: named tensors in f32, f16 or bf16, with every fault of the file named.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::{SafeTensorError, SafeTensors, View};
use temper_record::{Problem, Result};

/// How the values of a file are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
}

impl Dtype {
    /// The name `config.json` uses.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "float32",
            Dtype::F16 => "float16",
            Dtype::Bf16 => "bfloat16",
        }
    }

    /// Bytes of one value.
    pub fn size(self) -> usize {
        if self == Dtype::F32 { 4 } else { 2 }
    }

    fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Dtype::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
            Dtype::Bf16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        }
    }

    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            Dtype::Bf16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        }
    }
}

/// One tensor read from a file, in f32.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Sizes of the dimensions.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
    /// How the file stored them.
    pub dtype: Dtype,
}

/// Reads the tensors of a safetensors file whose names `wanted` accepts.
pub fn read(path: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<(String, Stored)>> {
    let bytes = fs::read(path).map_err(|cause| Problem::io("read tensors", path, &cause))?;
    let fail = |why: String| Problem::input("read tensors", path.display(), why);
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|cause| fail(explain(&cause)).hint("the file is cut or not a safetensors file: copy it again"))?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.iter().filter(|(name, _)| wanted(name)) {
        let dtype = match view.dtype() {
            safetensors::Dtype::F32 => Dtype::F32,
            safetensors::Dtype::F16 => Dtype::F16,
            safetensors::Dtype::BF16 => Dtype::Bf16,
            other => {
                return Err(fail(format!("tensor {name} is stored as {other:?}")).hint("f32, f16 and bf16 are read"));
            }
        };
        let values = dtype.decode(view.data());
        tensors.push((name.to_string(), Stored { shape: view.shape().to_vec(), values, dtype }));
    }
    Ok(tensors)
}

fn explain(cause: &SafeTensorError) -> String {
    match cause {
        SafeTensorError::HeaderTooSmall | SafeTensorError::InvalidHeaderLength => "is too short for its header".into(),
        SafeTensorError::HeaderTooLarge => "announces a header of over 100 MB: not a safetensors file".into(),
        SafeTensorError::MetadataIncompleteBuffer => "is not as long as its header says".into(),
        other => other.to_string(),
    }
}

/// A tensor to be written: its values are fetched only when its turn comes.
pub struct Outgoing<'a> {
    /// Sizes of the dimensions.
    pub shape: Vec<usize>,
    /// Produces the values, row-major.
    pub values: Box<dyn Fn() -> Vec<f32> + 'a>,
    /// How to store them.
    pub dtype: Dtype,
}

impl View for Outgoing<'_> {
    fn dtype(&self) -> safetensors::Dtype {
        match self.dtype {
            Dtype::F32 => safetensors::Dtype::F32,
            Dtype::F16 => safetensors::Dtype::F16,
            Dtype::Bf16 => safetensors::Dtype::BF16,
        }
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.dtype.encode(&(self.values)()))
    }
    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size()
    }
}

/// Writes a safetensors file, one tensor at a time, marked as Hugging Face expects (`format: pt`).
pub fn write(path: &Path, tensors: Vec<(String, Outgoing)>) -> Result<()> {
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize_to_file(tensors, Some(metadata), path).map_err(|cause| match cause {
        SafeTensorError::IoError(cause) => Problem::io("write tensors", path, &cause),
        other => Problem::machine("write tensors", path.display(), other),
    })
}
