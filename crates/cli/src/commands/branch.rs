//! `temper branch RUN RECIPE --out DIR`

use temper::{Limits, Ranks, Session};

use crate::args::Branch;
use crate::console::Signals;
use crate::printer::Printer;
use crate::problems::Outcome;
use crate::run;

/// Runs the command.
pub fn run(args: &Branch, ranks: &Ranks, printer: &Printer) -> Outcome {
    let limits = Limits { max_steps: args.max_steps, deadline: run::deadline(args.limits.max_time) };
    let signals = Signals::listen_and_leave_nothing(&args.out, limits.deadline)?;
    let recipe = temper::branch_recipe(&args.recipe, &args.overrides.set)?;
    let session = Session { limits, device: &args.device.open(printer)?, listener: printer, ranks };
    run::train_to_end(temper::branch(recipe, &args.run, &args.out, session)?, "", &signals, printer)
}
