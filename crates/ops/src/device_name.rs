//! What a device is called.

use burn::tensor::Device;

use crate::fused::is_cpu;

/// `cpu`, or the name that the device gives itself.
pub fn device_name(device: &Device) -> String {
    if is_cpu(device) { "cpu".into() } else { named(device) }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn named(device: &Device) -> String {
    device.identity().map_or_else(|| format!("{device:?}"), |identity| identity.name)
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn named(device: &Device) -> String {
    format!("{device:?}")
}
