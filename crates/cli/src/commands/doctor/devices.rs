//! `temper doctor --devices`: every device that this build reaches on this machine.

use burn::tensor::{Device, FloatDType};
use serde_json::json;
use temper::device::{self, Adapter, Choice};
use temper_base::numbers::count;

use crate::args::Doctor;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(args: &Doctor, printer: &Printer) -> Outcome {
    let adapters = device::adapters();
    let described: Vec<_> = adapters.iter().map(|adapter| (adapter, types(adapter.choice))).collect();
    if args.json {
        let devices: Vec<_> = described
            .iter()
            .map(|(adapter, types)| {
                json!({
                    "device": adapter.choice.to_string(), "name": adapter.name, "kind": adapter.kind, "driver": adapter.driver,
                    "largest_tensor_bytes": adapter.largest_tensor,
                    "types": types.as_ref().ok(), "problem": types.as_ref().err(),
                })
            })
            .collect();
        let document = json!({ "features": features(), "devices": devices });
        printer.data(serde_json::to_string_pretty(&document).expect("plain data has a JSON form"));
        return Ok(0);
    }
    printer.data("cpu        the processor, with Temper's own kernels");
    for (adapter, types) in &described {
        printer.data(line(adapter, types));
    }
    match features().as_slice() {
        [] => printer.say("this build has no other device: cargo features wgpu, vulkan and cuda add them"),
        _ if adapters.is_empty() => printer.say("no other device is to be had: there is no driver that this build can use"),
        _ => printer.say("drivers of Vulkan do not say how much memory there is in all; memory beside a device is its largest tensor"),
    }
    Ok(0)
}

fn line(adapter: &Adapter, types: &Result<Vec<&str>, String>) -> String {
    let Adapter { choice, name, kind, driver, largest_tensor } = adapter;
    let types = match types {
        Ok(types) => types.join(", "),
        Err(why) => format!("cannot be opened: {why}"),
    };
    let largest = largest_tensor.map_or_else(String::new, |bytes| format!("; tensors up to {}B", count(bytes as f64)));
    format!("{:10} {name}: {kind}; {driver}{largest}; {types}", choice.to_string())
}

/// The types that the device computes with.
fn types(choice: Choice) -> Result<Vec<&'static str>, String> {
    let device: Device = device::open(choice).map_err(|problem| problem.why)?;
    let all =
        [("f32", FloatDType::F32), ("f16", FloatDType::F16), ("bf16", FloatDType::BF16), ("f64", FloatDType::F64)];
    Ok(all.into_iter().filter(|(_, dtype)| device.supports_dtype(*dtype)).map(|(name, _)| name).collect())
}

/// The cargo features of this build that add devices.
fn features() -> Vec<&'static str> {
    let all =
        [("wgpu", cfg!(feature = "wgpu")), ("vulkan", cfg!(feature = "vulkan")), ("cuda", cfg!(feature = "cuda"))];
    all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect()
}
