//! `temper train RECIPE --out DIR`

use temper::{Limits, Ranks, Session};

use crate::args::Train;
use crate::console::Signals;
use crate::printer::Printer;
use crate::problems::Outcome;
use crate::run;

/// Runs the command.
pub fn run(args: &Train, ranks: &Ranks, printer: &Printer) -> Outcome {
    let limits = Limits { max_steps: args.max_steps, deadline: run::deadline(args.limits.max_time) };
    let signals = Signals::listen_and_leave_nothing(&args.out, limits.deadline)?;
    let recipe = temper::recipe(&args.recipe, &args.overrides.set)?;
    let session = Session { limits, device: &args.device.open(printer)?, listener: printer, ranks };
    run::train_to_end(temper::train(recipe, &args.out, session)?, "", &signals, printer)
}
