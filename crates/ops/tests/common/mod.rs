//! Where the composed bodies are held against the fused ones.

use burn::tensor::Device;

/// The processor, and in a build for other devices the first adapter that there is. Says so if there is none.
pub fn devices() -> Vec<Device> {
    let mut devices = vec![Device::flex()];
    devices.extend(other());
    devices
}

#[cfg(not(feature = "wgpu"))]
fn other() -> Option<Device> {
    None
}

/// Opened once: a second time is an error.
#[cfg(feature = "wgpu")]
fn other() -> Option<Device> {
    use std::sync::OnceLock;

    use burn::tensor::wgpu::WgpuBackend;

    static OPENED: OnceLock<Option<Device>> = OnceLock::new();
    let open = || match Device::wgpu_options().graphics_api(WgpuBackend::Vulkan).init() {
        Ok(device) => Some(device),
        Err(cause) => {
            eprintln!("not held against a Vulkan device: {cause}");
            None
        }
    };
    OPENED.get_or_init(open).clone()
}
