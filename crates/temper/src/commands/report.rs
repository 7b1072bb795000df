//! `temper report`.

use temper_record::Problem;

use crate::args::Report;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(_args: &Report, _printer: &Printer) -> Outcome {
    Err(Problem::input("report", "this version", "is not built yet").into())
}
