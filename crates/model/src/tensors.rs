//! safetensors files: named tensors in f32, f16 or bf16, with every fault of the file named.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::tensor::{Metadata, TensorInfo};
use temper_base::files::AtomicFile;
use temper_base::{Problem, Result};

use crate::narrow::{self, Losses};

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

    /// The largest finite value.
    pub(crate) fn largest(self) -> f32 {
        match self {
            Dtype::F32 => f32::MAX,
            Dtype::F16 => f16::MAX.to_f32(),
            Dtype::Bf16 => bf16::MAX.to_f32(),
        }
    }

    /// Below it, values have fewer digits.
    pub(crate) fn smallest_normal(self) -> f32 {
        if self == Dtype::F16 { f16::MIN_POSITIVE.to_f32() } else { f32::MIN_POSITIVE }
    }

    /// Appends the stored form of `values` to `bytes`.
    fn encode(self, values: &[f32], bytes: &mut Vec<u8>) {
        match self {
            Dtype::F32 => values.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes())),
            Dtype::F16 => {
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(values); // whole slices: the processor's own instruction
                halves.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
            }
            Dtype::Bf16 => values.iter().for_each(|v| bytes.extend_from_slice(&bf16::from_f32(*v).to_le_bytes())),
        }
    }

    /// Appends the values stored in `bytes` to `values`.
    fn decode(self, bytes: &[u8], values: &mut Vec<f32>) {
        match self {
            Dtype::F32 => values.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
            Dtype::F16 => {
                let halves: Vec<f16> = bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b)).collect();
                let start = values.len();
                values.resize(start + halves.len(), 0.0);
                halves.convert_to_f32_slice(&mut values[start..]);
            }
            Dtype::Bf16 => values.extend(bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32())),
        }
    }

    fn of(stored: safetensors::Dtype) -> Option<Self> {
        match stored {
            safetensors::Dtype::F32 => Some(Dtype::F32),
            safetensors::Dtype::F16 => Some(Dtype::F16),
            safetensors::Dtype::BF16 => Some(Dtype::Bf16),
            _ => None,
        }
    }

    fn stored(self) -> safetensors::Dtype {
        match self {
            Dtype::F32 => safetensors::Dtype::F32,
            Dtype::F16 => safetensors::Dtype::F16,
            Dtype::Bf16 => safetensors::Dtype::BF16,
        }
    }
}

/// Values converted at a time: what reading and writing need beside the tensor itself.
pub(crate) const PIECE: usize = 1 << 18;

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

/// The names of the tensors in a safetensors file, in the order of the file.
///
/// # Errors
/// If the file cannot be read or its header is damaged.
pub fn names(path: &Path) -> Result<Vec<String>> {
    let mut file = File::open(path).map_err(|cause| Problem::io("read tensors", path, &cause))?;
    Ok(read_header(&mut file, path)?.1.offset_keys())
}

