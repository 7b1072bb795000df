//! `temper branch RUN RECIPE --out DIR`

use temper_recipe::{Recipe, Task};

use crate::args::Branch;
use crate::builtin::LIBRARY;
use crate::console::Signals;
use crate::printer::Printer;
use crate::problems::Outcome;
use crate::run::{self, Limits};
use crate::{certify, lm};

/// Runs the command.
pub fn run(args: &Branch, printer: &Printer) -> Outcome {
    let limits = Limits { max_steps: args.max_steps, deadline: run::deadline(args.limits.max_time) };
    let signals = Signals::listen_and_leave_nothing(&args.out, limits.deadline)?;
    let recipe = Recipe::load_branch(&args.recipe, &args.overrides.set, &LIBRARY)?;
    let (source, base, out) = (&args.recipe, &args.run, &args.out);
    match recipe.task() {
        Task::Lm => lm::start::branch(recipe, source, base, out, limits, printer)?.go("", &signals, printer),
        Task::Certify => certify::start::branch(recipe, source, base, out, limits, printer)?.go("", &signals, printer),
    }
}
