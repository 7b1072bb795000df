//! `temper data`.

use temper_record::Problem;

use crate::args::DataCommand;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(_args: &DataCommand, _printer: &Printer) -> Outcome {
    Err(Problem::input("data", "this version", "is not built yet").into())
}
