//! The device that everything computes on. This is the only place that chooses one; whoever computes is handed it.

use burn::tensor::Device;

/// The processor, with Temper's own kernels.
pub fn device() -> Device {
    Device::flex()
}
