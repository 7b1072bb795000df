//! `temper branch RUN RECIPE --out DIR`

use temper_recipe::Recipe;

use crate::args::Branch;
use crate::builtin::LIBRARY;
use crate::lm::console::Signals;
use crate::lm::start;
use crate::printer::Printer;
use crate::problems::Outcome;
use crate::run::Limits;

/// Runs the command.
pub fn run(args: &Branch, printer: &Printer) -> Outcome {
    let limits = Limits { max_steps: args.max_steps, max_time: args.limits.max_time };
    let signals = Signals::listen()?;
    signals.leave_nothing_before_training(&args.out)?;
    let recipe = Recipe::load(&args.recipe, &args.overrides.set, &LIBRARY)?;
    start::branch(recipe, &args.recipe, &args.run, &args.out, limits, printer)?.go("", &signals, printer)
}
