//! What a person sees while it trains: a bar on a terminal, one aligned line now and then, and every
//! evaluation.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use temper_record::console::{Unit, console_line_in, digits};
use temper_record::event::{Event, Values};
use temper_record::{Problem, Result};
use temper_train::trainer::Watch;

use crate::printer::Printer;

/// The signals a run answers with a checkpoint.
#[derive(Clone)]
pub struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// Begins to listen. A second signal ends the process at once, as it would without us.
    pub fn listen() -> Result<Self> {
        let seen = Arc::new(AtomicUsize::new(0));
        let armed = Arc::new(std::sync::atomic::AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            let listen = || -> std::io::Result<()> {
                // Order matters: the shutdown looks at the flag before this signal sets it.
                signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, armed.clone())?;
                signal_hook::flag::register(signal, armed.clone())?;
                signal_hook::flag::register_usize(signal, seen.clone(), signal as usize)?;
                Ok(())
            };
            listen().map_err(|cause| Problem::machine("listen for signals", format!("signal {signal}"), cause))?;
        }
        Ok(Self(seen))
    }

    /// The signal that arrived.
    pub fn seen(&self) -> Option<i32> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(signal as i32),
        }
    }
}

/// Prints events.
pub struct Console<'p> {
    printer: &'p Printer,
    signals: Signals,
    every: u64,
    stop: u64,
    told: bool,
    unit: Unit,
    /// Prefix of every line, for several runs in one process.
    name: String,
}

impl<'p> Console<'p> {
    /// A line every `every` updates of a run that goes from `first` to `stop`.
    pub fn new(printer: &'p Printer, signals: Signals, name: &str, unit: Unit, every: u64, first: u64, stop: u64) -> Self {
        printer.begin_bar(stop, "{wide_bar} {pos}/{len}  {eta} left  {msg}");
        printer.bar(first, "");
        let name = if name.is_empty() { String::new() } else { format!("{name:10} ") };
        Self { printer, signals, every: every.max(1), stop, told: false, unit, name }
    }

    /// One set a line; the averages over sets are for the record.
    fn evaluation(&self, step: u64, set: &str, values: &Values) {
        if set.starts_with("mean:") {
            return;
        }
        let number = |name: &str| values.get(name).unwrap_or(f64::NAN);
        let bits = values.get("bits_per_byte").map_or_else(String::new, |bits| format!("  bits/byte {bits:.4}"));
        self.printer.say(format_args!(
            "{}eval {step:>8}  {set:12} loss {:.4}  perplexity {}{bits}",
            self.name,
            number("loss"),
            digits(number("perplexity"), 5)
        ));
    }

    fn line(&self, event: &Event) {
        self.printer.say(format_args!("{}{}", self.name, console_line_in(event, self.unit)));
    }
}

impl Watch for Console<'_> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Step { step, values, .. } => {
                let loss = values.get("loss").unwrap_or(f64::NAN);
                self.printer.bar(*step, format_args!("loss {loss:.4}"));
                if *step == 1 || *step == self.stop || step.is_multiple_of(self.every) {
                    self.line(event);
                }
            }
            Event::Warning { message, hint, .. } => self.printer.warn(message, hint.as_deref()),
            Event::Eval { step, set, values, .. } if self.unit == Unit::Tokens => self.evaluation(*step, set, values),
            Event::Checkpoint { .. } | Event::Phase { .. } | Event::Start(_) => {}
            _ => self.line(event),
        }
    }

    fn signal(&self) -> Option<i32> {
        let seen = self.signals.seen();
        if seen.is_some() && !self.told {
            self.printer.say("stopping: taking a checkpoint first (once more to stop at once)");
        }
        seen
    }
}

impl Drop for Console<'_> {
    fn drop(&mut self) {
        self.printer.end_bar();
    }
}
