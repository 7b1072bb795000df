//! `temper resume RUN`

use crate::args::Resume;
use crate::lm::console::Signals;
use crate::lm::start;
use crate::printer::Printer;
use crate::problems::Outcome;
use crate::run::Limits;

/// Runs the command.
pub fn run(args: &Resume, printer: &Printer) -> Outcome {
    let limits = Limits { max_steps: None, max_time: args.limits.max_time };
    let signals = Signals::listen()?;
    match start::resume(&args.run, limits, printer)? {
        Some(started) => started.go("", &signals, printer),
        None => {
            printer.say(format_args!("{}: complete, nothing left to do", args.run));
            Ok(0)
        }
    }
}
