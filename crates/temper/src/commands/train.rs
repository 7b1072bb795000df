//! `temper train RECIPE --out DIR`

use temper_recipe::{Recipe, Task};

use crate::args::Train;
use crate::builtin::LIBRARY;
use crate::console::Signals;
use crate::printer::Printer;
use crate::problems::Outcome;
use crate::run::{self, Limits};
use crate::{certify, lm};

/// Runs the command.
pub fn run(args: &Train, printer: &Printer) -> Outcome {
    let limits = Limits { max_steps: args.max_steps, deadline: run::deadline(args.limits.max_time) };
    let signals = Signals::listen_and_leave_nothing(&args.out, limits.deadline)?;
    let recipe = Recipe::load(&args.recipe, &args.overrides.set, &LIBRARY)?;
    let (source, out) = (&args.recipe, &args.out);
    match recipe.task() {
        Task::Lm => lm::start::train(recipe, source, out, limits, printer)?.go("", &signals, printer),
        Task::Certify => certify::start::train(recipe, source, out, limits, printer)?.go("", &signals, printer),
    }
}
