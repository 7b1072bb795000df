//! `temper completions`.

use temper_record::Problem;

use crate::args::Completions;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(_args: &Completions, _printer: &Printer) -> Outcome {
    Err(Problem::input("completions", "this version", "is not built yet").into())
}
