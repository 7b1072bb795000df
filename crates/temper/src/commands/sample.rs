//! `temper sample`.

use temper_record::Problem;

use crate::args::Sample;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(_args: &Sample, _printer: &Printer) -> Outcome {
    Err(Problem::input("sample", "this version", "is not built yet").into())
}
