//! A run on the command line: what a person sees of it, and its exit code.

use std::time::{Duration, Instant};

use temper::{End, Expected, Interrupt, Run};
use temper_base::Problems;
use temper_base::problem::pasted;
use temper_record::console::Unit;
use temper_train::run::until_hint;

use crate::console::{Console, Signals};
use crate::printer::Printer;
use crate::problems::Outcome;
use crate::remedies::of_text;

/// The moment at which this much time has passed since now, the beginning of a command.
pub fn deadline(max_time: Option<Duration>) -> Option<Instant> {
    max_time.and_then(|time| Instant::now().checked_add(time))
}

/// Trains to the end or an interrupt, and gives the exit code. `name` prefixes every line.
pub fn train_to_end(mut run: Box<dyn Run>, name: &str, signals: &Signals, printer: &Printer) -> Outcome {
    let mut console = console_of_run(&*run, name, signals, printer);
    let end = run.train(&mut console);
    drop(console);
    let path = run.dir().path().display().to_string();
    match end? {
        End::Done => {
            let code = expectation(&*run, printer)?;
            if run.lengths().cut {
                printer.say(of_text(&until_hint(&path, run.lengths().stop, run.lengths().planned)));
            }
            Ok(code)
        }
        End::Stopped(interrupt) => {
            if matches!(interrupt, Interrupt::Signal(_)) {
                signals.answer_signal();
            }
            let again = pasted(path);
            printer.say(format_args!("stopped after step {}; continue with: temper resume {again}", run.step()));
            Ok(match interrupt {
                Interrupt::Signal(signal) => (128 + signal) as u8,
                Interrupt::TimeLimit => 75,
            })
        }
    }
}

/// What prints the events of a run. From now on it trains.
pub fn console_of_run<'p>(run: &dyn Run, name: &str, signals: &Signals, printer: &'p Printer) -> Console<'p> {
    let unit = Unit::of_task(run.recipe().task().name);
    let lengths = run.lengths();
    Console::new(printer, signals.clone(), name, unit, lengths.log_every, run.step(), lengths.stop)
}

/// Compares the result with what the recipe expects: exit code 1 if it missed.
fn expectation(run: &dyn Run, printer: &Printer) -> Result<u8, Problems> {
    match run.expected()? {
        Expected::Nothing => Ok(0),
        Expected::NotChecked(why) => {
            printer.say(format_args!("expectation: {}", of_text(&why)));
            Ok(0)
        }
        Expected::Compared { metric, found, mean, tolerance } => {
            let met = (found - mean).abs() <= tolerance;
            let verdict = if met { "met" } else { "missed" };
            printer.say(format_args!("expectation {verdict}: {metric} is {found:.4}, expected {mean} ± {tolerance}"));
            Ok(if met { 0 } else { 1 })
        }
    }
}
