//! Adapters of Vulkan, reached through wgpu. The interface is named wherever an adapter is listed or opened: left to itself, wgpu falls
//! back to OpenGL where there is no Vulkan driver, and a sum over a million numbers came out 74 % too small there.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use burn::tensor::wgpu::{WgpuBackend, wgpu};
use burn::tensor::{Device, DeviceKind};

use super::{Adapter, Api, Choice};

#[cfg(target_os = "macos")]
const API: (WgpuBackend, wgpu::Backends) = (WgpuBackend::Metal, wgpu::Backends::METAL);
#[cfg(not(target_os = "macos"))]
const API: (WgpuBackend, wgpu::Backends) = (WgpuBackend::Vulkan, wgpu::Backends::VULKAN);

/// An adapter and how Burn names it. Every kind counts from 0.
type Found = (DeviceKind, wgpu::AdapterInfo, wgpu::Limits);

/// All that can be named, GPUs first and software last.
fn found() -> Vec<Found> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = API.1;
    let instance = wgpu::Instance::new(descriptor);
    let mut counts = [0; 3];
    let mut found: Vec<(usize, Found)> = Vec::new();
    for adapter in ready(instance.enumerate_adapters(API.1)).unwrap_or_default() {
        let info = adapter.get_info();
        let mut next = |place: usize| {
            counts[place] += 1;
            counts[place] - 1
        };
        let (order, kind) = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => (0, DeviceKind::DiscreteGpu(next(0))),
            wgpu::DeviceType::IntegratedGpu => (1, DeviceKind::IntegratedGpu(next(1))),
            wgpu::DeviceType::VirtualGpu => (2, DeviceKind::VirtualGpu(next(2))),
            // Burn names the first one only.
            wgpu::DeviceType::Cpu if found.iter().all(|(order, _)| *order != 3) => (3, DeviceKind::Cpu),
            _ => continue,
        };
        found.push((order, (kind, info, adapter.limits())));
    }
    found.sort_by_key(|(order, _)| *order);
    found.into_iter().map(|(_, found)| found).collect()
}

/// The value of a future that need not wait: on other systems than browsers, adapters are listed at once.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Under both names, since both open them.
pub(super) fn adapters() -> Vec<Adapter> {
    let found = found();
    let listed = |api: Api| {
        found.iter().enumerate().map(move |(index, (_, info, limits))| Adapter {
            choice: Choice { api, index: Some(index) },
            name: info.name.clone(),
            kind: match info.device_type {
                wgpu::DeviceType::DiscreteGpu => "discrete GPU",
                wgpu::DeviceType::IntegratedGpu => "integrated GPU",
                wgpu::DeviceType::VirtualGpu => "virtual GPU",
                _ => "software",
            },
            driver: [info.backend.to_string(), info.driver.clone(), info.driver_info.clone()].join(" ").trim().into(),
            largest_tensor: Some(limits.max_storage_buffer_binding_size),
        })
    };
    let vulkan = (API.0 == WgpuBackend::Vulkan).then_some(Api::Vulkan);
    std::iter::once(Api::Wgpu).chain(vulkan).flat_map(listed).collect()
}

/// Opens adapter `index` of the list.
pub(super) fn open(index: usize) -> Result<Device, String> {
    let (kind, ..) = found().into_iter().nth(index).ok_or("it is no longer there")?;
    let options = Device::wgpu_options().device_kind(kind).graphics_api(API.0);
    options.init().map_err(|cause| cause.to_string())
}
