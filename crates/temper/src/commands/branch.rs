//! `temper branch`.

use temper_record::Problem;

use crate::args::Branch;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(_args: &Branch, _printer: &Printer) -> Outcome {
    Err(Problem::input("branch", "this version", "is not built yet").into())
}
