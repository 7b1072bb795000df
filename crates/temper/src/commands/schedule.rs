//! `temper schedule`.

use temper_record::Problem;

use crate::args::Schedule;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(_args: &Schedule, _printer: &Printer) -> Outcome {
    Err(Problem::input("schedule", "this version", "is not built yet").into())
}
