//! The device that everything computes on. This is the only place that chooses one; whoever computes is handed it.
//!
//! The processor is always there. Others are there in builds with the features `wgpu`, `vulkan` and `cuda`, and are opened by [`open`] once
//! a process. `docs/devices.md` says what they promise: agreement within tolerances, not bits.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "wgpu")]
mod gpu;

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use temper_base::{Problem, Result};

/// What is done when a device cannot be had.
const OPEN: &str = "open device";

/// The processor, with Temper's own kernels.
pub fn device() -> Device {
    Device::flex()
}

/// By which programming interface a device is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// The processor, by Temper's own kernels.
    Cpu,
    /// Shaders in WGSL, on Vulkan (Metal on macOS). Never OpenGL, on which sums come out wrong.
    Wgpu,
    /// Vulkan; shaders in SPIR-V in a build with the feature of that name.
    Vulkan,
    /// CUDA.
    Cuda,
}

impl Api {
    const ALL: [(&str, Self); 4] =
        [("cpu", Self::Cpu), ("wgpu", Self::Wgpu), ("vulkan", Self::Vulkan), ("cuda", Self::Cuda)];

    /// Its name in a [`Choice`].
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, api)| *api == self).expect("all have names").0
    }

    /// The cargo feature that compiles it in, if this build lacks it.
    fn missing_feature(self) -> Option<&'static str> {
        match self {
            Self::Cpu => None,
            Self::Wgpu => (!cfg!(feature = "wgpu")).then_some("wgpu"),
            Self::Vulkan => (!cfg!(feature = "wgpu")).then_some("vulkan"),
            Self::Cuda => (!cfg!(feature = "cuda")).then_some("cuda"),
        }
    }
}

/// A device by its name: `cpu`, `wgpu`, `vulkan` or `cuda`, and except for the first, `:N` for one of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// How it is reached.
    pub api: Api,
    /// Its number among those that [`adapters`] lists for this interface; the first one if none is given.
    pub index: Option<usize>,
}

impl Choice {
    /// The processor.
    pub const CPU: Self = Self { api: Api::Cpu, index: None };
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            None => f.write_str(self.api.name()),
            Some(index) => write!(f, "{}:{index}", self.api.name()),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, index) = text.split_once(':').map_or((text, None), |(name, index)| (name, Some(index)));
        let api = Api::ALL.iter().find(|(known, _)| *known == name).map(|(_, api)| *api);
        let index = index.map(str::parse).transpose().ok();
        match (api, index) {
            (Some(Api::Cpu), Some(Some(_))) => Err("there is one processor: cpu has no number".into()),
            (Some(api), Some(index)) => Ok(Self { api, index }),
            _ => Err("a device is cpu, wgpu, vulkan or cuda, the last three with :N for one of several".into()),
        }
    }
}

/// A device that there is, besides the processor.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// Under which name it is opened.
    pub choice: Choice,
    /// What it calls itself.
    pub name: String,
    /// What it is: `discrete GPU`, `integrated GPU`, `virtual GPU` or `software`.
    pub kind: &'static str,
    /// Interface and driver.
    pub driver: String,
    /// The largest tensor in bytes, where the driver has a limit.
    pub largest_tensor: Option<u64>,
}

/// Every device besides the processor that this build reaches on this machine.
pub fn adapters() -> Vec<Adapter> {
    #[allow(unused_mut, reason = "a build without other devices finds none")]
    let mut adapters = Vec::new();
    #[cfg(feature = "wgpu")]
    adapters.extend(gpu::adapters());
    #[cfg(feature = "cuda")]
    adapters.extend(cuda::adapters());
    adapters
}

/// Devices are opened once a process: the second time is an error of the driver's.
static OPENED: Mutex<Vec<(Choice, Device)>> = Mutex::new(Vec::new());

/// Opens a device, or gives the one that was opened before.
///
/// # Errors
/// A device that this build does not know, that is not there, or whose driver fails.
pub fn open(choice: Choice) -> Result<Device> {
    if choice.api == Api::Cpu {
        return Ok(device());
    }
    if let Some(feature) = choice.api.missing_feature() {
        let why =
            format!("this build of Temper was made without the cargo feature `{feature}`, which this device needs");
        return Err(Problem::input(OPEN, choice, why).hint("build Temper with that feature, or use the device cpu"));
    }
    let all: Vec<_> = adapters().into_iter().filter(|adapter| adapter.choice.api == choice.api).collect();
    let Some(adapter) = all.get(choice.index.unwrap_or(0)) else { return Err(not_there(choice, &all)) };
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    // Both names of a Vulkan adapter are one device.
    let same = |other: &Choice| {
        other.index == adapter.choice.index && (other.api == Api::Cuda) == (adapter.choice.api == Api::Cuda)
    };
    if let Some((_, device)) = opened.iter().find(|(other, _)| same(other)) {
        return Ok(device.clone());
    }
    let device = open_adapter(adapter).map_err(|cause| {
        let hint = "look at the driver's own tools (`vulkaninfo`, `nvidia-smi`), or use the device cpu";
        Problem::machine(OPEN, format_args!("{choice} ({})", adapter.name), cause).hint(hint)
    })?;
    opened.push((adapter.choice, device.clone()));
    Ok(device)
}

fn not_there(choice: Choice, all: &[Adapter]) -> Problem {
    let interface = if choice.api == Api::Cuda { "CUDA" } else { "Vulkan" };
    if all.is_empty() {
        let hint = match choice.api {
            Api::Cuda => "install the driver of the GPU, or use the device cpu",
            _ => {
                "install a Vulkan driver (Debian: mesa-vulkan-drivers, which also has one in software for tests), or use the device cpu; OpenGL is \
                 not used, because sums come out wrong there"
            }
        };
        return Problem::input(OPEN, choice, format_args!("this machine has no {interface} device")).hint(hint);
    }
    let listed: Vec<_> = all.iter().map(|adapter| format!("{} ({})", adapter.choice, adapter.name)).collect();
    let n = all.len();
    let why = format!("this machine has {n} {interface} device{}, numbered from 0", if n == 1 { "" } else { "s" });
    Problem::input(OPEN, choice, why).hint(format!("there is {}", listed.join(", ")))
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn open_adapter(adapter: &Adapter) -> Result<Device, String> {
    match adapter.choice.api {
        #[cfg(feature = "wgpu")]
        Api::Wgpu | Api::Vulkan => gpu::open(adapter.choice.index.unwrap_or(0)),
        #[cfg(feature = "cuda")]
        Api::Cuda => cuda::open(adapter.choice.index.unwrap_or(0)),
        _ => Err("this build has no such device".into()),
    }
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn open_adapter(_: &Adapter) -> Result<Device, String> {
    Err("this build has no such device".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_shown() {
        for name in ["cpu", "wgpu", "vulkan:1", "cuda:12"] {
            assert_eq!(name.parse::<Choice>().unwrap().to_string(), name);
        }
        for name in ["", "gpu", "cpu:0", "vulkan:", "vulkan:-1", "cuda:x", "opengl"] {
            assert!(name.parse::<Choice>().is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_not_there_is_an_error_with_a_way_out() {
        for choice in ["wgpu:99", "vulkan:99", "cuda:99"] {
            let problem = open(choice.parse().unwrap()).unwrap_err();
            assert_eq!((problem.what, problem.kind.exit_code()), (OPEN, 2), "{problem}");
            assert!(
                problem.hint.as_ref().is_some_and(|hint| hint.contains("cpu") || hint.contains(":0")),
                "{problem:?}"
            );
        }
    }
}
