//! `temper resume RUN`

use temper::{Limits, Ranks, Session};
use temper_record::run::RunRef;
use temper_train::run::nothing_left;

use crate::args::Resume;
use crate::console::Signals;
use crate::printer::Printer;
use crate::problems::Outcome;
use crate::remedies::of_text;
use crate::run;

/// Runs the command.
pub fn run(args: &Resume, ranks: &Ranks, printer: &Printer) -> Outcome {
    let limits = Limits { max_steps: None, deadline: run::deadline(args.limits.max_time) };
    let signals = Signals::listen()?;
    let session = Session { limits, device: &args.device.open(printer)?, listener: printer, ranks };
    match temper::resume(&args.run, args.until, session)? {
        Some(run) => run::train_to_end(run, "", &signals, printer),
        None => {
            printer.say(of_text(&nothing_left(&args.run, &RunRef::parse(&args.run)?.open()?)?));
            Ok(0)
        }
    }
}
