//! What fewer bits lose: values beyond the range of a type, which must never become infinite, and those that become zero.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use temper_base::{Problem, Result};

use crate::tensors::{Dtype, Outgoing, PIECE, shortened};

/// What finite weights lose when they are rounded to nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// Number of values checked: those of tensors that are stored in fewer bits than f32.
    pub values: u64,
    /// Values that are not zero and become zero.
    pub zeros: u64,
    /// Values that keep fewer digits than the type has, because they are below its normal range.
    pub subnormal: u64,
}

/// Looks at everything that is to be stored in fewer bits.
///
/// # Errors
/// If a finite value is beyond the range of its type, with the tensor, the first such entry and how many there are.
pub fn survey(tensors: &[(String, Outgoing)]) -> Result<Losses> {
    let mut losses = Losses::default();
    let mut faults = Vec::new();
    let narrow = tensors.iter().filter(|(_, tensor)| tensor.dtype != Dtype::F32);
    for (name, tensor) in narrow {
        let values = (tensor.values)();
        let (mut beyond, mut first) = (0, None);
        for (i, piece) in values.chunks(PIECE).enumerate() {
            for (j, (value, stored)) in piece.iter().zip(rounded(tensor.dtype, piece)).enumerate() {
                if stored.is_infinite() && value.is_finite() {
                    beyond += 1;
                    first = first.or(Some((i * PIECE + j, *value)));
                } else if stored == 0.0 && *value != 0.0 {
                    losses.zeros += 1;
                } else if stored.abs() < tensor.dtype.smallest_normal() && value.is_normal() {
                    losses.subnormal += 1;
                }
            }
        }
        losses.values += values.len() as u64;
        if let Some((entry, value)) = first {
            let (dtype, largest) = (tensor.dtype.name(), tensor.dtype.largest());
            let count = values.len();
            faults.push(format!(
                "tensor {name}: entry {entry} is {value}, {dtype} ends at {largest} ({beyond} of {count} values are beyond it)"
            ));
        }
    }
    if faults.is_empty() {
        return Ok(losses);
    }
    Err(Problem::input("write tensors", "weights", shortened(&faults))
        .hint("bfloat16 has nearly the range of float32, float32 loses nothing"))
}

/// The values as the type stores them.
fn rounded(dtype: Dtype, values: &[f32]) -> Vec<f32> {
    match dtype {
        Dtype::F32 => values.to_vec(),
        Dtype::F16 => {
            let mut halves = vec![f16::ZERO; values.len()];
            halves.convert_from_f32_slice(values);
            halves.to_f32_vec()
        }
        Dtype::Bf16 => values.iter().map(|v| bf16::from_f32(*v).to_f32()).collect(),
    }
}
