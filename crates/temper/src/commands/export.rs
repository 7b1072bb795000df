//! `temper export`.

use temper_record::Problem;

use crate::args::Export;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(_args: &Export, _printer: &Printer) -> Outcome {
    Err(Problem::input("export", "this version", "is not built yet").into())
}
