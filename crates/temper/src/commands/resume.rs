//! `temper resume RUN`

use temper_recipe::Task;
use temper_record::run::RunRef;

use crate::args::Resume;
use crate::console::Signals;
use crate::printer::Printer;
use crate::problems::Outcome;
use crate::run::Limits;
use crate::{certify, lm};

/// Runs the command.
pub fn run(args: &Resume, printer: &Printer) -> Outcome {
    let limits = Limits { max_steps: None, max_time: args.limits.max_time };
    let signals = Signals::listen()?;
    let recipe = crate::run::resolved(&RunRef::parse(&args.run)?.open()?)?;
    let code = match recipe.task() {
        Task::Lm => lm::start::resume(&args.run, limits, printer)?.map(|run| run.go("", &signals, printer)),
        Task::Certify => certify::start::resume(&args.run, limits, printer)?.map(|run| run.go("", &signals, printer)),
    };
    code.unwrap_or_else(|| {
        printer.say(format_args!("{}: complete, nothing left to do", args.run));
        Ok(0)
    })
}
