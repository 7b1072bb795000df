//! `--device`: the device that a command computes on.

use temper::device::{self, Api};
use temper_base::{Problem, Result};

use crate::args;
use crate::printer::Printer;

impl args::Device {
    /// Opens the device, and says which one it is if it is not the processor.
    ///
    /// # Errors
    /// A device that is not there.
    pub fn open(&self, printer: &Printer) -> Result<burn::tensor::Device> {
        let device = device::open(self.device)?;
        if self.device.api != Api::Cpu {
            let index = self.device.index.or(Some(0));
            let opened = device::Choice { index, ..self.device };
            if let Some(adapter) = device::adapters().into_iter().find(|adapter| adapter.choice == opened) {
                printer.say(format_args!(
                    "computing on {opened}: {} ({}, {})",
                    adapter.name, adapter.kind, adapter.driver
                ));
                if adapter.kind == "software" {
                    let what = format!(
                        "{opened} is a driver in software: it computes on the processor, and much slower than the device cpu"
                    );
                    printer.warn(what, Some("it is good for tests alone"));
                }
            }
        }
        Ok(device)
    }

    /// An error if the device is not the processor, which alone does this work.
    ///
    /// # Errors
    /// Another device.
    pub fn require_cpu(&self, work: &'static str) -> Result<()> {
        if self.device.api == Api::Cpu {
            return Ok(());
        }
        let why = format!("{work} is done on the processor alone");
        Err(Problem::input("open device", format_args!("--device {}", self.device), why).hint("leave --device out"))
    }
}