/// Reads the tensors of a safetensors file whose names `wanted` accepts, in the order of the file.
///
/// # Errors
/// If the file cannot be read, its header is damaged or its end is missing, or a wanted tensor is not stored as F32, F16 or BF16.
pub fn read(path: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<(String, Stored)>> {
    let io = |cause: io::Error| Problem::io("read tensors", path, &cause);
    let mut file = File::open(path).map_err(io)?;
    let (start, header) = read_header(&mut file, path)?;
    let mut tensors = Vec::new();
    let mut bytes = Vec::new();
    for name in header.offset_keys().into_iter().filter(|name| wanted(name)) {
        let info = header.info(&name).expect("a name of this header");
        let dtype = Dtype::of(info.dtype).ok_or_else(|| {
            Problem::input("read tensors", path.display(), format!("tensor {name} is stored as {}", info.dtype))
                .hint("F32, F16 and BF16 are read")
        })?;
        file.seek(SeekFrom::Start(start + info.data_offsets.0 as u64)).map_err(io)?;
        let count = info.shape.iter().product();
        let mut values = Vec::with_capacity(count);
        while values.len() < count {
            bytes.resize((count - values.len()).min(PIECE) * dtype.size(), 0);
            file.read_exact(&mut bytes).map_err(io)?;
            dtype.decode(&bytes, &mut values);
        }
        tensors.push((name, Stored { shape: info.shape.clone(), values, dtype }));
    }
    Ok(tensors)
}

/// The header of a file and the offset of its data. The format: the length of the header, 8 bytes
/// little-endian, at most 100 MB; the header, JSON; the values, without holes.
fn read_header(file: &mut File, path: &Path) -> Result<(u64, Metadata)> {
    let io = |cause: io::Error| Problem::io("read tensors", path, &cause);
    let fail = |why: String| {
        Problem::input("read tensors", path.display(), why)
            .hint("the file is cut, damaged or not a safetensors file: fetch it again")
    };
    let size = file.metadata().map_err(io)?.len();
    let mut length = [0; 8];
    if size >= 8 {
        file.read_exact(&mut length).map_err(io)?;
    }
    if &length == b"version " {
        return Err(fail("is a Git LFS pointer, not the file it points to".into()).hint("run `git lfs pull` there"));
    }
    let length = u64::from_le_bytes(length);
    if length > 100_000_000 {
        return Err(fail("is not a safetensors file (its header would be over 100 MB)".into()));
    }
    if size < 8 + length {
        return Err(fail(format!("ends at byte {size}, before its header does")));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(io)?;
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|cause| fail(format!("has no valid header: {cause}")))?;
    let expected = 8 + length + header.data_len() as u64;
    if size != expected {
        return Err(fail(format!("has {size} bytes, its header says {expected}")));
    }
    Ok((8 + length, header))
}

/// The first few of many faults, in one line.
pub(crate) fn shortened(faults: &[String]) -> String {
    let (shown, more) = (faults.len().min(4), faults.len().saturating_sub(4));
    let mut why = faults[..shown].join("; ");
    if more > 0 {
        why += &format!("; and {more} more");
    }
    why
}

/// A tensor to write; its values are fetched only when its turn comes.
pub struct Outgoing<'a> {
    /// Sizes of the dimensions.
    pub shape: Vec<usize>,
    /// Produces the values, row-major.
    pub values: Box<dyn Fn() -> Vec<f32> + 'a>,
    /// How to store them.
    pub dtype: Dtype,
}

/// Writes a safetensors file, one tensor at a time, marked as Hugging Face expects (`format: pt`): for a folder that is renamed
/// once all of it is there.
///
/// # Errors
/// If a finite value is too large for its type, which is known before anything is written; or the machine cannot write.
pub fn write(path: &Path, tensors: Vec<(String, Outgoing)>) -> Result<Losses> {
    let losses = narrow::survey(&tensors)?;
    let io = |cause: io::Error| Problem::io("write tensors", path, &cause);
    let mut file = File::create(path).map_err(io)?;
    put(tensors, &mut |bytes| file.write_all(bytes).map_err(io))?;
    file.sync_all().map_err(io)?; // a full disk may become an error only here
    Ok(losses)
}

/// The same for a file that others may look for at once: it is whole or absent, and replaces no file.
///
/// # Errors
/// As [`write`](fn@write), and if there is a file of that name.
pub fn write_whole(path: &Path, tensors: Vec<(String, Outgoing)>) -> Result<Losses> {
    let losses = narrow::survey(&tensors)?;
    let mut file = AtomicFile::create(path)?;
    put(tensors, &mut |bytes| file.write(bytes))?;
    file.finish_new()?;
    Ok(losses)
}

fn put(mut tensors: Vec<(String, Outgoing)>, write: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    // Wide types first keeps every tensor aligned for readers that map the file.
    tensors.sort_by(|(a, x), (b, y)| y.dtype.size().cmp(&x.dtype.size()).then(a.cmp(b)));
    let mut end = 0;
    let infos = tensors.iter().map(|(name, tensor)| {
        let start = end;
        end += tensor.shape.iter().product::<usize>() * tensor.dtype.size();
        let (dtype, shape) = (tensor.dtype.stored(), tensor.shape.clone());
        (name.clone(), TensorInfo { dtype, shape, data_offsets: (start, end) })
    });
    let format = HashMap::from([("format".to_string(), "pt".to_string())]);
    let header = Metadata::new(Some(format), infos.collect()).expect("offsets without holes");
    let mut header = serde_json::to_vec(&header).expect("names and numbers");
    header.resize(header.len().next_multiple_of(8), b' ');

    write(&(header.len() as u64).to_le_bytes())?;
    write(&header)?;
    let mut bytes = Vec::new();
    for (name, tensor) in &tensors {
        let values = (tensor.values)();
        assert_eq!(values.len(), tensor.shape.iter().product::<usize>(), "values of {name}");
        for piece in values.chunks(PIECE) {
            bytes.clear();
            tensor.dtype.encode(piece, &mut bytes);
            write(&bytes)?;
        }
    }
    Ok(())
}
