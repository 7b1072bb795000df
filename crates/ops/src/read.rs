//! Where numbers come back from a device. Each read waits for all work before it, so updates read once; a test counts.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::Tensor;

use crate::fused::on_cpu;

/// Only counted, nothing depends on it.
static READS: AtomicU64 = AtomicU64::new(0);

/// How often this process has read from a device that is not the processor.
pub fn readbacks() -> u64 {
    READS.load(Ordering::Relaxed)
}

/// What a device said when it could not give back what it was to compute: it is lost, or its memory is full. Burn reports neither where
/// an operation is asked for, so [`read`] leaves the work with this as the payload of an unwinding, without a word on standard error.
/// Whoever shows errors to people catches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFailed(pub String);

/// The values of a tensor, row-major.
///
/// # Panics
/// Unwinds with [`DeviceFailed`] if the device has failed.
pub fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    if !on_cpu(&tensor) {
        READS.fetch_add(1, Ordering::Relaxed);
    }
    match tensor.try_into_data() {
        Ok(data) => data.try_into_vec().expect("f32 values"),
        Err(cause) => resume_unwind(Box::new(DeviceFailed(cause.to_string()))),
    }
}

/// Tensors of one number each, read at once.
///
/// # Panics
/// As [`read`].
pub fn read_numbers(numbers: Vec<Tensor<1>>) -> Vec<f32> {
    match numbers.first() {
        None => Vec::new(),
        Some(first) if on_cpu(first) => numbers.into_iter().flat_map(read).collect(),
        Some(_) => read(Tensor::cat(numbers.into_iter().map(Tensor::inner).collect(), 0)),
    }
}
