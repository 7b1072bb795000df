//! GPUs of CUDA. They are asked for by listing them: without a driver the list is empty, where opening one would panic.

use burn::tensor::{Device, DeviceType};

use super::{Adapter, Api, Choice};

fn found() -> Vec<Device> {
    Device::enumerate(DeviceType::Cuda).into_iter().collect()
}

pub(super) fn adapters() -> Vec<Adapter> {
    let adapter = |(index, device): (usize, Device)| Adapter {
        choice: Choice { api: Api::Cuda, index: Some(index) },
        name: device.identity().map_or_else(|| "unknown".into(), |identity| identity.name),
        kind: "discrete GPU",
        driver: "CUDA".into(),
        largest_tensor: None,
    };
    found().into_iter().enumerate().map(adapter).collect()
}

/// Opens GPU `index` of the list.
pub(super) fn open(index: usize) -> Result<Device, String> {
    found().into_iter().nth(index).ok_or_else(|| "it is no longer there".into())
}
