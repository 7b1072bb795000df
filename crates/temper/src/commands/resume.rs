//! `temper resume RUN`

use temper_recipe::Task;
use temper_record::run::RunRef;

use crate::args::Resume;
use crate::console::Signals;
use crate::printer::Printer;
use crate::problems::Outcome;
use crate::run::{self, Limits};
use crate::{certify, lm};

/// Runs the command.
pub fn run(args: &Resume, printer: &Printer) -> Outcome {
    let limits = Limits { max_steps: None, deadline: run::deadline(args.limits.max_time) };
    let signals = Signals::listen()?;
    let (directory, until) = (RunRef::parse(&args.run)?.open()?, args.until);
    let recipe = run::resolved(&directory)?;
    let code = match recipe.task() {
        Task::Lm => lm::start::resume(&args.run, limits, until, printer)?.map(|run| run.go("", &signals, printer)),
        Task::Certify => {
            certify::start::resume(&args.run, limits, until, printer)?.map(|run| run.go("", &signals, printer))
        }
    };
    code.unwrap_or_else(|| {
        printer.say(run::nothing_left(&args.run, &directory)?);
        Ok(0)
    })
}
